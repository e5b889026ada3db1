"""What a backtest says of a small past that was written for it: when it would run, what holds it, what really happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aios.backtest import Backtest, Terms, backtest, compare
from aios.backtest.page import to_html
from aios.backtest.words import figures_facts, run_words, trouble_words
from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.event import format_time
from aios.journal.archive import IMPORTED_FROM
from aios.journal.query import History, Query
from aios.reactor.decide import Rules
from aios.skills.catalogue import load_catalogue
from tests.unit.backtest.past import MIDNIGHT, Past, playbooks

SKILLS = load_catalogue()
HOUR = 3600.0


def down(
    name: str = "web-down", *, match: str = "subject: [web.service]", more: str = "", steps: str = "", mode: str = "auto"
) -> str:
    return f"""
playbook: {name}
description: Start it again.
on: {{type: service.down{", match: {" + match + "}" if match else ""}}}
mode: {mode}
guard: {{cooldown: 5m, limit: 3 in 1h}}
{more}
steps:
{steps or '  - {id: restart, act: restart_service, with: {unit: "${event.subject}"}}'}
verify:
  - service_check: {{unit: "${{event.subject}}", hold: 10s}}
"""


def played(past: Past, *texts: str, **how: Any) -> Backtest:
    return backtest(past.folder, playbooks(SKILLS, *texts), skills=SKILLS, **how)


def test_it_runs_where_its_event_was_and_nowhere_else(tmp_path: Path) -> None:
    """One run for the event that matches; other subjects and types are passed over."""
    past = Past(tmp_path)
    past.tell(10, "service.down", "other.service", failures=1)
    wanted = past.tell(20, "service.down", failures=1)
    past.tell(30, "shop.order", n=1)
    found = played(past, down())
    assert [(run.event, run.at - MIDNIGHT, run.acts, run.end) for run in found.runs] == [
        (wanted, 20.0, ["restart_service"], "assumed")
    ]


def test_a_cooldown_holds_until_its_time_and_then_lets_the_run_go(tmp_path: Path) -> None:
    """From the end of the run, which is its hold of ten seconds later; what is still ill then is answered then."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    held = past.tell(60, "service.down", failures=2)
    past.tell(HOUR, "shop.order")
    past.tell(HOUR, "service.down", "other.service")
    found = played(past, down())
    (one,) = found.held
    assert (one.event, one.guard, one.until) == (held, "cooldown", format_time(MIDNIGHT + 310))
    assert [run.at - MIDNIGHT for run in found.runs] == [0.0, 310.0]
    assert found.playbooks[0].later == 1
    assert found.playbooks[0].again == 1, "the second answers the same trouble"


def test_what_is_held_is_let_go_when_the_symptom_went_away(tmp_path: Path) -> None:
    """No run opens for what is over when the guard's time comes."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(60, "service.down", failures=2)
    past.tell(90, "service.up")
    past.tell(HOUR, "service.down", "other.service")
    found = played(past, down())
    assert len(found.runs) == 1
    assert [held.guard for held in found.held] == ["cooldown"]


def test_the_fourth_run_in_an_hour_opens_the_breaker_and_calls(tmp_path: Path) -> None:
    """`limit: 3 in 1h` counts runs that would have acted."""
    past = Past(tmp_path)
    for n in range(4):
        past.tell(n * 600, "service.down", failures=1)
        past.tell(n * 600 + 100, "service.up")
    found = played(past, down())
    assert len(found.runs) == 3
    assert [held.guard for held in found.held] == ["breaker"]
    assert found.playbooks[0].calls == 1


def test_of_two_that_match_the_better_runs_and_the_other_is_told_of_it(tmp_path: Path) -> None:
    """The narrower one is taken; the other is its fallback, and both know."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=3)
    wide, narrow = down("wide", match=""), down("narrow")
    found = played(past, wide, narrow)
    of = {figures.name: figures for figures in found.playbooks}
    assert (of["narrow"].runs, of["wide"].runs) == (1, 0)
    assert of["wide"].better == {"narrow": 1}
    assert found.runs[0].better_than == ("wide",)


