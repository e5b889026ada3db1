"""Undo for what is no file, through real hands: by inverses, backwards, files and all else together, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aios.disk import OsFiles
from aios.events.calls import SkillCall, Touches
from aios.events.codec import decode_json, encode_json
from aios.hands import attempt
from tests.integration.hands_kit import Rig, call, play

KINDS = ("idempotent", "check_before_retry", "never_retry")
SITE = '''
"""A thing that is no file of a snapshot: a value at a place, and a log of who set it, and of what stood in a file just then."""
import os, time
from dataclasses import dataclass
from aios.errors import Permanent
from aios.events.calls import SkillResult
from aios.skills.api import Inverse, Skill, Undo

@dataclass(frozen=True, slots=True)
class Params:
    place: str
    to: str
    beside: str = ""
    dawdle_ms: int = 0

def read(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""

def act(params, ctx):
    time.sleep(params.dawdle_ms / 2000)
    with open(params.place, "w") as file:
        file.write(params.to)
    fd = os.open(params.place + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{params.to} {read(params.beside)}\\n".encode())
    os.close(fd)
    time.sleep(params.dawdle_ms / 2000)
    return SkillResult(True)

def look(params, ctx):
    if read(params.place) == "cannot say":
        raise Permanent("it cannot be said")
    return {"value": read(params.place)}

def already_done(params, ctx):
    return read(params.place) == params.to

def inverse_of(name):
    def undo(params, before, now):
        if before == now:
            return None
        if now["value"] != params.to:
            raise Permanent("somebody else has set it since")
        return Undo(name, {"place": params.place, "to": before["value"], "beside": params.beside, "dawdle_ms": params.dawdle_ms})
    return Inverse(about=lambda params: params.place, look=look, undo=undo)

def skill(rerun):
    checked = {"already_done": already_done} if rerun == "check_before_retry" else {}
    name = "set_" + rerun
    return Skill(name=name, kind="act", doc="x", params=Params, act=act, rerun=rerun, inverse=inverse_of(name), **checked)

IDEMPOTENT, CHECKED, NEVER = (skill(rerun) for rerun in ("idempotent", "check_before_retry", "never_retry"))
'''


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "things-1.dist-info").mkdir(parents=True)
    points = "".join(f"set_{k} = things:{v}\n" for k, v in zip(KINDS, ("IDEMPOTENT", "CHECKED", "NEVER"), strict=True))
    (site / "things-1.dist-info" / "entry_points.txt").write_text(f"[aios.skills]\n{points}")
    (site / "things.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(site))


def setting(step: str, kind: str, place: Path, to: str, beside: Path | str = "", dawdle_ms: int = 0) -> SkillCall:
    params = {"place": str(place), "to": to, "beside": str(beside), "dawdle_ms": dawdle_ms}
    return replace(call("r", f"set_{kind}", params), step=step, folder=f"runs/r/{step}.1")


def writing(step: str, path: Path, content: str) -> SkillCall:
    it = call("r", "write_file", {"path": str(path), "content": content, "mode": None}, touches=Touches(files=(str(path),)))
    return replace(it, step=step, folder=f"runs/r/{step}.1")


def rollback(number: int, *calls: SkillCall, env: dict[str, Any] | None = None) -> SkillCall:
    it = call("r", "rollback", {"attempts": [one.folder for one in reversed(calls)]}, env=env or {})
    return replace(it, step="rollback", attempt=number, folder=f"runs/r/rollback.{number}")


def log_of(place: Path) -> list[str]:
    return Path(f"{place}.log").read_text().splitlines()


def test_file_thing_file_come_back_backwards(tmp_path: Path) -> None:
    """When the thing in the middle is undone, the act after it is undone already, and the one before it is not yet."""
    path, place = tmp_path / "conf", tmp_path / "thing"
    path.write_text("original")
    place.write_text("off")

    async def story(rig: Rig) -> None:
        acts = writing("a", path, "one"), setting("b", "idempotent", place, "on", path), writing("c", path, "three")
        for it in acts:
            assert (await rig.act(it)).ok
        result = await rig.act(rollback(1, *acts))
        assert result.ok, result.error
        assert (path.read_text(), place.read_text()) == ("original", "off")
        assert log_of(place) == ["on one", "off one"]
        proof = {line["path"]: line for line in result.result["proof"]}
        line = proof[str(place)]
        assert (line["before"], line["after_act"], line["restored"]) == ("value=off", "value=on", "value=off")
        assert line["undone_by"] == ["set_idempotent"]
        assert proof[str(path)]["ok"]
        assert result.result["attempts"] == 3

    play(tmp_path / "state", story)


def test_what_stood_is_on_disk_before_the_act_and_without_it_there_is_no_act(tmp_path: Path) -> None:
    """An act whose thing cannot be looked at is not begun."""
    place = tmp_path / "thing"
    place.write_text("cannot say")

    async def story(rig: Rig) -> None:
        it = setting("a", "idempotent", place, "on")
        result = await rig.act(it)
        assert not result.ok
        assert result.result["begun"] is False
        assert place.read_text() == "cannot say"
        assert not (rig.folder(it) / "before.json").exists()
        place.write_text("x" * 300_000)
        too_much = await rig.act(setting("c", "idempotent", place, "on"))
        assert too_much.result["begun"] is False
        assert "than can be kept" in too_much.error
        place.write_text("off")
        it = setting("b", "idempotent", place, "on", dawdle_ms=600_000)
        rig.hands.start(it)
        await rig.watch(lambda: (rig.folder(it) / "before.json").exists())
        assert place.read_text() == "off"
        assert decode_json((rig.folder(it) / "before.json").read_bytes())["before"] == {"value": "off"}
        rig.hands.cancel(it.key)
        await rig.result(it)

    play(tmp_path / "state", story)


def test_what_somebody_else_changed_since_is_left_and_a_person_called(tmp_path: Path) -> None:
    place = tmp_path / "thing"
    place.write_text("off")

    async def story(rig: Rig) -> None:
        it = setting("a", "idempotent", place, "on")
        assert (await rig.act(it)).ok
        place.write_text("theirs")
        result = await rig.act(rollback(1, it))
        assert not result.ok
        assert "somebody else" in result.error
        assert result.next == ("human_check",)
        assert place.read_text() == "theirs"
        (line,) = result.result["proof"]
        assert not line["ok"]
        place.write_text("on")  # the person puts it right, and asks once more
        again = await rig.act(rollback(2, it))
        assert again.ok, again.error
        assert place.read_text() == "off"

    play(tmp_path / "state", story)


async def kill_the_inverse(rig: Rig, it: SkillCall, place: Path, when: Callable[[], bool]) -> None:
    """The rollback's process, in the midst of its inverse."""
    rig.hands.start(it)
    await rig.watch(when)
    leader = attempt.read_acting(OsFiles(), str(rig.folder(it)))
    assert leader is not None
    os.kill(leader.leader.pid, signal.SIGKILL)
    assert not (await rig.result(it)).ok


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after_its_effect", [False, True])
def test_an_inverse_cut_off_in_the_middle_follows_its_own_rerun_class(tmp_path: Path, kind: str, after_its_effect: bool) -> None:
    """Once more where that is harmless; looked first where it may be done; never again where it may not be repeated."""
    place = tmp_path / "thing"
    place.write_text("off")

    async def story(rig: Rig) -> None:
        it = setting("a", kind, place, "on", dawdle_ms=20)
        assert (await rig.act(it)).ok
        undo = rig.folder(it) / "undo.json"
        if after_its_effect:
            when = lambda: place.read_text() == "off" and log_of(place)[-1:] == ["off "]  # noqa: E731
        else:
            when = undo.exists
        known = decode_json((rig.folder(it) / "before.json").read_bytes())
        known["params"]["dawdle_ms"] = 3000  # the inverse takes its time, so that it can be met in the middle
        (rig.folder(it) / "before.json").write_bytes(encode_json(known))
        await kill_the_inverse(rig, rollback(1, it), place, when)
        result = await rig.act(rollback(2, it))
        effects = log_of(place).count("off ")
        assert effects == (0 if kind == "never_retry" and not after_its_effect else 1)
        assert result.ok is (effects == 1)
        assert place.read_text() == ("off" if effects else "on")
        if not effects:
            assert result.next == ("human_check",)

    play(tmp_path / "state", story)


