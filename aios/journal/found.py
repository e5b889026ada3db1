"""What a question to the journal finds: an event where it stands, as the bytes of its line until somebody looks at it.

`query` makes it; reports, backtests, `aios events` and any Python that reads the journal get it. To make objects of a line takes
five times as long as to find it, and who counts lines, or hands them on, needs none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from aios.events.codec import decode_sure, encode
from aios.events.event import Event, Position, Stored
from aios.journal.parts import Part

_TEXT = rb'"([^"\\]*+)"'
_HEAD = re.compile(
    rb'\{"specversion":"1\.0","id":"[^"\\]*+","source":"(?:[^"\\]++|\\.)*+"'
    rb',"type":%b,"subject":%b,"time":"[^"]*+","arrival":%b,"severity":%b' % (_TEXT, _TEXT, _TEXT, _TEXT)
)
"""What every line of a `PLAIN` block begins with: there no word of these has an escape in it (see `index`)."""


class Head(NamedTuple):
    """What stands in a line before its data."""

    type: str
    subject: str
    arrival: str
    severity: str


class Found:
    """`event`, decoded when it is first asked for; `position`; `line`: its bytes in the journal, without the newline.

    Unpacks to event and position. Its line was decoded before, by whoever made the index or this: it can be again.
    """

    __slots__ = ("_event", "_offset", "_part", "line")

    _event: Event

    def __init__(self, line: bytes, part: Part, offset: int) -> None:
        self.line = line
        self._part = part
        self._offset = offset

    @classmethod
    def decoded(cls, line: bytes, part: Part, offset: int, event: Event) -> Found:
        found = cls(line, part, offset)
        found._event = event
        return found

    @classmethod
    def of(cls, event: Event, position: Position) -> Found:
        """Of one that came another way: its line as it stands in the journal."""
        return cls.decoded(encode(event)[:-1], Part(position.day, position.part), position.offset, event)

    @property
    def event(self) -> Event:
        try:
            return self._event
        except AttributeError:
            self._event = decode_sure(self.line)
            return self._event

    @property
    def place(self) -> str:
        """The position as text."""
        return f"{self._part.day}.{self._part.number}:{self._offset}"

    @property
    def position(self) -> Position:
        return Position(*self._part, self._offset)

    @property
    def stored(self) -> Stored:
        """As those have it who fold events."""
        return Stored(self.event, self.position)

    @property
    def head(self) -> Head:
        """Without decoding the whole, where that can be."""
        match = _HEAD.match(self.line)
        if match is None or hasattr(self, "_event"):
            event = self.event
            return Head(event.type, event.subject, event.arrival, event.severity)
        return Head(*map(bytes.decode, match.groups()))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.event, self.position))

    def __repr__(self) -> str:
        return f"Found({self.place!r}, {self.line!r})"


def found_with(needle: bytes, raw: bytes, part: Part, offset: int) -> list[Found]:
    """The lines of a block that hold these bytes. The block begins at `offset`, and ends with a newline.

    One loop, for this is what most questions are, and a block has a thousand lines: a call more a line is felt.
    """
    find, find_back, at = raw.find, raw.rfind, 0
    found: list[Found] = []
    add = found.append
    while (hit := find(needle, at)) >= 0:
        begin = find_back(b"\n", at, hit) + 1  # -1 in the first line
        at = find(b"\n", hit)
        add(Found(raw[begin:at], part, offset + begin))
    return found
