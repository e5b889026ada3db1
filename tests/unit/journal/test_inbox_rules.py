"""No source keeps others from their turn, and nothing that somebody may still need is removed."""

from __future__ import annotations

import errno
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from aios.events.event import Draft
from aios.events.origin import InboxCursor
from aios.journal.ids import IdMemory
from aios.journal.inbox import InboxFolder, InboxRules
from aios.journal.pace import BURST_S, PaceLimits, Paces
from aios.ports import Files
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from tests.unit.journal.test_inbox import INBOX, QUARANTINE, fold_cursor, folded, inbox_disk, line, numbers
from tests.unit.journal.test_journal_writer import NOW

DAY_S = 86_400.0
OLD = "2026-02-20"


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.wall, self.mono = NOW, 1000.0
        self.asked: list[float] = []

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep_until(self, deadline: float) -> None:
        raise AssertionError

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


def inbox(files: Files, clock: Clock, cursors: MutableMapping[str, InboxCursor] | None = None, **rules: Any) -> InboxFolder:
    durable = {} if cursors is None else cursors
    return InboxFolder(
        files, INBOX, QUARANTINE, cursors=durable, clock=clock, rules=InboxRules(**rules), later=clock.asked.append
    )


def until_it_waits(box: InboxFolder) -> list[Draft]:
    drafts: list[Draft] = []
    for _ in range(10_000):
        taken = box.take(100)
        drafts += taken.drafts
        if not taken.more:
            return drafts
    raise AssertionError("it never waits: a loop without an end")


def types(drafts: list[Draft]) -> list[str]:
    return [draft.type for draft in drafts if draft.type != "a.b"]


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_source_over_its_limit_is_slowed_and_nothing_of_it_is_lost() -> None:
    """Its lines wait in its own file; it says when it wants to go on; it is told once."""
    files, clock = inbox_disk(), Clock()
    box = inbox(files, clock, limits=PaceLimits(lines_per_s=10))
    files.append(f"{INBOX}/loud.jsonl", b"".join(line(n) for n in range(1000)))
    files.append(f"{INBOX}/quiet.jsonl", line(5000))
    first = until_it_waits(box)
    assert 5000 in numbers(first)
    assert len(numbers(first)) == 10 * BURST_S + 1
    assert types(first) == ["journal.inbox_slowed"]
    told = next(draft for draft in first if draft.type == "journal.inbox_slowed")
    assert (told.data["source"], told.data["lines_per_s"]) == ("inbox/loud", 10)
    assert told.data["waiting"] > 0
    got = numbers(first)
    while len(got) < 1001:
        assert clock.asked[-1] <= 1
        clock.pass_by(1.0)
        more = until_it_waits(box)
        assert len(numbers(more)) <= 11
        assert types(more) == []
        got += numbers(more)
    assert [n for n in got if n < 1000] == list(range(1000))


def test_a_file_that_is_touched_while_it_waits_goes_on_waiting() -> None:
    """A writer that never stops gains nothing by it."""
    files, clock = inbox_disk(), Clock()
    box = inbox(files, clock, limits=PaceLimits(lines_per_s=1))
    for n in range(50):
        files.append(f"{INBOX}/loud.jsonl", line(n))
        box.touched("loud.jsonl")
        until_it_waits(box)
    clock.pass_by(5.0)
    assert len(numbers(until_it_waits(box))) == 5


def test_one_source_may_have_a_limit_of_its_own() -> None:
    """By its name; its daily files count together."""
    files, clock = inbox_disk(), Clock()
    box = inbox(files, clock, limits=PaceLimits(lines_of={"web": 1}))
    files.make_folders(f"{INBOX}/web")
    for day in ("2026-02-23", "2026-02-24"):
        files.append(f"{INBOX}/web/{day}.jsonl", b"".join(line(n) for n in range(100)))
    files.append(f"{INBOX}/app.jsonl", b"".join(line(n) for n in range(1000, 3000)))
    got = numbers(until_it_waits(box))
    assert len([n for n in got if n >= 1000]) == 2000
    assert len([n for n in got if n < 1000]) == BURST_S


def test_bytes_are_limited_too() -> None:
    """A few huge lines are as much as many small ones."""
    files, clock = inbox_disk(), Clock()
    box = inbox(files, clock, limits=PaceLimits(bytes_per_s=1000))
    one = line(0, subject="x" * 400)
    files.append(f"{INBOX}/fat.jsonl", b"".join(line(n, subject="x" * 400) for n in range(500)))
    got: list[int] = []
    for second in range(150):
        got += numbers(until_it_waits(box))
        assert len(got) * len(one) <= (second + BURST_S) * 1000 + 100 * len(one), "what it may, and one turn"
        clock.pass_by(1.0)
    assert got == list(range(len(got)))
    assert len(got) * len(one) > 140_000


def test_a_limit_over_a_long_time_is_kept() -> None:
    """On the whole no source brings more than it may, whatever the rhythm of asking."""
    paces = Paces(PaceLimits(lines_per_s=100))
    now = brought = 0.0
    for step in range(10_000):
        now += (step % 7) * 0.01
        room = paces.room("a", now)
        paces.used("a", room, room * 10, now)
        brought += room
    assert brought <= now * 100 + 100 * BURST_S
    assert brought >= now * 100 * 0.95


# --- what is done with ------------------------------------------------------------------------------------------------


def daily(files: SimDisk, day: str = OLD, raw: bytes = b"") -> str:
    files.make_folders(f"{INBOX}/web")
    files.append(f"{INBOX}/web/{day}.jsonl", raw or line(1) + line(2))
    return f"{INBOX}/web/{day}.jsonl"


