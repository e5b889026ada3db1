"""Who writes faster than its `write_bandwidth` is held until its share has grown again, and hears its end all the same."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aios.events.calls import SkillCall, SkillResult
from aios.hands import attempt, pace, proc
from aios.hands.cgroups import Group
from aios.hands.pace import Counters, Pace
from tests.integration.cgroup_kit import with_and_without
from tests.integration.hands_kit import Rig, call, play
from tests.integration.test_limits import alive_with, done, held, mark

MB = 1 << 20
WRITE = """
def write(path, mb):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for _ in range(mb * 16):
        os.write(fd, bytes(65536))
        time.sleep(0.002)
"""
"""At most 32 MB a second, so that the looks see it well before its end."""


@pytest.fixture(params=["cgroup", "rlimits"])
def cgroup(request: pytest.FixtureRequest) -> Iterator[str]:
    """By the freezer where there is a v2 tree, and by signals."""
    yield from with_and_without(f"aios-pace-{os.getpid()}", request.param)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder whose writes the kernel counts: a real disk."""
    counters = Counters()
    before = counters.read()[os.getpid()]
    (tmp_path / "probe").write_bytes(bytes(MB))
    after = counters.read()[os.getpid()]
    counters.close()
    if after - before < MB:
        pytest.skip("the kernel counts no writes of this folder: it is no disk, or it keeps no such accounts")
    return tmp_path


def program(run: str, code: str, timeout_s: float = 60.0, grace_s: float = 10.0, bandwidth: int = 4 * MB) -> SkillCall:
    text = f"import os, signal, sys, time\n{WRITE}\n{code}"
    it = call(run, "run_job", {"argv": [sys.executable, "-S", "-c", text, mark(run)]}, timeout_s=timeout_s)
    return replace(it, env={"limits": {"grace_s": grace_s, "write_bandwidth": bandwidth}})


def slowed(result: SkillResult) -> dict[str, float]:
    return next((dict(e) for e in result.evidence if e["kind"] == "slowed"), {})


def test_who_writes_fast_is_slowed_down_and_comes_to_its_end(disk: Path, cgroup: str) -> None:
    """16 MB at 4 MB/s: four seconds, less what it had written before the first looks. The run tells it."""
    result = done(disk, program("fast", f"write({str(disk / 'big')!r}, 16); print('done')"), cgroup)
    assert result.ok
    assert result.result["stdout"] == "done"
    assert (disk / "big").stat().st_size == 16 * MB
    told = slowed(result)
    assert told["written"] >= 12 * MB  # the last of it is written between the last look and its end
    assert told["slowed_s"] > 1.0
    assert held(result)["slowed"] == ["write_bandwidth"]


def test_where_nothing_is_said_nobody_is_slowed(disk: Path) -> None:
    result = done(disk, program("free", f"write({str(disk / 'big')!r}, 16)", bandwidth=0), "none")
    assert result.ok
    assert slowed(result) == {}
    assert "slowed" not in held(result)


@pytest.mark.parametrize("way", ["a child", "detached", "one after the other"])
def test_whoever_of_it_writes(disk: Path, cgroup: str, way: str) -> None:
    """Children, orphans in sessions of their own, and those that have ended: all that they write counts."""
    path = str(disk / "big")
    if way == "one after the other":
        code = f"for n in range(64):\n    if os.fork() == 0: write({path!r} + str(n), 1); os._exit(0)\n    os.wait()"
    else:
        leave = "os.setsid()\n    if os.fork(): os._exit(0)\n    " if way == "detached" else ""
        code = f"r, w = os.pipe()\nif os.fork() == 0:\n    {leave}os.close(r); write({path!r}, 16); os._exit(0)\n"
        code += "os.close(w)\nos.read(r, 1)"
    result = done(disk, program("kin", code, bandwidth=16 * MB if way.startswith("one") else 4 * MB), cgroup)
    assert result.ok, result
    assert slowed(result)["slowed_s"] > 1.0


def test_its_time_ends_it_also_while_it_is_held(disk: Path, cgroup: str) -> None:
    """It hears TERM, has its grace, and the run says what it lost its time by."""
    code = f"def over(*_):\n    os.mkdir({str(disk / 'tidied')!r}); os._exit(0)\nsignal.signal(signal.SIGTERM, over)\n"
    code += f"write({str(disk / 'big')!r}, 4000)"
    result = done(disk, program("late", code, timeout_s=1.5, bandwidth=MB), cgroup)
    assert not result.ok
    assert result.result["limit"] == "time"
    assert (disk / "tidied").is_dir()
    assert result.result["ended_in_s"] < 2.0
    assert "held back" in result.error
    assert "write_bandwidth of 1M" in result.error


def test_a_cancelled_one_that_is_held_ends_at_once(disk: Path, cgroup: str) -> None:
    it = program("cancel", f"write({str(disk / 'big')!r}, 4000)", bandwidth=MB)

    async def story(rig: Rig) -> None:
        rig.hands.start(it)
        await rig.watch(lambda: _stands(it, disk, cgroup))
        started = json.loads((rig.folder(it) / attempt.STARTED).read_bytes())
        os.kill(started["pid"], signal.SIGTERM)
        result = await rig.result(it)
        assert result.result["cancelled"]
        assert result.result["ended_in_s"] < 2.0
        assert alive_with(mark("cancel")) == []

    play(disk, story, cgroup)


