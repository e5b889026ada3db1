"""A month of a busy machine on the disk: how soon the daemon is READY, how fast a question is, and a million unread lines.

30 days with 10,000,000 events, made by the product's own code: the lines by the codec, then index, digest, archive and removal by
`Upkeep`, as in a month of real life: seven days raw, the others archived. A third of the lines came by an inbox. The full size
takes about 4 minutes of CPU and 2.5 GB below `BENCH_DIR` (else the temporary folder), which are removed again;
`BENCH_EVENTS=1000000` makes it a tenth. Baselines in the same run: READY on an empty folder, and the original's load
(json.loads of each line) of a part of the same lines.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

from aios.disk import OsFiles
from aios.events.codec import encode
from aios.events.event import Event, Position, day_of, format_time
from aios.journal.archive import list_archives
from aios.journal.checkpoints import Checkpoints
from aios.journal.parts import Part, list_parts
from aios.journal.query import History, Query, make_query
from aios.journal.reader import FolderReader
from aios.journal.retention import RetentionLimits, Upkeep
from aios.scheduler.queue import EventQueue
from aios.scores.scores import Scores
from aios.world import CHECKPOINT_VERSION, World

EVENTS = int(os.environ.get("BENCH_EVENTS", "10000000"))
UNREAD = max(10_000, EVENTS // 10)
DAYS = 30
DAY_S = 86_400.0
STEP_S = DAY_S / max(1, EVENTS // DAYS)
LATE = 25_000
"""So many events stand behind the newest checkpoint when a daemon dies at the worst moment."""
SPARE_S = 400.0
FOLDED = 20_000
SUBJECTS = 200
TYPES = ("host.sampled", "probe.sampled", "shop.order", "shop.login", "agent.error")
SEAL = len(b',"crc":"00000000"}\n')
STARTS = 5
BASELINE_LINES = 200_000
PLAYBOOK = """\
playbook: {name}
description: one observing step
on: {{type: {type}}}
guard: {{cooldown: 0s, limit: none}}
mode: observe
steps:
  - id: look
    observe: disk_usage
    with: {{path: /}}
"""


# --- a month ----------------------------------------------------------------------------------------------------------


def event(number: int, at: float) -> Event:
    """As a busy machine's: figures with many digits, ids that tell nothing, some hundred subjects; one in 1,000 is rare."""
    chance = number * 2_654_435_761 % 2**32
    kind = "service.down" if number % 1000 == 7 else TYPES[chance % 5]
    data = {
        "cpu": chance / 2**32,
        "memory": chance * 7919 % 2**32 / 2**32,
        "disk": 0.4,
        "status": "connection refused",
        "n": number,
    }
    origin = f"inbox/shop@1.{number % 9}.1:{number * 200}+200~{chance:08x}" if number % 3 == 0 else ""
    event_id = f"{chance:08x}{number:024x}"
    stamp = format_time(at)
    return Event(event_id, "aios/host", kind, f"unit{chance % SUBJECTS}.service", stamp, data, stamp, "info", origin)


def one_day(count: int, day: str) -> bytes:
    """A day's lines, written by the codec."""
    begin = _midnight(day)
    return b"".join(encode(event(number, begin + number * STEP_S)) for number in range(count))


def moved(lines: bytes, day: str, to: str) -> bytes:
    """The same lines on another day, sealed anew, under other ids: many times faster than to encode them again."""
    mark = f"{to[5:7]}{to[8:]}".encode()
    at = len(b'{"specversion":"1.0","id":"')
    raws = lines.replace(day.encode(), to.encode()).split(b"\n")
    bodies = (raw[:at] + mark + raw[at + 4 : 1 - SEAL] for raw in raws if raw)
    return b"".join(b'%b,"crc":"%08x"}\n' % (body, crc32(body)) for body in bodies)


def _midnight(day: str) -> float:
    return time.mktime(time.strptime(f"{day} UTC", "%Y-%m-%d %Z")) - time.timezone