def test_killed_at_random_moments_a_rollback_of_many_things_comes_to_its_end(tmp_path: Path) -> None:
    """Launcher or act, now and then both: in the end everything is as before, and each thing was undone in its turn."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    path, places = tmp_path / "conf", [tmp_path / f"thing{n}" for n in range(4)]
    path.write_text("0")
    for place in places:
        place.write_text("off")

    async def story(rig: Rig) -> None:
        acts = []
        for n, place in enumerate(places):
            kind = chance.choice(KINDS[:2])
            acts += [writing(f"file{n}", path, str(n + 1)), setting(f"set{n}", kind, place, "on", path, dawdle_ms=10)]
        for it in acts:
            assert (await rig.act(it)).ok
        for number in range(1, 30):
            it = rollback(number, *acts)
            rig.hands.start(it)
            if number < 12 and chance.random() < 0.9:
                await rig.watch(lambda it=it: (rig.folder(it) / "acting").exists())
                for _ in range(chance.randrange(60)):
                    os.sched_yield()
                kill_one(rig, it, chance.choice(("launcher", "act")))
            result = await rig.result(it)
            if result.ok:
                break
        assert result.ok, result.error
        assert path.read_text() == "0"
        for n, place in enumerate(places):
            assert place.read_text() == "off"
            assert set(log_of(place)[1:]) <= {f"off {m}" for m in range(n + 2)}, "an act before it was undone first"
        assert all(line["ok"] for line in result.result["proof"])

    play(tmp_path / "state", story)


def kill_one(rig: Rig, it: SkillCall, who: str) -> None:
    folder, files = str(rig.folder(it)), OsFiles()
    started = attempt.read_started(files, folder)
    acting = attempt.read_acting(files, folder)
    target = started.who if who == "launcher" and started else acting and acting.leader
    if target is not None and rig.hands._processes.alive(target):
        rig.hands._processes.signal(target, signal.SIGKILL)


# --- the shipped ones -----------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def renicing(step: str, pid: int, nice: int) -> SkillCall:
    return replace(call("r", "renice_process", {"pid": pid, "nice": nice}), step=step, folder=f"runs/r/{step}.1")


def test_a_process_gets_its_niceness_back(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Two acts upon one process: it stands as before the first."""
    pid = sleeper.pid
    before = os.getpriority(os.PRIO_PROCESS, pid)

    async def story(rig: Rig) -> None:
        acts = renicing("a", pid, before + 3), renicing("b", pid, before + 7)
        for it in acts:
            result = await rig.act(it)
            assert result.ok, result.error
        assert os.getpriority(os.PRIO_PROCESS, pid) == before + 7
        result = await rig.act(rollback(1, *acts))
        assert result.ok, result.error
        assert os.getpriority(os.PRIO_PROCESS, pid) == before
        (line,) = result.result["proof"]
        assert f"nice={before} " in line["before"]
        assert f"nice={before + 7} " in line["after_act"]
        assert line["restored"] == line["before"]
        assert line["undone_by"] == ["renice_process", "renice_process"]

    play(tmp_path / "state", story)


