"""A managed service is started once, whoever is killed while it is started, and found again by the next daemon."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.hands import proc
from tests.integration.crash_kit import House, kill

ROUNDS, KILLS = 4, 6
SERVICE = """
[[service]]
name = "web"
argv = ["sleep", "{mark}"]
"""
DOWN = """\
playbook: down
description: Start it.
on: {type: service.down}
guard: {cooldown: 0s, limit: none}
steps:
  - id: start
    act: start_service
    with: {unit: "${event.subject}"}
    retry: {attempts: 3, backoff: 20ms}
verify:
  - service_check: {unit: "${event.subject}", within: 1s}
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """An argument that no other process has; whoever has it is ended with the test."""
    seconds = f"{100_000 + random.SystemRandom().randrange(10**9)}.5"
    yield seconds
    for pid in living(seconds):
        kill(pid, lambda pid: pid in living(seconds))


def living(mark: str) -> list[int]:
    """Every process of the service itself."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            argv = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[:2] == [b"sleep", mark.encode()] and proc.identity(int(name)) is not None:
            found.append(int(name))
    return found


@pytest.mark.parametrize("nth", range(ROUNDS))
def test_a_service_is_started_once_whoever_is_killed_meanwhile(tmp_path: Path, mark: str, nth: int) -> None:
    """Kills of daemon, hands, a launcher (or the keeper) and the act in the first moments: then there is one, and it stays."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    house = House(tmp_path, SERVICE.format(mark=mark))
    (tmp_path / "playbooks" / "down.yaml").write_text(DOWN)
    try:
        for _ in range(KILLS):
            house.ensure()
            house.wait_for(chance.choice(("hands", "launcher", "act")))
            moment = time.monotonic() + chance.uniform(0.0, 0.02)
            while time.monotonic() < moment:
                time.sleep(0.001)  # the moment itself is what is tried
            house.kill(chance.choice(("daemon", "hands", "launcher", "act")))
            assert len(living(mark)) <= 1
        house.ensure()
        house.ready()
        house.until(lambda: living(mark) and not house.acting(), "the service runs")
        before = living(mark)
        assert len(before) == 1
        house.kill("daemon")
        house.ensure()
        house.ready()
        assert living(mark) == before
        house.stop(keepers=True)
        assert living(mark) == before
    finally:
        house.clear()
