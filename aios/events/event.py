"""The event: a CloudEvents 1.0 object as a frozen value, and the draft that a producer hands in.

Producers write a `Draft`; the spine alone makes it an `Event` (it gives id, source, time and arrival). Format: CloudEvents
1.0.2, JSON event format; `severity`, `arrival`, `origin`, `causationid`, `correlationid`, `dataversion` and `crc` are
extension attributes.

Both are named tuples: a frozen dataclass of twelve fields costs five times as much to make, and there may be tens of thousands
a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

SEVERITIES = ("info", "warning", "error", "critical")
SYSTEM = "system"
HOST = "host"

Data = Mapping[str, Any]


class Position(NamedTuple):
    """Where a line of the journal begins. Order is (day, part, offset) and nothing else."""

    day: str
    part: int
    offset: int

    def __str__(self) -> str:
        return f"{self.day}.{self.part}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read what `str()` wrote. Raises ValueError."""
        name, _, offset = text.rpartition(":")
        day, _, part = name.rpartition(".")
        return cls(day, int(part), int(offset))


START = Position("", 0, 0)


class Event(NamedTuple):
    """Something that happened. `time` is when it happened, `arrival` when it was taken (both RFC 3339, UTC, with a Z)."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: Data
    arrival: str
    severity: str = "info"
    origin: str = ""
    causationid: str = ""
    correlationid: str = ""
    dataversion: int = 1

    @property
    def at(self) -> float:
        """`time` in seconds since the epoch."""
        return parse_time(self.time)

    @property
    def taken(self) -> float:
        """`arrival` in seconds since the epoch."""
        return parse_time(self.arrival)


class Draft(NamedTuple):
    """An event that is not in the journal yet. Left empty, the spine fills in: id (fresh), source, time (now)."""

    type: str
    subject: str
    data: Data = MappingProxyType({})
    severity: str = ""
    causationid: str = ""
    correlationid: str = ""
    id: str = ""
    source: str = ""
    time: str = ""
    origin: str = ""


class Stored(NamedTuple):
    """An event and where it stands in the journal."""

    event: Event
    position: Position


def event_fields(event: Event) -> dict[str, Any]:
    """An event as expressions and patterns see it."""
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "severity": event.severity,
        "data": dict(event.data),
    }


def format_time(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with microseconds: `2026-02-24T08:15:30.123456Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=512)  # the fold asks many times about the same few arrivals
def parse_time(text: str) -> float:
    """RFC 3339 to seconds since the epoch. A time without a zone is refused. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; end it with Z or an offset such as +01:00")
    return moment.timestamp()


def day_of(seconds: float) -> str:
    """The UTC day, `2026-02-24`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