def test_an_event_that_was_held_is_weighed_once(tmp_path: Path) -> None:
    """Whoever is second is told of each event once, however often it is offered again."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(60, "service.down", failures=2)
    past.tell(HOUR, "service.down", "other.service")
    found = played(past, down("narrow"), company=playbooks(SKILLS, down("wide", match="")))
    wide = played(past, down("wide", match=""), company=playbooks(SKILLS, down("narrow")))
    assert len(found.runs) == 2
    assert wide.playbooks[0].better == {"narrow": 2}


def test_those_in_force_beside_it_take_part_and_are_not_reported(tmp_path: Path) -> None:
    """A better one of the company keeps the tried one from running."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=3)
    found = played(past, down("wide", match=""), company=playbooks(SKILLS, down("narrow")))
    assert [figures.name for figures in found.playbooks] == ["wide"]
    assert found.company == ("narrow",)
    assert found.playbooks[0].better == {"narrow": 1}
    assert found.runs == ()


@pytest.mark.parametrize(
    ("over_after_s", "fate"), [(42.0, "by_itself"), (600.0, "by_itself"), (600.5, "later"), (None, "standing")]
)
def test_a_symptom_went_away_by_itself_when_it_closed_in_time_without_an_act(
    tmp_path: Path, over_after_s: float | None, fate: str
) -> None:
    """In time is up to and with ten minutes, unless another time is asked for."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    if over_after_s is not None:
        past.tell(over_after_s, "service.up")
    found = played(past, down())
    figures = found.playbooks[0]
    assert (figures.by_itself, figures.later_by_itself, figures.standing) == (
        fate == "by_itself",
        fate == "later",
        fate == "standing",
    )
    assert figures.by_itself_median_s == (over_after_s if fate == "by_itself" else 0)


def test_a_real_run_that_acted_is_no_going_away_by_itself(tmp_path: Path) -> None:
    """Whose it was is told, of whatever playbook."""
    past = Past(tmp_path)
    trigger = past.tell(0, "service.down", failures=1)
    past.really_ran("old-one", trigger, 1.0)
    past.tell(8, "service.up")
    found = played(past, down())
    assert found.playbooks[0].acted == {"old-one": 1}
    assert found.playbooks[0].by_itself == 0
    assert trouble_words(found.runs[0], 600) == "old-one acted after 1.1s, over 8s after it began"


def test_what_aios_itself_said_then_is_no_input(tmp_path: Path) -> None:
    """A recorded decision, a hold or a run of a playbook that is not tried changes nothing of what the engine decides."""
    plain, told = Past(tmp_path / "plain"), Past(tmp_path / "told")
    for past in (plain, told):
        trigger = past.tell(0, "service.down", failures=1)
        if past is told:
            past.really_ran("web-down", trigger, 1.0, text_hash="another text")
        past.tell(400, "service.down", failures=2)
    runs = [[(run.acts, run.at) for run in played(past, down()).runs] for past in (plain, told)]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2


def test_a_real_run_of_the_same_text_goes_as_it_went(tmp_path: Path) -> None:
    """Its own record is followed: it failed then, so it fails here, whatever is assumed of others."""
    past = Past(tmp_path)
    (playbook,) = playbooks(SKILLS, down())
    trigger = past.tell(0, "service.down", failures=1)
    past.really_ran("web-down", trigger, 0.01, text_hash=playbook.hash, end="run.not_healed")
    found = played(past, down())
    assert [(run.really, run.end) for run in found.runs] == [(True, "not_healed")]
    assert (found.playbooks[0].really, found.playbooks[0].followed) == (1, 1)
    assert "as it went" in run_words(found.runs[0])


def test_an_if_that_asks_what_a_look_saw_is_taken_to_say_yes_and_marked(tmp_path: Path) -> None:
    """Nobody knows what the look would have seen, so the act is shown with a question mark and counted as such."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    steps = """
  - {id: state, observe: service_status, with: {unit: "${event.subject}"}}
  - {id: restart, act: restart_service, with: {unit: "${event.subject}"}, if: "steps.state.result.state != 'up'"}
  - {id: never, act: start_service, with: {unit: "${event.subject}"}, if: "event.data.failures > 5"}"""
    found = played(past, down(steps=steps))
    assert found.runs[0].acts == ["restart_service?"]
    assert (found.playbooks[0].acts, found.playbooks[0].maybe) == (1, 1)


def test_a_when_that_says_no_is_counted_and_runs_nothing(tmp_path: Path) -> None:
    """It matched, and its condition kept it."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(HOUR, "service.down", failures=7)
    found = played(past, down(more='when: "event.data.failures > 5"'))
    assert [run.at - MIDNIGHT for run in found.runs] == [HOUR]
    assert (found.playbooks[0].matched, found.playbooks[0].when_no) == (2, 1)


