"""Questions to the journal: by type, subject, severity, text, data, time; raw and archived days alike, in constant memory.

`aios.journal.read` is for anyone's Python; `aios events`, reports and backtests use the `Query` below it. Three sieves, each
cheaper than the next: the index names the blocks (`segments`), a search of their bytes the lines (`sift`), and only what both
let through is decoded, checked and compared exactly. So an answer never holds what was not asked for, and a line that cannot
be read is stepped over here: `aios journal verify` tells of it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from math import inf
from typing import Any

from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.codec import BadLine, decode, decode_sure, encode_json
from aios.events.event import Event, Position, Stored, parse_time
from aios.events.filters import ANY, EventFilter, is_wildcard
from aios.journal.archive import IMPORTED_FROM
from aios.journal.segments import Effort, Segment, Wanted, segments
from aios.journal.sift import Sift, needles_of, text_as_bytes
from aios.playbooks.condition import compile_condition, field_types
from aios.playbooks.model import Condition
from aios.ports import Files

Moment = float | str | datetime
"""Seconds since the epoch, RFC 3339 with its zone, or a datetime with its zone."""

Watch = Callable[[Effort], None]
"""Called after each chunk that was looked at."""


EVERY_EVENT = EventFilter()


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; empty fields let everything pass.

    `text` stands somewhere in the event's type, subject, source, id or data (ASCII letters in any case). `where` is a
    condition over `event`; where it cannot say (a field is missing), the event is left out. `since` <= arrival < `until`. `on` is
    a day of the journal (UTC, as in reports). `after` is a position that was read already. `imported` false leaves out what came
    by an import: it is older than anything that a follower or a cursor waits for; `own` false leaves out what did not.
    `origin` is what its origin begins with.
    """

    filter: EventFilter = EVERY_EVENT
    text: str = ""
    where: Condition | None = None
    since: float = 0.0
    until: float = inf
    on: str = ""
    after: Position | None = None
    imported: bool = True
    own: bool = True
    origin: str = ""


EVERYTHING = Query()


@dataclass(slots=True)
class Asked:
    """What became of a question: its effort, how often `where` could not say, with the first reason, and how many whole lines
    were spoiled. (Half a line that a crash left is none: it was never acknowledged.)
    """

    effort: Effort = field(default_factory=Effort)
    unsaid: int = 0
    why_unsaid: str = ""
    spoiled: int = 0


def make_query(
    *,
    types: Iterable[str] = (),
    subject: str = "",
    severity: str = "",
    text: str = "",
    where: str = "",
    since: Moment | None = None,
    until: Moment | None = None,
    on: str = "",
    after: Position | None = None,
) -> Query:
    """Raises Refused for what cannot be asked, BadExpression (a ValueError) for a `where` that is no CEL, ValueError for times.

    The fields of data are typed by the catalogue where the question names exact types that it knows.
    """
    if isinstance(types, str):
        types = (types,)
    wanted = EventFilter.from_args({"types": list(types), "subject": subject, "severity": severity})
    exact = tuple(one for one in wanted.types if not is_wildcard(one))
    condition = compile_condition(where, field_types(exact) if exact == wanted.types else ()) if where else None
    begin = _seconds(since) if since is not None else 0.0
    return Query(wanted, text, condition, begin, _seconds(until) if until is not None else inf, on, after)


def _seconds(moment: Moment) -> float:
    if isinstance(moment, str):
        return parse_time(moment)
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError("a datetime without a zone may mean any moment; give it one")
        return moment.timestamp()
    return float(moment)


