"""Last-good copies: files as they were while their subject was proven well. Below `keep/PLAYBOOK/SUBJECT/`, some generations.

`keep_copy` is the built-in call that takes one (the daemon calls it once `verify` has held); `restore_last_good` is what
`restore_files {from: last_good}` does; `copies` and `since_good` look, for `aios keep` and as evidence when a run opens. Each
generation is a manifest as `snapshot.py` makes them; the bytes are bulks, most of them those of the generation before.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aios.disk import make_dirs, remove_if_there, write_small
from aios.errors import Permanent
from aios.events.calls import SkillResult, failed
from aios.events.codec import encode_json
from aios.hands import after, difference, latest, snapshot
from aios.hands.entry import Entry, entries_of, rows_of, shown
from aios.hands.keeper import file_name, plain_name
from aios.ports import Blobs, Files

GENERATIONS = 3
"""Where the settings do not say."""
_SUFFIX = ".manifest.json"


def folder_of(state_dir: str, playbook: str, subject: str) -> str:
    return f"{state_dir}/keep/{file_name(playbook)}/{file_name(subject)}"


def keep_copy(
    params: Mapping[str, Any], state_dir: str, files: Files, blobs: Blobs, *, generations: int = GENERATIONS, now_ns: int = 0
) -> SkillResult:
    """`{playbook, subject, files, older_than?}`: `older_than` is wall time; a file changed since then is not known to be good."""
    before = newest(state_dir, params["playbook"], params["subject"], files)
    manifest = snapshot.take_files(
        params["files"], blobs, known=lambda real: latest.known_in(before[1] if before else {}, blobs, real), now_ns=now_ns
    )
    entries = [entry for root in manifest["roots"] for entry in entries_of(root)]
    if not any(entry.kind != "absent" for entry in entries):
        return failed("there is nothing to keep: none of the files is there", kept=False)
    changed = max(entry.ctime_ns for entry in entries) / 1e9
    if changed >= params.get("older_than", float("inf")):
        return failed("a file changed after its subject had started, so it is not known to be good", kept=False, changed=changed)
    if snapshot.labels_now(manifest) != snapshot.labels(manifest):
        return failed("a file changed while it was copied, so the copy is not known to be good", kept=False)
    folder = folder_of(state_dir, params["playbook"], params["subject"])
    make_dirs(files, folder)
    result = _write_generation(folder, manifest, list(params["files"]), files, blobs)
    for old in _generations(files, folder)[:-generations]:
        remove_if_there(files, f"{folder}/{old}")
    return result


def _write_generation(folder: str, manifest: dict[str, Any], paths: list[str], files: Files, blobs: Blobs) -> SkillResult:
    present = _generations(files, folder)
    last = _read(files, f"{folder}/{present[-1]}") if present else None
    name = present[-1] if present else ""
    new = last is None or snapshot.labels(last) != snapshot.labels(manifest)
    if new:
        name = f"{int(present[-1][:8]) + 1 if present else 1:08d}{_SUFFIX}"
        write_small(files, f"{folder}/{name}", encode_json(manifest))
    kept = {"kept": True, "new": new, "files": paths, "generation": name}
    return SkillResult(True, {**kept, "manifest": blobs.put(encode_json(manifest if new else last))})


def _generations(files: Files, folder: str) -> list[str]:
    try:
        names = files.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(_SUFFIX) and name[:8].isdigit())


def _read(files: Files, path: str) -> dict[str, Any] | None:
    try:
        raw = snapshot.read(files, path)
    except (OSError, ValueError):  # damaged: an older generation stands in
        return None
    return raw if isinstance(raw, dict) and "roots" in raw else None


def restore_last_good(paths: Sequence[str], folder: str, files: Files, blobs: Blobs, generation: int = 0) -> list[dict[str, Any]]:
    """Put these files (kept ones, or below kept folders) back as they were. Raises `Permanent` when one was never kept."""
    names = [name for name in reversed(_generations(files, folder)) if generation in (0, int(name[:8]))]
    kept = [root for name in names if (manifest := _read(files, f"{folder}/{name}")) for root in manifest["roots"]]
    roots = []
    for path in paths:
        found = next((part for root in kept if (part := _part(root, path))), None)
        if found is None:
            which = f" in generation {generation}" if generation else ""
            raise Permanent(f"there is no last-good copy of {path}{which}; list it under `keep` in the playbook")
        roots.append(found)
    manifest = {"version": 1, "roots": roots, "units": []}
    before = snapshot.labels_now(manifest)
    problems = [problem for root in roots for problem in _put_back(root, blobs)]
    if problems:
        raise Permanent("; ".join(problems))
    return proof_of(snapshot.labels(manifest), before, snapshot.labels_now(manifest))


def _put_back(root: Mapping[str, Any], blobs: Blobs) -> list[str]:
    try:
        snapshot.restore_root(root, blobs, over_locks=False)
    except (OSError, ValueError) as error:
        return [f"{root['path']}: {error}"]
    return []


def _part(root: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """The part of a kept root that is `path`; None when it lies elsewhere or was not there."""
    if path == root["path"]:
        return dict(root)
    below = path.removeprefix(root["path"] + "/")
    if below == path:
        return None
    entries = entries_of(root)
    if not any(entry.path == below for entry in entries):
        return None
    chosen = [entry for entry in entries if entry.path == below or entry.path.startswith(below + "/")]
    return {"path": path, "real": os.path.join(root["real"], below), "missing": [], "rows": rows_of(_moved(chosen, below))}


def _moved(entries: Sequence[Entry], below: str) -> Iterator[Entry]:
    """Relative to `below`. A group of hard links is named by the first of its names that lies there."""
    leaders: dict[str, str] = {}
    alone = {hard for hard, count in Counter(entry.hard for entry in entries).items() if count == 1}
    for entry in entries:
        path = entry.path[len(below) + 1 :]
        hard = "" if entry.hard in alone else leaders.setdefault(entry.hard, path) if entry.hard else ""
        yield entry._replace(path=path, hard=hard)


def proof_of(before: Mapping[str, str], after_act: Mapping[str, str], restored: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line for each path that differs anywhere; a path that a side does not have is absent there."""
    lines = []
    for path in sorted({*before, *after_act, *restored}):
        line = (before.get(path, "absent"), after_act.get(path, "absent"), restored.get(path, "absent"))
        if len(set(line)) > 1:
            ok = line[0] == line[2]
            lines.append({"path": shown(path), "before": line[0], "after_act": line[1], "restored": line[2], "ok": ok})
    return lines


