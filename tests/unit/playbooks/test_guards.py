"""Guards: cooldown, limit, the machine-wide limit of acts, loops, protection. Times are wall-clock seconds and no test waits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.playbooks.guards import CAUSES_MAX, PAIRS_MAX, GuardBook, loops
from aios.playbooks.model import Guard, Playbook, Step
from aios.playbooks.protection import ALWAYS_PROTECTED, protected, untouchable
from aios.testing.bodies import SKILLS

T0 = 1_000_000.0


class Nothing:
    """A template of no parameters."""

    source: object = None

    def render(self, variables: object) -> object:
        return {}

    def part(self, name: str) -> None:
        return None


def playbook(cooldown_s: float = 300.0, limit: tuple[int, float] | None = (3, 3600.0), kind: str = "act") -> Playbook:
    skill = next(skill for skill in SKILLS.values() if skill.kind == kind)
    steps = (Step("s", skill.kind, skill.name, Nothing()),)
    return Playbook("mend", "h", "p", "", ("a",), None, {}, guard=Guard(cooldown_s, limit), steps=steps)


def test_cooldown_counts_from_the_end_of_the_last_run_on_the_same_subject() -> None:
    book, mend = GuardBook(), playbook()
    book.began_to_act("mend", "a", T0)
    book.ended("mend", "a", T0 + 100.0)
    held = book.verdict(mend, "a", T0 + 399.0)
    assert held is not None
    assert (held.guard, held.until, held.calls) == ("cooldown", T0 + 400.0, False)
    assert book.verdict(mend, "a", T0 + 400.0) is None
    assert book.verdict(mend, "b", T0 + 101.0) is None


def test_the_limit_slides_and_calls_a_person() -> None:
    """3 in 1h: the fourth is held until the first of the three is an hour old."""
    book, mend = GuardBook(), playbook(cooldown_s=0.0)
    for at in (0.0, 1000.0, 2000.0):
        book.began_to_act("mend", "a", T0 + at)
    held = book.verdict(mend, "a", T0 + 2001.0)
    assert held is not None
    assert (held.guard, held.until, held.calls) == ("breaker", T0 + 3600.0, True)
    assert book.verdict(mend, "a", T0 + 3600.1) is None


def test_a_person_may_close_the_breaker() -> None:
    book, mend = GuardBook(), playbook(cooldown_s=0.0)
    for _ in range(3):
        book.began_to_act("mend", "a", T0)
    book.forgive("mend", "a")
    assert book.verdict(mend, "a", T0 + 1.0) is None


def test_without_a_limit_there_is_no_breaker_and_looking_is_free() -> None:
    book = GuardBook()
    for _ in range(60):
        book.began_to_act("mend", "a", T0)
    book.ended("mend", "a", T0)
    assert book.verdict(playbook(0.0, None), "a", T0) is None
    assert book.verdict(playbook(kind="observe"), "a", T0) is None


@given(st.lists(st.floats(0.0, 5000.0), max_size=30), st.integers(0, 8), st.floats(0.0, 6000.0))
def test_the_machine_wide_limit_is_never_passed(times: list[float], per_hour: int, now: float) -> None:
    """Whenever it says "now", fewer than so many acts began within the hour before; and it names the first such moment."""
    book = GuardBook()
    for at in sorted(times):
        book.acted(T0 + at)
    now = T0 + max([now, *times])
    again = book.acts_again_at(now, per_hour)
    recent = [at for at in book.acts if at > now - 3600.0]
    assert (again == 0.0) == (len(recent) < per_hour)
    if again and per_hour:
        assert again > now
        assert len([at for at in book.acts if at > again - 3600.0]) < per_hour


def test_what_guards_remember_is_bounded() -> None:
    """The pairs longest without a run are forgotten first; acts older than an hour at once."""
    book = GuardBook()
    for n in range(PAIRS_MAX + 10):
        book.began_to_act("mend", f"s{n}", T0)
    assert len(book.pairs) == PAIRS_MAX
    assert ("mend", "s0") not in book.pairs
    for n in range(100):
        book.acted(T0 + n * 100.0)
    assert len(book.acts) == 36


def test_a_checkpoint_keeps_what_guards_remember() -> None:
    book = GuardBook()
    book.began_to_act("mend", "a", T0)
    book.acted(T0)
    book.ended("mend", "a", T0 + 1.0)
    again = GuardBook.from_json(json.loads(json.dumps(book.to_json())))
    assert again == book


def test_loops_are_cut_at_the_same_playbook_and_subject_and_at_eight_runs() -> None:
    assert loops([], "mend", "a") is None
    assert loops([["mend", "b"], ["other", "a"]], "mend", "a") is None
    found = loops([["mend", "a"], ["other", "b"]], "mend", "a")
    assert found is not None
    assert (found.guard, found.calls) == ("loop", True)
    seven = [[f"p{n}", "x"] for n in range(CAUSES_MAX - 1)]
    assert loops(seven, "mend", "a") is None
    assert loops([*seven, ["p9", "x"]], "mend", "a") is not None


@pytest.mark.parametrize(
    "resource",
    [
        *ALWAYS_PROTECTED,
        "home.mount",
        "system.slice",
        "multi-user.target",
        "file:/proc/1",
        "file:/etc",
        "file:/",
        "file:/etc/ssh/sshd_config",
        "file:/etc/passwd",
        "mine.service",
        "mine.timer",
        "sshd.socket",
        "file:/srv/mine",
        "file:/srv/mine/below",
        "file:/srv",
        "file:/opt/too/below",
    ],
)
def test_protected_resources_are_named(resource: str) -> None:
    """Ours, the ways in, mounts, and what a machine cannot be without; a folder above such a file too."""
    more = frozenset({"mine.service", "file:/srv/mine", "/opt/too"})
    assert protected(frozenset({"web.service", resource}), more) == resource


@pytest.mark.parametrize(
    "resource",
    ["web.service", "backup.timer", "agent:coder", "file:/etc/nginx", "file:/etc/passwords", "file:/srv/proc", "file:/srv/mine2"],
)
def test_other_resources_are_not(resource: str) -> None:
    assert protected(frozenset({resource}), frozenset({"mine.service", "file:/srv/mine"})) == ""


def test_a_clock_that_was_set_back_by_years_leaves_nothing_held_for_years() -> None:
    """A machine boots in the wrong year, acts, and is put right: what guards noted in that year holds no more."""
    book, mend, later = GuardBook(), playbook(limit=(1, 3600.0)), T0 + 365 * 86_400.0
    book.began_to_act("mend", "a", later)
    book.acted(later)
    book.ended("mend", "a", later + 1.0)
    book.escalated("mend", "a", later + 1.0)
    book.breaker_opened("mend", "b", later, later + 3600.0)
    assert book.verdict(mend, "a", later + 2.0) is not None
    assert book.acts_again_at(later + 2.0, 1)
    assert book.verdict(mend, "a", T0) is None
    assert book.verdict(mend, "b", T0) is None
    assert book.acts_again_at(T0, 1) == 0.0


def test_a_clock_that_was_set_back_a_little_lifts_no_guard() -> None:
    """The usual correction, of less than a guard's own time."""
    book, mend = GuardBook(), playbook(limit=None)
    book.ended("mend", "a", T0 + 30.0)
    held = book.verdict(mend, "a", T0)
    assert held is not None
    assert held.until == T0 + 330.0


@pytest.mark.parametrize(
    ("path", "touched"),
    [("events/2026-01-01.1.jsonl", True), ("blobs", True), ("", True), ("logs/web.log", False), ("inbox/x", False)],
)
def test_the_memory_of_aios_is_protected_and_what_may_be_tidied_is_not(path: str, touched: bool) -> None:
    resources = frozenset({f"file:/var/lib/aios/{path}".rstrip("/")})
    assert bool(protected(resources, untouchable((), "/var/lib/aios"))) is touched