def read(
    state_dir: str | os.PathLike[str],
    *,
    types: Iterable[str] = (),
    subject: str = "",
    severity: str = "",
    text: str = "",
    where: str = "",
    since: Moment | None = None,
    until: Moment | None = None,
    on: str = "",
    after: Position | None = None,
    reverse: bool = False,
    limit: int | None = None,
) -> Iterator[Stored]:
    """The events of a state folder that match, in order (`reverse`: the newest first); with or without a daemon.

        for event, position in aios.journal.read("/var/lib/aios", types=["service.*"], since="2026-02-20T00:00:00Z"):
            print(event.time, event.subject, event.data)

    `types` are exact or end in `.*`; `severity` is the least; `where` is CEL over `event`, such as `event.data.failures >= 3`;
    `since` <= arrival < `until`; `on` a day such as `2026-02-20` (UTC). `after` is a position that you have already: keep the
    last one, and go on there later. Reads raw and archived days and what was imported, in constant memory.

    Raises at once: Refused (no journal, or a question that cannot be asked), ValueError (times; BadExpression for `where`);
    OSError while reading.
    """
    query = make_query(
        types=types, subject=subject, severity=severity, text=text, where=where, since=since, until=until, on=on, after=after
    )
    found = History.of(state_dir).read(query, back=reverse)
    return found if limit is None else islice(found, limit)


def events_folder(state: str) -> str:
    """The folder of the journal. Raises Refused when there is none, PermissionError when it is not for us to see."""
    events = os.path.join(state, "events")
    try:
        os.listdir(events)
    except (FileNotFoundError, NotADirectoryError):
        hint = "name the state folder with --data; a first `aios run` makes one"
        raise Refused(f"there is no journal in {state}", hint) from None
    return events


class History:
    """All that is at hand of a journal. `folder` is `events/`. It sees files as they are when a question is asked."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    @classmethod
    def of(cls, state_dir: str | os.PathLike[str]) -> History:
        """Raises Refused when there is no journal, PermissionError when it is not for us to see."""
        return cls(OsFiles(), events_folder(os.path.abspath(os.fspath(state_dir))))

    def read(
        self, query: Query = EVERYTHING, *, back: bool = False, asked: Asked | None = None, watch: Watch | None = None
    ) -> Iterator[Stored]:
        """What matches, in the journal's order (`back`: the other way round). Raises OSError."""
        asked = asked or Asked()
        for segment in self._segments(query, asked.effort, back):
            yield from _of_segment(segment, query, back, asked, watch)

    def newest(self, query: Query, count: int, *, asked: Asked | None = None, watch: Watch | None = None) -> list[Stored]:
        """The last so many that match, in order; read from behind."""
        return list(islice(self.read(query, back=True, asked=asked, watch=watch), count))[::-1]

    def last_position(self) -> Position | None:
        """Where the newest readable line stands that was not imported."""
        newest = self.newest(Query(imported=False), 1)
        return newest[0].position if newest else None

    def at(self, position: Position) -> Event | None:
        """The event at this position, raw or archived; None where there is none that can be read. Raises OSError."""
        before = position._replace(offset=position.offset - 1)
        found = next(self.read(Query(after=before, on=position.day)), None)
        return found.event if found and found.position == position else None

    def days(self) -> set[str]:
        """The days of the journal that are there, raw or archived; not those that only an import tells of."""
        return {segment.part.day for segment in segments(self._files, self._folder) if segment.part.number < IMPORTED_FROM}

    def _segments(self, query: Query, effort: Effort, back: bool) -> list[Segment]:
        found = [segment for segment in segments(self._files, self._folder) if _may_hold(segment, query)]
        effort.total += sum(segment.size() for segment in found)
        return found[::-1] if back else found


def _may_hold(segment: Segment, query: Query) -> bool:
    if (query.on and segment.part.day != query.on) or not (query.imported if segment.part.number >= IMPORTED_FROM else query.own):
        return False
    return query.after is None or segment.part >= (query.after.day, query.after.part)


def _of_segment(segment: Segment, query: Query, back: bool, asked: Asked, watch: Watch | None) -> Iterator[Stored]:
    after = query.after.offset if query.after and segment.part == (query.after.day, query.after.part) else -1
    sift = _sift_of(query)
    judge = _Judge(query, asked)
    day, number = segment.part
    for chunk in segment.chunks(_wanted_of(query), asked.effort, after, back):
        lines = sift.lines(chunk.raw)
        for begin, line in reversed(list(lines)) if back else lines:
            offset = chunk.offset + begin
            if offset <= after:
                continue
            event = judge.event(line, chunk.sure)
            if event is not None and event.id not in segment.repeated():
                yield Stored(event, Position(day, number, offset))
        if watch:
            watch(asked.effort)


