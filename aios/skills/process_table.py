"""The processes of this machine, read from /proc in one pass: what `list_processes` shows and `process_check` counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
COMMAND_MAX = 200


class Row(NamedTuple):
    """`cpu_s` is processor time since it started; `name` at most 15 characters, as the kernel keeps it."""

    pid: int
    parent: int
    name: str
    state: str
    cpu_s: float
    memory_mb: float


class Life(NamedTuple):
    """`started` in clock ticks after the machine's start: with the pid it names one process for as long as the machine runs."""

    parent: int
    nice: int
    started: int


def rows() -> Iterator[Row]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            row = _row(int(entry))
            if row is not None:
                yield row


def life_of(pid: int) -> Life | None:
    """None when nobody has this pid; who has ended and is not waited for yet does nothing any more."""
    raw = _stat(pid)
    fields = raw[raw.rindex(b")") + 2 :].split() if raw else [b"Z"]
    return None if fields[0] in b"ZXx" else Life(int(fields[1]), int(fields[16]), int(fields[19]))


def _stat(pid: int) -> bytes:
    """/proc/PID/stat (proc(5)); empty when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096)
    except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
        return b""


def _row(pid: int) -> Row | None:
    raw = _stat(pid)
    if not raw:
        return None
    opening, closing = raw.index(b"("), raw.rindex(b")")
    fields = raw[closing + 2 :].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
    memory_mb = int(fields[21]) * _PAGE_KB / 1024
    name = raw[opening + 1 : closing].decode(errors="replace")
    return Row(pid, int(fields[1]), name, chr(fields[0][0]), round(cpu_s, 2), round(memory_mb, 1))


def command_of(pid: int) -> list[str]:
    """Its arguments; empty for a kernel thread, and when it is gone or not ours to see."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            raw = file.read(4096)
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")] if raw else []


def shown_command(pid: int) -> str:
    return " ".join(command_of(pid))[:COMMAND_MAX]
