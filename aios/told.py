"""What the daemon says in its log of what it does: a line for what came of a run, for what waits for a person, for what is ill.

Wired by `daemon_main` to the durable events. It is for whoever watches the terminal or systemd's journal; the whole story is in
AIOS's own journal (`aios events`), so of a burst only the first lines are said, and how many were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aios.clock import Clock
from aios.events.event import Event, Stored
from aios.log import Logger

LINES_MAX = 20
WITHIN_S = 10.0
SHOWN = 8
"""Of a run's id; the command line takes the beginning."""


def _run(event: Event) -> str:
    return str(event.data.get("run", ""))[:SHOWN]


def _ill(event: Event) -> str:
    said = event.data.get("status") or event.data.get("message") or event.data.get("reason") or ""
    return f"{event.type}{': ' if said else ''}{said}"


def _acts(event: Event, field: str) -> str:
    acts = event.data.get(field)
    names = [str(act.get("skill", "")) for act in acts if isinstance(act, Mapping)] if isinstance(acts, list) else []
    return ", ".join(names[:5]) or "nothing"


def _suggested(event: Event) -> str:
    return f"{event.data.get('playbook', '')} proposes {_acts(event, 'would')}: aios runs approve {_run(event)}"


def _requested(event: Event) -> str:
    return f"{event.data.get('playbook', '')} asks to {_acts(event, 'acts')}: aios runs approve {_run(event)} (or deny)"


WORDS: Mapping[str, tuple[str, Callable[[Event], str]]] = {
    "service.down": ("warning", _ill),
    "service.flapping": ("warning", _ill),
    "service.up": ("info", lambda event: event.type),
    "endpoint.down": ("warning", _ill),
    "endpoint.up": ("info", lambda event: event.type),
    "agent.error": ("warning", _ill),
    "agent.stalled": ("warning", _ill),
    "resource.cpu_spike": ("warning", _ill),
    "resource.memory_high": ("warning", _ill),
    "resource.disk_full": ("warning", _ill),
    "resource.pressure_high": ("warning", _ill),
    "run.healed": ("info", lambda event: f"healed by {event.data.get('playbook', '')}: aios runs show {_run(event)}"),
    "run.suggested": ("info", _suggested),
    "run.escalated": ("error", lambda event: f"needs a person: {event.data.get('why', '')}: aios runs show {_run(event)}"),
    "approval.requested": ("warning", _requested),
    "reactor.called": ("error", lambda event: f"needs a person: {event.data.get('why', '')}"),
    "journal.quarantined": ("warning", lambda event: f"quarantined: {event.data.get('reason', '')}"),
    "daemon.paused": ("warning", lambda event: f"paused by {event.data.get('by', '')}: no acts until `aios resume`"),
    "daemon.resumed": ("info", lambda event: f"acts are allowed again, says {event.data.get('by', '')}"),
}
"""Type -> level and words. Each is preceded by the subject."""


@dataclass(slots=True)
class Teller:
    """Hears durable events; says those that a person would want to see."""

    log: Logger
    clock: Clock
    _since: float = -WITHIN_S
    _said: int = 0
    _left_out: int = 0

    def heard(self, stored: Sequence[Stored]) -> None:
        for event, _ in stored:
            if event.type in WORDS:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        now = self.clock.monotonic()
        if now - self._since >= WITHIN_S:
            if self._left_out:
                self.log.info(f"{self._left_out} lines left out: see `aios events`")
            self._since, self._said, self._left_out = now, 0, 0
        if self._said >= LINES_MAX:
            self._left_out += 1
            return
        self._said += 1
        level, words = WORDS[event.type]
        getattr(self.log, level)(f"{event.subject}: {words(event)}")
