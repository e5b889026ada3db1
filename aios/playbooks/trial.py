"""Runs a playbook's own tests: the real run, with stubs for its skills and a clock that only moves when something waits.

Called by `aios playbook test` and by the tests of the shipped playbooks. Nothing is touched: what would go out (a look, an
act, a check, a question to a person) is answered from the stubs of `read_tests.py`. A fallback is not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aios.events.calls import SkillCall, SkillCatalogue, SkillResult, Verdict, failed
from aios.events.event import Event
from aios.playbooks.index import event_view, type_fits
from aios.playbooks.model import Playbook, variables
from aios.playbooks.read_tests import APPROVAL, GIVEN
from aios.playbooks.run import Run
from aios.playbooks.run_opening import opening
from aios.playbooks.run_table import ROLLBACK, RUNG, SYMPTOM
from aios.playbooks.run_words import (
    Act,
    Answered,
    Ask,
    Checked,
    Command,
    Env,
    Happening,
    Look,
    OpenFallback,
    Over,
    RungEnded,
    Say,
    StepEnded,
    Wait,
)
from aios.playbooks.trial_events import happened, time_of

SCORE = 0.5
"""What the scores are when a test does not say: ill."""

MOVES_MAX = 2000
"""No playbook of a hundred steps with twenty tries each takes more; a test always ends."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How a test went. `steps` are those that were carried out, each once; `why` says why the run ended, or did not begin."""

    name: str
    ok: bool
    differences: tuple[str, ...]
    outcome: str
    steps: tuple[str, ...]
    why: str = ""
    line: int = 0


def try_playbook(playbook: Playbook, test: Mapping[str, Any], skills: SkillCatalogue) -> TrialResult:
    """Run one entry of `playbook.tests`."""
    if "mode" in test["given"]:
        playbook = replace(playbook, mode=test["given"]["mode"])
    events, why = happened(playbook, test["given"])
    for event in events:  # the first that it answers opens the run; the others would join it
        why = _why_not(playbook, event, test["given"])
        if not why:
            break
    outcome, why, steps = ("no_run", why, ()) if why else _Trial(playbook, test, skills, event).run()
    differences = tuple(_differences(test["expect"], outcome, why, steps))
    return TrialResult(test["name"], not differences, differences, outcome, steps, why, test.get("line", 0))


def _why_not(playbook: Playbook, event: Event, given: Mapping[str, Any]) -> str:
    """Why the playbook does not run for this event; empty when it does."""
    view = event_view(event)
    if playbook.correlation is None and not any(type_fits(name, event.type) for name in playbook.types):
        return f"the type {event.type} is not among {', '.join(playbook.types)}"
    if playbook.pattern is not None and not playbook.pattern.matches(view):
        return playbook.pattern.describe(view)
    if playbook.when is not None:
        score, system_score = given.get("score", SCORE), given.get("system_score", SCORE)
        known = variables(view, now=time_of(event), score=score, system_score=system_score, steps={})
        truth = playbook.when.evaluate(known)
        if truth.value is None:
            return f"`when` cannot say: {truth.why}"
        return "" if truth.value else f"`when`: {truth.why}"
    return ""


def _differences(expect: Mapping[str, Any], outcome: str, why: str, steps: tuple[str, ...]) -> list[str]:
    found = []
    if outcome != expect["outcome"]:
        found.append(f"outcome is {outcome}, expected {expect['outcome']}" + (f" ({why})" if why else ""))
    if "steps" in expect and list(steps) != list(expect["steps"]):
        found.append(f"steps were {_listed(steps)}, expected {_listed(expect['steps'])}")
    return found


def _listed(names: Any) -> str:
    return "[" + ", ".join(names) + "]"


