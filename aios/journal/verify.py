"""Is the memory whole? `verify` looks at every byte, says what is wrong and what to do; `reindex`, `compact`, `stats` tend it.

Called by `aios journal …`, with or without a daemon. `verify` changes nothing. A flipped bit anywhere is found: lines, blocks,
frames, indexes, digests and cursors all carry checksums. What is lost stays lost, and its neighbours are read all the same; so
most findings need no cure but to know of them. Putting lines back from quarantine stands in `requeue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aios.events.codec import BadLine, decode
from aios.events.event import Position, parse_time
from aios.journal.archive import (
    FOLDER as ARCHIVES,
)
from aios.journal.archive import (
    IMPORTED_FROM,
    DamagedBlock,
    OpenPart,
    archive_path,
    broken_marks,
    list_archives,
    open_archive,
    open_part,
    open_raw,
    rebuild_index,
)
from aios.journal.cursors import Cursors, DamagedCursor
from aios.journal.digest import BadDigest, Digest, PartFacts, days_with_digest, load_digest
from aios.journal.index import ARCHIVE, PLAIN, RAW, BadIndex, Index, build_index, encode_index, index_path, load_index, save_index
from aios.journal.parts import Part, list_parts
from aios.journal.retention import Step, Upkeep
from aios.ports import Files

FINDINGS_MAX = 10_000
BACK_S = 3600.0
"""By so much arrivals may go back without a word: clocks are corrected."""

Grade = Literal["error", "warning"]
Progress = Callable[[int], None]
"""Told how many more bytes were looked at."""


class Finding(NamedTuple):
    """What is wrong, where, and what to do. An error: something is lost or cannot be believed. A warning: nothing is lost."""

    grade: Grade
    file: str
    offset: int
    what: str
    cure: str


@dataclass(slots=True)
class Verified:
    """All findings (the first ten thousand), and what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    beyond: int = 0
    parts: int = 0
    archives: int = 0
    digests: int = 0
    events: int = 0
    bytes: int = 0

    @property
    def errors(self) -> int:
        return sum(one.grade == "error" for one in self.findings)


_NEIGHBOURS = "nothing; its neighbours are read. `aios journal stats` counts it, a backup of the file would bring it back"
_REINDEX = "aios journal reindex"


def verify(files: Files, state: str, progress: Progress = lambda _: None) -> Verified:
    """Everything in this state folder that belongs to the journal. Raises OSError only where a folder cannot be listed."""
    return _Verifier(files, state, progress).run()


