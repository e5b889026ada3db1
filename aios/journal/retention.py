"""A day's life after it is over: indexed, digested, archived, removed. Decided by `plan`, done by `Upkeep`, one step at a time.

The daemon calls `Upkeep.look`, `plan` and `Upkeep.do` in turn, away from its loop; `aios journal compact` does the same without a
daemon. `plan` is pure: what there is, the limits, and out come steps. A step may be cut off at any instant and leaves the old or
the new, never neither: what is removed was made again elsewhere first, durably, and read back.

Ages are counted in days of the journal, from the newest part: that the clock leapt ahead makes nothing old, since the writer does
not believe it either. The newest two days are never touched (the inbox looks there for ids that come again). Parts are archived
and removed oldest first.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from aios.disk import alone, make_dirs, remove_if_there
from aios.errors import Refused
from aios.events.event import HOST, Draft, Position, day_of
from aios.journal.archive import FOLDER as ARCHIVES
from aios.journal.archive import IMPORTED_FROM, archive_path, list_archives, open_part, write_archive
from aios.journal.cursors import Cursor, Cursors, DamagedCursor
from aios.journal.digest import (
    FOLDER as DIGESTS,
)
from aios.journal.digest import (
    WORLDS_KEPT,
    BadDigest,
    Digest,
    PartFacts,
    days_with_digest,
    load_digest,
    save_digest,
)
from aios.journal.index import ARCHIVE, RAW, BadIndex, build_index, facts_of, index_path, load_index, save_index, trusted_index
from aios.journal.parts import BATCH_BYTES_MAX, Part, list_parts
from aios.ports import Files, Room

DAYS_UNTOUCHED = 2
WITH_WORLD = "world"
"""Name of a step that digests a day: it takes the world with it, which is then newer than any that a digest holds."""
_READ_CHUNK = 1 << 20
_TEMPORARY_STALE_S = 3600.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_LOCK = ".upkeep.lock"

Do = Literal["index", "digest", "slim", "archive", "remove_raw", "remove_archive", "drop_consumer"]


_ENOUGH = Room(1 << 62, 1 << 62)


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """What the settings say. Bytes; 0 is no limit."""

    raw_days: int = 7
    keep_days: int = 30
    low_keep_days: int = 7
    size_max: int = 0
    free_share: float = 0.05
    free_enough: int = 1 << 30
    """The disk runs low below this share of it that is free, but never while so many bytes are."""
    consumer_quiet_days: int = 30


class Raw(NamedTuple):
    """A raw part as it stands: bytes with its index, whether that can be trusted, whether it has an archive already."""

    part: Part
    size: int
    indexed: bool = True
    archived: bool = False


class Archived(NamedTuple):
    """An archive: bytes with its index, since when its age counts (seconds; 0: its day)."""

    part: Part
    size: int
    since: int = 0


class Consumer(NamedTuple):
    """A named cursor: what it has not handled yet begins behind `position`; `moved` is when it last moved, in seconds."""

    name: str
    position: Position
    moved: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is. Raw parts and archives in order; the newest raw part is the one that is written now."""

    raw: tuple[Raw, ...] = ()
    archives: tuple[Archived, ...] = ()
    digests: frozenset[str] = frozenset()
    worlds: frozenset[str] = frozenset()
    """Days whose digest holds the world."""
    consumers: tuple[Consumer, ...] = ()
    room: Room = _ENOUGH
    """What the file system has left, and in all."""
    failed: frozenset[Part] = frozenset()
    """Parts that could not be archived in this round: to make room, something else must go."""

    @property
    def size(self) -> int:
        return sum(one.size for one in self.raw) + sum(one.size for one in self.archives)


class Step(NamedTuple):
    """One thing to do, and why in one word: age, size, disk, closed, changed."""

    do: Do
    part: Part = Part("", 0)
    day: str = ""
    name: str = ""
    why: str = "age"


# --- deciding ---------------------------------------------------------------------------------------------------------


def plan(seen: Seen, limits: RetentionLimits) -> list[Step]:
    """What to do now, in this order. Look and plan again when it is done: making room goes one part at a time."""
    if not seen.raw:
        return []
    newest = seen.raw[-1].part.day
    closed = seen.raw[:-1]
    steps = [Step("index", one.part, why="closed") for one in closed if not one.indexed]
    steps += _digests(seen, newest)
    steps += _slimming(seen)
    for one in closed:
        if _age(one.part.day, newest) >= max(limits.raw_days, DAYS_UNTOUCHED):
            steps += _to_archive(one, "age")
        elif one.archived:
            steps.append(Step("remove_raw", one.part, why="age"))
    old = [one for one in seen.archives if _age_of(one, newest) >= max(limits.keep_days, DAYS_UNTOUCHED)]
    for archive in old:
        steps += _to_remove(archive, seen, limits, newest, "age", hold=True)
    room, under_way = _making_room(seen, limits, newest), {step.part for step in steps if step.do != "index"}
    return steps if room and room[0].part in under_way else steps + room  # its age makes that room already: look again then


