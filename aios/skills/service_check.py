"""verify service_check: a service is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.service_words import FIELDS, told
from aios.skills.types import UnitName


@dataclass(frozen=True, slots=True)
class Params:
    unit: Annotated[UnitName, "The service: its unit, or the name that the settings give it."]


async def look(params: Params, ctx: LookContext) -> SkillResult:
    """Starting and stopping are on their way: not well yet. Nobody to ask is no data."""
    state = await ctx.services.state(params.unit)
    well = None if state.state == "unknown" else state.state == "up"
    detail = f": {state.detail or state.exit_status}" if state.detail or state.exit_status else ""
    return verdict(well, f"{params.unit} is {state.state}{detail}", **told(state))


SKILL = Skill(
    name="service_check",
    kind="verify",
    doc="Well when a service is up.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", **FIELDS},
)
