"""Windows, case by case: each name says what must be so. Times are seconds; a window is ten of them unless a test says more."""

from __future__ import annotations

import pytest

from aios.events.catalogue import CORRELATED, WINDOW_DROPPED
from aios.events.event import Position, format_time
from aios.playbooks import correlate
from aios.playbooks.correlate import Correlator
from aios.playbooks.correlation_words import standing
from tests.unit.playbooks.correlate_kit import DAY, T0, Journal, correlation

THREE = "{type: a, count: 3 in 10s}"
ALL = "{all: [{type: a}, {type: b}], within: 10s}"
THEN = "{sequence: [{type: a}, {type: b}], within: 10s}"
NO_ANSWER = "{sequence: [{type: a}, {absence: {type: b}}], within: 10s}"
SILENT = "{absence: {type: a, match: {subject: [s]}}, within: 10s}"
SILENT_ANY = "{absence: {type: a}, within: 10s}"


# --- edges ------------------------------------------------------------------------------------------------------------


def test_three_within_ten_seconds_are_three_within_ten_seconds() -> None:
    journal = Journal(THREE)
    assert [journal.see("a", at) for at in (0, 5, 9.999999)] == [[], [], ["a@0 a@5 a@10"]]


def test_exactly_ten_seconds_apart_is_outside() -> None:
    """As with a guard's limit: less than the time must lie between the first and the last."""
    journal = Journal(THREE)
    assert [journal.see("a", at) for at in (0, 5, 10)] == [[], [], []]
    assert journal.see("a", 14.999999) == ["a@5 a@10 a@15"]


def test_a_count_slides_and_does_not_tumble_from_the_first_event() -> None:
    """Three within seven seconds are found wherever they begin."""
    journal = Journal(THREE)
    assert [journal.see("a", at) for at in (0, 7, 12, 14)] == [[], [], [], ["a@7 a@12 a@14"]]


def test_each_event_is_counted_once() -> None:
    """Six in a row are two times three, not four times."""
    journal = Journal(THREE)
    found = [one for at in range(6) for one in journal.see("a", at)]
    assert found == ["a@0 a@1 a@2", "a@3 a@4 a@5"]


def test_three_at_the_same_moment_are_three() -> None:
    journal = Journal(THREE)
    assert [journal.see("a", 1, id=f"e{n}") for n in range(3)] == [[], [], ["e0 e1 e2"]]


def test_another_subject_has_a_count_of_its_own() -> None:
    journal = Journal(THREE)
    for at, subject in enumerate("xyxyx"):
        found = journal.see("a", at, subject=subject)
    assert found == ["a@0/x a@2/x a@4/x"]
    assert journal.last.subject == "x"
    assert journal.last.data["key"] == {"subject": "x"}


# --- all, any, sequence -----------------------------------------------------------------------------------------------


def test_all_may_come_in_any_order() -> None:
    assert [Journal(ALL).see("a", 0), (journal := Journal(ALL)).see("b", 0), journal.see("a", 5)] == [[], [], ["b@0 a@5"]]


def test_all_exactly_ten_seconds_apart_are_not_together() -> None:
    journal = Journal(ALL)
    assert journal.see("a", 0) + journal.see("b", 10) == []
    assert journal.see("a", 19.999999) == ["b@10 a@20"]


def test_the_last_of_several_is_taken_and_the_one_before_remains_for_the_next() -> None:
    """One to one: one closing event makes one pair."""
    journal = Journal(ALL)
    assert journal.see("a", 0) + journal.see("a", 1) == []
    assert journal.see("b", 2) == ["a@1 b@2"]
    assert journal.see("b", 3) == ["a@0 b@3"]
    assert journal.see("b", 4) == []


def test_the_first_of_several_is_taken_where_the_playbook_says_so() -> None:
    journal = Journal(ALL[:-1] + ", join: first}")
    assert journal.see("a", 0) + journal.see("a", 1) == []
    assert journal.see("b", 2) == ["a@0 b@2"]
    assert journal.see("b", 3) == ["a@1 b@3"]


