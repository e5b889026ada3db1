"""What the daemon says in its log of what it does: a line for what came of a run, for what waits for a person, for what is ill.

Wired by `daemon_main` to the durable events. It is for whoever watches the terminal or systemd's journal; the whole story is in
AIOS's own journal (`aios events`), so of a burst only the first lines are said, and how many were left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.clock import Clock
from aios.events.call_words import call_words
from aios.events.catalogue import CORRELATED, WINDOW_DROPPED
from aios.events.event import Event, Stored
from aios.log import Logger

LINES_MAX = 20
WITHIN_S = 10.0
CALL_CHARS = 200
INVALID = "playbook.invalid"
SHOWN = 8
"""Of a run's id; the command line takes the beginning."""


def _run(event: Event) -> str:
    return str(event.data.get("run", ""))[:SHOWN]


def _ill(event: Event) -> str:
    said = event.data.get("status") or event.data.get("message") or event.data.get("reason") or ""
    return f"{event.type}{': ' if said else ''}{said}"


def _acts(event: Event, field: str) -> str:
    acts = event.data.get(field)
    calls = [call_words(act, CALL_CHARS) for act in acts[:5] if isinstance(act, Mapping)] if isinstance(acts, list) else []
    return "; ".join(calls) or "nothing"


def _suggested(event: Event) -> str:
    return f"{event.data.get('playbook', '')} proposes {_acts(event, 'would')}: aios runs approve {_run(event)}"


def _requested(event: Event) -> str:
    if isinstance(choices := event.data.get("choices"), Mapping):
        words = "|".join(map(str, choices))
        return f"{event.data.get('playbook', '')} asks: {event.data.get('question', '')}: aios runs answer {_run(event)} {words}"
    return f"{event.data.get('playbook', '')} asks to {_acts(event, 'acts')}: aios runs approve {_run(event)} (or deny)"


def _loaded(event: Event) -> str:
    told, invalid = event.data.get("playbooks"), event.data.get("invalid")
    left_out = f", {len(invalid)} refused as they are" if isinstance(invalid, list) and invalid else ""
    if isinstance(told, Mapping) and isinstance(told.get("bytes"), int):
        return f"playbooks loaded: many hundred in force{left_out}"  # so many that the list is in a blob
    return f"playbooks loaded: {len(told) if isinstance(told, Mapping) else 0} in force{left_out}"


def _correlated(event: Event) -> str:
    count, missing = event.data.get("count"), event.data.get("missing")
    stayed = f"{', '.join(map(str, missing))} stayed away" if isinstance(missing, list) and missing else ""
    if event.data.get("kind") == "absence":  # its entries have no names that anybody gave them
        stayed = f"silent since {event.data.get('since', '')}"
    seen = f"{count} events together" if count else ""
    return f"{', '.join(one for one in (seen, stayed) if one)}, for {event.data.get('playbook', '')}: aios explain {event.id}"


def _invalid(event: Event) -> str:
    data = event.data
    place = ":".join(str(data[name]) for name in ("path", "line", "column") if data.get(name))
    waiting = data.get("waiting")
    also = f"; other changes in its folder wait ({len(waiting)})" if isinstance(waiting, list) and waiting else ""
    return f"playbook refused, what was in force stays: {place}: {data.get('message', '')}{also}"


def _quarantined(event: Event) -> str:
    data = event.data
    return f"quarantined: {data.get('file', '')}:{data.get('offset', '')}: {data.get('reason', '')}"


def _disk_low(event: Event) -> str:
    data = event.data
    if data.get("why") == "size":
        return f"the journal is larger than it may be ({data.get('size_mb', '')} MB): old days go"
    return f"the journal's disk runs low ({data.get('free_mb', '')} MB free): old days go sooner"


def _consumer_dropped(event: Event) -> str:
    data = event.data
    return f"cursor {data.get('consumer', '')} was given up: it stood at {data.get('position', '')}, and that had to go"


def _rolled_back(event: Event) -> str:
    """Empty where it had done nothing, and nobody asked."""
    data, by = event.data, event.data.get("by")
    who = f", as {by} asked" if by else ""
    if data.get("ok") is not True:
        said = f"NOT all that {data.get('playbook', '')} did could be taken back{who}: {data.get('error', '')}"
    elif by or data.get("proof"):
        said = f"what {data.get('playbook', '')} did was taken back{who}"
    else:
        return ""
    return f"{said}: aios runs show {_run(event)}"


