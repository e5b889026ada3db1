"""Both backends behind one port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from aios.clock import SystemClock
from aios.hands.processes import OsProcesses
from aios.ports import UnitState
from aios.sensors.wake import Waker
from aios.services.both import AllServices
from aios.services.managed import ManagedServices
from aios.services.spec import ManagedService
from aios.services.systemd import SystemdServices


def nobody() -> None:
    """Whom no doubt concerns."""


class OtherBackend:
    """Implements `Services`: knows two units, one of them under a name that is managed."""

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        for subject in ("web.service", "db.service"):
            on_change(UnitState(subject, "down", "systemd"))

    async def state(self, subject: str) -> UnitState:
        return UnitState(subject, "up", "systemd", pid=9)

    async def list(self) -> list[UnitState]:
        return [UnitState(subject, "up", "systemd") for subject in ("web.service", "db.service")]

    async def relations(self) -> Mapping[str, frozenset[str]] | None:
        return {one: frozenset({"x.service"}) for one in ("web.service", "db.service")}

    async def close(self) -> None:
        pass


def test_a_managed_subject_is_managed_and_every_other_is_systemds(tmp_path: Path) -> None:
    """One owner for each subject."""

    async def main() -> None:
        waker, told = Waker(), []
        web = ManagedService("web", "service", ("sleep", "600"), needs=("db.service",))
        managed = ManagedServices([web], str(tmp_path), OsProcesses(), SystemClock(), waker.watch)
        both = AllServices(managed, OtherBackend())
        await both.start(told.append, nobody)
        assert await both.to_start() == ["web.service"]
        assert [(state.subject, state.backend) for state in told] == [("db.service", "systemd")]
        assert (await both.state("web.service")).backend == "managed"
        assert (await both.state("db.service")).backend == "systemd"
        assert sorted(state.backend for state in await both.list()) == ["managed", "systemd"]
        assert await both.relations() == {"db.service": frozenset({"web.service", "x.service"})}
        await both.close()
        waker.close()

    asyncio.run(main())


def test_without_a_system_bus_the_backend_is_absent_and_quiet(tmp_path: Path) -> None:
    """A container without systemd runs managed services alone."""

    async def main() -> None:
        told: list[UnitState] = []
        absent = SystemdServices(address=f"unix:path={tmp_path}/no-bus")
        await absent.start(told.append, nobody)
        assert "no system bus" in absent.absent
        assert not told
        assert await absent.list() == []
        assert (await absent.state("nginx.service")).state == "missing"
        assert await absent.relations() == {}
        await absent.close()

    asyncio.run(main())
