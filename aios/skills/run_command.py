"""observe run_command: run a command and tell how it ended.

It counts as looking only when the settings list its program (`look_commands`); else hands runs it, like an act. No shell reads
the arguments; that no interpreter gets code inline is the playbooks' lint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from aios.events.calls import SkillResult, failed
from aios.skills import bounded
from aios.skills.api import ActContext, LookContext, Skill
from aios.skills.environment import clean
from aios.skills.tail import last_lines
from aios.skills.types import AbsolutePath, Argv, Environment, UserName

LINES = 200


@dataclass(frozen=True, slots=True)
class Params:
    """`env` comes on top of the few variables that are passed on; `user` is who runs it, else the daemon's own."""

    argv: Annotated[Argv, "The program and its arguments, each as it is; no shell reads them."]
    cwd: Annotated[AbsolutePath | None, "The folder in which it runs."] = None
    env: Annotated[Environment, "Variables on top of the few that are passed on."] = field(default_factory=dict)
    user: Annotated[UserName, "Who runs it; else the daemon's own user."] = ""


def only_looks(params: Params, env: Mapping[str, Any]) -> bool:
    """Whether the settings say that this program changes nothing; with an environment of its own, nobody can say."""
    return params.argv[0] in env.get("look_commands", ()) and not params.env


async def look(params: Params, ctx: LookContext) -> SkillResult:
    if not only_looks(params, ctx.env):
        return failed(f"{params.argv[0]} is not listed under look_commands in the settings, or has an env, so hands runs it")
    from aios.skills import commands  # brings asyncio, and hands, which loads this file too, must stay small

    try:
        ran = await commands.run(params.argv, ctx.env, params.cwd, params.user)
    except OSError as error:
        return _cannot(params.argv, error)
    return told(ran.exit_code, ran.stdout, ran.stderr)


def act(params: Params, ctx: ActContext) -> SkillResult:
    """In the act's own session, which ends whatever it leaves behind."""
    try:
        ran = bounded.run(params.argv, params.cwd, clean(ctx.env, params.env, params.user), params.user, ctx.harden)
    except OSError as error:
        return _cannot(params.argv, error)
    return told(ran.exit_code, ran.stdout, ran.stderr)


def _cannot(argv: Sequence[str], error: OSError) -> SkillResult:
    return failed(f"{os.path.basename(argv[0])} cannot be started: {error.strerror}", exit_code=127)


def told(exit_code: int, stdout: bytes, stderr: bytes) -> SkillResult:
    """Any exit status is an answer: an observing step looks at `exit_code`."""
    out, err = last_lines(stdout, LINES), last_lines(stderr[-8000:], LINES)
    return SkillResult(True, {"exit_code": exit_code, "stdout": "\n".join(out)[-16000:], "stderr": "\n".join(err)[-8000:]})


SKILL = Skill(
    name="run_command",
    kind="observe",
    doc="Run a command (a list of arguments, no shell) and tell its exit code and output. "
    "It only looks where [skills] look_commands lists its program; else it counts and asks like an act.",
    params=Params,
    look=look,
    act=act,
    rerun="never_retry",
    only_looks=only_looks,
    dry=lambda params: f"would run {' '.join(params.argv)[:500]}",
    result_fields={"exit_code": "int", "stdout": "string", "stderr": "string"},
)
