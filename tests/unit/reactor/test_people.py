"""What a run asks a person, and what becomes of the answer: late, a second time, never, after a restart, after weeks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aios.events.event import Event
from aios.playbooks.called import call_of
from aios.world import CHECKPOINT_VERSION, LIFTED_FROM, LIFTS, World
from tests.unit.reactor.rig import FREE, Rig, play, playbook


def asking(name: str = "asker", *, expires: str = "", head: str = "", more: str = "") -> str:
    """A playbook that asks which way to mend it, or to leave it."""
    return f"""
playbook: {name}
description: Asks which way.
on: {{type: work.broken}}
guard: {FREE}
{head}
steps:
  - {{id: look, observe: fact, with: {{of: "${{event.subject}}"}}}}
  - id: way
    ask: "${{event.subject}} is ${{steps.look.result.value}}. Which way?"
    choices: {{gently: Mend it gently, hammer: Mend it with a hammer, leave: Leave it as it is}}
    {expires}
  - id: act
    if: steps.way.result.choice != "leave"
    act: mend
    with: {{of: "${{event.subject}}", way: "${{steps.way.result.choice}}"}}
verify:
  - ill_check: {{of: "${{event.subject}}", within: 1s}}
{more}
"""


async def asked(rig: Rig, count: int = 1) -> Event:
    rig.facts["job:1"] = "bent"
    rig.ill.add("job:1")
    await rig.emit()
    return await rig.until_event("approval.requested", count=count)


def kinds(rig: Rig, run: str) -> list[str]:
    return [s.event.type for s in rig.stored() if s.event.data.get("run") == run]


def told(rig: Rig) -> list[tuple[str, float]]:
    """What notify was asked to say, and when."""
    found = [e for e in rig.events("run.step_intended") if e.data["skill"] == "notify"]
    return [(e.data["params"]["message"].partition(" (")[0], e.taken) for e in found]


# --- a choice


def test_a_choice_is_the_steps_result_and_steers_what_follows() -> None:
    """Asked with what was seen; who chose, what and why are events; the answer stands though all is looked at again."""

    async def story(rig: Rig) -> None:
        question = (await asked(rig)).data
        assert question["question"] == "job:1 is bent. Which way?"
        assert list(question["choices"]) == ["gently", "hammer", "leave"]
        assert {"step": "look", "said": "value=bent"} in question["evidence"]
        call = call_of(rig.events("approval.requested")[0])
        assert call is not None
        assert call.why.endswith(f"aios runs answer {question['run'][:8]} gently|hammer|leave")
        assert rig.acts == []
        (waits,) = (await rig.do("status"))["needs_you"]
        assert (waits["question"], waits["waits_for"]) == ("job:1 is bent. Which way?", "approval")
        await rig.do("answer", run=question["run"], choice="hammer", reason="it is stuck")
        await rig.until_event("run.healed")
        given = rig.events("approval.given")[0].data
        assert (given["by"], given["choice"], given["step"], given["reason"]) == ("ann", "hammer", "way", "it is stuck")
        (intent,) = [e.data for e in rig.events("run.step_intended") if e.data["step"] == "act"]
        assert intent["params"]["way"] == "hammer"
        (answer,) = [e.data for e in rig.events("run.step_done") if e.data["step"] == "way"]
        assert answer["result"] == {"choice": "hammer", "by": "ann", "reason": "it is stuck"}
        assert len(rig.events("approval.requested")) == 1
        assert sum(e.data["step"] == "look" for e in rig.events("run.step_done")) == 2

    play(story, asking())


def test_who_chooses_to_leave_it_leaves_it() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("answer", run=run, choice="leave")
        await rig.until_event("run.not_healed")
        assert rig.acts == []

    play(story, asking())


def test_in_mode_approve_the_way_is_asked_and_then_the_act() -> None:
    """A choice is no yes to an act whose parameters nobody has seen; both answers stand together."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("answer", run=run, choice="hammer")
        second = await rig.until_event("approval.requested", count=2)
        assert [act["params"]["way"] for act in second.data["acts"]] == ["hammer"]
        assert rig.acts == []
        await rig.restart()
        await rig.do("answer", run=run, choice="yes")
        await rig.until_event("run.healed")
        assert len(rig.events("approval.requested")) == 2
        assert [e.data.get("choice", "") for e in rig.events("approval.given")] == ["hammer", ""]

    play(story, asking(head="mode: approve"))


def test_what_went_away_before_anybody_was_asked_is_asked_of_nobody() -> None:
    """The symptom is looked at before the question, as before an act; and again after the answer."""

    async def story(rig: Rig) -> None:
        await rig.emit()
        await rig.until_event("run.cleared")
        assert rig.events("approval.requested") == []
        run = (await asked(rig)).data["run"]
        rig.ill.clear()
        await rig.do("answer", run=run, choice="gently")
        await rig.until_event("run.cleared", count=2)
        assert rig.acts == []

    play(story, asking())


