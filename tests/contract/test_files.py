"""The `Files` port: one suite over the real disk and the simulated one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.disk import OsFiles
from aios.ports import Files
from aios.testing.disk import SimDisk

READ = os.O_RDONLY
CREATE = os.O_RDWR | os.O_CREAT
EXCLUSIVE = CREATE | os.O_EXCL
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Files, str]]:
    """A disk, and an empty folder on it."""
    if request.param == "real":
        yield OsFiles(), str(tmp_path)
    else:
        disk = SimDisk()
        disk.make_folders("/some/folder")
        yield disk, "/some/folder"


def put(files: Files, path: str, data: bytes) -> None:
    fd = files.open(path, CREATE | os.O_TRUNC)
    files.write(fd, data)
    files.fsync(fd)
    files.close(fd)


def get(files: Files, path: str) -> bytes:
    fd = files.open(path, READ)
    try:
        return files.pread(fd, 1 << 20, 0)
    finally:
        files.close(fd)


def errno_of(call: object, *args: object) -> int | None:
    with pytest.raises(OSError) as raised:
        call(*args)  # type: ignore[operator]
    return raised.value.errno


def test_what_was_written_is_read(place: tuple[Files, str]) -> None:
    """Also at an offset, beyond the end, and in part."""
    files, folder = place
    put(files, f"{folder}/a", b"0123456789")
    fd = files.open(f"{folder}/a", READ)
    assert files.pread(fd, 4, 3) == b"3456"
    assert files.pread(fd, 4, 8) == b"89"
    assert files.pread(fd, 4, 10) == b""
    assert files.pread(fd, 4, 99) == b""


def test_appending_goes_to_the_end_whoever_wrote_last(place: tuple[Files, str]) -> None:
    """Two descriptors that append never overwrite one another."""
    files, folder = place
    one, two = files.open(f"{folder}/a", APPEND), files.open(f"{folder}/a", APPEND)
    for number in range(4):
        files.write((one, two)[number % 2], b"%d" % number)
    assert get(files, f"{folder}/a") == b"0123"


def test_a_plain_descriptor_has_a_place_of_its_own(place: tuple[Files, str]) -> None:
    """Writing goes on where it left off, and overwrites what stands there."""
    files, folder = place
    put(files, f"{folder}/a", b"abcdef")
    fd = files.open(f"{folder}/a", os.O_WRONLY)
    files.write(fd, b"X")
    files.write(fd, b"Y")
    assert get(files, f"{folder}/a") == b"XYcdef"


def test_exclusive_creation_has_one_winner(place: tuple[Files, str]) -> None:
    """Whoever comes second is told."""
    files, folder = place
    files.close(files.open(f"{folder}/a", EXCLUSIVE))
    assert errno_of(files.open, f"{folder}/a", EXCLUSIVE) == errno.EEXIST
    files.mkdir(f"{folder}/d")
    assert errno_of(files.open, f"{folder}/d", EXCLUSIVE) == errno.EEXIST


def test_truncating_on_open_and_by_length(place: tuple[Files, str]) -> None:
    """Shorter loses the end, longer reads as zeros."""
    files, folder = place
    put(files, f"{folder}/a", b"abcdef")
    fd = files.open(f"{folder}/a", os.O_RDWR)
    files.ftruncate(fd, 2)
    assert get(files, f"{folder}/a") == b"ab"
    files.ftruncate(fd, 4)
    assert get(files, f"{folder}/a") == b"ab\0\0"
    files.close(files.open(f"{folder}/a", os.O_WRONLY | os.O_TRUNC))
    assert get(files, f"{folder}/a") == b""


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda f, d: f.open(f"{d}/none", READ), errno.ENOENT),
        (lambda f, d: f.open(f"{d}/none/a", CREATE), errno.ENOENT),
        (lambda f, d: f.open(f"{d}/file/a", CREATE), errno.ENOTDIR),
        (lambda f, d: f.open(f"{d}/full", os.O_WRONLY), errno.EISDIR),
        (lambda f, d: f.open(f"{d}/file", READ | os.O_DIRECTORY), errno.ENOTDIR),
        (lambda f, d: f.open(f"{d}/{'x' * 256}", CREATE), errno.ENAMETOOLONG),
        (lambda f, d: f.stat(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.lstat(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.listdir(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.listdir(f"{d}/file"), errno.ENOTDIR),
        (lambda f, d: f.mkdir(f"{d}/full"), errno.EEXIST),
        (lambda f, d: f.mkdir(f"{d}/file"), errno.EEXIST),
        (lambda f, d: f.mkdir(f"{d}/none/deep"), errno.ENOENT),
        (lambda f, d: f.unlink(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.unlink(f"{d}/full"), errno.EISDIR),
        (lambda f, d: f.rmdir(f"{d}/full"), errno.ENOTEMPTY),
        (lambda f, d: f.rmdir(f"{d}/file"), errno.ENOTDIR),
        (lambda f, d: f.rmdir(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.rename(f"{d}/none", f"{d}/b"), errno.ENOENT),
        (lambda f, d: f.rename(f"{d}/file", f"{d}/full"), errno.EISDIR),
        (lambda f, d: f.rename(f"{d}/full", f"{d}/file"), errno.ENOTDIR),
        (lambda f, d: f.link(f"{d}/none", f"{d}/b"), errno.ENOENT),
        (lambda f, d: f.link(f"{d}/file", f"{d}/full"), errno.EEXIST),
        (lambda f, d: f.link(f"{d}/full", f"{d}/b"), errno.EPERM),
        (lambda f, d: f.fsync_dir(f"{d}/none"), errno.ENOENT),
        (lambda f, d: f.fsync_dir(f"{d}/file"), errno.ENOTDIR),
        (lambda f, _: f.close(987_654), errno.EBADF),
        (lambda f, _: f.write(987_654, b"x"), errno.EBADF),
        (lambda f, _: f.fstat(987_654), errno.EBADF),
        (lambda f, d: f.write(f.open(f"{d}/file", READ), b"x"), errno.EBADF),
        (lambda f, d: f.pread(f.open(f"{d}/file", os.O_WRONLY), 1, 0), errno.EBADF),
        (lambda f, d: f.pread(f.open(f"{d}/full", READ), 1, 0), errno.EISDIR),
    ],
)
def test_errors_are_the_kernels(place: tuple[Files, str], call: object, number: int) -> None:
    """Each refusal has the number that Linux gives it, so that code written against one disk is right on the other."""
    files, folder = place
    put(files, f"{folder}/file", b"x")
    files.mkdir(f"{folder}/full")
    put(files, f"{folder}/full/inside", b"x")
    assert errno_of(call, files, folder) == number


def test_a_rename_replaces_and_keeps_the_inode(place: tuple[Files, str]) -> None:
    """The target is the old file under a new name; the old target is gone, but lives on for whoever has it open."""
    files, folder = place
    put(files, f"{folder}/new", b"new")
    put(files, f"{folder}/old", b"old")
    held = files.open(f"{folder}/old", READ)
    inode = files.stat(f"{folder}/new").inode
    files.rename(f"{folder}/new", f"{folder}/old")
    files.fsync_dir(folder)
    assert files.listdir(folder) == ["old"]
    assert files.stat(f"{folder}/old").inode == inode
    assert get(files, f"{folder}/old") == b"new"
    assert files.pread(held, 10, 0) == b"old"


def test_a_folder_moves_with_all_that_is_in_it(place: tuple[Files, str]) -> None:
    """And is found under its new name only."""
    files, folder = place
    files.mkdir(f"{folder}/a")
    put(files, f"{folder}/a/x", b"x")
    files.rename(f"{folder}/a", f"{folder}/b")
    assert get(files, f"{folder}/b/x") == b"x"
    assert errno_of(files.listdir, f"{folder}/a") == errno.ENOENT


def test_a_link_is_a_second_name(place: tuple[Files, str]) -> None:
    """The bytes go with the last of them."""
    files, folder = place
    put(files, f"{folder}/a", b"x")
    files.link(f"{folder}/a", f"{folder}/b")
    assert files.stat(f"{folder}/a").inode == files.stat(f"{folder}/b").inode
    files.unlink(f"{folder}/a")
    assert get(files, f"{folder}/b") == b"x"


def test_a_removed_file_is_there_for_whoever_has_it_open(place: tuple[Files, str]) -> None:
    """Reading and writing go on; the name is free at once, and another file has another inode."""
    files, folder = place
    fd = files.open(f"{folder}/a", CREATE)
    files.write(fd, b"x")
    before = files.fstat(fd).inode
    files.unlink(f"{folder}/a")
    put(files, f"{folder}/a", b"y")
    assert files.pread(fd, 1, 0) == b"x"
    assert files.stat(f"{folder}/a").inode != before


def test_what_stat_says(place: tuple[Files, str]) -> None:
    """Size, kind, mode, one device, and times that move when the bytes do."""
    files, folder = place
    fd = files.open(f"{folder}/a", EXCLUSIVE, 0o600)
    before = files.fstat(fd)
    files.write(fd, b"abc")
    after = files.fstat(fd)
    assert (before.size, after.size) == (0, 3)
    assert stat.S_ISREG(after.mode)
    assert after.mode & 0o777 == 0o600
    assert after.mtime_ns >= before.mtime_ns
    assert files.stat(f"{folder}/a")[:3] == files.lstat(f"{folder}/a")[:3] == after[:3]
    files.mkdir(f"{folder}/d", 0o700)
    assert stat.S_ISDIR(files.stat(f"{folder}/d").mode)
    assert files.stat(f"{folder}/d").device == after.device


def test_syncing_and_dropping_the_cache_lose_nothing_on_a_disk_that_is_well(place: tuple[Files, str]) -> None:
    """What was synced is read from the disk as it was."""
    files, folder = place
    fd = files.open(f"{folder}/a", CREATE)
    files.write(fd, b"abc")
    files.fdatasync(fd)
    files.write(fd, b"def")
    files.drop_cache(fd)
    assert files.pread(fd, 10, 0) == b"abcdef"
    files.fsync(fd)
    files.drop_cache(fd)
    assert files.pread(fd, 10, 0) == b"abcdef"


def test_what_is_sent_on_is_what_it_was_and_nothing_can_fail(place: tuple[Files, str]) -> None:
    """Beyond the end, and where there is nothing to send, too."""
    files, folder = place
    fd = files.open(f"{folder}/a", CREATE)
    files.write(fd, b"abc")
    for offset, length in ((0, 3), (2, 100), (1 << 20, 1), (0, 0)):
        files.send_on(fd, offset, length)
    assert files.pread(fd, 10, 0) == b"abc"
    folder_fd = files.open(folder, READ)
    files.send_on(folder_fd, 0, 1)


def test_an_emptied_folder_can_go(place: tuple[Files, str]) -> None:
    """And its name is free again."""
    files, folder = place
    files.mkdir(f"{folder}/d")
    put(files, f"{folder}/d/x", b"x")
    files.unlink(f"{folder}/d/x")
    files.rmdir(f"{folder}/d")
    put(files, f"{folder}/d", b"now a file")
    assert files.listdir(folder) == ["d"]
