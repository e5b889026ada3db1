"""The latest snapshot of each place: what was seen there is not read again while it is surely unchanged.

`latest/HASH.json` is another name of the manifest that saved the place last. Only a help: nothing needs it, it may be lost, and
what it says is believed only of files that had rested (`scan.Known`) and whose bytes are still there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from aios.disk import make_dirs, read_all, remove_if_there, temporary_beside
from aios.events.codec import decode_json
from aios.hands.entry import Entry, entries_of
from aios.hands.scan import NOTHING_KNOWN, Known
from aios.ports import Blobs, Files

FOLDER = "latest"
_MANIFEST_MAX = 64 << 20
_KIND, _AT = Entry._fields.index("kind"), Entry._fields.index("at")


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
        rows, seen_ns = root["rows"], int(manifest["taken_ns"])
        held = {bulk: blobs.holds(bulk) for bulk in {row[_AT][0] for row in rows if row[_AT]}}
        whole = all(held.values()) and all(row[_AT] for row in rows if row[_KIND] == "file")
    except (ValueError, KeyError, TypeError, IndexError, StopIteration):
        return NOTHING_KNOWN
    return Known(partial(_still_held, root, held), seen_ns, rows=rows if whole else ())


def _still_held(root: Mapping[str, Any], held: Mapping[str, bool]) -> list[Entry]:
    try:
        return [entry for entry in entries_of(root) if entry.at and held[entry.at[0]] and type(entry.ctime_ns) is int]
    except (ValueError, TypeError, KeyError):
        return []


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
