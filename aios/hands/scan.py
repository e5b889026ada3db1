"""Looks at a tree, whole, within bounds: metadata of every name, and the hash of every file's bytes.

`Scan` walks; what is done with the bytes is its `keep`'s affair: `Hasher` only hashes, `Saver` (`saver.py`) stores them too.
What a snapshot before has seen is believed without reading it again (`known`), if it is surely unchanged. Memory is constant,
whatever the size of a file; holes are found (SEEK_DATA) and not read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import cycle
from typing import NamedTuple, Protocol

from aios.digest import PIECES_AHEAD, Digest
from aios.hands import times
from aios.hands.entry import NO_XATTRS, Entry, path_below
from aios.hands.flags import flags_of
from aios.hands.tree import DEPTH_MAX, TooMuch, folder_of, is_ours, open_below, read_xattrs

PIECE = 1 << 20
_ZEROS = memoryview(bytes(PIECE))
ANOTHER = "another"
"""The hash of a file that was not read, as it surely is not what is wanted."""
EXTENTS_MAX = 10_000
"""Of a sparse file; with more, its holes from there on are read as zeros."""
HOLES_MAX = 16 << 30
"""Bytes of holes in all: they cost no room, but their zeros are hashed, some 20 s of them."""

Extents = Sequence[tuple[int, int]]
"""(offset, length) of each part that is no hole, in order."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one snapshot may hold."""

    files: int = 20_000
    bytes: int = 2 << 30


class Content(NamedTuple):
    """A file's bytes: their hash, where they lie (see `Entry.at`), how many, and its parts when it has holes."""

    blob: str
    at: Sequence[object]
    size: int
    data: Extents | None


_REPLACED = frozenset({errno.ELOOP, errno.ENXIO, errno.ESTALE})
"""What opening says to whom a link, a socket or a FIFO stands in the way."""
NO_CONTENT = Content("", (), 0, None)


class Keep(Protocol):
    """What is done with the bytes of an open file. Raises OSError."""

    def content(self, fd: int, seen: os.stat_result) -> Content: ...


class Hasher:
    """Reads and keeps nothing."""

    def content(self, fd: int, seen: os.stat_result) -> Content:
        if seen.st_size <= PIECE:
            data = read_whole(fd, seen.st_size, PIECE + 1)
            if len(data) <= PIECE:
                return Content(sha256(data).hexdigest(), (), len(data), None)
        digest, size = Digest(), 0
        extents = extents_of(fd, seen)
        try:
            for piece in pieces(fd, seen.st_size, extents):
                digest.update(_ZEROS[:piece] if isinstance(piece, int) else piece)
                size += piece if isinstance(piece, int) else len(piece)
        finally:
            digest.drop()
        return Content(digest.hexdigest(), (), size, extents)


class Known:
    """What was seen before, by path: entries of one root, made when they are asked for, and until when a file must have changed
    last to have rested then (`times.rested_ns`).

    `differs` is for who only wants to know whether a file is what it was: what surely is not need not be read.
    """

    def __init__(self, entries: Callable[[], Iterable[Entry]], rested_ns: int, *, compare: bool = False) -> None:
        self._entries = entries
        self._rested_ns = rested_ns
        self._compare = compare

    @cached_property
    def _before(self) -> Mapping[str, Entry]:
        return {entry.path: entry for entry in self._entries() if entry.kind == "file"}

    def about(self, path: str) -> bool:
        """Whether anything is known of it."""
        return path in self._before

    def differs(self, path: str, seen: os.stat_result) -> bool:
        """By its size; of a large file, also by the time of its last change: reading it costs as much as writing it anew."""
        was = self._before.get(path)
        if was is None or not self._compare:
            return False
        return was.size != seen.st_size or (was.size > PIECE and was.mtime_ns != seen.st_mtime_ns)

    def unchanged(self, path: str, seen: os.stat_result) -> Entry | None:
        """The entry, when this file surely still is what it was then, if its times tell."""
        was = self._before.get(path)
        if was is None or not 0 < was.ctime_ns < self._rested_ns:
            return None
        same = (was.inode, was.ctime_ns, was.mtime_ns, was.size, was.device) == (
            seen.st_ino,
            seen.st_ctime_ns,
            seen.st_mtime_ns,
            seen.st_size,
            seen.st_dev,
        )
        return was if same else None


NOTHING_KNOWN = Known(tuple, 0)


