"""Each consumer reads at its own pace: its cursor is the old or the new one, whatever dies, and never another's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from aios.disk import OsFiles
from aios.entropy import SeededEntropy
from aios.errors import Refused
from aios.events.event import START, Position
from aios.journal.cursors import Cursor, Cursors, DamagedCursor
from tests.unit.journal.failing import Crash, FailingFiles
from tests.unit.journal.test_journal_writer import NOW, disk

FOLDER = "/s/cursors"
HERE = Position("2026-02-24", 1, 100)
THERE = Position("2026-02-25", 2, 7)


def test_a_cursor_that_was_never_moved_stands_before_everything() -> None:
    """Reading begins at the beginning."""
    assert Cursors(disk(), FOLDER).load("mail") == Cursor("mail", START, 0, 0.0)


def test_a_cursor_is_found_where_it_was_put() -> None:
    """Another process reads what one wrote; each name has its own."""
    files = disk()
    moved = Cursors(files, FOLDER).move(Cursor("mail"), HERE, NOW)
    Cursors(files, FOLDER).reset("web", THERE, NOW)
    assert Cursors(files, FOLDER).load("mail") == moved == Cursor("mail", HERE, 1, NOW)
    assert [one.name for one in Cursors(files, FOLDER).list() if isinstance(one, Cursor)] == ["mail", "web"]


def test_of_two_that_read_the_same_cursor_the_second_is_refused() -> None:
    """Neither thinks that it handled what the other did."""
    cursors = Cursors(disk(), FOLDER)
    first = second = cursors.load("mail")
    cursors.move(first, HERE, NOW)
    with pytest.raises(Refused, match="moved by somebody else"):
        cursors.move(second, THERE, NOW)
    assert cursors.load("mail").position == HERE


def test_a_removed_cursor_holds_nothing_back() -> None:
    """And a second removal says that there is none."""
    cursors = Cursors(disk(), FOLDER)
    cursors.reset("mail", HERE, NOW)
    assert (cursors.remove("mail"), cursors.remove("mail"), cursors.names()) == (True, False, [])


@pytest.mark.parametrize("name", ["", ".x", "../x", "a/b", "x" * 101, "a b", "a\n"])
def test_a_name_is_never_a_path(name: str) -> None:
    """What is no plain name is refused."""
    with pytest.raises(Refused):
        Cursors(disk(), FOLDER).load(name)


def test_a_flipped_bit_is_told_and_never_believed(tmp_path: Path) -> None:
    """At every place of the file; a reset mends it."""
    cursors = Cursors(OsFiles(), str(tmp_path))
    cursors.reset("mail", HERE, NOW)
    path = tmp_path / "mail.json"
    whole = path.read_bytes()
    for at in range(len(whole) * 8):
        path.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ (1 << at % 8)]) + whole[at // 8 + 1 :])
        with pytest.raises(DamagedCursor):
            cursors.load("mail")
    assert isinstance(cursors.list()[0], DamagedCursor)
    assert cursors.reset("mail", THERE, NOW).position == THERE
    assert cursors.load("mail").position == THERE


@pytest.mark.parametrize("half", [False, True])
def test_killed_at_any_disk_call_it_is_the_old_or_the_new_one(half: bool) -> None:
    """A move that returned stays, a power cut included."""
    at = 0
    while True:
        at += 1
        files = disk()
        Cursors(files, FOLDER).reset("mail", HERE, NOW)
        failing = FailingFiles(files, at, half=half)
        cursors = Cursors(failing, FOLDER)
        done = False
        try:
            cursors.move(cursors.load("mail"), THERE, NOW)
            done = True
        except Crash:
            pass
        files.power_cut(SeededEntropy(at))
        after = Cursors(files, FOLDER).load("mail").position
        assert after == THERE if done else after in (HERE, THERE), at
        if done and not failing.dead:
            break
    assert at > 5


def test_a_full_disk_leaves_the_old_one() -> None:
    """And says so; later it works."""
    for at in range(1, 8):
        files = disk()
        Cursors(files, FOLDER).reset("mail", HERE, NOW)
        cursors = Cursors(FailingFiles(files, at, error=errno.ENOSPC), FOLDER)
        try:
            cursors.move(cursors.load("mail"), THERE, NOW)
        except OSError:
            assert Cursors(files, FOLDER).load("mail").position in (HERE, THERE)
        else:
            assert Cursors(files, FOLDER).load("mail").position == THERE
        sure = Cursors(files, FOLDER)
        assert sure.move(sure.load("mail"), THERE, NOW).position == THERE
