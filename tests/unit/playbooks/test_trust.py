"""Trust: what a playbook has shown decides how far it may go, and which of several goes first. Folded, and bounded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.playbooks.model import MODES, Guard, Mode
from aios.playbooks.run import Run
from aios.playbooks.trust import COUNT_MAX, RECENT, Grant, Rule, TrustBook, wilson
from tests.unit.playbooks.guard_kit import T0, mender

RULE = Rule()
MEND = mender(Guard())


def run(outcome: str, mode: str = "auto", name: str = "mend", kind: str = "a", **more: Any) -> Run:
    acts = [{"step": "s", "attempt": 1}] if outcome in ("healed", "not_healed") else []
    known: dict[str, Any] = {"playbook": name, "hash": "h", "mode": mode, "outcome": outcome, "acts": acts, **more}
    return Run("r", trigger={"type": kind}, **known)


def shown(*outcomes: str, mode: str = "auto") -> TrustBook:
    book = TrustBook()
    for n, outcome in enumerate(outcomes):
        book.ended(run(outcome, mode), T0 + n)
    return book


@given(st.integers(0, 50), st.integers(0, 50))
def test_wilsons_interval_holds_the_share_and_narrows(good: int, bad: int) -> None:
    low, high = wilson(good, good + bad)
    assert 0.0 <= low <= high <= 1.0
    if good + bad:
        assert low - 1e-9 <= good / (good + bad) <= high + 1e-9
        wider = wilson(good * 2, (good + bad) * 2)
        assert wider[1] - wider[0] <= high - low + 1e-12


@pytest.mark.parametrize(
    ("mode", "acted", "watched", "following"),
    [
        ("observe", [], [], "shadow"),
        ("shadow", [], [1] * 9, None),
        ("shadow", [], [1] * 10, "suggest"),
        ("shadow", [], [1] * 8 + [0] * 2, None),
        ("shadow", [1] * 20, [], None),
        ("suggest", [], [1] * 10, "approve"),
        ("suggest", [1] * 10, [], "approve"),
        ("suggest", [1] * 5 + [0] * 5, [1] * 50, None),
        ("approve", [1] * 10, [], "auto"),
        ("approve", [1] * 19 + [0], [], "auto"),
        ("approve", [1] * 9 + [0], [], None),
        ("approve", [], [1] * 50, None),
        ("auto", [1] * 50, [], None),
    ],
)
def test_a_mode_is_earned_by_enough_results_of_the_kind_that_speaks_for_it(
    mode: Mode, acted: list[int], watched: list[int], following: str | None
) -> None:
    """Before it acts, what it saw in shadow; then what its acts did."""
    book = shown("observed")
    book.of["mend"].acted.extend(acted)
    book.of["mend"].watched.extend(watched)
    book.granted["mend"] = Grant(mode, "h", T0, "ann", "")
    assert book.earned(MEND, RULE)[0] == following
    assert book.earned(MEND, RULE)[1]


@pytest.mark.parametrize(
    ("mode", "acted", "watched", "said"),
    [
        ("shadow", [], [], "none of its runs in shadow has ended yet; suggest takes at least 10"),
        ("suggest", [], [1], "none of its acting runs has ended yet; approve takes at least 10"),
        ("approve", [1, 0], [], "1 of its last 2 acting runs healed; auto takes at least 10"),
        (
            "shadow",
            [],
            [1] * 10,
            "in 10 of its last 10 runs in shadow the symptom stayed: surely 72% of all, and suggest takes 70%",
        ),
    ],
)
def test_what_it_has_shown_is_said_in_plain_words(mode: Mode, acted: list[int], watched: list[int], said: str) -> None:
    book = shown("observed")
    book.of["mend"].acted.extend(acted)
    book.of["mend"].watched.extend(watched)
    book.granted["mend"] = Grant(mode, "h", T0, "ann", "")
    assert book.earned(MEND, RULE)[1] == said


def test_runs_that_are_always_cleared_are_asked_about() -> None:
    """Its verify is well while the trouble lasts: it would never act, and nothing else would show it."""
    book = shown("observed")
    book.of["mend"].runs.clear()
    book.of["mend"].runs["auto"] = {"cleared": 3}
    book.granted["mend"] = Grant("approve", "h", T0, "ann", "")
    assert book.earned(MEND, RULE)[1].startswith("all 3 of its runs were cleared: verify was well before it acted")
    book.of["mend"].runs["auto"] = {"cleared": 3, "unknown": 1}
    assert "cleared" not in book.earned(MEND, RULE)[1]


@pytest.mark.parametrize(
    ("file", "granted", "good", "of", "falls_to"),
    [
        ("auto", "auto", 0, 9, None),
        ("auto", "auto", 1, 10, "approve"),
        ("auto", "auto", 5, 10, None),
        ("shadow", "auto", 0, 10, "shadow"),
        ("approve", "auto", 0, 10, "approve"),
        ("approve", "approve", 0, 10, "suggest"),
        ("auto", "approve", 0, 10, None),
        ("suggest", "suggest", 0, 10, None),
    ],
)
def test_a_fall_in_evidence_takes_it_to_its_file_or_one_below_and_no_further(
    file: Mode, granted: Mode, good: int, of: int, falls_to: str | None
) -> None:
    book = shown(*["healed"] * good, *["not_healed"] * (of - good))
    book.granted["mend"] = Grant(granted, "h", T0, "", "")
    found = book.fallen(replace(MEND, mode=file), RULE)
    assert (found[0] if found else None) == falls_to


def test_evidence_and_a_granted_mode_are_of_one_text() -> None:
    """A changed text begins anew, in the mode of its file."""
    book = shown("healed", "healed")
    book.grant("mend", Grant("suggest", "h", T0, "ann", ""))
    assert book.mode_of(MEND) == "suggest"
    changed = replace(MEND, hash="other")
    assert book.mode_of(changed) == changed.mode
    assert book.evidence_of(changed) is None
    book.ended(run("healed", hash="other"), T0)
    assert list(book.of["mend"].acted) == [1]


def test_another_mode_begins_a_new_count() -> None:
    """Else one fall would be followed by the next at once."""
    book = shown(*["not_healed"] * 12)
    book.grant("mend", Grant("approve", "h", T0, "", "it fell"))
    assert book.fallen(MEND, RULE) is None
    assert list(book.of["mend"].acted) == []


def test_only_what_acted_counts_and_a_no_counts_against_it() -> None:
    book = shown("cleared", "observed", "suggested", "unknown", "healed", "not_healed")
    assert list(book.of["mend"].acted) == [1, 0]
    book.answered(run("unknown"), "denied", T0)
    book.answered(run("unknown"), "expired", T0)
    book.answered(run("unknown"), "given", T0)
    evidence = book.of["mend"]
    assert (list(evidence.acted), evidence.denied, evidence.expired, evidence.approved) == ([1, 0, 0], 1, 1, 1)
    assert evidence.runs == {"auto": {"cleared": 1, "observed": 1, "suggested": 1, "unknown": 1, "healed": 1, "not_healed": 1}}


def test_what_a_person_took_back_later_had_not_helped() -> None:
    book = shown("healed")
    book.ended(run("healed", status="healed", results={"rollback": {"ok": True}}), T0 + 1.0)
    assert list(book.of["mend"].acted) == [1, 0]
    assert book.of["mend"].runs == {"auto": {"healed": 1}}


# --- choice -----------------------------------------------------------------------------------------------------------


def test_of_equals_the_one_that_healed_this_kind_of_event_before_goes_first() -> None:
    """Per type of event; without history the index's order stands."""
    book, a, b = TrustBook(), mender(Guard(), "a"), mender(Guard(), "b")
    assert list(book.best_first([a, b], "a")) == [a, b]
    book.ended(run("healed", name="b"), T0)
    assert list(book.best_first([a, b], "a")) == [b, a]
    assert list(book.best_first([a, b], "other")) == [a, b]
    book.ended(run("not_healed", name="b"), T0)
    book.ended(run("not_healed", name="b"), T0)
    assert list(book.best_first([a, b], "a")) == [a, b]