class Scan:
    """One root at a time; the bounds are for all that one scan looks at."""

    def __init__(self, keep: Keep, bounds: Bounds, known: Known = NOTHING_KNOWN) -> None:
        self._keep = keep
        self._bounds = bounds
        self._known = known
        self._bytes = self._holes = self._count = 0
        self._entries: list[Entry] = []
        self._inodes: dict[tuple[int, int], list[int]] = {}
        self._devices: dict[int, bool] = {}
        self._place = ""

    def run(self, path: str, known: Known | None = None) -> list[Entry]:
        """`path` must be a real place. Raises OSError."""
        self._entries, self._inodes, self._place = [], {}, path
        self._known = known or self._known
        try:
            with folder_of(path) as (fd, name):
                self._one(fd, name, "", 0)
        except FileNotFoundError:
            self._entries, self._inodes = [Entry("", "absent")], {}
        self._tie()
        return self._entries

    def _one(self, folder: int, name: str, path: str, depth: int) -> None:
        self._counted(path, depth)
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(seen.st_mode):
            self._add(self._file(folder, name, path, seen))
        elif stat.S_ISDIR(seen.st_mode):
            self._folder(folder, name, path, depth)
        elif stat.S_ISLNK(seen.st_mode):
            self._entries.append(entry_of(path, "link", seen)._replace(target=os.readlink(name, dir_fd=folder), mode=0))
        else:
            self._entries.append(_noted(path, seen))

    def _counted(self, path: str, depth: int) -> None:
        self._count += 1
        if self._count > self._bounds.files:
            raise TooMuch(f"more than {self._bounds.files} files (setting snapshots.files_max)", path_below(self._place, path))
        if depth > DEPTH_MAX:
            raise TooMuch(f"more than {DEPTH_MAX} levels of folders", path_below(self._place, path))

    def _file(self, folder: int, name: str, path: str, seen: os.stat_result) -> Entry:
        entry = self._known.unchanged(path, seen)
        if entry is not None and not self._times_tell(folder, seen.st_dev):
            entry = None
        if entry is None and self._known.differs(path, seen):
            return entry_of(path, "file", seen)._replace(blob=ANOTHER)
        if entry is None:
            return self._read(folder, name, path)
        if entry.hard or entry.links != seen.st_nlink:
            return entry._replace(hard="", links=seen.st_nlink)
        return entry

    def _times_tell(self, folder: int, device: int) -> bool:
        """Whether they do of what lies in this open folder. A file may be mounted there from elsewhere: then nobody knows."""
        if device not in self._devices:
            if os.fstat(folder).st_dev != device:
                return False
            self._devices[device] = times.tell(folder)
        return self._devices[device]

    def _add(self, entry: Entry) -> None:
        if entry.links > 1:
            self._inodes.setdefault((entry.device, entry.inode), []).append(len(self._entries))
        self._charge(entry)
        self._entries.append(entry)

    def _read(self, folder: int, name: str, path: str) -> Entry:
        fd = open_to_read(folder, name)
        try:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode):
                raise OSError(errno.ESTALE, "it was replaced while it was read", path or name)
            held = min(seen.st_size, seen.st_blocks * 512)
            if self._bytes + held > self._bounds.bytes:
                self._refuse_bytes(path)
            if self._holes + seen.st_size - held > HOLES_MAX:
                self._refuse_holes(path)
            content = self._keep.content(fd, seen)
            return entry_of(path, "file", seen, read_xattrs(fd), content, flags_of(fd))
        finally:
            os.close(fd)

    def _charge(self, entry: Entry) -> None:
        held = entry.size if entry.data is None else sum(length for _, length in entry.data)
        self._bytes += held
        self._holes += entry.size - held
        if self._bytes > self._bounds.bytes:
            self._refuse_bytes(entry.path)
        if self._holes > HOLES_MAX:
            self._refuse_holes(entry.path)

    def _refuse_holes(self, path: str) -> None:
        raise TooMuch(f"more than {HOLES_MAX >> 30} GiB of holes in sparse files", path_below(self._place, path))

    def _refuse_bytes(self, path: str) -> None:
        most = self._bounds.bytes >> 20
        raise TooMuch(f"more than {most} MiB in all (setting snapshots.one_max_mb)", path_below(self._place, path))

    def _folder(self, folder: int, name: str, path: str, depth: int) -> None:
        fd = open_below(folder, name)
        try:
            self._entries.append(entry_of(path, "folder", os.fstat(fd), read_xattrs(fd), flags=flags_of(fd)))
            below = path + "/" if path else ""
            with os.scandir(fd) as found:
                names = sorted((child.name, child.is_file(follow_symlinks=False)) for child in found)
            for child, plain in names:
                if not is_ours(child):
                    self._child(fd, child, below + child, depth + 1, plain=plain and not self._known.about(below + child))
        finally:
            os.close(fd)

    def _child(self, folder: int, name: str, path: str, depth: int, *, plain: bool) -> None:
        """What goes away while it is looked at was not there. Only where the root itself does is the root absent."""
        try:
            if plain and self._plain(folder, name, path, depth):
                return
            self._one(folder, name, path, depth)
        except FileNotFoundError:
            return

    def _plain(self, folder: int, name: str, path: str, depth: int) -> bool:
        """A file, as its folder said, of which nothing is known: it is not asked twice. False: it is something else by now."""
        try:
            entry = self._read(folder, name, path)
        except OSError as error:
            if error.errno in _REPLACED:
                return False
            raise
        self._counted(path, depth)
        self._add(entry)
        return True

    def _tie(self) -> None:
        """Names of one inode name the first of them."""
        for places in self._inodes.values():
            if len(places) > 1:
                first = self._entries[places[0]].path
                for place in places:
                    self._entries[place] = self._entries[place]._replace(hard=first or ".")


