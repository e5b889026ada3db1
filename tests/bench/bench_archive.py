"""What a day becomes: how small, how fast, and how fast questions are answered from it. `run()` gives JSON.

A day's disk space: raw, and archived with its index, against the original's file of the same events, which it kept for ever as
it was (`json.dumps` of its own members, no id, no checksum); nothing of the two random figures and the random id can be pressed.
Baselines in the same run: `gzip -6` (the library that the program calls, in this process, so that no start is counted; synced,
but not read back and compared as ours is) for size and speed; the original's load (json.loads of every line) for scans, in
seconds of CPU on both sides. The rare type is one event in ten thousand, the middle one in a hundred, the common one in five.
What is measured of a scan is what its user gets: `records` are all answers as `aios.journal.read` gives them, none looked at;
`lines` their bytes, written to /dev/null; `count` and `count_by_hour` what `aios events --count` prints; `decoded` all of them as
Python objects, as the original's load has them; each with the checksums of all that is read. The least of three, in turns.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from aios.disk import OsFiles
from aios.events.codec import encode
from aios.events.event import Event, format_time, parse_time
from aios.journal.archive import archive_path, write_archive
from aios.journal.index import build_index, index_path, save_index
from aios.journal.parts import Part
from aios.journal.query import History, Query, make_query

EVENTS = 200_000
DAY = "2026-02-24"
BIG_BYTES = 1_000_000_000
TYPES = ("host.sampled", "probe.sampled", "service.down", "run.step_done", "daemon.heartbeat")
MIDDLE, RARE = "agent.error", "agent.stalled"


def event(number: int, chance: Random, per_s: float) -> Event:
    """As a busy machine's: figures with many digits, ids of chance, some hundred subjects."""
    at = format_time(parse_time(f"{DAY}T00:00:00Z") + number / per_s + chance.random() / per_s)
    kind = RARE if number % 10_000 == 9_999 else MIDDLE if number % 100 == 50 else TYPES[chance.randrange(5)]
    data = {
        "cpu": chance.random(),
        "memory": chance.random(),
        "disk": 0.4,
        "status": "connection refused",
        "failures": number % 7,
    }
    event_id = f"{chance.getrandbits(128):032x}"
    return Event(event_id, "aios/host", kind, f"unit{chance.randrange(200)}.service", at, data, at, "info")


def write_day(folder: Path, count: int) -> Part:
    part, chance = Part(DAY, 1), Random(1)
    (folder / "events").mkdir()
    with (folder / "events" / part.name).open("wb") as file:
        file.writelines(encode(event(number, chance, count / 86_000)) for number in range(count))
    return part


def gzip_way(folder: Path, part: Part) -> tuple[float, int]:
    """Seconds and bytes."""
    path = folder / "events" / part.name
    begin = time.perf_counter()
    with path.open("rb") as raw, gzip.open(folder / "day.gz", "wb", compresslevel=6) as out:
        while chunk := raw.read(1 << 20):
            out.write(chunk)
    with (folder / "day.gz").open("rb") as done:
        os.fsync(done.fileno())
    return time.perf_counter() - begin, (folder / "day.gz").stat().st_size


def original_load(path: Path) -> float:
    """Seconds of CPU for json.loads of each line."""
    begin = time.process_time()
    with path.open() as file:
        sum(1 for line in file if json.loads(line))
    return time.process_time() - begin


def original_line(event: Event) -> str:
    """The same event as the original of v0.5 wrote it."""
    at = parse_time(event.time)
    payload = {"unit": event.subject, **event.data}
    told = {"ts": event.time.rstrip("Z"), "layer": "KERNEL", "event": event.type, "severity": event.severity.upper()}
    return json.dumps({**told, "payload": payload, "timestamp": int(at * 1000)}) + "\n"


def original_bytes(count: int) -> int:
    """What the original's one file grew by in this day."""
    chance = Random(1)
    return sum(len(original_line(event(number, chance, count / 86_000))) for number in range(count))


def lines_out(history: History, query: Query) -> int:
    number = 0
    with open(os.devnull, "wb") as out:
        for found in history.read(query):
            out.write(found.line + b"\n")
            number += 1
    return number


WAYS: Mapping[str, Callable[[History, Query], int]] = {
    "records": lambda history, query: sum(1 for _ in history.read(query)),
    "lines": lines_out,
    "count": lambda history, query: history.count(query).total(),
    "count_by_hour": lambda history, query: history.count(query, "hour").total(),
    "decoded": lambda history, query: sum(1 for found in history.read(query) if found.event),
}
"""What the user of a scan gets; each tells how many."""


