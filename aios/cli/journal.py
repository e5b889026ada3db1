"""Reading the journal of a state folder from the command line, with or without a daemon."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from aios.control.filters import EventFilter
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.durations import parse_duration
from aios.events.event import Event, Position, Stored, day_of, parse_time
from aios.journal.parts import list_parts
from aios.journal.reader import FolderReader

_FIELDS = Event._fields


def reader(folder: str) -> FolderReader:
    """Raises Refused when there is no journal."""
    events = os.path.join(folder, "events")
    if not os.path.isdir(events):
        raise Refused(f"there is no journal in {folder}", "name the state folder with --data; a first `aios run` makes one")
    return FolderReader(OsFiles(), events)


def plain(event: Event) -> dict[str, Any]:
    """The event as JSON, without what is empty."""
    values = {name: getattr(event, name) for name in _FIELDS}
    return {name: value for name, value in values.items() if value not in ("", None)}


def parse_since(text: str, now: float) -> float:
    """`1h`, `today`, `2026-02-24`, or a time; without a zone it is the machine's own. Raises ValueError."""
    if text == "today":
        return datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time; write 1h, today, 2026-02-24 or 2026-02-24T08:15:00") from None
    return moment.astimezone().timestamp() if moment.tzinfo is None else moment.timestamp()


def select(events: Iterable[Stored], wanted: EventFilter, since: float = 0.0) -> Iterator[Stored]:
    for stored in events:
        event = stored.event
        if wanted.passes(event.type, event.subject, event.severity) and (not since or taken_since(event, since)):
            yield stored


def taken_since(event: Event, since: float) -> bool:
    return parse_time(event.arrival) >= since


def newest(folder: str, wanted: EventFilter, limit: int) -> list[Stored]:
    """The last so many that pass, in order: day by day backwards, so that a long journal is not read from its beginning."""
    journal = reader(folder)
    found: deque[Stored] = deque()
    for day in reversed(days(folder)):
        of_day: deque[Stored] = deque(select(_of_day(journal, day), wanted), maxlen=limit - len(found))
        found.extendleft(reversed(of_day))
        if len(found) >= limit:
            break
    return list(found)


def days(folder: str) -> list[str]:
    parts = list_parts(OsFiles(), os.path.join(folder, "events"))
    return sorted({part.day for part in parts})


def _of_day(journal: FolderReader, day: str) -> Iterator[Stored]:
    for stored in journal.since(day):
        if stored.position.day != day:
            return
        yield stored


def read_since(folder: str, since: float) -> Iterator[Stored]:
    """All from the day of `since` on (0: from the beginning). A day earlier is looked at too: a clock may have gone back."""
    journal = reader(folder)
    return journal.since(day_of(since - 86400)) if since > 86400 else journal.read()


def last_position(folder: str) -> Position | None:
    """Where the newest readable event stands."""
    found = newest(folder, EventFilter(), 1)
    return found[-1].position if found else None
