"""Two drivers of `JournalFile`, each a `JournalWriter`: a thread of its own for the daemon, the loop itself for virtual time.

Group commit without a timer: whatever has gathered while the last sync was under way is the next batch. The loop never waits
for the disk, which may take seconds. When a commit fails, the same lines are brought again with growing delays until the disk
takes them; until then nothing is acknowledged, and what arrives meanwhile waits behind them.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aios.backoff import delay_s
from aios.clock import Clock
from aios.errors import Temporary
from aios.events.codec import encode
from aios.events.event import Draft, Event, Position
from aios.journal.fullness import Fullness, Reserve, class_of
from aios.journal.parts import BATCH_BYTES_MAX
from aios.journal.writer import JournalFile
from aios.scheduler.priority import P3

_RETRY_BASE_S = 0.05
_RETRY_CEILING_S = 5.0
GIVE_UP_S = 60.0
_LAST_TRIES = 5  # when closing on a disk that takes nothing

Tell = Callable[[Draft], None]


@dataclass(slots=True, eq=False)
class _Waiting:
    """One `append`, and how far it has come."""

    lines: Sequence[bytes]
    future: Future[list[Position]]
    events: Sequence[Event] = ()
    positions: list[Position] = field(default_factory=list)


class _Pending:
    """What was appended and is not durable. Touched by two threads: only through deque's own atomic calls."""

    def __init__(self) -> None:
        self._entries: deque[_Waiting] = deque()
        self._failures = 0

    def put(self, entry: _Waiting) -> None:
        self._entries.append(entry)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def gather(self, last_class: int = P3) -> tuple[list[bytes], list[_Waiting]]:
        """The next lines to commit, from the front, and whose they are; nothing is taken off yet.

        On a full disk less important entries than `last_class` are passed over.
        """
        lines: list[bytes] = []
        owners: list[_Waiting] = []
        room = BATCH_BYTES_MAX
        for at in range(len(self._entries)):
            entry = self._entries[at]
            if last_class < P3 and not entry.positions and class_of(entry.events) > last_class:
                continue
            rest = entry.lines[len(entry.positions) :] if entry.positions else entry.lines
            size = sum(map(len, rest))
            if size > room:
                fitting = _that_fit(rest, room)
                if fitting:
                    lines += fitting
                    owners.append(entry)
                break
            lines += rest
            owners.append(entry)
            room -= size
        return lines, owners

    def settle(self, owners: list[_Waiting], positions: list[Position]) -> list[_Waiting]:
        """These became durable: take off and return what is complete."""
        self._failures = 0
        begin = 0
        complete: list[_Waiting] = []
        for entry in owners:
            missing = len(entry.lines) - len(entry.positions)
            entry.positions += positions[begin : begin + missing]
            begin += missing
            if len(entry.positions) == len(entry.lines):
                self._entries.remove(entry)  # the first, unless the disk was full
                complete.append(entry)
        return complete

    def failed(self) -> float:
        """How long to wait before the same lines are brought again."""
        self._failures += 1
        return delay_s(self._failures, base_s=_RETRY_BASE_S, factor=2.0, ceiling_s=_RETRY_CEILING_S, chance=1.0)

    def abandon(self) -> list[_Waiting]:
        left = list(self._entries)
        self._entries.clear()
        return left

    @property
    def failures(self) -> int:
        return self._failures


def _that_fit(lines: Sequence[bytes], room: int) -> list[bytes]:
    fitting: list[bytes] = []
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        fitting.append(line)
    return fitting


def _resolve(complete: list[_Waiting]) -> None:
    for entry in complete:
        if not entry.future.done():  # a caller that stopped waiting does not undo the write
            entry.future.set_result(entry.positions)


class JournalGone(OSError):
    """The disk has taken nothing for a while, and not because it is full. Nothing that was acknowledged is lost."""


