"""Timers: the next time is computed, the waiting is virtual, and a leaping clock confuses nobody."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.event import Draft, parse_time
from aios.sensors.timers import Timer, TimerSensor, next_due
from aios.testing.loop import VirtualClock, run_virtual

FRIDAY = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def due(cron: str, after: datetime = FRIDAY, zone: str = "UTC") -> str:
    return next_due(Timer("t", cron=cron, timezone=zone), after).strftime("%a %Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 * * *", "Sat 2026-11-21 03:00"),
        ("*/5 * * * *", "Fri 2026-11-20 12:05"),
        ("0 3 * * 0", "Sun 2026-11-22 03:00"),
        ("0 3 * * 7", "Sun 2026-11-22 03:00"),
        ("0 3 * * 1", "Mon 2026-11-23 03:00"),
        ("0 3 * * mon-fri", "Mon 2026-11-23 03:00"),
        ("0 3 * * 6-7", "Sat 2026-11-21 03:00"),
        ("0 3 * * fri-mon", "Sat 2026-11-21 03:00"),
        ("30 6 1 jan *", "Fri 2027-01-01 06:30"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00"),
        ("0 12/40 * feb-dec/2 *", "Tue 2026-12-01 12:00"),
        ("0 0 13 * 5", "Fri 2027-08-13 00:00"),
    ],
)
def test_cron_means_what_cron_means(cron: str, expected: str) -> None:
    """Sunday is 0 and 7, whatever the library below counts from."""
    assert due(cron) == expected


def test_a_time_is_after_and_never_at() -> None:
    """Or it would be due for ever."""
    first = next_due(Timer("t", cron="0 3 * * *", timezone="UTC"), FRIDAY)
    assert next_due(Timer("t", cron="0 3 * * *", timezone="UTC"), first) > first
    step = next_due(Timer("t", every_s=300), FRIDAY)
    assert (step - FRIDAY).total_seconds() == 300


def test_a_zone_counts() -> None:
    """Three in the morning in Berlin is two in UTC in winter."""
    assert due("0 3 * * *", zone="Europe/Berlin") == "Sat 2026-11-21 02:00"


def test_a_time_that_never_comes_is_refused() -> None:
    """The 30th of February."""
    with pytest.raises(ValueError, match="never comes"):
        due("0 0 30 2 *")


def told_within(
    seconds: float, timers: list[Timer], leaps: list[tuple[float, float]] | None = None, **more: Any
) -> list[tuple[str, float]]:
    """Run the sensor for so long from Friday noon; the wall clock leaps at (after seconds, by seconds)."""
    told: list[tuple[str, float]] = []

    def emit(*drafts: Draft) -> None:
        told.extend((draft.data["timer"], parse_time(draft.data["planned"]) - FRIDAY.timestamp()) for draft in drafts)

    async def main(clock: VirtualClock, entropy: SeededEntropy) -> None:
        sensor = TimerSensor(timers, clock, **more)
        task = asyncio.create_task(sensor.run(emit))  # type: ignore[arg-type]  # nobody waits for its future
        for after, by in leaps or []:
            await clock.sleep_until(after)
            clock.leap(by)
        await clock.sleep_until(seconds)
        task.cancel()

    run_virtual(main, start=FRIDAY.timestamp())
    return told


def test_timers_are_due_at_their_times() -> None:
    """Each by itself, in order."""
    timers = [Timer("five", cron="*/5 * * * *", timezone="UTC"), Timer("step", every_s=400)]
    assert told_within(890, timers) == [("five", 300), ("step", 400), ("five", 600), ("step", 800)]


def test_a_clock_that_leaps_forward_makes_a_timer_due_once() -> None:
    """A day of missed times is one event."""
    told = told_within(1000, [Timer("five", every_s=300)], leaps=[(350, 86_400)])
    assert [planned for _, planned in told] == [300, 600, 86_400 + 600, 86_400 + 900, 86_400 + 1200][: len(told)]
    assert len(told) in (3, 4)


def test_a_clock_that_leaps_back_a_little_repeats_nothing() -> None:
    """What was told stays told."""
    told = told_within(1200, [Timer("five", every_s=600)], leaps=[(700, -200)])
    assert [planned for _, planned in told] == [600]


def test_a_clock_that_was_far_ahead_is_believed_when_it_comes_back() -> None:
    """A timer does not sleep for a year because the clock was wrong."""
    told = told_within(2000, [Timer("five", every_s=300)], leaps=[(100, 31_536_000), (200, -31_536_000)])
    assert told[-1][1] == 1800


def test_what_was_missed_while_nobody_looked_is_told_once() -> None:
    """A daily report is not lost because the daemon was away at seven."""
    timer = Timer("daily", cron="0 7 * * *", timezone="UTC")
    three_days_ago = FRIDAY.timestamp() - 3 * 86_400
    told = told_within(60, [timer], last={"daily": three_days_ago})
    assert len(told) == 1
