"""The real disk behind the `Files` port, and the one way to write a small file.

Journal, blobs, hands and checkpoints come here. The simulated twin of `OsFiles` is `aios.testing.disk.SimDisk`; the functions
below are written over the port, so they run on either.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

from aios.ports import Files, FileStat, Room

_READ_CHUNK = 1 << 20
_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""
_CANNOT_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY})
"""What the kernel says where it cannot, or a sandbox that does not know the call: nothing about the disk."""
_SYNC_FILE_RANGE_WRITE = 2
"""sync_file_range(2)."""
_temporaries = count()


class OsFiles:
    """Each call is one system call (`fsync_dir` is three, `copy` some)."""

    def open(self, path: str, flags: int, mode: int = 0o640) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def send_on(self, fd: int, offset: int, length: int) -> None:
        _libc().sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)

    def drop_cache(self, fd: int) -> None:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def ftruncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def fstat(self, fd: int) -> FileStat:
        return _as_file_stat(os.fstat(fd))

    def close(self, fd: int) -> None:
        os.close(fd)

    def stat(self, path: str) -> FileStat:
        return _as_file_stat(os.stat(path))

    def lstat(self, path: str) -> FileStat:
        return _as_file_stat(os.lstat(path))

    def room(self, path: str) -> Room:
        found = os.statvfs(path)
        return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def mkdir(self, path: str, mode: int = 0o750) -> None:
        os.mkdir(path, mode)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def fsync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def touch(self, path: str) -> None:
        os.utime(path)

    def clone(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            return False
        return True

    def copy(self, source: int, target: int, offset: int, length: int) -> int | None:
        try:
            copied = _copy_range(source, target, offset, length)
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
            return None
        self.send_on(target, offset, copied)
        return copied


def _copy_range(source: int, target: int, offset: int, length: int) -> int:
    try:
        return os.copy_file_range(source, target, length, offset, offset)
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    os.lseek(target, offset, os.SEEK_SET)  # from one file system to another, an older kernel knows only this way
    return os.sendfile(target, source, offset, length)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def _as_file_stat(raw: os.stat_result) -> FileStat:
    return FileStat(raw.st_size, raw.st_dev, raw.st_ino, raw.st_mode, raw.st_uid, raw.st_gid, raw.st_mtime_ns, raw.st_ctime_ns)


def write_all(files: Files, fd: int, data: bytes) -> None:
    """All of it, however little each write takes. Raises OSError; what was written until then stays."""
    done = 0
    while done < len(data):
        more = files.write(fd, data[done:] if done else data)
        if more <= 0:
            raise OSError(errno.EIO, "the disk takes no more bytes and gives no reason")
        done += more


def write_small(files: Files, path: str, data: bytes, mode: int = 0o640) -> None:
    """Put `data` at `path`, durably and all at once: whoever looks sees the old file or the new one, also after a power cut.

    Raises OSError, and then nothing is certain but that: the old file or the new one. A temporary one may be left
    (`sweep_temporaries`).
    """
    temporary = temporary_beside(path)
    fd = files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        try:
            write_all(files, fd, data)
            files.fsync(fd)
        finally:
            files.close(fd)
        files.rename(temporary, path)
    except OSError:
        remove_if_there(files, temporary)
        raise
    files.fsync_dir(os.path.dirname(path))


def temporary_beside(path: str) -> str:
    """A name in the same folder that no other process or thread uses; it begins with a dot and ends with `.tmp`."""
    folder, name = os.path.split(path)
    return f"{folder}/.{name}.{os.getpid()}.{next(_temporaries)}.tmp"


def sweep_temporaries(files: Files, folder: str) -> None:
    """Remove what a crash left of `write_small` in this folder. Only for folders that one process writes."""
    for name in files.listdir(folder):
        if name.startswith(".") and name.endswith(".tmp"):
            remove_if_there(files, f"{folder}/{name}")


def remove_if_there(files: Files, path: str) -> None:
    """Tidying: that it fails is no reason to fail, the file is only in the way."""
    try:
        files.unlink(path)
    except OSError:
        pass


def read_all(files: Files, path: str, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes. Raises OSError (EFBIG when it is longer, EINVAL for no file)."""
    fd = files.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not hold us
    try:
        if not stat.S_ISREG(files.fstat(fd).mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        parts: list[bytes] = []
        length = 0
        while part := files.pread(fd, _READ_CHUNK, length):
            parts.append(part)
            length += len(part)
            if length > limit:
                raise OSError(errno.EFBIG, f"longer than {limit} bytes", path)
        return b"".join(parts)
    finally:
        files.close(fd)


def make_dirs(files: Files, path: str, mode: int = 0o750) -> None:
    """The folder and all above it; each new name is durable when this returns. Raises OSError.

    The last name is synced even when it is there: whoever made it may have died before that.
    """
    try:
        files.mkdir(path, mode)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make_dirs(files, os.path.dirname(path), mode)
        make_dirs(files, path, mode)
        return
    files.fsync_dir(os.path.dirname(path))


@contextmanager
def alone(files: Files, lock: str, *, wait: bool = True) -> Iterator[None]:
    """No other process is in a block with this lock meanwhile; without `wait` BlockingIOError where one is. Raises OSError.

    The lock is the kernel's and ends with the process. Only on the real disk: a simulated one has no other process, and its
    descriptors are not the kernel's.
    """
    if not isinstance(files, OsFiles):
        yield
        return
    fd = files.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        files.close(fd)


__all__ = [
    "OsFiles",
    "alone",
    "make_dirs",
    "read_all",
    "remove_if_there",
    "sweep_temporaries",
    "temporary_beside",
    "write_all",
    "write_small",
]
