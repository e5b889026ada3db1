"""observe list_processes: who uses most of the machine."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Annotated, Literal

from aios.events.calls import SkillResult
from aios.skills import process_table
from aios.skills.api import LookContext, Skill
from aios.skills.types import Count

SHOWN_MAX = 50
"""What a result has room for."""


@dataclass(frozen=True, slots=True)
class Params:
    """`sort` by resident memory, or by processor time since each started."""

    sort: Annotated[Literal["memory", "cpu"], "By resident memory, or by processor time since each started."] = "memory"
    limit: Annotated[Count, "How many are listed."] = 10


async def look(params: Params, _ctx: LookContext) -> SkillResult:
    rows = list(process_table.rows())
    field = "memory_mb" if params.sort == "memory" else "cpu_s"
    top = heapq.nlargest(min(params.limit, SHOWN_MAX), rows, key=lambda row: (getattr(row, field), row.pid))
    shown = [{**row._asdict(), "command": process_table.shown_command(row.pid)} for row in top]
    return SkillResult(True, {"processes": shown, "count": len(rows)})


SKILL = Skill(
    name="list_processes",
    kind="observe",
    doc="List the processes that use most memory or processor time.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"processes": "list", "count": "int"},
)
