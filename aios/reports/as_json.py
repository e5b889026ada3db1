"""A report as plain JSON: the same names as `model.Report`, for programs. Texts are bounded, but escaped for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from aios.reports.model import Report

VERSION = 1


def to_json(report: Report) -> dict[str, Any]:
    """Ready for `aios.events.codec.encode_json`. `needs_person` says at once whether anything waits."""
    waiting = len(report.waits) + report.waits_beyond
    return {"version": VERSION, "needs_person": waiting > 0, "waiting": waiting, **_listed(asdict(report))}


def from_json(raw: Mapping[str, Any]) -> Report:
    """What `to_json` gave, as a report again: a day's digest keeps it. Raises ValueError, KeyError, TypeError for others."""
    if raw.get("version") != VERSION:
        raise ValueError(f"a report of version {raw.get('version')}; this program reads {VERSION}")
    report: Report = _made(Report, raw)
    return report


def _made(kind: Any, value: Any) -> Any:
    """The value that `_listed` made a list or object of."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{one.name: _made(hints[one.name], value[one.name]) for one in fields(kind) if one.name in value})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_made(inner[0], one) for one in value)
        return tuple(_made(one, part) for one, part in zip(inner, value, strict=True))
    return value


def _listed(value: Any) -> Any:
    """Tuples as lists, so that it equals what one reads back."""
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    return value