def test_who_is_held_when_its_launcher_dies_is_ended_by_the_recovery(disk: Path, cgroup: str) -> None:
    """Frozen or stopped for ever would be worse than running."""
    code = f"if os.fork() == 0: write({str(disk / 'big')!r}, 4000)\nelse: time.sleep(600)"
    it = program("orphan", code, bandwidth=MB, grace_s=0.3)

    async def story(rig: Rig) -> None:
        rig.hands.start(it)
        await rig.watch(lambda: _stands(it, disk, cgroup))
        started = json.loads((rig.folder(it) / attempt.STARTED).read_bytes())
        os.kill(started["pid"], signal.SIGKILL)
        assert (await rig.result(it)).result == {"died": True}
        assert alive_with(mark("orphan")) == []

    play(disk, story, cgroup)


def _stands(it: SkillCall, state: Path, cgroup: str) -> bool:
    """Whether it is being held now."""
    try:
        acting = json.loads((state / it.folder / attempt.ACTING).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    if cgroup == "none":
        return any((stat := proc.read_stat(pid)) is not None and stat.state == "T" for pid in alive_with(mark(it.run)))
    found = Path("/sys/fs/cgroup").glob(f"**{cgroup}/acts/{acting['group']}/cgroup.events")
    return any("frozen 1" in path.read_text() for path in found)


def test_who_stopped_itself_stays_so() -> None:
    """Those that we hold go on, and no others."""
    lives = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    children = own, ours = [life.pid for life in lives]
    try:
        os.kill(own, signal.SIGSTOP)
        os.waitpid(own, os.WUNTRACED)
        it = Pace.of(MB, Group(), lambda: {pid: stat for pid in children if (stat := proc.read_stat(pid))}, 0.0)
        it.tokens = -2.0 * MB
        assert it.look(0.0) > 0
        assert [_state(pid) for pid in children] == ["T", "T"]
        it.look(10.0)
        assert _state(own) == "T"
        assert _state(ours) != "T"
        assert it.slowed_s == 10.0
        it.end(10.0)
    finally:
        for life in lives:
            life.kill()
            life.wait()


def _state(pid: int) -> str:
    """Once it is settled: a signal is obeyed a moment after it was sent."""
    deadline = time.monotonic() + 10
    found = proc.read_stat(pid)
    while found is not None and found.state == "R" and time.monotonic() < deadline:
        found = proc.read_stat(pid)
    assert found is not None
    return found.state


def test_who_forks_faster_than_it_is_stopped_does_not_keep_the_launcher() -> None:
    """Its limits are looked at in between: at each look some more of it stands, and none takes for ever."""
    born = iter(range(2**22 + 1, 2**31))  # nobody has such a number
    it = Pace.of(MB, Group(), lambda: {next(born): proc.Stat("R", 1, 1, 1, 1)}, 0.0)
    it.tokens = -100.0 * MB
    assert it.look(0.0) <= pace.KNOW_S
    assert len(it.stopped) == pace.PASSES
    it.look(0.1)
    assert len(it.stopped) == 2 * pace.PASSES
    it.end(0.2)


def test_what_is_written_is_sent_on_its_way(disk: Path) -> None:
    """Long before the kernel would do it by itself (30 s); what is open for reading, or is no file, is left alone."""
    code = f"""
import os, sys
mine = open({str(disk / "mine")!r}, "wb")
mine.write(bytes({MB})); mine.flush()
read = open({str(disk / "other")!r}, "rb")
os.pipe()
print("there", flush=True)
sys.stdin.read()
"""
    (disk / "other").write_bytes(bytes(MB))
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        if (before := dirty_pages(disk / "mine")) is None:
            pytest.skip("this kernel does not tell which pages wait to be written (cachestat(2), Linux 6.5)")
        ours = len(os.listdir("/proc/self/fd"))
        pace.send_on([writer.pid, 2**22 + 1])
        assert len(os.listdir("/proc/self/fd")) == ours
        deadline = time.monotonic() + 20
        while dirty_pages(disk / "mine") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert before > 0
        assert dirty_pages(disk / "mine") == 0
        assert dirty_pages(disk / "other") == MB // os.sysconf("SC_PAGE_SIZE")
        writer.communicate(b"")


def dirty_pages(path: Path) -> int | None:
    """Of a file, those that are changed in memory alone (cachestat(2))."""
    fields = (ctypes.c_uint64 * 5)()
    with open(path, "rb") as file:
        failed = ctypes.CDLL(None).syscall(451, file.fileno(), (ctypes.c_uint64 * 2)(0, 0), fields, 0)
    return None if failed else int(fields[1])


def test_the_share_of_a_second_is_never_more_than_its_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over any history of looks: written until the last look <= bucket + bandwidth * time + what one look came too late for."""
    counted = [0]
    monkeypatch.setattr(pace.Counters, "read", lambda self: {os.getpid(): counted[0]})
    it = Pace.of(MB, Group(), dict, 0.0)
    now, late = 0.0, 0
    for n in range(5000):
        wait_s = it.look(now)
        assert wait_s > 0
        before, now = now, now + wait_s * (1 + (n * 7919 % 13) / 13)
        if it.held_since is None:
            wrote = int((now - before) * MB * (n % 50))
            late = max(late, wrote)
            counted[0] += wrote
    assert it.slowed_s > 1.0
    assert counted[0] <= MB * pace.BUCKET_S + MB * now + late
    assert counted[0] >= MB * now * 0.5  # and it is not starved
