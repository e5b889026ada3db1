"""What there is of the journal on the disk, raw and archived, as chunks of whole lines in either direction. For `query`.

A segment is one part of a day: `events/DAY.N.jsonl`, later `events/archive/DAY.N.jsonl.zst`; what was imported is archived under
numbers from `IMPORTED_FROM` on. Where a segment has an index that can be trusted only the blocks are opened that may hold
what is asked for; where it has none (the part that is written now, an index that was lost) all of it is looked at.

Memory: a chunk, and the index of one segment. A file that goes while it is read (a day that is archived just now) is found
again in its new place; one that retention deleted is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from aios.disk import read_all
from aios.journal.archive import FOLDER, IMPORTED_FROM, DamagedBlock, archive_path, list_archives, open_archive
from aios.journal.index import PLAIN, RAW, Index, facts_of, severity_mask, trusted_index
from aios.journal.parts import BATCH_BYTES_MAX, Part, list_parts
from aios.ports import Files

CHUNK = 256 << 10  # four of the longest lines
_PARTS_IN_DOUBT = 4  # as many as the writer may have begun and given up
UNFINISHED = "import.unfinished"
_UNFINISHED_BYTES_MAX = 4 << 20
_UNFINISHED_PART = re.compile(r"^(\d{4}-\d\d-\d\d)\.(\d{1,9})\.jsonl\.zst$", re.ASCII | re.MULTILINE)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Chunk(NamedTuple):
    """Whole lines, and the offset of the first in its raw part. What does not end with a newline is no line.

    `block`: what the index says of them, where it says that they are `PLAIN`, and their bytes have passed a checksum since.
    """

    offset: int
    raw: bytes
    block: Block | None = None


class Block(NamedTuple):
    """One block of an index."""

    of: Index
    number: int

    def counts(self) -> dict[str, int]:
        """See `Index.counts_of`."""
        return self.of.counts_of(self.number)

    def within(self, since: float, until: float) -> bool:
        """Whether all its events arrived between the two."""
        first, last = self._arrivals()
        return since <= first and last + 1 <= until

    def hour(self) -> int | None:
        """In which hour since the epoch all its events arrived; None where in several."""
        first, last = self._arrivals()
        return first // 3600 if first // 3600 == last // 3600 else None

    def _arrivals(self) -> tuple[int, int]:
        columns = self.of.columns
        return columns["arrival_first"][self.number], columns["arrival_last"][self.number]


def _known(index: Index, number: int) -> Block | None:
    return Block(index, number) if index.columns["flags"][number] & PLAIN else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an index can tell of a question: see `Index.select`."""

    types: Callable[[str], bool] | None = None
    subject: str = ""
    severity: str = ""
    since: float | None = None
    until: float | None = None


EVERYTHING = Wanted()


@dataclass(slots=True)
class Effort:
    """What a question cost: `total` bytes of files, `done` of them so far, bytes read, blocks opened, passed over, damaged."""

    total: int = 0
    done: float = 0.0
    opened: int = 0
    passed: int = 0
    damaged: int = 0


class Segment:
    """One part, raw or archived. `before` are the parts before it, nearest first: their ends may hold events of this one too."""

    def __init__(self, files: Files, folder: str, part: Part, before: Sequence[Segment] = ()) -> None:
        self._files = files
        self._folder = folder
        self._before = before
        self._repeated: frozenset[str] | None = frozenset() if part.number >= IMPORTED_FROM else None
        self.part = part

    @property
    def path(self) -> str:
        return f"{self._folder}/{self.part.name}"

    def size(self) -> int:
        """Bytes on the disk; 0 when it is gone."""
        for path in (self.path, archive_path(self._folder, self.part)):
            try:
                return self._files.lstat(path).size
            except FileNotFoundError:
                continue
        return 0

    def chunks(self, wanted: Wanted, effort: Effort, after: int = -1, back: bool = False) -> Iterator[Chunk]:
        """What may hold what is wanted, behind the offset `after`. Nothing when retention has deleted it. Raises OSError."""
        try:
            fd = self._files.open(self.path, _READ)
        except FileNotFoundError:
            yield from self._archived(wanted, effort, after, back)
            return
        try:
            yield from self._raw(fd, wanted, effort, after, back)
        finally:
            self._files.close(fd)

    # --- raw

    def _raw(self, fd: int, wanted: Wanted, effort: Effort, after: int, back: bool) -> Iterator[Chunk]:
        size = self._files.fstat(fd).size
        index = trusted_index(self._files, self.path, size, RAW)
        if index is None:
            yield from self._all(fd, max(0, after), size, effort, back)
            return
        self._ask_about_repeats(index)
        columns = index.columns
        for block in _chosen(index, wanted, effort, after, back, 1.0):
            begin, length = columns["offset"][block], columns["length"][block]
            raw = self._files.pread(fd, length, begin)
            if crc32(raw) != columns["crc"][block]:  # somebody has changed the part: its index says nothing about it any more
                yield from self._all(fd, *((0, begin + length) if back else (begin, size)), effort, back)
                return
            yield Chunk(begin, raw, _known(index, block))

    def _all(self, fd: int, begin: int, end: int, effort: Effort, back: bool) -> Iterator[Chunk]:
        walk = backward(self._files, fd, begin, end) if back else forward(self._files, fd, begin, end)
        for chunk in walk:
            effort.done += len(chunk.raw)
            yield chunk

    # --- archived

    def _archived(self, wanted: Wanted, effort: Effort, after: int, back: bool) -> Iterator[Chunk]:
        try:
            part = open_archive(self._files, self._folder, self.part)
        except FileNotFoundError:
            return
        try:
            index = part.index
            if not part.rebuilt:  # one that was made just now knows of this part alone
                self._ask_about_repeats(index)
            for block in _chosen(index, wanted, effort, after, back, index.file_size / max(1, index.part_size)):
                try:
                    raw = part.block(block)
                except DamagedBlock:
                    effort.damaged += 1
                    continue
                yield Chunk(index.columns["offset"][block], raw, _known(index, block))
        finally:
            part.close()

    # --- what a failed sync left twice

    def _ask_about_repeats(self, index: Index) -> None:
        if not index.repeats:
            self._repeated = frozenset()

    def repeated(self) -> frozenset[str]:
        """Ids that the end of the parts before holds: after a failed sync the writer writes the same events again.

        Looked up when the first event is found, and not at all where the index says that there are none.
        """
        if self._repeated is None:
            self._repeated = frozenset(self._ids_before())
        return self._repeated

    def _ids_before(self) -> Iterator[str]:
        room = BATCH_BYTES_MAX
        for segment in self._before[:_PARTS_IN_DOUBT]:
            for chunk in segment.chunks(EVERYTHING, Effort(), back=True):
                yield from (fact.id for line in chunk.raw.split(b"\n") if (fact := facts_of(line)) is not None)
                room -= len(chunk.raw)
                if room <= 0:
                    return


