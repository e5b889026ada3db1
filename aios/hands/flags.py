"""The flags of an inode that chattr(1) sets: what a snapshot saves of them, and how they are taken off and set again.

Used by `scan.py` (saves), `tree.py` and `restore.py` (put back). An immutable (`i`) or append-only (`a`) file can be neither
written nor renamed nor removed, and in such a folder no name can be changed: so these two are taken off first and set last. That
needs root (CAP_LINUX_IMMUTABLE); who may not is told which file it is and what to do. The kernel: ioctl_iflags(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from typing import TypeVar

_GET, _SET = (0x80086601, 0x40086602)
"""FS_IOC_GETFLAGS and FS_IOC_SETFLAGS where a long has eight bytes (x86_64, aarch64); the value itself has four."""
_VALUE = struct.Struct("=I4x")
LETTERS = {"S": 0x08, "i": 0x10, "a": 0x20, "d": 0x40, "A": 0x80, "D": 0x10000}
"""As chattr writes them: synchronous, immutable, append-only, not to be dumped, no time of access, synchronous folder. The rest
are the file system's own affair (how it lays a file out), and not all can be set on a file that has content."""
KEPT = sum(LETTERS.values())
LOCKS = LETTERS["i"] | LETTERS["a"]
_NONE_HERE = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES})
"""What a file system says that has no flags, or does not show them."""


def flags_of(fd: int) -> int:
    """Those that are kept; 0 where the file system has none."""
    return _all_of(fd) & KEPT


def shown(flags: int) -> str:
    """As lsattr shows them: `ia`."""
    return "".join(letter for letter, bit in LETTERS.items() if flags & bit)


def put(fd: int, wanted: int, name: str) -> None:
    """Give an open file these flags, no more and no less. `name` is for what is said. Raises OSError."""
    has = _all_of(fd)
    due = has & ~KEPT | wanted
    if due != has:
        _set(fd, due, f"its flags cannot be set to {shown(wanted) or 'none'}", name)


def unlock(fd: int, name: str) -> bool:
    """Take immutable and append-only off; False when neither was on. Raises OSError where that is not allowed."""
    has = _all_of(fd)
    if not has & LOCKS:
        return False
    _set(fd, has & ~LOCKS, f"it is {lock_words(has)}, and that cannot be taken off", name)
    return True


def lock_words(flags: int) -> str:
    return "immutable (chattr +i)" if flags & LETTERS["i"] else "append-only (chattr +a)"


_Done = TypeVar("_Done")


def unlocked(change: Callable[[], _Done], folder: int, name: str) -> _Done:
    """What `change` does to a name; if it is refused because what stands there is locked, that is taken off and it is done again.

    Raises OSError; one that says so, where a lock is in the way that cannot be taken off.
    """
    try:
        return change()
    except PermissionError as error:
        if error.errno != errno.EPERM or not _unlock_name(folder, name):
            raise
    return change()


def locks_of(folder: int, name: str) -> int:
    """Which of the two lock the file or folder of this name; 0 for whatever else stands there, or nothing."""
    fd = _open(folder, name)
    if fd < 0:
        return 0
    try:
        return _all_of(fd) & LOCKS
    finally:
        os.close(fd)


def _unlock_name(folder: int, name: str) -> bool:
    fd = _open(folder, name)
    if fd < 0:
        return False
    try:
        return unlock(fd, name)
    finally:
        os.close(fd)


def _open(folder: int, name: str) -> int:
    """-1 for what is neither file nor folder, or not for us to open."""
    try:
        if stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return -1
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return -1


def _all_of(fd: int) -> int:
    try:
        found: int = _VALUE.unpack(fcntl.ioctl(fd, _GET, bytes(_VALUE.size)))[0]
    except OSError as error:
        if error.errno in _NONE_HERE:
            return 0
        raise
    return found


def _set(fd: int, flags: int, refused: str, name: str) -> None:
    try:
        fcntl.ioctl(fd, _SET, _VALUE.pack(flags))
    except OSError as error:
        cure = "run AIOS as root with CAP_LINUX_IMMUTABLE" if error.errno in (errno.EPERM, errno.EACCES) else error.strerror
        raise OSError(error.errno, f"{refused}: {cure}", name) from error