class _Verifier:
    def __init__(self, files: Files, state: str, progress: Progress) -> None:
        self._files = files
        self._events = f"{state}/events"
        self._digests = f"{state}/digest"
        self._cursors = f"{state}/cursors"
        self._progress = progress
        self._result = Verified()
        self._last_arrival = ""

    def run(self) -> Verified:
        raw = list_parts(self._files, self._events)
        archives = list_archives(self._files, self._events)
        digests = dict(self._read_digests())
        self._gaps(raw, archives, digests)
        for part in sorted({*raw, *archives}):
            if part.number >= IMPORTED_FROM or part.number == 1:
                self._last_arrival = ""
            facts = _facts_of(digests.get(part.day), part)
            if part in archives:
                self._guarded(f"{ARCHIVES}/{part.name}.zst", self._archive, part, facts)
            if part in raw:
                self._guarded(part.name, self._raw, part, facts, part == raw[-1])
        self._orphans(raw, archives)
        self._read_cursors()
        return self._result

    def _guarded(self, name: str, check: Callable[..., None], *args: object) -> None:
        """A file that the disk does not give, or that goes while we look, does not keep us from the next."""
        try:
            check(*args)
        except FileNotFoundError:
            return  # archived or removed meanwhile
        except OSError as error:
            self._find("error", name, 0, f"it cannot be read: {error}", "look at the disk: dmesg, smartctl -a; then verify again")

    def _find(self, grade: Grade, file: str, offset: int, what: str, cure: str) -> None:
        if len(self._result.findings) < FINDINGS_MAX:
            self._result.findings.append(Finding(grade, file, offset, what, cure))
        else:
            self._result.beyond += 1

    # --- raw parts

    def _raw(self, part: Part, facts: PartFacts | None, newest: bool) -> None:
        self._result.parts += 1
        path = f"{self._events}/{part.name}"
        index = build_index(self._files, path)
        opened = open_raw(self._files, self._events, part)
        try:
            for number in range(len(opened.index)):
                self._lines(part, part.name, opened, number, newest)
        finally:
            opened.close()
        if newest:
            return
        self._index(part.name, path, RAW, index)
        if facts is not None and (facts.sha256, facts.size) != (index.sha256.hex(), index.part_size):
            what = f"it is not what its day's digest says: {facts.events} events in {facts.size} bytes, now {index.events}"
            self._find("error", part.name, 0, f"{what} in {index.part_size}", "somebody changed it; put it back from a backup")

    def _lines(self, part: Part, name: str, opened: OpenPart, number: int, newest: bool) -> None:
        columns = opened.index.columns
        try:
            raw = opened.block(number, twice=True)
        except DamagedBlock as damaged:
            self._find("error", name, columns["offset"][number], f"a block is damaged: {damaged}", _NEIGHBOURS)
            raw = opened.unchecked(number)
        self._result.bytes += len(raw)
        self._progress(len(raw))
        for position, line in _lines_of(part, columns["offset"][number], raw):
            if newest and not line.endswith(b"\n") and number == len(opened.index) - 1:
                continue  # it is being written
            self._line(name, position, line)

    def _line(self, name: str, position: Position, line: bytes) -> None:
        try:
            event = decode(line)
        except BadLine as bad:
            self._find("error", name, position.offset, f"a line of {len(line)} bytes cannot be read: {bad}", _NEIGHBOURS)
            return
        self._result.events += 1
        if event.arrival < self._last_arrival and _back_s(self._last_arrival, event.arrival) > BACK_S:
            what = f"the clock goes back here, from {self._last_arrival} to {event.arrival}"
            self._find("warning", name, position.offset, what, "nothing, if the clock was set back then")
        self._last_arrival = event.arrival

    def _index(self, name: str, path: str, kind: int, true: Index) -> None:
        """The index beside a file against the one that the file gives."""
        shown = index_path(name)
        try:
            index = load_index(self._files, path)
        except FileNotFoundError:
            self._find("warning", shown, 0, "the index is missing; questions look through the whole part", _REINDEX)
        except BadIndex as bad:
            self._find("warning", shown, 0, f"the index cannot be believed and is not: {bad}", _REINDEX)
        else:
            if index.kind != kind or _said(index, index) != _said(true, index):
                what = "the index is whole, but says something else than the file"
                self._find("error", shown, 0, what, f"{_REINDEX} --all")

    # --- archives

    def _archive(self, part: Part, facts: PartFacts | None) -> None:
        self._result.archives += 1
        path, name = archive_path(self._events, part), f"{ARCHIVES}/{part.name}.zst"
        opened = open_archive(self._files, self._events, part)
        try:
            for number in range(len(opened.index)):
                self._lines(part, name, opened, number, False)
            true, broken = self._from_frames(path)
        finally:
            opened.close()
        for at in broken:
            what = f"the mark at byte {at} is damaged; its block can be read, but would be lost together with the index"
            self._find("warning", name, at, what, "nothing; keep a copy of the file, if you like")
        if true.lost():
            at = true.columns["offset"][true.lost()[0]]
            self._find("error", name, at, f"{len(true.lost())} stretches of it cannot be read", _NEIGHBOURS)
        if not true.lost():  # else the index is right to know more than the file gives
            self._index(name, path, ARCHIVE, true)
        if facts is not None and not true.lost() and (facts.sha256, facts.size) != (true.sha256.hex(), true.part_size):
            what = f"it is not what its day's digest says: {facts.events} events, now {true.events}"
            self._find("error", name, 0, what, "somebody changed it; put it back from a backup")

    def _from_frames(self, path: str) -> tuple[Index, list[int]]:
        fd = self._files.open(path, 0)
        try:
            index = rebuild_index(self._files, fd)
            return index, broken_marks(self._files, fd, index)
        finally:
            self._files.close(fd)

    # --- all together

    def _read_digests(self) -> Iterator[tuple[str, Digest]]:
        for day in days_with_digest(self._files, self._digests):
            self._result.digests += 1
            try:
                yield day, load_digest(self._files, self._digests, day)
            except (BadDigest, OSError) as error:
                cure = "remove it while the day's parts are there: it is made again within an hour; else a backup"
                self._find("error", f"digest/{day}.json", 0, f"the digest cannot be believed and is not: {error}", cure)

    def _gaps(self, raw: list[Part], archives: list[Part], digests: Mapping[str, Digest]) -> None:
        """What a digest names and nobody has, though something older is still there: retention goes from the oldest on."""
        there = {part.name for part in (*raw, *archives) if part.number < IMPORTED_FROM}
        oldest = min(there, default="")
        for digest in digests.values():
            for one in digest.parts:
                if one.name not in there and one.name > oldest:
                    what = f"it is gone, with {one.events} events; the digest of {digest.day} has its numbers"
                    self._find("error", one.name, 0, what, "somebody removed it; put it back from a backup")

    def _orphans(self, raw: list[Part], archives: list[Part]) -> None:
        for folder, prefix, parts in ((self._events, "", raw), (f"{self._events}/{ARCHIVES}", f"{ARCHIVES}/", archives)):
            wanted = {index_path(part.name) for part in parts}
            try:
                names = self._files.listdir(folder)
            except FileNotFoundError:
                continue
            for name in sorted(names):
                if name.endswith(".idx") and name not in wanted:
                    self._find("warning", prefix + name, 0, "an index without its part", "nothing; the daemon sweeps it away")

    def _read_cursors(self) -> None:
        for cursor in Cursors(self._files, self._cursors).list():
            if isinstance(cursor, DamagedCursor):
                self._find("error", "cursors/", 0, cursor.message, cursor.hint)