def _age(day: str, newest: str) -> int:
    return date.fromisoformat(newest).toordinal() - date.fromisoformat(day).toordinal()


def _age_of(archive: Archived, newest: str) -> int:
    return _age(day_of(archive.since) if archive.since else archive.part.day, newest)


def _digests(seen: Seen, newest: str) -> list[Step]:
    """Each closed day that has none; what was imported changes no state and has none."""
    parts = [*(one.part for one in seen.raw), *(one.part for one in seen.archives)]
    days = sorted({part.day for part in parts if part.number < IMPORTED_FROM and part.day < newest} - seen.digests)
    with_world = days[-1:] if days and days[-1] > max(seen.worlds, default="") else []
    return [Step("digest", day=day, name=WITH_WORLD if day in with_world else "", why="closed") for day in days]


def _slimming(seen: Seen) -> list[Step]:
    return [Step("slim", day=day, why="closed") for day in sorted(seen.worlds)[:-WORLDS_KEPT]]


def _to_archive(raw: Raw, why: str) -> list[Step]:
    steps = [] if raw.archived else [Step("archive", raw.part, why=why)]
    return [*steps, Step("remove_raw", raw.part, why=why)]


def _to_remove(archive: Archived, seen: Seen, limits: RetentionLimits, newest: str, why: str, hold: bool) -> list[Step]:
    """Remove it, if its day's numbers and the world after it are kept. `hold`: not if a consumer that lives still needs it."""
    part = archive.part
    if part.number < IMPORTED_FROM and (part.day not in seen.digests or not any(day >= part.day for day in seen.worlds)):
        return []
    waiting = [one for one in seen.consumers if one.position[:2] <= part]
    quiet = [one for one in waiting if _quiet_days(one, newest) >= limits.consumer_quiet_days]
    if hold and len(quiet) < len(waiting):
        return []
    drops = [Step("drop_consumer", part, name=one.name, why=why) for one in waiting]
    return [*drops, Step("remove_archive", part, why=why)]


def _quiet_days(consumer: Consumer, newest: str) -> int:
    return _age(day_of(consumer.moved), newest) if consumer.moved > 0 else 0


def is_over(seen: Seen, limits: RetentionLimits) -> bool:
    """Whether the journal is larger than it may be."""
    return bool(limits.size_max) and seen.size > limits.size_max


def is_low(seen: Seen, limits: RetentionLimits) -> bool:
    """Whether the disk runs low."""
    return seen.room.free < min(seen.room.total * limits.free_share, limits.free_enough)


def _making_room(seen: Seen, limits: RetentionLimits, newest: str) -> list[Step]:
    """The next thing that makes room: archive the oldest raw part early; when there is none left, remove the oldest archive."""
    over = is_over(seen, limits)
    if not over and not is_low(seen, limits):
        return []
    why = "size" if over else "disk"
    for one in seen.raw[:-1]:
        if _age(one.part.day, newest) >= DAYS_UNTOUCHED and one.part not in seen.failed:
            return _to_archive(one, why)
    floor = DAYS_UNTOUCHED if over else max(limits.low_keep_days, DAYS_UNTOUCHED)
    for archive in seen.archives:
        if _age_of(archive, newest) >= floor:
            steps = _to_remove(archive, seen, limits, newest, why, hold=not over)
            if steps:
                return steps
    return []


# --- doing ------------------------------------------------------------------------------------------------------------

World = Callable[[], tuple[Position, Mapping[str, Any]] | None]
"""The world as a checkpoint would hold it, and its position; None when nobody has it (no daemon)."""
Numbers = Callable[[str], Mapping[str, Any]]
"""The report on a day, as JSON."""


