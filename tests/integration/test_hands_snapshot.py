"""What an act touched is put back as it was, whatever happened to it, wherever restoring is killed, and never elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.errors import Permanent, Temporary
from aios.events.calls import Touches
from aios.events.codec import decode_json, encode_json
from aios.hands import snapshot, tree
from aios.hands.safe_files import SafeFolder
from aios.hands.scan import Bounds, Hasher, Scan
from aios.ports import Limits, ServiceActs, UnitState
from tests.integration.hands_kit import taken

NAMES = st.sampled_from(["a", "b", "ü", "with space", "-dash", b"\xff\xfe".decode("utf-8", "surrogateescape")])
DATA = st.binary(max_size=40)
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o4755, 0o400])
LEAF = st.one_of(
    st.tuples(st.just("file"), DATA, MODES),
    st.tuples(st.just("link"), st.sampled_from(["a", "/nowhere", "../b", "/etc/hostname"])),
)
TREE = st.recursive(
    LEAF, lambda below: st.tuples(st.just("folder"), st.dictionaries(NAMES, below, max_size=4), MODES), max_leaves=8
)
ROOT = st.one_of(st.just(("absent",)), TREE)
QUICK = settings(max_examples=60)


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


def build(path: str, what: Any) -> None:
    if what[0] == "file":
        with open(path, "wb") as file:
            file.write(what[1])
        os.chmod(path, what[2])
    elif what[0] == "link":
        os.symlink(what[1], path)
    elif what[0] == "folder":
        os.mkdir(path)
        for name, below in what[1].items():
            build(f"{path}/{name}", below)
        os.chmod(path, what[2] | 0o700)


def remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


@contextmanager
def place() -> Iterator[tuple[str, BlobFolder]]:
    folder = os.path.realpath(tempfile.mkdtemp(prefix="aios-snapshot-"))
    try:
        yield f"{folder}/it", BlobFolder(OsFiles(), f"{folder}/blobs", pack=False)
    finally:
        shutil.rmtree(folder)


def seen(path: str) -> list[tuple[str, str, int]]:
    """All that a restore brings back, and the times of files."""
    entries = Scan(Hasher(), Bounds()).run(path)
    return [(entry.path, entry.label(), entry.mtime_ns if entry.kind == "file" else 0) for entry in entries]


def saved(path: str, blobs: BlobFolder) -> dict[str, Any]:
    """A manifest as it comes back from the disk."""
    manifest = taken(Touches(files=(path,)), blobs, no_services)
    return decode_json(encode_json(manifest))  # type: ignore[no-any-return]


@QUICK
@given(before=ROOT, after=ROOT)
def test_whatever_became_of_it_it_is_put_back(before: Any, after: Any) -> None:
    """Content, mode, owner, links, absence, folders and times of files; and doing it twice changes nothing."""
    with place() as (path, blobs):
        build(path, before)
        was = seen(path)
        manifest = saved(path, blobs)
        remove(path)
        build(path, after)
        assert snapshot.restore(manifest, blobs, no_services) == []
        assert seen(path) == was
        assert snapshot.labels_now(manifest) == snapshot.labels(manifest)
        assert snapshot.restore(manifest, blobs, no_services) == []
        assert seen(path) == was
        assert set(os.listdir(os.path.dirname(path))) <= {"it", "blobs"}


def restore_killed_at(n: int, manifest: dict[str, Any], blobs: BlobFolder) -> bool:
    """In a child that is killed at its n-th change of the disk; True when it came to its end before."""
    pid = os.fork()
    if pid == 0:
        left = [n]

        def hook(event: str, _args: object) -> None:
            if event in (
                "os.rename",
                "os.remove",
                "os.mkdir",
                "os.rmdir",
                "os.symlink",
                "os.chmod",
                "os.chown",
                "os.utime",
                "open",
            ):
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        problems = snapshot.restore(manifest, blobs, no_services)
        os._exit(1 if problems else 0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def test_a_restore_that_is_killed_anywhere_is_done_by_the_next() -> None:
    """Killed at every change it makes, then run again: everything is as it was, and nothing of ours is left."""
    before = (
        "folder",
        {"a": ("file", b"one", 0o644), "b": ("folder", {"c": ("link", "x"), "d": ("file", b"", 0o600)}, 0o700)},
        0o755,
    )
    after = (
        "folder",
        {"a": ("folder", {"n": ("file", b"new", 0o644)}, 0o755), "b": ("file", b"spoiled", 0o644), "e": ("link", "/")},
        0o700,
    )
    for n in range(1, 500):
        with place() as (path, blobs):
            build(path, before)
            was = seen(path)
            manifest = saved(path, blobs)
            remove(path)
            build(path, after)
            ended = restore_killed_at(n, manifest, blobs)
            assert snapshot.restore(manifest, blobs, no_services) == []
            assert seen(path) == was
            assert set(os.listdir(os.path.dirname(path))) <= {"it", "blobs"}
            assert not [name for _, _, names in os.walk(path) for name in names if tree.is_ours(name)]
            if ended:
                assert n > 10
                return
    raise AssertionError("the restore never came to its end")


def test_folders_that_an_act_had_to_make_are_gone_after_a_rollback_and_others_stay() -> None:
    with place() as (path, blobs):
        inside = f"{path}/deep/er/file"
        manifest = saved(inside, blobs)
        os.makedirs(os.path.dirname(inside))
        Path(inside).write_text("x")
        Path(f"{path}/somebody-elses").write_text("y")
        assert snapshot.restore(manifest, blobs, no_services) == []
        assert not os.path.exists(f"{path}/deep")
        assert os.path.exists(f"{path}/somebody-elses")


def test_extended_attributes_come_back() -> None:
    with place() as (path, blobs):
        Path(path).write_text("x")
        try:
            os.setxattr(path, "user.aios", b"\x00kept")
        except OSError as error:
            pytest.skip(f"this file system has no extended attributes: {error}")
        manifest = saved(path, blobs)
        os.unlink(path)
        Path(path).write_text("y")
        os.setxattr(path, "user.other", b"gone")
        assert snapshot.restore(manifest, blobs, no_services) == []
        assert os.listxattr(path) == ["user.aios"]
        assert os.getxattr(path, "user.aios") == b"\x00kept"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_owner_and_set_user_id_come_back() -> None:
    with place() as (path, blobs):
        Path(path).write_text("x")
        os.chown(path, 12345, 54321)
        os.chmod(path, 0o4750)
        manifest = saved(path, blobs)
        Path(path).write_text("y")
        os.chown(path, 0, 0)
        assert snapshot.restore(manifest, blobs, no_services) == []
        now = os.stat(path)
        assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (12345, 54321, 0o4750)


# --- attacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must never change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("precious")
    return folder


@pytest.mark.parametrize("way", ["openat2", "walk"])
def test_a_link_swapped_in_for_a_folder_leads_nowhere(
    tmp_path: Path, outside: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both with the kernel's own check and with the step by step one for kernels that lack it."""
    if way == "walk":

        def unknown(_folder: int, path: str) -> int:
            raise OSError(38, "Function not implemented", path)

        monkeypatch.setattr(tree, "_openat2", unknown)
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "file").write_text("mine")
    manifest = saved(str(inside / "deep" / "file"), blobs)
    safe = SafeFolder(manifest, "", OsFiles(), blobs)
    shutil.rmtree(inside)
    inside.mkdir()
    (inside / "deep").symlink_to(outside)
    (problem,) = snapshot.restore(manifest, blobs, no_services)
    assert str(inside) in problem
    for attack in (lambda path: safe.replace(path, b"x"), safe.unlink, safe.digest):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
            attack(str(inside / "deep" / "file"))
    assert (outside / "file").read_text() == "precious"


