"""Whether an event answers a question: the exact comparison, behind the index and the search of bytes. For `query`.

An event that was decoded is compared by its values. A line of a block that is `PLAIN` (see `index`) may be compared as it
stands: in our encoder's bytes its head says what it says, and where the question asks for no more nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from aios.events.codec import BadLine, decode, encode_json, was_whole
from aios.events.event import Event, Position, event_fields, parse_time
from aios.events.filters import EventFilter
from aios.journal.found import Found, Head
from aios.journal.segments import Effort
from aios.journal.sift import text_as_bytes
from aios.playbooks.model import Condition

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


class Judge:
    """Compares what may match exactly."""

    def __init__(self, query: Query, asked: Asked) -> None:
        self._query = query
        self._asked = asked
        self._passes = query.filter.passes if query.filter != EVERY_EVENT else None
        self._text = text_as_bytes(query.text)
        self._timed = query.since > 0 or query.until < inf

    @property
    def of_heads(self) -> bool:
        """Whether the question is about no more than stands before the data."""
        query = self._query
        return not (query.text or query.origin or query.where)

    def event(self, line: bytes) -> Event | None:
        """The event of this line, if it can be read and answers."""
        try:
            event = decode(line)
        except BadLine:
            self._asked.spoiled += was_whole(line)
            return None
        return event if self.passes(event) else None

    def found(self, found: Found) -> bool:
        """Whether a line that is sure to be an event answers."""
        return self._head(found.head) if self.of_heads else self.passes(found.event)

    def passes(self, event: Event) -> bool:
        if not self._head(event):
            return False
        if self._query.origin and not event.origin.startswith(self._query.origin):
            return False
        if self._text and not self._holds_text(event):
            return False
        return self._query.where is None or self._true(event, self._query.where)

    def _head(self, head: Head | Event) -> bool:
        if self._passes and not self._passes(head.type, head.subject, head.severity):
            return False
        return not self._timed or self._in_time(head.arrival)

    def _in_time(self, arrival: str) -> bool:
        try:
            return self._query.since <= parse_time(arrival) < self._query.until
        except ValueError:
            return False  # no arrival of ours: no daemon wrote this line

    def _holds_text(self, event: Event) -> bool:
        words = (event.type, event.subject, event.source, event.id, event.data)
        return any(self._text in encode_json(word).lower() for word in words)

    def _true(self, event: Event, where: Condition) -> bool:
        truth = where.evaluate({"event": event_fields(event)})
        if truth.value is None:
            self._asked.unsaid += 1
            self._asked.why_unsaid = self._asked.why_unsaid or truth.why
        return truth.value is True
