"""Which playbooks is an event for: the index against asking each of them in turn, from one playbook to a hundred thousand.

`run()` gives medians in microseconds an event, for two mixes: `ops`, what operators write, and `wildcards`, where most patterns
offer nothing but stars. `match` is the index alone; `decode_and_match` begins with an event's JSON bytes;
`journal_line_and_match` checks the line's sum and limits too, as reading the journal does. `linear` is the baseline in the same
run. Bytes a playbook are those of the index alone, and of the index with the compiled patterns. `python -m tests.bench match`
prints them; times are no tests.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from aios.events.codec import decode, decode_json, encode, encode_json
from aios.events.event import Event
from aios.playbooks.index import Index, event_view, type_fits
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import compile_pattern

SIZES = (1, 100, 1_000, 10_000, 100_000)
EVENTS, ROUNDS, BATCH = 2_000, 7, 100
LINEAR_ASKS = 200_000
"""How many patterns the baseline asks at each size; it is the same for each event, so that few events are enough."""

TYPES = (
    "service.down", "service.flapping", "agent.error", "agent.stalled", "resource.disk_full", "resource.cpu_spike",
    "resource.memory_high", "endpoint.down", "model.unavailable", "budget.warning",
)  # fmt: skip
MOMENT = "2026-02-24T08:15:30.123456Z"
ROLES = ("web", "db", "cache", "queue", "auth", "mail", "search", "batch")
PLACES = ("eu", "us", "ap", "af")

Match = dict[str, Any]


def run() -> dict[str, Any]:
    """Both mixes at all sizes."""
    return {name: [_measure(make, size) for size in SIZES] for name, make in (("ops", ops_match), ("wildcards", wildcards_match))}


def _measure(make: Callable[[int, random.Random], Match], size: int) -> dict[str, Any]:
    chance = random.Random(4)
    written = [(types_of(n), make(n, chance)) for n in range(size)]
    events = [sensor_event(n, size, chance) for n in range(EVENTS)]
    loaded, index, figures = _built(written)
    bodies = [encode_json(event_view(event)) for event in events]
    lines = [encode(event) for event in events]
    match = index.match
    figures["match_us"] = _median_us(events, match)
    figures["decode_and_match_us"] = _median_us(bodies, lambda body: match(_plain_decode(body)))
    figures["journal_line_and_match_us"] = _median_us(lines, lambda line: match(decode(line)))
    some = events[: max(2, min(EVENTS, LINEAR_ASKS // size))]
    figures["linear_us"] = _median_us(some, lambda event: [p for p in loaded if _asks(p, event)])
    figures["times_as_fast"] = round(figures["linear_us"] / figures["match_us"])
    figures["matches_per_event"] = round(sum(len(match(event)) for event in events) / EVENTS, 2)
    return {"playbooks": size, **{name: round(value, 2) for name, value in figures.items()}}


def _built(written: list[tuple[tuple[str, ...], Match]]) -> tuple[list[Playbook], Index, dict[str, Any]]:
    """The index, made twice: once to see how long it takes, once to see how much memory."""
    began = time.perf_counter()
    compiled = [compile_pattern(match) for _, match in written]
    compile_ms = (time.perf_counter() - began) * 1000
    loaded = [Playbook(f"p{n:06d}", "", "", "", types, None, match) for n, (types, match) in enumerate(written)]
    gc.collect()
    tracemalloc.start()
    compiled = [compile_pattern(match) for _, match in written]
    patterns = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    loaded = [Playbook(p.name, "", "", "", p.types, pattern, p.match) for p, pattern in zip(loaded, compiled, strict=True)]
    gc.collect()
    tracemalloc.start()
    index = Index(loaded)
    gc.collect()
    indexed = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.perf_counter()
    index = Index(loaded)
    build_ms = (time.perf_counter() - began) * 1000
    size = len(written)
    sizes = {"index_bytes_each": indexed / size, "index_and_pattern_bytes_each": (indexed + patterns) / size}
    return loaded, index, {"compile_ms": compile_ms, "build_ms": build_ms, **sizes}


def _median_us(inputs: list[Any], work: Callable[[Any], Any]) -> float:
    """Over batches that are shorter than a time slice, so that a neighbour's work spoils some of them and not the median."""
    taken = []
    for _ in range(ROUNDS):
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start : start + BATCH]
            began = time.perf_counter()
            for one in batch:
                work(one)
            taken.append((time.perf_counter() - began) / len(batch) * 1e6)
    return statistics.median(taken)


def _plain_decode(body: bytes) -> Event:
    """JSON to an event, and nothing else."""
    of = decode_json(body)
    return Event(
        of["id"], of["source"], of["type"], of["subject"], of["time"], of["data"], of["time"], of["severity"]
    )  # fmt: skip