def _kept(event: Event) -> str:
    files = event.data.get("files")
    what = ", ".join(str(name) for name in files[:5]) if isinstance(files, list) else ""
    return f"a last-good copy was taken for {event.data.get('playbook', '')}: {what}"


def paused_words(paused: Mapping[str, Any]) -> str:
    """Of a pause that stands, for a daemon that starts in it."""
    until = f" until {paused['until']} or" if paused.get("until") else " until"
    reason = f" ({paused['reason']})" if paused.get("reason") else ""
    since = f" since {paused['since']}" if paused.get("since") else ""
    return f"acts are paused{since}, by {paused.get('by', '')}{reason}: nothing is changed{until} `aios resume`"


def _granted(event: Event) -> str:
    data = event.data
    said = f"{data.get('playbook', '')} may {data.get('to', '')} from now on, says {data.get('by') or 'its evidence'}"
    return f"{said}: {data['reason']}" if data.get("reason") else said


def _silenced(event: Event) -> str:
    about = event.data.get("playbook") or "everything"
    subject = "" if event.data.get("subject") == "*" else f" on {event.data.get('subject', '')}"
    return f"nothing is done by {about}{subject} until {event.data.get('until', '')}: silenced by {event.data.get('by', '')}"


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
    "reactor.called": (
        "error",
        lambda event: f"needs a person: {event.data.get('why', '')}: aios explain {event.causationid[:8]}",
    ),
    "reactor.storm_began": ("error", lambda event: f"needs a person: {event.data.get('why', '')}"),
    "reactor.storm_over": ("info", lambda event: "the storm is over: acts are allowed again"),
    "playbook.demoted": ("warning", _granted),
    "playbook.promoted": ("info", _granted),
    "daemon.silenced": ("warning", _silenced),
    "journal.quarantined": ("warning", _quarantined),
    "journal.disk_low": ("warning", _disk_low),
    "journal.disk_full": (
        "error",
        lambda event: f"the disk takes no more, what matters least waits: {event.data.get('error', '')}",
    ),
    "journal.disk_normal": ("info", lambda event: "the journal has room again"),
    "journal.consumer_dropped": ("error", _consumer_dropped),
    "journal.part_missing": (
        "error",
        lambda event: f"{event.data.get('part', '')} of the journal is gone, and we did not remove it",
    ),
    "journal.damaged": (
        "error",
        lambda event: f"{event.data.get('part', '')} of the journal is damaged: aios journal verify says where",
    ),
    "journal.sound": ("info", lambda event: f"{event.data.get('part', '')} of the journal: {event.data.get('why', '')}"),
    "journal.part_changed": ("error", lambda event: f"somebody else changed {event.data.get('part', '')} of the journal"),
    INVALID: ("error", _invalid),
    "playbook.loaded": ("info", _loaded),
    "playbook.kept": ("info", _kept),
    CORRELATED: ("warning", _correlated),
    WINDOW_DROPPED: ("warning", lambda event: f"windows of {event.data.get('playbook', '')}: {event.data.get('why', '')}"),
    "run.rolled_back": ("warning", _rolled_back),
    "daemon.paused": ("warning", lambda event: f"paused by {event.data.get('by', '')}: no acts until `aios resume`"),
    "daemon.resumed": ("info", lambda event: f"acts are allowed again, says {event.data.get('by', '')}"),
}
"""Type -> level and words. Each is preceded by the subject; no words: nothing to say."""


@dataclass(slots=True)
class Teller:
    """Hears durable events; says those that a person would want to see."""

    log: Logger
    clock: Clock
    _since: float = -WITHIN_S
    _said: int = 0
    _left_out: int = 0

    def heard(self, stored: Sequence[Stored]) -> None:
        broken = Counter(event.data.get("path") for event, _ in stored if event.type == INVALID)
        for event, _ in stored:
            path = event.data.get("path") if event.type == INVALID else None
            mistakes = broken.pop(path, 0) if path else 1
            if event.type in WORDS and mistakes:  # a line for each file: lint tells its other mistakes
                self._tell(event, f"; and {mistakes - 1} more: aios playbook lint {path}" if mistakes > 1 else "")

    def _tell(self, event: Event, more: str) -> None:
        level, words = WORDS[event.type]
        if not (said := words(event)):
            return
        said += more
        now = self.clock.monotonic()
        if now - self._since >= WITHIN_S:
            if self._left_out:
                self.log.info(f"{self._left_out} lines left out: see `aios events`")
            self._since, self._said, self._left_out = now, 0, 0
        if self._said >= LINES_MAX:
            self._left_out += 1
            return
        self._said += 1
        getattr(self.log, level)(f"{event.subject}: {said}")
