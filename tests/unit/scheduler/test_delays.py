"""Delays and dead letters: what waits for a time, and what waits for a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.events.event import Event
from aios.scheduler.dead import DeadLetters
from aios.scheduler.delays import Delays


def test_what_is_due_comes_in_order_and_once() -> None:
    delays = Delays()
    delays.set("late", 5.0)
    delays.set("soon", 1.0)
    delays.set("soon too", 1.0)
    assert delays.next_due() == 1.0
    assert delays.due(0.9) == []
    assert delays.due(5.0) == ["soon", "soon too", "late"]
    assert delays.due(9.0) == []
    assert delays.next_due() is None


def test_a_key_has_one_time_that_can_be_moved_and_cancelled() -> None:
    delays = Delays()
    delays.set("run", 1.0)
    delays.set("run", 7.0)
    assert delays.due(2.0) == []
    assert delays.when("run") == 7.0
    assert delays.cancel("run")
    assert not delays.cancel("run")
    assert delays.due(9.0) == []
    assert "run" not in delays


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 100))), max_size=300))
def test_delays_agree_with_a_plain_dict(moves: list[tuple[int, int | None]]) -> None:
    """Whatever is set, moved and cancelled: at the end exactly the last word of each key holds, and the heap stays small."""
    delays = Delays()
    plain: dict[str, float] = {}
    for key, due in moves:
        if due is None:
            delays.cancel(str(key))
            plain.pop(str(key), None)
        else:
            delays.set(str(key), float(due))
            plain[str(key)] = float(due)
    assert len(delays) == len(plain)
    assert len(delays._heap) <= 64 + 2 * 6 + 1
    assert delays.next_due() == min(plain.values(), default=None)
    assert sorted(delays.due(50.0)) == sorted(key for key, due in plain.items() if due <= 50)


def letter(number: int, type: str = "scheduler.dead_letter") -> Event:
    data = {"letter": f"l{number}", "event": f"e{number}", "position": "2026-02-24.1:0", "reason": "no playbook could be read"}
    return Event(f"d{number}", "aios", type, "nginx.service", "t", data, "2026-02-24T03:00:00Z", "error")


def test_a_dead_letter_is_kept_with_its_reason_until_it_is_tried_again() -> None:
    dead = DeadLetters()
    dead.apply(letter(1))
    dead.apply(letter(2))
    assert [one.letter for one in dead.list()] == ["l1", "l2"]
    found = dead.get("l1")
    assert found is not None
    assert (found.event, found.subject, found.reason) == ("e1", "nginx.service", "no playbook could be read")
    dead.apply(letter(1, "scheduler.retried"))
    assert [one.letter for one in dead.list()] == ["l2"]
    dead.apply(letter(2))
    assert len(dead) == 1


def test_of_too_many_dead_letters_the_oldest_are_counted() -> None:
    """Memory is bounded; the journal has the rest, and the count says so."""
    dead = DeadLetters(limit=3)
    for number in range(10):
        dead.apply(letter(number))
    assert [one.letter for one in dead.list()] == ["l7", "l8", "l9"]
    assert (dead.older, len(dead)) == (7, 10)
    dead.apply(letter(2, "scheduler.retried"))
    assert dead.older == 6


def test_dead_letters_survive_a_checkpoint() -> None:
    dead = DeadLetters(limit=2)
    for number in range(3):
        dead.apply(letter(number))
    again = DeadLetters.from_json(json.loads(json.dumps(dead.to_json())), limit=2)
    assert again.list() == dead.list()
    assert again.older == 1
    with pytest.raises(ValueError, match="version"):
        DeadLetters.from_json({"version": 0})
