"""What saving and putting back costs, against `cp -a` and `tar` in the same run: 1,000 small files, and one of 1 GB.

Ours is durable when it ends, so theirs are followed by `sync -f`, and figures without it stand beside. Each ratio is the median
of ratios of neighbouring measurements, since the machine's disk is shared. `unchanged`: nothing changed since the snapshot
before; the clock that is given says that the files have rested for two minutes, because the index believes no younger ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Any

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles, make_dirs, write_small
from aios.events.calls import Touches
from aios.events.codec import encode_json
from aios.hands import latest, snapshot
from aios.hands.attempt import MANIFEST
from aios.hands.scan import Bounds
from aios.ports import ServiceActs

FILES, FILE_BYTES = 1000, 4000
LARGE_BYTES = int(os.environ.get("AIOS_BENCH_LARGE_MB", "1024")) << 20
ROUNDS_SMALL, ROUNDS_LARGE = 7, 3
RESTED_NS = 120_000_000_000


def no_services() -> ServiceActs:
    raise RuntimeError("no service is touched")


class Subject:
    """A tree to save, and a state folder to save it to."""

    def __init__(self, folder: str, source: str) -> None:
        self.folder, self.source = folder, source
        self.files = OsFiles()
        self.rounds = 0
        self.fresh()

    def fresh(self) -> None:
        """A state folder that knows nothing."""
        self.state = f"{self.folder}/state{self.rounds}"
        self.rounds += 1
        make_dirs(self.files, f"{self.state}/runs/r/a.1")
        self.blobs = BlobFolder(self.files, f"{self.state}/blobs", pack=False)

    def save(self) -> None:
        """As the launcher does, manifest and all."""
        touches, now_ns = Touches(files=(self.source,)), time.time_ns() + RESTED_NS
        self.manifest = snapshot.take(
            touches,
            self.blobs,
            no_services,
            bounds=Bounds(bytes=8 << 30),
            known=lambda real: latest.known_of(self.files, self.state, self.blobs, real),
            now_ns=now_ns,
        )
        write_small(self.files, f"{self.state}/runs/r/a.1/{MANIFEST}", encode_json(self.manifest))
        latest.note(self.files, self.state, f"{self.state}/runs/r/a.1/{MANIFEST}", self.manifest)

    def restore(self) -> None:
        if problems := snapshot.restore(self.manifest, self.blobs, no_services):
            raise RuntimeError("; ".join(problems))

    def copy(self, *, sync: bool) -> None:
        self._run("cp", "-a", self.source, f"{self.folder}/copy", sync=sync)

    def copy_back(self) -> None:
        """Over what stands there, as a rollback does, and synced."""
        inside = "/." if os.path.isdir(self.source) else ""
        self._run("cp", "-a", "--remove-destination", f"{self.folder}/backup{inside}", self.source, sync=True)

    def archive(self, *, sync: bool) -> None:
        self._run("tar", "--xattrs", "-cf", f"{self.folder}/copy", "-C", self.folder, os.path.basename(self.source), sync=sync)

    def _run(self, *argv: str, sync: bool) -> None:
        subprocess.run(argv, check=True)
        if sync:
            subprocess.run(["sync", "-f", self.folder], check=True)

    def clear(self) -> None:
        """What copies left; on the disk, so that nobody else's measurement pays for it."""
        copy = Path(f"{self.folder}/copy")
        if copy.is_dir():
            shutil.rmtree(copy)
        copy.unlink(missing_ok=True)
        subprocess.run(["sync", "-f", self.folder], check=True)


def cpu_s() -> float:
    """Of this process and of those that it waited for."""
    spent = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    began, cpu = time.perf_counter(), cpu_s()
    work()
    return time.perf_counter() - began, cpu_s() - cpu


def measure(subject: Subject, spoil: Callable[[], None], rounds: int) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, work: Callable[[], None]) -> None:
        times.setdefault(name, []).append(timed(work))
        subject.clear()

    subprocess.run(["cp", "-a", subject.source, f"{subject.folder}/backup"], check=True)
    for _ in range(rounds):
        note("cp", lambda: subject.copy(sync=False))
        note("cp_synced", lambda: subject.copy(sync=True))
        note("tar_synced", lambda: subject.archive(sync=True))
        shutil.rmtree(subject.state)
        subject.fresh()
        note("save", subject.save)
        note("unchanged", subject.save)
        spoil()
        note("restore", subject.restore)
        spoil()
        note("cp_back", subject.copy_back)
    return _figures(times)


def _figures(times: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {f"{name}_ms": round(median(t for t, _ in values) * 1000, 1) for name, values in times.items()}
    figures |= {f"{name}_cpu_ms": round(median(cpu for _, cpu in values) * 1000, 1) for name, values in times.items()}
    for ours, theirs in (
        ("save", "cp_synced"),
        ("save", "tar_synced"),
        ("save", "cp"),
        ("restore", "cp_back"),
        ("unchanged", "cp"),
        ("unchanged", "cp_synced"),
    ):
        pairs = list(zip(times[ours], times[theirs], strict=True))
        figures[f"{ours}_to_{theirs}"] = round(median(a / b for (a, _), (b, _) in pairs), 2)
        figures[f"{ours}_to_{theirs}_cpu"] = round(median(a / max(b, 0.005) for (_, a), (_, b) in pairs), 2)
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
