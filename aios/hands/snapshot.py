"""Saves what a call touches, and puts it back with proof.

`take` runs in the launcher before each act; `restore` in a rollback, and for last-good copies. A manifest is plain JSON: roots
with every entry below them, and services with their enablement and state. Restoring is idempotent: it may be killed anywhere
and run again. It undoes and never heals: a service is started again only if it ran before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aios.errors import Permanent, Temporary
from aios.events.calls import Touches
from aios.hands import tree
from aios.hands.tree import Entry
from aios.ports import Blobs, ServiceActs, UnitState

Manifest = Mapping[str, Any]
Proof = dict[str, Any]

UNIT_TIMEOUT_S = 30.0
RUNNING = ("up", "starting")


def take(touches: Touches, blobs: Blobs, services: Callable[[], ServiceActs], *, irreversible: bool = False) -> dict[str, Any]:
    """The manifest of what stands now; every blob it names is durable. Raises OSError, Permanent or Temporary.

    Before an irreversible act only where its files lie is written down: a copy of what it deletes would free nothing.
    """
    if not touches.files and not touches.units:
        return {}
    return {
        "version": 1,
        "roots": [_place(path) if irreversible else _root(path, tree.Scan(blobs.put)) for path in touches.files],
        "units": [_unit(services().state(subject)) for subject in touches.units],
    }


def take_files(paths: Iterable[str], blobs: Blobs) -> dict[str, Any]:
    return {"version": 1, "roots": [_root(path, tree.Scan(blobs.put)) for path in paths], "units": []}


def _root(path: str, scan: tree.Scan) -> dict[str, Any]:
    real, missing = tree.real_place(path)
    return {"path": path, "real": real, "missing": missing, "entries": [entry.to_json() for entry in scan.run(real)]}


def _place(path: str) -> dict[str, Any]:
    real, missing = tree.real_place(path)
    return {"path": path, "real": real, "missing": missing, "entries": [], "irreversible": True}


def _unit(state: UnitState) -> dict[str, Any]:
    if state.state == "unknown":
        raise Temporary(f"nobody can say how {state.subject} stands")
    return {"subject": state.subject, "state": state.state, "enabled": state.enabled, "masked": state.masked}


# --- what stands now ------------------------------------------------------------------------------------------------


def labels(manifest: Manifest) -> dict[str, str]:
    """Path -> label, of the manifest."""
    found: dict[str, str] = {}
    for root in manifest["roots"]:
        entries = map(Entry.from_json, root["entries"])
        found.update((_whole(root["path"], entry.path), entry.label()) for entry in entries)
    return found


def labels_now(manifest: Manifest) -> dict[str, str]:
    """Path -> label, of what stands now where the manifest's roots are. What cannot be read says so."""
    found: dict[str, str] = {}
    for root in reversible(manifest):
        try:
            entries = tree.Scan(tree.hash_only).run(root["real"])
        except OSError as error:
            found[root["path"]] = f"unreadable: {error.strerror}"
            continue
        found.update((_whole(root["path"], entry.path), entry.label()) for entry in entries)
    return found


def _whole(root: str, below: str) -> str:
    return tree.shown(f"{root}/{below}" if below else root)


def reversible(manifest: Manifest) -> list[Mapping[str, Any]]:
    """The roots that were saved."""
    return [root for root in manifest["roots"] if not root.get("irreversible")]


# --- putting back ---------------------------------------------------------------------------------------------------


def restore(manifest: Manifest, blobs: Blobs, services: Callable[[], ServiceActs]) -> list[str]:
    """Put everything back; what could not be is told in sentences, and the rest is put back all the same."""
    problems: list[str] = []
    for root in reversible(manifest):
        try:
            restore_root(root, blobs)
        except (OSError, KeyError, ValueError) as error:  # a swapped link, a full disk, a blob that is gone or damaged
            problems.append(f"{root['path']}: {error}")
    for unit in manifest["units"]:
        try:
            restore_unit(unit, services())
        except (Permanent, Temporary) as error:
            problems.append(f"{unit['subject']}: {error}")
    return problems


def restore_root(root: Mapping[str, Any], blobs: Blobs) -> None:
    """Raises OSError, and KeyError or ValueError when a blob is gone or damaged."""
    entries = {entry.path: entry for entry in map(Entry.from_json, root["entries"])}
    if entries[""].kind == "absent":
        _restore_absence(root["real"], root["missing"])
        return
    with tree.folder_of(root["real"]) as (folder, name):
        now = {entry.path: entry for entry in tree.Scan(tree.hash_only).run(root["real"])}
        _Restore(entries, now, blobs).entry(folder, name, "")


def _restore_absence(real: str, missing: Sequence[str]) -> None:
    try:
        with tree.folder_of(real) as (folder, name):
            tree.remove(folder, tree.temporary_of(name))
            if tree.remove(folder, name):
                os.fsync(folder)
    except FileNotFoundError:
        return  # not even its folder is there
    for path in reversed(missing):
        with tree.folder_of(path) as (folder, name):
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError:  # something else has been put there since: it is not ours to remove
                return
            os.fsync(folder)


class _Restore:
    """One root that was there."""

    def __init__(self, entries: Mapping[str, Entry], now: Mapping[str, Entry], blobs: Blobs) -> None:
        self._entries = entries
        self._now = now
        self._blobs = blobs
        self._below: dict[str, list[str]] = {}
        for path in entries:
            if path:
                self._below.setdefault(os.path.dirname(path), []).append(path)

    def entry(self, folder: int, name: str, path: str) -> None:
        wanted, now = self._entries[path], self._now.get(path)
        if wanted.kind == "folder":
            self._folder(folder, name, path, wanted)
        elif wanted.kind == "other" or (now is not None and now.label() == wanted.label()):
            self._same(folder, name, wanted, now)
        elif wanted.kind == "link":
            tree.put_link(folder, name, wanted)
        else:
            tree.put_file(folder, name, self._blobs.get(wanted.blob), wanted)

    def _same(self, folder: int, name: str, wanted: Entry, now: Entry | None) -> None:
        if wanted.kind == "file" and now is not None and now.mtime_ns != wanted.mtime_ns:
            os.utime(name, ns=(wanted.mtime_ns, wanted.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _folder(self, folder: int, name: str, path: str, wanted: Entry) -> None:
        now = self._now.get(path)
        if now is not None and now.kind != "folder":
            tree.remove(folder, name)
        if now is None or now.kind != "folder":
            os.mkdir(name, 0o700, dir_fd=folder)
            os.fsync(folder)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            self._contents(fd, path)
            tree.dress(fd, wanted)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _contents(self, fd: int, path: str) -> None:
        wanted = self._below.get(path, [])
        names = {os.path.basename(below) for below in wanted}
        for extra in os.listdir(fd):
            if extra not in names:
                tree.remove(fd, extra)
        for below in wanted:
            self.entry(fd, os.path.basename(below), below)


def restore_unit(before: Mapping[str, Any], services: ServiceActs) -> None:
    """Enablement and masks as they were; running only if it ran. Raises Permanent or Temporary."""
    subject = before["subject"]
    now = services.state(subject)
    if before["enabled"] is not None and (now.enabled, now.masked) != (before["enabled"], before["masked"]):
        services.set_enabled(subject, before["enabled"], before["masked"])
    if before["state"] in RUNNING and now.state not in RUNNING:
        services.start(subject, UNIT_TIMEOUT_S)