def test_priority_and_specificity_come_before_history() -> None:
    book, a, b = TrustBook(), mender(Guard(), "a"), replace(mender(Guard(), "b"), priority=-1)
    for _ in range(20):
        book.ended(run("healed", name="b"), T0)
    assert list(book.best_first([a, b], "a")) == [a, b]


def test_what_was_long_ago_fades() -> None:
    book = TrustBook()
    for _ in range(COUNT_MAX * 3):
        book.ended(run("healed"), T0)
    for _ in range(COUNT_MAX):
        book.ended(run("not_healed"), T0)
    assert book.rate("a", "mend") < 0.5
    assert sum(book.counts("a", "mend")) <= COUNT_MAX


OUTCOMES = st.sampled_from(["healed", "not_healed", "unknown", "cleared", "observed"])
STORY = st.lists(st.tuples(OUTCOMES, st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from(MODES)), max_size=60)


@given(STORY, st.integers(0, 60))
def test_trust_folded_from_a_checkpoint_equals_trust_folded_live(story: list[tuple[str, str, str, str]], cut: int) -> None:
    live = TrustBook()
    for outcome, name, kind, mode in story:
        live.ended(run(outcome, mode, name, kind), T0)
    again = TrustBook()
    for n, (outcome, name, kind, mode) in enumerate(story):
        if n == cut:
            again = TrustBook.from_json(json.loads(json.dumps(again.to_json())))
        again.ended(run(outcome, mode, name, kind), T0)
    assert again == live
    assert all(len(evidence.acted) <= RECENT for evidence in again.of.values())
