"""What a run waits for outlives a real daemon that is killed: how often an act was tried, a rung's delay, a question."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from aios.control.client import ask
from tests.integration.crash_kit import House

KILLS = 6
FAILING = """\
playbook: failing
description: An act that can never work, and a ladder that waits.
on: {{type: work.fail}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - id: way
    ask: "Write it?"
    choices: {{write: Write it, leave: Leave it}}
  - id: write
    if: steps.way.result.choice == "write"
    act: write_file
    with: {{path: "{path}", content: x}}
    retry: {{attempts: 4, backoff: 400ms, factor: 1}}
verify:
  - counted: {{tag: never, within: 50ms}}
on_failure:
  - {{notify: "it cannot be written", after: 1s}}
"""


def test_tries_delays_and_answers_are_counted_once_however_often_the_daemon_dies(tmp_path: Path) -> None:
    """Four tries in all, one answer, one rung: none is forgotten, and none is made anew by a restart."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    house = House(tmp_path)
    (tmp_path / "taken").mkdir()  # a folder stands where the file should be written
    (tmp_path / "playbooks" / "failing.yaml").write_text(FAILING.format(path=tmp_path / "taken"))
    try:
        house.start()
        house.ready()
        inbox = tmp_path / "state" / "inbox" / "fail.jsonl"
        inbox.parent.mkdir(parents=True, exist_ok=True)
        inbox.write_text('{"id": "f1", "type": "work.fail", "subject": "shop"}\n')
        house.written.append("f1")
        house.until(lambda: kinds(house, "approval.requested"), "it asks")
        restart(house)
        run = kinds(house, "approval.requested")[0]["run"]
        assert ask(house.socket, "answer", {"run": run, "choice": "write", "reason": "try"}, timeout=30.0).ok
        for _ in range(KILLS):
            moment = time.monotonic() + chance.uniform(0.0, 0.5)
            while time.monotonic() < moment:
                time.sleep(0.001)  # the moment itself is what is tried
            restart(house)
        house.quiet()
        assert house.broken_laws() == []
        voided = {(d["step"], d["attempt"]) for d in kinds(house, "run.step_done") if d.get("voided")}
        tries = [
            d["attempt"]
            for d in kinds(house, "run.step_intended")
            if d["step"] == "write" and ("write", d["attempt"]) not in voided
        ]
        assert len(tries) == 4
        assert len(kinds(house, "approval.requested")) == len(kinds(house, "approval.given")) == 1
        assert [d["rung"] for d in kinds(house, "run.rung_done")] == [0]
        assert len(kinds(house, "run.escalated")) == 1
        late = ask(house.socket, "answer", {"run": run, "choice": "leave"}, timeout=30.0)
        assert "said write" in late.error
        assert kinds(house, "approval.refused")[0]["choice"] == "leave"
        house.stop()
    finally:
        house.clear()


def kinds(house: House, kind: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in house.events() if event.type == kind]


def restart(house: House) -> None:
    house.kill("daemon")
    house.ensure()
    house.ready()
