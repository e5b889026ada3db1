"""How bytes are saved: what rested is not read again, what may have changed is; large and sparse files in constant memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.blobs.copying import copied
from aios.blobs.store import BlobFolder
from aios.digest import Digest
from aios.disk import OsFiles, make_dirs, temporary_beside
from aios.events.calls import Touches
from aios.hands import keep, latest, saver, scan, snapshot
from aios.hands.attempt import MANIFEST
from aios.hands.entry import entries_of
from aios.ports import ServiceActs
from tests.integration.hands_kit import needs_times_that_tell

Happenings = list[Callable[[], object]]
MINUTES_LATER = 10**18 * 4
"""Wall time, far enough after the files of a test were changed."""


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


class Place:
    """Some files, and a state folder that remembers the latest snapshot of them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.state = str(folder / "state")
        self.blobs = BlobFolder(OsFiles(), f"{self.state}/blobs", pack=False)
        self.count = 0

    def save(self, now_ns: int = MINUTES_LATER) -> dict[str, Any]:
        self.count += 1
        folder = f"{self.state}/runs/r{self.count}/a.1"
        make_dirs(OsFiles(), folder)
        self.path = f"{folder}/{MANIFEST}"
        outline = snapshot.outline(Touches(files=(str(self.root),)), no_services)
        latest.save(OsFiles(), self.state, self.blobs, outline, path=self.path, now_ns=now_ns)
        return snapshot.read(OsFiles(), self.path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of files whose bytes were read."""
    needs_times_that_tell(str(tmp_path))
    sizes: list[int] = []
    real = saver.Saver.content

    def content(self: saver.Saver, fd: int, seen: os.stat_result) -> scan.Content:
        sizes.append(seen.st_size)
        return real(self, fd, seen)

    monkeypatch.setattr(saver.Saver, "content", content)
    return sizes


def test_what_rested_since_the_latest_snapshot_is_not_read_again(place: Place, read: list[int]) -> None:
    """And the new manifest is whole: it brings everything back by itself."""
    (place.root / "a").write_text("aa")
    (place.root / "b").write_text("bbb")
    place.save()
    assert sorted(read) == [2, 3]
    read.clear()
    (place.root / "b").write_text("BBBB")
    second = place.save()
    assert read == [4]
    (place.root / "a").unlink()
    (place.root / "b").unlink()
    assert snapshot.restore(second, place.blobs, no_services) == []
    assert ((place.root / "a").read_text(), (place.root / "b").read_text()) == ("aa", "BBBB")


def test_what_had_not_rested_when_it_was_saved_is_read_again(place: Place, read: list[int]) -> None:
    """A change in the same tick of the file system's clock, or through a mapping, leaves the same times behind."""
    (place.root / "a").write_text("aa")
    place.save(now_ns=(place.root / "a").stat().st_ctime_ns + 60 * 10**9 - 1)
    read.clear()
    place.save()
    assert read == [2]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Happenings:
    """What somebody else does while the next file is saved, after its bytes were read."""
    todo: Happenings = []
    real = saver.Saver.content

    def content(self: saver.Saver, fd: int, seen: os.stat_result) -> scan.Content:
        found = real(self, fd, seen)
        if todo:
            todo.pop()()
        return found

    monkeypatch.setattr(saver.Saver, "content", content)
    return todo


def test_what_changed_while_it_was_saved_is_read_again(place: Place, meanwhile: Happenings) -> None:
    """However long it rests after that: its time of change is that of before."""
    file = place.root / "a"
    file.write_text("aa")
    scan_begins = file.stat().st_ctime_ns

    def changed() -> None:
        while file.stat().st_ctime_ns == scan_begins:
            file.write_text("bb")

    meanwhile.append(changed)
    place.save()
    second = place.save()
    file.unlink()
    assert snapshot.restore(second, place.blobs, no_services) == []
    assert file.read_text() == "bb"


def test_a_file_that_changed_while_it_was_copied_is_no_last_good_copy(place: Place, meanwhile: Happenings) -> None:
    """Half of what was and half of what comes is a configuration that nobody has ever proven."""
    file = place.root / "a"
    file.write_text("aa")
    params = {"playbook": "p", "subject": "s", "files": [str(file)]}
    meanwhile.append(lambda: file.write_text("bb"))
    refused = keep.keep_copy(params, place.state, OsFiles(), place.blobs)
    assert "changed while it was copied" in refused.error
    assert refused.result["kept"] is False
    assert not Path(keep.folder_of(place.state, "p", "s")).exists()
    assert keep.keep_copy(params, place.state, OsFiles(), place.blobs).ok


@pytest.mark.parametrize("became", ["a link", "a socket", "gone", "a folder"])
def test_what_the_folder_called_a_file_may_be_something_else_when_it_is_opened(
    place: Place, meanwhile: Happenings, became: str
) -> None:
    """It is saved as what it is by then: a machine that lives is no reason not to act. The folder stays there whatever goes
    away in it, else a rollback would remove all of it."""
    (place.root / "a").write_text("first")
    second = place.root / "b"
    second.write_text("second")

    def replaced() -> None:
        second.unlink()
        if became == "a link":
            second.symlink_to("a")
        elif became == "a folder":
            second.mkdir()
        elif became == "a socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(second))

    meanwhile.append(replaced)
    [root] = place.save()["roots"]
    kinds = {entry.path: entry.kind for entry in entries_of(root)}
    assert kinds.pop("") == "folder"
    wanted = {"a link": "link", "a socket": "socket", "a folder": "folder"}
    assert kinds == {"a": "file", **({"b": wanted[became]} if became in wanted else {})}


def test_many_small_files_go_to_the_disk_in_few_writes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each comes back as it was, wherever the writes were cut."""
    contents = {f"{n}": os.urandom(n * 7 % 3000) for n in range(400)}
    for name, data in contents.items():
        (place.root / name).write_bytes(data)
    writes: list[int] = []
    real = OsFiles.write

    def write(self: OsFiles, fd: int, data: bytes) -> int:
        writes.append(len(data))
        return real(self, fd, data)

    monkeypatch.setattr(OsFiles, "write", write)
    manifest = place.save()
    assert len(writes) < 20
    for name in contents:
        (place.root / name).unlink()
    assert snapshot.restore(manifest, place.blobs, no_services) == []
    assert {path.name: path.read_bytes() for path in place.root.iterdir()} == contents


@pytest.mark.parametrize("change", ["another inode", "a new name for it", "an older time"])
def test_what_only_looks_unchanged_is_read_again(place: Place, read: list[int], change: str) -> None:
    file = place.root / "a"
    file.write_text("aa")
    was = file.stat()
    place.save()
    read.clear()
    if change == "another inode":
        (place.root / "new").write_text("AA")
        (place.root / "new").rename(file)
    elif change == "a new name for it":
        file.write_text("AA")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    place.save()
    assert read == [2]


def test_what_was_seen_before_counts_only_while_its_bytes_are_there(place: Place, read: list[int]) -> None:
    (place.root / "a").write_text("aa")
    first = place.save()
    read.clear()
    (bulk,) = snapshot.bulks_of(first)
    os.unlink(f"{place.state}/blobs/{bulk[:2]}/{bulk}.bulk")
    second = place.save()
    assert read == [2]
    (place.root / "a").write_text("spoiled")
    assert snapshot.restore(second, place.blobs, no_services) == []
    assert (place.root / "a").read_text() == "aa"


def test_a_damaged_memory_of_the_latest_snapshot_costs_time_and_nothing_else(place: Place, read: list[int]) -> None:
    (place.root / "a").write_text("aa")
    place.save()
    for name in os.listdir(f"{place.state}/latest"):
        path = Path(f"{place.state}/latest/{name}")
        path.unlink()
        path.write_bytes(b'{"roots": [7]}')
    read.clear()
    place.save()
    assert read == [2]


@pytest.mark.parametrize("compressible", [True, False])
def test_a_large_file_is_saved_and_put_back_in_constant_memory(place: Place, compressible: bool) -> None:
    file = place.root / "large"
    piece = b"a line of a log\n" * 65_536 if compressible else os.urandom(1 << 20)
    with open(file, "wb") as out:
        for _ in range(64):
            out.write(piece)
    tracemalloc.start()
    try:
        manifest = place.save()
        file.write_text("spoiled")
        assert snapshot.restore(manifest, place.blobs, no_services) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    assert file.stat().st_size == 64 << 20
    with open(file, "rb") as back:
        assert all(back.read(1 << 20) == piece for _ in range(64))
    (bulk,) = snapshot.bulks_of(manifest)
    stored = place.root.parent.glob(f"state/blobs/*/{bulk}.bulk*")
    assert (sum(path.stat().st_size for path in stored) < 8 << 20) == compressible


def test_a_large_sparse_file_keeps_its_holes_in_the_store_and_when_put_back(place: Place) -> None:
    file = place.root / "sparse"
    with open(file, "wb") as out:
        out.seek(200 << 20)
        out.write(os.urandom(1000))
        out.truncate(300 << 20)
    if file.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system keeps no holes")
    manifest = place.save()
    before = file.stat()
    data = file.read_bytes()[200 << 20 :]
    file.write_text("spoiled")
    assert snapshot.restore(manifest, place.blobs, no_services) == []
    after = file.stat()
    assert after.st_size == before.st_size
    assert after.st_blocks * 512 < 1 << 20
    assert file.read_bytes()[200 << 20 :] == data
    stored = sum(path.stat().st_blocks * 512 for path in Path(place.state).glob("blobs/*/*.bulk*"))
    assert stored < 1 << 20


def test_a_sparse_file_that_grows_while_it_is_read_is_saved_as_it_was_read(place: Place) -> None:
    file = place.root / "log"
    with open(file, "wb") as out:
        out.write(b"x" * 100)
        out.truncate(100_000)
    fd = os.open(file, os.O_RDONLY)
    try:
        seen = os.fstat(fd)
        with open(file, "ab") as out:
            out.write(b"more")
        keep = saver.Saver(place.blobs)
        content = keep.content(fd, seen)
        keep.finish()
    finally:
        os.close(fd)
    assert (content.size, content.data) == (100_004, None)


def test_more_holes_than_can_be_hashed_in_time_are_refused_before_they_are(place: Place) -> None:
    with open(place.root / "lastlog", "wb") as out:
        out.truncate(1 << 40)
    with pytest.raises(OSError, match="of holes in sparse files"):
        place.save()


def test_the_time_at_which_all_times_began_is_put_back(place: Place) -> None:
    """Reproducible builds give it to their files."""
    file = place.root / "a"
    file.write_text("aa")
    os.utime(file, ns=(0, 0))
    manifest = place.save()
    file.write_text("spoiled")
    assert snapshot.restore(manifest, place.blobs, no_services) == []
    assert file.stat().st_mtime_ns == 0


def test_what_cannot_be_put_back_keeps_nothing_else_from_it(place: Place) -> None:
    """Two files' bytes are damaged, one in each folder; all others are as before, and no temporary is left."""
    names = [f"{folder}/{n}" for folder in ("one", "two") for n in range(6)]
    for name in names:
        (place.root / name).parent.mkdir(exist_ok=True)
        (place.root / name).write_text(f"bytes of {name}")
    manifest = place.save()
    (bulk,) = snapshot.bulks_of(manifest)
    path = Path(f"{place.state}/blobs/{bulk[:2]}/{bulk}.bulk")
    path.write_bytes(path.read_bytes().replace(b"one/3", b"one/X").replace(b"two/1", b"two/X"))
    for name in names:
        (place.root / name).write_text("spoiled")
    (problem,) = snapshot.restore(manifest, place.blobs, no_services)
    assert "one/3" in problem
    assert "two/1" in problem
    spoiled = [name for name in names if (place.root / name).read_text() == "spoiled"]
    assert spoiled == ["one/3", "two/1"]
    assert sorted(os.listdir(place.root / "one")) == [str(n) for n in range(6)]


def test_a_file_that_a_killed_launcher_left_is_in_nobodys_way(place: Place) -> None:
    """Pids come again, in a container at each start."""
    (place.root / "a").write_text("aa")
    (Path(place.state) / "blobs").mkdir(parents=True)
    number = int(temporary_beside("/x/y").split(".")[-2])
    for n in range(number, number + 20):
        (Path(place.state) / "blobs" / f".bulk.{os.getpid()}.{n}.tmp").write_text("left")
    place.save()


def test_a_file_that_an_act_tied_to_another_of_the_same_bytes_is_one_of_its_own_again(place: Place) -> None:
    one, two = place.root / "one", place.root / "two"
    one.write_text("same")
    two.write_text("same")
    os.utime(two, ns=(5, 5))
    manifest = place.save()
    two.unlink()
    os.link(one, two)
    assert snapshot.restore(manifest, place.blobs, no_services) == []
    assert one.stat().st_ino != two.stat().st_ino
    assert (one.stat().st_nlink, two.stat().st_mtime_ns) == (1, 5)
    assert snapshot.labels_now(manifest) == snapshot.labels(manifest)


def test_a_hash_beside_the_work_is_the_hash() -> None:
    """Small pieces where they stand, large ones in a thread; dropped or ended, no thread is left."""

    parts = [b"x" * 10, b"y" * (1 << 20), b"z" * 100, b"w" * (3 << 20)]
    digest = Digest()
    for part in parts:
        digest.update(part)
    assert digest.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()
    dropped = Digest()
    dropped.update(parts[1])
    dropped.drop()
    assert not [thread for thread in threading.enumerate() if thread.name == "digest"]


@pytest.fixture
def reflinks(tmp_path: Path) -> Iterator[Path]:
    """A file system that shares bytes, in a file of its own."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(256 << 20)
    made = subprocess.run(["mkfs.btrfs", "-q", str(image)], capture_output=True, check=False)
    mounted = made.returncode == 0 and subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False)
    if not mounted or mounted.returncode != 0:
        pytest.skip("no btrfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.btrfs"), reason="needs root and mkfs.btrfs")
def test_where_the_file_system_can_a_large_file_is_saved_without_a_copy_of_its_bytes(reflinks: Path) -> None:
    place = Place(reflinks)
    file = place.root / "large"
    data = os.urandom(24 << 20)
    file.write_bytes(data)
    os.sync()
    before = os.statvfs(reflinks)
    manifest = place.save()
    os.sync()
    assert (before.f_bfree - os.statvfs(reflinks).f_bfree) * before.f_bsize < 12 << 20
    file.write_bytes(b"spoiled")
    assert snapshot.restore(manifest, place.blobs, no_services) == []
    assert file.read_bytes() == data


class OneWay(OsFiles):
    """A disk whose kernel shares nothing, and copies only a part, or not at all."""

    def __init__(self, answers: list[int | None]) -> None:
        self.answers = answers

    def clone(self, source: int, target: int) -> bool:
        return False

    def copy(self, source: int, target: int, offset: int, length: int) -> int | None:
        answer = self.answers.pop(0) if self.answers else length
        return None if answer is None else super().copy(source, target, offset, min(answer, length))


def _copied(files: OsFiles, source: Path, target: Path, limit: int) -> tuple[str, int] | None:
    with open(source, "rb") as read, open(target, "w+b") as written:
        return copied(files, read.fileno(), written.fileno(), limit, holes=False)


def test_what_the_kernel_copies_is_the_file_and_its_hash_whatever_a_call_takes(tmp_path: Path) -> None:
    """Short copies go on; up to the limit and no further, also where the file has less."""
    source, target = tmp_path / "source", tmp_path / "target"
    data = os.urandom(20 << 20) + b"the end"
    source.write_bytes(data)
    for limit in (len(data), 9_000_001, 1 << 40):
        wanted = data[:limit]
        assert _copied(OneWay([1, 70_000, 5 << 20]), source, target, limit) == (hashlib.sha256(wanted).hexdigest(), len(wanted))
        assert target.read_bytes() == wanted
    assert not [thread for thread in threading.enumerate() if thread.name == "digest"]


def test_a_kernel_that_cannot_copy_has_written_nothing_and_one_that_stops_half_way_is_an_error(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(3 << 20))
    assert _copied(OneWay([None]), source, target, 1 << 40) is None
    assert target.stat().st_size == 0
    with pytest.raises(OSError, match="a part"):
        _copied(OneWay([1 << 20, None]), source, target, 1 << 40)
    assert not [thread for thread in threading.enumerate() if thread.name == "digest"]


def test_the_hash_is_of_what_was_saved_though_the_file_changes_while_it_is_copied(place: Place) -> None:
    """Every name of a bulk is true, or a restore would call it damaged: it is read back from our copy, never from the file."""
    file = place.root / "large"
    file.write_bytes(bytes(24 << 20))

    class Spoiling(OneWay):
        def copy(self, source: int, target: int, offset: int, length: int) -> int | None:
            done = super().copy(source, target, offset, length)
            with open(file, "r+b") as spoiled:
                spoiled.seek(offset)
                spoiled.write(b"spoiled")
            return done

    blobs = BlobFolder(Spoiling([]), f"{place.state}/blobs", pack=False)
    sink = blobs.sink()
    with open(file, "rb") as source:
        assert sink.take(source.fileno(), 24 << 20, holes=False)
    assert sink.commit() == hashlib.sha256(bytes(24 << 20)).hexdigest()


def test_from_one_file_system_to_another_the_kernel_copies_too(tmp_path: Path) -> None:
    """And no byte that was there before the place is lost."""
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK) or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    source = tmp_path / "source"
    data = os.urandom(9 << 20)
    source.write_bytes(data)
    with tempfile.TemporaryFile(dir=shared_memory) as target, open(source, "rb") as read:
        found = copied(OsFiles(), read.fileno(), target.fileno(), 1 << 40, holes=False)
        assert found == (hashlib.sha256(data).hexdigest(), len(data))
        target.seek(0)
        assert target.read() == data


@pytest.mark.parametrize("kernel", [True, False])
def test_a_damaged_bulk_is_never_put_back(place: Place, kernel: bool) -> None:
    """Neither where the kernel copies it nor where we do; what stands stays."""
    file = place.root / "large"
    file.write_bytes(os.urandom(5 << 20))
    manifest = place.save()
    [bulk] = (path for path in Path(place.state).glob("blobs/*/*.bulk") if path.stat().st_size == 5 << 20)
    with open(bulk, "r+b") as rotten:
        rotten.seek(4 << 20)
        rotten.write(b"rot")
    file.write_bytes(b"spoiled")
    blobs = place.blobs if kernel else BlobFolder(OneWay([None] * 9), f"{place.state}/blobs", pack=False)
    assert "damaged" in "".join(snapshot.restore(manifest, blobs, no_services))
    assert file.read_bytes() == b"spoiled"


def test_a_head_that_packs_well_does_not_have_what_follows_it_packed(place: Place) -> None:
    (place.root / "image").write_bytes(bytes(1 << 20) + os.urandom(4 << 20))
    (place.root / "log").write_bytes(b"one line like another\n" * (1 << 17))
    place.save()
    suffixes = {path.stat().st_size > 4 << 20: path.suffix for path in Path(place.state).glob("blobs/*/*.bulk*")}
    assert suffixes == {True: ".bulk", False: ".zst"}
