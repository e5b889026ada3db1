"""How fast the two brains are that stand on the hot path: the queue, the slots, and the fold of the scores.

`run()` gives medians of several rounds, in microseconds and operations a second; run this file to see them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from aios.events.event import Event, Position, format_time
from aios.scheduler.queue import AGEING_S, EventQueue
from aios.scheduler.slots import Slots
from aios.scores.scores import Scores

ROUNDS = 5
EVENTS = 50_000
RUNS = 10_000
SUBJECTS = 1_000

_STAMP = format_time(1_771_934_400.0)


def _event(type: str, subject: str = "nginx.service", severity: str = "info", **data: Any) -> Event:
    return Event("id", "bench", type, subject, _STAMP, data, _STAMP, severity)


def _measure(prepare: Callable[[], Any], work: Callable[[Any], None], operations: int) -> dict[str, float]:
    took = []
    for _ in range(ROUNDS):
        subject = prepare()
        begin = time.perf_counter()
        work(subject)
        took.append(time.perf_counter() - begin)
    each = statistics.median(took) / operations
    return {"median_us": round(each * 1e6, 3), "per_s": round(1 / each)}


_POSITIONS = [Position("2026-02-24", 1, number * 300) for number in range(EVENTS)]
_MIXED = [
    _event("service.down", severity="error"),
    _event("my.own.type"),
    _event("resource.cpu_spike", severity="warning"),
    _event("agent.error", severity="error"),
]


def _push(queue: EventQueue) -> None:
    for number, position in enumerate(_POSITIONS):
        queue.push(_MIXED[number & 3], position, 1.0)


def _pop(queue: EventQueue, now: float = 2.0) -> None:
    while queue.pop(now) is not None:
        pass


def _full() -> EventQueue:
    queue = EventQueue(capacity=EVENTS)
    _push(queue)
    return queue


def _grant_and_release(slots: Slots) -> None:
    """Five at once, each on a subject of its own, as fast as they end."""
    working: list[str] = []
    for number in range(RUNS):
        slots.request(f"r{number}", 2, frozenset((f"s{number}.service", f"file:/etc/s{number}/conf")), 1.0)
        working += slots.grant(2.0)
        if len(working) >= 4:
            slots.release(working.pop(0))


def _grant_under_load(slots: Slots) -> None:
    working = slots.grant(2.0)
    for _ in range(RUNS):
        slots.release(working.pop(0))
        working += slots.grant(2.0)


def _grant_among_blocked(slots: Slots) -> None:
    """One more asks for what is held, a thousand wait for it already, and others come and go."""
    working = slots.grant(2.0)
    for number in range(RUNS):
        slots.request(f"late{number}", 3, frozenset(("host",)), 2.0)
        slots.release(working.pop(0))
        working += slots.grant(2.0)


def _crowd(same: bool) -> Slots:
    """More runs than there are places: on subjects of their own, or a thousand more that all want what is held."""
    slots = Slots()
    slots.request("holder", 1, frozenset(("host",)), 0.0)
    slots.grant(0.0)
    for number in range(1_000 if same else 0):
        slots.request(f"blocked{number}", 1, frozenset(("host",)), 0.5)
    for number in range(RUNS + 10):
        slots.request(f"r{number}", 2, frozenset((f"s{number}",)), 1.0)
    return slots


def _apply(event: Event) -> Callable[[Scores], None]:
    def work(scores: Scores) -> None:
        apply = scores.apply
        for _ in range(EVENTS):
            apply(event)

    return work


def _many_subjects() -> Scores:
    scores = Scores()
    for number in range(SUBJECTS):
        for minute in range(15):
            stamp = format_time(1_771_934_400.0 + 60 * minute)
            data = {"ok": 60, "failed": 0, "p95_ms": 12.0}
            scores.apply(Event("i", "b", "probe.sampled", f"s{number}", stamp, data, stamp))
    scores.evaluate(1_771_935_300.0)
    return scores


def run() -> dict[str, Any]:
    """One JSON object: name -> {median_us, per_s}."""
    probe = _event("probe.sampled", ok=60, failed=0, p95_ms=12.0)
    return {
        "queue_push": _measure(lambda: EventQueue(capacity=EVENTS), _push, EVENTS),
        "queue_push_spilling": _measure(lambda: EventQueue(capacity=100), _push, EVENTS),
        "queue_pop": _measure(_full, _pop, EVENTS),
        "queue_pop_aged": _measure(_full, lambda queue: _pop(queue, 3 * AGEING_S), EVENTS),
        "slots_request_grant_release": _measure(Slots, _grant_and_release, RUNS),
        "slots_grant_release_10000_waiting": _measure(lambda: _crowd(same=False), _grant_under_load, RUNS),
        "slots_grant_release_1000_blocked": _measure(lambda: _crowd(same=True), _grant_under_load, RUNS),
        "slots_grant_release_more_and_more_blocked": _measure(lambda: _crowd(same=True), _grant_among_blocked, RUNS),
        "scores_apply_other": _measure(Scores, _apply(_event("my.own.type")), EVENTS),
        "scores_apply_probe": _measure(Scores, _apply(probe), EVENTS),
        "scores_evaluate_a_minute_of_1000_subjects": _measure(
            _many_subjects, lambda scores: scores.evaluate(1_771_935_360.0) and None, SUBJECTS
        ),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
