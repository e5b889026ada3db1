"""Which of 1,000 playbooks is an event for: the index against asking each of them in turn.

`run()` gives medians in microseconds an event; `python tests/bench/bench_match.py` prints them. No assertion: times are no tests.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Any

from aios.events.event import Event
from aios.playbooks.index import Index, type_fits
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import compile_pattern

TYPES = (
    "service.down", "service.flapping", "agent.error", "agent.stalled", "resource.disk_full", "resource.cpu_spike",
    "resource.memory_high", "endpoint.down", "model.unavailable", "budget.warning",
)  # fmt: skip


def run(playbooks: int = 1000, events: int = 2000, rounds: int = 7) -> dict[str, Any]:
    """Medians over `rounds`, of the same events for both."""
    chance = random.Random(4)
    loaded = [_playbook(n, chance) for n in range(playbooks)]
    mix = [_event(n, playbooks, chance) for n in range(events)]
    began = time.perf_counter()
    index = Index(loaded)
    index.match(mix[0])
    built_ms = (time.perf_counter() - began) * 1000
    linear = mix[: max(1, events // 40)]
    fast = _median_us(rounds, mix, index.match)
    slow = _median_us(rounds, linear, lambda event: [p for p in loaded if _asks(p, event)])
    hits = sum(len(index.match(event)) for event in mix)
    return {
        "playbooks": playbooks,
        "index_us": round(fast, 3),
        "linear_us": round(slow, 3),
        "times_as_fast": round(slow / fast),
        "first_match_ms": round(built_ms, 2),
        "matches_per_event": round(hits / events, 2),
    }


def _median_us(rounds: int, events: list[Event], match: Any) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        for event in events:
            match(event)
        taken.append((time.perf_counter() - began) / len(events) * 1e6)
    return statistics.median(taken)


def _asks(playbook: Playbook, event: Event) -> bool:
    fits = any(type_fits(name, event.type) for name in playbook.types)
    return fits and (playbook.pattern is None or playbook.pattern.matches_event(event))  # type: ignore[attr-defined]


def _playbook(number: int, chance: random.Random) -> Playbook:
    """An operator's mix: most name one service, some a family by prefix, some a threshold, a few the type alone."""
    match: dict[str, Any] = {"subject": [f"svc-{number}.service"]}
    kind = number % 20
    if kind >= 16:
        match["data"] = {"failures": [{"numeric": [">=", chance.randrange(1, 6)]}]}
    if kind in (12, 13):
        match["data"] = {"reason": [chance.choice(["exit", "probe", "failed"])]}
    if kind in (14, 15):
        match = {"subject": [{"prefix": f"team-{number}-"}]}
    types = ("service.*",) if number % 100 == 99 else (TYPES[number % len(TYPES)],)
    return Playbook(f"p{number:05d}", "", "", "", types, compile_pattern(match), match)


def _event(number: int, playbooks: int, chance: random.Random) -> Event:
    subject = f"svc-{chance.randrange(playbooks * 2)}.service"
    if number % 10 == 0:
        subject = f"team-{chance.randrange(playbooks)}-web.service"
    data = {"failures": chance.randrange(6), "reason": chance.choice(["exit", "probe"]), "status": "1", "backend": "systemd"}
    moment = "2026-02-24T08:15:30.123456Z"
    return Event(f"{number:032x}", "sensor/services", chance.choice(TYPES), subject, moment, data, moment, "error")


if __name__ == "__main__":
    print(json.dumps([run(n) for n in (100, 1000, 10_000)], indent=2))
