"""The laws of the product as pure functions: a history in, sentences about what broke it out; none for a history in order.

A history is the journal's events in order, the effects that acts left outside (`aios.testing.bodies`), and what the harness noted
at the edges: which lines were put into the inbox, and whether an event was on the disk when it was acknowledged. Nothing here
knows how the product works inside; it reads what anybody could read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aios.events.calls import RerunClass
from aios.events.catalogue import is_own
from aios.events.event import Event
from aios.playbooks.run_table import TABLE
from aios.testing.bodies import Effect

ENDS = frozenset(("run.healed", "run.cleared", "run.observed", "run.suggested", "run.escalated"))
RESERVED = ("rollback", "symptom", "verify", "rung")
GRACE_S = 6.0
"""How much longer than its own timeout an act may take until it is told: the daemon's own grace, and the launcher's work."""


class Acknowledged(NamedTuple):
    """An event was called durable; `on_disk` is whether the hardest power cut would have left it at that moment."""

    id: str
    on_disk: bool


class GuardOf(NamedTuple):
    cooldown_s: float
    limit: tuple[int, float] | None


class Attempt(NamedTuple):
    run: str
    step: str
    attempt: int


# --- 1: nothing lost


def acknowledged_is_durable(acknowledged: Iterable[Acknowledged]) -> list[str]:
    """What was acknowledged was on the disk by then, whatever is cut off a moment later."""
    return [f"event {ack.id} was acknowledged before it was on the disk" for ack in acknowledged if not ack.on_disk]


def acknowledged_is_kept(acknowledged: Iterable[Acknowledged], events: Sequence[Event]) -> list[str]:
    """What was acknowledged is in the journal for good."""
    kept = {event.id for event in events}
    return [f"event {ack.id} was acknowledged and is not in the journal" for ack in acknowledged if ack.id not in kept]


def lines_are_taken_once(lines: Iterable[str], events: Sequence[Event]) -> list[str]:
    """Every line of an inbox (by its event's id) is in the journal, once, however often it was put in or read."""
    count = Counter(event.id for event in events if event.origin)
    wrong = []
    for line in dict.fromkeys(lines):
        if count[line] == 0:
            wrong.append(f"inbox line {line} never came into the journal")
        elif count[line] > 1:
            wrong.append(f"inbox line {line} was taken {count[line]} times")
    return wrong


def everything_is_dealt_with(events: Sequence[Event], matches: Callable[[Event], bool]) -> list[str]:
    """Each event that a playbook matches was decided: opened a run, joined or coalesced, was held, or is a dead letter."""
    decided: set[str] = set()
    for event in events:
        if event.type in {"run.opened", "reactor.decided", "scheduler.dead_letter"}:
            decided.add(event.data["event"])
            decided.update(event.data.get("others", ()))
    return [
        f"event {event.id} ({event.type} of {event.subject}) was taken and never dealt with"
        for event in events
        if not is_own(event.type) and matches(event) and event.id not in decided
    ]


# --- 2: no act twice by accident


def no_effect_without_intent(events: Sequence[Event], effects: Iterable[Effect]) -> list[str]:
    """Whatever happened outside was announced in the journal, attempt by attempt."""
    intended = set(_intents(events))
    return [
        f"{effect.skill} had an effect in {effect.run}/{effect.step}.{effect.attempt} without a durable intent"
        for effect in effects
        if Attempt(effect.run, effect.step, effect.attempt) not in intended
    ]


def an_attempt_is_carried_out_once(effects: Iterable[Effect]) -> list[str]:
    """The fence: one attempt, one launcher, whoever started it and however often it was recovered."""
    count = Counter((effect.run, effect.step, effect.attempt) for effect in effects)
    return [f"attempt {run}/{step}.{number} had {n} effects" for (run, step, number), n in count.items() if n > 1]


def attempts_are_counted(events: Sequence[Event]) -> list[str]:
    """The numbers of a step's attempts go up by one, over every restart: none is given twice."""
    seen: dict[tuple[str, str], int] = {}
    wrong = []
    for run, step, attempt in _intents(events):
        expected = seen.get((run, step), 0) + 1
        if attempt != expected:
            wrong.append(f"attempt {attempt} of {run}/{step} was intended where {expected} was due")
        seen[run, step] = max(attempt, seen.get((run, step), 0))
    return wrong


def effects_fit_the_rerun_class(
    events: Sequence[Event], effects: Sequence[Effect], classes: Mapping[str, RerunClass]
) -> list[str]:
    """Idempotent: at least once when it says so. check_before_retry: once, and again only after an honest failure.
    never_retry: the same, and never again after a crash."""
    happened: dict[tuple[str, str], list[int]] = defaultdict(list)
    skill_of: dict[tuple[str, str], str] = {}
    for effect in effects:
        happened[effect.run, effect.step].append(effect.attempt)
        skill_of[effect.run, effect.step] = effect.skill
    ends = _attempt_ends(events)
    for event in events:
        if event.type == "run.step_intended" and event.data["skill"] in classes:
            skill_of.setdefault((event.data["run"], event.data["step"]), event.data["skill"])
    wrong = []
    for key, skill in skill_of.items():
        rerun = classes.get(skill)
        if rerun is not None:
            wrong += _rerun_faults(key, skill, rerun, happened[key], ends.get(key, {}))
    return wrong


def _rerun_faults(
    key: tuple[str, str], skill: str, rerun: RerunClass, happened: Sequence[int], ends: Mapping[int, str]
) -> Iterator[str]:
    where = f"{skill} in {key[0]}/{key[1]}"
    if any(end == "ok" for end in ends.values()) and not happened:
        yield f"{where} said that it did it and had no effect"
    honest = sum(1 for end in ends.values() if end == "failed")
    if rerun != "idempotent" and len(happened) > 1 + honest:
        yield f"{where} is {rerun}, ended {honest} times with a failure of its own, and had {len(happened)} effects"
    died = [attempt for attempt, end in ends.items() if end == "died"]
    if rerun == "never_retry" and died and max(ends) > min(died):
        yield f"{where} is never_retry and was tried again after attempt {min(died)} died"


def _attempt_ends(events: Sequence[Event]) -> dict[tuple[str, str], dict[int, str]]:
    """(run, step) -> attempt -> how it ended: ok, failed, cut_off, died, voided, open."""
    ends: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for event in events:
        data = event.data
        if event.type == "run.step_intended":
            ends[data["run"], data["step"]][data["attempt"]] = "open"
        elif event.type == "run.step_done" and data["attempt"] in ends.get((data["run"], data["step"]), {}):
            ends[data["run"], data["step"]][data["attempt"]] = _end_of(data)
    return ends


def _end_of(data: Mapping[str, Any]) -> str:
    """However it is told: by the run's own flags, or in the result of an attempt whose launcher left none."""
    result = data.get("result") or {}
    if data.get("died") or result.get("died"):
        return "died"
    if data.get("voided") or result.get("begun") is False:
        return "voided"
    if result.get("cut_off"):
        return "cut_off"
    return "ok" if data["ok"] else "failed"


def _intents(events: Iterable[Event]) -> Iterator[Attempt]:
    for event in events:
        if event.type == "run.step_intended":
            yield Attempt(event.data["run"], event.data["step"], event.data["attempt"])


# --- 3: runs


def no_run_twice(events: Sequence[Event]) -> list[str]:
    """One event opens at most one run of a playbook, also when it is put in or replayed again."""
    count = Counter(
        (event.data["event"], event.data["playbook"])
        for event in events
        if event.type == "run.opened" and not event.data.get("by")
    )
    return [f"event {event} opened {n} runs of {playbook}" for (event, playbook), n in count.items() if n > 1]


def every_run_ends(events: Sequence[Event]) -> list[str]:
    """After a quiet time every run has ended, or waits for a person."""
    state: dict[str, str] = {}
    cancelled: set[str] = set()
    for event in events:
        if not event.type.startswith(("run.", "approval.")):
            continue
        run = event.data["run"]
        if event.type == "run.cancelled":
            cancelled.add(run)
        if event.type == "run.opened":
            state.setdefault(run, "open")
        elif event.type in ENDS or bool(event.data.get("healed")) or (event.type == "run.rolled_back" and run in cancelled):
            state[run] = "ended"
        elif state.get(run) != "ended":
            asks = event.type == "run.waiting" and event.data["waits_for"] in {"approval", "resume"}
            state[run] = "asks" if asks else f"at {event.type}"
    return [f"run {run} never ended: it stands {where}" for run, where in state.items() if where not in {"ended", "asks"}]


def one_run_on_a_resource(events: Sequence[Event]) -> list[str]:
    """While a run acts, from its first intent until it ends or waits, no other run acts on anything it has locked."""
    resources: dict[str, frozenset[str]] = {}
    acting: dict[str, frozenset[str]] = {}
    wrong = []
    for event in events:
        data = event.data
        if event.type == "run.opened":
            resources[data["run"]] = frozenset(data["resources"])
        elif event.type == "run.step_intended" and not data["step"].startswith(RESERVED):
            mine = resources.get(data["run"], frozenset())
            for other, theirs in acting.items():
                if other != data["run"] and mine & theirs:
                    wrong.append(f"runs {other} and {data['run']} both acted on {', '.join(sorted(mine & theirs))}")
            acting[data["run"]] = mine
        elif event.type in ENDS or event.type in {"run.waiting", "run.rolled_back"}:
            acting.pop(data["run"], None)
    return wrong


def modes_are_kept(events: Sequence[Event]) -> list[str]:
    """Who may only look acts never; who must ask acts only after a person's yes to that very run."""
    mode: dict[str, str] = {}
    allowed: set[str] = set()
    wrong = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened":
            mode[run] = event.data["mode"]
        elif event.type == "approval.given":
            allowed.add(run)
        elif event.type == "run.step_intended" and not event.data["step"].startswith(RESERVED):
            if mode.get(run) in {"observe", "shadow", "suggest"}:
                wrong.append(f"run {run} acted in mode {mode[run]}")
            elif mode.get(run) == "approve" and run not in allowed:
                wrong.append(f"run {run} acted before anybody said yes")
    return wrong


# --- 4: no storms, and first things first


def guards_hold(events: Sequence[Event], guards: Mapping[str, GuardOf]) -> list[str]:
    """Cooldown and limit of each playbook on each subject, counted over all restarts. Only runs that acted count.

    Runs that a person or another run's ladder asked for are not the guard's. For histories without a leap of the wall clock.
    """
    key_of: dict[str, tuple[str, str]] = {}
    began: dict[tuple[str, str], list[float]] = defaultdict(list)
    last_end: dict[tuple[str, str], float] = {}
    acted: set[str] = set()
    wrong = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened" and event.data["playbook"] in guards:
            key = (str(event.data["playbook"]), event.subject)
            if not event.data.get("parent") and not event.data.get("by"):
                key_of[run] = key
                ended, cooldown = last_end.get(key), guards[key[0]].cooldown_s
                if ended is not None and event.taken < ended + cooldown:
                    wrong.append(
                        f"{key[0]} ran on {key[1]} again {event.taken - ended:.1f} s after its end, cooldown {cooldown:g} s"
                    )
        elif (
            event.type == "run.step_intended"
            and run in key_of
            and not event.data["step"].startswith(RESERVED)
            and run not in acted
        ):
            acted.add(run)
            key = key_of[run]
            began[key].append(event.taken)
            limit = guards[key[0]].limit
            recent = [at for at in began[key] if limit is not None and at > event.taken - limit[1]]
            if limit is not None and len(recent) > limit[0]:
                wrong.append(f"{key[0]} acted {len(recent)} times on {key[1]} in {limit[1]:g} s, limit {limit[0]}")
        elif (event.type in ENDS or event.data.get("healed")) and run in acted:
            last_end.setdefault(key_of[run], event.taken)
            last_end[key_of[run]] = max(last_end[key_of[run]], event.taken)
    return wrong


def priorities_are_kept(
    events: Sequence[Event], priority: Callable[[Event], int], matches: Callable[[Event], bool], slack_s: float = 1.0
) -> list[str]:
    """Nothing is decided while something more urgent has been waiting, except what has aged (60 s lift it by a class).

    `slack_s`: what came so shortly before a decision may have come too late for it. Events of a subject on which a run is
    open wait for that run, not for their turn.
    """
    at_of = {event.id: at for at, event in enumerate(events)}
    decided_at: dict[str, int] = {}
    for at, event in enumerate(events):
        if event.type in {"run.opened", "reactor.decided", "scheduler.dead_letter"}:
            decided_at.setdefault(event.data["event"], at)
    waiting: dict[str, Event] = {}
    open_on: Counter[str] = Counter()
    wrong = []
    for at, event in enumerate(events):
        if not is_own(event.type) and matches(event) and decided_at.get(event.id, len(events)) > at:
            waiting[event.id] = event
        if event.type in ENDS:
            open_on[event.subject] -= 1
        if event.type not in {"run.opened", "reactor.decided"} or decided_at.get(event.data["event"]) != at:
            continue
        mine = waiting.pop(event.data["event"], None)
        if event.type == "run.opened":
            open_on[event.subject] += 1
        if mine is None or event.taken - mine.taken >= 60.0:
            continue
        for other in waiting.values():
            late = other.taken + slack_s > event.taken
            if priority(other) < priority(mine) and not late and not open_on[other.subject] and at_of[other.id] < at:
                wrong.append(f"P{priority(mine)} {mine.id} was decided while P{priority(other)} {other.id} waited")
    return wrong


# --- 5: time


def timeouts_are_kept(events: Sequence[Event], timeout_s: Mapping[tuple[str, str], float]) -> list[str]:
    """An act takes no longer than its timeout and a grace, and never less than no time, whatever the wall clock does.

    `timeout_s` is per (playbook, step). An attempt that a crash cut off, or that lived through the daemon's, says nothing
    of its length.
    """
    in_one_life: set[Attempt] = set()
    wrong = []
    for event in events:
        data = event.data
        if event.type == "daemon.started":
            in_one_life.clear()
        elif event.type == "run.step_intended":
            in_one_life.add(Attempt(data["run"], data["step"], data["attempt"]))
        limit = timeout_s.get((str(data.get("playbook")), str(data.get("step"))))
        if event.type == "run.step_done" and limit is not None and _end_of(data) in {"ok", "failed", "cut_off"}:
            whole = Attempt(data["run"], data["step"], data["attempt"]) in in_one_life
            wrong += _time_faults(data, limit, whole)
    return wrong


def _time_faults(data: Mapping[str, Any], limit_s: float, whole: bool) -> Iterator[str]:
    took_s = data["ms"] / 1000.0
    where = f"{data['run']}/{data['step']}.{data['attempt']}"
    if not 0.0 <= took_s <= limit_s + GRACE_S:
        yield f"{where} took {took_s:.1f} s, its timeout is {limit_s:g} s"
    elif whole and "timeout" in str(data.get("error")).lower() and took_s < limit_s * 0.99:
        yield f"{where} was timed out after {took_s:.1f} s of {limit_s:g} s"


def pairs_visited(events: Sequence[Event]) -> set[tuple[str, str]]:
    """Which pairs of the run's table a history went through."""
    status: dict[str, str] = {}
    visited: set[tuple[str, str]] = set()
    for event in events:
        if not event.type.startswith(("run.", "approval.")):
            continue
        run = event.data["run"]
        if event.type == "run.opened" and run in status:
            continue  # told again after a failed sync
        pair = (status.get(run, "new"), event.type)
        visited.add(pair)
        status[run] = TABLE.get(pair, pair[0])  # type: ignore[call-overload]
    return visited
