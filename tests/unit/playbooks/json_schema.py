"""A small JSON Schema checker, for the parts of the 2020-12 vocabulary that the playbook schema uses."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "examples", "default", "type", "enum", "const", "pattern", "minLength",
    "maxLength", "minimum", "maximum", "exclusiveMinimum", "items", "minItems", "maxItems", "properties", "required",
    "additionalProperties", "minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "if", "then", "format", "uniqueItems",
}  # fmt: skip


def problems(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None, at: str = "$") -> list[str]:
    """What does not fit; empty when all does. An unknown keyword is a failure of the test."""
    root = root or schema
    assert schema.keys() <= KNOWN, f"unknown keywords {schema.keys() - KNOWN} at {at}"
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return problems(target, value, root, at) + problems({k: v for k, v in schema.items() if k != "$ref"}, value, root, at)
    found = _own(schema, value, at)
    if isinstance(value, dict):
        found += _object(schema, value, root, at)
    if isinstance(value, list) and "items" in schema:
        found += [p for n, item in enumerate(value) for p in problems(schema["items"], item, root, f"{at}[{n}]")]
    for part in schema.get("allOf", ()):
        found += problems(part, value, root, at)
    for name, wanted in (("anyOf", lambda n: n >= 1), ("oneOf", lambda n: n == 1)):
        if name in schema:
            tried = [problems(part, value, root, at) for part in schema[name]]
            if not wanted(sum(not t for t in tried)):
                found.append(f"{at}: {name}: {tried}")
    if "if" in schema and not problems(schema["if"], value, root, at):
        found += problems(schema.get("then", {}), value, root, at)
    return found


def _own(schema: dict[str, Any], value: Any, at: str) -> list[str]:
    found = []
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(TYPES[name](value) for name in types):
        found.append(f"{at}: {value!r} is not {types}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not among {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r} does not fit {schema['pattern']}")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
            found.append(f"{at}: its length")
    if TYPES["number"](value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value} is out of range")
    for kind, low, high in (("array", "minItems", "maxItems"), ("object", "minProperties", "maxProperties")):
        if TYPES[kind](value) and not schema.get(low, 0) <= len(value) <= schema.get(high, 1 << 30):
            found.append(f"{at}: its size")
    return found


def _object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    properties = schema.get("properties", {})
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, inner in value.items():
        if name in properties:
            found += problems(properties[name], inner, root, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{at}: unknown key {name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            found += problems(schema["additionalProperties"], inner, root, f"{at}.{name}")
    return found
