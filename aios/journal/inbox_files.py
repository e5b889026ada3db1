"""The files that the inbox follows: which is which, whether it is the one that we know, how far it was read, whose turn it is.

One table, shared by `inbox` (whose turn it is), `inbox_lines` (what stands in a file) and `inbox_lost` (files that lost their
name). It opens and looks; it decides nothing about lines.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

from aios.events.event import Draft
from aios.events.origin import MARK_SPAN, InboxCursor
from aios.ports import Files, FileStat

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
NOTHING = InboxCursor(0, 0, -1, 0, 0, 0)
_OPEN_MAX = 256  # files that are held open, so that the rest of one that is renamed away can still be read


@dataclass(slots=True, eq=False)
class Followed:
    """A file and how far it was read. `skipped`: bytes behind the cursor that belong to a line that is too long already.

    One that has lost its name is read on `until` then; late lines may come.
    """

    name: str
    path: str
    cursor: InboxCursor
    fd: int = -1
    size: int = 0
    skipped: int = 0
    failing: bool = False
    endless: bool = False
    behind: bool = False
    until: float = 0.0

    @property
    def source(self) -> str:
        return f"inbox/{self.name.partition('/')[0]}"


class FollowedFiles:
    """`followed` are open or were lately, `known` the cursors of the others, `dirty` the names that are to be looked at, in turn.

    `news` is what is to be told besides the lines.
    """

    def __init__(self, disk: Files, folder: str, cursors: Mapping[str, InboxCursor]) -> None:
        self.disk = disk
        self.folder = folder
        self.known = dict(cursors)
        self._unseen = set(self.known)
        """Names that were not looked at since the start: the file may be a copy of the one that we know."""
        self._inodes: dict[str, set[tuple[int, int]]] = {}
        self.followed: OrderedDict[str, Followed] = OrderedDict()
        self.dirty: OrderedDict[str, None] = OrderedDict()
        self.news: list[Draft] = []

    def follow(self, name: str) -> Followed:
        file = self.followed.get(name)
        if file is None:
            file = Followed(name, f"{self.folder}/{name}.jsonl", self.known.get(name, NOTHING))
            self.followed[name] = file
            if len(self.followed) > _OPEN_MAX:
                self.forget(next(iter(self.followed)))
        self.followed.move_to_end(name)
        return file

    def forget(self, name: str) -> None:
        """Close it; only its cursor is remembered."""
        file = self.followed.pop(name)
        self.shut(file)
        if file.cursor.generation >= 0:
            self.known[name] = file.cursor

    def is_the_one(self, file: Followed, here: FileStat) -> bool:
        """Whether this is the file that we know by this name.

        At the first look after a start its device may have another number (some file systems change it with each mount);
        whether the content is the one we know is then for its mark to say.
        """
        cursor = file.cursor
        if here.inode == cursor.inode and here.device != cursor.device and file.fd < 0:
            file.cursor = cursor._replace(device=here.device)
            return True
        same = (here.device, here.inode) == (cursor.device, cursor.inode)
        if not same and file.name in self._unseen and self._is_a_copy(file, here):
            file.cursor = cursor._replace(device=here.device, inode=here.inode)
            same = True
        self._unseen.discard(file.name)
        return same

    def _is_a_copy(self, file: Followed, here: FileStat) -> bool:
        """Whether the state folder came back from a copy: at the cursor stands the line that was taken last, and the file that
        we knew is nowhere beside it. (Rotated, it would be; then the new one has lines of its own from its beginning.) Raises
        OSError.
        """
        cursor = file.cursor
        if cursor.length <= 0 or here.size < cursor.offset or (cursor.device, cursor.inode) in self._inodes_beside(file.path):
            return False
        fd = self.open_if_it_is(file.path, here, cursor)
        if fd >= 0:
            self.disk.close(fd)
        return fd >= 0

    def _inodes_beside(self, path: str) -> set[tuple[int, int]]:
        """Of all that stood in this folder when it was first asked."""
        folder = path.rpartition("/")[0]
        if folder not in self._inodes:
            found = self._inodes[folder] = set()
            for name in self.disk.listdir(folder):
                try:
                    stat = self.disk.lstat(f"{folder}/{name}")
                except FileNotFoundError:
                    continue  # gone again
                found.add((stat.device, stat.inode))
        return self._inodes[folder]

    def look(self, file: Followed) -> FileStat | None:
        """What stands under its name; None: nothing does. Raises OSError for what is no regular file."""
        try:
            here = self.disk.lstat(file.path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(here.mode):
            raise OSError(errno.EINVAL, "not a regular file; links, pipes and devices are not followed")
        return here

    def reopen(self, file: Followed, here: FileStat) -> bool:
        """Have it open. False when another file came to stand there just now."""
        if file.fd >= 0:
            return True
        fd = self.disk.open(file.path, OPEN)
        opened = self.disk.fstat(fd)
        if (opened.device, opened.inode) != (here.device, here.inode):
            self.disk.close(fd)
            return False
        file.fd = fd
        return True

    def was_truncated(self, file: Followed, here: FileStat) -> bool:
        """Whether what stands before the cursor is not what we read there: also when the file has grown again since."""
        cursor = file.cursor
        if here.size < cursor.offset + file.skipped:
            return True
        span = min(cursor.length, MARK_SPAN)
        return crc32(self.disk.pread(file.fd, span, cursor.offset - span)) != cursor.mark

    def known_by(self, path: str) -> InboxCursor | None:
        """The cursor of the inbox file at this path, if it is one that we know: it is read under that name."""
        name = path.removesuffix(".jsonl")
        return self.followed[name].cursor if name in self.followed else self.known.get(name)

    def open_if_it_is(self, path: str, here: FileStat, cursor: InboxCursor) -> int:
        """Opened, if what stands before the cursor is what was read there; else -1. An inode may be another file's by now."""
        fd = self.disk.open(path, OPEN)
        opened = self.disk.fstat(fd)
        span = min(cursor.length, MARK_SPAN)
        same = (opened.device, opened.inode) == (here.device, here.inode) and opened.size >= cursor.offset
        if same and crc32(self.disk.pread(fd, span, cursor.offset - span)) == cursor.mark:
            return fd
        self.disk.close(fd)
        return -1

    def cursors(self) -> Iterator[tuple[str, InboxCursor]]:
        """Of every name, how far its file was read."""
        for name, cursor in self.known.items():
            if name not in self.followed:
                yield name, cursor
        for name, file in self.followed.items():
            yield name, file.cursor

    def still_there(self, name: str, here: FileStat) -> bool:
        try:
            there = self.disk.lstat(f"{self.folder}/{name}.jsonl")
        except FileNotFoundError:
            return False
        return (there.device, there.inode) == (here.device, here.inode)

    def fail(self, place: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.news.append(Draft(type="journal.inbox_failed", subject="host", data={"file": place, "error": reason}))

    def shut(self, file: Followed) -> None:
        if file.fd >= 0:
            fd, file.fd = file.fd, -1
            try:
                self.disk.close(fd)
            except OSError:
                pass  # it was only read

    def tell_lost(self, file: Followed, length: int) -> None:
        data = {"file": f"inbox/{file.name}.jsonl", "offset": file.cursor.offset, "length": length}
        self.news.append(Draft(type="journal.inbox_lost", subject="host", data=data))
