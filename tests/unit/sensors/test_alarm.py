"""Alarms: a line to cross, another to come back over, and a time for which it must hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.sensors.alarm import Alarm, Limits

LIMITS = Limits(high=0.9, normal=0.7, for_s=10.0)


def test_a_short_peak_is_no_alarm() -> None:
    """It has to hold."""
    alarm = Alarm(LIMITS)
    assert [alarm.feed(value, now) for value, now in ((0.95, 0.0), (0.95, 9.0), (0.5, 9.5), (0.95, 10.0), (0.95, 19.0))] == [
        None
    ] * 5
    assert alarm.feed(0.95, 20.0) == "raise"


def test_it_is_well_again_only_below_the_lower_line_and_for_as_long() -> None:
    """Between the lines nothing changes."""
    alarm = Alarm(LIMITS, raised=True)
    assert alarm.feed(0.8, 0.0) is None
    assert alarm.feed(0.7, 1.0) is None
    assert alarm.feed(0.75, 5.0) is None
    assert alarm.feed(0.6, 6.0) is None
    assert alarm.feed(0.6, 16.0) == "clear"


def test_without_a_time_it_is_told_at_once() -> None:
    """A full disk does not wait."""
    alarm = Alarm(Limits(0.9, 0.85))
    assert alarm.feed(0.9, 0.0) == "raise"
    assert alarm.feed(0.85, 0.0) == "clear"


def test_lines_in_the_wrong_order_are_refused() -> None:
    """It would never be well again."""
    with pytest.raises(ValueError, match="never be well"):
        Alarm(Limits(0.5, 0.9))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 30)), max_size=200))
def test_edges_alternate_and_each_was_earned(steps: list[tuple[float, float]]) -> None:
    """Raise and clear take turns, and at each the value is beyond its line."""
    alarm, now, last = Alarm(LIMITS), 0.0, "clear"
    for value, step in steps:
        now += step
        word = alarm.feed(value, now)
        if word is not None:
            assert word != last
            assert value >= 0.9 if word == "raise" else value <= 0.7
            last = word
