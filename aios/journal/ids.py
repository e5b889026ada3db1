"""Which ids the inbox has met lately, in a few megabytes: so that a line that comes twice is taken once.

The inbox asks `meet` for each line that names its own id; `recall` fills it at the start from the journal's newest two days.
Lines without an id need no memory: theirs is made of their place, and the cursor passes each place once.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Literal

from aios.journal.parts import list_parts
from aios.ports import Files

Meeting = Literal["new", "same", "other"]
"""Never met; met with the same bytes; met with other bytes."""

_HASH_MASK = 2**64 - 1
_FILL = 0.75
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW
_HEAD = b'{"specversion":"1.0","id":"'
_ORIGIN = b'"origin":"inbox/'


class IdMemory:
    """Two generations of an open-addressing table, 12 bytes a slot. When one is full, the older one is forgotten.

    The cap: at least the newest `0.75 * slots` ids are known, at most twice as many, however many came in two days. With
    the default that is 98,000 to 196,000 ids in 3 MB. A busier machine forgets sooner than after two days, and then takes a
    line that comes again that late as a new one. An id counts by Python's keyed 64-bit hash, its bytes by their CRC-32: two
    different ids are mistaken for one another once in 10**14 meetings, and no producer can aim for it.
    """

    def __init__(self, slots: int = 1 << 17) -> None:
        if slots & (slots - 1):
            raise ValueError("slots must be a power of two")
        self._slots = slots
        self._full_at = int(slots * _FILL)
        self._young = _Table(slots)
        self._old: _Table | None = None

    @property
    def capacity(self) -> int:
        """How many ids are known at least."""
        return self._full_at

    def meet(self, event_id: str, mark: int) -> Meeting:
        """Whether this id came before; from now on it has."""
        return self.meet_key(key_of(event_id), mark)

    def meet_key(self, key: int, mark: int) -> Meeting:
        """The same, for an id of which only `key_of` is at hand."""
        known = self._young.find(key)
        if known < 0 and self._old is not None:
            known = self._old.find(key)
        if known >= 0:
            return "same" if known == mark else "other"
        self._add(key, mark)
        return "new"

    def _add(self, key: int, mark: int) -> None:
        if self._young.count >= self._full_at:
            self._old, self._young = self._young, _Table(self._slots)
        self._young.add(key, mark)


def key_of(event_id: str) -> int:
    """What is kept of an id; never 0."""
    return hash(event_id) & _HASH_MASK or 1


class _Table:
    __slots__ = ("count", "keys", "marks", "mask")

    def __init__(self, slots: int) -> None:
        self.keys = array("Q", bytes(8 * slots))
        self.marks = array("I", bytes(4 * slots))
        self.mask = slots - 1
        self.count = 0

    def find(self, key: int) -> int:
        """The mark; -1 when the key is not here."""
        keys, at = self.keys, key & self.mask
        while known := keys[at]:
            if known == key:
                return self.marks[at]
            at = (at + 1) & self.mask
        return -1

    def add(self, key: int, mark: int) -> None:
        keys, at = self.keys, key & self.mask
        while keys[at]:
            at = (at + 1) & self.mask
        keys[at], self.marks[at] = key, mark
        self.count += 1


def recall(ids: IdMemory, files: Files, folder: str, *, since_day: str, on_error: Callable[[OSError], None] | None = None) -> int:
    """Fill `ids` from the journal's lines that an inbox brought, newest first, back to this day or until it is full.

    Gives how many. About 2 µs a line. Raises OSError; with `on_error` it goes on with the part before one that cannot be read.
    """
    try:
        parts = [part for part in list_parts(files, folder) if part.day >= since_day]
    except FileNotFoundError:
        return 0
    keys, marks = array("Q"), array("I")  # not a list of pairs: that would cost ten times as much, and stay
    newest_first = chain.from_iterable(_readable(files, f"{folder}/{part.name}", on_error) for part in reversed(parts))
    for key, mark in islice(newest_first, ids.capacity):
        keys.append(key)
        marks.append(mark)
    for key, mark in zip(reversed(keys), reversed(marks), strict=True):
        ids.meet_key(key, mark)
    return len(keys)


def _readable(files: Files, path: str, on_error: Callable[[OSError], None] | None) -> Iterator[tuple[int, int]]:
    try:
        yield from _from_behind(files, path)
    except OSError as error:
        if on_error is None:
            raise
        on_error(error)


def _from_behind(files: Files, path: str) -> Iterator[tuple[int, int]]:
    """Keys of ids and marks, newest first."""
    fd = files.open(path, _READ)
    try:
        end = files.fstat(fd).size
        while end > 0:
            begin = max(0, end - _CHUNK)
            chunk = files.pread(fd, end - begin, begin)
            first = chunk.find(b"\n") + 1 if begin else 0
            yield from _pairs(chunk, first)
            if begin and not first:
                first = len(chunk)  # a chunk without a line's end: all of it is one bad line
            end = begin + first if begin else 0
    finally:
        files.close(fd)


def _pairs(chunk: bytes, first: int) -> Iterator[tuple[int, int]]:
    """From the whole lines behind `first`, the last one first. By `find` alone: decoding would take five times as long."""
    end = len(chunk)
    while (found := chunk.rfind(_ORIGIN, first, end)) >= 0:
        begin = max(first, chunk.rfind(b"\n", first, found) + 1)
        end = begin
        if not chunk.startswith(_HEAD, begin):
            continue
        id_begin = begin + len(_HEAD)
        event_id = chunk[id_begin : chunk.find(b'"', id_begin)]
        origin_begin = chunk.find(_ORIGIN, begin) + len(_ORIGIN)
        origin_end = chunk.find(b'"', origin_begin)
        try:
            yield key_of(event_id.decode()), int(chunk[origin_end - 8 : origin_end], 16)
        except ValueError:
            continue  # a line that rotted; the reader tells of it
