"""Touched files, reached so that no link swapped in leads elsewhere, and changed so that a crash leaves old or new.

Every path is walked from `/` by `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)`, where the kernel lacks
it by one `O_NOFOLLOW` step a component; from there on everything happens relative to that folder's descriptor. Used by
`snapshot.py` and `safe_files.py`. These are the files of the machine, not of the state folder, hence not the `Files` port.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

NR_OPENAT2 = 437  # the same number on every architecture (openat2(2))
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

ENTRIES_MAX = 20_000
DEPTH_MAX = 64
FILE_BYTES_MAX = 64 << 20
TOTAL_BYTES_MAX = 512 << 20
XATTR_MAX = 64 << 10


class TooMuch(OSError):
    """More than a snapshot may hold."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EFBIG, f"{what}; name fewer or smaller files", path)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name as it stands. `path` is relative to the root of the snapshot, "" the root itself.

    kind: file, folder, link, absent, or other (a device, FIFO or socket, which is left alone). `blob` names the bytes.
    """

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    size: int = 0
    blob: str = ""
    target: str = ""
    xattrs: Mapping[str, str] = field(default_factory=dict)

    def label(self) -> str:
        """Says all that a restore brings back but the times: two equal labels are two equal files."""
        if self.kind == "absent":
            return "absent"
        owner = f"{self.mode:04o} {self.uid}:{self.gid}"
        if self.xattrs:
            listed = "\0".join(f"{name}={value}" for name, value in sorted(self.xattrs.items()))
            owner += f" xattrs:{hashlib.sha256(os.fsencode(listed)).hexdigest()[:16]}"
        if self.kind == "link":
            return f"link:{shown(self.target)} {self.uid}:{self.gid}"
        return f"sha256:{self.blob} {owner}" if self.kind == "file" else f"{self.kind} {owner}"

    def to_json(self) -> dict[str, Any]:
        raw = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}
        raw |= {"path": _to_json(self.path), "kind": self.kind, "xattrs": dict(self.xattrs)}
        return {**raw, "target": _to_json(self.target)} if self.target else raw

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Entry:
        return cls(**{**raw, "path": _from_json(raw["path"]), "target": _from_json(raw.get("target", ""))})


def _to_json(name: str) -> str | list[str]:
    """A name that is no UTF-8 (Python holds it with surrogates, JSON cannot) as its bytes in base64, in a list of one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return [base64.b64encode(os.fsencode(name)).decode()]
    return name


def _from_json(raw: str | list[str]) -> str:
    return raw if isinstance(raw, str) else os.fsdecode(base64.b64decode(raw[0]))


def shown(name: str) -> str:
    """For people and proofs."""
    return os.fsencode(name).decode(errors="backslashreplace")


# --- reaching -------------------------------------------------------------------------------------------------------


@cache
def _syscall() -> Any:
    return ctypes.CDLL(None, use_errno=True).syscall


