"""The arithmetic of the score: plain functions of numbers, and the weights as data. `docs/score.md` explains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SUCCESS, LATENCY, STABILITY, RESOURCES = "success", "latency", "stability", "resources"
DIMENSIONS = (SUCCESS, LATENCY, STABILITY, RESOURCES)

WEIGHTS: Mapping[str, float] = {SUCCESS: 0.4, LATENCY: 0.2, STABILITY: 0.2, RESOURCES: 0.2}
"""How much each dimension counts until somebody knows better: whatever learns, hands other weights to `Scores`."""

# As if 1.9 of 2 earlier tries had gone well: one failure after a quiet time is no catastrophe, ten are.
_PRIOR_GOOD, _PRIOR_ALL = 1.9, 2.0
_FULL_AT, _ROOM_WANTED = 0.95, 0.25


@dataclass(frozen=True, slots=True)
class Score:
    """`dimensions` holds those that have data, each 0 to 1; for `system` it holds `worst` and `mean`."""

    subject: str
    value: float
    dimensions: Mapping[str, float]


def success(good: int, failed: int) -> float | None:
    return (good + _PRIOR_GOOD) / (good + failed + _PRIOR_ALL) if good + failed else None


def latency(target_ms: float | None, p95_ms: float | None) -> float | None:
    if target_ms is None or p95_ms is None:
        return None
    return min(1.0, target_ms / p95_ms) if p95_ms > 0 else 1.0


def stability(falls: int) -> float:
    return float(0.5 ** (falls / 2))


def resources(used: Sequence[float]) -> float | None:
    """`used`: shares of processor, memory, disk; the scarcest counts."""
    return min((min(1.0, max(0.0, (_FULL_AT - share) / _ROOM_WANTED)) for share in used), default=None)


def combine(dimensions: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """The weighted mean of the dimensions that have data; None when none has."""
    total = sum(weights[name] for name in dimensions)
    return sum(weights[name] * value for name, value in dimensions.items()) / total if total > 0 else None


def combine_system(worst: float, mean: float) -> float:
    return 0.5 * worst + 0.5 * mean


def weighted_median(values: Sequence[tuple[float, int]]) -> float | None:
    """The median of (value, how many) pairs; None of nothing."""
    half = sum(count for _, count in values) / 2
    seen = 0
    for value, count in sorted(values):
        seen += count
        if seen >= half:
            return value
    return None