def test_a_process_that_has_ended_has_nothing_to_get_back(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """And whoever has its number now was never ours."""

    async def story(rig: Rig) -> None:
        it = renicing("a", sleeper.pid, os.getpriority(os.PRIO_PROCESS, sleeper.pid) + 1)
        assert (await rig.act(it)).ok
        sleeper.kill()
        sleeper.wait()
        result = await rig.act(rollback(1, it))
        assert result.ok, result.error
        nobody = await rig.act(renicing("b", 1, 5))
        assert not nobody.ok
        assert "left alone" in nobody.error

    play(tmp_path / "state", story)


SERVICE = {
    "name": "web",
    "kind": "service",
    "argv": ["sleep", "1000"],
    "folder": "/",
    "env": {},
    "user": "",
    "needs": [],
    "autostart": True,
    "log": "",
    "stop_timeout_s": 1.0,
}


def servicing(step: str, skill: str) -> SkillCall:
    it = call("r", skill, {"unit": "web.service"}, touches=Touches(units=("web.service",)), env={"services": [SERVICE]})
    return replace(it, step=step, folder=f"runs/r/{step}.1")


def test_a_service_that_a_person_stopped_is_stopped_again_and_one_that_ran_runs_again(tmp_path: Path) -> None:
    """What was ill before stays as the act left it: to stop it would make its illness look like somebody's wish."""

    async def story(rig: Rig) -> None:
        for folder in ("services", "logs"):
            (rig.state_dir / folder).mkdir()
        env = {"services": [SERVICE]}
        up = servicing("up", "start_service")  # nobody ever stopped it, and it should run: it is down
        assert (await rig.act(up)).result["state"] == "up"
        result = await rig.act(rollback(1, up, env=env))
        assert result.ok, result.error
        down, start = servicing("down", "stop_service"), servicing("start", "start_service")
        try:
            assert (await rig.act(down)).result["state"] == "stopped"
            assert (await rig.act(start)).result["state"] == "up"
            result = await rig.act(rollback(2, start, env=env))
            assert result.ok, result.error
            lines = {line["path"]: line for line in result.result["proof"]}
            assert lines["web.service (running)"]["restored"] == "state=stopped by_wish=True"
            result = await rig.act(rollback(3, down, env=env))
            assert result.ok, result.error
            assert "state=up" in {line["path"]: line for line in result.result["proof"]}["web.service (running)"]["restored"]
        finally:
            assert (await rig.act(servicing("end", "stop_service"))).ok

    play(tmp_path / "state", story)


def test_a_managed_service_has_no_limits_to_set_and_says_what_can_be_done(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        params = {"unit": "web.service", "memory_mb": 100, "cpu_percent": None, "tasks": None}
        result = await rig.act(call("r", "limit_service", params, env={"services": [SERVICE]}))
        assert not result.ok
        assert "renice" in result.error
        assert result.result["begun"] is False

    play(tmp_path / "state", story)
