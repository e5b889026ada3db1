"""verify process_check: a program runs, so many times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult
from aios.skills import process_table
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.types import Count, Message

KERNEL_NAME_MAX = 15


@dataclass(frozen=True, slots=True)
class Params:
    """`name` is the program's name as the kernel keeps it (its first 15 characters), or the last part of its first argument."""

    name: Annotated[Message, "The program, as the kernel names it (15 characters), or the last part of its first argument."]
    min: Annotated[Count, "How many of it must run at least."] = 1


async def look(params: Params, _ctx: LookContext) -> SkillResult:
    pids = [row.pid for row in process_table.rows() if row.state not in "ZX" and _is(row, params.name)]
    well = len(pids) >= params.min
    why = f"{params.name} runs {len(pids)} times, not at least {params.min}"
    return verdict(well, why, count=len(pids), pids=pids[:100])


def _is(row: process_table.Row, name: str) -> bool:
    if row.name == name[:KERNEL_NAME_MAX] and len(name) <= KERNEL_NAME_MAX:
        return True
    argv = process_table.command_of(row.pid)
    return bool(argv) and os.path.basename(argv[0]) == name


SKILL = Skill(
    name="process_check",
    kind="verify",
    doc="Well when a program runs (at least `min` times).",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "count": "int", "pids": "list"},
)
