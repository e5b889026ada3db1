"""Why did it, or why did it not? Every playbook that was considered for an event, and what would have made it run.

`aios explain` and the daemon's verb `explain` ask here; so may any Python (`explain`). Two steps: `look_back` reads the journal
(it may take a while, and needs no daemon), `tell` puts it into words with what only the living daemon knows (`Present`).

What is told of an event is what was in force where it stands in the journal: the playbooks that the last `playbook.loaded` before
it names, their texts by hash, who was switched off, the modes, and of guards what the decision wrote down. What is not known any
more is said in `notes`, and nothing else is put in its place without saying so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.errors import ConfigErrors, Refused
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import CORRELATED
from aios.events.codec import decode_json
from aios.events.event import SYSTEM, Event, Position, parse_time
from aios.events.filters import EventFilter
from aios.journal.archive import IMPORTED_FROM
from aios.journal.query import Found, History, Query
from aios.nearest import nearest
from aios.playbooks import needs
from aios.playbooks.correlate import trigger_says
from aios.playbooks.correlation_words import standing
from aios.playbooks.index import Index, event_view, type_fits
from aios.playbooks.load import load
from aios.playbooks.model import Playbook, lesser_mode, variables
from aios.playbooks.trust import TrustBook
from aios.ports import Blobs
from aios.reports.text import argument
from aios.reports.then import world_at
from aios.skills.catalogue import load_catalogue
from aios.world import World

__all__ = ["Past", "Present", "explain", "look_back", "tell"]

ANSWERS = ("reactor.decided", "run.opened")
DECISIONS = (*ANSWERS, "reactor.called", "scheduler.dead_letter")
DECISIONS_MAX = 100
BROKEN_SHOWN = 3
PREFIX_MIN, NEAR_MAX = 4, 100
"""Characters that name an event by its beginning, and how many are looked for that share it."""
UNSAID = "when cannot say: "
OTHERS_MAX = 200
ENDED = (
    "healed",
    "not_healed",
    "unknown",
    "cleared",
    "observed",
    "suggested",
    "escalated",
    "rolled_back",
    "cancelled",
    "waiting",
)
MODE_MAX = "auto"
"""What the settings allow where no start of a daemon stands before the event."""

Known = Mapping[str, Playbook]
"""Texts that were read already: hash -> playbook."""


@dataclass(slots=True)
class Past:
    """What the journal says of one event: itself, what was decided, and what was in force where it stands."""

    event: Event
    position: Position | None
    run: Event | None = None
    """The opening of the run that was asked for, where it was a run."""
    decisions: list[Event] = field(default_factory=list)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each run that it led to: how it stands by its last word in the journal."""
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Playbooks that wait for several events and counted this one: what became complete by it, and the run that it led to."""
    playbooks: list[Playbook] = field(default_factory=list)
    index: Index = field(default_factory=lambda: Index(()))
    gone: dict[str, str] = field(default_factory=dict)
    """Playbooks that were in force and cannot be read any more: name -> why."""
    loaded: str = ""
    """When what was in force was loaded; empty where the journal does not say."""
    off: frozenset[str] = frozenset()
    modes: dict[str, str] = field(default_factory=dict)
    mode_max: str = MODE_MAX
    then: World | None = None
    """The world with this event just in it, where the answer hangs on it and it can be told."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Present:
    """What only the living daemon knows. Without one: nothing, and `tell` says what that leaves out."""

    windows: Callable[[Event], list[dict[str, Any]]] | None = None
    score: Callable[[str], float | None] = lambda _subject: None
    trust: TrustBook = field(default_factory=TrustBook)
    undecided: Callable[[str], bool] = lambda _event: False
    held: Callable[[str, Event], bool] = lambda _playbook, _event: True
    """Whether a guard still holds this event for this playbook."""


NOBODY = Present()
RUN_SHOWN = 8
LET_GO = "what it is for to stand until the guard let it go: by then it was over, or dealt with"


