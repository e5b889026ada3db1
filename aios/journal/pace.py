"""How fast each source of the inbox may go: a token bucket for lines and one for bytes. Pure; `inbox` asks it.

A source over its limit is slowed: its lines wait in its own file, nothing is lost, and nobody else waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BURST_S = 10.0
"""A source may save up so many seconds' worth: what comes in bursts, and is slow on the whole, is not slowed."""
REST_S = 0.25
"""Who has used up everything waits so long at least, so that it goes on with more than a line."""
NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """For each source, in a second, on the whole; 0 is no limit. `lines_of` holds for the sources that it names instead."""

    lines_per_s: float = 0.0
    bytes_per_s: float = 0.0
    lines_of: Mapping[str, float] = field(default_factory=dict)


NO_PACE_LIMITS = PaceLimits()


class _Bucket:
    """Filled at a rate, up to a burst; what was read is taken out, below nothing too, and is paid back first."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._filled = rate * BURST_S
        self._at = now

    def left(self, now: float) -> float:
        if not self._rate:
            return NO_LIMIT
        self._filled = min(self._rate * BURST_S, self._filled + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return self._filled

    def take(self, amount: int) -> None:
        self._filled -= amount

    def wait_s(self, now: float) -> float:
        left = self.left(now)
        return max(REST_S, (1 - left) / self._rate) if left < 1 else 0.0


class Paces:
    """The buckets of all sources. Times are monotonic seconds."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._buckets: dict[str, tuple[_Bucket, _Bucket]] = {}

    def lines_per_s(self, source: str) -> float:
        return self._limits.lines_of.get(source, self._limits.lines_per_s)

    @property
    def bytes_per_s(self) -> float:
        return self._limits.bytes_per_s

    def room(self, source: str, now: float) -> int:
        """How many lines it may bring now; 0: it must wait."""
        lines, size = self._of(source, now)
        return 0 if size.left(now) < 1 else max(0, int(lines.left(now)))

    def used(self, source: str, lines: int, size: int, now: float) -> None:
        for bucket, amount in zip(self._of(source, now), (lines, size), strict=True):
            bucket.take(amount)

    def wait_s(self, source: str, now: float) -> float:
        """How long until it may go on."""
        return max(bucket.wait_s(now) for bucket in self._of(source, now))

    def _of(self, source: str, now: float) -> tuple[_Bucket, _Bucket]:
        buckets = self._buckets.get(source)
        if buckets is None:
            buckets = _Bucket(self.lines_per_s(source), now), _Bucket(self._limits.bytes_per_s, now)
            self._buckets[source] = buckets
        return buckets