def matches(event: Event, query: Query) -> bool:
    """Whether an event that was read elsewhere (the daemon's stream) answers the question; its place is not looked at."""
    return _Judge(query, Asked()).passes(event)


class _Judge:
    """Decodes a line that may match, and compares it exactly."""

    def __init__(self, query: Query, asked: Asked) -> None:
        self._query = query
        self._asked = asked
        self._passes = query.filter.passes if query.filter != EVERY_EVENT else None
        self._text = text_as_bytes(query.text)
        self._timed = query.since > 0 or query.until < inf

    def event(self, line: bytes, sure: bool) -> Event | None:
        try:
            event = decode_sure(line) if sure else decode(line)
        except BadLine:
            self._asked.spoiled += line.rstrip().endswith(b'"}')
            return None
        return event if self.passes(event) else None

    def passes(self, event: Event) -> bool:
        if self._passes and not self._passes(event.type, event.subject, event.severity):
            return False
        if self._timed and not self._in_time(event):
            return False
        if self._query.origin and not event.origin.startswith(self._query.origin):
            return False
        if self._text and not self._holds_text(event):
            return False
        return self._query.where is None or self._true(event, self._query.where)

    def _in_time(self, event: Event) -> bool:
        try:
            return self._query.since <= event.taken < self._query.until
        except ValueError:
            return False  # no arrival of ours: no daemon wrote this line

    def _holds_text(self, event: Event) -> bool:
        words = (event.type, event.subject, event.source, event.id, event.data)
        return any(self._text in encode_json(word).lower() for word in words)

    def _true(self, event: Event, where: Condition) -> bool:
        truth = where.evaluate({"event": as_variables(event)})
        if truth.value is None:
            self._asked.unsaid += 1
            self._asked.why_unsaid = self._asked.why_unsaid or truth.why
        return truth.value is True


def as_variables(event: Event) -> Mapping[str, Any]:
    """What an expression sees of an event."""
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "severity": event.severity,
        "data": event.data,
    }


@lru_cache(maxsize=8)
def _sift_of(query: Query) -> Sift:
    needles = needles_of(query.filter)
    if query.origin:
        needles.append((b'"origin":' + encode_json(query.origin)[:-1],))
    return Sift(needles, query.since, query.until if query.until < inf else 0.0, query.text)


def _wanted_of(query: Query) -> Wanted:
    wanted = query.filter
    return Wanted(
        types=(lambda name: wanted.passes(name, wanted.subject, wanted.severity))
        if wanted.types and ANY not in wanted.types
        else None,
        subject=wanted.subject,
        severity=wanted.severity if wanted.severities else "",
        since=query.since if query.since > 0 else None,
        until=query.until if query.until < inf else None,
    )


# --- counting ---------------------------------------------------------------------------------------------------------

BY: Mapping[str, Callable[[Event], str]] = {
    "type": lambda event: event.type,
    "subject": lambda event: event.subject,
    "hour": lambda event: event.arrival[:13] + ":00Z",
}
"""By what events are counted."""
KEYS_MAX = 100_000
OTHERS = "(others)"


def count(events: Iterable[Stored], by: str = "") -> Counter[str]:
    """How many there are for each key, at most `KEYS_MAX` of them; without `by` all under the empty one."""
    key_of = BY[by] if by else lambda _: ""
    counts: Counter[str] = Counter()
    for event, _ in events:
        key = key_of(event)
        counts[key if key in counts or len(counts) < KEYS_MAX else OTHERS] += 1
    return counts


__all__ = ["BY", "Asked", "History", "Moment", "Query", "count", "make_query", "read"]
