"""A snapshot of what nobody has touched is another name of the one before, and says what a look at everything would have said."""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aios.disk import OsFiles, make_dirs
from aios.events.calls import Touches
from aios.events.codec import decode_json, encode_json
from aios.hands import latest, proc, snapshot, times
from aios.hands.attempt import MANIFEST
from aios.hands.entry import Entry, entries_of
from aios.hands.resting import resting, stands
from aios.ports import ServiceActs
from tests.integration.hands_kit import needs_times_that_tell, taken
from tests.integration.test_hands_snapshot import Units
from tests.integration.test_hands_trees import Grower, Place, all_below, no_services, place, put_flags

LATER = 2**62
SEEDS = 400
MINUTE_NS = 60 * 10**9

Services = Callable[[], ServiceActs]


class Saving:
    """Snapshots as a launcher takes them, one attempt after the other."""

    def __init__(self, here: Place, services: Services = no_services) -> None:
        self.here = here
        self.services = services
        self.touches = Touches(files=(os.fsdecode(here.root),))
        self.count = 0

    def save(self, files: OsFiles | None = None, bounds: snapshot.Bounds = snapshot.BOUNDS, now_ns: int = LATER) -> bool:
        """Whether it was the same as the latest."""
        here, self.count = self.here, self.count + 1
        folder = f"{here.state}/runs/r{self.count}/a.1"
        make_dirs(here.files, folder)
        self.path = f"{folder}/{MANIFEST}"
        outline = snapshot.outline(self.touches, self.services)
        at = {"path": self.path, "bounds": bounds, "now_ns": now_ns}
        return latest.save(files or here.files, here.state, here.blobs, outline, **at) is None

    def manifest(self) -> dict[str, Any]:
        """As it is on the disk."""
        return snapshot.read(self.here.files, self.path)

    def fresh(self) -> dict[str, Any]:
        """The manifest of somebody who knows nothing."""
        found: dict[str, Any] = decode_json(encode_json(taken(self.touches, self.here.blobs, self.services)))
        return found

    def memory(self) -> Path:
        [path] = Path(self.here.state, latest.FOLDER).glob("*.seen")
        return path


def said(manifest: Mapping[str, Any]) -> list[object]:
    """All of it but where the bytes lie, and times of reading."""
    entries = [entry for root in manifest["roots"] for entry in entries_of(root)]
    seen = [(entry.path, entry.label(), entry.mtime_ns, entry.size, entry.inode, entry.links, entry.data) for entry in entries]
    return [
        seen,
        *({name: value for name, value in root.items() if name != "rows"} for root in manifest["roots"]),
        manifest["units"],
    ]


@contextmanager
def resting_place() -> Iterator[Place]:
    with place(on_disk=True) as here:
        needs_times_that_tell(here.state)
        yield here


@pytest.mark.parametrize("part", range(8))
def test_what_is_believed_is_what_stands_there(part: int) -> None:
    """A tree that nobody touched is the one before; one that somebody did is looked at, and either way the manifest says the
    same as one of somebody who knows nothing.
    """
    for seed in range(part * SEEDS // 8, (part + 1) * SEEDS // 8):
        chance = random.Random(seed)
        with resting_place() as here:
            grower, saving = Grower(chance), Saving(here)
            grower.grow(here.root)
            assert not saving.save(), f"seed {seed}"
            first, path = saving.manifest(), saving.path
            assert said(first) == said(saving.fresh()), f"seed {seed}"
            assert saving.save(), f"seed {seed}"
            assert os.path.samefile(path, saving.path)
            here.next_tick()
            for _ in range(chance.randint(1, 3)):
                grower.one_change(chance.choice(all_below(here.root)))
            same = saving.save()
            assert said(saving.manifest()) == said(saving.fresh()), f"seed {seed}"
            assert not same or said(first) == said(saving.fresh()), f"seed {seed}"


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


CHANGES: dict[str, Callable[[str], object]] = {
    "other bytes, same size and time": lambda root: (write(f"{root}/a", "AA"), os.utime(f"{root}/a", ns=(7, 7))),
    "mode": lambda root: os.chmod(f"{root}/a", 0o600),
    "attribute": lambda root: os.setxattr(f"{root}/a", "user.x", b"1"),
    "one more, and the folder's time put back": lambda root: (write(f"{root}/new", ""), os.utime(root, ns=(7, 7))),
    "one more below": lambda root: write(f"{root}/deep/er/new", ""),
    "one in an empty folder": lambda root: write(f"{root}/empty/new", ""),
    "one less": lambda root: os.unlink(f"{root}/b"),
    "one below": lambda root: os.unlink(f"{root}/deep/er/c"),
    "another name": lambda root: os.rename(f"{root}/a", f"{root}/z"),
    "two names changed": lambda root: (
        os.rename(f"{root}/a", f"{root}/x"),
        os.rename(f"{root}/b", f"{root}/a"),
        os.rename(f"{root}/x", f"{root}/b"),
    ),
    "another name outside": lambda root: os.link(f"{root}/a", f"{root}/../tied"),
    "a link that leads elsewhere": lambda root: (os.unlink(f"{root}/l"), os.symlink("b", f"{root}/l")),
    "a folder's mode": lambda root: os.chmod(f"{root}/deep/er", 0o700),
    "it is gone": lambda root: os.rename(root, f"{root}.gone"),
    "a copy in its place": lambda root: (os.rename(root, f"{root}.gone"), os.system(f"cp -a '{root}.gone' '{root}'")),
    "a folder that is a link now": lambda root: (
        os.rename(f"{root}/deep/er", f"{root}/../er"),
        os.symlink("../../er", f"{root}/deep/er"),
    ),
    "written through a mapping": lambda root: through_a_mapping(f"{root}/a"),
}


def through_a_mapping(path: str) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:1] = b"M"