def test_a_pause_of_then_holds_now(tmp_path: Path) -> None:
    """What a person said is an input like what a sensor saw."""
    past = Past(tmp_path)
    past.tell(0, "daemon.paused", "system", by="ann", reason="", until="")
    past.tell(10, "service.down", failures=1)
    past.tell(500, "daemon.resumed", "system", by="ann")
    found = played(past, down())
    assert [held.guard for held in found.held] == ["paused"]


def test_a_silence_of_then_holds_until_its_end(tmp_path: Path) -> None:
    """And what still stands is answered then."""
    past = Past(tmp_path)
    until = format_time(MIDNIGHT + 600)
    past.tell(
        0, "daemon.silenced", "web.service", silence="s1", subject="web.service", playbook="", until=until, by="ann", reason=""
    )
    past.tell(10, "service.down", failures=1)
    past.tell(HOUR, "service.down", "other.service")
    found = played(past, down())
    assert [(held.guard, held.until) for held in found.held] == [("silence", until)]
    assert [run.at - MIDNIGHT for run in found.runs] == [600.0]


def test_in_a_storm_of_then_a_run_looks_and_does_not_act(tmp_path: Path) -> None:
    """How much of the machine was ill is what the journal recorded; the run gathers evidence and gives up."""
    past = Past(tmp_path)
    past.tell(0, "reactor.storm_began", "system", ill=9, known=10, subjects=[], why="a storm")
    past.tell(10, "service.down", failures=1)
    past.tell(HOUR, "service.down", "other.service")
    found = played(past, down())
    assert sum(len(run.acts) for run in found.runs) == 0
    assert found.playbooks[0].acts == 0


def related(past: Past, at_s: float, **sufferers: list[str]) -> None:
    """Of services without their `.service`, who suffers with them; each of them is watched."""
    named = {f"{one}.service": [f"{other}.service" for other in them] for one, them in sufferers.items()}
    past.tell(at_s, "daemon.relations_learned", "host", afresh=True, watched=sorted(named), sufferers=named)


def test_who_depends_on_whom_is_what_the_journal_says_of_then(tmp_path: Path) -> None:
    """Nothing is done about a service while what it depended on then is ill; when that was told otherwise, it is."""
    past = Past(tmp_path)
    related(past, 0, db=["web"])
    past.tell(10, "service.down", "db.service", failures=1)
    waits = past.tell(20, "service.down", failures=1)
    past.tell(50, "service.up", "db.service")
    past.tell(100, "service.up")
    related(past, 1000, db=["shop"])
    past.tell(2000, "service.down", "db.service", failures=1)
    free = past.tell(2010, "service.down", failures=1)
    found = played(past, down())
    assert [(held.event, held.guard) for held in found.held] == [(waits, "depends_on")]
    assert "web.service depends on db.service, which has been ill for 10 s" in found.held[0].why
    assert [(run.event, run.at - MIDNIGHT) for run in found.runs] == [(waits, 50.0), (free, 2010.0)]


def test_what_a_run_does_to_those_that_depend_on_its_subject_is_put_down_to_it(tmp_path: Path) -> None:
    """A run on db, then one on web within the settle time: the second one's own doing on db is a loop."""
    past = Past(tmp_path)
    related(past, 0, db=["web"], web=["db"])
    past.tell(10, "service.down", "db.service", failures=1)
    past.tell(20.5, "service.up", "db.service")
    past.tell(21, "service.down", "web.service", failures=1)
    past.tell(31.5, "service.up", "web.service")
    loop = past.tell(32, "service.down", "db.service", failures=1)
    found = played(past, down(match="").replace("cooldown: 5m", "cooldown: 0s"))
    assert [run.subject for run in found.runs] == ["db.service", "web.service"]
    assert [(held.event, held.guard) for held in found.held] == [(loop, "loop")]


