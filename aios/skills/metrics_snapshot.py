"""observe metrics_snapshot: how the machine stands now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult
from aios.skills import readings
from aios.skills.api import LookContext, Skill
from aios.skills.types import AbsolutePath

CPU_SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Params:
    """`path` names the file system whose use is shown."""

    path: Annotated[AbsolutePath, "Any path on the file system whose use is shown."] = "/"


async def look(params: Params, ctx: LookContext) -> SkillResult:
    before = readings.cpu_times()
    await ctx.clock.sleep_until(ctx.clock.monotonic() + CPU_SAMPLE_S)
    cpu = readings.cpu_share(before, readings.cpu_times())
    found = readings.memory() | readings.load() | readings.pressure() | readings.disk(params.path)
    return SkillResult(True, readings.known({"cpu": cpu, **found}))


SKILL = Skill(
    name="metrics_snapshot",
    kind="observe",
    doc="Read processors, memory, disk, load and pressure of the machine.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields=dict.fromkeys(readings.METRICS, "double"),
)
