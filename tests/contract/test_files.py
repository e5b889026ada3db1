"""One suite for every disk: the real one and the simulated one do the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aios.disk import OsFiles, make_dirs, read_all, sweep_temporaries, write_small
from aios.ports import Files
from aios.testing.disk import SimDisk

Disk = tuple[Files, str]
WRITE = os.O_RDWR | os.O_CREAT


def _real(folder: Path) -> Disk:
    return OsFiles(), str(folder)


def _simulated(_folder: Path) -> Disk:
    files = SimDisk()
    files.make_folders("/t")
    return files, "/t"


@pytest.fixture(params=[_real, _simulated], ids=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    made: Callable[[Path], Disk] = request.param
    return made(tmp_path)


def put(disk: Disk, name: str, data: bytes) -> str:
    files, folder = disk
    path = f"{folder}/{name}"
    fd = files.open(path, WRITE | os.O_TRUNC)
    assert files.write(fd, data) == len(data)
    files.close(fd)
    return path


def test_what_is_written_is_read_back(disk: Disk) -> None:
    files, folder = disk
    fd = files.open(f"{folder}/a", WRITE)
    files.write(fd, b"one")
    files.write(fd, b"two")
    assert files.pread(fd, 100, 0) == b"onetwo"
    assert files.pread(fd, 2, 3) == b"tw"
    assert files.pread(fd, 2, 100) == b""
    files.fsync(fd)
    files.fdatasync(fd)
    files.close(fd)
    files.fsync_dir(folder)
    assert files.listdir(folder) == ["a"]


def test_append_goes_to_the_end_whoever_wrote_before(disk: Disk) -> None:
    files, _ = disk
    path = put(disk, "a", b"one")
    first, second = (files.open(path, os.O_RDWR | os.O_APPEND) for _ in range(2))
    files.write(first, b"two")
    files.write(second, b"three")
    assert files.pread(first, 99, 0) == b"onetwothree"


def test_a_dropped_cache_takes_nothing_that_was_synced(disk: Disk) -> None:
    files, _ = disk
    fd = files.open(put(disk, "a", b"abc"), os.O_RDWR)
    files.fsync(fd)
    files.drop_cache(fd)
    assert files.pread(fd, 9, 0) == b"abc"


def test_truncation_cuts_and_grows(disk: Disk) -> None:
    files, _ = disk
    fd = files.open(put(disk, "a", b"abcdef"), os.O_RDWR)
    files.ftruncate(fd, 3)
    assert files.pread(fd, 9, 0) == b"abc"
    files.ftruncate(fd, 5)
    assert files.pread(fd, 9, 0) == b"abc\0\0"
    assert files.fstat(fd).size == 5


def test_opening_keeps_its_promises(disk: Disk) -> None:
    files, folder = disk
    path = put(disk, "a", b"x")
    with pytest.raises(FileNotFoundError):
        files.open(f"{folder}/none", os.O_RDONLY)
    with pytest.raises(FileExistsError):
        files.open(path, WRITE | os.O_EXCL)
    with pytest.raises(FileNotFoundError):
        files.open(f"{folder}/none/below", WRITE)
    files.close(files.open(path, os.O_RDWR | os.O_TRUNC))
    assert files.stat(path).size == 0


def test_a_stat_tells_files_and_folders_apart_and_names_them(disk: Disk) -> None:
    files, folder = disk
    path = put(disk, "a", b"abc")
    files.mkdir(f"{folder}/d")
    assert stat.S_ISREG(files.lstat(path).mode)
    assert stat.S_ISDIR(files.stat(f"{folder}/d").mode)
    fd = files.open(path, os.O_RDONLY)
    assert files.fstat(fd)[:3] == files.stat(path)[:3]
    assert files.stat(put(disk, "b", b"abc")).inode != files.stat(path).inode
    with pytest.raises(FileNotFoundError):
        files.lstat(f"{folder}/none")


def test_a_rename_replaces_and_keeps_the_inode(disk: Disk) -> None:
    files, folder = disk
    source, target = put(disk, "a", b"new"), put(disk, "b", b"old")
    inode = files.stat(source).inode
    held = files.open(target, os.O_RDONLY)
    files.rename(source, target)
    assert files.listdir(folder) == ["b"]
    assert files.stat(target).inode == inode
    assert read_all(files, target, 10) == b"new"
    assert files.pread(held, 10, 0) == b"old", "who held the old file goes on reading it"


def test_an_unlinked_file_is_gone_by_name_and_there_for_its_holder(disk: Disk) -> None:
    files, folder = disk
    path = put(disk, "a", b"abc")
    fd = files.open(path, os.O_RDONLY)
    files.unlink(path)
    assert files.listdir(folder) == []
    assert files.pread(fd, 10, 0) == b"abc"
    with pytest.raises(FileNotFoundError):
        files.unlink(path)


def test_a_link_is_the_same_file(disk: Disk) -> None:
    files, folder = disk
    path = put(disk, "a", b"abc")
    files.link(path, f"{folder}/b")
    assert files.stat(f"{folder}/b").inode == files.stat(path).inode
    with pytest.raises(FileExistsError):
        files.link(path, f"{folder}/b")


def test_folders_are_made_and_removed(disk: Disk) -> None:
    files, folder = disk
    files.mkdir(f"{folder}/d")
    with pytest.raises(FileExistsError):
        files.mkdir(f"{folder}/d")
    with pytest.raises(FileNotFoundError):
        files.mkdir(f"{folder}/e/f")
    put(disk, "d/x", b"")
    with pytest.raises(OSError):
        files.rmdir(f"{folder}/d")
    files.unlink(f"{folder}/d/x")
    files.rmdir(f"{folder}/d")
    assert files.listdir(folder) == []


def test_a_small_file_is_put_whole(disk: Disk) -> None:
    files, folder = disk
    make_dirs(files, f"{folder}/x/y/z")
    make_dirs(files, f"{folder}/x/y/z")
    path = f"{folder}/x/y/z/small"
    for data in (b"first", b"", b"second" * 1000):
        write_small(files, path, data)
        assert read_all(files, path, 10_000) == data
    assert files.listdir(f"{folder}/x/y/z") == ["small"]


def test_reading_all_is_bounded_and_only_of_files(disk: Disk) -> None:
    files, folder = disk
    path = put(disk, "a", b"abcdef")
    assert read_all(files, path, 6) == b"abcdef"
    with pytest.raises(OSError, match="longer"):
        read_all(files, path, 5)
    with pytest.raises(OSError):
        read_all(files, folder, 5)


def test_left_temporaries_are_swept_and_nothing_else(disk: Disk) -> None:
    files, folder = disk
    for name in (".a.1.2.tmp", "a.tmp", ".b"):
        put(disk, name, b"")
    sweep_temporaries(files, folder)
    assert sorted(files.listdir(folder)) == [".b", "a.tmp"]


def test_a_pipe_or_a_link_does_not_hold_us(tmp_path: Path) -> None:
    """Only the real disk has them: reading a FIFO must not wait for a writer."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        read_all(OsFiles(), str(tmp_path / "fifo"), 10)
