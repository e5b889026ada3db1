"""Patterns and index say of every event what asking a plain linear matcher in turn says."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.event import Event
from aios.playbooks.index import Index, event_view, order, type_fits
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import compile_pattern
from tests.unit.playbooks.pattern_reference import Maker, Rule, flatten, rounds

SEED = int(os.environ.get("AIOS_FUZZ_SEED", "20260224"))
PATTERNS, EVENTS = 40, 25


def differences(written: list[tuple[tuple[str, ...], dict[str, object]]], events: list[Event]) -> list[str]:
    """What pattern, explanation or index say otherwise than the reference, for every pair."""
    rules = [Rule(match) for _, match in written]
    books = [Playbook(f"p{n:02}", "", "", "", types, compile_pattern(m), m) for n, (types, m) in enumerate(written)]
    index = Index(books)
    found: list[str] = []
    for number, event in enumerate(events):
        view = event_view(event)
        flat = flatten(view)
        said = {book.name: rule.matches(flat) for book, rule in zip(books, rules, strict=True)}
        for book in books:
            pattern = book.pattern
            if not pattern.matches(view) == pattern.matches_event(event) == said[book.name]:  # type: ignore[attr-defined]
                found.append(f"{book.match} says otherwise than {said[book.name]} of {event}")
        asked = books[number % len(books)]
        if (asked.pattern.describe(view) == "every condition holds") is not said[asked.name]:  # type: ignore[union-attr]
            found.append(f"{asked.match} explains otherwise than {said[asked.name]} of {event}")
        wanted = [book for book in books if said[book.name] and any(type_fits(name, event.type) for name in book.types)]
        wanted.sort(key=lambda book: order(book, event.type))
        if index.match(event) != wanted:
            found.append(f"the index finds {[b.name for b in index.match(event)]}, wanted {wanted} for {event}")
    return found


def test_a_hundred_thousand_pairs_show_no_difference() -> None:
    """Lists of mappings, odd types, dots in names and names that stand twice included. The seed is printed with a failure."""
    for number, written, events in rounds(SEED, 100_000 // (PATTERNS * EVENTS), PATTERNS, EVENTS):
        assert not differences(written, events), f"AIOS_FUZZ_SEED={SEED}, round {number}"


@settings(max_examples=100)
@given(st.randoms(use_true_random=False), st.integers(1, 12), st.integers(1, 4))
def test_no_pair_that_is_drawn_shows_a_difference(chance: random.Random, patterns: int, events: int) -> None:
    """The same with hypothesis, which makes a failure small."""
    make = Maker(chance)
    assert not differences([(make.types(), make.pattern()) for _ in range(patterns)], [make.event() for _ in range(events)])


def test_crowds_are_found_as_one_by_one() -> None:
    """So many patterns that every kind of shelf is filled, and filled again below a crowd."""
    make = Maker(random.Random(SEED))
    written = [(("a.*",), make.pattern()) for _ in range(700)]
    assert not differences(written, [make.event()._replace(type="a.b") for _ in range(30)]), f"AIOS_FUZZ_SEED={SEED}"
