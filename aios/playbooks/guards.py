"""May a playbook run now? Guards hold it, say why, and until when.

`GuardBook` is folded from the journal (the world holds it); `verdict` is asked by the reactor before a run opens. Only runs
that reached an act count: looking is free. Times are wall-clock seconds, since they must outlive a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.playbooks.model import Playbook

CAUSES_MAX = 8
"""An event whose causes hold so many runs is a loop, whoever closes it."""
STARTS_KEPT = 64
"""No `limit` may count further: whoever loads a playbook refuses it."""
ACTS_KEPT = 100_000
"""No setting may allow more acts an hour; of the last hour alone are they remembered."""
PAIRS_MAX = 20_000
CALLED_QUIET_S = 600.0
"""After a run has called a person, its playbook does not begin again on that subject for so long, unless it was well since."""


class Held(NamedTuple):
    """A guard says no. `until` is wall time, 0 when time alone does not lift it; `calls` says that a person should know."""

    guard: str
    until: float
    why: str
    calls: bool = False


@dataclass(slots=True)
class PairState:
    """One playbook on one subject: when its last acting run ended, and when the latest ones began to act."""

    last_end: float = 0.0
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=STARTS_KEPT))


@dataclass(slots=True)
class GuardBook:
    """What guards remember. Bounded: the pairs longest without a run are forgotten first."""

    pairs: dict[tuple[str, str], PairState] = field(default_factory=dict)
    acts: deque[float] = field(default_factory=lambda: deque(maxlen=ACTS_KEPT))
    calls: dict[tuple[str, str], float] = field(default_factory=dict)
    """Pairs of which a run called a person, and when; until the subject is well, or it is long ago."""

    def began_to_act(self, playbook: str, subject: str, at: float) -> None:
        """A run reached its first act."""
        self._pair(playbook, subject).starts.append(at)

    def acted(self, at: float) -> None:
        """Any act of any run began."""
        while self.acts and self.acts[0] <= at - 3600.0:
            self.acts.popleft()
        self.acts.append(at)

    def ended(self, playbook: str, subject: str, at: float) -> None:
        """A run that had acted is over."""
        self._pair(playbook, subject).last_end = at

    def escalated(self, playbook: str, subject: str, at: float) -> None:
        """A run called a person, whether it had acted or not."""
        self.calls = {pair: then for pair, then in self.calls.items() if then > at - CALLED_QUIET_S}
        self.calls[playbook, subject] = at

    def well(self, subject: str) -> None:
        """The subject is well again: what happens to it next is a new trouble."""
        for pair in [pair for pair in self.calls if pair[1] == subject]:
            del self.calls[pair]

    def forgive(self, playbook: str, subject: str) -> None:
        """A person lets it try again: what was counted until now counts no more."""
        self.calls.pop((playbook, subject), None)
        if (state := self.pairs.get((playbook, subject))) is not None:
            state.starts.clear()

    def _pair(self, playbook: str, subject: str) -> PairState:
        key = (playbook, subject)
        state = self.pairs.pop(key, None) or PairState()
        self.pairs[key] = state
        if len(self.pairs) > PAIRS_MAX:
            del self.pairs[next(iter(self.pairs))]
        return state

    def acts_again_at(self, now: float, per_hour: int) -> float:
        """When the machine-wide limit allows the next act; 0 when it does now. A limit of 0 never allows one."""
        if per_hour < 1:
            return now + 3600.0
        if len(self.acts) < per_hour:
            return 0.0  # asked at every step of every run, so the usual case counts nothing
        recent = [at for at in self.acts if at > now - 3600.0]
        return recent[len(recent) - per_hour] + 3600.0 if len(recent) >= per_hour else 0.0

    def verdict(self, playbook: Playbook, subject: str, now: float) -> Held | None:
        """Cooldown and limit of this playbook on this subject; None: it may run."""
        if not playbook.acts:
            return None
        called_at = self.calls.get((playbook.name, subject))
        if called_at is not None and now < called_at + CALLED_QUIET_S:
            why = f"{playbook.name} called a person about {subject} {now - called_at:.0f} s ago: once is enough"
            return Held("called", called_at + CALLED_QUIET_S, why)
        state = self.pairs.get((playbook.name, subject))
        if state is None:
            return None
        guard = playbook.guard
        if guard.limit is not None:
            count, within_s = guard.limit
            recent = [at for at in state.starts if at > now - within_s]
            if len(recent) >= count:
                until = recent[len(recent) - count] + within_s
                why = f"{playbook.name} acted {len(recent)} times on {subject} in {within_s:g} s: the breaker is open"
                return Held("breaker", until, why, calls=True)
        until = state.last_end + guard.cooldown_s
        if state.last_end and now < until:
            return Held(
                "cooldown",
                until,
                f"{playbook.name} ended on {subject} {now - state.last_end:.0f} s ago, its cooldown is {guard.cooldown_s:g} s",
            )
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": [[p, s, state.last_end, list(state.starts)] for (p, s), state in self.pairs.items()],
            "acts": list(self.acts),
            "calls": [[*pair, at] for pair, at in self.calls.items()],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> GuardBook:
        book = cls()
        for playbook, subject, last_end, starts in raw["pairs"]:
            book.pairs[playbook, subject] = PairState(last_end, deque(starts, maxlen=STARTS_KEPT))
        book.acts.extend(raw["acts"])
        book.calls = {(playbook, subject): at for playbook, subject, at in raw["calls"]}
        return book


def loops(lineage: list[list[str]], playbook: str, subject: str) -> Held | None:
    """Whether a run of this playbook would answer what a run of its own kind caused."""
    if [playbook, subject] in lineage:
        why = f"a run of {playbook} on {subject} caused this itself: acting again would go round in circles"
        return Held("loop", 0.0, why, calls=True)
    if len(lineage) >= CAUSES_MAX:
        return Held("loop", 0.0, f"{len(lineage)} runs in a row led to this: acting again would go round in circles", calls=True)
    return None


ALWAYS_PROTECTED = (
    "aios.service",
    "sshd.service",
    "ssh.service",
    "ssh.socket",
    "dbus.service",
    "dbus-broker.service",
    "init.scope",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "NetworkManager.service",
    "networking.service",
)
PROTECTED_SUFFIXES = (".mount", ".automount", ".swap", ".slice", ".scope", ".target")
PROTECTED_FILES = ("/proc", "/sys", "/dev", "/boot", "/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/fstab", "/etc/ssh")


def protected(resources: frozenset[str], more: frozenset[str]) -> str:
    """The first of these resources that no run may touch; empty when there is none."""
    for resource in sorted(resources):
        path = resource.removeprefix("file:")
        if path != resource:
            if any(path == p or path.startswith(p + "/") or p.startswith(path.rstrip("/") + "/") for p in PROTECTED_FILES):
                return resource
        elif resource in ALWAYS_PROTECTED or resource.endswith(PROTECTED_SUFFIXES):
            return resource
        if resource in more:
            return resource
    return ""
