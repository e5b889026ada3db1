"""What was acknowledged stays, whatever dies and whenever; what was not is never told as done."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from aios.entropy import SeededEntropy
from aios.events.codec import encode
from aios.events.event import Event, Position
from aios.journal.parts import BATCH_BYTES_MAX
from aios.journal.reader import FolderReader
from aios.journal.writer import JournalFile
from aios.ports import Files
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from tests.unit.journal.failing import Crash, FailingFiles, ShortWrites

FOLDER, QUARANTINE = "/s/events", "/s/quarantine"
NOW = datetime(2026, 2, 24, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def event(number: int, size: int = 10) -> Event:
    return Event(
        f"e{number}", "test", "a.b", "host", "2026-02-24T12:00:00Z", {"n": number, "x": "y" * size}, "2026-02-24T12:00:00Z"
    )


def lines(numbers: Iterable[int]) -> list[bytes]:
    return [encode(event(number)) for number in numbers]


def disk() -> SimDisk:
    made = SimDisk()
    made.make_folders("/s")
    return made


def opened(files: Files, now: float = NOW, *, trusted: bool = True) -> JournalFile:
    journal = JournalFile(files, FOLDER, QUARANTINE, clock_trusted=lambda: trusted)
    journal.open(now)
    return journal


def numbers(files: Files) -> list[int]:
    return [stored.event.data["n"] for stored in FolderReader(files, FOLDER).read()]


def commit_until_taken(journal: JournalFile, batch: list[bytes], now: float = NOW) -> list[Position]:
    for _ in range(50):
        try:
            return journal.commit(batch, now)
        except OSError:
            continue
    raise AssertionError("the disk never took it")


class TestCommit:
    def test_positions_are_where_the_lines_stand(self) -> None:
        files = disk()
        journal = opened(files)
        positions = journal.commit(lines([1, 2]), NOW) + journal.commit(lines([3]), NOW)
        reader = FolderReader(files, FOLDER)
        assert [reader.at(position) for position in positions] == [event(1), event(2), event(3)]
        assert [stored.position for stored in reader.read()] == positions
        assert positions == sorted(positions)

    def test_what_is_acknowledged_is_durable(self) -> None:
        """A power cut right after the acknowledgement, with the worst luck, takes nothing."""
        for seed in range(20):
            files = disk()
            journal = opened(files)
            journal.commit(lines([1]), NOW)
            journal.commit(lines([2, 3]), NOW)
            files.power_cut(SeededEntropy(seed))
            assert numbers(files) == [1, 2, 3], f"seed {seed}"

    def test_short_writes_are_gone_on_with(self) -> None:
        files = disk()
        journal = opened(ShortWrites(files, 7))  # type: ignore[arg-type]
        journal.commit(lines([1, 2, 3]), NOW)
        assert numbers(files) == [1, 2, 3]

    @pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EDQUOT, errno.EROFS])
    @pytest.mark.parametrize("half", [False, True])
    def test_a_failing_call_costs_a_part_and_no_event(self, error: int, half: bool) -> None:
        """EIO and ENOSPC at each call in turn, one to three times in a row: each event is read once, in order."""
        for times in (1, 2, 3):
            for at in range(1, 30):
                files = disk()
                failing = FailingFiles(files, at, error=error, times=times, half=half)
                journal = JournalFile(failing, FOLDER, QUARANTINE)  # type: ignore[arg-type]
                _open_until_it_does(journal)
                for batch in ([1, 2], [3], [4, 5, 6], [7]):
                    commit_until_taken(journal, lines(batch))
                files.power_cut(SeededEntropy(at))
                assert numbers(files) == [1, 2, 3, 4, 5, 6, 7], f"call {at}, {times} times"

    def test_a_failed_sync_ends_its_part_for_good(self) -> None:
        """The kernel calls the pages clean after a failed sync: a second one would lie. So the lines go into a new part."""
        files = disk()
        journal = opened(files)
        journal.commit(lines([1]), NOW)
        files.fail(Fault("fdatasync", error=errno.EIO))
        with pytest.raises(OSError):
            journal.commit(lines([2]), NOW)
        positions = journal.commit(lines([2]), NOW)
        assert positions[0].part == 2
        files.power_cut(SeededEntropy(1))
        assert numbers(files) == [1, 2]
        assert [(draft.type, draft.data["part"]) for draft in journal.troubles] == [("journal.part_failed", "2026-02-24.1.jsonl")]

    def test_a_full_disk_does_not_fill_with_empty_parts(self) -> None:
        files = disk()
        journal = opened(files)
        journal.commit(lines([1]), NOW)
        fault = files.fail(Fault("write", last=40, error=errno.ENOSPC))
        for _ in range(40):
            with pytest.raises(OSError):
                journal.commit(lines([2]), NOW)
        assert fault.hits == 40
        assert len(files.listdir(FOLDER)) <= 2
        journal.commit(lines([2]), NOW)
        assert numbers(files) == [1, 2]
        assert len(journal.troubles) <= 64

    def test_a_full_disk_does_not_keep_the_daemon_from_starting(self) -> None:
        """The one who is to heal a full disk must start on it."""
        files = disk()
        opened(files).commit(lines([1]), NOW)
        files.fail(Fault("open", last=3, error=errno.ENOSPC, path="2026-02-25"))
        journal = opened(files, NOW + DAY)
        commit_until_taken(journal, lines([2]), NOW + DAY)
        assert numbers(files) == [1, 2]


class TestDays:
    def test_a_new_day_begins_a_new_part(self) -> None:
        files = disk()
        journal = opened(files)
        journal.commit(lines([1]), NOW)
        (position,) = journal.commit(lines([2]), NOW + DAY)
        assert position == Position("2026-02-25", 1, 0)
        assert sorted(files.listdir(FOLDER)) == ["2026-02-24.1.jsonl", "2026-02-25.1.jsonl"]

    def test_a_day_never_goes_back(self) -> None:
        """Positions only grow, whatever the clock does: while it runs and over a restart."""
        files = disk()
        journal = opened(files)
        first = journal.commit(lines([1]), NOW)
        second = journal.commit(lines([2]), NOW - 5 * DAY)
        third = opened(files, NOW - 5 * DAY).commit(lines([3]), NOW - 5 * DAY)
        assert first < second < third
        assert {position.day for position in first + second + third} == {"2026-02-24"}

    def test_a_leap_forward_is_not_believed_without_a_sign(self) -> None:
        files = disk()
        opened(files).commit(lines([1]), NOW)
        journal = opened(files, NOW + 900 * DAY, trusted=False)
        (position,) = journal.commit(lines([2]), NOW + 900 * DAY)
        assert position.day == "2026-02-24"
        assert journal.clock_doubted

    def test_a_leap_forward_is_believed_when_the_clock_is_in_sync(self) -> None:
        files = disk()
        opened(files).commit(lines([1]), NOW)
        (position,) = opened(files, NOW + 9 * DAY).commit(lines([2]), NOW + 9 * DAY)
        assert position.day == "2026-03-05"

    def test_the_next_day_needs_no_sign(self) -> None:
        files = disk()
        journal = opened(files, trusted=False)
        journal.commit(lines([1]), NOW)
        assert journal.commit(lines([2]), NOW + DAY)[0].day == "2026-02-25"


class TestAfterACrash:
    def test_a_torn_last_line_is_closed_off_and_told(self) -> None:
        files = disk()
        opened(files).commit(lines([1, 2]), NOW)
        whole = len(files.read(f"{FOLDER}/2026-02-24.1.jsonl"))
        torn = encode(event(3))[:50]
        files.append(f"{FOLDER}/2026-02-24.1.jsonl", torn, durable=True)
        journal = opened(files)
        journal.commit(lines([4]), NOW)
        assert numbers(files) == [1, 2, 4]
        (told,) = journal.troubles
        assert (told.type, told.data["offset"], told.data["length"]) == ("journal.torn", whole, 50)
        assert files.read(f"{QUARANTINE}/{told.data['kept']}") == torn

    def test_zeros_at_the_end_are_a_torn_line_too(self) -> None:
        """Some file systems leave a stretch of zeros after a power cut."""
        files = disk()
        opened(files).commit(lines([1]), NOW)
        files.append(f"{FOLDER}/2026-02-24.1.jsonl", bytes(200_000), durable=True)
        opened(files).commit(lines([2]), NOW)
        assert numbers(files) == [1, 2]

    def test_death_at_every_call_loses_nothing_acknowledged(self) -> None:
        """Killed or cut from power at each disk call in turn, and again during recovery; with chance from a seed."""
        for half in (False, True):
            at = 0
            while True:
                at += 1
                for again in range(9):
                    finished = all(_one_history(at, again, half, seed=at * 31 + again * 7 + luck) for luck in range(3))
                if finished:
                    break
            assert at > 12

    def test_what_a_dead_process_wrote_is_synced_before_it_is_believed(self) -> None:
        """Lines that a killed daemon never synced are seen at the start; then they must survive the next power cut."""
        files = disk()
        opened(files).commit(lines([1]), NOW)
        files.append(f"{FOLDER}/2026-02-24.1.jsonl", encode(event(2)))
        journal = opened(files)
        seen = numbers(files)
        journal.commit(lines([3]), NOW)
        files.power_cut(SeededEntropy(3))
        assert seen == [1, 2]
        assert numbers(files) == [1, 2, 3]

    def test_a_sync_that_fails_at_the_start_has_the_end_written_again(self) -> None:
        files = disk()
        opened(files).commit(lines(range(5)), NOW)
        files.append(f"{FOLDER}/2026-02-24.1.jsonl", encode(event(5)))
        files.fail(Fault("fsync", error=errno.EIO, path="events"))
        journal = opened(files)
        journal.commit(lines([6]), NOW)
        files.power_cut(SeededEntropy(5))
        assert numbers(files) == list(range(7))
        assert journal.part.number == 2


def _open_until_it_does(journal: JournalFile) -> None:
    for _ in range(5):
        try:
            journal.open(NOW)
        except OSError:
            continue
        return
    raise AssertionError("it never opened")


def _one_history(at: int, again: int, half: bool, seed: int) -> bool:
    """Write, die at call `at`, recover (dying once more at call `again`), write on. True when it did not die at all."""
    files, chance = disk(), SeededEntropy(seed)
    dying = FailingFiles(files, at, half=half)
    acknowledged: list[int] = []
    try:
        journal = opened(dying)  # type: ignore[arg-type]
        for batch in ([1, 2], [3], [4, 5, 6], [7]):
            journal.commit(lines(batch), NOW + (DAY if batch == [7] else 0))
            acknowledged += batch
    except Crash:
        pass
    _die(files, chance)
    if again:
        try:
            opened(FailingFiles(files, again, half=half), NOW + DAY)  # type: ignore[arg-type]
        except Crash:
            pass
        _die(files, chance)
    journal = opened(files, NOW + DAY)
    read = numbers(files)
    place = f"call {at}, then {again}, half {half}, seed {seed}"
    assert read == list(range(1, len(read) + 1)), place
    assert len(read) >= len(acknowledged), place
    journal.commit(lines([8]), NOW + DAY)
    files.power_cut(chance)
    assert numbers(files) == [*read, 8], place
    return not dying.dead


def _die(files: SimDisk, chance: SeededEntropy) -> None:
    if chance.uniform(0, 1) < 0.7:
        files.power_cut(chance)  # else only the process died, and what it wrote is still seen


def test_no_commit_is_larger_than_what_recovery_doubts() -> None:
    """The bound that recovery and readers rely on is the one that the drivers keep."""
    assert BATCH_BYTES_MAX >= 64 * 65_536
