"""Reading the journal, while it is written too: by the daemon at its start, by reports, by `aios events --follow`.

One way of reading serves them all: `Tail` gives what is new since a position, a chunk at a time, and `FolderReader.read`
calls it until nothing is new. Lines that cannot be read are stepped over and told to a callback. After a failed sync the writer
writes the same events again into the next part; whoever reads across that seam gets each of them once.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from aios.events.codec import LINE_MAX, BadLine, decode
from aios.events.event import Event, Position, Stored
from aios.journal.archive import (
    IMPORTED_FROM,
    DamagedBlock,
    OnBad,
    OpenPart,
    events_in,
    ignore_bad,
    list_archives,
    open_archive,
    open_part,
)
from aios.journal.index import BLOCK_BYTES_MAX
from aios.journal.parts import BATCH_BYTES_MAX, Part, list_parts
from aios.ports import Files

_CHUNK = 256 << 10  # four of the longest lines
_READ = os.O_RDONLY | os.O_NOFOLLOW
_BEYOND = 1 << 62  # behind every line of a part


class Tail:
    """What is new since a position. Holds one descriptor and nothing else; `close` it."""

    def __init__(self, files: Files, folder: str, after: Position | None = None, on_bad: OnBad = ignore_bad) -> None:
        self._files = files
        self._folder = folder
        self._on_bad = on_bad
        self._fd = -1
        self._part = Part("", 0)
        self._offset = 0
        self._seen: frozenset[str] = frozenset()
        self._skipping = 0  # bytes of an overlong line that were passed already
        if after is not None and after.day:
            self._resume(after)

    def news(self) -> list[Stored]:
        """The next events in order, a chunk of them at most; none when nothing is new. Raises OSError."""
        while True:
            lines = self._next_lines()
            if lines is None:
                return []
            events = self._decoded(lines)
            if events:
                return events

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)

    def repeats(self, seen: frozenset[str]) -> None:
        """The next part may hold these again, from the end of the part before it."""
        self._seen = seen

    # --- lines

    def _next_lines(self) -> list[tuple[int, bytes]] | None:
        """Whole lines with their offsets, perhaps none; None when there is nothing more as yet."""
        if self._fd >= 0:
            lines = self._lines_here()
            if lines is not None:
                return lines
        following = self._following_part()
        if following is None:
            return None
        if self._fd >= 0:
            # The writer may have added to this part before it began the next one, after we looked.
            lines = self._lines_here()
            if lines is not None:
                return lines
        self._enter(following)
        return []

    def _lines_here(self) -> list[tuple[int, bytes]] | None:
        chunk = self._files.pread(self._fd, _CHUNK, self._offset + self._skipping)
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            if self._skipping + len(chunk) <= LINE_MAX:
                return None
            self._skipping += len(chunk)
            return [] if chunk else None
        begin = self._end_of_overlong(chunk)
        bodies = chunk[begin : end - 1].split(b"\n") if begin < end else []
        offsets = accumulate((len(body) + 1 for body in bodies), initial=self._offset)
        lines = list(zip(offsets, bodies, strict=False))
        self._offset += end - begin
        return lines

    def _end_of_overlong(self, chunk: bytes) -> int:
        """Where the first line begins after one that was being passed over."""
        if not self._skipping:
            return 0
        begin = chunk.index(b"\n") + 1
        length = self._skipping + begin
        self._bad(self._offset, length, f"longer than {LINE_MAX} bytes")
        self._offset += length
        self._skipping = 0
        return begin

    def _decoded(self, lines: list[tuple[int, bytes]]) -> list[Stored]:
        day, number = self._part
        events: list[Stored] = []
        for offset, line in lines:
            try:
                event = decode(line)
            except BadLine as bad:
                self._bad(offset, len(line) + 1, str(bad))
                continue
            if event.id not in self._seen:
                events.append(Stored(event, Position(day, number, offset)))
        return events

    def _bad(self, offset: int, length: int, reason: str) -> None:
        self._on_bad(Position(*self._part, offset), length, reason)

    # --- parts

    def _resume(self, after: Position) -> None:
        """Stand behind the line at this position; where its part is gone, before the next part."""
        self._part = Part(after.day, after.part)
        try:
            self._fd = self._files.open(f"{self._folder}/{self._part.name}", _READ)
        except FileNotFoundError:
            return
        self._offset = after.offset
        line = self._files.pread(self._fd, LINE_MAX, after.offset)
        self._offset += line.find(b"\n") + 1

    def _following_part(self) -> Part | None:
        try:
            parts = list_parts(self._files, self._folder)
        except FileNotFoundError:
            return None  # nothing was ever written
        return next((part for part in parts if part > self._part), None)

    def _enter(self, part: Part) -> None:
        """Go on to the next part, knowing which ids of the last one's end it may repeat."""
        seen = frozenset() if self._fd >= 0 else self._seen
        if self._fd >= 0:
            seen = self._ids_at_end()
            self._tell_of_torn_end()
            self.close()
        try:
            self._fd = self._files.open(f"{self._folder}/{part.name}", _READ)
        except FileNotFoundError:
            self._fd = -1  # the writer gave it up and removed it: what it held comes again in the next one
            seen |= self._seen
        self._part, self._offset, self._skipping, self._seen = part, 0, 0, seen

    def _ids_at_end(self) -> frozenset[str]:
        """Ids in the end of this part that a failed sync may have left in doubt."""
        size = self._files.fstat(self._fd).size
        begin = max(0, size - BATCH_BYTES_MAX)
        lines = self._files.pread(self._fd, BATCH_BYTES_MAX, begin).split(b"\n")
        ids: set[str] = set() if begin else set(self._seen)  # a short part does not make us forget the one before
        for line in lines[1 if begin else 0 : -1]:
            try:
                ids.add(decode(line).id)
            except BadLine:
                continue
        return frozenset(ids)

    def _tell_of_torn_end(self) -> None:
        left = self._files.fstat(self._fd).size - self._offset
        if left > 0:
            self._bad(self._offset, left, "a line without an end, in a part that is closed")


