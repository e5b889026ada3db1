"""Who is watched, and who suffers with whom: asked of `Services` at the start and on any doubt, told where the journal lacks it.

The services sensor runs it once every level has been told, so that READY waits for none of it. What it tells is folded into the
world (`playbooks/relations.py`), and from there alone do guards take it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aios.clock import Clock
from aios.events.catalogue import LEARNED
from aios.events.event import HOST, Draft, day_of
from aios.playbooks.relations import Relations
from aios.ports import Emit, Services


class RelationsLearner:
    """`known` is what the journal holds, `also` who is watched besides services."""

    def __init__(self, services: Services, clock: Clock, known: Relations, also: Collection[str] = ()) -> None:
        self._services, self._clock, self._known, self._also = services, clock, known, frozenset(also)
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """Units came, or systemd has read its files again."""
        self._doubt.set()

    async def run(self, emit: Emit) -> None:
        """Until cancelled."""
        while True:
            self._doubt.clear()
            relations = await self._services.relations()
            if relations is not None:  # nobody can say: a doubt comes with whoever can
                there = {unit.subject for unit in await self._services.list() if unit.state != "missing"}
                news = self._known.news(there | self._also, relations, day_of(self._clock.now()))
                if news:
                    await emit(*(Draft(type=LEARNED, subject=HOST, data=data) for data in news))
            await self._doubt.wait()