@pytest.mark.parametrize("known", [False, True])
def test_a_storm_is_seen_again_where_the_journal_says_who_was_watched(tmp_path: Path, known: bool) -> None:
    """By the rules that are asked about; else it is what was recorded. (Four act at once: the fifth slot is P0's alone.)"""
    past = Past(tmp_path)
    if known:
        related(past, 0, **{f"s{n}": [] for n in range(10)})
    past.tell(1, "reactor.storm_began", "system", ill=9, known=10, subjects=[], why="a storm")
    for n in range(6):
        past.tell(10 + n, "service.down", f"s{n}.service", failures=1)
    rules = Rules("auto", 60, frozenset(), storm_share=0.5, storm_at_least=2)
    found = played(past, down(match=""), terms=Terms(rules))
    acted = [run.subject for run in found.runs if run.acts]
    assert acted == ([f"s{n}.service" for n in range(4)] if known else [])


def test_it_is_played_by_the_settings_of_then(tmp_path: Path) -> None:
    """Each of its time, secrets or none; today's only where whoever asks wants that."""
    past = Past(tmp_path)
    past.settings(0, protected=["web.service"], redact={"values": ["a known secret"]})
    first = past.tell(10, "service.down", failures=1)
    past.tell(20, "service.up")
    past.settings(HOUR, mode_max="observe")
    second = past.tell(HOUR + 10, "service.down", failures=1)
    then, now = played(past, down()), played(past, down(), then=False)
    assert [(held.event, held.guard) for held in then.held] == [(first, "protected")]
    assert [(run.event, run.mode) for run in then.runs] == [(second, "observe")]
    assert then.notes == ()
    assert [(run.event, run.mode) for run in now.runs] == [(first, "auto"), (second, "auto")]
    assert played(past, down(), mode="auto").runs[0].mode == "auto", "whoever names a mode means that it is allowed"


def test_what_only_the_old_settings_held_is_answered_under_the_new_ones(tmp_path: Path) -> None:
    """As the daemon does when it starts with them."""
    past = Past(tmp_path)
    past.settings(0, protected=["web.service"])
    waits = past.tell(10, "service.down", failures=1)
    past.settings(HOUR)
    found = played(past, down())
    assert [(run.event, run.at - MIDNIGHT) for run in found.runs] == [(waits, HOUR)]


def test_settings_that_nobody_can_tell_any_more_are_said_to_be_so(tmp_path: Path) -> None:
    """A blob that is gone, one that another version wrote, and a journal that names none."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    assert played(past, down()).notes == ("The journal does not say which settings were in force then: it is played by today's.",)
    past.settings(5, mode_max="observe")
    past.tell(10, "daemon.settings_loaded", "system", hash="0" * 64, path="")
    odd = BlobFolder(OsFiles(), f"{past.folder}/blobs").put(b'{"no_such_setting":1}')
    past.tell(20, "daemon.settings_loaded", "system", hash=odd, path="")
    past.tell(30, "service.down", "other.service", failures=1)
    found = played(past, down(match=""))
    assert [note.partition(": ")[2].partition(":")[0] for note in found.notes] == [
        "they are gone.",
        "this version cannot read them",
    ]
    assert [run.mode for run in found.runs] == ["auto", "observe"], "those before count on"
    assert "they are gone" in to_html(found)


def test_what_was_said_before_the_span_is_known_in_it(tmp_path: Path) -> None:
    """Settings, relations, a pause, who is ill; only runs are not."""
    past = Past(tmp_path)
    past.settings(0, mode_max="approve")
    related(past, 1, db=["web"])
    past.tell(2, "service.down", "db.service", failures=1)
    past.tell(
        3,
        "daemon.silenced",
        "job.service",
        silence="s",
        subject="job.service",
        playbook="",
        by="ann",
        reason="",
        until=format_time(MIDNIGHT + 30 * HOUR),
    )
    past.tell(4, "playbook.disabled", "system", playbook="off", by="ann")
    for subject in ("web.service", "job.service", "free.service"):
        past.tell(26 * HOUR, "service.down", subject, failures=1)
    for when in ({"since": MIDNIGHT + HOUR}, {"on": "2026-02-25"}):
        found = played(past, down(match=""), down("off", match="subject: [free.service]"), **when)
        guards = {held.subject: held.guard for held in found.held}
        assert guards == {"web.service": "depends_on", "job.service": "silence"}
        run = next(run for run in found.runs if run.subject == "free.service")
        assert (run.playbook, run.mode) == ("web-down", "approve")
    assert not played(past, down(match=""), since=MIDNIGHT + 27 * HOUR).runs


def test_a_maintenance_window_of_the_playbook_holds_outside_of_it(tmp_path: Path) -> None:
    """By the hours of the past, not of today."""
    past = Past(tmp_path)
    past.tell(10, "service.down", failures=1)
    past.tell(HOUR, "service.down", "other.service")
    text = down().replace(
        "guard: {cooldown: 5m", 'guard: {windows: {only: [{cron: "0 1 * * *", for: 2h, timezone: UTC}]}, cooldown: 5m'
    )
    found = played(past, text)
    assert [held.guard for held in found.held] == ["window"]
    assert [run.at - MIDNIGHT for run in found.runs] == [HOUR]


def test_how_many_at_once_is_counted_among_the_runs_that_would_be_open(tmp_path: Path) -> None:
    """The second subject waits for the first one's run, and goes on when its place is free."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(1, "service.down", "db.service", failures=1)
    past.tell(HOUR, "service.down", "other.service")
    text = down(match="subject: [web.service, db.service]").replace("guard: {", "guard: {concurrency: 1, ")
    found = played(past, text)
    assert [held.guard for held in found.held] == ["concurrency"]
    assert [(run.subject, run.at - MIDNIGHT) for run in found.runs] == [("web.service", 0.0), ("db.service", 10.0)]


