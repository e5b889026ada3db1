"""Which events a follower wants, as a request carries it; the filter itself stands in `events/filters`."""

from __future__ import annotations

from aios.events.filters import TYPES_MAX, EventFilter

__all__ = ["TYPES_MAX", "EventFilter"]
