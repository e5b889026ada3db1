"""An act through real hands: its result, its limits, and that nothing of it is left when it ends."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from aios.events.calls import SkillResult, Touches
from aios.events.codec import decode_json
from aios.hands import attempt, client, proc
from aios.hands.limits import OUTPUT_MAX
from aios.ports import ProcessId
from tests.integration.hands_kit import Rig, bring_outsider, call, job, nobody_in_session, outsider, play, python


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_outsider(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def leader_of(rig: Rig, folder: Path) -> int:
    return int(decode_json((folder / attempt.ACTING).read_bytes())["pid"])


def test_an_act_leaves_who_began_it_what_it_printed_and_what_came_of_it(tmp_path: Path) -> None:
    """The folder of an attempt is enough to know what happened."""

    async def story(rig: Rig) -> None:
        it = job("one", "sh", "-c", "echo hello; echo bad >&2; exit 0")
        result = await rig.act(it)
        assert result.ok
        assert result.result["stdout"] == "hello"
        assert sorted(os.listdir(rig.folder(it))) == ["acting", "output", "result", "started"]
        assert (rig.folder(it) / "result").stat().st_size < 1000

    play(tmp_path, story)


def test_what_a_body_prints_stands_in_the_output(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = outsider("p", "print")
        assert (await rig.act(it)).result == {"how": "print"}
        assert (rig.folder(it) / "output").read_text() == "said it\n"

    play(tmp_path, story)


def test_an_act_that_ignores_term_is_killed_with_all_its_children(tmp_path: Path) -> None:
    """After a timeout nothing of the act's session lives."""

    async def story(rig: Rig) -> None:
        it = job("hang", "sh", "-c", "trap '' TERM; (trap '' TERM; sleep 600) & sleep 600 & wait; sleep 600", timeout_s=0.3)
        result = await rig.act(it)
        assert not result.ok
        assert result.result["timed_out"]
        assert "0.3 s" in result.error
        assert nobody_in_session(leader_of(rig, rig.folder(it)))

    play(tmp_path, story)


def test_what_an_act_leaves_running_is_ended_when_it_ends(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = job("bg", "sh", "-c", "sleep 600 & sleep 600 & exit 0")
        assert (await rig.act(it)).ok
        assert nobody_in_session(leader_of(rig, rig.folder(it)))

    play(tmp_path, story)


def test_an_act_that_prints_for_ever_fills_no_disk(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = job("yes", *python("import os\nwhile True: os.write(2, b'y' * 65536)"), timeout_s=0.5)
        assert (await rig.act(it)).result["timed_out"]
        its_own = outsider("yes2", "print")
        await rig.act(its_own)
        assert (rig.folder(it) / "output").stat().st_size <= OUTPUT_MAX

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("exit", "exit status 3"),
        ("kill", "signal 9"),
        ("raise", "RuntimeError: the outsider's bug"),
        ("later", "not now"),
        ("nonsense", "exit status 1"),
    ],
)
def test_a_body_that_dies_or_fails_is_a_result_that_says_how(tmp_path: Path, how: str, says: str) -> None:
    async def story(rig: Rig) -> SkillResult:
        return await rig.act(outsider("bad", how))

    result = play(tmp_path, story)
    assert not result.ok
    assert says in result.error
    assert ("retry" in result.next) == (how == "later")


