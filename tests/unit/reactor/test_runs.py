"""Runs as they are driven: asked, answered, cancelled, cut off, retried, taken back; at every point, and across restarts."""

from __future__ import annotations

import asyncio

import pytest

from aios.events.event import Event
from tests.unit.reactor.rig import Rig, play, playbook


def kinds(rig: Rig, run: str) -> list[str]:
    return [s.event.type for s in rig.stored() if s.event.data.get("run") == run]


async def asked(rig: Rig) -> Event:
    rig.ill.add("job:1")
    await rig.emit()
    return await rig.until_event("approval.requested")


# --- a person is asked


def test_a_yes_lets_it_act() -> None:
    """approve: it acts after the yes, and not before."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        assert rig.acts == []
        assert [one["id"] for one in (await rig.do("status"))["needs_you"]] == [run]
        await rig.do("approve", run=run, reason="go on")
        await rig.until_event("run.healed")
        given = rig.events("approval.given")[0].data
        assert (given["by"], given["reason"]) == ("ann", "go on")

    play(story, playbook("asker", mode="approve"))


def test_a_no_ends_it_and_nothing_else_is_tried() -> None:
    """Denied: no act, no fallback, no next best playbook in its place."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("deny", run=run, reason="in use")
        await rig.until(lambda: run in rig.daemon.world.recent)
        assert rig.events("approval.denied")[0].data["reason"] == "in use"
        assert (await rig.do("run", run=run))["why"] == "denied by ann: in use"
        await asyncio.sleep(60.0)
        assert rig.acts == []
        assert len(rig.events("run.opened")) == 1

    play(story, playbook("asker", mode="approve", head="priority: 5"), playbook("other", mode="auto"))


def test_no_answer_is_no_and_a_person_is_told() -> None:
    """It expires after a day, ends unknown, and escalates by notify alone."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await asyncio.sleep(86_390.0)
        assert rig.events("approval.expired") == []
        await rig.until_event("run.escalated")
        assert rig.acts == []
        assert len(rig.events("run.opened")) == 1
        assert kinds(rig, run)[-5:] == ["run.rolled_back", "run.step_intended", "run.step_done", "run.rung_done", "run.escalated"]
        refused = await rig.ask("approve", run=run)
        assert not refused.ok

    play(story, playbook("asker", mode="approve", head="priority: 5"), playbook("other", mode="auto"))


def test_two_answers_at_once_are_one() -> None:
    """The second hears that nothing is asked any more."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        answers = await asyncio.gather(rig.ask("approve", run=run), rig.ask("approve", run=run), rig.ask("deny", run=run))
        assert sorted(answer.ok for answer in answers) == [False, False, True]
        await rig.until_event("run.healed")
        assert rig.acts == ["job:1 by asker"]

    play(story, playbook("asker", mode="approve"))


def test_a_question_outlives_a_restart_and_is_answered_after_it() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.restart()
        await rig.do("approve", run=run)
        await rig.until_event("run.healed")
        assert len(rig.events("approval.requested")) == 1

    play(story, playbook("asker", mode="approve"))


def test_the_yes_is_for_those_acts_and_for_no_others() -> None:
    """After the wait it looks again; where the acts differ from those approved, it asks again."""

    async def story(rig: Rig) -> None:
        rig.facts["job:1"] = "gently"
        run = (await asked(rig)).data["run"]
        rig.facts["job:1"] = "with a hammer"
        await rig.do("approve", run=run)
        again = await rig.until_event("approval.requested", count=2)
        assert rig.acts == []
        assert again.data["acts"][0]["params"]["way"] == "with a hammer"
        await rig.do("approve", run=run)
        await rig.until_event("run.healed")

    act = 'mend, with: {of: "${event.subject}", way: "${steps.look.result.value}"}'
    play(story, playbook("asker", mode="approve", act=act))


