"""The daemon's own memory: its limit, what the garbage collector is spared, what goes back to the machine."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
from collections.abc import Callable

GC_YOUNG = 20_000
"""Allocations between two young collections. What the daemon holds is bounded and seldom in circles."""

_LIBC = ctypes.CDLL(None)


def limit_memory(mb: int) -> None:
    """Of this process alone: hands takes the limit off again, so that what it starts has none."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def spare_the_collector() -> None:
    """What is assembled stays: a full collection of it would hold the loop for 15 ms, again and again.

    Nor is it looked through once before: that takes 45 ms of the start, and gives back nothing that could be measured.
    """
    gc.freeze()
    _LIBC.malloc_trim(0)
    gc.set_threshold(GC_YOUNG, 20, 20)
    gc.enable()


async def offload(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, _work_and_tidy, work)


def _work_and_tidy(work: Callable[[], None]) -> None:
    """What a day's digest took for a moment, 30 MB perhaps, goes back to the machine: glibc would keep it for ever."""
    try:
        work()
    finally:
        _LIBC.malloc_trim(0)


def rss_kb() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