def _facts_of(digest: Digest | None, part: Part) -> PartFacts | None:
    return next((one for one in digest.parts if one.name == part.name), None) if digest is not None else None


def _lines_of(part: Part, offset: int, raw: bytes) -> Iterator[tuple[Position, bytes]]:
    begin = 0
    while begin < len(raw):
        end = raw.find(b"\n", begin) + 1 or len(raw)
        yield Position(part.day, part.number, offset + begin), raw[begin:end]
        begin = end


def _said(index: Index, shown: Index) -> bytes:
    """What an index says about the file: not since when its age counts, nor how often the end of another part comes again.

    Nor that a block is `PLAIN`, where the one that is `shown` does not say so: an older AIOS did not look.
    """
    flags = bytearray(index.columns["flags"])
    for at, there in enumerate(shown.columns["flags"][: len(flags)]):
        flags[at] &= there | ~PLAIN & 0xFF
    columns = {**index.columns, "repeats": index.columns["bad"], "flags": memoryview(flags)}
    return encode_index(
        Index(index.kind, index.part_size, index.file_size, index.events, 0, index.sha256, columns, index.types, index.filters)
    )


def _back_s(before: str, after: str) -> float:
    try:
        return parse_time(before) - parse_time(after)
    except ValueError:
        return 0.0


# --- mending ----------------------------------------------------------------------------------------------------------


def reindex(upkeep: Upkeep, everything: bool = False) -> list[str]:
    """Make the missing and damaged indexes again (`everything`: all of them). Their names. Raises OSError."""
    files, events = upkeep.files, upkeep.events
    done: list[str] = []
    for part in list_parts(files, events)[:-1]:
        if everything or not _has_index(files, f"{events}/{part.name}", RAW):
            upkeep.do(Step("index", part, why="asked"))
            done.append(index_path(part.name))
    for part in list_archives(files, events):
        path = archive_path(events, part)
        if everything or not _has_index(files, path, ARCHIVE):
            with upkeep.alone():
                _reindex_archive(files, path)
            done.append(index_path(f"{ARCHIVES}/{part.name}.zst"))
    return done


def _has_index(files: Files, path: str, kind: int) -> bool:
    try:
        index = load_index(files, path)
    except (BadIndex, FileNotFoundError):
        return False
    return index.kind == kind and index.file_size == files.lstat(path).size


def _reindex_archive(files: Files, path: str) -> None:
    """Since when its age counts is kept, where the old one still says it."""
    try:
        since = load_index(files, path).since
    except (BadIndex, FileNotFoundError):
        since = 0
    fd = files.open(path, 0)
    try:
        index = rebuild_index(files, fd, since=since)
    finally:
        files.close(fd)
    save_index(files, path, index)


def compact(upkeep: Upkeep, keep_raw_days: int = 2) -> list[Mapping[str, Any]]:
    """Compress now what would be compressed later: all closed days but the newest so many (two at least). What was done."""
    parts = list_parts(upkeep.files, upkeep.events)
    days = sorted({part.day for part in parts})
    untouched = set(days[-max(2, keep_raw_days) :])
    done: list[Mapping[str, Any]] = []
    for part in parts:
        if part.day not in untouched:
            done += [draft.data for draft in upkeep.do(Step("archive", part, why="asked"))]
            upkeep.do(Step("remove_raw", part, why="asked"))
    return done


# --- counting ---------------------------------------------------------------------------------------------------------


class PartStats(NamedTuple):
    """One part: where it stands, its bytes there and as plain lines, its events, lines that cannot be read."""

    part: str
    where: str
    raw_bytes: int
    file_bytes: int
    events: int
    bad: int
    by_type: Mapping[str, int]


def stats(files: Files, state: str) -> Iterator[PartStats]:
    """Every part in order. From the indexes alone where they are; else the part is looked through. Raises OSError."""
    events = f"{state}/events"
    for part in sorted({*list_parts(files, events), *list_archives(files, events)}):
        try:
            opened = open_part(files, events, part)
        except FileNotFoundError:
            continue  # removed meanwhile
        try:
            index = opened.index
            where = "imported" if part.number >= IMPORTED_FROM else opened.where
            yield PartStats(part.name, where, index.part_size, index.file_size, index.events, index.bad, index.counts())
        finally:
            opened.close()