class ThreadedWriter:
    """The daemon's `JournalWriter`. `tell` gets what a person must hear of, on the loop, once the journal works again."""

    def __init__(
        self, file: JournalFile, clock: Clock, loop: AbstractEventLoop, tell: Tell, reserve: Reserve | None = None
    ) -> None:
        self._file = file
        self._fullness = Fullness(reserve, file.troubles)
        self._failing_since = 0.0
        self.committing_since = 0.0
        self._clock = clock
        self._loop = loop
        self._tell = tell
        self._pending = _Pending()
        self._bell = threading.Lock()  # free: there is work. Only the loop frees it, only the thread takes it
        self._bell.acquire()
        self._closing = threading.Event()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        """See `JournalWriter.append`. `lines` are the same events encoded, when the caller has them. Raises BadLine."""
        future: Future[list[Position]] = self._loop.create_future()
        if self._closing.is_set() or self._crash is not None:
            raise RuntimeError("the journal is closed") from self._crash
        self._pending.put(_Waiting(lines if lines is not None else [encode(event) for event in events], future, events))
        self._ring()
        return future

    async def close(self) -> None:
        """Commit what is left, then end. Raises Temporary when the disk still takes nothing after some tries."""
        self._closing.set()
        self._ring()
        await self._loop.run_in_executor(None, self._thread.join)
        self._file.close()
        if self._pending:
            raise Temporary(
                "the journal could not be closed in order: the disk takes no more; what waited was never acknowledged"
            )

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()

    # --- on the thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._commit()
        except BaseException as error:  # noqa: BLE001 - whatever it was, the daemon must not go on without a journal
            self._crash = error
            self._call(self._raise)

    def _wait_for_work(self) -> bool:
        while not self._pending:
            if self._closing.is_set():
                return False
            self._fullness.idle(self._clock.monotonic())
            self._bell.acquire()
        return not (self._closing.is_set() and self._pending.failures >= _LAST_TRIES)

    def _commit(self) -> None:
        lines, owners = self._pending.gather(self._fullness.last_class(self._clock.monotonic()))
        if not owners:  # all that waits must wait on
            self._bell.acquire(timeout=self._pending.failed())
            return
        self.committing_since = self._clock.monotonic()
        try:
            positions = self._file.commit(lines, self._clock.now())
        except OSError as error:
            self.committing_since = 0.0
            self._fullness.failed(error, self._clock.monotonic())
            self._consider(error)
            self._closing.wait(self._pending.failed())
            return
        self.committing_since = self._failing_since = 0.0
        self._fullness.wrote(sum(map(len, lines)))
        troubles = self._file.troubles[:]
        self._file.troubles.clear()
        self._call(self._settled, self._pending.settle(owners, positions), troubles)

    def _consider(self, error: OSError) -> None:
        """A full disk is waited out, however long it takes. One that is broken, read-only or gone ends the daemon, in a while."""
        now = self._clock.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > GIVE_UP_S and not self._fullness.full and not self._closing.is_set():
            raise JournalGone(error.errno, f"the journal's disk has taken nothing for {GIVE_UP_S:.0f} s: {error.strerror}")

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to hear it, and what was written is durable all the same

    # --- on the loop

    def _settled(self, complete: list[_Waiting], troubles: list[Draft]) -> None:
        _resolve(complete)
        for draft in troubles:
            self._tell(draft)

    def _raise(self) -> None:
        """A bug in the writer: whoever waits for a commit gets it, and the loop does."""
        assert self._crash is not None
        for entry in self._pending.abandon():
            if not entry.future.done():
                entry.future.set_exception(self._crash)
        raise self._crash


class InlineWriter:
    """The simulator's `JournalWriter`: no thread; a commit happens on the loop, `latency_s()` after it was asked for."""

    committing_since = 0.0
    """A commit takes no virtual time once it has begun."""

    def __init__(
        self,
        file: JournalFile,
        clock: Clock,
        loop: AbstractEventLoop,
        tell: Tell,
        latency_s: Callable[[], float] = lambda: 0.0002,
        reserve: Reserve | None = None,
    ) -> None:
        self._file = file
        self._fullness = Fullness(reserve, file.troubles)
        self._clock = clock
        self._loop = loop
        self._tell = tell
        self._latency_s = latency_s
        self._pending = _Pending()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def append(self, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        """As `ThreadedWriter.append`."""
        if self._closed:
            raise RuntimeError("the journal is closed")
        future: Future[list[Position]] = self._loop.create_future()
        self._pending.put(_Waiting(lines if lines is not None else [encode(event) for event in events], future, events))
        self._idle.clear()
        if self._timer is None:
            self._timer = self._loop.call_later(self._latency_s(), self._commit)
        return future

    async def close(self) -> None:
        """As `ThreadedWriter.close`."""
        self._closed = True
        await self._idle.wait()
        self._file.close()
        if self._pending:
            raise Temporary(
                "the journal could not be closed in order: the disk takes no more; what waited was never acknowledged"
            )

    def abandon(self) -> None:
        """End as a crash does: nothing more is committed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _commit(self) -> None:
        self._timer = None
        lines, owners = self._pending.gather(self._fullness.last_class(self._clock.monotonic()))
        if not owners:
            self._again(self._pending.failed())
            return
        try:
            positions = self._file.commit(lines, self._clock.now())
        except OSError as error:
            self._fullness.failed(error, self._clock.monotonic())
            self._again(self._pending.failed())
            return
        self._fullness.wrote(sum(map(len, lines)))
        complete = self._pending.settle(owners, positions)
        if self._pending:
            self._timer = self._loop.call_later(self._latency_s(), self._commit)
        else:
            self._idle.set()
            self._fullness.idle(self._clock.monotonic())
        _resolve(complete)
        troubles = self._file.troubles[:]
        self._file.troubles.clear()
        for draft in troubles:
            self._tell(draft)

    def _again(self, wait_s: float) -> None:
        if self._closed and self._pending.failures >= _LAST_TRIES:
            self._idle.set()
            return
        self._timer = self._loop.call_later(wait_s, self._commit)
