"""Which events say that a subject fell ill, and which that it is well again. The score and the report agree on it here.

A *level* (a service is down) stands until its closing event, and said again while it stands it is no second fall. A *mishap* (an
agent's error) has no end that anybody could see: each one counts. Damage in our own memory stands open, and is no illness of what
is watched.
"""

from __future__ import annotations

from collections.abc import Iterable

from aios.events.catalogue import CLOSES

MISHAPS = frozenset({"agent.error", "agent.stalled", "model.unavailable"})
LEVELS = frozenset(
    opened for types in CLOSES.values() for opened in types if not opened.startswith(("score.", "agent.", "journal."))
)

_RESOURCE = "resource."
_NORMAL = "_normal"
_CLOSING = frozenset(closing for closing in CLOSES if not closing.startswith(("score.", "journal.")))


def is_level(event_type: str) -> bool:
    return event_type in LEVELS or (event_type.startswith(_RESOURCE) and not event_type.endswith(_NORMAL))


def is_opening(event_type: str) -> bool:
    """Whether this event says that its subject fell ill: an alarm."""
    return event_type in MISHAPS or is_level(event_type)


def is_closing(event_type: str) -> bool:
    """Whether this event may end an illness."""
    return event_type in _CLOSING or (event_type.startswith(_RESOURCE) and event_type.endswith(_NORMAL))


def closed_by(event_type: str, standing: Iterable[str]) -> list[str]:
    """Which of these standing types this event ends; `resource.X_normal` ends every `resource.X_…`, the catalogue's or not."""
    closes = CLOSES.get(event_type, ())
    stem = event_type.removesuffix(_NORMAL) + "_" if event_type.startswith(_RESOURCE) and event_type.endswith(_NORMAL) else None
    return [one for one in standing if one in closes or (stem is not None and one.startswith(stem))]
