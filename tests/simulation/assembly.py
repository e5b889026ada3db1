"""The daemon of the simulation: the product's own `assemble`, given simulated ports. One call is one life of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.blobs.store import BlobFolder
from aios.daemon.assemble import assemble
from aios.daemon.life import Daemon
from aios.daemon.outside import Outside
from aios.disk import make_dirs
from aios.entropy import SeededEntropy
from aios.events.calls import SkillSpec, Touches
from aios.events.event import HOST, Draft, Event, Position, Stored, day_of
from aios.events.origin import InboxCursor
from aios.journal.checkpoints import Checkpoints, Memories
from aios.journal.digest import FOLDER as DIGESTS
from aios.journal.ids import IdMemory, recall
from aios.journal.inbox import InboxFolder
from aios.journal.reader import FolderReader
from aios.journal.retention import RetentionLimits, Upkeep
from aios.journal.thread import InlineWriter
from aios.journal.writer import JournalFile
from aios.ports import Files, Inbox, JournalWriter
from aios.sensors.relations import RelationsLearner
from aios.sensors.services import ServiceSensor
from aios.sensors.standing import Standings
from aios.settings import Settings
from aios.testing.bodies import specs
from aios.testing.disk import SimDisk
from aios.testing.looker import SimLooker
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from aios.testing.services import SimServices
from aios.verbs.handler import Verbs
from aios.world import CHECKPOINT_VERSION, LIFTS, World
from tests.simulation.files import ALL_SKILLS
from tests.simulation.playbooks import TEXTS
from tests.simulation.wiring import SimHands

FOLDERS = ("", "/events", "/inbox", "/quarantine", "/blobs", "/runs", "/reports", "/services", "/logs", "/keep")
SETTINGS: Mapping[str, Any] = {
    "data": STATE_DIR,
    "acts_per_hour": 100_000,
    "trust": {"lost": 0.001},  # some of these playbooks never heal, and are to act all day long
    "approval_expires": "20m",
    "queue_max": 100,
}
"""Of a day that says nothing else."""


@dataclass(slots=True)
class Parts:
    """What a test may look at or swap."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the day, over `SETTINGS`."""
    commit_s: Callable[[], float] = lambda: 0.0002
    """How long after it was asked for a commit happens: the daemon goes on meanwhile, as beside the writer's thread."""
    remembered: Callable[[World], None] = lambda _world: None
    assembled: Callable[[Daemon], None] = lambda _daemon: None
    durable: Callable[[Event, Position], None] = lambda _event, _position: None


class NoControl:
    """Nobody asks at the control socket of a simulated daemon; people act through `Verbs`."""

    def __init__(self, verbs: Verbs) -> None:
        self.verbs = verbs

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


def skills() -> dict[str, SkillSpec]:
    """The simulated skills, and those that hands brings itself."""

    def check(raw: Mapping[str, Any]) -> dict[str, Any]:
        return dict(raw)

    def touches(_: Mapping[str, Any]) -> Touches:
        return Touches()

    own = {name: SkillSpec(name, "act", name, {}, check, touches, timeout_s=60.0) for name in ("rollback", "notify")}
    return {**specs(ALL_SKILLS), **own}


def blobs_of(files: Files) -> BlobFolder:
    return BlobFolder(files, f"{STATE_DIR}/blobs", pack=False)


async def run_daemon(machine: SimMachine, process: SimProcess, number: int, seed: int, parts: Parts) -> int:
    """One life, until it is killed or fails."""
    daemon = assemble(
        Settings.model_validate({**SETTINGS, **parts.settings}),
        outside_of(machine, process, SeededEntropy(seed * 1_000_003 + number), parts),
    )
    parts.remembered(daemon.world)
    parts.assembled(daemon)
    process.life.on_error = daemon.fail
    daemon.spine.listen(lambda stored: _tell(parts, stored))
    await daemon.run()
    return 0


def _tell(parts: Parts, stored: Any) -> None:
    for event, position in stored:
        parts.durable(event, position)


def outside_of(machine: SimMachine, process: SimProcess, entropy: SeededEntropy, parts: Parts) -> Outside:
    """Every port, simulated, as this life sees it."""
    files = machine.disk.seen_by(process.life)
    clock = machine.clock
    for folder in FOLDERS:
        make_dirs(files, STATE_DIR + folder)
    services = SimServices(machine.units, machine.luck)

    def make_writer(tell: Callable[[Draft], None]) -> JournalWriter:
        file = JournalFile(files, f"{STATE_DIR}/events", f"{STATE_DIR}/quarantine", clock_trusted=lambda: True)
        file.open(clock.now())
        return InlineWriter(file, clock, machine.loop, tell, parts.commit_s)

    def make_inbox(cursors: Mapping[str, InboxCursor], wake: Callable[[], None]) -> Inbox:
        ids = IdMemory(1 << 12)
        recall(ids, files, f"{STATE_DIR}/events", since_day=day_of(clock.now() - 86_400.0))

        def later(wait_s: float) -> None:
            machine.loop.call_later(wait_s, lambda: process.life.run(wake) if process.alive else None)

        inbox = InboxFolder(
            files, f"{STATE_DIR}/inbox", f"{STATE_DIR}/quarantine", cursors=cursors, ids=ids, clock=clock, later=later
        )
        _watch_inbox(files, process, inbox, wake)
        return inbox

    def make_sensors(world: World) -> list[ServiceSensor]:
        standings = Standings(was_ill=[(kind, subject) for subject, kind in world.symptoms])
        return [ServiceSensor(services, clock, standings, RelationsLearner(services, clock, world.relations, (HOST,)))]

    async def offload(work: Callable[[], None]) -> None:
        await asyncio.sleep(0)
        work()

    return Outside(
        clock=clock,
        entropy=entropy,
        files=files,
        blobs=blobs_of(files),
        reader=FolderReader(files, f"{STATE_DIR}/events"),
        make_writer=make_writer,
        make_inbox=make_inbox,
        checkpoints=Memories(
            Checkpoints(files, f"{STATE_DIR}/checkpoints", CHECKPOINT_VERSION), files, f"{STATE_DIR}/{DIGESTS}", LIFTS
        ),
        upkeep=Upkeep(files, STATE_DIR, RetentionLimits(raw_days=2, keep_days=3), lambda day: {"day": day}),
        hands=SimHands(machine),
        looker=SimLooker(
            machine.box_for(process.life), ALL_SKILLS, hangs=lambda: machine.hands.strikes("look_hangs") is not None
        ),
        skills=skills(),
        services=services,
        make_sensors=make_sensors,
        read_playbooks=lambda: TEXTS,
        watch_playbooks=lambda _changed: None,
        watch_files=lambda _paths, _changed: None,
        make_control=NoControl,
        write_report=lambda _day: None,
        notify=lambda _text: True,
        offload=offload,
        call_env={},
        boot_id=process.who.boot_id,
        pid=process.pid,
    )


def _watch_inbox(files: SimDisk, process: SimProcess, inbox: InboxFolder, wake: Callable[[], None]) -> None:
    """As inotify does on a real machine."""

    def touched(name: str) -> None:
        if process.alive:
            inbox.touched(name)
            process.life.run(wake)

    files.watch(f"{STATE_DIR}/inbox", touched)


def read_journal(machine: SimMachine) -> list[Stored]:
    return list(FolderReader(machine.disk, f"{STATE_DIR}/events").read())


__all__ = ["Daemon", "Parts", "blobs_of", "outside_of", "read_journal", "run_daemon", "skills"]
