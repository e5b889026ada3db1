"""One execution of one playbook for one event: a table machine, folded from its own events.

The reactor calls three things, always in this order:

- `advance(happening, env)` turns what happened outside into drafts of events; it changes nothing.
- `fold(type, data, at)` is called for each of the run's events once it is durable; it alone changes the run. A restart
  folds the same events again and stands where it stood.
- `next(env)` says what is to be done now, from what was folded: a command for the outside, or events to say first.

So an act's command can only follow its intent, and the intent is on disk, by construction. Who runs commands, holds slots and
watches the clock is the reactor; what may be done to whom is in `env`, looked at again before each act.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

from aios.backoff import delay_s
from aios.errors import MachineError
from aios.events.calls import SkillCall, SkillCatalogue, SkillResult, Touches, Verdict
from aios.events.codec import BadLine, depth_of, encode_json
from aios.events.event import Draft, Event, format_time, parse_time
from aios.playbooks.model import CannotSay, Check, Mode, Playbook, Rung, Step, lesser_mode, variables

RUN_NAMESPACE = UUID("6f0f2b1e-6c2c-5d0b-9a55-a105a105a105")
ROLLBACK = "rollback"
SYMPTOM = "symptom"
VERIFY = "verify"
RUNG = "rung"
RESERVED_STEPS = (ROLLBACK, SYMPTOM, VERIFY, RUNG)

CRASH_RERUNS_MAX = 3
"""An act that a crash cut off is started again at most so often, beyond its own retries: a poisonous act must not loop."""
ROLLBACK_ATTEMPTS_MAX = 3
VOIDS_MAX = 12
"""An act that cannot even begin (no room for its snapshot, hands away) is brought again so often, waiting longer each time."""
VOID_WAIT_S, VOID_WAIT_CEILING_S = 0.2, 60.0
RESUME_LOOK_S = 3600.0
"""A run that waits for `aios resume` looks again so often by itself."""
WRITTEN_BYTES_MAX, WRITTEN_LEVELS_MAX = 48 * 1024, 26
"""What an intent, a question to a person or the opening of a run may hold, so that a line of the journal has room for it."""
ACT_GRACE_S = 5.0
"""How much longer than its own timeout the daemon waits for a launcher, which enforces that timeout itself."""

Status = Literal[
    "new",
    "opened",
    "step_intended",
    "step_done",
    "waiting",
    "healed",
    "not_healed",
    "unknown",
    "cleared",
    "rolled_back",
    "escalated",
    "observed",
    "suggested",
    "cancelled",
]

_BETWEEN: tuple[Status, ...] = ("opened", "step_done", "waiting")
_FAILED: tuple[Status, ...] = ("not_healed", "unknown", "cancelled")
_AFTER: tuple[Status, ...] = ("healed", "cleared", "observed", "suggested", "escalated")
ENDED: frozenset[Status] = frozenset(("healed", "cleared", "observed", "suggested", "escalated"))

# (status, event type) -> status. A pair that is not here is an error: a bug, or a damaged journal.
TABLE: Mapping[tuple[Status, str], Status] = {
    ("new", "run.opened"): "opened",
    **{(s, "run.step_intended"): "step_intended" for s in _BETWEEN},
    **{(s, "run.step_done"): "step_done" for s in (*_BETWEEN, "step_intended")},
    **{(s, "run.waiting"): "waiting" for s in _BETWEEN},
    **{(s, "approval.requested"): s for s in _BETWEEN},
    **{("waiting", f"approval.{word}"): "waiting" for word in ("given", "denied", "expired")},
    **{("step_done", f"run.{end}"): end for end in ("healed", "cleared")},
    **{(s, f"run.{end}"): end for s in _BETWEEN for end in ("not_healed", "unknown", "observed", "suggested")},
    **{(s, "run.cancelled"): "cancelled" for s in (*_BETWEEN, "step_intended")},
    # After a failure: what was done is taken back (an act like others), then the ladder is climbed.
    **{(s, t): s for s in _FAILED for t in ("run.step_intended", "run.step_done", "run.waiting")},
    **{(s, "run.cancelled"): s for s in ("not_healed", "unknown")},
    **{(s, "run.rolled_back"): "rolled_back" for s in _FAILED},
    **{("rolled_back", t): "rolled_back" for t in ("run.step_intended", "run.step_done", "run.waiting", "run.rung_done")},
    ("rolled_back", "run.escalated"): "escalated",
    ("rolled_back", "run.cancelled"): "rolled_back",
    ("rolled_back", "run.rolled_back"): "rolled_back",
    # A person may take an ended run back later.
    **{(s, t): s for s in _AFTER for t in ("run.step_intended", "run.step_done", "run.rolled_back")},
}


# --- happenings: what comes in ----------------------------------------------------------------------------------------


class StepEnded(NamedTuple):
    """An observing step or an act ended, with its result; `ms` is how long it took."""

    step: str
    attempt: int
    result: SkillResult
    ms: float


class CutOff(NamedTuple):
    """An attempt ended without a result: it `died` in the middle, or was `voided` before it had begun."""

    step: str
    attempt: int
    voided: bool
    why: str = ""


class Checked(NamedTuple):
    """`verify` was asked: as the symptom before the first act, or as the proof at the end."""

    phase: str
    verdict: Verdict
    proof: tuple[Mapping[str, Any], ...]
    ms: float


class Answered(NamedTuple):
    """A person said yes or no, or nobody did in time (`by` is empty)."""

    yes: bool
    by: str


class Cancelled(NamedTuple):
    by: str


class RungEnded(NamedTuple):
    """A fallback's run ended (or could not be opened)."""

    healed: bool
    run_opened: str
    error: str


