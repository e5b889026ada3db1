"""A cron plan as numbers: `minute hour day month weekday`, such as `30 3 * * mon-fri`. Pure.

The settings refuse by it what cannot be read or never comes; the timers give its numbers to what computes the next time. Day and
weekday must both fit. Weekdays count from Sunday, which is 0 and 7.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAYS_MAX = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Of each month, in the year in which it has most."""

_PART = re.compile(r"(\*|\d{1,2}|[a-z]{3})(?:-(\d{1,2}|[a-z]{3}))?(?:/([1-9]\d?))?", re.ASCII)


class Kind(NamedTuple):
    """One of the five fields: its bounds, and the words that stand for numbers from `first` on."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


KINDS = (
    Kind("minute", 0, 59),
    Kind("hour", 0, 23),
    Kind("day", 1, 31),
    Kind("month", 1, 12, MONTHS),
    Kind("weekday", 0, 7, WEEKDAYS),
)


class Plan(NamedTuple):
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


def parse_cron(text: str) -> Plan:
    """Raises ValueError that says what is wrong, also for a plan that never comes (the 30th of February)."""
    fields = text.lower().split()
    if len(fields) != len(KINDS):
        raise ValueError(f"{text[:80]!r} has {len(fields)} fields, not five: minute hour day month weekday, such as 0 3 * * *")
    minutes, hours, days, months, weekdays = (_numbers(field, kind) for field, kind in zip(fields, KINDS, strict=True))
    if min(days) > max(DAYS_MAX[month - 1] for month in months):
        raise ValueError(f"{text[:80]!r} never comes: no such month has a day {min(days)}; the third field is the day")
    return Plan(minutes, hours, days, months, frozenset(day % 7 for day in weekdays))


def _numbers(field: str, kind: Kind) -> frozenset[int]:
    return frozenset(number for part in field.split(",") for number in _numbers_of_part(part, kind))


def _numbers_of_part(part: str, kind: Kind) -> range:
    found = _PART.fullmatch(part)
    if not found or (found[1] == "*" and found[2]):
        raise ValueError(
            f"{part[:20]!r} is no {kind.name}; write *, a number from {kind.low} to {kind.high}, a range a-b, a list a,b "
            "or a step */n"
        )
    first, last, step = found.groups()
    if first == "*":
        return range(kind.low, kind.high + 1, int(step or 1)) if kind.name != "weekday" else range(0, 7, int(step or 1))
    low = _number(first, kind)
    high = _number(last, kind) if last else kind.high if step else low
    if high < low:
        if kind.name != "weekday":
            raise ValueError(f"{part!r} goes backwards; write {first}-{kind.high},{kind.low}-{last}")
        high += 7  # fri-mon
    return range(low, high + 1, int(step or 1))


def _number(word: str, kind: Kind) -> int:
    if word in kind.words:
        return kind.words.index(word) + kind.low
    if not word.isdigit() or not kind.low <= int(word) <= kind.high:
        raise ValueError(f"{word!r} is no {kind.name}; it goes from {kind.low} to {kind.high}")
    return int(word)
