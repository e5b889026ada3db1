"""A disk that is full, broken or taken away: told, waited out or ended; nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.events.event import Draft, Event
from aios.journal import fullness as fullness_module
from aios.journal import thread as thread_module
from aios.journal.fullness import Fullness, Reserve, class_of
from aios.journal.thread import JournalGone, ThreadedWriter
from aios.journal.writer import JournalFile
from aios.scheduler.priority import P0, P1, P2, P3
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from tests.unit.journal.test_journal_writer import FOLDER, NOW, QUARANTINE, disk, event, lines, numbers, opened

FULL = OSError(errno.ENOSPC, "no space left")
RESERVE = f"{FOLDER}/.reserve"


def of_type(number: int, event_type: str, origin: str = "", size: int = 10) -> Event:
    return event(number, size)._replace(type=event_type, origin=origin)


class TestWhatWaits:
    @pytest.mark.parametrize(
        ("event_type", "expected"),
        [("run.opened", P0), ("resource.disk_full", P1), ("service.down", P2), ("host.sampled", P3), ("some.thing", P3)],
    )
    def test_what_matters_less_waits_before_what_matters_more(self, event_type: str, expected: int) -> None:
        assert class_of([of_type(1, event_type)]) == expected

    def test_what_came_by_an_inbox_waits_first(self) -> None:
        """It is safe in its own file, and its cursor may not pass over lines that wait."""
        assert class_of([of_type(1, "resource.disk_full", "inbox/web@1.2.0:0+9~00000000")]) == P3

    def test_class_after_class_waits_as_the_reserve_is_used_up(self) -> None:
        files, told = disk(), []
        files.make_folders(FOLDER)
        full = Fullness(Reserve(files, RESERVE, 1000), told)
        full.idle(-60.0)
        assert not files.exists(RESERVE)
        full.idle(0.0)
        assert full.last_class(0.0) == P3
        assert len(files.read(RESERVE)) == 1000
        files.limit(1000)
        full.failed(FULL, 0.0)
        assert not files.exists(RESERVE)
        seen = []
        for _ in range(6):
            seen.append(full.last_class(0.0))
            full.wrote(130)
        assert seen == [P2, P2, P1, P1, P0, P0]
        assert [draft.type for draft in told] == ["journal.disk_full"]

    def test_it_comes_back_by_itself_when_the_reserve_fits_again(self) -> None:
        files, told = disk(), []
        files.make_folders(FOLDER)
        full = Fullness(Reserve(files, RESERVE, 1000), told)
        full.idle(-60.0)
        full.idle(0.0)
        files.limit(1000)
        full.failed(FULL, 0.0)
        files.append("/s/hog", b"x" * 700)
        files.limit(2500)
        assert full.last_class(10.0) < P3
        assert not files.exists(RESERVE)  # half a reserve is none
        files.unlink("/s/hog")
        files.limit(3000)
        assert full.last_class(12.0) < P3  # not asked again yet
        assert full.last_class(20.0) == P3
        assert len(files.read(RESERVE)) == 1000
        assert [draft.type for draft in told] == ["journal.disk_full", "journal.disk_normal"]

    def test_other_errors_are_no_full_disk(self) -> None:
        full = Fullness(None, [])
        full.failed(OSError(errno.EIO, "io"), 0.0)
        assert not full.full


async def until(there: Callable[[], bool]) -> None:
    """The story as a whole has a deadline."""
    while not there():  # noqa: ASYNC110 - the other side is a thread, which has no event for it
        await asyncio.sleep(0)


async def _with_writer(files: SimDisk, story: Callable[[ThreadedWriter, list[Draft], list[Any]], Any], reserve: int = 0) -> Any:
    loop = asyncio.get_running_loop()
    told: list[Draft] = []
    failures: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: failures.append(context.get("exception")))
    journal = JournalFile(files, FOLDER, QUARANTINE)
    journal.open(NOW)
    writer = ThreadedWriter(journal, SystemClock(), loop, told.append, Reserve(files, RESERVE, reserve) if reserve else None)
    try:
        return await asyncio.wait_for(story(writer, told, failures), 20)
    finally:
        files.limit(1 << 40)
        files.mend()
        if not failures:
            await writer.close()


def test_on_a_full_disk_p3_waits_and_runs_go_on_from_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """And when there is room again everything that waited is written, and told."""
    monkeypatch.setattr(fullness_module, "RETRY_S", 0.05)
    monkeypatch.setattr(fullness_module, "RESERVE_AFTER_S", 0.0)
    files = disk()

    async def story(writer: ThreadedWriter, told: list[Draft], _failures: list[Any]) -> None:
        await writer.append([event(0)])
        await until(lambda: files.exists(RESERVE) and len(files.read(RESERVE)) == 50_000)
        files.limit(files.used)
        waits = writer.append([of_type(1, "host.sampled", size=2000)])
        waits_too = writer.append([of_type(2, "service.down", "inbox/web@1.2.0:0+9~00000000", size=2000)])
        for number in range(3, 20):
            await writer.append([of_type(number, "run.opened", size=1000)])
        assert not waits.done()
        assert not waits_too.done()
        files.limit(1 << 40)
        await asyncio.gather(waits, waits_too)
        await writer.append([event(20)])
        await until(lambda: any(draft.type == "journal.disk_normal" for draft in told))
        assert "journal.disk_full" in [draft.type for draft in told]

    asyncio.run(_with_writer(files, story, reserve=50_000))
    assert sorted(numbers(files)) == list(range(21))
    assert [number for number in numbers(files) if number in (1, 2)] == [1, 2]


def test_a_quota_is_a_full_disk_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fullness_module, "RETRY_S", 0.05)
    files = disk()

    async def story(writer: ThreadedWriter, told: list[Draft], _failures: list[Any]) -> None:
        files.fail(Fault("write", last=3, error=errno.EDQUOT, path=".jsonl"))
        await writer.append([of_type(1, "host.sampled")])
        await until(lambda: any(draft.type == "journal.disk_full" for draft in told))

    asyncio.run(_with_writer(files, story))
    assert numbers(files) == [1]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.ENOENT])
def test_a_disk_that_is_broken_or_gone_ends_the_daemon_after_a_while(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd starts it again; waiting on for ever would look like health."""
    monkeypatch.setattr(thread_module, "GIVE_UP_S", 0.2)
    files = disk()

    async def story(writer: ThreadedWriter, _told: list[Draft], failures: list[Any]) -> None:
        await writer.append([event(0)])
        for kind in ("write", "open"):
            files.fail(Fault(kind, last=10**9, error=error, path="events"))
        with pytest.raises(JournalGone):
            await writer.append([event(1)])
        await until(lambda: bool(failures))
        assert isinstance(failures[0], JournalGone)

    asyncio.run(_with_writer(files, story))
    assert numbers(files) == [0]


