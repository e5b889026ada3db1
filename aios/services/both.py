"""Managed services and systemd's behind one port: a subject that the settings list is managed, every other is systemd's.

Made by the two processes' wiring; one class for each side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aios.ports import ServiceActs, Services, UnitState
from aios.services.managed import ManagedServices


class AllServices:
    """Implements `Services` over both backends. `systemd` is None where the settings switch it off."""

    def __init__(self, managed: ManagedServices, systemd: Services | None = None) -> None:
        self._managed, self._systemd = managed, systemd

    async def start(self, on_change: Callable[[UnitState], None]) -> None:
        await self._managed.start(on_change)
        if self._systemd is not None:
            await self._systemd.start(lambda state: None if self._managed.knows(state.subject) else on_change(state))

    async def state(self, subject: str) -> UnitState:
        if self._managed.knows(subject) or self._systemd is None:
            return await self._managed.state(subject)
        return await self._systemd.state(subject)

    async def list(self) -> list[UnitState]:
        managed = await self._managed.list()
        of_systemd = await self._systemd.list() if self._systemd is not None else []
        return managed + [state for state in of_systemd if not self._managed.knows(state.subject)]

    async def dependents(self, subject: str) -> frozenset[str]:
        """Over both: a managed agent may need one of systemd's services."""
        managed = await self._managed.dependents(subject)
        if self._systemd is None or self._managed.knows(subject):
            return managed
        return managed | await self._systemd.dependents(subject)

    async def close(self) -> None:
        await asyncio.gather(self._managed.close(), *([self._systemd.close()] if self._systemd is not None else []))


class AllActs:
    """Implements `ServiceActs` over both backends. `knows` says which subjects are managed."""

    def __init__(self, managed: ServiceActs, knows: Callable[[str], bool], systemd: ServiceActs) -> None:
        self._managed, self._knows, self._systemd = managed, knows, systemd

    def state(self, subject: str) -> UnitState:
        return self._side(subject).state(subject)

    def start(self, subject: str, timeout_s: float) -> UnitState:
        return self._side(subject).start(subject, timeout_s)

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        return self._side(subject).stop(subject, timeout_s)

    def restart(self, subject: str, timeout_s: float) -> UnitState:
        return self._side(subject).restart(subject, timeout_s)

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self._side(subject).set_enabled(subject, enabled, masked)

    def _side(self, subject: str) -> ServiceActs:
        """An agent is always managed, so that a misspelt one is refused with the right cure."""
        return self._managed if self._knows(subject) or subject.startswith("agent:") else self._systemd