@pytest.mark.parametrize("mode_max", ["observe", "suggest"])
def test_a_mode_that_may_not_ask_asks_nobody_and_says_what_it_would(mode_max: str) -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        ended = await rig.until_event("run.suggested" if mode_max == "suggest" else "run.observed")
        would = [(act["step"], act["skill"]) for act in ended.data["would"]]
        assert would[0] == ("way", "ask")
        assert rig.events("approval.requested") == []
        if mode_max == "suggest":
            refused = await rig.ask("answer", run=ended.data["run"], choice="hammer")
            assert "knows no answer" in refused.error

    play(story, asking(), mode_max=mode_max)


# --- answers that do not fit, come late, or twice


def test_an_answer_that_is_no_choice_is_refused_with_the_cure_and_it_still_waits() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        near = await rig.ask("answer", run=run, choice="hamer")
        assert (near.ok, near.hint) == (False, "did you mean 'hammer'?")
        plain = await rig.ask("approve", run=run)
        assert "which way: gently, hammer, leave" in plain.error
        assert plain.hint == f"aios runs answer {run} gently"
        assert rig.daemon.world.runs[run].asked is not None
        await rig.do("deny", run=run, reason="not now")
        await rig.until(lambda: run in rig.daemon.world.recent)
        assert rig.daemon.world.recent[run].why == "denied by ann: not now"

    play(story, asking())


def test_late_and_second_answers_are_refused_with_who_was_first_and_written_down() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        answers = await asyncio.gather(
            rig.ask("answer", run=run, choice="gently", reason="slowly"),
            rig.ask("answer", run=run, choice="hammer"),
        )
        assert [answer.ok for answer in answers] == [True, False]
        await rig.until_event("run.healed")
        late = await rig.ask("deny", run=run, reason="stop")
        assert "ann said gently at" in late.error
        assert "slowly" in late.error
        refused = [e.data for e in rig.events("approval.refused")]
        assert [(r["by"], r["choice"]) for r in refused] == [("ann", "hammer"), ("ann", "no")]
        assert all("said gently" in r["why"] for r in refused)
        assert len(rig.acts) == 1

    play(story, asking())


def test_an_answer_after_the_time_is_over_hears_so() -> None:
    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.until_event("approval.expired", within_s=4000.0)
        refused = await rig.ask("answer", run=run, choice="gently")
        assert "its time was over" in refused.error
        assert (await rig.until_event("approval.refused")).data["choice"] == "gently"
        assert rig.acts == []

    play(story, asking(expires="expires: 30m"))


def test_a_second_yes_to_a_suggestion_is_written_down_too() -> None:
    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        run = (await rig.until_event("run.suggested")).data["run"]
        await rig.do("answer", run=run, choice="yes", reason="go on")
        await rig.until_event("run.healed")
        assert not (await rig.ask("approve", run=run)).ok
        assert "ann approved it already" in (await rig.until_event("approval.refused")).data["why"]

    play(story, playbook("mender"), mode_max="suggest")


# --- nobody answers


def test_a_question_that_nobody_answers_climbs_the_ladder_louder_each_time() -> None:
    """No answer is no: no fallback acts in its place, and the next best playbook does not either; then it escalates."""

    async def story(rig: Rig) -> None:
        question = await asked(rig)
        ended = await rig.until_event("run.escalated", within_s=20_000.0)
        (first, at_first), (second, at_second) = told(rig)
        assert (first, second) == ("somebody, please", "NOW")
        expired = rig.events("approval.expired")[0].taken
        assert expired - question.taken == pytest.approx(1800.0, abs=1.0)
        assert at_first - expired == pytest.approx(600.0, abs=2.0)
        assert at_second - at_first == pytest.approx(3600.0, abs=2.0)
        assert ended.data["why"] == "not allowed: nobody answered in time"
        assert len(rig.events("run.opened")) == 1
        assert rig.acts == []

    ladder = """on_failure:
  - {notify: "somebody, please", after: 10m}
  - {fallback: other}
  - {notify: "NOW", after: 1h}
"""
    first = asking(head="priority: 5\napprove: {expires: 30m}", more=ladder)
    play(story, first, playbook("other"))


@pytest.mark.parametrize(("step", "expected_s"), [("", 7200.0), ("expires: 5m", 300.0)])
def test_the_playbook_and_the_step_say_how_long_a_person_has(step: str, expected_s: float) -> None:
    async def story(rig: Rig) -> None:
        question = await asked(rig)
        expired = await rig.until_event("approval.expired", within_s=10_000.0)
        assert expired.taken - question.taken == pytest.approx(expected_s, abs=1.0)

    play(story, asking(expires=step, head="approve: {expires: 2h}"))