def test_a_suggestion_becomes_a_run_that_does_just_that_once() -> None:
    """`mode_max = suggest`: it proposes; a person's yes is a yes to those acts, and a second yes is no second act."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        suggested = await rig.until_event("run.suggested")
        assert rig.acts == []
        assert [act["skill"] for act in suggested.data["would"]] == ["mend"]
        assert "reason must be text" in (await rig.ask("approve", run=suggested.data["run"], reason="x" * 1001)).error
        await rig.do("approve", run=suggested.data["run"], reason="go on")
        await rig.until_event("run.healed")
        assert [one.data.get("reason") for one in rig.events("run.opened")] == [None, "go on"]
        refused = await rig.ask("approve", run=suggested.data["run"])
        assert "approved already" in refused.error
        assert rig.acts == ["job:1 by mender"]

    play(story, playbook("mender"), mode_max="suggest")


def test_of_two_who_approve_a_suggestion_at_once_one_is_refused() -> None:
    """And written down as the second; the journal holds one opening."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.suggested")).data["run"]
        answers = await asyncio.gather(*(rig.ask("approve", run=run) for _ in range(3)))
        assert sorted(answer.ok for answer in answers) == [False, False, True]
        assert all("approved already" in answer.error for answer in answers if not answer.ok)
        assert len(rig.events("run.opened")) == 2
        await rig.until_event("approval.refused", count=2)
        again = await rig.until_event("run.healed")
        rig.ill.add("job:1")
        answers = await asyncio.gather(*(rig.ask("retry", run=again.data["run"]) for _ in range(3)))
        assert sorted(answer.ok for answer in answers) == [False, False, True]
        assert len(rig.events("run.opened")) == 3

    play(story, playbook("proposer", mode="suggest"))


def test_a_suggestion_that_would_do_something_else_by_now_asks_again() -> None:
    async def story(rig: Rig) -> None:
        rig.facts["job:1"] = "gently"
        rig.ill.add("job:1")
        await rig.emit()
        suggested = await rig.until_event("run.suggested")
        rig.facts["job:1"] = "with a hammer"
        await rig.do("approve", run=suggested.data["run"])
        await rig.until_event("approval.requested")
        assert rig.acts == []

    act = 'mend, with: {of: "${event.subject}", way: "${steps.look.result.value}"}'
    play(story, playbook("mender", act=act), mode_max="suggest")


# --- a person ends it


@pytest.mark.parametrize("after_s", [n * 0.006 for n in range(1, 60)])
def test_cancelled_at_any_point_it_ends_and_what_it_did_is_taken_back(after_s: float) -> None:
    """While it looks, asks, acts, verifies, holds or waits: it ends, and the daemon lives."""

    async def story(rig: Rig) -> None:
        rig.look_s = 0.03
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.opened")).data["run"]
        await asyncio.sleep(after_s)
        answer = await rig.ask("cancel", run=run)
        await rig.until(lambda: run in rig.daemon.world.recent)
        ended = rig.daemon.world.recent[run]
        if answer.ok:
            assert kinds(rig, run)[-1] == "run.rolled_back"
            assert len(rig.acts) <= 1
        else:
            assert ended.status == "healed"
        rig.ill.add("job:2")
        await rig.emit(subject="job:2")
        await rig.until_event("run.healed", subject="job:2")

    play(story, playbook("mender", hold="100ms"), seed=int(after_s * 1000))


