"""Hands, launchers and the daemon's side are killed; an act is carried out at most once, and what became of it is always told."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aios.blobs.store import BlobFolder
from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.entropy import SystemEntropy
from aios.events.calls import SkillCall, SkillResult
from aios.hands import acting, attempt, proc
from aios.hands.client import HandsClient
from aios.hands.limits import Hold
from aios.hands.processes import OsProcesses
from aios.ports import ProcessId
from tests.integration.hands_kit import Rig, bring_outsider, job, nobody_in_session, outsider, play


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_outsider(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def effects_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def waiting(run: str, tmp_path: Path) -> tuple[SkillCall, Path]:
    """An act that goes on until the file `go` is there."""
    effects = tmp_path / f"effects-{run}"
    script = 'echo -n x >> "$0"; until [ -e "$1" ]; do sleep 0.01; done'
    return job(run, "sh", "-c", script, str(effects), str(tmp_path / "go")), effects


async def begun(rig: Rig, it: SkillCall, effects: Path) -> int:
    """Wait until it acts; its launcher's pid."""
    rig.hands.start(it)
    await rig.watch(effects.exists)
    started = attempt.read_started(OsFiles(), str(rig.folder(it)))
    assert started is not None
    return started.who.pid


def test_an_act_outlives_hands_and_its_result_is_told(tmp_path: Path) -> None:
    """kill -9 of hands in mid-act: nothing is done twice, nothing is lost, and hands comes back."""

    async def story(rig: Rig) -> None:
        it, effects = waiting("a", tmp_path)
        await begun(rig, it, effects)
        os.kill(rig.hands.pid, signal.SIGKILL)
        await rig.until(lambda: rig.lost)
        assert rig.lost == ["signal 9"]
        (tmp_path / "go").touch()
        assert (await rig.result(it)).ok
        assert len(rig.told[it.key]) == 1
        assert effects_of(effects) == 1
        await rig.watch(lambda: rig.hands.pid)
        assert await rig.hands.answers(10)
        assert (await rig.act(outsider("b", "ok"))).ok

    play(tmp_path, story)


def test_a_killed_launcher_is_told_as_died_and_takes_its_act_with_it(tmp_path: Path) -> None:
    """Only when nothing of the act lives is it died: a second try never runs beside the first."""

    async def story(rig: Rig) -> None:
        it, effects = waiting("a", tmp_path)
        launcher = await begun(rig, it, effects)
        leader = attempt.read_acting(OsFiles(), str(rig.folder(it)))
        assert leader is not None
        os.kill(launcher, signal.SIGKILL)
        result = await rig.result(it)
        assert result.result == {"died": True}
        assert nobody_in_session(leader.leader.pid)
        assert effects_of(effects) == 1

    play(tmp_path, story)


def test_a_call_given_while_hands_is_away_is_told_as_never_begun(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        assert await rig.hands.answers(10)
        os.kill(rig.hands.pid, signal.SIGKILL)
        await rig.until(lambda: rig.lost)
        it = outsider("a", "ok", tmp_path / "effects")
        result = await rig.act(it)
        assert result.result == {"begun": False}
        assert result.next == ("retry",)
        assert effects_of(tmp_path / "effects") == 0

    play(tmp_path, story)


def test_hands_killed_at_random_moments_under_load(tmp_path: Path) -> None:
    """Every call is told once; its effect is there at most once, and exactly once when it says ok."""
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")

    async def story(rig: Rig) -> None:
        calls = [outsider(f"r{n}", "pause" if n % 5 else "ok", tmp_path / f"e{n}") for n in range(120)]
        for n, it in enumerate(calls):
            rig.hands.start(it)
            if n % 12 == 11 and rig.hands.pid:
                await asyncio.sleep(chance.uniform(0, 0.03))
                if rig.hands.pid:
                    os.kill(rig.hands.pid, signal.SIGKILL)
        await rig.until(lambda: len(rig.told) == len(calls))
        for n, it in enumerate(calls):
            (result,) = rig.told[it.key]
            done = effects_of(tmp_path / f"e{n}")
            assert done <= 1
            assert not result.ok or done == 1
            assert result.result.get("begun") is not False or done == 0

    play(tmp_path, story)


def test_launchers_killed_at_random_moments(tmp_path: Path) -> None:
    """Wherever it is killed: told once, the effect at most once, `voided` only when there is none."""
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    pids: list[int] = []

    async def story(rig: Rig) -> None:
        launched = rig.hands._launched

        def note(message: dict[str, int]) -> None:
            pids.append(message["pid"])
            launched(message)

        rig.hands._launched = note  # type: ignore[method-assign, assignment]  # to know whom to kill before it has left a trace
        for n in range(60):
            it = outsider(f"r{n}", "ok", tmp_path / f"e{n}")
            rig.hands.start(it)
            await rig.watch(lambda n=n: len(pids) > n)
            await asyncio.sleep(chance.uniform(0, 0.008))
            who = proc.identity(pids[n])
            if who is not None:
                OsProcesses().signal(who, signal.SIGKILL)
            result = await rig.result(it)
            done = effects_of(tmp_path / f"e{n}")
            assert done <= 1
            assert not result.ok or done == 1
            assert result.result.get("begun") is not False or done == 0
            assert len(rig.told[it.key]) == 1

    play(tmp_path, story)


def test_the_next_daemon_finds_a_running_launcher_again(tmp_path: Path) -> None:
    """The daemon dies, and hands with it; the launcher goes on, and its end is told to the next one."""
    it, effects = waiting("a", tmp_path)

    async def first(rig: Rig) -> None:
        await begun(rig, it, effects)

    async def second(rig: Rig) -> None:
        assert (await rig.hands.recover(it)).fate == "running"
        assert it.key not in rig.told
        (tmp_path / "go").touch()
        assert (await rig.result(it)).ok
        assert effects_of(effects) == 1

    async def third(rig: Rig) -> None:
        fate = await rig.hands.recover(it)
        assert fate.fate == "done"
        assert fate.result is not None
        assert fate.result.ok

    play(tmp_path, first)
    play(tmp_path, second)
    play(tmp_path, third)


def test_a_running_launcher_that_was_found_again_can_be_cancelled(tmp_path: Path) -> None:
    it, effects = waiting("a", tmp_path)

    async def first(rig: Rig) -> None:
        await begun(rig, it, effects)

    async def second(rig: Rig) -> None:
        assert (await rig.hands.recover(it)).fate == "running"
        rig.hands.cancel(it.key)
        assert (await rig.result(it)).result["cancelled"]

    play(tmp_path, first)
    play(tmp_path, second)


def test_an_attempt_that_never_started_is_void_for_good(tmp_path: Path) -> None:
    """Whoever comes second stands down: a launcher after the recovery does nothing, and that is told."""

    async def story(rig: Rig) -> None:
        it = outsider("a", "ok", tmp_path / "effects")
        assert (await rig.hands.recover(it)).fate == "voided"
        assert (await rig.hands.recover(it)).fate == "voided"
        assert (await rig.act(it)).result == {"begun": False}
        assert effects_of(tmp_path / "effects") == 0

    play(tmp_path, story)


def test_a_result_that_is_damaged_counts_as_died(tmp_path: Path) -> None:
    """A bit that flipped, half a file, garbage: none of it is believed."""

    async def story(rig: Rig) -> None:
        it = outsider("a", "ok", tmp_path / "effects")
        await rig.act(it)
        started = attempt.read_started(OsFiles(), str(rig.folder(it)))
        assert started is not None
        await rig.watch(lambda: not proc.alive(started.who))  # it tells first and ends then
        path = rig.folder(it) / attempt.RESULT
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole[:20], b"", b"null", b"{}", whole.replace(b"true", b"True"), b"\xff" * 70_000):
            path.write_bytes(damaged)
            assert (await rig.hands.recover(it)).fate == "died"
        path.write_bytes(whole)
        assert (await rig.hands.recover(it)).fate == "done"
        path.unlink()
        (rig.folder(it) / attempt.STARTED).write_bytes(b"garbage")
        assert (await rig.hands.recover(it)).fate == "died"

    play(tmp_path, story)