def test_a_sequence_in_the_wrong_order_is_none() -> None:
    journal = Journal(THEN)
    assert journal.see("b", 0) + journal.see("a", 1) == []
    assert journal.see("b", 2) == ["a@1 b@2"]


def test_the_end_of_a_sequence_exactly_at_its_edge_is_outside() -> None:
    journal = Journal(THEN)
    assert journal.see("a", 0) + journal.see("b", 10) == []
    journal = Journal(THEN)
    assert journal.see("a", 0) + journal.see("b", 9.999999) == ["a@0 b@10"]


def test_a_sequence_begins_as_late_as_it_can() -> None:
    """So an old beginning never keeps a new one from being within the time."""
    journal = Journal("{sequence: [{type: a, count: 3}, {type: b}], within: 10s}")
    for at in (0, 5, 6, 7):
        assert journal.see("a", at) == []
    assert journal.see("b", 14) == ["a@5 a@6 a@7 b@14"]


def test_what_happens_between_the_parts_of_a_sequence_does_not_matter() -> None:
    journal = Journal("{sequence: [{type: a}, {type: b}, {type: c}], within: 10s}")
    found = [journal.see(kind, at) for at, kind in enumerate("acbxc")]
    assert found == [[], [], [], [], ["a@0 b@2 c@4"]]


def test_a_sequence_of_the_same_type_needs_two_of_it() -> None:
    journal = Journal("{sequence: [{type: a}, {type: a}], within: 10s}")
    assert [journal.see("a", at) for at in (0, 1, 2, 3)] == [[], ["a@0 a@1"], [], ["a@2 a@3"]]


def test_an_event_that_fits_two_triggers_stands_for_the_one_that_lacks_one() -> None:
    journal = Journal("{all: [{type: a}, {type: a, match: {data: {bad: [true]}}}], within: 10s}")
    assert journal.see("a", 0, data={"bad": True}) == []
    assert journal.see("a", 1, data={"bad": False}) == ["a@0 a@1"]
    assert journal.last.data["events"]["e2"]["id"] == "a@0"


def test_any_fires_for_each_and_needs_no_time() -> None:
    journal = Journal("{any: [{type: a, name: one}, {type: b}]}")
    assert [journal.see(kind, at) for at, kind in enumerate("abc")] == [["a@0"], ["b@1"], []]
    assert set(journal.said[0].data["events"]) == {"one"}


def test_any_may_count_each_with_a_time_of_its_own() -> None:
    journal = Journal("{any: [{type: a, count: 2 in 3s}, {type: b, count: 2 in 10s}]}")
    assert journal.see("a", 0) + journal.see("a", 3) == []
    assert journal.see("a", 5) == ["a@3 a@5"]
    assert journal.see("b", 6) + journal.see("b", 15) == ["b@6 b@15"]


def test_events_are_joined_by_a_field_of_their_data() -> None:
    journal = Journal("{all: [{type: a}, {type: b, by: data.on}], within: 10s, by: data.host}")
    assert journal.see("a", 0, data={"host": "h1"}) == []
    assert journal.see("b", 1, subject="other", data={"on": "h2"}) == []
    assert journal.see("b", 2, subject="other", data={"on": "h1"}) == ["a@0 b@2/other"]
    assert (journal.last.subject, journal.last.data["key"]) == ("other", {"data.host": "h1"})


def test_an_event_without_the_field_that_joins_is_joined_to_nothing() -> None:
    journal = Journal("{type: a, count: 2 in 10s, by: data.host}")
    for at, data in enumerate(({}, {}, {"host": None}, {"host": None}, {"host": ["h"]}, {"host": ["h"]})):
        assert journal.see("a", at, data=data) == []
    assert journal.see("a", 6, data={"host": "h"}) == []
    assert len(journal.see("a", 7, data={"host": "h"})) == 1


