"""The same journal gives the same decisions, whatever the playbooks and whatever happens: live, after deaths, in a backtest.

`AIOS_ANY_DAYS=5000 .venv/bin/python -m pytest tests/unit/backtest/test_any_day.py` plays so many days instead of a few;
`AIOS_ANY_DAY=17` begins with that seed.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.unit.backtest.any_day import Told, backtested, differences, drawn, lived

FIRST = int(os.environ.get("AIOS_ANY_DAY", "1"))
DAYS = int(os.environ.get("AIOS_ANY_DAYS", "30"))
EACH = 10


def batches() -> list[range]:
    return [range(first, min(first + EACH, FIRST + DAYS)) for first in range(FIRST, FIRST + DAYS, EACH)]


def the_same(one: Told, other: Told, what: str, seed: int) -> None:
    assert not (found := differences(one, other)), f"{what}, AIOS_ANY_DAY={seed}:\n" + "\n".join(found)


@pytest.mark.parametrize("seeds", batches(), ids=str)
def test_a_backtest_decides_as_the_daemon_did(seeds: range, tmp_path: Path) -> None:
    """Every event: which playbooks were considered, what they said, which was taken or which guard held it; with deaths, too."""
    for seed in seeds:
        day, folder = drawn(seed), tmp_path / str(seed)
        live, catalogue = lived(day, folder / "live")
        the_same(live, backtested(day, folder / "live", catalogue), "the backtest decides otherwise", seed)
        deaths = Random(seed).sample(range(1, len(day.happenings)), 3)
        died, _ = lived(day, folder / "died", deaths)
        the_same(
            died, backtested(day, folder / "died", catalogue), f"it died at {deaths}, and the backtest decides otherwise", seed
        )


@pytest.mark.parametrize("seeds", batches(), ids=str)
def test_a_daemon_that_died_decides_as_one_that_lived_on(seeds: range, tmp_path: Path) -> None:
    """The same happenings, and a death of the daemon before some of them."""
    for seed in seeds:
        day = drawn(seed, silences=False)
        live, _ = lived(day, tmp_path / f"{seed}.live")
        deaths = Random(seed).sample(range(1, len(day.happenings)), 3)
        died, _ = lived(day, tmp_path / f"{seed}.died", deaths)
        the_same(live, died, f"it died at {deaths}", seed)


def test_these_days_are_not_dull(tmp_path: Path) -> None:
    """All guards but the rarest hold something, and runs open: else the laws above say nothing."""
    words: Counter[str] = Counter()
    for seed in range(1, 21):
        live, _ = lived(drawn(seed), tmp_path / str(seed))
        for said in live.of.values():
            words.update(word.split()[2] if word.startswith("held") else word.split()[0] for word in said)
    wanted = {"opened", "joined", "coalesced", "cooldown", "breaker", "window", "depends_on", "paused", "silence", "protected"}
    assert wanted <= words.keys(), words
    assert words["opened"] > 100
