"""What happens in a test of a playbook, on a clock of its own: the events of `given`, one after the other, then a wait.

For `trial.py`. What it gives are the events that the playbook could be for: as they are, or what becomes complete by them where
the playbook waits for several. Nobody is blind in a test, so time may pass at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

from aios.events.catalogue import CORRELATED, usual_severity
from aios.events.durations import format_duration, parse_duration
from aios.events.event import HOST, START, Draft, Event, format_time, parse_time
from aios.playbooks.correlate import Correlator
from aios.playbooks.correlation_words import standing
from aios.playbooks.model import Correlation, Playbook

BEGINS_AT = 1_767_225_600.0
"""2026-01-01, so that a test says the same on every day."""


class Happened(NamedTuple):
    """`why` says why nothing became complete; empty where something did, or nothing had to."""

    events: tuple[Event, ...]
    why: str


def happened(playbook: Playbook, given: Mapping[str, Any]) -> Happened:
    """What the playbook is asked about."""
    events = tuple(_events(given))
    if playbook.correlation is None:
        return Happened(events, "" if events else "nothing happened")
    return _together(playbook.name, playbook.correlation, events, _seconds(given.get("wait")))


def _events(given: Mapping[str, Any]) -> Iterator[Event]:
    at = BEGINS_AT
    for number, one in enumerate([given["event"]] if "event" in given else given.get("events", ())):
        at += _seconds(one.get("after"))
        moment = one.get("time") or format_time(at)
        yield Event(
            id=one.get("id") or ("trial" if "event" in given else f"trial-{number + 1}"),
            source=one.get("source") or "trial",
            type=one["type"],
            subject=one.get("subject") or HOST,
            time=moment,
            data=one.get("data") or {},
            arrival=moment,
            severity=one.get("severity") or usual_severity(one["type"]),
        )


def _seconds(duration: str | None) -> float:
    return parse_duration(duration) if duration else 0.0


def _together(name: str, correlation: Correlation, events: tuple[Event, ...], wait_s: float) -> Happened:
    correlator = Correlator()
    correlator.begin({name: correlation}, BEGINS_AT, START)
    complete: list[Draft] = []
    for event in events:
        complete += _pass(correlator, event.taken)
        complete += correlator.take(event, START)
    ends_at = (events[-1].taken if events else BEGINS_AT) + wait_s
    complete += _pass(correlator, ends_at + correlation.lateness_s)
    found = tuple(_as_event(draft) for draft in complete if draft.type == CORRELATED)
    return Happened(found, "" if found else _why(correlator, events) + _longer(correlator, ends_at - wait_s))


def _pass(correlator: Correlator, until: float) -> list[Draft]:
    complete: list[Draft] = []
    while (due := correlator.due()) is not None and due <= until:
        complete += correlator.advance(due)
    return [*complete, *correlator.advance(until)]


def _as_event(draft: Draft) -> Event:
    return Event(
        draft.id, "trial", draft.type, draft.subject, draft.time, draft.data, draft.time, draft.severity, "", draft.causationid
    )


def _why(correlator: Correlator, events: tuple[Event, ...]) -> str:
    said = [standing(told) for event in events[-1:] for told in correlator.told_of(event)]
    return f"nothing became complete: {'; '.join(said) or 'no event is of a type that it waits for'}"


def _longer(correlator: Correlator, last: float) -> str:
    """How long the test has to wait for what time alone makes complete."""
    due = correlator.due()
    return f"; its window ends later: add wait: {format_duration(ceil(due - last))}" if due is not None else ""


def time_of(event: Event) -> float:
    """When a run begins that answers it."""
    return max(parse_time(event.arrival), BEGINS_AT)
