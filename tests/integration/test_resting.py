"""What a snapshot believes of a tree that rests is what it would have found: random trees, random changes, damaged memories."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from aios.events.calls import Touches
from aios.events.codec import decode_json, encode_json
from aios.hands import latest, snapshot
from aios.hands.entry import entries_of
from aios.hands.resting import rests
from aios.hands.scan import SETTLED_NS, Known
from tests.integration.test_hands_trees import Grower, Place, all_below, no_services, place, put_flags

LATER = 2**62
SEEDS = 400


def saved(here: Place, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """As it comes back from the disk. `before`: the latest snapshot, which is believed where that is sure."""

    def known(real: str) -> Known:
        return latest.known_in(before or {}, here.blobs, real)

    path = os.fsdecode(here.root)
    manifest = snapshot.take(Touches(files=(path,)), here.blobs, no_services, known=known, now_ns=LATER)
    read: dict[str, Any] = decode_json(encode_json(manifest))
    return read


def said(manifest: dict[str, Any]) -> list[tuple[object, ...]]:
    """All of it but where the bytes lie, and times of reading."""
    entries = [entry for root in manifest["roots"] for entry in entries_of(root)]
    return [(entry.path, entry.label(), entry.mtime_ns, entry.size, entry.inode, entry.links, entry.data) for entry in entries]


def believed(here: Place, manifest: dict[str, Any]) -> bool:
    [root] = manifest["roots"]
    return rests(os.fsdecode(here.root), root["rows"], LATER - SETTLED_NS)


@pytest.mark.parametrize("part", range(8))
def test_what_is_believed_is_what_stands_there(part: int) -> None:
    """A tree that nobody touched is believed whole; one that somebody did is looked at, and either way the manifest says the same
    as one of somebody who knows nothing.
    """
    for seed in range(part * SEEDS // 8, (part + 1) * SEEDS // 8):
        chance = random.Random(seed)
        with place(on_disk=seed % 10 == 0) as here:
            grower = Grower(chance)
            grower.grow(here.root)
            first = saved(here)
            assert believed(here, first), f"seed {seed}"
            assert said(saved(here, first)) == said(first), f"seed {seed}"
            here.next_tick()
            for _ in range(chance.randint(1, 3)):
                grower.one_change(chance.choice(all_below(here.root)))
            assert said(saved(here, first)) == said(saved(here)), f"seed {seed}"


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


CHANGES: dict[str, Callable[[str], object]] = {
    "other bytes, same size and time": lambda root: (write(f"{root}/a", "AA"), os.utime(f"{root}/a", ns=(7, 7))),
    "mode": lambda root: os.chmod(f"{root}/a", 0o600),
    "attribute": lambda root: os.setxattr(f"{root}/a", "user.x", b"1"),
    "one more, and the folder's time put back": lambda root: (write(f"{root}/new", ""), os.utime(root, ns=(7, 7))),
    "one less": lambda root: os.unlink(f"{root}/b"),
    "one below": lambda root: os.unlink(f"{root}/deep/er/c"),
    "another name": lambda root: os.rename(f"{root}/a", f"{root}/z"),
    "another name outside": lambda root: os.link(f"{root}/a", f"{root}/../tied"),
    "a link that leads elsewhere": lambda root: (os.unlink(f"{root}/l"), os.symlink("b", f"{root}/l")),
    "a folder's mode": lambda root: os.chmod(f"{root}/deep/er", 0o700),
    "it is gone": lambda root: os.rename(root, f"{root}.gone"),
    "a copy in its place": lambda root: (os.rename(root, f"{root}.gone"), os.system(f"cp -a '{root}.gone' '{root}'")),
}


def laid_out(here: Place) -> str:
    root = os.fsdecode(here.root)
    os.makedirs(f"{root}/deep/er")
    for path, text in (("a", "aa"), ("b", ""), ("deep/er/c", "cc"), ("deep/z", "zz")):
        write(f"{root}/{path}", text)
        os.utime(f"{root}/{path}", ns=(7, 7))
    os.symlink("a", f"{root}/l")
    return root


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(change: str) -> None:
    with place(on_disk=True) as here:
        root = laid_out(here)
        manifest = saved(here)
        assert believed(here, manifest)
        here.next_tick()
        CHANGES[change](root)
        assert not believed(here, manifest)
        assert said(saved(here, manifest)) == said(saved(here))


def test_flags_are_seen() -> None:
    with place(on_disk=True) as here:
        laid_out(here)
        manifest = saved(here)
        here.next_tick()
        before = manifest["roots"]
        put_flags(here.root, random.Random(3))
        assert believed(here, manifest) == (said(saved(here)) == said({"roots": before}))


def test_what_had_not_rested_is_not_believed() -> None:
    with place(on_disk=True) as here:
        laid_out(here)
        [root] = saved(here)["roots"]
        youngest = max(row[7] for row in root["rows"])
        assert rests(root["real"], root["rows"], youngest + 1)
        assert not rests(root["real"], root["rows"], youngest)


DAMAGES: dict[str, Callable[[list[list[Any]]], object]] = {
    "a short row": lambda rows: rows[2].pop(),
    "no rows": lambda rows: rows.clear(),
    "no root": lambda rows: rows.pop(0),
    "a row twice": lambda rows: rows.append(rows[-1]),
    "another order": lambda rows: rows.reverse(),
    "a row less": lambda rows: rows.pop(2),
    "a path that leads out": lambda rows: rows[2].__setitem__(0, "../a"),
    "a name of an unknown form": lambda rows: rows[2].__setitem__(0, {"x": 1}),
    "a name that is no base64": lambda rows: rows[2].__setitem__(0, ["%"]),
    "an unknown kind": lambda rows: rows[2].__setitem__(1, "portal"),
    "a time that is none": lambda rows: rows[2].__setitem__(7, "now"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_not_believed(damage: str) -> None:
    """It costs a look, and nothing else."""
    with place(on_disk=True) as here:
        laid_out(here)
        manifest = saved(here)
        DAMAGES[damage](manifest["roots"][0]["rows"])
        assert not believed(here, manifest)
        assert said(saved(here, manifest)) == said(saved(here))


def test_bounds_count_what_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that somebody has lowered since holds for a tree that rests, too."""
    with place(on_disk=True) as here:
        laid_out(here)
        manifest = saved(here)
        for bounds in (snapshot.Bounds(files=3), snapshot.Bounds(bytes=3)):
            with pytest.raises(OSError, match="more than"):
                snapshot.take(
                    Touches(files=(os.fsdecode(here.root),)),
                    here.blobs,
                    no_services,
                    known=lambda real: latest.known_in(manifest, here.blobs, real),
                    now_ns=LATER,
                    bounds=bounds,
                )
