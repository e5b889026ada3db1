"""Timers of the settings: each emits `timer.due` when its time has come, and nothing else. The one door to apscheduler.

apscheduler's triggers only compute the next time (`next_due`, pure); the waiting is ours, through the `Clock`, so that timers
also run in virtual time. A wall clock that leaps is noticed within half a minute and the next time is computed anew: leaping over
several times of one timer makes it due once; leaping back a little does not make it due again for what it has told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aios.clock import Clock
from aios.events.event import HOST, Draft, format_time
from aios.ports import Emit

LOOK_EVERY_S = 30.0
"""The longest sleep: the wall clock may leap, and nobody tells."""
LEAP_BACK_S = 3600.0
"""A clock that went back by more than this (or by more than the timer's own step) was wrong before: it is believed now."""

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Timer:
    """Either `cron` (minute hour day month weekday; both day and weekday must fit) or `every_s`.

    `timezone` names the zone of `cron`; empty: the machine's own. `every_s` counts from the beginning of 1970.
    """

    name: str
    cron: str = ""
    every_s: float = 0.0
    timezone: str = ""


def next_due(timer: Timer, after: datetime) -> datetime:
    """The first time after `after` (which has a zone), in UTC. Raises ValueError for a plan that never comes."""
    found = trigger_of(timer).get_next_fire_time(after, after)
    if found is None:
        raise ValueError(f"timer {timer.name}: {timer.cron or timer.every_s!r} never comes")
    due: datetime = found.astimezone(UTC)
    return due


def trigger_of(timer: Timer) -> Any:
    """apscheduler's trigger; loaded on first use, since 45 ms and 2.5 MB are too much for a daemon without timers."""
    if not timer.cron:
        return _Every(timer.every_s)
    from apscheduler.triggers.cron import CronTrigger

    minute, hour, day, month, weekday = timer.cron.lower().split()
    return CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=timer.timezone or None
    )


class _Every:
    """Even steps since 1970: apscheduler's own interval trigger counts from when it was made, which is another each time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s

    def get_next_fire_time(self, previous: datetime, now: datetime) -> datetime:
        steps = int(now.timestamp() / self._every_s) + 1
        return datetime.fromtimestamp(steps * self._every_s, UTC)


def _weekdays(field: str) -> str:
    """cron counts from Sunday (0 or 7), apscheduler from Monday: so days become names."""
    if field == "*":
        return field
    days = sorted({day for part in field.split(",") for day in _days_of(part)})
    return ",".join(_WEEKDAYS[day] for day in days)


def _days_of(part: str) -> set[int]:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if span == "*":
        low, high = 0, 6
    else:
        low = _day(first)
        high = _day(last) if last else (6 if step else low)
    if high < low:
        high += 7  # fri-mon
    return {day % 7 for day in range(low, high + 1, int(step or 1))}


def _day(word: str) -> int:
    return int(word) if word.isdigit() else _WEEKDAYS.index(word)


class TimerSensor:
    """A `Sensor`. `last` says up to when each timer has been told (seconds since the epoch): what was missed is told once."""

    name = "timers"

    def __init__(self, timers: Sequence[Timer], clock: Clock, last: Mapping[str, float] | None = None) -> None:
        self._timers, self._clock, self._last = tuple(timers), clock, dict(last or {})

    async def run(self, emit: Emit) -> None:
        async with asyncio.TaskGroup() as group:
            for timer in self._timers:
                group.create_task(self._follow(timer, emit))

    async def _follow(self, timer: Timer, emit: Emit) -> None:
        told = self._last.get(timer.name, self._clock.now())
        while True:
            told = self._after_a_leap(timer, told)
            try:
                due = next_due(timer, _moment(told)).timestamp()
            except ValueError:  # the 30th of February: there is nothing to wait for
                return
            now = self._clock.now()
            if due > now:
                await self._clock.sleep_until(self._clock.monotonic() + min(LOOK_EVERY_S, due - now))
                continue
            emit(Draft(type="timer.due", subject=HOST, data={"timer": timer.name, "planned": format_time(due)}))
            told = max(due, now)

    def _after_a_leap(self, timer: Timer, told: float) -> float:
        now = self._clock.now()
        return now if told - now > min(LEAP_BACK_S, timer.every_s or LEAP_BACK_S) else told


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