def laid_out(here: Place) -> Saving:
    root = os.fsdecode(here.root)
    os.makedirs(f"{root}/deep/er")
    os.mkdir(f"{root}/empty")
    for path, text in (("a", "aa"), ("b", ""), ("deep/er/c", "cc"), ("deep/z", "zz")):
        write(f"{root}/{path}", text)
        os.utime(f"{root}/{path}", ns=(7, 7))
    os.symlink("a", f"{root}/l")
    return Saving(here)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(change: str) -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        assert saving.save()
        here.next_tick()
        CHANGES[change](os.fsdecode(here.root))
        assert not saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


def test_flags_are_seen() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        here.next_tick()
        put_flags(here.root, random.Random(3))
        saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


def test_what_an_older_manifest_saw_is_believed_as_long_as_it_is_true() -> None:
    """Changed and changed back, it is another state; and each has its own memory."""
    with resting_place() as here:
        units = Units("up")
        saving = Saving(here, lambda: units)  # type: ignore[arg-type, return-value]
        laid_out(here)
        saving.touches = replace(saving.touches, units=("web.service",))
        assert not saving.save()
        units.now = replace(units.now, state="down")
        assert not saving.save(), "a unit stands in another way"
        assert saving.save()
        assert said(saving.manifest()) == said(saving.fresh())
        units.now = replace(units.now, state="up")
        assert saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


def test_what_is_not_there_is_believed_until_it_is() -> None:
    with resting_place() as here:
        saving = Saving(here)
        root = os.fsdecode(here.root)
        saving.touches = Touches(files=(root, f"{root}/deep/er"))
        assert [saving.save(), saving.save()] == [False, True]
        os.makedirs(f"{root}/deep")
        assert not saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


@pytest.mark.parametrize("root", ["the folder", "the file"])
def test_a_file_that_grew_while_its_times_stood_is_seen(root: str) -> None:
    """A call that writes for minutes moves the time once, when it begins."""
    with resting_place() as here:
        saving = laid_out(here)
        if root == "the file":
            saving.touches = Touches(files=(f"{os.fsdecode(here.root)}/a",))
        saving.save()
        [saved] = saving.manifest()["roots"]
        size = Entry._fields.index("size")
        for wanted in (True, False):
            tree = resting(saved["rows"], LATER)
            assert tree is not None
            assert stands(saved["real"], tree) == wanted
            saved["rows"] = [[*row[:size], row[size] - 1, *row[size + 1 :]] if row[1] == "file" else row for row in saved["rows"]]


def test_what_had_not_rested_is_not_believed() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        youngest = max(os.lstat(path).st_ctime_ns for path in all_below(here.root))
        saving.save(now_ns=youngest + MINUTE_NS)
        assert not saving.save(now_ns=youngest + MINUTE_NS + 1)
        assert saving.save(now_ns=youngest + MINUTE_NS + 1)


@pytest.mark.parametrize(
    ("expire", "interval", "rested_s"), [(3000, 500, 60), (60000, 1500, 640), (3000, 0, None), ("?", 500, None)]
)
def test_how_long_dirty_pages_live_is_how_long_a_file_has_to_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expire: object, interval: object, rested_s: int | None
) -> None:
    """Who writes to a page that is dirty already leaves no time behind."""
    (tmp_path / "dirty_expire_centisecs").write_text(f"{expire}\n")
    (tmp_path / "dirty_writeback_centisecs").write_text(f"{interval}\n")
    monkeypatch.setattr(times, "_PROC_VM", str(tmp_path))
    taken = {"taken_ns": LATER, "boot_id": proc.boot_id()}
    assert times.rested_ns(taken) == (0 if rested_s is None else LATER - rested_s * 10**9)


