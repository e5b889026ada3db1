"""The built-in call `rollback`: takes back what attempts did, the last one first, and proves it.

`{attempts: [folder, …]}` in reverse order of acting; of each first its files and services (`snapshot.py`), then what is no file,
by its skill's inverse (`undo.py`). Handled by the launcher like any act; idempotent: what was found before the first thing was
put back is written down once (`after.json` in each attempt's folder), so that the proof survives a crash. At the end everything
is looked at again: what does not stand as before the first act is a problem. What an irreversible act touched is named and left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aios.disk import read_all, write_small
from aios.errors import Permanent
from aios.events.calls import SkillResult
from aios.events.codec import decode_json, encode_json
from aios.hands import snapshot
from aios.hands.attempt import AFTER, MANIFEST
from aios.hands.keep import MANIFEST_MAX, proof_of
from aios.hands.snapshot import RUNNING
from aios.hands.undo import Inverses, Undoing
from aios.ports import Blobs, Files, ServiceActs, UnitState

PROOF_LINES = 60
"""What a result has room for; the whole proof is a blob."""

Manifest = dict[str, Any]


def rollback(
    attempts: Sequence[str],
    state_dir: str,
    files: Files,
    blobs: Blobs,
    services: Callable[[], ServiceActs],
    inverses: Inverses,
) -> SkillResult:
    """Raises OSError when it cannot even be seen what was there before."""
    folders = {folder: _manifest(files, folder) for folder in _checked(attempts, state_dir)}
    manifests = [(folder, manifest) for folder, manifest in folders.items() if manifest]
    after = _found_before(files, manifests)
    undoing = Undoing(files, inverses)
    problems = []
    for folder, manifest in folders.items():
        problems += snapshot.restore(manifest, blobs, services) if manifest else []
        undoing.undo(folder)
    before = _first_wins([snapshot.labels(manifest) for _, manifest in reversed(manifests)])
    restored = _first_wins([snapshot.labels_now(manifest) for _, manifest in reversed(manifests)])
    lines = proof_of(before, after, restored)
    lines += _unit_lines(manifests, services) + undoing.proof()
    problems += undoing.problems
    missed = [line["path"] for line in lines if not line["ok"]]
    problems += [f"{path} is not as it was before" for path in missed if not any(path in problem for problem in problems)]
    undone = len({*(folder for folder, _ in manifests), *undoing.folders})
    whole = blobs.put(encode_json(lines))
    lost = sorted({root["path"] for _, manifest in manifests for root in manifest["roots"] if root.get("irreversible")})
    return SkillResult(
        ok=not problems,
        result={"proof": lines[:PROOF_LINES], "changed": len(lines), "attempts": undone, "irreversible": lost},
        evidence=({"kind": "proof", "blob": whole},),
        next=("human_check",) if problems else (),
        error="; ".join(problems)[:2000],
    )


def _checked(attempts: Sequence[str], state_dir: str) -> list[str]:
    for folder in attempts:
        parts = folder.split("/")
        if len(parts) != 3 or parts[0] != "runs" or any(part.startswith(".") or not part for part in parts):
            raise Permanent(f"{folder[:200]!r} is no attempt's folder; it must be runs/RUN/STEP.ATTEMPT")
    return [f"{state_dir}/{folder}" for folder in attempts]


def _manifest(files: Files, folder: str) -> Manifest | None:
    """None when the attempt got no further than its snapshot, or touches nothing: then there is nothing to take back."""
    try:
        raw: Manifest = decode_json(read_all(files, f"{folder}/{MANIFEST}", MANIFEST_MAX))
    except FileNotFoundError:
        return None
    return raw


def _found_before(files: Files, manifests: Sequence[tuple[str, Manifest]]) -> dict[str, str]:
    """Path -> label as the acts left it."""
    found = []
    for folder, manifest in manifests:
        path = f"{folder}/{AFTER}"
        try:
            seen = decode_json(read_all(files, path, MANIFEST_MAX))
        except (FileNotFoundError, ValueError):
            seen = snapshot.labels_now(manifest)
            write_small(files, path, encode_json(seen))
        found.append(seen)
    return _first_wins(found)


def _first_wins(maps: Sequence[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for labels in maps:
        merged = {**labels, **merged}
    return merged


def _unit_lines(manifests: Sequence[tuple[str, Manifest]], services: Callable[[], ServiceActs]) -> list[dict[str, Any]]:
    """The services as the first attempt's snapshot has them, and as they are. One that did not run before may run now: a
    rollback undoes, it never stops what an act brought back."""
    units = {unit["subject"]: unit for _, manifest in manifests for unit in manifest["units"]}
    return [_unit_line(unit, services().state(subject)) for subject, unit in units.items()]


def _unit_line(before: dict[str, Any], now: UnitState) -> dict[str, Any]:
    undone = (before["enabled"], before["masked"]) == (now.enabled, now.masked)
    runs = before["state"] not in RUNNING or now.state in RUNNING
    return {
        "path": before["subject"],
        "before": f"{before['state']} enabled={before['enabled']} masked={before['masked']}",
        "after_act": "",
        "restored": f"{now.state} enabled={now.enabled} masked={now.masked}",
        "ok": undone and runs,
    }