@pytest.mark.parametrize("look_s", [0.01, 3600.0])
def test_cancelled_while_it_looks_or_proves_it_ends_at_once(look_s: float) -> None:
    """A proof that holds for an hour, or a look that hangs, is waited for by nobody any more."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.opened")).data["run"]
        if look_s < 1.0:
            await rig.until(lambda: rig.acts)
        rig.look_s = look_s
        await asyncio.sleep(1.0)
        if look_s > 1.0:
            rig.ill.add("job:2")
            await rig.emit(subject="job:2")
            run = (await rig.until_event("run.opened", "job:2")).data["run"]
            await asyncio.sleep(1.0)
        began = rig.loop.time()
        await rig.do("cancel", run=run)
        await rig.until(lambda: run in rig.daemon.world.recent)
        assert rig.loop.time() - began < 5.0
        assert kinds(rig, run)[-1] == "run.rolled_back"
        rig.look_s = 0.01
        rig.ill.add("job:3")
        await rig.emit(subject="job:3")
        await rig.until_event("run.step_intended", "job:3")

    play(story, playbook("mender", hold="1h"))


def test_cancelled_while_it_waits_to_try_again_or_for_an_answer() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("cancel", run=run)
        await rig.until(lambda: run in rig.daemon.world.recent)
        assert rig.acts == []
        assert not (await rig.ask("approve", run=run)).ok
        assert not (await rig.ask("cancel", run=run)).ok

    play(story, playbook("asker", mode="approve"))


def test_an_ended_run_is_taken_back_once() -> None:
    """`aios runs rollback`: also after a restart; a second time there is nothing to take back, and nothing breaks."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.healed")).data["run"]
        await rig.restart()
        await rig.do("rollback", run=run)
        back = await rig.until_event("run.rolled_back")
        assert (back.data["by"], back.data["ok"]) == ("ann", True)
        await rig.until(lambda: run in rig.daemon.world.recent)
        assert "already" in (await rig.ask("rollback", run=run)).error
        await rig.restart()
        assert rig.daemon.world.recent[run].outcome == "healed"

    play(story, playbook("mender"))


def test_a_run_that_the_world_forgot_is_taken_back_from_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of runs later only the journal knows it: it is known again by an event, so that a restart does not forget it."""
    monkeypatch.setattr("aios.world.RECENT_RUNS_MAX", 1)

    async def story(rig: Rig) -> None:
        rig.ill |= {"job:1", "job:2"}
        await rig.emit(subject="job:1")
        run = (await rig.until_event("run.healed", subject="job:1")).data["run"]
        await rig.emit(subject="job:2")
        await rig.until_event("run.healed", subject="job:2")
        await rig.until(lambda: run not in rig.daemon.world.recent)
        assert "no run" in (await rig.ask("rollback", run=run)).error

        remembering(rig)
        assert "no run" in (await rig.ask("rollback", run="deadbeef")).error
        await rig.do("rollback", run=run[:8])
        back = await rig.until_event("run.rolled_back", subject="job:1")
        assert (back.data["by"], back.data["ok"], back.data["run"]) == ("ann", True, run)
        assert len(rig.events("daemon.run_recalled")) == 1
        await rig.restart()
        await rig.until_quiet()
        assert rig.died == []

    play(story, playbook("mender"))


def remembering(rig: Rig) -> None:
    """What the real daemon reads from its journal's days is read from this one's."""

    async def recall(name: str, value: str) -> list[Event]:
        return [s.event for s in rig.stored() if str(s.event.data.get(name, "")).startswith(value)]

    rig.daemon.verbs.house.known.recall = recall


def test_an_act_by_hand_is_taken_back_like_a_run_and_speaks_for_no_playbook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when hundreds of runs came after it; neither trust nor guards count it, and nobody can have it tried again."""
    monkeypatch.setattr("aios.world.RECENT_RUNS_MAX", 1)

    async def story(rig: Rig) -> None:
        run = str((await rig.do("skill_run", skill="set_unit", params={"unit": "web.service"}, dry=False))["run"])
        assert [one["id"] for one in (await rig.do("runs"))["runs"]] == [run]
        rig.ill.add("job:1")
        await rig.emit(subject="job:1")
        await rig.until_event("run.healed", subject="job:1")
        await rig.until(lambda: run not in rig.daemon.world.recent)

        remembering(rig)
        assert "done by hand (set_unit, asked for by hand by ann)" in (await rig.ask("retry", run=run)).error
        await rig.do("rollback", run=run[:8])
        back = await rig.until_event("run.rolled_back")
        assert (back.data["by"], back.data["ok"], back.data["run"]) == ("ann", True, run)
        await rig.restart()
        assert "(by hand)" not in rig.daemon.world.trust.of
        assert {playbook for playbook, _ in rig.daemon.world.guards.pairs} == {"mender"}
        await rig.until_quiet()
        assert rig.died == []

    play(story, playbook("mender"))


