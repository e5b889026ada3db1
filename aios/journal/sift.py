"""Which lines of a chunk may answer a question, found by searching their bytes: what cannot match is never decoded.

`query` makes a `Sift` of each question and decodes what it lets through, so it may err towards yes and never towards no. It
relies on the codec's canonical order and on JSON itself: inside a string a quote is escaped, so `"type":"service.down"` can only
be a member. A search runs at the speed of memory, decoding at that of Python: on a chunk in which nothing matches, 50 to 100
times slower.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from aios.events.codec import encode_json
from aios.events.event import format_time
from aios.events.filters import ANY, EventFilter, is_wildcard

_ARRIVAL = b'"arrival":"'
_ARRIVAL_LENGTH = len("2026-02-24T08:15:30.123456Z")

_BEHIND_TYPE = b',"subj'
"""What follows a type. A search is the faster the longer what it looks for, and by a third if that does not end with a quote."""

Needle = tuple[bytes, ...]
"""One of these stands in every line that matches."""


class Sift:
    """`needles`: of each, one must be there. `since` and `until` (0: none) are seconds; `until` is not included any more."""

    def __init__(self, needles: Sequence[Needle], since: float = 0.0, until: float = 0.0, text: str = "") -> None:
        self._since = format_time(since).encode() if since > 0 else b""
        self._until = format_time(until).encode() if until > 0 else b""
        self._text = text_as_bytes(text)
        all_needles = [*needles, *_moment(self._since, self._until)]
        # The longest is the rarest, as far as one can tell without looking: it is searched, the others are asked.
        self._needles = sorted(all_needles, key=lambda needle: min(map(len, needle)), reverse=True)
        self._find = _searcher(self._needles[0]) if self._needles else None
        alone = len(self._needles) == 1 and len(self._needles[0]) == 1 and not (self._text or self._since or self._until)
        self.only = self._needles[0][0] if alone else b""
        """Where nothing is asked for but that this stands in the line: the usual question."""

    @property
    def narrow(self) -> bool:
        """Whether any line is thrown away at all."""
        return bool(self._find or self._text or self._since or self._until)

    def lines(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines that may match, without their newline, and where in the chunk they begin."""
        if self.only:
            yield from _lines_with(chunk, self.only)
            return
        searched = chunk
        if self._text:
            lowered = chunk.lower()  # of the same length, byte for byte
            if self._text not in lowered:
                return
            searched = lowered if self._find is None else chunk
        if self._find is None and not self._text:
            yield from self._all(chunk)
            return
        if not all(any(one in chunk for one in needle) for needle in self._needles[1:]):
            return
        at, find = 0, self._find or (lambda lowered, at: lowered.find(self._text, at))
        while (found := find(searched, at)) >= 0:
            begin = chunk.rfind(b"\n", at, found) + 1 or at
            end = chunk.find(b"\n", found)
            end = len(chunk) if end < 0 else end
            line = chunk[begin:end]
            if self._may_match(line):
                yield begin, line
            at = end + 1

    def _all(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        for line in chunk.split(b"\n"):
            if line and self._may_match(line):
                yield at, line
            at += len(line) + 1

    def _may_match(self, line: bytes) -> bool:
        for needle in self._needles[1:]:
            if not any(one in line for one in needle):
                return False
        if self._text and self._text not in line.lower():
            return False
        return not (self._since or self._until) or self._in_time(line)

    def _in_time(self, line: bytes) -> bool:
        """Arrivals are all of one length and in UTC, so their bytes are in the order of time."""
        begin = line.find(_ARRIVAL) + len(_ARRIVAL)
        arrival = line[begin : begin + _ARRIVAL_LENGTH]
        return self._since <= arrival and (not self._until or arrival < self._until)


def _lines_with(chunk: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """As `Sift.lines` where nothing but this is asked for: the usual question, in half the time."""
    find, find_back, at = chunk.find, chunk.rfind, 0
    while (found := find(needle, at)) >= 0:
        begin = find_back(b"\n", at, found) + 1 or at
        end = find(b"\n", found)
        if end < 0:
            end = len(chunk)
        yield begin, chunk[begin:end]
        at = end + 1


def needles_of(wanted: EventFilter) -> list[Needle]:
    """What the bytes of a line must hold, for a filter."""
    needles: list[Needle] = []
    subject = b'"subject":' + encode_json(wanted.subject) if wanted.subject else b""
    exact = wanted.types and not any(map(is_wildcard, wanted.types))
    if exact and subject:  # the two stand side by side, and together they are rarer than either
        needles.append(tuple(b'"type":' + encode_json(one) + b"," + subject for one in wanted.types))
    else:
        if wanted.types and ANY not in wanted.types:
            needles.append(tuple(_type_bytes(one) for one in wanted.types))
        if subject:
            needles.append((subject,))
    if wanted.severities:
        needles.append(tuple(b'"severity":"%b"' % one.encode() for one in wanted.severities))
    return needles


def text_as_bytes(text: str) -> bytes:
    """As it stands in a line of the journal, in small letters (ASCII's: others are compared as they are)."""
    return encode_json(text)[1:-1].lower() if text else b""


def _type_bytes(wanted: str) -> bytes:
    raw = b'"type":' + encode_json(wanted[:-1] if is_wildcard(wanted) else wanted)
    return raw[:-1] if is_wildcard(wanted) else raw + _BEHIND_TYPE


def _moment(since: bytes, until: bytes) -> list[Needle]:
    """What all arrivals between the two begin with: `2026-02-24T1` for ten to noon. Nothing where either is open."""
    if not since or not until:
        return []
    last = _just_before(until)
    length = next((i for i, (a, b) in enumerate(zip(since, last, strict=False)) if a != b), len(since))
    return [(_ARRIVAL + since[:length],)] if length >= len("2026-") else []


def _just_before(until: bytes) -> bytes:
    """`until` is not included: at a round hour the hour before is all there is."""
    digits = until.rstrip(b"0Z:.T-")
    if len(digits) < len("2026-02-2") or not digits[-1:].isdigit():
        return until
    begin = len(digits) - 1
    smaller = digits[:begin] + bytes([digits[begin] - 1])
    return smaller + b"9" * (len(until) - len(smaller))


def _searcher(needle: Needle) -> Callable[[bytes, int], int]:
    if len(needle) == 1:
        only = needle[0]
        return lambda chunk, at: chunk.find(only, at)
    search = re.compile(b"|".join(map(re.escape, needle))).search

    def find(chunk: bytes, at: int) -> int:
        found = search(chunk, at)
        return found.start() if found else -1

    return find
