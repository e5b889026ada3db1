"""The simulation finds what it is there to find: bugs, planted one at a time into the product's own code, are each noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.happenings import plan_of
from tests.simulation.shrink import Story, broken_by

SEEDS = range(1, 5)
"""At most so many stories of nine minutes are played until a bug is found; most are found in the first."""
STORY_H = 0.15
QUIET_S = 2400.0


def story_of(name: str, seed: int) -> Story:
    return Story(seed, STORY_H, QUIET_S, plan_of(seed, STORY_H, BUGS[name].troubles), bug=name)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """By the law that is there for it, within few seeds; the same story without the bug breaks no law."""
    found = next((seed for seed in SEEDS if BUGS[name].law in broken_by(story_of(name, seed))), None)
    assert found is not None, f"{BUGS[name].sentence} Nobody noticed."
    assert broken_by(replace(story_of(name, found), bug="")) == set()


def test_there_are_bugs_enough() -> None:
    """At least twelve, each for a law, and together for many of them."""
    assert len(BUGS) >= 12
    assert len({bug.law for bug in BUGS.values()}) >= 10
