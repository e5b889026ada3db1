"""The end of a text file, bounded: what `read_logs` shows of a log. Pure but for the read."""

from __future__ import annotations

import os
import stat

TAIL_BYTES = 256 * 1024
TEXT_BYTES = 24 * 1024
"""What a result has room for."""
LINE_MAX = 2000


def read_tail(path: str, lines: int) -> list[str]:
    """The last lines of a regular file. Raises OSError; `ValueError` when it is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            raise ValueError(f"{path} is no regular file")
        start = max(0, seen.st_size - TAIL_BYTES)
        data = os.pread(fd, TAIL_BYTES, start)
    finally:
        os.close(fd)
    if start:
        data = data[data.find(b"\n") + 1 :]
    return last_lines(data, lines)


def last_lines(data: bytes, lines: int) -> list[str]:
    """The newest lines that a result has room for, oldest first."""
    kept: list[str] = []
    room = TEXT_BYTES
    for line in reversed(data.decode(errors="replace").splitlines()[-lines:]):
        shown = line[:LINE_MAX]
        room -= len(shown.encode()) + 4
        if room < 0:
            break
        kept.append(shown)
    return kept[::-1]
