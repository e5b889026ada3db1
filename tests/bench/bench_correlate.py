"""What it costs an event that some playbooks wait for several events: the fold of the windows, beside matching in the same run.

`run()` gives medians in microseconds an event, for the operators' mix of `bench_match`: `match_us` is the index of a thousand
playbooks for one event each; `take_us` what the fold adds with so many playbooks that count three in ten minutes. `hit_us` is an
event that goes into a window (every third completes one), by kind of correlation. `python -m tests.bench correlate` prints
them; times are no tests.
"""

from __future__ import annotations

import random
from typing import Any

from aios.events.event import START, Event, format_time
from aios.playbooks.correlate import Correlator
from aios.playbooks.index import Index
from aios.playbooks.model import Correlation, CorrelationKind, Playbook, Trigger
from aios.playbooks.pattern import compile_pattern
from tests.bench.bench_match import _median_us, ops_match, sensor_event, types_of

PLAYBOOKS, EVENTS, HITS = 1_000, 2_000, 1_000
NOON = 1_771_934_400.0
BY = (("subject",),)


def run() -> dict[str, Any]:
    chance = random.Random(4)
    events = [sensor_event(n, PLAYBOOKS, chance) for n in range(EVENTS)]
    events = [
        event._replace(arrival=format_time(NOON + n // 50), time=format_time(NOON + n // 50)) for n, event in enumerate(events)
    ]
    written = [(types_of(n), ops_match(n, chance)) for n in range(PLAYBOOKS)]
    plain = [Playbook(f"p{n}", "", "", "", types, compile_pattern(match), match) for n, (types, match) in enumerate(written)]
    figures: dict[str, Any] = {"match_us": round(_median_us(events, Index(plain).match), 2)}
    for count in (0, 1, 100, PLAYBOOKS):
        triggers = [Trigger("e1", types, compile_pattern(match), match, BY, 3) for types, match in written[:count]]
        folded = _begun({f"p{n}": Correlation("count", (one,), 600.0, hash=str(n)) for n, one in enumerate(triggers)})
        figures[f"take_us_{count}"] = round(_median_us(events, lambda event, c=folded: c.take(event, START)), 2)
    kinds: tuple[CorrelationKind, ...] = ("count", "all", "sequence", "absence")
    figures["hit_us"] = {kind: round(_hits(kind), 2) for kind in kinds}
    return figures


def _begun(correlations: dict[str, Correlation]) -> Correlator:
    correlator = Correlator()
    correlator.begin(correlations, NOON, START)
    return correlator


def _hits(kind: CorrelationKind) -> float:
    """Of a hundred subjects; every third event completes something, or none does."""
    triggers = tuple(Trigger(f"e{n}", (name,), None, {}, BY) for n, name in enumerate(("a.b", "a.c", "a.d")))
    if kind == "count":
        triggers = (Trigger("e1", ("a.b", "a.c", "a.d"), None, {}, BY, 3),)
    correlator = _begun({"p": Correlation(kind, triggers, 600.0, hash="h")})

    def take(event: Event) -> None:
        correlator.take(event, START)
        correlator.pending.clear()  # as if the journal held it

    return _median_us([_hit(n) for n in range(HITS)], take)


def _hit(number: int) -> Event:
    at = format_time(NOON + number * 0.05)
    return Event(f"e{number}", "bench", f"a.{'bcd'[number // 100 % 3]}", f"s{number % 100}", at, {"n": number}, at)
