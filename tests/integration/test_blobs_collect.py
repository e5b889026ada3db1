"""What ended runs left goes when nothing needs it, never sooner, and however often the collection is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aios.blobs import collect
from aios.blobs.collect import DAY_S, GRACE_S, Bounds, Collected, Collector
from aios.blobs.store import BlobFolder
from aios.disk import OsFiles, make_dirs, write_small
from aios.events.calls import Touches
from aios.events.codec import encode_json
from aios.hands import keep, latest, snapshot
from aios.hands.attempt import MANIFEST
from aios.ports import ServiceActs
from tests.integration.hands_kit import needs_times_that_tell, taken

NOW = 2_000_000_000.0
TODAY = "2033-05-18"


class Killed(BaseException):
    """Stands for SIGKILL."""


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


class House:
    """A state folder with runs, copies, evidence, and a journal that began a while ago."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.source = folder / "source"
        self.files = OsFiles()
        make_dirs(self.files, str(self.state / "events"))
        (self.state / "events" / f"{TODAY}.1.jsonl").touch()
        self.blobs = BlobFolder(self.files, str(self.state / "blobs"))
        self.collector = self.new_collector()

    def new_collector(self, keep_days: int = 14, size_max: int = 1 << 40) -> Collector:
        return Collector(self.files, str(self.state), Bounds(keep_days, size_max))

    def run(self, name: str, content: bytes, age_s: float) -> dict[str, Any]:
        """A run that saved a file of this content."""
        self.source.write_bytes(content)
        folder = f"{self.state}/runs/{name}/step.1"
        make_dirs(self.files, folder)
        manifest = taken(Touches(files=(str(self.source),)), self.blobs, no_services)
        write_small(self.files, f"{folder}/{MANIFEST}", encode_json(manifest))
        self.age(age_s, f"{self.state}/runs/{name}")
        return manifest

    def age(self, age_s: float, *roots: str) -> None:
        """All below looks as if nothing had touched it for so long."""
        for root in roots or (str(self.state),):
            for folder, folders, files in os.walk(root):
                for name in (*files, *folders):
                    os.utime(f"{folder}/{name}", (NOW - age_s,) * 2)
            os.utime(root, (NOW - age_s,) * 2)

    def collect(self, now: float = NOW, open_runs: tuple[str, ...] = (), memory: bytes = b"{}") -> Collected:
        done = self.collector.collect(now, open_runs, memory)
        assert done.problems == []
        return done

    def twice(self, **more: Any) -> None:
        """Set aside, and an hour later looked at again. (What is set aside carries the machine's own time.)"""
        self.collect(**more)
        for entry in (self.state / "blobs").glob("aside/*"):
            assert entry.stat().st_ctime < NOW - GRACE_S
        self.collect(**more)

    def can_restore(self, manifest: dict[str, Any]) -> bool:
        self.source.write_bytes(b"spoiled")
        return snapshot.restore(manifest, self.blobs, no_services) == []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def bulks(house: House) -> list[str]:
    return sorted(path.name for path in (house.state / "blobs").glob("*/*.bulk*"))


def test_a_run_past_its_days_goes_with_what_it_saved_and_others_stay(house: House) -> None:
    house.run("old", b"old bytes", 15 * DAY_S)
    young = house.run("young", b"young bytes", 13 * DAY_S)
    house.age(10 * DAY_S, f"{house.state}/blobs")
    house.twice()
    assert os.listdir(house.state / "runs") == ["young"]
    assert len(bulks(house)) == 1
    assert house.can_restore(young)


def test_what_an_open_run_needs_stays_however_old_it_is(house: House) -> None:
    waiting = house.run("waiting", b"bytes", 100 * DAY_S)
    house.age(100 * DAY_S, f"{house.state}/blobs")
    house.twice(open_runs=("waiting",))
    assert house.can_restore(waiting)


def test_what_a_last_good_copy_needs_stays_when_its_runs_are_gone(house: House) -> None:
    """The same bytes were saved by a run, too: the copy alone holds them."""
    house.run("old", b"good bytes", 15 * DAY_S)
    params = {"files": [str(house.source)], "playbook": "web", "subject": "web.service"}
    assert keep.keep_copy(params, str(house.state), house.files, house.blobs).ok
    house.age(100 * DAY_S)
    house.twice()
    assert os.listdir(house.state / "runs") == []
    house.source.write_bytes(b"spoiled")
    folder = keep.folder_of(str(house.state), "web", "web.service")
    keep.restore_last_good([str(house.source)], folder, house.files, house.blobs)
    assert house.source.read_bytes() == b"good bytes"


