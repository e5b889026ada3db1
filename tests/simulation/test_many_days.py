"""Days come and go under the real daemon: what is old is archived and then removed, and nothing that it knows goes with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.codec import encode_json
from aios.journal.archive import list_archives
from aios.journal.digest import days_with_digest, load_digest
from aios.journal.parts import list_parts
from aios.journal.verify import verify
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from aios.world import World
from tests.simulation.assembly import Daemon, Parts, blobs_of, read_journal, run_daemon
from tests.simulation.wiring import machine_with_hands

DAYS = 8
AWAKE_S = 900.0
DAY_S = 86_400.0


class House:
    """One machine and its daemon, which may be killed and started again."""

    def __init__(self, machine: SimMachine, seed: int) -> None:
        self.machine = machine
        self.seed = seed
        self.starts = 0
        self.daemon: Daemon | None = None
        self.process: SimProcess | None = None
        self.remembered: dict[str, Any] = {}

    async def start(self) -> None:
        self.starts += 1
        parts = Parts(assembled=self._meet, remembered=self._remember)
        number = self.starts
        self.process = self.machine.processes.spawn(
            "daemon", lambda process: run_daemon(self.machine, process, number, self.seed, parts)
        )
        await asyncio.sleep(60.0)

    def kill(self) -> None:
        assert self.process is not None
        self.machine.processes.kill(self.process)

    def append(self, number: int) -> None:
        body = {"id": f"line-{number}", "type": "resource.cpu_spike", "subject": f"job:{number}", "data": {"used": 0.99}}
        self.machine.disk.append(f"{STATE_DIR}/inbox/web.jsonl", encode_json(body) + b"\n", durable=True)

    def world(self) -> dict[str, Any]:
        assert self.daemon is not None
        return self.daemon.world.to_json()

    def _meet(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def _remember(self, world: World) -> None:
        self.remembered = world.to_json()


def played(seed: int, story: Any) -> House:
    async def main(clock: VirtualClock, _: SeededEntropy) -> House:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        machine = machine_with_hands(loop, clock, seed, blobs_of)
        machine.disk.make_folders(f"{STATE_DIR}/inbox")
        house = House(machine, seed)
        await house.start()
        await story(house, clock)
        return house

    return run_virtual(main, seed)


async def days_pass(house: House, clock: VirtualClock, kills: bool = False) -> None:
    for number in range(DAYS):
        house.append(number)
        await asyncio.sleep(AWAKE_S)
        if kills:
            house.kill()
            if number % 3 == 1:
                house.machine.power_cut()
            await house.start()
        clock.leap(DAY_S - clock.now() % DAY_S + 5.0)
        await asyncio.sleep(AWAKE_S)
    await asyncio.sleep(3700.0)  # the journal is tended each hour


@pytest.mark.parametrize("kills", [False, True], ids=["calm", "killed"])
def test_old_days_are_archived_then_removed_and_their_digests_stay(kills: bool) -> None:
    """raw for 2 days, kept for 3; and everything that is there can be read."""
    house = played(3, lambda house, clock: days_pass(house, clock, kills))
    disk, events = house.machine.disk, f"{STATE_DIR}/events"
    raw_days = {part.day for part in list_parts(disk, events)}
    archived = {part.day for part in list_archives(disk, events)}
    digests = days_with_digest(disk, f"{STATE_DIR}/digest")
    assert len(raw_days) == 2
    assert len(archived) == 1
    assert len(digests) == DAYS
    assert [one for one in verify(disk, STATE_DIR).findings if one.grade == "error"] == []
    read = read_journal(house.machine)
    assert {stored.position.day for stored in read} == raw_days | archived
    assert {"journal.archived", "journal.removed"} <= {stored.event.type for stored in read}
    counted = [load_digest(disk, f"{STATE_DIR}/digest", day).by_type.get("resource.cpu_spike", 0) for day in digests]
    assert sum(counted) == DAYS


@pytest.mark.parametrize("checkpoints", [True, False], ids=["with-checkpoint", "from-digest"])
def test_what_is_known_outlives_its_days(checkpoints: bool) -> None:
    """Without a checkpoint and with most days gone the daemon starts from the newest digest, and knows the same."""

    async def story(house: House, clock: VirtualClock) -> None:
        await days_pass(house, clock)
        house.kill()
        known = house.world()
        if not checkpoints:
            for name in house.machine.disk.listdir(f"{STATE_DIR}/checkpoints"):
                house.machine.disk.unlink(f"{STATE_DIR}/checkpoints/{name}")
        await house.start()
        for what in ("runs", "recent", "guards", "symptoms", "held", "origins", "playbooks", "position", "alive_at", "dead"):
            assert house.remembered[what] == known[what], what
        assert len(known["recent"]) >= DAYS

    played(4, story)