def test_a_run_that_the_world_forgot_is_tried_again_under_a_new_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when it was retried before, and taken back since: no id comes twice, so no attempt's folder is found in use."""
    monkeypatch.setattr("aios.world.RECENT_RUNS_MAX", 1)

    async def story(rig: Rig) -> None:
        async def forget(run: str) -> None:
            number = len(rig.events("run.healed"))
            await rig.falls_ill(f"other:{number}")
            await rig.until_event("run.healed", subject=f"other:{number}")
            await rig.until(lambda: run not in rig.daemon.world.recent)

        async def retried(run: str) -> str:
            rig.ill.add("job:1")
            opened = str((await rig.do("retry", run=run[:8]))["run"])
            await rig.until(lambda: opened in rig.daemon.world.recent)
            return opened

        rig.ill.add("job:1")
        await rig.emit(subject="job:1", data={"n": 7})
        first = str((await rig.until_event("run.healed")).data["run"])
        second = await retried(first)
        await forget(second)
        assert "no run" in (await rig.ask("retry", run=first)).error
        remembering(rig)
        third = await retried(first)
        await forget(third)
        await rig.do("rollback", run=first)
        await rig.until(lambda: first in rig.daemon.world.recent)
        fourth = await retried(first)
        opened = [e for e in rig.events("run.opened") if e.subject == "job:1"]
        assert [e.data["run"] for e in opened] == [first, second, third, fourth]
        assert len({first, second, third, fourth}) == 4
        assert [e.data["trigger"]["data"] for e in opened] == [{"n": 7}] * 4
        assert [e.data["again"] for e in opened] == [0, 1, 2, 3]
        assert "no step" in (await rig.ask("retry", run=first, **{"from": "nowhere"})).error

    play(story, playbook("mender"))


