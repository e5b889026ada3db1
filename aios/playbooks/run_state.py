"""A run as far as it has come: its fields, and how each of its durable events changes them. What follows from that is `run`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from aios.errors import MachineError
from aios.playbooks.run_opening import digest
from aios.playbooks.run_table import RESERVED_STEPS, ROLLBACK, RUNG, SYMPTOM, TABLE, WELL, Status

DIFFERING_SHOWN = 3


@dataclass(slots=True)
class RunState:
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
    answered: dict[str, Any] | None = None
    """The last answer: `word` (given, denied, expired), by whom, which choice, why, and when."""
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What people chose where a step asked: step -> choice, by, reason."""
    why: str = ""
    outcome: str = ""
    rung: int = 0
    rung_awaited: int = -1
    """The last rung whose delay was begun; it is waited for once, whatever else the run has to wait for."""
    passed: list[str] = field(default_factory=list)
    """Acts that a person left out when they had this retried from a later step."""
    again: int = 0
    retried: int = 0
    """The highest `again` that a run of its event and playbook has had: no number comes twice, and with it no id."""
    recalled: bool = False
    """The world had forgotten it, and knows of it only what a rollback needs."""
    fallbacks: dict[str, list[Any]] = field(default_factory=dict)
    """How runs that this one opened as its fallbacks ended: id -> [healed, why]."""
    cancelled: bool = False
    closed: bool = False
    rollback_asked: str = ""
    rollback_forced: bool = False
    rollback_base: int = 0
    """Attempts of a rollback that were made before a person asked for one (again): these count anew."""
    by: str = ""
    rests: str = ""
    """What it waits for by its last event: where it was woken since, only the runner knows, until it says something."""
    differs: str = ""
    """Which of its files were not as in their last-good copy when it opened, in words: what calls a person says so."""

    # --- reading ---

    @property
    def ended(self) -> bool:
        """Nothing is left to do."""
        return self.closed and self.in_flight is None and not self.rollback_asked

    @property
    def acted(self) -> bool:
        return bool(self.acts)

    @property
    def unanswered(self) -> bool:
        """Nobody answered in time."""
        return self.answered is not None and self.answered["word"] == "expired"

    @property
    def taken_back(self) -> bool:
        """It was well, and a person took back later what it did."""
        return self.status in WELL and bool((self.results.get(ROLLBACK) or {}).get("ok"))

    @property
    def not_taken_back(self) -> bool:
        """What it did was to be taken back, and could not be, or somebody else's change is in the way."""
        judged = self.status == "rolled_back" or self.ended
        return judged and (self.results.get(ROLLBACK) or {}).get("ok") is False

    @property
    def reached_an_act(self) -> bool:
        """Whether an act was ever intended, also one that was void in the end: what guards count, once a run."""
        return any(not step.startswith(RESERVED_STEPS) for step in self.attempts)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FIELDS}

    def for_rollback(self) -> dict[str, Any]:
        """What a rollback needs to know of an ended run: all but what came of its steps, so that one line holds it."""
        taken_back = {name: result for name, result in self.results.items() if name == ROLLBACK}
        return {**self.to_json(), "results": taken_back, "trigger": {**self.trigger, "data": {}}, "recalled": True}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        run = cls(**{name: value for name, value in raw.items() if name in _FIELDS})
        if "rests" not in raw and run.wait is not None:  # an older version's
            run.rests = run.wait["for"]
        return run

    # --- folding ---

    def fold(self, event_type: str, data: Mapping[str, Any], at: float) -> None:
        """Take one of the run's own durable events in. Raises `MachineError` for a pair that the table does not know."""
        try:
            after = TABLE[self.status, event_type]
        except KeyError:
            raise MachineError(f"run {self.id}: {event_type} while {self.status}") from None
        waited = self.wait is not None and self.wait["for"] not in ("rung", "ladder")  # where it stands on its ladder is no look
        if waited and event_type != "run.waiting" and not event_type.startswith("approval."):
            self.wake()
        self.status = after
        _FOLDS[event_type](self, data, at)
        self.rests = self.wait["for"] if self.wait is not None else ""

    def clone(self) -> Self:
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
            chosen=dict(self.chosen),
        )

    def since_good(self, changed: Sequence[Any], files: int) -> None:
        """These files differ from their last-good copy, the first of them by name."""
        named = [str(path) for path in changed[:DIFFERING_SHOWN]]
        more = ["…"] if files > len(named) else []
        what = "1 file is" if files == 1 else f"{files} files are"
        self.differs = f"{what} not as when it was last well: {', '.join(named + more)} (aios keep diff {self.subject})"

    def tear(self, why: str, at: float) -> None:
        """End it where its history has a hole: nobody can say any more all that it did, so a person has to look."""
        self.closed, self.ended_at = True, at
        self.status, self.outcome, self.why = "escalated", "unknown", why
        self.in_flight, self.wait, self.asked, self.rollback_asked = None, None, None, ""

    def wake(self) -> None:
        """A wait is over: what was looked at before is old, so the observing steps and the symptom are looked at again."""
        if self.wait is None:
            return
        waited, self.wait = self.wait, None
        if waited["for"] == "ladder":
            return  # what it looks at no more is not old
        self.symptom = ""
        self.results = {k: r for k, r in self.results.items() if r.get("kind") in ("act", "ask") and not r.get("skipped")}

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
        self.results = {step: dict(result) for step, result in (data.get("kept") or {}).items()}
        self.passed = list(data.get("passed") or ())
        self.opened_at = at

    def _intended(self, data: Mapping[str, Any], at: float) -> None:
        step, attempt = data["step"], data["attempt"]
        self.attempts[step] = attempt
        self.in_flight = {
            "step": step,
            "attempt": attempt,
            "skill": data["skill"],
            "params": data["params"],
            "files": list(data["files"]),
            "units": list(data["units"]),
            "settings": list(data.get("settings", ())),
            "recheck": bool(data.get("recheck")),
            "since": at,
        }
        if step == ROLLBACK and self.closed:
            self.rollback_asked = data.get("by", "")
        elif step != ROLLBACK and not step.startswith(RUNG):
            self.tries[step] = self.tries.get(step, 0) + 1
            self.acts.append({"step": step, "attempt": attempt, "skill": data["skill"]})

    def _step_done(self, data: Mapping[str, Any], _at: float) -> None:
        step = data["step"]
        if data.get("kind") == "act" and data["attempt"] > self.attempts.get(step, 0):
            self.attempts[step] = data["attempt"]  # its intent is lost with a damaged line: the number is used all the same
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

    def _waiting(self, data: Mapping[str, Any], at: float) -> None:
        self.wait = {name: data.get(name, "") for name in ("until", "step", "on")} | {"for": data["waits_for"], "since": at}
        self.must_wait = ""
        if data["waits_for"] == "retry":  # what failed is tried again, so its result is no longer the step's
            self.results.pop(data["step"], None)
        elif data["waits_for"] == "ladder":
            self.rung_awaited = self.rung

    def _asked(self, data: Mapping[str, Any], _at: float) -> None:
        self.asked = {"plan": data["plan"], "acts": data["acts"], "until": data["until"]}
        self.asked |= {name: data[name] for name in ("step", "question", "choices", "evidence") if name in data}

    def _given(self, data: Mapping[str, Any], at: float) -> None:
        if self.asked is not None and data.get("plan") == self.asked["plan"]:
            if "choices" in self.asked:
                answer = {name: data.get(name, "") for name in ("choice", "by", "reason")}
                self.chosen[self.asked["step"]] = answer
            else:
                self.approved = {act["step"]: digest([act["skill"], act["params"]]) for act in self.asked["acts"]}
        self._answer("given", data, at)

    def _answer(self, word: str, data: Mapping[str, Any], at: float) -> None:
        said = {name: data.get(name, "") for name in ("by", "choice", "reason")}
        self.asked, self.answered = None, {"word": word, **said, "at": at}

    def _noted(self, _data: Mapping[str, Any], _at: float) -> None:
        """Nothing changes."""

    def _refused(self, data: Mapping[str, Any], at: float) -> None:
        self._answer("denied" if data.get("by") else "expired", data, at)
        self.denied = said_no(data["by"], data.get("reason", "")) if data.get("by") else "nobody answered in time"

    def _failed(self, data: Mapping[str, Any], _at: float) -> None:
        self.outcome, self.why = self.status, data.get("why", "")
        self.wait = None

    def _cancelled(self, data: Mapping[str, Any], at: float) -> None:
        self.cancelled, self.outcome, self.why = True, self.outcome or "unknown", cancelled_why(data)
        self.wait, self.asked = None, None
        if self.status == "rolled_back":
            self.closed, self.ended_at = True, at

    def _rollback_asked(self, data: Mapping[str, Any], _at: float) -> None:
        self.rollback_asked, self.rollback_forced = data["by"], bool(data.get("force"))
        self.rollback_base = self.attempts.get(ROLLBACK, 0)
        self.results.pop(ROLLBACK, None)

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