def test_what_was_done_before_an_unanswered_question_is_taken_back() -> None:
    text = """
playbook: halfway
description: Acts, then asks.
on: {type: work.broken}
steps:
  - {id: stop, act: stop_service, with: {unit: web.service}}
  - {id: way, ask: "Go on?", choices: {go: Go on, back: Go back}, expires: 1m}
verify: [{ill_check: {of: "${event.subject}", within: 1s}}]
"""

    async def story(rig: Rig) -> None:
        rig.machine.units.add("web.service")
        await asked(rig)
        assert rig.machine.units.state("web.service").state == "stopped"
        back = await rig.until_event("run.rolled_back", within_s=200.0)
        assert back.data["ok"]
        assert rig.machine.units.state("web.service").state == "up"
        (line,) = [line for line in back.data["proof"] if line["path"] == "web.service (running)"]
        assert line["undone_by"] == ["start_service"]

    play(story, text)


# --- restarts, upgrades, retention


def test_a_question_outlives_restarts_and_its_time_goes_on() -> None:
    async def story(rig: Rig) -> None:
        question = (await asked(rig)).data
        await rig.restart()
        await asyncio.sleep(600.0)
        await rig.restart()
        (waits,) = (await rig.do("status"))["needs_you"]
        assert (waits["choices"], waits["evidence"]) == (question["choices"], question["evidence"])
        await rig.do("answer", run=question["run"], choice="gently")
        await rig.until_event("run.healed")
        assert len(rig.events("approval.requested")) == 1

    play(story, asking(expires="expires: 1h"))


def test_a_chosen_way_is_kept_when_the_daemon_dies_right_after_the_answer() -> None:
    """Between the answer and the act, at many moments."""

    async def story(rig: Rig, after_s: float) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("answer", run=run, choice="hammer")
        await asyncio.sleep(after_s)
        await rig.restart()
        await rig.until_event("run.healed")
        assert len(rig.events("approval.requested")) == 1
        assert {e.data["params"]["way"] for e in rig.events("run.step_intended") if e.data["step"] == "act"} == {"hammer"}

    for n in range(12):
        play(lambda rig, n=n: story(rig, n * 0.008), asking())


def old(world: World) -> dict[str, Any]:
    """A checkpoint as the version before questions wrote it."""
    raw = world.to_json()
    for run in raw["runs"]:
        for name in ("answered", "chosen", "rung_awaited", "passed"):
            del run[name]
        run["asked"] = {name: run["asked"][name] for name in ("plan", "acts", "until")}
    return raw


def test_an_approval_asked_by_the_version_before_can_be_answered_after_an_upgrade() -> None:
    """Neither its checkpoint nor its events know of evidence, choices, or who answered."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        await rig.emit()
        event = await rig.until_event("approval.requested")
        world = rig.daemon.world
        lifted = World.from_json(old(world), lambda raw: type(world.scores).from_json(raw))
        run = lifted.runs[event.data["run"]]
        assert run.asked == {name: event.data[name] for name in ("plan", "acts", "until")}
        given = {"run": run.id, "playbook": run.playbook, "plan": event.data["plan"], "by": "ann"}
        run.fold("approval.given", given, event.taken)
        assert (run.asked, list(run.approved)) == (None, ["act"])
        assert run.answered is not None
        assert run.answered["by"] == "ann"

    play(story, playbook("asker", mode="approve"))


def test_a_question_older_than_the_journal_outlives_an_upgrade_and_can_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The days that held it are gone, and no checkpoint can be read by the new version: what the digest holds is lifted."""

    async def story(rig: Rig) -> None:
        run = (await asked(rig)).data["run"]
        await rig.do("playbook_disable", name="other")
        for _ in range(9):
            await asyncio.sleep(86_400.0)
            await rig.emit("work.other", subject="job:2")
        await rig.until(lambda: not rig.events("approval.requested", "playbook.disabled"), within_s=86_400.0 * 3)
        assert not rig.events("run.opened")
        rig.kill()
        upgraded = CHECKPOINT_VERSION + 1
        monkeypatch.setattr("aios.world.CHECKPOINT_VERSION", upgraded)
        monkeypatch.setattr("tests.simulation.assembly.CHECKPOINT_VERSION", upgraded)
        monkeypatch.setitem(LIFTS, CHECKPOINT_VERSION, lambda world: {**world, "version": upgraded})
        await rig.start()
        assert rig.daemon.world.disabled == {"other"}
        (waits,) = (await rig.do("status"))["needs_you"]
        assert (waits["id"], waits["question"]) == (run, "job:1 is bent. Which way?")
        await rig.do("answer", run=run, choice="gently", reason="at last")
        await rig.until_event("run.healed")
        assert rig.events("approval.given")[0].data["reason"] == "at last"

    play(story, asking(expires="expires: 29d"), playbook("other", "other.broken"))


def test_each_version_of_the_world_can_be_read_by_the_next() -> None:
    """Whoever raises CHECKPOINT_VERSION writes the lift."""
    assert set(LIFTS) == set(range(LIFTED_FROM, CHECKPOINT_VERSION))