# --- looking ----------------------------------------------------------------------------------------------------------


class Copy(NamedTuple):
    """One generation. `manifest` None: it is damaged."""

    playbook: str
    subject: str
    generation: int
    taken: float
    """Wall time."""
    manifest: Mapping[str, Any] | None


def copies(state_dir: str, files: Files) -> Iterator[Copy]:
    """Every last-good copy there is, the newest of each subject first. Raises OSError."""
    keep = f"{state_dir}/keep"
    for playbook in _folders(files, keep):
        for subject in _folders(files, f"{keep}/{playbook}"):
            folder = f"{keep}/{playbook}/{subject}"
            for name in reversed(_generations(files, folder)):
                path = f"{folder}/{name}"
                taken = files.lstat(path).mtime_ns / 1e9
                yield Copy(plain_name(playbook), plain_name(subject), int(name[:8]), taken, _read(files, path))


def _folders(files: Files, path: str) -> list[str]:
    try:
        return sorted(files.listdir(path))
    except FileNotFoundError:
        return []


class SinceGood(NamedTuple):
    """What stands now against a last-good copy."""

    changed: list[str]
    diff: str


def since_good(manifest: Mapping[str, Any], blobs: Blobs) -> SinceGood:
    """Only looks. Raises OSError."""
    before, now = snapshot.entries_by_path(manifest), after.look(manifest)
    read_now = difference.live_bytes(after.real_places([manifest], now))
    text = difference.difference(before, now, difference.saved_bytes(blobs), read_now)
    return SinceGood([shown(path) for path in difference.changed_paths(before, now)], text)


def newest(state_dir: str, playbook: str, subject: str, files: Files) -> tuple[int, Mapping[str, Any]] | None:
    """The newest generation that can be read, and its number."""
    folder = folder_of(state_dir, playbook, subject)
    for name in reversed(_generations(files, folder)):
        if manifest := _read(files, f"{folder}/{name}"):
            return int(name[:8]), manifest
    return None