def test_a_launcher_and_a_recovery_race_and_exactly_one_wins(tmp_path: Path) -> None:
    """200 times, two hands at once: either the act took place, or it was voided; never both, never neither."""
    fates: list[str] = []

    async def story(rig: Rig) -> None:
        other = HandsClient(str(tmp_path), OsProcesses(), SystemEntropy())
        other.open()
        assert await other.answers(10)
        assert await rig.hands.answers(10)
        try:
            for n in range(200):
                it = outsider(f"r{n}", "ok", tmp_path / f"e{n}")
                rig.hands.start(it)
                fate = (await other.recover(it)).fate
                result = await rig.result(it)
                fates.append(fate)
                done = effects_of(tmp_path / f"e{n}")
                assert done == (0 if fate == "voided" else 1)
                assert result.ok == (fate != "voided")
                other._attempts.clear()
        finally:
            await other.close()

    play(tmp_path, story)
    print({fate: fates.count(fate) for fate in set(fates)})


def test_hands_that_cannot_live_is_started_again_with_growing_patience(tmp_path: Path) -> None:
    """A recovery is then answered with `hands_lost` instead of never."""

    async def main() -> None:
        lost: list[str] = []
        client = HandsClient(str(tmp_path), OsProcesses(), SystemEntropy(), argv=("false",))
        client.on_lost(lost.append)
        client.open()
        try:
            async with asyncio.timeout(30):
                assert (await client.recover(outsider("a", "ok"))).fate == "hands_lost"
            assert len(lost) >= 6
            assert not await client.answers(0.05)
        finally:
            await client.close()

    asyncio.run(main())


def test_a_recovery_that_is_killed_before_its_word_is_made_again(tmp_path: Path) -> None:
    """It is a process as any other: whoever asked is answered nevertheless."""

    async def story(rig: Rig) -> None:
        told = rig.hands._told
        killed: list[int] = []
        lost: list[Any] = []

        def spoil(message: Mapping[str, Any]) -> None:
            if message["say"] == "recovering" and not killed:
                killed.append(message["pid"])
                who = proc.identity(message["pid"])
                if who is not None:
                    OsProcesses().signal(who, signal.SIGKILL)
            if message["say"] == "fate" and not lost:
                lost.append(message)  # as if it had been killed before it could say so
            else:
                told(message)

        rig.hands._link._told = spoil  # type: ignore[union-attr]  # to know whom to kill, and to lose a word
        assert (await rig.hands.recover(outsider("a", "ok"))).fate == "voided"
        assert killed
        assert lost

    play(tmp_path, story)


def test_an_act_whose_process_is_killed_before_the_first_word_has_not_begun(tmp_path: Path) -> None:
    """Nothing was done, so it may be tried again without asking anybody."""

    def dies(who: ProcessId) -> None:
        os.kill(who.pid, signal.SIGKILL)
        os.waitid(os.P_PID, who.pid, os.WEXITED | os.WNOWAIT)

    effects = tmp_path / "effects"

    def body() -> SkillResult:
        effects.touch()
        return SkillResult(True)

    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    with pytest.raises(acting.NotBegun):
        acting.carry_out(body, blobs, Hold(timeout_s=5.0), SystemClock(), acting.Cancel(), str(tmp_path / "output"), dies)
    assert not effects.exists()