def _asks(playbook: Playbook, event: Event) -> bool:
    fits = any(type_fits(name, event.type) for name in playbook.types)
    return fits and (playbook.pattern is None or playbook.pattern.matches_event(event))  # type: ignore[attr-defined]


# --- the mixes ------------------------------------------------------------------------------------------------------


def types_of(number: int) -> tuple[str, ...]:
    """One type each, of the few that there are; one in a hundred a family."""
    if number % 100 == 99:
        return ("service.*",)
    return (TYPES[number % 7 % len(TYPES)] if number % 11 else "endpoint.down",)


def ops_match(number: int, chance: random.Random) -> Match:
    """An operator's mix: most name a service, some a family of them, a host, a threshold, a network, or one of several things."""
    service = {"subject": [f"{ROLES[number % 8]}-{number}.service"]}
    kind = chance.randrange(20)
    made: list[Match] = [
        service, service, service, service, service, service,
        {**service, "data": {"failures": [{"numeric": [">=", chance.randrange(1, 6)]}]}},
        {**service, "data": {"failures": [{"numeric": [">", 0, "<=", chance.randrange(2, 9)]}]}},
        {**service, "severity": ["error", "critical"]},
        {**service, "data": {"reason": [{"anything-but": ["stopped", "probe"]}]}},
        {"subject": [{"prefix": f"team-{number}-"}]},
        {"subject": [{"prefix": f"team-{number}-"}], "severity": ["error"]},
        {"subject": [{"suffix": f"-{number}.timer"}]},
        {"subject": [{"wildcard": f"{ROLES[number % 8]}-*-{number}.service"}]},
        {"data": {"host": [f"host-{number}"], "reason": ["exit", "failed"]}},
        {"data": {"host": [f"host-{number}"], "used": [{"numeric": [">", chance.randrange(80, 99)]}]}},
        {"data": {"host": [{"equals-ignore-case": f"HOST-{number}"}], "status": [{"exists": True}]}},
        {"data": {"address": [{"cidr": f"10.{number // 256 % 256}.{number % 256}.0/24"}]}, "severity": ["critical"]},
        {"$or": [service, {"data": {"host": [f"host-{number}"]}, "severity": ["critical"]}]},
        {"data": {"disk": {"path": [f"/srv/{number}"], "used": [{"numeric": [">=", 90]}]}}},
    ]  # fmt: skip
    return made[kind]


def wildcards_match(number: int, chance: random.Random) -> Match:
    """Nine in ten patterns have stars on the same text, in all places; often with a beginning that many share."""
    role, place = ROLES[number % 8], PLACES[number % 4]
    made: list[Match] = [
        {"subject": [{"wildcard": f"*-{number}-*"}]},
        {"subject": [{"wildcard": f"{role}-*-{number}.service"}]},
        {"subject": [{"wildcard": f"*{role}-{number}*"}]},
        {"subject": [{"wildcard": f"{role}-{number}-*"}]},
        {"subject": [{"wildcard": f"{role}-*-{place}-*{number}*"}]},
        {"subject": [{"wildcard": f"*.{number}.{place}.*.service"}]},
        {"subject": [{"wildcard": f"{role}*{number}*service"}], "severity": ["error"]},
        {"subject": [{"wildcard": f"*{place}*-{number}-*"}], "data": {"failures": [{"numeric": [">=", 2]}]}},
        {"subject": [{"wildcard": f"{role}-*"}], "data": {"host": [{"wildcard": f"*-{number}"}]}},
        {"subject": [f"{role}-{number}.service"]},
    ]
    return made[chance.randrange(10)]


def sensor_event(number: int, playbooks: int, chance: random.Random) -> Event:
    """What a sensor says of one of twice as many services as there are playbooks, so that half of them are nobody's."""
    which, role = chance.randrange(playbooks * 2), chance.choice(ROLES)
    subject = (
        f"{ROLES[which % 8]}-{which}.service", f"{role}-{chance.choice(PLACES)}-{which}.service", f"team-{which}-{role}.service",
    )[0 if number % 4 < 2 else number % 4 - 1]  # fmt: skip
    data = {
        "failures": chance.randrange(6), "reason": chance.choice(["exit", "probe"]), "status": "1", "backend": "systemd",
        "host": f"host-{chance.randrange(playbooks * 2)}",
    }  # fmt: skip
    return Event(f"{number:032x}", "sensor/services", chance.choice(TYPES), subject, MOMENT, data, MOMENT, "error")


if __name__ == "__main__":
    SIZES = tuple(int(text) for text in sys.argv[1:]) or SIZES
    print(json.dumps(run(), indent=2))
