"""How fast an act may write to disks (`write_bandwidth`): who is over it is held until its share has grown again.

A full disk queue is everybody's: a sync of AIOS's journal, or of a database, waits behind what an act has written. Nice values
and weights do not help, for the kernel writes pages back later and in nobody's name. v2's `io.max` would hold back these pages
instead of the program, and with ext4 (data=ordered) the commit of the file system's journal, and so everybody's sync, waits
for them (the kernel's Documentation/filesystems/ext4, "Data Mode"). So the program itself waits: where there is a v2 tree by
the freezer, which it cannot see; else by SIGSTOP and SIGCONT. A token bucket; what was written is what the kernel counts for
each process when a page becomes dirty (proc(5), io: write_bytes), so what is thrown away before it reaches a disk counts, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aios.hands import proc
from aios.hands.cgroups import Group

BUCKET_S = 0.125
"""So many seconds' worth may be written at once."""
LOOK_LEAST_S, LOOK_MOST_S = 0.001, 0.05
"""A look reads one small file for each process of the act: seldom while nothing is written, very soon while much is, and of many
processes (the least is for each of them) no more often than costs a small part of a processor."""

Living = Callable[[], Mapping[int, proc.Stat]]


@dataclass(slots=True)
class Pace:
    """Of one act, in its launcher. Times are monotonic seconds, sizes bytes, `bandwidth` bytes a second."""

    bandwidth: int
    group: Group
    living: Living
    at: float
    tokens: float
    counted: int
    """By the kernel, at the last look: of all that live, and of the launcher, which inherits from those that it buries."""
    written: int = 0
    slowed_s: float = 0.0
    held_since: float | None = None
    known_at: float = -LOOK_MOST_S
    known: set[int] = field(default_factory=set)
    stopped: dict[int, int] = field(default_factory=dict)
    """Start by pid."""

    @classmethod
    def of(cls, bandwidth: int, group: Group, living: Living, now: float) -> Pace:
        return cls(bandwidth, group, living, now, tokens=bandwidth * BUCKET_S, counted=written_by(os.getpid()))

    def look(self, now: float) -> float:
        """Hold it, or let it go on. Returns after how many seconds to look again."""
        passed_s, self.at = now - self.at, now
        if now - self.known_at >= LOOK_MOST_S:
            self.known, self.known_at = set(self.living()), now
        fresh = self._fresh()
        self.tokens = min(self.bandwidth * BUCKET_S, self.tokens + passed_s * self.bandwidth) - fresh
        if self.tokens < 0:
            self._hold(now)
        elif self.tokens >= self._enough:
            self.let_go(now)
        if self.held_since is not None:
            return (self._enough - self.tokens) / self.bandwidth
        lasts_s = self.tokens * max(passed_s, LOOK_LEAST_S) / fresh if fresh else LOOK_MOST_S
        return max(LOOK_LEAST_S * max(1, len(self.known)), min(LOOK_MOST_S, lasts_s))

    @property
    def _enough(self) -> float:
        """Of tokens, to go on: half of the bucket, so that it is not held for each page."""
        return self.bandwidth * BUCKET_S / 2

    def _fresh(self) -> int:
        """Bytes written since the last look. Who is buried by nobody (SIGCHLD ignored) takes its count along."""
        counted = written_by(os.getpid()) + sum(map(written_by, self.known))
        fresh, self.counted = max(0, counted - self.counted), counted
        self.written += fresh
        return fresh

    def _hold(self, now: float) -> None:
        """All of it; again at each look that finds more written, for without a group somebody was perhaps just being forked."""
        self.held_since = now if self.held_since is None else self.held_since
        if self.group.freeze(True):
            return
        while fresh := {pid: stat.start for pid, stat in self.living().items() if pid not in self.stopped and stat.state != "T"}:
            proc.signal_all(sorted(fresh), signal.SIGSTOP)
            self.stopped |= fresh

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


def written_by(pid: int) -> int:
    """Bytes, those of its buried children among them; 0 when it is gone, or not ours to look at."""
    try:
        with open(f"/proc/{pid}/io", "rb", buffering=0) as file:
            words = file.read(400).split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return int(words[words.index(b"write_bytes:") + 1])
