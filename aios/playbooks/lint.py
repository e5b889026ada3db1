"""What loads but should not stay so: findings beyond errors, each with its place and cure.

Called by `aios playbook lint`. `error` findings are those of `load`; a `warning` is probably a mistake; an `info` is worth
knowing. The codes are stable, so that a person can name the one they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from aios.errors import Fix
from aios.events.calls import SkillCatalogue, SkillSpec
from aios.events.catalogue import CORRELATED
from aios.events.durations import format_duration
from aios.nearest import nearest
from aios.playbooks import lint_looks, lint_windows
from aios.playbooks.condition import CelCondition, CelTemplate, Expression
from aios.playbooks.index import order, type_fits
from aios.playbooks.lint_match import (
    Said,
    beside_or,
    impossible,
    known_types,
    literal_stars,
    odd_subjects,
    patterns,
    same_resource,
    touched,
    unknown_type,
)
from aios.playbooks.load import Loaded
from aios.playbooks.model import ASK, Keep, Playbook, Step
from aios.playbooks.read import node_at
from aios.playbooks.yaml_strict import Node, Source, parse

ANSWER_FIELDS = ("choice", "by", "reason")
"""A type so like one of ours is probably ours, misspelt; `deploy.done` is somebody else's, though `daemon.act_done` is near."""

Level = Literal["error", "warning", "info"]

