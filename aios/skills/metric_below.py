"""verify metric_below: a reading of the machine is low enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from aios.events.calls import SkillResult
from aios.skills import readings
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.types import AbsolutePath, Checked

CPU_SAMPLE_S = 0.2


def check_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{value!r} is no number; write one such as 0.9")
    return float(value)


Number = Annotated[float, Checked(check_number, {"type": "number"})]
Metric = Literal[
    "cpu", "memory", "swap", "disk", "inodes", "load1", "load5", "load15", "pressure_cpu", "pressure_memory", "pressure_io"
]


@dataclass(frozen=True, slots=True)
class Params:
    """Shares (cpu, memory, swap, disk, inodes) are from 0 to 1, pressure in percent. `path` names the file system."""

    metric: Annotated[Metric, "What is measured."]
    below: Annotated[Number, "Well below this: shares from 0 to 1, pressure in percent."]
    path: Annotated[AbsolutePath, "Any path on the file system that disk and inodes are of."] = "/"


async def look(params: Params, ctx: LookContext) -> SkillResult:
    try:
        value = await _value(params, ctx)
    except OSError as error:
        return verdict(None, f"{params.metric} cannot be read: {error.strerror}")
    if value is None:
        return verdict(None, f"this machine does not tell {params.metric}")
    why = f"{params.metric} is {value:g}, not below {params.below:g}"
    return verdict(value < params.below, why, metric=params.metric, value=value)


async def _value(params: Params, ctx: LookContext) -> float | None:
    match params.metric:
        case "cpu":
            before = readings.cpu_times()
            await ctx.clock.sleep_until(ctx.clock.monotonic() + CPU_SAMPLE_S)
            return readings.cpu_share(before, readings.cpu_times())
        case "memory" | "swap":
            return readings.memory().get(params.metric)
        case "disk" | "inodes":
            return readings.disk(params.path)[params.metric]
        case "load1" | "load5" | "load15":
            return readings.load()[params.metric]
        case _:
            return readings.pressure().get(params.metric)


SKILL = Skill(
    name="metric_below",
    kind="verify",
    doc="Well when a reading of the machine (cpu, memory, disk, load, pressure) is below a bound.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "metric": "string", "value": "double"},
)
