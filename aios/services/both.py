"""Managed services and systemd's, seen behind one port: a subject that the settings list is managed, every other is systemd's.

Made by the daemon's wiring. The acting sides are joined in `hands_main`, which loads systemd's only when it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aios.ports import Services, UnitState
from aios.services.managed import ManagedServices


class AllServices:
    """Implements `Services` over both backends. `systemd` is None where the settings switch it off."""

    def __init__(self, managed: ManagedServices, systemd: Services | None = None) -> None:
        self._managed, self._systemd = managed, systemd
        self._managed_watched = asyncio.Event()

    async def to_start(self) -> Sequence[str]:
        """What the daemon itself is to start, as soon as that is known: what runs already must not be started twice."""
        await self._managed_watched.wait()
        return self._managed.to_start()

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        await self._managed.start(on_change, on_doubt)
        self._managed_watched.set()
        if self._systemd is not None:
            await self._systemd.start(lambda state: None if self._managed.knows(state.subject) else on_change(state), on_doubt)

    async def state(self, subject: str) -> UnitState:
        if self._managed.knows(subject) or self._systemd is None:
            return await self._managed.state(subject)
        return await self._systemd.state(subject)

    async def list(self) -> list[UnitState]:
        managed = await self._managed.list()
        of_systemd = await self._systemd.list() if self._systemd is not None else []
        return managed + [state for state in of_systemd if not self._managed.knows(state.subject)]

    async def relations(self) -> Mapping[str, frozenset[str]] | None:
        """Over both: a managed agent may need one of systemd's services."""
        found = await self._managed.relations()
        of_systemd = await self._systemd.relations() if self._systemd is not None else {}
        if of_systemd is None:
            return None
        theirs = {subject: them for subject, them in of_systemd.items() if not self._managed.knows(subject)}
        return {one: found.get(one, frozenset()) | theirs.get(one, frozenset()) for one in (*found, *theirs)}

    async def close(self) -> None:
        await asyncio.gather(self._managed.close(), *([self._systemd.close()] if self._systemd is not None else []))
