"""act restart_service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult, Touches, failed
from aios.events.limits import PROMPT
from aios.skills.api import ActContext, Skill
from aios.skills.service_words import FIELDS, told
from aios.skills.types import UnitName


@dataclass(frozen=True, slots=True)
class Params:
    unit: Annotated[UnitName, "The service: its unit, or the name that the settings give it."]


def act(params: Params, ctx: ActContext) -> SkillResult:
    state = ctx.services.restart(params.unit, ctx.call.timeout_s)
    if state.state not in ("up", "starting"):
        return failed(f"{params.unit} was restarted, and is {state.state}: {state.detail or state.exit_status}", **told(state))
    return SkillResult(True, told(state))


SKILL = Skill(
    name="restart_service",
    kind="act",
    doc="Restart a service; proven by another main process than before.",
    params=Params,
    act=act,
    touches=lambda params: Touches(units=(params.unit,)),
    touch_params=("unit",),
    rerun="idempotent",
    limits=PROMPT,
    timeout_s=30.0,
    dry=lambda params: f"would restart {params.unit}",
    result_fields=FIELDS,
)
