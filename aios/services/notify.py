"""A word to the service manager (sd_notify): READY=1, WATCHDOG=1, STATUS=…

The daemon calls it; without a manager (no NOTIFY_SOCKET) it says so and does nothing. Protocol: sd_notify(3), one datagram to a
Unix socket, whose name may be abstract (`@` stands for the leading NUL).
"""

from __future__ import annotations

import os
import socket


def sd_notify(state: str, address: str | None = None) -> bool:
    """Whether the manager was told. Never blocks: a manager that does not read loses the word, not the daemon its loop."""
    target = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
    if not target.startswith(("/", "@")):
        return False
    name = "\0" + target[1:] if target[0] == "@" else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
        try:
            channel.sendto(state.encode(), name)
        except OSError:
            return False
    return True


def watchdog_s() -> float | None:
    """The interval within which WATCHDOG=1 must come (WATCHDOG_USEC), if it is meant for this process."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1_000_000
