"""Managed services and agents, seen: which run, which fell, and which a person stopped.

In the daemon, behind the `Services` port; `both` joins it with systemd. Acting on them is `managed_acts`' business, the files
below `services/` are `records`', what their events are called is the services sensor's.

A service is watched by its pidfd, so that its end is told at once; it is found again after a restart of the daemon by pid, start
time and boot id. New lives and intents come as files, through the folder's watch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import getpid, sysconf

from aios.clock import Clock
from aios.ports import Processes, ProcessId, UnitState, UnitWord
from aios.services.records import Ending, Intent, Life, Records
from aios.services.spec import ManagedService

WatchFolder = Callable[[str, Callable[[set[str]], None], Callable[[], None]], Callable[[], None]]
"""`Waker.watch`: folder, what to do about changed names, what to do in doubt; gives back what ends the watch."""

EXIT_WAIT_S = 0.002
"""How long the end of a service may wait for its keeper to write down the status: what heals is more urgent than the number."""
AUTOSTART_WAIT_S = 10.0
"""How long a service that the daemon itself is to start counts as starting; then it is down."""

_SUFFIXES = ("json", "exit", "want")


@dataclass(slots=True)
class _Unit:
    """One service, and what is known of it."""

    spec: ManagedService
    state: UnitState
    life: Life | None = None
    alive: bool = False
    intent: Intent = field(default_factory=Intent)
    ending: Ending | None = None
    awaited: bool = False
    unwatch_life: Callable[[], None] | None = None
    unwatch_by: Callable[[], None] | None = None
    by: ProcessId | None = None
    exit_wait: asyncio.TimerHandle | None = None


class ManagedServices:
    """Implements `Services` for the subjects of the settings."""

    def __init__(
        self, specs: Sequence[ManagedService], folder: str, processes: Processes, clock: Clock, watch_folder: WatchFolder
    ) -> None:
        self._records = Records(folder)
        self._processes, self._clock, self._watch_folder = processes, clock, watch_folder
        self._units = {spec.subject: _Unit(spec, _unknown(spec)) for spec in specs}
        self._by_stem = {unit.spec.stem: unit for unit in self._units.values()}
        self._on_change: Callable[[UnitState], None] = _nobody
        self._unwatch_folder: Callable[[], None] | None = None
        self._autostart_wait: asyncio.TimerHandle | None = None

    # --- the port

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        self._unwatch_folder = self._watch_folder(self._records.folder, self._on_names, self._look_at_all)
        self._look_at_all()
        for unit in self._units.values():
            unit.awaited = self._is_to_start(unit)
            self._judge(unit)
            if unit.state.state == "down":
                on_change(unit.state)
        self._on_change = on_change
        if any(unit.awaited for unit in self._units.values()):
            self._autostart_wait = asyncio.get_running_loop().call_later(AUTOSTART_WAIT_S, self._await_no_longer)

    async def state(self, subject: str) -> UnitState:
        unit = self._units.get(subject)
        return unit.state if unit else UnitState(subject, "missing", "managed", detail="not in the settings")

    async def list(self) -> list[UnitState]:
        return [unit.state for unit in self._units.values()]

    async def relations(self) -> Mapping[str, frozenset[str]]:
        """Over all subjects: what a managed service needs may be one of systemd's."""
        found: dict[str, frozenset[str]] = {}
        for unit in self._units.values():
            for needed in unit.spec.needs:
                found[needed] = found.get(needed, frozenset()) | {unit.spec.subject}
        return found

    async def close(self) -> None:
        self._on_change = _nobody
        for end in (self._unwatch_folder, *(self._watches(self._units.values()))):
            if end is not None:
                end()
        for timer in (self._autostart_wait, *(unit.exit_wait for unit in self._units.values())):
            if timer is not None:
                timer.cancel()

    # --- for the daemon's wiring

    def knows(self, subject: str) -> bool:
        return subject in self._units

    def to_start(self) -> Sequence[str]:
        """What the daemon is to start now, through hands: it has not run since the machine came up, and nobody stopped it.

        Valid once `start` has returned. What ran and fell is not among them: that is an illness, and playbooks heal it.
        """
        waiting = [unit.spec for unit in self._units.values() if unit.awaited]
        return [spec.subject for spec in _needed_first(waiting)]

    # --- what happens

    def _on_names(self, names: set[str]) -> None:
        for name in names:
            stem, _, suffix = name.rpartition(".")
            unit = self._by_stem.get(stem)
            if unit is not None and suffix in _SUFFIXES:
                self._look(unit)

    def _look_at_all(self) -> None:
        for unit in self._units.values():
            self._look(unit)

    def _look(self, unit: _Unit) -> None:
        """Read its files again and see what became of it."""
        unit.intent = self._records.intent(unit.spec.stem)
        life = self._records.life(unit.spec.stem)
        if (life.who if life else None) != (unit.life.who if unit.life else None):
            self._begin_life(unit, life)
        self._settle(unit)

    def _begin_life(self, unit: _Unit, life: Life | None) -> None:
        _end_watch(unit)
        unit.life, unit.ending = life, None
        unit.alive = life is not None and self._processes.alive(life.who)
        if unit.alive and life is not None:
            unit.awaited = False
            unit.unwatch_life = self._processes.on_exit(life.who, lambda: self._on_exit(unit, life))

    def _on_exit(self, unit: _Unit, life: Life) -> None:
        if unit.life is not life:
            return
        unit.alive, unit.unwatch_life = False, None
        unit.intent = self._records.intent(unit.spec.stem)
        unit.ending = self._records.ending(unit.spec.stem, life.who)
        if unit.ending is not None:
            self._settle(unit)
        else:
            unit.exit_wait = asyncio.get_running_loop().call_later(EXIT_WAIT_S, self._settle, unit, True)

    def _settle(self, unit: _Unit, waited: bool = False) -> None:
        """Judge it, unless its keeper is about to say how it ended."""
        if not unit.alive and unit.life is not None and unit.ending is None:
            unit.ending = self._records.ending(unit.spec.stem, unit.life.who)
        if unit.exit_wait is not None and (waited or unit.ending is not None or unit.alive):
            unit.exit_wait.cancel()
            unit.exit_wait = None
        if unit.exit_wait is None:
            self._watch_actor(unit)
            self._judge(unit)

    def _watch_actor(self, unit: _Unit) -> None:
        """A restart that dies half-way leaves a fall behind: so its process is watched too."""
        by = unit.intent.by
        if by == unit.by:
            return
        if unit.unwatch_by is not None:
            unit.unwatch_by()
        unit.by, unit.unwatch_by = by, None
        if by is not None and self._processes.alive(by):
            unit.unwatch_by = self._processes.on_exit(by, lambda: self._on_actor_gone(unit, by))

    def _on_actor_gone(self, unit: _Unit, by: ProcessId) -> None:
        if unit.by == by:
            unit.unwatch_by = None
            unit.awaited = False  # it was to start it, and now it runs or never will
            self._look(unit)

    def _await_no_longer(self) -> None:
        for unit in self._units.values():
            if unit.awaited:
                unit.awaited = False
                self._judge(unit)

    # --- how it stands

    def _judge(self, unit: _Unit) -> None:
        word, detail = self._word(unit)
        before = unit.state
        status = str(unit.ending) if unit.ending is not None and not unit.alive else ""
        pid = unit.life.who.pid if unit.life is not None and unit.alive else 0
        fell = word == "down" and before.state not in ("down", "unknown")
        if (word, pid, status) == (before.state, before.pid, before.exit_status):
            return
        unit.state = replace(
            before,
            state=word,
            pid=pid,
            detail=detail,
            exit_status=status,
            falls=before.falls + fell,
            since=self._since(unit, before, word, pid),
            log_path=unit.life.log if unit.life is not None and unit.life.log else unit.spec.log,
        )
        self._on_change(unit.state)

    def _word(self, unit: _Unit) -> tuple[UnitWord, str]:
        if unit.alive:
            return "up", ""
        intent = unit.intent
        acting = intent.by is not None and unit.unwatch_by is not None
        if intent.want == "stopped":
            return "stopped", "stopped by a person or a run"
        if unit.awaited:
            return "starting", "the daemon starts it"
        if unit.life is None or not self._of_this_boot(unit.life.who):
            return self._never_ran(unit, acting)
        if acting and intent.stopping == unit.life.who:
            return "stopping", "a restart goes on"
        if acting and unit.state.state in ("stopped", "starting"):  # what was down stays so until it runs
            return "starting", "a start goes on"
        return "down", "exit: its process ended"

    def _never_ran(self, unit: _Unit, acting: bool) -> tuple[UnitWord, str]:
        if acting:
            return "starting", "a start goes on"
        if unit.intent.want == "up" or unit.spec.autostart:
            return "down", "missing: it has not run since the machine came up"
        return "stopped", "nobody has started it"

    def _since(self, unit: _Unit, before: UnitState, word: UnitWord, pid: int) -> float:
        if word == "up" and unit.life is not None:
            return self._clock.now() - _age_s(unit.life.who)
        if word == "down" and unit.ending is not None and unit.ending.at:
            return unit.ending.at
        return before.since if word == before.state and pid == before.pid else self._clock.now()

    def _is_to_start(self, unit: _Unit) -> bool:
        ran = unit.life is not None and self._of_this_boot(unit.life.who)
        return unit.spec.autostart and unit.intent.want != "stopped" and not unit.alive and not ran

    def _of_this_boot(self, who: ProcessId) -> bool:
        me = self._processes.identity(getpid())
        return me is None or me.boot_id == who.boot_id

    def _watches(self, units: Iterable[_Unit]) -> Iterable[Callable[[], None] | None]:
        for unit in units:
            yield unit.unwatch_life
            yield unit.unwatch_by


