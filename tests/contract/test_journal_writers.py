"""The `JournalWriter` port: one suite over the daemon's thread on a real disk and the simulator's inline one in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.entropy import SeededEntropy
from aios.events.event import Draft, Event, Position, format_time
from aios.journal.reader import FolderReader
from aios.journal.thread import InlineWriter, ThreadedWriter
from aios.journal.writer import JournalFile
from aios.ports import Files, JournalWriter
from aios.testing.disk import SimDisk
from aios.testing.loop import START_OF_TIME, VirtualClock, VirtualLoop, run_virtual

DEADLINE_S = 20.0


class Setup(NamedTuple):
    writer: JournalWriter
    reader: FolderReader
    told: list[Draft]


Story = Callable[[Setup], Awaitable[Any]]


def play_real(story: Story, folder: str) -> Any:
    async def main() -> Any:
        clock, told = SystemClock(), list[Draft]()
        file = opened(OsFiles(), folder, clock.now())
        writer = ThreadedWriter(file, clock, asyncio.get_running_loop(), told.append)
        async with asyncio.timeout(DEADLINE_S):
            return await story(Setup(writer, FolderReader(OsFiles(), f"{folder}/events"), told))

    return asyncio.run(main())


def play_simulated(story: Story, _folder: str) -> Any:
    async def main(clock: VirtualClock, _: SeededEntropy) -> Any:
        loop, disk, told = asyncio.get_running_loop(), SimDisk(), list[Draft]()
        assert isinstance(loop, VirtualLoop)
        disk.make_folders("/state")
        writer = InlineWriter(opened(disk, "/state", clock.now()), clock, loop, told.append)
        return await story(Setup(writer, FolderReader(disk, "/state/events"), told))

    return run_virtual(main)


def opened(files: Files, folder: str, now: float) -> JournalFile:
    file = JournalFile(files, f"{folder}/events", f"{folder}/quarantine", clock_trusted=lambda: True)
    file.open(now)
    return file


@pytest.fixture(params=[play_real, play_simulated], ids=["thread", "inline"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Story], Any]:
    return lambda story: request.param(story, str(tmp_path))


def event(number: int, size: int = 0) -> Event:
    moment = format_time(START_OF_TIME)
    return Event(f"e{number}", "test", "work.done", "host", moment, {"n": number, "pad": "x" * size}, moment)


def ids(setup: Setup) -> list[str]:
    return [stored.event.id for stored in setup.reader.read()]


def test_what_is_acknowledged_can_be_read_where_it_was_said_to_stand(play: Callable[[Story], Any]) -> None:
    """A position for each event, in order; each is found at its position."""

    async def story(setup: Setup) -> None:
        positions = await setup.writer.append([event(1), event(2)])
        assert positions == sorted(positions)
        assert [setup.reader.at(position) for position in positions] == [event(1), event(2)]
        await setup.writer.close()

    play(story)


def test_order_is_the_order_of_the_calls(play: Callable[[Story], Any]) -> None:
    """Over many appends at once, and futures resolve in that order."""

    async def story(setup: Setup) -> None:
        resolved: list[int] = []
        futures = []
        for number in range(200):
            future = setup.writer.append([event(number)])
            future.add_done_callback(lambda _, n=number: resolved.append(n))
            futures.append(future)
        found: list[Position] = [positions[0] for positions in await asyncio.gather(*futures)]
        assert found == sorted(found)
        assert resolved == list(range(200))
        assert ids(setup) == [f"e{number}" for number in range(200)]
        await setup.writer.close()

    play(story)


def test_closing_commits_what_is_left(play: Callable[[Story], Any]) -> None:
    """Nobody has to wait for a future before closing."""

    async def story(setup: Setup) -> None:
        future = setup.writer.append([event(1)])
        await setup.writer.close()
        await future
        assert ids(setup) == ["e1"]

    play(story)


def test_a_closed_journal_takes_nothing(play: Callable[[Story], Any]) -> None:
    """It says so, rather than losing it."""

    async def story(setup: Setup) -> None:
        await setup.writer.close()
        with pytest.raises(RuntimeError, match="closed"):
            setup.writer.append([event(1)])

    play(story)


def test_more_than_one_commit_holds_is_written_whole(play: Callable[[Story], Any]) -> None:
    """One append of many megabytes, and a small one behind it."""

    async def story(setup: Setup) -> None:
        many = [event(number, 60_000) for number in range(150)]
        first, second = setup.writer.append(many), setup.writer.append([event(999)])
        positions = await first + await second
        assert positions == sorted(positions)
        assert ids(setup) == [*(f"e{number}" for number in range(150)), "e999"]
        await setup.writer.close()

    play(story)


def test_a_caller_that_gives_up_waiting_undoes_nothing(play: Callable[[Story], Any]) -> None:
    """The event is written all the same, and those behind it too."""

    async def story(setup: Setup) -> None:
        setup.writer.append([event(1)]).cancel()
        await setup.writer.append([event(2)])
        assert ids(setup) == ["e1", "e2"]
        await setup.writer.close()

    play(story)


def test_nothing_at_all_is_written_at_once(play: Callable[[Story], Any]) -> None:
    """An append of no events is answered with no positions."""

    async def story(setup: Setup) -> None:
        assert await setup.writer.append([]) == []
        await setup.writer.close()

    play(story)
