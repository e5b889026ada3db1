"""observe disk_usage: how full a file system is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult, failed
from aios.skills import readings
from aios.skills.api import LookContext, Skill
from aios.skills.types import AbsolutePath


@dataclass(frozen=True, slots=True)
class Params:
    path: Annotated[AbsolutePath, "Any path on the file system that is looked at."]


async def look(params: Params, _ctx: LookContext) -> SkillResult:
    try:
        found = readings.disk(params.path)
    except OSError as error:
        return failed(f"{params.path} cannot be looked at: {error.strerror}")
    result = {"used": found["disk"], "free_mb": found["disk_free_mb"], "total_mb": found["disk_total_mb"]}
    return SkillResult(True, {**result, "inodes": found["inodes"], "path": params.path})


SKILL = Skill(
    name="disk_usage",
    kind="observe",
    doc="Say how full the file system of a path is: `used` and `inodes` are shares from 0 to 1.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"used": "double", "free_mb": "double", "total_mb": "double", "inodes": "double", "path": "string"},
)
