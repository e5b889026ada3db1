"""The machine's readings straight from /proc: what `metrics_snapshot` shows and `metric_below` compares.

A share is from 0 to 1. What a kernel does not tell (pressure, swap) is left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

Readings = dict[str, float]

METRICS = (
    "cpu",
    "memory",
    "swap",
    "disk",
    "load1",
    "load5",
    "load15",
    "pressure_cpu",
    "pressure_memory",
    "pressure_io",
    "memory_available_mb",
    "disk_free_mb",
)


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(65536)


def memory() -> Readings:
    """Shares in use of memory and swap."""
    fields = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        fields[name] = float(rest.split()[0])
    found = {
        "memory": round(1 - fields["MemAvailable"] / fields["MemTotal"], 4),
        "memory_available_mb": round(fields["MemAvailable"] / 1024, 1),
    }
    if fields.get("SwapTotal"):
        found["swap"] = round(1 - fields["SwapFree"] / fields["SwapTotal"], 4)
    return found


def load() -> Readings:
    return dict(zip(("load1", "load5", "load15"), os.getloadavg(), strict=True))


def pressure() -> Readings:
    """Percent of the last 10 s in which some task stalled (pressure stall information)."""
    found: Readings = {}
    for resource in ("cpu", "memory", "io"):
        try:
            some = _read(f"/proc/pressure/{resource}").split(maxsplit=2)[1]
        except (OSError, IndexError):  # a kernel without it
            continue
        found[f"pressure_{resource}"] = float(some.removeprefix("avg10="))
    return found


def disk(path: str) -> dict[str, float]:
    """Share in use as `df` has it (what only root may use counts as used). Raises OSError."""
    seen = os.statvfs(path)
    used = seen.f_blocks - seen.f_bfree
    usable = used + seen.f_bavail
    return {
        "disk": round(used / usable, 4) if usable else 0.0,
        "disk_free_mb": round(seen.f_bavail * seen.f_frsize / 1048576, 1),
        "disk_total_mb": round(seen.f_blocks * seen.f_frsize / 1048576, 1),
        "inodes": round(1 - seen.f_favail / seen.f_files, 4) if seen.f_files else 0.0,
    }


def cpu_times() -> tuple[float, float]:
    """(busy, all) in ticks since boot, over all processors."""
    ticks = [float(word) for word in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def cpu_share(before: tuple[float, float], after: tuple[float, float]) -> float | None:
    """Share busy between two readings; None when no tick has passed."""
    passed = after[1] - before[1]
    return round((after[0] - before[0]) / passed, 4) if passed > 0 else None


def known(readings: Mapping[str, float | None]) -> Readings:
    return {name: value for name, value in readings.items() if value is not None}
