"""How each subject stands after all that was seen of it: the service's own watcher and its probes speak through one edge. Pure.

The services sensor and the probe sensor share one `Standings`, so that a death is told once, and a service that runs but does not
answer is down until it does. Each method gives back the drafts to emit, mostly none.

A subject is ill when its watcher says down or a probe of it fails. `service.up` is told when both are content again: a new
process has to answer its probe first. A new process gets a fresh judgement: what was held against the old one is forgotten,
except that the subject is still ill until it is proven well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from aios.events.event import Draft
from aios.ports import UnitState

HOUR_S = 3600.0
FALLS_MAX = 1000
"""More deaths an hour than this are counted as this many."""
SUBJECTS_MAX = 4096
_REASONS = ("exit", "failed", "missing")

Symptom = tuple[str, str]
"""(type of the event that opened it, subject)"""


@dataclass(frozen=True, slots=True)
class Flapping:
    """So many falls within so many seconds."""

    falls: int = 5
    within_s: float = 600.0


@dataclass(slots=True)
class _Standing:
    subject: str
    watched: UnitState | None = None
    ill: bool = False
    flapping: bool = False
    probes: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    unproven: set[str] = field(default_factory=set)
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=FALLS_MAX))


class Standings:
    """`was_ill` are the symptoms that the world believes open: those that are well by now are closed when that is seen."""

    def __init__(self, flapping: Flapping = Flapping(), was_ill: Collection[Symptom] = ()) -> None:
        self._flapping = flapping
        self._all: dict[str, _Standing] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        for kind, subject in was_ill:
            if kind in ("service.down", "service.flapping"):
                self._of(subject).ill = True

    # --- the service's own watcher

    def watched(self, state: UnitState, now: float) -> list[Draft]:
        """One `UnitState` from `Services`; `now` is monotonic or wall time, but always the same."""
        standing = self._of(state.subject)
        before, standing.watched = standing.watched, state
        for told in self._listeners.get(state.subject, ()):
            told()
        deaths = self._count_deaths(standing, before, state, now)
        if state.state == "down":
            return self._down(standing, before, state) + self._flaps(standing, now, deaths)
        drafts = self._flaps(standing, now, deaths)
        if state.state == "up":
            drafts += self._runs(standing, before, state)
        elif state.state == "stopped":
            drafts += self._stopped(standing, before, state)
        return drafts

    def _count_deaths(self, standing: _Standing, before: UnitState | None, state: UnitState, now: float) -> int:
        if before is None:
            deaths = 1 if state.state == "down" else 0
        else:
            deaths = max(0, state.falls - before.falls)
        standing.deaths.extend([now] * min(deaths, FALLS_MAX))
        while standing.deaths and standing.deaths[0] < now - HOUR_S:
            standing.deaths.popleft()
        return deaths

    def _down(self, standing: _Standing, before: UnitState | None, state: UnitState) -> list[Draft]:
        standing.failing.clear()
        standing.unproven = set(standing.probes)
        if before is not None and before.state == "down":
            return []
        standing.ill = True
        word = state.detail.partition(":")[0]
        data = {
            "failures": max(1, len(standing.deaths)),
            "reason": word if word in _REASONS else "exit",
            "status": state.exit_status or state.detail,
            "backend": state.backend,
        }
        return [Draft(type="service.down", subject=state.subject, data=data)]

    def _flaps(self, standing: _Standing, now: float, deaths: int) -> list[Draft]:
        falls = sum(1 for at in standing.deaths if at >= now - self._flapping.within_s)
        if falls < self._flapping.falls:
            standing.flapping = False
            return []
        if standing.flapping or not deaths:
            return []
        standing.flapping = standing.ill = True
        data = {"falls": falls, "within_s": self._flapping.within_s}
        return [Draft(type="service.flapping", subject=standing.subject, data=data)]

    def _runs(self, standing: _Standing, before: UnitState | None, state: UnitState) -> list[Draft]:
        if before is None or before.state != "up" or before.pid not in (0, state.pid):
            standing.failing.clear()
            standing.unproven = set(standing.probes)
        return self._well(standing)

    def _stopped(self, standing: _Standing, before: UnitState | None, state: UnitState) -> list[Draft]:
        standing.failing.clear()
        was_ill, standing.ill = standing.ill, False
        if state.detail.startswith("finished"):
            return [_up(standing)] if was_ill else []
        told = was_ill or (before is not None and before.state not in ("stopped", "missing", "unknown"))
        return [Draft(type="service.stopped", subject=state.subject, data={"backend": state.backend})] if told else []

    # --- probes

    def listen(self, subject: str, told: Callable[[], None]) -> None:
        """`told()` whenever the watcher says something of this subject, so that a probe need not wait for its turn."""
        self._listeners.setdefault(subject, []).append(told)

    def probed(self, subject: str, probe: str) -> None:
        """There is a probe of this subject: to be well, it must answer that one too."""
        standing = self._of(subject)
        standing.probes.add(probe)
        standing.unproven.add(probe)

    def wants_probe(self, subject: str) -> bool:
        """Whether probing says anything: not while its own watcher says that it does not run."""
        watched = self._of(subject).watched
        return watched is None or watched.state in ("up", "unknown", "missing")

    def life(self, subject: str) -> int:
        """Names the process that a probe's answer is about; 0 where nobody watches it."""
        watched = self._of(subject).watched
        return watched.pid if watched is not None else 0

    def failed(self, subject: str, probe: str, failures: int, error: str) -> list[Draft]:
        """A probe gave up on it after so many failures in a row."""
        standing = self._of(subject)
        if probe in standing.failing or not self.wants_probe(subject):
            return []
        standing.failing.add(probe)
        standing.unproven.add(probe)
        if len(standing.failing) > 1:
            return []
        standing.ill = True
        data = {"failures": failures, "reason": "probe", "status": error, "backend": "probe"}
        return [Draft(type="service.down", subject=subject, data=data)]

    def answered(self, subject: str, probe: str) -> list[Draft]:
        standing = self._of(subject)
        standing.failing.discard(probe)
        standing.unproven.discard(probe)
        return self._well(standing)

    # --- both

    def _well(self, standing: _Standing) -> list[Draft]:
        runs = standing.watched is None or standing.watched.state in ("up", "unknown", "missing")
        if not standing.ill or not runs or standing.failing or standing.unproven:
            return []
        standing.ill = False
        return [_up(standing)]

    def _of(self, subject: str) -> _Standing:
        known = self._all.get(subject)
        if known is None:
            if len(self._all) >= SUBJECTS_MAX:
                self._forget_the_quiet()
            known = self._all[subject] = _Standing(subject)
        return known

    def _forget_the_quiet(self) -> None:
        """Services that come and go under ever new names must not fill memory."""
        for subject, standing in list(self._all.items()):
            quiet = standing.watched is not None and standing.watched.state in ("stopped", "missing")
            if quiet and not standing.ill and not standing.probes:
                del self._all[subject]


def _up(standing: _Standing) -> Draft:
    watched = standing.watched
    data = {"backend": watched.backend if watched else "probe", "pid": watched.pid if watched else 0}
    return Draft(type="service.up", subject=standing.subject, data=data)
