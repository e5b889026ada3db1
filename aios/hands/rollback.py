"""The built-in call `rollback`: takes back what attempts did, the last one first, and proves it.

`{attempts: [folder, …], force?}`, in reverse order of acting; of each first what is no file, by its skill's inverse (`undo.py`),
then its files and services (`snapshot.py`). Handled by the launcher like any act; idempotent. Of files, what is taken back are
our own changes: a path that an act left as it was is not touched, and where somebody else changed one of ours since,
nothing at all is done, and a person is asked (`force` goes over it). Before the first thing is put back, what was found is
written down (`found.json`), so that whoever goes on after a crash asks no more, and the proof survives. What an irreversible act
touched is named and left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aios.disk import read_all, write_small
from aios.errors import Permanent
from aios.events.calls import ROLLBACK_MORE_MAX_S, SkillResult
from aios.events.codec import decode_json, encode_json
from aios.hands import after, difference, kernel, snapshot
from aios.hands.after import Standing, Undone
from aios.hands.attempt import FOUND, MANIFEST, may_have_begun
from aios.hands.entry import Entry, shown
from aios.hands.keep import proof_of
from aios.hands.snapshot import RUNNING
from aios.hands.undo import Inverses, Undoing
from aios.ports import Blobs, Files, ServiceActs, UnitState

PROOF_LINES = 60
"""What a result has room for; the whole proof is a blob."""
CONFLICTS_SHOWN = 10
BYTES_A_SECOND = 10 << 20
"""Each is read three times and written once, and the slowest disk in use reads and writes some 40 MB a second."""

Manifest = dict[str, Any]
Services = Callable[[], ServiceActs]


def rollback(
    attempts: Sequence[str],
    state_dir: str,
    files: Files,
    blobs: Blobs,
    services: Services,
    inverses: Inverses,
    force: bool = False,
) -> SkillResult:
    """Raises OSError when it cannot even be seen what was there before, Permanent when that is gone or not to be read."""
    folders = _checked(attempts, state_dir)
    manifests = {folder: manifest for folder in folders if (manifest := _manifest(files, folder))}
    saved = {folder: after.undone(files, folder, manifest) for folder, manifest in manifests.items()}
    undone = list(saved.values())
    now = _look(undone)
    found = _found(files, folders[0]) if folders else {}
    begun = bool(found) and not found.get("done")
    if not begun and not force and (stolen := after.conflicts(undone, after.standing(now))):
        return _asks(stolen, undone, now, blobs, str(attempts[0]).split("/")[1])
    _refuse_what_is_gone(undone, now, blobs)
    if undone and not begun:
        kept = dict(found) or {"rows": after.to_rows(after.standing(now)), "diff": _diff(undone, now, blobs)}
        found = {**kept, "done": False}
        write_small(files, f"{folders[0]}/{FOUND}", encode_json(found))
    undoing = Undoing(files, inverses)
    problems = []
    for folder in folders:
        undoing.undo(folder)
        it = saved.get(folder)
        problems += snapshot.restore(it.manifest, blobs, services, it.ours()) if it else []
    lines = _proof(undone, found) + _setting_lines(undone) + _unit_lines(undone, services) + undoing.proof()
    if undone:
        write_small(files, f"{folders[0]}/{FOUND}", encode_json({**found, "done": True}))
    covered = {*saved, *undoing.folders}
    judged = _judged(lines, problems + undoing.problems, undone, len(covered), str(found.get("diff", "")), blobs)
    unsaved = [folder.rpartition("/")[2] for folder in folders if folder not in covered and may_have_begun(files, folder)]
    return replace(judged, result={**judged.result, "unsaved": unsaved}) if unsaved else judged


def more_time_s(attempts: Sequence[str], state_dir: str, files: Files) -> float:
    """How much longer than its call says a rollback may take, for the bytes that were saved. What cannot be read counts as none:
    the rollback itself will tell."""
    try:
        manifests = [_manifest(files, folder) for folder in _checked(attempts, state_dir)]
        saved = sum(_held(entry) for it in manifests if it for entry in snapshot.entries_by_path(it).values())
    except (OSError, ValueError, Permanent):
        return 0.0
    return min(saved / BYTES_A_SECOND, ROLLBACK_MORE_MAX_S)


def _held(entry: Entry) -> int:
    return entry.size if entry.data is None else sum(length for _, length in entry.data)


def _judged(
    lines: list[dict[str, Any]], problems: list[str], undone: Sequence[Undone], count: int, diff: str, blobs: Blobs
) -> SkillResult:
    missed = [line["path"] for line in lines if not line["ok"]]
    problems += [f"{path} is not as it was before" for path in missed if not any(path in problem for problem in problems)]
    lost = sorted({root["path"] for it in undone for root in it.manifest["roots"] if root.get("irreversible")})
    evidence = [{"kind": "proof", "blob": blobs.put(encode_json(lines))}]
    if diff and not problems:  # it was made before, of what was to come of it
        evidence.append({"kind": "diff", "blob": diff})
    return SkillResult(
        ok=not problems,
        result={"proof": lines[:PROOF_LINES], "changed": len(lines), "attempts": count, "irreversible": lost},
        evidence=tuple(evidence),
        next=("human_check",) if problems else (),
        error="; ".join(problems)[:2000],
    )


def _asks(stolen: Sequence[str], undone: Sequence[Undone], now: Mapping[str, Entry], blobs: Blobs, run: str) -> SkillResult:
    """Nothing was put back: which files, what is there now against what the act left, and how to do it all the same."""
    named = ", ".join(shown(path) for path in stolen[:CONFLICTS_SHOWN])
    more = f" and {len(stolen) - CONFLICTS_SHOWN} more" if len(stolen) > CONFLICTS_SHOWN else ""
    live = difference.live_bytes(after.real_places([it.manifest for it in undone], now))
    told = ""
    for path in stolen[:CONFLICTS_SHOWN]:
        left, text = after.as_left(undone, path)
        told += difference.since_left(path, left.label, now.get(path, Entry("", "absent")), text, live)
    return SkillResult(
        ok=False,
        result={"proof": [], "changed": 0, "attempts": len(undone), "conflicts": [shown(path) for path in stolen[:PROOF_LINES]]},
        evidence=({"kind": "conflict", "blob": blobs.put(told.encode(errors="replace"))},),
        next=("human_check",),
        error=f"changed by somebody else since our act: {named}{more}; nothing was put back. "
        f"To put it back all the same, and lose their change: aios runs rollback {run} --force",
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
        return snapshot.read(files, f"{folder}/{MANIFEST}")
    except FileNotFoundError:
        if not _there(files, folder):
            raise Permanent(
                f"{folder} is gone, so nobody can say what was there before: its time was over (setting snapshots.keep_days)"
            ) from None
        return None


def _there(files: Files, folder: str) -> bool:
    try:
        files.lstat(folder)
    except FileNotFoundError:
        return False
    return True


def _look(undone: Sequence[Undone]) -> dict[str, Entry]:
    """Whole path -> entry, now. What cannot be read stands for itself, and its restore tells why."""
    now: dict[str, Entry] = {}
    for it in undone:
        try:
            now.update(after.look(it.manifest))
        except OSError:
            continue
    return now


def _found(files: Files, folder: str) -> Mapping[str, Any]:
    """What a rollback before has found and written down; empty when there was none."""
    try:
        raw = decode_json(read_all(files, f"{folder}/{FOUND}", after.RECORD_MAX))
    except (FileNotFoundError, ValueError):
        return {}
    return raw if isinstance(raw, dict) and "rows" in raw else {}


def _refuse_what_is_gone(undone: Sequence[Undone], now: Mapping[str, Entry], blobs: Blobs) -> None:
    """Before anything is touched: everything that has to be put back is still there. Raises Permanent."""
    for it in undone:
        ours = it.ours()
        for path, entry in it.entries.items():
            due = (ours is None or path in ours) and entry.kind == "file" and not _has_bytes(now.get(path), entry)
            if due and entry.at and not blobs.holds(str(entry.at[0])):
                raise Permanent(
                    f"what was saved of {shown(path)} is gone, so nothing was put back: "
                    f"its time was over (settings snapshots.keep_days, snapshots.size_max_mb)"
                )


def _has_bytes(now: Entry | None, wanted: Entry) -> bool:
    return now is not None and now.blob == wanted.blob


def _diff(undone: Sequence[Undone], now: Mapping[str, Entry], blobs: Blobs) -> str:
    """The blob that shows what the rollback changes: from what stands now to what was there before. Empty when it is nothing."""
    before = _first_wins([it.entries for it in reversed(undone)])
    if all(it.after is not None for it in undone):  # what others changed beside our acts is left as it is
        ours = {path for it in undone for path in it.ours() or ()}
        before, now = ({path: entry for path, entry in side.items() if path in ours} for side in (before, now))
    places = after.real_places([it.manifest for it in undone], now)
    text = difference.difference(now, before, difference.live_bytes(places), difference.saved_bytes(blobs))
    return blobs.put(text.encode(errors="replace")) if text else ""


def _first_wins(maps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in maps:
        merged = {**one, **merged}
    return merged


def _proof(undone: Sequence[Undone], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line for each path that an act changed: before the first act, as the last one left it, and now."""
    before = _first_wins([_labels(it.before) for it in reversed(undone)])
    seen = _labels(after.from_rows(found.get("rows", ())))
    left = _first_wins([_labels(it.after) for it in undone if it.after is not None] + [seen])
    if undone and all(it.after is not None for it in undone):
        left = _first_wins([_labels(it.after) for it in undone if it.after is not None])
    restored = _first_wins([snapshot.labels_now(it.manifest) for it in reversed(undone)])
    lines = proof_of(before, left, restored)
    if any(it.after is None for it in undone):
        return lines
    ours = {shown(path) for it in undone for path in it.ours() or ()}
    return [line for line in lines if line["path"] in ours]


