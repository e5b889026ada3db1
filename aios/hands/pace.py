"""How fast an act may write to disks (`write_bandwidth`): who is over it is held until its share has grown again.

A full disk queue is everybody's: a sync of AIOS's journal, or of a database, waits behind what an act has written. Nice values
and weights do not help, for the kernel writes pages back later and in nobody's name. v2's `io.max` would hold back these pages
instead of the program, and with ext4 (data=ordered) the commit of the file system's journal, and so everybody's sync, waits
for them (the kernel's Documentation/filesystems/ext4, "Data Mode"). So the program itself waits: where there is a v2 tree by
the freezer, which it cannot see; else by SIGSTOP and SIGCONT. A token bucket; what was written is what the kernel counts for
each process when a page becomes dirty (proc(5), io: write_bytes), so what is thrown away before it reaches a disk counts, too.

Each bucketful is sent on its way to the disk (sync_file_range(2)). Left alone, the kernel lets it gather and writes all of it at
once, after half a minute or when the act's memory is full of it. Reached are files that are open then; what was opened, written
and closed between two looks goes when the kernel sends it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from aios.hands import proc
from aios.hands.cgroups import Group

BUCKET_S = 0.125
"""So many seconds' worth may be written at once."""
LOOK_LEAST_S, LOOK_MOST_S, LOOK_IDLE_S = 0.001, 0.025, 0.05
"""A look reads one small file for each process of the act: seldom while nothing has been written for a second or so, very soon
while much is, and of many processes (the least is for each of them) no more often than costs a small part of a processor."""
KNOW_S, KNOW_EACH_S = 0.1, 0.002
"""Between two looks at who belongs to it, at least and for each of them: dearer than to look at what these have written."""
COUNTED_MOST = 512
"""Processes, each with an open file of ours; of an act that has more at once, the others' writing is not counted."""
PASSES = 3
"""Over who forks while it is stopped; who still got by is stopped at the next look, and the limits are looked at in between."""

Living = Callable[[], Mapping[int, proc.Stat]]


