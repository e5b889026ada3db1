"""Files that simulated acts change: real ones, in a folder of their own that goes when the day is over.

Snapshots, records of what an act left, and rollbacks are the product's own code upon them; what they save lies on the simulated
disk. Everybody names a file by `/world/…`: only `place`, which stands in for `tree.real_place` as long as a day lasts, knows
where it truly is, so that the same seed gives the same journal. What a power cut takes of the files themselves is left out.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from aios.events.calls import SkillCall, SkillResult, Touches
from aios.hands import tree
from aios.hands.entry import Entry, entries_of
from aios.testing.bodies import SKILLS, Body, Box, SimSkill
from aios.testing.disk import SimDisk
from aios.testing.machine import STATE_DIR

WORLD = "/world"
SUBJECTS = ("cache.service", "db.service")
"""Whose folders there are; what works upon a unit changes the files of one of them."""
BEGAN_NS = 1_771_000_000_000_000_000
_UNKNOWN = ("inode", "device", "ctime_ns", "atime_ns")
"""Of a manifest: what differs from one playing of a seed to the next, and only saves reading."""
_real: list[str] = []


@contextmanager
def real_files() -> Iterator[None]:
    """As long as it lasts, `/world` is there."""
    was = tree.real_place
    memory = "/dev/shm"  # what is synced there takes no time
    with tempfile.TemporaryDirectory(prefix="aios-world-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        _real.append(os.path.realpath(folder))
        tree.real_place = place
        try:
            for subject in SUBJECTS:
                _make(real(f"{WORLD}/{subject}"))
            yield
        finally:
            tree.real_place = was
            _real.pop()


def real(path: str) -> str:
    return _real[-1] + path.removeprefix(WORLD)


def place(path: str) -> tuple[str, list[str]]:
    """`tree.real_place` of a path below `/world`."""
    return real(path), []


def _make(folder: str) -> None:
    os.mkdir(folder, 0o750)
    _write(f"{folder}/app.conf", "listen 80\n", BEGAN_NS)
    _write(f"{folder}/extra.conf", "an extra\n", BEGAN_NS)
    os.symlink("extra.conf", f"{folder}/current")


def _write(path: str, text: str, at_ns: int) -> None:
    Path(path).write_text(text)
    os.utime(path, ns=(at_ns, at_ns))


# --- how they stand


class Name(NamedTuple):
    """All of it that a rollback brings back."""

    kind: str
    mode: int
    mtime_ns: int
    holds: str
    """The hash of its bytes, or where it leads."""


Tree = Mapping[str, Name]


def standing(path: str) -> Tree:
    """Every name at and below a path, seen without the product's code."""
    top = real(path)
    found = {"": _seen(top)} if os.path.lexists(top) else {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            whole = os.path.join(folder, name)
            found[os.path.relpath(whole, top)] = _seen(whole)
    return found


def _seen(path: str) -> Name:
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        return Name("link", 0, 0, os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return Name("folder", stat.S_IMODE(found.st_mode), 0, "")
    return Name("file", stat.S_IMODE(found.st_mode), found.st_mtime_ns, sha256(Path(path).read_bytes()).hexdigest())


def is_saved(manifest: Mapping[str, Any], touched: Mapping[str, Tree], disk: SimDisk) -> bool:
    """Whether this manifest would bring back what stands now: each name as it is, each byte on the disk, whatever is cut off."""
    roots = {root["path"]: root for root in manifest.get("roots", ())}
    for path, tree_now in touched.items():
        entries = entries_of(roots[path]) if path in roots else []
        if {entry.path: _saved(entry) for entry in entries if entry.kind != "absent"} != tree_now:
            return False
        if not all(_durable(entry, disk) for entry in entries if entry.kind == "file"):
            return False
    return True


def _saved(entry: Entry) -> Name:
    mtime_ns = entry.mtime_ns if entry.kind == "file" else 0
    return Name(entry.kind, entry.mode, mtime_ns, entry.target if entry.kind == "link" else entry.blob)


def _durable(entry: Entry, disk: SimDisk) -> bool:
    bulk, offset, length, _packed = entry.at
    data = disk.durable(f"{STATE_DIR}/blobs/{bulk[:2]}/{bulk}.bulk")
    return sha256(data[offset : offset + length]).hexdigest() == entry.blob


def in_every_playing(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the same seed."""
    at = [Entry._fields.index(name) for name in _UNKNOWN]
    for root in manifest.get("roots", ()):
        for row in root.get("rows", ()):
            for n in at:
                row[n] = 0
    return dict(manifest)


# --- acts upon them


class FileSkill(SimSkill):
    """Touches the folder that its parameter names."""

    def touches(self, checked: Mapping[str, Any]) -> Touches:
        return Touches(files=(str(checked["path"]),))


def _edit(call: SkillCall, box: Box) -> Body:
    """Changes one file, makes one, removes one; time passes in between, so that it is killed in the midst of it."""
    folder, now_ns = real(str(call.params["path"])), int(box.clock.now() * 1e9)
    yield box.entropy.uniform(0.0, 0.3)
    _write(f"{folder}/app.conf", f"{call.params['tag']}\n{call.key}\n", now_ns)
    yield box.entropy.uniform(0.0, 0.3)
    Path(f"{folder}/extra.conf").unlink(missing_ok=True)
    _write(f"{folder}/new.conf", call.key, now_ns)
    yield box.entropy.uniform(0.0, 0.3)
    os.chmod(f"{folder}/app.conf", 0o600)
    return SkillResult(ok=True)


def _file_says(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.001, 0.02)
    well = Path(f"{real(str(call.params['path']))}/app.conf").read_text().startswith(f"{call.params['tag']}\n")
    return SkillResult(ok=well, result={"verdict": "well" if well else "not_well"})


_PARAMS: Mapping[str, Any] = {"path": "", "tag": ""}
ALL_SKILLS: Mapping[str, SimSkill] = {
    **SKILLS,
    "edit": FileSkill("edit", "act", _edit, "Changes the files of a folder.", _PARAMS),
    "file_says": SimSkill("file_says", "verify", _file_says, "Whether a file says what it should.", _PARAMS),
}
