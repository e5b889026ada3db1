"""observe service_status: how a service stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult, failed
from aios.skills.api import LookContext, Skill
from aios.skills.service_words import FIELDS, told
from aios.skills.types import UnitName


@dataclass(frozen=True, slots=True)
class Params:
    unit: Annotated[UnitName, "The service: its unit, or the name that the settings give it."]


async def look(params: Params, ctx: LookContext) -> SkillResult:
    state = await ctx.services.state(params.unit)
    if state.state == "unknown":
        return failed(f"nobody can say how {params.unit} stands: {state.detail}", **told(state))
    return SkillResult(True, told(state))


SKILL = Skill(
    name="service_status",
    kind="observe",
    doc="Say how a service stands: up, down, stopped (a person wants it so), starting, stopping or missing.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields=FIELDS,
)
