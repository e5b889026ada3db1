"""Silences: who covers what, for how long; and the circuit breaker's way from open over a trial to closed, or open for longer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.playbooks.breaker import CEILING_S
from aios.playbooks.guards import GuardBook
from aios.playbooks.model import Guard
from aios.playbooks.silences import SILENCES_MAX, Silence, SilenceBook, like
from tests.unit.playbooks.guard_kit import T0, mender


@pytest.mark.parametrize(
    ("pattern", "text", "is_like"),
    [
        ("web.service", "web.service", True),
        ("web.service", "web.service2", False),
        ("*", "", True),
        ("web-*", "web-1.service", True),
        ("web-*", "aweb-1", False),
        ("*.service", "web.service", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c", False),
        ("a**c", "ac", True),
    ],
)
def test_a_star_is_any_text(pattern: str, text: str, is_like: bool) -> None:
    assert like(pattern, text) is is_like


def silence(id: str, subject: str = "*", playbook: str = "", until: float = T0 + 60.0) -> Silence:
    return Silence(id, subject, playbook, until, T0, "ann", "")


def test_a_silence_covers_its_subject_and_playbook_until_its_end() -> None:
    book = SilenceBook()
    book.begin(silence("a", "web.service", "mend"))
    assert book.of("mend", "web.service", T0 + 59.9) is not None
    assert book.of("mend", "web.service", T0 + 60.0) is None
    assert book.of("other", "web.service", T0) is None
    assert book.of("mend", "db.service", T0) is None


def test_of_several_the_longest_counts_and_ending_it_leaves_the_other() -> None:
    book = SilenceBook()
    book.begin(silence("short"))
    book.begin(silence("long", until=T0 + 600.0))
    assert [one.id for one in book.in_force(T0)] == ["short", "long"]
    found = book.of("mend", "a", T0)
    assert found is not None
    assert found.id == "long"
    book.end("long")
    found = book.of("mend", "a", T0)
    assert found is not None
    assert found.id == "short"


def test_silences_are_bounded_and_what_is_over_goes_first() -> None:
    book = SilenceBook()
    for n in range(SILENCES_MAX + 5):
        book.begin(silence(f"s{n}", until=T0 + 100.0 + n))
    assert len(book.by_id) == SILENCES_MAX
    assert "s0" not in book.by_id
    book.begin(Silence("later", "*", "", T0 + 9e6, T0 + 8e6, "ann", ""))
    assert list(book.by_id) == ["later"]


# --- the breaker ------------------------------------------------------------------------------------------------------


def tripped(guard: Guard) -> GuardBook:
    """Three runs that acted and did not heal, and the decision that held the fourth."""
    book = GuardBook()
    for n in range(3):
        book.began_to_act("mend", "a", T0 + n)
        book.ended("mend", "a", T0 + n + 0.5)
    held = book.verdict(mender(guard), "a", T0 + 3.0)
    assert held is not None
    assert held.guard == "breaker"
    book.breaker_opened("mend", "a", T0 + 3.0, held.until)
    return book


GUARD = Guard(cooldown_s=0.0, limit=(3, 3600.0), open_s=600.0)


def test_an_open_breaker_lets_one_run_through_as_the_trial_after_its_time() -> None:
    book = tripped(GUARD)
    assert book.verdict(mender(GUARD), "a", T0 + 602.9) is not None
    assert book.verdict(mender(GUARD), "a", T0 + 603.0) is None
    assert ("mend", "a") in book.breakers


def test_a_trial_that_heals_closes_the_breaker_and_what_was_counted_is_forgotten() -> None:
    book = tripped(GUARD)
    book.began_to_act("mend", "a", T0 + 603.0)
    book.ended("mend", "a", T0 + 604.0, healed=True)
    assert book.breakers == {}
    assert book.verdict(mender(GUARD), "a", T0 + 605.0) is None


def test_each_trial_that_fails_opens_it_for_twice_as_long_up_to_the_ceiling() -> None:
    book, mend = tripped(GUARD), mender(GUARD)
    now, lengths = T0 + 603.0, []
    for _ in range(12):
        book.began_to_act("mend", "a", now)
        book.ended("mend", "a", now + 1.0)
        held = book.verdict(mend, "a", now + 1.0)
        assert held is not None
        assert (held.guard, held.calls) == ("breaker", True)
        lengths.append(held.until - now - 1.0)
        book.breaker_opened("mend", "a", now + 2.0, held.until)
        now = held.until
    assert lengths[:3] == [1200.0, 2400.0, 4800.0]
    assert lengths[-1] == CEILING_S


def test_a_ceiling_of_ones_own_is_kept() -> None:
    guard = Guard(cooldown_s=0.0, limit=(3, 3600.0), open_s=600.0, open_max_s=900.0)
    book = tripped(guard)
    book.ended("mend", "a", T0 + 700.0)
    assert book.breakers["mend", "a"].open_until(600.0, guard.open_max_s) == T0 + 700.0 + 900.0


def test_a_run_that_never_came_to_act_is_no_trial() -> None:
    """The symptom was gone, or a person said no: nothing is told to guards, and the next run is the trial."""
    book = tripped(GUARD)
    book.well("a")
    assert ("mend", "a") in book.breakers
    assert book.verdict(mender(GUARD), "a", T0 + 700.0) is None


def test_a_person_closes_it() -> None:
    book = tripped(GUARD)
    book.forgive("mend", "a")
    assert book.verdict(mender(GUARD), "a", T0 + 4.0) is None


def test_breakers_silences_and_storms_live_through_a_checkpoint() -> None:
    book = tripped(GUARD)
    book.ended("mend", "a", T0 + 700.0)
    book.silences.begin(silence("a"))
    again = GuardBook.from_json(json.loads(json.dumps(book.to_json())))
    assert again == book
    assert again.verdict(mender(GUARD), "a", T0 + 701.0) == book.verdict(mender(GUARD), "a", T0 + 701.0)


OPS = st.lists(
    st.tuples(
        st.sampled_from(["act", "heal", "fail", "ask", "call", "well", "forgive", "silence"]),
        st.sampled_from("ab"),
        st.integers(1, 900),
    ),
    max_size=60,
)


def happens(book: GuardBook, what: str, subject: str, now: float) -> None:
    """One thing, as the world folds it; `ask` is a decision that was held, which is an event like others."""
    if what == "act":
        book.acted(now)
        book.began_to_act("mend", subject, now)
    elif what in ("heal", "fail"):
        book.ended("mend", subject, now, healed=what == "heal")
    elif what == "ask":
        held = book.verdict(mender(GUARD), subject, now)
        if held is not None and held.guard == "breaker":
            book.breaker_opened("mend", subject, now, held.until)
    elif what == "call":
        book.escalated("mend", subject, now)
    elif what == "well":
        book.well(subject)
    elif what == "forgive":
        book.forgive("mend", subject)
    else:
        book.silences.begin(Silence(f"{subject}{now}", subject, "", now + 500.0, now, "ann", ""))


@given(OPS, st.integers(0, 60))
def test_guards_folded_from_a_checkpoint_equal_guards_folded_live(ops: list[tuple[str, str, int]], cut: int) -> None:
    """Wherever the daemon dies: what guards remember, and what they say, is the same."""
    live, again, now = GuardBook(), GuardBook(), T0
    for n, (what, subject, after_s) in enumerate(ops):
        now += after_s
        if n == cut:
            again = GuardBook.from_json(json.loads(json.dumps(again.to_json())))
        for book in (live, again):
            happens(book, what, subject, now)
    assert again == live
    for subject in "ab":
        assert again.verdict(mender(GUARD), subject, now) == live.verdict(mender(GUARD), subject, now)
        assert again.silences.of("mend", subject, now) == live.silences.of("mend", subject, now)