class FolderReader:
    """`JournalReader` over `events/`, archived parts included. What was imported is for queries and is not read here."""

    def __init__(self, files: Files, folder: str, on_bad: OnBad = ignore_bad) -> None:
        self._files = files
        self._folder = folder
        self._on_bad = on_bad

    def read(self, after: Position | None = None) -> Iterator[Stored]:
        """See `JournalReader.read`. Memory: one chunk and its events. Raises OSError."""
        closed = self._up_to_the_last_archived(after)
        for part in closed:
            yield from self._of_closed(part, after)
        if closed:
            after = Position(*closed[-1], _BEYOND)
        tail = self.tail(after)
        if closed:
            tail.repeats(self._ids_at_end(closed[-1]))
        try:
            while events := tail.news():
                yield from events
        finally:
            tail.close()

    def tail(self, after: Position | None = None) -> Tail:
        """For `--follow`: ask it for `news` whenever something may have come."""
        return Tail(self._files, self._folder, after, self._on_bad)

    def at(self, position: Position) -> Event | None:
        """See `JournalReader.at`. Raises OSError."""
        part = Part(position.day, position.part)
        try:
            fd = self._files.open(f"{self._folder}/{part.name}", _READ)
        except FileNotFoundError:
            return self._in_archive(part, position.offset)
        try:
            raw = self._files.pread(fd, LINE_MAX, position.offset)
        finally:
            self._files.close(fd)
        try:
            return decode(raw[: raw.find(b"\n") + 1])
        except BadLine:
            return None

    def _in_archive(self, part: Part, offset: int) -> Event | None:
        try:
            opened = open_archive(self._files, self._folder, part)
        except FileNotFoundError:
            return None
        try:
            offsets = opened.index.column("offset")
            block = bisect_right(offsets, offset) - 1
            if block < 0:
                return None
            raw = opened.block(block)
            begin = offset - offsets[block]
            return decode(raw[begin : raw.find(b"\n", begin) + 1])
        except (DamagedBlock, BadLine):
            return None
        finally:
            opened.close()

    # --- archived parts

    def _up_to_the_last_archived(self, after: Position | None) -> list[Part]:
        """All parts behind `after` that must be opened as closed ones; behind the last of them stand raw ones only."""
        try:
            raw = list_parts(self._files, self._folder)
        except FileNotFoundError:
            return []
        first = Part(*after[:2]) if after is not None else Part("", 0)
        archived = [one for one in list_archives(self._files, self._folder) if one.number < IMPORTED_FROM and one >= first]
        only = set(archived) - set(raw)
        return [part for part in sorted({*raw, *only}) if first <= part <= max(only)] if only else []

    def _of_closed(self, part: Part, after: Position | None) -> Iterator[Stored]:
        try:
            opened = open_part(self._files, self._folder, part)
        except FileNotFoundError:
            return  # removed since we looked: its day's digest has what stays of it
        try:
            index = opened.index
            seen = self._ids_before(part) if index.repeats or opened.rebuilt else frozenset()
            for block in range(len(index)):
                if after is not None and (part.day, part.number, index.columns["offset"][block] + BLOCK_BYTES_MAX) < after:
                    continue
                for stored in self._tolerant(opened, block):
                    if (after is None or stored.position > after) and stored.event.id not in seen:
                        yield stored
        finally:
            opened.close()

    def _tolerant(self, opened: OpenPart, block: int) -> Iterator[Stored]:
        try:
            raw = opened.block(block)
        except DamagedBlock as damaged:
            columns = opened.index.columns
            position = Position(*opened.part, columns["offset"][block])
            self._on_bad(position, columns["length"][block], f"a block of a closed part: {damaged}")
            raw = opened.unchecked(block)
        yield from events_in(opened.part, opened.index, block, raw, self._on_bad)

    def _ids_before(self, part: Part) -> frozenset[str]:
        parts = {*list_parts(self._files, self._folder), *list_archives(self._files, self._folder)}
        before = max((one for one in parts if one < part and one.number < IMPORTED_FROM), default=None)
        return self._ids_at_end(before) if before is not None else frozenset()

    def _ids_at_end(self, part: Part) -> frozenset[str]:
        """Ids in the end of this part that a failed sync may have left in doubt."""
        try:
            opened = open_part(self._files, self._folder, part)
        except FileNotFoundError:
            return frozenset()
        try:
            offsets = opened.index.column("offset")
            first = bisect_right(offsets, max(0, opened.index.part_size - BATCH_BYTES_MAX)) - 1
            blocks = range(max(0, first), len(offsets))
            return frozenset(event.id for block in blocks for event, _ in opened.readable(block))
        finally:
            opened.close()

    def since(self, day: str) -> Iterator[Stored]:
        """Everything from the first part of this UTC day on."""
        return self.read(Position(day, 0, 0))