def test_several_events_together_are_answered_as_live(tmp_path: Path) -> None:
    """Three falls within ten minutes are one run, at the third."""
    past = Past(tmp_path)
    for at in (0, 1000, 1100, 1200):
        past.tell(at, "service.down", failures=1)
        past.tell(at + 10, "service.up")
    past.tell(HOUR, "service.up", "other.service")
    text = down().replace(
        "on: {type: service.down, match: {subject: [web.service]}}", "on: {count: 3 in 10m, type: service.down, by: subject}"
    )
    found = played(past, text)
    assert [int(run.at - MIDNIGHT) for run in found.runs] == [1201], "a second later: so long a late event may take"


@pytest.mark.parametrize(("by", "mode"), [("ann", "observe"), ("", "auto")])
def test_a_mode_that_a_person_gave_then_counts_and_what_followed_from_runs_does_not(tmp_path: Path, by: str, mode: str) -> None:
    """A demotion that AIOS itself made came from runs that are not here; whoever asks for a mode gets that one."""
    past = Past(tmp_path)
    (playbook,) = playbooks(SKILLS, down())
    told = {
        "playbook": "web-down",
        "hash": playbook.hash,
        "before": "auto",
        "to": "observe",
        "by": by,
        "reason": "",
        "earned": False,
    }
    past.tell(0, "playbook.demoted", "system", **told)
    past.tell(10, "service.down", failures=1)
    assert [run.mode for run in played(past, down()).runs] == [mode]
    assert [run.mode for run in played(past, down(), mode="auto").runs] == ["auto"]


def test_a_resume_of_then_lets_go_what_a_pause_held(tmp_path: Path) -> None:
    """At its own time, and not before."""
    past = Past(tmp_path)
    past.tell(0, "daemon.paused", "system", by="ann", reason="", until="")
    past.tell(10, "service.down", failures=1)
    past.tell(500, "daemon.resumed", "system", by="ann")
    assert [run.at - MIDNIGHT for run in played(past, down()).runs] == [500.0]


@pytest.mark.parametrize("mode", ["observe", "shadow", "suggest"])
def test_a_mode_that_may_not_act_shows_what_it_would_propose(tmp_path: Path, mode: Any) -> None:
    """In brackets, and no guard counts it."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(100, "service.down", failures=2)
    found = played(past, down(mode=mode))
    assert [run.acts for run in found.runs] == [["(restart_service)"]] * 2
    assert found.held == ()


def test_settings_lower_the_mode_and_whoever_asks_may_lift_it(tmp_path: Path) -> None:
    """`--mode auto` asks how it would do if it might."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    rules = Rules("observe", 60, frozenset())
    assert played(past, down(), terms=Terms(rules)).runs[0].mode == "observe"
    assert played(past, down(), terms=Terms(rules), mode="auto").runs[0].mode == "auto"


