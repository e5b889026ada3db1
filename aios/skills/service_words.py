"""What the service skills share: how they tell a `UnitState`, and how what they did to its running is taken back.

An act's running is undone, and nothing is healed: what ran before runs again; what somebody had stopped is stopped again; what
was ill before (down) may stay as the act left it, since to stop it would only make it look like somebody's wish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.errors import Temporary
from aios.ports import UnitState
from aios.skills.api import ActContext, Inverse, Undo

FIELDS = {
    "state": "string",
    "backend": "string",
    "pid": "int",
    "since": "double",
    "enabled": "bool",
    "masked": "bool",
    "exit_status": "string",
    "falls": "int",
}


def told(state: UnitState) -> dict[str, Any]:
    found = {name: getattr(state, name) for name in FIELDS}
    return {name: value for name, value in found.items() if value is not None} | {"unit": state.subject}


RUNS = ("up", "starting")


def _stands(params: Any, ctx: ActContext) -> Mapping[str, Any]:
    state = ctx.services.state(params.unit)
    if state.state == "unknown":
        raise Temporary(f"nobody can say how {params.unit} stands")
    # systemd does not remember why a unit rests: one that is enabled may well have ended by itself, and so be ill.
    wish = state.state == "stopped" and (state.backend == "managed" or not state.enabled)
    return {"state": state.state, "by_wish": wish}


def _back(params: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> Undo | None:
    was, runs = before["state"], now["state"] in RUNS
    if was in RUNS and not runs:
        return Undo("start_service", {"unit": params.unit})
    if before["by_wish"] and now["state"] not in ("stopped", "missing"):
        return Undo("stop_service", {"unit": params.unit})
    return None


RUNNING_AGAIN = Inverse(about=lambda params: f"{params.unit} (running)", look=_stands, undo=_back)
"""For `start_service` and `stop_service`, each the other's inverse."""