def test_when_all_of_it_takes_too_much_the_oldest_go_first_but_never_within_a_day(house: House) -> None:
    for n in range(4):
        house.run(f"run{n}", os.urandom(10_000), (4 - n) * DAY_S * 0.7)
    house.age(2 * DAY_S, f"{house.state}/blobs")
    house.collector = house.new_collector(size_max=25_000)
    house.twice()
    assert sorted(os.listdir(house.state / "runs")) == ["run2", "run3"]
    house.collector = house.new_collector(size_max=1)
    house.twice()
    assert sorted(os.listdir(house.state / "runs")) == ["run3"], "it is younger than a day"


def test_evidence_stays_while_the_journal_may_name_it_and_longer_when_the_daemon_does(house: House) -> None:
    """The text of a playbook in force may have been written years ago."""
    old, in_force = house.blobs.put(b"an old proof"), house.blobs.put(b"a playbook in force")
    house.age(10 * DAY_S, f"{house.state}/blobs")
    recent = house.blobs.put(b"a recent proof")
    os.utime(house.state / "blobs" / recent[:2] / recent, (NOW - DAY_S,) * 2)
    house.twice(memory=b'{"playbooks": {"web": "%s"}}' % in_force.encode())
    assert house.blobs.get(in_force)
    assert house.blobs.get(recent)
    with pytest.raises(KeyError):
        house.blobs.get(old)


def test_what_is_written_again_counts_as_new(house: House) -> None:
    """The same bytes are evidence of two days; the second keeps them."""
    name = house.blobs.put(b"the same proof")
    path = house.state / "blobs" / name[:2] / name
    os.utime(path, (1000, 1000))
    assert house.blobs.put(b"the same proof") == name
    assert path.stat().st_mtime > 1000


def test_what_was_set_aside_is_had_back_by_whoever_asks(house: House) -> None:
    """A snapshot that builds on an older one, a reader, a writer of the same bytes: all come before the second look."""
    manifest = house.run("old", b"bytes", 15 * DAY_S)
    text = house.blobs.put(b"text")
    house.age(15 * DAY_S)
    house.collect()
    assert bulks(house) == sorted(path.name for path in (house.state / "blobs" / "aside").glob("*.bulk"))
    (bulk,) = snapshot.bulks_of(manifest)
    assert house.blobs.holds(bulk)
    assert house.blobs.get(text) == b"text"
    house.collect(memory=text.encode())
    assert house.can_restore(manifest)


def test_a_manifest_that_came_meanwhile_brings_what_it_names_back(house: House) -> None:
    manifest = house.run("old", b"bytes", 15 * DAY_S)
    house.age(15 * DAY_S)
    house.collect()
    folder = f"{house.state}/runs/new/step.1"
    make_dirs(house.files, folder)
    write_small(house.files, f"{folder}/{MANIFEST}", encode_json(manifest))
    house.twice(open_runs=("new",))
    assert house.can_restore(manifest)


def test_nothing_is_deleted_while_a_manifest_cannot_be_read(house: House) -> None:
    house.run("old", b"bytes", 15 * DAY_S)
    bad = house.state / "runs" / "bad" / "step.1"
    bad.mkdir(parents=True)
    with open(bad / MANIFEST, "wb") as file:
        file.truncate(1 << 30)
    house.age(15 * DAY_S)
    done = house.collector.collect(NOW, (), b"{}")
    assert done.problems
    assert len(bulks(house)) == 1


CHANGES = ("rename", "unlink", "rmdir", "mkdir")


