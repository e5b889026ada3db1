"""The latest snapshots: what they saw is not read again while it is surely unchanged. Two memories, both only a help:

`latest/PLACE.json` names the manifest that saved a place last, and what that says is believed file by file, of files that had
rested (`scan.Known`) and whose bytes are still there.

`latest/OUTLINE.seen` is of everything that one call touches: what must stand of each tree (`resting.py`), and which manifest saw
them so. Where all of them stand, the manifest of the next attempt is another name of that one, and nothing is read or written.

Both hold the hash of the manifest. Nothing needs them, they may be lost, and who believes them has looked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from aios.disk import make_dirs, read_all, remove_if_there, temporary_beside, write_all, write_small
from aios.events.codec import decode_json, encode_json, encode_sorted
from aios.hands import snapshot
from aios.hands.entry import Entry, entries_of
from aios.hands.proc import boot_id
from aios.hands.resting import resting, stands
from aios.hands.scan import NOTHING_KNOWN, Bounds, Known
from aios.hands.snapshot import BOUNDS, MANIFEST_MAX, Manifest
from aios.hands.times import rested_ns
from aios.hands.tree import TooMuch
from aios.ports import Blobs, Files

FOLDER = "latest"
_SEEN_MAX = 16 << 20
_KIND, _SIZE, _AT = map(Entry._fields.index, ("kind", "size", "at"))


def known_of(files: Files, state_dir: str, blobs: Blobs, real: str) -> Known:
    """What the latest snapshot saw at this real place."""
    try:
        seen = decode_json(read_all(files, _place(state_dir, real), _SEEN_MAX))
        data = read_all(files, f"{state_dir}/{seen['manifest']}", MANIFEST_MAX)
        if sha256(data).hexdigest() == seen["sha256"]:
            return known_in(decode_json(data), blobs, real)
    except (OSError, ValueError, LookupError, TypeError):  # as in `_same`
        pass
    return NOTHING_KNOWN


def known_in(manifest: Mapping[str, Any], blobs: Blobs, real: str) -> Known:
    """What this manifest says of a real place, as far as the bytes are still there."""
    try:
        root = next(one for one in manifest["roots"] if one["real"] == real and "rows" in one)
        held = {bulk: blobs.holds(bulk) for bulk in {row[_AT][0] for row in root["rows"] if row[_AT]}}
    except (ValueError, LookupError, TypeError, StopIteration):
        return NOTHING_KNOWN
    return Known(partial(_still_held, root, held), rested_ns(manifest))


def _still_held(root: Mapping[str, Any], held: Mapping[str, bool]) -> list[Entry]:
    try:
        return [entry for entry in entries_of(root) if entry.at and held[entry.at[0]] and type(entry.ctime_ns) is int]
    except (ValueError, TypeError, LookupError):
        return []


def save(
    files: Files, state_dir: str, blobs: Blobs, outline: Manifest, *, path: str, bounds: Bounds = BOUNDS, now_ns: int = 0
) -> dict[str, Any] | None:
    """The snapshot of all that `outline` names (`snapshot.outline`), its manifest durable at `path`. None: it is the same as the
    latest, and `path` another name of that one's manifest. `now_ns` is wall time. Raises OSError.
    """
    if _same(files, state_dir, blobs, outline, bounds, path):
        files.fsync_dir(os.path.dirname(path))
        return None
    known = partial(known_of, files, state_dir, blobs)
    manifest = snapshot.filled(outline, blobs, bounds=bounds, known=known, now_ns=now_ns)
    data = encode_json(manifest)
    if len(data) > MANIFEST_MAX:  # nobody could read it again
        raise TooMuch(f"a manifest of more than {MANIFEST_MAX >> 20} MiB (names, attributes)", path)
    write_small(files, path, data)
    try:
        _note(files, state_dir, path, outline, manifest, sha256(data).hexdigest())
    except OSError:  # costs time later, and nothing else
        pass
    return manifest


def _same(files: Files, state_dir: str, blobs: Blobs, outline: Manifest, bounds: Bounds, path: str) -> bool:
    """Whether the latest snapshot of all this still is true; then `path` is another name of its manifest, not synced yet."""
    try:
        seen = decode_json(read_all(files, _seen(state_dir, outline), _SEEN_MAX))
        return (
            seen["boot_id"] == boot_id()
            and seen["names"] <= bounds.files
            and seen["bytes"] <= bounds.bytes
            and all(blobs.holds(bulk) for bulk in seen["bulks"])
            and len(seen["trees"]) == len(outline["roots"])
            and all(map(stands, (root["real"] for root in outline["roots"]), seen["trees"]))
            and _another_name(files, f"{state_dir}/{seen['manifest']}", seen["sha256"], path)
        )
    except (OSError, ValueError, LookupError, TypeError):  # there is none, it is damaged, something is gone: the scan tells
        return False


def _another_name(files: Files, manifest: str, digest: str, path: str) -> bool:
    """For the very bytes that were written then. Raises OSError where they are gone, or have as many names as may be."""
    files.link(manifest, path)
    if sha256(read_all(files, path, MANIFEST_MAX)).hexdigest() == digest:
        return True
    files.unlink(path)
    return False


def _note(files: Files, state_dir: str, path: str, outline: Manifest, manifest: Manifest, digest: str) -> None:
    """The manifest at this path is the latest of its places, and of all of them together. Raises OSError."""
    make_dirs(files, f"{state_dir}/{FOLDER}")
    which = {"manifest": os.path.relpath(path, state_dir), "sha256": digest}
    for root in manifest["roots"]:
        if "rows" in root:
            _put(files, _place(state_dir, root["real"]), encode_json(which))
    if (seen := _seen_in(manifest)) is not None:
        _put(files, _seen(state_dir, outline), encode_json(seen | which))


def _seen_in(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """None where it could not be told whether the manifest still is true."""
    if not all("rows" in root for root in manifest["roots"]):
        return None
    rows = [row for root in manifest["roots"] for row in root["rows"]]
    rested = rested_ns(manifest)
    trees = [resting(root["rows"], rested) for root in manifest["roots"]]
    if None in trees or not all(row[_AT] for row in rows if row[_KIND] == "file"):
        return None
    return {
        "boot_id": manifest["boot_id"],
        "names": len(rows),
        "bytes": sum(row[_SIZE] for row in rows),
        "bulks": sorted({row[_AT][0] for row in rows if row[_AT]}),
        "trees": trees,
    }


def _put(files: Files, path: str, data: bytes) -> None:
    """All at once, over what was there. Not synced: what a power cut leaves half is no memory."""
    temporary = temporary_beside(path)
    fd = files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        try:
            write_all(files, fd, data)
        finally:
            files.close(fd)
        files.rename(temporary, path)
    except OSError:
        remove_if_there(files, temporary)
        raise


def _place(state_dir: str, real: str) -> str:
    return f"{state_dir}/{FOLDER}/{sha256(os.fsencode(real)).hexdigest()[:32]}.json"


def _seen(state_dir: str, outline: Mapping[str, Any]) -> str:
    return f"{state_dir}/{FOLDER}/{sha256(encode_sorted(outline)).hexdigest()[:32]}.seen"
