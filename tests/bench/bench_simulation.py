"""How fast virtual time goes: simulated hours per CPU second, on a calm machine and on one where everything dies.

The baseline is a day in which nothing happens at all: what loop, clock and the daemon's own heartbeat cost.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from aios.testing.disk import SimDisk
from tests.simulation.happenings import CALM, Troubles
from tests.simulation.harness import play_day

QUIET_S = 600.0
DISK_CALLS = 300_000


def run() -> dict[str, Any]:
    nothing = replace(CALM, work_s=0.0, falls_s=0.0)
    return {
        "baseline_idle": _day(24.0, nothing),
        "calm": _day(24.0, replace(CALM, work_s=600.0)),
        "troubled": _day(24.0, Troubles(work_s=600.0)),
        "dense": _day(2.0, Troubles(work_s=60.0)),
        "disk_calls_per_s": _disk_calls_per_s(),
    }


def _day(hours: float, troubles: Troubles) -> dict[str, float]:
    """Events an hour say how dense the day was: what costs is events, not hours."""
    began = time.process_time()
    history = play_day(1, hours, troubles, quiet_s=QUIET_S)
    cpu_s = time.process_time() - began
    return {
        "hours_per_cpu_s": round((hours + QUIET_S / 3600.0) / cpu_s, 1),
        "events_per_hour": round(len(history.stored) / hours),
        "restarts_per_hour": round((history.starts - 1) / hours, 1),
    }


def _disk_calls_per_s() -> int:
    disk = SimDisk()
    fd = disk.open("/file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.process_time()
    for _ in range(DISK_CALLS // 3):
        disk.write(fd, b"a line of a journal, about as long as an event is\n")
        disk.fdatasync(fd)
        disk.fstat(fd)
    return round(DISK_CALLS / (time.process_time() - began))
