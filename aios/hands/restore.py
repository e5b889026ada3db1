"""Puts one root of a snapshot back as it was: content, owner, mode, attributes, times, links, hard links, holes, and absence.

`Restore` compares what stands now with what is wanted and changes only what differs, folder by folder, each through its own
descriptor, so that no link swapped in meanwhile leads elsewhere. It may be killed anywhere and run again. Called by
`snapshot.py`, which says by `only` which paths are ours to change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence
from functools import partial

from aios.hands import flags, tree
from aios.hands.entry import Entry, shown
from aios.hands.saver import write_content
from aios.hands.scan import open_to_read
from aios.ports import Blobs

NOTED = frozenset({"fifo", "socket", "device", "other"})
"""Kinds that have no bytes to save: what stands is left, what is gone is told by the proof."""


def restore_absence(real: str, missing: Sequence[str]) -> None:
    """Remove what was not there, and the folders that had to be made for it, if nothing else is in them now."""
    try:
        with tree.folder_of(real) as (folder, name):
            tree.remove(folder, tree.temporary_of(name))
            if tree.remove(folder, name, unlock=True):
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


LOST_TOLD = 5


class Restore:
    """One root that was there. `only` are the paths below it that may be changed; None: all."""

    def __init__(self, wanted: Iterable[Entry], now: Iterable[Entry], blobs: Blobs, only: Collection[str] | None = None) -> None:
        self._wanted = {entry.path: entry for entry in wanted}
        self._now = {entry.path: entry for entry in now}
        self._blobs = blobs
        self._only = only
        self._concerned = None if only is None else _with_folders(only)
        self._below: dict[str, list[Entry]] = {}
        for path, entry in self._wanted.items():
            if path:
                self._below.setdefault(os.path.dirname(path), []).append(entry)
        self._others_locks: dict[str, int] = {}
        """Of folders that are not ours to change, and have to be opened for what is in them."""
        self._leaders: dict[str, tuple[str, int]] = {}
        """First name of a group of hard links -> the one of them that stands by now, and its inode."""
        self._lost: list[str] = []
        """What was saved of these is gone or damaged, in sentences; all else is put back."""
        for entry in self._wanted.values():
            stands = self._now.get(entry.path)
            if entry.hard and not self._may_change(entry.path) and stands is not None and entry.same_as(stands):
                self._leaders.setdefault(entry.hard, (entry.path, stands.inode))

    def run(self, folder: int, name: str) -> None:
        """Raises OSError; ValueError when blobs are gone or damaged, after all else was put back."""
        root = self._wanted[""]
        self._root_folder, self._root_name = folder, name
        if root.kind == "folder":
            self._folder(folder, name, root)
        else:
            self._leaves(folder, [root])
        self._lock()
        if self._lost:
            raise ValueError("; ".join(self._lost[:LOST_TOLD]) + (" and more" if len(self._lost) > LOST_TOLD else ""))

    def _lock(self) -> None:
        """What was immutable or append-only is so again: last of all, for then it can be changed no more."""
        led = {path for path, _ in self._leaders.values()}
        for path, entry in self._wanted.items():
            locks = entry.flags & flags.LOCKS | self._others_locks.get(path, 0)
            if locks and (path in led or self._concerned is None or path in self._concerned):
                self._lock_one(path, entry.flags | locks)

    def _lock_one(self, path: str, wanted: int) -> None:
        where, name = os.path.split(f"{self._root_name}/{path}" if path else self._root_name)
        folder = tree.open_under(self._root_folder, where)
        try:
            fd = open_to_read(folder, name)
        finally:
            os.close(folder)
        try:
            flags.put(fd, wanted, path)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _may_change(self, path: str) -> bool:
        return self._only is None or path in self._only

    # --- folders

    def _folder(self, parent: int, name: str, wanted: Entry) -> None:
        path = wanted.path
        if self._concerned is not None and path not in self._concerned:
            return
        now = self._now.get(path)
        if now is not None and now.kind not in ("folder", "absent"):
            tree.remove(parent, name, unlock=True)
        if now is None or now.kind != "folder":
            os.mkdir(name, 0o700, dir_fd=parent)
            os.fsync(parent)
        fd = tree.open_below(parent, name)
        try:
            if not self._may_change(path):
                self._others_locks[path] = flags.flags_of(fd) & flags.LOCKS
            flags.unlock(fd, path)
            self._contents(fd, path)
            if not _dressed(fd, wanted):
                tree.dress(fd, wanted)
                os.fsync(fd)
        finally:
            os.close(fd)

    def _contents(self, fd: int, path: str) -> None:
        wanted = self._below.get(path, [])
        self._remove_what_was_not_there(fd, path, {os.path.basename(entry.path) for entry in wanted})
        self._leaves(fd, [entry for entry in wanted if entry.kind != "folder"])
        for entry in wanted:
            if entry.kind == "folder":
                self._folder(fd, os.path.basename(entry.path), entry)

    def _remove_what_was_not_there(self, fd: int, path: str, names: Collection[str]) -> None:
        for extra in os.listdir(fd):
            if extra not in names and (tree.is_ours(extra) or self._may_change(f"{path}/{extra}" if path else extra)):
                tree.remove(fd, extra, unlock=True)

    # --- files and links of one folder

    def _leaves(self, fd: int, wanted: Iterable[Entry]) -> None:
        """Content first, all of it durable under temporary names; then the names; then further names for the same files."""
        changed = False
        to_write: list[Entry] = []
        to_tie: list[Entry] = []
        for entry in wanted:
            name = self._name(entry)
            if not self._may_change(entry.path) or entry.kind in NOTED:
                continue
            if entry.kind == "link":
                changed |= self._link(fd, name, entry)
            elif entry.hard and entry.hard in self._leaders:
                to_tie.append(entry)
            elif self._in_place(fd, name, entry):
                self._lead(fd, name, entry)
            else:
                to_write.append(entry)
        for entry in (*to_tie, *self._write(fd, to_write)):
            if entry.hard in self._leaders:  # else its bytes are lost
                changed |= self._tie(fd, self._name(entry), entry)
        if changed or to_write:
            os.fsync(fd)

    def _name(self, entry: Entry) -> str:
        return os.path.basename(entry.path) if entry.path else self._root_name

    def _link(self, fd: int, name: str, entry: Entry) -> bool:
        now = self._now.get(entry.path)
        if entry.same_as(now):
            return False
        if now is not None and now.label() == entry.label():
            tree.set_times(name, fd, entry)
            return False
        tree.put_link(fd, name, entry)
        return True

    def _in_place(self, fd: int, name: str, wanted: Entry) -> bool:
        """Whether the right bytes stand there already; then the rest is made as it was, too."""
        now = self._now.get(wanted.path)
        if wanted.same_as(now):
            return True
        if now is None or now.kind != "file" or now.blob != wanted.blob or now.hard not in ("", wanted.hard):
            return False
        found = open_to_read(fd, name)
        try:
            if os.fstat(found).st_ino != now.inode:
                return False
            tree.dress(found, wanted)
            os.fsync(found)
        finally:
            os.close(found)
        return True

    def _write(self, fd: int, files: Sequence[Entry]) -> list[Entry]:
        """Write these files anew; those that turn out to be further names of one of them are given back."""
        further: list[Entry] = []
        temporaries: list[tuple[str, str, Entry]] = []
        each = len(files) <= tree.ENTRIES_SYNCED_EACH
        written: set[str] = set()
        for entry in files:
            if entry.hard and (entry.hard in written or entry.hard in self._leaders):
                further.append(entry)
                continue
            written.add(entry.hard)
            name = self._name(entry)
            write = partial(write_content, entry=entry, blobs=self._blobs)
            try:
                temporaries.append((tree.write_beside(fd, name, write, entry, sync=each), name, entry))
            except (KeyError, ValueError) as error:
                self._lost.append(lost(entry, error))
            except OSError:
                self._tidy(fd, temporaries)
                raise
        try:
            if temporaries and not each:
                tree.sync_together(fd)
            while temporaries:
                temporary, name, entry = temporaries.pop(0)
                tree.into_place(fd, temporary, name, unlock=True)
                self._lead(fd, name, entry)
        except OSError:
            self._tidy(fd, temporaries)
            raise
        return further

    def _tidy(self, fd: int, temporaries: Iterable[tuple[str, str, Entry]]) -> None:
        for temporary, _, _ in temporaries:
            tree.tidy(fd, temporary)

    def _lead(self, fd: int, name: str, entry: Entry) -> None:
        if entry.hard:
            inode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino
            self._leaders.setdefault(entry.hard, (entry.path, inode))

    def _tie(self, fd: int, name: str, entry: Entry) -> bool:
        """Make it a name of the same file as the one that stands by now."""
        leader, inode = self._leaders[entry.hard]
        try:
            if os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino == inode:
                return False
        except FileNotFoundError:
            pass
        source = tree.open_under(self._root_folder, os.path.dirname(f"{self._root_name}/{leader}"))
        try:
            tree.put_hard_link(fd, name, source, os.path.basename(leader))
        finally:
            os.close(source)
        return True


def lost(entry: Entry, error: Exception) -> str:
    """Why the bytes of this file cannot be had."""
    if isinstance(error, KeyError):
        why = f"what was saved is no longer there (blob {error.args[0]}): its time was over, or somebody removed it"
    else:
        why = str(error)
    return f"{shown(entry.path)}: {why}" if entry.path else why


def _with_folders(paths: Iterable[str]) -> set[str]:
    """These, and every folder on the way to one of them."""
    found: set[str] = set()
    for path in paths:
        while path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return found


def _dressed(fd: int, wanted: Entry) -> bool:
    seen = os.fstat(fd)
    return (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (wanted.mode, wanted.uid, wanted.gid) and (
        seen.st_mtime_ns == wanted.mtime_ns
        and tree.read_xattrs(fd) == wanted.xattrs
        and flags.flags_of(fd) == wanted.flags & ~flags.LOCKS
    )
