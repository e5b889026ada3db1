"""Which events of a window go together: pure functions over what was seen of one key, in the order in which it happened.

`correlate.py` asks `find` whenever an event came in. There is one rule for time: two events are *within* D of each other when
less than D lies between them; exactly D is outside, as for a guard's `limit`. And one rule for use: each event is used at most
once. Where several would do, `join` says which are taken: the last (newest), or the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aios.playbooks.model import Correlation, Trigger

SECOND = 1_000_000
"""Times are whole microseconds here, as the journal writes them: what is exact at its edges cannot be a float."""


class Seen(NamedTuple):
    """What is kept of an event. It sorts by when it happened, then by where it stands in the journal.

    `mask` has a bit for each trigger that it matches. `data` is its data as JSON; empty where that was too long to be kept.
    """

    at: int
    seq: int
    mask: int
    id: str
    type: str
    subject: str
    severity: str
    time: str
    position: str
    cause: str
    data: bytes


Used = tuple[int, Seen]
"""A trigger's number, and an event that stands for it."""


def us(seconds: float) -> int:
    return round(seconds * SECOND)


def reach(correlation: Correlation) -> int:
    """For how long an event may still be of use, in microseconds."""
    return max(1, us(max((correlation.within_s, *(trigger.within_s for trigger in correlation.triggers)))))


def find(correlation: Correlation, seen: Sequence[Seen], anchor: int) -> list[Used] | None:
    """What goes together and ends with `seen[anchor]`, in order; None where something is missing. `seen` is sorted."""
    if correlation.kind == "any":
        return _any_of(correlation, seen, anchor)
    window = _window(seen, anchor, us(correlation.within_s))
    wanted = [(number, trigger) for number, trigger in enumerate(correlation.triggers) if not trigger.absent]
    if not all(_enough(window, number, trigger.count) for number, trigger in wanted):
        return None
    if correlation.kind == "sequence":
        slots = [number for number, trigger in wanted for _ in range(trigger.count)]
        chain = _latest_chain(slots, window) if correlation.join == "last" else _earliest_chain(slots, window)
        return None if chain is None else list(zip(slots, chain, strict=True))
    return assigned(wanted, reversed(window) if correlation.join == "last" else window)


def _window(seen: Sequence[Seen], anchor: int, within: int) -> list[Seen]:
    """Up to the anchor, all that is within this time of it."""
    edge = seen[anchor].at - within
    return [one for one in seen[: anchor + 1] if one.at > edge]


def _enough(window: Sequence[Seen], number: int, count: int) -> bool:
    return sum(one.mask >> number & 1 for one in window) >= count


def _any_of(correlation: Correlation, seen: Sequence[Seen], anchor: int) -> list[Used] | None:
    """The first trigger, as they are written, that has all it counts."""
    for number, trigger in enumerate(correlation.triggers):
        if not seen[anchor].mask >> number & 1:
            continue
        window = _window(seen, anchor, us(trigger.within_s or correlation.within_s)) if trigger.count > 1 else [seen[anchor]]
        fitting = [one for one in window if one.mask >> number & 1]
        if len(fitting) >= trigger.count:
            chosen = fitting[-trigger.count :] if correlation.join == "last" else fitting[: trigger.count]
            return [(number, one) for one in chosen]
    return None


def assigned(wanted: Sequence[tuple[int, Trigger]], preferred: Iterable[Seen]) -> list[Used] | None:
    """Distinct events for all triggers, each as preferred as can be; None where there are not enough.

    An event that fits several triggers moves over where another needs its place: augmenting paths (Kuhn, 1955). Taken in the
    order of preference they give the best set that there is: what can be matched is a matroid (Edmonds, Fulkerson, 1965).
    """
    room = {number: trigger.count for number, trigger in wanted}
    held: dict[int, list[Seen]] = {number: [] for number in room}
    missing = sum(room.values())
    for one in preferred:
        if missing and _place(one, held, room, set()):
            missing -= 1
    if missing:
        return None
    return sorted(((number, one) for number, some in held.items() for one in some), key=lambda used: used[1])


def _place(one: Seen, held: dict[int, list[Seen]], room: dict[int, int], tried: set[int]) -> bool:
    fitting = [number for number in held if one.mask >> number & 1 and number not in tried]
    for number in fitting:
        if len(held[number]) < room[number]:
            held[number].append(one)
            return True
    for number in fitting:
        tried.add(number)
        for place, other in enumerate(held[number]):
            if _place(other, held, room, tried):
                held[number][place] = one
                return True
    return False


def _latest_chain(slots: Sequence[int], window: Sequence[Seen]) -> list[Seen] | None:
    """From the end backwards, each as late as it can be: no other chain that ends here begins later."""
    if not window[-1].mask >> slots[-1] & 1:
        return None
    chain: list[Seen] = []
    for one in reversed(window):
        if one.mask >> slots[-1 - len(chain)] & 1:
            chain.append(one)
            if len(chain) == len(slots):
                return chain[::-1]
    return None


def _earliest_chain(slots: Sequence[int], window: Sequence[Seen]) -> list[Seen] | None:
    """From the beginning, each as early as it can be; the event that has just come is its end."""
    *before, last = slots
    if not window[-1].mask >> last & 1:
        return None
    chain: list[Seen] = []
    for one in window[:-1]:
        if len(chain) < len(before) and one.mask >> before[len(chain)] & 1:
            chain.append(one)
    return [*chain, window[-1]] if len(chain) == len(before) else None
