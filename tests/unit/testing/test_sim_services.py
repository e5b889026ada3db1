"""Simulated services, what looks at them and what acts upon them: true to their ports, and all chance from the seed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.errors import Permanent, Temporary
from aios.events.calls import SkillCall
from aios.ports import UnitState
from aios.testing.bodies import SKILLS, Box, specs
from aios.testing.disk import SimDisk
from aios.testing.looker import SimLooker
from aios.testing.loop import Life, VirtualClock, VirtualLoop, run_virtual
from aios.testing.processes import SimProcesses
from aios.testing.services import SimActs, SimServices, SimUnits


def nobody() -> None:
    """Whom no doubt concerns."""


class World:
    def __init__(self, clock: VirtualClock, loop: VirtualLoop) -> None:
        self.entropy = SeededEntropy(1)
        self.loop = loop
        self.processes = SimProcesses(loop, clock)
        self.units = SimUnits(self.processes, clock, self.entropy)
        self.services = SimServices(self.units, self.entropy)
        self.acts = SimActs(self.units)
        self.looker = SimLooker(Box(SimDisk(), self.units, self.acts, clock, self.entropy))

    async def look(self, skill: str, timeout_s: float = 10.0, **params: Any) -> Any:
        checked = SKILLS[skill].check(params) if skill in SKILLS else params
        return await self.looker.look(SkillCall("r", "s", 1, skill, "verify", checked, timeout_s))


def play(story: Callable[[World], Awaitable[Any]]) -> Any:
    async def main(clock: VirtualClock, _: SeededEntropy) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return await story(World(clock, loop))

    return run_virtual(main)


def test_levels_come_first_and_then_edges() -> None:
    """What is ill at the start is told, what is well is not; then every change."""

    async def story(world: World) -> None:
        world.units.add("a.service")
        world.units.add("b.service")
        world.units.crash("a.service", 3)
        told: list[UnitState] = []
        await world.services.start(told.append, nobody)
        assert [(state.subject, state.state, state.exit_status) for state in told] == [("a.service", "down", "3")]
        world.units.crash("b.service")
        world.acts.start("a.service", 5.0)
        world.units.person_stops("a.service")
        await asyncio.sleep(0)
        assert [(state.subject, state.state) for state in told[1:]] == [
            ("b.service", "down"),
            ("a.service", "up"),
            ("a.service", "stopped"),
        ]

    play(story)


def test_the_dead_hear_nothing() -> None:
    """A daemon that was killed is told of no change."""

    async def story(world: World) -> None:
        world.units.add("a.service")
        life, told = Life(world.loop, "daemon"), list[UnitState]()
        await life.spawn(world.services.start(told.append, nobody))
        life.kill()
        world.units.crash("a.service")
        await asyncio.sleep(1)
        assert told == []

    play(story)


def test_a_restart_is_another_process_and_heals_by_chance() -> None:
    """`heals` is the share of restarts that make it well."""

    async def story(world: World) -> float:
        world.units.add("a.service", heals=0.5)
        well = 0
        for _ in range(400):
            before = world.units.state("a.service").pid
            assert world.acts.restart("a.service", 5.0).pid != before
            well += world.units.units["a.service"].serves
        return well / 400

    assert 0.4 < play(story) < 0.6


def test_unknown_masked_and_unwilling_services_refuse() -> None:
    """With errors that say who can act: never by trying again, or later."""

    async def story(world: World) -> None:
        unit = world.units.add("a.service")
        with pytest.raises(Permanent, match="no service"):
            world.acts.restart("none.service", 5.0)
        assert (await world.services.state("none.service")).state == "missing"
        unit.refuses_starts = 1
        with pytest.raises(Temporary):
            world.acts.restart("a.service", 5.0)
        assert world.acts.restart("a.service", 5.0).state == "up"
        world.acts.set_enabled("a.service", False, True)
        with pytest.raises(Permanent, match="masked"):
            world.acts.restart("a.service", 5.0)

    play(story)


def test_who_suffers_is_told_over_several_steps() -> None:
    """What needs it, and what needs that."""

    async def story(world: World) -> None:
        world.units.add("db.service")
        world.units.add("web.service", needs=("db.service",))
        world.units.add("shop.service", needs=("web.service",))
        found = await world.services.relations()
        assert found["db.service"] == {"web.service", "shop.service"}
        assert found["shop.service"] == frozenset()

    play(story)


def test_nobody_can_say_while_services_are_deaf() -> None:
    """No data is unknown, never well."""

    async def story(world: World) -> None:
        world.units.add("a.service")
        world.units.deaf = True
        assert (await world.services.state("a.service")).state == "unknown"
        world.units.deaf = False
        assert [state.state for state in await world.services.list()] == ["up"]

    play(story)


def test_a_hanging_service_runs_and_answers_nobody() -> None:
    """Only a probe can tell, and the looker's timeout cuts it off."""

    async def story(world: World) -> None:
        world.units.add("web.service")
        assert (await world.look("http_check", unit="web.service")).verdict == "well"
        world.units.hang("web.service")
        assert (await world.look("service_check", unit="web.service")).verdict == "well"
        cut_off = await world.look("http_check", unit="web.service")
        assert (cut_off.ok, cut_off.verdict) == (False, "no_data")
        assert "longer than 10 s" in cut_off.error
        assert (await world.look("http_check", unit="web.service", hang_s=2.0)).verdict == "not_well"

    play(story)


def test_a_look_never_raises() -> None:
    """Unknown skills, acts and bodies that fail are results that are not ok."""

    async def story(world: World) -> None:
        assert not (await world.look("none")).ok
        assert not (await world.look("restart_service", unit="web.service")).ok
        broken = SkillCall("r", "s", 1, "read_logs", "observe", {}, 1.0)
        assert "failed" in (await world.looker.look(broken)).error
        world.looker.hangs = lambda: True
        assert "longer than" in (await world.look("read_logs", unit="web.service")).error

    play(story)


def test_parameters_are_checked_as_a_real_skill_checks_them() -> None:
    """Defaults are filled in, unknown names refused with those there are."""
    catalogue = specs()
    assert catalogue["http_check"].check({"unit": "a.service"}) == {"unit": "a.service", "hang_s": 60.0}
    with pytest.raises(ValueError, match="has no parameter 'unti'; it has unit"):
        catalogue["service_check"].check({"unti": "a.service"})