def later(box: InboxFolder, clock: Clock, seconds: float) -> list[Draft]:
    clock.pass_by(seconds)
    return until_it_waits(box)


def sim(clock: Clock) -> SimDisk:
    files = SimDisk(clock=clock)
    files.make_folders(INBOX)
    return files


def test_a_daily_file_that_was_taken_whole_goes_after_its_time() -> None:
    """And not before; it is told."""
    clock = Clock()
    files = sim(clock)
    path, cursors = daily(files), {}
    box = inbox(files, clock, cursors, remove_after_s=7 * DAY_S)
    for draft in until_it_waits(box):
        fold_cursor(cursors, draft.origin)
    later(box, clock, 6 * DAY_S)
    assert files.exists(path)
    assert types(later(box, clock, 1.1 * DAY_S)) == ["journal.inbox_removed"]
    assert not files.exists(path)


@pytest.mark.parametrize("why", ["not durable", "more to read", "half a line", "today's", "not daily", "never", "written again"])
def test_what_may_still_be_needed_stays(why: str) -> None:
    """A file goes only when the journal holds all of it, and only where no program appends for good."""
    clock = Clock()
    files = sim(clock)
    cursors: dict[str, InboxCursor] = {}
    path = daily(files)
    if why == "today's":
        path = daily(files, "2026-03-30")
    if why == "not daily":
        files.append(f"{INBOX}/app.jsonl", line(1))
        path = f"{INBOX}/app.jsonl"
    if why == "half a line":
        files.append(path, b'{"type": "a.')
    box = inbox(files, clock, cursors, remove_after_s=0 if why == "never" else DAY_S)
    drafts = until_it_waits(box)
    if why != "not durable":
        for draft in drafts:
            fold_cursor(cursors, draft.origin)
    if why in ("more to read", "written again"):
        clock.pass_by(3 * DAY_S)
        files.append(path, line(3))  # and nobody said so
    later(box, clock, DAY_S / 2 if why == "written again" else 3 * DAY_S)
    assert files.exists(path), why


def test_a_restart_goes_on_where_the_journal_says() -> None:
    """What was read and is not in the journal is not removed by the next daemon either."""
    clock = Clock()
    files = sim(clock)
    path = daily(files)
    first = inbox(files, clock, {}, remove_after_s=DAY_S)
    drafts = until_it_waits(first)
    first.close()
    cursors = folded(drafts[:1])
    clock.pass_by(10 * DAY_S)
    second = inbox(files, clock, cursors, remove_after_s=DAY_S)
    again = until_it_waits(second)
    assert numbers(again) == [2]
    assert files.exists(path)
    for draft in again:
        fold_cursor(cursors, draft.origin)
    assert "journal.inbox_removed" in types(later(second, clock, 3700))


def test_a_file_that_grows_too_large_is_told_once() -> None:
    """It is for its program to rotate it; again when it was small meanwhile."""
    clock = Clock()
    files = sim(clock)
    path = f"{INBOX}/app.jsonl"
    files.append(path, line(1) * 100)
    box = inbox(files, clock, large=1000)
    assert types(until_it_waits(box)).count("journal.inbox_large") == 1
    assert types(later(box, clock, 4000)) == []
    files.unlink(path)
    later(box, clock, 4000)
    files.append(path, line(1) * 100)
    box.touched("app.jsonl")
    assert "journal.inbox_large" in types(later(box, clock, 4000))


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.ENOSPC])
@pytest.mark.parametrize("call", ["open", "pread", "lstat", "listdir"])
def test_what_could_not_be_read_is_looked_at_again_by_itself(call: str, error: int) -> None:
    """It is told once; nobody touches the file again, and when the cause has gone away its lines come, each once."""
    files, clock = inbox_disk(), Clock()
    files.append(f"{INBOX}/web.jsonl", line(1) + line(2))
    box = inbox(files, clock)
    files.fail(Fault(call, 1, 3, error, path=INBOX))
    told = until_it_waits(box)
    for _ in range(10):
        assert clock.asked, "it would wait for ever"
        clock.pass_by(min(clock.asked))
        clock.asked.clear()
        told += until_it_waits(box)
        if numbers(told):
            break
    assert numbers(told) == [1, 2]
    assert 1 <= [draft.type for draft in told].count("journal.inbox_failed") <= 3


def test_a_link_in_its_place_is_not_looked_at_again_and_again() -> None:
    """The kernel tells when that changes: an idle daemon does not wake for it."""
    files, clock = inbox_disk(), Clock()
    files.mkdir(f"{INBOX}/web.jsonl")
    told = until_it_waits(inbox(files, clock))
    assert [draft.type for draft in told] == ["journal.inbox_failed"]
    assert min(clock.asked) > 1000.0


def test_ids_that_cannot_be_read_are_told_and_cost_nothing_else() -> None:
    files, clock = inbox_disk(), Clock()
    files.append(f"{INBOX}/web.jsonl", line(1, id="x"))

    def recall(_ids: IdMemory, on_error: Callable[[OSError], None]) -> None:
        on_error(OSError(errno.EIO, "Input/output error"))

    box = InboxFolder(files, INBOX, QUARANTINE, cursors={}, clock=clock, recall=recall)
    drafts = until_it_waits(box)
    assert [draft.type for draft in drafts] == ["journal.inbox_failed", "a.b"]
    assert drafts[0].data == {"file": "events", "error": "Input/output error"}
