"""How fast hands acts: each act in a launcher of its own, every promise kept (fence, snapshot, reserve, act, result, all synced).

The baseline is what others do without any of that: `subprocess.run(["true"])`, one after the other.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from aios.entropy import SystemEntropy
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.hands.client import HandsClient
from aios.hands.processes import OsProcesses

ACTS = 300
AT_ONCE = 5


class Driver:
    """Starts calls and waits for each."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._waiting: dict[str, asyncio.Future[SkillResult]] = {}
        self._count = 0
        self.hands = HandsClient(state_dir, OsProcesses(), SystemEntropy())
        self.hands.on_done(lambda key, result: self._waiting.pop(key).set_result(result))

    async def act(self, skill: str, params: dict[str, Any], touches: Touches | None = None) -> float:
        """Milliseconds from the call to its result."""
        self._count += 1
        run = f"run{self._count}"
        call = SkillCall(run, "step", 1, skill, "act", params, 20.0, touches or Touches(), folder=f"runs/{run}/step.1")
        done = self._waiting[call.key] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self.hands.start(call)
        result = await done
        if not result.ok:
            raise RuntimeError(result.error)
        return (time.perf_counter() - began) * 1000


def spread(name: str, times_ms: Iterable[float]) -> dict[str, float]:
    cuts = quantiles(times_ms, n=100)
    return {f"{name}_p50_ms": round(cuts[49], 2), f"{name}_p99_ms": round(cuts[98], 2)}


async def many(driver: Driver, count: int) -> float:
    """Acts a second, five at once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with slots:
            await driver.act("notify", {"message": "bench"})

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began)


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


async def measure(folder: str) -> dict[str, Any]:
    began = time.perf_counter()
    driver = Driver(folder)
    driver.hands.open()
    opened_ms = (time.perf_counter() - began) * 1000
    await driver.hands.answers(30)
    ready_ms = (time.perf_counter() - began) * 1000
    file = f"{folder}/touched"
    try:
        first = await driver.act("notify", {"message": "bench"})
        plain = [await driver.act("notify", {"message": "bench"}) for _ in range(ACTS // 3)]
        touching = Touches(files=(file,))
        params = {"path": file, "content": "x" * 1000, "mode": None}
        saved = [await driver.act("write_file", params, touching) for _ in range(ACTS // 3)]
        job = [await driver.act("run_job", {"argv": ["true"]}) for _ in range(ACTS // 6)]
        rates = [await many(driver, ACTS) for _ in range(3)]
        memory = pss_mb(driver.hands.pid)
    finally:
        await driver.hands.close()
    return {
        "acts_per_s_five_at_once": round(median(rates)),
        **spread("act", plain),
        **spread("act_with_snapshot_of_a_file", saved),
        **spread("act_that_runs_a_program", job),
        "first_act_ms": round(first, 2),
        "start_of_hands_blocks_ms": round(opened_ms, 2),
        "start_of_hands_until_it_answers_ms": round(ready_ms, 1),
        "hands_pss_mb": memory,
    }


def baseline() -> dict[str, float]:
    times = []
    for _ in range(100):
        began = time.perf_counter()
        subprocess.run(["true"], check=True)
        times.append((time.perf_counter() - began) * 1000)
    return spread("baseline_subprocess", times)


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="aios-bench-", dir=os.environ.get("AIOS_BENCH_DIR")) as folder:
        return {**asyncio.run(measure(folder)), **baseline()}
