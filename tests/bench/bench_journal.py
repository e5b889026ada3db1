"""How fast the memory is: durable appends (and the original's way in the same run), reading, the inbox. `run()` gives JSON.

The baseline does for each event what the original did: json.dumps, open, write, close; nothing of that is durable.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.events.codec import encode, parse_foreign
from aios.events.event import Event, Position
from aios.events.redact import Redactor
from aios.journal.inbox import InboxFolder
from aios.journal.reader import FolderReader
from aios.journal.thread import ThreadedWriter
from aios.journal.writer import JournalFile

AT = "2026-02-24T08:15:30.123456Z"
DATA = {"failures": 3, "reason": "probe", "status": "connection refused", "backend": "systemd", "p95_ms": 1.25}
BATCH = 64
ROUNDS = 3


def event(number: int) -> Event:
    return Event(f"01HZX3J4K5L6M7N8P9Q0{number:06}", "nginx-watch", "service.down", "nginx.service", AT, DATA, AT, "error")


def foreign(number: int) -> bytes:
    body = {"id": f"01HZX3J4K5L6M7N8P9Q0{number:06}", "source": "nginx-watch", "type": "service.down", "subject": "nginx.service"}
    return json.dumps({**body, "time": AT, "severity": "error", "data": DATA}, separators=(",", ":")).encode() + b"\n"


def original_way(folder: Path, count: int) -> float:
    """Events a second."""
    path = folder / "original.jsonl"
    bodies = [json.loads(encode(event(number))) for number in range(count)]
    begin = time.perf_counter()
    for body in bodies:
        with path.open("a") as file:
            file.write(json.dumps(body) + "\n")
    return count / (time.perf_counter() - begin)


def original_way_synced(folder: Path, count: int) -> float:
    """Events a second, if the original had meant its events to be there after a power cut."""
    path = folder / "original_synced.jsonl"
    bodies = [json.loads(encode(event(number))) for number in range(count)]
    begin = time.perf_counter()
    for body in bodies:
        with path.open("a") as file:
            file.write(json.dumps(body) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return count / (time.perf_counter() - begin)


async def durable_batches(folder: Path, batches: int, in_flight: int) -> float:
    """Events a second, encoded and durable, in batches of 64 with so many of them under way."""
    writer = _writer(folder)
    work = [[event(BATCH * batch + number) for number in range(BATCH)] for batch in range(batches)]
    under_way: deque[asyncio.Future[list[Position]]] = deque()
    begin = time.perf_counter()
    for batch in work:
        under_way.append(writer.append(batch))
        if len(under_way) >= in_flight:
            await under_way.popleft()
    for future in under_way:
        await future
    took = time.perf_counter() - begin
    await writer.close()
    return batches * BATCH / took


async def durable_singly(folder: Path, count: int) -> list[float]:
    """Milliseconds from append to acknowledged, one event at a time, sorted."""
    writer = _writer(folder)
    times: list[float] = []
    for number in range(count):
        one = [event(number)]
        begin = time.perf_counter()
        await writer.append(one)
        times.append((time.perf_counter() - begin) * 1e3)
    await writer.close()
    return sorted(times)


def bare_sync(folder: Path, count: int) -> float:
    """What the disk itself takes for one line: median milliseconds of write and fdatasync. The floor of all of the above."""
    line = encode(event(1))
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        os.write(fd, line)
        os.fdatasync(fd)
        times.append((time.perf_counter() - begin) * 1e3)
    os.close(fd)
    return median(times)


def inbox_rate(folder: Path, count: int) -> float:
    """Lines a second taken and checked, not yet appended."""
    (folder / "inbox").mkdir()
    (folder / "inbox" / "web.jsonl").write_bytes(b"".join(map(foreign, range(count))))
    box = InboxFolder(OsFiles(), str(folder / "inbox"), str(folder / "quarantine"), cursors={})
    taken, more = 0, True
    begin = time.perf_counter()
    while more:
        found = box.take(512)
        taken += len(found.drafts)
        more = found.more
    took = time.perf_counter() - begin
    assert taken == count
    return count / took


def reading_rate(folder: Path) -> float:
    """Events a second, read and checked."""
    begin = time.perf_counter()
    count = sum(1 for _ in FolderReader(OsFiles(), str(folder / "events")).read())
    return count / (time.perf_counter() - begin)


def codec_us() -> dict[str, float]:
    """Microseconds for one event of about 270 bytes."""
    raw, one, redactor = foreign(1), event(1), Redactor(["hunter2-hunter2"])
    line = encode(one)
    return {
        "parse_foreign": _each_us(lambda: parse_foreign(raw, source="inbox/web", origin="inbox/web@1.2.0:0+270~00000000")),
        "encode": _each_us(lambda: encode(one)),
        "redact": _each_us(lambda: redactor.clean(one, line)),
    }


def _each_us(call: Any, count: int = 20_000) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count * 1e6


def _writer(folder: Path) -> ThreadedWriter:
    journal = JournalFile(OsFiles(), str(folder / "events"), str(folder / "quarantine"))
    journal.open(SystemClock().now())
    return ThreadedWriter(journal, SystemClock(), asyncio.get_running_loop(), lambda _: None)


def run(scale: int = 1) -> dict[str, Any]:
    """All figures, medians over some rounds. Takes some seconds."""
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="aios-bench-") as name:
            folder = Path(name)
            singly = asyncio.run(durable_singly(folder, 1000 * scale))
            rounds.append(
                {
                    "durable_one_at_a_time_ms_p50": singly[len(singly) // 2],
                    "durable_one_at_a_time_ms_p99": singly[len(singly) * 99 // 100],
                    "durable_one_at_a_time_per_s": len(singly) / sum(singly) * 1e3,
                    "bare_write_and_fdatasync_ms": bare_sync(folder, 500 * scale),
                    "durable_batches_of_64_per_s": asyncio.run(durable_batches(folder, 1500 * scale, 32)),
                    "durable_batches_of_64_one_under_way_per_s": asyncio.run(durable_batches(folder, 500 * scale, 1)),
                    "read_per_s": reading_rate(folder),
                    "inbox_lines_per_s": inbox_rate(folder, 50_000 * scale),
                    "original_way_per_s": original_way(folder, 3000 * scale),
                    "original_way_synced_per_s": original_way_synced(folder, 300 * scale),
                    **{f"{what}_us": took for what, took in codec_us().items()},
                }
            )
    return {name: round(median(found[name] for found in rounds), 3) for name in rounds[0]}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
