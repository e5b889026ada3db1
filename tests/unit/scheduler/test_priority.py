"""What an event's class is: by its type alone, whatever its producer writes into it."""

from __future__ import annotations

from typing import Any

import pytest

from aios.events.catalogue import CATALOGUE
from aios.events.event import SEVERITIES, Event
from aios.scheduler.priority import P0, P1, P2, P3, priority, rank


def make(type: str, subject: str = "host", severity: str = "info", **data: Any) -> Event:
    return Event("id", "test", type, subject, "2026-02-24T00:00:00Z", data, "2026-02-24T00:00:00Z", severity)


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        ("resource.cpu_spike", P1),
        ("resource.disk_full", P1),
        ("resource.anything_that_a_program_says", P1),
        ("resource.disk_normal", P3),
        ("service.down", P2),
        ("service.flapping", P2),
        ("service.up", P3),
        ("service.stopped", P3),
        ("agent.error", P2),
        ("agent.stalled", P2),
        ("endpoint.down", P2),
        ("endpoint.up", P3),
        ("model.unavailable", P2),
        ("budget.warning", P3),
        ("timer.due", P3),
        ("my.own.type", P3),
        ("resource", P3),
        ("", P3),
    ],
)
def test_the_class_is_said_by_the_type(type: str, expected: int) -> None:
    """P1 resource alarms, P2 agent and service errors, P3 the rest."""
    assert priority(make(type)) == expected


@pytest.mark.parametrize(
    ("subject", "score", "expected"),
    [
        ("system", 0.29, P0),
        ("system", 0, P0),
        ("system", 0.3, P3),
        ("nginx.service", 0.1, P3),
        ("system", None, P3),
        ("system", "0.1", P3),
        ("system", False, P3),
        ("system", float("nan"), P3),
    ],
)
def test_only_a_degraded_system_is_p0(subject: str, score: Any, expected: int) -> None:
    """P0 only `score.degraded` of `system` below 0.3."""
    assert priority(make("score.degraded", subject, score=score)) == expected


def test_input_never_sets_the_class() -> None:
    """Neither severity nor data lift an event into another class."""
    for type in [*CATALOGUE, "a.b"]:
        if type != "score.degraded":
            shouting = make(type, "system", "critical", priority=0, score=0.0, p0=True)
            assert priority(shouting) == priority(make(type))


def test_severity_orders_within_a_class() -> None:
    """Critical before error before warning before info; an unknown word counts as info; no severity reaches another class."""
    ranks = [rank(make("service.down", severity=severity)) for severity in SEVERITIES]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == 4
    assert {value // 4 for value in ranks} == {P2}
    assert rank(make("service.down", severity="apocalyptic")) == ranks[0]


def test_what_came_together_has_the_best_class_of_its_parts_and_never_that_of_the_system() -> None:
    """A silence is an error of what has gone silent; only the whole's own score is P0."""

    def together(*types: str) -> Event:
        events = {f"e{n}": {"type": one, "data": {"score": 0.0}} for n, one in enumerate(types)}
        return make("reactor.correlated", "system", events=events)

    assert priority(together("a.b", "service.down")) == P2
    assert priority(together("a.b", "service.down", "resource.disk_full")) == P1
    assert priority(together("a.b")) == P3
    assert priority(together()) == P2
    assert priority(together("score.degraded")) == P3
