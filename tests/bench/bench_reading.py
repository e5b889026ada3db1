"""How fast the memory answers: raw and archived, against the original's way in the same run. `run()` gives JSON.

The baseline does what the original did for each question: open the file, `json.loads` every line, compare. A part of a million
events is written once (`EVENTS`), read raw without an index, raw with one, and archived; memory is that of a child of its own.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aios.journal
from aios.disk import OsFiles
from aios.events.codec import encode
from aios.events.event import Event, format_time
from aios.journal.archive import archive_path, write_archive
from aios.journal.index import build_index, index_path, save_index
from aios.journal.parts import Part
from aios.journal.sift import Sift

EVENTS = 1_000_000
BASELINE_EVENTS = 200_000
DAY = "2026-02-24"
MIDNIGHT = 1_771_891_200.0
STEP_S = 86_400 / EVENTS
RARE_EVERY = 1000
PART = Part(DAY, 1)

MEMORY = """
import sys
import aios.journal
def peak_kb():  # not getrusage: that begins with what the parent had
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
first = next(aios.journal.read(sys.argv[1]))
before = peak_kb()
count = sum(1 for _ in aios.journal.read(sys.argv[1]))
print(count, before, peak_kb())
"""


def event(number: int) -> Event:
    at = format_time(MIDNIGHT + number * STEP_S)
    if number % RARE_EVERY == 0:
        data = {"failures": number % 7, "reason": "exit", "status": "connection refused"}
        return Event(f"{number:032x}", "nginx-watch", "service.down", "nginx.service", at, data, at, "error")
    words = {"n": number, "ms": number % 977 / 10, "message": f"request {number * 7919 % 100_003} was answered"}
    return Event(
        f"{number:032x}", "shop", f"shop.{('order', 'view', 'login', 'cart')[number % 4]}", f"agent:a{number % 50}", at, words, at
    )


def write_day(folder: Path) -> int:
    """Bytes."""
    (folder / "events").mkdir()
    path = folder / "events" / PART.name
    with open(path, "wb") as file:
        for number in range(EVENTS):
            file.write(encode(event(number)))
    return path.stat().st_size


def original_load(path: Path) -> dict[str, float]:
    """Events a second of what the original does for any question; over the first `BASELINE_EVENTS` of the same lines."""
    begin = time.perf_counter()
    found = 0
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number >= BASELINE_EVENTS:
                break
            found += json.loads(line)["type"] == "service.down"
    took = time.perf_counter() - begin
    assert found == BASELINE_EVENTS // RARE_EVERY
    return {"events_per_s": round(BASELINE_EVENTS / took), "whole_day_s": round(took * EVENTS / BASELINE_EVENTS, 2)}


def timed(folder: Path, expected: int | None = None, **question: Any) -> dict[str, float]:
    begin = time.perf_counter()
    found = sum(1 for _ in aios.journal.read(folder, **question))
    took = time.perf_counter() - begin
    assert expected is None or found == expected, (question, found)
    return {"found": found, "ms": round(took * 1000, 2), "scanned_per_s": round(EVENTS / took)}


QUESTIONS: dict[str, dict[str, Any]] = {
    "rare_type": {"types": ["service.down"]},
    "type_that_is_not_there": {"types": ["no.such"]},
    "quarter_of_all": {"types": ["shop.order"], "limit": EVENTS},
    "rare_severity": {"severity": "warning"},
    "text": {"text": "connection refused"},
    "condition": {"types": ["service.down"], "where": "event.data.failures >= 6"},
    "1000_by_time": {"since": MIDNIGHT + 43_200, "until": MIDNIGHT + 43_200 + 1000 * STEP_S},
    "newest_50": {"reverse": True, "limit": 50},
    "everything": {},
}


def ask_all(folder: Path) -> dict[str, Any]:
    return {name: timed(folder, 1000 if name == "1000_by_time" else None, **question) for name, question in QUESTIONS.items()}


def without_search(folder: Path) -> dict[str, Any]:
    """The same question with the byte search switched off: every line is decoded."""
    lines, Sift.lines = Sift.lines, Sift._all  # type: ignore[method-assign]  # the benchmark's own hand on the brake
    may, Sift._may_match = Sift._may_match, lambda _self, _line: True  # type: ignore[method-assign]
    try:
        return timed(folder, EVENTS // RARE_EVERY, types=["service.down"])
    finally:
        Sift.lines, Sift._may_match = lines, may  # type: ignore[method-assign]


def memory_mb(folder: Path) -> dict[str, float]:
    child = subprocess.run([sys.executable, "-c", MEMORY, str(folder)], capture_output=True, check=True, text=True)
    count, before, after = map(int, child.stdout.split())
    assert count == EVENTS
    return {"before_mb": round(before / 1024, 1), "peak_mb": round(after / 1024, 1)}


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return round(time.perf_counter() - begin, 3)


def gzipped(path: Path) -> int:
    with open(path, "rb") as source, gzip.open(f"{path}.gz", "wb", 6) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    size = os.path.getsize(f"{path}.gz")
    os.unlink(f"{path}.gz")
    return size


def run() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="aios-bench-"))
    try:
        size = write_day(folder)
        path = folder / "events" / PART.name
        files, events = OsFiles(), str(folder / "events")
        figures: dict[str, Any] = {"events": EVENTS, "mb": round(size / 1e6, 1), "original": original_load(path)}
        figures["raw_without_index"] = ask_all(folder)
        figures["rare_type_without_byte_search"] = without_search(folder)
        figures["index_s"] = seconds(lambda: save_index(files, str(path), build_index(files, str(path))))
        figures["index_mb"] = round(os.path.getsize(index_path(str(path))) / 1e6, 2)
        figures["raw_with_index"] = ask_all(folder)
        figures["gzip_6"] = {"s": seconds(lambda: figures.update(gzip_mb=round(gzipped(path) / 1e6, 1)))}
        figures["archive_s"] = seconds(lambda: write_archive(files, events, PART))
        figures["archive_mb"] = round(os.path.getsize(archive_path(events, PART)) / 1e6, 1)
        figures["memory_raw"] = memory_mb(folder)
        path.unlink()
        os.unlink(index_path(str(path)))
        figures["archived"] = ask_all(folder)
        figures["memory_archived"] = memory_mb(folder)
        original = figures["original"]["events_per_s"]
        figures["archived_rare_type_times_the_original"] = round(figures["archived"]["rare_type"]["scanned_per_s"] / original, 1)
        return figures
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