def make_month(state: Path, now: float) -> dict[str, Any]:
    """30 days that end just now, tended as they come. The last is as long as today is old, and the one before makes up for it."""
    files, events = OsFiles(), state / "events"
    events.mkdir(parents=True)
    each = EVENTS // DAYS
    first = day_of(now - (DAYS - 1) * DAY_S)
    began = time.perf_counter()
    template = one_day(each, first)
    upkeep = Upkeep(files, str(state), RetentionLimits(), lambda day: {"day": day})
    for back in range(DAYS - 1, -1, -1):
        day = day_of(now - back * DAY_S)
        lines = moved(template, first, day)
        if back == 0:
            lines = _before(lines, now - SPARE_S)
        (events / f"{day}.1.jsonl").write_bytes(lines)
        if back % 5 == 0:
            _tend(upkeep, now)
    _fill_yesterday(state, each * DAYS, now)
    _tend(upkeep, now)
    return {"made_in_s": round(time.perf_counter() - began, 1), **_sizes(state)}


def _before(lines: bytes, now: float) -> bytes:
    """Of today only what is over."""
    stamp = format_time(now)[:19].encode()
    at = lines.rfind(b'"arrival":"' + stamp[:16])
    return lines if at < 0 else lines[: lines.rfind(b"\n", 0, at) + 1]


def _fill_yesterday(state: Path, total: int, now: float) -> None:
    """What today is too short for goes into a second part of yesterday."""
    path = state / "events" / f"{day_of(now)}.1.jsonl"
    there = path.read_bytes().count(b"\n")
    missing = EVENTS // DAYS - there
    yesterday = day_of(now - DAY_S)
    begin = _midnight(yesterday) + DAY_S - 1.0
    lines = (encode(event(total + number, begin)) for number in range(missing))
    (state / "events" / f"{yesterday}.2.jsonl").write_bytes(b"".join(lines))


def _tend(upkeep: Upkeep, now: float) -> None:
    upkeep.begin()
    while True:
        step, _ = upkeep.next(now)
        if step is None:
            return
        told = [draft for draft in upkeep.attempt(step) if draft.type == "journal.upkeep_failed"]
        assert not told, told


def _sizes(state: Path) -> dict[str, Any]:
    files, events = OsFiles(), str(state / "events")
    raw, archives = list_parts(files, events), list_archives(files, events)
    return {
        "events": EVENTS,
        "raw_parts": len(raw),
        "archives": len(archives),
        "raw_mb": round(sum(path.stat().st_size for path in (state / "events").glob("*.jsonl")) / 1e6, 1),
        "archives_mb": round(sum(path.stat().st_size for path in (state / "events" / "archive").iterdir()) / 1e6, 1),
    }


def checkpoint(state: Path, behind: int) -> None:
    """The world as a daemon would have saved it so many events before the end, folded from what stands before."""
    files, events = OsFiles(), str(state / "events")
    shutil.rmtree(state / "checkpoints", ignore_errors=True)
    part, line = _place(files, state, behind)
    world = World(Scores())
    begin = Position(*part, _offset_of((state / "events" / part.name).read_bytes(), max(0, line - FOLDED)))
    for stored in islice(FolderReader(files, events).read(begin), min(line, FOLDED)):
        world.apply(*stored)
    world.undecided.clear()
    payload = {"world": world.to_json(), "queue": EventQueue(4096).to_json(0.0)}
    Checkpoints(files, str(state / "checkpoints"), CHECKPOINT_VERSION).save(world.position, payload)


def _place(files: OsFiles, state: Path, behind: int) -> tuple[Part, int]:
    """The part and the line, from 0, behind which there are so many events."""
    for part in reversed(list_parts(files, str(state / "events"))):
        lines = (state / "events" / part.name).read_bytes().count(b"\n")
        if behind < lines - 1:
            return part, lines - behind - 1
        behind -= lines
    raise AssertionError("there are not so many events")


def _offset_of(raw: bytes, line: int) -> int:
    at = 0
    for _ in range(line):
        at = raw.index(b"\n", at) + 1
    return at


