"""What a step that does its worst costs the others: from an event's `write()` to another run's first step, while it rages.

A real daemon; the same looking playbook is asked in turn in quiet and beside three acts at once: a fork bomb, one that prints
for ever, and one that allocates and burns. Each is held by its limits until its time is up. `ratio_p99` is wild over quiet,
windows of the same run in turn, for the machine is never the same twice. With control groups where this machine gives them
(root), and without. The bomb bounds itself a second time, under a user that nobody is.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any

from tests.bench.bench_loop import Bench, bench, latency, line
from tests.integration.cgroup_kit import handed_over, why_not

WINDOWS, EVENTS, PAUSE_S = 2, 150, 0.01
RAGE = """\
import os, resource, signal, sys, time
what = sys.argv[1]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "bomb":
    resource.setrlimit(resource.RLIMIT_NPROC, (60, 60))
    os.setuid(54322)
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
while what == "loud":
    os.write(2, b"y" * 65536)
keep = bytearray(40 << 20)
while True:
    pass
"""
WILD = """\
playbook: wild-{what}
description: does its worst
on: {{type: bench.{what}}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - id: rage
    act: run_job
    with: {{argv: [{python}, -S, {script}, {what}]}}
    timeout: {timeout_s}s
    limits: {{memory: 64M, processes: 200, cpu: {cpu}%, output: 64K}}
verify:
  - bench_check: {{n: "${{event.data.n}}", within: 0s}}
"""
KINDS = ("bomb", "loud", "burn")


def _lay_out(one: Bench, cgroup: str) -> None:
    script = one.folder / "rage.py"
    script.write_text(RAGE)
    for what in KINDS:
        text = WILD.format(what=what, python=sys.executable, script=script, timeout_s=round(EVENTS * PAUSE_S * 2 + 2), cpu=20)
        (one.folder / "playbooks" / f"{what}.yaml").write_text(text)
    with (one.folder / "aios.toml").open("a") as file:
        file.write(f'[limits]\ncgroup = "{cgroup}"\n')


def _rage(one: Bench, n: int) -> None:
    """Let all three loose, and wait until the last of them has begun."""
    begun = _count(one, b'"type":"run.step_intended"')
    fd = one.inbox("wild")
    os.write(fd, b"".join(line(f"bench.{what}", n, f"wild-{what}-{n}") for what in KINDS))
    os.close(fd)
    deadline = time.monotonic() + 60
    while _count(one, b'"type":"run.step_intended"') < begun + len(KINDS) and time.monotonic() < deadline:
        time.sleep(0.05)


def _calm(one: Bench, rages: int) -> None:
    """Wait until every rage is over and told."""
    deadline = time.monotonic() + 120
    while _count(one, b'"skill":"run_job"', b'"type":"run.step_done"') < rages and time.monotonic() < deadline:
        time.sleep(0.05)


def _count(one: Bench, *needles: bytes) -> int:
    return sum(all(needle in raw for needle in needles) for raw in one.journal_lines())


def _measure(cgroup: str) -> dict[str, Any]:
    quiet, wild = [], []
    with bench() as one:
        _lay_out(one, cgroup)
        one.start()
        latency(one, EVENTS, 0, PAUSE_S)  # warm
        for n in range(1, WINDOWS + 1):
            quiet.append(latency(one, EVENTS, n * 2 * EVENTS, PAUSE_S))
            _rage(one, n)
            wild.append(latency(one, EVENTS, (n * 2 + 1) * EVENTS, PAUSE_S))
            _calm(one, n * len(KINDS))
        ends = [raw for raw in one.journal_lines() if b'"ended_in_s":' in raw]
    slowest = max(float(raw.split(b'"ended_in_s":')[1].split(b",")[0].split(b"}")[0]) for raw in ends)
    middle = {name: statistics.median(w[name] for w in windows) for name, windows in (("p50", quiet), ("p99", quiet))}
    beside = {name: statistics.median(w[name] for w in wild) for name in ("p50", "p99")}
    return {
        "quiet_p50_ms": middle["p50"],
        "quiet_p99_ms": middle["p99"],
        "wild_p50_ms": beside["p50"],
        "wild_p99_ms": beside["p99"],
        "ratio_p50": round(beside["p50"] / middle["p50"], 2),
        "ratio_p99": round(beside["p99"] / middle["p99"], 2),
        "ended_after_limit_s_max": slowest,
        "acts_ended": len(ends),
    }


def run() -> dict[str, Any]:
    with ExitStack() as stack:
        reason = why_not()
        grouped = None if reason else _measure(stack.enter_context(handed_over(f"aios-bench-{os.getpid()}")))
        return {"cgroup": grouped or {"skipped": reason}, "rlimits": _measure("none")}
