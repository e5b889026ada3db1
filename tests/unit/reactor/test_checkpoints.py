"""When a checkpoint is written: often enough that a start is fast, and seldom enough that a quiet machine is left alone."""

from __future__ import annotations

import asyncio

from aios.daemon.life import CHECKPOINT_EVERY_S, CHECKPOINT_FEW, CHECKPOINT_FEW_EVERY_S
from tests.unit.reactor.rig import Rig, play, playbook

FOLDER = "/state/checkpoints"


def written(rig: Rig) -> int:
    return len(rig.machine.disk.listdir(FOLDER)) if rig.machine.disk.exists(FOLDER) else 0


def test_a_quiet_machine_writes_one_an_hour() -> None:
    """A heartbeat a minute is folded again faster than a checkpoint is written."""

    async def story(rig: Rig) -> None:
        await asyncio.sleep(CHECKPOINT_FEW_EVERY_S / 2)
        assert written(rig) == 0
        await asyncio.sleep(CHECKPOINT_FEW_EVERY_S / 2 + 120.0)
        assert written(rig) == 1

    play(story, playbook("mender"))


def test_a_daemon_that_never_lives_long_writes_one_all_the_same() -> None:
    """Else each of its starts would fold a longer journal than the one before."""

    async def story(rig: Rig) -> None:
        for n in range(CHECKPOINT_FEW):
            await rig.emit(subject=f"job:{n}", type="work.nobody-answers")
        await rig.restart()
        await asyncio.sleep(CHECKPOINT_EVERY_S / 4)
        assert written(rig) == 1

    play(story, playbook("mender"))