Happening = StepEnded | CutOff | Checked | Answered | Cancelled | RungEnded


# --- commands: what goes out ------------------------------------------------------------------------------------------


class Say(NamedTuple):
    """Events that come first; when they are folded, ask again."""

    drafts: tuple[Draft, ...]


class Look(NamedTuple):
    call: SkillCall


class CheckCall(NamedTuple):
    call: SkillCall
    hold_s: float
    within_s: float
    every_s: float


class Ask(NamedTuple):
    """Ask `verify`: each check once (symptom), or until it has held (proof)."""

    phase: str
    checks: tuple[CheckCall, ...]


class Act(NamedTuple):
    """Its intent is durable: start it, or after a restart find out what became of it."""

    call: SkillCall
    deadline_s: float


class Wait(NamedTuple):
    """Hold no slot and no lock until then (wall clock), or until woken."""

    until: float
    waits_for: str


class OpenFallback(NamedTuple):
    playbook: str
    run: str


class Over(NamedTuple):
    pass


Command = Say | Look | Ask | Act | Wait | OpenFallback | Over


@dataclass(frozen=True, slots=True)
class Env:
    """What a run needs to know of the rest, fresh at every question."""

    now: float
    playbook: Playbook
    skills: SkillCatalogue
    mode_max: str = "auto"
    paused: bool = False
    resumes_at: float = 0.0
    disabled: bool = False
    protected: Callable[[frozenset[str]], str] = lambda _resources: ""
    acts_again_at: float = 0.0
    score: float | None = None
    system_score: float | None = None
    chance: float = 0.5
    call_env: Mapping[str, Any] = field(default_factory=dict)
    approval_expires_s: float = 86400.0


def run_id(event_id: str, playbook: str, again: int = 0) -> str:
    """The same event and playbook give the same run, so that a replay opens no second one."""
    return str(uuid5(RUN_NAMESPACE, f"{event_id}\n{playbook}\n{again}" if again else f"{event_id}\n{playbook}"))


def digest(value: Any) -> str:
    """Names an act or a plan, so that what was approved can be told from what would be done."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _fits(value: Any) -> bool:
    """Whether this fits into a line of the journal beside all else: what is folded again may never go to a blob."""
    try:
        raw = encode_json(value)
    except BadLine:
        return False
    brackets = raw.count(b"{") + raw.count(b"[")
    return len(raw) <= WRITTEN_BYTES_MAX and (brackets <= WRITTEN_LEVELS_MAX or depth_of(raw) <= WRITTEN_LEVELS_MAX)


def unfit(opened: Draft) -> str:
    """Why no line of the journal can hold what this `run.opened` says; empty when one can."""
    if _fits({name: value for name, value in opened.data.items() if name != "considered"}):
        return ""
    return "its data is too long, or nested too deeply, to be written down again with a run"


def opening(
    *,
    event: Event,
    playbook: Playbook,
    mode: str,
    resources: Sequence[str],
    incident: str,
    priority: int,
    considered: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[Sequence[str]] = (),
    next_best: str = "",
    parent: str = "",
    by: str = "",
    approved: Mapping[str, str] | None = None,
    again: int = 0,
) -> Draft:
    """The event that opens a run. Its id is the run's id: a run is named by its `run.opened`."""
    run = run_id(event.id, playbook.name, again)
    trigger = {name: getattr(event, name) for name in _TRIGGER_FIELDS}
    return Draft(
        type="run.opened",
        id=run,
        subject=event.subject,
        causationid=event.id,
        correlationid=incident,
        data={
            "run": run,
            "playbook": playbook.name,
            "hash": playbook.hash,
            "event": event.id,
            "mode": mode,
            "resources": sorted(resources),
            "trigger": {**trigger, "data": dict(event.data)},
            "considered": [dict(c) for c in considered],
            "lineage": [list(pair) for pair in lineage],
            "next_best": next_best,
            "priority": priority,
            "parent": parent,
            "by": by,
            "approved": dict(approved or {}),
            "again": again,
        },
    )