def question(state: Path, way: str = "records", **asked: Any) -> tuple[float, int]:
    """Seconds of CPU and how many answered."""
    begin = time.process_time()
    count = WAYS[way](History(OsFiles(), str(state / "events")), make_query(**asked))
    return time.process_time() - begin, count


_READ_ALL = """
import resource, sys
from aios.journal.query import History, Query, make_query
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in History.of(sys.argv[1]).read(make_query(types=["agent.stalled", "service.down"])))
print(before / 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, count)
"""


def reading_much(folder: Path, part: Part, size: int) -> dict[str, float]:
    """A journal of a gigabyte, made of one archived day under many names; read in a process of its own."""
    events = folder / "events"
    for at in range(1, BIG_BYTES // size + 1):
        twin = Part(f"2025-{1 + at // 28:02}-{1 + at % 28:02}", 1)
        for suffix in (".jsonl.zst", ".idx"):
            os.link(events / "archive" / f"{DAY}.1{suffix}", events / "archive" / f"{twin.day}.1{suffix}")
    begin = time.perf_counter()
    shown = subprocess.run([sys.executable, "-c", _READ_ALL, str(folder)], capture_output=True, check=True, text=True).stdout
    before, peak, count = map(float, shown.split())
    return {
        "reading_1_gb_s": time.perf_counter() - begin,
        "reading_1_gb_peak_mb": peak,
        "reading_1_gb_before_mb": before,
        "reading_1_gb_answers": count,
    }


def one_round(folder: Path, count: int) -> dict[str, float]:
    files, part = OsFiles(), write_day(folder, count)
    events = str(folder / "events")
    raw = folder / "events" / part.name
    size, original_size = raw.stat().st_size, original_bytes(count)
    cpu = time.process_time()
    gzip_s, gzip_bytes = gzip_way(folder, part)
    gzip_cpu_s = time.process_time() - cpu
    begin = time.perf_counter()
    index = build_index(files, str(raw))
    index_s = time.perf_counter() - begin
    save_index(files, str(raw), index)
    cpu, begin = time.process_time(), time.perf_counter()
    archived = write_archive(files, events, part)
    archive_s, archive_cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    index_bytes = os.path.getsize(index_path(archive_path(events, part)))
    os.rename(raw, folder / part.name)
    os.unlink(index_path(str(raw)))
    noon = parse_time(f"{DAY}T12:00:00Z")
    each_s = 86_000 / count
    originals, middles, commons = [], [], []
    for _ in range(3):
        originals.append(original_load(folder / part.name))
        middles.append(question(folder, types=[MIDDLE])[0])
        commons.append({way: question(folder, way, types=["service.down"]) for way in WAYS})
    original_s, middle_s = min(originals), min(middles)
    common = {way: min(one[way] for one in commons) for way in WAYS}
    assert len({answers for one in commons for _, answers in one.values()}) == 1
    rare_s, rare = question(folder, types=[RARE])
    time_s, timed = question(folder, since=noon, until=noon + 1000 * each_s)
    return {
        "day_mb": size / 1e6,
        "day_original_mb": original_size / 1e6,
        "day_archived_with_index_mb": (archived.file_size + index_bytes) / 1e6,
        "raw_share_of_original": size / original_size,
        "archived_share_of_original": (archived.file_size + index_bytes) / original_size,
        "archive_share_of_raw": archived.file_size / size,
        "archive_share_of_gzip_6": archived.file_size / gzip_bytes,
        "archive_times_faster_than_gzip_6": gzip_s / archive_s,
        "archive_times_less_cpu_than_gzip_6": gzip_cpu_s / archive_cpu_s,
        "archive_mb_per_s": size / 1e6 / archive_s,
        "index_share_of_archive": index_bytes / archived.file_size,
        "index_us_per_line": index_s / count * 1e6,
        "scan_rare_type_events_per_s": count / rare_s,
        "scan_middle_type_events_per_s": count / middle_s,
        "scan_middle_type_times_the_original": original_s / middle_s,
        "scan_common_type_answers": common["records"][1],
        **{f"scan_common_type_{way}_events_per_s": count / took_s for way, (took_s, _) in common.items()},
        **{f"scan_common_type_{way}_times_the_original": original_s / took_s for way, (took_s, _) in common.items()},
        "scan_rare_type_answers": rare,
        "original_load_events_per_s": count / original_s,
        "1000_by_time_ms": time_s * 1e3,
        "1000_by_time_answers": timed,
        **reading_much(folder, part, size),
    }


def run(scale: int = 1) -> dict[str, Any]:
    """All figures, medians over some rounds. Takes about half a minute."""
    rounds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="aios-bench-") as name:
            rounds.append(one_round(Path(name), EVENTS * scale))
    return {name: round(median(found[name] for found in rounds), 3) for name in rounds[0]}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
