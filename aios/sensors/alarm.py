"""When a measured value becomes an alarm, and when it is well again. Pure: values and times in, a word out.

Hysteresis (`high` to raise, `normal` to clear) and a time for which it must hold, so that neither a short peak nor a value that
swings around one line tells anybody anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Word = Literal["raise", "clear"]


@dataclass(frozen=True, slots=True)
class Limits:
    """At or above `high` for `for_s` seconds: alarm. At or below `normal` for as long: well again."""

    high: float
    normal: float
    for_s: float = 0.0

    def __post_init__(self) -> None:
        if self.normal > self.high:
            raise ValueError(f"normal ({self.normal:g}) is above high ({self.high:g}); it would never be well again")


@dataclass(slots=True)
class Alarm:
    """`raised` can be set at the start, where the world believes that it still stands."""

    limits: Limits
    raised: bool = False
    since: float | None = field(default=None, init=False)
    """Since when the value has been on the other side; None while it is not."""

    def feed(self, value: float, now: float) -> Word | None:
        """One measurement; `now` is monotonic. Gives the edge, if this is one."""
        beyond = value <= self.limits.normal if self.raised else value >= self.limits.high
        if not beyond:
            self.since = None
            return None
        if self.since is None:
            self.since = now
        if now - self.since < self.limits.for_s:
            return None
        self.since = None
        self.raised = not self.raised
        return "raise" if self.raised else "clear"

    def undecided(self) -> bool:
        """Whether it is raised or about to be: worth a closer look than at rest."""
        return self.raised or self.since is not None
