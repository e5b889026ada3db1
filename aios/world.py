"""The live state, folded from the journal: `apply` is called for every durable event, in order, and by nobody else.

After a crash the newest checkpoint is loaded and the events after it are applied again, which gives the same world. It
decides nothing and touches nothing; the reactor reads it. Everything in it is bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from aios.errors import MachineError
from aios.events.catalogue import CLOSES, CORRELATED, LEARNED, is_own
from aios.events.codec import decode_json
from aios.events.event import START, Event, Position, Stored, parse_time
from aios.events.origin import InboxCursor, cursors_of, fold_origin
from aios.playbooks.breaker import lasts
from aios.playbooks.called import Call, call_of
from aios.playbooks.correlate import Correlator
from aios.playbooks.guards import CALLED_QUIET_S, LIFTED_BY_RESUME, GuardBook, Storm
from aios.playbooks.relations import Relations
from aios.playbooks.run import Run
from aios.playbooks.run_table import BY_HAND, RESERVED_STEPS
from aios.playbooks.silences import silence_of
from aios.playbooks.trust import Grant, TrustBook
from aios.scheduler.dead import DeadLetters
from aios.scores.scores import Scores, heeds
from aios.scores.symptoms import MISHAPS

CHECKPOINT_VERSION = 7
LIFTED_FROM = 7
LIFTS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a world as this version wrote it to one as the next did; a new CHECKPOINT_VERSION needs one for each before it, from
LIFTED_FROM on. What is older than the journal stands in a digest alone: an open question, a playbook that is switched off."""
RECENT_RUNS_MAX, NEWEST_RUNS = 500, 100
"""Ended runs that are known, and how many of the newest whatever they want."""
SYMPTOMS_MAX = 20_000
UNCALLED_MAX = 1000
INCIDENT_QUIET_S = 600.0
SETTLE_S = 10.0
LIFTED = "lifted"
"""The guard of what a person has let go on, until it is offered again."""

_ANSWERS = {"approval.given": "given", "approval.denied": "denied", "approval.expired": "expired"}
_CLOSING_OF = {opened: closing for closing, openeds in CLOSES.items() for opened in openeds}


_NO_ORIGIN = "\n"
"""What no origin begins with."""


@lru_cache(maxsize=1024)
def _only_seen(event_type: str) -> bool:
    """Whether events of this type open, close and move nothing. (What the correlator heeds by itself are own types.)"""
    return not (is_own(event_type) or event_type in _CLOSING_OF or event_type in CLOSES or heeds(event_type))


UNFIT = (MachineError, LookupError, TypeError, ValueError, AttributeError)
"""What `apply` raises for a line that stands in the journal under a right checksum, and not as this version writes it."""


class Symptom(NamedTuple):
    """Something is ill and has not been told well again."""

    event: str
    since: float
    position: Position


class Holding(NamedTuple):
    """A matched event that a guard held; offered again, once, at `until` (0: not by time), or when what it waits `on` ends."""

    event: str
    position: Position
    playbook: str
    subject: str
    type: str
    guard: str
    until: float
    since: float
    on: str = ""


class Incident(NamedTuple):
    """What is going on with a subject: named by the first matched event, closed after ten quiet minutes."""

    id: str
    last: float
    called: bool


