"""The whole loop, from another program's `write()` to the skill: latencies, throughput, start, memory.

A real daemon on a temporary folder. Two skills of an outsider (entry points in a folder on the path, as any package would bring
them) say when they were started. The baseline is the original's way in the same run: an event is appended with json.dumps, open,
append and close; the reader polls nothing here, it is simply called; playbooks are matched one by one; one task at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SKILLS = """
import os, time
from dataclasses import dataclass
from aios.events.calls import SkillResult
from aios.skills.api import Skill

@dataclass(frozen=True)
class StampParams:
    n: int

OUT = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def stamp(params, ctx):
    os.write(OUT, b"%d %d\\n" % (params.n, time.monotonic_ns()))
    return SkillResult(True)

def act(params, ctx):
    os.close(os.open(os.environ["BENCH_STAMPS"] + f".{params.n}", os.O_CREAT | os.O_WRONLY))
    os.write(OUT, b"%d %d\\n" % (params.n, time.monotonic_ns()))
    return SkillResult(True)

async def check(params, ctx):
    return SkillResult(True, {"verdict": "well" if os.path.exists(os.environ["BENCH_STAMPS"] + f".{params.n}") else "not_well"})

LOOK = Skill(name="bench_look", kind="observe", doc="stamp", params=StampParams, look=stamp)
ACT = Skill(name="bench_act", kind="act", doc="stamp", params=StampParams, act=act)
CHECK = Skill(name="bench_check", kind="verify", doc="check", params=StampParams, look=check)
"""
LOOKING = """\
playbook: look
description: one observing step
on: {{type: bench.look}}
guard: {{cooldown: 0s, limit: none}}
mode: observe
steps:
  - id: look
    observe: bench_look
    with: {{n: "${{event.data.n}}"}}
