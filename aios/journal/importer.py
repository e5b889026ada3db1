"""Event files of the original AIOS (v0.5, v0.6) into archived parts of their own. Called by `aios journal import`.

Each day that they tell of becomes `events/archive/DAY.N.jsonl.zst` with N from `IMPORTED_FROM` on: queries, reports and backtests
read it, the world is never folded from it, and its age counts from the import. `dialects` says what a record means; here is how
records are found in files that were damaged in every way (`records`), how an import is one thing that happens or does not
(`Importer`), and what is told of it (`Imported`).

An event's id is made of the record's content, so importing twice adds nothing, also when the files overlap or were put together
in another way. All parts of an import count from one instant: while it is under way, and after it was cut off, their names
stand in `import.unfinished`, and nobody reads them; the next import removes what was left and begins anew.

Memory: the events that wait to be sorted are spooled to the disk; of a day only the places of its lines are held, and the ids
that are there already of that day and its neighbours (a local time may have been understood otherwise the last time).
"""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from aios.disk import alone, make_dirs, read_all, remove_if_there, write_all, write_small
from aios.errors import Refused
from aios.events.codec import LEVELS_MAX, BadLine, decode_hostile, depth_of, encode
from aios.events.origin import IMPORT_PREFIX
from aios.events.redact import Redactor
from aios.journal.archive import FOLDER, IMPORTED_FROM, ArchiveWriter, archive_path, list_archives
from aios.journal.dialects import NotAnEvent, event_of, zone_vote
from aios.journal.index import BLOCK_BYTES, BLOCK_LINES, facts_of, index_path
from aios.journal.parts import Part
from aios.journal.quarantine import Quarantine
from aios.journal.segments import EVERYTHING, Effort, Segment, forward, unfinished_import, unfinished_path
from aios.ports import Files

DOCUMENT_MAX = 64 << 20
"""Bytes of a line, or of a file that is one JSON document."""
REASONS_TOLD = 100
_SPOOL = "import.spool"
_LOCK = "import.lock"
_TEMPORARY = re.compile(r"\.(?:import\.unfinished|\d{4}-\d\d-\d\d\.(\d{1,9})\.(?:jsonl\.zst|idx))\.\d+\.\d+\.tmp", re.ASCII)
_SPOOL_BYTES = 8 << 20
_CHUNK = 1 << 20
_VOTES = 10_000
_BOM = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_READ = os.O_RDONLY | os.O_NONBLOCK
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


# --- records in a file ------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """Something in a file that should be a record: its line (from 1), and the record, or its bytes and why it is none."""

    line: int
    raw: bytes
    record: Any
    reason: str = ""


def records(files: Files, path: str) -> Iterator[Found]:
    """Everything in the file that is not blank, in order. Raises OSError.

    Understood are JSON lines, JSON arrays in a line, several objects in a line, a whole file that is one JSON document;
    UTF-8 with byte-order marks anywhere, UTF-16 with one; bytes that are no UTF-8, halves of surrogates and NaN (as U+FFFD,
    `?` and null).
    """
    first = True
    for number, raw in _lines(files, path):
        line = raw.replace(_BOM, b"").strip(b" \t\r\n\0")
        if not line:
            continue
        if first and line[:1] in b"[{" and not _is_json(line):
            whole = _whole_document(files, path)
            if whole is not None:
                yield from (_as_record(number, item) for item in whole)
                return
        first = False
        yield from _in_line(number, line)


def _is_json(line: bytes) -> bool:
    return len(_values(line)[0]) > 0


def _whole_document(files: Files, path: str) -> list[Any] | None:
    """The records of a file that is one JSON document over several lines; None when it is none."""
    try:
        raw = read_all(files, path, DOCUMENT_MAX)
    except OSError:
        return None  # too long for one document; its lines are looked at one by one
    values, _ = _values(_as_utf8(raw).replace(_BOM, b"").strip(b" \t\r\n\0"))
    if len(values) != 1:
        return None
    return values[0] if isinstance(values[0], list) else values


def _in_line(number: int, line: bytes) -> Iterator[Found]:
    values, reason = _values(line)
    if not values:
        yield Found(number, line, None, reason)
    for value in values:
        for item in value if isinstance(value, list) else (value,):
            yield _as_record(number, item)


def _as_record(number: int, item: Any) -> Found:
    if isinstance(item, dict):
        return Found(number, b"", item)
    return Found(number, _bytes_of(item), None, "not a JSON object")


