"""What the kernel says about processes, read from /proc: who has a pid, and who is in a session.

Used by hands and its launchers, and by `processes.py` in the daemon. Light on purpose: no asyncio.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from aios.ports import ProcessId

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that we use (proc(5): 3, 4, 6, 22)."""

    state: str
    parent: int
    session: int
    start: int

    @property
    def gone(self) -> bool:
        """A zombie does nothing any more."""
        return self.state in "ZXx"


@cache
def boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def read_stat(pid: int) -> Stat | None:
    """None when nobody has this pid."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            raw = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, and it may hold brackets and spaces itself.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Stat(chr(fields[0][0]), int(fields[1]), int(fields[3]), int(fields[19]))


def identity(pid: int) -> ProcessId | None:
    """Who has this pid now; a zombie counts as nobody."""
    stat = read_stat(pid)
    return None if stat is None or stat.gone else ProcessId(pid, stat.start, boot_id())


def alive(who: ProcessId) -> bool:
    return who.boot_id == boot_id() and identity(who.pid) == who


def myself() -> ProcessId:
    me = identity(os.getpid())
    assert me is not None  # /proc without ourselves is no Linux
    return me


def in_session(session: int) -> Iterator[int]:
    """Every living process of this session."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None and stat.session == session and not stat.gone:
                yield int(name)


def children_in_session(session: int) -> list[int]:
    """Our own living children of this session. They are listed at once: who lost its parent before we look is among them."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel built without the list
        return list(in_session(session))
    stats = {child: read_stat(child) for child in children}
    return [child for child, stat in stats.items() if stat is not None and stat.session == session and not stat.gone]


def session_is_over(leader: ProcessId) -> bool:
    """Whether the session that `leader` began can have no member any more.

    A pid that is in use as a session's id is not given away again, so another process under it means that the session is over.
    """
    if leader.boot_id != boot_id():
        return True
    stat = read_stat(leader.pid)
    return stat is not None and stat.start != leader.start


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):  # it ended just now, or became somebody else's: the next look tells
            continue


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes) -> None:
    """Raises OSError."""
    if _libc().prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def adopt_orphans() -> None:
    """From now on, what our children leave behind becomes our child: `waitpid` then proves that nothing is left."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """The kernel kills us when our parent ends, even by SIGKILL."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)
