"""Limits are read as they are written, and the nearer word counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.events.limits import BOUNDS, Limits, format_limit, parse_limit

VALUES = st.one_of(st.none(), st.integers(0, 1 << 40))
SOME = st.builds(Limits, VALUES, VALUES, VALUES, VALUES, VALUES)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("memory", "512M", 512 << 20),
        ("memory", "1T", 1 << 40),
        ("output", "1K", 1024),
        ("file_size", "none", 0),
        ("processes", 64, 64),
        ("processes", "64", 64),
        ("cpu", "50%", 50),
        ("cpu", "200%", 200),
        ("nice", 0, 0),
        ("nice", "19", 19),
        ("nice", "none", 0),
    ],
)
def test_what_is_written_is_what_counts(name: str, written: object, value: int) -> None:
    """Sizes are powers of 1024; what is shown can be read again."""
    assert parse_limit(name, written) == value
    assert parse_limit(name, format_limit(name, value)) == value


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("memory", 512),
        ("memory", "512"),
        ("memory", "512 M"),
        ("memory", "0.5G"),
        ("memory", "-1M"),
        ("memory", "1M"),
        ("memory", "9999999T"),
        ("memory", True),
        ("memory", None),
        ("memory", ["1M"]),
        ("processes", "sixty"),
        ("processes", 1),
        ("processes", True),
        ("processes", 2.5),
        ("cpu", "50"),
        ("cpu", 50),
        ("cpu", "0%"),
        ("nice", -1),
        ("nice", 20),
        ("nice", "high"),
        ("output", "1"),
        ("file_size", "１M"),
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_cure(name: str, written: object) -> None:
    with pytest.raises(ValueError, match=f"(?s)^{name} .*; write a .*or none$"):
        parse_limit(name, written)


@given(SOME, SOME, SOME)
def test_laying_limits_over_one_another_does_not_depend_on_the_order_of_doing_it(a: Limits, b: Limits, c: Limits) -> None:
    """Step over skill over settings, in whatever bracket; what is said stays, also when it says none."""
    assert a.over(b).over(c) == a.over(b.over(c))
    for name in BOUNDS:
        said = [getattr(one, name) for one in (a, b, c) if getattr(one, name) is not None]
        assert getattr(a.over(b).over(c), name) == (said[0] if said else None)


@given(SOME)
def test_limits_cross_to_hands_unchanged(limits: Limits) -> None:
    """As JSON and back; what another version adds is let pass."""
    assert Limits.from_json({**limits.to_json(), "later": 3}) == limits