class _Trial:
    """One run, answered from stubs."""

    def __init__(self, playbook: Playbook, test: Mapping[str, Any], skills: SkillCatalogue, event: Event) -> None:
        self._playbook = playbook
        self._given = test["given"]
        self._stubs: Mapping[str, Any] = test["stub"]
        # Whether a command may be looked at in the daemon is the settings' business; in a test every observing step looks.
        used = {*(step.skill for step in playbook.steps if step.question is None), *(check.skill for check in playbook.verify)}
        self._skills = {name: replace(skills[name], only_looks=None) for name in sorted(used)}
        self._asked: dict[str, int] = {}
        self._steps: dict[str, None] = {}
        self._now = time_of(event)
        opened = opening(event=event, playbook=playbook, mode=playbook.mode, resources=(), incident="trial", priority=2)
        self._run = Run(opened.id)
        self._run.fold(opened.type, opened.data, self._now)

    def run(self) -> tuple[str, str, tuple[str, ...]]:
        """Outcome, why, and the steps that were carried out."""
        for _ in range(MOVES_MAX):
            env = self._env()
            command = self._run.next(env)
            if isinstance(command, Over):
                return self._run.outcome, self._run.why, tuple(self._steps)
            self._obey(command, env)
        return "unknown", f"the run did not end within {MOVES_MAX} moves", tuple(self._steps)

    def _env(self) -> Env:
        return Env(
            now=self._now,
            playbook=self._playbook,
            skills=self._skills,
            score=self._given.get("score", SCORE),
            system_score=self._given.get("system_score", SCORE),
        )

    def _obey(self, command: Command, env: Env) -> None:
        if isinstance(command, Say):
            for draft in command.drafts:
                self._run.fold(draft.type, draft.data, self._now)
            return
        if isinstance(command, Wait) and command.waits_for != "approval":
            self._now = max(self._now, command.until)
            return
        for draft in self._run.advance(self._happening(command), env):
            self._run.fold(draft.type, draft.data, self._now)

    def _happening(self, command: Command) -> Happening:
        if isinstance(command, Look | Act):
            call = command.call
            return StepEnded(call.step, call.attempt, self._result(call), 1.0)
        if isinstance(command, Ask):
            return self._checked(command)
        if isinstance(command, OpenFallback):
            return RungEnded(False, command.run, "a test does not follow a fallback")
        assert isinstance(command, Wait), command
        return self._answered(command)

    def _answered(self, wait: Wait) -> Happening:
        """What a person says to what it waits for; nobody answers before the time is over."""
        asked = self._run.asked or {}
        word = self._stubs.get(asked["step"], "no_answer") if "choices" in asked else self._stubs.get(APPROVAL, GIVEN)
        if word == "no_answer":
            self._now = max(self._now, wait.until)
            return Answered(False, "")
        if "choices" in asked and word != "denied":
            self._steps[asked["step"]] = None
        return Answered(word != "denied", "the test", "", word if "choices" in asked else "")

    def _result(self, call: SkillCall) -> SkillResult:
        if call.step == ROLLBACK or call.step.startswith(RUNG):
            return SkillResult(ok=True)
        self._steps[call.step] = None
        stub = self._stub(call.step if call.step in self._stubs else call.skill)
        if isinstance(stub, Mapping):
            return SkillResult(ok=stub.get("ok") is not False, result={k: v for k, v in stub.items() if k != "ok"})
        return SkillResult(ok=True) if stub in ("ok", "well") else failed(f"stubbed: {stub}")

    def _checked(self, ask: Ask) -> Checked:
        if ask.phase == SYMPTOM:
            return Checked(SYMPTOM, self._given.get("symptom", "not_well"), (), 1.0)
        said = [_verdict(self._stub(check.call.skill)) for check in ask.checks]
        worst: Verdict = "not_well" if "not_well" in said else "no_data" if "no_data" in said else "well"
        self._now += max((check.hold_s if worst == "well" else check.within_s for check in ask.checks), default=0.0)
        return Checked(ask.phase, worst, tuple({"verdict": word} for word in said), 1.0)

    def _stub(self, name: str) -> Any:
        """What this stub says at its next call; the last of a list stays."""
        stub = self._stubs.get(name, "ok")
        if not isinstance(stub, list):
            return stub
        turn = self._asked.get(name, 0)
        self._asked[name] = turn + 1
        return stub[min(turn, len(stub) - 1)]


def _verdict(stub: Any) -> Verdict:
    word = stub.get("verdict", "no_data") if isinstance(stub, Mapping) else stub
    if word in ("ok", "well"):
        return "well"
    return "not_well" if word in ("fail", "not_well") else "no_data"
