"""Simulated services: units that crash, hang, heal at a restart or do not, and answer late; both ports that reach them.

`SimUnits` is how things really are, and what the story (the simulation's harness) changes. `SimServices` is what the daemon sees
of it, `SimActs` how a skill's body acts upon it. All chance comes from the entropy that was passed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aios.entropy import Entropy
from aios.errors import Permanent, Temporary
from aios.ports import Limits, UnitState, UnitWord
from aios.testing.loop import Life, VirtualClock, current_life
from aios.testing.processes import SimProcess, SimProcesses

Listener = Callable[[UnitState], None]


@dataclass(slots=True)
class SimUnit:
    """One unit as it really is. `heals` is the chance that a restart makes it well; `serves` whether it answers probes."""

    subject: str
    heals: float = 1.0
    needs: tuple[str, ...] = ()
    word: UnitWord = "up"
    serves: bool = True
    refuses_starts: int = 0
    process: SimProcess | None = None
    since: float = 0.0
    enabled: bool = True
    masked: bool = False
    falls: int = 0
    starts: int = 0
    exit_status: str = ""


@dataclass(slots=True)
class SimUnits:
    """All units of the simulated machine."""

    processes: SimProcesses
    clock: VirtualClock
    entropy: Entropy
    units: dict[str, SimUnit] = field(default_factory=dict)
    deaf: bool = False
    """Nobody answers at the other end of the bus: how a unit stands is unknown, and what is asked for does not happen."""
    late_s: float = 0.02
    """How long an answer takes at most."""
    listeners: list[tuple[Life | None, Listener]] = field(default_factory=list)
    doubters: list[tuple[Life | None, Callable[[], None]]] = field(default_factory=list)
    """Who is told when there are other units, or other relations between them, than before."""

    def add(self, subject: str, heals: float = 1.0, needs: tuple[str, ...] = ()) -> SimUnit:
        unit = SimUnit(subject, heals, needs)
        self.units[subject] = unit
        self._begin(unit)
        self._tell_all(self.doubters)
        return unit

    def relate(self, subject: str, needs: tuple[str, ...]) -> None:
        """From here on it needs these."""
        self.units[subject].needs = needs
        self._tell_all(self.doubters)

    def state(self, subject: str) -> UnitState:
        unit = self.units.get(subject)
        if unit is None:
            return UnitState(subject, "missing", "managed")
        pid = unit.process.pid if unit.process is not None and unit.word == "up" else 0
        return UnitState(
            subject,
            unit.word,
            "managed",
            pid=pid,
            since=unit.since,
            enabled=unit.enabled,
            masked=unit.masked,
            exit_status=unit.exit_status,
            falls=unit.falls,
        )

    def seen(self, subject: str) -> UnitState:
        """As it is told over the bus."""
        return UnitState(subject, "unknown", "managed") if self.deaf else self.state(subject)

    # --- the story

    def crash(self, subject: str, status: int = 1) -> None:
        """Its process dies."""
        unit = self.units[subject]
        if unit.process is not None:
            self.processes.end(unit.process, status)

    def hang(self, subject: str) -> None:
        """It lives and answers nobody; only a probe can tell."""
        unit = self.units[subject]
        unit.serves = False
        if unit.process is not None:
            unit.process.freeze()

    def person_stops(self, subject: str) -> None:
        """A person wants it so: `stopped`, not `down`."""
        self._stop(self.units[subject])

    def reboot(self) -> None:
        """After a power cut the machine starts what is enabled; nobody has been listening meanwhile."""
        self.listeners.clear()
        self.doubters.clear()
        for unit in self.units.values():
            unit.process = None
            if unit.enabled and not unit.masked:
                self._begin(unit)
            else:
                unit.word, unit.serves = "stopped", False

    # --- what acts do

    def begin(self, subject: str) -> None:
        unit = self._known(subject)
        if unit.masked:
            raise Permanent(f"{subject} is masked")
        if unit.refuses_starts > 0:
            unit.refuses_starts -= 1
            raise Temporary(f"{subject} does not start", delay_s=1.0)
        if unit.word != "up":
            self._begin(unit)
            self._tell(unit)

    def stop(self, subject: str) -> None:
        self._stop(self._known(subject))

    def enable(self, subject: str, enabled: bool, masked: bool) -> None:
        unit = self._known(subject)
        unit.enabled, unit.masked = enabled, masked

    # --- leaves

    def _known(self, subject: str) -> SimUnit:
        unit = self.units.get(subject)
        if unit is None:
            raise Permanent(f"no service is called {subject}")
        return unit

    def _begin(self, unit: SimUnit) -> None:
        """Start its process; the first start is always well, later ones by chance."""
        unit.starts += 1
        unit.serves = unit.starts == 1 or self.entropy.uniform(0.0, 1.0) < unit.heals
        unit.word, unit.since, unit.exit_status = "up", self.clock.now(), ""
        process = self.processes.spawn(f"unit:{unit.subject}", _work_for_ever)
        unit.process = process
        process.life.on_death.append(lambda: self._ended(unit, process))

    def _ended(self, unit: SimUnit, process: SimProcess) -> None:
        if unit.process is not process:
            return
        unit.process = None
        unit.word, unit.serves, unit.since = "down", False, self.clock.now()
        unit.falls += 1
        unit.exit_status = str(process.status)
        self._tell(unit)

    def _stop(self, unit: SimUnit) -> None:
        process, unit.process = unit.process, None
        if process is not None:
            self.processes.end(process, 0)
        unit.word, unit.serves, unit.since = "stopped", False, self.clock.now()
        self._tell(unit)

    def _tell(self, unit: SimUnit) -> None:
        self._tell_all(self.listeners, self.state(unit.subject))

    @staticmethod
    def _tell_all(listeners: list[tuple[Life | None, Callable[..., None]]], *told: UnitState) -> None:
        listeners[:] = [(life, listener) for life, listener in listeners if life is None or life.alive]
        for life, listener in listeners:
            loop = asyncio.get_running_loop()
            if life is None:
                loop.call_soon(listener, *told)
            else:
                life.run(loop.call_soon, listener, *told)


async def _work_for_ever(_process: SimProcess) -> int:
    await asyncio.Event().wait()
    return 0


class SimServices:
    """The `Services` port: what the daemon sees. Answers come late, and while the bus is deaf nobody can say."""

    def __init__(self, units: SimUnits, entropy: Entropy) -> None:
        self._units = units
        self._entropy = entropy

    async def start(self, on_change: Listener, on_doubt: Callable[[], None]) -> None:
        """First every ill unit is told, then every change."""
        self._units.listeners.append((current_life(), on_change))
        self._units.doubters.append((current_life(), on_doubt))
        for unit in self._units.units.values():
            if unit.word == "down":
                on_change(self._units.state(unit.subject))

    async def state(self, subject: str) -> UnitState:
        await self._answer_late()
        return self._units.seen(subject)

    async def list(self) -> list[UnitState]:
        await self._answer_late()
        return [self._units.seen(subject) for subject in self._units.units]

    async def relations(self) -> Mapping[str, frozenset[str]]:
        """Those that suffer only because another does are among them."""
        return {one: frozenset(_all_dependents(one, self._units.units)) for one in self._units.units}

    async def to_start(self) -> Sequence[str]:
        """The machine starts its services itself."""
        return ()

    async def close(self) -> None:
        life = current_life()
        for told in (self._units.listeners, self._units.doubters):
            told[:] = [entry for entry in told if entry[0] is not life]  # type: ignore[misc]

    async def _answer_late(self) -> None:
        if self._units.late_s:
            await asyncio.sleep(self._entropy.uniform(0.0, self._units.late_s))


def _all_dependents(subject: str, units: Mapping[str, SimUnit]) -> Iterator[str]:
    todo, seen = [subject], {subject}
    while todo:
        one = todo.pop()
        for unit in units.values():
            if one in unit.needs and unit.subject not in seen:
                seen.add(unit.subject)
                todo.append(unit.subject)
                yield unit.subject


class SimActs:
    """The `ServiceActs` port: what bodies do. It takes no time of its own; whoever runs the body lets time pass."""

    def __init__(self, units: SimUnits) -> None:
        self._units = units

    def state(self, subject: str) -> UnitState:
        _refuse_the_dead()
        return self._units.seen(subject)

    def start(self, subject: str, timeout_s: float) -> UnitState:
        self._refuse()
        self._units.begin(subject)
        return self._units.state(subject)

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        self._refuse()
        self._units.stop(subject)
        return self._units.state(subject)

    def restart(self, subject: str, timeout_s: float) -> UnitState:
        self._refuse()
        before = self._units.state(subject)
        if before.state == "up":
            self._units.stop(subject)
        self._units.begin(subject)
        after = self._units.state(subject)
        if after.pid == before.pid:
            raise Temporary(f"{subject} has the same main process as before")
        return after

    def reload(self, subject: str) -> None:
        """It has no files."""

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self._refuse()
        self._units.enable(subject, enabled, masked)

    def limits(self, subject: str) -> Limits:
        raise Permanent(f"{subject} has no control group: this machine is simulated")

    def set_limits(self, subject: str, limits: Limits) -> None:
        self.limits(subject)

    def _refuse(self) -> None:
        _refuse_the_dead()
        if self._units.deaf:
            raise Temporary("the bus does not answer", delay_s=1.0)


def _refuse_the_dead() -> None:
    life = current_life()
    if life is not None:
        life.check()


__all__ = ["SimActs", "SimServices", "SimUnit", "SimUnits"]
