"""What saving and putting back costs, against `cp -a` and `tar` in the same run: 1,000 small files, and one of 1 GB.

Ours is durable when it ends, so theirs are followed by `sync -f`, and figures without it stand beside. Each ratio is the median
of ratios of one round, since the machine's disk is shared; rounds go forth and back in turn, and before each measurement the
same large file is written and removed, so that nobody finds warmer memory than another (a virtual machine gives free memory
back, and the first to write pays for it, three times over). Wall, user and system time are told apart: on a busy machine the
wall says mostly who was let run. `hash` is SHA-256 alone over the same bytes: saving does that and a copy, and less cannot be
had. `unchanged`: nothing changed since the snapshot before; the clock that is given says that the files have rested for two
minutes, because the index believes no younger ones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Any, NamedTuple

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles, make_dirs
from aios.events.calls import Touches
from aios.hands import latest, snapshot
from aios.hands.attempt import MANIFEST
from aios.hands.scan import Bounds
from aios.ports import ServiceActs

FILES, FILE_BYTES = 1000, 4000
LARGE_BYTES = int(os.environ.get("AIOS_BENCH_LARGE_MB", "1024")) << 20
ROUNDS_SMALL, ROUNDS_LARGE = 5, 3
RESTED_NS = 120_000_000_000
RATIOS = (
    ("save", "cp_synced"),
    ("save", "tar_synced"),
    ("save", "cp"),
    ("save", "hash"),
    ("restore", "cp_back"),
    ("restore", "hash"),
    ("unchanged", "cp"),
    ("unchanged", "cp_synced"),
    ("unchanged", "tar_synced"),
)


def no_services() -> ServiceActs:
    raise RuntimeError("no service is touched")


class Subject:
    """A tree to save, and a state folder to save it to."""

    def __init__(self, folder: str, source: str) -> None:
        self.folder, self.source = folder, source
        self.files = OsFiles()
        self.rounds = self.acts = 0
        self.fresh()

    def fresh(self) -> None:
        """A state folder that knows nothing; that of before is gone."""
        if self.rounds:
            shutil.rmtree(self.state)
        self.state: str = f"{self.folder}/state{self.rounds}"
        self.rounds += 1
        self.blobs = BlobFolder(self.files, f"{self.state}/blobs", pack=False)
        self.next_act()

    def save(self) -> None:
        """As the launcher does, manifest and all; the folder that it goes to is made before, as the launcher's is."""
        touches, now_ns, bounds = Touches(files=(self.source,)), time.time_ns() + RESTED_NS, Bounds(bytes=8 << 30)
        outline = snapshot.outline(touches, no_services)
        latest.save(self.files, self.state, self.blobs, outline, path=self.manifest, bounds=bounds, now_ns=now_ns)

    def next_act(self) -> None:
        """The folder of another attempt."""
        self.acts += 1
        folder = f"{self.state}/runs/r{self.acts}/a.1"
        make_dirs(self.files, folder)
        self.manifest: str = f"{folder}/{MANIFEST}"

    def restore(self) -> None:
        if problems := snapshot.restore(snapshot.read(self.files, self.manifest), self.blobs, no_services):
            raise RuntimeError("; ".join(problems))

    def copy(self, *, sync: bool) -> None:
        self._run("cp", "-a", self.source, f"{self.folder}/copy", sync=sync)

    def copy_back(self) -> None:
        """Over what stands there, as a rollback does, and synced."""
        inside = "/." if os.path.isdir(self.source) else ""
        self._run("cp", "-a", "--remove-destination", f"{self.folder}/backup{inside}", self.source, sync=True)

    def archive(self, *, sync: bool) -> None:
        self._run("tar", "--xattrs", "-cf", f"{self.folder}/copy", "-C", self.folder, os.path.basename(self.source), sync=sync)

    def hash(self) -> None:
        for path in sorted(Path(self.source).iterdir()) if os.path.isdir(self.source) else [Path(self.source)]:
            with open(path, "rb", buffering=0) as file:
                hashlib.file_digest(file, "sha256")

    def _run(self, *argv: str, sync: bool) -> None:
        subprocess.run(argv, check=True)
        if sync:
            subprocess.run(["sync", "-f", self.folder], check=True)

    def settle(self) -> None:
        """What a large file will fill is at hand."""
        if os.path.isfile(self.source):
            self.copy(sync=False)
            self.clear()

    def clear(self) -> None:
        """What copies left; on the disk, so that nobody else's measurement pays for it."""
        copy = Path(f"{self.folder}/copy")
        if copy.is_dir():
            shutil.rmtree(copy)
        copy.unlink(missing_ok=True)
        subprocess.run(["sync", "-f", self.folder], check=True)


