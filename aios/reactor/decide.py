"""What to do about one matched event: a pure decision, told as drafts of events.

The pump calls `decide` for each event that a playbook's pattern matched. It reads the world and changes nothing; that the
decision is durable makes it count (`world.apply` folds it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.events.calls import SkillCatalogue, SkillSpec
from aios.events.catalogue import CORRELATED
from aios.events.event import Draft, Event, Position, event_fields, format_time
from aios.playbooks.guards import Held, loops
from aios.playbooks.model import MODES, CannotSay, Playbook, Template, lesser_mode, variables
from aios.playbooks.protection import protected
from aios.playbooks.run_opening import opening, run_id
from aios.reactor.holding import STORM_LOOKS_MAX, Rules, crowded, held_now, storm_holds
from aios.scheduler.priority import priority
from aios.world import Incident, World

CONSIDERED_MAX, SAID_CHARS_MAX = 50, 300
"""So many playbooks, with so much of what each said, stand in a decision; the others are many, and worse."""


class Decision(NamedTuple):
    """`verdict`: opened, joined, coalesced, held, no_match, cannot_say. Only `no_match` needs no event."""

    verdict: str
    drafts: tuple[Draft, ...]
    playbook: str = ""


@dataclass(slots=True)
class InFlight:
    """What was decided and is not folded yet: runs by (playbook, subject), incidents by subject."""

    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    triggers: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """The event that each of these runs answers, where it may act."""
    held: set[tuple[str, str]] = field(default_factory=set)
    """What was held just now, by (playbook, subject): what the world says of it is what held it before."""

    def begun(self, decision: Decision, subject: str, now: float, world: World) -> None:
        """This was decided: the next decision must know of it."""
        first = decision.drafts[0]
        if decision.verdict == "held":
            self.held.add((decision.playbook, subject))
        if decision.verdict == "opened":
            self.runs[decision.playbook, subject] = first.id
            if first.data["mode"] in ("approve", "auto"):
                self.triggers[decision.playbook, subject] = first.data["trigger"]
        if first.correlationid:
            called = any(draft.type == "reactor.called" for draft in decision.drafts)
            known = self.incidents.get(subject) or world.incident_of(subject, now)
            self.incidents[subject] = Incident(first.correlationid, now, called or (known is not None and known.called))

    def folded(self, event: Event) -> None:
        """It is folded: the world knows it from here on."""
        self.incidents.pop(event.subject, None)
        self.held.discard((event.data["playbook"], event.subject))
        if event.type == "run.opened":
            self.runs.pop((event.data["playbook"], event.subject), None)
            self.triggers.pop((event.data["playbook"], event.subject), None)


NO_MATCH = Decision("no_match", ())


class Candidate(NamedTuple):
    playbook: Playbook
    ok: bool
    why: str


def weigh(event: Event, matches: Sequence[Playbook], world: World, now: float) -> list[Candidate]:
    """Each matched playbook, best first, and whether its `when` agrees and nobody switched it off."""
    known: dict[str, Any] | None = None
    weighed = []
    for playbook in world.trust.best_first(matches, event.type):
        if not playbook.enabled or playbook.name in world.disabled:
            weighed.append(Candidate(playbook, False, "switched off"))
            continue
        if playbook.when is None:
            weighed.append(Candidate(playbook, True, "matched"))
            continue
        if known is None:
            known = variables(
                event_fields(event),
                now=now,
                score=world.scores.value(event.subject, now),
                system_score=world.scores.value("system", now),
                steps={},
            )
        truth = playbook.when.evaluate(known)
        why = truth.why or ("matched" if truth.value else f"when: {playbook.when.source} is false")
        weighed.append(Candidate(playbook, truth.value is True, why if truth.value is not None else f"when cannot say: {why}"))
    return weighed


def decide(
    event: Event,
    position: Position,
    matches: Sequence[Playbook],
    world: World,
    rules: Rules,
    skills: SkillCatalogue,
    now: float,
    *,
    in_flight: InFlight,
) -> Decision:
    """Decide about one event."""
    candidates = weigh(event, matches, world, now)
    willing = [c.playbook for c in candidates if c.ok]
    considered = [_considered(c, event.type, world, len(candidates)) for c in candidates[:CONSIDERED_MAX]]
    if not willing:
        unsaid = next((c for c in candidates if "cannot say" in c.why), None)
        if unsaid is None:
            return NO_MATCH
        return _decided("cannot_say", event, position, unsaid.playbook, "", why=unsaid.why, considered=considered)
    best = willing[0]
    key = (best.name, event.subject)
    incident = in_flight.incidents.get(event.subject) or world.incident_of(event.subject, now)
    incident_id = incident.id if incident is not None else event.id

    open_run = in_flight.runs.get(key) or world.open_pairs.get(key)
    if open_run:
        return _decided("joined", event, position, best, incident_id, run=open_run, why="its run is open", considered=considered)
    holding = world.held.get(key)
    if holding is not None and holding.event != event.id:
        why = f"held with {holding.event} by guard {holding.guard}"
        return _decided("coalesced", event, position, best, incident_id, guard=holding.guard, why=why, considered=considered)

    lineages = _lineages(event, world, now)
    mode = lesser_mode(world.trust.mode_of(best), rules.mode_max)
    held = _guards(best, event, lineages, mode, world, rules, now, in_flight)
    if held is not None:
        drafts = list(_decided("held", event, position, best, incident_id, held=held, considered=considered).drafts)
        known = incident is not None and incident.called
        if held.calls and not known and not (held.guard == "loop" and world.guards.has_called(best.name, event.subject, now)):
            drafts.append(_call(event, best, held, incident_id))
        return Decision("held", tuple(drafts), best.name)
    if run_id(event.id, best.name) in world.recent:
        return _decided("joined", event, position, best, incident_id, run=run_id(event.id, best.name), why="its run has ended")
    opened = opening(
        event=event,
        playbook=best,
        mode=mode,
        resources=resources_of(best, event, skills, now),
        incident=incident_id,
        priority=priority(event),
        considered=considered,
        lineage=max(lineages, key=len, default=[]),
        next_best=willing[1].name if len(willing) > 1 else "",
    )
    return Decision("opened", (opened,), best.name)


def _considered(candidate: Candidate, event_type: str, world: World, of: int) -> dict[str, Any]:
    """What is written down of a candidate; where there are others, also what it was ranked by."""
    said = {"playbook": candidate.playbook.name, "said": candidate.why[:SAID_CHARS_MAX]}
    return {**said, **world.trust.numbers(candidate.playbook, event_type)} if of > 1 else said


def resources_of(playbook: Playbook, event: Event, skills: SkillCatalogue, now: float) -> list[str]:
    """What a run of this playbook for this event locks: its subject, and all that its acts say they touch."""
    resources = {event.subject}
    known = variables(event_fields(event), now=now, score=None, system_score=None, steps={})
    for step in playbook.steps:
        spec = skills.get(step.skill)
        if step.kind != "act" or spec is None:
            continue
        resources |= _touched(step.params, spec, known)
    return sorted(resources)


def _touched(params: Template, spec: SkillSpec, known: Mapping[str, Any]) -> frozenset[str]:
    """Parameters that depend on `steps` have no value yet; lint holds that none of them says what is touched."""
    try:
        return frozenset(spec.touches(spec.check(params.render(known))).resources())
    except (CannotSay, ValueError):
        pass
    partial: dict[str, Any] = {}
    for name in spec.touch_params:
        try:
            part = params.part(name)
            if part is not None:
                partial[name] = part.render(known)
        except CannotSay:
            return frozenset()
    try:
        return frozenset(spec.touches(partial).resources())
    except (KeyError, TypeError, ValueError):
        return frozenset()


def _lineages(event: Event, world: World, now: float) -> list[list[list[str]]]:
    """What led to this event, each a line of runs: the run that acts on its subject, and the run that it names as its cause."""
    acting = world.attributed(event.subject, now)
    causes = event.data["causes"] if event.type == CORRELATED else (event.causationid,)
    named = [world.runs.get(cause) or world.recent.get(cause) for cause in causes]
    return [[*run.lineage, [run.playbook, run.subject]] for run in (acting, *named) if run is not None]


def _paused(paused: Mapping[str, Any]) -> str:
    said = f"acts are paused by {paused.get('by', 'a person')}"
    return f"{said}: {paused['reason']}"[:500] if paused.get("reason") else said


def _guards(
    best: Playbook,
    event: Event,
    lineages: list[list[list[str]]],
    mode: str,
    world: World,
    rules: Rules,
    now: float,
    in_flight: InFlight,
) -> Held | None:
    """The first guard that says no: what only a person lifts, what the moment forbids, what was done too often, who else runs."""
    subject = event.subject
    for lineage in lineages:
        if held := loops(lineage, best.name, subject):
            return held
    if not best.acts or MODES.index(mode) < MODES.index("approve"):
        return None  # it only looks
    if world.is_paused(now):
        return Held("paused", world.paused_until, _paused(world.paused or {}), on="paused")
    if protected(frozenset((subject,)), rules.protected):
        return Held("protected", 0.0, f"{subject} is protected: no run may touch it", calls=True)
    if world.guards.storming and len(world.runs) + len(in_flight.runs) >= STORM_LOOKS_MAX:
        return storm_holds(world)
    if held := held_now(best, subject, world, rules, now):
        return held
    again_at = world.guards.acts_again_at(now, rules.acts_per_hour)
    if again_at > now:
        return Held("act_limit", again_at, f"this machine acted {rules.acts_per_hour} times within an hour, its limit")
    if held := world.guards.verdict(best, subject, now):
        return held
    if best.guard.concurrency is not None or rules.concurrency:
        return crowded(best, event_fields(event), world, in_flight.triggers, rules)
    return None


def _decided(
    verdict: str,
    event: Event,
    position: Position,
    playbook: Playbook,
    incident: str,
    *,
    run: str = "",
    guard: str = "",
    why: str = "",
    held: Held | None = None,
    considered: Sequence[Mapping[str, Any]] = (),
) -> Decision:
    until = format_time(held.until) if held is not None and held.until else ""
    data = {
        "event": event.id,
        "position": str(position),
        "type": event.type,
        "verdict": verdict,
        "playbook": playbook.name,
        "run": run,
        "guard": held.guard if held is not None else guard,
        "until": until,
        "on": held.on if held is not None else "",
        "why": held.why if held is not None else why,
        "considered": [dict(c) for c in considered],
    }
    draft = Draft(type="reactor.decided", subject=event.subject, data=data, causationid=event.id, correlationid=incident)
    return Decision(verdict, (draft,), playbook.name)


def _call(event: Event, playbook: Playbook, held: Held, incident: str) -> Draft:
    data = {"playbook": playbook.name, "guard": held.guard, "why": held.why}
    return Draft(type="reactor.called", subject=event.subject, data=data, causationid=event.id, correlationid=incident)
