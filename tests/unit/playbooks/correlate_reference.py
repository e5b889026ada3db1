"""The slow and simple way to say what windows must find: all events are kept, and everything is tried. For differential tests.

It knows nothing of buffers, heaps, watermarks or checkpoints: it is told all events at once, sorts them by when they happened,
and for each tries every way to put distinct events together with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, permutations
from typing import NamedTuple

from aios.playbooks.model import Correlation


class Happened(NamedTuple):
    """`at` in microseconds; `kinds` are the numbers of the triggers that it matches."""

    at: int
    id: str
    kinds: frozenset[int]


Fired = tuple[int, tuple[str, ...]]
"""When, and the events that were used."""


def firings(correlation: Correlation, history: Sequence[Happened], blind: Sequence[tuple[int, int]], ends: int) -> list[Fired]:
    """Of one key that was known from 0 on. What was not over by `ends` is not told."""
    events = sorted(history, key=lambda one: one.at)
    if correlation.kind == "absence":
        return list(_silences(correlation, events, blind, ends))
    absent = {n for n, trigger in enumerate(correlation.triggers) if trigger.absent}
    found: list[Fired] = []
    used: set[str] = set()
    for number, event in enumerate(events):
        unused = [one for one in events[: number + 1] if one.id not in used]
        best = _best(correlation, unused, event) if event.id not in used else None
        if best is None:
            continue
        used |= {one.id for one in best}
        names = tuple(one.id for one in best)
        if not absent:
            found.append((event.at, names))
            continue
        over = _wall(_awake(best[0].at, blind) + _us(correlation.within_s), blind)
        answered = any(one.kinds & absent and event.at <= one.at < over for one in events if one.id != event.id)
        if not answered and over <= ends:
            found.append((over, names))
    return sorted(found)


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


# --- silence ----------------------------------------------------------------------------------------------------------


def _silences(
    correlation: Correlation, events: Sequence[Happened], blind: Sequence[tuple[int, int]], ends: int
) -> Iterator[Fired]:
    signs = [0, *(one.at for one in events), 1 << 60]
    for heard, again in pairwise(signs):
        over = _wall(_awake(heard, blind) + _us(correlation.within_s), blind)
        if again >= over and over <= ends:
            yield over, ()


def _awake(at: int, blind: Sequence[tuple[int, int]]) -> int:
    """Microseconds until then in which somebody watched."""
    return at - sum(max(0, min(at, until) - since) for since, until in blind)


def _wall(awake: int, blind: Sequence[tuple[int, int]]) -> int:
    at = awake
    for since, until in sorted(blind):
        if at > since:
            at += until - since
    return at


# --- what goes together -----------------------------------------------------------------------------------------------


def _best(correlation: Correlation, unused: Sequence[Happened], event: Happened) -> list[Happened] | None:
    """Of all ways the one that the playbook prefers, in the order in which it happened."""
    ways = list(_ways(correlation, unused, event))
    if not ways:
        return None
    if correlation.join == "last":
        return max(ways, key=lambda way: [one.at for one in reversed(way)])
    return min(ways, key=lambda way: [one.at for one in way])


def _ways(correlation: Correlation, unused: Sequence[Happened], event: Happened) -> Iterator[list[Happened]]:
    if correlation.kind == "any":
        yield from _first_of(correlation, unused, event)
        return
    slots = [n for n, trigger in enumerate(correlation.triggers) for _ in range(trigger.count) if not trigger.absent]
    near = [one for one in unused if event.at - one.at < _us(correlation.within_s) and one.kinds & set(slots)]
    for chosen in combinations(near, len(slots)):
        if event not in chosen:
            continue
        if correlation.kind == "sequence":
            if all(slot in one.kinds for slot, one in zip(slots, chosen, strict=True)):
                yield list(chosen)
        elif _can_be_assigned(slots, chosen):
            yield list(chosen)


def _can_be_assigned(slots: Sequence[int], chosen: Sequence[Happened]) -> bool:
    return any(all(slot in one.kinds for slot, one in zip(order, chosen, strict=True)) for order in set(permutations(slots)))


def _first_of(correlation: Correlation, unused: Sequence[Happened], event: Happened) -> Iterator[list[Happened]]:
    for n, trigger in enumerate(correlation.triggers):
        within = _us(trigger.within_s or correlation.within_s)
        near = [one for one in unused if n in one.kinds and (one == event or event.at - one.at < within)]
        ways = [list(way) for way in combinations(near, trigger.count) if event in way and n in event.kinds]
        if ways:
            yield from ways
            return


__all__ = ["Fired", "Happened", "firings"]
