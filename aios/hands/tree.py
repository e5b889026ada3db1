"""Touched files, reached so that no link swapped in leads elsewhere, and changed so that a crash leaves old or new.

Every path is walked from `/` by `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)`, where the kernel lacks
it by one `O_NOFOLLOW` step a component; from there on everything happens relative to that folder's descriptor. Used by
`scan.py`, `restore.py` and `safe_files.py`. These are the machine's files, not the state folder's, hence not the `Files` port.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from aios.hands import flags
from aios.hands.entry import NO_XATTRS, Entry, shown
from aios.hands.proc import libc

NR_OPENAT2 = 437  # the same number on every architecture (openat2(2))
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

DEPTH_MAX = 64
XATTR_MAX = 64 << 10
ENTRIES_SYNCED_EACH = 4
"""More files than this in one folder are synced together, by one call for their file system."""


class TooMuch(OSError):
    """More than a snapshot may hold."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EFBIG, f"{what}; name fewer or smaller files", path)

    def __str__(self) -> str:
        return f"{self.strerror} (at {shown(self.filename)})" if self.filename else str(self.strerror)


# --- reaching -------------------------------------------------------------------------------------------------------


def _openat2(folder: int, path: str) -> int:
    how = struct.pack("QQQ", _OPEN_FOLDER, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    fd: int = libc().syscall(NR_OPENAT2, folder, os.fsencode(path), how, len(how))
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
    try:
        return open_under(root, path.strip("/"))
    finally:
        os.close(root)


def open_under(folder: int, path: str) -> int:
    """The same for a relative path below an open folder; "" is that folder."""
    if not path:
        return os.dup(folder)
    try:
        return _openat2(folder, path)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # older than 5.6, or a sandbox that does not know it
            raise
        return _walk(folder, path)


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


# --- metadata ---------------------------------------------------------------------------------------------------------


def dress_of(fd: int) -> Entry:
    """Owner, mode, attributes and flags of an open regular file. Raises OSError for anything else."""
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return Entry(
        "", "file", stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, xattrs=read_xattrs(fd), flags=flags.flags_of(fd)
    )


def read_xattrs(fd: int) -> Mapping[str, str]:
    """Extended attributes (ACLs and capabilities among them), base64. A file system without any has none."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return NO_XATTRS
        raise
    if not names:
        return NO_XATTRS
    found = {name: value for name in names if (value := _xattr(fd, name)) is not None}
    if sum(map(len, found.values())) > XATTR_MAX:
        raise TooMuch(f"more than {XATTR_MAX >> 10} KiB of extended attributes", "")
    return {name: base64.b64encode(value).decode() for name, value in found.items()}


def _xattr(fd: int, name: str) -> bytes | None:
    """None: it has gone since the names were told."""
    try:
        return os.getxattr(fd, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return None


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
    into_place(folder, write_beside(folder, name, lambda fd: write_pieces(fd, (data,)), entry), name)
    os.fsync(folder)


def write_beside(folder: int, name: str, write: Callable[[int], None], entry: Entry, *, sync: bool = True) -> str:
    """A whole file, dressed, under its temporary name, which is given back; nothing is left of what cannot be written.

    `write` is given the empty file. Raises OSError, and what `write` raises.
    """
    temporary = temporary_of(name)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    except FileExistsError:  # a crash left it
        remove(folder, temporary)
        fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        write(fd)
        dress(fd, entry)
        if sync:
            os.fsync(fd)
    except Exception:  # whatever it was, it rises; the file in somebody's folder does not stay
        tidy(folder, temporary)
        raise
    finally:
        os.close(fd)
    return temporary


def write_pieces(fd: int, content: Iterable[bytes], parts: Sequence[Sequence[int]] | None = None) -> None:
    """Into an empty file. Where `parts` are given, what lies between them is left as holes."""
    done = 0
    for piece in content:
        if parts is None:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        else:
            _write_parts(fd, piece, done, parts)
        done += len(piece)
    if parts is not None:
        os.ftruncate(fd, done)


def _write_parts(fd: int, piece: bytes, offset: int, parts: Sequence[Sequence[int]]) -> None:
    """Of this piece, which stands at `offset`, what is no hole."""
    for start, length in parts:
        begin, end = max(start, offset), min(start + length, offset + len(piece))
        while begin < end:
            begin += os.pwrite(fd, piece[begin - offset : end - offset], begin)


def sync_together(fd: int) -> None:
    """Everything that was written to this descriptor's file system. Raises OSError."""
    if libc().syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def put_link(folder: int, name: str, entry: Entry) -> None:
    temporary = cleared(folder, name)
    os.symlink(entry.target, temporary, dir_fd=folder)
    os.chown(temporary, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    set_times(temporary, folder, entry)
    into_place(folder, temporary, name, unlock=True)


def put_hard_link(folder: int, name: str, source_folder: int, source: str) -> None:
    """Another name for a file that is there."""
    temporary = cleared(folder, name)
    link = partial(os.link, source, temporary, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
    flags.unlocked(link, source_folder, source)
    into_place(folder, temporary, name, unlock=True)
    remove(folder, temporary)  # rename does nothing when both were names of one file already


def cleared(folder: int, name: str) -> str:
    temporary = temporary_of(name)
    remove(folder, temporary)
    return temporary


def into_place(folder: int, temporary: str, name: str, *, unlock: bool = False) -> None:
    """A folder in the way is removed first: rename does not replace one. The caller syncs the folder. Where it cannot be, nothing
    is left of it.
    """
    rename = partial(os.rename, temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    try:
        try:
            flags.unlocked(rename, folder, name) if unlock else rename()
        except IsADirectoryError:
            remove(folder, name, unlock=unlock)
            rename()
    except OSError:
        tidy(folder, temporary)
        raise


def tidy(folder: int, temporary: str) -> None:
    """A temporary of ours in somebody's folder goes. That it cannot is no reason to fail: what happened before is."""
    try:
        remove(folder, temporary, unlock=True)
    except OSError:
        return


def dress(fd: int, entry: Entry) -> None:
    """Owner first: changing it clears set-user-id bits and capabilities. What locks a file comes later: it could not even be
    renamed any more.
    """
    flags.unlock(fd, entry.path)
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    write_xattrs(fd, entry.xattrs)
    flags.put(fd, entry.flags & ~flags.LOCKS, entry.path)
    if entry.mtime_ns or entry.ctime_ns:  # else it was never a file's: nobody asks for a time
        os.utime(fd, ns=(entry.atime_ns or entry.mtime_ns, entry.mtime_ns))


def set_times(name: str, folder: int, entry: Entry) -> None:
    """Never of what a link points to."""
    if entry.mtime_ns or entry.ctime_ns:
        os.utime(name, ns=(entry.atime_ns or entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)


def remove(folder: int, name: str, *, unlock: bool = False) -> bool:
    """The name and all below it; never what a link points to. False when it was not there. `unlock`: locked files, too."""
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(seen.st_mode):
        gone = partial(os.unlink, name, dir_fd=folder)
        flags.unlocked(gone, folder, name) if unlock else gone()
        return True
    fd = open_below(folder, name)
    try:
        if unlock:
            flags.unlock(fd, name)
        for below in os.listdir(fd):
            remove(fd, below, unlock=unlock)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)
    return True
