"""The real launcher and recovery in virtual time: whatever dies and whenever, an attempt is carried out at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.ports import AttemptFate
from aios.testing.blobs import SimBlobs
from aios.testing.bodies import SKILLS, read_effects
from aios.testing.faults import Fault
from aios.testing.hands import Mishap
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from tests.simulation.wiring import SimHands, machine_with_hands

Story = Callable[[SimMachine], Awaitable[Any]]


def play(story: Story, seed: int = 0) -> Any:
    async def main(clock: VirtualClock, _: SeededEntropy) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        blobs = SimBlobs()
        machine = machine_with_hands(loop, clock, seed, lambda _files: blobs)
        machine.disk.make_folders(f"{STATE_DIR}/runs")
        return await story(machine)

    return run_virtual(main, seed)


def call_of(skill: str, step: str = "act", attempt: int = 1, **params: Any) -> SkillCall:
    checked = SKILLS[skill].check(params)
    return SkillCall(
        "run1", step, attempt, skill, "act", checked, 10.0, SKILLS[skill].touches(checked), folder=f"runs/run1/{step}.{attempt}"
    )


class Daemon:
    """One life of a daemon that only acts."""

    def __init__(self, machine: SimMachine) -> None:
        self.machine = machine
        self.told: dict[str, SkillResult] = {}
        self.hands = SimHands(machine)
        self.process: SimProcess = machine.processes.make("daemon")
        self.process.life.run(self._begin)

    def _begin(self) -> None:
        self.hands.on_done(self.told.__setitem__)
        self.hands.open()

    def start(self, call: SkillCall) -> None:
        self.process.life.run(self.hands.start, call)

    async def recover(self, call: SkillCall) -> AttemptFate:
        return await self.process.life.spawn(_awaited(self.hands, call))

    def kill(self) -> None:
        self.machine.processes.kill(self.process)


def test_an_act_is_carried_out_and_told_once() -> None:
    """Intent, launcher, act, result: and the callback hears of it."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        daemon.start(call_of("count_never", tag="t"))
        await asyncio.sleep(5)
        return daemon.told, read_effects(machine.disk)

    told, effects = play(story)
    assert told["run1/act.1"].ok
    assert [effect.tag for effect in effects] == ["t"]


def test_a_hanging_act_is_ended_at_its_timeout() -> None:
    """Its whole group; the result says so."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        daemon.start(call_of("hang"))
        await asyncio.sleep(30)
        return daemon.told["run1/act.1"], machine.processes.named("act:")

    result, left = play(story)
    assert not result.ok
    assert "timeout" in result.error
    assert left == []


def test_a_body_that_dies_is_a_result_that_is_not_ok() -> None:
    """The launcher lives and says what it knows."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        daemon.start(call_of("die"))
        await asyncio.sleep(5)
        return daemon.told

    told = play(story)
    assert not told["run1/act.1"].ok


def test_a_launcher_outlives_the_daemon_and_is_found_again() -> None:
    """The next daemon learns that it runs, and hears its end."""

    async def story(machine: SimMachine) -> Any:
        first = Daemon(machine)
        first.start(call_of("count_never", tag="t", busy_s=8.0))
        await asyncio.sleep(0.05)
        first.kill()
        second = Daemon(machine)
        fate = await second.recover(call_of("count_never", tag="t", busy_s=8.0))
        await asyncio.sleep(60)
        return fate, first.told, second.told

    fate, first, second = play(story)
    assert fate.fate == "running"
    assert first == {}
    assert second["run1/act.1"].ok


