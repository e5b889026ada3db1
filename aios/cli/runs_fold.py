"""Runs as people see them, folded from the journal's `run.*` and `approval.*` events: no daemon is needed to look back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aios.errors import Refused
from aios.events.event import Event, format_time
from aios.playbooks.run_state import cancelled_why
from aios.playbooks.run_table import RESERVED_STEPS, TABLE, WELL, Status

ENDS = frozenset({"healed", "cleared", "observed", "suggested", "escalated"})
SINCE_GOOD = "playbook.changed_since_good"
RECALLED = "daemon.run_recalled"
OUTCOMES = frozenset({"healed", "not_healed", "unknown", "cleared", "cancelled", "observed", "suggested"})
_BRIEF = (
    "id", "playbook", "subject", "status", "outcome", "mode", "opened", "ended",
    "waits_for", "until", "asks", "question", "choices", "evidence", "why", "parent", "incident", "taken_back",
    "not_taken_back", "cancelled", "denied", "acted", "acting",
)  # fmt: skip


@dataclass
class RunView:
    """`status` is the last word about it, `outcome` the first that judged it (empty while it is open).

    The names are those of the daemon's own summaries (verb `runs`), so that a list looks the same with and without one.
    """

    id: str
    playbook: str = ""
    subject: str = ""
    mode: str = ""
    event: str = ""
    incident: str = ""
    status: str = "opened"
    outcome: str = ""
    opened: str = ""
    ended: str = ""
    why: str = ""
    waits_for: str = ""
    until: str = ""
    parent: str = ""
    by: str = ""
    reason: str = ""
    cancelled: bool = False
    denied: bool = False
    acts: list[list[Any]] = field(default_factory=list)
    """Step and attempt of each act that was begun."""
    acting: Mapping[str, Any] = field(default_factory=dict)
    """The act that is under way: step, skill, params, since when; empty: none."""
    taken_back: bool = False
    """It was well, and a person took back later what it did."""
    not_taken_back: bool = False
    """What it did was to be taken back, and could not be, or somebody else's change is in the way."""
    trigger: Mapping[str, Any] = field(default_factory=dict)
    considered: list[Any] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    would: list[Any] = field(default_factory=list)
    asks: list[Any] = field(default_factory=list)
    question: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    evidence: list[Any] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What people said, in words, with who and why; also what came too late."""
    left_out: list[str] = field(default_factory=list)
    """Steps that a retry did not do again."""
    proof: list[Any] = field(default_factory=list)
    rolled_back: Mapping[str, Any] | None = None
    since_good: Mapping[str, Any] = field(default_factory=dict)
    """What had changed since the last good copy when it opened."""
    ladder: list[dict[str, Any]] = field(default_factory=list)

    @property
    def acted(self) -> bool:
        return bool(self.acts)

    def brief(self) -> dict[str, Any]:
        """One row of a list."""
        return {name: getattr(self, name) for name in _BRIEF}

    def whole(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def fold(events: Iterable[Event]) -> dict[str, RunView]:
    """All runs of these events by id, oldest first. A run whose beginning is gone from the journal is left out, until somebody
    has it known again."""
    runs: dict[str, RunView] = {}
    for event in events:
        if event.type.startswith(("run.", "approval.")) or event.type in (SINCE_GOOD, RECALLED):
            fold_one(runs, event)
    return runs


def fold_one(runs: dict[str, RunView], event: Event) -> None:
    run_id = str(event.data.get("run", ""))
    if event.type == "run.opened":
        runs.setdefault(run_id, _opened(run_id, event))
    elif event.type == RECALLED:
        runs.setdefault(run_id, _recalled(event))
    elif (view := runs.get(run_id)) and event.type == SINCE_GOOD:
        view.since_good = {"kind": "diff", **event.data}
    elif view:
        _apply(view, event.type, event.data, event.time)


def _opened(run_id: str, event: Event) -> RunView:
    data = event.data
    return RunView(
        id=run_id,
        playbook=str(data.get("playbook", "")),
        subject=event.subject,
        mode=str(data.get("mode", "")),
        event=str(data.get("event", "")),
        incident=event.correlationid,
        opened=event.time,
        parent=str(data.get("parent") or ""),
        by=str(data.get("by") or ""),
        reason=str(data.get("reason") or ""),
        trigger=data.get("trigger") or {},
        considered=list(data.get("considered") or []),
        left_out=[str(step) for step in data.get("passed") or []],
    )


def _apply(view: RunView, type_: str, data: Mapping[str, Any], time: str) -> None:
    kind, _, word = type_.partition(".")
    if kind == "approval":
        _answered(view, word, data, time)
        return
    if word in _APPLIES:
        _APPLIES[word](view, data, time)
    if word in OUTCOMES and not view.outcome:
        view.outcome = "unknown" if word == "cancelled" else word
    if not view.ended and _ends(view, word, data):
        view.ended = time
    if word != "rung_done":
        view.status = TABLE.get((cast(Status, view.status), type_), word)
    view.waits_for, view.until = str(data.get("waits_for") or ""), str(data.get("until") or "")
    if view.waits_for == "resume":
        view.until = ""  # it waits for a person: the time in the event is only when it looks again by itself
    view.why = str(data.get("why") or view.why)
    if word != "rolled_back":
        view.proof = list(data.get("proof") or view.proof)
    view.would = list(data.get("would") or view.would)


def _step_done(view: RunView, data: Mapping[str, Any], time: str) -> None:
    view.steps.append({**data, "time": time})
    if view.acting and view.acting["step"] == data.get("step"):
        view.acting = {}
    if data.get("voided"):
        view.acts = [act for act in view.acts if act != [data.get("step"), data.get("attempt")]]


def _step_intended(view: RunView, data: Mapping[str, Any], time: str) -> None:
    view.acting = {name: data.get(name) for name in ("step", "attempt", "skill", "params")} | {"since": time}
    if not str(data.get("step", "")).startswith(RESERVED_STEPS):
        view.acts.append([data.get("step"), data.get("attempt")])


def _rung_done(view: RunView, data: Mapping[str, Any], _time: str) -> None:
    view.ladder.append(dict(data))


def _rolled_back(view: RunView, data: Mapping[str, Any], _time: str) -> None:
    view.rolled_back = dict(data)
    view.taken_back = view.status in WELL and data.get("ok") is True
    view.not_taken_back = data.get("ok") is not True


def _rollback_asked(view: RunView, _data: Mapping[str, Any], _time: str) -> None:
    view.not_taken_back = False


def _cancelled(view: RunView, data: Mapping[str, Any], _time: str) -> None:
    view.by, view.cancelled = str(data.get("by") or ""), True
    view.why = cancelled_why(data)


_APPLIES: Mapping[str, Callable[[RunView, Mapping[str, Any], str], None]] = {
    "step_done": _step_done,
    "step_intended": _step_intended,
    "rung_done": _rung_done,
    "rolled_back": _rolled_back,
    "rollback_asked": _rollback_asked,
    "cancelled": _cancelled,
}


def _answered(view: RunView, word: str, data: Mapping[str, Any], time: str) -> None:
    by, said = str(data.get("by") or "nobody"), str(data.get("choice") or _ANSWERS.get(word, ""))
    reason = f": {data['reason']}" if data.get("reason") else ""
    if word == "refused":
        view.answers.append(f"{time} {by} said {said}{reason} (not taken: {data.get('why', '')})")
        return
    view.denied = view.denied or word == "denied"
    if word != "requested":
        view.answers.append(f"{time} {by} said {said}{reason}" if by != "nobody" else f"{time} nobody answered in time")
        view.by, view.reason = str(data.get("by") or view.by), str(data.get("reason") or "")
        data = {}
    view.asks, view.evidence = list(data.get("acts") or []), list(data.get("evidence") or [])
    view.question, view.choices = str(data.get("question") or ""), dict(data.get("choices") or {})


_ANSWERS = {"given": "yes", "denied": "no"}


def from_daemon(brief: Mapping[str, Any]) -> RunView:
    """What the daemon remembers of a run (verb `run`) of which the journal no longer holds the beginning."""
    run = brief["run"]
    view = RunView(**{name: brief[name] for name in _BRIEF if name in brief and name != "acted"})
    view.acts = [[act.get("step"), act.get("attempt")] for act in run.get("acts") or []]
    view.event, view.trigger, view.by = str(run.get("event", "")), run.get("trigger") or {}, str(run.get("by") or "")
    view.steps = [{"step": step, **result} for step, result in (run.get("results") or {}).items()]
    view.left_out = [str(step) for step in run.get("passed") or []]
    return view


def _recalled(event: Event) -> RunView:
    """What was said of it when it became known without its beginning: an act by hand, or a run that ended long ago."""
    state = event.data["state"]
    words = {
        name: state.get(name) or "" for name in ("playbook", "subject", "status", "outcome", "mode", "incident", "why", "parent")
    }
    times = {name: format_time(float(state.get(f"{name}_at") or 0.0)) for name in ("opened", "ended")}
    flags = {"cancelled": bool(state.get("cancelled")), "denied": bool(state.get("denied"))}
    return from_daemon({"id": state["id"], **words, **times, **flags, "run": state})


def _ends(view: RunView, word: str, data: Mapping[str, Any]) -> bool:
    """A failed run ends when a rung of its ladder healed, when a person was called, or when one who cancelled it has all back."""
    if word == "rung_done":
        return bool(data.get("healed"))
    if word == "cancelled":
        return view.status == "rolled_back"
    return word in ENDS or (word == "rolled_back" and view.cancelled)


def resolve(prefix: str, known: Iterable[str], *, what: str = "run", cure: str = "`aios runs list` shows them") -> str:
    """An id from its beginning, as tables show it. Raises Refused when none or several begin so."""
    found = sorted(run for run in known if run.startswith(prefix))
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if not found:
        raise Refused(f"there is no {what} {prefix!r}", cure)
    raise Refused(f"{prefix!r} is the beginning of {len(found)} {what}s", "write more of it: " + ", ".join(found[:5]))
