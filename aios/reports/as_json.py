"""A report as plain JSON: the same names as `model.Report`, for programs. Texts are bounded, but escaped for nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aios.reports.model import Report

VERSION = 1


def to_json(report: Report) -> dict[str, Any]:
    """Ready for `aios.events.codec.encode_json`. `needs_person` says at once whether anything waits."""
    waiting = len(report.waits) + report.waits_beyond
    return {"version": VERSION, "needs_person": waiting > 0, "waiting": waiting, **_listed(asdict(report))}


def _listed(value: Any) -> Any:
    """Tuples as lists, so that it equals what one reads back."""
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    return value
