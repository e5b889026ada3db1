"""A checkpoint is whole or it is not read; there is always the one before, and then the journal itself."""

from __future__ import annotations

import errno

import pytest

from aios.entropy import SeededEntropy
from aios.events.event import Position
from aios.journal.checkpoints import Checkpoints
from aios.ports import Files
from aios.testing.disk import SimDisk
from tests.unit.journal.failing import Crash, FailingFiles
from tests.unit.journal.test_journal_writer import disk

FOLDER = "/s/checkpoints"


def at(number: int) -> Position:
    return Position("2026-02-24", 1, number)


def checkpoints(files: Files, version: int = 1) -> Checkpoints:
    return Checkpoints(files, FOLDER, version)


def saved(files: SimDisk, count: int) -> Checkpoints:
    made = checkpoints(files)
    for number in range(1, count + 1):
        made.save(at(number), {"n": number})
    return made


def test_the_newest_is_loaded_and_two_are_kept() -> None:
    files = disk()
    assert saved(files, 12).load() == (at(12), {"n": 12})
    assert len(files.listdir(FOLDER)) == 2


def test_without_any_there_is_none() -> None:
    assert checkpoints(disk()).load() is None


def test_positions_order_by_number_and_not_by_spelling() -> None:
    files = disk()
    made = checkpoints(files)
    made.save(at(9), "nine")
    made.save(at(10), "ten")
    assert made.load() == (at(10), "ten")


def test_any_flipped_byte_is_seen_and_the_older_one_taken() -> None:
    files = disk()
    made = saved(files, 2)
    path = f"{FOLDER}/{at(2)}.json"
    for offset in range(len(files.read(path))):
        files.flip(path, offset)
        assert made.load() == (at(1), {"n": 1}), f"byte {offset}"
        files.flip(path, offset)
    assert made.load() == (at(2), {"n": 2})


def test_when_all_are_damaged_there_is_none() -> None:
    files = disk()
    made = saved(files, 2)
    for number in (1, 2):
        files.flip(f"{FOLDER}/{at(number)}.json", 100)
    assert made.load() is None


def test_another_version_is_not_read() -> None:
    files = disk()
    saved(files, 2)
    assert checkpoints(files, version=2).load() is None


def test_one_whose_position_is_not_in_the_journal_is_passed_over() -> None:
    assert saved(disk(), 2).load(lambda position: position != at(2)) == (at(1), {"n": 1})


def test_one_under_another_name_is_not_believed() -> None:
    """A copy for a later position would skip what lies between."""
    files = disk()
    made = saved(files, 1)
    files.link(f"{FOLDER}/{at(1)}.json", f"{FOLDER}/{at(99)}.json")
    assert made.load() == (at(1), {"n": 1})


@pytest.mark.parametrize("error", [0, errno.EIO, errno.ENOSPC])
def test_whatever_call_fails_one_of_the_last_two_is_there(error: int) -> None:
    """Death, EIO or ENOSPC at each call of a save, and a power cut behind it."""
    for call in range(1, 40):
        files = disk()
        saved(files, 2)
        failing = FailingFiles(files, call, error=error, half=True)
        done = False
        try:
            checkpoints(failing).save(at(3), {"n": 3})  # type: ignore[arg-type]
            done = True
        except (Crash, OSError):
            pass
        files.power_cut(SeededEntropy(call))
        found = checkpoints(files).load()
        assert found in ([(at(3), {"n": 3})] if done else [(at(2), {"n": 2}), (at(3), {"n": 3})]), f"call {call}"
        checkpoints(files).save(at(4), {"n": 4})
        assert checkpoints(files).load() == (at(4), {"n": 4})
        if failing.calls < call:
            assert call > 5
            return
    raise AssertionError("the save never went through")