def _labels(stood: Standing) -> dict[str, str]:
    return {path: it.label for path, it in stood.items()}


def _setting_lines(undone: Sequence[Undone]) -> list[dict[str, Any]]:
    first = {one["name"]: one["value"] for it in undone for one in it.manifest.get("settings", ())}
    return [_setting_line(name, value) for name, value in first.items()]


def _setting_line(name: str, before: str) -> dict[str, Any]:
    try:
        now = kernel.read(name)
    except OSError as error:
        now = f"unreadable: {error.strerror}"
    return {"path": f"setting:{name}", "before": before, "after_act": "", "restored": now, "ok": now == before}


def _unit_lines(undone: Sequence[Undone], services: Services) -> list[dict[str, Any]]:
    """The services as the first attempt's snapshot has them, and as they are. One that did not run before may run now: a
    rollback undoes, it never stops what an act brought back."""
    units = {unit["subject"]: unit for it in undone for unit in it.manifest["units"]}
    return [_unit_line(unit, services().state(subject)) for subject, unit in units.items()]


def _unit_line(before: Mapping[str, Any], now: UnitState) -> dict[str, Any]:
    undone = (before["enabled"], before["masked"]) == (now.enabled, now.masked)
    runs = before["state"] not in RUNNING or now.state in RUNNING
    return {
        "path": before["subject"],
        "before": f"{before['state']} enabled={before['enabled']} masked={before['masked']}",
        "after_act": "",
        "restored": f"{now.state} enabled={now.enabled} masked={now.masked}",
        "ok": undone and runs,
    }