def test_an_attempt_that_never_started_is_voided_for_good() -> None:
    """Recovery takes the fence, so that a launcher that comes late stands down."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        fate = await daemon.recover(call_of("count_never", tag="t"))
        daemon.start(call_of("count_never", tag="t"))
        await asyncio.sleep(5)
        return fate, daemon.told, read_effects(machine.disk)

    fate, told, effects = play(story)
    assert fate == AttemptFate("voided")
    assert told["run1/act.1"].result == {"begun": False}
    assert effects == []


def test_a_restarted_service_has_another_main_process() -> None:
    """Touched units are snapshotted by the real code before the act."""

    async def story(machine: SimMachine) -> Any:
        machine.units.add("web.service")
        before = machine.units.state("web.service")
        machine.units.crash("web.service")
        daemon = Daemon(machine)
        daemon.start(call_of("restart_service", unit="web.service"))
        await asyncio.sleep(5)
        manifest = machine.disk.read("/state/runs/run1/act.1/manifest.json")
        return before, machine.units.state("web.service"), daemon.told, manifest

    before, after, told, manifest = play(story)
    assert told["run1/act.1"].ok
    assert after.state == "up"
    assert after.pid != before.pid
    assert b'"web.service"' in manifest


async def _one_attempt_in_a_storm(machine: SimMachine, skill: str) -> tuple[str, int]:
    """Start, and let anything die anywhere; then recover until it is settled. Returns (fate, effects)."""
    for kind in ("launcher_dies", "body_dies"):
        machine.hands.mishaps += [Mishap(kind, nth) for nth in range(1, 60) if machine.chance.uniform(0.0, 1.0) < 0.1]
    call = call_of(skill, tag="t")
    daemon = Daemon(machine)
    daemon.start(call)
    for _ in range(3):
        await asyncio.sleep(machine.chance.uniform(0.0, 0.4))
        if machine.chance.uniform(0.0, 1.0) < 0.4:
            machine.power_cut()
        daemon.kill()
        daemon = Daemon(machine)
        daemon.process.life.spawn(_awaited(daemon.hands, call))
    machine.hands.mishaps.clear()
    for _ in range(100):
        await asyncio.sleep(1)
        fate = await daemon.recover(call)
        if fate.fate in {"done", "died", "voided"}:
            break
    return fate.fate, len(read_effects(machine.disk))


async def _awaited(hands: SimHands, call: SkillCall) -> AttemptFate:
    return await hands.recover(call)


@pytest.mark.parametrize("seed", range(150))
def test_an_attempt_happens_at_most_once_whatever_dies(seed: int) -> None:
    """Daemon, launcher, body and the power: the fence holds, and a voided attempt had no effect."""

    async def story(machine: SimMachine) -> Any:
        return await _one_attempt_in_a_storm(machine, "count_never")

    fate, effects = play(story, seed)
    assert fate in {"done", "died", "voided"}, f"seed {seed}"
    assert effects <= 1, f"seed {seed}"
    if fate == "voided":
        assert effects == 0, f"seed {seed}"


@pytest.mark.parametrize("nth", range(1, 30))
def test_a_launcher_killed_at_any_disk_call_leaves_what_recovery_understands(nth: int) -> None:
    """At every call of its short history: never two effects, never an effect of a voided attempt, always an answer."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        machine.disk.fail(Fault("any", first=nth, kill=True, path="/state/runs"))
        call = call_of("count_never", tag="t")
        daemon.start(call)
        await asyncio.sleep(20)
        machine.disk.mend()
        return await daemon.recover(call), len(read_effects(machine.disk))

    fate, effects = play(story)
    assert fate.fate in {"done", "died", "voided"}
    assert effects <= (0 if fate.fate == "voided" else 1)
    if fate.fate == "done" and fate.result is not None and fate.result.ok:
        assert effects == 1


def test_stopped_processes_do_not_go_on() -> None:
    """SIGSTOP holds a body between two of its steps; SIGCONT lets it go on."""

    async def story(machine: SimMachine) -> Any:
        daemon = Daemon(machine)
        daemon.start(call_of("count_never", tag="t", busy_s=0.5))
        await asyncio.sleep(0.01)
        body = machine.processes.named("act:")[0]
        machine.processes.deliver(body, 19)
        await asyncio.sleep(5)
        while_stopped = len(read_effects(machine.disk))
        machine.processes.deliver(body, 18)
        await asyncio.sleep(3)
        return while_stopped, len(read_effects(machine.disk))

    assert play(story) == (0, 1)


def test_what_a_call_touches_is_data() -> None:
    """A simulated skill says what it touches as a real one does."""
    assert SKILLS["restart_service"].touches({"unit": "web.service"}) == Touches(units=("web.service",))
