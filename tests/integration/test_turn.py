"""Whose turn it is on the processor: an act steps back, wherever its processes go; AIOS, its services and healing acts do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aios.events.calls import SkillCall, SkillResult
from aios.events.limits import UNSAID
from aios.hands import turn
from aios.hands.interrupts import processor_of_disks
from aios.hands.turn import lowered
from aios.ports import ProcessId
from aios.skills.catalogue import load_bodies
from tests.integration.cgroup_kit import ROOT, with_and_without
from tests.integration.hands_kit import Rig, call, play
from tests.integration.test_limits import done, held, until_gone

AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
SLICE_SINCE = (6, 12)
SAY = "import os; print(os.getpriority(0, 0), os.sched_getscheduler(0), slice_ns(), weight(), *os.sched_getaffinity(0))"
CPUS = os.sched_getaffinity(0)
SPARED = processor_of_disks() if processor_of_disks() in CPUS else min(CPUS)
LEFT = CPUS - {SPARED} or CPUS
KIT = """
def weight():
    try: return int(open("/proc/self/autogroup").read().split()[-1])
    except FileNotFoundError: return 0
def slice_ns():
    return int(next((line.split()[-1] for line in open("/proc/self/sched") if line.startswith("se.slice")), 0))
"""
"""What a process sees of its own turns; 0 where the kernel does not tell."""

by_sessions = pytest.mark.skipif(
    not AUTOGROUP.exists() or AUTOGROUP.read_text().strip() != "1",
    reason="this kernel does not share the processor out by sessions",
)


@pytest.fixture(params=["cgroup", "rlimits"])
def cgroup(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from with_and_without(f"aios-turn-{os.getpid()}", request.param)


def program(run: str, code: str, nice: int | None = 10, timeout_s: float = 30.0) -> SkillCall:
    """A step's program where the settings say `nice`, as the shipped ones do."""
    it = call(run, "run_job", {"argv": [sys.executable, "-S", "-c", KIT + code]}, timeout_s=timeout_s)
    return replace(it, env={"limits": {"grace_s": 0.3, "memory": 1 << 30, **({} if nice is None else {"nice": nice})}})


def usual_slice() -> int:
    return int(subprocess.check_output([sys.executable, "-S", "-c", KIT + "print(slice_ns())"]))


