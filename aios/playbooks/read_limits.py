"""`limits` of a step: what its act may use at most. Used by `read_steps.py` alone; the words are `aios.events.limits.BOUNDS`."""

from __future__ import annotations

from aios.events.calls import SkillSpec
from aios.events.limits import BOUNDS, UNSAID, Limits, parse_limit
from aios.playbooks.read import Reader
from aios.playbooks.yaml_strict import Node


def read_limits(reader: Reader, node: Node, spec: SkillSpec) -> Limits:
    """What it says; what is wrong is found wrong at its place."""
    found = reader.mapping(node, "limits", BOUNDS)
    if spec.kind != "act" and spec.only_looks is None:
        reader.refuse(node, f"limits are for what hands runs, and {spec.name} only looks", "remove limits; timeout bounds it")
        return UNSAID
    if node.kind == "map" and not node.entries:
        reader.refuse(node, "limits is empty", "write limits: {memory: 512M, processes: 64}")
    read = {name: _limit(reader, name, value) for name, value in found.items()}
    return Limits(**read)


def _limit(reader: Reader, name: str, node: Node) -> int | None:
    if node.kind != "scalar":
        reader.refuse(node, f"{name} must be one value, and this is {node.what}", f"write {name}: {BOUNDS[name].example}")
        return None
    try:
        return parse_limit(name, node.scalar)
    except ValueError as error:
        message, _, cure = str(error).partition("; ")
        reader.refuse(node, message, cure)
        return None
