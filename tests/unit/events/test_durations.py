"""Durations: what people write is read exactly, and what is unclear is refused with a cure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.events.durations import LONGEST_S, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("0s", 0), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800), ("1d2h3m4s5ms", 93784.005)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    """Number and unit, from large to small."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5M", "1m1h", "1m1m", "1:30", "1e9s", "٣s", "5m" * 40, "9999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Never guessed: a bare number, a sign, foreign digits, units out of order."""
    with pytest.raises(ValueError, match=r"duration|order|ten years"):
        parse_duration(text)


def test_a_bare_number_is_refused_with_a_cure() -> None:
    """Nobody can tell whether 5 means seconds or minutes."""
    with pytest.raises(ValueError, match="number with its unit"):
        parse_duration(5)  # type: ignore[arg-type]


@given(st.integers(0, int(LONGEST_S * 1000)))
def test_the_short_form_is_read_back(ms: int) -> None:
    """format_duration and parse_duration are each other's inverse, to the millisecond."""
    assert round(parse_duration(format_duration(ms / 1000)) * 1000) == ms