def said_no(by: str, reason: str) -> str:
    """Why a run that was denied ended."""
    return f"denied by {by}: {reason}" if reason else f"denied by {by}"


def cancelled_why(data: Mapping[str, Any]) -> str:
    """Why a run ended, from its `run.cancelled`."""
    return str(data.get("why") or f"cancelled by {data.get('by') or ''}")


_FIELDS = tuple(field.name for field in fields(RunState))
_FOLDS: Mapping[str, Callable[[RunState, Mapping[str, Any], float], None]] = {
    "run.opened": RunState._opened,
    "run.step_intended": RunState._intended,
    "run.step_done": RunState._step_done,
    "run.waiting": RunState._waiting,
    "run.healed": RunState._ended,
    "run.cleared": RunState._ended,
    "run.observed": RunState._ended,
    "run.suggested": RunState._ended,
    "run.escalated": RunState._ended,
    "run.not_healed": RunState._failed,
    "run.unknown": RunState._failed,
    "run.cancelled": RunState._cancelled,
    "run.rollback_asked": RunState._rollback_asked,
    "run.rolled_back": RunState._rolled_back,
    "run.rung_done": RunState._rung_done,
    "approval.requested": RunState._asked,
    "approval.given": RunState._given,
    "approval.denied": RunState._refused,
    "approval.expired": RunState._refused,
    "approval.refused": RunState._noted,
}
