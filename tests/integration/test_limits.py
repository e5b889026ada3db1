"""A step that does its worst is over soon after its limit, and nothing of it is left: with control groups and without.

Each misbehaviour runs as a real act through real hands. Where a program could harm the machine it is bounded a second time by
itself: a fork bomb under a user that nobody is, with RLIMIT_NPROC; a disk on a tmpfs of the test's own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aios.events.calls import SkillCall, SkillResult
from aios.hands import attempt, proc
from aios.ports import ProcessId
from tests.integration.cgroup_kit import groups_left, handed_over, hierarchies, why_not
from tests.integration.hands_kit import DEADLINE_S, Rig, bring_outsider, call, outsider, play

OVER_WITHIN_S = 2.0
GRACE_S = 0.3
UID = 54321
"""Nobody has this number, so RLIMIT_NPROC counts the bomb alone."""

HOLDS = {"cgroup": (), "without controllers": ("unified",), "v1": ("memory", "pids", "cpu"), "rlimits": None}


@pytest.fixture(params=list(HOLDS))
def cgroup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What holds the acts: everything this machine has; v2 for ending alone; v1 alone; or no groups at all."""
    only = HOLDS[request.param]
    if only is None:
        yield "none"
        return
    if reason := why_not():
        pytest.skip(reason)
    if only and not all(any(path.name == name for path in hierarchies()) for name in only):
        pytest.skip(f"this machine has no hierarchies {', '.join(only)}: its control groups are v2 alone")
    with handed_over(f"aios-test-{os.getpid()}", only=only) as name:
        yield name
        assert groups_left(name.lstrip("/")) == []


def bad(run: str, code: str, timeout_s: float = 0.6, **limits: int) -> SkillCall:
    """A program that misbehaves; limits as a step says them."""
    marked = f"MARK = {run!r}\nimport os, resource, signal, sys, time\n{code}"
    it = call(run, "run_job", {"argv": [sys.executable, "-S", "-c", marked, mark(run)]}, timeout_s=timeout_s)
    return replace(it, limits=limits, env={"limits": {"grace_s": GRACE_S}})


def mark(run: str) -> str:
    return f"aios-limit-test-{run}-{os.getpid()}"


def alive_with(word: str) -> list[int]:
    """Whoever carries the mark in its command line, in whatever session, group or parent."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            stat = proc.read_stat(int(name))
            if word.encode() in words and stat is not None and not stat.gone:
                found.append(int(name))
    return found


def until_gone(who: ProcessId) -> None:
    """Wait for the end of a process that is about to end."""
    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return
    if proc.alive(who):
        select.select([fd], [], [], DEADLINE_S)
    os.close(fd)


def done(tmp_path: Path, it: SkillCall, cgroup: str) -> SkillResult:
    async def story(rig: Rig) -> SkillResult:
        return await rig.act(it)

    result: SkillResult = play(tmp_path, story, cgroup)
    return result


def over_and_gone(tmp_path: Path, it: SkillCall, cgroup: str) -> SkillResult:
    """It was cut off, soon, by the product's own clock; and nobody of it lives."""
    result = done(tmp_path, it, cgroup)
    assert not result.ok
    assert result.result["cut_off"], result
    assert "left" not in result.result
    assert result.result["ended_in_s"] <= OVER_WITHIN_S
    assert alive_with(mark(it.run)) == []
    return result


def held(result: SkillResult) -> dict[str, object]:
    """What the result says of what held it."""
    return dict(next(e for e in result.evidence if e["kind"] == "limits"))