def _openat2(folder: int, path: str) -> int:
    how = struct.pack("QQQ", _OPEN_FOLDER, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    fd: int = _syscall()(NR_OPENAT2, folder, os.fsencode(path), how, len(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


def _walk(folder: int, path: str) -> int:
    fd = os.dup(folder)
    for part in path.split("/"):
        try:
            below = os.open(part, _OPEN_FOLDER, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def open_folder(path: str) -> int:
    """A descriptor of this folder, reached without any link. Raises OSError (ELOOP or ENOTDIR when there is one)."""
    root = os.open("/", _OPEN_FOLDER)
    below = path.strip("/")
    if not below:
        return root
    try:
        try:
            return _openat2(root, below)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):  # older than 5.6, or a sandbox that does not know it
                raise
            return _walk(root, below)
    finally:
        os.close(root)


def open_below(folder: int, name: str) -> int:
    """A folder in an open folder, if it is no link."""
    return os.open(name, _OPEN_FOLDER, dir_fd=folder)


@contextmanager
def folder_of(path: str) -> Iterator[tuple[int, str]]:
    """The folder that holds `path`, and its last name."""
    folder, name = os.path.split(path)
    fd = open_folder(folder)
    try:
        yield fd, name
    finally:
        os.close(fd)


def real_place(path: str) -> tuple[str, list[str]]:
    """Where `path` truly lies, its folders' links followed, and which of its folders are missing (outermost first).

    The last name is not followed: a link is itself what is touched.
    """
    folder, name = os.path.split(path)
    if not name:
        raise OSError(errno.EINVAL, "the root of the file system cannot be saved; name a folder below it", path)
    missing: list[str] = []
    while not os.path.lexists(folder):
        folder, lost = os.path.split(folder)
        missing.insert(0, lost)
    real = os.path.realpath(folder)
    made: list[str] = []
    for lost in missing:
        real = os.path.join(real, lost)
        made.append(real)
    return os.path.join(real, name), made


# --- seeing ---------------------------------------------------------------------------------------------------------

Keep = Callable[[bytes], str]
"""Takes a file's bytes, gives the name they can be had by."""


def hash_only(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Scan:
    """Looks at one root, whole, within bounds."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._bytes = 0
        self.entries: list[Entry] = []

    def run(self, path: str) -> list[Entry]:
        """`path` must be a real place. Raises OSError."""
        try:
            with folder_of(path) as (fd, name):
                self._one(fd, name, "", 0)
        except FileNotFoundError:
            self.entries.append(Entry("", "absent"))
        return self.entries

    def _one(self, folder: int, name: str, path: str, depth: int) -> None:
        if len(self.entries) >= ENTRIES_MAX or depth > DEPTH_MAX:
            raise TooMuch(f"more than {ENTRIES_MAX} files or {DEPTH_MAX} levels", path)
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(seen.st_mode):
            target = os.readlink(name, dir_fd=folder)
            self.entries.append(Entry(path, "link", uid=seen.st_uid, gid=seen.st_gid, target=target))
        elif stat.S_ISREG(seen.st_mode):
            self._file(folder, name, path)
        elif stat.S_ISDIR(seen.st_mode):
            self._folder(folder, name, path, depth)
        else:
            self.entries.append(_entry(path, "other", seen))

    def _file(self, folder: int, name: str, path: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode):
                raise OSError(errno.ESTALE, "it was replaced while it was read", path or name)
            data = self._read(fd, path or name)
            self.entries.append(_entry(path, "file", seen, blob=self._keep(data), size=len(data), xattrs=read_xattrs(fd)))
        finally:
            os.close(fd)

    def _read(self, fd: int, path: str) -> bytes:
        parts = []
        length = 0
        while part := os.read(fd, 1 << 20):
            parts.append(part)
            length += len(part)
            if length > FILE_BYTES_MAX:
                raise TooMuch(f"a file of more than {FILE_BYTES_MAX >> 20} MiB", path)
        self._bytes += length
        if self._bytes > TOTAL_BYTES_MAX:
            raise TooMuch(f"more than {TOTAL_BYTES_MAX >> 20} MiB in all", path)
        return b"".join(parts)

    def _folder(self, folder: int, name: str, path: str, depth: int) -> None:
        fd = open_below(folder, name)
        try:
            self.entries.append(_entry(path, "folder", os.fstat(fd), xattrs=read_xattrs(fd)))
            for below in sorted(os.listdir(fd)):
                if not is_ours(below):
                    self._one(fd, below, f"{path}/{below}" if path else below, depth + 1)
        finally:
            os.close(fd)


def dress_of(fd: int) -> Entry:
    """Owner, mode and attributes of an open regular file. Raises OSError for anything else."""
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return _entry("", "file", seen, xattrs=read_xattrs(fd))


def _entry(path: str, kind: str, seen: os.stat_result, **more: Any) -> Entry:
    return Entry(path, kind, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_mtime_ns, seen.st_ctime_ns, **more)


def read_xattrs(fd: int) -> dict[str, str]:
    """Extended attributes (ACLs and capabilities among them), base64. A file system without any has none."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return {}
        raise
    found = {name: os.getxattr(fd, name) for name in names}
    if sum(map(len, found.values())) > XATTR_MAX:
        raise TooMuch(f"more than {XATTR_MAX >> 10} KiB of extended attributes", "")
    return {name: base64.b64encode(value).decode() for name, value in found.items()}


def write_xattrs(fd: int, wanted: Mapping[str, str]) -> None:
    present = read_xattrs(fd)
    for name in present.keys() - wanted.keys():
        os.removexattr(fd, name)
    for name, value in wanted.items():
        if present.get(name) != value:
            os.setxattr(fd, name, base64.b64decode(value))


# --- changing -------------------------------------------------------------------------------------------------------

_OURS = ".aios-"


def is_ours(name: str) -> bool:
    """A temporary of ours, which a crash may have left."""
    return name.startswith(_OURS) and name.endswith(".tmp")


def temporary_of(name: str) -> str:
    """The same for the same name, so that the next try removes what a crash left."""
    return f"{_OURS}{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.tmp"


def put_file(folder: int, name: str, data: bytes, entry: Entry) -> None:
    """A whole file with owner, mode, attributes and time; synced, then put under its name."""
    temporary = _cleared(folder, name)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        dress(fd, entry)
        os.fsync(fd)
    finally:
        os.close(fd)
    _into_place(folder, temporary, name)


def put_link(folder: int, name: str, entry: Entry) -> None:
    temporary = _cleared(folder, name)
    os.symlink(entry.target, temporary, dir_fd=folder)
    os.chown(temporary, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    _into_place(folder, temporary, name)


def _cleared(folder: int, name: str) -> str:
    temporary = temporary_of(name)
    remove(folder, temporary)
    return temporary


def _into_place(folder: int, temporary: str, name: str) -> None:
    """A folder in the way is removed first: rename does not replace one."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            remove(folder, name)
    except FileNotFoundError:
        pass
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def dress(fd: int, entry: Entry) -> None:
    """Owner first: changing it clears set-user-id bits and capabilities."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    write_xattrs(fd, entry.xattrs)
    if entry.mtime_ns:
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def remove(folder: int, name: str) -> bool:
    """The name and all below it; never what a link points to. False when it was not there."""
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(seen.st_mode):
        os.unlink(name, dir_fd=folder)
        return True
    fd = open_below(folder, name)
    try:
        for below in os.listdir(fd):
            remove(fd, below)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)
    return True
