"""Laws of guards, and of several events together: what holds back holds; what is held is let go; a restart changes nothing.

Like `laws.py`: a history in, breaches out. Two of them fold the whole journal again in a fresh `World`: whatever lives and
checkpoints there were, the last life must know what the journal says, and must have found in it what a fresh fold finds.
`harness.LAWS` holds each day against them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.events.catalogue import CORRELATED
from aios.events.codec import encode_sorted
from aios.events.event import Event, Stored, parse_time
from aios.playbooks.silences import like
from aios.scores.scores import Scores
from aios.world import World
from tests.simulation.laws import ENDS, RESERVED, Breach

SLACK_S = 1.5
"""What became durable so shortly before an act may have come too late for it."""
PLACE = re.compile(r"\d{4}-\d\d-\d\d\.\d+:\d+")
KNOWN_BY_ITSELF = frozenset({"undecided", "scores"})
"""What the last life knows beyond the journal: which events no playbook answers, and what it has asked of its scores."""
UNTIL_ITS_TIME = frozenset({"cooldown", "breaker", "window", "act_limit"})
"""Guards that nothing but their time, or a person's `resume`, lifts."""
PROMPT_S = 90.0
"""What is held until a time is offered again so soon after it, if the daemon lives."""


class FirstAct(NamedTuple):
    """Of a run that nobody asked for: the intent of its first act."""

    event: Event
    playbook: str

    @property
    def subject(self) -> str:
        return self.event.subject


def _first_acts(events: Sequence[Event]) -> Iterator[FirstAct]:
    """Runs that a person made of a suggestion are none of the guards'; a ladder's and a retry's are."""
    opened: dict[str, Event] = {}
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened" and not event.data.get("by"):
            opened.setdefault(run, event)
        elif event.type == "run.step_intended" and run in opened and not event.data["step"].startswith(RESERVED):
            began = opened.pop(run)
            yield FirstAct(event, str(began.data["playbook"]))


def concurrency_is_kept(events: Sequence[Event], machine: int, at_most: Mapping[str, tuple[int, str]]) -> list[Breach]:
    """When a run begins to act, fewer others that acted are open than may be: on the machine, and of its playbook for its field.

    `at_most`: playbook -> how many, and the field of the event's data that they share. A run that never acted may have left its
    place while it waited.
    """
    place: dict[str, tuple[str, ...]] = {}
    acting: dict[str, set[tuple[str, int]]] = {}
    free = {id(first.event) for first in _first_acts(events)}
    wrong: list[Breach] = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened":
            name = str(event.data["playbook"])
            place[run] = (name, str(event.data["trigger"]["data"].get(at_most[name][1]))) if name in at_most else (name,)
        elif event.type == "run.step_intended" and not event.data["step"].startswith(RESERVED):
            others = [other for other in acting if other != run]
            mine = [other for other in others if place[other] == place.get(run)]
            most = at_most.get(place[run][0])
            if id(event) in free and machine and len(others) >= machine:
                beside = f"{len(others)} others, the machine's concurrency is {machine}"
                wrong.append(Breach(f"run {run} began to act beside {beside}", event))
            if id(event) in free and most is not None and len(mine) >= most[0]:
                beside = f"{len(mine)} of {' '.join(place[run])}, whose concurrency is {most[0]}"
                wrong.append(Breach(f"run {run} began to act beside {beside}", event))
            acting.setdefault(run, set()).add((event.data["step"], event.data["attempt"]))
        elif event.type == "run.step_done" and event.data.get("voided") and run in acting:  # that one never began
            acting[run].discard((event.data["step"], event.data["attempt"]))
            if not acting[run]:
                del acting[run]
        elif event.type in ENDS or event.data.get("healed") or event.type in {"run.rolled_back", "run.cancelled"}:
            acting.pop(run, None)
    return wrong


def silences_are_kept(events: Sequence[Event]) -> list[Breach]:
    """While something is silenced no run begins to act on it."""
    lasting: dict[str, tuple[Event, float]] = {}
    firsts = {id(first.event): first for first in _first_acts(events)}
    wrong: list[Breach] = []
    for event in events:
        if event.type == "daemon.silenced":
            lasting[event.data["silence"]] = (event, parse_time(event.data["until"]))
        elif event.type == "daemon.silence_ended":
            lasting.pop(event.data["silence"], None)
        elif (first := firsts.get(id(event))) is not None:
            for said, until in lasting.values():
                covers = said.data["playbook"] in ("", first.playbook) and like(said.data["subject"], first.subject)
                if covers and said.taken + SLACK_S < event.taken < until - SLACK_S:
                    wrong.append(Breach(f"{first.playbook} began to act on {first.subject}, which was silenced", event))
    return wrong