def test_joined_by_none_all_events_are_together() -> None:
    journal = Journal("{type: a, count: 2 in 10s, by: none}")
    assert journal.see("a", 0, subject="x") == []
    assert journal.see("a", 1, subject="y") == ["a@0/x a@1/y"]


def test_two_and_two_point_zero_are_one_key() -> None:
    """As in a pattern; true is not 1."""
    journal = Journal("{type: a, count: 2 in 10s, by: data.n}")
    assert journal.see("a", 0, data={"n": 2}) + journal.see("a", 1, data={"n": True}) == []
    assert journal.see("a", 2, data={"n": 2.0}) == ["a@0 a@2"]


# --- absence ----------------------------------------------------------------------------------------------------------


def test_a_silence_needs_no_first_event_where_the_subject_is_named() -> None:
    journal = Journal(SILENT)
    assert journal.tick(9.999999) == []
    assert journal.tick(10) == ["-"]
    assert (journal.last.subject, journal.last.data["missing"]) == ("s", ["e1"])
    assert (journal.last.data["since"], journal.last.data["until"]) == (format_time(T0), format_time(T0 + 10))


def test_what_is_heard_exactly_when_the_time_is_over_comes_too_late() -> None:
    journal = Journal(SILENT)
    assert journal.see("a", 9.999999) == []
    assert journal.see("a", 19.999999) == ["-"]


def test_a_silence_fires_once_until_it_is_heard_again() -> None:
    journal = Journal(SILENT)
    assert journal.tick(10) + journal.beats(11, 600) == ["-"]
    assert journal.see("a", 601) == []
    assert journal.pass_until(700) == ["-"]


def test_a_subject_that_nobody_named_is_known_once_it_was_heard() -> None:
    journal = Journal(SILENT_ANY)
    assert journal.beats(0, 600) == []
    assert journal.see("a", 601, subject="x") + journal.see("a", 605, subject="y") == []
    assert journal.pass_until(700) == ["-", "-"]
    assert [draft.subject for draft in journal.said] == ["x", "y"]
    assert journal.last.causationid == "a@605/y"


def test_any_of_several_keeps_a_silence_away() -> None:
    journal = Journal("{absence: [{type: a}, {type: b, name: other}], within: 10s}")
    for at, kind in enumerate("abababab"):
        assert journal.see(kind, at * 9) == []
    assert journal.pass_until(100) == ["-"]
    assert journal.last.data["missing"] == ["e1", "other"]


def test_a_silence_of_everybody_is_joined_by_none() -> None:
    journal = Journal("{absence: {type: a}, within: 10s, by: none}")
    assert journal.see("a", 5, subject="x") == []
    assert journal.pass_until(14.9) == []
    assert journal.pass_until(100) == ["-"]
    assert journal.last.subject == "x"


def test_down_and_not_up_again_fires_when_the_time_is_over() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 3) == []
    assert journal.tick(12.999999) == []
    assert journal.tick(13) == ["a@3"]
    assert journal.last.data["missing"] == ["e2"]


def test_down_and_up_again_in_time_does_not_fire() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 3) + journal.see("b", 12.999999) + journal.beats(20, 200) == []


def test_up_again_exactly_when_the_time_is_over_is_too_late() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 3) + journal.see("b", 13) == ["a@3"]


def test_up_before_down_does_not_count() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("b", 2) + journal.see("a", 3) == []
    assert journal.pass_until(20) == ["a@3"]


def test_one_answer_ends_all_that_wait_for_it() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 1) + journal.see("a", 2) + journal.see("b", 3) + journal.beats(20, 200) == []


