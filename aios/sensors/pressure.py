"""Pressure stall information: the kernel wakes us when work stalls; at rest nothing is read.

Used by the host sensor alone. A trigger (Documentation/accounting/psi.rst in the kernel's tree) is a line written to
`/proc/pressure/RESOURCE`; the descriptor then shows an exceptional condition when that much stall gathered within its window.
asyncio waits for readable descriptors only, so the triggers stand in an epoll of their own, which becomes readable with them.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Sequence

RESOURCES = ("cpu", "memory", "io")
WINDOW_US = 2_000_000
"""Windows that are multiples of 2 s are allowed to every user, at least where the kernel is 6.5 or later."""

_FOLDER = "/proc/pressure"


def read_avg10(resource: str, folder: str = _FOLDER) -> float | None:
    """Percent of the last 10 s in which some task stalled; None where the kernel does not tell."""
    try:
        with open(f"{folder}/{resource}", "rb") as file:
            line = file.readline(256)
        return parse_avg10(line)
    except OSError:
        return None


def parse_avg10(line: bytes) -> float | None:
    """`some avg10=1.25 avg60=… avg300=… total=…` is 1.25."""
    for word in line.split():
        name, _, value = word.partition(b"=")
        if name == b"avg10":
            try:
                return float(value)
            except ValueError:
                return None
    return None


class Triggers:
    """Calls `on_stall(resource)` when a resource stalls for `percent` of a window; `allowed` are those that the kernel took."""

    def __init__(self, percent: float, on_stall: Callable[[str], None], resources: Sequence[str] = RESOURCES) -> None:
        self._on_stall = on_stall
        self._resources: dict[int, str] = {}
        self._epoll: select.epoll | None = None
        for resource in resources:
            self._arm(resource, percent)
        if self._epoll is not None:
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._on_ready)

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(self._resources.values())

    def close(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        for fd in self._resources:
            os.close(fd)
        self._resources.clear()

    def _arm(self, resource: str, percent: float) -> None:
        try:
            fd = os.open(f"{_FOLDER}/{resource}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # no such file, or a container that may only read: it is sampled instead
        try:
            os.write(fd, b"some %d %d\0" % (max(1, int(WINDOW_US * percent / 100)), WINDOW_US))
            self._epoll = self._epoll or select.epoll()
            self._epoll.register(fd, select.EPOLLPRI)
        except OSError:
            os.close(fd)
            return
        self._resources[fd] = resource

    def _on_ready(self) -> None:
        if self._epoll is None:
            return
        for fd, event in self._epoll.poll(0):
            if event & select.EPOLLERR:  # its resource is gone from the kernel
                self._epoll.unregister(fd)
            else:
                self._on_stall(self._resources[fd])
