"""Lines of other programs in any order within the allowed lateness: the same runs, for the same reasons, as in the orderly case.

Real daemons, each with files of its own in its inbox: several, one of them daily, in a random order, renamed by a rotation
meanwhile, and the daemon killed in the middle. They live side by side, for what they wait for is the clock.

What is the same: which events went together, each run's playbook, subject and trigger, the order of the runs of a subject, every
decision with its guard and what each playbook said; in the daemon and in a backtest of its journal. What is not: ids that chance
made, times of arrival, and which of several lines of one subject came first to a playbook that waits for one event alone (so
here there is one for each).
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from aios.events.event import Event, format_time
from aios.journal import read
from aios.skills.catalogue import load_catalogue
from tests.acceptance.house import House
from tests.unit.backtest.any_day import Told, decided_by_backtest, differences, told

LATENESS_S = 6.0
SPAN_S = 3.0
"""The events of a story happen within so much time, which is over when the first line is written."""
DEADLINE_S, POLL_S = 60.0, 0.25
SETTINGS = """
protected = ["three:0", "both:1"]
depends_on = {"then:2" = ["disk:/x"]}
"""

TEXT = """
playbook: NAME
description: It waits for several.
on: {ON}
mode: auto
guard: {cooldown: 0s, limit: none}
steps:
  - {id: act, act: run_job, with: {argv: ["true"]}}
verify:
  - file_check: {path: /etc/hostname}
"""
LATE = f"lateness: {LATENESS_S:g}s"
ONS = {
    "three": f"type: shop.odd, count: 3 in 2s, by: subject, {LATE}",
    "then": f"sequence: [{{type: shop.first}}, {{type: shop.second}}], within: 2s, by: subject, {LATE}",
    "both": f"all: [{{type: shop.left}}, {{type: shop.right}}], within: 2s, by: data.order, {LATE}",
    "stuck": f"sequence: [{{type: shop.begun}}, {{absence: {{type: shop.ended}}}}], within: 1s, by: subject, {LATE}",
    "single": "type: shop.failed",
}
BOOKS = {name: TEXT.replace("NAME", name).replace("ON", on) for name, on in ONS.items()}


@dataclass(frozen=True)
class Line:
    after_s: float
    type: str
    subject: str
    data: dict[str, Any]


def story(seed: int) -> list[Line]:
    """What happens, in order: of some subjects what completes a playbook, of others what just does not."""
    chance = Random(seed)
    lines = [Line(0.0, "resource.disk_full", "disk:/x", {})]

    def at(*offsets: float) -> Iterator[float]:
        begin = 0.01 + chance.random() * (SPAN_S - 0.02 - max(offsets))
        return (begin + offset for offset in offsets)

    for n in range(5):
        spread = (0.0, 0.6, 1.9) if n % 2 == 0 else (0.0, 0.6, 2.1)
        lines += [Line(when, "shop.odd", f"three:{n}", {}) for when in at(*spread)]
        first, second = at(0.0, 1.2)
        kinds = ("shop.first", "shop.second") if n % 3 else ("shop.second", "shop.first")
        lines += [Line(first, kinds[0], f"then:{n}", {}), Line(second, kinds[1], f"then:{n}", {})]
        left, right = at(0.0, 1.5)
        lines += [Line(when, kind, f"both:{n}", {"order": n}) for when, kind in ((left, "shop.right"), (right, "shop.left"))]
        begun, ended = at(0.0, 0.5)
        lines += [Line(begun, "shop.begun", f"stuck:{n}", {})]
        lines += [Line(ended, "shop.ended", f"stuck:{n}", {})] if n % 2 else []
        lines.append(Line(next(at(0.0)), "shop.failed", f"single:{n}", {}))
    return sorted(lines, key=lambda line: line.after_s)


class Shop:
    """One daemon with an inbox that programs write to."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.house = House(folder, BOOKS, SETTINGS)
        self.inbox = self.house.state / "inbox"
        self.lines = story(seed)

    def raw(self, n: int, base: float) -> bytes:
        line = self.lines[n]
        plain = {"id": f"e{n}", "type": line.type, "subject": line.subject, "time": format_time(base + line.after_s)}
        return json.dumps({**plain, "data": line.data}).encode() + b"\n"

    def write_in_order(self, base: float) -> None:
        for n in range(len(self.lines)):
            self._append("shop.jsonl", self.raw(n, base))

    def write_anyhow(self, base: float, chance: Random) -> None:
        """Into several files; one is renamed and begun anew, and the daemon dies, while lines are written before and after."""
        daily = f"till/{format_time(base)[:10]}.jsonl"
        (self.inbox / "till").mkdir()
        order = list(range(len(self.lines)))
        chance.shuffle(order)
        turns, dies = chance.randrange(len(order)), chance.randrange(len(order))
        for done, n in enumerate(order):
            if done == turns and (self.inbox / "a.jsonl").exists():
                os.rename(self.inbox / "a.jsonl", self.inbox / "a-1.jsonl")
            if done == dies:
                self._until_taken(chance.randrange(done + 1))
                os.killpg(self.house.process.pid, signal.SIGKILL)
                self.house.process.wait()
            self._append(chance.choice(("a.jsonl", "b.jsonl", "c.jsonl", daily)), self.raw(n, base))
        self.house.start()

    def _append(self, name: str, raw: bytes) -> None:
        with (self.inbox / name).open("ab") as file:
            file.write(raw)

    def _until_taken(self, count: int) -> None:
        ends = time.monotonic() + DEADLINE_S
        while sum(1 for event in self.events() if event.origin) < count:
            select.select([], [], [], POLL_S)
            assert time.monotonic() < ends, "nobody reads the inbox"

    def events(self) -> list[Event]:
        return [event for event, _ in read(self.house.state)]

    def is_over(self) -> bool:
        """Everything is taken, and the watermark has passed all of it: the silences are told, and no run is open."""
        events = self.events()
        opened = sum(1 for event in events if event.type == "run.opened")
        ended = sum(1 for event in events if event.type in ("run.healed", "run.cleared", "run.escalated"))
        stuck = sum(1 for event in events if event.type == "reactor.correlated" and event.data["playbook"] == "stuck")
        return stuck >= 3 and opened == ended > 0 and sum(1 for event in events if event.origin) >= len(self.lines)

    def late(self) -> float:
        """By how much the latest line came later than it happened."""
        return max(event.taken - event.at for event in self.events() if event.origin)


