"""The simulated disk: what a power cut takes, what a crash leaves, and what planned faults do."""

from __future__ import annotations

import errno
import os

import pytest

from aios.entropy import SeededEntropy
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from aios.testing.loop import Killed, Life, VirtualLoop

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Never:
    """Chance that lets nothing survive."""

    def new_id(self) -> str:
        return "0"

    def uniform(self, low: float, high: float) -> float:
        return low if high > 1 else high


class Always:
    """Chance that lets everything survive whole."""

    def new_id(self) -> str:
        return "0"

    def uniform(self, low: float, high: float) -> float:
        return high if high > 1 else low


@pytest.fixture
def disk() -> SimDisk:
    disk = SimDisk()
    disk.make_folders("/state")
    return disk


def names_after_cut(disk: SimDisk) -> list[str]:
    disk.power_cut(Never())
    return sorted(disk.listdir("/state"))


def test_bytes_that_were_not_synced_may_go_with_the_power(disk: SimDisk) -> None:
    """A write counts as lost until a sync of its descriptor came back."""
    disk.append("/state/a", b"kept", durable=True)
    disk.append("/state/a", b"lost")
    assert disk.read("/state/a") == b"keptlost"
    disk.power_cut(Never())
    assert disk.read("/state/a") == b"kept"


def test_bytes_that_were_not_synced_may_also_stay(disk: SimDisk) -> None:
    """The kernel may have written them back by itself."""
    disk.append("/state/a", b"kept", durable=True)
    disk.append("/state/a", b"lucky")
    disk.power_cut(Always())
    assert disk.read("/state/a") == b"keptlucky"


def test_a_name_that_was_not_synced_goes_though_its_bytes_were(disk: SimDisk) -> None:
    """A created name counts as lost until its folder was synced."""
    fd = disk.open("/state/a", APPEND)
    disk.write(fd, b"bytes")
    disk.fsync(fd)
    assert names_after_cut(disk) == []


def test_a_removed_name_comes_back_when_its_folder_was_not_synced(disk: SimDisk) -> None:
    """A removed name counts as there until its folder was synced."""
    disk.append("/state/a", b"x", durable=True)
    disk.unlink("/state/a")
    assert names_after_cut(disk) == ["a"]
    disk.unlink("/state/a")
    disk.fsync_dir("/state")
    assert names_after_cut(disk) == []


@pytest.mark.parametrize("chance", [Never(), Always()])
def test_a_rename_survives_whole_or_not_at_all(disk: SimDisk, chance: Never | Always) -> None:
    """After a power cut the target holds the old bytes or the new ones, never neither, never both names."""
    disk.append("/state/a", b"old", durable=True)
    disk.append("/state/a.tmp", b"new", durable=True)
    disk.rename("/state/a.tmp", "/state/a")
    disk.power_cut(chance)
    left = disk.tree("/state")
    assert left in ({"/state/a": b"old", "/state/a.tmp": b"new"}, {"/state/a": b"new"})


@pytest.mark.parametrize("seed", range(50))
def test_torn_writes_are_prefixes_and_holes_are_zeros(seed: int) -> None:
    """Of each unsynced block a prefix survives, or nothing; a later survivor leaves zeros before it."""
    disk = SimDisk()
    disk.append("/a", b"", durable=True)
    fd = disk.open("/a", os.O_RDWR | os.O_APPEND)
    disk.write(fd, b"1" * 5000)
    disk.write(fd, b"2" * 100)
    disk.power_cut(SeededEntropy(seed))
    left = disk.read("/a")
    full = b"1" * 5000 + b"2" * 100
    assert all(byte in (0, full[at]) for at, byte in enumerate(left)), f"seed {seed}"


def test_a_process_crash_loses_nothing_of_what_was_written(disk: SimDisk) -> None:
    """The page cache is the kernel's: a killed process takes none of it along, but its descriptors are closed."""
    life = Life(VirtualLoop(), "daemon")
    mine = disk.seen_by(life)
    fd = mine.open("/state/a", APPEND)
    mine.write(fd, b"unsynced")
    life.kill()
    assert disk.read("/state/a") == b"unsynced"
    with pytest.raises(Killed):
        mine.write(fd, b"more")
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.fstat(fd)


