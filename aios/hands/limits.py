"""The limits of one act: laid together, held by its group where there is one, else by rlimits and by looking.

Made by `server.py` before the act, used by `acting.py`. Sizes and counts come from the step, behind it the skill, behind it the
settings. What the kernel holds in a control group holds for all processes together and cannot be left. Without one, a limit of
memory and processor time is each process's own (rlimits), and the launcher looks five times a second at what all of them take.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.clock import Clock
from aios.events.calls import GRACE_S, SkillCall
from aios.events.limits import UNSAID, Limits, format_limit
from aios.hands import proc, turn
from aios.hands.cgroups import Group
from aios.hands.pace import Pace

OUTPUT_MAX = 256 * 1024
OPEN_FILES_MAX = 4096
LOOK_FIRST_S, LOOK_EVERY_S = 0.01, 0.2
"""A look reads two small files of the act's group, or a few for each process of the act: about 0.1 ms. The first ones come soon,
each twice as late as the one before: what goes wild does so at once."""
NOBODY_WAITS = Limits(memory=0, processes=0, cpu=0, nice=0, file_size=0, write_bandwidth=0)
"""Of what AIOS does itself (a rollback, a last-good copy): to stop half-way would be worse than to take long."""

_BY_RLIMIT = {"memory": resource.RLIMIT_DATA, "cpu": resource.RLIMIT_CPU, "file_size": resource.RLIMIT_FSIZE}


@dataclass(frozen=True, slots=True)
class Hold:
    """What one act may use, and what holds it to that."""

    limits: Limits = UNSAID
    timeout_s: float = 60.0
    grace_s: float = GRACE_S
    group: Group = field(default_factory=Group)
    why: str = ""
    """Why there is no group, or why it holds less than it could."""

    @property
    def output_max(self) -> int:
        return self.limits.output if self.limits.output is not None else OUTPUT_MAX

    @property
    def looked_at(self) -> tuple[str, ...]:
        """Limits of all processes together that the launcher has to look after itself."""
        return tuple(name for name in ("memory", "processes") if getattr(self.limits, name) and name not in self.group.held)

    @property
    def nice(self) -> int:
        return self.limits.nice or 0

    @property
    def turns_to_keep(self) -> bool:
        """Where a group weighs all of the act, nobody of it can get away from that."""
        return bool(self.nice) and not self.group.weighed

    @property
    def has_to_look(self) -> bool:
        return bool(self.limits.memory or self.limits.processes or self.turns_to_keep)

    def rlimits(self) -> dict[int, int]:
        """What each of its processes is held to by the kernel."""
        found = {resource.RLIMIT_CORE: 0}
        for name, number in _BY_RLIMIT.items():
            value = getattr(self.limits, name)
            if value and name not in self.group.held:
                found[number] = math.ceil(self.timeout_s * value / 100) if name == "cpu" else value
        return found

    def told(self) -> dict[str, Any]:
        """For the run: what held which limit."""
        by_rlimit = [name for name, number in _BY_RLIMIT.items() if number in self.rlimits()]
        said = {name: format_limit(name, value) for name, value in self.limits.to_json().items()}
        story = {"kind": "limits", "by": f"cgroup {self.group.kind}" if self.group.folders else "rlimits"}
        lists = {"cgroup": sorted(self.group.held), "rlimits": by_rlimit, "looks": list(self.looked_at)}
        lists |= {"slowed": ["write_bandwidth"] if self.limits.write_bandwidth else []}
        lists |= {"turn": turn.told(self.nice, weighed=self.group.weighed)}
        return {**story, **{name: value for name, value in lists.items() if value}, "limits": said} | (
            {"why": self.why} if self.why else {}
        )


@dataclass(slots=True)
class Looks:
    """What the launcher looks at again and again while the act runs, and when (monotonic seconds)."""

    hold: Hold
    living: Callable[[], Mapping[int, proc.Stat]]
    """Of the act, by pid."""
    turns: turn.Turns
    pace: Pace
    limit_s: float
    limit_at: float
    pace_at: float

    @classmethod
    def of(cls, hold: Hold, living: Callable[[], Mapping[int, proc.Stat]], now: float) -> Looks:
        bandwidth = hold.limits.write_bandwidth or 0
        pace = Pace.of(bandwidth, hold.group, living, now)
        first = LOOK_FIRST_S if hold.has_to_look else math.inf
        return cls(
            hold, living, turn.Turns.of(hold.nice), pace, first, now + first, now + LOOK_FIRST_S if bandwidth else math.inf
        )

    @property
    def next_at(self) -> float:
        return min(self.limit_at, self.pace_at)

    def look(self, clock: Clock) -> str:
        """What is due. The limit that all of it together have reached, as far as it can be seen now; or nothing."""
        now = clock.monotonic()
        if now >= self.pace_at:
            self.pace_at = now + self.pace.look(now)
        if now < self.limit_at:
            return ""
        reached = self._reached()
        self.limit_s = min(LOOK_EVERY_S, 2 * self.limit_s)
        self.limit_at = clock.monotonic() + self.limit_s
        return reached

    def _reached(self) -> str:
        """`memory`, `processes` or nothing."""
        hold = self.hold
        if reached := hold.group.reached():
            return reached
        names = hold.looked_at
        if not names and not hold.turns_to_keep:
            return ""
        members = self.living()
        if hold.turns_to_keep:
            self.turns.keep(members)
        if "processes" in names and sum(stat.threads for stat in members.values()) > (hold.limits.processes or 0):
            return "processes"
        if "memory" in names and sum(map(proc.memory_of, members)) > (hold.limits.memory or 0):
            return "memory"
        return ""


def limits_of(call: SkillCall, skill: Limits) -> Limits:
    """The step's, behind them the skill's, behind them the settings'."""
    settings: Mapping[str, Any] = call.env.get("limits") or {}
    return Limits.from_json(call.limits).over(skill).over(Limits.from_json(settings))


def dress(hold: Hold) -> None:
    """In the act's process: soft limits, which the act's own code (a keeper, say) could lift and a program it runs cannot."""
    turn.step_back(hold.nice)
    for number, value in hold.rlimits().items():
        _lower(number, value)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)


def undress() -> None:
    """A managed service is no act: what was lowered for the act is as it was."""
    turn.step_forth()
    for number in _BY_RLIMIT.values():
        hard = resource.getrlimit(number)[1]
        resource.setrlimit(number, (hard, hard))


def reset_oom_score() -> None:
    """The daemon is the last to be killed when memory runs out; what it starts is not."""
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            if int(file.read()) < 0:
                file.seek(0)
                file.write("0")
    except OSError:  # a sandbox without it: then nobody has lowered it either
        return


def harden(processes: int) -> None:
    """In a program's process, just before its exec: it cannot lift them. `processes` holds for who is not root alone."""
    for number in (resource.RLIMIT_CORE, *_BY_RLIMIT.values()):
        soft = resource.getrlimit(number)[0]
        resource.setrlimit(number, (soft, soft))
    if processes and os.geteuid() != 0:
        _lower(resource.RLIMIT_NPROC, _tasks_of(os.getuid()) + processes)


def _lower(number: int, value: int) -> None:
    hard = resource.getrlimit(number)[1]
    resource.setrlimit(number, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _tasks_of(uid: int) -> int:
    """How many processes and threads a user has now: the kernel counts them all together."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    stat = proc.read_stat(int(name))
                    total += stat.threads if stat is not None else 0
            except FileNotFoundError:
                continue
    return total