def test_lines_in_any_order_through_files_rotations_and_a_death_give_the_runs_of_the_orderly_case(tmp_path: Path) -> None:
    """In the daemon, and in the backtest of its journal."""
    seed, skills = 7, load_catalogue()
    shops = [Shop(tmp_path / name, seed) for name in ("orderly", "anyhow1", "anyhow2")]
    try:
        for n, shop in enumerate(shops):
            base = time.time() - SPAN_S
            if n:
                shop.write_anyhow(base, Random(seed + n))
            else:
                shop.write_in_order(base)
        ends = time.monotonic() + DEADLINE_S
        while not all(shop.is_over() for shop in shops):
            select.select([], [], [], POLL_S)
            assert time.monotonic() < ends, [[e.type for e in shop.events()][-20:] for shop in shops]
    finally:
        for shop in shops:
            shop.house.stop()
    lived = [told(shop.events()) for shop in shops]
    _holds_what_it_should(lived[0])
    for shop, one in zip(shops, lived, strict=True):
        assert not (found := differences(lived[0], one)), (f"seed {seed}, latest {shop.late():.1f} s", found)
        again = decided_by_backtest(BOOKS.values(), shop.house.state, skills)
        assert not (found := differences(one, again)), (f"seed {seed}, the backtest", found)


def _holds_what_it_should(orderly: Told) -> None:
    """Of each playbook something ran, what does not complete did not, and guards held what they hold."""
    names = [line.removeprefix("correlated ") for line in orderly.machine if line.startswith("correlated")]
    count = {playbook: sum(1 for name in names if name.startswith(f"{playbook} of")) for playbook in ONS}
    assert count == {"three": 3, "then": 3, "both": 5, "stuck": 3, "single": 0}
    guards = [word.split()[2] for said in orderly.of.values() for word in said if word.startswith("held")]
    assert sorted(guards) == ["depends_on", "protected", "protected"]
