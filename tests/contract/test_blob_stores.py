"""The `Blobs` port: one suite over the folder on a real disk, the same on a simulated one, and the twin in memory."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.entropy import SeededEntropy
from aios.ports import Blobs
from aios.testing.blobs import SimBlobs
from aios.testing.disk import SimDisk


def on_real_disk(folder: Path) -> Blobs:
    return BlobFolder(OsFiles(), str(folder / "blobs"))


def on_simulated_disk(_: Path) -> Blobs:
    disk = SimDisk()
    disk.make_folders("/state")
    return BlobFolder(disk, "/state/blobs")


def in_memory(_: Path) -> Blobs:
    return SimBlobs()


@pytest.fixture(params=[on_real_disk, on_simulated_disk, in_memory], ids=lambda make: make.__name__)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    make: Callable[[Path], Blobs] = request.param
    return make(tmp_path)


@pytest.mark.parametrize("data", [b"", b"x", b"a line\n" * 3000, bytes(range(256)) * 300])
def test_what_was_put_is_got_by_its_hash(blobs: Blobs, data: bytes) -> None:
    """The name is the SHA-256 of the bytes, whatever they are and however they are kept."""
    name = blobs.put(data)
    assert name == sha256(data).hexdigest()
    assert blobs.get(name) == data


def test_putting_the_same_again_is_harmless(blobs: Blobs) -> None:
    """Same bytes, same name, same answer."""
    assert blobs.put(b"again") == blobs.put(b"again")
    assert blobs.get(blobs.put(b"again")) == b"again"


@pytest.mark.parametrize("name", ["0" * 64, "", "../../etc/passwd", "0" * 63, "G" * 64])
def test_what_is_not_there_is_a_key_error(blobs: Blobs, name: str) -> None:
    """Also what cannot be a name at all."""
    with pytest.raises(KeyError):
        blobs.get(name)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_many_blobs_do_not_mix(contents: list[bytes]) -> None:
    """Each name keeps giving its own bytes."""
    blobs = on_simulated_disk(Path())
    names = [blobs.put(data) for data in contents]
    assert [blobs.get(name) for name in names] == contents


@pytest.mark.parametrize("seed", range(20))
def test_a_blob_that_was_put_survives_every_power_cut(seed: int) -> None:
    """Durable when it returns: the first of its folder, packed ones, and those that were there before."""
    disk = SimDisk()
    disk.make_folders("/state/blobs")
    blobs = BlobFolder(disk, "/state/blobs")
    known = {blobs.put(b"%d" % number * (1 + number * 700)): number for number in range(12)}
    disk.power_cut(SeededEntropy(seed))
    again = BlobFolder(disk, "/state/blobs")
    for name, number in known.items():
        assert again.get(name) == b"%d" % number * (1 + number * 700), f"seed {seed}"


def test_a_damaged_blob_is_never_given_out() -> None:
    """Bit rot is noticed by the hash; putting the same bytes again mends it."""
    disk = SimDisk()
    disk.make_folders("/state/blobs")
    blobs = BlobFolder(disk, "/state/blobs")
    name = blobs.put(b"the right bytes")
    disk.flip(f"/state/blobs/{name[:2]}/{name}", 4)
    with pytest.raises(ValueError):
        blobs.get(name)
    blobs.put(b"the right bytes")
    assert blobs.get(name) == b"the right bytes"
