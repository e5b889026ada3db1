"""Files are rotated by people's tools, in every way that they know: each whole line is taken once."""

from __future__ import annotations

import pytest

from aios.entropy import SeededEntropy
from aios.events.event import Draft
from aios.events.origin import InboxCursor
from aios.journal.inbox import InboxFolder
from aios.ports import Files
from tests.unit.journal.test_inbox import (
    INBOX,
    QUARANTINE,
    WEB,
    fold_cursor,
    folded,
    inbox,
    inbox_disk,
    line,
    numbers,
    take_all,
)
from tests.unit.journal.test_inbox_rules import Clock, later, sim, until_it_waits

OLD = f"{INBOX}/web.jsonl.1"


def lingering(files: Files, clock: Clock, cursors: dict[str, InboxCursor] | None = None) -> InboxFolder:
    return InboxFolder(files, INBOX, QUARANTINE, cursors=cursors or {}, clock=clock, later=clock.asked.append)


def types(drafts: list[Draft]) -> list[str]:
    return [draft.type for draft in drafts if draft.type != "a.b"]


def test_a_program_that_goes_on_with_the_old_file_loses_nothing() -> None:
    """It has it open, and writes there until it opens the new one; a line may be half when it loses its name."""
    files, clock = inbox_disk(), Clock()
    box = lingering(files, clock)
    files.append(WEB, line(1) + line(2)[:9])
    got = numbers(until_it_waits(box))
    files.rename(WEB, OLD)
    box.touched("web.jsonl")
    box.touched("web.jsonl.1")
    got += numbers(until_it_waits(box))
    files.append(OLD, line(2)[9:] + line(3))
    box.touched("web.jsonl.1")
    got += numbers(until_it_waits(box))
    files.append(WEB, line(4))
    box.touched("web.jsonl")
    got += numbers(until_it_waits(box))
    files.append(OLD, line(5))  # in a folder that nobody watches, say: nobody tells
    assert clock.asked[-1] <= 1
    got += numbers(later(box, clock, 1.0))
    assert got == [1, 2, 3, 4, 5]
    assert types(later(box, clock, 120.0)) == []


def test_an_old_file_is_given_up_after_a_time() -> None:
    """Its half line is dealt with then, and nothing more is asked for."""
    files, clock = inbox_disk(), Clock()
    box = lingering(files, clock)
    files.append(WEB, line(1) + b'{"type": "half')
    until_it_waits(box)
    files.rename(WEB, OLD)
    box.touched("web.jsonl")
    assert until_it_waits(box) == []
    (told,) = later(box, clock, 61.0)
    assert told.data["reason"].startswith("not JSON")
    clock.asked.clear()
    assert later(box, clock, 1.0) == []
    assert clock.asked == []