def _nobody(state: UnitState) -> None:
    """Before `start` and after `close` nobody is told."""


def _unknown(spec: ManagedService) -> UnitState:
    return UnitState(spec.subject, "unknown", "managed", enabled=spec.autostart, log_path=spec.log)


def _end_watch(unit: _Unit) -> None:
    if unit.unwatch_life is not None:
        unit.unwatch_life()
        unit.unwatch_life = None
    if unit.exit_wait is not None:
        unit.exit_wait.cancel()
        unit.exit_wait = None


def _age_s(who: ProcessId) -> float:
    """How long this process has lived; the kernel counts in hundredths of a second since it came up."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - who.start / sysconf("SC_CLK_TCK"))


def _needed_first(specs: Sequence[ManagedService]) -> list[ManagedService]:
    """What others need comes first; a circle is broken where it is met."""
    by_subject = {spec.subject: spec for spec in specs}
    ordered: dict[str, ManagedService] = {}
    entered: set[str] = set()

    def enter(spec: ManagedService) -> None:
        if spec.subject in entered:
            return
        entered.add(spec.subject)
        for needed in spec.needs:
            if needed in by_subject:
                enter(by_subject[needed])
        ordered[spec.subject] = spec

    for spec in specs:
        enter(spec)
    return list(ordered.values())
