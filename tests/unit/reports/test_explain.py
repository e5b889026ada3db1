"""For every event: which playbooks were considered, what each said of which value, what held it, what would have made it run.

Each row of the tables below is a sentence: what happened, what became of the playbook, and what it is said to have needed. The
whole daemon runs, in virtual time; what is told is what anybody gets who asks by the control socket.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from aios.journal.query import History
from aios.reports.explain import LET_GO, NOBODY, look_back, tell
from tests.unit.reactor.rig import Rig, play, playbook

Row = Mapping[str, Any]


async def told(rig: Rig, wanted: str) -> Row:
    await rig.until_quiet()
    return await rig.do("explain", event=wanted)


def of(answer: Row, name: str = "mend") -> Row:
    return next(one for one in answer["considered"] if one["playbook"] == name)


# --- what did not match, or was not willing ---------------------------------------------------------------------------

NARROW = "work.broken, match: {subject: ['job:1'], data: {failures: [{numeric: ['>=', 2]}]}}"
UNWILLING = {
    "a field that is too small is named with its value and what it has to be": (
        playbook("mend", NARROW), {"failures": 1}, "no_match", "data.failures is 1, needs >= 2"),
    "a field that is missing is said to be missing": (
        playbook("mend", NARROW), {}, "no_match", "data.failures is missing, needs a number >= 2"),
    "every condition that says no is named, not only the first": (
        playbook("mend", NARROW.replace("job:1", "job:2")), {"failures": 1}, "no_match",
        'subject is "job:1", needs "job:2"; data.failures is 1, needs >= 2'),
    "of alternatives the one that is nearest is told": (
        playbook("mend", "work.broken, match: {$or: [{subject: [a], source: [b]}, {data: {n: [3]}}]}"), {"n": 2}, "no_match",
        "data.n is 2, needs 3"),
    "when is false, and what it saw is told": (
        playbook("mend", head="when: event.data.load > 5"), {"load": 2}, "when_false",
        "`event.data.load > 5` to be true: event.data.load is 2"),
    "when cannot say because a field is missing": (
        playbook("mend", head="when: event.data.load > 5"), {}, "cannot_say",
        "event.data.load, which `event.data.load > 5` asks for, to be there"),
    "a playbook that its file switches off needs its file": (
        playbook("mend", head="enabled: false"), {}, "off", "enabled: true in /playbooks/0.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", UNWILLING)
def test_why_a_playbook_did_not_begin(sentence: str) -> None:
    text, data, verdict, needs = UNWILLING[sentence]

    async def story(rig: Rig) -> None:
        one = of(await told(rig, await rig.emit(data=data)))
        assert (one["verdict"], one["needs"]) == (verdict, needs)
        assert rig.events("run.opened") == []

    play(story, text)


def test_what_is_for_other_types_is_counted_and_a_type_that_is_misspelt_is_guessed() -> None:
    async def story(rig: Rig) -> None:
        answer = await told(rig, await rig.emit("work.brokne"))
        assert answer["considered"] == []
        assert answer["others"] == {
            "count": 2,
            "playbooks": [
                {"playbook": "mend", "why": "type is work.brokne; wanted work.broken"},
                {"playbook": "other", "why": "type is work.brokne; wanted x.y"},
            ],
        }
        assert answer["notes"] == ["No playbook is for work.brokne; mend is for work.broken."]

    play(story, playbook("mend"), playbook("other", "x.y"))


def test_every_condition_is_told_with_its_value_whether_it_holds_or_not() -> None:
    async def story(rig: Rig) -> None:
        one = of(await told(rig, await rig.emit(data={"failures": 1})))
        assert one["conditions"] == [
            {"field": "subject", "value": '"job:1"', "wanted": '"job:1"', "holds": True},
            {"field": "data.failures", "value": "1", "wanted": "a number >= 2", "holds": False},
        ]

    play(story, playbook("mend", NARROW))


async def a_bad_hour(rig: Rig) -> str:
    """An event while its subject was very ill, and long after that it is well; a checkpoint of then, or none, and a restart."""
    for _ in range(6):
        await rig.emit("resource.memory_high", "job:1", data={"used": 0.99})
        await rig.emit("resource.memory_normal", "job:1", data={"used": 0.5})
    await rig.emit("resource.memory_high", "job:1", data={"used": 0.99})
    event = await rig.emit(data={"n": 2})
    await rig.emit("resource.memory_normal", "job:1", data={"used": 0.1})
    await asyncio.sleep(2 * 3600.0)
    return event


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_score_is_told_as_it_was_then(checkpoint: bool) -> None:
    """No decision wrote it down, for the answer was no: the journal is folded up to the event, and now is another time."""

    async def story(rig: Rig) -> None:
        if checkpoint:
            await rig.emit("resource.memory_high", "job:9", data={"used": 0.99})
            await rig.in_daemon(rig.daemon._checkpoint())
        event = await a_bad_hour(rig)
        then, now = of(answer := await told(rig, event)), rig.daemon.world.scores.value("job:1", rig.clock.now())
        assert then["verdict"] == "when_false"
        assert (float(then["when"]["values"]["score"]), now) == (pytest.approx(0.27, abs=0.2), pytest.approx(1.0, abs=0.05))
        assert not [note for note in answer["notes"] if "score" in note]

    play(story, playbook("mend", head="when: event.data.n == 1 && score < 0.9"))


def test_a_score_that_would_take_too_long_to_find_is_told_as_it_is_now_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(rig: Rig) -> None:
        monkeypatch.setattr("aios.reports.then.FOLD_MAX", 3)
        answer = await told(rig, await a_bad_hour(rig))
        assert float(of(answer)["when"]["values"]["score"]) == pytest.approx(1.0, abs=0.05)
        assert answer["notes"][-1] == "mend asks for score: as it is now, for what it was then is not known any more."

    play(story, playbook("mend", head="when: event.data.n == 1 && score < 0.9"))


# --- what a guard held ------------------------------------------------------------------------------------------------

Before = Callable[[Rig], Awaitable[None]]
AT = "AT"
"""Stands for the time that the answer names."""
STANDS = ", if what it is for still stands then"


async def healed_before(rig: Rig) -> None:
    await rig.falls_ill()
    await rig.until_event("run.healed")


async def silenced(rig: Rig) -> None:
    await rig.do("silence", what="job:1", **{"for": "1h"})


async def paused(rig: Rig) -> None:
    await rig.do("pause", reason="tests")


async def paused_for_an_hour(rig: Rig) -> None:
    await rig.do("pause", **{"for": "1h"})


async def another_is_busy(rig: Rig) -> None:
    rig.busy_s = 8.0
    await rig.falls_ill("job:2")
    await rig.until_event("run.step_intended", "job:2")


async def its_database_is_ill(rig: Rig) -> None:
    await rig.emit("service.down", "db.service")


async def nothing(_rig: Rig) -> None:
    return


HELD: Mapping[str, tuple[str, Before, str, str, dict[str, Any]]] = {
    "a cooldown names its end": (
        "{cooldown: 5m, limit: none}", healed_before, "cooldown", f"runs again at {AT}, when its cooldown is over{STANDS}", {}),
    "a limit is a breaker that lets one run try": (
        "{cooldown: 0s, limit: 1 in 1h}", healed_before, "breaker",
        f"runs again at {AT}, when its breaker lets one run try, or after `aios resume`{STANDS}", {}),
    "a silence names how to end it": (
        "{cooldown: 0s}", silenced, "silence", "runs again at AT, when the silence ends, or after `aios silence --end ", {}),
    "a pause is ended by a person": (
        "{cooldown: 0s}", paused, "paused", f"runs again after `aios resume`{STANDS}", {}),
    "a pause that ends by itself names when": (
        "{cooldown: 0s}", paused_for_an_hour, "paused",
        f"runs again at {AT}, when the pause ends, or after `aios resume`{STANDS}", {}),
    "a place among the runs is freed by the end of one": (
        "{cooldown: 0s, concurrency: 1}", another_is_busy, "concurrency", f"runs again when a run of mend ends{STANDS}", {}),
    "a dependency has to be well": (
        "{cooldown: 0s, depends_on: [db.service]}", its_database_is_ill, "depends_on",
        f"runs again when db.service is well{STANDS}", {}),
    "a maintenance window names when it lets it": (
        "{cooldown: 0s, windows: {only: [{from: 2099-01-01, to: 2099-01-02}]}}", nothing, "window",
        f"runs again at {AT}, when the maintenance window lets it{STANDS}", {}),
    "the machine's limit of acts names when there is room": (
        "{cooldown: 0s, limit: none}", healed_before, "act_limit",
        f"runs again at {AT}, when the machine has acted less often within an hour{STANDS}", {"acts_per_hour": 1}),
    "what is protected is left to a person": (
        "{cooldown: 0s}", nothing, "protected", "nothing: what is protected is left to a person", {"protected": ["job:1"]}),
}  # fmt: skip


@pytest.mark.parametrize("sentence", HELD)
def test_which_guard_held_it_until_when_and_what_lifts_it(sentence: str) -> None:
    guard, before, name, needs, settings = HELD[sentence]

    async def story(rig: Rig) -> None:
        await before(rig)
        rig.ill.add("job:1")
        event = await rig.emit() if before is another_is_busy else await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(event))
        one = of(await rig.do("explain", event=event))
        assert (one["verdict"], one["guard"]) == ("held", name)
        assert one["needs"].replace(one["until"] or "-", AT).startswith(needs)
        assert AT not in needs or one["until"]
        assert one["why"]

    play(story, playbook("mend", guard=guard), **settings)


def test_a_loop_is_ended_by_a_person_and_the_breaker_of_a_call_by_time() -> None:
    async def story(rig: Rig) -> None:
        await healed_before(rig)
        (opened,) = rig.events("run.opened")
        one = of(await told(rig, await rig.emit(causationid=opened.id)))
        assert (one["guard"], one["needs"]) == ("loop", "a person to end the circle: it is tried again after `aios resume`")

    play(story, playbook("mend"))


def test_what_was_held_and_then_ran_is_told_by_its_run() -> None:
    """The last word counts, and the decisions show the way there."""

    async def story(rig: Rig) -> None:
        await healed_before(rig)
        event = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(event) == ["held", "run.opened"], within_s=400.0)
        answer = await told(rig, event)
        assert (of(answer)["verdict"], of(answer)["needs"]) == ("opened", "")
        assert [one["type"] for one in answer["decisions"]] == ["reactor.decided", "run.opened"]
        assert [one["status"] for one in answer["runs"].values()] == ["healed"]

    play(story, playbook("mend", guard="{cooldown: 1m, limit: none}"))


def test_what_went_away_while_it_was_held_needed_to_stand() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("silence", what="a.service", **{"for": "1h"})
        held = await rig.emit("service.down", "a.service")
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        assert of(await told(rig, held))["verdict"] == "held"
        await rig.emit("service.up", "a.service")
        one = of(await told(rig, held))
        assert (one["verdict"], one["guard"], one["needs"]) == ("released", "silence", LET_GO)

    play(story, playbook("mend", "service.down"))


def test_what_no_playbook_matched_any_more_when_its_guard_let_go_is_told() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("silence", what="job:1", **{"for": "30s"})
        held = await rig.falls_ill()
        rig.texts["/playbooks/0.yaml"] = playbook("mend", "x.y")
        await rig.do("reload")
        await rig.until(lambda: "released" in rig.verdicts(held))
        one = of(await told(rig, held))
        assert (one["verdict"], one["why"]) == ("released", "no playbook in force matches it any more")

    play(story, playbook("mend"))


# --- what others had to do with it ------------------------------------------------------------------------------------


def test_what_joins_an_open_run_and_what_waits_with_a_held_event() -> None:
    async def story(rig: Rig) -> None:
        rig.busy_s = 8.0
        first = await rig.falls_ill()
        opened = await rig.until_event("run.opened")
        joined = await rig.emit(id="again")
        one = of(await told(rig, joined))
        assert (one["verdict"], one["run"], one["why"], one["needs"]) == ("joined", opened.id, "its run is open", "")
        await rig.until_event("run.healed", within_s=300.0)
        await rig.do("silence", what="job:1", **{"for": "1h"})
        held = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(held) == ["held"])
        one = of(await told(rig, await rig.emit(id="third")))
        assert (one["verdict"], one["guard"], held in one["why"]) == ("coalesced", "silence", True)
        assert first

    play(story, playbook("mend"))


def test_what_came_after_a_better_one_is_told_with_the_numbers_of_the_decision() -> None:
    """Priority, specificity, and what each had healed when it was decided: also when much has been healed since."""

    async def story(rig: Rig) -> None:
        event = await rig.falls_ill()
        await rig.until_event("run.healed")
        then = of(await told(rig, event), "narrow")["rank"]
        for _ in range(3):
            await rig.falls_ill()
            await rig.until_event("run.healed", count=len(rig.events("run.opened")))
        answer = await told(rig, event)
        assert [one["playbook"] for one in answer["considered"]] == ["urgent", "narrow", "wide"]
        assert of(answer, "narrow")["rank"] == then
        assert (then["priority"], then["healed"]) == (0, 0)
        assert of(answer, "urgent")["rank"]["priority"] == 3
        assert of(answer, "narrow")["verdict"] == "not_first"
        assert of(answer, "narrow")["needs"] == "urgent not to go before it (after urgent: its priority is 0, not 3)"
        assert of(answer, "wide")["order"].startswith("after narrow: it says less narrowly what it is for (specificity ")

    narrow = playbook("narrow", "work.broken, match: {subject: ['job:1']}")
    play(story, playbook("wide"), narrow, playbook("urgent", head="priority: 3"))


def test_what_healed_more_often_goes_first_and_the_rates_are_told() -> None:
    async def story(rig: Rig) -> None:
        rig.mends = False
        await rig.falls_ill()
        await rig.until_event("run.escalated", within_s=200.0)
        rig.mends = True
        rig.ill.discard("job:1")
        await rig.do("playbook_disable", name="a-mend")
        await rig.falls_ill("job:2")
        await rig.until_event("run.healed", "job:2")
        await rig.do("playbook_enable", name="a-mend")
        event = await rig.falls_ill("job:3")
        await rig.until_event("run.healed", "job:3")
        answer = await told(rig, event)
        assert [one["playbook"] for one in answer["considered"]] == ["b-mend", "a-mend"]
        assert of(answer, "a-mend")["order"] == "after b-mend: it has healed work.broken less often (a rate of 0.33, not 0.50)"

    play(story, playbook("a-mend"), playbook("b-mend"))


def test_a_playbook_that_a_person_switched_off_and_one_that_may_only_look() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("playbook_disable", name="off")
        rig.ill.add("job:1")
        event = await rig.emit()
        await rig.until_event("run.suggested")
        await rig.do("playbook_enable", name="off")
        answer = await told(rig, event)
        assert (of(answer, "off")["verdict"], of(answer, "off")["needs"]) == ("off", "aios playbook enable off")
        one = of(answer)
        assert (one["verdict"], one["mode"], one["mode_in_force"]) == ("opened", "auto", "suggest")
        assert one["needs"] == "to act: mode_max above suggest in the settings, or `aios runs approve` for this once"

    play(story, playbook("mend"), playbook("off", head="priority: 1"), mode_max="suggest")


def test_what_several_events_together_lack_is_told_with_the_window() -> None:
    async def story(rig: Rig) -> None:
        event = await rig.emit("work.odd", id="odd0")
        await asyncio.sleep(5.0)
        (window,) = (await told(rig, event))["windows"]
        assert (window["playbook"], window["matched"]) == ("several", True)
        assert window["needs"].startswith("1 x e1 seen of subject job:1, 2 x e1 missing within 10m")
        alone = tell(look_back(history(rig), event, rig.daemon.outside.blobs, rig.daemon.outside.skills, {}), NOBODY)
        assert alone["windows"] == [window], "the journal tells it, and no daemon is needed"

    text = playbook("several").replace("on: {type: work.broken}", "on: {type: work.odd, count: 3 in 10m}")
    play(story, text)


def test_an_event_that_a_window_has_used_is_told_by_what_came_of_it() -> None:
    """It lacks nothing: it made something complete, and that led to a run."""

    async def story(rig: Rig) -> None:
        rig.ill.add("job:1")
        events = [await rig.emit("work.odd", id=f"odd{n}") for n in range(3)]
        run = (await rig.until_event("run.healed")).data["run"]
        (complete,) = rig.events("reactor.correlated")
        for event in events:
            (window,) = (await told(rig, event))["windows"]
            said = f"used at {complete.arrival} in reactor.correlated {complete.id[:8]}, run {run[:8]}: healed"
            assert window["needs"] == said
            assert window["used"]["event"] == complete.id
        later = await rig.emit("work.odd", id="odd3")
        (window,) = (await told(rig, later))["windows"]
        assert "missing within" in window["needs"]

    text = playbook("several").replace("on: {type: work.broken}", "on: {type: work.odd, count: 3 in 10m}")
    play(story, text)


# --- what was in force then -------------------------------------------------------------------------------------------


def test_an_event_is_explained_by_the_playbooks_that_were_in_force_where_it_stands() -> None:
    """The file says something else by now, and was switched off since: what counts is what it was."""

    async def story(rig: Rig) -> None:
        event = await rig.emit(data={"failures": 1})
        await rig.until_quiet()
        rig.texts["/playbooks/0.yaml"] = playbook("mend", NARROW.replace(">=', 2", ">=', 9"))
        await rig.do("reload")
        await rig.do("playbook_disable", name="mend")
        later = await rig.emit(data={"failures": 1}, id="later")
        assert of(await told(rig, event))["needs"] == "data.failures is 1, needs >= 2"
        assert of(await told(rig, later))["needs"] == "aios playbook enable mend"
        await rig.do("playbook_enable", name="mend")
        rig.texts.clear()
        await rig.do("reload")
        await rig.restart()
        assert of(await told(rig, event))["needs"] == "data.failures is 1, needs >= 2"
        assert of(await told(rig, later))["needs"] == "aios playbook enable mend"
        assert (await told(rig, await rig.emit(id="last")))["considered"] == []

    play(story, playbook("mend", NARROW))


def test_a_text_that_is_gone_is_said_to_be_gone_and_the_decision_still_tells() -> None:
    async def story(rig: Rig) -> None:
        await rig.do("silence", what="job:1", **{"for": "1h"})
        event = await rig.falls_ill()
        await rig.until(lambda: rig.verdicts(event) == ["held"])
        rig.texts.clear()
        await rig.do("reload")
        answer = tell(look_back(history(rig), event, NoBlobs(), rig.daemon.outside.skills, {}), NOBODY)  # type: ignore[arg-type]
        one = of(answer)
        assert (one["matched"], one["verdict"], one["guard"]) == (True, "held", "silence")
        assert answer["notes"] == [
            "mend: its text is gone: nothing names it any more; what is told of it is what the decision wrote down."
        ]

    play(story, playbook("mend"))


class NoBlobs:
    def get(self, name: str) -> bytes:
        raise KeyError(name)


def history(rig: Rig) -> History:
    return rig.daemon.verbs.house.history


# --- what may be asked for --------------------------------------------------------------------------------------------


def test_a_run_a_beginning_of_its_id_and_a_dead_letter_are_explained_by_their_event() -> None:
    async def story(rig: Rig) -> None:
        event = await rig.falls_ill()
        run = (await rig.until_event("run.healed")).data["run"]
        for wanted in (run, run[:8]):
            answer = await told(rig, wanted)
            assert (answer["event"]["id"], answer["run"], of(answer)["run"]) == (event, run, run)
        deep: Any = 1
        for _ in range(28):
            deep = [deep]
        dead = await rig.emit(subject="job:3", data={"deep": deep})
        letter = (await rig.until_event("scheduler.dead_letter")).data["letter"]
        for wanted in (dead, letter, letter[:8]):
            answer = await told(rig, wanted)
            one = of(answer)
            assert (answer["event"]["id"], one["verdict"]) == (dead, "dead")
            assert one["needs"] == f"to be processed: aios dead retry {letter}"
        refused = await rig.ask("explain", event="zzzz")
        assert (refused.error, bool(refused.hint)) == ("no event 'zzzz' in the journal, and no run", True)

    play(story, playbook("mend"))


def test_a_beginning_that_several_share_is_refused() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit(id="same-1")
        await rig.emit(id="same-2")
        refused = await rig.ask("explain", event="same")
        assert re.match(r"\d+ events and runs begin with 'same'", refused.error)

    play(story, playbook("mend"))


def test_a_run_that_waits_says_for_what() -> None:
    async def story(rig: Rig) -> None:
        await rig.falls_ill()
        run = (await rig.until_event("run.waiting")).data["run"]
        assert (await told(rig, run))["runs"][run]["waits_for"] == "approval"

    play(story, playbook("mend", mode="approve"))


def test_without_a_daemon_the_journal_tells_the_same_of_what_was_decided() -> None:
    async def story(rig: Rig) -> None:
        await healed_before(rig)
        event = await rig.falls_ill(data={"failures": 1})
        await rig.until(lambda: rig.verdicts(event) == ["held"])
        living = await told(rig, event)
        outside = rig.daemon.outside
        alone = tell(look_back(history(rig), event, outside.blobs, outside.skills, {}), NOBODY)
        for name in ("event", "position", "considered", "decisions", "runs", "others", "notes"):
            assert alone[name] == living[name], name

    play(story, playbook("mend", guard="{cooldown: 5m, limit: none}"), playbook("picky", NARROW))