@pytest.mark.parametrize("first", ["old", "new"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_rotation_to_another_name_of_the_inbox_brings_nothing_twice(first: str, restart: bool) -> None:
    """`web.jsonl` becomes `web-1.jsonl`: known by what it is, whichever name is looked at first, and after a restart too."""
    files, clock = inbox_disk(), Clock()
    cursors: dict[str, InboxCursor] = {}
    box = lingering(files, clock, cursors)
    files.append(WEB, line(1) + line(2))
    drafts = until_it_waits(box)
    files.append(WEB, line(3))
    files.rename(WEB, f"{INBOX}/web-1.jsonl")
    files.append(WEB, line(4))
    if restart:
        box = lingering(files, clock, folded(drafts))
    else:
        for name in ("web.jsonl", "web-1.jsonl") if first == "old" else ("web-1.jsonl", "web.jsonl"):
            box.touched(name)
    drafts += until_it_waits(box)
    files.append(f"{INBOX}/web-1.jsonl", line(5))
    box.touched("web-1.jsonl")
    drafts += until_it_waits(box)
    assert sorted(numbers(drafts)) == [1, 2, 3, 4, 5]
    assert types(drafts) == ["journal.inbox_moved"]
    again = lingering(files, clock, folded(drafts))
    assert until_it_waits(again) == [], "the journal knows it by its new name"


def test_a_rotation_while_no_daemon_ran_is_found() -> None:
    """The rest of the old file is read, wherever it lies in its folder."""
    files = inbox_disk()
    files.append(WEB, line(1))
    cursors = folded(take_all(inbox(files)))
    files.append(WEB, line(2))
    files.rename(WEB, OLD)
    assert numbers(take_all(inbox(files, dict(cursors)))) == [2]
    files.append(WEB, line(3))
    drafts = take_all(inbox(files, cursors))
    assert (numbers(drafts), types(drafts)) == ([2, 3], [])


def test_several_rotations_while_no_daemon_ran_are_found() -> None:
    """In their order; what was kept from earlier days stays where it is."""
    clock = Clock()
    files = sim(clock)
    files.append(f"{WEB}.9", line(99))
    clock.pass_by(1)
    files.append(WEB, line(1))
    cursors = folded(until_it_waits(lingering(files, clock)))
    for number in (2, 3, 4):
        files.append(WEB, line(number))
        files.rename(WEB, f"{WEB}.{number}")
        clock.pass_by(1)
        files.append(WEB, line(number * 10))
        clock.pass_by(1)
    files.append(f"{WEB}.5.gz", b"binary")
    drafts = until_it_waits(lingering(files, clock, cursors))
    assert numbers(drafts) == [2, 20, 3, 30, 4, 40]
    assert types(drafts) == []
    assert until_it_waits(lingering(files, clock, folded(drafts, cursors))) == []


def test_a_file_is_not_taken_for_another_because_of_its_number() -> None:
    """Inodes are used again: only what was read tells."""
    files = inbox_disk()
    files.append(WEB, line(1) + line(2))
    ((name, cursor),) = folded(take_all(inbox(files))).items()
    files.unlink(WEB)
    files.append(f"{INBOX}/other.jsonl", line(7, much="x" * 100))
    here = files.lstat(f"{INBOX}/other.jsonl")
    wrong = {name: cursor._replace(inode=here.inode)}
    assert numbers(take_all(inbox(files, wrong))) == [7]


def test_a_second_name_of_a_file_is_not_read_twice() -> None:
    """A hard link is told, not taken."""
    files = inbox_disk()
    box = inbox(files)
    files.append(WEB, line(1))
    assert numbers(take_all(box)) == [1]
    files.link(WEB, f"{INBOX}/same.jsonl")
    box.touched("same.jsonl")
    (told,) = take_all(box)
    assert (told.type, told.data["error"]) == ("journal.inbox_failed", "another name of inbox/web.jsonl, and read under that")


def test_a_file_that_was_heard_of_is_read_though_it_is_gone_before_its_turn() -> None:
    """Created, written, renamed, and the next one stands there: all between two turns."""
    files, clock = inbox_disk(), Clock()
    box = lingering(files, clock)
    until_it_waits(box)
    for number in range(5):
        files.append(WEB, line(number))
        box.touched("web.jsonl")
        files.rename(WEB, f"{WEB}.{number}")
        box.touched("web.jsonl")
    assert sorted(numbers(until_it_waits(box))) == [0, 1, 2, 3, 4]


def test_late_lines_of_an_old_file_never_move_the_cursor_back() -> None:
    """A restart goes on in the new file."""
    files, clock = inbox_disk(), Clock()
    box = lingering(files, clock)
    files.append(WEB, line(1))
    drafts = until_it_waits(box)
    files.rename(WEB, OLD)
    files.append(WEB, line(2))
    box.touched("web.jsonl")
    drafts += until_it_waits(box)
    files.append(OLD, line(3))
    box.touched("web.jsonl.1")
    drafts += until_it_waits(box)
    assert numbers(drafts) == [1, 2, 3]
    assert until_it_waits(lingering(files, clock, folded(drafts))) == []


def test_a_rotation_leaves_few_files_open() -> None:
    """However often it happens."""
    files, clock = inbox_disk(), Clock()
    box = lingering(files, clock)
    got: list[int] = []
    for number in range(300):
        files.append(WEB, line(number))
        box.touched("web.jsonl")
        files.rename(WEB, f"{WEB}.{number}")
        got += numbers(until_it_waits(box))
    assert got == list(range(300))
    assert len(list(box._lost.files())) <= 66


@pytest.mark.parametrize("seed", range(100))
def test_any_mixture_of_writing_rotating_and_restarting(seed: int) -> None:
    """Each whole line is in the journal once; a daemon that dies has made a beginning of its last lines durable, or none.

    Also over several rotations while no daemon looks.
    """
    chance = SeededEntropy(seed)
    clock = Clock()
    files = sim(clock)
    cursors: dict[str, InboxCursor] = {}
    durable: dict[str, int] = {}
    written = rotated = 0
    box = lingering(files, clock, cursors)

    def keep(drafts: list[Draft], share: float) -> None:
        for draft in drafts[: int(len(drafts) * share)]:
            fold_cursor(cursors, draft.origin)
            if draft.type == "a.b":
                durable[draft.id] = draft.data["n"]
            else:
                assert draft.type == "journal.inbox_moved", (seed, draft)

    for _ in range(150):
        what = chance.uniform(0, 1)
        clock.pass_by(0.001)
        if what < 0.55:
            files.append(WEB, line(written))
            written += 1
            box.touched("web.jsonl")
        elif what < 0.75 and files.exists(WEB):
            rotated += 1
            own = chance.uniform(0, 1) < 0.5
            target = f"web-{rotated}.jsonl" if own else f"web.jsonl.{rotated}"
            files.rename(WEB, f"{INBOX}/{target}")
            for name in ("web.jsonl", target) if chance.uniform(0, 1) < 0.5 else (target, "web.jsonl"):
                box.touched(name)
        elif what < 0.95:
            keep(until_it_waits(box), 1.0)
            clock.pass_by(chance.uniform(0, 30))
        else:
            keep(until_it_waits(box), chance.uniform(0, 1))
            box.close()
            box = lingering(files, clock, cursors)
            if "web" not in cursors:
                keep(until_it_waits(box), 1.0)  # a name that nobody ever heard of is not looked for elsewhere
    keep(until_it_waits(box), 1.0)
    keep(until_it_waits(lingering(files, clock, cursors)), 1.0)
    assert sorted(durable.values()) == list(range(written)), seed


def test_a_file_that_came_back_from_a_copy_is_read_on() -> None:
    """Restored from a backup it has another inode; where the line that was taken last stands at its place, it is the same."""
    files, clock = inbox_disk(), Clock()
    files.append(WEB, line(1) + line(2))
    drafts = until_it_waits(lingering(files, clock))
    files.unlink(WEB)
    files.append(WEB, line(1) + line(2) + line(3))
    box = lingering(files, clock, folded(drafts))
    drafts = until_it_waits(box)
    assert (numbers(drafts), types(drafts)) == ([3], [])
    again = lingering(files, clock, folded(drafts))
    assert until_it_waits(again) == []


@pytest.mark.parametrize("beside", [True, False])
def test_a_new_file_is_no_copy_of_the_old_one(beside: bool) -> None:
    """Where the old one stands beside it, it was rotated, though each of its lines were the same; else its lines tell."""
    files, clock = inbox_disk(), Clock()
    files.append(WEB, line(1) + line(2))
    drafts = until_it_waits(lingering(files, clock))
    if beside:
        files.rename(WEB, OLD)
    else:
        files.unlink(WEB)
    files.append(WEB, line(1) + line(2 if beside else 3))
    assert numbers(until_it_waits(lingering(files, clock, folded(drafts)))) == [1, 2 if beside else 3]
