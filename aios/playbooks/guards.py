"""May a playbook run now? Guards hold it, say why, and until when.

`GuardBook` is folded from the journal (the world holds it); `verdict` is asked by the reactor before a run opens. Only runs
that reached an act count: looking is free. Times are wall-clock seconds, since they must outlive a restart. What was noted
further ahead than a guard reaches back was noted by a clock that has been set back since: that holds no more, or a machine that
booted in the wrong year would be held until then. What a guard needs to see of the rest of the world (other runs, who else is
ill) stands in `reactor/holding.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.playbooks.breaker import Breaker, lasts
from aios.playbooks.model import Guard, Playbook
from aios.playbooks.silences import SilenceBook

CAUSES_MAX = 8
"""An event whose causes hold so many runs is a loop, whoever closes it."""
STARTS_KEPT = 64
"""No `limit` may count further: whoever loads a playbook refuses it."""
ACTS_KEPT = 100_000
"""No setting may allow more acts an hour; of the last hour alone are they remembered."""
PAIRS_MAX = 20_000
CALLED_QUIET_S = 600.0
"""After a run has called a person, its playbook does not begin again on that subject for so long, unless it was well since."""
LIFTED_BY_RESUME = ("paused", "loop", "breaker", "called")
"""Guards that a person ends by `aios resume`."""


class Held(NamedTuple):
    """A guard says no. `until` is wall time, 0 when time alone does not lift it; `calls` says that a person should know.

    `on` names what it waits for, where that may end before its time: an ill subject, a silence, a place among the runs.
    """

    guard: str
    until: float
    why: str
    calls: bool = False
    on: str = ""


class Storm(NamedTuple):
    """So much is ill at once that acting is left to a person. `lifted_by` did so; then it is over, but for its name."""

    since: float
    ill: int
    known: int
    lifted_by: str = ""


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
    breakers: dict[tuple[str, str], Breaker] = field(default_factory=dict)
    """Those that are not closed."""
    silences: SilenceBook = field(default_factory=SilenceBook)
    storm: Storm | None = None

    def began_to_act(self, playbook: str, subject: str, at: float) -> None:
        """A run reached its first act."""
        self._pair(playbook, subject).starts.append(at)

    def acted(self, at: float) -> None:
        """Any act of any run began."""
        while self.acts and self.acts[0] <= at - 3600.0:
            self.acts.popleft()
        self.acts.append(at)

    def ended(self, playbook: str, subject: str, at: float, healed: bool = False) -> None:
        """A run that had acted is over. Where the breaker was half-open, it was the trial."""
        state = self._pair(playbook, subject)
        state.last_end = at
        breaker = self.breakers.get((playbook, subject))
        if breaker is not None and healed:
            del self.breakers[playbook, subject]
            state.starts.clear()
        elif breaker is not None:
            breaker.failed(at)

    def breaker_opened(self, playbook: str, subject: str, at: float, until: float) -> None:
        """A decision held an event because of it, and said until when."""
        breaker = self.breakers.get((playbook, subject))
        if breaker is not None:
            breaker.until = until
            return
        self.breakers[playbook, subject] = Breaker(at, until)
        if len(self.breakers) > PAIRS_MAX:
            del self.breakers[next(iter(self.breakers))]

    @property
    def storming(self) -> bool:
        """Whether a storm keeps everything from acting."""
        return self.storm is not None and not self.storm.lifted_by

    def escalated(self, playbook: str, subject: str, at: float) -> None:
        """A run called a person, whether it had acted or not."""
        self.calls = {pair: then for pair, then in self.calls.items() if then > at - CALLED_QUIET_S}
        self.calls[playbook, subject] = at

    def has_called(self, playbook: str, subject: str, now: float) -> bool:
        """Whether a run of it called a person about this a short while ago: once is enough."""
        called_at = self.calls.get((playbook, subject))
        return called_at is not None and lasts(called_at, CALLED_QUIET_S, now)

    def well(self, subject: str) -> None:
        """The subject is well again: what happens to it next is a new trouble."""
        for pair in [pair for pair in self.calls if pair[1] == subject]:
            del self.calls[pair]

    def forgive(self, playbook: str, subject: str) -> None:
        """A person lets it try again: what was counted until now counts no more."""
        self.calls.pop((playbook, subject), None)
        self.breakers.pop((playbook, subject), None)
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
        recent = [at for at in self.acts if lasts(at, 3600.0, now)]
        return recent[len(recent) - per_hour] + 3600.0 if len(recent) >= per_hour else 0.0

    def verdict(self, playbook: Playbook, subject: str, now: float) -> Held | None:
        """Cooldown and limit of this playbook on this subject; None: it may run."""
        if not playbook.acts:
            return None
        called_at = self.calls.get((playbook.name, subject))
        if called_at is not None and lasts(called_at, CALLED_QUIET_S, now):
            why = f"{playbook.name} called a person about {subject} {now - called_at:.0f} s ago: once is enough"
            return Held("called", called_at + CALLED_QUIET_S, why)
        state = self.pairs.get((playbook.name, subject))
        if state is None:
            return None
        return self._broken(playbook, subject, state, now) or self._cooling(playbook, subject, state, now)

    def _broken(self, playbook: Playbook, subject: str, state: PairState, now: float) -> Held | None:
        """The breaker: closed while the limit is not reached; half-open once its time is over."""
        guard, name = playbook.guard, playbook.name
        if guard.limit is None:
            return None
        count, within_s = guard.limit
        breaker = self.breakers.get((name, subject))
        if breaker is not None:
            until = breaker.open_until(opens_s(guard), guard.open_max_s)
            times = f", and {breaker.level - 1} trials since did not heal" if breaker.level > 1 else ""
            why = f"{name} acted {count} times on {subject} in {within_s:g} s{times}: the breaker is open"
            return Held("breaker", until, why, calls=True) if breaker.is_open(opens_s(guard), guard.open_max_s, now) else None
        recent = [at for at in state.starts if lasts(at, within_s, now)]
        if len(recent) < count:
            return None
        until = now + guard.open_s if guard.open_s else recent[len(recent) - count] + within_s
        why = f"{name} acted {len(recent)} times on {subject} in {within_s:g} s: the breaker is open"
        return Held("breaker", until, why, calls=True)

    def _cooling(self, playbook: Playbook, subject: str, state: PairState, now: float) -> Held | None:
        cooldown_s = playbook.guard.cooldown_s
        until = state.last_end + cooldown_s
        if not state.last_end or not lasts(state.last_end, cooldown_s, now):
            return None
        ended = f"{playbook.name} ended on {subject} {now - state.last_end:.0f} s ago"
        return Held("cooldown", until, f"{ended}, its cooldown is {cooldown_s:g} s")

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": [[p, s, state.last_end, list(state.starts)] for (p, s), state in self.pairs.items()],
            "acts": list(self.acts),
            "calls": [[*pair, at] for pair, at in self.calls.items()],
            "breakers": [[*pair, b.opened_at, b.until, b.level] for pair, b in self.breakers.items()],
            "silences": self.silences.to_json(),
            "storm": list(self.storm) if self.storm is not None else None,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> GuardBook:
        book = cls()
        for playbook, subject, last_end, starts in raw["pairs"]:
            book.pairs[playbook, subject] = PairState(last_end, deque(starts, maxlen=STARTS_KEPT))
        book.acts.extend(raw["acts"])
        book.calls = {(playbook, subject): at for playbook, subject, at in raw["calls"]}
        book.breakers = {(playbook, subject): Breaker(*rest) for playbook, subject, *rest in raw["breakers"]}
        book.silences = SilenceBook.from_json(raw["silences"])
        book.storm = Storm(*raw["storm"]) if raw["storm"] is not None else None
        return book


def opens_s(guard: Guard) -> float:
    """How long a breaker is open at first, from which a failed trial doubles it."""
    return guard.open_s or (guard.limit[1] if guard.limit is not None else 0.0)


def loops(lineage: list[list[str]], playbook: str, subject: str) -> Held | None:
    """Whether a run of this playbook would answer what a run of its own kind caused."""
    if [playbook, subject] in lineage:
        why = f"a run of {playbook} on {subject} caused this itself: acting again would go round in circles"
        return Held("loop", 0.0, why, calls=True)
    if len(lineage) >= CAUSES_MAX:
        return Held("loop", 0.0, f"{len(lineage)} runs in a row led to this: acting again would go round in circles", calls=True)
    return None
