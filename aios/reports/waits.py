"""What waits for a person: opened by some events, answered by others; and the commands that answer. `build` feeds it in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aios.events.call_words import call_words
from aios.events.event import Event, parse_time
from aios.reports.model import Wait
from aios.reports.text import argument, plain
from aios.scheduler.dead import DeadLetters
from aios.scores.symptoms import closed_by

WAITS_MAX = 500
WHAT_CHARS = 600
ACT_CHARS = 300
RELOAD_S = 2.0
"""A load that does not say which files are invalid (older journals) told of each just before: what is older has been mended."""

# The order in which a person should look: what runs out first, then what is broken, then what can wait.
KINDS = ("daemon", "pause", "approval", "rollback", "escalation", "called", "dead letter", "suggestion", "playbook")
PAUSED = "acts are paused"
_ON_SUBJECT = ("escalation", "called", "suggestion")


@dataclass(frozen=True, slots=True)
class _Open:
    wait: Wait
    subject: str
    trigger: str
    since: float
    ends: float = 0.0


@dataclass(slots=True)
class Waits:
    """Keyed by kind and run (or what stands for it). Bounded: what comes beyond is only counted."""

    open: dict[tuple[str, str], _Open] = field(default_factory=dict)
    dead: DeadLetters = field(default_factory=DeadLetters)
    beyond: int = 0

    def see(self, event: Event, trigger: str) -> None:
        """`trigger` is the type that the event's run answers; empty where nobody knows."""
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event, trigger)

    def add(self, key: str, wait: Wait, subject: str, trigger: str = "", since: float = 0.0) -> None:
        if (wait.kind, key) not in self.open and len(self.open) >= WAITS_MAX:
            self.beyond += 1
            return
        self.open[wait.kind, key] = _Open(wait, subject, trigger, since)

    def well(self, subject: str, event_type: str) -> None:
        """This event closes symptoms of the subject: what waited because of them is over."""
        for key, one in self._about(subject):
            if not one.trigger or closed_by(event_type, (one.trigger,)):
                del self.open[key]

    def healed(self, subject: str, trigger: str) -> None:
        """A run healed this subject of this."""
        for key, one in self._about(subject):
            if not one.trigger or not trigger or one.trigger == trigger:
                del self.open[key]

    def _about(self, subject: str) -> list[tuple[tuple[str, str], _Open]]:
        return [item for item in self.open.items() if item[0][0] in _ON_SUBJECT and item[1].subject == subject]

    def list(self, now: float = 0.0) -> list[Wait]:
        """A pause that ends by itself is over then."""
        pause = self.open.get(("pause", ""))
        if pause is not None and 0 < pause.ends <= now:
            del self.open["pause", ""]
        letters = [_letter(one.letter, one.subject, one.reason, one.since) for one in self.dead.list()]
        found = [*(one.wait for one in self.open.values()), *letters]
        return sorted(found, key=lambda wait: (KINDS.index(wait.kind), wait.until or "~", wait.since))

    # --- one for each type

    def _asked(self, event: Event, trigger: str) -> None:
        run, data = _run(event), event.data
        acts = data.get("acts")
        names = "; ".join(_act(act) for act in acts[:5]) if isinstance(acts, list) else ""
        commands: tuple[str, ...] = (f"aios runs approve {argument(run)}", f"aios runs deny {argument(run)}")
        what = f"{data.get('playbook', '')} asks before it acts: {names}"
        if isinstance(choices := data.get("choices"), Mapping):
            commands = tuple(f"aios runs answer {argument(run)} {argument(str(word))}" for word in list(choices)[:10])
            what = f"{data.get('playbook', '')} asks: {data.get('question', '')}"
        self.add(run, _wait("approval", event, what, commands, plain(data.get("until"))), event.subject, trigger)

    def _answered(self, event: Event, _trigger: str) -> None:
        self.open.pop(("approval", _run(event)), None)

    def _ended(self, event: Event, trigger: str) -> None:
        self._answered(event, trigger)
        if event.type == "run.cancelled":
            self.open.pop(("suggestion", _run(event)), None)
        if event.type in ("run.healed", "run.cleared"):
            self.healed(event.subject, trigger)

    def _escalated(self, event: Event, trigger: str) -> None:
        run = _run(event)
        commands = (f"aios runs show {argument(run)}", f"aios runs retry {argument(run)}")
        what = f"{event.data.get('playbook', '')}: {event.data.get('why', '')}"
        self._answered(event, trigger)
        self.add(run, _wait("escalation", event, what, commands), event.subject, trigger)

    def _suggested(self, event: Event, trigger: str) -> None:
        run, would = _run(event), event.data.get("would")
        names = "; ".join(_act(act) for act in would[:5]) if isinstance(would, list) else ""
        commands = (f"aios runs show {argument(run)}", f"aios runs approve {argument(run)}")
        what = f"{event.data.get('playbook', '')} proposes: {names or 'nothing'}"
        self.add(run, _wait("suggestion", event, what, commands), event.subject, trigger)

    def _opened(self, event: Event, _trigger: str) -> None:
        """A run that a person made of a suggestion, or had tried again, answers it."""
        parent = event.data.get("parent")
        if isinstance(parent, str) and parent and event.data.get("by"):
            for kind in ("suggestion", "escalation"):
                self.open.pop((kind, parent), None)

    def _rolled_back(self, event: Event, trigger: str) -> None:
        run = _run(event)
        self.open.pop(("rollback", run), None)
        if event.data.get("ok") is False:
            force = " --force" if event.data.get("conflicts") else ""
            commands = (f"aios runs show {argument(run)}", f"aios runs rollback {argument(run)}{force}")
            error = str(event.data.get("error") or "").partition(" To put it back all the same")[0]  # that is in the commands
            what = f"what {event.data.get('playbook', '')} did could not be taken back: {error}"
            self.add(run, _wait("rollback", event, what, commands), event.subject, trigger)

    def _called(self, event: Event, _trigger: str) -> None:
        playbook = str(event.data.get("playbook", ""))
        commands = (f"aios playbook show {argument(playbook)}", f"aios explain {argument(event.causationid)}")
        what = f"{event.data.get('guard', '')}: {event.data.get('why', '')}"
        self.add(f"{playbook} {event.subject}", _wait("called", event, what, commands), event.subject)

    def _invalid(self, event: Event, _trigger: str) -> None:
        path = str(event.data.get("path", ""))
        line = event.data.get("line")
        what = f"{path}{f':{line}' if line else ''}: {event.data.get('message', '')}"
        wait = _wait("playbook", event, what, (f"aios playbook lint {argument(path)}",))
        self.add(path, wait, event.subject, since=event.taken)

    def _loaded(self, event: Event, _trigger: str) -> None:
        still = event.data.get("invalid")
        for key, one in list(self.open.items()):
            told = key[1] in still if isinstance(still, list) else one.since >= event.taken - RELOAD_S
            if key[0] == "playbook" and not told:
                del self.open[key]

    def _paused(self, event: Event, _trigger: str) -> None:
        until, reason = plain(event.data.get("until"), 40), plain(event.data.get("reason"))
        what = f"{PAUSED} by {plain(event.data.get('by'), 40)}" + (f" until {until}" if until else "")
        wait = _wait("pause", event, f"{what}: {reason}" if reason else what, ("aios resume",))
        try:
            ends = parse_time(until) if until else 0.0
        except ValueError:
            ends = 0.0  # written by hand: a person ends it
        self.open["pause", ""] = _Open(wait, event.subject, "", event.taken, ends)

    def _resumed(self, _event: Event, _trigger: str) -> None:
        self.open.pop(("pause", ""), None)


