"""The daemon: one visible page of wiring (`assemble`), and the order of its life (`Daemon`).

`Outside` is everything that the daemon touches, as ports; `main` makes it from the real machine, the simulator from its twins.
Nothing below this file knows which of the two it is.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aios import __version__
from aios.clock import Clock
from aios.cron import parse_cron
from aios.entropy import Entropy
from aios.errors import MachineError
from aios.events.calls import SkillCatalogue
from aios.events.codec import encode_json, encode_sorted
from aios.events.durations import format_duration
from aios.events.event import HOST, SYSTEM, Draft, Event, Position, Stored, day_of, format_time
from aios.events.origin import InboxCursor
from aios.events.redact import Redactor
from aios.journal.query import History
from aios.journal.retention import Upkeep
from aios.journal.tending import Tending
from aios.playbooks.guards import protected
from aios.playbooks.index import Index
from aios.playbooks.maintenance import CalendarWindow, CronWindow, WindowSet, calendar, zone_of
from aios.playbooks.model import Playbook, lesser_mode
from aios.playbooks.run import Run
from aios.playbooks.run_words import Env
from aios.playbooks.trust import Rule
from aios.ports import Blobs, Emit, Files, Hands, Inbox, JournalReader, JournalWriter, Looker, Sensor, Services
from aios.reactor.aside import Aside
from aios.reactor.holding import Around, Rules, held_before_act
from aios.reactor.keep import LastGood, SinceGood
from aios.reactor.pump import Reactor
from aios.reactor.runs import Runner, RunnerPorts
from aios.reactor.shelf import Shelf, names_of
from aios.scheduler.queue import EventQueue
from aios.scheduler.slots import Slots
from aios.scores.scores import Scores
from aios.settings import Settings
from aios.spine import Spine
from aios.verbs.handler import Verbs
from aios.verbs.house import House
from aios.world import Call, World, call_of

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
DEPENDENTS_MAX = 1000
DECISIONS = ("run.opened", "reactor.decided", "scheduler.dead_letter")
JUDGED = ("run.", "probe.", "service.", "resource.", "endpoint.", "agent.", "host.", "score.")


class Checkpoints(Protocol):
    def save(self, position: Position, payload: Any) -> None: ...
    def load(self, usable: Callable[[Position], bool]) -> tuple[Position, Any] | None: ...


class StartedHands(Hands, Protocol):
    def open(self) -> None: ...
    async def close(self) -> None: ...


class StartedControl(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...


class StartableServices(Services, Protocol):
    async def to_start(self) -> Sequence[str]:
        """Once they are watched: those that the daemon itself is to start."""
        ...


async def _forgotten(_run: str) -> Sequence[Event]:
    return ()


@dataclass(frozen=True, slots=True)
class Outside:
    """The machine, as ports. Every field has a twin in `aios.testing`."""

    clock: Clock
    entropy: Entropy
    files: Files
    blobs: Blobs
    reader: JournalReader
    make_writer: Callable[[Callable[[Draft], None]], JournalWriter]
    make_inbox: Callable[[Mapping[str, InboxCursor], Callable[[], None]], Inbox]
    """Of the cursors, and of what to call when something came into it."""
    checkpoints: Checkpoints
    upkeep: Upkeep
    """Tends the journal's files: indexes, archives, digests, removal."""
    hands: StartedHands
    looker: Looker
    skills: SkillCatalogue
    services: StartableServices
    make_sensors: Callable[[World], Sequence[Sensor]]
    read_playbooks: Callable[[], Mapping[str, str]]
    watch_playbooks: Callable[[Callable[[], None]], None]
    watch_files: Callable[[Sequence[str], Callable[[], None]], None]
    """Calls back when one of these files (of a last-good copy) changed."""
    make_control: Callable[[Verbs], StartedControl]
    write_report: Callable[[str], None]
    """Writes the report of this UTC day below `reports/`."""
    notify: Callable[[str], bool]
    offload: Callable[[Callable[[], None]], Awaitable[None]]
    """Runs what syncs to the disk away from the loop."""
    call_env: Mapping[str, Any]
    since_good: SinceGood | None = None
    """What differs from the last-good copy; none: nobody looks."""
    make_collector: Callable[[], Collector] | None = None
    """Deletes what ended runs left, once nothing needs it; none: nothing is deleted."""
    recall: Callable[[str], Awaitable[Sequence[Event]]] = _forgotten
    """The events of a run by (the beginning of) its id, however old; here and now nobody knows any."""
    boot_id: str = ""
    pid: int = 0
    rss_kb: Callable[[], int] = lambda: 0
    watchdog_s: float = 0.0


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
    control: StartedControl
    verbs: Verbs
    inbox: Inbox
    inbox_wake: asyncio.Event
    blind_since: float
    first_words: Sequence[Draft]
    playbooks_before: Index | None
    """Where the playbooks have changed since: what the life before left undecided is decided by these."""
    _tasks: list[Task[None]] = field(default_factory=list)
    _stopping: Future[str] | None = None
    _judging: bool = False
    _since_checkpoint: int = 0
    _ill_changes: int = -1
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
        tending = Tending(outside.upkeep, outside.clock, self.spine.emit, outside.offload, self._memory)
        self._spawn(tending.run())
        if outside.watchdog_s:
            self._spawn(self._ping())
        self._spawn(self._start_services())
        self._spawn(self._learn_watched())
        self.world.attributed("", self.outside.clock.now(), self.settings.settle_s, {})  # leaves only those that still count
        for run_id in list(self.world.acting):
            self._spawn(self._learn_dependents(run_id))
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
            "blind_since": format_time(self.blind_since) if self.blind_since else "",
            "clean": self.world.clean,
        }
        return Draft(type="daemon.started", subject=SYSTEM, data=data)

    def _settings_loaded(self) -> Draft:
        held = self.outside.blobs.put(encode_sorted(self.settings.to_json()))
        return Draft(type="daemon.settings_loaded", subject=SYSTEM, data={"hash": held, "path": self.settings.file})

    # --- what goes on all the time

    def _heard(self, stored: Sequence[Stored]) -> None:
        self._since_checkpoint += len(stored)
        if self._since_checkpoint >= CHECKPOINT_EVENTS:
            self._since_checkpoint = 0
            self._spawn(self._checkpoint())
        if self.world.ill_changes != self._ill_changes:
            self._learn_sufferers()
        for event, _ in stored:
            if event.type == "run.step_intended" and event.data["run"] not in self.reactor.dependents:
                self._spawn(self._learn_dependents(event.data["run"]))
            if (call := call_of(event)) is not None:
                self._spawn(self._call_a_person(event.id, call))
            if not self._judging and event.type.startswith(JUDGED):
                self._judging = True
                asyncio.get_running_loop().call_later(JUDGE_AFTER_S, self._judge)

    async def _learn_dependents(self, run_id: str) -> None:
        """Who suffers when what this run acts on does: what is seen of them is put down to the run."""
        run = self.world.acting.get(run_id)
        if run is None:
            return
        known = self.reactor.dependents
        known[run_id] = frozenset()
        suffering: frozenset[str] = frozenset()
        for unit in [resource for resource in run.resources if not resource.startswith("file:")]:
            suffering |= await self.outside.services.dependents(unit)
        known[run_id] = suffering
        while len(known) > DEPENDENTS_MAX:
            del known[next(iter(known))]

    async def _learn_watched(self) -> None:
        """Who would be heard of if it were ill: a storm is a share of these."""
        services = [unit.subject for unit in await self.outside.services.list() if unit.state != "missing"]
        self.reactor.around.watched = frozenset((*services, *(probe.about for probe in self.settings.probe), HOST))
        self.reactor.look_around()
        self._learn_sufferers()

    def _learn_sufferers(self) -> None:
        """Of each service that has fallen ill: who suffers with it. What is well again is forgotten."""
        self._ill_changes = self.world.ill_changes
        around = self.reactor.around
        for subject in [subject for subject in around.sufferers if subject not in self.world.ill]:
            del around.sufferers[subject]
        for subject in self.world.ill:
            if subject in around.watched and subject not in around.sufferers and len(around.sufferers) < DEPENDENTS_MAX:
                around.sufferers[subject] = frozenset()
                self._spawn(self._learn_sufferers_of(subject))

    async def _learn_sufferers_of(self, subject: str) -> None:
        found = await self.outside.services.dependents(subject)
        if subject in self.reactor.around.sufferers:
            self.reactor.around.sufferers[subject] = found

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
        last_checkpoint = mono if self._since_checkpoint < CHECKPOINT_FEW else mono - CHECKPOINT_EVERY_S
        while True:
            await clock.sleep_until(mono + HEARTBEAT_S)
            leap = (clock.now() - wall) - (clock.monotonic() - mono)
            wall, mono = clock.now(), clock.monotonic()
            drafts = [self._heartbeat(), *self.world.scores.evaluate(wall), *self.reactor.queue.reports(mono)]
            if abs(leap) > CLOCK_LEAP_S:
                drafts.append(Draft(type="daemon.clock_jumped", subject=HOST, data={"seconds": round(leap, 3)}))
            await self.spine.emit(*drafts)
            await self._learn_watched()
            every_s = CHECKPOINT_EVERY_S if self._since_checkpoint >= CHECKPOINT_FEW else CHECKPOINT_FEW_EVERY_S
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
        self._since_checkpoint = 0
        position, payload = self._memory()
        try:
            await self.outside.offload(partial(self.outside.checkpoints.save, position, payload))
        except OSError:
            pass  # the journal has everything: without a checkpoint the next start only takes longer

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
            due = next_morning(clock.now(), self.settings.report_at)
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
        await self._reload()

    async def _reload(self) -> list[dict[str, Any]]:
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