def _bytes_of(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _values(line: bytes) -> tuple[list[Any], str]:
    """The JSON values in a line; none, and why."""
    if len(line) > DOCUMENT_MAX:
        return [], f"longer than {DOCUMENT_MAX} bytes"
    try:
        return [decode_hostile(line, bytes_max=DOCUMENT_MAX)], ""
    except BadLine as bad:
        reason = str(bad)
    if depth_of(line) > LEVELS_MAX:
        return [], reason
    try:
        return _as_python_wrote_it(line.decode("utf-8", "replace")), ""
    except (ValueError, RecursionError):
        return [], reason


def _as_python_wrote_it(text: str) -> list[Any]:
    """What Python's `json` writes and JSON does not know; objects that two writers put into one line. Raises ValueError."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    found: list[Any] = []
    at = 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        if found and not isinstance(value, dict):
            raise ValueError("several values in one line that are no objects")
        found.append(_without_surrogates(value))
        while at < len(text) and text[at] in " \t,\0":
            at += 1
    return found


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value


def _lines(files: Files, path: str) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; of one that is too long only so much that it is seen to be."""
    number, held, skipping = 0, b"", False
    for chunk in _chunks(files, path):
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            number += 1
            if not skipping:
                yield number, line
            skipping = False
        if len(held) > DOCUMENT_MAX:
            if not skipping:
                yield number + 1, held[: DOCUMENT_MAX + 1]
            held, skipping = b"", True
    if held and not skipping:
        yield number + 1, held


def _chunks(files: Files, path: str) -> Iterator[bytes]:
    """The file's bytes as UTF-8."""
    fd = files.open(path, _READ)
    try:
        offset = 0
        decoder: codecs.IncrementalDecoder | None = None
        while chunk := files.pread(fd, _CHUNK, offset):
            if offset == 0 and chunk.startswith(_UTF16):
                decoder = codecs.getincrementaldecoder("utf-16")("replace")
            offset += len(chunk)
            yield decoder.decode(chunk).encode("utf-8", "replace") if decoder else chunk
    finally:
        files.close(fd)


def _as_utf8(raw: bytes) -> bytes:
    return raw.decode("utf-16", "replace").encode("utf-8", "replace") if raw.startswith(_UTF16) else raw


# --- an import --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FileResult:
    """What became of one file: read = imported + already_there + quarantined. `reasons` are the first hundred."""

    file: str
    read: int = 0
    imported: int = 0
    already_there: int = 0
    quarantined: int = 0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import. `days` are those that it added events to, `zone_s` how far local times were ahead of UTC."""

    files: tuple[FileResult, ...]
    days: tuple[str, ...]
    types: Counter[str]
    zone_s: int

    @property
    def read(self) -> int:
        return sum(one.read for one in self.files)

    @property
    def imported(self) -> int:
        return sum(one.imported for one in self.files)

    @property
    def already_there(self) -> int:
        return sum(one.already_there for one in self.files)

    @property
    def quarantined(self) -> int:
        return sum(one.quarantined for one in self.files)


class _Place(NamedTuple):
    """An event in a day's spool, and which of the files it came from."""

    arrival: str
    offset: int
    length: int
    file: int
    id: str
    type: str


class Importer:
    """One import. `state` is the state folder; its `events/` need not exist. `local_zone_s`: see `zone_of`. Raises OSError."""

    def __init__(self, files: Files, state: str, redactor: Redactor, now: float) -> None:
        self._files = files
        self._events = f"{state}/events"
        self._spool = f"{self._events}/{FOLDER}/{_SPOOL}"
        self._quarantine = Quarantine(files, f"{state}/quarantine", "import")
        self._redactor = redactor
        self._now = now
        self._held: dict[str, list[bytes]] = defaultdict(list)
        self._held_bytes = 0
        self._days: set[str] = set()
        self._types: Counter[str] = Counter()

    def run(self, paths: Sequence[str], *, zone_s: int | None = None, local_zone_s: int = 0) -> Imported:
        """All of these files, or nothing. Raises Refused for a file that is none, before anything is changed; OSError."""
        _refuse_what_is_no_file(self._files, paths)
        make_dirs(self._files, f"{self._events}/{FOLDER}")
        with self._alone():
            self.clean_up()
            ahead = zone_s if zone_s is not None else zone_of(self._files, paths, local_zone_s)
            return self._import(paths, ahead)

    def _import(self, paths: Sequence[str], ahead: int) -> Imported:
        results = [FileResult(path) for path in paths]
        try:
            for number, path in enumerate(paths):
                self._read_file(number, path, results[number], ahead)
            self._flush()
            days = self._write_days(results)
        finally:
            self._quarantine.close()
            self._remove_spool()
        return Imported(tuple(results), days, self._types, ahead)

    def clean_up(self) -> None:
        """Remove what an import left that was cut off."""
        self._remove_spool()
        folder = f"{self._events}/{FOLDER}"
        for name in self._files.listdir(folder):
            temporary = _TEMPORARY.fullmatch(name)
            if temporary and (temporary[1] is None or int(temporary[1]) >= IMPORTED_FROM):
                self._files.unlink(f"{folder}/{name}")
        for part in unfinished_import(self._files, self._events):
            for path in (archive_path(self._events, part), index_path(archive_path(self._events, part))):
                with suppress(FileNotFoundError):
                    self._files.unlink(path)
        self._files.fsync_dir(folder)  # gone for good before their names are believed again
        with suppress(FileNotFoundError):
            self._files.unlink(unfinished_path(self._events))
            self._files.fsync_dir(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process imports meanwhile. Raises Refused."""
        with ExitStack() as stack:
            try:
                stack.enter_context(alone(self._files, f"{self._events}/{FOLDER}/{_LOCK}", wait=False))
            except BlockingIOError:
                cure = "wait for it to end, then import again: nothing comes twice"
                raise Refused("another import goes on", cure) from None
            yield

    # --- in

    def _read_file(self, number: int, path: str, result: FileResult, zone_s: int) -> None:
        name = os.path.basename(path)
        for found in records(self._files, path):
            result.read += 1
            reason = found.reason or self._take(found, number, name, zone_s)
            if reason:
                self._put_aside(found, path, reason, result)

    def _take(self, found: Found, number: int, name: str, zone_s: int) -> str:
        """Into the spool of its day; why not."""
        try:
            event = self._redactor.clean(event_of(found.record, zone_s, f"{IMPORT_PREFIX}{name}:{found.line}"))
            line = encode(event)
        except (NotAnEvent, BadLine) as reason:
            return str(reason)
        day = event.arrival[:10]
        self._days.add(day)
        self._held[day].append(b"%d %b" % (number, line))
        self._held_bytes += len(line)
        if self._held_bytes >= _SPOOL_BYTES:
            self._flush()
        return ""

    def _put_aside(self, found: Found, path: str, reason: str, result: FileResult) -> None:
        self._quarantine.keep(
            found.raw or _bytes_of(found.record), file=path, offset=found.line, length=len(found.raw), reason=reason
        )
        result.quarantined += 1
        result.why[reason] += 1
        if len(result.reasons) < REASONS_TOLD:
            result.reasons.append({"line": found.line, "reason": reason})

    def _flush(self) -> None:
        if self._held:
            make_dirs(self._files, self._spool)
        for day, lines in self._held.items():
            fd = self._files.open(f"{self._spool}/{day}", _APPEND)
            try:
                write_all(self._files, fd, b"".join(lines))
            finally:
                self._files.close(fd)
        self._held.clear()
        self._held_bytes = 0

    # --- out

    def _write_days(self, results: list[FileResult]) -> tuple[str, ...]:
        there = [part for part in list_archives(self._files, self._events) if part.number >= IMPORTED_FROM]
        number = max((part.number for part in there), default=IMPORTED_FROM - 1) + 1
        known = _KnownIds(self._files, self._events, there)
        parts = [Part(day, number) for day in sorted(self._days)]
        if not parts:
            return ()
        names = "".join(f"{part.name}.zst\n" for part in parts)
        write_small(self._files, unfinished_path(self._events), names.encode())
        written = tuple(part.day for part in parts if self._write_day(part, known.around(part.day), results))
        self._files.unlink(unfinished_path(self._events))  # from this instant on all of it is there
        self._files.fsync_dir(f"{self._events}/{FOLDER}")
        return written

    def _write_day(self, part: Part, known: set[int], results: list[FileResult]) -> bool:
        """False when nothing of the day is new."""
        writer: ArchiveWriter | None = None
        block: list[bytes] = []
        size = 0
        try:
            for place, line in self._sorted_lines(part.day):
                result = results[place.file]
                if (key := _key_of(place.id)) in known:
                    result.already_there += 1
                    continue
                known.add(key)
                result.imported += 1
                self._types[place.type] += 1
                if len(block) >= BLOCK_LINES or size + len(line) > BLOCK_BYTES:
                    writer = writer or self._writer(part)
                    writer.add(b"".join(block))
                    block, size = [], 0
                block.append(line)
                size += len(line)
            if block:
                writer = writer or self._writer(part)
                writer.add(b"".join(block))
            if writer:
                writer.commit(since=int(self._now))
        finally:
            if writer:
                writer.give_up()
        return writer is not None

    def _writer(self, part: Part) -> ArchiveWriter:
        return ArchiveWriter(self._files, archive_path(self._events, part))

    def _sorted_lines(self, day: str) -> Iterator[tuple[_Place, bytes]]:
        """By time; those of the same time in the order of the files."""
        fd = self._files.open(f"{self._spool}/{day}", _READ)
        try:
            for place in sorted(self._places(fd)):
                yield place, self._files.pread(fd, place.length, place.offset)
        finally:
            self._files.close(fd)

    def _places(self, fd: int) -> Iterator[_Place]:
        """Raises Refused when the disk gives back something else than was put in."""
        for chunk in forward(self._files, fd, 0, self._files.fstat(fd).size):
            offset = chunk.offset
            for line in chunk.raw.split(b"\n")[:-1]:
                number, _, body = line.partition(b" ")
                fact = facts_of(body)
                if fact is None:
                    raise Refused(
                        "what was spooled does not read back: the disk is not to be trusted", "look at it, then try again"
                    )
                yield _Place(fact.arrival, offset + len(number) + 1, len(body) + 1, int(number), fact.id, fact.type)
                offset += len(line) + 1

    def _remove_spool(self) -> None:
        try:
            names = self._files.listdir(self._spool)
        except FileNotFoundError:
            return
        for name in names:
            remove_if_there(self._files, f"{self._spool}/{name}")
        with suppress(OSError):  # it holds nothing that counts, and the next import tries again
            self._files.rmdir(self._spool)


class _KnownIds:
    """What was imported before, day by day."""

    def __init__(self, files: Files, events: str, parts: Iterable[Part]) -> None:
        self._files = files
        self._events = events
        self._parts: dict[str, list[Part]] = defaultdict(list)
        for part in parts:
            self._parts[part.day].append(part)
        self._of_day = lru_cache(maxsize=3)(self._read_day)

    def around(self, day: str) -> set[int]:
        """Of this day and its neighbours. A set of its own: the caller adds what it writes."""
        middle = date.fromisoformat(day)
        return set().union(*(self._of_day((middle + timedelta(days=step)).isoformat()) for step in (-1, 0, 1)))

    def _read_day(self, day: str) -> frozenset[int]:
        found: set[int] = set()
        for part in self._parts.get(day, ()):
            for chunk in Segment(self._files, self._events, part).chunks(EVERYTHING, Effort()):
                found.update(_key_of(fact.id) for line in chunk.raw.split(b"\n") if (fact := facts_of(line)) is not None)
        return frozenset(found)


def _key_of(event_id: str) -> int:
    """64 bits of a UUIDv5: of a million events two are mistaken for one another once in 37 million imports."""
    return int(event_id.replace("-", "")[16:], 16)


def _refuse_what_is_no_file(files: Files, paths: Sequence[str]) -> None:
    if not paths:
        raise Refused("no file is named", "aios journal import FILE…")
    for path in paths:
        try:
            mode = files.stat(path).mode
        except FileNotFoundError:
            raise Refused(f"there is no file {path}", "name event files of AIOS v0.5 or v0.6") from None
        if not stat.S_ISREG(mode):
            raise Refused(f"{path} is no file", "of a folder, name the files: aios journal import FOLDER/*.jsonl")


def zone_of(files: Files, paths: Sequence[str], local_zone_s: int) -> int:
    """By how much local times in these files were ahead of UTC, in seconds.

    Some records say the same moment twice, as a number and as a local time: the most of them decide for all files of an import.
    Where none does, it is the machine's own zone.
    """
    votes: Counter[int] = Counter()
    for path in paths:
        for seen, found in enumerate(records(files, path)):
            if seen >= _VOTES:
                break
            vote = zone_vote(found.record) if found.record is not None else None
            if vote is not None:
                votes[vote] += 1
    return votes.most_common(1)[0][0] if votes else local_zone_s


__all__ = ["FileResult", "Imported", "Importer", "records", "zone_of"]