@dataclass(slots=True)
class World:
    scores: Scores
    position: Position = START
    alive_at: float = 0.0
    clean: bool = True
    runs: dict[str, Run] = field(default_factory=dict)
    recent: OrderedDict[str, Run] = field(default_factory=OrderedDict)
    open_pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    shared_pairs: set[tuple[str, str]] = field(default_factory=set)
    acting: dict[str, Run] = field(default_factory=dict)
    """Runs that have acted and are open, or had ended within the settle time at the newest own event."""
    settle_s: float = SETTLE_S
    """For so long after a run, what is seen on its resources is put down to it."""
    guards: GuardBook = field(default_factory=GuardBook)
    trust: TrustBook = field(default_factory=TrustBook)
    symptoms: OrderedDict[tuple[str, str], Symptom] = field(default_factory=OrderedDict)
    ill: dict[str, set[str]] = field(default_factory=dict)
    """Subjects that are ill, and the types of their symptoms: without what a score says, and what a run has proven over since."""
    ill_changes: int = 0
    """Rises when another subject is ill or well: who asks for that need not look."""
    held: dict[tuple[str, str], Holding] = field(default_factory=dict)
    undecided: dict[str, Position] = field(default_factory=dict)
    incidents: OrderedDict[str, Incident] = field(default_factory=OrderedDict)
    origins: dict[str, str] = field(default_factory=dict)
    """Where the newest line of each inbox file stood."""
    dead: DeadLetters = field(default_factory=DeadLetters)
    uncalled: dict[str, Call] = field(default_factory=dict)
    """Persons to be called of whom nothing says yet that they were: id of the event that wants it -> the call."""
    paused: dict[str, Any] | None = None
    disabled: set[str] = field(default_factory=set)
    playbooks: dict[str, str] = field(default_factory=dict)
    """What is in force: name -> blob of its text; `playbook_paths` says which file each came from."""
    playbook_paths: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    correlator: Correlator = field(default_factory=Correlator)
    """Playbooks that wait for several events: what they have seen."""
    relations: Relations = field(default_factory=Relations)
    """Who is watched, and who suffers with whom."""
    named_own: frozenset[str] = frozenset()
    """Own types that a playbook in force names exactly: these are queued like what is seen outside."""

    def apply_all(self, stored: Sequence[Stored]) -> None:
        """As `apply` of each, for a batch as the spine has it: there the lines of one inbox file stand in the file's order.

        So the last one of a file says how far it was read. Most of what other programs say is heeded by nothing here: of that
        there is only to be remembered that it is undecided.
        """
        undecided, together = self.undecided, bool(self.correlator.trackers)
        begin, newest = _NO_ORIGIN, ""
        for event, position in stored:
            if (origin := event.origin) and not origin.startswith(begin):
                fold_origin(self.origins, newest)
                begin = origin[: origin.rfind(":") + 1] or _NO_ORIGIN
            newest = origin or newest
            if together or not _only_seen(event.type):
                self._fold(event, position)
                together = bool(self.correlator.trackers)
            else:
                undecided[event.id] = position
        if stored:
            fold_origin(self.origins, newest)
            self.position = stored[-1].position

    def apply(self, event: Event, position: Position) -> None:
        """Take one durable event in."""
        if event.origin:
            fold_origin(self.origins, event.origin)
        self._fold(event, position)

    def _fold(self, event: Event, position: Position) -> None:
        self.position = position
        if is_own(event.type):
            self._apply_own(event, position)
        else:
            self._apply_seen(event, position)
        self.scores.apply(event)
        self.correlator.take(event, position)

    def tear(self, event: Event) -> Run | None:
        """An event that cannot be folded, read from a damaged journal: the run that it belongs to ends here. Gives it back."""
        run_id = str(event.data.get("run", ""))
        run = self.runs.get(run_id) or self.recent.get(run_id)
        if run is None:
            return None
        run.tear(f"its history in the journal has a hole before its {event.type}", event.taken)
        self._settle(run, event.taken)
        return run

    @property
    def cursors(self) -> Mapping[str, InboxCursor]:
        """How far each inbox file was durably taken: it follows what is applied."""
        return cursors_of(self.origins)

    # --- what is seen outside ---

    def _apply_seen(self, event: Event, position: Position) -> None:
        self.undecided[event.id] = position
        kind = event.type
        if kind in _CLOSING_OF:
            self._open(event, position)
        elif kind in CLOSES:
            for opened in CLOSES[kind]:
                self._close(event.subject, opened)

    def _open(self, event: Event, position: Position) -> None:
        key = (event.subject, event.type)
        if key not in self.symptoms:
            self.symptoms[key] = Symptom(event.id, event.taken, position)
            if len(self.symptoms) > SYMPTOMS_MAX:
                self._ill_no_more(*self.symptoms.popitem(last=False)[0])
        if not is_own(event.type):
            self._ill_of(event.subject, event.type)

    def _ill_of(self, subject: str, event_type: str) -> None:
        if subject not in self.ill:
            self.ill[subject] = set()
            self.ill_changes += 1
        self.ill[subject].add(event_type)

    def _ill_no_more(self, subject: str, event_type: str) -> None:
        kinds = self.ill.get(subject, set())
        kinds.discard(event_type)
        if subject in self.ill and not kinds:
            del self.ill[subject]
            self.ill_changes += 1

    def _close(self, subject: str, event_type: str) -> None:
        if self.symptoms.pop((subject, event_type), None) is not None:
            self._ill_no_more(subject, event_type)
            self.guards.well(subject)
            for key in [k for k, h in self.held.items() if (h.subject, h.type) == (subject, event_type)]:
                del self.held[key]

    def stands(self, holding: Holding) -> bool:
        """Whether what was held is still ill. What nothing can close stands until it is offered."""
        if holding.type not in _CLOSING_OF:
            return True
        return (holding.subject, holding.type) in self.symptoms

    # --- bookkeeping ---

    def _apply_own(self, event: Event, position: Position) -> None:
        self.alive_at = event.taken
        self._let_settle(event.taken)
        kind = event.type
        if kind.startswith(("run.", "approval.")):
            self._apply_run(event)
        elif (handler := _HANDLERS.get(kind)) is not None:
            handler(self, event)
        elif kind in _CLOSING_OF:  # score.degraded: a playbook may name it
            self._open(event, position)
        for opened in CLOSES.get(kind, ()):
            self._close(event.subject, opened)
        if kind in self.named_own or kind == CORRELATED:
            self.undecided[event.id] = position

    def _apply_run(self, event: Event) -> None:
        data, at = event.data, event.taken
        run_id = data["run"]
        if event.type == "run.opened":
            self._decided(data["event"])
            if run_id in self.runs or run_id in self.recent:
                return
            run = self.runs[run_id] = Run(run_id, incident=event.correlationid)
            run.fold(event.type, data, at)
            self._number(run)
            self._take_pair(run)
            self.held.pop((run.playbook, run.subject), None)
            self._touch_incident(event)
            return
        found = self.runs.get(run_id) or self.recent.get(run_id)
        if found is None:
            return  # it ended so long ago that it was forgotten
        if (call := call_of(event)) is not None:
            self._call(event, call)
        acted_before = found.reached_an_act
        found.fold(event.type, data, at)
        if event.type in ("run.healed", "run.cleared"):
            self._ill_no_more(event.subject, found.trigger["type"])  # proven; the symptom stands until its sensor says so too
            if found.trigger["type"] in MISHAPS:
                self._close(event.subject, found.trigger["type"])  # no sensor would ever say that it is over
        if event.type == "run.step_intended" and not data["step"].startswith(RESERVED_STEPS):
            self.guards.acted(at)
            self.acting[found.id] = found
            if not acted_before:
                self.guards.began_to_act(found.playbook, found.subject, at)
        if event.type in _ANSWERS:
            self.trust.answered(found, _ANSWERS[event.type], at)
        elif event.type == "run.observed" and "by_itself" in data:
            self.trust.watched(found, bool(data["by_itself"]), at)
        self._touch_incident(event)
        self._settle(found, at)

    def _number(self, run: Run) -> None:
        """That a person had this one opened, too, is remembered by all that are known of its event and playbook."""
        for one in (*self.runs.values(), *self.recent.values()) if run.again else ():
            if (one.event, one.playbook) == (run.event, run.playbook):
                one.retried = max(one.retried, run.again)

    def _settle(self, run: Run, at: float) -> None:
        """Open runs stand in `runs`, ended ones in `recent`; a person may wake an ended one to take it back."""
        if run.ended and run.id in self.runs:
            del self.runs[run.id]
            self._leave_pair(run)
            self._keep_in_mind(run, at)
            if (parent := self.runs.get(run.parent)) is not None:
                parent.fallbacks[run.id] = [run.outcome in ("healed", "cleared"), run.why or f"it ended {run.status}"]
            if run.playbook != BY_HAND:
                self._weigh(run, at)
        elif not run.ended and run.id in self.recent:
            self.runs[run.id] = self.recent.pop(run.id)
            self._take_pair(run)

    def _weigh(self, run: Run, at: float) -> None:
        """What its end says of its playbook and of its subject."""
        self.trust.ended(run, at)
        if run.acted:
            self.guards.ended(run.playbook, run.subject, at, healed=run.outcome == "healed")
        if run.status == "escalated":
            self.guards.escalated(run.playbook, run.subject, at)
        elif run.outcome in ("healed", "cleared"):
            self.guards.well(run.subject)

    def _keep_in_mind(self, run: Run, now: float) -> None:
        """An ended run, while it is one of the newest; of the older ones those are forgotten first that nobody is wanted for."""
        self.recent[run.id] = run
        if len(self.recent) > RECENT_RUNS_MAX:
            older = islice(self.recent.values(), max(1, RECENT_RUNS_MAX - NEWEST_RUNS))
            oldest = next(iter(self.recent.values()))
            del self.recent[next((one for one in older if not self._wants_somebody(one, now)), oldest).id]

    def _wants_somebody(self, run: Run, now: float) -> bool:
        """It proposes something and its trouble stands, or it called somebody a moment ago."""
        if run.status == "suggested":
            return (run.subject, run.trigger.get("type")) in self.symptoms
        called_at = self.guards.calls.get((run.playbook, run.subject))
        return run.status == "escalated" and called_at is not None and lasts(called_at, CALLED_QUIET_S, now)

    def _take_pair(self, run: Run) -> None:
        """The newest open run of its playbook on its subject is the one that further matches join."""
        pair = (run.playbook, run.subject)
        if pair in self.open_pairs:
            self.shared_pairs.add(pair)
        self.open_pairs[pair] = run.id

    def _leave_pair(self, run: Run) -> None:
        pair = (run.playbook, run.subject)
        if self.open_pairs.get(pair) == run.id:
            del self.open_pairs[pair]
        if pair in self.shared_pairs:  # rare: an ended run is being taken back beside an open one
            self.shared_pairs.discard(pair)
            self.open_pairs.pop(pair, None)
            for other in self.runs.values():
                if (other.playbook, other.subject) == pair:
                    self._take_pair(other)

    def _decided(self, event_id: str) -> None:
        self.undecided.pop(event_id, None)

    def _on_recalled(self, event: Event) -> None:
        run = Run.from_json(event.data["state"])
        if run.id not in self.runs and run.id not in self.recent:
            self._keep_in_mind(run, event.taken)

    def _on_decided(self, event: Event) -> None:
        data = event.data
        self._decided(data["event"])
        for other in data.get("others", ()):
            self._decided(other)
        key = (data["playbook"], event.subject)
        holding = self.held.get(key)
        if data["verdict"] == "held":
            until = parse_time(data["until"]) if data["until"] else 0.0
            position = Position.parse(data["position"])
            on = str(data.get("on", ""))
            self.held[key] = Holding(data["event"], position, *key, data["type"], data["guard"], until, event.taken, on)
            if data["guard"] == "breaker":
                self.guards.breaker_opened(*key, event.taken, until)
        elif data["verdict"] == "released" or (holding is not None and holding.event == data["event"]):
            self.held.pop(key, None)  # what was held is dealt with in another way now
        self._touch_incident(event)

    def _on_dead_letter(self, event: Event) -> None:
        self._decided(event.data["event"])
        for key in [k for k, h in self.held.items() if h.event == event.data["event"]]:
            del self.held[key]
        self.dead.apply(event)

    def _on_retried(self, event: Event) -> None:
        """A dead letter is undecided again, so that a crash before its decision does not lose it."""
        letter = self.dead.get(event.data["letter"])
        if letter is not None and letter.event:
            self.undecided[letter.event] = Position.parse(letter.position)
        self.dead.apply(event)

    def _on_called(self, event: Event) -> None:
        if (call := call_of(event)) is not None:
            self._call(event, call)
        incident = self.incidents.get(event.subject)
        if incident is not None:
            self.incidents[event.subject] = incident._replace(called=True, last=event.taken)

    def _call(self, event: Event, call: Call) -> None:
        self.uncalled[event.id] = call
        if len(self.uncalled) > UNCALLED_MAX:
            del self.uncalled[next(iter(self.uncalled))]

    def _touch_incident(self, event: Event) -> None:
        if not event.correlationid:
            return
        known = self.incident_of(event.subject, event.taken)
        self.incidents.pop(event.subject, None)
        opened = known or Incident(event.correlationid, event.taken, called=False)  # while one is open, no other opens
        self.incidents[event.subject] = opened._replace(last=event.taken)
        while self.incidents and abs(event.taken - next(iter(self.incidents.values())).last) > INCIDENT_QUIET_S:
            self.incidents.popitem(last=False)

    def incident_of(self, subject: str, now: float) -> Incident | None:
        """The incident that is open on this subject."""
        incident = self.incidents.get(subject)
        return incident if incident is not None and abs(now - incident.last) <= INCIDENT_QUIET_S else None

    def _on_act_done(self, event: Event) -> None:
        self.uncalled.pop(event.causationid, None)

    def _on_paused(self, event: Event) -> None:
        self.paused = {**event.data, "since": event.arrival}

    def _on_resumed(self, event: Event) -> None:
        """A storm that a person lifts lasts on without effect, so that it does not begin again before it is over."""
        self.paused = None
        if self.guards.storm is not None:
            self.guards.storm = self.guards.storm._replace(lifted_by=str(event.data["by"]) or "a person")
        for key, holding in self.held.items():
            if holding.guard in ("breaker", "called"):
                self.guards.forgive(holding.playbook, holding.subject)
            if holding.guard in LIFTED_BY_RESUME:
                self.held[key] = holding._replace(guard=LIFTED)

    # --- how far playbooks are trusted ---

    def _on_promoted(self, event: Event) -> None:
        data = event.data
        grant = Grant(data["to"], data["hash"], event.taken, str(data["by"]), str(data["reason"]))
        self.trust.grant(data["playbook"], grant)
        if (call := call_of(event)) is not None:
            self._call(event, call)

    # --- what persons and the machine say about guards ---

    def _on_silenced(self, event: Event) -> None:
        self.guards.silences.begin(silence_of(event.data, event.taken, parse_time(event.data["until"])))

    def _on_silence_ended(self, event: Event) -> None:
        self.guards.silences.end(event.data["silence"])

    def _on_storm_began(self, event: Event) -> None:
        self.guards.storm = Storm(event.taken, int(event.data["ill"]), int(event.data["known"]))
        self._call(event, Call(event.subject, str(event.data["why"])))

    def _on_storm_over(self, _event: Event) -> None:
        self.guards.storm = None

    def is_paused(self, now: float) -> bool:
        if self.paused is None:
            return False
        until = self.paused_until
        return not until or now < until

    @property
    def paused_until(self) -> float:
        """When a pause ends by itself; 0: a person ends it, or there is none."""
        until = self.paused.get("until") if self.paused is not None else ""
        return parse_time(until) if until else 0.0

    def _on_enabled(self, event: Event) -> None:
        self.disabled.discard(event.data["playbook"])

    def _on_disabled(self, event: Event) -> None:
        self.disabled.add(event.data["playbook"])

    def _on_loaded(self, event: Event) -> None:
        data = event.data
        playbooks, paths = self._whole(data["playbooks"]), self._whole(data.get("paths", {}))
        self.playbooks, self.playbook_paths = dict(playbooks), dict(paths)
        self.named_own = frozenset(data.get("own_types", ()))

    def _whole(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of many hundred playbooks the names do not fit a line of the journal: then they are in a blob (`Spine._shortened`)."""
        if not isinstance(told.get("bytes"), int):
            return told
        try:
            found: Mapping[str, Any] = decode_json(self.correlator.recall(told["blob"]))
        except (KeyError, ValueError):
            return {}  # what was in force is not known any more; what is, stands in the folders
        return found

    def _on_relations(self, event: Event) -> None:
        self.relations.apply(event.data, event.arrival[:10])

    def _on_kept(self, event: Event) -> None:
        self.kept[event.data["playbook"]] = event.data["manifest"]

    def _on_changed_since_good(self, event: Event) -> None:
        changed = event.data["changed"]
        if (run := self.runs.get(event.data["run"])) is not None:
            run.since_good(changed if isinstance(changed, list) else (), event.data["files"])  # a long one went to a blob

    def _on_timer(self, event: Event) -> None:
        self.timers[event.data["timer"]] = parse_time(event.data["planned"])

    def _on_heartbeat(self, event: Event) -> None:
        """Whatever stands up to here was dealt with, also what no playbook matched: a replay need not look at it again."""
        if not (text := event.data.get("dealt_with")):
            return
        upto = Position.parse(text)
        for done in [one for one, position in self.undecided.items() if position <= upto]:
            del self.undecided[done]

    def _on_started(self, _event: Event) -> None:
        self.clean = False

    def _on_stopped(self, _event: Event) -> None:
        self.clean = True

    # --- causes ---

    def _let_settle(self, at: float) -> None:
        """Whoever ended longer ago is nobody's cause any more, also if the clock should be put back to just that time."""
        for run in [run for run in self.acting.values() if not self._stirs(run, at)]:
            del self.acting[run.id]

    def _stirs(self, run: Run, now: float) -> bool:
        return not run.ended or lasts(run.ended_at, self.settle_s, now)

    def attributed(self, subject: str, now: float) -> Run | None:
        """The run that is acting on this subject, or has just now, or on something that this subject depends on."""
        near = (run for run in self.acting.values() if self._is_of(run, subject))
        return next((run for run in near if self._stirs(run, now)), None)

    def _is_of(self, run: Run, subject: str) -> bool:
        return subject in run.resources or any(self.relations.suffers(subject, of=one) for one in run.resources)

    # --- checkpoints ---

    def to_json(self) -> dict[str, Any]:
        return {
            "version": CHECKPOINT_VERSION,
            "position": str(self.position),
            "alive_at": self.alive_at,
            "clean": self.clean,
            "scores": self.scores.to_json(),
            "runs": [run.to_json() for run in self.runs.values()],
            "recent": [run.to_json() for run in self.recent.values()],
            "acting": list(self.acting),
            "guards": self.guards.to_json(),
            "trust": self.trust.to_json(),
            "ill": {subject: sorted(kinds) for subject, kinds in self.ill.items()},
            "symptoms": [[*key, s.event, s.since, str(s.position)] for key, s in self.symptoms.items()],
            "held": [[*h[:1], str(h.position), *h[2:]] for h in self.held.values()],
            "undecided": {event: str(position) for event, position in self.undecided.items()},
            "incidents": [[subject, *incident] for subject, incident in self.incidents.items()],
            "origins": self.origins,
            "dead": self.dead.to_json(),
            "uncalled": {event: list(call) for event, call in self.uncalled.items()},
            "paused": self.paused,
            "disabled": sorted(self.disabled),
            "playbooks": self.playbooks,
            "playbook_paths": self.playbook_paths,
            "named_own": sorted(self.named_own),
            "kept": self.kept,
            "timers": self.timers,
            "correlator": self.correlator.to_json(),
            "relations": self.relations.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], scores: Callable[[Mapping[str, Any]], Scores]) -> World:
        """Read a checkpoint. Raises ValueError for a version that this program does not know."""
        if raw.get("version") != CHECKPOINT_VERSION:
            raise ValueError(f"checkpoint version {raw.get('version')}, this program writes {CHECKPOINT_VERSION}")
        world = cls(scores(raw["scores"]), Position.parse(raw["position"]), raw["alive_at"], raw["clean"])
        world.runs = {r["id"]: Run.from_json(r) for r in raw["runs"]}
        for run in world.runs.values():
            world._take_pair(run)
        world.recent = OrderedDict((r["id"], Run.from_json(r)) for r in raw["recent"])
        known = {**world.recent, **world.runs}
        world.acting = {name: known[name] for name in raw.get("acting", known) if name in known and known[name].reached_an_act}
        world.guards = GuardBook.from_json(raw["guards"])
        world.trust = TrustBook.from_json(raw["trust"])
        for subject, kind, event, since, position in raw["symptoms"]:
            world.symptoms[subject, kind] = Symptom(event, since, Position.parse(position))
        world.ill = {subject: set(kinds) for subject, kinds in raw["ill"].items()}
        for event, position, playbook, subject, *rest in raw["held"]:
            world.held[playbook, subject] = Holding(event, Position.parse(position), playbook, subject, *rest)
        world.undecided = {event: Position.parse(position) for event, position in raw["undecided"].items()}
        world.incidents = OrderedDict((subject, Incident(*rest)) for subject, *rest in raw["incidents"])
        world.origins = dict(raw["origins"])
        world.dead = DeadLetters.from_json(raw["dead"])
        world.uncalled = {event: Call(*call) for event, call in raw["uncalled"].items()}
        world.paused, world.disabled = raw["paused"], set(raw["disabled"])
        world.playbooks, world.kept = dict(raw["playbooks"]), dict(raw["kept"])
        world.playbook_paths, world.named_own = dict(raw["playbook_paths"]), frozenset(raw["named_own"])
        world.timers = dict(raw["timers"])
        world.correlator = Correlator.from_json(raw["correlator"])
        if "relations" in raw:  # a checkpoint of a daemon that did not know them: they are learnt anew
            world.relations = Relations.from_json(raw["relations"])
        return world


_HANDLERS: Mapping[str, Callable[[World, Event], None]] = {
    "reactor.decided": World._on_decided,
    "reactor.called": World._on_called,
    "reactor.storm_began": World._on_storm_began,
    "reactor.storm_over": World._on_storm_over,
    "daemon.silenced": World._on_silenced,
    "daemon.silence_ended": World._on_silence_ended,
    "scheduler.dead_letter": World._on_dead_letter,
    "scheduler.retried": World._on_retried,
    "daemon.act_done": World._on_act_done,
    "daemon.run_recalled": World._on_recalled,
    "daemon.paused": World._on_paused,
    "daemon.resumed": World._on_resumed,
    "daemon.heartbeat": World._on_heartbeat,
    "daemon.started": World._on_started,
    "daemon.stopped": World._on_stopped,
    "playbook.enabled": World._on_enabled,
    "playbook.disabled": World._on_disabled,
    "playbook.loaded": World._on_loaded,
    "playbook.kept": World._on_kept,
    "playbook.changed_since_good": World._on_changed_since_good,
    LEARNED: World._on_relations,
    "playbook.promoted": World._on_promoted,
    "playbook.demoted": World._on_promoted,
    "timer.due": World._on_timer,
}