def in_a_storm_nothing_is_done(events: Sequence[Event]) -> list[Breach]:
    """From the word that a storm began until it is over, or a person says resume, no run begins to act."""
    since: Event | None = None
    firsts = {id(first.event): first for first in _first_acts(events)}
    wrong: list[Breach] = []
    for event in events:
        if event.type == "reactor.storm_began":
            since = event
        elif event.type in ("reactor.storm_over", "daemon.resumed"):
            since = None
        elif id(event) in firsts and since is not None and event.taken > since.taken + SLACK_S:
            wrong.append(Breach(f"run {event.data['run']} began to act in a storm", event))
    return wrong


def closed_windows_are_kept(events: Sequence[Event], closed: Callable[[str], Sequence[tuple[float, float]]]) -> list[Breach]:
    """No run begins to act within a window that bars its playbook. `closed(playbook)`: (every so many seconds, for so many)."""
    return [
        Breach(f"{first.playbook} began to act {into_s:.1f} s into a window of {for_s:g} s", first.event)
        for first in _first_acts(events)
        for every_s, for_s in closed(first.playbook)
        if SLACK_S < (into_s := first.event.taken % every_s) < for_s - SLACK_S
    ]


def dependencies_are_kept(again: Refold, needs: Callable[[str, str], Sequence[str]]) -> list[Breach]:
    """While what a playbook or a subject depends on is ill, no run begins to act on it. `needs(playbook, subject)`."""
    return [
        Breach(f"{first.playbook} began to act on {first.subject} while {need} was ill", first.event)
        for first, ill_since in again.first_acts
        for need in needs(first.playbook, first.subject)
        if ill_since.get(need, first.event.taken) + SLACK_S < first.event.taken
    ]


def what_is_held_waits(events: Sequence[Event]) -> list[Breach]:
    """What a guard held until a time opens no run of that playbook on that subject before it, unless a person says resume."""
    until: dict[tuple[str, str], tuple[float, str]] = {}
    wrong: list[Breach] = []
    for event in events:
        data = event.data
        if event.type == "daemon.resumed":
            until.clear()
        elif event.type == "reactor.decided" and data["verdict"] == "held" and data["guard"] in UNTIL_ITS_TIME and data["until"]:
            until[data["playbook"], event.subject] = (parse_time(data["until"]), data["guard"])
        elif event.type == "run.opened" and not data.get("by") and not data.get("parent") and data["mode"] in ("approve", "auto"):
            lasts, guard = until.get((data["playbook"], event.subject), (0.0, ""))
            if event.taken < lasts:
                early = f"{lasts - event.taken:.1f} s before its {guard} was over"
                wrong.append(Breach(f"{data['playbook']} ran on {event.subject} {early}", event))
    return wrong


def nothing_is_held_for_ever(stored: Sequence[Stored], again: Refold) -> list[Breach]:
    """After the quiet time what is still held waits for a time to come, or for a person; its guard lasts."""
    if not stored:
        return []
    end = stored[-1].event.taken
    wrong: list[Breach] = []
    for held in again.world.held.values():
        words = f"{held.playbook} on {held.subject} is held by {held.guard} {held.on}".rstrip()
        if held.until and held.until < end - PROMPT_S:
            wrong.append(Breach(f"{words} until {end - held.until:.0f} s before the end"))
        elif not held.until and held.guard not in ("loop", "protected"):
            wrong.append(Breach(f"{words}, and nothing will ever let it go"))
    return wrong


# --- folded again ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Refold:
    """A journal folded again in a fresh world, once for all laws that need it (folding is what they cost)."""

    recall: Callable[[str], bytes]
    world: World
    first_acts: list[tuple[FirstAct, Mapping[str, float]]] = field(default_factory=list)
    """With who was ill then, and since when."""
    told: list[tuple[Event, bool]] = field(default_factory=list)
    """What was told of several events together, and whether the fold had found it by then."""
    found: set[str] = field(default_factory=set)