def test_each_that_was_not_answered_fires_at_its_own_time() -> None:
    """Also where both times are over before the journal goes on: what came between them is not forgotten."""
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 0) + journal.see("a", 8) + journal.see("b", 15, arrives=30) == ["a@0"]
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 0) + journal.see("a", 8) == []
    assert journal.pass_until(30) == ["a@0", "a@8"]


# --- late events ------------------------------------------------------------------------------------------------------


def test_what_arrives_in_another_order_within_the_lateness_is_taken_in_its_own() -> None:
    journal = Journal(THEN, lateness="5s")
    assert journal.see("b", 4, arrives=4) + journal.see("a", 2, arrives=6) == []
    assert journal.tick(8.999999) == []
    assert journal.tick(9) == ["a@2 b@4"]


def test_an_event_exactly_as_late_as_it_may_be_is_taken_in_its_order() -> None:
    journal = Journal("{sequence: [{type: a}, {absence: {type: b}}], within: 10s}", lateness="5s")
    assert journal.see("a", 0) == []
    assert journal.see("b", 9.999999, arrives=14.999999) == []
    assert journal.beats(20, 100) == []


def test_an_event_later_than_that_finds_the_silence_told() -> None:
    journal = Journal("{sequence: [{type: a}, {absence: {type: b}}], within: 10s}", lateness="5s")
    assert journal.see("a", 0) == []
    assert journal.tick(15) == ["a@0"]
    assert journal.see("b", 9.999999, arrives=15.1) + journal.beats(20, 100) == []


def test_a_late_event_still_stands_where_it_belongs() -> None:
    """Nothing is dropped for being late, where it still matters."""
    journal = Journal("{type: a, count: 3 in 10s}")
    assert journal.see("a", 2) + journal.see("a", 8) == []
    assert journal.see("a", 5, arrives=60) == ["a@2 a@5 a@8"]


def test_a_late_event_from_before_the_window_joins_nothing() -> None:
    journal = Journal(THREE)
    assert journal.see("a", 50) + journal.see("a", 58) + journal.see("a", 40, arrives=59) == []


def test_a_late_sign_of_life_puts_a_silence_off_from_when_it_was_given() -> None:
    journal = Journal(SILENT)
    assert journal.see("a", 4, arrives=9) == []
    assert journal.tick(13.999999) == []
    assert journal.tick(14) == ["-"]


def test_a_time_in_the_future_is_the_time_of_arrival() -> None:
    """What was taken has happened, whatever its producer's clock says."""
    journal = Journal(THREE)
    for at in range(2):
        assert journal.see("a", 86_400 * 365, arrives=at, id=f"e{at}") == []
    assert journal.see("a", 86_400 * 365, arrives=2, id="e2") == ["e0 e1 e2"]


def test_an_old_event_makes_nobody_known_whose_silence_would_be_told_at_once() -> None:
    journal = Journal(SILENT_ANY)
    assert journal.beats(0, 4999) == []
    assert journal.see("a", 0, arrives=5000, subject="x") + journal.beats(5001, 6000) == []


# --- time that nobody watched -----------------------------------------------------------------------------------------


def down(journal: Journal, since: float, until: float) -> list[str]:
    return journal.see("daemon.started", until, subject="system", data={"blind_since": format_time(T0 + since)})


def test_the_time_that_the_daemon_was_down_is_no_silence() -> None:
    journal = Journal(SILENT)
    assert journal.see("a", 2) + down(journal, 6, 1000) == []
    assert journal.tick(1005.999999) == []
    assert journal.tick(1006) == ["-"]


def test_many_short_restarts_do_not_keep_a_silence_from_being_told() -> None:
    journal = Journal(SILENT)
    found = [one for n in range(12) for one in down(journal, 5 * n + 4, 5 * n + 5)]
    assert found == ["-"]
    assert journal.last.data["until"] == format_time(T0 + 12)


