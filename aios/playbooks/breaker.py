"""The circuit breaker of one playbook on one subject: open, half-open for one trial, closed again, or open for longer.

When a `limit` is reached the reactor holds the event and says until when; that decision, folded, is the breaker's opening. After
that time one run is let through as the trial (a pair never has two open runs, so it is one by itself): healed, it closes the
breaker and what was counted is forgotten; failed after it had acted, it opens it for twice as long, up to a ceiling. A run that
never came to act (the symptom was gone, a person said no) decides nothing: the next one is the trial. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

FACTOR = 2.0
CEILING_S = 86_400.0
LEVEL_MAX = 64


@dataclass(slots=True)
class Breaker:
    """`level` counts how often it opened in a row; `until` is what the decision that opened it said, 0.0 after a failed trial."""

    opened_at: float
    until: float
    level: int = 1

    def open_until(self, first_s: float, ceiling_s: float) -> float:
        """When the next trial may begin. `first_s` is how long the playbook opens it at first."""
        if self.until:
            return self.until
        return self.opened_at + open_s(self.level, first_s, ceiling_s)

    def is_open(self, first_s: float, ceiling_s: float, now: float) -> bool:
        until = self.open_until(first_s, ceiling_s)
        return lasts(self.opened_at, until - self.opened_at, now)

    def failed(self, at: float) -> None:
        """The trial did not heal."""
        self.opened_at, self.until, self.level = at, 0.0, min(self.level + 1, LEVEL_MAX)


def lasts(since: float, for_s: float, now: float) -> bool:
    """Whether what began then and holds for so long still holds. What begins even further ahead was noted by another clock."""
    return since - for_s <= now < since + for_s


def open_s(level: int, first_s: float, ceiling_s: float) -> float:
    """For how long it is open: twice as long each time in a row, and never longer than the ceiling."""
    return min(max(ceiling_s, first_s), first_s * FACTOR ** (level - 1))
