"""How the service skills tell a `UnitState`: the same fields in each."""

from __future__ import annotations

from typing import Any

from aios.ports import UnitState

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
