"""What a question reaches for that the journal holds no more: since when there is something, and what the digests still count.

`aios events`, and whoever asks over long times, says it beside the answer: "nothing found" is not to be taken for "nothing was".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from aios.events.event import day_of
from aios.events.filters import EventFilter
from aios.journal.digest import FOLDER, BadDigest, days_with_digest, load_digest
from aios.journal.query import History, Query
from aios.ports import Files

_MOMENT_S = 1e-6
"""The journal's times are whole microseconds."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`kept_since` is the first day that is still there; `days` are those that the question reaches for and that are gone.

    `by_type` are their events, of the types that were asked for. `exact` is false where the question asks for more than types
    and whole days: then it is what there was at most. `unreadable` are days whose digest cannot be read.
    """

    kept_since: str
    days: tuple[str, ...]
    by_type: Mapping[str, int]
    exact: bool
    unreadable: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return sum(self.by_type.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "kept_since": self.kept_since,
            "first_day": self.days[0],
            "last_day": self.days[-1],
            "days": len(self.days),
            "count": self.count,
            "exact": self.exact,
            "by_type": dict(self.by_type),
            "unreadable": list(self.unreadable),
        }

    def __str__(self) -> str:
        first, last = self.days[0], self.days[-1]
        days = f"of {first}" if first == last else f"of {len(self.days)} days from {first} to {last}"
        least = "" if self.exact else "at most "
        kept = f"the journal holds events since {self.kept_since}" if self.kept_since else "the journal holds no day any more"
        return f"{kept}; {days} the digests still count {least}{self.count} events (aios report --date {last})"


def gap_of(files: Files, state: str, query: Query) -> Gap | None:
    """None when all that is asked for is there, as far as anybody knows. Raises OSError."""
    folder = f"{state}/{FOLDER}"
    digested = days_with_digest(files, folder)
    if not digested:
        return None
    kept = History(files, f"{state}/events").days()
    gone = tuple(day for day in digested if day not in kept and _reaches(query, day))
    if not gone:
        return None
    counts: Counter[str] = Counter()
    unreadable = []
    for day in gone:
        try:
            counts.update(load_digest(files, folder, day).by_type)
        except (BadDigest, OSError):
            unreadable.append(day)
    wanted = EventFilter(query.filter.types)
    by_type = {name: number for name, number in counts.most_common() if wanted.passes(name, "", "")}
    return Gap(min(kept, default=""), gone, by_type, _is_exact(query, gone), tuple(unreadable))


def _reaches(query: Query, day: str) -> bool:
    if query.on:
        return day == query.on
    if query.after is not None and day < query.after.day:
        return False
    return day >= (day_of(query.since) if query.since > 0 else "") and (query.until == inf or day <= _last_day(query.until))


def _last_day(until: float) -> str:
    """The day of what is just before this moment."""
    return day_of(until - _MOMENT_S)


def _is_exact(query: Query, days: tuple[str, ...]) -> bool:
    asked = query.filter
    if asked.subject or asked.severities or query.text or query.where or query.origin or query.after is not None:
        return False
    cut_first = query.since > 0 and day_of(query.since) in days and query.since % 86_400 > 0
    return not cut_first and (query.until == inf or query.until % 86_400 == 0 or day_of(query.until) not in days)