def explain(state_dir: str | os.PathLike[str], wanted: str, skills: SkillCatalogue | None = None) -> dict[str, Any]:
    """The answer of `aios explain --json` for a state folder, without asking its daemon. `wanted` is the id of an event, a run or
    a dead letter, or a beginning of it that is no other's (4 characters or more).

    `event`, `considered` (each with `playbook`, `verdict`, `why`, `needs`, `conditions`), `windows`, `decisions`, `runs`,
    `others` (playbooks for other types), `notes`. Raises Refused where there is no journal, or nothing of that id; OSError while
    reading.
    """
    history = History.of(state_dir)
    blobs = BlobFolder(OsFiles(), os.path.join(os.path.abspath(os.fspath(state_dir)), "blobs"))
    return tell(look_back(history, wanted, blobs, skills or load_catalogue(), {}), NOBODY)


# --- looking back -----------------------------------------------------------------------------------------------------


def look_back(history: History, wanted: str, blobs: Blobs, skills: SkillCatalogue, known: Known) -> Past:
    """Raises Refused where the journal knows nothing of that id; OSError."""
    found = find_event(history, wanted)
    past = _of_run(history, found) if found.event.type == "run.opened" else _of_event(history, found)
    before = _Before(history, past.position, parse_time(past.event.arrival) if past.event.arrival else 0.0)
    _decisions(history, past)
    _uses(history, past)
    _in_force(before, past, blobs, skills, known)
    if past.position is not None and past.position.part < IMPORTED_FROM and _hangs_on_then(past):
        past.then = world_at(history, past.position, blobs)
    return past


def find_event(history: History, wanted: str) -> Found:
    """The event, run or dead letter that is meant, by its id or the beginning of it. Raises Refused."""
    near: dict[str, Found] = {}
    for stored in history.read(Query(text=wanted), back=True):
        event = stored.event
        if event.id == wanted:
            return stored
        letter = str(event.data.get("letter", "")) if event.type == "scheduler.dead_letter" else ""
        name = next((one for one in (event.id, letter) if one.startswith(wanted)), "")
        if name and len(wanted) >= PREFIX_MIN:
            near.setdefault(name, stored)
            if len(near) > NEAR_MAX:
                break
    if len(near) == 1:
        return next(iter(near.values()))
    if near:
        raise Refused(f"{len(near)} events and runs begin with {wanted[:100]!r}", "write more of the id")
    cure = "look for its id with: aios events --json, or aios runs list"
    raise Refused(f"no event {wanted[:100]!r} in the journal, and no run", cure)


def _of_event(history: History, found: Found) -> Past:
    """The event itself, or the one that a dead letter is about."""
    if found.event.type != "scheduler.dead_letter":
        return Past(found.event, found.position)
    data = found.event.data
    event = history.at(Position.parse(data["position"]))
    if event is None:
        raise Refused(
            f"the journal does not hold the event of dead letter {data['letter']} any more", "aios dead show tells what is left"
        )
    return Past(event, Position.parse(data["position"]))


def _of_run(history: History, opened: Found) -> Past:
    """The event that this run answers; as the run remembers it, where its day is over."""
    event_id = str(opened.event.data["event"])
    stored = next((one for one in history.read(Query(text=event_id), back=True) if one.event.id == event_id), None)
    if stored is not None:
        return Past(stored.event, stored.position, run=opened.event)
    t = opened.event.data["trigger"]
    event = Event(t["id"], t["source"], t["type"], t["subject"], t["time"], t["data"], opened.event.arrival, t["severity"])
    note = "The journal does not hold the event any more: this is how its run remembers it."
    return Past(event, None, run=opened.event, notes=[note])


@dataclass(slots=True)
class _Before:
    """Asks the journal for what stands before the event."""

    history: History
    position: Position | None
    arrival: float

    def last(self, *types: str) -> Event | None:
        return next((s.event for s in self.history.read(_about(types), back=True) if self.holds(s)), None)

    def all(self, *types: str) -> Iterable[tuple[Event, bool]]:
        """Each, and whether it stands before."""
        return ((stored.event, self.holds(stored)) for stored in self.history.read(_about(types)))

    def holds(self, stored: Found) -> bool:
        if self.position is None or self.position.part >= IMPORTED_FROM:
            return stored.event.taken <= self.arrival
        return stored.position < self.position