BOMB = f"""
resource.setrlimit(resource.RLIMIT_NPROC, (120, 120))
os.setuid({UID})
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


def test_a_fork_bomb(tmp_path: Path, cgroup: str) -> None:
    """It reaches its limit of processes at once, long before its time is up, and none of its children is left."""
    result = over_and_gone(tmp_path, bad("bomb", BOMB, timeout_s=20.0, processes=24), cgroup)
    assert result.result["limit"] == "processes"
    assert "24" in result.error


def test_who_ignores_term(tmp_path: Path, cgroup: str) -> None:
    """TERM, the grace, KILL."""
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
    result = over_and_gone(tmp_path, bad("deaf", code), cgroup)
    assert result.result["limit"] == "time"


def test_who_ends_at_term_is_not_made_to_wait_for_kill(tmp_path: Path, cgroup: str) -> None:
    it = replace(bad("polite", "while True: time.sleep(60)"), env={"limits": {"grace_s": 20.0}})
    over_and_gone(tmp_path, it, cgroup)


@pytest.mark.parametrize("way", ["setsid", "double fork", "double fork, deaf", "many"])
def test_who_detaches(tmp_path: Path, cgroup: str, way: str) -> None:
    """A session of its own, an orphan, a deaf orphan, twenty of them: none gets away."""
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if "deaf" in way else ""
    times = 20 if way == "many" else 1
    inner = "os.setsid()\n" + ("if os.fork(): os._exit(0)\nos.setsid()\n" if way != "setsid" else "")
    code = f"{deaf}for _ in range({times}):\n    if os.fork() == 0:\n"
    code += "".join(f"        {line}\n" for line in (inner + "time.sleep(600)").splitlines()) + "time.sleep(600)"
    over_and_gone(tmp_path, bad("detach", code), cgroup)


def test_who_detaches_and_ends_well_leaves_nobody_either(tmp_path: Path, cgroup: str) -> None:
    """An act that succeeds is no way out."""
    code = "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(600)\n"
    result = done(tmp_path, bad("quiet", code, timeout_s=20.0), cgroup)
    assert result.ok
    assert alive_with(mark("quiet")) == []


def test_those_that_an_act_left_behind_and_that_ended_count_no_more(tmp_path: Path, cgroup: str) -> None:
    """Sixty orphans one after the other, with room for twenty-four: whoever has ended is buried at once, not at the act's end."""
    code = "for _ in range(60):\n    if os.fork() == 0:\n        os.fork()\n        os._exit(0)\n    os.wait()\n"
    code += "    time.sleep(0.002)\n"
    result = done(tmp_path, bad("orphans", code, timeout_s=20.0, processes=24), cgroup)
    assert result.ok, result


def test_who_allocates_ten_gigabytes(tmp_path: Path, cgroup: str) -> None:
    """It is ended at its limit, not the machine; where its own rlimit refuses it the memory, it fails of itself."""
    code = "keep = []\nfor _ in range(1000): keep.append(bytearray(10 << 20))\ntime.sleep(600)"
    result = done(tmp_path, bad("hungry", code, timeout_s=20.0, memory=64 << 20), cgroup)
    assert not result.ok
    assert alive_with(mark("hungry")) == []
    if "memory" in held(result).get("cgroup", ()):  # type: ignore[operator]
        assert result.result["limit"] == "memory"
        assert result.result["ended_in_s"] <= OVER_WITHIN_S
    else:
        assert "MemoryError" in result.result["stderr"]


def test_who_allocates_in_many_processes(tmp_path: Path, cgroup: str) -> None:
    """The limit is for all of them together, with a group or without."""
    code = (
        "for _ in range(6):\n    if os.fork() == 0:\n        keep = bytearray(20 << 20)\n        time.sleep(600)\ntime.sleep(600)"
    )
    result = over_and_gone(tmp_path, bad("herd", code, timeout_s=20.0, memory=64 << 20), cgroup)
    assert result.result["limit"] == "memory"


