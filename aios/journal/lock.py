"""One daemon a state folder. Taken by the daemon before anything else, read by `aios status` and `aios doctor`.

The kernel holds the lock and lets it go when the process ends, however it ends. It is an open file description lock (fcntl(2),
F_OFD_SETLK), which behaves as flock does but can also be asked for without being taken: so `aios status` never stands in the way
of a daemon that starts. The file's text (pid, its start time, boot id) is for people, and tells a later start who it was.
"""

from __future__ import annotations

import fcntl
import os
import struct

from aios.disk import make_dirs
from aios.errors import Refused
from aios.events.codec import BadLine, decode_hostile, encode_json
from aios.ports import Files, ProcessId

_TEXT_MAX = 4096
_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class InstanceLock:
    """Held from construction until `release` or the end of the process. Raises Refused when another holds it, OSError."""

    def __init__(self, files: Files, folder: str, who: ProcessId) -> None:
        make_dirs(files, folder)
        self._path = f"{folder}/lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self.before = _read(self._fd)
        """Who held it last; None at the first start."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):
            os.close(self._fd)
            raise Refused(*_about(folder, self.before)) from None
        text = encode_json({"pid": who.pid, "start": who.start, "boot_id": who.boot_id}) + b"\n"
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)
        os.fsync(self._fd)

    def release(self) -> None:
        """Let it go; the file stays, so that two who come at the same time lock the same one."""
        os.close(self._fd)


def holder(folder: str) -> ProcessId | None:
    """Who holds the lock of this state folder now; None when nobody does."""
    try:
        fd = os.open(f"{folder}/lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
        if struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK:
            return None
        return _read(fd) or ProcessId(0, 0, "")
    finally:
        os.close(fd)


def _whole_file(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def _read(fd: int) -> ProcessId | None:
    try:
        told = decode_hostile(os.pread(fd, _TEXT_MAX, 0))
        return ProcessId(int(told["pid"]), int(told["start"]), str(told["boot_id"]))
    except (BadLine, KeyError, TypeError, ValueError):
        return None


def _about(folder: str, who: ProcessId | None) -> tuple[str, str]:
    named = f"process {who.pid}" if who else "another process"
    message = f"another AIOS is running on {folder}: {named} holds its lock"
    return message, "stop it first (systemctl stop aios), or give this one a folder of its own with --data"
