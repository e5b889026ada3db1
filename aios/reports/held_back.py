"""When AIOS might do less than its playbooks say: storms, silences, pauses, and playbooks that lost a mode. `build` feeds it.

Time is the arrival of events. What began before the days and reached into them is told, too; what ends after them, with its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aios.events.event import Event, parse_time
from aios.reports.model import HeldBack
from aios.reports.text import plain

SHOWN = 50
OPEN_MAX = 500
WHAT_CHARS = 200


@dataclass(slots=True)
class HeldBacks:
    """`start` and `end` bound what is told."""

    start: float
    end: float
    beyond: int = 0
    _open: dict[str, HeldBack] = field(default_factory=dict)
    _over: deque[HeldBack] = field(default_factory=lambda: deque(maxlen=SHOWN))

    def see(self, event: Event) -> None:
        if (handler := _HANDLERS.get(event.type)) is not None:
            handler(self, event)

    def lines(self) -> tuple[HeldBack, ...]:
        """In the order in which they began; of very many the newest."""
        found = [*self._over, *(one for one in self._open.values() if self._is_of_these_days(one))]
        found.sort(key=lambda one: one.since)
        self.beyond += len(found[:-SHOWN])
        return tuple(found[-SHOWN:])

    def _begin(self, key: str, kind: str, event: Event, subject: str, what: str, until: str = "") -> None:
        self._end(key, event.arrival)  # told again: the newer one counts from here on
        if len(self._open) >= OPEN_MAX:
            self._end(next(iter(self._open)), "")
        self._open[key] = HeldBack(kind, plain(subject), event.arrival, plain(until, 40), plain(what, WHAT_CHARS))

    def _end(self, key: str, at: str) -> None:
        if (one := self._open.pop(key, None)) is not None:
            early = at and (not one.until or _time(at) < _time(one.until))
            self._keep(HeldBack(one.kind, one.subject, one.since, at if early else one.until, one.what))

    def _keep(self, one: HeldBack) -> None:
        if self._is_of_these_days(one):
            self.beyond += len(self._over) == SHOWN
            self._over.append(one)

    def _is_of_these_days(self, one: HeldBack) -> bool:
        return _time(one.since) < self.end and (not one.until or _time(one.until) >= self.start)

    # --- one for each type

    def _stormed(self, event: Event) -> None:
        self._begin("storm", "storm", event, event.subject, str(event.data.get("why", "")))

    def _silenced(self, event: Event) -> None:
        data = event.data
        playbook, subject = str(data.get("playbook", "")), str(data.get("subject", ""))
        about = f"{playbook} on {subject}" if playbook and subject != "*" else playbook or subject
        self._begin(f"silence {data.get('silence', '')}", "silence", event, about, _said(event), str(data.get("until", "")))

    def _paused(self, event: Event) -> None:
        self._begin("pause", "pause", event, event.subject, _said(event), str(event.data.get("until", "")))

    def _demoted(self, event: Event) -> None:
        data = event.data
        what = f"{data.get('before', '')} → {data.get('to', '')}: {_said(event) if data.get('by') else data.get('reason', '')}"
        self._keep(HeldBack("demotion", plain(data.get("playbook")), event.arrival, event.arrival, plain(what, WHAT_CHARS)))


def _said(event: Event) -> str:
    by, reason = plain(event.data.get("by"), 40), plain(event.data.get("reason"))
    return f"by {by}: {reason}" if reason else f"by {by}"


def _time(stamp: str) -> float:
    """A stamp that was written by hand, and that nobody can read, is of always."""
    try:
        return parse_time(stamp)
    except ValueError:
        return 0.0


_HANDLERS: Mapping[str, Callable[[HeldBacks, Event], None]] = {
    "reactor.storm_began": HeldBacks._stormed,
    "reactor.storm_over": lambda self, event: self._end("storm", event.arrival),
    "daemon.silenced": HeldBacks._silenced,
    "daemon.silence_ended": lambda self, event: self._end(f"silence {event.data.get('silence', '')}", event.arrival),
    "daemon.paused": HeldBacks._paused,
    "daemon.resumed": lambda self, event: self._end("pause", event.arrival),
    "playbook.demoted": HeldBacks._demoted,
}
