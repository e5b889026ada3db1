"""systemd's services, seen: over D-Bus, by signals; nothing is polled and nothing is shelled out.

In the daemon, behind the `Services` port. What systemd's words mean is `systemd_units`' business, acting is `systemd_acts`'.
Where there is no system bus the backend is absent: it knows no unit, and `absent` says why. A bus that is lost later is looked
for again, and after that blind time what is ill is told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from aios.backoff import delay_s
from aios.ports import UnitState
from aios.services.systemd_bus import (
    KINDS,
    MANAGER,
    MANAGER_RULE,
    PROPERTIES,
    UNIT,
    Bus,
    BusError,
    BusLost,
    Signal,
    open_bus,
    properties_rule,
    unit_path,
)
from aios.services.systemd_units import WatchedUnit

UNITS_MAX = 512
"""More watched units than this no machine of ours has; it bounds memory and the bus's match rules."""
RELATED_MAX = 1024
"""Of so many loaded services it is asked who depends on them."""
RELIST_AFTER_S = 0.5
"""A reload of systemd tells many changes at once; they are looked at together."""

_SUFFIX = ".service"
_RELATIONS = ("RequiredBy", "WantedBy", "BoundBy", "ConsistsOf")


class SystemdServices:
    """Implements `Services` for the `.service` units that match `patterns`: those that are enabled, active or failed."""

    def __init__(self, patterns: Sequence[str] = ("*.service",), address: str | None = None) -> None:
        self._patterns, self._address = tuple(patterns), address
        self._units: dict[str, WatchedUnit] = {}
        self._by_path: dict[str, WatchedUnit] = {}
        self._told: dict[str, UnitState] = {}
        self._bus: Bus | None = None
        self._on_change: Callable[[UnitState], None] = lambda state: None
        self._task: asyncio.Task[None] | None = None
        self._relist_timer: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._reloading = False
        self._on_doubt: Callable[[], None] = lambda: None
        self._related: set[str] = set()
        """Every service that systemd has loaded, watched or not."""
        self._sufferers: dict[str, frozenset[str]] = {}
        """Of those that were asked since systemd last read its files: who suffers with them."""
        self.absent = ""
        """Why there is no systemd here; empty when there is."""

    # --- the port

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        self._on_change, self._on_doubt = on_change, on_doubt
        try:
            bus = await self._connect()
        except (BusLost, BusError) as error:
            self.absent = str(error)
            return
        self._task = asyncio.create_task(self._stay_connected(bus), name="systemd")
        self._task.add_done_callback(_raise_loudly)

    async def state(self, subject: str) -> UnitState:
        unit = self._units.get(subject)
        if unit is not None and unit.complete:
            return unit.state()
        if not subject.endswith(KINDS):
            return UnitState(subject, "missing", "systemd", detail="no service")
        if self._bus is None:
            word, why = ("missing", self.absent) if self.absent else ("unknown", "the system bus is lost just now")
            return UnitState(subject, word, "systemd", detail=why)  # type: ignore[arg-type]  # both are UnitWords
        return await self._ask(self._bus, unit or WatchedUnit(subject))

    async def list(self) -> list[UnitState]:
        return [unit.state() for unit in self._units.values()]

    async def relations(self) -> Mapping[str, frozenset[str]] | None:
        """One unit after the other, so that the daemon has other things to do meanwhile."""
        if self.absent:
            return {}
        while unasked := self._related - self._sufferers.keys():
            name = min(unasked)
            try:
                found = await self._bus.properties(name, UNIT) if self._bus is not None else None
            except BusError:
                found = {}  # it is gone
            except BusLost:
                found = None
            if found is None:
                return None
            self._sufferers[name] = _suffering(found)
        return {name: self._sufferers[name] for name in sorted(self._related) if self._sufferers[name]}

    async def close(self) -> None:
        self._on_change, self._on_doubt = lambda state: None, lambda: None
        if self._relist_timer is not None:
            self._relist_timer.cancel()
        tasks = [task for task in (self._task, *self._background) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    # --- the connection

    async def _connect(self) -> Bus:
        bus = await open_bus(self._address)
        try:
            await bus.on_signal(self._on_signal)
            await bus.match(MANAGER_RULE)
            await bus.manager("Subscribe")
            self._bus = bus
            self._units.clear()  # what came to rest in blind time, nobody can say how
            self._by_path.clear()
            await self._list(bus, levels=True)
        except BaseException:  # whatever it was: no half-made connection is used, and it rises
            self._bus = None
            bus.close()
            raise
        return bus

    async def _stay_connected(self, bus: Bus) -> None:
        while True:
            await bus.until_lost()
            self._bus = None
            bus = await self._connect_again()

    async def _connect_again(self) -> Bus:
        attempt = 0
        while True:
            attempt += 1
            await asyncio.sleep(delay_s(attempt, base_s=0.5, factor=2.0, ceiling_s=30.0, chance=1.0))
            try:
                return await self._connect()
            except (BusLost, BusError):
                continue

    # --- which units

    async def _list(self, bus: Bus, levels: bool) -> None:
        """Find the units that count, watch them, and tell what is ill."""
        (rows,), (files,) = await asyncio.gather(
            bus.manager("ListUnitsByPatterns", "asas", [], ["*.service"]),
            bus.manager("ListUnitFilesByPatterns", "asas", ["enabled", "enabled-runtime", "masked"], ["*.service"]),
        )
        file_states = {path.rpartition("/")[2]: state for path, state in files}
        self._related = set(sorted(row[0] for row in rows if row[2] == "loaded")[:RELATED_MAX])
        self._sufferers.clear()
        found = [row for row in rows if self._counts(row, file_states.get(row[0], ""))][:UNITS_MAX]
        await asyncio.gather(*(self._see(bus, row, file_states.get(row[0], "")) for row in found))
        for unit in list(self._units.values()):
            self._tell(unit, level=levels)
        self._on_doubt()

    def _counts(self, row: Sequence[str], file_state: str) -> bool:
        name, _, load, active = row[:4]
        if load != "loaded" or not self._matches(name):
            return False
        return name in self._units or active != "inactive" or file_state.startswith("enabled")

    def _matches(self, name: str) -> bool:
        return name.endswith(_SUFFIX) and any(fnmatchcase(name, pattern) for pattern in self._patterns)

    async def _see(self, bus: Bus, row: Sequence[str], file_state: str) -> None:
        """A row of the list says enough of a unit that runs; one that does not is asked about."""
        name, _, load, active, sub = row[:5]
        unit = self._units.get(name)
        if unit is None:
            known = {"LoadState": load, "ActiveState": active, "SubState": sub, "UnitFileState": file_state}
            unit = await self._watch(bus, WatchedUnit(name, known))
        if unit is not None and (unit.complete or active != "active"):
            await self._ask(bus, unit)

    async def _watch(self, bus: Bus, unit: WatchedUnit) -> WatchedUnit | None:
        """From now on its changes are told. None where the bus takes no further rule."""
        self._keep(unit)
        try:
            await bus.match(properties_rule(unit.name))
        except BusError:
            self._forget(unit)
            return None
        return unit

    def _keep(self, unit: WatchedUnit) -> WatchedUnit:
        self._units[unit.name] = unit
        self._by_path[unit_path(unit.name)] = unit
        return unit

    def _forget(self, unit: WatchedUnit) -> None:
        self._units.pop(unit.name, None)
        self._by_path.pop(unit_path(unit.name), None)
        self._told.pop(unit.name, None)

    async def _ask(self, bus: Bus, unit: WatchedUnit) -> UnitState:
        try:
            known = await bus.properties_of(unit.name)
        except BusLost:
            return replace(unit.state(), state="unknown", detail="the system bus is lost just now")
        except BusError as error:
            return UnitState(unit.name, "missing", "systemd", detail=str(error))
        unit.learn(known)
        if unit.name in self._related:
            self._sufferers[unit.name] = _suffering(known)
        return unit.state()

    # --- what happens

    def _on_signal(self, signal: Signal) -> None:
        if signal.interface == PROPERTIES:
            self._on_properties(signal)
        elif signal.interface == MANAGER:
            self._on_manager(signal)
        elif signal.member == "NameOwnerChanged" and signal.body[2]:
            self._in_background(self._subscribe_again())

    def _on_properties(self, signal: Signal) -> None:
        unit = self._by_path.get(signal.path)
        if unit is None:
            return
        unit.change(signal.body[1])
        if signal.body[0] == UNIT:  # the last of the two parts
            self._judge(unit)

    def _on_manager(self, signal: Signal) -> None:
        if signal.member == "JobRemoved":
            name, result = signal.body[2], signal.body[3]
            unit = self._units.get(name)
            if unit is not None:
                unit.job_removed(result)
                self._judge(unit)
            elif self._matches(name) and len(self._units) < UNITS_MAX:
                self._in_background(self._begin_to_watch(name, result))
        elif signal.member == "UnitRemoved" and not self._reloading and signal.body[0] in self._units:
            self._on_removed(self._units[signal.body[0]])
        elif signal.member == "Reloading":  # meanwhile every unit is removed and comes back
            self._reloading = signal.body[0]
            self._relist_soon()
        elif signal.member == "UnitFilesChanged":
            self._relist_soon()

    def _on_removed(self, unit: WatchedUnit) -> None:
        """systemd forgets what rests and nobody refers to; so do we, unless it is ill."""
        unit.removed()
        if unit.state().state == "down":
            self._tell(unit)
        else:
            self._forget(unit)
            self._in_background(self._unmatch(unit))

    async def _unmatch(self, unit: WatchedUnit) -> None:
        if self._bus is not None:
            try:
                await self._bus.unmatch(properties_rule(unit.name))
            except (BusLost, BusError):
                pass  # with the connection the rule is gone too

    def _judge(self, unit: WatchedUnit) -> None:
        """Tell how it stands. One that systemd may start again, or of which little is known, is asked before it is called ill."""
        word = unit.state().state
        if word == "up" or (unit.complete and (word != "down" or not unit.may_start_again())):
            self._tell(unit)
        else:
            self._in_background(self._ask_and_tell(unit))

    async def _ask_and_tell(self, unit: WatchedUnit) -> None:
        if self._bus is None:
            return
        await self._ask(self._bus, unit)
        self._tell(unit)

    async def _begin_to_watch(self, name: str, result: str) -> None:
        """A unit that nobody had started before was started (or could not be)."""
        if self._bus is None or name in self._units:
            return
        try:
            unit = await self._watch(self._bus, WatchedUnit(name))
        except BusLost:
            return
        if unit is not None and self._bus is not None:
            await self._ask(self._bus, unit)
            unit.job_removed(result)
            self._told[name] = unit.confirm()
            self._on_change(self._told[name])
            if len(self._related) < RELATED_MAX:
                self._related.add(name)
            self._on_doubt()

    def _relist_soon(self) -> None:
        if self._relist_timer is None:
            self._relist_timer = asyncio.get_running_loop().call_later(RELIST_AFTER_S, self._relist)

    def _relist(self) -> None:
        self._relist_timer = None
        self._in_background(self._list_again())

    async def _list_again(self) -> None:
        if self._bus is None:
            return
        try:
            await self._list(self._bus, levels=False)
            gone = [unit for unit in self._units.values() if unit.state().state == "missing"]
        except (BusLost, BusError):
            return
        for unit in gone:
            self._forget(unit)

    async def _subscribe_again(self) -> None:
        """systemd itself was replaced (`daemon-reexec`): it no longer knows us."""
        if self._bus is not None:
            try:
                await self._bus.manager("Subscribe")
            except (BusLost, BusError):
                return
            self._relist_soon()

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_raise_loudly)

    def _tell(self, unit: WatchedUnit, level: bool = False) -> None:
        now, before = unit.confirm(), self._told.get(unit.name)
        self._told[unit.name] = now
        changed = before is not None and _differs(before, now)
        if changed or (now.state == "down" and (level or before is None)):
            self._on_change(now)


def _suffering(properties: Mapping[str, Any]) -> frozenset[str]:
    found = (name for relation in _RELATIONS for name in properties.get(relation, ()))
    return frozenset(name for name in found if name.endswith(_SUFFIX))


def _raise_loudly(task: asyncio.Task[None]) -> None:
    """A bug in a task that nobody awaits must reach the loop's handler, or the backend would fall silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "the systemd backend failed", "exception": error, "task": task})


def _differs(before: UnitState, now: UnitState) -> bool:
    another_pid = before.pid not in (0, now.pid)  # 0: it runs, and nobody has asked for its pid yet
    return another_pid or (before.state, before.falls, before.exit_status) != (now.state, now.falls, now.exit_status)
