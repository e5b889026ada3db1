"""When the journal is tended: at the daemon's start, when a day has closed, each hour, and sooner while room runs short.

One step of `retention` at a time, away from the loop, then some parts are read anew (`scrub`); what came of it goes through the
one door. The daemon spawns `run`; what is done in which order, and whether at all, is decided there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aios.clock import Clock
from aios.events.event import HOST, Draft, Position
from aios.journal.retention import WITH_WORLD, Step, Upkeep
from aios.journal.scrub import Scrub
from aios.ports import Emit

EVERY_S = 3600.0
SHORT_OF_ROOM_S = 300.0
AFTER_MIDNIGHT_S = 90.0
"""The first event of a new day closes the one before; a heartbeat comes each minute."""
_DAY_S = 86_400.0

Offload = Callable[[Callable[[], None]], Awaitable[None]]
Memory = Callable[[], tuple[Position, Mapping[str, Any]]]
"""The world as a checkpoint would hold it, and its position. Called on the loop."""


Damaged = Callable[[], Collection[str]]
"""Subjects of which `journal.damaged` stands open."""


class Tending:
    """See the head of this file."""

    def __init__(self, upkeep: Upkeep, clock: Clock, emit: Emit, offload: Offload, memory: Memory, damaged: Damaged) -> None:
        self._upkeep = upkeep
        self._scrub = Scrub(upkeep.files, upkeep.events)
        self._damaged = damaged
        self._clock = clock
        self._emit = emit
        self._offload = offload
        self._memory = memory

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.once()
            await self._until_next()

    async def once(self) -> None:
        """One round: until there is nothing more to do, or all that is left has failed."""
        self._upkeep.begin()
        while (step := await self._next()) is not None:
            memory = self._memory() if step.name == WITH_WORLD else None
            await self._away(self._attempt, step, memory)
        await self._away(self._read_some, self._damaged())

    async def _next(self) -> Step | None:
        found: list[tuple[Step | None, list[Draft]]] = []
        try:
            await self._offload(lambda: found.append(self._upkeep.next(self._clock.now())))
        except OSError as error:
            data = {"step": "look", "part": "", "error": str(error)}
            await self._emit(Draft(type="journal.upkeep_failed", subject=HOST, data=data))
            return None
        step, told = found[0]
        await self._tell(told)
        return step

    def _read_some(self, damaged: Collection[str]) -> list[Draft]:
        try:
            return self._scrub.some(damaged)
        except OSError as error:
            return [Draft(type="journal.upkeep_failed", subject=HOST, data={"step": "scrub", "part": "", "error": str(error)})]

    def _attempt(self, step: Step, memory: tuple[Position, Mapping[str, Any]] | None) -> list[Draft]:
        return self._upkeep.attempt(step, lambda: memory)

    async def _away(self, work: Callable[..., list[Draft]], *args: object) -> None:
        told: list[Draft] = []
        await self._offload(lambda: told.extend(work(*args)))
        await self._tell(told)

    async def _tell(self, drafts: list[Draft]) -> None:
        if drafts:
            await self._emit(*drafts)

    async def _until_next(self) -> None:
        """In short stretches, since the wall clock may leap."""
        clock = self._clock
        begin, day = clock.monotonic(), _day(clock.now())
        while _day(clock.now()) == day:
            waited_s = clock.monotonic() - begin
            left_s = (SHORT_OF_ROOM_S if self._upkeep.short_of else EVERY_S) - waited_s
            if left_s < 0.001:  # a rest smaller than the clock can count would be waited for without end
                break
            await clock.sleep_until(clock.monotonic() + min(left_s, _DAY_S - clock.now() % _DAY_S + AFTER_MIDNIGHT_S))


def _day(now: float) -> int:
    """Counted from shortly after midnight."""
    return int((now - AFTER_MIDNIGHT_S) // _DAY_S)
