"""Saves what a call touches, and puts it back with proof.

`outline` and `filled` run in the launcher before each act; `restore` in a rollback, and for last-good copies. A manifest is
plain JSON: roots with every entry below them, services with their enablement and state, kernel settings with their values.
Restoring is idempotent: it may be killed anywhere and run again. It undoes and never heals: a service is started again only if
it ran before.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from aios.disk import read_all
from aios.errors import Permanent, Temporary
from aios.events.calls import Touches
from aios.events.codec import decode_json
from aios.hands import flags, kernel, tree
from aios.hands.entry import Entry, entries_of, path_below, rows_of, shown
from aios.hands.proc import boot_id
from aios.hands.restore import Restore, restore_absence
from aios.hands.saver import Saver
from aios.hands.scan import NOTHING_KNOWN, Bounds, Hasher, Known, Scan
from aios.hands.times import rested_ns
from aios.ports import Blobs, Files, ServiceActs, UnitState

Manifest = Mapping[str, Any]
KnownOf = Callable[[str], Known]

VERSION = 2
MANIFEST_MAX = 64 << 20
BOUNDS = Bounds()
"""Where nobody has set any."""
UNIT_TIMEOUT_S = 30.0
RUNNING = ("up", "starting")
UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system")


Allow = Callable[[str, str], None]


def all_allowed(_path: str, _real: str) -> None:
    """For who has nothing protected."""


def nothing_known(_real: str) -> Known:
    return NOTHING_KNOWN


def outline(
    touches: Touches, services: Callable[[], ServiceActs], *, irreversible: bool = False, allow: Allow = all_allowed
) -> dict[str, Any]:
    """A manifest but for what its trees hold: where each path truly leads, and how units and settings stand now. Empty when
    nothing is touched.

    Of an irreversible act's files only where they lie is written down: a copy of what it deletes would free nothing. `allow`
    hears where each path truly leads before anything is saved there, and raises where that may not be touched. Raises OSError,
    Permanent or Temporary.
    """
    if not touches.resources():
        return {}
    states = [services().state(subject) for subject in touches.units]
    roots = [_root(path, allow) | ({"entries": [], "irreversible": True} if irreversible else {}) for path in touches.files]
    own = [_root(path, all_allowed) | {"unit": state.subject} for state in states for path in _drop_ins(state)]
    return {
        "version": VERSION,
        "roots": roots + own,
        "units": [_unit(state) for state in states],
        "settings": [kernel.saved(name) for name in touches.settings],
    }


def _root(path: str, allow: Allow) -> dict[str, Any]:
    real, missing = tree.real_place(path)
    allow(path, real)
    return {"path": path, "real": real, "missing": missing}


def filled(
    outline: Mapping[str, Any], blobs: Blobs, *, bounds: Bounds = BOUNDS, known: KnownOf = nothing_known, now_ns: int = 0
) -> dict[str, Any]:
    """The manifest of what stands now; every blob it names is durable. Raises OSError.

    `known` is what an earlier snapshot saw at a real place: its files are not read again where they surely are unchanged.
    `now_ns` is wall time.
    """
    saver = Saver(blobs)
    try:
        scan = Scan(saver, bounds)
        found = [None if "irreversible" in root else scan.run(root["real"], known(root["real"])) for root in outline["roots"]]
        saver.finish()
    finally:
        saver.drop()
    roots = [
        root if entries is None else root | {"rows": rows_of(entries)}
        for root, entries in zip(outline["roots"], found, strict=True)
    ]
    return {**outline, "taken_ns": now_ns, "boot_id": boot_id(), "roots": roots}


def take_files(
    paths: Iterable[str], blobs: Blobs, *, bounds: Bounds = BOUNDS, known: KnownOf = nothing_known, now_ns: int = 0
) -> dict[str, Any]:
    """The same of files alone."""
    roots = [_root(path, all_allowed) for path in paths]
    alone = {"version": VERSION, "roots": roots, "units": [], "settings": []}
    return filled(alone, blobs, bounds=bounds, known=known, now_ns=now_ns)


def _drop_ins(state: UnitState) -> list[str]:
    """Where an administrator changes a unit of systemd without touching its file."""
    return [f"{folder}/{state.subject}.d" for folder in UNIT_FOLDERS] if state.backend == "systemd" else []


def _unit(state: UnitState) -> dict[str, Any]:
    if state.state == "unknown":
        raise Temporary(f"nobody can say how {state.subject} stands")
    return {"subject": state.subject, "state": state.state, "enabled": state.enabled, "masked": state.masked}


def read(files: Files, path: str) -> dict[str, Any]:
    """The manifest at this path. Raises OSError; ValueError when it is damaged."""
    manifest: dict[str, Any] = decode_json(read_all(files, path, MANIFEST_MAX))
    return manifest


def bulks_of(manifest: Manifest) -> set[str]:
    """The bulks that a restore would read."""
    return {str(entry.at[0]) for root in manifest["roots"] for entry in entries_of(root) if entry.at}


# --- what stands now ------------------------------------------------------------------------------------------------


def entries_by_path(manifest: Manifest) -> dict[str, Entry]:
    """Whole path -> entry, of the manifest."""
    return {path_below(root["path"], entry.path): entry for root in manifest["roots"] for entry in entries_of(root)}


def labels(manifest: Manifest) -> dict[str, str]:
    """Whole path -> label, of the manifest."""
    return {path: entry.label() for path, entry in entries_by_path(manifest).items()}


def seen_now(manifest: Manifest) -> list[tuple[Mapping[str, Any], list[Entry]]]:
    """What stands now where the manifest's roots are. Raises OSError."""
    scan = Scan(Hasher(), _WIDE)
    return [(root, scan.run(root["real"], known_by(manifest, root))) for root in reversible(manifest)]