def test_a_run_that_asks_first_is_given_a_yes_and_counted(tmp_path: Path) -> None:
    """Nobody knows what a person would have said."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    found = played(past, down(mode="approve"))
    assert found.playbooks[0].asked == 1
    assert found.runs[0].acts == ["restart_service"]


def test_a_run_that_asks_which_way_is_given_the_first_choice(tmp_path: Path) -> None:
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    steps = """
  - {id: way, ask: "Which way?", choices: {restart: Restart it, leave: Leave it}}
  - {id: restart, if: steps.way.result.choice == "restart", act: restart_service, with: {unit: "${event.subject}"}}
"""
    found = played(past, down(steps=steps))
    assert found.playbooks[0].asked == 1
    assert found.runs[0].acts[0].startswith("restart_service")


def test_assumed_ill_shows_the_ladder(tmp_path: Path) -> None:
    """Then the fallback runs, and at last a person is called."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    texts = (down(more="on_failure: [{fallback: harder}]"), down("harder", match="subject: [nobody.service]"))
    found = played(past, *texts, assume="ill")
    of = {figures.name: figures for figures in found.playbooks}
    assert (of["web-down"].ends, of["harder"].fallbacks) == ({"not_healed": 1}, 1)
    assert of["web-down"].calls == 1


def test_a_damaged_record_is_told_with_its_place(tmp_path: Path) -> None:
    """A record of a run that no engine could have written ends the backtest with a sentence, not with a trace."""
    past = Past(tmp_path)
    (playbook,) = playbooks(SKILLS, down())
    trigger = past.tell(0, "service.down", failures=1)
    past.really_ran("web-down", trigger, 0.01, text_hash=playbook.hash, end="approval.given")
    with pytest.raises(Refused, match="cannot be folded at 2026-02-24"):
        played(past, down())


def test_imported_days_lie_among_the_others_by_their_time(tmp_path: Path) -> None:
    """Parts of an import are read too, in the order in which things happened."""
    past = Past(tmp_path)
    past.tell(100, "service.down", failures=1)
    past.tell(50, "service.down", part=IMPORTED_FROM + 1, failures=1)
    past.tell(60, "service.up", part=IMPORTED_FROM + 1)
    found = played(past, down(more=""))
    assert [run.at - MIDNIGHT for run in found.runs] == [50.0]
    assert [held.at - MIDNIGHT for held in found.held] == [100.0]


def test_a_clock_that_was_put_back_stops_nothing(tmp_path: Path) -> None:
    """What happened after it is decided after it, by the times that the clock showed then."""
    past = Past(tmp_path)
    past.tell(5000, "service.down", failures=1)
    past.tell(5100, "service.up")
    again = past.tell(100, "service.down", "other.service", failures=1)
    found = played(past, down(match="subject: [web.service, other.service]"))
    assert [run.at - MIDNIGHT for run in found.runs] == [5000.0, 100.0]
    assert found.runs[1].event == again


def test_nothing_of_a_journal_can_write_into_the_page(tmp_path: Path) -> None:
    """Subjects and ids from anybody are shown as text; the page loads nothing and runs nothing."""
    past = Past(tmp_path)
    evil = '"><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\x1b[31m'
    past.tell(0, "service.down", evil, failures=1)
    found = played(past, down(match=""))
    page = to_html(found)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://evil.example", "")


