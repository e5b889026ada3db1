"""What acts that do their worst cost the others: from an event's `write()` to another run's first step, beside them.

A real daemon. Seven misbehaviours, one or two at once, deaf to TERM all of them: by the clock they rage for a second and a half
and are still for as long, and the same looking playbook is asked all the while. So `ratio_p99` (wild over quiet) compares
neighbours in time: the machine is never the same twice. `alone_p99_ms` is the same before there is any act. Each is held by its
limits until its time is up; `ended_after_limit_s_max` is how long its end took. With control groups where this machine gives
them (root), and without. The bomb bounds itself a second time, under a user that nobody is.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import Any

from tests.bench.bench_loop import Bench, bench, line, quantiles
from tests.integration.cgroup_kit import handed_over, why_not

SETS = {"bomb": ("bomb", "loud"), "burn": ("burn", "closed"), "detached": ("detach", "hoard"), "disk": ("fill",)}
"""No more at once than leave the others half of the four places for runs: a place that is taken is no misbehaviour."""
HALF_S, EDGE_S, PAUSE_S = 1.5, 0.3, 0.015
"""An event that is written so soon after a change belongs to neither half: what one has left undone is not the other's."""
ASK_S = float(os.environ.get("BENCH_LIMITS_S", "72"))
"""Of each set: shorter, and three events decide what a 99th percentile is."""
RAGE = """\
import mmap, os, resource, signal, sys, time
what, path, half = sys.argv[1], sys.argv[2], float(sys.argv[3])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def still():
    now = time.monotonic()
    if int(now / half) % 2 == 0:
        time.sleep(half - now % half)
    return False
def spin():
    while not still():
        for _ in range(20000): pass
if what == "bomb":
    resource.setrlimit(resource.RLIMIT_NPROC, (60, 60))
    os.setuid(54322)
    while not still():
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
while what == "loud" and not still():
    os.write(2, b"y" * 65536)
if what == "burn":
    keep = bytearray(40 << 20)
if what == "closed":
    os.closerange(0, 4096)
for _ in range(8 if what == "detach" else 0):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
while what == "hoard" and not still():
    with mmap.mmap(-1, 10 << 20) as room:
        room.write(b"x" * (10 << 20))
while what == "fill" and not still():
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for _ in range(256):
        still()
        os.write(fd, b"x" * (1 << 20))
    os.close(fd)
spin()
"""
WILD = """\
playbook: wild-{what}
description: does its worst
on: {{type: bench.{what}}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - id: rage
    act: run_job
    with: {{argv: [{python}, -S, {script}, {what}, {path}, "{half_s}"]}}
    timeout: {timeout_s}s
    limits: {{memory: 64M, processes: 200, cpu: none, output: 64K, file_size: 1G, write_bandwidth: 16M}}
verify:
  - bench_check: {{n: "${{event.data.n}}", within: 0s}}
"""


def _lay_out(one: Bench, cgroup: str) -> None:
    script = one.folder / "rage.py"
    script.write_text(RAGE)
    words = {"python": sys.executable, "script": script, "path": one.folder / "filled", "half_s": HALF_S}
    for what in (what for kinds in SETS.values() for what in kinds):
        text = WILD.format(what=what, timeout_s=round(ASK_S + 3), **words)
        (one.folder / "playbooks" / f"{what}.yaml").write_text(text)
    with (one.folder / "aios.toml").open("a") as file:
        file.write(f'[limits]\ncgroup = "{cgroup}"\n')


def _rage(one: Bench, kinds: tuple[str, ...]) -> None:
    """Let them loose, and wait until the last of them has begun."""
    begun = _count(one, b'"type":"run.step_intended"')
    fd = one.inbox("wild")
    os.write(fd, b"".join(line(f"bench.{what}", 0, f"wild-{what}") for what in kinds))
    os.close(fd)
    deadline = time.monotonic() + 60
    while _count(one, b'"type":"run.step_intended"') < begun + len(kinds) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(HALF_S)


def _calm(one: Bench, over: int) -> None:
    """Wait until so many rages are over and told."""
    deadline = time.monotonic() + 120
    while _count(one, b'"skill":"run_job"', b'"type":"run.step_done"') < over and time.monotonic() < deadline:
        time.sleep(0.05)


def _count(one: Bench, *needles: bytes) -> int:
    return sum(all(needle in raw for needle in needles) for raw in one.journal_lines())


def _asked(one: Bench, seconds: float, first: int) -> tuple[list[float], list[float]]:
    """Milliseconds from before `write()` to the skill's first line, of all still halves and of all wild ones."""
    written: dict[int, int] = {}
    fd = one.inbox("latency")
    already, end = len(one.stamped(0, 0.0)), time.monotonic() + seconds
    while time.monotonic() < end:
        n = first + len(written)
        data = line("bench.look", n, f"subject-{n}")
        written[n] = time.monotonic_ns()
        os.write(fd, data)
        time.sleep(PAUSE_S)
    stamps = one.stamped(already + len(written))
    os.close(fd)
    found: tuple[list[float], list[float]] = ([], [])
    for n, at in written.items():
        half, since_s = divmod(at / 1e9, HALF_S)
        if n in stamps and since_s >= EDGE_S:
            found[int(half) % 2].append((stamps[n] - at) / 1e6)
    return found


def _measure(cgroup: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with bench() as one:
        _lay_out(one, cgroup)
        one.start()
        _asked(one, 1.0, 0)  # warm
        still, wild = _asked(one, ASK_S / 2, 500_000)
        alone = quantiles([*still, *wild])
        told |= {"alone_p50_ms": alone["p50"], "alone_p99_ms": alone["p99"]}
        over = 0
        for nth, (name, kinds) in enumerate(SETS.items(), 1):
            _rage(one, kinds)
            told[name] = _compared(*_asked(one, ASK_S, nth * 1_000_000))
            over += len(kinds)
            _calm(one, over)
        ends = [raw for raw in one.journal_lines() if b'"ended_in_s":' in raw]
    slowest = max(float(raw.split(b'"ended_in_s":')[1].split(b",")[0].split(b"}")[0]) for raw in ends)
    worst = max(told[name]["ratio_p99"] for name in SETS)
    return {**told, "ratio_p99_worst": worst, "ended_after_limit_s_max": slowest, "acts_ended": len(ends)}


def _compared(still: list[float], wild: list[float]) -> dict[str, Any]:
    quiet, beside = quantiles(still), quantiles(wild)
    figures: dict[str, Any] = {"events": len(still) + len(wild)}
    for share in ("p50", "p99"):
        ratio = round(beside[share] / quiet[share], 2)
        figures |= {f"quiet_{share}_ms": quiet[share], f"wild_{share}_ms": beside[share], f"ratio_{share}": ratio}
    return figures


def run() -> dict[str, Any]:
    with ExitStack() as stack:
        reason = why_not()
        grouped = None if reason else _measure(stack.enter_context(handed_over(f"aios-bench-{os.getpid()}")))
        return {"cgroup": grouped or {"skipped": reason}, "rlimits": _measure("none")}
