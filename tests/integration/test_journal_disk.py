"""The journal on a real disk: the thread, the lock, kills by strace, a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.errors import Refused, Temporary
from aios.events.codec import BadLine, encode
from aios.events.event import Draft, Event, Position, day_of
from aios.journal.lock import InstanceLock, holder
from aios.journal.reader import FolderReader
from aios.journal.thread import InlineWriter, ThreadedWriter
from aios.journal.writer import JournalFile
from aios.ports import ProcessId
from aios.testing.loop import VirtualClock, VirtualLoop

AT = "2026-02-24T12:00:00Z"
Writer = ThreadedWriter | InlineWriter


def event(number: int, size: int = 10) -> Event:
    return Event(f"e{number}", "test", "a.b", "host", AT, {"n": number, "x": "y" * size}, AT)


def numbers(folder: Path) -> list[int]:
    return [stored.event.data["n"] for stored in FolderReader(OsFiles(), str(folder / "events")).read()]


class SickFiles(OsFiles):
    """Fails syncs and writes on demand; can hold one up until it is let go."""

    def __init__(self) -> None:
        self.failures = 0
        self.gate: threading.Event | None = None
        self.syncs = 0

    def fdatasync(self, fd: int) -> None:
        if self.gate is not None:
            self.gate.wait(20)
        self.syncs += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "sick")
        super().fdatasync(fd)


def journal_at(folder: Path, files: OsFiles) -> JournalFile:
    journal = JournalFile(files, str(folder / "events"), str(folder / "quarantine"))
    journal.open(SystemClock().now())
    return journal


def threaded(folder: Path, files: OsFiles, told: list[Draft]) -> ThreadedWriter:
    return ThreadedWriter(journal_at(folder, files), SystemClock(), asyncio.get_running_loop(), told.append)


def inline(folder: Path, files: OsFiles, told: list[Draft]) -> InlineWriter:
    return InlineWriter(journal_at(folder, files), SystemClock(), asyncio.get_running_loop(), told.append)


@pytest.fixture(params=[threaded, inline])
def make(request: pytest.FixtureRequest) -> Callable[[Path, OsFiles, list[Draft]], Writer]:
    made: Callable[[Path, OsFiles, list[Draft]], Writer] = request.param
    return made


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


class TestWriters:
    """Both drivers keep the law of `JournalWriter`."""

    def test_appends_resolve_in_order_with_their_positions(self, tmp_path: Path, make: Any) -> None:
        async def main() -> None:
            writer = make(tmp_path, OsFiles(), [])
            order: list[int] = []
            futures = [writer.append([event(2 * n), event(2 * n + 1)]) for n in range(500)]
            for number, future in enumerate(futures):
                future.add_done_callback(lambda _, number=number: order.append(number))
            positions = [position for part in await asyncio.gather(*futures) for position in part]
            assert order == list(range(500))
            assert positions == sorted(positions)
            reader = FolderReader(OsFiles(), str(tmp_path / "events"))
            assert reader.at(positions[777]) == event(777)
            await writer.close()

        run(main())
        assert numbers(tmp_path) == list(range(1000))

    def test_what_gathers_during_a_sync_is_one_commit(self, tmp_path: Path) -> None:
        async def main() -> None:
            files = SickFiles()
            writer = threaded(tmp_path, files, [])
            files.gate = threading.Event()
            futures = [writer.append([event(n)]) for n in range(1000)]
            files.gate.set()
            await asyncio.gather(*futures)
            await writer.close()
            assert files.syncs <= 3

        run(main())
        assert numbers(tmp_path) == list(range(1000))

    def test_a_slow_disk_does_not_stop_the_loop(self, tmp_path: Path) -> None:
        async def main() -> None:
            files = SickFiles()
            writer = threaded(tmp_path, files, [])
            files.gate = threading.Event()
            future = writer.append([event(1)])
            for _ in range(1000):
                await asyncio.sleep(0)
            assert not future.done()
            files.gate.set()
            await future
            await writer.close()

        run(main())

    def test_nothing_is_acknowledged_before_the_disk_took_it(self, tmp_path: Path, make: Any) -> None:
        """Three failing syncs: the events wait, are written again, and the trouble is told afterwards."""

        async def main() -> None:
            files, told = SickFiles(), []
            writer = make(tmp_path, files, told)
            await writer.append([event(0)])
            files.failures = 3
            futures = [writer.append([event(n)]) for n in (1, 2)]
            positions = [position for future in futures for position in await future]
            assert files.failures == 0
            assert {position.part for position in positions} != {1}
            assert {draft.type for draft in told} == {"journal.part_failed"}
            await writer.close()

        run(main())
        assert numbers(tmp_path) == [0, 1, 2]

    def test_close_commits_what_is_left(self, tmp_path: Path, make: Any) -> None:
        async def main() -> None:
            writer = make(tmp_path, OsFiles(), [])
            future = writer.append([event(n) for n in range(10)])
            await writer.close()
            assert len(await future) == 10
            with pytest.raises(RuntimeError):
                writer.append([event(11)])

        run(main())
        assert numbers(tmp_path) == list(range(10))

    def test_closing_on_a_dead_disk_says_so(self, tmp_path: Path, make: Any) -> None:
        async def main() -> None:
            files = SickFiles()
            writer = make(tmp_path, files, [])
            files.failures = 10_000
            future = writer.append([event(1)])
            with pytest.raises(Temporary):
                await writer.close()
            assert not future.done(), "never acknowledged"

        run(main())

    def test_more_than_a_batch_at_once_is_taken_whole(self, tmp_path: Path, make: Any) -> None:
        """One append may be larger than a commit: it is cut, and resolves when all of it is durable."""

        async def main() -> None:
            writer = make(tmp_path, OsFiles(), [])
            before = writer.append([event(0)])
            large = writer.append([event(n, 60_000) for n in range(1, 200)])
            after = writer.append([event(200), event(201)])
            positions = await before + await large + await after
            assert positions == sorted(positions)
            assert len(set(positions)) == 202
            await writer.close()

        run(main())
        assert numbers(tmp_path) == list(range(202))

    def test_an_event_that_no_line_can_hold_is_refused_at_once(self, tmp_path: Path, make: Any) -> None:
        async def main() -> None:
            writer = make(tmp_path, OsFiles(), [])
            with pytest.raises(BadLine):
                writer.append([event(1, 70_000)])
            await writer.append([event(2)])
            await writer.close()

        run(main())
        assert numbers(tmp_path) == [2]

    def test_lines_that_are_encoded_already_are_taken_as_they_are(self, tmp_path: Path, make: Any) -> None:
        async def main() -> None:
            writer = make(tmp_path, OsFiles(), [])
            assert await writer.append([event(1)], [encode(event(1))]) == [Position(day_of(SystemClock().now()), 1, 0)]
            assert await writer.append([]) == []
            await writer.close()

        run(main())
        assert numbers(tmp_path) == [1]

    def test_a_bug_in_the_writer_reaches_whoever_waits(self, tmp_path: Path) -> None:
        class Broken(OsFiles):
            def fdatasync(self, fd: int) -> None:
                raise ZeroDivisionError("a bug")

        async def main() -> None:
            heard: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
            writer = threaded(tmp_path, Broken(), [])
            with pytest.raises(ZeroDivisionError):
                await writer.append([event(1)])
            assert [type(error) for error in heard] == [ZeroDivisionError]
            with pytest.raises(RuntimeError):
                writer.append([event(2)])

        run(main())


def test_virtual_time_needs_no_thread(tmp_path: Path) -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    journal = JournalFile(OsFiles(), str(tmp_path / "events"), str(tmp_path / "quarantine"))
    journal.open(clock.now())
    threads = threading.active_count()

    async def main() -> float:
        writer = InlineWriter(journal, clock, loop, lambda _: None, latency_s=lambda: 2.5)
        begin = loop.time()
        await writer.append([event(1)])
        await writer.close()
        return loop.time() - begin

    assert loop.run_until_complete(main()) == pytest.approx(2.5)
    assert threading.active_count() == threads
    loop.close()


# --- the lock


WHO = ProcessId(os.getpid(), 7, "boot")
HOLD = """
import sys
from aios.disk import OsFiles
from aios.journal.lock import InstanceLock
from aios.ports import ProcessId
import os
lock = InstanceLock(OsFiles(), sys.argv[1], ProcessId(os.getpid(), 1, "boot"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=f"process {other.pid} holds its lock") as refused:
            InstanceLock(OsFiles(), str(tmp_path), WHO)
        assert "--data" in refused.value.hint
        found = holder(str(tmp_path))
        assert found is not None
        assert found.pid == other.pid
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    assert holder(str(tmp_path)) is None
    lock = InstanceLock(OsFiles(), str(tmp_path), WHO)
    assert lock.before == ProcessId(other.pid, 1, "boot")
    assert holder(str(tmp_path)) == WHO
    lock.release()


def test_asking_who_holds_it_never_stands_in_the_way(tmp_path: Path) -> None:
    assert holder(str(tmp_path)) is None
    InstanceLock(OsFiles(), str(tmp_path), WHO).release()
    fd = os.open(tmp_path / "lock", os.O_RDONLY)
    holder(str(tmp_path))
    InstanceLock(OsFiles(), str(tmp_path), WHO).release()
    os.close(fd)


# --- the machine's own faults

CHILD = """
import asyncio, sys
from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.events.event import Event
from aios.journal.reader import FolderReader
from aios.journal.thread import ThreadedWriter
from aios.journal.writer import JournalFile

async def main(folder, count):
    journal = JournalFile(OsFiles(), folder + "/events", folder + "/quarantine")
    journal.open(SystemClock().now())
    known = sum(1 for _ in FolderReader(OsFiles(), folder + "/events").read())
    writer = ThreadedWriter(journal, SystemClock(), asyncio.get_running_loop(), lambda draft: None)
    at = "2026-02-24T12:00:00Z"
    for number in range(known, known + count):
        await writer.append([Event(f"e{number}", "test", "a.b", "host", at, {"n": number, "x": "y" * 300}, at)])
        print(number, flush=True)
    await writer.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def child(folder: Path, count: int, *before: str) -> tuple[int, int]:
    """Run the writing process; its exit status, and how many events were acknowledged over all of its lives."""
    done = subprocess.run(
        [*before, sys.executable, "-c", CHILD, str(folder), str(count)], capture_output=True, text=True, timeout=60, check=False
    )
    acknowledged = done.stdout.split()
    return done.returncode, int(acknowledged[-1]) + 1 if acknowledged else 0


def _strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed")
    probe = subprocess.run([path, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("strace may not trace here")
    return path


@pytest.mark.parametrize("call", ["fdatasync", "write", "fsync"])
def test_killed_at_a_system_call_it_loses_nothing_acknowledged(tmp_path: Path, call: str) -> None:
    """SIGKILL at the K-th call, for real, some K, life after life on the same folder."""
    strace = _strace()
    acknowledged = 0
    for at in (1, 2, 3, 5, 8):
        inject = f"inject={call}:signal=KILL:when={at}"
        _, told = child(tmp_path, 6, strace, "-f", "-qq", "-e", f"trace={call}", "-e", inject, "-o", "/dev/null")
        acknowledged = max(acknowledged, told)
        read = numbers(tmp_path)
        assert read == list(range(len(read))), f"{call} {at}"
        assert len(read) >= acknowledged, f"{call} {at}"


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_syncs_cost_time_and_no_event(tmp_path: Path, error: str) -> None:
    strace = _strace()
    inject = f"inject=fdatasync:error={error}:when=2..4"
    status, acknowledged = child(tmp_path, 8, strace, "-f", "-qq", "-e", "trace=fdatasync", "-e", inject, "-o", "/dev/null")
    assert (status, acknowledged) == (0, 8)
    assert numbers(tmp_path) == list(range(8))
    assert len(list((tmp_path / "events").iterdir())) > 1


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 128 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "tiny"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_is_waited_out(tiny_disk: Path) -> None:
    """The short write that a full disk answers with is no success; once there is room, all is written."""

    async def main() -> None:
        told: list[Draft] = []
        (tiny_disk / "ballast").write_bytes(bytes(100_000))
        writer = threaded(tiny_disk, OsFiles(), told)
        futures = [writer.append([event(number, 5000)]) for number in range(12)]
        done, waiting = await asyncio.wait(futures, timeout=1.0)
        assert waiting, "60 kB do not fit"
        (tiny_disk / "ballast").unlink()
        await asyncio.gather(*futures)
        assert told
        await writer.close()
        assert len(done) < 12

    run(main())
    assert numbers(tiny_disk) == list(range(12))


def test_a_follower_in_another_process_sees_each_event_once(tmp_path: Path) -> None:
    """What `aios events --follow` does: reading while the daemon writes."""
    follow = (
        "import sys\nfrom aios.disk import OsFiles\nfrom aios.journal.reader import FolderReader\n"
        "tail = FolderReader(OsFiles(), sys.argv[1]).tail()\nseen = []\n"
        "while len(seen) < 300:\n    seen += [stored.event.data['n'] for stored in tail.news()]\n"
        "import json; print(json.dumps(seen))"
    )
    with subprocess.Popen([sys.executable, "-c", follow, str(tmp_path / "events")], stdout=subprocess.PIPE) as follower:

        async def main() -> None:
            writer = threaded(tmp_path, OsFiles(), [])
            for number in range(300):
                await writer.append([event(number)])
            await writer.close()

        run(main())
        out, _ = follower.communicate(timeout=30)
    assert json.loads(out) == list(range(300))