@dataclass(slots=True)
class Pace:
    """Of one act, in its launcher. Times are monotonic seconds, sizes bytes, `bandwidth` bytes a second."""

    bandwidth: int
    group: Group
    living: Living
    at: float
    tokens: float
    counters: Counters
    counted: dict[int, int]
    """At the last look."""
    rate: float
    """Of its writing while not held, in bytes a second; halved at each look that finds less, and at first all that it may."""
    written: int = 0
    gathered: int = 0
    """Written since the last was sent on its way."""
    slowed_s: float = 0.0
    held_since: float | None = None
    known_at: float = -KNOW_S
    writers: set[int] = field(default_factory=set)
    """Of what has gathered."""
    stopped: dict[int, int] = field(default_factory=dict)
    """Start by pid."""

    @classmethod
    def of(cls, bandwidth: int, group: Group, living: Living, now: float) -> Pace:
        counters = Counters()
        return cls(bandwidth, group, living, now, bandwidth * BUCKET_S, counters, counters.read(), float(bandwidth))

    def look(self, now: float) -> float:
        """Hold it, or let it go on. Returns after how many seconds to look again."""
        passed_s, self.at = now - self.at, now
        if now - self.known_at >= max(KNOW_S, KNOW_EACH_S * len(self.counted)):
            self.counters.know(self.living())
            self.known_at = now
        fresh = self._fresh()
        if self.held_since is None:
            self.rate = max(fresh / max(passed_s, LOOK_LEAST_S), self.rate / 2)
        self.tokens = min(self.bandwidth * BUCKET_S, self.tokens + passed_s * self.bandwidth) - fresh
        if self.tokens < 0:
            self._hold(now)
        elif self.tokens >= self._enough:
            self.let_go(now)
        if self.gathered >= self.bandwidth * BUCKET_S:
            send_on(self.writers)
            self.gathered = 0
            self.writers.clear()
        if self.held_since is not None:
            return min(KNOW_S, (self._enough - self.tokens) / self.bandwidth)
        soon_s = LOOK_IDLE_S if self.rate < 1.0 else min(LOOK_MOST_S, self.tokens / self.rate)
        return max(LOOK_LEAST_S * len(self.counted), soon_s)

    @property
    def _enough(self) -> float:
        """Of tokens, to go on: half of the bucket, so that it is not held for each page."""
        return self.bandwidth * BUCKET_S / 2

    def _fresh(self) -> int:
        """Bytes written since the last look. Who is buried by nobody (SIGCHLD ignored) takes its count along."""
        before, self.counted = self.counted, self.counters.read()
        self.writers |= {pid for pid, count in self.counted.items() if count > before.get(pid, 0)}
        fresh = max(0, sum(self.counted.values()) - sum(before.values()))
        self.written += fresh
        self.gathered += fresh
        return fresh

    def _hold(self, now: float) -> None:
        """All of it; again at each look until it may go on, for without a group somebody was perhaps just being forked."""
        self.held_since = now if self.held_since is None else self.held_since
        if self.group.freeze(True):
            return
        for _ in range(PASSES):
            fresh = {pid: one.start for pid, one in self.living().items() if pid not in self.stopped and one.state != "T"}
            if not fresh:
                return
            proc.signal_all(sorted(fresh), signal.SIGSTOP)
            self.stopped |= fresh

    def end(self, now: float) -> None:
        self.let_go(now)
        self.counters.close()

    def let_go(self, now: float) -> None:
        """Those that we hold, and no others: who stopped itself stays so."""
        if self.held_since is None:
            return
        self.slowed_s += now - self.held_since
        self.held_since = None
        self.group.freeze(False)
        ours = [pid for pid, start in self.stopped.items() if (stat := proc.read_stat(pid)) and stat.start == start]
        proc.signal_all(ours, signal.SIGCONT)
        self.stopped.clear()

    def told(self) -> dict[str, object]:
        """For the run."""
        return {"kind": "slowed", "by": "write_bandwidth", "written": self.written, "slowed_s": round(self.slowed_s, 3)}


class Counters:
    """What the kernel counts of the launcher, which inherits from those that it buries, and of each process of the act.

    They stay open: to open one costs five times what it costs to read it.
    """

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}
        self.know(())

    def know(self, pids: Iterable[int]) -> None:
        """From now on these."""
        wanted = {os.getpid(), *islice(pids, COUNTED_MOST)}
        for pid in wanted - self._fds.keys():
            try:
                self._fds[pid] = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # it is gone, or not ours to look at
                continue
        for pid in self._fds.keys() - wanted:
            os.close(self._fds.pop(pid))

    def read(self) -> dict[int, int]:
        """Bytes by pid; 0 of who is gone."""
        return {pid: _read(fd) for pid, fd in self._fds.items()}

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])


def _read(fd: int) -> int:
    try:
        words = os.pread(fd, 400, 0).split()
    except OSError:
        return 0
    return int(words[words.index(b"write_bytes:") + 1])


# --- sending on -----------------------------------------------------------------------------------------------------

_PIDFD_GETFD = 438  # the same number on every architecture (pidfd_getfd(2), Linux 5.6)
_SYNC_FILE_RANGE_WRITE = 2


def send_on(pids: Iterable[int]) -> None:
    """Start to write back the files that these processes have open for writing, and wait for nothing.

    Where the kernel does not let us at them (a sandbox, a program of another user), it writes them when it likes.
    """
    libc = ctypes.CDLL(None)
    libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    for pid in pids:
        try:
            whose = os.pidfd_open(pid)
        except OSError:  # it is gone
            continue
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                if (fd := libc.syscall(_PIDFD_GETFD, whose, int(name), 0)) >= 0:
                    if stat.S_ISREG(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                        libc.sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)
                    os.close(fd)
        except OSError:  # it is gone by now, or not ours to look at
            continue
        finally:
            os.close(whose)