def test_a_gap_between_signs_of_life_is_blind_time_too() -> None:
    """A machine that slept, or a daemon that hung: nobody said so, but nobody watched."""
    journal = Journal("{absence: {type: a, match: {subject: [s]}}, within: 5m}")
    assert journal.beats(0, 240) == []
    assert journal.see("daemon.heartbeat", 4000, subject="system") == []
    assert journal.beats(4059, 4059) == []
    assert journal.tick(4060) == ["-"]


def test_what_was_heard_in_blind_time_is_counted_from_its_end() -> None:
    """The lines that came into the inbox while the daemon was down are read after it has started."""
    journal = Journal(SILENT_ANY)
    journal.beats(0, 60)
    assert down(journal, 60, 1000) + journal.see("a", 500, arrives=1001, subject="x") == []
    assert journal.tick(1009.999999) == []
    assert journal.tick(1010) == ["-"]


def test_blind_time_is_no_silence_after_the_first_part_of_a_sequence_either() -> None:
    journal = Journal(NO_ANSWER)
    assert journal.see("a", 0) + down(journal, 5, 500) == []
    assert journal.see("b", 504, id="up") == []
    assert journal.pass_until(600) == []


def test_a_window_of_things_seen_is_not_stretched_by_blind_time() -> None:
    journal = Journal(ALL)
    assert journal.see("a", 0) + down(journal, 1, 500) + journal.see("b", 501) == []


def test_a_clock_that_went_back_begins_all_windows_anew_and_says_so() -> None:
    journal = Journal(THREE, SILENT)
    assert journal.beats(0, 3600) == ["-"]
    assert journal.see("a", 3601) == []
    assert journal.see("a", 10) == []
    assert [draft.data["why"] for draft in journal.said if draft.type == WINDOW_DROPPED] == ["the clock went back"] * 2
    assert journal.see("a", 11) == []
    assert journal.see("a", 12) == ["a@10 a@11 a@12"]
    assert journal.pass_until(30) == ["-"]


def test_a_small_correction_of_the_clock_changes_nothing() -> None:
    journal = Journal(THREE)
    assert [journal.see("a", at) for at in (5, 2, 4)] == [[], [], ["a@2 a@4 a@5"]]


# --- restarts, reloads, switches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", [THREE, ALL, THEN, NO_ANSWER, SILENT, SILENT_ANY])
def test_a_restart_at_any_moment_changes_no_decision(on: str) -> None:
    def history(restarts: bool) -> list[tuple[str, list[str]]]:
        journal = Journal(on, lateness="2s")
        for n, kind in enumerate("aabacbaabbacaaba"):
            if restarts:
                journal.restart()
            journal.see(kind, n * 1.5, arrives=n * 1.5 + (1.7 if n % 3 else 0.0))
        if restarts:
            journal.restart()
        journal.pass_until(100)
        return [(draft.id, draft.data["used"]) for draft in journal.said]

    assert history(restarts=True) == history(restarts=False) != []


def test_what_was_not_said_before_a_crash_is_said_after_it_under_the_same_name() -> None:
    """It is complete by the events alone; that it was told is known by the journal alone."""
    journal = Journal(THREE)
    for at in range(2):
        journal.see("a", at)
    event = journal.event("a", 2)
    (draft,) = journal.correlator.take(event, Position(DAY, 1, 900))
    journal.restart()
    assert list(journal.correlator.pending) == [draft.id]
    again = Journal(THREE)
    for at in range(3):
        again.see("a", at)
    assert again.last.id == draft.id
    assert again.correlator.pending == {}


def begun(journal: Journal, *ons: str, at: float) -> None:
    journal.correlator.begin({f"p{n}": correlation(on) for n, on in enumerate(ons)}, T0 + at, Position(DAY, 1, 5000))
    journal.said += journal.correlator.pending.values()