# --- wiring -----------------------------------------------------------------------------------------------------------


def assemble(settings: Settings, outside: Outside) -> Daemon:
    """Put the daemon together: the world from checkpoint and journal, then everything around it."""
    texts = outside.read_playbooks()
    troubles = _Troubles()
    writer = outside.make_writer(troubles.tell)
    remembered = _remember(settings, outside)
    world, queue = remembered.world, remembered.queue
    shelf = Shelf(outside.blobs, outside.skills)
    playbooks_before = None
    if world.playbooks and names_of(texts) != frozenset(world.playbooks.values()):
        playbooks_before = shelf.recall(world.playbooks, world.playbook_paths)
    first_words = (*remembered.torn, *shelf.reload(texts))
    redactor = Redactor((*settings.redact.values, *settings.notify.headers.values()))
    spine = Spine(outside.clock, outside.entropy, writer, world, redactor, outside.blobs, f"aios/{HOST}")
    rules = rules_of(settings)
    aside = Aside(spine.emit, outside.hands, outside.skills, outside.entropy, outside.call_env)
    ports = RunnerPorts(outside.clock, outside.entropy, spine.emit, outside.hands, outside.looker, outside.skills)
    around = Around()
    env_of = partial(_env_of, settings, outside, world, shelf, rules, around)
    runner = Runner(world, Slots(settings.slots), ports, shelf.of, env_of)
    reactor = Reactor(world, shelf, queue, runner, rules, outside.skills, outside.clock, spine.emit, outside.reader)
    reactor.decided_since, reactor.undecided_types = remembered.decided_since, remembered.types
    reactor.around = around
    runner.open_fallback = reactor.open_fallback
    keeper = LastGood(
        shelf,
        outside.skills,
        outside.services,
        outside.looker,
        outside.files,
        aside,
        spine.emit,
        outside.clock,
        outside.since_good,
    )
    daemon_box: list[Daemon] = []
    house = House(
        settings,
        world,
        reactor,
        aside,
        outside.services,
        outside.hands,
        outside.looker,
        outside.skills,
        outside.reader,
        spine.emit,
        outside.clock,
        outside.call_env,
        lambda: daemon_box[0]._reload(),
        lambda reason: daemon_box[0].stop(reason),
        outside.recall,
        outside.clock.now(),
        outside.pid,
        History(outside.files, f"{settings.data}/events"),
        outside.offload,
    )
    verbs = Verbs(house)
    inbox_wake = asyncio.Event()
    inbox = outside.make_inbox(world.cursors, inbox_wake.set)
    control = outside.make_control(verbs)
    daemon = Daemon(
        settings,
        outside,
        world,
        spine,
        reactor,
        shelf,
        aside,
        keeper,
        writer,
        control,
        verbs,
        inbox,
        inbox_wake,
        world.alive_at,
        first_words,
        playbooks_before,
    )
    daemon._since_checkpoint = remembered.folded
    daemon_box.append(daemon)
    troubles.emit = spine.emit
    return daemon