_TRIGGER_FIELDS = ("id", "source", "type", "subject", "time", "severity")


@dataclass(slots=True)
class Run:
    """A run as folded so far. All fields are plain JSON values, so that a checkpoint can hold it."""

    id: str
    status: Status = "new"
    playbook: str = ""
    hash: str = ""
    event: str = ""
    trigger: dict[str, Any] = field(default_factory=dict)
    subject: str = ""
    mode: str = "observe"
    incident: str = ""
    parent: str = ""
    resources: list[str] = field(default_factory=list)
    lineage: list[list[str]] = field(default_factory=list)
    next_best: str = ""
    priority: int = 3
    opened_at: float = 0.0
    ended_at: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)
    """Acts of which an attempt was cut off, by a crash or at its timeout: they may have had their effect."""
    tries: dict[str, int] = field(default_factory=dict)
    voids: dict[str, int] = field(default_factory=dict)
    must_wait: str = ""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_flight: dict[str, Any] | None = None
    acts: list[dict[str, Any]] = field(default_factory=list)
    symptom: str = ""
    wait: dict[str, Any] | None = None
    asked: dict[str, Any] | None = None
    approved: dict[str, str] = field(default_factory=dict)
    denied: str = ""
    why: str = ""
    outcome: str = ""
    rung: int = 0
    again: int = 0
    fallbacks: dict[str, list[Any]] = field(default_factory=dict)
    """How runs that this one opened as its fallbacks ended: id -> [healed, why]."""
    cancelled: bool = False
    closed: bool = False
    rollback_asked: str = ""
    by: str = ""

    # --- reading ---

    @property
    def ended(self) -> bool:
        """Nothing is left to do."""
        return self.closed and self.in_flight is None and not self.rollback_asked

    @property
    def acted(self) -> bool:
        return bool(self.acts)

    @property
    def reached_an_act(self) -> bool:
        """Whether an act was ever intended, also one that was void in the end: what guards count, once a run."""
        return any(not step.startswith(RESERVED_STEPS) for step in self.attempts)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Run:
        known = set(cls.__slots__)
        return cls(**{name: value for name, value in raw.items() if name in known})

    # --- folding ---

    def fold(self, event_type: str, data: Mapping[str, Any], at: float) -> None:
        """Take one of the run's own durable events in. Raises `MachineError` for a pair that the table does not know."""
        try:
            after = TABLE[self.status, event_type]
        except KeyError:
            raise MachineError(f"run {self.id}: {event_type} while {self.status}") from None
        if self.status == "waiting" and event_type != "run.waiting" and not event_type.startswith("approval."):
            self.wake()
        self.status = after
        _FOLDS[event_type](self, data, at)

    def clone(self) -> Run:
        """A copy that can be folded further without touching this one."""
        return replace(
            self,
            attempts=dict(self.attempts),
            crashes=dict(self.crashes),
            tries=dict(self.tries),
            voids=dict(self.voids),
            unsure=list(self.unsure),
            results=dict(self.results),
            acts=list(self.acts),
        )

    def wake(self) -> None:
        """A wait is over: what was looked at before is old, so the observing steps and the symptom are looked at again."""
        if self.wait is None:
            return
        self.wait = None
        self.symptom = ""
        self.results = {k: r for k, r in self.results.items() if r.get("kind") == "act" and not r.get("skipped")}

    def _opened(self, data: Mapping[str, Any], at: float) -> None:
        self.playbook, self.hash, self.event = data["playbook"], data["hash"], data["event"]
        self.trigger, self.mode = dict(data["trigger"]), data["mode"]
        self.subject = self.trigger["subject"]
        self.resources = list(data["resources"])
        self.parent = data.get("parent", "")
        self.lineage = [list(pair) for pair in data.get("lineage", ())]
        self.next_best = data.get("next_best", "")
        self.priority = int(data.get("priority", 3))
        self.by, self.again = data.get("by", ""), int(data.get("again", 0))
        self.approved = dict(data.get("approved") or {})
        self.opened_at = at

    def _intended(self, data: Mapping[str, Any], _at: float) -> None:
        step, attempt = data["step"], data["attempt"]
        self.attempts[step] = attempt
        self.in_flight = {
            "step": step,
            "attempt": attempt,
            "skill": data["skill"],
            "params": data["params"],
            "files": list(data["files"]),
            "units": list(data["units"]),
            "recheck": bool(data.get("recheck")),
        }
        if step == ROLLBACK and self.closed:
            self.rollback_asked = data.get("by", "")
        elif step != ROLLBACK and not step.startswith(RUNG):
            self.tries[step] = self.tries.get(step, 0) + 1
            self.acts.append({"step": step, "attempt": attempt, "skill": data["skill"]})

    def _step_done(self, data: Mapping[str, Any], _at: float) -> None:
        step = data["step"]
        kept = {name: data.get(name) for name in ("ok", "result", "kind", "skipped", "error", "next", "attempt")}
        if self.in_flight is not None and self.in_flight["step"] == step:
            self.in_flight = None
        if data.get("voided"):  # it never began: neither a try nor an act
            self.tries[step] = self.tries.get(step, 1) - 1
            self.acts = [a for a in self.acts if (a["step"], a["attempt"]) != (step, data["attempt"])]
            self.results.pop(step, None)
            self.voids[step] = self.voids.get(step, 0) + 1
            self.must_wait = step
            return
        if data.get("died"):
            self.crashes[step] = self.crashes.get(step, 0) + 1
            kept["died"] = True
        if (data.get("died") or data["result"].get("cut_off")) and step not in self.unsure:
            self.unsure.append(step)
        if step == SYMPTOM:
            self.symptom = data["result"].get("verdict", "no_data")
        self.results[step] = kept

    def _waiting(self, data: Mapping[str, Any], _at: float) -> None:
        self.wait = {"for": data["waits_for"], "until": data["until"], "step": data.get("step", "")}
        self.must_wait = ""
        if data["waits_for"] == "retry":  # what failed is tried again, so its result is no longer the step's
            self.results.pop(data["step"], None)

    def _asked(self, data: Mapping[str, Any], _at: float) -> None:
        self.asked = {"plan": data["plan"], "acts": data["acts"], "until": data["until"]}

    def _given(self, data: Mapping[str, Any], _at: float) -> None:
        if self.asked is not None and data.get("plan") == self.asked["plan"]:
            self.approved = {act["step"]: digest([act["skill"], act["params"]]) for act in self.asked["acts"]}
        self.asked = None

    def _refused(self, data: Mapping[str, Any], _at: float) -> None:
        self.asked = None
        self.denied = f"{data['by']} said no" if data.get("by") else "nobody answered in time"

    def _failed(self, data: Mapping[str, Any], _at: float) -> None:
        self.outcome, self.why = self.status, data.get("why", "")
        self.wait = None

    def _cancelled(self, data: Mapping[str, Any], at: float) -> None:
        self.cancelled, self.outcome, self.why = True, self.outcome or "unknown", f"cancelled by {data['by']}"
        self.wait, self.asked = None, None
        if self.status == "rolled_back":
            self.closed, self.ended_at = True, at

    def _rolled_back(self, data: Mapping[str, Any], at: float) -> None:
        self.rollback_asked = ""
        self.results[ROLLBACK] = {"ok": data["ok"], "result": {}, "kind": "act", "error": data.get("error", "")}
        if self.cancelled and not self.closed:
            self.closed, self.ended_at = True, at

    def _rung_done(self, data: Mapping[str, Any], at: float) -> None:
        self.rung = int(data["rung"]) + 1
        self.wait = None
        if data.get("healed"):
            self.closed, self.ended_at = True, at

    def _ended(self, data: Mapping[str, Any], at: float) -> None:
        self.outcome = self.outcome or self.status
        self.why = data.get("why", self.why)
        self.closed, self.ended_at = True, at

    # --- what a happening means ---

    def advance(self, happening: Happening, env: Env) -> tuple[Draft, ...]:
        """The events that tell of it. Happenings of an attempt that is no longer open are old news, and give none."""
        match happening:
            case StepEnded():
                return self._on_step_ended(happening, env)
            case CutOff():
                return self._on_cut_off(happening, env)
            case Checked():
                return self._on_checked(happening, env)
            case Answered():
                return self._on_answered(happening)
            case Cancelled(by):
                return () if self.closed or self.cancelled else (self._draft("run.cancelled", by=by),)
            case RungEnded(healed, opened, error):
                return (
                    self._draft("run.rung_done", rung=self.rung, what="fallback", run_opened=opened, healed=healed, error=error),
                )

    def _on_step_ended(self, ended: StepEnded, env: Env) -> tuple[Draft, ...]:
        if self.in_flight is None:
            step = self._step(env.playbook, ended.step)
            return (self._step_event(ended, step.skill, step.kind),) if step and not self.closed else ()
        if (ended.step, ended.attempt) != (self.in_flight["step"], self.in_flight["attempt"]):
            return ()
        done = self._step_event(ended, self.in_flight["skill"], "act")
        if ended.step == ROLLBACK and ended.result.ok:
            return done, self._rolled_back_event(ended.result)
        if ended.step.startswith(RUNG):
            return done, self._draft(
                "run.rung_done", rung=self.rung, what="notify", run_opened="", healed=False, error=ended.result.error
            )
        return (done,)

    def _on_cut_off(self, cut: CutOff, _env: Env) -> tuple[Draft, ...]:
        if self.in_flight is None or (cut.step, cut.attempt) != (self.in_flight["step"], self.in_flight["attempt"]):
            return ()
        error = cut.why or ("voided before it began" if cut.voided else "a crash cut it off")
        flag = {"voided": True} if cut.voided else {"died": True}
        result = SkillResult(ok=False, error=error)
        return (self._step_event(StepEnded(cut.step, cut.attempt, result, 0.0), self.in_flight["skill"], "act", **flag),)

    def _on_checked(self, checked: Checked, env: Env) -> tuple[Draft, ...]:
        if self.status not in _BETWEEN:
            return ()  # it was cancelled while it asked: the answer decides nothing any more
        result = SkillResult(ok=True, result={"verdict": checked.verdict}, evidence=checked.proof)
        told = self._step_event(StepEnded(checked.phase, 1, result, checked.ms), "verify", "verify")
        if checked.phase == SYMPTOM:
            if checked.verdict == "well":
                return told, self._draft("run.cleared", ms=self._ms(env.now))
            return (told,)
        return told, self._verdict_event(checked, env)

    def _verdict_event(self, checked: Checked, env: Env) -> Draft:
        proof = list(checked.proof)
        if self._dry(env) and not self.acted:
            return self._looked_event(checked.verdict, env)
        if checked.verdict == "well":
            if not self.acted:
                return self._draft("run.cleared", ms=self._ms(env.now))
            return self._draft("run.healed", ms=self._ms(env.now), proof=proof, acts=[a["step"] for a in self.acts])
        if checked.verdict == "no_data":
            return self._draft("run.unknown", why="verify could not say whether it is well")
        cut_off = next((s.id for s in env.playbook.steps if self._must_not_rerun(s, env)), "")
        why = f"not well, and step {cut_off} must not run twice" if cut_off else "not well after all steps"
        return self._draft("run.not_healed", why=why, proof=proof)

    def _on_answered(self, answer: Answered) -> tuple[Draft, ...]:
        if self.asked is None:
            return ()
        if answer.yes:
            return (self._draft("approval.given", plan=self.asked["plan"], by=answer.by),)
        if answer.by:
            return (self._draft("approval.denied", by=answer.by),)
        return (self._draft("approval.expired"),)

    # --- what is to be done ---

    def next(self, env: Env) -> Command:
        """From what is folded alone; asking twice gives the same answer."""
        if self.in_flight is not None:
            return self._act_in_flight(env)
        if self.closed:
            return self._take_back(env) if self.rollback_asked else Over()
        if self.wait is not None and (waiting := self._still_waits(env)) is not None:
            return waiting
        if self.must_wait and self.voids[self.must_wait] <= VOIDS_MAX:
            return Say((self._waiting_event("hands", env.now + self._void_wait_s(env), self.must_wait),))
        if self.status in _FAILED:
            return self._take_back(env)
        if self.status == "rolled_back":
            return self._climb(env)
        return self._go_on(env)

    def _void_wait_s(self, env: Env) -> float:
        n = self.voids[self.must_wait]
        return delay_s(n, base_s=VOID_WAIT_S, factor=2.0, ceiling_s=VOID_WAIT_CEILING_S, chance=env.chance)

    def _still_waits(self, env: Env) -> Command | None:
        assert self.wait is not None
        if self.denied and self.wait["for"] == "approval":
            return self._give_up("unknown", f"not allowed: {self.denied}")
        until = parse_time(self.wait["until"])
        if self.wait["for"] == "rung":
            fallback = self._fallback(env)
            return OpenFallback(fallback, run_id(self.event, fallback, self.again)) if fallback else None
        if self.wait["for"] == "approval" and self.asked is None:
            return None  # answered: go on
        if env.now < until:
            return Wait(until, self.wait["for"])
        if self.wait["for"] == "approval":
            return Say((self._draft("approval.expired"),))
        return None

    def _go_on(self, env: Env) -> Command:
        if not env.playbook.steps:
            return self._give_up("unknown", env.playbook.description)  # no playbook is without steps: its text is gone
        if self.wait is not None:
            self.wake()
        for step in env.playbook.steps:
            if self._must_not_rerun(step, env):
                break  # verified, and then a person is asked
            command = self._step_command(step, env)
            if command is not None:
                return command
        return self._finish(env)

    def _step_command(self, step: Step, env: Env) -> Command | None:
        """None when this step is over."""
        known = self.results.get(step.id)
        if known is not None and not known.get("died"):
            return self._after_result(step, known, env)
        if step.condition is not None:
            truth = step.condition.evaluate(self._variables(env))
            if truth.value is None:
                return self._give_up("unknown", f"step {step.id}: its `if` cannot say: {truth.why}")
            if not truth.value:
                return Say((self._skip(step, {}),))
        try:
            params = env.skills[step.skill].check(step.params.render(self._variables(env)))
        except CannotSay as error:
            return self._give_up("unknown", f"step {step.id}: {error}")
        except KeyError:
            return self._give_up("unknown", f"step {step.id}: skill {step.skill} is not there any more")
        except ValueError as error:
            return self._give_up("unknown", f"step {step.id}: {error}")
        spec = env.skills[step.skill]
        if step.kind != "act" and (spec.only_looks is None or spec.only_looks(params, env.call_env)):
            return Look(self._call(step.id, 1, step.skill, step.kind, params, step.timeout_s, Touches(), env))
        return self._before_act(step, params, env)

    def _after_result(self, step: Step, known: Mapping[str, Any], env: Env) -> Command | None:
        if known["kind"] != "act" or known["ok"] or known.get("skipped"):
            return None
        failed = max(1, self.tries.get(step.id, 1))
        if failed < step.retry.attempts and "human_check" not in (known.get("next") or ()):
            wait = delay_s(
                failed,
                base_s=step.retry.backoff_s,
                factor=step.retry.factor,
                ceiling_s=step.retry.ceiling_s,
                chance=env.chance,
            )
            return Say((self._waiting_event("retry", env.now + wait, step.id),))
        return self._give_up("not_healed", f"step {step.id} failed: {known.get('error') or 'no reason given'}")

    def _must_not_rerun(self, step: Step, env: Env) -> bool:
        """Whether a crash cut this act off and its re-run class (or a count of crashes) forbids another try."""
        if not (self.results.get(step.id) or {}).get("died"):
            return False
        spec = env.skills.get(step.skill)
        return spec is None or spec.rerun == "never_retry" or self.crashes.get(step.id, 0) > CRASH_RERUNS_MAX

    def _before_act(self, step: Step, params: dict[str, Any], env: Env) -> Command:
        spec = env.skills[step.skill]
        touches = spec.touches(params)
        if self.voids.get(step.id, 0) > VOIDS_MAX:
            return self._give_up("unknown", f"step {step.id} could not be begun")
        if env.playbook.verify and not self.symptom:
            return self._ask(SYMPTOM, env)
        if self._dry(env):
            would = {"step": step.id, "skill": step.skill, "params": params}
            if spec.dry_text is not None:
                would["says"] = spec.dry_text(params)
            return Say((self._skip(step, {"would": would}),))
        if why := env.protected(touches.resources()):
            return self._give_up("unknown", f"step {step.id} may not touch {why}: it is protected")
        if env.paused or env.disabled:
            what = "acts are paused" if env.paused else "its playbook was switched off"
            if env.disabled:
                return self._give_up("unknown", what)
            until = min(env.now + RESUME_LOOK_S, env.resumes_at or env.now + RESUME_LOOK_S)
            return Say((self._waiting_event("resume", until, step.id),))
        if env.acts_again_at > env.now and not self.acted:
            return Say((self._waiting_event("act_limit", env.acts_again_at, step.id),))
        if self._mode(env) == "approve" and self.approved.get(step.id) != digest([step.skill, params]):
            return self._request(env)
        if not _fits(params):
            return self._give_up("unknown", f"step {step.id}: its parameters are too long to be written down before the act")
        recheck = spec.rerun == "check_before_retry" and step.id in self.unsure
        return Say((self._intend(step.id, step.skill, params, touches, recheck=recheck),))

    def _request(self, env: Env) -> Command:
        acts = self.plan(env)
        if not _fits(acts):
            return self._give_up("unknown", "what it would ask for is too long to be written down")
        until = env.now + env.approval_expires_s
        asked = self._draft("approval.requested", acts=acts, plan=digest(acts), until=format_time(until))
        return Say((asked, self._waiting_event("approval", until, acts[0]["step"] if acts else "")))

    def plan(self, env: Env) -> list[dict[str, Any]]:
        """The acts that would follow, as far as can be said now."""
        acts = []
        for step in env.playbook.steps:
            if step.kind != "act" or (step.id in self.results and not self.results[step.id].get("died")):
                continue
            if step.condition is not None and step.condition.evaluate(self._variables(env)).value is False:
                continue
            try:
                params: Any = env.skills[step.skill].check(step.params.render(self._variables(env)))
            except (CannotSay, KeyError, ValueError) as error:
                params = {"cannot_say_yet": str(error)}
            acts.append({"step": step.id, "skill": step.skill, "params": params})
        return acts

    def _finish(self, env: Env) -> Command:
        if env.playbook.verify:
            return self._ask(VERIFY, env)
        if self.acted:
            return self._give_up("unknown", "the playbook has no verify, so nobody can say whether it is well")
        return Say((self._looked_event("no_data", env),))

    def _act_in_flight(self, env: Env) -> Command:
        assert self.in_flight is not None
        flight = self.in_flight
        spec = env.skills.get(flight["skill"])
        step = self._step(env.playbook, flight["step"])
        timeout_s = step.timeout_s if step else (spec.timeout_s if spec else 60.0)
        touches = Touches(tuple(flight["files"]), tuple(flight["units"]))
        call_env = {
            **env.call_env,
            "playbook": self.playbook,
            "subject": self.subject,
            "recheck": flight["recheck"],
            "approved": flight["step"] in self.approved,
        }
        call = self._call(
            flight["step"], flight["attempt"], flight["skill"], "act", flight["params"], timeout_s, touches, env, call_env
        )
        return Act(call, timeout_s + ACT_GRACE_S)

    def _take_back(self, env: Env) -> Command:
        known = self.results.get(ROLLBACK)
        folders = [f"runs/{self.id}/{act['step']}.{act['attempt']}" for act in reversed(self.acts)]
        if not folders:
            return Say((self._draft("run.rolled_back", ok=True, proof=[], error="", by=self.rollback_asked),))
        attempt = self.attempts.get(ROLLBACK, 0) + 1
        if attempt > self._rollback_last() + self.voids.get(ROLLBACK, 0) or self.voids.get(ROLLBACK, 0) > VOIDS_MAX:
            error = (known or {}).get("error") or "the rollback could not be carried out"
            return Say((self._draft("run.rolled_back", ok=False, proof=[], error=error, by=self.rollback_asked),))
        return Say((self._intend(ROLLBACK, "rollback", {"attempts": folders}, Touches(), by=self.rollback_asked),))

    def _rollback_last(self) -> int:
        """The number of the last rollback attempt that is made by itself."""
        return ROLLBACK_ATTEMPTS_MAX + min(self.crashes.get(ROLLBACK, 0), CRASH_RERUNS_MAX)

    def _climb(self, env: Env) -> Command:
        rungs = self.rungs(env)
        if self.rung >= len(rungs):
            return Say((self._draft("run.escalated", why=self.why, asked=[f"{r.what}: {r.value}" for r in rungs]),))
        rung = rungs[self.rung]
        if rung.what == "fallback":
            return Say((self._waiting_event("rung", env.now + 86400.0, ""),))
        if self.voids.get(f"{RUNG}{self.rung}", 0) > VOIDS_MAX:
            failed = self._draft(
                "run.rung_done", rung=self.rung, what="notify", run_opened="", healed=False, error="could not be begun"
            )
            return Say((failed,))
        message = f"{rung.value} ({self.playbook} on {self.subject}: {self.why})"
        return Say((self._intend(f"{RUNG}{self.rung}", "notify", {"message": message, "level": "critical"}, Touches()),))

    def rungs(self, env: Env) -> tuple[Rung, ...]:
        """The playbook's ladder; without a fallback of its own the next best playbook is one; somebody is always told."""
        if self.denied or self.by:  # a person said no, or stands by: nothing else is tried in their place
            return (Rung("notify", "needs a person"),)
        rungs = env.playbook.on_failure
        if self.next_best and not any(r.what == "fallback" for r in rungs):
            rungs = (Rung("fallback", self.next_best), *rungs)
        if not any(r.what == "notify" for r in rungs):
            rungs = (*rungs, Rung("notify", "needs a person"))
        return rungs

    def _fallback(self, env: Env) -> str:
        rungs = self.rungs(env)
        return rungs[self.rung].value if self.rung < len(rungs) and rungs[self.rung].what == "fallback" else ""

    # --- small things ---

    def _mode(self, env: Env) -> Mode:
        if self.by:
            return "approve"  # a person turned a suggestion into this run: that is a yes to those acts, and to no others
        return lesser_mode(lesser_mode(env.playbook.mode, env.mode_max), self.mode)

    def _dry(self, env: Env) -> bool:
        return self._mode(env) in ("observe", "shadow", "suggest")

    def _looked_event(self, verdict: str, env: Env) -> Draft:
        would = [r["result"]["would"] for r in self.results.values() if r.get("skipped") and "would" in (r.get("result") or {})]
        kind = "run.suggested" if self._mode(env) == "suggest" and would else "run.observed"
        return self._draft(kind, would=would, verdict=verdict)

    def _ask(self, phase: str, env: Env) -> Command:
        try:
            checks = tuple(self._check_call(phase, n, check, env) for n, check in enumerate(env.playbook.verify))
        except CannotSay as error:
            return self._give_up("unknown", f"verify: {error}")
        except (KeyError, ValueError) as error:
            return self._give_up("unknown", f"verify: {error}")
        return Ask(phase, checks)

    def _check_call(self, phase: str, n: int, check: Check, env: Env) -> CheckCall:
        params = env.skills[check.skill].check(check.params.render(self._variables(env)))
        call = self._call(f"{phase}{n}", 1, check.skill, "verify", params, check.timeout_s, Touches(), env)
        if phase == SYMPTOM:
            return CheckCall(call, 0.0, 0.0, check.every_s)
        watches = self.acted or self._mode(env) == "shadow"  # shadow: does the symptom go by itself?
        return CheckCall(call, check.hold_s if watches else 0.0, check.within_s if watches else 0.0, check.every_s)

    def _call(
        self,
        step: str,
        attempt: int,
        skill: str,
        kind: Any,
        params: Mapping[str, Any],
        timeout_s: float,
        touches: Touches,
        env: Env,
        call_env: Mapping[str, Any] | None = None,
    ) -> SkillCall:
        return SkillCall(
            run=self.id,
            step=step,
            attempt=attempt,
            skill=skill,
            kind=kind,
            params=params,
            timeout_s=timeout_s,
            touches=touches,
            folder=f"runs/{self.id}/{step}.{attempt}",
            env=env.call_env if call_env is None else call_env,
        )

    def _variables(self, env: Env) -> dict[str, Any]:
        steps = {k: {"ok": bool(r["ok"]), "result": r.get("result") or {}} for k, r in self.results.items()}
        return variables(self.trigger, now=env.now, score=env.score, system_score=env.system_score, steps=steps)

    def _step(self, playbook: Playbook, step_id: str) -> Step | None:
        return next((step for step in playbook.steps if step.id == step_id), None)

    def _ms(self, now: float) -> float:
        return round((now - self.opened_at) * 1000.0, 3)

    def _draft(self, event_type: str, **data: Any) -> Draft:
        return Draft(
            type=event_type,
            subject=self.subject,
            data={"run": self.id, "playbook": self.playbook, **data},
            causationid=self.id,
            correlationid=self.incident,
        )

    def _step_event(self, ended: StepEnded, skill: str, kind: str, **flags: bool) -> Draft:
        body = ended.result.to_json()
        return self._draft(
            "run.step_done",
            step=ended.step,
            attempt=ended.attempt,
            skill=skill,
            kind=kind,
            ms=round(ended.ms, 3),
            **body,
            **flags,
        )

    def _skip(self, step: Step, result: Mapping[str, Any]) -> Draft:
        ended = StepEnded(step.id, 0, SkillResult(ok=True, result=result), 0.0)
        return self._step_event(ended, step.skill, step.kind, skipped=True)

    def _intend(
        self, step: str, skill: str, params: Mapping[str, Any], touches: Touches, recheck: bool = False, by: str = ""
    ) -> Draft:
        return self._draft(
            "run.step_intended",
            step=step,
            attempt=self.attempts.get(step, 0) + 1,
            skill=skill,
            params=dict(params),
            files=list(touches.files),
            units=list(touches.units),
            recheck=recheck,
            by=by,
        )

    def _waiting_event(self, waits_for: str, until: float, step: str) -> Draft:
        return self._draft("run.waiting", waits_for=waits_for, until=format_time(until), step=step)

    def _give_up(self, outcome: Literal["unknown", "not_healed"], why: str) -> Say:
        data: dict[str, Any] = {"why": why}
        if outcome == "not_healed":
            data["proof"] = []
        return Say((self._draft(f"run.{outcome}", **data),))

    def _rolled_back_event(self, result: SkillResult) -> Draft:
        proof: Sequence[Any] = result.result.get("proof") or []
        return self._draft("run.rolled_back", ok=result.ok, proof=list(proof), error=result.error, by=self.rollback_asked)


_FOLDS: Mapping[str, Callable[[Run, Mapping[str, Any], float], None]] = {
    "run.opened": Run._opened,
    "run.step_intended": Run._intended,
    "run.step_done": Run._step_done,
    "run.waiting": Run._waiting,
    "run.healed": Run._ended,
    "run.cleared": Run._ended,
    "run.observed": Run._ended,
    "run.suggested": Run._ended,
    "run.escalated": Run._ended,
    "run.not_healed": Run._failed,
    "run.unknown": Run._failed,
    "run.cancelled": Run._cancelled,
    "run.rolled_back": Run._rolled_back,
    "run.rung_done": Run._rung_done,
    "approval.requested": Run._asked,
    "approval.given": Run._given,
    "approval.denied": Run._refused,
    "approval.expired": Run._refused,
}