@pytest.mark.skipif(os.geteuid() != 0, reason="a tmpfs can be mounted by root alone")
def test_who_fills_the_disk(tmp_path: Path, cgroup: str) -> None:
    """One file stops at its size; what the disk refuses is the program's own error; the act's record is written all the same."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    try:
        write = f"f = open({str(disk / 'big')!r}, 'wb')\nwhile True: f.write(bytes(65536))"
        result = done(tmp_path, bad("filler", write, timeout_s=20.0, file_size=1 << 20), cgroup)
        assert not result.ok
        assert (disk / "big").stat().st_size <= 1 << 20
        full = bad("fuller", write.replace("f.write", "time.sleep(0.0001) or f.write"), timeout_s=20.0)
        result = done(tmp_path, full, cgroup)
        assert not result.ok
        assert "No space left" in result.result["stderr"]
        stubborn = f"while True:\n    try: open({str(disk / 'x')!r}, 'ab').write(bytes(65536))\n    except OSError: pass"
        over_and_gone(tmp_path, bad("stubborn", stubborn), cgroup)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_who_prints_for_ever(tmp_path: Path, cgroup: str) -> None:
    """What is over the limit of output is dropped; the time ends it."""
    it = bad("loud", "while True: os.write(2, b'y' * 65536)", output=4096)
    result = over_and_gone(tmp_path, it, cgroup)
    assert (tmp_path / it.folder / attempt.OUTPUT).read_bytes() == b"y" * 4096
    assert result.result["printed"] > 4096


def test_what_was_cut_off_shows_what_it_printed_last(tmp_path: Path) -> None:
    """Where it hangs stands in its last lines, and nobody else has them."""
    it = bad("hangs", "os.write(1, b'asks the disk\\n')\nos.write(2, b'waits for an answer\\n')\ntime.sleep(600)")
    result = over_and_gone(tmp_path, it, "none")
    assert sorted(result.result["output"].splitlines()) == ["asks the disk", "waits for an answer"]


def test_a_program_that_prints_much_is_not_held_up_by_who_keeps_little_of_it(tmp_path: Path) -> None:
    """100 MB of output through an act whose limit is 4 KB: its time is enough, and its end is told."""
    it = bad("much", "for _ in range(1600): os.write(1, b'z' * 65536)\nos.write(1, b'\\ndone')", timeout_s=20.0, output=4096)
    result = done(tmp_path, it, "none")
    assert result.ok
    assert result.result["stdout"].endswith("done")


def test_who_closes_its_descriptors(tmp_path: Path, cgroup: str) -> None:
    over_and_gone(tmp_path, bad("closed", "os.closerange(0, 4096)\ntime.sleep(600)"), cgroup)


def test_who_stops_itself(tmp_path: Path, cgroup: str) -> None:
    """A process that is stopped would hear no TERM: it is let go on, and tidies up."""
    tidy = f"signal.signal(signal.SIGTERM, lambda *_: (os.mkdir({str(tmp_path / 'tidied')!r}), os._exit(0)))\n"
    it = bad("stopped", tidy + "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)")
    over_and_gone(tmp_path, replace(it, env={"limits": {"grace_s": 20.0}}), cgroup)
    assert (tmp_path / "tidied").is_dir()


def test_processor_time_is_held_down(tmp_path: Path, cgroup: str) -> None:
    """10 % of a processor for a second is a tenth of a second: slowed down by a group, ended by an rlimit at its share."""
    code = "begun = time.process_time()\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\n"
    code += "print(time.process_time() - begun)"
    result = done(tmp_path, bad("busy", code, timeout_s=10.0, cpu=10), cgroup)
    if "cpu" in held(result).get("cgroup", ()):  # type: ignore[operator]
        assert result.ok
        assert float(result.result["stdout"]) < 0.5
    else:
        assert "cpu" in held(result)["rlimits"]  # type: ignore[operator]


def test_a_limit_cannot_be_lifted_by_the_program(tmp_path: Path, cgroup: str) -> None:
    """Its hard limits are its limits, too."""
    code = f"os.setuid({UID})\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))"
    result = done(tmp_path, bad("lift", code, timeout_s=20.0, file_size=1 << 20), cgroup)
    assert not result.ok
    assert "ValueError" in result.result["stderr"] or "PermissionError" in result.result["stderr"]


def test_the_run_says_what_held_it(tmp_path: Path, cgroup: str) -> None:
    """The evidence of each act names the kind of group and, for each limit, who holds it."""
    it = bad("told", "", timeout_s=20.0, memory=64 << 20, processes=64, cpu=50, file_size=1 << 20)
    result = done(tmp_path, it, cgroup)
    told = held(result)
    assert result.ok
    assert told["limits"] == {"memory": "64M", "processes": "64", "cpu": "50%", "file_size": "1M"}
    by = {name for key in ("cgroup", "rlimits", "looks") for name in told.get(key, ())}  # type: ignore[attr-defined]
    assert by == {"memory", "processes", "cpu", "file_size"}
    assert str(told["by"]).startswith("rlimits" if cgroup == "none" else "cgroup ")


def test_a_killed_launcher_leaves_no_group_and_nobody_in_it(tmp_path: Path, cgroup: str) -> None:
    """After the crash recovery ends who detached, too, where there is a group; and takes the group away."""
    if cgroup == "none":
        pytest.skip("without a group nobody can find whom a dead launcher had adopted")
    code = "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(600)\ntime.sleep(600)"
    it = bad("crash", code, timeout_s=60.0)

    async def story(rig: Rig) -> None:
        rig.hands.start(it)
        await rig.watch((rig.folder(it) / attempt.ACTING).exists)
        await rig.watch(lambda: len(alive_with(mark("crash"))) == 2)
        started = json.loads((rig.folder(it) / attempt.STARTED).read_bytes())
        os.kill(started["pid"], signal.SIGKILL)
        assert (await rig.result(it)).result == {"died": True}
        assert alive_with(mark("crash")) == []
        assert groups_left(cgroup.lstrip("/")) == []

    play(tmp_path, story, cgroup)


def test_the_empty_group_of_a_crash_is_taken_away_by_the_next_hands(tmp_path: Path, cgroup: str) -> None:
    """A launcher that was killed between making its group and its act; one that lives keeps its group."""
    if cgroup == "none":
        pytest.skip("no groups here")
    folders = [path / cgroup.lstrip("/") / "acts" for path in hierarchies() if (path / cgroup.lstrip("/")).is_dir()]
    me = proc.myself()
    for folder in folders:
        (folder / f"dead.step.1.{me.pid}.{me.start + 1}").mkdir(parents=True)
        (folder / f"live.step.1.{me.pid}.{me.start}").mkdir()

    async def story(rig: Rig) -> None:
        assert await rig.hands.answers(10)

    play(tmp_path, story, cgroup)
    assert sorted({Path(path).name.split(".")[0] for path in groups_left(cgroup.lstrip("/"))}) == ["live"]
    for folder in folders:
        (folder / f"live.step.1.{me.pid}.{me.start}").rmdir()


def test_a_programs_environment_is_clean_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the daemon's own reaches it but what the settings list; what the step lists does."""
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    params = {"argv": ["env"], "env": {"MINE": "1"}}
    it = replace(call("env", "run_job", params), env={"limits": {"environment": ["LANG"]}})
    lines = done(tmp_path, it, "none").result["stdout"].splitlines()
    assert sorted(line.partition("=")[0] for line in lines) == ["LANG", "MINE", "PATH"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_program_runs_as_the_user_that_its_step_names(tmp_path: Path) -> None:
    """With that user's groups and home; one that is not there is a plain error."""
    it = call("user", "run_job", {"argv": ["sh", "-c", "id -un; id -Gn; echo $HOME"], "user": "nobody"})
    name, groups, home = done(tmp_path, it, "none").result["stdout"].splitlines()
    assert (name, groups) == ("nobody", "nogroup")
    assert home != os.environ.get("HOME")
    missing = done(tmp_path, call("nouser", "run_job", {"argv": ["id"], "user": "no-such-user"}), "none")
    assert "no user 'no-such-user'" in missing.error


def test_a_services_life_is_no_acts(tmp_path: Path, cgroup: str) -> None:
    """A managed service that an act started has none of its limits, a group of its own, and outlives act, hands and launcher."""
    service = {"name": "long", "kind": "service", "argv": ["sleep", "600"], "folder": "/", "env": {}, "user": ""}
    service |= {"needs": [], "autostart": True, "log": str(tmp_path / "long.log"), "stop_timeout_s": 2.0}
    bounds = {"limits": {"memory": 64 << 20, "processes": 32, "cpu": 50, "file_size": 1 << 20, "grace_s": GRACE_S}}
    it = call("start", "start_service", {"unit": "long.service"}, env={"services": [service], **bounds})
    (tmp_path / "services").mkdir()

    async def start(rig: Rig) -> None:
        assert (await rig.act(it)).ok

    play(tmp_path, start, cgroup)
    life = json.loads((tmp_path / "services" / "long.json").read_bytes())
    try:
        limits = Path(f"/proc/{life['pid']}/limits").read_text()
        rows = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        assert {rows[name] for name in ("Max file size", "Max data size", "Max cpu time")} == {"unlimited"}
        groups = Path(f"/proc/{life['pid']}/cgroup").read_text()
        assert "/acts/" not in groups
        assert cgroup == "none" or f"{cgroup}/services/long" in groups
    finally:
        os.kill(life["pid"], signal.SIGKILL)
        until_gone(ProcessId(life["keeper"], life["keeper_start"], life["boot_id"]))


def test_an_act_in_the_bodys_own_process_is_bounded_too(tmp_path: Path, cgroup: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A skill of somebody else's that hangs is over like a program."""
    bring_outsider(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    it = replace(outsider("own", "wait", timeout_s=0.4), env={"limits": {"grace_s": GRACE_S}})
    over = done(tmp_path, it, cgroup)
    assert over.result["limit"] == "time"


@pytest.fixture
def precious() -> Iterator[None]:
    """We are, as the unit makes the daemon, the last to be killed when memory runs out; hands inherits that."""
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    try:
        score.write_text("-500")
    except OSError:
        pytest.skip("nobody may lower the OOM score here")
    yield
    score.write_text(before)


@pytest.mark.usefixtures("precious")
def test_an_act_has_an_ordinary_oom_score(tmp_path: Path) -> None:
    """When memory runs out, what AIOS started goes before AIOS."""
    told = done(tmp_path, call("oom", "run_job", {"argv": ["cat", "/proc/self/oom_score_adj"]}), "none")
    assert told.result["stdout"] == "0"