"""
ACTING = """\
playbook: act
description: one act
on: {{type: bench.act}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - id: act
    act: bench_act
    with: {{n: "${{event.data.n}}"}}
verify:
  - bench_check: {{n: "${{event.data.n}}"}}
"""
OTHER = """\
playbook: other-{n}
description: never matches here
on:
  type: {type}
  match:
    subject: [svc{n}.service]
    data: {{failures: [{{numeric: [">=", {low}]}}]}}
mode: observe
steps:
  - id: look
    observe: bench_look
    with: {{n: {n}}}
"""


class Bench:
    """A daemon on a folder of its own."""

    def __init__(self, playbooks: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aios-bench-"))
        self.stamps = self.folder / "stamps"
        self.stamps.touch()
        self._lay_out(playbooks)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.folder / "notify"))
        self.process: subprocess.Popen[bytes] | None = None

    def _lay_out(self, playbooks: int) -> None:
        package = self.folder / "site"
        (package / "bench_skills-1.dist-info").mkdir(parents=True)
        (package / "bench_skills.py").write_text(SKILLS)
        points = "[aios.skills]\nbench_look = bench_skills:LOOK\nbench_act = bench_skills:ACT\nbench_check = bench_skills:CHECK\n"
        (package / "bench_skills-1.dist-info" / "entry_points.txt").write_text(points)
        folder = self.folder / "playbooks"
        folder.mkdir()
        (folder / "look.yaml").write_text(LOOKING.format())
        (folder / "act.yaml").write_text(ACTING.format())
        types = ("service.down", "agent.error", "resource.disk_full", "shop.order")
        for n in range(playbooks):
            (folder / f"other-{n}.yaml").write_text(OTHER.format(n=n, type=types[n % 4], low=n % 7))
        (self.folder / "aios.toml").write_text(
            f'data = "{self.folder}/state"\nplaybooks = ["{folder}"]\nacts_per_hour = 100000\n'
            "queue_max = 100000\n[host]\nenabled = false\n[systemd]\nenabled = false\n"
        )

    def start(self) -> float:
        """Seconds from exec to READY."""
        env = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "PYTHONPATH": str(self.folder / "site"),
            "BENCH_STAMPS": str(self.stamps),
        }
        argv = [sys.executable, "-m", "aios.cli.main", "run", "--settings", str(self.folder / "aios.toml")]
        log = open(self.folder / "log", "ab")  # noqa: SIM115 - the child has it
        began = time.perf_counter()
        self.process = subprocess.Popen(argv, env=env, stderr=log, stdout=log)
        self.notify.settimeout(60.0)
        while b"READY=1" not in self.notify.recv(4096):
            pass
        return time.perf_counter() - began

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30.0)

    def clear(self) -> None:
        self.stop()
        self.notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stamped(self, count: int, wait_s: float = 60.0) -> dict[int, int]:
        """n -> monotonic ns, once there are so many."""
        deadline = time.monotonic() + wait_s
        while True:
            lines = self.stamps.read_bytes().split(b"\n")[:-1]
            if len(lines) >= count or time.monotonic() > deadline:
                return {int(n): int(at) for n, at in (line.split() for line in lines)}
            time.sleep(0.002)

    def inbox(self, name: str) -> int:
        return os.open(self.folder / "state" / "inbox" / f"{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def journal_lines(self) -> Iterator[bytes]:
        for path in sorted((self.folder / "state" / "events").glob("*.jsonl")):
            yield from path.read_bytes().split(b"\n")[:-1]

    def pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


@contextmanager
def bench(playbooks: int = 0) -> Iterator[Bench]:
    one = Bench(playbooks)
    try:
        yield one
    finally:
        one.clear()


def line(kind: str, n: int, subject: str) -> bytes:
    return json.dumps({"type": kind, "subject": subject, "data": {"n": n}}).encode() + b"\n"


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p50, p99 = (round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) for share in (0.5, 0.99))
    return {"p50": p50, "p99": p99, "max": round(ordered[-1], 3), "n": len(ordered)}


def latency(one: Bench, events: int, first: int, pause_s: float) -> dict[str, float]:
    """Milliseconds from before `write()` to the skill's first line."""
    written: dict[int, int] = {}
    fd = one.inbox("latency")
    already = len(one.stamped(0, 0.0))
    for n in range(first, first + events):
        data = line("bench.look", n, f"subject-{n}")
        written[n] = time.monotonic_ns()
        os.write(fd, data)
        time.sleep(pause_s)
    stamps = one.stamped(already + events)
    os.close(fd)
    return quantiles([(stamps[n] - at) / 1e6 for n, at in written.items() if n in stamps])


def first_event() -> float:
    with bench() as one:
        one.start()
        return latency(one, 1, 0, 0.0)["max"]


def under_load(one: Bench, rate: int, seconds: float) -> dict[str, float]:
    noise = subprocess.Popen(
        [sys.executable, "-c", NOISE, str(one.folder / "state" / "inbox" / "noise.jsonl"), str(rate), str(seconds + 1)]
    )
    time.sleep(0.5)
    figures = latency(one, int(seconds / 0.01), 1_000_000, 0.01)
    noise.wait()
    return figures


NOISE = """
import json, os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
rate, seconds = int(sys.argv[2]), float(sys.argv[3])
began, sent = time.monotonic(), 0
while (now := time.monotonic() - began) < seconds:
    due = int(now * rate)
    if due > sent:
        os.write(fd, b"".join(json.dumps({"type": "shop.order", "subject": "shop.service", "data": {"order": n, "sum": 12.5,
            "failures": n % 5, "text": "x" * 120}}).encode() + b"\\n" for n in range(sent, due)))
        sent = due
    time.sleep(0.001)
"""


def inbox_rate(one: Bench, events: int) -> dict[str, float]:
    """Events a second from the inbox: taken, checked, applied, matched against the playbooks, decided."""
    types = ("service.down", "agent.error", "resource.disk_full", "shop.order")
    lines = [
        json.dumps(
            {
                "type": types[n % 4],
                "subject": f"svc{n % 2000 + 5000}.service",
                "severity": "error",
                "data": {"failures": n % 9, "order": n, "text": "x" * 100},
            }
        ).encode()
        for n in range(events)
    ]
    path = one.folder / "bulk.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n" + line("bench.look", 77_000_000, "the-end"))
    before = len(one.stamped(0, 0.0))
    began = time.monotonic_ns()
    path.rename(one.folder / "state" / "inbox" / "bulk.jsonl")
    stamps = one.stamped(before + 1, 300.0)
    took = (stamps[77_000_000] - began) / 1e9
    return {"events_per_s": round(events / took), "events": events, "seconds": round(took, 3)}


