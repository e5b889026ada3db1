"""Questions to the journal: by type, subject, severity, text, data, time; raw and archived days alike, in constant memory.

`aios.journal.read` is for anyone's Python; `aios events`, reports and backtests use the `Query` below it. Three sieves, each
cheaper than the next: the index names the blocks (`segments`), a search of their bytes the lines (`sift`), and only what both
let through is checked and compared exactly (`judge`). So an answer never holds what was not asked for, and a line that cannot
be read is stepped over here: `aios journal verify` tells of it.

In a closed part's blocks whose lines are known to be events, byte for byte as we write them (`PLAIN` in `index`), none of them
is decoded but where the question asks for more than its head says. There the index also counts how many answer: where the
search finds as many, they are those; and who only counts needs no search.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from math import inf

from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.codec import encode_json
from aios.events.event import Event, Position, format_time, parse_time
from aios.events.filters import ANY, EventFilter, is_wildcard
from aios.journal.archive import IMPORTED_FROM
from aios.journal.found import Found, Head, found_with
from aios.journal.index import OTHERS
from aios.journal.judge import EVERY_EVENT, EVERYTHING, Asked, Judge, Query
from aios.journal.segments import Block, Chunk, Effort, Segment, Wanted, segments
from aios.journal.sift import Sift, needles_of
from aios.playbooks.condition import compile_condition, field_types
from aios.ports import Files

Moment = float | str | datetime
"""Seconds since the epoch, RFC 3339 with its zone, or a datetime with its zone."""

Watch = Callable[[Effort], None]
"""Called after each chunk that was looked at."""


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
) -> Iterator[Found]:
    """The events of a state folder that match, in order (`reverse`: the newest first); with or without a daemon.

        for event, position in aios.journal.read("/var/lib/aios", types=["service.*"], since="2026-02-20T00:00:00Z"):
            print(event.time, event.subject, event.data)

    What comes is a `Found`: it unpacks as above, and has `line`, the event's bytes, which only `event` decodes: who counts, or
    hands lines on, is several times as fast without.

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

    @property
    def files(self) -> Files:
        """Where the journal is."""
        return self._files

    @property
    def state_dir(self) -> str:
        """The folder that holds the journal's, and the daemon's other memories beside it."""
        return os.path.dirname(self._folder)

    @classmethod
    def of(cls, state_dir: str | os.PathLike[str]) -> History:
        """Raises Refused when there is no journal, PermissionError when it is not for us to see."""
        return cls(OsFiles(), events_folder(os.path.abspath(os.fspath(state_dir))))

    def read(
        self, query: Query = EVERYTHING, *, back: bool = False, asked: Asked | None = None, watch: Watch | None = None
    ) -> Iterator[Found]:
        """What matches, in the journal's order (`back`: the other way round). Raises OSError."""
        return chain.from_iterable(self._answers(query, back, asked or Asked(), watch))

    def _answers(self, query: Query, back: bool, asked: Asked, watch: Watch | None) -> Iterator[Iterable[Found]]:
        answers = _Answers(query, asked)
        for segment in self._segments(query, asked.effort, back):
            for chunk in answers.chunks(segment, back):
                found = answers.of(segment, chunk)
                yield reversed(list(found)) if back else found
                if watch:
                    watch(asked.effort)

    def count(self, query: Query, by: str = "", *, asked: Asked | None = None, watch: Watch | None = None) -> Counter[str]:
        """How many match for each key of `BY`, at most `KEYS_MAX` of them; without `by` all under "". Raises OSError."""
        asked = asked or Asked()
        answers, counts = _Answers(query, asked), _Counts(by)
        for segment in self._segments(query, asked.effort, back=False):
            for chunk in answers.chunks(segment):
                if not counts.add_block(answers.counted(segment, chunk), chunk.block):
                    counts.add(answers.of(segment, chunk))
                if watch:
                    watch(asked.effort)
        return counts.found

    def newest(self, query: Query, count: int, *, asked: Asked | None = None, watch: Watch | None = None) -> list[Found]:
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


def matches(event: Event, query: Query) -> bool:
    """Whether an event that was read elsewhere (the daemon's stream) answers the question; its place is not looked at."""
    return Judge(query, Asked()).passes(event)


