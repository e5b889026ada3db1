"""A blob is what its name says, or it is not there; what is there never changes."""

from __future__ import annotations

import errno
import hashlib

import pytest

from aios.blobs import store
from aios.blobs.store import BlobFolder
from aios.entropy import SeededEntropy
from aios.testing.disk import SimDisk
from tests.unit.journal.failing import Crash, FailingFiles, ShortWrites

FOLDER = "/s/blobs"
SMALL, LARGE = b"config = 1\n", b"the same words again and again\n" * 3000
NOISE = bytes(hashlib.sha256(b"%d" % number).digest()[0] for number in range(9000))


def disk() -> SimDisk:
    made = SimDisk()
    made.make_folders("/s")
    return made


def path(files: SimDisk, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    plain = f"{FOLDER}/{name[:2]}/{name}"
    return plain if files.exists(plain) else plain + ".zst"


@pytest.mark.parametrize("data", [b"", SMALL, LARGE, NOISE])
@pytest.mark.parametrize("pack", [True, False])
def test_what_is_put_is_got(data: bytes, pack: bool) -> None:
    files = disk()
    blobs = BlobFolder(files, FOLDER, pack=pack)
    name = blobs.put(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert blobs.put(data) == name
    assert BlobFolder(files, FOLDER, pack=False).get(name) == data


def test_what_gains_is_packed_and_what_does_not_is_not() -> None:
    files = disk()
    blobs = BlobFolder(files, FOLDER)
    for data in (SMALL, LARGE, NOISE):
        blobs.put(data)
    assert path(files, LARGE).endswith(".zst")
    assert len(files.read(path(files, LARGE))) < len(LARGE) / 10
    assert not path(files, SMALL).endswith(".zst")
    assert not path(files, NOISE).endswith(".zst")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 64, "0" * 63])
def test_an_unknown_name_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        BlobFolder(disk(), FOLDER).get(name)


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_damage_is_seen_and_mended_by_putting_it_again(data: bytes) -> None:
    files = disk()
    blobs = BlobFolder(files, FOLDER)
    name = blobs.put(data)
    files.flip(path(files, data), len(files.read(path(files, data))) // 2)
    with pytest.raises(ValueError, match="damaged"):
        blobs.get(name)
    blobs.put(data)
    assert blobs.get(name) == data


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    files = disk()
    name = BlobFolder(files, FOLDER).put(LARGE)
    monkeypatch.setattr(store, "BLOB_MAX", len(LARGE) - 1)
    with pytest.raises(ValueError, match="more than"):
        BlobFolder(files, FOLDER).get(name)
    with pytest.raises(ValueError, match="too many"):
        BlobFolder(files, FOLDER).put(LARGE)


def test_short_writes_are_gone_on_with() -> None:
    files = disk()
    name = BlobFolder(ShortWrites(files, 100), FOLDER, pack=False).put(LARGE)  # type: ignore[arg-type]
    assert BlobFolder(files, FOLDER).get(name) == LARGE


@pytest.mark.parametrize("error", [0, errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_whatever_call_fails_a_name_never_leads_to_other_bytes(data: bytes, error: int) -> None:
    """Death, EIO or ENOSPC at each call, and a power cut behind it: there it is whole, or it is not there."""
    name = hashlib.sha256(data).hexdigest()
    for call in range(1, 60):
        files = disk()
        failing = FailingFiles(files, call, error=error, half=True)
        done = False
        try:
            done = BlobFolder(failing, FOLDER).put(data) == name  # type: ignore[arg-type]
        except (Crash, OSError):
            pass
        files.power_cut(SeededEntropy(call))
        try:
            assert BlobFolder(files, FOLDER).get(name) == data, f"call {call}"
        except KeyError:
            assert not done, f"call {call}: it was called durable"
        BlobFolder(files, FOLDER).put(data)
        files.power_cut(SeededEntropy(call + 1))
        assert BlobFolder(files, FOLDER).get(name) == data, f"call {call}"
        if failing.calls < call:
            assert call > 8
            return
    raise AssertionError("it never went through")


def test_one_that_a_dead_process_put_is_durable_when_it_is_put_again() -> None:
    """Its name may be seen and still not be on the disk."""
    for call in range(1, 30):
        files = disk()
        try:
            BlobFolder(FailingFiles(files, call), FOLDER).put(SMALL)  # type: ignore[arg-type]
        except Crash:
            pass
        name = BlobFolder(files, FOLDER).put(SMALL)
        for seed in range(4):
            files.power_cut(SeededEntropy(seed))
            assert BlobFolder(files, FOLDER).get(name) == SMALL, f"call {call}"


def test_what_a_crash_left_is_swept() -> None:
    files = disk()
    name = BlobFolder(files, FOLDER).put(LARGE)
    files.append(f"{FOLDER}/{name[:2]}/.{name}.77.0.tmp", b"half")
    assert BlobFolder(files, FOLDER).sweep(before=-1.0) == 0, "another process may be at it just now"
    assert BlobFolder(files, FOLDER).sweep(before=1e9) == 1
    assert BlobFolder(files, FOLDER).get(name) == LARGE
