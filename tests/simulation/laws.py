"""The laws of the product as pure functions: a history in, sentences about what broke it out; none for a history in order.

A history is the journal's events in order, the effects that acts left outside (`aios.testing.bodies`), and what the harness
noted at the edges: which lines were put into the inbox, whether an event was on the disk when it was acknowledged, how things
stood when an act began and when it was taken back. Nothing here knows how the product works inside.
`harness.LAWS` holds a day against all of them; the crash tests hold a real daemon against those that its journal can tell.
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


class Breach(str):
    """A sentence about what broke a law; `event` is where it showed, if it showed at one."""

    __slots__ = ("event",)
    event: Event | None

    def __new__(cls, what: str, event: Event | None = None) -> Breach:
        breach = super().__new__(cls, what)
        breach.event = event
        return breach


ENDS = frozenset(("run.healed", "run.cleared", "run.observed", "run.suggested", "run.escalated"))
RESERVED = ("rollback", "symptom", "verify", "rung")
CRASH_RERUNS = 3
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


Tree = Mapping[str, object]
"""Name below a touched path -> all of it that a rollback brings back (`files.Name`)."""


class Setting(NamedTuple):
    """How a service stands, and how often it has fallen by itself."""

    enabled: bool
    masked: bool
    runs: bool
    falls: int

    def is_as(self, before: Setting) -> bool:
        """Enablement and mask are the same; it runs if it ran, unless it fell by itself since."""
        back = self.runs or not before.runs or self.falls != before.falls
        return (self.enabled, self.masked) == (before.enabled, before.masked) and back


class Began(NamedTuple):
    """An act began: whether its intent and its snapshot were on the disk, and how services and files that it touches stood."""

    attempt: Attempt
    intended: bool
    saved: bool
    settings: Mapping[str, Setting]
    files: Mapping[str, Tree] = {}


class Restored(NamedTuple):
    """A run was told to be rolled back, `ok` or not; how services, and the files that it had touched, stood then."""

    event: Event
    ok: bool
    settings: Mapping[str, Setting]
    files: Mapping[str, Tree] = {}


# --- 1: nothing lost


def acknowledged_is_durable(acknowledged: Iterable[Acknowledged]) -> list[Breach]:
    """What was acknowledged was on the disk by then, whatever is cut off a moment later."""
    return [Breach(f"event {ack.id} was acknowledged before it was on the disk") for ack in acknowledged if not ack.on_disk]


def acknowledged_is_kept(acknowledged: Iterable[Acknowledged], events: Sequence[Event]) -> list[Breach]:
    """What was acknowledged is in the journal for good."""
    kept = {event.id for event in events}
    return [Breach(f"event {ack.id} was acknowledged and is not in the journal") for ack in acknowledged if ack.id not in kept]


def lines_are_taken_once(lines: Iterable[str], events: Sequence[Event]) -> list[Breach]:
    """Every line of an inbox (by its event's id) is in the journal, once, however often it was put in or read."""
    count = Counter(event.id for event in events if event.origin)
    wrong: list[Breach] = []
    for line in dict.fromkeys(lines):
        if count[line] == 0:
            wrong.append(Breach(f"inbox line {line} never came into the journal"))
        elif count[line] > 1:
            again = [event for event in events if event.id == line]
            wrong.append(Breach(f"inbox line {line} was taken {count[line]} times", again[-1]))
    return wrong


def everything_is_dealt_with(events: Sequence[Event], matches: Callable[[Event], bool]) -> list[Breach]:
    """Each event that a playbook matches was decided: opened a run, joined or coalesced, was held, or is a dead letter."""
    decided: set[str] = set()
    for event in events:
        if event.type in {"run.opened", "reactor.decided", "scheduler.dead_letter"}:
            decided.add(event.data["event"])
            decided.update(event.data.get("others", ()))
    return [
        Breach(f"event {event.id} ({event.type} of {event.subject}) was taken and never dealt with", event)
        for event in events
        if not is_own(event.type) and matches(event) and event.id not in decided
    ]


# --- 2: no act twice by accident


def no_effect_without_intent(events: Sequence[Event], effects: Iterable[Effect]) -> list[Breach]:
    """Whatever happened outside was announced in the journal, attempt by attempt."""
    intended = {attempt for attempt, _ in _intents(events)}
    return [
        Breach(f"{effect.skill} had an effect in {effect.run}/{effect.step}.{effect.attempt} without a durable intent")
        for effect in effects
        if Attempt(effect.run, effect.step, effect.attempt) not in intended
    ]


def an_attempt_is_carried_out_once(effects: Iterable[Effect]) -> list[Breach]:
    """The fence: one attempt, one launcher, whoever started it and however often it was recovered."""
    count = Counter((effect.run, effect.step, effect.attempt) for effect in effects)
    return [Breach(f"attempt {run}/{step}.{number} had {n} effects") for (run, step, number), n in count.items() if n > 1]


def attempts_are_counted(events: Sequence[Event]) -> list[Breach]:
    """The numbers of a step's attempts go up by one, over every restart: none is given twice."""
    seen: dict[tuple[str, str], int] = {}
    wrong: list[Breach] = []
    for (run, step, attempt), event in _intents(events):
        expected = seen.get((run, step), 0) + 1
        if attempt != expected:
            wrong.append(Breach(f"attempt {attempt} of {run}/{step} was intended where {expected} was due", event))
        seen[run, step] = max(attempt, seen.get((run, step), 0))
    return wrong


def effects_fit_the_rerun_class(
    events: Sequence[Event],
    effects: Sequence[Effect],
    classes: Mapping[str, RerunClass],
    lied: frozenset[str] = frozenset(),
) -> list[Breach]:
    """Idempotent: at least once when it says so. check_before_retry: once, and again only after an honest failure.
    never_retry: the same, and never again after a crash.

    `lied`: keys of the attempts that said that they did what they did not.
    """
    happened: dict[tuple[str, str], list[int]] = defaultdict(list)
    skill_of: dict[tuple[str, str], str] = {}
    for effect in effects:
        happened[effect.run, effect.step].append(effect.attempt)
        skill_of[effect.run, effect.step] = effect.skill
    ends = _attempt_ends(events)
    for event in events:
        if event.type == "run.step_intended" and event.data["skill"] in classes:
            skill_of.setdefault((event.data["run"], event.data["step"]), event.data["skill"])
    wrong: list[Breach] = []
    for run_step, skill in skill_of.items():
        rerun = classes.get(skill)
        if rerun is not None and not any(key.startswith(f"{run_step[0]}/{run_step[1]}.") for key in lied):
            wrong += map(Breach, _rerun_faults(run_step, skill, rerun, happened[run_step], ends.get(run_step, {})))
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


def _intents(events: Iterable[Event]) -> Iterator[tuple[Attempt, Event]]:
    for event in events:
        if event.type == "run.step_intended":
            yield Attempt(event.data["run"], event.data["step"], event.data["attempt"]), event


def an_act_begins_with_its_intent_on_the_disk(began: Iterable[Began]) -> list[Breach]:
    """At the moment when an act begins, the hardest power cut would leave its intent in the journal."""
    return [Breach(f"{_where(act.attempt)} began, and its intent was not on the disk") for act in began if not act.intended]


def a_snapshot_stands_before_the_act(began: Iterable[Began]) -> list[Breach]:
    """What an act touches is saved, durably, when it begins."""
    return [Breach(f"{_where(act.attempt)} began, and what it touches was not saved") for act in began if not act.saved]


def attempts_keep_to_their_limit(
    events: Sequence[Event], effects: Sequence[Effect], limits: Mapping[tuple[str, str], int]
) -> list[Breach]:
    """Effects <= attempts <= what the playbook allows, and three more where crashes cut some off; a void one is no attempt."""
    ends = _attempt_ends(events)
    count = Counter((effect.run, effect.step) for effect in effects)
    playbook_of = {event.data["run"]: event.data["playbook"] for event in events if event.type == "run.opened"}
    wrong: list[Breach] = []
    for (run, step), tried in ends.items():
        real = [end for end in tried.values() if end != "voided"]
        limit = limits.get((playbook_of.get(run, ""), step))
        if count[run, step] > len(real):
            wrong.append(Breach(f"{run}/{step} had {count[run, step]} effects in {len(real)} attempts"))
        if limit is not None and len(real) > limit + min(real.count("died"), CRASH_RERUNS):
            wrong.append(Breach(f"{run}/{step} was attempted {len(real)} times, its playbook allows {limit}"))
    return wrong


def results_are_their_own(events: Sequence[Event]) -> list[Breach]:
    """What is told of an attempt is what that attempt said, and no other."""
    return [
        Breach(f"{_where(_attempt_of(event))} was told the result of attempt {said}", event)
        for event in events
        if event.type == "run.step_done" and (said := (event.data.get("result") or {}).get("attempt")) is not None
        if said != event.data["attempt"]
    ]


def _attempt_of(event: Event) -> Attempt:
    return Attempt(event.data["run"], event.data["step"], event.data["attempt"])


def _where(attempt: Attempt) -> str:
    return f"{attempt.run}/{attempt.step}.{attempt.attempt}"


# --- 3: runs


def no_run_twice(events: Sequence[Event]) -> list[Breach]:
    """One event opens at most one run of a playbook, also when it is put in or replayed again; and each retry of it one more."""
    count = Counter(
        (event.data["event"], event.data["playbook"], event.data.get("again", 0))
        for event in events
        if event.type == "run.opened"
    )
    return [Breach(f"event {event} opened {n} runs of {playbook}") for (event, playbook, _), n in count.items() if n > 1]


def every_run_ends(events: Sequence[Event], asking_is_an_end: bool = True) -> list[Breach]:
    """After a quiet time every run has ended, or waits for a person whose time is not over."""
    state: dict[str, str] = {}
    last: dict[str, Event] = {}
    told: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if not event.type.startswith(("run.", "approval.")):
            continue
        run = event.data["run"]
        last[run] = event
        told[run].add(event.type)
        if event.type == "run.opened":
            state.setdefault(run, "open")
        elif event.type in ENDS or bool(event.data.get("healed")) or told[run] >= {"run.cancelled", "run.rolled_back"}:
            state[run] = "ended"
        elif state.get(run) != "ended":
            asks = asking_is_an_end and event.type == "run.waiting" and event.data["waits_for"] in {"approval", "resume"}
            state[run] = "asks" if asks else f"at {event.type}"
    return [
        Breach(f"run {run} never ended: it stands {where}", last[run])
        for run, where in state.items()
        if where not in {"ended", "asks"}
    ]


def one_run_on_a_resource(events: Sequence[Event]) -> list[Breach]:
    """While a run acts, from its first intent until it ends or waits, no other run acts on anything it has locked."""
    resources: dict[str, frozenset[str]] = {}
    acting: dict[str, frozenset[str]] = {}
    wrong: list[Breach] = []
    for event in events:
        data = event.data
        if event.type == "run.opened":
            resources[data["run"]] = frozenset(data["resources"])
        elif event.type == "run.step_intended" and not data["step"].startswith(RESERVED):
            mine = resources.get(data["run"], frozenset())
            for other, theirs in acting.items():
                if other != data["run"] and mine & theirs:
                    wrong.append(
                        Breach(f"runs {other} and {data['run']} both acted on {', '.join(sorted(mine & theirs))}", event)
                    )
            acting[data["run"]] = mine
        elif event.type in ENDS or event.type in {"run.waiting", "run.rolled_back"}:
            acting.pop(data["run"], None)
    return wrong


def modes_are_kept(events: Sequence[Event]) -> list[Breach]:
    """Who may only look acts never; who must ask acts only after a person's yes to that very run."""
    mode: dict[str, str] = {}
    allowed: set[str] = set()
    wrong: list[Breach] = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened":
            mode[run] = event.data["mode"] if not event.data.get("by") else "a person's"
        elif event.type == "approval.given":
            allowed.add(run)
        elif event.type == "run.step_intended" and not event.data["step"].startswith(RESERVED):
            if mode.get(run) in {"observe", "shadow", "suggest"}:
                wrong.append(Breach(f"run {run} acted in mode {mode[run]}", event))
            elif mode.get(run) == "approve" and run not in allowed:
                wrong.append(Breach(f"run {run} acted before anybody said yes", event))
    return wrong


def an_answer_counts_once(events: Sequence[Event]) -> list[Breach]:
    """A question is answered once, whoever answers late or twice; what was answered is not asked again; no is no."""
    asked: dict[str, str] = {}
    answered: dict[tuple[str, str], str] = {}
    refused: set[str] = set()
    wrong: list[Breach] = []
    for event in events:
        run, word = str(event.data.get("run", "")), event.type.removeprefix("approval.")
        if event.type == "approval.requested":
            plan = str(event.data["plan"])
            if answered.get((run, plan)) == "given":
                wrong.append(Breach(f"run {run} asked again what had been answered", event))
            if asked.get(run) == plan:
                wrong.append(Breach(f"run {run} asked again while its question stood", event))
            asked[run] = plan
        elif event.type.startswith("approval.") and word != "refused":
            if run not in asked:
                wrong.append(Breach(f"run {run} was answered ({word}), and it asked nothing", event))
            answered[run, asked.pop(run, "")] = word
            refused |= {run} if word != "given" else set()
        elif event.type == "run.step_intended" and run in refused and not event.data["step"].startswith(RESERVED):
            wrong.append(Breach(f"run {run} acted after a no", event))
    return wrong


def what_failed_is_as_before(began: Sequence[Began], restored: Sequence[Restored]) -> list[Breach]:
    """After a rollback that says that it held, what the run touched stands as before its first act."""
    wrong: list[Breach] = []
    acts: dict[str, list[Began]] = defaultdict(list)
    for act in began:
        if not act.attempt.step.startswith(RESERVED):
            acts[act.attempt.run].append(act)
    for one in restored:
        mine = acts.get(one.event.data["run"], ()) if one.ok else ()
        settings = {unit: setting for act in reversed(mine) for unit, setting in act.settings.items()}
        files = {path: tree for act in reversed(mine) for path, tree in act.files.items()}
        said = [f"{u} was {was} and is {one.settings[u]}" for u, was in settings.items() if not one.settings[u].is_as(was)]
        said += [words for path, tree in files.items() for words in _not_as_before(path, tree, one.files[path])]
        wrong += [Breach(f"run {one.event.data['run']} was rolled back, and {words}", one.event) for words in said]
    return wrong


def _not_as_before(path: str, before: Tree, now: Tree) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield f"{path}/{name} was {before.get(name)} and is {now.get(name)}"


def healed_is_well(events: Sequence[Event], effects: Iterable[Effect]) -> list[Breach]:
    """A run that counts is healed only if its effect is there, whatever the act said."""
    tags = {effect.tag for effect in effects}
    tag_of = {
        event.data["run"]: event.data["trigger"]["data"].get("tag")
        for event in events
        if event.type == "run.opened" and str(event.data["playbook"]).startswith("count-")
    }
    return [
        Breach(f"run {event.data['run']} healed, and nothing was counted", event)
        for event in events
        if event.type == "run.healed" and event.data["run"] in tag_of and tag_of[event.data["run"]] not in tags
    ]


def nothing_is_left(events: Sequence[Event], left: Iterable[str]) -> list[Breach]:
    """When the faults have stopped for a while the queue is empty, no run is open, and no process of an attempt lives."""
    wrong = [Breach(f"process {name} is left") for name in left]
    beats = [event for event in events if event.type == "daemon.heartbeat"]
    if not beats:
        return [*wrong, Breach("the daemon has no pulse")]
    full = [name for name in ("queue", "open_runs") if beats[-1].data[name]]
    return [*wrong, *(Breach(f"at the end {name} is {beats[-1].data[name]}", beats[-1]) for name in full)]


def queues_are_bounded(events: Sequence[Event], queue_max: int, runs_max: int) -> list[Breach]:
    """Whatever comes, what waits in memory stays within its bounds."""
    return [
        Breach(f"{name} is {event.data[name]}, its bound {most}", event)
        for event in events
        if event.type == "daemon.heartbeat"
        for name, most in (("queue", queue_max), ("open_runs", runs_max))
        if event.data[name] > most
    ]


# --- 4: no storms, and first things first


def guards_hold(events: Sequence[Event], guards: Mapping[str, GuardOf]) -> list[Breach]:
    """Cooldown and limit of each playbook on each subject, counted over all restarts. Only runs that acted count.

    Runs that a person or another run's ladder asked for are not the guard's. For histories without a leap of the wall clock.
    """
    key_of: dict[str, tuple[str, str]] = {}
    began: dict[tuple[str, str], list[float]] = defaultdict(list)
    last_end: dict[tuple[str, str], float] = {}
    acted: set[str] = set()
    wrong: list[Breach] = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened" and event.data["playbook"] in guards:
            key = (str(event.data["playbook"]), event.subject)
            if not event.data.get("parent") and not event.data.get("by"):
                key_of[run] = key
                ended, cooldown = last_end.get(key), guards[key[0]].cooldown_s
                if ended is not None and event.taken < ended + cooldown:
                    ago = f"{event.taken - ended:.1f} s after its end, cooldown {cooldown:g} s"
                    wrong.append(Breach(f"{key[0]} ran on {key[1]} again {ago}", event))
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
                many = f"{len(recent)} times on {key[1]} in {limit[1]:g} s"
                wrong.append(Breach(f"{key[0]} acted {many}, limit {limit[0]}", event))
        elif (event.type in ENDS or event.data.get("healed")) and run in acted:
            last_end.setdefault(key_of[run], event.taken)
            last_end[key_of[run]] = max(last_end[key_of[run]], event.taken)
    return wrong


def priorities_are_kept(
    events: Sequence[Event], priority: Callable[[Event], int], matches: Callable[[Event], bool], slack_s: float = 1.0
) -> list[Breach]:
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
    wrong: list[Breach] = []
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
                first = f"P{priority(mine)} {mine.id} was decided"
                wrong.append(Breach(f"{first} while P{priority(other)} {other.id} waited", event))
    return wrong


def windows_are_complete(events: Sequence[Event], kind: str, count: int, within_s: float) -> list[Breach]:
    """What is counted in a window is used once, over all restarts; never do so many stay unused within it; all is dealt with."""
    told = {event.id: event for event in events if event.type == "reactor.correlated"}
    decided = {
        event.data["event"] for event in events if event.type in {"run.opened", "reactor.decided", "scheduler.dead_letter"}
    }
    used = Counter(one[0] for event in told.values() for one in event.data["used"])
    wrong = [Breach(f"event {one} was used {n} times") for one, n in used.items() if n > 1]
    wrong += [Breach(f"{one} was found and never dealt with", event) for one, event in told.items() if one not in decided]
    left: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.type == kind and not used[event.id]:
            left[event.subject].append(event)
    for subject, rest in left.items():
        for first, last in zip(rest, rest[count - 1 :], strict=False):
            if last.taken - first.taken < within_s:
                wrong.append(Breach(f"{count} {kind} of {subject} from {first.id} on were not counted", last))
    return wrong


# --- 5: time


def timeouts_are_kept(events: Sequence[Event], timeout_s: Mapping[tuple[str, str], float]) -> list[Breach]:
    """An act takes no longer than its timeout and a grace, and never less than no time, whatever the wall clock does.

    `timeout_s` is per (playbook, step). An attempt that a crash cut off, or that lived through the daemon's, says nothing
    of its length.
    """
    in_one_life: set[Attempt] = set()
    wrong: list[Breach] = []
    for event in events:
        data = event.data
        if event.type == "daemon.started":
            in_one_life.clear()
        elif event.type == "run.step_intended":
            in_one_life.add(Attempt(data["run"], data["step"], data["attempt"]))
        limit = timeout_s.get((str(data.get("playbook")), str(data.get("step"))))
        if event.type == "run.step_done" and limit is not None and _end_of(data) in {"ok", "failed", "cut_off"}:
            whole = Attempt(data["run"], data["step"], data["attempt"]) in in_one_life
            wrong += [Breach(fault, event) for fault in _time_faults(data, limit, whole)]
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