def test_a_failed_sync_is_final(disk: SimDisk) -> None:
    """As on Linux the pages are marked clean: readers see them, a later sync says yes, the power cut takes them."""
    disk.append("/state/a", b"", durable=True)
    fd = disk.open("/state/a", APPEND)
    disk.write(fd, b"doomed")
    fault = disk.fail(Fault("fdatasync", error=errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.fdatasync(fd)
    disk.fdatasync(fd)
    assert disk.read("/state/a") == b"doomed"
    disk.power_cut(Always())
    assert disk.read("/state/a") == b""
    assert fault.hits == 1


def test_the_nth_call_of_a_kind_fails(disk: SimDisk) -> None:
    """Faults count calls of their kind and path from when they were planned."""
    disk.fail(Fault("write", first=2, last=3, error=errno.ENOSPC, path="/state/a"))
    fd = disk.open("/state/a", APPEND)
    other = disk.open("/state/b", APPEND)
    said = []
    for _ in range(4):
        disk.write(other, b"x")
        try:
            said.append(disk.write(fd, b"xy"))
        except OSError as error:
            said.append(error.errno)
    assert said == [2, errno.ENOSPC, errno.ENOSPC, 2]
    assert disk.read("/state/b") == b"xxxx"


def test_a_short_write_reports_no_error(disk: SimDisk) -> None:
    """Only the count tells; a writer that ignores it loses data."""
    disk.fail(Fault("write", keep=3))
    fd = disk.open("/state/a", APPEND)
    assert disk.write(fd, b"abcdef") == 3
    assert disk.read("/state/a") == b"abc"


def test_a_full_disk_takes_what_fits_then_refuses() -> None:
    """Near the end of the disk a write is short; at the end it fails; removing a file makes room."""
    disk = SimDisk(capacity=10)
    disk.append("/a", b"123456")
    fd = disk.open("/b", APPEND)
    assert disk.write(fd, b"123456") == 4
    with pytest.raises(OSError, match="No space left"):
        disk.write(fd, b"1")
    disk.unlink("/a")
    assert disk.write(fd, b"1") == 1
    assert disk.used == 5


def test_a_kill_at_a_call_ends_the_life_before_the_effect(disk: SimDisk) -> None:
    """The k-th changing call kills: it had no effect, and nothing after it has one."""
    life = Life(VirtualLoop(), "daemon")
    mine = disk.seen_by(life)
    mine.fail(Fault("any", first=3, kill=True))
    mine.mkdir("/state/0")
    mine.mkdir("/state/1")
    with pytest.raises(Killed):
        mine.mkdir("/state/2")
    with pytest.raises(Killed):
        mine.mkdir("/state/3")
    assert sorted(disk.listdir("/state")) == ["0", "1"]
    assert not life.alive


def test_a_removed_file_lives_on_while_it_is_open(disk: SimDisk) -> None:
    """As an inode does: readable by its descriptor, its room freed at the last close."""
    disk.append("/state/a", b"xyz")
    fd = disk.open("/state/a", os.O_RDONLY)
    disk.unlink("/state/a")
    assert disk.pread(fd, 10, 1) == b"yz"
    assert disk.used == 3
    disk.close(fd)
    assert disk.used == 0


def test_a_watcher_hears_of_names_and_of_bytes(disk: SimDisk) -> None:
    """What inotify gives the product on a real machine."""
    heard: list[str] = []
    end = disk.watch("/state", heard.append)
    disk.append("/state/a", b"x")
    disk.rename("/state/a", "/state/b")
    end()
    disk.append("/state/b", b"y")
    assert heard == ["a", "a", "a", "b"]


@pytest.mark.parametrize("seed", range(30))
def test_what_was_synced_survives_every_power_cut(seed: int) -> None:
    """Whatever is done in whatever order: bytes and names whose syncs came back are there afterwards."""
    entropy = SeededEntropy(seed)
    disk = SimDisk()
    disk.make_folders("/d/e")
    promised: dict[str, bytes] = {}
    for step in range(200):
        path = f"/d/{'e/' if entropy.uniform(0, 1) < 0.5 else ''}{int(entropy.uniform(0, 6))}"
        fd = disk.open(path, APPEND)
        disk.write(fd, b"%d;" % step)
        if entropy.uniform(0, 1) < 0.5:
            disk.fdatasync(fd)
            disk.fsync_dir(path.rpartition("/")[0])
            promised[path] = disk.read(path)
        disk.close(fd)
        if entropy.uniform(0, 1) < 0.05:
            disk.power_cut(entropy)
            for known, data in promised.items():
                assert disk.read(known).startswith(data), f"seed {seed}, step {step}, {known}"
            promised = {known: disk.durable(known) for known in promised}