def _about(types: Sequence[str]) -> Query:
    return Query(EventFilter.from_args({"types": list(types)}), imported=False)


def _decisions(history: History, past: Past) -> None:
    """What was decided about the event, and how the runs stand that it led to."""
    wanted = past.event.id
    query = Query(EventFilter.from_args({"types": list(DECISIONS)}), after=past.position, imported=False)
    found = [s.event for s in history.read(query) if s.event.causationid == wanted or s.event.data.get("event") == wanted]
    if past.run is not None and past.run.id not in {one.id for one in found}:
        found.append(past.run)
    past.decisions = found[:DECISIONS_MAX]
    for opened in [one for one in past.decisions if one.type == "run.opened"]:
        past.runs[opened.id] = _story(history, opened)


def _uses(history: History, past: Past) -> None:
    """What this event made complete, together with others: each names its parts."""
    query = Query(EventFilter.from_args({"types": [CORRELATED]}), text=past.event.id, after=past.position, imported=False)
    for stored in history.read(query):
        event = stored.event
        if past.event.id not in [one[0] for one in event.data.get("used") or ()] or len(past.used) >= DECISIONS_MAX:
            continue
        told: dict[str, Any] = {"event": event.id, "at": event.arrival}
        opened = next((s.event for s in history.read(_openings(stored)) if s.event.data.get("event") == event.id), None)
        if opened is not None:
            told |= {"run": opened.data["run"], "status": _story(history, opened)["status"]}
        past.used.setdefault(str(event.data.get("playbook", "")), told)


def _openings(complete: Found) -> Query:
    return Query(
        EventFilter.from_args({"types": ["run.opened"]}), text=complete.event.id, after=complete.position, imported=False
    )


def _used_words(used: Mapping[str, Any]) -> str:
    """It waits no more: what came of it."""
    run = (
        f"run {used['run'][:RUN_SHOWN]}: {used['status']}" if "run" in used else f"no run: aios explain {used['event']} says why"
    )
    return f"used at {used['at']} in reactor.correlated {used['event'][:RUN_SHOWN]}, {run}"


def _story(history: History, opened: Event) -> dict[str, Any]:
    """How a run stands by its last word."""
    told = {"playbook": opened.data["playbook"], "mode": opened.data["mode"], "opened": opened.arrival, "status": "opened"}
    query = Query(EventFilter.from_args({"types": ["run.*"]}), text=opened.id, since=opened.taken, imported=False)
    for stored in history.read(query):
        word, data = stored.event.type.removeprefix("run."), stored.event.data
        if data.get("run") == opened.id and word in ENDED:
            extra = {name: data[name] for name in ("waits_for", "until", "why", "on") if data.get(name)}
            told = {**{name: told[name] for name in ("playbook", "mode", "opened")}, "status": word, "at": stored.event.arrival}
            told |= extra
    return told


def _in_force(before: _Before, past: Past, blobs: Blobs, skills: SkillCatalogue, known: Known) -> None:
    if past.position is not None and past.position.part >= IMPORTED_FROM:
        past.notes.append("It was imported: it happened before, and nothing was decided about it here.")
    started, loaded = before.last("daemon.started"), before.last("playbook.loaded")
    past.mode_max = str(started.data["mode_max"]) if started is not None else MODE_MAX
    if loaded is None:
        loaded = next((s.event for s in before.history.read(_about(["playbook.loaded"]), back=True)), None)
        past.notes.append(
            "The journal does not say which playbooks were in force then"
            + ("; these are those that were in force last." if loaded is not None else ".")
        )
    if loaded is None:
        return
    past.loaded = loaded.arrival
    if broken := _broken(before, loaded):
        past.notes.append(_not_asked(broken))
    paths = _whole(loaded.data.get("paths", {}), blobs)
    for name, text in sorted(_whole(loaded.data["playbooks"], blobs).items()):
        try:
            past.playbooks.append(known.get(text) or load(blobs.get(text).decode(), paths.get(name, f"{name}.yaml"), skills))
        except KeyError:
            past.gone[name] = "its text is gone: nothing names it any more"
        except (ValueError, ConfigErrors) as error:
            past.gone[name] = f"its text cannot be read by this version: {str(error).splitlines()[0][:200]}"
    past.index = Index(past.playbooks)
    past.off = _switched_off(before)
    past.modes = _modes(before, past.playbooks)