def test_a_suggestion_that_the_world_forgot_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does what was suggested; who comes second hears who was first, however long ago both were."""
    monkeypatch.setattr("aios.world.RECENT_RUNS_MAX", 1)

    async def story(rig: Rig) -> None:
        rig.ill |= {"job:1", "job:2", "job:3"}
        await rig.emit(subject="job:1")
        first = str((await rig.until_event("run.suggested")).data["run"])
        await rig.emit(subject="job:2")
        await rig.until_event("run.suggested", subject="job:2")
        remembering(rig)
        await rig.do("approve", run=first, reason="still ill")
        await rig.until_event("run.healed")
        assert rig.acts == ["job:1 by proposer"]
        await rig.emit(subject="job:3")
        await rig.until_event("run.suggested", subject="job:3")
        assert "approved already" in (await rig.ask("approve", run=first)).error
        assert len(rig.events("approval.refused")) == 1
        assert rig.acts == ["job:1 by proposer"]

    play(story, playbook("proposer", mode="suggest"))


@pytest.mark.parametrize("down_s", [1.0, 300.0])
def test_an_act_that_outlives_the_daemon_took_as_long_as_it_took(down_s: float) -> None:
    """From its intent to its result, whichever daemon heard of that, and however long none was there."""

    async def story(rig: Rig) -> None:
        rig.busy_s = 6.0
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.step_intended")
        await asyncio.sleep(1.0)
        rig.kill()
        await asyncio.sleep(down_s)
        await rig.start()
        await rig.until_event("run.healed")
        (act,) = [e for e in rig.events("run.step_done") if e.data["step"] == "act"]
        assert 5900.0 < act.data["ms"] < 6500.0

    play(story, playbook("mender"))


def test_what_wants_a_person_is_not_forgotten_for_others_that_want_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suggestion whose trouble stands, and a fresh call, stay in the status however many runs end after them."""
    monkeypatch.setattr("aios.world.RECENT_RUNS_MAX", 4)
    monkeypatch.setattr("aios.world.NEWEST_RUNS", 1)

    async def story(rig: Rig) -> None:
        rig.ill |= {"web.service", "job:1", *(f"other:{n}" for n in range(12))}
        await rig.emit("service.down", "web.service")
        await rig.until_event("run.suggested")
        rig.mends = False
        await rig.emit("work.broken", "job:1")
        await rig.until_event("run.escalated")
        for n in range(8):
            await rig.emit("odd.thing", f"other:{n}")
            await rig.until_event("run.observed", count=n + 1)
        status = await rig.do("status")
        assert [one["subject"] for one in status["needs_you"]] == ["web.service"]
        assert [one["subject"] for one in status["escalated"]] == ["job:1"]
        assert len(rig.daemon.world.recent) == 4
        await rig.emit("service.up", "web.service")
        await asyncio.sleep(700.0)
        for n in range(8, 12):
            await rig.emit("odd.thing", f"other:{n}")
            await rig.until_event("run.observed", count=n + 1)
        assert {run.subject for run in rig.daemon.world.recent.values()} == {f"other:{n}" for n in range(8, 12)}

    looker = playbook("looker", "odd.thing", mode="observe")
    play(story, playbook("mender"), playbook("proposer", "service.down", mode="suggest"), looker)


def test_a_cancelled_run_that_was_taken_back_can_be_asked_for_it_again() -> None:
    """It answers, and does not fall over its own table."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until(lambda: rig.acts)
        run = rig.run_of("mender").id
        await rig.do("cancel", run=run)
        await rig.until(lambda: run in rig.daemon.world.recent)
        await rig.ask("rollback", run=run)
        await rig.until_quiet()
        assert rig.died == []

    play(story, playbook("mender", hold="1s"))


def test_retry_is_a_new_run_of_the_same_event_with_a_ladder_of_its_own() -> None:
    """The second try's fallback is a run of its own, not the memory of the first one's."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.escalated", count=2)
        first = rig.events("run.opened")[0].data["run"]
        rig.mends = True
        await rig.do("retry", run=first)
        await rig.until_event("run.healed")
        rig.mends = False
        rig.ill.add("job:1")
        await rig.do("retry", run=first)
        await rig.until_event("run.escalated", count=4)
        opened = [e.data["run"] for e in rig.events("run.opened")]
        assert len(opened) == len(set(opened)) == 5
        assert rig.acts.count("job:1 by second") == 2
        assert rig.events("run.opened")[2].source == "control/ann"

    play(story, playbook("first", more="on_failure: [{fallback: second}]", head="priority: 1"), playbook("second", "never.seen"))


def test_no_second_run_is_opened_beside_an_open_one() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.healed")).data["run"]
        await asyncio.sleep(20.0)
        await rig.do("pause")
        await rig.do("retry", run=run)
        rig.ill.add("job:1")
        await rig.until(lambda: rig.events("run.cleared", "run.waiting"))
        rig.ill.add("job:1")
        answers = [await rig.ask("retry", run=run), await rig.ask("retry", run=run)]
        assert "is open" in answers[1].error

    play(story, playbook("mender"))


# --- waits