def test_the_page_has_the_plot_and_the_rows(tmp_path: Path) -> None:
    """Inline, with a title to each bar."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(60, "service.down", failures=2)
    page = to_html(played(past, down()))
    assert page.count("<rect") == 3
    assert "1 runs, 1 held, 2 matched" in page
    assert "restart_service" in page


def test_against_shows_what_comes_goes_and_is_held_otherwise(tmp_path: Path) -> None:
    """The same events, answered by the old text and by the new."""
    past = Past(tmp_path)
    once = past.tell(0, "service.down", failures=1)
    past.tell(100, "service.up")
    past.tell(3 * HOUR, "service.down", failures=2)
    other = past.tell(6 * HOUR, "service.down", "db.service", failures=2)
    old, new = down(), down(match='subject: [web.service, db.service], data: {failures: [{numeric: [">=", 2]}]}')
    found = compare(tmp_path, playbooks(SKILLS, old), playbooks(SKILLS, new), skills=SKILLS)
    assert [(change.kind, change.event) for change in found.changes] == [("goes", once), ("comes", other)]


def test_before_is_what_really_was_and_what_differs_is_said(tmp_path: Path) -> None:
    """Where the old text was in force, its runs stand as they went; a run that only ended otherwise is no change."""
    past = Past(tmp_path)
    (old,) = playbooks(SKILLS, down())
    first = past.tell(0, "service.down", failures=1)
    of = {"run": past.really_ran("web-down", first, 0.01, text_hash=old.hash, end="run.not_healed"), "playbook": "web-down"}
    past.tell(1, "run.rolled_back", **of, ok=True, proof=[], error="")
    past.tell(2, "run.escalated", **of, why="not well after all steps")
    second = past.tell(3 * HOUR, "service.down", failures=1)
    past.really_ran("web-down", second, 3 * HOUR + 0.01, text_hash=old.hash)
    (same_acts,) = playbooks(SKILLS, down().replace("description: ", "description: Also, "))
    assert same_acts.hash != old.hash
    assert compare(tmp_path, [old], [same_acts], skills=SKILLS).changes == ()
    (narrow,) = playbooks(SKILLS, down(match="subject: [other.service]"))
    found = compare(tmp_path, [old], [narrow], skills=SKILLS)
    assert found.old.runs == backtest(tmp_path, [old], skills=SKILLS).runs
    assert [(c.kind, c.before, c.after) for c in found.changes] == [
        ("goes", "web-down (auto): restart_service: not healed, as it went", "not for it"),
        ("goes", "web-down (auto): restart_service: healed, as it went", "not for it"),
    ]
    assert list(found.legend(found.changes)) == ["as it went", "not for it"]


def test_what_holds_the_new_one_is_said(tmp_path: Path) -> None:
    """By its guard, and why."""
    past = Past(tmp_path)
    past.tell(0, "service.down", failures=1)
    past.tell(60, "service.up")
    past.tell(900, "service.down", failures=1)
    (old,) = playbooks(SKILLS, down())
    (slow,) = playbooks(SKILLS, down().replace("guard: {cooldown: 5m", "guard: {cooldown: 1h"))
    assert slow.guard.cooldown_s == 3600.0
    (change,) = compare(tmp_path, [old], [slow], skills=SKILLS).changes
    assert (change.kind, change.after) == ("goes", "held by cooldown")
    assert "cooldown is 3600 s" in change.why


def test_a_text_against_itself_changes_nothing(tmp_path: Path) -> None:
    """Also where the journal's record has its real runs: both sides follow them."""
    past = Past(tmp_path)
    (playbook,) = playbooks(SKILLS, down())
    trigger = past.tell(0, "service.down", failures=1)
    past.really_ran("web-down", trigger, 0.01, text_hash=playbook.hash, end="run.not_healed")
    assert compare(tmp_path, [playbook], [playbook], skills=SKILLS).changes == ()


def test_facts_leave_out_what_there_is_not(tmp_path: Path) -> None:
    """A playbook that never matched says so and nothing else."""
    past = Past(tmp_path)
    past.tell(0, "service.down", "other.service")
    found = played(past, down())
    assert dict(figures_facts(found.playbooks[0], found)) == {"matched": "0 events", "would run": "0 times"}


def test_own_and_imported_parts_are_told_apart(tmp_path: Path) -> None:
    """The two questions that the backtest asks together give every event once."""
    past = Past(tmp_path)
    past.tell(1, "a.b")
    past.tell(2, "a.b", part=IMPORTED_FROM + 1)
    history = History.of(tmp_path)
    ids = [[stored.event.id for stored in history.read(query)] for query in (Query(own=False), Query(imported=False), Query())]
    assert ids == [["e1"], ["e0"], ["e0", "e1"]]