@dataclass(slots=True)
class _Troubles:
    """What the writer has to tell goes through the same door as everything else; at first that door is not there yet."""

    emit: Emit | None = None

    def tell(self, draft: Draft) -> None:
        assert self.emit is not None
        self.emit(draft)


class _Remembered(NamedTuple):
    """The world as it was; what was decided since of all that the checkpoint's queue calls spilled, and must not be again; the
    type of each event that nothing in the journal says was decided; whom to call about runs that a damaged line has torn; how
    many events stood after the checkpoint.
    """

    world: World
    queue: EventQueue
    decided_since: frozenset[str]
    types: Mapping[str, str]
    torn: tuple[Draft, ...]
    folded: int


def _remember(settings: Settings, outside: Outside) -> _Remembered:
    """The newest checkpoint, then every event after it."""
    targets = settings.score.latency_target_ms
    new_scores = partial(Scores, window_s=settings.score.window_s, targets_ms=targets)
    old_scores = partial(Scores.from_json, window_s=settings.score.window_s, targets_ms=targets)
    now = outside.clock.monotonic()
    found = outside.checkpoints.load(lambda position: outside.reader.at(position) is not None)
    if found is None:
        world, queue = World(new_scores()), EventQueue(settings.queue_max)
    else:
        world = World.from_json(found[1]["world"], old_scores)
        queue = EventQueue.from_json(found[1]["queue"], now, settings.queue_max)
    world.correlator.recall = outside.blobs.get
    decided_since = set()
    torn: dict[str, Draft] = {}
    types: dict[str, str] = {}
    folded = 0
    for event, position in outside.reader.read(world.position if found else None):
        folded += 1
        if queue.spilled and event.type in DECISIONS:
            decided_since.add(str(event.data["event"]))
        try:
            world.apply(event, position)
        except MachineError:  # a line of this run was damaged, and not counted: nobody else may have to suffer for it
            run = world.tear(event)
            torn[run.id] = _torn(run)
        if event.type == "reactor.called":  # told already, by a life before
            torn.pop(event.causationid, None)
        if event.id in world.undecided:
            types[event.id] = event.type
        elif event.type == "daemon.heartbeat":  # it says up to where all is decided
            types = {one: types[one] for one in world.undecided if one in types}
    return _Remembered(world, queue, frozenset(decided_since), types, tuple(torn.values()), folded)


