"""Whose turn it is on the processor: AIOS itself is woken soon, and what its acts run steps back behind everybody else.

Daemon and hands call `ask_for_short_turns` at their start: no larger share than anybody's, only sooner and in smaller pieces (a
slice of their own, sched_setattr(2); Linux 6.12, before it nothing changes). An act whose limit `nice` is not 0 steps back
before it begins (`limits.dress`): that nice value, SCHED_BATCH (it takes nobody's turn by waking up), and the same value for its
session. The last counts where the kernel shares the processor out by sessions (autogroup, sched(7)): there a nice value alone
says nothing outside its session, and each session that an act opens would have as much as the daemon. So the launcher looks
after them: `Turns`. And it leaves one processor of several to the others, for no weight shortens a turn that has begun: who is
woken beside an act that spins, a thread of the kernel's that ends a sync among them, may wait for the next tick (4 ms). So it is
the one that answers the disks (`interrupts.py`), for there these threads are woken.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from aios.hands import proc
from aios.hands.interrupts import processor_of_disks

SLICE_NS = 100_000
"""The least that the kernel gives."""
NICE_MOST = 19
ALONE = 4
"""So many processes of an act are as any program has them; each doubling beyond steps back three more: about half the weight."""
STEP = 3
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTR = struct.Struct("=IIQiIQQQII")
"""struct sched_attr: size, policy, flags, nice, priority, runtime (the slice), deadline, period, two of utilization."""
_ORDINARY = (os.SCHED_OTHER, os.SCHED_BATCH)
_BY_SESSIONS = "/proc/sys/kernel/sched_autogroup_enabled"

_before: list[tuple[int, set[int]]] = []
"""What this process's nice value was, and its processors, before it stepped back: a service that it starts has them again."""


def ask_for_short_turns() -> None:
    """Of this thread and those that it starts. What cannot be had is done without: it then waits its turn as anybody does."""
    _take(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), SLICE_NS)


def step_back(nice: int) -> None:
    """This process and all that comes of it; never forward. 0: it waits as anybody does, in turns of the usual length."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    cpus = os.sched_getaffinity(0)
    _before[:] = [(own, cpus)]
    _take(os.SCHED_BATCH if nice else os.SCHED_OTHER, max(own, nice))
    if nice:
        _weigh_session("self", nice)
    if nice and len(cpus) > 1:
        os.sched_setaffinity(0, cpus - {_left_of(cpus)})  # the same one, whoever steps back: acts share the others


def step_forth() -> None:
    """For a managed service, which is no act: as it was before. Without root a nice value cannot be taken back, and stays."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    before, cpus = _before[0] if _before else (own, os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus)
    if _take(os.SCHED_OTHER, before):
        _weigh_session("self", 0)
    else:
        _take(os.SCHED_OTHER, own)


def told(nice: int, *, weighed: bool) -> list[str]:
    """For the run: how an act of this nice value waits for its turn; `weighed`: groups of acts have a small share in any case."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    stood = [f"nice {max(own, nice)}", *(["batch"] if os.sched_getscheduler(0) in _ORDINARY else [])] if nice else []
    stood += ["leaves one processor"] if nice and len(os.sched_getaffinity(0)) > 1 else []
    return stood + (["cgroup weight"] if weighed else ["autogroup"] if nice and _by_sessions() else [])


@dataclass(slots=True)
class Turns:
    """Of one act, in its launcher: whatever session its processes went to, and however many they are, they stay behind."""

    nice: int
    by_sessions: bool
    lowest: int = 0
    sessions: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, nice: int) -> Turns:
        return cls(nice, _by_sessions(), nice)

    def keep(self, members: Mapping[int, proc.Stat]) -> None:
        """The more tasks and sessions there are, the less each of them has; never more than it had."""
        self.lowest = max(self.lowest, lowered(self.nice, sum(stat.threads for stat in members.values())))
        if self.by_sessions:
            self._keep_sessions({stat.session: pid for pid, stat in members.items()})
        if self.lowest > self.nice:
            for pid in members:
                if _nice_of(pid) < self.lowest:
                    _renice(pid, self.lowest)

    def _keep_sessions(self, found: Mapping[int, int]) -> None:
        for session, pid in found.items():
            ours = session == os.getsid(0)  # a child that has just been forked is still in it
            if self.sessions.get(session) != self.lowest and not ours and _weigh_session(str(pid), self.lowest):
                self.sessions[session] = self.lowest


def lowered(nice: int, tasks: int) -> int:
    """The nice value of each of so many that are to weigh about what a few of `nice` do."""
    doublings = max(0, (tasks - 1) // ALONE).bit_length()
    return min(NICE_MOST, nice + STEP * doublings)


def hurry(pids: list[int]) -> None:
    """Who is to end needs its turn for that. Root alone can give it."""
    if os.geteuid() != 0:
        return
    for pid in pids:
        if _nice_of(pid) > 0:
            _renice(pid, 0)
            _weigh_session(str(pid), 0)


# --- the kernel's doors -----------------------------------------------------------------------------------------------


def _take(policy: int, nice: int, slice_ns: int = 0) -> bool:
    """Whether it could be had. 0: turns of the usual length (sched_setscheduler would leave short ones as they are)."""
    number = _SCHED_SETATTR.get(os.uname().machine)
    ordinary = os.sched_getscheduler(0) in _ORDINARY  # else somebody gave it a class of its own: that is their wish
    raw = _ATTR.pack(_ATTR.size, policy, 0, nice, 0, slice_ns, 0, 0, 0, 0)
    if ordinary and number is not None and ctypes.CDLL(None).syscall(number, 0, raw, 0) == 0:
        return True
    try:
        if ordinary:
            os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        return False
    return True


def _left_of(cpus: set[int]) -> int:
    answers = processor_of_disks()
    return answers if answers in cpus else min(cpus)


def _by_sessions() -> bool:
    try:
        with open(_BY_SESSIONS, "rb", buffering=0) as file:
            return file.read(1) == b"1"
    except OSError:
        return False


def _weigh_session(pid: str, nice: int) -> bool:
    """False when the kernel wants to be asked again: without root it takes ten such wishes a second."""
    try:
        with open(f"/proc/{pid}/autogroup", "wb", buffering=0) as file:
            file.write(b"%d" % nice)
    except OSError as error:
        return error.errno != errno.EAGAIN
    return True


def _nice_of(pid: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return 0


def _renice(pid: int, nice: int) -> None:
    """Its main thread and those begun later; who is gone, or became somebody else's, needs it no more."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except (ProcessLookupError, PermissionError):
        return
