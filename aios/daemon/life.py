"""The daemon: the order of its life, and what goes on in it all the time. Made by `assemble`; its process calls `run`."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from aios import __version__
from aios.daemon.outside import Outside, StartedControl
from aios.events.catalogue import LEARNED
from aios.events.codec import encode_json, encode_sorted
from aios.events.event import HOST, SYSTEM, Draft, Position, Stored, day_of, format_time
from aios.journal.tending import Tending
from aios.playbooks.called import Call, call_of
from aios.playbooks.index import Index
from aios.ports import Inbox, JournalWriter
from aios.reactor.aside import Aside
from aios.reactor.keep import LastGood
from aios.reactor.pump import Reactor
from aios.reactor.shelf import Shelf
from aios.settings import Settings
from aios.spine import Spine
from aios.verbs.handler import Verbs
from aios.world import World

if TYPE_CHECKING:
    from aios.blobs.collect import Collected, Collector

HEARTBEAT_S = 60.0
CHECKPOINT_EVERY_S = 300.0
COLLECT_EVERY_S = 3600.0
CHECKPOINT_EVENTS = 25_000
CHECKPOINT_FEW, CHECKPOINT_FEW_EVERY_S = 100, 3600.0
"""So few events are folded again faster than a checkpoint is written, so on a quiet machine one an hour is enough."""
INBOX_BATCH = 512
INBOX_AHEAD = 8
"""Batches of the inbox that may wait for the disk: reading goes on while the journal syncs, and no further."""
JUDGE_AFTER_S = 1.0
"""How long after something that moves a score the scores are evaluated: a burst is judged once."""
CLOCK_LEAP_S = 5.0
MESSAGE_MAX = 2000
"""Of a call to a person."""
STILL_S, STILL_WITHIN_S = 0.2, 1.0
"""Playbooks are read once their folder has been still for so long, or has not been for the other: editors empty a file first."""
JUDGED = ("run.", "probe.", "service.", "resource.", "endpoint.", "agent.", "host.", "score.")


@dataclass(slots=True)
class Daemon:
    """Assembled; `run` is its life from start to end."""

    settings: Settings
    outside: Outside
    world: World
    spine: Spine
    reactor: Reactor
    shelf: Shelf
    aside: Aside
    keeper: LastGood
    writer: JournalWriter
    inbox: Inbox
    inbox_wake: asyncio.Event
    first_words: Sequence[Draft]
    playbooks_before: Index | None
    """Where the playbooks have changed since: what the life before left undecided is decided by these."""
    verbs: Verbs = field(init=False)
    """What people may ask of this daemon, and by which door: they are wired to it."""
    control: StartedControl = field(init=False)
    since_checkpoint: int = 0
    """Events that a start would have to fold."""
    _tasks: list[Task[None]] = field(default_factory=list)
    _stopping: Future[str] | None = None
    _judging: bool = False
    _reload_timer: asyncio.TimerHandle | None = None
    _reload_by: float = 0.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    # --- its life

    async def run(self) -> str:
        """Start, go on until told to stop or until a part of it fails, end in order. Returns the reason of the stop.

        A bug in any part rises from here: the daemon ends loudly and is started again.
        """
        self._stopping = asyncio.get_running_loop().create_future()
        try:
            await self._started_or_failed(self._stopping)
            reason = await self._stopping
            await self._end(reason)
            return reason
        finally:
            self._drop_reload()
            for task in self._tasks:
                task.cancel()

    async def _started_or_failed(self, stopping: Future[str]) -> None:
        """A part that fails while the others start must end it: what they wait for would never come."""
        starting = asyncio.get_running_loop().create_task(self.start())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done() and stopping.exception() is not None:
                return
            await starting
        finally:
            starting.cancel()

    def stop(self, reason: str) -> None:
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(reason)

    def fail(self, error: BaseException) -> None:
        """A part of the daemon failed: it must not go on as if it had not."""
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_exception(error)

    async def start(self) -> None:
        outside = self.outside
        self.spine.listen(self.reactor.offer)
        self.spine.listen(self._heard)
        self.spine.listen(self.verbs.house.followers.heard)
        self.spine.listen(self.keeper.heard)
        outside.hands.open()
        self.aside.start()
        uncalled = list(self.world.uncalled.items())
        self.spine.emit(self._started(), self._settings_loaded())
        self.reactor.start(self.playbooks_before)
        await self.spine.emit(*self.first_words)
        await self.control.start()
        outside.watch_playbooks(self.reload_soon)
        self.inbox_wake.set()
        self._spawn(self._take_inbox())
        for sensor in outside.make_sensors(self.world):
            self._spawn(sensor.run(self.spine.emit))
        self._spawn(self._beat())
        self._spawn(self._report_each_morning())
        self._spawn(self._collect())
        tending = Tending(outside.upkeep, outside.clock, self.spine.emit, outside.offload, self._memory, self._damaged)
        self._spawn(tending.run())
        if outside.watchdog_s:
            self._spawn(self._ping())
        self._spawn(self._start_services())
        for cause, call in uncalled:
            self._spawn(self._call_a_person(cause, call))
        self.keeper.start()
        self._watch_kept()
        self.ready.set()
        outside.notify(f"READY=1\nSTATUS=watching, mode at most {self.settings.mode_max}")

    async def _end(self, reason: str) -> None:
        """In order: no new work, what was said is durable, a checkpoint, then hands may go. Launchers outlive us."""
        self.outside.notify("STOPPING=1")
        await self.control.close()
        self._drop_reload()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.keeper.close()
        self.reactor.close()
        await self.spine.emit(Draft(type="daemon.stopped", subject=SYSTEM, data={"reason": reason}))
        await self._checkpoint()
        await self.writer.close()
        await self.outside.hands.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: Task[None]) -> None:
        if task in self._tasks:
            self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    # --- first words

    def _started(self) -> Draft:
        data = {
            "version": __version__,
            "pid": self.outside.pid,
            "boot_id": self.outside.boot_id,
            "mode_max": self.settings.mode_max,
            "blind_since": format_time(self.world.alive_at) if self.world.alive_at else "",
            "clean": self.world.clean,
        }
        return Draft(type="daemon.started", subject=SYSTEM, data=data)

    def _settings_loaded(self) -> Draft:
        held = self.outside.blobs.put(encode_sorted(self.settings.to_json()))
        return Draft(type="daemon.settings_loaded", subject=SYSTEM, data={"hash": held, "path": self.settings.file})

    def _in_force_today(self) -> list[Draft]:
        """Said again each day: what is kept of the journal then holds by what was decided, however long ago this life began."""
        relations = [Draft(type=LEARNED, subject=HOST, data=data) for data in self.world.relations.again()]
        return [self._settings_loaded(), *relations]

    # --- what goes on all the time

    def _heard(self, stored: Sequence[Stored]) -> None:
        self.since_checkpoint += len(stored)
        if self.since_checkpoint >= CHECKPOINT_EVENTS:
            self.since_checkpoint = 0
            self._spawn(self._checkpoint())
        for event, _ in stored:
            if (call := call_of(event)) is not None:
                self._spawn(self._call_a_person(event.id, call))
            if not self._judging and event.type.startswith(JUDGED):
                self._judging = True
                asyncio.get_running_loop().call_later(JUDGE_AFTER_S, self._judge)

    def _judge(self) -> None:
        self._judging = False
        drafts = self.world.scores.evaluate(self.outside.clock.now())
        if drafts and not self.reactor.closing:
            self.spine.emit(*drafts)

    async def _take_inbox(self) -> None:
        """The inbox into the journal: at our own pace, some batches ahead of the disk."""
        ahead: list[Future[list[Position]]] = []
        while True:
            await self.inbox_wake.wait()
            self.inbox_wake.clear()
            more = True
            while more:
                taken = self.inbox.take(INBOX_BATCH)
                more = taken.more
                if taken.drafts:
                    ahead.append(self.spine.emit(*taken.drafts))
                if len(ahead) >= INBOX_AHEAD:
                    await ahead.pop(0)
                elif more:
                    await asyncio.sleep(0)
            ahead = [one for one in ahead if not one.done()]

    async def _beat(self) -> None:
        """Each minute: a sign of life, scores, what has spilled, and whether the wall clock leapt."""
        clock = self.outside.clock
        wall, mono = clock.now(), clock.monotonic()
        # What a life before left to be folded is not left to the next: a daemon that dies every few minutes starts fast, too.
        last_checkpoint = mono if self.since_checkpoint < CHECKPOINT_FEW else mono - CHECKPOINT_EVERY_S
        while True:
            await clock.sleep_until(mono + HEARTBEAT_S)
            leap = (clock.now() - wall) - (clock.monotonic() - mono)
            wall, mono = clock.now(), clock.monotonic()
            drafts = [self._heartbeat(), *self.world.scores.evaluate(wall), *self.reactor.queue.reports(mono)]
            if self.world.relations.day not in ("", day_of(wall)):
                drafts += self._in_force_today()
            if abs(leap) > CLOCK_LEAP_S:
                drafts.append(Draft(type="daemon.clock_jumped", subject=HOST, data={"seconds": round(leap, 3)}))
            await self.spine.emit(*drafts)
            every_s = CHECKPOINT_EVERY_S if self.since_checkpoint >= CHECKPOINT_FEW else CHECKPOINT_FEW_EVERY_S
            if mono - last_checkpoint >= every_s:
                last_checkpoint = mono
                await self._checkpoint()

    def _heartbeat(self) -> Draft:
        data = {
            "queue": len(self.reactor.queue),
            "open_runs": len(self.world.runs),
            "rss_kb": self.outside.rss_kb(),
            "dealt_with": str(self.reactor.dealt_with),
        }
        return Draft(type="daemon.heartbeat", subject=SYSTEM, data=data)

    async def _checkpoint(self) -> None:
        self.since_checkpoint = 0
        position, payload = self._memory()
        try:
            await self.outside.offload(partial(self.outside.checkpoints.save, position, payload))
        except OSError:
            pass  # the journal has everything: without a checkpoint the next start only takes longer

    def _damaged(self) -> frozenset[str]:
        return frozenset(subject for subject, kind in self.world.symptoms if kind == "journal.damaged")

    def _memory(self) -> tuple[Position, dict[str, Any]]:
        """All that is known, and up to where in the journal."""
        queue = self.reactor.queue.to_json(self.outside.clock.monotonic())
        return self.world.position, {"world": self.world.to_json(), "queue": queue}

    async def _collect(self) -> None:
        """Once an hour, away from the loop: what ended runs left, and nothing needs any more."""
        clock, make, collector = self.outside.clock, self.outside.make_collector, None
        while make is not None:
            await clock.sleep_until(clock.monotonic() + COLLECT_EVERY_S)
            collector = collector or make()
            open_runs, memory = frozenset(self.world.runs), encode_json(self._memory()[1])
            told: list[Collected] = []
            await self.outside.offload(partial(_collect_into, told, collector, clock.now(), open_runs, memory))
            if (done := told[0]).runs or done.blobs or done.problems:
                data = {"runs": done.runs, "blobs": done.blobs, "bytes": done.bytes, "problems": done.problems[:10]}
                await self.spine.emit(Draft(type="daemon.collected", subject=HOST, data=data))

    async def _ping(self) -> None:
        """systemd's watchdog: we say that we live only if no commit of the journal hangs and hands answers.

        A disk that fails is another matter: the writer tries again, waits for room, or ends the daemon with a code of its own.
        """
        clock = self.outside.clock
        while True:
            await clock.sleep_until(clock.monotonic() + self.outside.watchdog_s / 3)
            since = self.writer.committing_since
            hangs = since > 0.0 and clock.monotonic() - since > self.outside.watchdog_s / 3
            if not hangs and await self.outside.hands.answers(self.outside.watchdog_s / 3):
                self.outside.notify("WATCHDOG=1")

    async def _report_each_morning(self) -> None:
        """At the set time of the machine's own day, the report of the day before."""
        clock = self.outside.clock
        while True:
            due = _next_morning(clock.now(), self.settings.report_at)
            while (left_s := due - clock.now()) > 0:  # in short stretches, since the wall clock may leap
                await clock.sleep_until(clock.monotonic() + min(left_s, 3600.0))
            day = day_of(due - 86400.0)
            await self.outside.offload(partial(self.outside.write_report, day))

    def reload_soon(self) -> None:
        """A folder of playbooks changed: read them again once it is still."""
        loop = asyncio.get_running_loop()
        if self._reload_timer is None:
            self._reload_by = loop.time() + STILL_WITHIN_S
        self._drop_reload()
        self._reload_timer = loop.call_at(min(loop.time() + STILL_S, self._reload_by), self.reload_now)

    def reload_now(self) -> None:
        """Read the playbooks again."""
        self._drop_reload()
        self._spawn(self._reloaded())

    def _drop_reload(self) -> None:
        if self._reload_timer is not None:
            self._reload_timer.cancel()
            self._reload_timer = None

    async def _reloaded(self) -> None:
        await self.reload()

    async def reload(self) -> list[dict[str, Any]]:
        drafts = self.shelf.reload(self.outside.read_playbooks())
        if drafts:
            await self.spine.emit(*drafts)
            self._watch_kept()
        return [{"path": e.path, "line": e.line, "column": e.column, "message": e.message} for e in self.shelf.errors]

    async def _call_a_person(self, cause: str, call: Call) -> None:
        message = {"message": f"{call.subject}: {call.why}"[:MESSAGE_MAX], "level": call.level}
        await self.aside.act("notify", message, by="aios", why=call.why, subject=call.subject, cause=cause)

    async def _start_services(self) -> None:
        for subject in await self.outside.services.to_start():
            await self.aside.act("start_service", {"unit": subject}, by="aios", why="started with the daemon", subject=subject)

    def _watch_kept(self) -> None:
        for playbook in self.shelf.by_name.values():
            if playbook.keep is not None:
                self.outside.watch_files(playbook.keep.files, self.keeper.start)


def _collect_into(told: list[Collected], collector: Collector, now: float, open_runs: frozenset[str], memory: bytes) -> None:
    told.append(collector.collect(now, open_runs, memory))


def _next_morning(now: float, report_at: str) -> float:
    """The next time that the machine's own clock shows HH:MM, in seconds since the epoch."""
    hour, minute = (int(part) for part in report_at.split(":"))
    today = datetime.fromtimestamp(now).astimezone()
    due = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if due.timestamp() <= now:
        due = (due.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    return due.timestamp()
