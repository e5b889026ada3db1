"""A real daemon, killed at random moments: nothing is lost, every run ends, effects are what may be, no process is left.

The laws are in `crash_kit.House.broken_laws`; a failure prints its seed. `make crash KILLS=1000` tries it for longer.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.integration.crash_kit import House

KILLS = 10
"""A history."""
HISTORIES = -(-int(os.environ.get("CRASH_KILLS", "200")) // KILLS)
"""200 kills in all, where nobody asks for more."""
WHOM = ("daemon", "hands", "launcher", "act", "all")


@pytest.mark.parametrize("nth", range(HISTORIES))
def test_killed_at_random_moments_it_keeps_its_laws(tmp_path: Path, nth: int) -> None:
    """The daemon, hands, a launcher, an act, all of them: also shortly after a start, while it still recovers."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    house = House(tmp_path)
    try:
        house.start()
        house.ready()
        in_order = chance.randrange(KILLS)
        for nth_kill in range(KILLS):
            kill_once(house, chance)
            if nth_kill == in_order:  # in the midst of its work: the lives after this one begin from a checkpoint
                house.ensure()
                house.put(chance, 2)
                house.stop()
        house.ensure()
        house.quiet()
        assert house.broken_laws() == []
        house.stop()
    finally:
        house.clear()


def kill_once(house: House, chance: random.Random) -> None:
    """Give it work, let some time go by, and kill."""
    house.ensure()
    if chance.random() < 0.7:
        house.put(chance, chance.randrange(1, 4))
    if chance.random() < 0.3:
        house.ready()
        house.emit(chance)
    moment = time.monotonic() + chance.uniform(0.0, 0.1 if house.is_ready() else 0.4)
    while time.monotonic() < moment:
        time.sleep(0.001)  # the moment itself is what is tried
    whom = chance.choice(WHOM)
    while not house.kill(whom):  # nobody acts just now
        assert house.runs(), f"the daemon ended by itself:\n{house.log()}"
        house.put(chance, 1)
        house.wait_for(whom)
