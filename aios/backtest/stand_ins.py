"""What stands where skills would look and act: nothing is touched, and what nobody can know is assumed in one place.

`machine` wires these into the real runner. An act is taken to succeed at once. What a look would have seen is unknown: an `if`
that depends on it is taken to say yes (the report marks the act with a question mark), a parameter that depends on it is
left unsaid. Whether an act that never was would have helped nobody knows either: whoever asks says what is to be assumed
(`Assume`), and the report never calls it healed. Before the first act the symptom is what the journal shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from aios.events.calls import SkillCall, SkillCatalogue, SkillResult, SkillSpec, Touches, Verdict
from aios.playbooks.model import CannotSay, Condition, Playbook, Step, Template, Truth
from aios.playbooks.run import Run
from aios.playbooks.run_table import SYMPTOM
from aios.ports import AttemptFate
from aios.scores.symptoms import is_level
from aios.world import World

Assume = Literal["well", "ill"]
"""What `verify` says after the acts: that they helped (guards do what they do after a repair), or not (so does the ladder)."""
ASSUMES: tuple[Assume, ...] = ("well", "ill")

UNSAID = "\x00unsaid"
"""Marks parameters that depend on what a look would have seen. No YAML file can hold this character."""


class StandInHands:
    """The `Hands` port: every act succeeds at once."""

    def __init__(self) -> None:
        self._tell: list[Callable[[str, SkillResult], None]] = []

    def start(self, call: SkillCall) -> None:
        for tell in self._tell:
            asyncio.get_running_loop().call_soon(tell, call.key, SkillResult(ok=True))

    async def recover(self, call: SkillCall) -> AttemptFate:
        return AttemptFate("voided")

    def cancel(self, key: str) -> None:
        pass

    def on_done(self, callback: Callable[[str, SkillResult], None]) -> None:
        self._tell.append(callback)

    def on_lost(self, callback: Callable[[str], None]) -> None:
        pass

    async def answers(self, within_s: float) -> bool:
        return within_s >= 0


@dataclass(frozen=True, slots=True)
class StandInLooker:
    """The `Looker` port: what a look sees is not known; `verify` says what the journal shows, or what is assumed."""

    world: World
    assume: Assume

    async def look(self, call: SkillCall) -> SkillResult:
        if call.kind != "verify":
            return SkillResult(ok=True)
        verdict = self._verdict(call)
        return SkillResult(ok=verdict == "well", result={"verdict": verdict})

    def _verdict(self, call: SkillCall) -> Verdict:
        run = self.world.runs.get(call.run)
        stands = _stands(run, self.world) if run is not None else None
        if call.step.startswith(SYMPTOM):
            return "no_data" if stands is None else "not_well" if stands else "well"
        return "well" if self.assume == "well" or stands is False else "not_well"


def _stands(run: Run, world: World) -> bool | None:
    """Whether what the run answers is still ill by the journal; None: no event would ever say."""
    event_type = str(run.trigger.get("type", ""))
    return (run.subject, event_type) in world.symptoms if is_level(event_type) else None


# --- playbooks whose steps ask for what was never seen ----------------------------------------------------------------


def depends_on_looks(step: Step) -> bool:
    """Whether its `if` or a parameter asks for what an earlier step saw."""
    named = step.condition.source if step.condition is not None else ""
    return "steps." in named or "steps[" in named or _names_steps(step.params.source)


def _names_steps(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value and "steps" in value
    if isinstance(value, Mapping):
        return any(map(_names_steps, value.values()))
    return isinstance(value, list | tuple) and any(map(_names_steps, value))


def assuming(playbook: Playbook) -> Playbook:
    """The same playbook, whose steps go on where only a real look could say."""
    return replace(playbook, steps=tuple(_assuming_step(step) if depends_on_looks(step) else step for step in playbook.steps))


def _assuming_step(step: Step) -> Step:
    condition = _Yes(step.condition) if step.condition is not None else None
    return replace(step, condition=condition, params=_AsFar(step.params))


@dataclass(frozen=True, slots=True)
class _Yes:
    """A condition that says yes where it cannot say."""

    inner: Condition

    @property
    def source(self) -> str:
        return self.inner.source

    def evaluate(self, variables: Mapping[str, Any]) -> Truth:
        truth = self.inner.evaluate(variables)
        return truth if truth.value is not None else Truth(True, f"assumed: {truth.why}")


@dataclass(frozen=True, slots=True)
class _AsFar:
    """Parameters as far as they can be said."""

    inner: Template

    @property
    def source(self) -> Any:
        return self.inner.source

    def render(self, variables: Mapping[str, Any]) -> Any:
        try:
            return self.inner.render(variables)
        except CannotSay:
            return {UNSAID: True, **self._parts(variables)}

    def _parts(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name in self.inner.source if isinstance(self.inner.source, Mapping) else ():
            part = self.inner.part(name)
            try:
                said[name] = part.render(variables) if part is not None else None
            except CannotSay:
                said[name] = "(what a look would have seen)"
        return said

    def part(self, name: str) -> Template | None:
        return self.inner.part(name)


def unchecked_where_unsaid(skills: SkillCatalogue, playbooks: Iterable[Playbook]) -> SkillCatalogue:
    """The skills that these playbooks use, as they are, but that parameters with something unsaid pass their check."""
    used = {skill for p in playbooks for skill in (*(s.skill for s in p.steps), *(c.skill for c in p.verify))}
    return {name: _lenient(skills[name]) for name in sorted(used) if name in skills}


def _lenient(spec: SkillSpec) -> SkillSpec:
    def check(raw: Mapping[str, Any]) -> dict[str, Any]:
        return dict(raw) if UNSAID in raw else spec.check(raw)

    def touches(params: Mapping[str, Any]) -> Touches:
        return Touches() if UNSAID in params else spec.touches(params)

    return replace(spec, check=check, touches=touches, dry_text=None)


__all__ = ["ASSUMES", "Assume", "StandInHands", "StandInLooker", "assuming", "depends_on_looks", "unchecked_where_unsaid"]