def entry_of(
    path: str,
    kind: str,
    seen: os.stat_result,
    xattrs: Mapping[str, str] = NO_XATTRS,
    content: Content = NO_CONTENT,
    flags: int = 0,
) -> Entry:
    return Entry(
        path,
        kind,
        stat.S_IMODE(seen.st_mode),
        seen.st_uid,
        seen.st_gid,
        seen.st_mtime_ns,
        seen.st_atime_ns,
        seen.st_ctime_ns,
        content.size,
        seen.st_dev,
        seen.st_ino,
        seen.st_nlink if kind == "file" else 1,
        content.blob,
        content.at,
        content.data,
        xattrs=xattrs,
        flags=flags,
    )


def _noted(path: str, seen: os.stat_result) -> Entry:
    """What has no bytes that could be saved: it is noted, and left alone."""
    entry = entry_of(path, "other", seen)
    if stat.S_ISFIFO(seen.st_mode):
        return entry._replace(kind="fifo")
    if stat.S_ISSOCK(seen.st_mode):
        return entry._replace(kind="socket")
    letter = "b" if stat.S_ISBLK(seen.st_mode) else "c"
    return entry._replace(kind="device", target=f"{letter}{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}")


# --- bytes ----------------------------------------------------------------------------------------------------------


def open_to_read(folder: int, name: str) -> int:
    """Never through a link, never waiting for a FIFO, and without a trace in its time of access where we may."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=folder)
    except PermissionError:  # somebody else's file
        return os.open(name, flags, dir_fd=folder)


def read_whole(fd: int, size: int, limit: int) -> bytes:
    """From its beginning, at most `limit` bytes. `size` is how many there should be: with one more asked for, one call tells."""
    data = os.pread(fd, min(size + 1, limit), 0)
    if len(data) == size or len(data) == limit:
        return data
    parts = [data]
    length = len(data)
    while length < limit and (more := os.pread(fd, limit - length, length)):
        parts.append(more)
        length += len(more)
    return b"".join(parts)


def extents_of(fd: int, seen: os.stat_result) -> Extents | None:
    """None when it has no holes, or its file system does not tell."""
    if seen.st_blocks * 512 >= seen.st_size:
        return None
    found: list[tuple[int, int]] = []
    end = 0
    while end < seen.st_size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = min(os.lseek(fd, start, os.SEEK_HOLE), seen.st_size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole to its end
                break
            if error.errno == errno.EINVAL:
                return None
            raise
        if len(found) == EXTENTS_MAX:
            end = seen.st_size
        if end > start:
            found.append((start, end - start))
    return None if found == [(0, seen.st_size)] else found


def pieces(fd: int, size: int, extents: Extents | None) -> Iterator[memoryview | int]:
    """The bytes up to `size`, in pieces that are good until some further ones (`Digest`); an int is so many zeros of a hole."""
    buffers = cycle([memoryview(bytearray(min(PIECE, size))) for _ in range(PIECES_AHEAD + 2)])
    done = 0
    for start, length in [(0, size)] if extents is None else extents:
        yield from _hole(start - done)
        done = start
        while done < start + length:
            buffer = next(buffers)
            got = os.preadv(fd, [buffer[: min(PIECE, start + length - done)]], done)
            if got == 0:
                return  # it became shorter meanwhile
            yield buffer[:got]
            done += got
    yield from _hole(size - done)


def _hole(length: int) -> Iterator[int]:
    for start in range(0, length, PIECE):
        yield min(PIECE, length - start)
