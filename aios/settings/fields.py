"""What the sections are asked about themselves: which variable gives a setting, what a field holds, its default as written.

Used by `reading` and `mistakes`, and by the reference page of the settings.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, PlainSerializer
from pydantic.fields import FieldInfo

from aios.settings.sections import Section, Settings

VARIABLE_PREFIX = "AIOS_"


class Variable(NamedTuple):
    """An environment variable that stands for a setting; `many`: a list, its entries separated by commas."""

    path: tuple[str, ...]
    many: bool


def variables() -> dict[str, Variable]:
    """Every setting that a variable can give, by the variable's name: all but tables with names of their own."""
    return {VARIABLE_PREFIX + "_".join(path).upper(): Variable(path, many) for path, many in _scalars(Settings, ())}


def _scalars(model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        inner = section_of(field.annotation)
        if inner is None:
            if not _is_mapping(field.annotation):
                yield path, typing.get_origin(field.annotation) is tuple
        elif typing.get_origin(field.annotation) is not tuple:
            yield from _scalars(inner, path)


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, one or many; None when it is a plain value."""
    for part in (annotation, *typing.get_args(annotation)):
        if isinstance(part, type) and not isinstance(part, types.GenericAlias) and issubclass(part, Section):
            return part
    return None


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Mapping


def dotted(path: tuple[str | int, ...]) -> str:
    """`("service", 0, "argv")` as people read it: `service[1].argv` (they count from 1)."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def look_up(path: tuple[str | int, ...]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The section that the path's last key belongs to, and the last field that is known on the way there."""
    model: type[BaseModel] = Settings
    known: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        field = next((field for key, field in model.model_fields.items() if part == (field.alias or key)), None)
        if field is None:
            break
        known = field
        inner = section_of(field.annotation)
        if inner is None:
            break
        model = inner
    return model, known


def default_text(field: FieldInfo) -> str:
    """A field's default as the file would have it; empty when it must be given."""
    if field.is_required() or field.default_factory is not None:
        return "" if field.is_required() else "{}"
    value = field.default
    if value is None:
        return ""
    for form in field.metadata:
        if isinstance(form, PlainSerializer):
            return f'"{typing.cast(Any, form.func)(value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{entry}"' for entry in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
