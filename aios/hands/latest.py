"""The latest snapshot of each place: what was seen there is not read again while it is surely unchanged.

`latest/HASH.json` is another name of the manifest that saved the place last. Only a help: nothing needs it, it may be lost, and
what it says is believed only of files that had rested (`scan.Known`) and whose bytes are still there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from aios.disk import make_dirs, read_all, remove_if_there, temporary_beside
from aios.events.codec import decode_json
from aios.hands.entry import Entry, entries_of
from aios.hands.scan import NOTHING_KNOWN, Known
from aios.ports import Blobs, Files

FOLDER = "latest"
_MANIFEST_MAX = 64 << 20


def known_of(files: Files, state_dir: str, blobs: Blobs, real: str) -> Known:
    """What the latest snapshot saw at this real place."""
    try:
        manifest = decode_json(read_all(files, _path(state_dir, real), _MANIFEST_MAX))
    except (OSError, ValueError):
        return NOTHING_KNOWN
    return known_in(manifest, blobs, real)


def known_in(manifest: Mapping[str, Any], blobs: Blobs, real: str) -> Known:
    """What this manifest says of a real place, as far as the bytes are still there."""
    try:
        root = next(one for one in manifest["roots"] if one["real"] == real and "rows" in one)
        entries, seen_ns = entries_of(root), int(manifest["taken_ns"])
    except (ValueError, KeyError, TypeError, StopIteration):
        return NOTHING_KNOWN
    return Known(_still_held(entries, blobs), seen_ns)


def _still_held(entries: list[Entry], blobs: Blobs) -> list[Entry]:
    held: dict[str, bool] = {}
    for entry in entries:
        if entry.at and (bulk := str(entry.at[0])) not in held:
            held[bulk] = blobs.holds(bulk)
    return [entry for entry in entries if entry.at and held[str(entry.at[0])]]


def note(files: Files, state_dir: str, manifest_path: str, manifest: Mapping[str, Any]) -> None:
    """This manifest is the latest of its places. That it fails costs time later, and nothing else."""
    try:
        make_dirs(files, f"{state_dir}/{FOLDER}")
        for root in manifest["roots"]:
            if "rows" in root:
                _link(files, manifest_path, _path(state_dir, root["real"]))
    except OSError:
        return


def _link(files: Files, manifest: str, path: str) -> None:
    temporary = temporary_beside(path)
    try:
        files.link(manifest, temporary)
        files.rename(temporary, path)
    finally:
        remove_if_there(files, temporary)


def _path(state_dir: str, real: str) -> str:
    return f"{state_dir}/{FOLDER}/{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.json"
