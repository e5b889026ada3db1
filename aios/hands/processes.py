"""The `Processes` port over pidfds: no signal ever reaches another process, and the kernel tells of an end by itself.

Used in the daemon by `client.py` and by the managed services; in hands, where nothing is watched, by the acts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from aios.hands import proc
from aios.ports import ProcessId

if TYPE_CHECKING:
    import asyncio


class OsProcesses:
    """Processes of this machine. `on_exit` needs a running loop."""

    def identity(self, pid: int) -> ProcessId | None:
        return proc.identity(pid)

    def alive(self, who: ProcessId) -> bool:
        return proc.alive(who)

    def signal(self, who: ProcessId, number: int) -> bool:
        fd = _pidfd(who)
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True

    def on_exit(self, who: ProcessId, callback: Callable[[], None]) -> Callable[[], None]:
        import asyncio  # only the daemon watches; hands, which uses the rest, is 9 MB smaller without it

        loop = asyncio.get_running_loop()
        fd = _pidfd(who)
        if fd is None:
            return loop.call_soon(callback).cancel
        watch = _Watch(loop, fd, callback)
        loop.add_reader(fd, watch.told)
        return watch.end


class _Watch:
    """One pidfd in the loop; the descriptor is closed exactly once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._callback = callback

    def told(self) -> None:
        self.end()
        self._callback()

    def end(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def _pidfd(who: ProcessId) -> int | None:
    """A descriptor for exactly this process; None when it is gone. The look after opening closes the race with a reused pid."""
    if who.pid <= 0:
        return None
    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return None
    if proc.alive(who):
        return fd
    os.close(fd)
    return None
