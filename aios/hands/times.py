"""When a file's times tell that nobody has changed it: on which file systems, and after how long.

A time of change (ctime) is the kernel's own, and no program can put it back. But not every file system moves it at once, or at
all, when a file is written through a shared mapping: tmpfs never does, ZFS when it writes back, an overlay as the one below it,
network and user-space ones as they please. And a page that was dirtied once is written again without a word, until the kernel
has written it back. So times are believed on the file systems below (seen in the kernel: each calls `file_update_time` where a
page is made writable, and moves a folder's time with its names), of what has rested for longer than dirty pages live, and while
the machine runs that saw them: after a power cut bytes that were synced by fdatasync(2) may be there, and their time not.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from typing import Any

from aios.hands.proc import boot_id, libc

_BELIEVED = frozenset((0xEF53, 0x58465342, 0x9123683E, 0xF2F52010))
"""ext2 to ext4, XFS, Btrfs, F2FS: `f_type` of statfs(2)."""
_STATFS_MAX = 512
_SLACK = 2500
"""Centiseconds more than dirty pages live: writing back takes its time."""
_PROC_VM = "/proc/sys/vm"


def tell(fd: int) -> bool:
    """Whether they do where this open file lies. Raises OSError."""
    found = ctypes.create_string_buffer(_STATFS_MAX)
    if libc().fstatfs(fd, found) != 0:
        raise OSError(ctypes.get_errno(), "its file system cannot be asked")
    (kind,) = struct.unpack_from("l", found)
    return kind in _BELIEVED


def rested_ns(manifest: Mapping[str, Any]) -> int:
    """Of what it saw: what had changed later than this (wall time) was not at rest, which is a minute before it was taken where
    nobody has changed how long dirty pages live. 0: nothing of it is believed.
    """
    try:
        if manifest["boot_id"] != boot_id():
            return 0
        seen_ns = int(manifest["taken_ns"])
        expire, interval = (_centiseconds(name) for name in ("dirty_expire_centisecs", "dirty_writeback_centisecs"))
    except (OSError, ValueError, KeyError, TypeError):  # nobody can say, or it did not
        return 0
    return seen_ns - (expire + interval + _SLACK) * 10_000_000 if interval else 0


def _centiseconds(name: str) -> int:
    with open(f"{_PROC_VM}/{name}", encoding="ascii") as file:
        return int(file.read())