def _chosen(index: Index, wanted: Wanted, effort: Effort, after: int, back: bool, scale: float) -> Iterator[int]:
    """Numbers of the blocks to open, in the order of reading; the effort is told of them and of those passed over."""
    blocks = index.select(
        types=wanted.types,
        subject=wanted.subject,
        severities=severity_mask(wanted.severity),
        since=wanted.since,
        until=wanted.until,
        after=after,
    )
    lengths = index.columns["length"]
    effort.passed += len(index) - len(blocks)
    effort.done += scale * (index.part_size - sum(lengths[block] for block in blocks))
    for block in reversed(blocks) if back else blocks:
        effort.opened += 1
        effort.done += scale * lengths[block]
        yield block


def segments(files: Files, folder: str) -> list[Segment]:
    """All parts in order, those that an import has not finished left out. `folder` is `events/`. Raises OSError.

    Raw ones are listed first: a part that is archived meanwhile is then seen twice rather than not at all.
    """
    parts = set(list_parts(files, folder))
    parts.update(list_archives(files, folder))
    parts -= unfinished_import(files, folder)
    found: list[Segment] = []
    own: list[Segment] = []
    for part in sorted(parts):
        segment = Segment(files, folder, part, own[: -_PARTS_IN_DOUBT - 1 : -1])
        found.append(segment)
        if part.number < IMPORTED_FROM:
            own.append(segment)
    return found


def unfinished_path(folder: str) -> str:
    """Names the parts that an import is writing; gone when all of them are there."""
    return f"{folder}/{FOLDER}/{UNFINISHED}"


def unfinished_import(files: Files, folder: str) -> set[Part]:
    """Parts of an import that was cut off, or goes on just now: nobody reads them. Raises OSError."""
    try:
        raw = read_all(files, unfinished_path(folder), _UNFINISHED_BYTES_MAX)
    except FileNotFoundError:
        return set()
    return {Part(match[1], int(match[2])) for match in _UNFINISHED_PART.finditer(raw.decode(errors="replace"))}


# --- a file without an index ------------------------------------------------------------------------------------------


def forward(files: Files, fd: int, begin: int, end: int) -> Iterator[Chunk]:
    """Whole lines from `begin` on. Of a line that is too long pieces come too: they are no lines of the journal."""
    while begin < end:
        raw = files.pread(fd, min(CHUNK, end - begin), begin)
        if not raw:
            return
        cut = raw.rfind(b"\n") + 1
        if cut:
            yield Chunk(begin, raw[:cut])
        begin += cut or len(raw)
        if not cut and len(raw) < CHUNK:
            return  # a line that is being written, or a torn one


def backward(files: Files, fd: int, begin: int, end: int) -> Iterator[Chunk]:
    """The same from the end towards `begin`, which is the beginning of a line."""
    while begin < end:
        start = max(begin, end - CHUNK)
        raw = files.pread(fd, end - start, start)
        first = raw.find(b"\n") + 1 if start > begin else 0
        if start > begin and (not first or first == len(raw)):
            end = start  # the middle of a line that is too long
            continue
        yield Chunk(start + first, raw[first:])
        end = start + first