def test_a_playbook_whose_trigger_is_the_same_keeps_its_windows_over_a_reload() -> None:
    """However it is written now."""
    journal = Journal("{type: a, count: 3 in 10m}", lateness="1s")
    journal.see("a", 0), journal.see("a", 1), journal.pass_until(10)
    begun(journal, "{count: 3 in 600s, by: [subject], type: [a]}", at=20)
    assert journal.see("a", 30) + journal.pass_until(40) == ["a@0 a@1 a@30"]


def test_a_playbook_whose_trigger_was_changed_begins_anew_and_says_so() -> None:
    journal = Journal(THREE)
    journal.see("a", 0), journal.see("a", 1)
    begun(journal, "{type: a, count: 3 in 11s}", at=2)
    assert journal.last.type == WINDOW_DROPPED
    assert journal.last.data == {"playbook": "p0", "why": "its trigger was changed", "keys": 1, "events": 2}
    assert journal.see("a", 3) + journal.pass_until(20) == []


def test_a_silence_that_was_told_is_not_told_again_by_a_reload() -> None:
    journal = Journal(SILENT)
    assert journal.tick(10) == ["-"]
    begun(journal, SILENT[:-1] + ", lateness: 0s}", at=20)
    assert journal.beats(21, 600) == []


def test_a_playbook_that_is_switched_off_forgets_and_begins_anew_when_it_is_on() -> None:
    journal = Journal(THREE, SILENT)
    journal.see("a", 0)
    for n in range(2):
        journal.see("playbook.disabled", 1, data={"playbook": f"p{n}"})
    assert journal.see("a", 2) + journal.see("a", 3) + journal.beats(4, 600) == []
    for n in range(2):
        journal.see("playbook.enabled", 605, data={"playbook": f"p{n}"})
    assert journal.see("a", 606) + journal.see("a", 607) == []
    assert journal.pass_until(700) == ["-"]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_keys_without_end_are_bounded_and_what_is_forgotten_is_told_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "KEYS_MAX", 10)
    journal = Journal("{type: a, count: 2 in 10m}")
    for n in range(100):
        journal.see("a", n * 0.01, subject=f"s{n}")
    (tracker,) = journal.correlator.trackers.values()
    assert (len(tracker.windows), tracker.events) == (10, 10)
    (told,) = [draft for draft in journal.said if draft.type == WINDOW_DROPPED]
    assert (told.data["why"], told.data["events"]) == ("more than it may hold", 1)
    journal.see("a", 3700, subject="later")
    journal.see("a", 3701, subject="later still")
    dropped = [draft for draft in journal.said if draft.type == WINDOW_DROPPED]
    assert sum(draft.data["events"] for draft in dropped) == 90


def test_keys_whose_window_is_over_are_forgotten_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "KEYS_MAX", 10)
    journal = Journal("{type: a, count: 2 in 10s}")
    for n in range(100):
        journal.see("a", n * 60.0, subject=f"s{n}")
    assert journal.said == []


