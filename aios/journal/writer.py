"""The journal's one writer, as plain synchronous code over `Files`: no thread, no loop, no clock of its own.

`thread` drives it, and so does the simulator. A commit that raises OSError has acknowledged nothing: that part is left as it is,
and the caller brings the same lines again until a new part takes them. What a person must hear of (a torn line, a failed
part) gathers in `troubles`; the driver hands it on once the journal works again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import accumulate

from aios.disk import make_dirs, remove_if_there, write_all, write_small
from aios.events.codec import LINE_MAX
from aios.events.event import Draft, Position, day_of
from aios.journal.parts import BATCH_BYTES_MAX, Part, list_parts
from aios.ports import Files

_DAY_S = 86_400.0
_TROUBLES_MAX = 64
_PARTS_IN_DOUBT = 4  # one that a sync failed on, and a few more that were begun and given up after it
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW


def never_trusted() -> bool:
    """For a machine that cannot say whether its clock is right."""
    return False


class JournalFile:
    """The part that is written now.

    `folder` is `events/`, `quarantine` the folder for what is torn. `clock_trusted` says whether the wall clock is in sync:
    without that, a leap of more than a day past the newest part is not believed, and lines go on into that part's day.
    """

    def __init__(self, files: Files, folder: str, quarantine: str, *, clock_trusted: Callable[[], bool] = never_trusted) -> None:
        self._files = files
        self._folder = folder
        self._quarantine = quarantine
        self._clock_trusted = clock_trusted
        self._fd = -1
        self._part = Part("", 0)
        self._inode = 0
        self._length = 0  # of the open part: all of it is durable
        self._day_ends = 0.0
        self.clock_doubted = False
        self.troubles: list[Draft] = []

    @property
    def part(self) -> Part:
        """The newest part."""
        return self._part

    def open(self, now: float) -> None:
        """Find the newest part, make sure of its end, and be ready to commit. Raises OSError when the folder cannot be used."""
        make_dirs(self._files, self._folder)
        parts = list_parts(self._files, self._folder)
        if parts:
            self._part = parts[-1]
            self._see_what_the_disk_has(parts[-_PARTS_IN_DOUBT:-1])
            self._make_sure_of_end()
        try:
            self._turn(now)
        except OSError:
            pass  # noted in `troubles`, and commit tries again: a full disk is a thing to heal, not a reason not to start

    def commit(self, lines: Sequence[bytes], now: float) -> list[Position]:
        """Write these lines (at most `BATCH_BYTES_MAX` of them) and sync. Where they stand, once they are durable.

        Raises OSError, and then none of them counts as written: bring them again, until the disk takes them.
        """
        if self._fd < 0 or now >= self._day_ends:
            self._turn(now)
        data = b"".join(lines)
        try:
            write_all(self._files, self._fd, data)
            self._files.fdatasync(self._fd)
            moved = self._what_became_of_it(self._length + len(data))
        except OSError as error:
            self._abandon(error)
            raise
        if moved is not None:
            self._leave_to_others(moved)
            raise OSError(errno.ESTALE, "the part is not where it was, or not what it was", self._part.name)
        day, number = self._part
        offsets = accumulate(map(len, lines), initial=self._length)
        self._length += len(data)
        return [tuple.__new__(Position, (day, number, offset)) for offset, _ in zip(offsets, lines, strict=False)]

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)

    def _what_became_of_it(self, size: int) -> int | None:
        """None while the part that we write stands under its name with what we wrote; else the size of what stands there, or -1.

        Asked before anything is acknowledged: what went into a file that somebody had moved away or removed is written again.
        """
        try:
            found = self._files.stat(f"{self._folder}/{self._part.name}")
        except FileNotFoundError:
            return -1
        return None if (found.inode, found.size) == (self._inode, size) else found.size

    def _leave_to_others(self, size: int) -> None:
        """Somebody moved, removed, replaced or edited the part that we write: it is theirs now, and a new one is begun."""
        kind = "journal.part_missing" if size < 0 else "journal.part_changed"
        was = {"size": self._length} if size < 0 else {"was": self._length, "size": size}
        self._tell(kind, part=self._part.name, **was)
        try:
            self.close()
        except OSError:
            pass  # the descriptor is gone either way

    # --- parts and days

    def _turn(self, now: float) -> None:
        """See to it that a part of the right day is open."""
        day = self._day_for(now)
        if self._fd >= 0 and day == self._part.day:
            return
        self.close()
        self._begin(Part(day, self._part.number + 1 if day == self._part.day else 1))

    def _day_for(self, now: float) -> str:
        """max(today, newest day), unless today cannot be believed. `_day_ends` is when to ask again."""
        today, newest = day_of(now), self._part.day
        self.clock_doubted = bool(newest) and today > _day_after(newest) and not self._clock_trusted()
        if self.clock_doubted:
            self._day_ends = now + 60.0
            return newest
        day = max(today, newest)
        self._day_ends = _midnight_after(day)
        return day

    def _begin(self, part: Part) -> None:
        self._part, self._length = part, 0
        try:
            self._fd = self._files.open(f"{self._folder}/{part.name}", _APPEND | os.O_CREAT | os.O_EXCL)
            self._inode = self._files.fstat(self._fd).inode
            self._files.fsync_dir(self._folder)
        except OSError as error:
            self._abandon(error)
            raise

    def _abandon(self, error: OSError) -> None:
        """Leave the part for good: after a failed sync nothing of that descriptor may be believed.

        One in which nothing was ever acknowledged is removed, lest a full disk fill with empty parts while we try again.
        """
        made_by_us = self._fd >= 0
        try:
            self.close()
        except OSError:
            pass  # the descriptor is gone either way, and the part is already given up
        if self._length == 0 and made_by_us:
            remove_if_there(self._files, f"{self._folder}/{self._part.name}")
        self._tell("journal.part_failed", part=self._part.name, error=str(error))

    # --- after a crash

    def _make_sure_of_end(self) -> None:
        """Close off a torn last line and sync what the process before us may have written and never synced.

        Where that fails, the end is in doubt: its last lines are written again, under the same ids, into a new part.
        """
        path = f"{self._folder}/{self._part.name}"
        try:
            self._fd = self._files.open(path, _APPEND)
            self._inode, self._length = self._files.fstat(self._fd).inode, self._files.fstat(self._fd).size
            self._files.fsync(self._fd)
            self._files.drop_cache(self._fd)
            self._length = self._files.fstat(self._fd).size
            self._close_off_torn_line()
            self._files.fsync(self._fd)
            self._files.fsync_dir(self._folder)
        except OSError as error:
            self._abandon_at_start(path, error)

    def _abandon_at_start(self, path: str, error: OSError) -> None:
        length, doubtful = self._length, self._whole_lines_at_end(path)
        self._length = max(1, length)  # never remove it: what stands there was acknowledged once
        self._abandon(error)
        self._begin(Part(self._part.day, self._part.number + 1))
        try:
            write_all(self._files, self._fd, doubtful)
            self._files.fdatasync(self._fd)
        except OSError as again:
            self._abandon(again)
            raise
        self._length = len(doubtful)

    def _see_what_the_disk_has(self, given_up: Sequence[Part]) -> None:
        """A process before us may have died after a failed sync, before it had written the same lines again elsewhere.

        Then the kernel calls those pages clean and goes on showing them, no sync brings them to the disk, and a power cut takes
        them. So what can be is synced, and then the cache is dropped: what is read from here on is what the disk has. (For the
        newest part `_make_sure_of_end` does the same.)
        """
        for part in given_up:
            fd = self._files.open(f"{self._folder}/{part.name}", _APPEND)
            try:
                self._sync_or_not(fd)
                self._files.drop_cache(fd)
            finally:
                self._files.close(fd)

    def _sync_or_not(self, fd: int) -> None:
        try:
            self._files.fsync(fd)
        except OSError:
            pass  # what it could not write was never acknowledged, and is not seen any more once the cache is dropped

    def _close_off_torn_line(self) -> None:
        tail = self._files.pread(self._fd, BATCH_BYTES_MAX, max(0, self._length - BATCH_BYTES_MAX))
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        begins = self._length - len(torn)
        kept = self._keep_torn(torn, begins)
        write_all(self._files, self._fd, b"\n")
        self._length += 1
        self._tell("journal.torn", part=self._part.name, offset=begins, length=len(torn), kept=kept)

    def _keep_torn(self, torn: bytes, begins: int) -> str:
        name = f"journal-{self._part.name}-{begins}"
        try:
            make_dirs(self._files, self._quarantine)
            write_small(self._files, f"{self._quarantine}/{name}", torn[:LINE_MAX])
        except OSError:
            return ""  # the torn bytes still stand in the part; a full disk must not keep us from starting
        return name

    def _whole_lines_at_end(self, path: str) -> bytes:
        try:
            fd = self._files.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                begin = max(0, self._files.fstat(fd).size - BATCH_BYTES_MAX)
                tail = self._files.pread(fd, BATCH_BYTES_MAX, begin)
            finally:
                self._files.close(fd)
        except OSError:
            return b""  # it cannot be read at all: there is nothing to write again
        first = tail.find(b"\n") + 1 if begin else 0
        return tail[first : tail.rfind(b"\n") + 1]

    def _tell(self, event_type: str, **data: object) -> None:
        if len(self.troubles) < _TROUBLES_MAX:
            self.troubles.append(Draft(type=event_type, subject="host", data=data))


def _day_after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _midnight_after(day: str) -> float:
    return (date.fromisoformat(day).toordinal() + 1 - date(1970, 1, 1).toordinal()) * _DAY_S
