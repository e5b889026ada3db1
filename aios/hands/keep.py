"""Last-good copies: files as they were while their subject was proven well. Below `keep/PLAYBOOK/SUBJECT/`, two generations.

`keep_copy` is the built-in call that takes one (the daemon calls it once `verify` has held); `restore_last_good` is what
`restore_files {from: last_good}` does. Each generation is a manifest as `snapshot.py` makes them; the bytes are blobs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aios.disk import make_dirs, read_all, remove_if_there, write_small
from aios.errors import Permanent
from aios.events.calls import SkillResult, failed
from aios.events.codec import decode_json, encode_json
from aios.hands import snapshot
from aios.hands.entry import Entry, entries_of, rows_of, shown
from aios.hands.keeper import file_name
from aios.ports import Blobs, Files

GENERATIONS = 2
MANIFEST_MAX = 64 << 20
_SUFFIX = ".manifest.json"


def folder_of(state_dir: str, playbook: str, subject: str) -> str:
    return f"{state_dir}/keep/{file_name(playbook)}/{file_name(subject)}"


def keep_copy(params: Mapping[str, Any], state_dir: str, files: Files, blobs: Blobs) -> SkillResult:
    """`{playbook, subject, files, older_than?}`: `older_than` is wall time; a file changed since then is not known to be good."""
    manifest = snapshot.take_files(params["files"], blobs)
    entries = [entry for root in manifest["roots"] for entry in entries_of(root)]
    if not any(entry.kind != "absent" for entry in entries):
        return failed("there is nothing to keep: none of the files is there", kept=False)
    newest = max(entry.ctime_ns for entry in entries) / 1e9
    if newest >= params.get("older_than", float("inf")):
        return failed("a file changed after its subject had started, so it is not known to be good", kept=False, changed=newest)
    folder = folder_of(state_dir, params["playbook"], params["subject"])
    make_dirs(files, folder)
    return _write_generation(folder, manifest, list(params["files"]), files, blobs)


def _write_generation(folder: str, manifest: dict[str, Any], paths: list[str], files: Files, blobs: Blobs) -> SkillResult:
    present = _generations(files, folder)
    last = _read(files, f"{folder}/{present[-1]}") if present else None
    name = present[-1] if present else ""
    if last is None or snapshot.labels(last) != snapshot.labels(manifest):
        name = f"{int(present[-1][:8]) + 1 if present else 1:08d}{_SUFFIX}"
        write_small(files, f"{folder}/{name}", encode_json(manifest))
        present.append(name)
    for old in present[:-GENERATIONS]:
        remove_if_there(files, f"{folder}/{old}")
    return SkillResult(True, {"kept": True, "manifest": blobs.put(encode_json(manifest)), "files": paths, "generation": name})


def _generations(files: Files, folder: str) -> list[str]:
    try:
        names = files.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(_SUFFIX) and name[:8].isdigit())


def _read(files: Files, path: str) -> dict[str, Any] | None:
    try:
        raw = decode_json(read_all(files, path, MANIFEST_MAX))
    except (OSError, ValueError):  # damaged: an older generation stands in
        return None
    return raw if isinstance(raw, dict) and "roots" in raw else None


def restore_last_good(paths: Sequence[str], folder: str, files: Files, blobs: Blobs) -> list[dict[str, Any]]:
    """Put these files (kept ones, or below kept folders) back as they were. Raises `Permanent` when one was never kept."""
    manifests = [_read(files, f"{folder}/{name}") for name in reversed(_generations(files, folder))]
    kept = [root for manifest in manifests if manifest for root in manifest["roots"]]
    roots = []
    for path in paths:
        found = next((part for root in kept if (part := _part(root, path))), None)
        if found is None:
            raise Permanent(f"there is no last-good copy of {path}; list it under `keep` in the playbook")
        roots.append(found)
    manifest = {"version": 1, "roots": roots, "units": []}
    before = snapshot.labels_now(manifest)
    problems = [problem for root in roots for problem in _put_back(root, blobs)]
    if problems:
        raise Permanent("; ".join(problems))
    return proof_of(snapshot.labels(manifest), before, snapshot.labels_now(manifest))


def _put_back(root: Mapping[str, Any], blobs: Blobs) -> list[str]:
    try:
        snapshot.restore_root(root, blobs)
    except (OSError, KeyError, ValueError) as error:
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
