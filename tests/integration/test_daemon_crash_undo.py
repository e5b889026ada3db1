"""A run that fails takes back file, service, file, the last one first, whoever is killed: a real daemon and hands."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.integration.crash_kit import House
from tests.integration.test_daemon_crash_services import SERVICE, living, mark  # noqa: F401 - the fixture

ROUNDS, KILLS = 2, 5
"""A rollback is begun again six times at least, whoever is killed; these are fewer."""
BREAKING = """\
playbook: breaking
description: Changes three things and heals nothing.
on: {{type: work.break}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - {{id: first, act: write_file, with: {{path: "{path}", content: one}}, retry: {{attempts: 2, backoff: 10ms}}}}
  - {{id: second, act: stop_service, with: {{unit: web.service}}, retry: {{attempts: 2, backoff: 10ms}}}}
  - {{id: third, act: write_file, with: {{path: "{path}", content: three}}, retry: {{attempts: 2, backoff: 10ms}}}}
verify:
  - counted: {{tag: never, within: 100ms}}
"""


@pytest.mark.parametrize("nth", range(ROUNDS))
def test_a_failed_run_leaves_file_and_service_as_before_whoever_is_killed(tmp_path: Path, mark: str, nth: int) -> None:  # noqa: F811
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    path = tmp_path / "conf"
    path.write_text("original")
    house = House(tmp_path, SERVICE.format(mark=mark))
    (tmp_path / "playbooks" / "breaking.yaml").write_text(BREAKING.format(path=path))
    try:
        house.start()
        house.ready()
        house.until(lambda: living(mark) and not house.acting(), "the service runs")
        inbox = tmp_path / "state" / "inbox" / "break.jsonl"
        inbox.parent.mkdir(parents=True, exist_ok=True)
        inbox.write_text('{"id": "b1", "type": "work.break", "subject": "shop"}\n')
        house.written.append("b1")
        for _ in range(KILLS):
            house.ensure()
            house.wait_for(chance.choice(("launcher", "act")))
            moment = time.monotonic() + chance.uniform(0.0, 0.02)
            while time.monotonic() < moment:
                time.sleep(0.001)  # the moment itself is what is tried
            house.kill(chance.choice(("daemon", "hands", "launcher", "act")))
        house.ensure()
        house.quiet()
        assert house.broken_laws() == []
        (ended,) = [event.data for event in house.events() if event.type == "run.rolled_back"]
        assert ended["ok"], ended
        assert path.read_text() == "original"
        house.until(lambda: living(mark), "the service runs again")
        assert len(living(mark)) == 1
        house.stop(keepers=True)
    finally:
        house.clear()