def refolded(stored: Sequence[Stored], recall: Callable[[str], bytes]) -> Refold:
    again = Refold(recall, World(Scores()))
    world = again.world
    world.correlator.recall = recall
    firsts = {id(first.event): first for first in _first_acts([one.event for one in stored])}
    for event, position in stored:
        if (first := firsts.get(id(event))) is not None:
            again.first_acts.append((first, _ill_since(world)))
        if event.type == CORRELATED:
            again.told.append((event, event.id in again.found))
        world.apply(event, position)
        again.found |= {name for name, draft in world.correlator.pending.items() if draft.type == CORRELATED}
    return again


def _ill_since(world: World) -> Mapping[str, float]:
    return {subject: min(world.symptoms[subject, kind].since for kind in kinds) for subject, kinds in world.ill.items() if kinds}


def a_restart_changes_nothing(stored: Sequence[Stored], known: World | None, again: Refold) -> list[Breach]:
    """Whatever died and whenever: at the end the last life knows what the journal says, folded anew from its beginning."""
    if known is None:
        return []
    if stored and stored[-1].position > known.position:
        again = refolded([one for one in stored if one.position <= known.position], again.recall)
    fresh = again.world.to_json()
    lived = _first_written(known.to_json(), fresh, {str(one.position) for one in stored})
    return [
        Breach(f"of {name} the last life knows something else than the journal says: {_differs(lived[name], fresh[name])}")
        for name in lived
        if name not in KNOWN_BY_ITSELF and lived[name] != fresh[name] and encode_sorted(lived[name]) != encode_sorted(fresh[name])
    ]


def _first_written(lived: Any, fresh: Any, seen: set[str]) -> Any:
    """`lived`, with an event whose sync failed called by its first line: it was taken at its second, which readers pass over."""
    if lived == fresh:
        return lived
    if isinstance(lived, dict) and isinstance(fresh, dict):
        return {key: _first_written(value, fresh.get(key), seen) for key, value in lived.items()}
    if isinstance(lived, list) and isinstance(fresh, list) and len(lived) == len(fresh):
        return [_first_written(one, other, seen) for one, other in zip(lived, fresh, strict=True)]
    passed_over = isinstance(lived, str) and PLACE.fullmatch(lived) and lived not in seen
    return fresh if passed_over and fresh in seen else lived


def _differs(lived: Any, fresh: Any) -> str:
    """The first place where they do."""
    if isinstance(lived, dict) and isinstance(fresh, dict):
        for key in {**lived, **fresh}:
            if lived.get(key) != fresh.get(key):
                return f"{key}: {_differs(lived.get(key), fresh.get(key))}"
    if isinstance(lived, list) and isinstance(fresh, list) and len(lived) == len(fresh):
        for number, (one, other) in enumerate(zip(lived, fresh, strict=True)):
            if one != other:
                return f"{number}: {_differs(one, other)}"
    return f"{str(lived)[:200]} and not {str(fresh)[:200]}"


def the_same_journal_finds_the_same(again: Refold) -> list[Breach]:
    """What was found of several events together is what a fresh fold of the whole journal finds: no more, no less, each once."""
    told: set[str] = set()
    wrong: list[Breach] = []
    for event, found in again.told:
        if event.id in told:
            wrong.append(Breach(f"{event.data['playbook']} was told twice of the same", event))
        elif not found:
            wrong.append(Breach(f"{event.data['playbook']} was told of what a fresh fold does not find", event))
        told.add(event.id)
    return [*wrong, *(Breach(f"{name} was found in the journal and never told") for name in sorted(again.found - told))]


def a_silence_is_told_once(events: Sequence[Event], playbook: str, heard: str) -> list[Breach]:
    """After it was told that nothing was heard of a subject, that is told again only when something was heard since."""
    silent: dict[str, Event] = {}
    wrong: list[Breach] = []
    beats: dict[str, int] = defaultdict(int)
    for event in events:
        if event.type == heard:
            beats[event.subject] += 1
            silent.pop(event.subject, None)
        elif event.type == CORRELATED and event.data["playbook"] == playbook:
            if event.subject in silent:
                wrong.append(Breach(f"the silence of {event.subject} was told twice", event))
            elif not beats[event.subject]:
                wrong.append(Breach(f"the silence of {event.subject} was told, and nothing was ever heard of it", event))
            silent[event.subject] = event
    return wrong