def test_an_act_steps_back_and_says_so(tmp_path: Path, cgroup: str) -> None:
    """Nice value, class and session; turns of the usual length; and the run tells it."""
    result = done(tmp_path, program("back", SAY), cgroup)
    nice, policy, slice_ns, weight, *cpus = map(int, result.result["stdout"].split())
    assert (nice, policy, slice_ns) == (10, os.SCHED_BATCH, usual_slice())
    assert set(cpus) == LEFT
    assert weight == (10 if AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1" else 0)
    told = held(result)
    alone = ["leaves one processor"] if len(CPUS) > 1 else []
    assert told["turn"][: 2 + len(alone)] == ["nice 10", "batch", *alone]  # type: ignore[index]
    shared_by = ["cgroup weight"] if _in_a_weighed_group(cgroup) else ["autogroup"] if weight else []
    assert told["turn"][2 + len(alone) :] == shared_by  # type: ignore[index]
    assert told["limits"]["nice"] == "10"  # type: ignore[index]


def _in_a_weighed_group(cgroup: str) -> bool:
    """On v2 the group that holds memory weighs, too; v1's hierarchy of the processor is used for its limit alone."""
    return cgroup != "none" and (ROOT / "cgroup.controllers").exists()


def test_a_share_of_the_processor_is_held_by_a_group_that_weighs(tmp_path: Path, cgroup: str) -> None:
    """With a limit of `cpu` the kernel's group slows the act down, on v1 too, and the run says that it weighs."""
    told = held(done(tmp_path, replace(program("share", SAY), limits={"cpu": 150}), cgroup))
    assert ("cgroup weight" in told["turn"]) == (cgroup != "none")  # type: ignore[operator]
    assert ("cpu" in told.get("cgroup", ())) == (cgroup != "none")  # type: ignore[operator]


def test_a_person_may_give_an_act_an_ordinary_turn(tmp_path: Path) -> None:
    """`limits: {nice: 0}` of a step counts before the settings."""
    result = done(tmp_path, replace(program("plain", SAY), limits={"nice": 0}), "none")
    assert result.result["stdout"].split() == ["0", str(os.SCHED_OTHER), str(usual_slice()), "0", *map(str, CPUS)]
    assert "turn" not in held(result)


@by_sessions
def test_a_session_that_an_act_opens_steps_back_too(tmp_path: Path) -> None:
    """Where sessions share the processor, who detaches would have as much as the daemon: within a second it has not."""
    code = """
import os, time
if os.fork():
    os.wait()
else:
    os.setsid()
    until = time.monotonic() + 20
    while weight() != 10 and time.monotonic() < until:
        time.sleep(0.01)
    print(weight(), flush=True)
"""
    assert done(tmp_path, program("away", code), "none").result["stdout"] == "10"


def test_the_more_processes_an_act_has_the_less_each_of_them(tmp_path: Path) -> None:
    """Where nothing weighs all of them together, forty are no more than a few."""
    code = """
import os, time
mother = os.getpid()
for _ in range(40):
    if os.getpid() == mother:
        os.fork()
until = time.monotonic() + 20
while os.getpriority(0, 0) != 19 and time.monotonic() < until:
    time.sleep(0.02)
if os.getpid() == mother:
    print(sorted({os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(40)}), os.getpriority(0, 0))
else:
    os._exit(os.getpriority(0, 0))
"""
    assert done(tmp_path, program("many", code), "none").result["stdout"] == "[19] 19"


@pytest.mark.parametrize("nice", [0, 5, 10, 19])
def test_stepping_further_back_is_monotone_and_ends(nice: int) -> None:
    """More tasks never have a better turn; a few have what the step says; nobody leaves the kernel's range."""
    found = [lowered(nice, tasks) for tasks in range(600)]
    assert found == sorted(found)
    assert found[: turn.ALONE + 1] == [nice] * (turn.ALONE + 1)
    assert set(found) <= set(range(nice, turn.NICE_MOST + 1))


def test_what_heals_waits_for_nobody() -> None:
    """AIOS's own short acts have an ordinary turn on a busy machine; what runs programs has not."""
    bodies = load_bodies()
    acts = {name: bodies[name].limits.nice for name in bodies if bodies[name].act is not None}
    assert {name for name, nice in acts.items() if nice is None} == {"cleanup_files", "run_command", "run_job"}
    assert {nice for nice in acts.values() if nice is not None} == {0}
    assert UNSAID.nice is None


@pytest.mark.parametrize("nice", [0, 10])
def test_a_service_that_an_act_started_has_an_ordinary_turn(tmp_path: Path, nice: int) -> None:
    """It is no act: nice value, class and session as anybody has them, also where its step said otherwise."""
    if nice and os.geteuid() != 0:
        pytest.skip("root alone gives a nice value back")
    service = {"name": "long", "kind": "service", "argv": ["sleep", "600"], "folder": "/", "env": {}, "user": ""}
    service |= {"needs": [], "autostart": True, "log": str(tmp_path / "long.log"), "stop_timeout_s": 2.0}
    it = call("start", "start_service", {"unit": "long.service"}, env={"services": [service], "limits": {"nice": 10}})
    (tmp_path / "services").mkdir()

    async def start(rig: Rig) -> SkillResult:
        return await rig.act(replace(it, limits={"nice": nice}))

    result: SkillResult = play(tmp_path, start, "none")
    assert result.ok
    life = json.loads((tmp_path / "services" / "long.json").read_bytes())
    try:
        pid = life["pid"]
        assert (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)) == (0, os.SCHED_OTHER)
        assert _slice_of(pid) == usual_slice()
        assert os.sched_getaffinity(pid) == CPUS
        if AUTOGROUP.exists():
            assert Path(f"/proc/{pid}/autogroup").read_text().endswith("nice 0\n")
    finally:
        os.kill(life["pid"], signal.SIGKILL)
        until_gone(ProcessId(life["keeper"], life["keeper_start"], life["boot_id"]))


def _slice_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/sched").read_text().splitlines()
    return int(next((line.split()[-1] for line in lines if line.startswith("se.slice")), "0"))


@pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < SLICE_SINCE, reason="Linux before 6.12 gives nobody a slice of their own"
)
def test_hands_asks_for_short_turns_and_for_no_larger_share(tmp_path: Path) -> None:
    """It is woken soon; its nice value is whatever it was given."""

    async def story(rig: Rig) -> tuple[int, int]:
        assert await rig.hands.answers(10)
        return _slice_of(rig.hands.pid), os.getpriority(os.PRIO_PROCESS, rig.hands.pid)

    assert play(tmp_path, story, "none") == (turn.SLICE_NS, os.getpriority(os.PRIO_PROCESS, 0))