def _hangs_on_then(past: Past) -> bool:
    """Whether anything is asked that no decision wrote down: a score, who goes first, how a window stood."""
    written = {str(one["playbook"]) for one in _recorded(past.decisions)}
    asked = [playbook for playbook in past.index.match(past.event) if playbook.name not in written]
    scored = any(playbook.when is not None and "score" in playbook.when.source for playbook in asked)
    return scored or len(asked) > 1 or any(_is_awaited(playbook, past.event.type) for playbook in past.playbooks)


def _is_awaited(playbook: Playbook, event_type: str) -> bool:
    """Whether it waits for several events, one of which may be of this type."""
    triggers = playbook.correlation.triggers if playbook.correlation is not None else ()
    return playbook.enabled and any(type_fits(name, event_type) for one in triggers for name in one.types)


def _whole(told: Mapping[str, Any], blobs: Blobs) -> Mapping[str, Any]:
    """Of many hundred playbooks the names are in a blob of their own."""
    if not isinstance(told.get("bytes"), int):
        return told
    try:
        found: Mapping[str, Any] = decode_json(blobs.get(told["blob"]))
    except (KeyError, ValueError):
        return {}
    return found


def _broken(before: _Before, loaded: Event) -> list[str]:
    """Files that could not be used then."""
    told = loaded.data.get("invalid")
    since = [event.data["path"] for event, holds in before.all("playbook.invalid") if holds and event.taken > loaded.taken]
    return sorted({str(path) for path in [*(told if isinstance(told, list) else ()), *since]})


def _not_asked(broken: Sequence[str]) -> str:
    what = "1 file of playbooks" if len(broken) == 1 else f"{len(broken)} files of playbooks"
    more = f", and {len(broken) - BROKEN_SHOWN} more" if len(broken) > BROKEN_SHOWN else ""
    named = " ".join(argument(path) for path in broken[:BROKEN_SHOWN])
    return f"{what} could not be used then, so what stands there was not asked: aios playbook lint {named}{more}"


def _switched_off(before: _Before) -> frozenset[str]:
    """Whom a person had switched off by then. Where only later switches are known, the first of them was a change."""
    then: dict[str, bool] = {}
    later: dict[str, bool] = {}
    for event, holds in before.all("playbook.enabled", "playbook.disabled"):
        on, name = event.type == "playbook.enabled", str(event.data["playbook"])
        if holds:
            then[name] = on
        else:
            later.setdefault(name, on)
    guessed = {name: not on for name, on in later.items()}
    return frozenset(name for name, on in (guessed | then).items() if not on)


def _modes(before: _Before, playbooks: Iterable[Playbook]) -> dict[str, str]:
    """The mode of each: its file's, or what was granted to this very text."""
    granted = {
        (str(event.data["playbook"]), event.data["hash"]): str(event.data["to"])
        for event, holds in before.all("playbook.promoted", "playbook.demoted")
        if holds
    }
    return {playbook.name: granted.get((playbook.name, playbook.hash), playbook.mode) for playbook in playbooks}


# --- telling ----------------------------------------------------------------------------------------------------------


def tell(past: Past, present: Present) -> dict[str, Any]:
    """The whole answer, as plain JSON."""
    told = _Told(past, present)
    considered = told.considered()
    windows = told.windows()
    others = [one for one in told.index.explain(past.event, everything=True) if one["playbook"] not in told.asked]
    others = [one for one in others if one["playbook"] not in {window["playbook"] for window in windows}]
    near = told.near_type() if not considered and not windows else ""
    return {
        "event": _as_json(past.event),
        "position": str(past.position) if past.position is not None else "",
        "in_force_since": past.loaded,
        "considered": considered,
        "windows": windows,
        "decisions": [_as_json(one) for one in past.decisions],
        "runs": past.runs,
        "run": past.run.id if past.run is not None else "",
        "others": {"count": len(others), "playbooks": [{n: o[n] for n in ("playbook", "why")} for o in others[:OTHERS_MAX]]},
        "notes": [*past.notes, *told.notes, *([near] if near else [])],
    }


