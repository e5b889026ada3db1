"""A short history, killed at every single disk call of it: daemon, launcher or recovery, whoever makes that call dies there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.happenings import CALM, KINDS, Troubles
from tests.simulation.harness import broken_laws, play_day

SEED, SHORT_H = 5, 25.0 / 3600.0
QUIET_S = 600.0
WORK = replace(CALM, work_s=4.0, kinds=tuple(kind for kind in KINDS if kind not in ("ask", "which", "hours", "twice")))
"""No questions, and nothing that is held for minutes: the quiet end would have to be longer than that."""
STEP = 7
"""In the quick suite every seventh call; all of them in the slow one."""


def calls_of_the_short_history() -> int:
    return play_day(SEED, SHORT_H, WORK, quiet_s=QUIET_S).calls


def broken_when(troubles: Troubles) -> list[str]:
    return [f"{troubles.kill_at}: {sentence}" for sentence in broken_laws(play_day(SEED, SHORT_H, troubles, quiet_s=QUIET_S))]


def test_the_short_history_acts() -> None:
    """It is worth being killed in: there are effects of several classes."""
    history = play_day(SEED, SHORT_H, WORK, quiet_s=QUIET_S)
    assert broken_laws(history) == []
    assert len({effect.skill for effect in history.effects}) >= 2


def test_a_kill_at_a_disk_call_breaks_no_law() -> None:
    """Every seventh call, from the first folder that the daemon makes to the last sync."""
    found = [s for nth in range(1, calls_of_the_short_history(), STEP) for s in broken_when(replace(WORK, kill_at=(nth,)))]
    assert found == []


def test_a_kill_during_recovery_breaks_no_law() -> None:
    """And again a few calls after the first: whoever mends the first death dies too."""
    calls = calls_of_the_short_history()
    found = [s for nth in range(3, calls, 3 * STEP) for s in broken_when(replace(WORK, kill_at=(nth, nth + 9, nth + 31)))]
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("rest", range(STEP))
def test_a_kill_at_every_disk_call_breaks_no_law(rest: int) -> None:
    """All of them."""
    calls = calls_of_the_short_history()
    found = [s for nth in range(1 + rest, calls, STEP) for s in broken_when(replace(WORK, kill_at=(nth,)))]
    assert found == []
