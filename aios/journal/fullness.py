"""A disk that takes no more: what may still be written, what waits, and how it comes back. For the writer's two drivers.

While there is room, a file of some megabytes is kept that holds nothing (`events/.reserve`). When the disk is full it is removed,
and the room that it gives goes to what matters most: at first only P3 waits; when a quarter of the room is used, P2 too; when
half is, P1. P0 and our own bookkeeping (runs, approvals, decisions) wait last, when nothing is left. What came by an inbox waits
first of all, whatever its class: it stands safe in a file of its own, and of one file nothing may be taken out of turn. As soon
as the reserve can be put back, everything flows again. Nothing that waits is dropped, and nothing of it is acknowledged.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from math import inf

from aios.disk import remove_if_there, write_all
from aios.events.catalogue import is_own
from aios.events.event import HOST, Draft, Event
from aios.events.origin import PREFIX
from aios.ports import Files
from aios.scheduler.priority import P0, P1, P2, P3, priority

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
RETRY_S = 5.0
RETRY_CEILING_S = 300.0
RESERVE_AFTER_S = 30.0
_TROUBLES_MAX = 64
_CHUNK = bytes(1 << 20)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW


class Reserve:
    """Room that is kept: a file of this many bytes. 0 keeps none."""

    def __init__(self, files: Files, path: str, size: int) -> None:
        self._files = files
        self._path = path
        self.size = size

    def take(self) -> bool:
        """See to it that the file is there, whole and durable. False when the disk has no room for it."""
        try:
            if self.size and self._files.lstat(self._path).size == self.size:
                return True
        except OSError:
            pass  # there is none yet
        return not self.size or self._make()

    def _make(self) -> bool:
        try:
            fd = self._files.open(self._path, _CREATE, 0o600)
            try:
                for begin in range(0, self.size, len(_CHUNK)):
                    write_all(self._files, fd, _CHUNK[: self.size - begin])
                self._files.fsync(fd)
            finally:
                self._files.close(fd)
        except OSError:
            remove_if_there(self._files, self._path)  # half a reserve takes room and says that there is none
            return False
        return True

    def fits(self) -> bool:
        """Put it back, if as much is left besides: else the next line would be one too many again."""
        try:
            if self._files.room(os.path.dirname(self._path)).free < 2 * self.size:
                return False
        except OSError:
            return False
        return self.take()

    def release(self) -> bool:
        """Give the room back; whether there was any."""
        try:
            self._files.unlink(self._path)
        except OSError:
            return False
        return True


class Fullness:
    """Whether the disk is full, and which classes may be written. `troubles` gathers what is to be told."""

    def __init__(self, reserve: Reserve | None, troubles: list[Draft]) -> None:
        self._reserve = reserve
        self._troubles = troubles
        self._spent = 0
        self._again_at = 0.0
        self._room = 0
        self._retry_s = RETRY_S
        self._back_at = -inf
        self._ready = reserve is None
        self._since: float | None = None
        self.full = False

    def failed(self, error: OSError, now: float) -> None:
        """A commit failed. `now` is monotonic."""
        if error.errno not in FULL or self.full:
            return
        self.full = True
        self._retry_s = min(self._retry_s * 2, RETRY_CEILING_S) if now < self._back_at + RETRY_CEILING_S else RETRY_S
        self._again_at = now + self._retry_s
        self._spent = 0
        self._room = self._reserve.size if self._reserve is not None and self._reserve.release() else 0
        data = {"error": str(error), "reserve_mb": round(self._room / 1e6, 1)}
        del self._troubles[_TROUBLES_MAX:]
        self._troubles.append(Draft(type="journal.disk_full", subject=HOST, data=data))

    def wrote(self, size: int) -> None:
        self._spent += size if self.full else 0

    def idle(self, now: float) -> None:
        """Nothing waits: the moment to put the reserve there, once; a while after the start, whose first events are urgent."""
        self._since = now if self._since is None else self._since
        if not self._ready and self._reserve is not None and now - self._since >= RESERVE_AFTER_S:
            self._ready = True
            self._reserve.take()

    def last_class(self, now: float) -> int:
        """The least class that may be written now; P3: everything."""
        if not self.full:
            return P3
        if now >= self._again_at:
            self._again_at = now + self._retry_s
            self._come_back(now)
        if not self.full:
            return P3
        used = self._spent / self._room if self._room else 1.0
        return P2 if used < 0.25 else P1 if used < 0.5 else P0

    def _come_back(self, now: float) -> None:
        """Room again, and some besides the reserve? Without one only a write can tell: then all may try."""
        if self._reserve is None or self._reserve.fits():
            self.full = False
            self._back_at = now
            self._troubles.append(Draft(type="journal.disk_normal", subject=HOST, data={}))


def class_of(events: Sequence[Event]) -> int:
    """Of what was appended together: the first class among them; what came by an inbox is last."""
    if any(event.origin.startswith(PREFIX) for event in events):
        return P3
    return min((P0 if is_own(event.type) else priority(event) for event in events), default=P0)
