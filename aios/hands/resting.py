"""Whether a tree stands, name for name, as the snapshot before saw it: then what that one wrote down is written down again.

The common case before an act, and by far the cheapest: a list of names for each folder and one stat for each name, nothing opened
but folders, nothing made of the rows. Whatever is not sure (a time that has moved, a name more or less, rows of another version)
makes it no, and `scan.py` looks at everything. What is sure is what `scan.Known` believes of a file: the same inode, times, size
and links, and it had rested when it was seen. Flags, owners, modes and attributes move the time of change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from aios.hands.entry import Entry, name_from_json
from aios.hands.tree import folder_of, is_ours, open_below

Row = Sequence[Any]
_PATH, _KIND, _MTIME, _CTIME, _SIZE, _DEVICE, _INODE, _LINKS = map(
    Entry._fields.index, ("path", "kind", "mtime_ns", "ctime_ns", "size", "device", "inode", "links")
)
_SEEN = {"file", "folder", "link", "fifo", "socket", "device"}


def rests(real: str, rows: Sequence[Row], rested_ns: int) -> bool:
    """`rows` as a manifest holds them, the root first. What has changed at or after `rested_ns` is not believed."""
    try:
        if {len(row) for row in rows} != {len(Entry._fields)} or rows[0][_PATH] != "":
            return False
        changed = [row[_CTIME] for row in rows]
        if not 0 < min(changed) <= max(changed) < rested_ns or not {row[_KIND] for row in rows} <= _SEEN:
            return False
        by_folder = _by_folder(rows[1:])
        if sum(map(len, by_folder.values())) != len(rows) - 1:
            return False
        with folder_of(real) as (above, name):
            seen = {name: os.stat(name, dir_fd=above, follow_symlinks=False)}
            return _stand(above, {name: rows[0]}, seen, "", by_folder) and not by_folder
    except (OSError, ValueError, TypeError, LookupError):  # it is gone, or the rows are damaged: the scan tells
        return False


def _by_folder(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Row by name, by folder."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        path = row[_PATH] if type(row[_PATH]) is str else name_from_json(row[_PATH])
        folder, _, name = path.rpartition("/")
        inside = found.get(folder)
        if inside is None:
            inside = found[folder] = {}
        inside[name] = row
    return found


def _stand(
    above: int, rows: dict[str, Row], seen: dict[str, os.stat_result], path: str, by_folder: dict[str, dict[str, Row]]
) -> bool:
    """Whether the names of an open folder stand as they did, with all that is below them; what was looked at is taken off.

    `path`: of what is below, relative to the root.
    """
    found = [(row, seen[name]) for name, row in rows.items()]
    return (
        len(seen) == len(rows)
        and [(row[_INODE], row[_CTIME], row[_MTIME], row[_DEVICE]) for row, _ in found]
        == [(one.st_ino, one.st_ctime_ns, one.st_mtime_ns, one.st_dev) for _, one in found]
        and all((row[_SIZE], row[_LINKS]) == (one.st_size, one.st_nlink) for row, one in found if row[_KIND] == "file")
        and all(
            _folder_stands(above, name, row[_PATH] and path + name, by_folder)
            for name, row in rows.items()
            if row[_KIND] == "folder"
        )
    )


def _folder_stands(above: int, name: str, path: str, by_folder: dict[str, dict[str, Row]]) -> bool:
    """The names in it are looked at, too: not every file system moves a folder's time."""
    fd = open_below(above, name)
    try:
        with os.scandir(fd) as found:
            seen = {one.name: one.stat(follow_symlinks=False) for one in found if not is_ours(one.name)}
        return _stand(fd, by_folder.pop(path, {}), seen, path and path + "/", by_folder)
    finally:
        os.close(fd)
