"""What is no file is taken back in reverse order, by the product's own hands, whoever dies at whatever disk call of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aios.entropy import SeededEntropy
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.ports import UnitState
from aios.testing.faults import Fault
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from tests.simulation.assembly import FOLDERS, blobs_of
from tests.simulation.wiring import machine_with_hands

ACTS = (("stop_service", "web.service"), ("start_service", "idle.service"), ("stop_service", "db.service"))
ATTEMPTS_MAX = 6


class Story(NamedTuple):
    result: SkillResult
    states: dict[str, str]
    changes: list[tuple[str, str]]
    calls: int
    attempts: int


def call(skill: str, step: str, attempt: int, params: dict[str, object]) -> SkillCall:
    return SkillCall("r", step, attempt, skill, "act", params, 30.0, Touches(), f"runs/r/{step}.{attempt}")


def rollback_killed_at(nth: Sequence[int]) -> Story:
    """Three acts, then a rollback whose process dies at these disk calls of it, and is begun again as the daemon would."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> Story:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        machine = machine_with_hands(loop, clock, 1, blobs_of)
        for folder in FOLDERS:
            machine.disk.make_folders(STATE_DIR + folder)
        for unit in ("web.service", "idle.service", "db.service"):
            machine.units.add(unit)
        machine.units.person_stops("idle.service")
        for n, (skill, unit) in enumerate(ACTS):
            done = await carried_out(machine, call(skill, f"step{n}", 1, {"unit": unit}))
            assert done is not None
            assert done.ok
        return await taken_back(machine, nth)

    return run_virtual(main, 1)


async def taken_back(machine: SimMachine, nth: Sequence[int]) -> Story:
    changes: list[tuple[str, str]] = []

    def told(state: UnitState) -> None:
        changes.append((state.subject, state.state))

    machine.units.listeners.append((machine.processes.make("watcher").life, told))
    before = machine.disk.calls
    for number in nth:
        machine.disk.fail(Fault("any", first=number, kill=True, path=f"{STATE_DIR}/"))
    folders = [f"runs/r/step{n}.1" for n in reversed(range(len(ACTS)))]
    for attempt in range(1, ATTEMPTS_MAX):
        result = await carried_out(machine, call("rollback", "rollback", attempt, {"attempts": folders}))
        if result is not None and result.result.get("begun") is not False and "cut_off" not in result.result:
            states = {unit: machine.units.state(unit).state for unit in machine.units.units}
            return Story(result, states, changes, machine.disk.calls - before, attempt)
    raise AssertionError(f"not within {ATTEMPTS_MAX} attempts, killed at {nth}")


async def carried_out(machine: SimMachine, it: SkillCall) -> SkillResult | None:
    """By a launcher of its own, to its end; None when that died."""
    said: list[SkillResult | None] = []
    over = asyncio.Event()

    async def launch(process: SimProcess) -> int:
        said.append(await machine.hands.launch(process, it))
        return 0

    process = machine.processes.spawn("launcher", launch)
    process.life.on_death.append(over.set)
    await over.wait()
    for body in machine.processes.named(f"act:{it.key}"):  # as a recovery ends what is left of an act
        machine.processes.kill_group(body.group)
    return said[0] if said else None


def test_three_acts_are_undone_the_last_one_first() -> None:
    """And each thing stands as before its first act; what a person had stopped is stopped again."""
    story = rollback_killed_at(())
    assert story.result.ok, story.result.error
    assert story.changes == [("db.service", "up"), ("idle.service", "stopped"), ("web.service", "up")]
    assert story.states == {"web.service": "up", "idle.service": "stopped", "db.service": "up"}
    proof = {line["path"]: line for line in story.result.result["proof"]}
    assert proof["web.service (running)"] == {
        "path": "web.service (running)",
        "before": "state=up",
        "after_act": "state=stopped",
        "restored": "state=up",
        "ok": True,
        "undone_by": ["start_service"],
    }


def test_a_rollback_killed_at_any_disk_call_goes_on_and_keeps_the_order() -> None:
    """What was undone is not done over: each service changes once, in the same order; and the proof is the same."""
    whole = rollback_killed_at(())
    for nth in range(1, whole.calls + 1):
        story = rollback_killed_at((nth, nth + 7))
        assert story.result.ok, (nth, story.result.error)
        assert story.states == whole.states, nth
        assert story.changes == whole.changes, nth
        assert story.result.result["proof"] == whole.result.result["proof"], nth
