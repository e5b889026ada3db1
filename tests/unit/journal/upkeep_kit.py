"""Days of a small journal on a simulated disk, its upkeep, and the law that whatever happens is held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aios.events.codec import encode
from aios.events.event import Draft, Event, Position, format_time
from aios.journal.archive import list_archives, open_archive
from aios.journal.digest import days_with_digest, load_digest, newest_world
from aios.journal.index import load_index
from aios.journal.parts import list_parts
from aios.journal.reader import FolderReader
from aios.journal.retention import RetentionLimits, Upkeep
from aios.ports import Files
from aios.testing.disk import SimDisk

STATE = "/s"
EVENTS = "/s/events"
FIRST = datetime(2026, 2, 20, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
LIMITS = RetentionLimits(raw_days=2, keep_days=4)
TYPES = ("service.down", "host.sampled", "run.opened")
EACH_DAY = 6


def day(number: int) -> str:
    return format_time(FIRST + number * DAY_S)[:10]


@cache
def line(number: int, each_day: int = EACH_DAY) -> bytes:
    """Event number so-and-so; so many a day, the first of a day at midnight."""
    at = format_time(FIRST + number // each_day * DAY_S + number % each_day * 60)
    data = {"n": number, "why": "x" * (number % 7)}
    return encode(Event(f"e{number}", "test", TYPES[number % 3], f"s{number % 5}.service", at, data, at))


def journal(days: int, each_day: int = EACH_DAY) -> SimDisk:
    """So many days, one of them (the second) in two parts; all of it durable."""
    files = SimDisk()
    files.make_folders(EVENTS)
    for at in range(days):
        lines = [line(number, each_day) for number in range(at * each_day, (at + 1) * each_day)]
        cut = 4 if at == 1 else each_day
        for part, some in enumerate((lines[:cut], lines[cut:]), 1):
            if some:
                files.append(f"{EVENTS}/{day(at)}.{part}.jsonl", b"".join(some), durable=True)
    return files


def numbers_of(day_: str) -> Mapping[str, Any]:
    return {"about": day_}


def upkeep(files: Files, limits: RetentionLimits = LIMITS) -> Upkeep:
    return Upkeep(files, STATE, limits, numbers_of)


def world_at(days: int) -> tuple[Position, Mapping[str, Any]]:
    return Position(day(days - 1), 1, 0), {"world": {"runs": ["open"]}, "queue": {}}


def tend(files: Files, days: int, limits: RetentionLimits = LIMITS, keeper: Upkeep | None = None) -> list[Draft]:
    """One round of upkeep, as the daemon does it. What was told."""
    keeper = keeper or upkeep(files, limits)
    keeper.begin()
    told: list[Draft] = []
    for _ in range(300):
        step, news = keeper.next(FIRST + days * DAY_S)
        told += news
        if step is None:
            return told
        told += keeper.attempt(step, lambda: world_at(days))
    raise AssertionError("the upkeep never comes to an end")


def events(files: Files) -> list[int]:
    return [stored.event.data["n"] for stored in FolderReader(files, EVENTS).read()]


def check(files: SimDisk, days: int, place: str, limits: RetentionLimits = LIMITS, each_day: int = EACH_DAY) -> None:
    """The law: what is kept is read once and in order; what is gone was old, and the digests have its numbers and the world."""
    read = events(files)
    assert read == sorted(set(read)), place
    gone = sorted(set(range(days * each_day)) - set(read))
    for at in sorted({number // each_day for number in gone}):
        assert days - 1 - at >= limits.keep_days, f"{place}: day {day(at)} went too early"
        digest = load_digest(files, f"{STATE}/digest", day(at))
        expected = Counter(TYPES[number % 3] for number in range(at * each_day, (at + 1) * each_day))
        assert dict(digest.by_type) == dict(expected), place
        assert digest.report == numbers_of(day(at)), place
        world = newest_world(files, f"{STATE}/digest")
        assert world is not None, place
        assert world.world == world_at(days)[1], place
    every_file_reads(files, place)


def every_file_reads(files: SimDisk, place: str) -> None:
    for one in days_with_digest(files, f"{STATE}/digest"):
        load_digest(files, f"{STATE}/digest", one)
    for part in list_archives(files, EVENTS):
        opened = open_archive(files, EVENTS, part)
        assert not opened.index.lost(), f"{place}: {part.name} cannot be read"
        for block in range(len(opened.index)):
            opened.block(block)
        opened.close()
    for name in files.listdir(EVENTS):
        if name.endswith(".idx"):
            load_index(files, f"{EVENTS}/{name}".removesuffix(".idx"))
    for part in list_parts(files, EVENTS):
        assert files.read(f"{EVENTS}/{part.name}").endswith(b"\n"), f"{place}: {part.name} is torn"