CODES: Mapping[str, str] = {
    "load": "The playbook cannot be used.",
    "no-cooldown": "It acts, and nothing keeps it from acting again at once.",
    "short-cooldown": "The cooldown is shorter than its own acts may take.",
    "no-limit": "It acts, and no breaker ever opens.",
    "no-hold": "It acts, and one good answer right after the act counts as proof.",
    "acts-on-all": "It acts on every subject of a whole family of types.",
    "unknown-type": "No sensor of AIOS says this type.",
    "unknown-field": "The type's data has no such field.",
    "unknown-result": "The skill's result has no such field.",
    "unreachable": "Another playbook always goes first.",
    "never-matches": "No event can match this pattern.",
    "odd-subject": "Sensors spell such a subject otherwise.",
    "constant-when": "The condition does not depend on anything.",
    "literal-star": "A star in a plain value is a star, and stands for nothing else.",
    "beside-or": "A field stands beside $or and in it; only what stands in it counts.",
    "same-resource": "Another playbook acts on the same thing, for other events.",
    "same-trigger": "Another playbook has the same trigger and priority; the name alone decides.",
    **lint_windows.CODES,
    **lint_looks.CODES,
    "nothing-kept": "It puts last-good copies back, and nothing takes them.",
    "not-kept": "It puts a file back of which it takes no copy.",
    "never-put-back": "It takes last-good copies, and nothing puts them back.",
    "cannot-undo": "An act cannot be rolled back.",
    "unknown-choice": "A step waits for an answer that nobody can give.",
    "unused-answer": "A person is asked, and nothing depends on what they say.",
    "never-asked": "Its mode lets it ask nobody.",
    "unknown-stub": "A test answers with a field that the skill never gives.",
    "no-tests": "It has no tests of its own.",
    "no-description": "Nobody can read what it is for.",
}
_WARNINGS = frozenset((
    "protected",
    "no-cooldown", "no-limit", "no-hold", "acts-on-all", "unknown-field", "unknown-result", "unreachable", "nothing-kept",
    "not-kept", "never-matches", "constant-when", "beside-or", "unknown-choice", "unused-answer", "unknown-stub",
    "odd-subject",
    *lint_windows.WARNINGS,
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    code: str
    level: Level
    path: str
    line: int
    column: int
    message: str
    hint: str = ""
    snippet: str = ""
    fix: Fix | None = None


def lint(loaded: Loaded, skills: SkillCatalogue, look_commands: Collection[str] | None = None) -> list[Finding]:
    """Every finding, by file and line. `look_commands` are those of the settings; None where these are not known."""
    found = [Finding("load", "error", e.path, e.line, e.column, e.message, e.hint, e.snippet, e.fix) for e in loaded.errors]
    touches = {playbook.name: touched(playbook, skills) for playbook in loaded.playbooks}
    for playbook in loaded.playbooks:
        place = _Places(playbook, loaded.texts[playbook.name])
        for check in _CHECKS:
            found += [place.finding(*said) for said in check(playbook, skills)]
        if look_commands is not None:
            found += [place.finding(*said) for said in lint_looks.listed(playbook, look_commands)]
        found += [place.finding(*said) for said in lint_looks.refused(touches[playbook.name])]
        found += [place.finding(*said) for said in _beside_others(playbook, loaded.playbooks)]
        found += [place.finding(*said) for said in same_resource(playbook, loaded.playbooks, touches)]
    return sorted(found, key=lambda f: (f.path, f.line, f.column, f.code))


class _Places:
    """Where something stands in a playbook that has loaded."""

    def __init__(self, playbook: Playbook, text: str) -> None:
        self._source = Source(playbook.path, text)
        self._root: Node = parse(self._source)

    def finding(self, code: str, where: tuple[str | int, ...], message: str, hint: str) -> Finding:
        owner = node_at(self._root, where[:-1])
        node = node_at(owner, where[-1:])
        if where and owner.kind == "map" and where[-1] in owner.entries and node.kind != "scalar":
            node = owner.entries[str(where[-1])][0]
        shown = self._source.error(node.line, node.column, message, hint)
        warns = (
            code in _WARNINGS or (code == "unknown-type" and "mean" in hint) or (code == "not-listed" and where[0] == "verify")
        )
        level: Level = "warning" if warns else "info"
        return Finding(code, level, shown.path, shown.line, shown.column, message, hint, shown.snippet)


def _cooldown(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    if not playbook.acts or playbook.mode == "observe":
        return
    cooldown, where = playbook.guard.cooldown_s, ("guard", "cooldown")
    longest = sum(_step_takes_s(step) for step in playbook.steps if step.kind == "act")
    if cooldown == 0:
        yield "no-cooldown", where, CODES["no-cooldown"], "write cooldown: 5m, counted from the end of the last run"
    elif cooldown < longest:
        took, wanted = format_duration(longest), format_duration(cooldown)
        message = f"a cooldown of {wanted} is shorter than its own acts may take ({took})"
        yield "short-cooldown", where, message, f"write cooldown: {took}, or shorter timeouts"
    if playbook.guard.limit is None:
        yield "no-limit", ("guard", "limit"), CODES["no-limit"], "write limit: 3 in 1h"


def _step_takes_s(step: Step) -> float:
    """At most, with all its tries and the waits between them."""
    waits = [min(step.retry.backoff_s * step.retry.factor**n, step.retry.ceiling_s) for n in range(step.retry.attempts - 1)]
    return step.timeout_s * step.retry.attempts + sum(waits)


def _proof(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    if playbook.acts and playbook.mode != "observe" and playbook.verify and not any(c.hold_s for c in playbook.verify):
        yield "no-hold", ("verify",), CODES["no-hold"], "add hold: 10s to a check: it must stay well for so long"


def _reach(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    wild = [name for name in playbook.types if name.endswith(".*")]
    if wild and playbook.pattern is None and playbook.acts and playbook.mode == "auto":
        message = f"it acts on every subject of every type {wild[0]}"
        yield "acts-on-all", ("on", "type"), message, "name the types or subjects, or write mode: suggest"


def _types(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    for position, name in enumerate(playbook.types):
        where = ("on", "type", position) if len(playbook.types) > 1 else ("on", "type")
        yield from unknown_type(name, where)


def _fields(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    for types, match, where in patterns(playbook):
        data = match.get("data")
        named = [((*where, "data", name), name) for name in (data if isinstance(data, Mapping) else ())]
        yield from _unknown_fields(types, named)
    used = [(where, name) for where, expression in _expressions(playbook) for name in sorted(expression.data_fields)]
    yield from _unknown_fields(playbook.types if playbook.correlation is None else (CORRELATED,), used)


def _unknown_fields(types: Sequence[str], named: Iterable[tuple[tuple[str | int, ...], str]]) -> Iterator[Said]:
    """Of fields with their places, those that the types' data does not have; `$or` is none."""
    entries = known_types(types)
    known = sorted({name for entry in entries for name in entry.fields})
    for where, name in named if entries else ():
        if name not in known and name != "$or":
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known) or 'no fields'}"
            yield "unknown-field", where, f"{' and '.join(types[:3])} has no field {name!r} in its data", hint


def _results(playbook: Playbook, skills: SkillCatalogue) -> Iterator[Said]:
    skill_of = {step.id: step.skill for step in playbook.steps}
    for where, expression in _expressions(playbook):
        for step, name in sorted(expression.step_results):
            skill = skill_of.get(step, "")
            spec = skills.get(skill)
            known = ANSWER_FIELDS if skill == ASK else spec.result_fields if spec is not None else ()
            if not known or name in known:
                continue
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
            yield "unknown-result", where, f"{skill} gives no {name!r}", hint


def _questions(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    expressions = list(_expressions(playbook))
    for position, step in enumerate(playbook.steps):
        if step.question is None:
            continue
        if playbook.mode in ("observe", "shadow", "suggest"):
            yield (
                "never-asked",
                ("steps", position, ASK),
                f"in mode {playbook.mode} nobody is asked",
                "write mode: approve, or auto",
            )
        if not any(step.id in expression.steps for _, expression in expressions):
            hint = f"write if: steps.{step.id}.result.choice == {next(iter(step.question.choices))!r} at a later step"
            yield "unused-answer", ("steps", position, ASK), CODES["unused-answer"], hint
        for where, expression in expressions:
            for word in _compared(step.id, expression.source):
                if word not in step.question.choices:
                    near = nearest(word, step.question.choices)
                    hint = f"did you mean {near!r}?" if near else f"its choices are {', '.join(step.question.choices)}"
                    yield "unknown-choice", where, f"step {step.id!r} has no choice {word!r}", hint


def _compared(step: str, source: str) -> list[str]:
    """The words that an expression compares this step's choice with, as it is usually written."""
    choice = rf"steps\.{re.escape(step)}\.result\.choice"
    found = re.findall(rf"{choice}\s*[!=]=\s*[\"']([^\"']*)[\"']|[\"']([^\"']*)[\"']\s*[!=]=\s*{choice}", source)
    return [left or right for left, right in found]


def _expressions(playbook: Playbook) -> Iterator[tuple[tuple[str | int, ...], Expression]]:
    """Every expression with its place in the file."""
    if isinstance(playbook.when, CelCondition):
        yield ("when",), playbook.when.expression
    for position, step in enumerate(playbook.steps):
        if isinstance(step.condition, CelCondition):
            yield ("steps", position, "if"), step.condition.expression
        if step.question is not None:
            for expression in cast("CelTemplate", step.question.text).expressions:
                yield ("steps", position, ASK), expression
        for expression in cast("CelTemplate", step.params).expressions:
            yield ("steps", position, "with"), expression
    for position, check in enumerate(playbook.verify):
        for expression in cast("CelTemplate", check.params).expressions:
            yield ("verify", position, check.skill), expression


def _copies(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    restoring = [n for n, step in enumerate(playbook.steps) if step.skill == "restore_files"]
    if playbook.keep is None:
        if restoring:
            hint = "add keep: {files: [/etc/nginx], after: 60s}"
            yield "nothing-kept", ("steps", restoring[0], "act"), CODES["nothing-kept"], hint
        return
    for number in restoring:
        yield from _uncovered(playbook.steps[number], number, playbook.keep)
    if not restoring:
        yield "never-put-back", ("keep",), CODES["never-put-back"], "add a step act: restore_files, or a fallback that does it"


def _uncovered(step: Step, number: int, keep: Keep) -> Iterator[Said]:
    """Files that are put back though no copy holds them. A kept folder covers what is below it, and not the other way round."""
    files = cast("CelTemplate", step.params).source.get("files")
    for position, file in enumerate(files if isinstance(files, list) else ()):
        if not isinstance(file, str) or "${" in file:
            continue  # only the event tells
        if not any(file == kept or file.startswith(kept.rstrip("/") + "/") for kept in keep.files):
            where = ("steps", number, "with", "files", position)
            message = f"{file} is put back, and keep takes no copy of it"
            yield "not-kept", where, message, f"write keep: {{files: [{', '.join((*keep.files, file))}]}}"


def _windows(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    yield from lint_windows.windows(playbook)
    for where, expression in _expressions(playbook):
        yield from lint_windows.named(playbook, where, expression)


def _blind(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    yield from lint_looks.blind(playbook)


def _undo(playbook: Playbook, skills: SkillCatalogue) -> Iterator[Said]:
    for position, step in enumerate(playbook.steps):
        if step.kind == "act" and skills[step.skill].irreversible:
            message = f"what {step.skill} does cannot be rolled back"
            yield "cannot-undo", ("steps", position, "act"), message, "in auto it works only where the settings allow it"
        elif step.kind == "act" and _names_nothing(step, skills[step.skill]):
            names = " or ".join(skills[step.skill].touch_params)
            message = f"what this {step.skill} does cannot be taken back: it names no {names}, so nothing is saved before it"
            yield "cannot-undo", ("steps", position, "act"), message, f"name what it changes under with: {names}"


def _names_nothing(step: Step, spec: SkillSpec) -> bool:
    """Whether what this skill touches is said by its parameters, and none of them is given."""
    given = cast("CelTemplate", step.params).source
    return bool(spec.touch_params) and not any(given.get(name) for name in spec.touch_params)


def _stubs(playbook: Playbook, skills: SkillCatalogue) -> Iterator[Said]:
    """A test that is answered otherwise than the skill can answer proves nothing."""
    skill_of = {step.id: step.skill for step in playbook.steps}
    for number, test in enumerate(playbook.tests):
        for name, stub in test["stub"].items():
            spec = skills.get(skill_of.get(name, name))
            entries = stub if isinstance(stub, list) else [stub]
            fields = {field for entry in entries if isinstance(entry, Mapping) for field in entry}
            known = ("ok", *spec.result_fields) if spec is not None and spec.result_fields else tuple(fields)
            for field in sorted(fields - set(known)):
                near = nearest(field, known)
                hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known[1:])}"
                where = ("tests", number, "stub", name) + (() if isinstance(stub, list) else (field,))
                yield "unknown-stub", where, f"{spec.name if spec else name} gives no {field!r}", hint


def _manners(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    if not playbook.tests:
        yield "no-tests", ("playbook",), CODES["no-tests"], "add tests: what is given, what is expected; see docs/playbooks.md"
    if not playbook.description:
        yield "no-description", ("playbook",), CODES["no-description"], "add description: one sentence"


_CHECKS: tuple[Callable[[Playbook, SkillCatalogue], Iterator[Said]], ...] = (
    _cooldown, _proof, _reach, _types, _fields, _results, _questions, _copies, _undo, _windows, _manners, impossible, beside_or,
    literal_stars, odd_subjects, _stubs, _blind,
)  # fmt: skip


# --- beside others --------------------------------------------------------------------------------------------------


def _beside_others(playbook: Playbook, others: Iterable[Playbook]) -> Iterator[Said]:
    """Whether another playbook takes every event that this one could have; the first that does is named."""
    for other in others:
        if other.name == playbook.name or not (other.enabled and playbook.enabled) or other.when is not None:
            continue
        if playbook.correlation is not None or other.correlation is not None:
            continue  # each waits for something of its own
        if not all(any(covers_type(wide, name) for wide in other.types) for name in playbook.types):
            continue
        if not covers(other.match, playbook.match):
            continue
        ranks = [(order(other, name), order(playbook, name)) for name in playbook.types]
        if all(theirs[:2] < ours[:2] for theirs, ours in ranks):
            message = f"{other.name} takes every event of this one first"
            yield (
                "unreachable",
                ("on",),
                message,
                "give it a higher priority, or a narrower match to the other; it is still its next best",
            )
            return
        if all(theirs[:2] == ours[:2] for theirs, ours in ranks) and other.match == playbook.match and other.name < playbook.name:
            message = f"{other.name} has the same trigger and priority; it goes first by its name alone"
            yield "same-trigger", ("on",), message, "say which is meant first with priority"
            return


def covers_type(wide: str, narrow: str) -> bool:
    """Whether every type that fits `narrow` fits `wide`."""
    if narrow.endswith(".*"):
        return wide.endswith(".*") and narrow.startswith(wide[:-1])
    return type_fits(wide, narrow)


def covers(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether every event that `narrow` matches is surely matched by `wide` (by comparing them as they are written)."""
    for name, wanted in wide.items():
        if name not in narrow:
            return False
        given = narrow[name]
        if isinstance(wanted, Mapping) and isinstance(given, Mapping):
            if not covers(wanted, given):
                return False
        elif isinstance(wanted, list) and isinstance(given, list):
            if not all(any(value == other and type(value) is type(other) for other in wanted) for value in given):
                return False
        else:
            return False
    return True