class _Told:
    """One answer in the making."""

    def __init__(self, past: Past, present: Present) -> None:
        self.past, self.present, self.event = past, present, past.event
        self.index = past.index
        self.by_name = {playbook.name: playbook for playbook in past.playbooks}
        self.view = event_view(past.event)
        self.asked: set[str] = set()
        self.notes: list[str] = []
        self.at = parse_time(past.event.arrival) if past.event.arrival else 0.0
        self.trust = past.then.trust if past.then is not None else present.trust
        self.recorded = _recorded(past.decisions)
        self.said = {str(one["playbook"]): str(one["said"]) for one in self.recorded}
        self.taken = _taken(past.decisions)

    def considered(self) -> list[dict[str, Any]]:
        """Every playbook whose type fits, best first; of those whose text is gone, what the decision says."""
        said = {one["playbook"]: one for one in self.index.explain(self.event)}
        self.asked = set(said)
        order = self._order(said)
        rows = [self._row(self.by_name[name], said[name]) for name in order]
        rows = [*self._with_order(rows), *self._gone(said)]
        for row in rows:
            if row["verdict"] == "not_first":
                row["needs"] = needs.of_choice(self.taken, str(row.get("order", "")))
        return rows

    def _order(self, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Those that match in the order in which they were taken; then the others as the index has them."""
        matched = [name for name, one in said.items() if one["matched"]]
        best = [p.name for p in self.trust.best_first([self.by_name[name] for name in matched], self.event.type)]
        then = [str(one["playbook"]) for one in self.recorded if one["playbook"] in matched]
        return list(dict.fromkeys([*then, *best, *said]))

    def _row(self, playbook: Playbook, said: Mapping[str, Any]) -> dict[str, Any]:
        own, granted = playbook.mode, self.past.modes.get(playbook.name, playbook.mode)
        in_force = lesser_mode(granted, self.past.mode_max)
        row = {
            "playbook": playbook.name,
            "path": playbook.path,
            "hash": playbook.hash,
            "matched": said["matched"],
            "why": said["why"],
            "conditions": needs.conditions_of(playbook, self.view),
            "mode": own,
            "granted": granted,
            "mode_in_force": in_force,
        }
        row |= self._verdict(playbook, row)
        if row["verdict"] in ("opened", "joined") and not row["needs"] and playbook.acts:
            row["needs"] = needs.of_mode(own, in_force, self.past.mode_max)
        return row

    def _with_order(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Where several match: which goes first, and why each other comes after the one before it."""
        matched = [row for row in rows if row["matched"]]
        if len(matched) < 2:
            return rows
        for row in matched:
            row["rank"] = self._rank(self.by_name[row["playbook"]])
        matched[0]["order"] = "first"
        for before, after in pairwise(matched):
            after["order"] = f"after {before['playbook']}: {_why_after(before['rank'], after['rank'], self.event.type)}"
        return rows

    def _rank(self, playbook: Playbook) -> dict[str, Any]:
        """By what it was ranked: as the decision wrote it down, else as it is known now."""
        written = next((one for one in self.recorded if one["playbook"] == playbook.name and "priority" in one), None)
        if written is not None:
            return {name: value for name, value in written.items() if name not in ("playbook", "said")}
        return self.trust.numbers(playbook, self.event.type)

    def _verdict(self, playbook: Playbook, row: Mapping[str, Any]) -> dict[str, Any]:
        """What became of it, and what would have made it run."""
        if not playbook.enabled or playbook.name in self.past.off or self.said.get(playbook.name) == "switched off":
            return {"verdict": "off", "why": "it is switched off", "needs": needs.of_switch(playbook)}
        if not row["matched"]:
            return {"verdict": "no_match", "needs": needs.of_pattern(row["conditions"], row["why"])}
        mine = self._answers(playbook.name)
        asked = self._when(playbook, bool(mine))
        if asked.get("verdict"):
            return asked
        return {**asked, **(self._decided(mine[-1]) if mine else self._passed_over())}

    def _answers(self, name: str) -> list[Event]:
        """What was decided about this event for this playbook."""
        return [one for one in self.past.decisions if one.type in ANSWERS and one.data.get("playbook") == name]

    def _when(self, playbook: Playbook, ran: bool) -> dict[str, Any]:
        """What its expression said: as the decision wrote it down, else asked again."""
        if playbook.when is None:
            return {}
        score, whole = self._score(self.event.subject), self._score(SYSTEM)
        known = variables({**self.view, "data": dict(self.event.data)}, now=self.at, score=score, system_score=whole, steps={})
        values, said = needs.values_named(playbook, known), self.said.get(playbook.name)
        value, why = playbook.when.evaluate(known)
        if said is not None:
            value = None if said.startswith(UNSAID) else said == "matched" or said.endswith(" is true")
            why = said.removeprefix(UNSAID)
        moving = [name for name in ("score", "system_score") if name in values]
        if moving and said is not None:
            values = {name: shown for name, shown in values.items() if name not in moving}
        elif moving and self.past.then is None:
            asks = f"{playbook.name} asks for {' and '.join(moving)}"
            self.notes.append(f"{asks}: as it is now, for what it was then is not known any more.")
        source = playbook.when.source.strip()
        when = {"when": {"source": source, "said": value, "values": values}}
        if value or (ran and value is not None):
            return when
        told = {"verdict": "cannot_say", "why": why}
        if value is not None:
            told = {"verdict": "when_false", "why": f"`{source}` is false"}
        return {**when, **told, "needs": needs.of_when(source, value, why, values)}

    def _score(self, subject: str) -> float | None:
        then = self.past.then
        return then.scores.value(subject, self.at) if then is not None else self.present.score(subject)

    def _decided(self, last: Event) -> dict[str, Any]:
        """By the last decision about this playbook and this event."""
        data = last.data
        if last.type == "run.opened":
            return {"verdict": "opened", "run": last.id, "needs": ""}
        verdict, guard, until, on = (str(data.get(name, "")) for name in ("verdict", "guard", "until", "on"))
        told = {"verdict": verdict, "why": str(data.get("why", "")), "needs": ""}
        if verdict == "held" and not self.present.held(str(data["playbook"]), self.event):
            told |= {"verdict": "released", "guard": guard, "needs": LET_GO}
        elif verdict == "held":
            told |= {"guard": guard, "until": until, "on": on, "needs": needs.of_guard(guard, until, on)}
        elif verdict == "coalesced":
            told |= {"guard": guard, "needs": "nothing of its own: it is answered with the event that is held for this playbook"}
        elif verdict == "joined":
            told |= {"run": str(data.get("run", ""))}
        elif verdict == "released":
            told |= {"guard": guard, "needs": LET_GO}
        return told

    def _passed_over(self) -> dict[str, Any]:
        """It matched, it was willing, and nothing was decided for it."""
        dead = next((one for one in reversed(self.past.decisions) if one.type == "scheduler.dead_letter"), None)
        if dead is not None:
            cure = f"to be processed: aios dead retry {dead.data['letter']}"
            return {"verdict": "dead", "why": str(dead.data["reason"]), "needs": cure}
        if self.taken:
            return {"verdict": "not_first", "needs": ""}
        if self.past.position is not None and self.past.position.part >= IMPORTED_FROM:
            return {"verdict": "imported", "needs": "to happen here: `aios playbook backtest` tries it on the past"}
        if self.present.undecided(self.event.id):
            return {"verdict": "waits", "why": "it waits in the queue for its turn", "needs": "only time"}
        why = "it matches, and no decision about it stands in the journal"
        return {"verdict": "undecided", "why": why, "needs": "its decision is not there, or not yet: aios status, aios doctor"}

    def _gone(self, said: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Those of which only the decision tells, and those of which nothing does."""
        for name, why in self.past.gone.items():
            self.notes.append(f"{name}: {why}; what is told of it is what the decision wrote down.")
        names = [name for name in (*self.said, *self.past.gone) if name not in said]
        return [self._gone_row(name) for name in dict.fromkeys(names)]

    def _gone_row(self, name: str) -> dict[str, Any]:
        written, mine = self.said.get(name), self._answers(name)
        row = {"playbook": name, "matched": written == "matched", "verdict": "gone", "needs": "", "conditions": []}
        if mine:
            row |= self._decided(mine[-1])
        return {"why": written if written is not None else "it is not known what it said", **row}

    def windows(self) -> list[dict[str, Any]]:
        """Playbooks that wait for several events, one of which this could be: how each stands, and what it lacks."""
        if self.event.type == CORRELATED:
            return []
        waiting = [p for p in self.past.playbooks if _is_awaited(p, self.event.type)]
        living = {one["playbook"]: one for one in (self.present.windows(self.event) if self.present.windows else [])}
        if (then := self.past.then) is not None:
            stood = {one["playbook"]: self._then(one, living.get(one["playbook"])) for one in then.correlator.told_of(self.event)}
            return [self._with_needs(one) for one in stood.values()]
        told = [{**living.pop(p.name), "as_of": "now"} if p.name in living else self._triggers(p) for p in waiting]
        return [self._with_needs(one) for one in [*told, *({**one, "as_of": "now"} for one in living.values())]]

    @staticmethod
    def _then(stood: dict[str, Any], living: dict[str, Any] | None) -> dict[str, Any]:
        """How it stood with this event just in it; and how it stands now, where that is something else."""
        goes_on = living is not None and "key" in living and living.get("key") == stood.get("key")
        now = standing(living) if living is not None and goes_on else ""
        return {**stood, "as_of": "then", **({"now": now} if now and "key" in stood and now != standing(stood) else {})}

    def _with_needs(self, told: dict[str, Any]) -> dict[str, Any]:
        if (used := self.past.used.get(told["playbook"])) is not None:
            return {**told, "used": used, "needs": _used_words(used)}
        return {**told, "needs": standing(told) if "key" in told or not told["matched"] else ""}

    def _triggers(self, playbook: Playbook) -> dict[str, Any]:
        """Without the daemon, or for a playbook that is in force no more: what it asks of this event alone."""
        assert playbook.correlation is not None
        said = [(one.name, *trigger_says(one, self.event, self.view)) for one in playbook.correlation.triggers]
        triggers = [{"name": name, "matched": matched, "why": why} for name, matched, why in said]
        self.notes.append(f"How {playbook.name} stands with other events is known only to a daemon that has it in force.")
        matched = any(one["matched"] for one in triggers)
        return {"playbook": playbook.name, "kind": playbook.correlation.kind, "matched": matched, "triggers": triggers}

    def near_type(self) -> str:
        """Nothing is for this type: is there one that is written almost so?"""
        types = {name: p.name for p in self.past.playbooks for name in p.types if not name.endswith(".*")}
        near = nearest(self.event.type, types)
        return f"No playbook is for {self.event.type}; {types[near]} is for {near}." if near else ""


def _recorded(decisions: Iterable[Event]) -> list[Mapping[str, Any]]:
    """Who was considered, best first, as the first decision wrote it down."""
    return next((list(one.data["considered"]) for one in decisions if one.data.get("considered")), [])


def _taken(decisions: Iterable[Event]) -> str:
    """The playbook that answers the event."""
    return next((str(one.data["playbook"]) for one in decisions if one.type in ANSWERS), "")


def _why_after(before: Mapping[str, Any], after: Mapping[str, Any], event_type: str) -> str:
    if before["priority"] != after["priority"]:
        return f"its priority is {after['priority']}, not {before['priority']}"
    if before["specificity"] != after["specificity"]:
        return f"it says less narrowly what it is for (specificity {after['specificity']}, not {before['specificity']})"
    rates = after["healed_rate"], before["healed_rate"]
    if rates[0] != rates[1]:
        return f"it has healed {event_type} less often (a rate of {rates[0]:.2f}, not {rates[1]:.2f})"
    return "by its name, for all else is the same"


def _as_json(event: Event) -> dict[str, Any]:
    """An event for people's programs; what is empty is left out."""
    values = {name: getattr(event, name) for name in Event._fields}
    return {name: value for name, value in values.items() if value not in ("", None)} | {"data": dict(event.data)}