def _torn(run: Run) -> Draft:
    data = {"playbook": run.playbook, "guard": "torn", "why": f"run {run.id} of {run.playbook} was ended: {run.why}"}
    return Draft(type="reactor.called", subject=run.subject, data=data, causationid=run.id, correlationid=run.incident)


def rules_of(settings: Settings) -> Rules:
    """What the settings say of guards."""
    needs = {service.subject: frozenset(service.needs) for service in settings.service if service.needs}
    for subject, more in settings.depends_on.items():
        needs[subject] = needs.get(subject, frozenset()) | frozenset(more)
    return Rules(
        settings.mode_max,
        settings.acts_per_hour,
        settings.settle_s,
        frozenset(settings.protected),
        concurrency=settings.concurrency,
        windows=windows_of(settings),
        needs=needs,
        storm_share=settings.storm.share,
        storm_at_least=settings.storm.at_least,
        trust=Rule(settings.trust.runs, settings.trust.earned, settings.trust.lost),
    )


def windows_of(settings: Settings) -> WindowSet:
    """The machine's own maintenance windows."""
    made: dict[str, list[CronWindow | CalendarWindow]] = {"only": [], "never": []}
    for s in settings.window:
        zone = zone_of(s.timezone) if s.timezone else None
        if s.cron is not None and s.for_s is not None:
            text = f"{s.name} ({s.cron} for {format_duration(s.for_s)})"
            made[s.acts].append(CronWindow(parse_cron(s.cron), s.for_s, zone, text))
        else:
            begins, ends = calendar(s.begins, zone, end=False), calendar(s.ends, zone, end=True)
            made[s.acts].append(CalendarWindow(begins, ends, f"{s.name} ({s.begins} to {s.ends})"))
    return WindowSet(tuple(made["only"]), tuple(made["never"]))


def _env_of(
    settings: Settings,
    outside: Outside,
    world: World,
    shelf: Shelf,
    rules: Rules,
    around: Around,
    run: Run,
    playbook: Playbook,
    chance: float,
) -> Env:
    """What a run may know and do, as it is now: its text is its own, its permission is that of the playbook in force."""
    now = outside.clock.now()
    in_force = shelf.by_name.get(run.playbook)
    more = frozenset(settings.protected)
    return Env(
        now=now,
        playbook=playbook,
        skills=outside.skills,
        mode_max=lesser_mode(settings.mode_max, world.trust.mode_of(in_force or playbook)),
        watch_s=settings.trust.watch_s,
        paused=world.is_paused(now),
        resumes_at=world.paused_until,
        disabled=run.playbook in world.disabled or (in_force is not None and not in_force.enabled),
        protected=lambda resources: protected(resources, more),
        acts_again_at=world.guards.acts_again_at(now, settings.acts_per_hour),
        held_now=lambda: held_before_act(in_force or playbook, run, world, rules, around, now),
        score=world.scores.value(run.subject, now),
        system_score=world.scores.value(SYSTEM, now),
        chance=chance,
        call_env=outside.call_env,
        approval_expires_s=settings.approval_expires_s,
    )


def _collect_into(told: list[Collected], collector: Collector, now: float, open_runs: frozenset[str], memory: bytes) -> None:
    told.append(collector.collect(now, open_runs, memory))


def next_morning(now: float, report_at: str) -> float:
    """The next time that the machine's own clock shows HH:MM, in seconds since the epoch."""
    hour, minute = (int(part) for part in report_at.split(":"))
    today = datetime.fromtimestamp(now).astimezone()
    due = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if due.timestamp() <= now:
        due = (due.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    return due.timestamp()
