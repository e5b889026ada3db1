"""Asking `verify`: well within its time, then well for as long as it must hold; the worst check speaks for all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from aios.entropy import SeededEntropy
from aios.events.calls import SkillCall, SkillResult
from aios.playbooks.run_table import VERIFY
from aios.playbooks.run_words import Ask, CheckCall
from aios.reactor.checks import Outcome, ask
from aios.testing.loop import VirtualClock, run_virtual

Says = Callable[[float], str]


class Looks:
    """A `Looker` whose answer depends on the time alone."""

    def __init__(self, clock: VirtualClock, says: dict[str, Says]) -> None:
        self.clock, self.says = clock, says
        self.at: list[float] = []

    async def look(self, call: SkillCall) -> SkillResult:
        self.at.append(self.clock.monotonic())
        word = self.says[call.skill](self.clock.monotonic())
        return SkillResult(ok=word == "well", result={"verdict": word}, error="" if word == "well" else f"it is {word}")


def asked(*says: Says, hold_s: float = 0.0, within_s: float = 30.0, every_s: float = 1.0) -> tuple[Outcome, float, list[float]]:
    """The outcome, how long it took, and when it looked."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> tuple[Outcome, float, list[float]]:
        looks = Looks(clock, {f"s{n}": one for n, one in enumerate(says)})
        calls = [SkillCall("r", f"verify{n}", 1, name, "verify", {}, 5.0) for n, name in enumerate(looks.says)]
        checks = tuple(CheckCall(call, hold_s, within_s, every_s) for call in calls)
        outcome = await ask(Ask(VERIFY, checks), looks, clock)
        return outcome, clock.monotonic(), looks.at

    return run_virtual(main)


def always(word: str) -> Says:
    return lambda _now: word


def test_it_may_become_well_within_its_time() -> None:
    outcome, took_s, _ = asked(lambda now: "well" if now >= 7.0 else "not_well")
    assert outcome.verdict == "well"
    assert 7.0 <= took_s <= 8.0


def test_it_must_stay_well_for_as_long_as_it_must_hold() -> None:
    outcome, took_s, _ = asked(always("well"), hold_s=10.0)
    assert outcome.verdict == "well"
    assert took_s == pytest.approx(10.0)
    assert outcome.proof[0]["held_s"] == 10.0


def test_well_for_a_moment_is_not_well() -> None:
    """Once it was well and fell again while it had to hold, that is the answer: no second chance."""
    outcome, took_s, _ = asked(lambda now: "well" if 2.0 <= now < 6.0 else "not_well", hold_s=10.0)
    assert outcome.verdict == "not_well"
    assert took_s < 8.0


def test_never_well_is_said_when_its_time_is_over() -> None:
    outcome, took_s, _ = asked(always("not_well"), within_s=5.0)
    assert outcome.verdict == "not_well"
    assert took_s == pytest.approx(5.0)
    assert outcome.proof[0]["error"] == "it is not_well"


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("well", "well"), "well"),
        (("well", "no_data"), "no_data"),
        (("no_data", "not_well"), "not_well"),
        (("well", "not_well", "well"), "not_well"),
    ],
)
def test_the_worst_check_speaks_for_all(words: tuple[str, ...], verdict: str) -> None:
    """No data is never well; not well is worse than no data."""
    outcome, _, _ = asked(*(always(word) for word in words), within_s=1.0)
    assert outcome.verdict == verdict
    assert len(outcome.proof) == len(words)


def test_no_check_at_all_is_no_data() -> None:
    assert asked()[0].verdict == "no_data"


def test_it_looks_soon_and_then_less_often_and_never_more_often_than_told() -> None:
    _, _, at = asked(always("not_well"), within_s=20.0, every_s=2.0)
    gaps = [later - sooner for sooner, later in pairwise(at)]
    assert gaps[0] < 0.1
    assert max(gaps) <= 2.0
    assert len(at) < 25


def test_checks_are_asked_side_by_side() -> None:
    _, took_s, _ = asked(always("well"), always("well"), always("well"), hold_s=10.0)
    assert took_s == pytest.approx(10.0)