def test_one_key_holds_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; the newest still join."""
    monkeypatch.setattr(correlate, "EVENTS_OF_KEY_MAX", 20)
    journal = Journal("{all: [{type: a}, {type: b}], within: 1h}")
    for n in range(100):
        journal.see("a", n)
    (tracker,) = journal.correlator.trackers.values()
    assert tracker.events == 20
    assert journal.see("b", 100) == ["a@99 b@100"]
    assert tracker.events == 18


def test_a_flood_that_nothing_may_wait_for_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "BUFFER_MAX", 5)
    journal = Journal("{type: a, count: 10 in 10s}", lateness="5s")
    assert [one for n in range(10) for one in journal.see("a", n * 0.1)] == []
    assert len(journal.tick(10)) == 1


def test_what_is_kept_of_an_event_is_small() -> None:
    journal = Journal("{any: [{type: a}]}")
    journal.see("a", 0, data={"text": "x" * 2000})
    assert "data" not in journal.last.data["events"]["e1"]
    journal.see("a", 1, data={"text": "x" * 100})
    assert journal.last.data["events"]["e1"]["data"] == {"text": "x" * 100}


# --- when to look again -----------------------------------------------------------------------------------------------


def test_nothing_is_due_where_time_alone_changes_nothing() -> None:
    """Each event that is put into the journal for the sake of time has a reason."""
    journal = Journal(THREE, ALL, THEN, lateness="5s")
    assert journal.correlator.due() is None
    journal.see("a", 1)
    assert journal.correlator.due() is None
    journal.see("b", 2)
    assert journal.correlator.due() == T0 + 7
    assert journal.tick(7) == ["a@1 b@2", "a@1 b@2"]
    assert journal.correlator.due() is None


def test_what_completes_out_of_order_is_due_when_the_newest_of_it_is() -> None:
    """Not only when something else happens to be journaled."""
    journal = Journal(THEN, lateness="5s")
    journal.see("b", 4, arrives=4)
    assert journal.correlator.due() is None
    journal.see("a", 2, arrives=6)
    assert journal.pass_until(8.9) == []
    assert journal.pass_until(9) == ["a@2 b@4"]


def test_a_sign_of_life_puts_off_when_it_is_due() -> None:
    journal = Journal(SILENT, lateness="1s")
    assert journal.correlator.due() == T0 + 11
    journal.see("a", 5)
    assert journal.correlator.due() == T0 + 16
    journal.see("a", 8)
    assert journal.correlator.due() == T0 + 19


def test_an_unreadable_blob_leaves_the_windows_as_they_are() -> None:
    """Each start of the daemon says anew what is in force."""
    journal = Journal(THREE)
    journal.see("a", 0), journal.see("a", 1)
    journal.see("playbook.loaded", 2, data={"playbooks": {}, "windows": "0" * 64})
    assert journal.see("a", 3) == ["a@0 a@1 a@3"]


def test_a_blob_that_says_something_else_leaves_them_as_they_are_too() -> None:
    """A newer program wrote it, or an older one."""
    for written in (b'{"p0": {}}', b"[1]", b'{"p0": {"kind": "count", "triggers": [{"name": 1}]}}', b"nonsense", b"7"):
        journal = Journal(THREE)
        journal.correlator.recall = lambda _name, found=written: found  # type: ignore[misc]
        journal.see("a", 0), journal.see("a", 1)
        journal.see("playbook.loaded", 2, data={"playbooks": {}, "windows": "0" * 64})
        assert journal.see("a", 3) == ["a@0 a@1 a@3"], written


def test_what_was_said_of_it_names_its_events_and_what_caused_them() -> None:
    journal = Journal(ALL)
    journal.see("a", 0, severity="critical", causationid="run-7")
    journal.see("b", 1, severity="warning")
    assert journal.last.type == CORRELATED
    assert journal.last.severity == "critical"
    assert journal.last.causationid == "b@1"
    assert journal.last.data["causes"] == ["a@0", "run-7", "b@1"]
    assert journal.last.data["count"] == 2
    assert set(journal.last.data["events"]) == {"e1", "e2"}


def test_an_empty_correlator_costs_nothing_and_keeps_nothing() -> None:
    correlator = Correlator()
    journal = Journal(begun=False)
    assert correlator.take(journal.event("a", 0), Position(DAY, 1, 0)) == ()
    assert correlator.to_json()["trackers"] == []


def test_what_is_seen_and_not_yet_answered_is_told_with_its_end() -> None:
    """Nothing of it is missing any more: it fires then, unless what must not come does."""
    journal = Journal(NO_ANSWER)
    event = journal.event("a", 3)
    journal.take(event)
    (told,) = journal.correlator.told_of(event)
    assert standing(told) == f"all is seen of subject s; it waits for what must not come, until {format_time(T0 + 13)}"
    journal.see("a", 4)
    (told,) = journal.correlator.told_of(event)
    assert standing(told).startswith("all is seen of subject s (2 times); it waits")