def test_a_retry_waits_by_wall_time_across_a_restart() -> None:
    """Backoff of a minute, killed in the middle: it goes on a minute after the failure, not after the restart, and counts on."""

    async def story(rig: Rig) -> None:
        await rig.emit()
        waiting = await rig.until_event("run.waiting")
        await asyncio.sleep(20.0)
        await rig.restart()
        again = await rig.until(lambda: rig.events("run.step_intended")[1:], within_s=100.0)
        assert 0.0 <= again[0].taken - waiting.taken <= 75.0
        assert again[0].data["attempt"] == 2
        await rig.until_event("run.escalated", within_s=400.0)
        assert [e.data["attempt"] for e in rig.events("run.step_intended") if e.data["step"] == "act"] == [1, 2, 3]

    act = 'count_idempotent, with: {tag: "t", fails: 1.0}, retry: {attempts: 3, backoff: 60s, factor: 1}'
    rigged = (
        playbook("counter", act=act).replace("ill_check", "no_data_check").replace('of: "${event.subject}", within', "within")
    )
    play(story, rigged)


@pytest.mark.parametrize("leap_s", [7200.0, -7200.0])
def test_a_leaping_wall_clock_changes_no_wait_that_has_begun(leap_s: float) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit()
        await rig.until_event("run.waiting")
        began = rig.loop.time()
        rig.clock.leap(leap_s)
        await rig.until(lambda: rig.events("run.step_intended")[1:], within_s=100.0)
        assert 40.0 < rig.loop.time() - began < 80.0

    act = 'count_idempotent, with: {tag: "t", fails: 1.0}, retry: {attempts: 3, backoff: 60s, factor: 1}'
    rigged = (
        playbook("counter", act=act).replace("ill_check", "no_data_check").replace('of: "${event.subject}", within', "within")
    )
    play(story, rigged)


def test_a_pause_is_looked_at_again_before_the_act_and_resume_lets_it_go_on() -> None:
    """Permission from now: the run was open when the pause came."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("pause")
        await rig.do("approve", run=run)
        await rig.until(lambda: (rig.run_of("asker").wait or {}).get("for") == "resume")
        await asyncio.sleep(10_000.0)
        assert rig.acts == []
        await rig.do("resume")
        await rig.until_event("run.healed")

    play(story, playbook("asker", mode="approve"))


def test_a_run_whose_playbook_was_switched_off_acts_no_more() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("playbook_disable", name="asker")
        await rig.do("approve", run=run)
        await rig.until_event("run.escalated")
        assert [one["id"] for one in (await rig.do("status"))["escalated"]] == [run]
        assert rig.acts == []
        later = await rig.emit()
        await asyncio.sleep(5.0)
        assert rig.verdicts(later) == []
        await rig.do("playbook_enable", name="asker")
        after = await rig.emit(subject="job:2", id="after")
        rig.ill.add("job:2")
        await rig.until(lambda: rig.verdicts(after))

    play(story, playbook("asker", mode="approve"))


# --- crashes


@pytest.mark.parametrize("after_s", [n * 0.011 for n in range(1, 30)])
def test_killed_at_any_point_the_run_ends_healed_and_an_idempotent_act_is_enough(after_s: float) -> None:
    """Whatever is durable is gone on from; the act may run again, since it says that it may."""

    async def story(rig: Rig) -> None:
        rig.look_s = 0.02
        rig.ill.add("job:1")
        await rig.emit()
        await asyncio.sleep(after_s)
        await rig.restart()
        await rig.until(lambda: rig.events("run.healed", "run.cleared"), within_s=300.0)
        assert len(rig.events("run.opened")) == 1
        assert 1 <= len(rig.acts) <= 2

    play(story, playbook("mender", hold="50ms"), seed=int(after_s * 1000))


def test_runs_with_an_act_under_way_have_their_locks_first_after_a_restart() -> None:
    """Another run, of a better class, waits for the same subject: it does not begin beside the act that lives on."""

    async def story(rig: Rig) -> None:
        rig.busy_s = 30.0
        rig.ill.add("host")
        await rig.emit("work.broken", "host")
        await rig.until_event("run.step_intended")
        await rig.emit("resource.cpu_spike", "host", id="alarm")
        await rig.until(lambda: rig.verdicts("alarm") == ["run.opened"])
        await asyncio.sleep(1.0)
        await rig.restart()
        await rig.until(lambda: len(rig.events("run.healed", "run.cleared")) == 2, within_s=200.0)
        assert [e.data["playbook"] for e in rig.events("run.healed", "run.cleared")] == ["worker", "alarmed"]
        assert rig.acts == ["host by worker"]

    long = ', with: {of: "${event.subject}"}, timeout: 60s'
    play(story, playbook("worker", act="mend" + long), playbook("alarmed", "resource.cpu_spike", act="mend" + long))


def test_a_fallback_is_waited_for_across_a_restart() -> None:
    """The parent hears how its fallback ended, wherever the crash falls; the fallback runs once."""

    async def story(rig: Rig) -> None:
        rig.mends = False
        rig.busy_s = 5.0
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.opened", count=2)
        rig.mends = True
        await asyncio.sleep(2.0)
        await rig.restart()
        await rig.until_event("run.healed")
        rung = await rig.until_event("run.rung_done")
        assert (rung.data["healed"], rung.data["what"]) == (True, "fallback")
        await rig.until_quiet()
        assert rig.daemon.world.runs == {}
        assert len(rig.events("run.opened")) == 2
        assert rig.events("run.escalated") == []

    play(story, playbook("first", more="on_failure: [{fallback: second}]"), playbook("second", "never.seen"))


def test_a_run_goes_on_with_the_text_it_was_opened_with() -> None:
    """An edit, then a restart: the run's own text is a blob."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        rig.texts = {"/playbooks/0.yaml": playbook("asker", mode="approve", act="hang, timeout: 2s")}
        assert (await rig.do("reload"))["errors"] == []
        await rig.restart()
        await rig.do("approve", run=run)
        await rig.until_event("run.healed")
        assert rig.acts == ["job:1 by asker"]

    play(story, playbook("asker", mode="approve"))


