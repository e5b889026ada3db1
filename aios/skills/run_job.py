"""act run_job: run a command that changes something. What it touches nobody knows but who wrote the playbook."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from aios.events.calls import SkillResult, Touches, failed
from aios.skills import bounded
from aios.skills.api import ActContext, Skill
from aios.skills.environment import clean
from aios.skills.tail import last_lines
from aios.skills.types import AbsolutePath, Argv, Environment, PathList, UnitNames, UserName

LINES = 100
LIMIT_OF: Mapping[int, str] = {signal.SIGXFSZ: "file_size", signal.SIGXCPU: "cpu time"}


@dataclass(frozen=True, slots=True)
class Params:
    """`files` and `units` say what the job touches: saved before it and put back when the run does not heal.

    `env` comes on top of the few variables that are passed on; `user` is who runs it, else the daemon's own.
    """

    argv: Annotated[Argv, "The program and its arguments, each as it is; no shell reads them."]
    cwd: Annotated[AbsolutePath | None, "The folder in which it runs."] = None
    env: Annotated[Environment, "Variables on top of the few that are passed on."] = field(default_factory=dict)
    files: Annotated[PathList, "Files and folders that it changes: saved before, put back when the run does not heal."] = ()
    units: Annotated[UnitNames, "Services that it changes, likewise."] = ()
    user: Annotated[UserName, "Who runs it; else the daemon's own user."] = ""


def act(params: Params, ctx: ActContext) -> SkillResult:
    try:
        ran = bounded.run(params.argv, params.cwd, clean(ctx.env, params.env, params.user), params.user, ctx.harden)
    except OSError as error:
        return failed(f"{params.argv[0]} cannot be started: {error.strerror}", exit_code=127)
    out, err = last_lines(ran.stdout, LINES), last_lines(ran.stderr[-8000:], LINES)
    result = {"exit_code": ran.exit_code, "stdout": "\n".join(out)[-12000:], "stderr": "\n".join(err)[-8000:]}
    why = "" if ran.exit_code == 0 else f"{params.argv[0]} {_ended(ran.exit_code)}"
    return SkillResult(ran.exit_code == 0, result, error=why)


def _ended(code: int) -> str:
    """A signal is named, also as a shell tells of it (128 and the signal); what the kernel sends at a limit says which it was."""
    number = -code if code < 0 else code - 128
    limit = LIMIT_OF.get(number)
    said = f"was ended by {signal.Signals(number).name}" if code < 0 and number in set(signal.Signals) else ""
    said = said or f"ended with exit code {code}"
    return f"{said}: it reached its limit of {limit}" if limit else said


def _dry(params: Params) -> str:
    return f"would run {' '.join(params.argv)[:500]}"


SKILL = Skill(
    name="run_job",
    kind="act",
    doc="Run a command (a list of arguments, no shell); exit code 0 is success.",
    params=Params,
    act=act,
    touches=lambda params: Touches(files=params.files, units=params.units),
    touch_params=("files", "units"),
    rerun="never_retry",
    timeout_s=300.0,
    dry=_dry,
    result_fields={"exit_code": "int", "stdout": "string", "stderr": "string"},
)
