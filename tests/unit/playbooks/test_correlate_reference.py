"""Random histories: windows find exactly what trying everything finds, in whatever order the events arrive within the lateness.

`AIOS_CORRELATE_HISTORIES=20000` tries more of them, `AIOS_CORRELATE_SEED` begins elsewhere.
"""

from __future__ import annotations

import os
import random

import pytest

from aios.events.catalogue import CORRELATED
from aios.events.event import Event, format_time, parse_time
from tests.unit.playbooks.correlate_kit import T0, Journal
from tests.unit.playbooks.correlate_reference import Fired, Happened, firings

HISTORIES = int(os.environ.get("AIOS_CORRELATE_HISTORIES", "480"))
SEED = int(os.environ.get("AIOS_CORRELATE_SEED", "1"))
STEP_S = 0.5
LATENESS_S = 3.0
ENDS_S = 60.0
KINDS = ("count", "any", "all", "sequence", "answer", "absence")


def entry(chance: random.Random, counted: bool) -> str:
    types = ", ".join(sorted(chance.sample("abc", chance.choice((1, 1, 1, 2)))))
    count = f", count: {chance.randint(1, 3)}" if counted and chance.random() < 0.3 else ""
    return f"{{type: [{types}]{count}}}"


def written(kind: str, chance: random.Random) -> str:
    """The `on` of a random playbook, with times that random events hit exactly."""
    within = f"within: {chance.randint(1, 8) * 500 + 500}ms"
    join = f"join: {chance.choice(('last', 'first'))}"
    late = f"lateness: {LATENESS_S:g}s"
    entries = ", ".join(entry(chance, True) for _ in range(chance.randint(2, 3)))
    if kind == "count":
        return f"{{type: {chance.choice('ab')}, count: {chance.randint(1, 4)} in {chance.randint(2, 8) * 500}ms, {late}}}"
    if kind == "any":
        return f"{{any: [{entries}], {within}, {join}, {late}}}"
    if kind == "answer":
        first = ", ".join(entry(chance, False) for _ in range(chance.randint(1, 2)))
        return f"{{sequence: [{first}, {{absence: {entry(chance, False)}}}], {within}, {join}, {late}}}"
    if kind == "absence":
        return f"{{absence: [{{type: [a, b], match: {{subject: [s]}}}}], {within}, {late}}}"
    return f"{{{kind}: [{entries}], {within}, {join}, {late}}}"


def happenings(journal: Journal, chance: random.Random) -> list[Event]:
    """In the order in which they happen, no two at once; each arrives some time after."""
    moments = sorted(chance.sample(range(int(30 / STEP_S)), chance.randint(3, 22)))
    return [
        journal.event(chance.choice("aabbc"), at * STEP_S, at * STEP_S + chance.choice((0.0, 0.0, 1.0, 2.5, LATENESS_S)))
        for at in moments
    ]


def found(journal: Journal, events: list[Event], restarts: random.Random | None = None) -> list[Fired]:
    """What the correlator makes of it, when the journal has these in this order."""
    for event in sorted(events, key=lambda one: one.arrival):
        journal.pass_until(parse_time(event.arrival) - T0)
        if restarts is not None and restarts.random() < 0.2:
            journal.restart()
        journal.take(event)
    journal.pass_until(ENDS_S + LATENESS_S)
    journal.tick(ENDS_S + LATENESS_S)
    told = [draft for draft in journal.said if draft.type == CORRELATED]
    return sorted(
        (round((parse_time(str(draft.data["until"])) - T0) * 1e6), tuple(one[0] for one in draft.data["used"])) for draft in told
    )


def wanted(journal: Journal, events: list[Event], blind: list[tuple[int, int]]) -> list[Fired]:
    (correlation,) = journal.correlations.values()
    history = [
        Happened(
            round((event.at - T0) * 1e6),
            event.id,
            frozenset(n for n, trigger in enumerate(correlation.triggers) if event.type in trigger.types),
        )
        for event in events
    ]
    return firings(correlation, [one for one in history if one.kinds], blind, round(ENDS_S * 1e6))


