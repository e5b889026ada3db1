"""A daemon for the simulation, wired from the product's own parts over simulated ports. One call is one life of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aios.clock import Clock
from aios.disk import make_dirs
from aios.entropy import SeededEntropy
from aios.events.calls import SkillSpec, Touches
from aios.events.event import HOST, SYSTEM, Draft, Event, Position, Stored, format_time
from aios.events.redact import Redactor
from aios.journal.ids import IdMemory, recall
from aios.journal.inbox import InboxFolder
from aios.journal.reader import FolderReader
from aios.journal.thread import InlineWriter
from aios.journal.writer import JournalFile
from aios.playbooks.model import Playbook
from aios.playbooks.run import Env, Run
from aios.ports import Blobs, JournalWriter
from aios.reactor.decide import Rules
from aios.reactor.pump import Reactor
from aios.reactor.runs import Runner, RunnerPorts
from aios.reactor.shelf import Shelf
from aios.scheduler.queue import EventQueue
from aios.scheduler.slots import Slots
from aios.scores.scores import Scores
from aios.sensors.services import ServiceSensor
from aios.sensors.standing import Standings
from aios.spine import Spine
from aios.testing.bodies import specs
from aios.testing.disk import SimDisk
from aios.testing.looker import SimLooker
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from aios.testing.services import SimServices
from aios.world import World
from tests.simulation.playbooks import TEXTS
from tests.simulation.wiring import SimHands

TAKE_AT_ONCE = 256
HEARTBEAT_S = 60.0


def skills() -> dict[str, SkillSpec]:
    """The simulated skills, and those that hands brings itself."""

    def check(raw: Any) -> dict[str, Any]:
        return dict(raw)

    def touches(_: Any) -> Touches:
        return Touches()

    own = {name: SkillSpec(name, "act", name, {}, check, touches, timeout_s=60.0) for name in ("rollback", "notify")}
    return {**specs(), **own}


@dataclass(slots=True)
class Parts:
    """What a test may swap for a broken one, to see that the laws notice."""

    writer: Callable[[JournalWriter], JournalWriter] = lambda writer: writer
    clock: Callable[[Clock], Clock] = lambda clock: clock
    inbox: Callable[[InboxFolder], InboxFolder] = lambda inbox: inbox
    durable: Callable[[Event, Position], None] = field(default=lambda _event, _position: None)


async def run_daemon(machine: SimMachine, process: SimProcess, blobs: Blobs, number: int, seed: int, parts: Parts) -> int:
    """One life, until it is killed."""
    files = machine.disk.seen_by(process.life)
    clock = parts.clock(machine.clock)
    entropy = SeededEntropy(seed * 1_000_003 + number)
    for name in ("events", "inbox", "quarantine", "runs"):
        make_dirs(files, f"{STATE_DIR}/{name}")
    file = JournalFile(files, f"{STATE_DIR}/events", f"{STATE_DIR}/quarantine", clock_trusted=lambda: True)
    file.open(clock.now())
    reader = FolderReader(files, f"{STATE_DIR}/events")
    world = World(Scores())
    for event, position in reader.read():
        world.apply(event, position)
    told: list[Draft] = []
    writer = parts.writer(InlineWriter(file, clock, machine.loop, told.append))
    spine = Spine(clock, entropy, writer, world, Redactor(), blobs, "aios")
    if told:
        spine.emit(*told)
    reactor = _reactor(machine, process, clock, entropy, world, spine, reader, blobs)
    spine.listen(reactor.offer)
    spine.listen(lambda stored: [parts.durable(*one) for one in stored] and None)
    loaded = reactor.shelf.reload(TEXTS)
    started = Draft(
        type="daemon.started",
        subject=HOST,
        data={
            "version": "sim",
            "pid": process.pid,
            "boot_id": process.who.boot_id,
            "mode_max": "auto",
            "blind_since": format_time(world.alive_at) if world.alive_at else "",
            "clean": world.clean,
        },
    )
    await spine.emit(started, *loaded)
    reactor.start()
    sensor = ServiceSensor(
        SimServices(machine.units, machine.luck), clock, Standings(was_ill=[(kind, subject) for subject, kind in world.symptoms])
    )
    ids = IdMemory(1 << 12)
    recall(ids, files, f"{STATE_DIR}/events", since_day="")
    inbox = parts.inbox(InboxFolder(files, f"{STATE_DIR}/inbox", f"{STATE_DIR}/quarantine", cursors=world.cursors, ids=ids))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sensor.run(spine.emit))
        tasks.create_task(_take(inbox, files, spine, process))
        tasks.create_task(_heartbeat(spine, world, reactor.queue, clock))
    return 0


def _reactor(
    machine: SimMachine,
    process: SimProcess,
    clock: Clock,
    entropy: SeededEntropy,
    world: World,
    spine: Spine,
    reader: FolderReader,
    blobs: Blobs,
) -> Reactor:
    catalogue = skills()
    shelf = Shelf(blobs, catalogue)
    rules = Rules("auto", 10_000, 10.0, frozenset())
    hands = SimHands(machine, lambda status: spine.emit(Draft(type="daemon.hands_lost", subject=HOST, data={"status": status})))
    hands.open()
    looker = SimLooker(machine.box_for(process.life))
    ports = RunnerPorts(clock, entropy, spine.emit, hands, looker, catalogue)

    def env_of(run: Run, playbook: Playbook, chance: float) -> Env:
        now = clock.now()
        return Env(
            now=now,
            playbook=playbook,
            skills=catalogue,
            mode_max="auto",
            disabled=run.playbook in world.disabled,
            score=world.scores.value(run.subject, now),
            system_score=world.scores.value("system", now),
            chance=chance,
        )

    reactor: Reactor
    runner = Runner(world, Slots(), ports, shelf.of, env_of, lambda run, name: reactor.open_fallback(run, name))
    reactor = Reactor(world, shelf, EventQueue(), runner, rules, catalogue, clock, spine.emit, reader)
    return reactor


async def _take(inbox: InboxFolder, files: SimDisk, spine: Spine, process: SimProcess) -> None:
    """Woken by the folder, as by inotify on a real machine."""
    news = asyncio.Event()

    def touched(name: str) -> None:
        if process.alive:
            inbox.touched(name)
            process.life.run(news.set)

    files.watch(f"{STATE_DIR}/inbox", touched)
    while True:
        taken = inbox.take(TAKE_AT_ONCE)
        if taken.drafts:
            await spine.emit(*taken.drafts)
        if not taken.more:
            await news.wait()
            news.clear()


async def _heartbeat(spine: Spine, world: World, queue: EventQueue, clock: Clock) -> None:
    while True:
        await clock.sleep_until(clock.monotonic() + HEARTBEAT_S)
        alive = Draft(
            type="daemon.heartbeat", subject=SYSTEM, data={"queue": len(queue), "open_runs": len(world.runs), "rss_kb": 0}
        )
        spine.emit(alive, *world.scores.evaluate(clock.now()))


def read_journal(machine: SimMachine) -> list[Stored]:
    return list(FolderReader(machine.disk, f"{STATE_DIR}/events").read())
