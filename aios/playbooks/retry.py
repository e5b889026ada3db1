"""What a retry from a later step leaves out: earlier acts are not done again, whatever became of them, and it is said what did.

Called by `verbs` for `aios runs retry RUN --from STEP`. What earlier steps looked at is looked at again; an answer that a person
gave stands. The results of acts that are left out can still be named in expressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aios.errors import Refused
from aios.nearest import did_you_mean
from aios.playbooks.model import ASK, Playbook, Step
from aios.playbooks.run import Run
from aios.playbooks.run_table import ROLLBACK


class LeftOut(NamedTuple):
    """`told` says of each step what has become of it, for the person who asked."""

    passed: tuple[str, ...]
    kept: Mapping[str, Mapping[str, Any]]
    told: tuple[Mapping[str, str], ...]


NOTHING_LEFT_OUT = LeftOut((), {}, ())


def leave_out(run: Run, playbook: Playbook, first: str) -> LeftOut:
    """Raises Refused when the playbook that is in force has no such step."""
    names = [step.id for step in playbook.steps]
    if first not in names:
        cure = did_you_mean(first, names, f"its steps are {', '.join(names)}")
        raise Refused(f"playbook {playbook.name} has no step {first[:100]!r}", cure)
    earlier = playbook.steps[: names.index(first)]
    out = [step for step in earlier if step.kind == "act" or (step.kind == ASK and _worked(run, step))]
    kept = {step.id: run.results[step.id] for step in out if _worked(run, step)}
    told = tuple({"step": step.id, "skill": step.skill, "became": _became(run, step)} for step in out)
    return LeftOut(tuple(step.id for step in out), kept, told)


def _worked(run: Run, step: Step) -> bool:
    known = run.results.get(step.id)
    return bool(known) and known is not None and bool(known["ok"]) and not known.get("skipped") and known["kind"] == step.kind


def _became(run: Run, step: Step) -> str:
    if step.kind == ASK:
        return f"answered: {run.results[step.id]['result'].get('choice', '')}"
    if step.id in run.passed:
        return "left out before, too"
    if not any(act["step"] == step.id for act in run.acts):
        return "never done"
    if (run.results.get(ROLLBACK) or {}).get("ok"):
        return "done, and taken back since"
    return "done" if _worked(run, step) else "tried, and failed"
