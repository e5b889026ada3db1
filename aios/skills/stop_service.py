"""act stop_service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult, Touches, failed
from aios.events.limits import PROMPT
from aios.skills.api import ActContext, Skill
from aios.skills.service_words import FIELDS, RUNNING_AGAIN, told
from aios.skills.types import UnitName


@dataclass(frozen=True, slots=True)
class Params:
    unit: Annotated[UnitName, "The service: its unit, or the name that the settings give it."]


def act(params: Params, ctx: ActContext) -> SkillResult:
    state = ctx.services.stop(params.unit, ctx.call.timeout_s)
    if state.state not in ("stopped", "down", "missing"):
        return failed(f"{params.unit} was stopped, and is {state.state}: {state.detail or state.exit_status}", **told(state))
    return SkillResult(True, told(state))


SKILL = Skill(
    name="stop_service",
    kind="act",
    doc="Stop a service; harmless when it does not run.",
    params=Params,
    act=act,
    touches=lambda params: Touches(units=(params.unit,)),
    touch_params=("unit",),
    rerun="idempotent",
    limits=PROMPT,
    timeout_s=30.0,
    inverse=RUNNING_AGAIN,
    dry=lambda params: f"would stop {params.unit}",
    result_fields=FIELDS,
)
