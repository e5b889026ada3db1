"""Maintenance windows: when a playbook may act, and when that changes, in any time zone. No test waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.cron import parse_cron
from aios.playbooks.maintenance import CalendarWindow, CronWindow, Window, WindowSet, calendar

BERLIN, NEW_YORK, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")
HOUR_S = 3600.0


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def cron(plan: str, hours: float, zone: ZoneInfo = BERLIN) -> CronWindow:
    return CronWindow(parse_cron(plan), hours * HOUR_S, zone, plan)


def once(begins: str, ends: str, zone: ZoneInfo = BERLIN) -> CalendarWindow:
    return CalendarWindow(calendar(begins, zone, end=False), calendar(ends, zone, end=True), f"{begins} to {ends}")


NIGHT = (cron("0 2 * * *", 3),)
FRIDAY = (cron("0 22 * * fri", 8),)
HOLIDAYS = (once("2026-12-24", "2026-12-26"),)

CASES: list[tuple[str, WindowSet, str, str | None]] = [
    ("before it begins it acts", WindowSet(never=NIGHT), "2026-06-01T01:59:59", None),
    ("at its first moment it does not", WindowSet(never=NIGHT), "2026-06-01T02:00:00", "2026-06-01T05:00:00"),
    ("at its last moment it does again", WindowSet(never=NIGHT), "2026-06-01T05:00:00", None),
    ("outside of what it is only for, it waits for the next", WindowSet(NIGHT), "2026-06-01T05:00:00", "2026-06-02T02:00:00"),
    ("inside of it, it acts", WindowSet(NIGHT), "2026-06-01T04:59:59", None),
    ("a window goes over midnight into the next day", WindowSet(never=FRIDAY), "2026-06-06T03:00:00", "2026-06-06T06:00:00"),
    ("a holiday's last day counts whole", WindowSet(never=HOLIDAYS), "2026-12-26T23:59:59", "2026-12-27T00:00:00"),
    ("and is over at midnight", WindowSet(never=HOLIDAYS), "2026-12-27T00:00:00", None),
    ("never wins over only", WindowSet(NIGHT, HOLIDAYS), "2026-12-25T03:00:00", "2026-12-27T00:00:00"),
    (
        "windows without a gap are one",
        WindowSet(never=(cron("0 2 * * *", 3), cron("0 5 * * *", 1), cron("30 5 * * *", 1))),
        "2026-06-01T02:30:00",
        "2026-06-01T06:30:00",
    ),
    ("a start that the clock leaps over is an hour late", WindowSet(never=NIGHT), "2026-03-29T03:30:00", "2026-03-29T06:00:00"),
    ("a start that comes twice counts the first time", WindowSet(never=NIGHT), "2026-10-25T03:59:59", "2026-10-25T04:00:00"),
    ("a leap day is found four years ahead", WindowSet((cron("0 0 29 2 *", 1),)), "2024-03-01T00:00:00", "2028-02-29T00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("windows", "now", "until"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_window_says_until_when(windows: WindowSet, now: str, until: str | None) -> None:
    """In the window's own time zone; what it says stays true until then and not a moment longer."""
    told, why = windows.closed_until(at(now))
    assert (datetime.fromtimestamp(told, BERLIN).isoformat()[:19] if why else None) == until


def test_a_range_that_is_past_never_opens_again() -> None:
    windows = WindowSet(only=HOLIDAYS)
    until, why = windows.closed_until(at("2027-01-01"))
    assert until == 0.0
    assert why


def test_the_zone_decides_which_hour_it_is() -> None:
    """Two in the morning in New York is eight in Berlin."""
    windows = WindowSet(never=(cron("0 2 * * *", 1, NEW_YORK),))
    assert windows.closed_until(at("2026-06-01T08:30:00"))[1]
    assert not windows.closed_until(at("2026-06-01T02:30:00"))[1]


def test_a_range_may_name_its_own_zone() -> None:
    assert calendar("2026-12-24T18:00+00:00", BERLIN, end=False) == at("2026-12-24T19:00")


PLANS = st.builds(
    lambda minute, hour, day: f"{minute} {hour} * * {day}",
    st.sampled_from(["0", "30", "*/20", "15,45"]),
    st.sampled_from(["2", "*/6", "22", "0,12", "*"]),
    st.sampled_from(["*", "sun", "mon-fri"]),
)


def _says(windows: tuple[Window, ...], now: float) -> bool:
    """The slow way: is any start of the last day and a half so near that its length has not run out?"""
    return any(any(begins <= now < ends for begins, ends in _all(window, now)) for window in windows)


def _all(window: Window, now: float) -> list[tuple[float, float]]:
    if isinstance(window, CalendarWindow):
        return [(window.begins, window.ends)]
    day = datetime.fromtimestamp(now, window.zone).date() - timedelta(days=2)
    found = []
    for minute in range(4 * 1440):
        one = day + timedelta(days=minute // 1440)
        hour, left = divmod(minute % 1440, 60)
        plan = window.plan
        if left in plan.minutes and hour in plan.hours and one.isoweekday() % 7 in plan.weekdays:
            begins = datetime(one.year, one.month, one.day, hour, left, tzinfo=window.zone).timestamp()
            found.append((begins, begins + window.length_s))
    return found


@given(st.lists(PLANS, min_size=1, max_size=2), st.floats(0.2, 9.0), st.booleans(), st.integers(0, 60 * 24 * 240))
def test_windows_agree_with_asking_each_minute(plans: list[str], hours: float, never: bool, minute: int) -> None:
    """Over summer time's changes too; and at the moment that it names the answer is another one, unless its chain was cut."""
    some = tuple(cron(plan, hours) for plan in plans)
    windows = WindowSet(never=some) if never else WindowSet(only=some)
    now = at("2026-03-20T00:00") + minute * 60.0
    until, why = windows.closed_until(now)
    assert bool(why) == (_says(some, now) if never else not _says(some, now))
    if why:
        assert until > now
        assert bool(WindowSet(windows.only, windows.never).closed_until(until - 0.001)[1])
