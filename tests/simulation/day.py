"""A day on the simulated machine: work arrives, services fall, and whatever can die dies, all from one seed; then it gets quiet.

`Day.run` plays it and gives back a `History` for the laws. The daemon is started (again and again, as systemd would) through
the function that was passed in; nothing here knows what is inside it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.daemon import Daemon
from aios.entropy import SeededEntropy
from aios.events.codec import encode_json
from aios.events.event import Event, Stored
from aios.testing.bodies import Effect, read_effects
from aios.testing.disk import Fault
from aios.testing.hands import HandsLuck
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from tests.simulation.laws import Acknowledged

INBOX = f"{STATE_DIR}/inbox/story.jsonl"
UNITS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "web.service": (0.9, ("db.service",)),
    "db.service": (0.8, ()),
    "agent:coder": (0.6, ()),
}
GARBAGE: Sequence[bytes] = (b"not json\n", b'{"type": "run.healed"}\n', b'{"no": "type"}\n', b"\xff\xfe\n", b"[" * 200 + b"\n")


@dataclass(frozen=True, slots=True)
class Troubles:
    """How much befalls the machine: mean seconds between two of a kind (0: never), and chances."""

    work_s: float = 60.0
    falls_s: float = 900.0
    kill_daemon_s: float = 600.0
    kill_at_call_s: float = 900.0
    power_cut_s: float = 2400.0
    disk_s: float = 1200.0
    leap_s: float = 0.0
    answers_s: float = 400.0
    garbage: float = 0.05
    repeats: float = 0.1
    rots: bool = False
    """At each death of the daemon one byte of each part of the journal is another one."""
    kill_at: tuple[int, ...] = ()
    """Whoever makes one of these changing calls below the state folder dies there; counted from the first start."""
    hands: HandsLuck = field(default_factory=lambda: HandsLuck(0.01, 0.005, 1500.0, 0.005))


CALM = Troubles(kill_daemon_s=0, kill_at_call_s=0, power_cut_s=0, disk_s=0, garbage=0, repeats=0, hands=HandsLuck())


@dataclass(slots=True)
class History:
    """What there is to judge afterwards."""

    seed: int
    stored: list[Stored]
    effects: list[Effect]
    lines: list[str]
    acknowledged: list[Acknowledged]
    starts: int
    power_cuts: int
    journal: dict[str, bytes]
    hours: float
    leaps: bool
    calls: int

    @property
    def events(self) -> list[Event]:
        return [stored.event for stored in self.stored]


StartDaemon = Callable[["Day"], SimProcess]
ReadJournal = Callable[[SimMachine], list[Stored]]


@dataclass(slots=True)
class Day:
    machine: SimMachine
    troubles: Troubles
    start_daemon: StartDaemon
    seed: int
    lines: list[str] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    starts: int = 0
    daemon: SimProcess | None = None
    over: bool = False
    _daemon: Daemon | None = None
    _written: list[bytes] = field(default_factory=list)

    async def run(self, hours: float, quiet_s: float, read: ReadJournal) -> History:
        """Trouble for so many hours, then quiet for so long."""
        for subject, (heals, needs) in UNITS.items():
            self.machine.units.add(subject, heals, needs)
        self.machine.hands.luck = self.troubles.hands
        for number in self.troubles.kill_at:
            self.machine.disk.fail(Fault("any", first=number, kill=True, path=f"{STATE_DIR}/"))
        self._start()
        ends = self.machine.clock.monotonic() + hours * 3600.0
        tasks = [asyncio.create_task(each) for each in self._all_troubles(ends)]
        await asyncio.gather(*tasks, self.machine.clock.sleep_until(ends))
        await self._quiet(quiet_s)
        self.over = True
        if self.daemon is not None:
            self.machine.processes.kill(self.daemon)
        return self._history(hours, read)

    def _history(self, hours: float, read: ReadJournal) -> History:
        disk = self.machine.disk
        return History(
            seed=self.seed,
            calls=disk.calls,
            stored=read(self.machine),
            effects=read_effects(disk),
            lines=self.lines,
            acknowledged=self.acknowledged,
            starts=self.starts,
            power_cuts=self.machine.power_cuts,
            journal=disk.tree(f"{STATE_DIR}/events"),
            hours=hours,
            leaps=self.troubles.leap_s > 0,
        )

    # --- the daemon, as systemd keeps it

    def _start(self) -> None:
        if self.over or (self.daemon is not None and self.daemon.alive):
            return
        self.starts += 1
        self.daemon = self.start_daemon(self)
        self.daemon.life.on_death.append(self._start_soon)

    def _start_soon(self) -> None:
        if not self.over:
            self.machine.loop.call_later(self.machine.chance.uniform(0.1, 3.0), self._start)

    # --- what befalls it

    def _all_troubles(self, ends: float) -> list[Coroutine[Any, Any, None]]:
        plan: Sequence[tuple[float, Callable[[SeededEntropy], None]]] = (
            (self.troubles.work_s, self._work),
            (self.troubles.falls_s, self._fall),
            (self.troubles.kill_daemon_s, self._kill_daemon),
            (self.troubles.kill_at_call_s, self._kill_at_call),
            (self.troubles.power_cut_s, self._power_cut),
            (self.troubles.disk_s, self._disk_fails),
            (self.troubles.leap_s, self._leap),
            (self.troubles.answers_s, self._answer),
        )
        return [
            self._now_and_then(mean_s, SeededEntropy(self.seed * 31 + number), ends, befall)
            for number, (mean_s, befall) in enumerate(plan)
            if mean_s > 0
        ]

    async def _now_and_then(
        self, mean_s: float, chance: SeededEntropy, ends: float, befall: Callable[[SeededEntropy], None]
    ) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.0, 2.0 * mean_s))
            if self.machine.clock.monotonic() >= ends:
                return
            befall(chance)

    def _work(self, chance: SeededEntropy) -> None:
        """Another program appends a line or a few, synced; sometimes garbage between them, sometimes what it said before."""
        for _ in range(1 + int(chance.uniform(0.0, 3.0))):
            if chance.uniform(0.0, 1.0) < self.troubles.garbage:
                self._append(GARBAGE[int(chance.uniform(0.0, len(GARBAGE)))])
            if self._written and chance.uniform(0.0, 1.0) < self.troubles.repeats:
                self._append(self._written[int(chance.uniform(0.0, len(self._written)))])
            else:
                self._new_line(chance)

    def _new_line(self, chance: SeededEntropy) -> None:
        number = len(self.lines)
        kinds = ("idempotent", "checked", "never", "slow", "hang", "die", "ask", "look", "alarm", "nobody")
        kind = kinds[int(chance.uniform(0.0, len(kinds)))]
        event = {
            "id": f"line-{self.seed}-{number}",
            "type": "resource.cpu_spike" if kind == "alarm" else f"work.{kind}",
            "subject": f"job:{kind}-{int(chance.uniform(0.0, 40.0))}",
            "data": {"tag": f"t{number}", "used": 0.99},
        }
        self.lines.append(str(event["id"]))
        line = encode_json(event) + b"\n"
        self._written = [*self._written[-20:], line]
        self._append(line)

    def _append(self, line: bytes) -> None:
        """The faults of the story are the daemon's; whoever writes here got its line onto the disk."""
        with self.machine.disk.spared():
            self.machine.disk.append(INBOX, line, durable=True)

    def _fall(self, chance: SeededEntropy) -> None:
        subjects = list(UNITS)
        self.machine.units.crash(subjects[int(chance.uniform(0.0, len(subjects)))])

    def _kill_daemon(self, chance: SeededEntropy) -> None:
        """Mostly kill -9; now and then it is told to stop, and ends in order."""
        if self.daemon is None or not self.daemon.alive:
            return
        if self._daemon is not None and self._daemon.ready.is_set() and chance.uniform(0.0, 1.0) < 0.3:
            self.daemon.life.run(self._daemon.stop, "SIGTERM")
        else:
            self.machine.processes.kill(self.daemon)
        if self.troubles.rots:
            self._rot(chance)

    def _rot(self, chance: SeededEntropy) -> None:
        for path, data in self.machine.disk.tree(f"{STATE_DIR}/events").items():
            if data:
                self.machine.disk.flip(path, int(chance.uniform(0.0, len(data) - 1)))

    def _kill_at_call(self, chance: SeededEntropy) -> None:
        """Whoever makes the n-th changing call below the state folder from now dies at it: daemon, launcher or recovery."""
        self.machine.disk.fail(Fault("any", first=1 + int(chance.uniform(0.0, 30.0)), kill=True, path=f"{STATE_DIR}/"))

    def _power_cut(self, _chance: SeededEntropy) -> None:
        self.machine.power_cut()

    def _disk_fails(self, chance: SeededEntropy) -> None:
        first = 1 + int(chance.uniform(0.0, 10.0))
        last = first + int(chance.uniform(0.0, 6.0))
        kinds = (
            Fault("fdatasync", first, last, errno.EIO, path="/events/"),
            Fault("fsync", first, last, errno.EIO, path=f"{STATE_DIR}/"),
            Fault("write", first, last, errno.ENOSPC, path=f"{STATE_DIR}/"),
            Fault("write", first, last, keep=int(chance.uniform(0.0, 200.0)), path="/events/"),
            Fault("fsync_dir", first, last, errno.EIO, path=f"{STATE_DIR}/"),
        )
        self.machine.disk.fail(kinds[int(chance.uniform(0.0, len(kinds)))])

    def _leap(self, chance: SeededEntropy) -> None:
        self.machine.clock.leap(chance.uniform(-7200.0, 7200.0))

    # --- people

    def meet(self, daemon: Daemon) -> None:
        """The daemon that people talk to from now on."""
        self._daemon = daemon

    def _answer(self, chance: SeededEntropy) -> None:
        """A person looks at what waits for an answer, and says yes or no to one of them."""
        daemon, process = self._daemon, self.daemon
        if daemon is None or process is None or not process.alive or not daemon.ready.is_set():
            return
        asking = [run for run in daemon.world.runs.values() if run.asked is not None]
        if asking:
            run = asking[int(chance.uniform(0.0, len(asking)))]
            process.life.spawn(daemon.reactor.runner.answer(run, chance.uniform(0.0, 1.0) < 0.7, "ann"))

    async def _quiet(self, quiet_s: float) -> None:
        """Everything works from here on, and the daemon is up."""
        self.machine.disk.mend()
        self.machine.hands.luck = HandsLuck()
        for unit in self.machine.units.units.values():
            unit.heals = 1.0
        await asyncio.sleep(quiet_s)
