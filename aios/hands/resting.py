"""Whether a tree stands, name for name, as the snapshot before saw it: then what that one wrote down is written down again.

The common case before an act, and by far the cheapest: a list of names for each folder and one stat for each name, nothing opened
but folders, nothing made of the rows. Whatever is not sure (a time that has moved, a name more or less, rows of another version)
makes it no, and `scan.py` looks at everything. What is sure is what `scan.Known` believes of a file: the same inode, times, size
and links, and it had rested when it was seen. Flags, owners, modes and attributes move the time of change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.hands.entry import Entry, name_from_json
from aios.hands.tree import folder_of, is_ours, open_below

Row = Sequence[Any]
_PATH, _KIND, _MTIME, _CTIME, _SIZE, _DEVICE, _INODE, _LINKS = map(
    Entry._fields.index, ("path", "kind", "mtime_ns", "ctime_ns", "size", "device", "inode", "links")
)
_SEEN = ("file", "folder", "link", "fifo", "socket", "device")


def rests(real: str, rows: Sequence[Row], rested_ns: int) -> bool:
    """`rows` as a manifest holds them, each folder before what is in it. What changed after `rested_ns` is not believed."""
    if not rows or any(len(row) != len(Entry._fields) for row in rows):
        return False
    open_folders: list[_Folder] = []
    try:
        with folder_of(real) as (above, name):
            return _root_rests(above, name, rows, rested_ns, open_folders) and all(one.is_whole() for one in open_folders)
    except (OSError, ValueError, TypeError, LookupError):  # it is gone, or the rows are damaged: the scan tells
        return False
    finally:
        for one in open_folders:
            os.close(one.fd)


@dataclass(slots=True)
class _Folder:
    path: str
    fd: int
    names: list[str] = field(default_factory=list)
    """Of what the rows say is in it."""

    def is_whole(self) -> bool:
        """Nothing more and nothing less: not every file system moves a folder's time."""
        found = os.listdir(self.fd)
        return len(found) >= len(self.names) and {name for name in found if not is_ours(name)} == set(self.names)


def _root_rests(above: int, name: str, rows: Sequence[Row], rested_ns: int, open_folders: list[_Folder]) -> bool:
    if rows[0][_PATH] != "" or not _same(rows[0], os.stat(name, dir_fd=above, follow_symlinks=False), rested_ns):
        return False
    if rows[0][_KIND] != "folder":
        return len(rows) == 1
    open_folders.append(_Folder("", open_below(above, name)))
    for row in rows[1:]:
        path = row[_PATH] if type(row[_PATH]) is str else name_from_json(row[_PATH])
        parent, _, last = path.rpartition("/")
        while parent != open_folders[-1].path:
            done = open_folders.pop()  # the last one stays in `finally`'s sight only while it is open
            try:
                if not done.is_whole():
                    return False
            finally:
                os.close(done.fd)
        folder = open_folders[-1]
        folder.names.append(last)
        if not _same(row, os.stat(last, dir_fd=folder.fd, follow_symlinks=False), rested_ns):
            return False
        if row[_KIND] == "folder":
            open_folders.append(_Folder(path, open_below(folder.fd, last)))
    return True


def _same(row: Row, seen: os.stat_result, rested_ns: int) -> bool:
    return (
        row[_INODE] == seen.st_ino
        and row[_CTIME] == seen.st_ctime_ns
        and 0 < row[_CTIME] < rested_ns
        and row[_MTIME] == seen.st_mtime_ns
        and row[_DEVICE] == seen.st_dev
        and row[_KIND] in _SEEN
        and (row[_KIND] != "file" or (row[_SIZE] == seen.st_size and row[_LINKS] == seen.st_nlink))
    )