class Spent(NamedTuple):
    """Seconds: by the clock, and of the processors, in this process and in those that it waited for."""

    wall: float
    user: float
    sys: float

    @property
    def cpu(self) -> float:
        return self.user + self.sys


def spent_on(work: Callable[[], None]) -> Spent:
    before, began = _used(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, _used()
    return Spent(wall, after[0] - before[0], after[1] - before[1])


def _used() -> tuple[float, float]:
    usages = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(usage.ru_utime for usage in usages), sum(usage.ru_stime for usage in usages)


def measure(subject: Subject, spoil: Callable[[], None], rounds: int) -> dict[str, Any]:
    times: dict[str, list[Spent]] = {}

    def note(name: str, work: Callable[[], None], before: Callable[[], None] | None = None) -> None:
        if before is not None:
            before()
        subject.settle()
        times.setdefault(name, []).append(spent_on(work))
        subject.clear()

    def save() -> None:
        note("save", subject.save, subject.fresh)
        note("unchanged", subject.save, subject.next_act)

    subprocess.run(["cp", "-a", subject.source, f"{subject.folder}/backup"], check=True)
    subject.save()
    parts: list[Callable[[], None]] = [
        lambda: note("cp", lambda: subject.copy(sync=False)),
        lambda: note("cp_synced", lambda: subject.copy(sync=True)),
        lambda: note("tar_synced", lambda: subject.archive(sync=True)),
        lambda: note("hash", subject.hash),
        save,
        lambda: note("restore", subject.restore, spoil),
        lambda: note("cp_back", subject.copy_back, spoil),
    ]
    for n in range(rounds):
        for part in parts if n % 2 == 0 else reversed(parts):
            part()
    return _figures(times)


def _figures(times: dict[str, list[Spent]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, values in times.items():
        figures[f"{name}_ms"] = round(median(spent.wall for spent in values) * 1000, 1)
        figures[f"{name}_user_ms"] = round(median(spent.user for spent in values) * 1000, 1)
        figures[f"{name}_sys_ms"] = round(median(spent.sys for spent in values) * 1000, 1)
    for ours, theirs in RATIOS:
        pairs = list(zip(times[ours], times[theirs], strict=True))
        figures[f"{ours}_to_{theirs}"] = round(median(a.wall / b.wall for a, b in pairs), 2)
        figures[f"{ours}_to_{theirs}_cpu"] = round(median(a.cpu / max(b.cpu, 0.005) for a, b in pairs), 2)
    return figures


def small(folder: str) -> dict[str, Any]:
    source = f"{folder}/source"
    os.mkdir(source)
    for n in range(FILES):
        Path(f"{source}/conf{n}").write_bytes((b"key%d = value\n" % n) * (FILE_BYTES // 16) + os.urandom(200))
    subject = Subject(folder, source)

    def spoil() -> None:
        for n in range(FILES):
            Path(f"{source}/conf{n}").write_bytes(b"spoiled %d" % n)

    return measure(subject, spoil, ROUNDS_SMALL)


def large(folder: str) -> dict[str, Any]:
    source = f"{folder}/source"
    with open(source, "wb") as file:
        for _ in range(LARGE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    subject = Subject(folder, source)

    def spoil() -> None:
        with open(source, "r+b") as file:
            file.write(b"spoiled")

    return measure(subject, spoil, ROUNDS_LARGE)


def run() -> dict[str, Any]:
    figures = {}
    for name, work in (("small_files_1000", small), ("large_file", large)):
        with tempfile.TemporaryDirectory(prefix="aios-bench-", dir=os.environ.get("AIOS_BENCH_DIR")) as folder:
            figures[name] = work(os.path.realpath(folder))
    return figures