@dataclass(slots=True)
class Upkeep:
    """Carries out steps in a state folder, through `Files`. One at a time; nothing here knows threads or time of its own."""

    files: Files
    state: str
    limits: RetentionLimits
    numbers: Numbers
    _known: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Path of what was closed when we last looked -> size, inode, time of the last change."""
    _changed: set[Part] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    """Paths that we removed ourselves since."""
    _todo: list[Step] = field(default_factory=list)
    _done: set[Step] = field(default_factory=set)
    _failed: set[tuple[Part, str]] = field(default_factory=set)
    _short_of: str = ""

    @property
    def events(self) -> str:
        return f"{self.state}/events"

    @property
    def digests(self) -> str:
        return f"{self.state}/{DIGESTS}"

    @property
    def short_of(self) -> str:
        """Why there was too little room when we last looked: size, disk, or nothing."""
        return self._short_of

    # --- one round

    def begin(self) -> None:
        """A new round: what failed in the last one is tried again."""
        self._todo.clear()
        self._done.clear()
        self._failed.clear()

    def next(self, now: float) -> tuple[Step | None, list[Draft]]:
        """The next step of this round, None when there is no more to do; and what is to be told. Raises OSError."""
        told: list[Draft] = []
        while not (self._todo and self._may_do(self._todo[0])):
            if self._todo:
                self._todo.pop(0)
                continue
            seen, news = self.look(now)
            told += news
            seen = replace(seen, failed=frozenset(part for part, _ in self._failed))
            self._todo = [step for step in plan(seen, self.limits) if self._may_do(step)]
            if not self._todo:
                return None, told
        return self._todo.pop(0), told

    def _may_do(self, step: Step) -> bool:
        return step not in self._done and (step.part, step.day) not in self._failed

    def attempt(self, step: Step, world: World = lambda: None) -> list[Draft]:
        """Do it; where the disk refuses, tell that instead. It is tried again in the next round."""
        self._done.add(step)
        try:
            return self.do(step, world)
        except OSError as error:
            self._failed.add((step.part, step.day))
            what = step.part.name if step.part.day else step.day
            return [_tell("journal.upkeep_failed", step=step.do, part=what, error=str(error))]

    # --- looking

    def look(self, now: float) -> tuple[Seen, list[Draft]]:
        """What there is now, and what a person must hear of: files that somebody else changed or took away. Raises OSError."""
        files, parts = self.files, list_parts(self.files, self.events)
        archives = list_archives(files, self.events)
        told = self._compare(parts[:-1], archives)
        self._sweep(parts, archives, now)
        both = set(archives)
        raws = [Raw(part, *self._raw_facts(part, part == parts[-1]), part in both) for part in parts]
        kept = [self._archive_facts(part) for part in archives if part not in set(parts)]
        digests = days_with_digest(files, self.digests)
        seen = Seen(
            tuple(raws),
            tuple(kept),
            frozenset(digests),
            frozenset(self._worlds(digests)),
            tuple(self._consumers()),
            files.room(self.state),
        )
        return seen, told + self._about_room(seen)

    def _about_room(self, seen: Seen) -> list[Draft]:
        """Told once, and once more when there is room again."""
        why = "size" if is_over(seen, self.limits) else "disk" if is_low(seen, self.limits) else ""
        before, self._short_of = self._short_of, why
        data = {"size_mb": _mb(seen.size), "free_mb": _mb(seen.room.free)}
        if why and why != before:
            return [_tell("journal.disk_low", why=why, **data)]
        return [_tell("journal.disk_normal", **data)] if before and not why else []

    def _raw_facts(self, part: Part, newest: bool) -> tuple[int, bool]:
        path = f"{self.events}/{part.name}"
        size = self.files.lstat(path).size
        if newest:
            return size, True
        indexed = part not in self._changed and trusted_index(self.files, path, size, RAW) is not None
        return size + self._size_of(index_path(path)), indexed

    def _archive_facts(self, part: Part) -> Archived:
        path = archive_path(self.events, part)
        here = self.files.lstat(path)
        index = trusted_index(self.files, path, here.size, ARCHIVE)
        since = index.since if index is not None else 0
        if not since and part.number >= IMPORTED_FROM:  # its index was lost, or made anew: the import wrote the file
            since = here.mtime_ns // 1_000_000_000
        return Archived(part, here.size + self._size_of(index_path(path)), since)

    def _size_of(self, path: str) -> int:
        try:
            return self.files.lstat(path).size
        except FileNotFoundError:
            return 0

    def _worlds(self, days: Sequence[str]) -> Iterator[str]:
        for day in days[-WORLDS_KEPT - 2 :]:
            try:
                if load_digest(self.files, self.digests, day).world is not None:
                    yield day
            except (OSError, BadDigest):
                continue  # `verify` tells of it; here it counts as none

    def _consumers(self) -> Iterator[Consumer]:
        for cursor in Cursors(self.files, f"{self.state}/cursors").list():
            if isinstance(cursor, Cursor):
                yield Consumer(cursor.name, cursor.position, cursor.moved)

    def _compare(self, closed: Sequence[Part], archives: Sequence[Part]) -> list[Draft]:
        """What is closed does not change: whatever did, somebody else did it."""
        paths = {f"{self.events}/{part.name}": part for part in closed}
        paths |= {archive_path(self.events, part): part for part in archives}
        now: dict[str, tuple[int, int, int]] = {}
        told: list[Draft] = []
        for path, part in paths.items():
            stat = self.files.lstat(path)
            now[path] = (stat.size, stat.inode, stat.mtime_ns)
            before = self._known.get(path)
            if before is not None and before != now[path]:
                self._changed.add(part)
                told.append(_tell("journal.part_changed", part=_short(path), was=before[0], size=stat.size))
        archived = {f"{self.events}/{part.name}" for part in archives}  # by another process: `aios journal compact`
        gone = sorted(self._known.keys() - now.keys() - self._gone - archived)
        told += [_tell("journal.part_missing", part=_short(path), size=self._known[path][0]) for path in gone]
        self._known = now
        self._gone.clear()
        return told

    def _sweep(self, parts: Sequence[Part], archives: Sequence[Part], now: float) -> None:
        """What crashes left: temporaries that nobody writes any more, indexes whose part is gone."""
        for folder, there in ((self.events, parts), (f"{self.events}/{ARCHIVES}", archives), (self.digests, ())):
            wanted = {index_path(part.name) for part in there}
            for name in self._names(folder):
                path = f"{folder}/{name}"
                stale = name.startswith(".") and name.endswith(".tmp") and self._is_stale(path, now)
                if stale or (name.endswith(".idx") and name not in wanted):
                    remove_if_there(self.files, path)

    def _names(self, folder: str) -> list[str]:
        try:
            return self.files.listdir(folder)
        except FileNotFoundError:
            return []

    def _is_stale(self, path: str, now: float) -> bool:
        """An import, another process, may be writing one just now."""
        try:
            return self.files.lstat(path).mtime_ns / 1e9 < now - _TEMPORARY_STALE_S
        except OSError:
            return False

    # --- steps

    def do(self, step: Step, world: World = lambda: None) -> list[Draft]:
        """Carry it out; what came of it, to be told. Raises OSError, and then nothing is lost and it can be done again."""
        with self.alone():
            return _STEPS[step.do](self, step, world)

    def _index(self, step: Step, _world: World) -> list[Draft]:
        path = f"{self.events}/{step.part.name}"
        save_index(self.files, path, build_index(self.files, path, self._ids_before(step.part)))
        self._changed.discard(step.part)
        return []

    def _archive(self, step: Step, _world: World) -> list[Draft]:
        index = write_archive(self.files, self.events, step.part, self._ids_before(step.part))
        data = {"events": index.events, "bad": index.bad, "bytes": index.part_size, "stored": index.file_size}
        return [_tell("journal.archived", part=step.part.name, why=step.why, **data)]

    def _remove_raw(self, step: Step, world: World) -> list[Draft]:
        """Only if the archive that stands there gives back exactly these bytes; else it is archived again first."""
        told: list[Draft] = []
        if not self._is_archived(step.part):
            told = self._archive(step, world)
        self._remove(f"{self.events}/{step.part.name}", self.events)
        return told

    def _is_archived(self, part: Part) -> bool:
        path = archive_path(self.events, part)
        try:
            index = load_index(self.files, path)
            if index.kind != ARCHIVE or index.file_size != self.files.lstat(path).size:
                return False
        except (BadIndex, FileNotFoundError):
            return False
        return index.sha256 == _hash_of(self.files, f"{self.events}/{part.name}")

    def _remove_archive(self, step: Step, _world: World) -> list[Draft]:
        """Only if the digest that replaces it can be read, and holds this part."""
        part, events = step.part, 0
        if part.number < IMPORTED_FROM:
            try:
                digest = load_digest(self.files, self.digests, part.day)
            except BadDigest:  # it rotted: while the day is there, it can be made again
                digest = self._counted(part.day, None, None)
                save_digest(self.files, self.digests, digest)
            events = next((one.events for one in digest.parts if one.name == part.name), 0)
        self._remove(archive_path(self.events, part), f"{self.events}/{ARCHIVES}")
        return [_tell("journal.removed", part=part.name, why=step.why, events=events)]

    def _remove(self, path: str, folder: str) -> None:
        """The file first: without it an index is only swept, without the index the file would have to be looked through."""
        self._gone.add(path)
        self.files.unlink(path)
        try:
            self.files.unlink(index_path(path))
        except FileNotFoundError:
            pass
        self.files.fsync_dir(folder)

    def _digest(self, step: Step, world: World) -> list[Draft]:
        found = world() if step.name == WITH_WORLD else None
        position, payload = found if found is not None else (None, None)
        if position is not None and position.day <= step.day:
            return []  # the world has not seen the end of the day yet: in the next round it has
        digest = self._counted(step.day, position, payload)
        save_digest(self.files, self.digests, digest)
        return []

    def _counted(self, day: str, position: Position | None, world: Mapping[str, Any] | None) -> Digest:
        by_type: Counter[str] = Counter()
        by_hour: Counter[str] = Counter()
        there = {*list_parts(self.files, self.events), *list_archives(self.files, self.events)}
        parts = sorted(part for part in there if part.day == day and part.number < IMPORTED_FROM)
        facts = tuple(self._count_part(part, by_type, by_hour) for part in parts)
        return Digest(day, sum(by_type.values()), by_type, by_hour, facts, self.numbers(day), position, world)

    def _count_part(self, part: Part, by_type: Counter[str], by_hour: Counter[str]) -> PartFacts:
        """Each event once: those that the end of the part before holds too count there."""
        opened = open_part(self.files, self.events, part)
        try:
            index = opened.index
            seen = {raw.decode() for raw in self._ids_before(part)} if index.repeats or opened.rebuilt else set()
            for block in range(len(index)):
                for event, _ in opened.readable(block):
                    if not seen or event.id not in seen:
                        by_type[event.type] += 1
                        by_hour[event.arrival[:13]] += 1
            return PartFacts(part.name, index.part_size, index.sha256.hex(), index.events, index.bad)
        finally:
            opened.close()

    def _slim(self, step: Step, _world: World) -> list[Draft]:
        try:
            digest = load_digest(self.files, self.digests, step.day)
        except BadDigest:
            return []
        save_digest(self.files, self.digests, digest.without_world())
        return []

    def _drop_consumer(self, step: Step, _world: World) -> list[Draft]:
        cursors = Cursors(self.files, f"{self.state}/cursors")
        try:
            position = str(cursors.load(step.name).position)
        except DamagedCursor:
            position = ""
        except Refused:
            return []
        if not cursors.remove(step.name):
            return []
        return [_tell("journal.consumer_dropped", consumer=step.name, position=position, part=step.part.name, why=step.why)]

    # --- leaves

    def _ids_before(self, part: Part) -> frozenset[bytes]:
        """Ids in the end of the parts before this one, as far as a failed sync may have left in doubt."""
        ids: set[bytes] = set()
        room = BATCH_BYTES_MAX
        before = [one for one in list_parts(self.files, self.events) if one < part]
        for one in reversed(before):
            ids |= _ids_at_end(self.files, f"{self.events}/{one.name}", room)
            room -= self._size_of(f"{self.events}/{one.name}")
            if room <= 0:
                break
        return frozenset(ids)

    def alone(self) -> AbstractContextManager[None]:
        """No other process tends this journal meanwhile."""
        make_dirs(self.files, self.events)
        return alone(self.files, f"{self.events}/{_LOCK}")


def _tell(event_type: str, **data: object) -> Draft:
    return Draft(type=event_type, subject=HOST, data=data)


def _short(path: str) -> str:
    """Below `events/`."""
    return path.rpartition("/events/")[2]


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


def _hash_of(files: Files, path: str) -> bytes:
    digest, offset = sha256(), 0
    fd = files.open(path, _READ)
    try:
        while chunk := files.pread(fd, _READ_CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
    finally:
        files.close(fd)
    return digest.digest()


def _ids_at_end(files: Files, path: str, room: int) -> set[bytes]:
    fd = files.open(path, _READ)
    try:
        begin = max(0, files.fstat(fd).size - room)
        lines = files.pread(fd, room, begin).split(b"\n")
    finally:
        files.close(fd)
    facts = (facts_of(line) for line in lines[1 if begin else 0 :])
    return {fact.id.encode() for fact in facts if fact is not None}


_STEPS: Mapping[Do, Callable[[Upkeep, Step, World], list[Draft]]] = {
    "index": Upkeep._index,
    "digest": Upkeep._digest,
    "slim": Upkeep._slim,
    "archive": Upkeep._archive,
    "remove_raw": Upkeep._remove_raw,
    "remove_archive": Upkeep._remove_archive,
    "drop_consumer": Upkeep._drop_consumer,
}
