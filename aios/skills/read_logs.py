"""observe read_logs: the newest lines of a service's log, or of a log file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult, failed
from aios.skills import commands
from aios.skills.api import LookContext, Skill
from aios.skills.tail import last_lines, read_tail
from aios.skills.types import AbsolutePath, Count, Duration, UnitName


@dataclass(frozen=True, slots=True)
class Params:
    """One of `unit` and `path`. `since` is how far back (systemd's log only: a plain file has no times)."""

    unit: Annotated[UnitName | None, "The service whose log is read; or write path."] = None
    path: Annotated[AbsolutePath | None, "The file that is read; or write unit."] = None
    since: Annotated[Duration | None, "How far back; of systemd's log only, a plain file has no times."] = None
    lines: Annotated[Count, "How many lines, the newest."] = 100


async def look(params: Params, ctx: LookContext) -> SkillResult:
    if (params.unit is None) == (params.path is None):
        return failed("read_logs needs either unit or path; write one of them")
    if params.unit is None:
        return _of_file(str(params.path), params.lines)
    state = await ctx.services.state(params.unit)
    if state.backend == "managed":
        if not state.log_path:
            return failed(f"nothing is known of a log of {params.unit}")
        return _of_file(state.log_path, params.lines)
    return await _of_systemd(params, ctx)


def _of_file(path: str, lines: int) -> SkillResult:
    try:
        found = read_tail(path, lines)
    except (OSError, ValueError) as error:
        return failed(f"{path} cannot be read: {error}", path=path)
    return SkillResult(True, {"lines": found, "count": len(found)}, ({"kind": "log", "path": path},))


async def _of_systemd(params: Params, ctx: LookContext) -> SkillResult:
    """systemd has no D-Bus interface for its log; its own reader is asked."""
    argv = ["journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={params.lines}", f"--unit={params.unit}"]
    if params.since is not None:
        argv.append(f"--since=-{max(1, round(params.since))}s")
    try:
        ran = await commands.run(argv, ctx.env)
    except OSError as error:
        return failed(f"journalctl cannot be started: {error.strerror}")
    if ran.exit_code != 0:
        return failed(f"journalctl says: {ran.stderr.decode(errors='replace').strip()[:500]}", exit_code=ran.exit_code)
    found = last_lines(ran.stdout, params.lines)
    return SkillResult(True, {"lines": found, "count": len(found)}, ({"kind": "log", "unit": params.unit},))


SKILL = Skill(
    name="read_logs",
    kind="observe",
    doc="Read the newest lines of a service's log (`unit`) or of a log file (`path`).",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"lines": "list", "count": "int"},
)