def test_a_link_swapped_in_for_the_file_is_replaced_and_not_followed(tmp_path: Path, outside: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    mine = tmp_path / "mine"
    mine.write_text("mine")
    manifest = saved(str(mine), blobs)
    mine.unlink()
    mine.symlink_to(outside / "file")
    with pytest.raises(OSError, match="Too many levels"):
        SafeFolder(manifest, "", OsFiles(), blobs).replace(str(mine), b"x")
    assert snapshot.restore(manifest, blobs, no_services) == []
    assert mine.read_text() == "mine"
    assert not mine.is_symlink()
    assert (outside / "file").read_text() == "precious"


def test_links_inside_a_folder_are_never_followed(tmp_path: Path, outside: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    mine = tmp_path / "mine"
    mine.mkdir()
    manifest = saved(str(mine), blobs)
    (mine / "out").symlink_to(outside)
    (mine / "real").mkdir()
    assert snapshot.restore(manifest, blobs, no_services) == []
    assert os.listdir(mine) == []
    assert (outside / "file").read_text() == "precious"


def test_an_act_changes_nothing_but_what_was_saved(tmp_path: Path, outside: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    safe = SafeFolder(saved(str(tmp_path / "mine"), blobs), "", OsFiles(), blobs)
    for path in (str(outside / "file"), str(tmp_path / "mine-not"), str(tmp_path)):
        with pytest.raises(Permanent, match="not among what this act touches"):
            safe.replace(path, b"x")


def test_a_link_that_was_there_before_is_followed_once(tmp_path: Path) -> None:
    """/var/run and its like: the folder's links count as they lay when the snapshot was taken."""
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = str(tmp_path / "link" / "file")
    manifest = saved(path, blobs)
    SafeFolder(manifest, "", OsFiles(), blobs).replace(path, b"new", mode=0o600)
    assert (tmp_path / "real" / "file").read_bytes() == b"new"
    assert snapshot.restore(manifest, blobs, no_services) == []
    assert os.listdir(tmp_path / "real") == []


def test_a_fifo_does_not_hold_a_snapshot_and_is_left_alone(tmp_path: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    mine = tmp_path / "mine"
    mine.mkdir()
    os.mkfifo(mine / "pipe")
    manifest = saved(str(mine), blobs)
    assert snapshot.restore(manifest, blobs, no_services) == []
    assert stat.S_ISFIFO(os.stat(mine / "pipe").st_mode)


def test_a_blob_that_is_gone_is_told_and_the_rest_is_put_back(tmp_path: Path) -> None:
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("one")
    two.write_text("two")
    manifest = taken(Touches(files=(str(one), str(two))), blobs, no_services)
    (name,) = snapshot.bulks_of(manifest)
    pack = tmp_path / "blobs" / name[:2] / f"{name}.bulk"
    pack.write_bytes(b"ONE" + pack.read_bytes()[3:])
    one.write_text("spoiled")
    two.write_text("spoiled")
    (problem,) = snapshot.restore(manifest, blobs, no_services)
    assert str(one) in problem
    assert two.read_text() == "two"


@pytest.mark.parametrize(
    ("bounds", "setting"), [(Bounds(files=3), "snapshots.files_max"), (Bounds(bytes=30), "snapshots.one_max_mb")]
)
def test_what_is_too_much_to_save_is_refused_with_a_cure(tmp_path: Path, bounds: Bounds, setting: str) -> None:
    """Which bound it is, the setting that holds it, and where it was reached, from the root of the machine."""
    mine = tmp_path / "mine"
    (mine / "a" / "b" / "c").mkdir(parents=True)
    for n in range(5):
        (mine / f"f{n}").write_text("0123456789x")
    with pytest.raises(OSError, match=rf"\(setting {setting}\); name fewer or smaller files \(at {mine}/"):
        taken(Touches(files=(str(mine),)), BlobFolder(OsFiles(), str(tmp_path / "blobs")), no_services, bounds=bounds)
    assert not list((tmp_path / "blobs").glob("*/*")), "nothing is left of it"


# --- services -------------------------------------------------------------------------------------------------------


class Units:
    """One service, acted upon in memory."""

    def __init__(self, state: str = "up", enabled: bool | None = True, masked: bool = False) -> None:
        self.now = UnitState("web.service", state, "systemd", enabled=enabled, masked=masked)  # type: ignore[arg-type]
        self.acts: list[str] = []

    def state(self, subject: str) -> UnitState:
        return self.now

    def start(self, subject: str, timeout_s: float) -> UnitState:
        self.acts.append("start")
        return self.now

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        self.acts.append("stop")
        return self.now

    restart = stop

    def reload(self, subject: str) -> None:
        self.acts.append("reload")

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self.acts.append(f"enabled={enabled} masked={masked}")

    def limits(self, subject: str) -> Limits:
        return {}

    def set_limits(self, subject: str, limits: Limits) -> None:
        self.acts.append(f"limits {limits}")


@pytest.mark.parametrize(
    ("before", "after", "acts"),
    [
        (Units("up"), Units("down"), ["start"]),
        (Units("up"), Units("up"), []),
        (Units("down"), Units("up"), []),
        (Units("down"), Units("down"), []),
        (Units("up"), Units("stopped", enabled=False), ["enabled=True masked=False", "start"]),
        (Units("stopped", enabled=False), Units("up", enabled=True), ["enabled=False masked=False"]),
        (Units("up", enabled=None), Units("up", enabled=None), []),
    ],
)
def test_a_rollback_undoes_and_never_heals(tmp_path: Path, before: Units, after: Units, acts: list[str]) -> None:
    """Enablement and masks come back; a service is started only if it ran before, and never stopped."""
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    manifest = taken(Touches(units=("web.service",)), blobs, lambda: before)
    assert snapshot.restore(manifest, blobs, lambda: after) == []
    assert after.acts == acts


def test_a_service_of_which_nobody_can_say_how_it_stands_is_not_acted_upon(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match=r"web\.service"):
        taken(Touches(units=("web.service",)), BlobFolder(OsFiles(), str(tmp_path)), lambda: Units("unknown"))


class SystemdUnits(Units):
    """The same, behind systemd: its drop-ins lie in folders."""

    def state(self, subject: str) -> UnitState:
        return replace(super().state(subject), backend="systemd")


def test_drop_ins_of_a_unit_are_put_back_and_systemd_reads_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is restarted with another limit in its drop-in is not as it was before."""
    etc, run = tmp_path / "etc", tmp_path / "run"
    monkeypatch.setattr(snapshot, "UNIT_FOLDERS", (str(etc), str(run)))
    (etc / "web.service.d").mkdir(parents=True)
    run.mkdir()
    (etc / "web.service.d" / "limit.conf").write_text("[Service]\nMemoryMax=1G\n")
    blobs = BlobFolder(OsFiles(), str(tmp_path / "blobs"))
    units = SystemdUnits()
    manifest = taken(Touches(units=("web.service",)), blobs, lambda: units)
    assert snapshot.restore(manifest, blobs, lambda: units) == []
    assert units.acts == [], "nothing has changed"
    (etc / "web.service.d" / "limit.conf").write_text("[Service]\nMemoryMax=1M\n")
    (run / "web.service.d").mkdir()
    (run / "web.service.d" / "new.conf").write_text("[Service]\n")
    assert snapshot.restore(manifest, blobs, lambda: units) == []
    assert (etc / "web.service.d" / "limit.conf").read_text() == "[Service]\nMemoryMax=1G\n"
    assert not (run / "web.service.d").exists()
    assert units.acts == ["reload"]
