"""Every readable event once, in order, while it is written too; bad lines are stepped over and told."""

from __future__ import annotations

import errno

import pytest

from aios.events.codec import encode
from aios.events.event import Position
from aios.journal.reader import FolderReader
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from tests.unit.journal.test_journal_writer import DAY, FOLDER, NOW, commit_until_taken, disk, event, lines, numbers, opened

PART = f"{FOLDER}/2026-02-24.1.jsonl"
Bad = list[tuple[Position, int, str]]


def reader(files: SimDisk, bad: Bad | None = None) -> FolderReader:
    told: Bad = bad if bad is not None else []
    return FolderReader(files, FOLDER, lambda position, length, reason: told.append((position, length, reason)))


def test_an_empty_journal_reads_as_nothing() -> None:
    assert list(reader(disk()).read()) == []
    assert reader(disk()).at(Position("2026-02-24", 1, 0)) is None


def test_reading_begins_behind_a_position_of_any_part() -> None:
    files = disk()
    journal = opened(files)
    positions = journal.commit(lines([1, 2, 3]), NOW) + journal.commit(lines([4, 5]), NOW + DAY)
    for count, position in enumerate(positions, 1):
        assert [stored.event.data["n"] for stored in reader(files).read(position)] == list(range(count + 1, 6))


def test_when_the_part_of_a_position_is_gone_reading_begins_with_the_next() -> None:
    """Old days are archived; a reader that comes late goes on with what there is."""
    files = disk()
    journal = opened(files)
    (gone,) = journal.commit(lines([1]), NOW)
    journal.commit(lines([2]), NOW + DAY)
    files.unlink(PART)
    assert [stored.event.data["n"] for stored in reader(files).read(gone)] == [2]


def test_reading_can_begin_with_a_day() -> None:
    files = disk()
    journal = opened(files)
    journal.commit(lines([1]), NOW)
    journal.commit(lines([2]), NOW + DAY)
    assert [stored.event.data["n"] for stored in reader(files).since("2026-02-25")] == [2]


def test_a_bad_line_is_told_and_its_neighbours_live() -> None:
    files = disk()
    journal = opened(files)
    positions = journal.commit(lines([1, 2, 3]), NOW)
    files.flip(PART, positions[1].offset + 30)
    bad: Bad = []
    assert [stored.event.data["n"] for stored in reader(files, bad).read()] == [1, 3]
    assert [(position, length) for position, length, _ in bad] == [(positions[1], len(encode(event(2))))]
    assert reader(files).at(positions[1]) is None
    assert reader(files).at(positions[2]) == event(3)


@pytest.mark.parametrize("length", [65_537, 300_000, 3 << 20])
def test_an_overlong_line_is_passed_over(length: int) -> None:
    files = disk()
    opened(files).commit(lines([1]), NOW)
    begin = len(files.read(PART))
    files.append(PART, b"x" * (length - 1) + b"\n" + encode(event(2)))
    bad: Bad = []
    assert [stored.event.data["n"] for stored in reader(files, bad).read()] == [1, 2]
    assert [(position.offset, told) for position, told, _ in bad] == [(begin, length)]


def test_a_position_that_is_none_gives_no_event() -> None:
    files = disk()
    opened(files).commit(lines([1, 2]), NOW)
    for offset in (1, 7, 100_000):
        assert reader(files).at(Position("2026-02-24", 1, offset)) is None


def test_a_tail_gives_what_is_new_and_only_that() -> None:
    files = disk()
    journal = opened(files)
    tail = reader(files).tail()
    seen: list[int] = []
    for number in range(6):
        journal.commit(lines([number]), NOW + number * DAY / 4)
        seen += [stored.event.data["n"] for stored in tail.news()]
        assert tail.news() == []
    assert seen == list(range(6))
    tail.close()


def test_a_tail_waits_for_the_end_of_a_line() -> None:
    files = disk()
    opened(files).commit(lines([1]), NOW)
    tail = reader(files).tail()
    tail.news()
    line = encode(event(2))
    files.append(PART, line[:40])
    assert tail.news() == []
    files.append(PART, line[40:])
    assert [stored.event.data["n"] for stored in tail.news()] == [2]


def test_events_written_again_after_a_failed_sync_are_read_once() -> None:
    """Readers may still see the lines of the failed part; then they stand in two parts."""
    files = disk()
    journal = opened(files)
    journal.commit(lines([1]), NOW)
    files.fail(Fault("fdatasync", error=errno.EIO))
    positions = commit_until_taken(journal, lines([2, 3]))
    journal.commit(lines([4]), NOW)
    assert files.read(PART).count(b"\n") == 3
    assert numbers(files) == [1, 2, 3, 4]
    tail = reader(files).tail()
    assert [stored.event.data["n"] for _ in range(3) for stored in tail.news()] == [1, 2, 3, 4]
    assert [stored.event.data["n"] for stored in reader(files).read(positions[0])] == [3, 4], "begun behind the second copy"


def test_a_failure_at_midnight_repeats_nothing_either() -> None:
    files = disk()
    journal = opened(files)
    journal.commit(lines([1]), NOW)
    files.fail(Fault("fdatasync", error=errno.EIO))
    with pytest.raises(OSError):
        journal.commit(lines([2]), NOW)
    journal.commit(lines([2, 3]), NOW + DAY)
    assert numbers(files) == [1, 2, 3]