def test_a_run_whose_text_is_gone_ends_unknown() -> None:
    async def story(rig: Rig) -> None:
        run = await asked(rig)
        rig.texts = {}
        rig.kill()
        for path in rig.machine.disk.tree("/state/blobs"):
            rig.machine.disk.unlink(path)
        await rig.start()
        await rig.do("approve", run=run.data["run"])
        unknown = await rig.until_event("run.escalated")
        assert unknown.data["run"] == run.data["run"]
        assert rig.acts == []

    play(story, playbook("asker", mode="approve"))


def test_the_fifth_slot_is_p0s() -> None:
    """Four long runs of others: a fifth waits, and the run for a system that is down does not."""

    async def story(rig: Rig) -> None:
        rig.busy_s = 100.0
        for n in range(6):
            rig.ill.add(f"job:{n}")
            await rig.emit(subject=f"job:{n}")
        await rig.until_event("run.step_intended", count=4)
        rig.ill.add("system")
        await rig.emit("score.degraded", "system", data={"score": 0.1})
        await rig.until_event("run.step_intended", subject="system")
        assert len(rig.events("run.step_intended")) == 5

    long = 'mend, with: {of: "${event.subject}"}, timeout: 200s'
    play(story, playbook("worker", act=long), playbook("saver", "score.degraded", act=long))


def test_an_act_too_long_to_be_written_down_is_not_begun() -> None:
    """Its intent could not stand on the disk before it."""

    async def story(rig: Rig) -> None:
        rig.facts["job:1"] = "x" * 30_000
        rig.ill.add("job:1")
        await rig.emit()
        await rig.until_event("run.escalated")
        assert "too long" in rig.events("run.unknown")[0].data["why"]
        assert rig.acts == []

    act = 'mend, with: {of: "${event.subject}", way: "${steps.look.result.value + steps.look.result.value}"}'
    play(story, playbook("mender", act=act))