class DyingFiles(OsFiles):
    """The n-th change of the disk kills."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __getattribute__(self, name: str) -> Any:
        real = object.__getattribute__(self, name)
        if name not in CHANGES:
            return real

        def dying(*args: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return real(*args)

        return dying


def test_killed_at_every_change_it_makes_nothing_needed_is_lost_and_the_next_round_ends_it(tmp_path: Path) -> None:
    for n in range(200):
        house = House(tmp_path / str(n))
        (tmp_path / str(n)).mkdir(exist_ok=True)
        house.run("old", b"old", 15 * DAY_S)
        house.run("older", b"older", 16 * DAY_S)
        young = house.run("young", b"young", DAY_S)
        house.age(15 * DAY_S, f"{house.state}/blobs")
        dying = DyingFiles(n)
        ended = _killed(lambda dying=dying, house=house: _rounds(dying, house))  # type: ignore[misc]
        for name in os.listdir(house.state / "runs"):
            step = house.state / "runs" / name / "step.1"
            assert name.startswith(".gone-") or (step / MANIFEST).exists(), "no folder is half there"
        house.twice()
        assert os.listdir(house.state / "runs") == ["young"]
        assert len(bulks(house)) == 1
        assert house.can_restore(young)
        if ended:
            assert n > 8
            return
    raise AssertionError("the collection never came to its end")


def _rounds(dying: DyingFiles, house: House) -> None:
    for _ in range(2):
        Collector(dying, str(house.state), Bounds(14, 1 << 40)).collect(NOW, (), b"{}")


def _killed(work: Callable[[], None]) -> bool:
    try:
        work()
    except Killed:
        return False
    return True


def test_what_saw_a_place_last_is_forgotten_with_its_bytes(house: House) -> None:
    """The next snapshot of that place reads everything again, instead of naming bytes that are gone."""
    house.source.write_bytes(b"bytes")
    outline = snapshot.outline(Touches(files=(str(house.source),)), no_services)
    for name in ("old", "again"):
        path = f"{house.state}/runs/{name}/step.1/{MANIFEST}"
        make_dirs(house.files, os.path.dirname(path))
        latest.save(house.files, str(house.state), house.blobs, outline, path=path, now_ns=2**62)
        if name == "old":
            assert len(os.listdir(house.state / "latest")) == 2
            house.age(15 * DAY_S)
            house.twice()
            assert os.listdir(house.state / "latest") == []
    house.age(0, f"{house.state}/runs/again")
    house.collect()
    assert house.can_restore(snapshot.read(house.files, path))


def test_runs_in_which_nothing_had_changed_share_a_manifest_and_each_holds_its_bytes(house: House) -> None:
    """The first of them goes, and what it had saved stays, as long as one of them does; all of them are read once."""
    needs_times_that_tell(str(house.state))
    house.source.write_bytes(b"bytes")
    outline = snapshot.outline(Touches(files=(str(house.source),)), no_services)
    for name in ("first", "second", "third"):
        path = f"{house.state}/runs/{name}/step.1/{MANIFEST}"
        make_dirs(house.files, os.path.dirname(path))
        latest.save(house.files, str(house.state), house.blobs, outline, path=path, now_ns=2**62)
    assert os.stat(path).st_nlink == 3
    house.age(15 * DAY_S)
    for name in ("second", "third"):
        house.age(DAY_S, f"{house.state}/runs/{name}")
    house.twice()
    assert sorted(os.listdir(house.state / "runs")) == ["second", "third"]
    assert len(bulks(house)) == 1
    assert house.can_restore(snapshot.read(house.files, path))


def test_temporary_files_of_the_dead_go_after_a_day(house: House) -> None:
    house.run("r", b"x", 0)
    (folder,) = [path for path in (house.state / "blobs").iterdir() if len(path.name) == 2]
    left, busy = folder / ".a.1.1.tmp", folder / ".b.1.1.tmp"
    left.touch()
    busy.touch()
    os.utime(left, (NOW - 2 * DAY_S,) * 2)
    os.utime(busy, (NOW - 60,) * 2)
    house.collect()
    assert not left.exists()
    assert busy.exists()


def test_every_manifest_that_is_written_can_be_read_here() -> None:
    """One that could not would stop the collection for good."""
    assert collect.MANIFEST_MAX >= snapshot.MANIFEST_MAX


def test_bulks_that_killed_launchers_were_writing_go_after_a_day(house: House) -> None:
    house.run("r", b"x", 0)
    left, busy = (house.state / "blobs" / f".bulk.7.{n}.tmp" for n in (1, 2))
    for path, age_s in ((left, 2 * DAY_S), (busy, 60)):
        path.touch()
        os.utime(path, (NOW - age_s,) * 2)
    house.collect()
    assert (left.exists(), busy.exists()) == (False, True)
