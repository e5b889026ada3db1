"""What runs cost the machine that they heal: the CPU of one with three trivial acts, and what a thousand that wait take up.

A real daemon and its hands, by the harness of `bench_loop`. The CPU is that of these two processes alone: the acts' own processes
are what the playbook asked for. The baseline for a run is what the same three acts cost when a program forks and waits for each,
with no memory, no proof and no undo. What waits has asked a person.
"""

from __future__ import annotations

import os
import time
from typing import Any

from tests.bench.bench_loop import Bench, bench, cpu_s, line, memory_kb

THREE = """\
playbook: three
description: three trivial acts
on: {type: bench.three}
guard: {cooldown: 0s, limit: none}
steps:
  - {id: one, act: bench_act, with: {n: "${event.data.n}"}}
  - {id: two, act: bench_act, with: {n: "${event.data.n}"}}
  - {id: three, act: bench_act, with: {n: "${event.data.n}"}}
verify:
  - bench_check: {n: "${event.data.n}"}
"""
ASKING = """\
playbook: asking
description: asks before its only act
on: {type: bench.ask}
mode: approve
guard: {cooldown: 0s, limit: none}
steps:
  - {id: act, act: bench_act, with: {n: "${event.data.n}"}}
verify:
  - bench_check: {n: "${event.data.n}"}
"""
RUNS, WAITING, IDLE_S = 200, 1000, 20.0


def _told(one: Bench, needle: bytes) -> int:
    return sum(needle in raw for raw in one.journal_lines())


def _until(one: Bench, needle: bytes, count: int) -> None:
    deadline = time.monotonic() + 180.0
    while (found := _told(one, needle)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {count} {needle.decode()}")
        time.sleep(0.2)


def _send(one: Bench, kind: str, first: int, count: int) -> None:
    fd = one.inbox("runs")
    os.write(fd, b"".join(line(kind, n, f"subject-{n}") for n in range(first, first + count)))
    os.close(fd)


def _forked_ms(times: int) -> float:
    """CPU of a program that only forks and waits, three times a run."""
    began = os.times()
    for _ in range(times * 3):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    ended = os.times()
    return (ended.user + ended.system - began.user - began.system) / times * 1000.0


def three_acts(one: Bench) -> dict[str, Any]:
    """Milliseconds of CPU a run, daemon and hands."""
    _send(one, "bench.three", 0, 20)
    _until(one, b'"type":"run.healed"', 20)
    daemon, hands = one.pids()[:1], one.pids()[1:]
    before = cpu_s(daemon), cpu_s(hands)
    _send(one, "bench.three", 1000, RUNS)
    _until(one, b'"type":"run.healed"', 20 + RUNS)
    of_daemon, of_hands = (
        (after - then) / RUNS * 1000.0 for after, then in zip((cpu_s(daemon), cpu_s(hands)), before, strict=True)
    )
    return {
        "cpu_ms_a_run": round(of_daemon + of_hands, 2),
        "daemon_ms": round(of_daemon, 2),
        "hands_ms": round(of_hands, 2),
        "fork_and_wait_ms": round(_forked_ms(RUNS), 2),
        "runs": RUNS,
    }


def waiting(one: Bench) -> dict[str, Any]:
    """Bytes that a waiting run adds, and the CPU of a thousand of them."""
    pids = one.pids()
    before = memory_kb(pids)
    _send(one, "bench.ask", 1_000_000, WAITING)
    _until(one, b'"type":"approval.requested"', WAITING)
    time.sleep(5.0)  # the calls to a person that they make
    grown = memory_kb(pids) - before
    began = cpu_s(pids)
    time.sleep(IDLE_S)
    return {
        "bytes_a_run": round(grown * 1024 / WAITING),
        "cpu_percent": round((cpu_s(pids) - began) / IDLE_S * 100.0, 3),
        "runs": WAITING,
    }


def run() -> dict[str, Any]:
    with bench() as one:
        (one.folder / "playbooks" / "three.yaml").write_text(THREE)
        (one.folder / "playbooks" / "asking.yaml").write_text(ASKING)
        one.start()
        return {"three_acts": three_acts(one), "waiting": waiting(one)}
