"""verify command_check: a command that only looks ends as it should.

For what no other check can see: a certificate, a replica, a check script of one's own (as Nagios has them). It runs in the
daemon, as often as a check is asked, so its program has to be one that the settings list as looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from aios.events.calls import SkillResult
from aios.skills import commands
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.tail import last_lines
from aios.skills.types import Argv, Checked, Message, UserName, number_within

LINES = 20


def check_exit_code(value: Any) -> int:
    return number_within(value, 0, 255, "exit code")


ExitCode = Annotated[int, Checked(check_exit_code, {"type": "integer", "minimum": 0, "maximum": 255})]


@dataclass(frozen=True, slots=True)
class Params:
    """`[skills] look_commands` in the settings must list the program; `user` is who runs it, else the daemon's own."""

    argv: Annotated[Argv, "The program and its arguments, each as it is; no shell reads them."]
    exit_code: Annotated[ExitCode, "With which it has to end."] = 0
    contains: Annotated[Message | None, "Text that must stand in what it prints."] = None
    user: Annotated[UserName, "Who runs it; else the daemon's own user."] = ""


async def look(params: Params, ctx: LookContext) -> SkillResult:
    """A command that cannot be run says nothing about what it was to look at: no data, never well."""
    program = params.argv[0]
    if program not in ctx.env.get("look_commands", ()):
        return verdict(None, f"{program} is not listed under [skills] look_commands in the settings, so nobody may ask it")
    try:
        ran = await commands.run(params.argv, ctx.env, user=params.user)
    except OSError as error:
        return verdict(None, f"{program} cannot be started: {error.strerror}")
    out, err = ("\n".join(last_lines(said, LINES))[-2000:] for said in (ran.stdout, ran.stderr))
    result: dict[str, Any] = {"exit_code": ran.exit_code, "stdout": out, "stderr": err}
    if ran.exit_code != params.exit_code:
        said = (err or out).strip().rpartition("\n")[2][:200]
        return verdict(
            False, f"{program} ended with {ran.exit_code}, not {params.exit_code}{f': {said}' if said else ''}", **result
        )
    if params.contains is not None and params.contains.encode() not in ran.stdout:
        return verdict(False, f"{program} did not print the expected text", **result)
    return verdict(True, **result)


SKILL = Skill(
    name="command_check",
    kind="verify",
    doc="Well when a command that only looks ends with the expected exit code (and prints a text).",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "exit_code": "int", "stdout": "string", "stderr": "string"},
)
