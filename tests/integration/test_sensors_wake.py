"""The waker: changes in a folder reach the loop at once, and every doubt is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from aios.sensors.wake import Waker

DEADLINE_S = 30.0


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write("{}\n")


class Seen:
    """What a waker told, and a way to wait for it."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.doubts = 0
        self._told = asyncio.Event()

    def on_names(self, names: set[str]) -> None:
        self.names |= names
        self._told.set()

    def on_doubt(self) -> None:
        self.doubts += 1
        self._told.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition(self):
                self._told.clear()
                await self._told.wait()


def test_appended_created_renamed_and_removed_names_are_told(tmp_path: Path) -> None:
    """Whatever happens to a name in the folder, the name is told."""

    async def main() -> None:
        waker, seen = Waker(), Seen()
        waker.watch(str(tmp_path), seen.on_names, seen.on_doubt)
        (tmp_path / "a.jsonl").write_text("{}\n")
        await seen.until(lambda s: "a.jsonl" in s.names)
        seen.names.clear()
        append(tmp_path / "a.jsonl")
        await seen.until(lambda s: "a.jsonl" in s.names)
        os.rename(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
        await seen.until(lambda s: "b.jsonl" in s.names)
        seen.names.clear()
        os.unlink(tmp_path / "b.jsonl")
        await seen.until(lambda s: "b.jsonl" in s.names)
        assert seen.doubts == 0
        waker.close()

    run(main())


def test_a_replaced_folder_is_doubted_and_watched_again(tmp_path: Path) -> None:
    """A folder that is moved away and made anew is the folder that counts."""

    async def main() -> None:
        folder = tmp_path / "inbox"
        folder.mkdir()
        waker, seen = Waker(retry_s=0.01), Seen()
        waker.watch(str(folder), seen.on_names, seen.on_doubt)
        os.rename(folder, tmp_path / "old")
        folder.mkdir()
        await seen.until(lambda s: s.doubts >= 1)
        (folder / "new").write_text("x")
        await seen.until(lambda s: "new" in s.names or s.doubts >= 2)
        (folder / "again").write_text("x")
        await seen.until(lambda s: "again" in s.names)
        (tmp_path / "old" / "elsewhere").write_text("x")
        (folder / "last").write_text("x")
        await seen.until(lambda s: "last" in s.names)
        assert "elsewhere" not in seen.names
        waker.close()

    run(main())


def test_a_folder_that_comes_later_is_found(tmp_path: Path) -> None:
    """A folder that does not exist yet, or vanishes, is looked for until it is there."""

    async def main() -> None:
        folder = tmp_path / "later"
        waker, seen = Waker(retry_s=0.01), Seen()
        waker.watch(str(folder), seen.on_names, seen.on_doubt)
        folder.mkdir()
        await seen.until(lambda s: s.doubts == 1)
        folder.rmdir()
        await seen.until(lambda s: s.doubts >= 2)
        folder.mkdir()
        await seen.until(lambda s: s.doubts >= 3)
        (folder / "x").write_text("x")
        await seen.until(lambda s: "x" in s.names)
        waker.close()

    run(main())


def test_a_moved_parent_is_noticed_by_the_slow_check(tmp_path: Path) -> None:
    """The kernel tells nobody that a folder's parent moved; the waker finds out by itself."""

    async def main() -> None:
        folder = tmp_path / "parent" / "inbox"
        folder.mkdir(parents=True)
        waker, seen = Waker(retry_s=0.01, check_s=0.02), Seen()
        waker.watch(str(folder), seen.on_names, seen.on_doubt)
        os.rename(tmp_path / "parent", tmp_path / "elsewhere")
        folder.mkdir(parents=True)
        await seen.until(lambda s: s.doubts >= 1)
        (folder / "x").write_text("x")
        await seen.until(lambda s: "x" in s.names or s.doubts >= 2)
        waker.close()

    run(main())


def test_an_overflow_of_the_kernels_queue_is_doubt(tmp_path: Path) -> None:
    """Lost notices are never silence."""

    async def main() -> None:
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if limit > 50_000:
            pytest.skip(f"the kernel queues {limit} notices here; overflowing that takes too long")
        waker, seen = Waker(), Seen()
        waker.watch(str(tmp_path), seen.on_names, seen.on_doubt)
        one, two = str(tmp_path / "1"), str(tmp_path / "2")
        for path in (one, two):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        a, b = os.open(one, os.O_WRONLY), os.open(two, os.O_WRONLY)
        for _ in range(limit // 2 + 10):  # alternating, so that the kernel cannot merge equal notices
            os.write(a, b"x")
            os.write(b, b"x")
        os.close(a)
        os.close(b)
        await seen.until(lambda s: s.doubts >= 1)
        waker.close()

    run(main())


def test_what_is_no_longer_watched_is_not_told_and_nothing_is_left_open(tmp_path: Path) -> None:
    """An ended watch is silent; a closed waker gives its descriptors back."""

    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        waker, silent, seen = Waker(), Seen(), Seen()
        end = waker.watch(str(tmp_path), silent.on_names, silent.on_doubt)
        waker.watch(str(tmp_path), seen.on_names, seen.on_doubt)
        end()
        (tmp_path / "x").write_text("x")
        await seen.until(lambda s: "x" in s.names)
        assert not silent.names
        waker.close()
        assert len(os.listdir("/proc/self/fd")) == before

    run(main())