@pytest.mark.parametrize("kind", KINDS)
def test_windows_find_what_trying_everything_finds(kind: str) -> None:
    """In any order of arrival, and with a restart at any moment."""
    fired = 0
    for seed in range(SEED, SEED + HISTORIES // len(KINDS)):
        chance = random.Random(f"{kind} {seed}")
        on = written(kind, chance)
        events = happenings(Journal(on), chance)
        expected = wanted(Journal(on), events, [])
        told = found(Journal(on), events)
        assert told == expected, f"seed {seed}: {on}: {[(e.type, e.id, e.arrival) for e in events]}"
        again = found(Journal(on), events, restarts=chance)
        assert again == expected, f"seed {seed}, with restarts: {on}: {[(e.type, e.id, e.arrival) for e in events]}"
        fired += len(expected)
    assert fired > HISTORIES // len(KINDS) // 4


@pytest.mark.parametrize("kind", ["absence", "answer"])
def test_silences_are_those_that_trying_everything_finds_when_nobody_watched_now_and_then(kind: str) -> None:
    """The daemon was down at random times; what arrived just after it was up again had happened meanwhile."""
    for seed in range(SEED, SEED + HISTORIES // len(KINDS)):
        chance = random.Random(f"blind {kind} {seed}")
        on = written(kind, chance)
        kit = Journal(on)
        events = happenings(kit, chance)
        edges = sorted(chance.sample(range(1, 80), 2 * chance.randint(1, 4)))
        times = [(since * 0.5 + 0.25, until * 0.5 + 0.25) for since, until in zip(edges[::2], edges[1::2], strict=True)]
        blind = [(round(since * 1e6), round(until * 1e6)) for since, until in times]
        events = [_after_blindness(event, times) for event in events]
        started = [
            kit.event("daemon.started", until, subject="system", data={"blind_since": format_time(T0 + since)})
            for since, until in times
        ]
        journal = Journal(on)
        awake_only(journal, times)
        told = found(journal, sorted([*started, *events], key=lambda one: one.arrival))
        assert told == wanted(Journal(on), events, blind), (
            f"seed {seed}: {on}: blind {times}: {[(e.id, e.arrival) for e in events]}"
        )


def _after_blindness(event: Event, times: list[tuple[float, float]]) -> Event:
    """What would have arrived while nobody took it arrives when the daemon is up again."""
    arrives = parse_time(event.arrival) - T0
    for since, until in times:
        if since <= arrives <= until:
            arrives = until + 0.001
    return event._replace(arrival=format_time(T0 + arrives))


def awake_only(journal: Journal, times: list[tuple[float, float]]) -> None:
    """No event of the daemon's own while it is down."""
    tick = journal.tick

    def when_awake(at: float) -> list[str]:
        if any(since <= at <= until for since, until in times):
            raise _Down
        return tick(at)

    def pass_until(at: float) -> list[str]:
        said: list[str] = []
        try:
            while (due := journal.correlator.due()) is not None and due <= T0 + at:
                said += when_awake(due - T0)
        except _Down:
            pass
        return said

    journal.pass_until = pass_until  # type: ignore[method-assign]


class _Down(Exception):
    pass


def test_lines_in_any_order_within_the_lateness_open_the_same_runs() -> None:
    """The same journal but for the order of arrival: the same events are told of, under the same ids."""
    for seed in range(SEED, SEED + HISTORIES // 4):
        chance = random.Random(f"order {seed}")
        ons = [written(kind, chance) for kind in KINDS]
        events = happenings(Journal(*ons), chance)
        ids: list[set[str]] = []
        for _ in range(3):
            late = [event._replace(arrival=format_time(event.at + chance.uniform(0.0, LATENESS_S))) for event in events]
            journal = Journal(*ons)
            found(journal, late)
            ids.append({draft.id for draft in journal.said})
        assert ids[0] == ids[1] == ids[2], f"seed {seed}: {ons}"
