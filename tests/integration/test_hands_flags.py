"""Immutable and append-only files (chattr +i, +a): saved, left alone by acts, taken off and set again by a rollback, or told."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.errors import Permanent
from aios.events.calls import SkillCall, Touches
from aios.hands import keep, snapshot
from aios.hands.entry import Entry, entries_of, rows_of
from tests.integration.hands_kit import Rig, call, play
from tests.integration.test_hands_rollback import rollback, writing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a file immutable")

IMAGES = {"ext4": ("mkfs.ext4", "16M", ["-q", "-F"]), "xfs": ("mkfs.xfs", "320M", ["-q", "-f"])}


def flags(path: Path) -> str:
    """What lsattr shows, asked of the kernel by ourselves."""
    fd = os.open(path, os.O_RDONLY)
    try:
        found = struct.unpack("i", fcntl.ioctl(fd, 0x80086601, b"\0" * 4))[0]
    finally:
        os.close(fd)
    return "".join(letter for letter, bit in {"i": 0x10, "a": 0x20, "d": 0x40, "A": 0x80}.items() if found & bit)


def chattr(how: str, path: Path) -> None:
    subprocess.run(["chattr", how, str(path)], check=True, capture_output=True)


def skip_without_flags(folder: Path) -> None:
    if subprocess.run(["chattr", "+d", str(folder)], capture_output=True).returncode:
        pytest.skip("the file system of temporary files has no flags")
    chattr("-d", folder)  # what is made in it would have it, too


@pytest.fixture(params=["here", *IMAGES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder whose file system has flags: the one tests run on, and small ones of other kinds."""
    folder = tmp_path / "place"
    folder.mkdir()
    if request.param == "here":
        skip_without_flags(folder)
        try:
            yield folder
        finally:
            subprocess.run(["chattr", "-R", "-ia", str(folder)], capture_output=True)
        return
    make, size, options = IMAGES[request.param]
    image = tmp_path / "image"
    if shutil.which(make) is None:
        pytest.skip(f"{make} is not installed")
    subprocess.run(["truncate", "-s", size, str(image)], check=True)
    subprocess.run([make, *options, str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no image can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """The file system that tests run on, if it has flags."""
    folder = tmp_path / "here"
    folder.mkdir()
    skip_without_flags(folder)
    try:
        yield folder
    finally:
        subprocess.run(["chattr", "-R", "-ia", str(folder)], capture_output=True)


def program(run: str, code: str, touched: Path) -> SkillCall:
    it = call(run, "run_job", {"argv": [sys.executable, "-S", "-c", f"import subprocess\n{code}"], "files": [str(touched)]})
    return replace(it, touches=Touches(files=(str(touched),)))


def test_what_was_locked_is_put_back_and_locked_again(place: Path, tmp_path: Path) -> None:
    """A program takes the lock off, changes, removes and adds; the rollback undoes all of it, and its proof names the flags."""
    conf, log, folder = place / "conf", place / "log", place / "locked"
    folder.mkdir()
    inner = folder / "inner"
    for path in (conf, log, inner):
        path.write_text("good\n")
    for how, path in (("+i", conf), ("+ad", log), ("+A", inner), ("+i", folder)):
        chattr(how, path)
    code = (
        f"subprocess.run(['chattr', '-R', '-ia', {str(place)!r}], check=True)\n"
        f"open({str(conf)!r}, 'w').write('bad'); open({str(log)!r}, 'w').write('bad')\n"
        f"open({str(folder / 'new')!r}, 'w').write('bad')\n"
        f"subprocess.run(['chattr', '+i', {str(folder / 'new')!r}, {str(conf)!r}], check=True)"
    )

    async def story(rig: Rig) -> None:
        it = program("r", code, place)
        result = await rig.act(it)
        assert result.ok, result.error
        assert (conf.read_text(), flags(conf), flags(folder)) == ("bad", "i", "")
        back = await rig.act(rollback("r", it))
        assert back.ok, back.error
        proof = {line["path"]: line for line in back.result["proof"]}
        assert "flags:i" in proof[str(conf)]["restored"]
        assert proof[str(folder / "new")]["restored"] == "absent"

    play(tmp_path / "state", story)
    assert [path.read_text() for path in (conf, log, inner)] == ["good\n"] * 3
    assert sorted(flags(log)) == ["a", "d"]
    assert [flags(path) for path in (conf, inner, folder)] == ["i", "A", "i"]
    for path in (conf, log, folder):
        chattr("-ia", path)


def test_an_act_leaves_what_somebody_locked_and_names_the_lock(here: Path, tmp_path: Path) -> None:
    """A lock is a wish. Of the file itself, and of its folder."""
    conf = here / "conf"
    conf.write_text("good")

    async def story(rig: Rig) -> None:
        chattr("+i", conf)
        refused = await rig.act(writing("r", conf, "other"))
        assert not refused.ok
        assert "it is immutable (chattr +i), and an act leaves it so" in refused.error
        assert os.listdir(here) == ["conf"], "nothing of ours is left there"
        chattr("-i", conf)
        chattr("+a", here)
        refused = await rig.act(writing("q", conf, "other"))
        assert not refused.ok
        assert "its folder is append-only (chattr +a), and an act leaves it so" in refused.error

    play(tmp_path / "state", story)
    assert conf.read_text() == "good"


def test_a_folder_that_somebody_locked_since_is_named_and_when_it_is_open_the_rollback_goes_on(
    here: Path, tmp_path: Path
) -> None:
    """It lies outside of what the act touched, so it is not ours to open: a person is told what to type."""
    conf = here / "conf"
    conf.write_text("good")

    async def story(rig: Rig) -> None:
        it = writing("r", conf, "changed")
        assert (await rig.act(it)).ok
        chattr("+i", here)
        refused = await rig.act(rollback("r", it))
        assert not refused.ok
        assert f"chattr -i {here}, and roll back again" in refused.error
        assert refused.next == ("human_check",)
        chattr("-i", here)
        again = await rig.act(replace(rollback("r", it), attempt=2, folder="runs/r/rollback.2"))
        assert again.ok, again.error

    play(tmp_path / "state", story)
    assert conf.read_text() == "good"


def test_a_lock_that_somebody_set_after_the_act_is_a_change_of_theirs(here: Path, tmp_path: Path) -> None:
    """It asks before it goes over it, as over any other change."""
    conf = here / "conf"
    conf.write_text("good")

    async def story(rig: Rig) -> None:
        it = writing("r", conf, "changed")
        assert (await rig.act(it)).ok
        chattr("+i", conf)
        asked = await rig.act(rollback("r", it))
        assert not asked.ok
        assert asked.result["conflicts"] == [str(conf)]
        assert (conf.read_text(), flags(conf)) == ("changed", "i")

    play(tmp_path / "state", story)


def test_a_last_good_copy_does_not_go_over_a_new_lock(here: Path, tmp_path: Path) -> None:
    """What was locked when it was kept is put back with its lock; what a person has locked since is left, and said."""
    conf = here / "conf"
    conf.write_text("good")
    files = OsFiles()
    blobs = BlobFolder(files, str(tmp_path / "blobs"), pack=False)
    kept = keep.folder_of(str(tmp_path), "book", "web.service")
    params = {"playbook": "book", "subject": "web.service", "files": [str(conf)]}

    def copied() -> None:
        assert keep.keep_copy(params, str(tmp_path), files, blobs, generations=3, now_ns=1).ok

    copied()
    conf.write_text("bad")
    chattr("+i", conf)
    with pytest.raises(Permanent, match=r"immutable \(chattr \+i\) and was not when it was kept: chattr -i it first"):
        keep.restore_last_good([str(conf)], kept, files, blobs)
    assert conf.read_text() == "bad"
    chattr("-i", conf)
    conf.write_text("good")
    chattr("+i", conf)
    copied()
    chattr("-i", conf)
    conf.write_text("bad")
    chattr("+i", conf)
    keep.restore_last_good([str(conf)], kept, files, blobs)
    assert (conf.read_text(), flags(conf)) == ("good", "i")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_who_may_not_take_a_lock_off_says_so(here: Path, tmp_path: Path) -> None:
    """A container's root often has no CAP_LINUX_IMMUTABLE: which file, what is the matter, what to do."""
    conf = here / "conf"
    conf.write_text("good")
    chattr("+i", conf)
    code = (
        "import sys\nfrom aios.blobs.store import BlobFolder\nfrom aios.disk import OsFiles\nfrom aios.hands import snapshot\n"
        "blobs = BlobFolder(OsFiles(), sys.argv[2], pack=False)\n"
        "was = snapshot.take_files([sys.argv[1]], blobs)\n"
        "was['roots'][0]['rows'][0][2] = 0o600\n"  # as if it had been another then
        "print(snapshot.restore(was, blobs, None))"
    )
    argv = ["setpriv", "--bounding-set=-linux_immutable", "--inh-caps=-linux_immutable", sys.executable, "-c", code]
    said = subprocess.run([*argv, str(conf), str(tmp_path / "blobs")], capture_output=True, text=True, check=True).stdout
    assert "it is immutable (chattr +i), and that cannot be taken off: run AIOS as root with CAP_LINUX_IMMUTABLE" in said
    assert (conf.read_text(), flags(conf)) == ("good", "i")


def test_a_manifest_of_before_flags_is_read_and_its_files_are_looked_at_again() -> None:
    """Rows of an older version are shorter; nobody knows their flags."""
    (row,) = rows_of([Entry("a", "file", 0o644, ctime_ns=7, flags=0x10)])
    (entry,) = entries_of({"rows": [row[:-1]]})
    assert (entry.path, entry.flags, entry.ctime_ns) == ("a", 0, 0)
    assert entries_of({"rows": [row]}) == [Entry("a", "file", 0o644, ctime_ns=7, flags=0x10)]


def test_where_there_are_no_flags_nothing_is_missing(tmp_path: Path) -> None:
    """/proc has none: what is looked at there has none, and that is no failure."""
    manifest = snapshot.take_files(["/proc/self/limits"], BlobFolder(OsFiles(), str(tmp_path / "blobs"), pack=False))
    (entry,) = entries_of(manifest["roots"][0])
    assert entry.flags == 0
