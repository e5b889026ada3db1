"""act renice_process: how willingly a process lets others go first. Its inverse is itself, with the value from before.

A pid comes round again, so what is written down before the act holds when the process began: another life is never touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from aios.errors import Permanent
from aios.events.calls import SkillResult
from aios.events.limits import PROMPT
from aios.playbooks.protection import protected
from aios.skills import process_table
from aios.skills.api import ActContext, Inverse, Skill, Undo
from aios.skills.types import Nice, Pid

KERNEL_THREADS = 2
"""The process from which every thread of the kernel descends."""


@dataclass(frozen=True, slots=True)
class Params:
    """`nice` from -20 (goes first) to 19 (lets all others go first); below what it has needs root."""

    pid: Annotated[Pid, "The process."]
    nice: Annotated[Nice, "From -20 (goes first) to 19 (lets all others go first)."]


def act(params: Params, _ctx: ActContext) -> SkillResult:
    life = process_table.life_of(params.pid)
    if life is None:
        raise Permanent(f"there is no process {params.pid}")
    if life.parent == KERNEL_THREADS or params.pid in (1, KERNEL_THREADS):
        raise Permanent(f"process {params.pid} is the kernel's own, or the first of all; it is left alone")
    if unit := protected(frozenset(units_of(params.pid)), frozenset()):
        raise Permanent(f"process {params.pid} belongs to {unit}, which is protected")
    try:
        os.setpriority(os.PRIO_PROCESS, params.pid, params.nice)
    except PermissionError as error:
        raise Permanent(f"process {params.pid} may not be given nice {params.nice}: run AIOS as root, or as its user") from error
    except ProcessLookupError as error:
        raise Permanent(f"there is no process {params.pid} any more") from error
    return SkillResult(True, {"pid": params.pid, "nice": params.nice, "before": life.nice})


def units_of(pid: int) -> list[str]:
    """The services that a process belongs to, by its control groups; empty where the kernel tells nothing."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            paths = [line.rstrip("\n").split(":", 2)[-1] for line in file.readlines(65536)]
    except OSError:
        return []
    return [part for path in paths for part in path.split("/") if part.endswith(".service")]


def _look(params: Params, _ctx: ActContext) -> Mapping[str, Any]:
    life = process_table.life_of(params.pid)
    return {"gone": True} if life is None else {"nice": life.nice, "started": life.started}


def _undo(params: Params, before: Mapping[str, Any], now: Mapping[str, Any]) -> Undo | None:
    if before.get("started") != now.get("started") or before["nice"] == now["nice"]:
        return None  # it has ended, and what has its pid now was never ours; or it is as it was
    if now["nice"] != params.nice:
        raise Permanent(f"process {params.pid} had nice {before['nice']}, we gave it {params.nice}, and somebody {now['nice']}")
    return Undo("renice_process", {"pid": params.pid, "nice": before["nice"]})


SKILL = Skill(
    name="renice_process",
    kind="act",
    doc="Make a process let others go first, or less so.",
    params=Params,
    act=act,
    rerun="idempotent",
    limits=PROMPT,
    timeout_s=5.0,
    inverse=Inverse(about=lambda params: f"process {params.pid} (nice)", look=_look, undo=_undo),
    dry=lambda params: f"would give process {params.pid} nice {params.nice}",
    result_fields={"pid": "int", "nice": "int", "before": "int"},
)
