"""Maintenance windows: times in which a playbook may act, or may not; and when that changes next.

`read_guard.py` makes them from a playbook's `guard`, the daemon's wiring from `[[window]]` in the settings; the reactor asks
`WindowSet.closed_until`. Two kinds: a cron plan with a length (`0 22 * * fri` for 8h), and a range of the calendar. Both are in
local time of a zone, so they follow summer time: a start that the clock leaps over comes as much later, and one that
comes twice counts the first time; the length is real time. Pure: the zones themselves are read when a file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

from aios.cron import Plan

CHAIN_MAX = 64
"""Windows that follow one another without a gap are taken as one, up to so many; then it is asked again."""
DAY_S = 86_400.0
AHEAD_DAYS = 366 * 8
"""A plan that comes at all comes within so many days: the 29th of February may be eight years away."""


@dataclass(frozen=True, slots=True)
class CronWindow:
    """Open for `length_s` from each time of the plan on. A zone of None is the machine's own."""

    plan: Plan
    length_s: float
    zone: tzinfo | None
    text: str

    def spans(self, now: float) -> Iterator[tuple[float, float]]:
        """Those that are open or come, in order of their starts; without end, or until no day is left."""
        first = datetime.fromtimestamp(now - self.length_s, self.zone).date()
        plan = self.plan
        for offset in range(-1, AHEAD_DAYS):
            day = first + timedelta(days=offset)
            if day.month in plan.months and day.day in plan.days and day.isoweekday() % 7 in plan.weekdays:
                for start in self._starts(day, now - self.length_s):
                    yield start, start + self.length_s

    def _starts(self, day: date, after: float) -> Iterable[float]:
        """The times of the plan on this day, later than `after`."""
        midnight, next_one = (self._moment(one, 0) for one in (day, day + timedelta(days=1)))
        if next_one - midnight == DAY_S:
            return self._plain_starts(midnight, after)
        minutes = (hour * 60 + minute for hour in self.plan.hours for minute in self.plan.minutes)
        return sorted(start for one in minutes if (start := self._moment(day, one)) > after)

    def _plain_starts(self, midnight: float, after: float) -> Iterator[float]:
        for hour in sorted(self.plan.hours):
            began = midnight + hour * 3600.0
            if began + 3600.0 > after:
                yield from (start for minute in sorted(self.plan.minutes) if (start := began + minute * 60.0) > after)

    def _moment(self, day: date, minute: int) -> float:
        return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone).timestamp()


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """Open once, from one moment to another."""

    begins: float
    ends: float
    text: str

    def spans(self, now: float) -> Iterator[tuple[float, float]]:
        if self.ends > now:
            yield self.begins, self.ends


Window = CronWindow | CalendarWindow


def open_until(windows: Sequence[Window], now: float) -> tuple[float, str]:
    """Until when some of these are open without a gap, and the one that is; 0.0 when none is open now."""
    ends, text = 0.0, ""
    for _ in range(CHAIN_MAX):
        further, by = max((_one_open_until(window, ends or now) for window in windows), default=(0.0, ""))
        if further <= ends:
            break
        ends, text = further, text or by
    return ends, text


def _one_open_until(window: Window, at: float) -> tuple[float, str]:
    first = next(window.spans(at), None)
    return (first[1], window.text) if first is not None and first[0] <= at else (0.0, "")


def opens_at(windows: Sequence[Window], now: float) -> float:
    """When the next of these opens, none being open; 0.0: never again."""
    starts = (next(window.spans(now), None) for window in windows)
    return min((span[0] for span in starts if span is not None), default=0.0)


@dataclass(slots=True)
class WindowSet:
    """`only`: acts happen within one of these. `never`: and within none of those.

    The answer is remembered for as long as it holds, since a busy moment asks many times.
    """

    only: tuple[Window, ...] = ()
    never: tuple[Window, ...] = ()
    _known: tuple[float, float, str] = field(default=(1.0, 0.0, ""), compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.only or self.never)

    def closed_until(self, now: float) -> tuple[float, str]:
        """(when it may act again, why not now); an empty why: it may now. A time of 0.0 with a why: never again."""
        since, upto, why = self._known
        if not since <= now < upto:
            until, why = self._ask(now)
            self._known = (now, until, why)
            return until, why
        return upto, why

    def _ask(self, now: float) -> tuple[float, str]:
        """Until when the answer holds, and what it is."""
        barred, text = open_until(self.never, now)
        if barred:
            return barred, f"no acts in the maintenance window {text}"
        if not self.only:
            return self._until_barred(now, float("inf")), ""
        allowed, _ = open_until(self.only, now)
        if allowed:
            return self._until_barred(now, allowed), ""
        return opens_at(self.only, now), f"acts only in the maintenance windows {_listed(self.only)}"

    def _until_barred(self, now: float, ends: float) -> float:
        return min(ends, opens_at(self.never, now) or ends)


def _listed(windows: Sequence[Window]) -> str:
    shown = "; ".join(window.text for window in windows[:3])
    return shown + (f" and {len(windows) - 3} more" if len(windows) > 3 else "")


def calendar(text: str, zone: tzinfo | None, *, end: bool) -> float:
    """A day or a moment of the calendar, in this zone unless it names its own. As an end, a day counts whole.

    Raises ValueError for what is neither.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    if end and len(text) <= len("2026-02-24"):
        moment += timedelta(days=1)  # wall time: a day of 23 or 25 hours ends at its own midnight
    return moment.timestamp()


def zone_of(name: str) -> tzinfo:
    """The time zone of this name. Raises ValueError that says what to write."""
    from zoneinfo import ZoneInfo  # only who names a zone pays for it

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name[:80]!r} is no time zone of this machine; write it as Europe/Berlin") from error