def original_rate(events: int, playbooks: int) -> dict[str, float]:
    """The original's way: json.dumps, open, append, close for each event; a loop over all playbooks; one at a time."""
    folder = Path(tempfile.mkdtemp(prefix="aios-base-"))
    books = [
        {
            "type": ("service.down", "agent.error", "resource.disk_full", "shop.order")[n % 4],
            "subject": f"svc{n}.service",
            "low": n % 7,
        }
        for n in range(playbooks)
    ]
    began = time.perf_counter()
    for n in range(events):
        event = {"type": "shop.order", "subject": f"svc{n % 2000 + 5000}.service", "data": {"failures": n % 9, "text": "x" * 100}}
        with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        for book in books:
            if book["type"] == event["type"] and book["subject"] == event["subject"] and event["data"]["failures"] >= book["low"]:
                break
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return {"events_per_s": round(events / took), "events": events}


def runs_rate(one: Bench, kind: str, runs: int, first: int) -> dict[str, float]:
    """Complete runs a second: from the first line to the last run's end in the journal."""
    ends = sum(1 for raw in one.journal_lines() if b'"type":"run.observed"' in raw or b'"type":"run.healed"' in raw)
    lines = b"".join(line(kind, n, f"subject-{n}") for n in range(first, first + runs))
    fd = one.inbox("runs")
    began = time.perf_counter()
    os.write(fd, lines)
    os.close(fd)
    deadline = began + 120.0
    size, found = 0, 0
    while found < ends + runs and time.perf_counter() < deadline:
        time.sleep(0.02)
        new = sum(path.stat().st_size for path in (one.folder / "state" / "events").glob("*.jsonl"))
        if new != size:
            size = new
            found = sum(1 for raw in one.journal_lines() if b'"type":"run.observed"' in raw or b'"type":"run.healed"' in raw)
    took = time.perf_counter() - began
    return {"runs_per_s": round((found - ends) / took, 1), "runs": found - ends, "seconds": round(took, 3)}


def memory_kb(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return total


def cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(seconds: float) -> dict[str, float]:
    with bench() as one:
        one.start()
        time.sleep(3.0)
        pids = one.pids()
        before = cpu_s(pids)
        time.sleep(seconds)
        return {
            "pss_mb": round(memory_kb(pids) / 1024, 1),
            "cpu_percent": round((cpu_s(pids) - before) / seconds * 100.0, 3),
            "processes": len(pids),
        }


def growth() -> dict[str, float]:
    """MB between event 100,000 and event 1,000,000."""
    with bench(1000) as one:
        one.start()
        inbox_rate(one, 100_000)
        (one.folder / "state" / "inbox" / "bulk.jsonl").unlink()
        time.sleep(1.0)
        before = memory_kb(one.pids()[:1])
        for _ in range(9):
            one.stamps.write_bytes(b"")
            inbox_rate(one, 100_000)
            (one.folder / "state" / "inbox" / "bulk.jsonl").unlink()
        time.sleep(1.0)
        return {"growth_mb": round((memory_kb(one.pids()[:1]) - before) / 1024, 2)}


def start_up(times: int) -> dict[str, float]:
    taken = []
    for _ in range(times):
        with bench() as one:
            taken.append(one.start())
    return {"median_s": round(statistics.median(taken), 3), "min_s": round(min(taken), 3), "n": times}


def run() -> dict[str, Any]:
    figures: dict[str, Any] = {"ready": start_up(7), "first_event_ms": first_event()}
    with bench() as one:
        one.start()
        latency(one, 20, 0, 0.01)
        figures["write_to_skill_ms"] = latency(one, 500, 1000, 0.01)
        figures["write_to_skill_under_5000_per_s_ms"] = under_load(one, 5000, 5.0)
        figures["observing_runs"] = runs_rate(one, "bench.look", 4000, 2_000_000)
        figures["acting_runs"] = runs_rate(one, "bench.act", 300, 3_000_000)
    with bench(1000) as one:
        one.start()
        figures["inbox_1000_playbooks"] = inbox_rate(one, 200_000)
    figures["original_1000_playbooks"] = original_rate(3000, 1000)
    figures["idle"] = idle(20.0)
    figures["growth_100k_to_1m"] = growth()
    return figures
