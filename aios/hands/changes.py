"""What an act changed in the files it touches: recorded beside the attempt, and told as evidence in its result.

Called by the launcher's driver (`server.py`) right after the act; `after.py` is what a rollback makes of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aios.events.calls import SkillResult
from aios.events.codec import encode_json
from aios.hands import after, difference, snapshot
from aios.hands.attempt import AFTER, MANIFEST
from aios.hands.entry import Entry, shown
from aios.hands.snapshot import Manifest
from aios.ports import Blobs, Files


def told(result: SkillResult, manifest_of: Callable[[], Manifest], folder: str, files: Files, blobs: Blobs) -> SkillResult:
    """The result with the proof of what was changed. What cannot be seen or written is said; the act has happened all the
    same.
    """
    try:
        manifest = manifest_of()
        if not manifest or not snapshot.reversible(manifest):
            return result
        before, now, paths, live = _recorded(manifest, folder, files)
        return _with_evidence(result, before, now, paths, live, blobs) if paths else result
    except (OSError, ValueError) as error:
        return replace(result, evidence=(*result.evidence, {"kind": "changes", "error": f"cannot be told: {error}"}))


def record_for_the_dead(folder: str, files: Files) -> None:
    """Of an act whose launcher could not: what stands when it is found counts as the act's, and what others change from then on
    does not. Where it cannot be written, all that it touched counts as its own.
    """
    try:
        if AFTER in files.listdir(folder):
            return
        manifest = snapshot.read(files, f"{folder}/{MANIFEST}")
        if snapshot.reversible(manifest):
            _recorded(manifest, folder, files)
    except (OSError, ValueError):
        return


Seen = tuple[Mapping[str, Entry], Mapping[str, Entry], Sequence[str], difference.Bytes]


def _recorded(manifest: Manifest, folder: str, files: Files) -> Seen:
    """What stood before and what stands now, which paths are not the same, and the bytes of what stands now."""
    now = after.look(manifest)
    before = snapshot.entries_by_path(manifest)
    paths = difference.changed_paths(before, now)
    live = difference.live_bytes(after.real_places([manifest], now))
    after.record(files, folder, now, difference.texts_of(paths, now, live))
    return before, now, paths, live


def _with_evidence(
    result: SkillResult,
    before: Mapping[str, Entry],
    now: Mapping[str, Entry],
    paths: Sequence[str],
    live: difference.Bytes,
    blobs: Blobs,
) -> SkillResult:
    absent = Entry("", "absent")
    lines = [{"path": shown(p), "before": before.get(p, absent).label(), "after": now.get(p, absent).label()} for p in paths]
    evidence: list[Mapping[str, Any]] = [{"kind": "changes", "files": len(paths), "blob": blobs.put(encode_json(lines))}]
    text = difference.difference(before, now, difference.saved_bytes(blobs), live)
    if text:
        evidence.append({"kind": "diff", "blob": blobs.put(text.encode(errors="replace"))})
    return replace(result, evidence=(*result.evidence, *evidence))
