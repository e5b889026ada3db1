"""Timers of the settings: each emits `timer.due` when its time has come, and nothing else. The one door to apscheduler.

apscheduler's triggers only compute the next time (`next_due`, pure); the waiting is ours, through the `Clock`, so that timers
also run in virtual time. A wall clock that leaps is noticed within half a minute and the next time is computed anew: leaping over
several times of one timer makes it due once; leaping back a little does not make it due again for what it has told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aios.clock import Clock
from aios.cron import parse_cron
from aios.events.event import HOST, Draft, format_time
from aios.ports import Emit

LOOK_EVERY_S = 30.0
"""The longest sleep: the wall clock may leap, and nobody tells."""
LEAP_BACK_S = 3600.0
"""A clock that went back by more than this (or by more than the timer's own step) was wrong before: it is believed now."""


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
    due: datetime = trigger_of(timer).get_next_fire_time(after, after).astimezone(UTC)
    return due


def trigger_of(timer: Timer) -> Any:
    """apscheduler's trigger; loaded on first use, since 45 ms and 2.5 MB are too much for a daemon without timers."""
    if not timer.cron:
        return _Every(timer.every_s)
    from apscheduler.triggers.cron import CronTrigger

    plan = parse_cron(timer.cron)
    return CronTrigger(
        minute=_listed(plan.minutes),
        hour=_listed(plan.hours),
        day=_listed(plan.days),
        month=_listed(plan.months),
        day_of_week=_listed((day - 1) % 7 for day in plan.weekdays),  # apscheduler counts from Monday
        timezone=timer.timezone or None,
    )


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


class _Every:
    """Even steps since 1970: apscheduler's own interval trigger counts from when it was made, which is another each time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s

    def get_next_fire_time(self, previous: datetime, now: datetime) -> datetime:
        steps = int(now.timestamp() / self._every_s) + 1
        return datetime.fromtimestamp(steps * self._every_s, UTC)


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
            due = next_due(timer, _moment(told)).timestamp()
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
