"""Files of the inbox that lost their name: a rotation took it, another file has it, or nobody has.

Programs are rotated by others: `web.jsonl` becomes `web.jsonl.1`, a new one is begun, and lines go on coming into the old one for
a while. What was not read of the old one is read on, late lines are waited for, rotations that happened between two looks are
found by what they left, and a file that is given another inbox name is read on under that, so that no line comes twice. `inbox`
calls this where a name is not what it was; what stands in such a file, `inbox_lines` reads.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from math import inf

from aios.clock import Clock
from aios.events.event import Draft
from aios.events.origin import InboxCursor, origin_text
from aios.journal.inbox_files import Followed, FollowedFiles
from aios.journal.inbox_lines import Lines, Take
from aios.ports import FileStat

_ROTATED = re.compile(r"[.-]\d[\d.:T-]{0,30}", re.ASCII)
_LINGER_S = 60.0  # a program may go on with a file that a rotation took away, until it opens the new one
_LINGER_LOOK_S = 1.0
_OLD_MAX = 64


class LostNames:
    """See the head of this file. `hear_of(name)` looks at an inbox file at once, since a file that we know may have its name."""

    def __init__(
        self,
        table: FollowedFiles,
        lines: Lines,
        clock: Clock | None,
        later: Callable[[float], None],
        hear_of: Callable[[str], None],
    ) -> None:
        self._table = table
        self._lines = lines
        self._clock = clock
        self._later = later
        self._hear_of = hear_of
        self._old: dict[str, list[Followed]] = {}
        self._old_look_at = 0.0
        self._given_away: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """Names of which a file is read on that has them no more."""
        return list(self._old)

    def files(self) -> Iterator[Followed]:
        return chain.from_iterable(self._old.values())

    def has_name_again(self, name: str) -> None:
        """Another file stands under it, or nobody ever will: what was given away is done with."""
        self._given_away.pop(name, None)

    def lose_name(self, file: Followed, told: bool) -> None:
        """The name is gone, or another file has it. What the old one holds is read on, if it is open or can be found."""
        if not file.cursor.inode:
            self._look_for_missed(file, self._given_away.get(file.name))
            return
        entry = self._find_renamed(file)
        if entry.endswith(".jsonl"):
            # Before anything is read of what has the name now: the journal must know of this first, or a crash brings it twice.
            self._hear_of(entry.removesuffix(".jsonl"))
            if not file.cursor.inode:
                self._look_for_missed(file, self._given_away.get(file.name))
                return
        if file.fd < 0 and entry:
            file.fd = self._open_renamed(f"{self._table.folder}/{entry}", file.cursor)
        last = self._last_written(file)
        if file.fd >= 0:
            self._read_on(file)
            file.fd = -1
        elif last is not None:
            pass  # it has another name in the inbox, and is read under that
        elif told:
            self._table.tell_lost(file, -1)
        else:
            return  # nothing is certain yet
        self._look_for_missed(file, last)
        file.cursor = file.cursor._replace(device=0, inode=0)  # what it was is done with
        file.size = file.skipped = 0

    def _look_for_missed(self, file: Followed, last_ns: int | None) -> None:
        missed = self._missed_since(file, last_ns) if last_ns is not None else []
        for one in missed:
            self._read_on(one)
        file.cursor = file.cursor._replace(generation=file.cursor.generation + len(missed))

    def _read_on(self, file: Followed) -> None:
        now = self._clock.monotonic() if self._clock is not None else -inf
        self._old.setdefault(file.name, []).append(replace(file, until=now + _LINGER_S))

    def _last_written(self, file: Followed) -> int | None:
        """When the file that lost this name was written to last, in nanoseconds; None when nobody knows it any more."""
        if file.fd >= 0:
            return self._table.disk.fstat(file.fd).mtime_ns
        for name, cursor in self._table.cursors():
            if cursor.inode == file.cursor.inode and name != file.name:
                try:
                    return self._table.disk.lstat(f"{self._table.folder}/{name}.jsonl").mtime_ns
                except FileNotFoundError:
                    return None
        return None

    def _find_renamed(self, file: Followed) -> str:
        """Where a rotation has put it, below the inbox: mostly it stays in its folder. Empty when it is not there."""
        below = file.name.rpartition("/")[0]
        for entry in self._beside(file):
            path = f"{below}/{entry}" if below else entry
            try:
                here = self._table.disk.lstat(f"{self._table.folder}/{path}")
            except OSError:
                continue  # gone again
            if here.inode == file.cursor.inode and stat.S_ISREG(here.mode) and self._table.known_by(path) is None:
                return path
        return ""

    def _missed_since(self, file: Followed, last_ns: int) -> list[Followed]:
        """Files that had this name after the one that lost it and before the one that has it, and that we never saw there.

        Two rotations between two looks. They are called `NAME.jsonl.2` or the like, nobody reads them, and they were written to
        later than the one that we know: what a rotation has kept from earlier days was not.
        """
        taken = {cursor.inode for _, cursor in self._table.cursors()}
        taken |= {old.cursor.inode for olds in self._old.values() for old in olds}
        folder, base = os.path.split(file.path)
        found: list[tuple[int, str, FileStat]] = []
        for entry in self._beside(file):
            if entry.startswith(base) and _ROTATED.fullmatch(entry, len(base)):
                here = self._table.disk.lstat(f"{folder}/{entry}")
                if stat.S_ISREG(here.mode) and here.mtime_ns > last_ns and here.inode not in taken:
                    found.append((here.mtime_ns, f"{folder}/{entry}", here))
        missed: list[Followed] = []
        for number, (_, path, here) in enumerate(sorted(found)[:_OLD_MAX], 1):
            cursor = InboxCursor(here.device, here.inode, file.cursor.generation + number, 0, 0, 0)
            fd = self._open_renamed(path, cursor)
            if fd >= 0:
                missed.append(Followed(file.name, file.path, cursor, fd))
        return missed

    def _beside(self, file: Followed) -> list[str]:
        try:
            return self._table.disk.listdir(os.path.dirname(file.path))
        except FileNotFoundError:
            return []  # its folder is gone too

    def _open_renamed(self, path: str, cursor: InboxCursor) -> int:
        try:
            return self._table.open_if_it_is(path, self._table.disk.lstat(path), cursor)
        except OSError:
            return -1  # gone again: it is told as lost

    def came_from_elsewhere(self, file: Followed, here: FileStat) -> bool:
        """Whether a rotation gave a file that we know this name: then it is read on under it, and no line comes twice."""
        before = self._take_over_old(file, here) or self._take_over_named(file, here)
        if not before:
            return False
        self._table.dirty[before] = None
        if file.cursor.length:
            origin = origin_text(file.name, file.cursor)  # by this the world knows how far it was read, under its new name
            data = {"file": f"inbox/{file.name}.jsonl", "before": f"inbox/{before}.jsonl"}
            self._table.news.append(Draft(type="journal.inbox_moved", subject="host", data=data, origin=origin))
        return True

    def _take_over_old(self, file: Followed, here: FileStat) -> str:
        """From those that have lost their name. Gives the name."""
        for name, olds in self._old.items():
            for old in olds:
                if (old.cursor.device, old.cursor.inode) == (here.device, here.inode):
                    olds.remove(old)
                    if not olds:
                        del self._old[name]
                    file.cursor, file.fd, file.size, file.skipped = old.cursor, old.fd, old.size, old.skipped
                    return name
        return ""

    def _take_over_named(self, file: Followed, here: FileStat) -> str:
        """From those whose name was taken away just now, or while no daemon ran. Raises OSError for a second name of a file."""
        here_too = {name: cursor for name, cursor in self._table.cursors() if name != file.name and cursor.inode == here.inode}
        for name, cursor in sorted(here_too.items(), key=lambda item: item[1].offset, reverse=True):
            if self._table.still_there(name, here):
                raise OSError(errno.EMLINK, f"another name of inbox/{name}.jsonl, and read under that")
            fd = self._table.open_if_it_is(file.path, here, cursor)
            if fd >= 0:
                file.cursor, file.fd = cursor._replace(device=here.device), fd
                for other in here_too:
                    self._give_away(other, here.mtime_ns)
                return name
        return ""

    def _give_away(self, name: str, last_ns: int) -> None:
        """The file that this name had, written to last at this time, is read under another one now."""
        self._given_away[name] = last_ns
        if name in self._table.known:
            self._table.known[name] = self._table.known[name]._replace(device=0, inode=0)
        other = self._table.followed.get(name)
        if other is not None:
            self._table.shut(other)
            other.cursor = other.cursor._replace(device=0, inode=0)
            other.size = other.skipped = 0

    def look_for_late_lines(self) -> None:
        """Files without a name that may have grown: the kernel tells of some of them only."""
        if not self._old:
            return
        now = self._clock.monotonic() if self._clock is not None else inf
        if now >= self._old_look_at:
            self._old_look_at = now + _LINGER_LOOK_S
            self._table.dirty.update(dict.fromkeys(self._old))
        self._later(_LINGER_LOOK_S)

    def take(self, name: str, take: Take, share: int) -> bool:
        """Up to `share` lines of the files that had this name, if there are any. Whether there is more at hand."""
        if name not in self._old:
            return False
        now = self._clock.monotonic() if self._clock is not None else inf
        crowded = sum(map(len, self._old.values())) > _OLD_MAX
        for old in list(self._old[name]):
            try:
                old.size = self._table.disk.fstat(old.fd).size
                if self._lines.read(old, take, share):
                    return True
                if now < old.until and not crowded:
                    continue
                self._lines.take_half_line(old, take)
            except OSError as error:
                self._table.fail(f"inbox/{name}.jsonl", error)
            self._table.shut(old)
            self._old[name].remove(old)
        if not self._old[name]:
            del self._old[name]
        return False