# --- the daemon -------------------------------------------------------------------------------------------------------


class Daemon:
    """A real one, on a state folder; heard by its notifications, as systemd hears it."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        books = folder / "playbooks"
        books.mkdir(exist_ok=True)
        (books / "alarm.yaml").write_text(PLAYBOOK.format(name="alarm", type="resource.disk_full"))
        self.settings = folder / "aios.toml"
        self.settings.write_text(
            f'data = "{state}"\nplaybooks = ["{books}"]\n[host]\nenabled = false\n[systemd]\nenabled = false\n'
            "[journal]\nfree_enough_mb = 1\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> tuple[float, float]:
        """Seconds from exec to READY, and how many of them were its own CPU's: on a busy machine the first says little."""
        with suppress(FileNotFoundError):
            (self.folder / "notify").unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.folder / "log", "ab") as log:
            notify.bind(str(self.folder / "notify"))
            notify.settimeout(120.0)
            argv = [sys.executable, "-m", "aios.cli.main", "run", "--settings", str(self.settings)]
            began = time.perf_counter()
            env = {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")}
            self.process = subprocess.Popen(argv, env=env, stderr=log, stdout=log)
            try:
                while b"READY=1" not in notify.recv(4096):
                    pass
            except TimeoutError:
                raise RuntimeError(f"it does not start: {(self.folder / 'log').read_text()}") from None
            return time.perf_counter() - began, self.cpu_s()

    def cpu_s(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60.0)
            self.process = None

    def pss_mb(self) -> float:
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


@contextmanager
def daemon(folder: Path, state: Path) -> Iterator[Daemon]:
    one = Daemon(folder, state)
    try:
        yield one
    finally:
        one.end(signal.SIGKILL)


def ready(folder: Path, state: Path, prepare: Callable[[], None]) -> dict[str, float]:
    """Seconds until READY, each time from the same folder: what a life leaves in the journal is taken off again."""
    times = []
    for _ in range(STARTS):
        with _as_it_was(state), daemon(folder, state) as one:
            prepare()
            times.append(one.start())
    walls, cpus = zip(*times, strict=True)
    return {"median_s": round(median(walls), 3), "min_s": round(min(walls), 3), "median_cpu_s": round(median(cpus), 3)}


@contextmanager
def _as_it_was(state: Path) -> Iterator[None]:
    """What a daemon adds to the newest part of today goes again, and with it the parts that it began."""
    events = state / "events"
    before = {path: path.stat().st_size for path in events.glob("*.jsonl")}
    try:
        yield
    finally:
        for path in events.glob("*.jsonl"):
            if path in before:
                os.truncate(path, before[path])
            else:
                path.unlink()


# --- a million unread lines -------------------------------------------------------------------------------------------


def unread(folder: Path, answered: bool) -> dict[str, Any]:
    """Lines that waited while no daemon ran, the last of them a P1. `answered`: a playbook answers each of the others, too."""
    state = folder / ("answered" if answered else "unanswered")
    (state / "inbox").mkdir(parents=True)
    lines = [
        b'{"type":"shop.order","subject":"shop:%d","severity":"info","data":{"n":%d,"sum":%d.25,"text":"an order of somebody"}}\n'
        % (number % 50_000, number, number % 977)
        for number in range(UNREAD - 1)
    ]
    last = b'{"type":"resource.disk_full","subject":"disk:/","severity":"critical","data":{"used":0.99,"mount":"/"}}\n'
    (state / "inbox" / "shop.jsonl").write_bytes(b"".join([*lines, last]))
    with daemon(folder, state) as one:
        if answered:
            (folder / "playbooks" / "order.yaml").write_text(PLAYBOOK.format(name="order", type="shop.order"))
        began = time.perf_counter()
        ready_s, _ = one.start()
        run_s = _when(began, state, b'"type":"run.opened","subject":"disk:/"')
        figures = {
            "lines": UNREAD,
            "ready_s": round(ready_s, 3),
            "p1_run_opened_s": round(run_s, 2),
            "p1_run_opened_cpu_s": one.cpu_s(),
            "daemon_pss_mb": one.pss_mb(),
        }
        if answered:
            time.sleep(10.0)
            figures["others_decided_in_10_s"] = _count(state, b'"type":"run.opened","subject":"shop:')
        else:
            figures["taken"] = _count(state, b'"origin":"inbox/shop@')
        one.end()
    with suppress(FileNotFoundError):
        (folder / "playbooks" / "order.yaml").unlink()
    shutil.rmtree(state)
    return figures


def _when(began: float, state: Path, wanted: bytes, within_s: float = 300.0) -> float:
    """Seconds until a line that holds this is in the journal; the end of each part is followed."""
    seen: dict[Path, int] = {}
    while time.perf_counter() < began + within_s:
        for path in sorted((state / "events").glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(max(0, seen.get(path, 0) - 200))
                found = file.read()
                if wanted in found:
                    return time.perf_counter() - began
                seen[path] = file.tell()
        time.sleep(0.02)
    raise AssertionError(f"no {wanted!r} within {within_s:.0f} s")


def _count(state: Path, wanted: bytes) -> int:
    return sum(path.read_bytes().count(wanted) for path in (state / "events").glob("*.jsonl"))


# --- questions --------------------------------------------------------------------------------------------------------


def questions(state: Path, now: float) -> dict[str, Any]:
    """Of the whole month; the median of some times each."""
    noon = _midnight(day_of(now - 20 * DAY_S)) + DAY_S / 2
    raw_noon = _midnight(day_of(now - 3 * DAY_S)) + DAY_S / 2
    return {
        "1000_by_time_archived": _asked(state, since=noon, until=noon + 1000 * STEP_S),
        "1000_by_time_raw": _asked(state, since=raw_noon, until=raw_noon + 1000 * STEP_S),
        "newest_50": _timed(lambda: len(History.of(state).newest(Query(), 50))),
        "rare_type_of_the_month": _asked(state, times=1, types=["service.down"]),
        "type_that_is_not_there": _asked(state, times=1, types=["no.such"]),
        "subject_that_is_not_there": _asked(state, times=1, subject="nobody.service"),
    }


def _asked(state: Path, times: int = STARTS, **question: Any) -> dict[str, float]:
    query = make_query(**question)
    return _timed(lambda: sum(1 for _ in History.of(state).read(query)), times)


def _timed(work: Callable[[], int], times: int = STARTS) -> dict[str, float]:
    took, found = [], 0
    for _ in range(times):
        began = time.perf_counter()
        found = work()
        took.append((time.perf_counter() - began) * 1e3)
    return {"ms": round(median(took), 2), "answers": found}


def original_load(state: Path) -> dict[str, float]:
    """What the original did for any question, over the first lines of a raw day; the whole month by the rate."""
    path = sorted((state / "events").glob("*.jsonl"))[0]
    began = time.perf_counter()
    with path.open(encoding="utf-8") as file:
        count = sum(1 for line in islice(file, BASELINE_LINES) if json.loads(line))
    rate = count / (time.perf_counter() - began)
    return {"events_per_s": round(rate), "whole_month_s": round(EVENTS / rate, 1)}


def run() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="aios-bench-", dir=os.environ.get("BENCH_DIR")))
    state, empty = folder / "state", folder / "empty"
    try:
        now = time.time()
        figures: dict[str, Any] = {"month": make_month(state, now), "original": original_load(state)}
        figures["questions"] = questions(state, now)
        figures["ready_on_an_empty_folder"] = ready(folder, empty, lambda: shutil.rmtree(empty, ignore_errors=True))
        figures["ready_after_a_clean_stop"] = ready(folder, state, partial(checkpoint, state, 0))
        figures["ready_killed_at_the_worst_moment"] = ready(folder, state, partial(checkpoint, state, LATE))
        shutil.rmtree(state)
        figures["unread_lines"] = unread(folder, answered=False)
        figures["unread_lines_each_answered"] = unread(folder, answered=True)
        return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