def test_what_was_seen_before_the_machine_was_started_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut bytes that were synced may be there, and their time not."""
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        first = saving.manifest()
        for module in (latest, times, snapshot):
            monkeypatch.setattr(module, "boot_id", lambda: "another")
        assert times.rested_ns(first) == 0
        assert not saving.save()
        assert saving.save()


def test_what_was_not_there_and_is_now_is_looked_at() -> None:
    with resting_place() as here:
        saving = Saving(here)
        assert [saving.save(), saving.save()] == [False, True]
        write(os.fsdecode(here.root), "new")
        assert not saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


def test_an_irreversible_act_is_never_the_one_before() -> None:
    """Only where its files lie is written down."""
    with resting_place() as here:
        outline = snapshot.outline(laid_out(here).touches, no_services, irreversible=True)
        for n in range(2):
            folder = f"{here.state}/runs/i{n}/a.1"
            make_dirs(here.files, folder)
            assert latest.save(here.files, here.state, here.blobs, outline, path=f"{folder}/{MANIFEST}", now_ns=LATER)


def test_a_memory_that_cannot_be_written_costs_the_next_look() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        Path(here.state, "latest").write_text("in the way")
        assert [saving.save(), saving.save()] == [False, False]
        assert said(saving.manifest()) == said(saving.fresh())


def test_a_manifest_that_nobody_could_read_again_is_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    with resting_place() as here:
        monkeypatch.setattr(latest, "MANIFEST_MAX", 500)
        with pytest.raises(OSError, match="a manifest of more than"):
            laid_out(here).save()


def put(path: Path, seen: object) -> None:
    path.write_bytes(seen if isinstance(seen, bytes) else encode_json(seen))


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no JSON": lambda seen: b"\0" * 500,
    "half of it": lambda seen: encode_json(seen)[:200],
    "a list": lambda seen: [seen],
    "no manifest": lambda seen: seen | {"manifest": "runs/none/a.1/manifest.json"},
    "another file": lambda seen: seen | {"manifest": "latest/other"},
    "a manifest that is no name": lambda seen: seen | {"manifest": 7},
    "another hash": lambda seen: seen | {"sha256": "0" * 64},
    "no tree": lambda seen: seen | {"trees": []},
    "a tree that is none": lambda seen: seen | {"trees": [7]},
    "an unknown kind": lambda seen: seen | {"trees": [seen["trees"][0] | {"kind": "portal"}]},
    "a name more": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["", ["a", "a"], []]]}]},
    "a name that leads out": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["", ["../a"], []]]}]},
    "a folder that leads out": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["../..", [], ["it"]]]}]},
    "a name of an unknown form": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["", [{"x": 1}], []]]}]},
    "a name of no parts": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["", [[]], []]]}]},
    "a name that is no base64": lambda seen: seen | {"trees": [seen["trees"][0] | {"folders": [["", [["%"]], []]]}]},
    "bulks that are none": lambda seen: seen | {"bulks": [7]},
    "a bulk that is not there": lambda seen: seen | {"bulks": ["0" * 64]},
    "a size that is none": lambda seen: seen | {"bytes": "few"},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_costs_a_look_and_nothing_else(damage: str) -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        Path(here.state, "latest", "other").write_bytes(b"{}")
        memory = saving.memory()
        put(memory, DAMAGES[damage](decode_json(memory.read_bytes())))
        assert not saving.save()
        assert said(saving.manifest()) == said(saving.fresh())
        assert saving.save(), "and it is whole again"


@pytest.mark.parametrize(("before", "after"), [(b'["a","file",420', b'["a","file",421'), (b'"version"', b"\0\0\0\0\0\0\0\0\0")])
def test_a_damaged_manifest_gets_no_second_name(before: bytes, after: bytes) -> None:
    """Whatever its times and size say, and be it JSON still: what an act may be taken back by is read before the act."""
    with resting_place() as here:
        saving = laid_out(here)
        os.chmod(f"{os.fsdecode(here.root)}/a", 0o644)
        saving.save()
        was = os.stat(saving.path)
        data = Path(saving.path).read_bytes()
        assert before in data
        with open(saving.path, "r+b") as file:
            file.write(data.replace(before, after, 1))
        os.utime(saving.path, ns=(was.st_atime_ns, was.st_mtime_ns))
        assert not saving.save()
        assert said(saving.manifest()) == said(saving.fresh())


def test_where_the_run_before_is_gone_everything_is_looked_at() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        shutil.rmtree(f"{here.state}/runs/r1")
        assert not saving.save()
        assert saving.save()


def test_the_run_before_may_go_when_the_manifest_has_its_second_name() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        saving.save()
        shutil.rmtree(f"{here.state}/runs/r1")
        assert said(saving.manifest()) == said(saving.fresh())


class Refusing(OsFiles):
    """A disk that gives a manifest no second name, as ext4 does after 65,000 of them."""

    def link(self, source: str, target: str) -> None:
        if target.endswith(MANIFEST):
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source)
        super().link(source, target)


def test_where_no_second_name_can_be_had_the_manifest_is_written_anew() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        assert not saving.save(Refusing())
        assert said(saving.manifest()) == said(saving.fresh())
        assert saving.save()


class Unsynced(OsFiles):
    def fsync_dir(self, path: str) -> None:
        if "/runs/" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        super().fsync_dir(path)


def test_a_second_name_that_cannot_be_synced_is_no_snapshot() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        with pytest.raises(OSError, match="Input/output"):
            saving.save(Unsynced())


def test_bounds_count_what_is_believed() -> None:
    """A bound that somebody has lowered since holds for a tree that rests, too."""
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        for bounds in (snapshot.Bounds(files=3), snapshot.Bounds(bytes=3)):
            with pytest.raises(OSError, match="more than"):
                saving.save(bounds=bounds)
        assert saving.save()


def test_bytes_that_are_gone_are_saved_again() -> None:
    with resting_place() as here:
        saving = laid_out(here)
        saving.save()
        for bulk in snapshot.bulks_of(saving.manifest()):
            os.unlink(f"{here.state}/blobs/{bulk[:2]}/{bulk}.bulk")
        assert not saving.save()
        assert snapshot.restore(saving.manifest(), here.blobs, no_services) == []


# --- whose times are believed -----------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, kind: str) -> Iterator[Path]:
    """A new file system of this kind; in a file of its own, where it needs one."""
    where, image = folder / "mounted", folder / "image"
    where.mkdir()
    if kind == "tmpfs":
        made = subprocess.run(["mount", "-t", "tmpfs", "none", where], capture_output=True, check=False)
    else:
        if shutil.which(f"mkfs.{kind}") is None:
            pytest.skip(f"there is no mkfs.{kind}")
        with open(image, "wb") as file:
            file.truncate(512 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", image], capture_output=True, check=True)
        made = subprocess.run(["mount", "-o", "loop", image, where], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no {kind} can be mounted here: {made.stderr.decode()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


@contextmanager
def mapped(path: str) -> Iterator[mmap.mmap]:
    """Written to, and written back, as the kernel does while a file rests: the next write is one that its time could tell."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as bytes_of_it:
        bytes_of_it[0:1] = b"1"
        bytes_of_it.flush()
        yield bytes_of_it


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.parametrize("root", ["the folder", "the file"])
@pytest.mark.parametrize(("kind", "believed"), [("ext4", True), ("xfs", True), ("btrfs", True), ("tmpfs", False)])
def test_a_change_through_a_mapping_is_saved_on_every_file_system(tmp_path: Path, kind: str, believed: bool, root: str) -> None:
    """tmpfs keeps no time of it: there nothing is believed, neither the tree nor the file alone."""
    with mounted(tmp_path, kind) as folder:
        here = Place(str(folder))
        saving = laid_out(here)
        file = f"{os.fsdecode(here.root)}/a"
        if root == "the file":
            saving.touches = Touches(files=(file,))
        with mapped(file) as bytes_of_it:
            assert [saving.save(), saving.save()] == [False, believed]
            here.next_tick()
            bytes_of_it[0:1] = b"2"
            assert not saving.save()
        os.unlink(file)
        assert snapshot.restore(saving.manifest(), here.blobs, no_services) == []
        assert Path(file).read_text() == "2a"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.parametrize("root", ["the folder", "the file"])
def test_what_is_mounted_from_elsewhere_is_looked_at(tmp_path: Path, root: str) -> None:
    """A file of a tmpfs, mounted over one on the disk: the folder around it says nothing of it."""
    with mounted(tmp_path, "tmpfs") as elsewhere, resting_place() as here:
        saving = laid_out(here)
        (elsewhere / "other").write_text("oo")
        file = f"{os.fsdecode(here.root)}/a"
        if root == "the file":
            saving.touches = Touches(files=(file,))
        subprocess.run(["mount", "--bind", elsewhere / "other", file], check=True)
        try:
            with mapped(file) as bytes_of_it:
                assert [saving.save(), saving.save()] == [False, False]
                bytes_of_it[0:1] = b"2"
                saving.save()
            assert said(saving.manifest()) == said(saving.fresh())
        finally:
            subprocess.run(["umount", file], check=True)
