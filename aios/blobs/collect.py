"""What is deleted of what runs left, and when: folders of ended runs, the bytes that snapshots saved, and old evidence.

The daemon decides and deletes here, away from its loop, once an hour: these are its own notes, not the machine's files. Nothing
that is needed ever goes:

- a run's folder stays while the run is open, and `keep_days` after; then the oldest go first, sooner while all that was saved
takes more than `size_max` on the disk (never within a day);
- a bulk (bytes of saved files) stays while a manifest of a run's folder or of a last-good copy names it;
- other blobs (evidence, texts of playbooks, settings) stay while the journal may name them: until everything in it is younger
than their last use; and as long as the daemon's memory names them (open runs, playbooks in force).

It may be killed at any moment, and others write meanwhile. So nothing is deleted at first sight: what nothing names is set aside
by a rename, and only what is still named by nothing an hour later is removed. Whoever asks for it in between gets it back.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from aios.blobs.bulk import BULK, PACKED, TEMPORARY
from aios.blobs.store import ASIDE
from aios.disk import read_all
from aios.ports import Files, FileStat

GRACE_S = 3600.0
"""Longer than from writing a blob until what names it is on the disk; acts are bounded by less."""
DAY_S = 86_400.0
JOURNAL_MARGIN_S = 2 * DAY_S
MANIFEST_MAX = 64 << 20
_GONE = ".gone-"
_BULK_NAME = re.compile(rb'\["([0-9a-f]{64})",')
"""As `at` stands in a manifest's rows."""
_ANY_NAME = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the settings say."""

    keep_days: int
    size_max: int


@dataclass(slots=True)
class Collected:
    """What one round did."""

    runs: int = 0
    blobs: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


_Manifest = tuple[int, int, int, int]
"""Its device, inode, size, and when it was written (ns)."""


@dataclass(slots=True)
class _RunFolder:
    path: str
    name: str
    at: float
    names: frozenset[bytes]


@dataclass(slots=True)
class Collector:
    """`collect` is one round. What it remembers between rounds only saves reading."""

    files: Files
    state_dir: str
    bounds: Bounds
    _read: dict[_Manifest, frozenset[bytes]] = field(default_factory=dict)
    """What a manifest names. Runs in which nothing had changed share one; it never changes under its name."""
    _met: set[_Manifest] = field(default_factory=set)

    def collect(self, now: float, open_runs: Collection[str], memory: bytes) -> Collected:
        """`memory` is all that the daemon knows, as JSON: what it names is needed. Raises nothing that a later round can mend."""
        done = Collected()
        self._met.clear()
        for work in (self._runs, self._blobs):
            try:
                work(now, open_runs, memory, done)
            except OSError as error:
                done.problems.append(str(error))
        self._read = {manifest: names for manifest, names in self._read.items() if manifest in self._met}
        return done

    # --- folders of runs

    def _runs(self, now: float, open_runs: Collection[str], _memory: bytes, done: Collected) -> None:
        self._finish_what_is_gone()
        folders = sorted(self._run_folders(), key=lambda run: run.at)
        sizes = self._bulk_sizes()
        taken = sum(sizes.values())
        users = Counter(self._names_of_copies())
        for run in folders:
            users.update(run.names)
        waiting = [run for run in folders if run.name not in open_runs and run.at < now - DAY_S]
        for run in waiting:
            if run.at >= now - self.bounds.keep_days * DAY_S and taken <= self.bounds.size_max:
                break
            self._remove_folder(run)
            done.runs += 1
            users.subtract(run.names)
            taken -= sum(sizes.pop(name, 0) for name in run.names if not users[name])

    def _run_folders(self) -> Iterator[_RunFolder]:
        for name in self._list(f"{self.state_dir}/runs"):
            path = f"{self.state_dir}/runs/{name}"
            seen = self._look(path)
            if name.startswith(".") or seen is None or not stat.S_ISDIR(seen.mode):
                continue
            manifests = [f"{path}/{step}/manifest.json" for step in self._list(path)]
            names = frozenset().union(*(self._names_in(manifest) for manifest in manifests))
            yield _RunFolder(path, name, seen.mtime_ns / 1e9, names)

    def _remove_folder(self, run: _RunFolder) -> None:
        """At once for whoever looks: a folder that is half there would lie about what was before."""
        gone = f"{self.state_dir}/runs/{_GONE}{run.name}"
        self.files.rename(run.path, gone)
        self._remove_tree(gone)

    def _finish_what_is_gone(self) -> None:
        for name in self._list(f"{self.state_dir}/runs"):
            if name.startswith(_GONE):
                self._remove_tree(f"{self.state_dir}/runs/{name}")

    def _remove_tree(self, path: str) -> None:
        for name in self.files.listdir(path):
            below = f"{path}/{name}"
            if stat.S_ISDIR(self.files.lstat(below).mode):
                self._remove_tree(below)
            else:
                self.files.unlink(below)
        self.files.rmdir(path)

    # --- blobs

    def _blobs(self, now: float, _open_runs: Collection[str], memory: bytes, done: Collected) -> None:
        bulks = self._names_of_copies().union(*(run.names for run in self._run_folders()))
        texts = frozenset(_ANY_NAME.findall(memory))
        old = self._journal_begins(now) - JOURNAL_MARGIN_S
        self._look_again(now, bulks | texts, done)
        for folder in self._list(f"{self.state_dir}/blobs"):
            if len(folder) == 2:
                self._set_aside(f"{self.state_dir}/blobs/{folder}", now, bulks, texts, old)
            elif folder.startswith(f".{TEMPORARY}."):
                self._remove_left_over(f"{self.state_dir}/blobs/{folder}", now)
        self._forget_latest(now)

    def _remove_left_over(self, path: str, now: float) -> None:
        """A bulk that a killed launcher was writing."""
        seen = self._look(path)
        if seen is not None and seen.mtime_ns / 1e9 < now - DAY_S:
            self._unlink(path)

    def _look_again(self, now: float, needed: Collection[bytes], done: Collected) -> None:
        """What was set aside an hour ago or more: back, or gone for good."""
        aside = f"{self.state_dir}/blobs/{ASIDE}"
        for entry in self._list(aside):
            seen = self._look(f"{aside}/{entry}")
            name = entry.partition(".")[0]
            if seen is None:
                continue
            if name.encode() in needed:
                self._move(f"{aside}/{entry}", f"{self.state_dir}/blobs/{name[:2]}/{entry}")
            elif seen.ctime_ns / 1e9 < now - GRACE_S and self._unlink(f"{aside}/{entry}"):
                done.blobs += 1
                done.bytes += seen.size

    def _set_aside(self, folder: str, now: float, bulks: Collection[bytes], texts: Collection[bytes], old: float) -> None:
        aside = f"{self.state_dir}/blobs/{ASIDE}"
        for entry in self._list(folder):
            seen = self._look(f"{folder}/{entry}")
            if seen is None:
                continue
            used = seen.mtime_ns / 1e9
            if entry.endswith(".tmp"):
                if used < now - DAY_S:
                    self._unlink(f"{folder}/{entry}")
                continue
            name = entry.partition(".")[0].encode()
            is_bulk = entry.endswith((BULK, PACKED))
            needed = name in bulks or (not is_bulk and name in texts)
            if not needed and used < (now - GRACE_S if is_bulk else min(old, now - GRACE_S)):
                self._make_folder(aside)
                self._move(f"{folder}/{entry}", f"{aside}/{entry}")

    def _journal_begins(self, now: float) -> float:
        """No line of the journal is older than this (wall time); with no journal there is nothing to go by, and all stays."""
        from datetime import UTC, datetime  # only a round needs it

        days = [name[:10] for place in ("events", "events/archive") for name in self._list(f"{self.state_dir}/{place}")]
        known = [day for day in days if re.fullmatch(r"\d{4}-\d\d-\d\d", day)]
        return datetime.fromisoformat(min(known)).replace(tzinfo=UTC).timestamp() if known else 0.0

    def _forget_latest(self, now: float) -> None:
        for name in self._list(f"{self.state_dir}/latest"):
            seen = self._look(f"{self.state_dir}/latest/{name}")
            if seen is not None and seen.mtime_ns / 1e9 < now - self.bounds.keep_days * DAY_S:
                self._unlink(f"{self.state_dir}/latest/{name}")

    # --- what is named

    def _names_of_copies(self) -> frozenset[bytes]:
        """By last-good copies, of every generation."""
        found: set[bytes] = set()
        keep = f"{self.state_dir}/keep"
        for playbook in self._list(keep):
            for subject in self._list(f"{keep}/{playbook}"):
                for manifest in self._list(f"{keep}/{playbook}/{subject}"):
                    found |= self._names_in(f"{keep}/{playbook}/{subject}/{manifest}")
        return frozenset(found)

    def _names_in(self, manifest: str) -> frozenset[bytes]:
        """Raises OSError when it is there and cannot be read: then nothing may be deleted."""
        seen = self._look(manifest)
        if seen is None or not stat.S_ISREG(seen.mode):
            return frozenset()
        which = (seen.device, seen.inode, seen.size, seen.mtime_ns)
        self._met.add(which)
        if which not in self._read:
            data = read_all(self.files, manifest, MANIFEST_MAX)
            first = b'"version":1' in data[:200] or b'"version":2' not in data
            self._read[which] = frozenset((_ANY_NAME if first else _BULK_NAME).findall(data))
        return self._read[which]

    def _bulk_sizes(self) -> dict[bytes, int]:
        sizes = {}
        for folder in self._list(f"{self.state_dir}/blobs"):
            for entry in self._list(f"{self.state_dir}/blobs/{folder}") if len(folder) == 2 else ():
                if entry.endswith((BULK, PACKED)) and (seen := self._look(f"{self.state_dir}/blobs/{folder}/{entry}")):
                    sizes[entry.partition(".")[0].encode()] = seen.size
        return sizes

    # --- the disk; what is gone meanwhile is no trouble

    def _list(self, path: str) -> list[str]:
        try:
            return sorted(self.files.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _look(self, path: str) -> FileStat | None:
        try:
            return self.files.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make_folder(self, path: str) -> None:
        try:
            self.files.mkdir(path)
        except FileExistsError:
            pass

    def _move(self, source: str, target: str) -> None:
        try:
            self.files.rename(source, target)
        except FileNotFoundError:
            pass  # somebody asked for it and has it back

    def _unlink(self, path: str) -> bool:
        try:
            self.files.unlink(path)
        except FileNotFoundError:
            return False
        return True


__all__ = ["Bounds", "Collected", "Collector"]
