"""What the kernel says about processes, read from /proc: who has a pid, and who is in a session.

Used by hands and its launchers, and by `processes.py` in the daemon. Light on purpose: no asyncio.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from aios.ports import ProcessId

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that we use (proc(5): 3, 4, 6, 20, 22)."""

    state: str
    parent: int
    session: int
    threads: int
    start: int

    @property
    def gone(self) -> bool:
        """A zombie does nothing any more."""
        return self.state in "ZXx"


def text_of(path: str) -> str:
    """Of a file of the kernel's; nothing when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


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
    return Stat(chr(fields[0][0]), int(fields[1]), int(fields[3]), int(fields[17]), int(fields[19]))


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


def children_of(pid: int) -> list[int]:
    """Its children, of all its threads; who lost its parent and was adopted is among them. Nothing when it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return found if _lists_children() else _children_by_scan(pid)
    return found


@cache
def _lists_children() -> bool:
    """A kernel may be built without the lists (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_by_scan(pid: int) -> list[int]:
    stats = ((int(name), read_stat(int(name))) for name in os.listdir("/proc") if name.isdigit())
    return [child for child, stat in stats if stat is not None and stat.parent == pid]


def descendants(pid: int, spared: Callable[[int], bool]) -> dict[int, Stat]:
    """All living below a process, those that are `spared` left out with all below them."""
    found: dict[int, Stat] = {}
    waiting = children_of(pid)
    while waiting:
        child = waiting.pop()
        if spared(child):
            continue
        stat = read_stat(child)
        if stat is not None and not stat.gone:
            found[child] = stat
        waiting += children_of(child)
    return found


def memory_of(pid: int) -> int:
    """What it holds in memory that is no file's and not shared, in bytes; 0 when it is gone (proc(5), statm)."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            fields = file.read(200).split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max(0, int(fields[1]) - int(fields[2])) * _PAGE


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
def libc() -> ctypes.CDLL:
    """For calls that Python has no name for; `ctypes.get_errno` says why one failed."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes) -> None:
    """Raises OSError."""
    if libc().prctl(option, value, 0, 0, 0) != 0:
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
