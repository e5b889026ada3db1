"""The class of an event (P0 to P3) and its rank within the class: pure functions of the event.

The queue, the slots' callers and `explain` ask here. What a producer writes into `data` or `severity` never sets the class:
that is said by the type alone, and P0 is an own type that no inbox may use. Severity orders within a class.
"""

from __future__ import annotations

from collections.abc import Mapping

from aios.events.catalogue import CATALOGUE, CORRELATED
from aios.events.event import SEVERITIES, SYSTEM, Event

P0, P1, P2, P3 = range(4)
CLASSES = (P0, P1, P2, P3)
RANKS = len(CLASSES) * len(SEVERITIES)
P0_BELOW = 0.3
"""The whole counts as degraded in earnest below this score."""

_ERRORS_OF = ("agent.", "service.", "endpoint.", "model.")
_GRAVE = ("error", "critical")
_ASK_DATA = -1
_LEAST = len(SEVERITIES) - 1
_SEVERITY_RANK: Mapping[str, int] = {name: _LEAST - index for index, name in enumerate(SEVERITIES)}


def _class_of_type(name: str) -> int:
    if name.startswith("resource."):
        return P3 if name.endswith("_normal") else P1
    known = CATALOGUE.get(name)
    grave = known is not None and known.severity in _GRAVE
    return P2 if grave and name.startswith(_ERRORS_OF) else P3


# Of the catalogue's types, so that the hot path is one look-up; a type that the catalogue gains finds its class by itself.
_CLASS: Mapping[str, int] = {name: _class_of_type(name) for name in CATALOGUE} | {
    "score.degraded": _ASK_DATA,
    CORRELATED: _ASK_DATA,
}


def priority(event: Event) -> int:
    """0 (first) to 3."""
    found = _CLASS.get(event.type)
    if found is None:
        return _class_of_type(event.type)
    return found if found != _ASK_DATA else _class_by_data(event)


def rank(event: Event) -> int:
    """Class and severity in one number, 0 (first) to 15: `priority * 4`, and critical before error before warning before info."""
    found = _CLASS.get(event.type)
    if found is None or found == _ASK_DATA:
        found = priority(event)
    return found * 4 + _SEVERITY_RANK.get(event.severity, _LEAST)


def _class_by_data(event: Event) -> int:
    """Of our own types that say more than their name; no inbox may use them."""
    if event.type != CORRELATED:
        return _class_of_degraded(event)
    events = event.data.get("events")
    parts = events.values() if isinstance(events, Mapping) else ()
    types = [str(one.get("type")) for one in parts if isinstance(one, Mapping)]
    return min(map(_class_of_type, types), default=P2)  # a silence is an error of what has gone silent


def _class_of_degraded(event: Event) -> int:
    score = event.data.get("score")
    if event.subject != SYSTEM or isinstance(score, bool) or not isinstance(score, (int, float)):
        return P3
    return P0 if score < P0_BELOW else P3
