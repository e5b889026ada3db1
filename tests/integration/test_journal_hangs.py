"""A disk that hangs in a sync: the loop goes on, nothing is acknowledged, and the watchdog can tell."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.events.event import Event, format_time
from aios.journal.thread import ThreadedWriter
from aios.journal.writer import JournalFile


class HangingDisk(OsFiles):
    """The real disk, but a data sync waits until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.reached.set()
        assert self.go.wait(30.0)
        super().fdatasync(fd)


def test_a_commit_that_hangs_is_seen_and_one_that_ends_is_not(tmp_path: Path) -> None:
    """`committing_since` says since when; the event is acknowledged only after the sync."""

    async def story() -> None:
        disk, clock, loop = HangingDisk(), SystemClock(), asyncio.get_running_loop()
        journal = JournalFile(disk, f"{tmp_path}/events", f"{tmp_path}/quarantine")
        journal.open(clock.now())
        writer = ThreadedWriter(journal, clock, loop, lambda _draft: None)
        now = format_time(clock.now())
        durable = writer.append([Event("e1", "test", "a.b", "host", now, {}, now)])
        assert await loop.run_in_executor(None, disk.reached.wait, 30.0)
        assert 0.0 < writer.committing_since <= clock.monotonic()
        assert not durable.done()
        disk.go.set()
        assert len(await durable) == 1
        await writer.close()
        assert writer.committing_since == 0.0

    asyncio.run(story())