class TestSomebodyElse:
    """The part that is being written is moved away, removed, replaced, edited: told, and nothing is acknowledged into a void."""

    def spoiled(self, how: Callable[[SimDisk, str], None]) -> tuple[SimDisk, list[str]]:
        files = disk()
        journal = opened(files)
        journal.commit(lines([1]), NOW)
        how(files, f"{FOLDER}/2026-02-24.1.jsonl")
        with pytest.raises(OSError):
            journal.commit(lines([2]), NOW)
        (position,) = journal.commit(lines([2]), NOW)
        assert position.part == 2
        journal.commit(lines([3]), NOW)
        return files, [draft.type for draft in journal.troubles]

    def test_removed(self) -> None:
        files, told = self.spoiled(lambda files, path: files.unlink(path))
        assert (numbers(files), told) == ([2, 3], ["journal.part_missing"])

    def test_moved_away(self) -> None:
        files, told = self.spoiled(lambda files, path: files.rename(path, "/s/elsewhere"))
        assert (numbers(files), told) == ([2, 3], ["journal.part_missing"])

    def test_replaced(self) -> None:
        def replace(files: SimDisk, path: str) -> None:
            files.append("/s/other", files.read(path))
            files.rename("/s/other", path)

        files, told = self.spoiled(replace)
        assert (numbers(files), told) == ([1, 2, 3], ["journal.part_changed"])

    def test_truncated_or_added_to(self) -> None:
        def truncate(files: SimDisk, path: str) -> None:
            files.ftruncate(files.open(path, 2), 0)

        files, told = self.spoiled(truncate)
        assert (numbers(files), told) == ([2, 3], ["journal.part_changed"])
        files, told = self.spoiled(lambda files, path: files.append(path, b"hello\n"))
        assert (numbers(files), told) == ([1, 2, 3], ["journal.part_changed"])