class _Answers:
    """One question, asked of chunk after chunk."""

    def __init__(self, query: Query, asked: Asked) -> None:
        self._query = query
        self._asked = asked
        self._judge = Judge(query, asked)
        self._sift = _sift_of(query)
        self._untimed = _sift_of(replace(query, since=0.0, until=inf))
        self._of_types = self._judge.of_heads and not (query.filter.subject or query.filter.severities)

    def chunks(self, segment: Segment, back: bool = False) -> Iterator[Chunk]:
        return segment.chunks(_wanted_of(self._query), self._asked.effort, self._after(segment), back)

    def _after(self, segment: Segment) -> int:
        after = self._query.after
        return after.offset if after is not None and segment.part == (after.day, after.part) else -1

    def of(self, segment: Segment, chunk: Chunk) -> Iterable[Found]:
        """What matches, in order."""
        found = self._plain(segment, chunk, chunk.block) if chunk.block else self._decoded(segment, chunk)
        after = self._after(segment)
        return found if chunk.offset > after else (one for one in found if one.position.offset > after)

    def _decoded(self, segment: Segment, chunk: Chunk) -> Iterator[Found]:
        for begin, line in self._sift.lines(chunk.raw):
            event = self._judge.event(line)
            if event is not None and event.id not in segment.repeated():
                yield Found.decoded(line, segment.part, chunk.offset + begin, event)

    def _plain(self, segment: Segment, chunk: Chunk, block: Block) -> Iterable[Found]:
        part, offset = segment.part, chunk.offset
        sift = self._untimed if block.within(self._query.since, self._query.until) else self._sift
        if sift.only:
            found = found_with(sift.only, chunk.raw, part, offset)
        else:
            found = [Found(line, part, offset + begin) for begin, line in sift.lines(chunk.raw)]
        counts = self._counts(block)
        if counts is None or sum(counts.values()) != len(found):
            found = list(filter(self._judge.found, found))
        if found and (repeated := segment.repeated()):
            found = [one for one in found if one.event.id not in repeated]
        return found

    def counted(self, segment: Segment, chunk: Chunk) -> Mapping[str, int] | None:
        """How many answer, by type, where the index can say that of this chunk."""
        if chunk.block is None or chunk.offset <= self._after(segment) or segment.repeated():
            return None
        return self._counts(chunk.block)

    def _counts(self, block: Block) -> Mapping[str, int] | None:
        if not self._of_types or not block.within(self._query.since, self._query.until):
            return None
        counts, passes = block.counts(), self._query.filter.passes
        return None if OTHERS in counts else {name: number for name, number in counts.items() if passes(name, "", "")}


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

BY: Mapping[str, Callable[[Head], str]] = {
    "type": lambda head: head.type,
    "subject": lambda head: head.subject,
    "hour": lambda head: head.arrival[:13] + ":00Z",
}
"""By what events are counted."""
KEYS_MAX = 100_000
BEYOND = "(others)"


class _Counts:
    def __init__(self, by: str) -> None:
        self._by = by
        self.found: Counter[str] = Counter()

    def add(self, found: Iterable[Found]) -> None:
        if not self._by:
            self._put("", sum(1 for _ in found))
            return
        key_of = BY[self._by]
        for key, number in Counter(key_of(one.head) for one in found).items():
            self._put(key, number)

    def add_block(self, counts: Mapping[str, int] | None, block: Block | None) -> bool:
        """What the index counts in a block; False where that does not tell what is asked."""
        if counts is None or block is None or self._by == "subject":
            return False
        if self._by == "type":
            for name, number in counts.items():
                self._put(name, number)
            return True
        hour = block.hour() if self._by else None
        if self._by and hour is None:
            return False
        self._put(f"{format_time(hour * 3600)[:13]}:00Z" if hour is not None else "", sum(counts.values()))
        return True

    def _put(self, key: str, number: int) -> None:
        if number:
            self.found[key if key in self.found or len(self.found) < KEYS_MAX else BEYOND] += number


__all__ = [
    "BY",
    "EVERYTHING",
    "EVERY_EVENT",
    "Asked",
    "Found",
    "History",
    "Moment",
    "Query",
    "make_query",
    "matches",
    "read",
]
