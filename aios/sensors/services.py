"""Services and agents: what `Services` tells becomes `service.down`, `service.up`, `service.stopped`, `service.flapping`.

The daemon's wiring makes it; `standing` decides what is told. At the start it tells what is ill, and closes what is well by now;
then `relations` tells who depends on whom.
"""

from __future__ import annotations

import asyncio

from aios.clock import Clock
from aios.events.event import Draft
from aios.ports import Emit, Services, UnitState
from aios.sensors.relations import RelationsLearner
from aios.sensors.standing import Standings


class ServiceSensor:
    """A `Sensor`. It starts the `Services` that it is given and closes them when it ends."""

    name = "services"

    def __init__(self, services: Services, clock: Clock, standings: Standings, relations: RelationsLearner) -> None:
        self._services, self._clock, self._standings, self._relations = services, clock, standings, relations
        self.started = asyncio.Event()
        """Set once every level has been told: from here on `Services.state` can be asked."""

    async def run(self, emit: Emit) -> None:
        def on_change(state: UnitState) -> None:
            self._emit(emit, self._standings.watched(state, self._clock.monotonic()))

        await self._services.start(on_change, self._relations.doubt)
        try:
            for state in await self._services.list():
                if state.state != "down":  # told as a level already
                    self._emit(emit, self._standings.watched(state, self._clock.monotonic()))
            self.started.set()
            await self._relations.run(emit)
        finally:
            await self._services.close()

    @staticmethod
    def _emit(emit: Emit, drafts: list[Draft]) -> None:
        if drafts:
            emit(*drafts)