def known_by(manifest: Manifest, root: Mapping[str, Any], *, compare: bool = False) -> Known:
    return Known(partial(entries_of, root), rested_ns(manifest), compare=compare)


def labels_now(manifest: Manifest) -> dict[str, str]:
    """Whole path -> label, of what stands now where the manifest's roots are. What cannot be read says so."""
    found: dict[str, str] = {}
    for root in reversible(manifest):
        try:
            entries = Scan(Hasher(), _WIDE).run(root["real"], known_by(manifest, root))
        except OSError as error:
            found[root["path"]] = f"unreadable: {error.strerror}"
            continue
        found.update((path_below(root["path"], entry.path), entry.label()) for entry in entries)
    return found


def reversible(manifest: Manifest) -> list[Mapping[str, Any]]:
    """The roots that were saved."""
    return [root for root in manifest["roots"] if not root.get("irreversible")]


_WIDE = Bounds(1_000_000, 1 << 40)
"""For looking only: an act may have made more than a snapshot may hold."""


# --- putting back ---------------------------------------------------------------------------------------------------


def restore(
    manifest: Manifest, blobs: Blobs, services: Callable[[], ServiceActs], only: Collection[str] | None = None
) -> list[str]:
    """Put everything back; what could not be is told in sentences, and the rest is put back all the same.

    `only`: of the files, no more than these whole paths.
    """
    problems: list[str] = []
    stale = {root["unit"] for root in reversible(manifest) if "unit" in root and _differs(root)}
    for root in reversible(manifest):
        try:
            restore_root(root, blobs, known_by(manifest, root, compare=True), _below(root["path"], only))
        except (OSError, ValueError) as error:  # a swapped link, a full disk, blobs that are gone or damaged
            problems.append(f"{root['path']}: {error}")
    for setting in manifest.get("settings", ()):
        try:
            kernel.put_back(setting)
        except (OSError, Permanent) as error:
            problems.append(f"{setting['name']}: {error}")
    for unit in manifest["units"]:
        try:
            if unit["subject"] in stale:
                services().reload(unit["subject"])
            restore_unit(unit, services())
        except (Permanent, Temporary) as error:
            problems.append(f"{unit['subject']}: {error}")
    return problems


def _differs(root: Mapping[str, Any]) -> bool:
    """Drop-ins that are not as they were: systemd has to read them again once they are."""
    try:
        now = Scan(Hasher(), _WIDE).run(root["real"])
    except OSError:
        return True
    return {entry.path: entry.label() for entry in now} != {entry.path: entry.label() for entry in entries_of(root)}


def _below(root: str, paths: Collection[str] | None) -> set[str] | None:
    """Of whole paths, those in this root, relative to it."""
    if paths is None:
        return None
    return {path[len(root) + 1 :] for path in paths if path == root or path.startswith(f"{root}/")}


def restore_root(
    root: Mapping[str, Any],
    blobs: Blobs,
    known: Known = NOTHING_KNOWN,
    only: Collection[str] | None = None,
    *,
    over_locks: bool = True,
) -> None:
    """Raises OSError, and ValueError when blobs are gone or damaged. `over_locks` false: what somebody has made
    immutable or append-only since is left, and with it all of this root.
    """
    if only is not None and not only:
        return
    with _folders_lock_told(root["real"]):
        _restore_root(root, blobs, known, only, over_locks)


def _restore_root(root: Mapping[str, Any], blobs: Blobs, known: Known, only: Collection[str] | None, over_locks: bool) -> None:
    entries = entries_of(root)
    if entries[0].kind == "absent":
        restore_absence(root["real"], root["missing"])
        return
    with tree.folder_of(root["real"]) as (folder, name):
        now = Scan(Hasher(), _WIDE).run(root["real"], known)
        if not over_locks:
            _refuse_new_locks(entries, now)
        Restore(entries, now, blobs, only).run(folder, name)


@contextmanager
def _folders_lock_told(real: str) -> Iterator[None]:
    """The folder that a root lies in is not ours to open: where it is locked, a person is told which it is."""
    try:
        yield
    except PermissionError as error:
        with tree.folder_of(real) as (folder, _):
            found = flags.flags_of(folder) & flags.LOCKS
        if not found:
            raise
        where = os.path.dirname(real)
        said = f"its folder is {flags.lock_words(found)}: chattr -{flags.shown(found)} {where}, and roll back again"
        raise OSError(error.errno, said) from error


def _refuse_new_locks(entries: Iterable[Entry], now: Iterable[Entry]) -> None:
    kept = {entry.path: entry.flags for entry in entries}
    for entry in now:
        if found := entry.flags & flags.LOCKS & ~kept.get(entry.path, flags.LOCKS):
            said = f"it is {flags.lock_words(found)} and was not when it was kept: chattr -{flags.shown(found)} it first"
            raise OSError(errno.EPERM, said, shown(entry.path) or None)


def restore_unit(before: Mapping[str, Any], services: ServiceActs) -> None:
    """Enablement and masks as they were; running only if it ran. Raises Permanent or Temporary."""
    subject = before["subject"]
    now = services.state(subject)
    if before["enabled"] is not None and (now.enabled, now.masked) != (before["enabled"], before["masked"]):
        services.set_enabled(subject, before["enabled"], before["masked"])
    if before["state"] in RUNNING and now.state not in RUNNING:
        services.start(subject, UNIT_TIMEOUT_S)


__all__ = [
    "RUNNING",
    "Manifest",
    "bulks_of",
    "entries_by_path",
    "filled",
    "labels",
    "labels_now",
    "outline",
    "read",
    "restore",
    "restore_root",
    "restore_unit",
    "reversible",
    "take_files",
]