def _run(event: Event) -> str:
    return str(event.data.get("run", ""))


def _act(act: object) -> str:
    return plain(call_words(act, ACT_CHARS), ACT_CHARS) if isinstance(act, Mapping) else plain(act, 40)


def _wait(kind: str, event: Event, what: str, commands: tuple[str, ...], until: str = "") -> Wait:
    return Wait(kind, plain(event.subject), plain(what, WHAT_CHARS), event.arrival, until, commands)


def _letter(letter: str, subject: str, reason: str, since: str) -> Wait:
    return Wait("dead letter", plain(subject), plain(reason), since, "", (f"aios dead retry {argument(letter)}",))


_HANDLERS: Mapping[str, Callable[[Waits, Event, str], None]] = {
    "approval.requested": Waits._asked,
    **dict.fromkeys(("approval.given", "approval.denied", "approval.expired"), Waits._answered),
    **dict.fromkeys(("run.healed", "run.cleared", "run.not_healed", "run.unknown"), Waits._ended),
    **dict.fromkeys(("run.cancelled", "run.observed"), Waits._ended),
    "run.escalated": Waits._escalated,
    "run.suggested": Waits._suggested,
    "run.opened": Waits._opened,
    "run.rolled_back": Waits._rolled_back,
    "reactor.called": Waits._called,
    "playbook.invalid": Waits._invalid,
    "playbook.loaded": Waits._loaded,
    "daemon.paused": Waits._paused,
    "daemon.resumed": Waits._resumed,
    "scheduler.dead_letter": lambda waits, event, _: waits.dead.apply(event),
    "scheduler.retried": lambda waits, event, _: waits.dead.apply(event),
}
