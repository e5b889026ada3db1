"""Reading the journal of a state folder from the command line, with or without a daemon."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from aios.events.durations import parse_duration
from aios.events.event import Event, day_of
from aios.journal.query import History, events_folder

_FIELDS = Event._fields
_HOUR = re.compile(r"\d{1,2}:\d{2}\Z")


def reader(folder: str) -> History:
    """Raw days, archived days and what was imported. Raises Refused when there is no journal."""
    return History.of(folder)


def plain(event: Event) -> dict[str, Any]:
    """The event as JSON, without what is empty."""
    values = {name: getattr(event, name) for name in _FIELDS}
    return {name: value for name, value in values.items() if value not in ("", None)}


def event_of(body: Mapping[str, Any]) -> Event:
    """What `plain` made of an event, as the event again: the daemon's stream carries it so."""
    return Event(**{"severity": "info", "data": {}, **{name: body[name] for name in _FIELDS if name in body}})


def parse_moment(text: str, now: float) -> float:
    """`1h` (ago), `now`, `today`, `yesterday`, `2026-02-24`, or a time; without a zone it is the machine's own.

    Raises ValueError.
    """
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        midnight = datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=text == "yesterday")).timestamp()
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone().timestamp() if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:40]!r} is no time; write 1h, today, 2026-02-24 or 2026-02-24T08:15:00") from None


def parse_until(text: str, now: float) -> float:
    """`18:00` (the next), `tomorrow` (its first moment), `2026-02-24`, or a time; without a zone the machine's own.

    Raises ValueError.
    """
    today = datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if text == "tomorrow":
            return (today.replace(tzinfo=None) + timedelta(days=1)).astimezone().timestamp()
        if _HOUR.match(text):
            clock = time.fromisoformat(text.zfill(5))
            at = [(today.replace(tzinfo=None) + timedelta(days=n)).replace(hour=clock.hour, minute=clock.minute) for n in (0, 1)]
            return next((t for moment in at if (t := moment.astimezone().timestamp()) > now), at[-1].astimezone().timestamp())
        moment = datetime.fromisoformat(text)
        return moment.astimezone().timestamp() if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError, OSError):
        cure = "write 18:00, tomorrow, 2026-02-24 or 2026-02-24T08:15:00; for a length of time there is --for 2h"
        raise ValueError(f"{text[:40]!r} is no time; {cure}") from None


def parse_day(text: str, now: float) -> str:
    """A day of the journal, which are UTC's: `2026-02-24`, `today` or `yesterday`. Raises ValueError."""
    words = {"today": day_of(now), "yesterday": day_of(now - 86_400)}
    try:
        return words.get(text) or date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day; write it like 2026-02-24, or today, yesterday (days are UTC)") from None


def state_file(folder: str, name: str) -> str:
    """A folder of the state that only exists beside a journal. Raises Refused where there is none."""
    events_folder(folder)
    return os.path.join(folder, name)
