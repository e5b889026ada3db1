"""act limit_service: how much memory, processor and how many tasks a service may have, until it is started anew by the machine.

A limit of systemd's control group for the unit, set while it runs (`SetUnitProperties`, runtime only: a reboot forgets it). Its
inverse is itself, with the limits from before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from aios.errors import Permanent
from aios.events.calls import SkillResult, Touches
from aios.events.limits import PROMPT
from aios.ports import Limits
from aios.skills.api import ActContext, Inverse, Skill, Undo
from aios.skills.types import Limit, UnitName

NONE = "none"
MB = 1024 * 1024
_FIELDS = {"memory_mb": ("memory_bytes", MB), "cpu_percent": ("cpu_percent", 1), "tasks": ("tasks", 1)}


@dataclass(frozen=True, slots=True)
class Params:
    """What is not named stays as it is; `none` takes a limit away. 100 `cpu_percent` are one whole processor."""

    unit: Annotated[UnitName, "The service: its unit, or the name that the settings give it."]
    memory_mb: Annotated[Limit | None, "Memory in MB; none takes the limit away."] = None
    cpu_percent: Annotated[Limit | None, "Processor time in percent of one processor; none takes the limit away."] = None
    tasks: Annotated[Limit | None, "Processes and threads; none takes the limit away."] = None


def act(params: Params, ctx: ActContext) -> SkillResult:
    wanted = _wanted(params)
    if not wanted:
        raise Permanent("no limit is named; give memory_mb, cpu_percent or tasks")
    before = ctx.services.limits(params.unit)
    ctx.services.set_limits(params.unit, wanted)
    after = ctx.services.limits(params.unit)
    missed = [name for name, value in wanted.items() if after[name] != value]
    said = {"unit": params.unit, "limits": _said(after), "before": _said(before)}
    if missed:
        return SkillResult(False, said, error=f"{params.unit} did not take the limit of {', '.join(missed)}")
    return SkillResult(True, said)


def _wanted(params: Params) -> Limits:
    """What is named, in the kernel's units; None: no limit."""
    named = {name: getattr(params, name) for name in _FIELDS if getattr(params, name) is not None}
    return {_FIELDS[name][0]: None if value == NONE else round(value * _FIELDS[name][1]) for name, value in named.items()}


def _said(limits: Limits) -> dict[str, float | str]:
    """As parameters say it."""
    found: dict[str, float | str] = {}
    for name, (field, size) in _FIELDS.items():
        value = limits[field]
        found[name] = NONE if value is None else value / size if value % size else value // size
    return found


def _look(params: Params, ctx: ActContext) -> Mapping[str, Any]:
    said, wanted = _said(ctx.services.limits(params.unit)), _wanted(params)
    return {name: said[name] for name, (field, _) in _FIELDS.items() if field in wanted}


def _undo(params: Params, before: Mapping[str, Any], now: Mapping[str, Any]) -> Undo | None:
    if before == now:
        return None
    ours = {name: value for name in before if (value := getattr(params, name)) is not None}
    if others := [name for name in before if now[name] not in (before[name], ours[name])]:
        raise Permanent(f"{others[0]} of {params.unit} was {before[others[0]]}, and somebody made it {now[others[0]]} since")
    return Undo("limit_service", {"unit": params.unit, **before})


def _dry(params: Params) -> str:
    named = [f"{name} {value}" for name in _FIELDS if (value := getattr(params, name)) is not None]
    return f"would limit {params.unit}: {', '.join(named) or 'nothing is named'}"


SKILL = Skill(
    name="limit_service",
    kind="act",
    doc="Limit what a service of systemd may use, while it runs.",
    params=Params,
    act=act,
    touches=lambda params: Touches(units=(params.unit,)),
    touch_params=("unit",),
    rerun="idempotent",
    limits=PROMPT,
    timeout_s=30.0,
    inverse=Inverse(about=lambda params: f"{params.unit} (limits)", look=_look, undo=_undo),
    dry=_dry,
    result_fields={"unit": "string", "limits": "map", "before": "map"},
)
