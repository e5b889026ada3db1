"""What is probably a mistake in how a playbook looks: a check that cannot see the trouble, a command that nobody lists.

For `lint.py`, which knows the places in the file and the levels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import cast

from aios.playbooks.condition import CelTemplate
from aios.playbooks.lint_match import Said
from aios.playbooks.model import Playbook, Template
from aios.playbooks.protection import protected

CODES: Mapping[str, str] = {
    "blind-verify": "Its checks see that something runs, and its events do not say that it does not.",
    "protected": "It acts on what no run may touch.",
    "not-listed": "The settings do not list a command that is to look.",
}

_SEE_PROCESSES = ("service_check", "process_check")
_SAY_THAT_IT_IS_DOWN = ("service.", "endpoint.", "deploy.")
_LISTED = {"command_check": "the check has no data, and is never well", "run_command": "it counts, and asks, like an act"}


def blind(playbook: Playbook) -> Iterator[Said]:
    """What hangs, errs or is silent runs all the same: verify finds it well before the act, and the run ends as cleared.

    Whose test expects that means it so.
    """
    if not playbook.acts or not playbook.verify or any(check.skill not in _SEE_PROCESSES for check in playbook.verify):
        return
    if any(test["expect"].get("outcome") == "cleared" for test in playbook.tests):
        return
    types = playbook.types or tuple(name for trigger in _triggers(playbook) for name in trigger)
    if types and not any(name.startswith(_SAY_THAT_IT_IS_DOWN) for name in types):
        said = " or ".join(sorted({check.skill for check in playbook.verify}))
        message = f"{types[0]} also comes while it runs: then {said} is well before the act, and the run ends as cleared"
        yield "blind-verify", ("verify",), message, "ask for what shows that it works: http_check, file_check, command_check"


def _triggers(playbook: Playbook) -> list[tuple[str, ...]]:
    return [trigger.types for trigger in playbook.correlation.triggers] if playbook.correlation is not None else []


def refused(touched: frozenset[str]) -> Iterator[Said]:
    """Whether all that it could do is to call a person."""
    if why := protected(touched, frozenset()):
        message = f"{why.removeprefix('file:')} is protected: a run that comes to this act ends as unknown, and calls a person"
        yield "protected", ("steps",), message, "leave it to a person, and look only; docs/operations.md says what is protected"


def listed(playbook: Playbook, look_commands: Collection[str]) -> Iterator[Said]:
    """Whether each command that is to look is one of those that may; what comes from an expression cannot be told."""
    for number, step in enumerate(playbook.steps):
        if step.kind != "act":
            yield from _listed(step.skill, step.params, ("steps", number, step.kind), look_commands)
    for number, check in enumerate(playbook.verify):
        yield from _listed(check.skill, check.params, ("verify", number, check.skill), look_commands)


def _listed(skill: str, params: Template, where: tuple[str | int, ...], look_commands: Collection[str]) -> Iterator[Said]:
    given = cast("CelTemplate", params).source if skill in _LISTED else {}
    argv = given.get("argv")
    if not isinstance(argv, list) or not argv or str(argv[0]) in look_commands:
        return
    program = str(argv[0])
    message = f"[skills] look_commands in the settings does not list {program}: {_LISTED[skill]}"
    yield (
        "not-listed",
        where,
        message,
        f"add {program!r} to look_commands, if it changes nothing; the list takes the usual one's place",
    )