def test_a_result_that_is_too_large_is_a_blob(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        result = await rig.act(outsider("huge", "huge"))
        assert result.ok
        assert result.result == {"truncated": True}
        name = result.evidence[0]["blob"]
        assert (tmp_path / "blobs" / name[:2] / name).stat().st_size > 300_000

    play(tmp_path, story)


def test_cancelling_ends_the_whole_group_and_is_told(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = job("cancel", "sh", "-c", "sleep 600 & sleep 600")
        rig.hands.start(it)
        await rig.watch((rig.folder(it) / attempt.ACTING).exists)
        rig.hands.cancel(it.key)
        result = await rig.result(it)
        assert result.result["cancelled"]
        assert nobody_in_session(leader_of(rig, rig.folder(it)))

    play(tmp_path, story)


def test_nothing_escapes_by_forking_while_it_is_ended(tmp_path: Path) -> None:
    """Children that are born while their parent dies: none of fifty cancelled acts leaves one."""

    async def story(rig: Rig) -> None:
        for n in range(50):
            it = job(f"r{n}", "sh", "-c", "(sleep 600 & exec sleep 600) & exec sleep 600")
            rig.hands.start(it)
            await rig.watch((rig.folder(it) / attempt.ACTING).exists)
            rig.hands.cancel(it.key)
            await rig.result(it)
            assert nobody_in_session(leader_of(rig, rig.folder(it)))

    play(tmp_path, story)


def test_a_launcher_that_cannot_end_its_act_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by somebody, or by the act itself: its run would never end, and the act would have no limit any more."""
    monkeypatch.setattr(client, "UNHEARD_S", 0.2)

    async def story(rig: Rig) -> None:
        it = replace(job("stopped", "sleep", "600"), env={"limits": {"grace_s": 0.1}})
        rig.hands.start(it)
        await rig.watch((rig.folder(it) / attempt.ACTING).exists)
        raw = decode_json((rig.folder(it) / attempt.STARTED).read_bytes())
        launcher = ProcessId(raw["pid"], raw["start"], raw["boot_id"])
        assert proc.alive(launcher)
        os.kill(launcher.pid, signal.SIGSTOP)
        rig.hands.cancel(it.key)
        result = await rig.result(it)
        assert result.result["died"]
        assert not proc.alive(launcher)
        assert nobody_in_session(leader_of(rig, rig.folder(it)))

    play(tmp_path, story)


def test_hands_that_does_not_answer_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by somebody: without that, no run would act any more, and none would end."""
    monkeypatch.setattr(client, "UNANSWERED_S", 0.3)

    async def story(rig: Rig) -> None:
        await rig.act(job("before", "true"))
        stopped = rig.hands.pid
        os.kill(stopped, signal.SIGSTOP)
        assert (await rig.act(job("unheard", "true"))).result == {"begun": False}
        assert rig.hands.pid != stopped
        assert (await rig.act(job("after", "true"))).ok

    play(tmp_path, story)


def test_cancelling_at_once_is_heard_too(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        it = outsider("soon", "wait")
        rig.hands.start(it)
        rig.hands.cancel(it.key)
        assert (await rig.result(it)).result["cancelled"]

    play(tmp_path, story)


def test_without_a_snapshot_there_is_no_act(tmp_path: Path) -> None:
    """What cannot be saved is not touched."""
    effects = tmp_path / "effects"
    (tmp_path / "file").write_text("x")

    async def story(rig: Rig) -> None:
        for n, path in enumerate(("/", str(tmp_path / "file" / "below"))):
            it = outsider(f"n{n}", "ok", effects, touches=Touches(files=(path,)))
            result = await rig.act(it)
            assert not result.ok
            assert result.result == {"begun": False}
            assert "no act" in result.error

    play(tmp_path, story)
    assert not effects.exists()


@pytest.mark.parametrize("protected", [True, False])
def test_what_a_link_leads_to_is_as_protected_as_what_is_named(tmp_path: Path, protected: bool) -> None:
    """The daemon judges a path as it is written; hands sees where it truly lies, and then there is no act."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "book").write_text("mine")
    (tmp_path / "way").symlink_to(tmp_path / "ledger")
    env = {"protected": [str(tmp_path / "ledger")] if protected else []}

    async def story(rig: Rig) -> None:
        path = str(tmp_path / "way" / "book")
        it = call("link", "write_file", {"path": path, "content": "theirs"}, touches=Touches(files=(path,)), env=env)
        result = await rig.act(it)
        assert result.ok != protected
        if protected:
            assert result.result == {"begun": False}
            assert "is protected" in result.error

    play(tmp_path, story)
    assert (tmp_path / "ledger" / "book").read_text() == ("mine" if protected else "theirs")


@pytest.mark.parametrize("folder", ["", "runs/x", "/runs/a/b", "runs/../x", "etc/a/b", "runs/a/../b", "runs/a/.b"])
def test_an_attempts_folder_elsewhere_is_refused(tmp_path: Path, folder: str) -> None:
    async def story(rig: Rig) -> None:
        result = await rig.act(replace(outsider("f", "ok"), folder=folder))
        assert not result.ok
        assert "runs/RUN/STEP.ATTEMPT" in result.error

    play(tmp_path, story)


def test_a_call_that_is_too_large_is_refused_and_told(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        result = await rig.act(outsider("big", "x" * 200_000))
        assert result.result == {"begun": False}
        assert "too large" in result.error

    play(tmp_path, story)


@pytest.mark.parametrize(("skill", "says"), [("nobody", "no skill 'nobody'"), ("broken", "broken"), ("http_check", "only looks")])
def test_a_skill_that_hands_cannot_run_is_told_with_its_name(tmp_path: Path, skill: str, says: str) -> None:
    async def story(rig: Rig) -> None:
        result = await rig.act(call("s", skill, {"url": "http://127.0.0.1/"} if skill == "http_check" else {}))
        assert not result.ok
        assert says in result.error

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("how", "there", "result", "following"),
    [
        ("ok", True, {"already": True}, ()),
        ("ok", False, {"how": "ok"}, ()),
        ("cannot say", True, {}, ("human_check",)),
    ],
)
def test_a_second_try_looks_first_whether_the_effect_is_there(
    tmp_path: Path, how: str, there: bool, result: dict[str, object], following: tuple[str, ...]
) -> None:
    """`check_before_retry`: what is done is not done again, and when nobody can say a person is asked."""
    effects = tmp_path / "effects"
    if there:
        effects.write_text("x")

    async def story(rig: Rig) -> SkillResult:
        return await rig.act(call("s", "careful", {"how": how, "effects": str(effects)}, env={"recheck": True}))

    told = play(tmp_path, story)
    assert (dict(told.result), told.next) == (result, following)
    assert effects.read_text() == "x"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    async def story(rig: Rig) -> SkillResult:
        return await rig.act(replace(call("s", "careful", {"how": "it", "effects": str(effects)}), dry=True))

    assert play(tmp_path, story).result == {"dry": "would do it"}
    assert not effects.exists()


def test_hands_stays_small(tmp_path: Path) -> None:
    """No asyncio, no pydantic: what a launcher copies must be little."""

    async def story(rig: Rig) -> None:
        await rig.act(job("warm", "true"))
        loaded = Path(f"/proc/{rig.hands.pid}/maps").read_text(errors="replace")
        assert "pydantic" not in loaded
        assert "_asyncio" not in loaded
        rollup = Path(f"/proc/{rig.hands.pid}/smaps_rollup").read_text().splitlines()
        pss_kb = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        assert pss_kb < 20 * 1024

    play(tmp_path, story)


def test_hands_ends_with_its_socket(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        assert await rig.hands.answers(10)
        pid = rig.hands.pid
        await rig.hands.close()
        assert proc.identity(pid) is None

    play(tmp_path, story)
