"""Whether a tree stands, name for name, as a snapshot saw it: told by one stat for each name, with nothing opened but folders.

The common case before an act is that nothing has changed, and this is by far the cheapest way to know. A name stands while its
inode and times do, where times tell (`times.py`): bytes, links, owner, mode, attributes and flags move a file's time of change,
and names that come and go move their folder's. And while a file has its size: one call that writes for minutes moves the time
when it begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from operator import attrgetter, itemgetter
from typing import Any

from aios.events.codec import encode_json
from aios.hands import times
from aios.hands.entry import Entry, name_from_json, name_to_json
from aios.hands.tree import folder_of, open_below, open_under

Row = Sequence[Any]
Stands = tuple[int, ...]
"""Inode, device, times of writing and of change (ns), of a file its size."""

_seen_other = attrgetter("st_ino", "st_dev", "st_mtime_ns", "st_ctime_ns")
_seen_file = attrgetter("st_ino", "st_dev", "st_mtime_ns", "st_ctime_ns", "st_size")
_saved_other = itemgetter(*map(Entry._fields.index, ("inode", "device", "mtime_ns", "ctime_ns")))
_saved_file = itemgetter(*map(Entry._fields.index, ("inode", "device", "mtime_ns", "ctime_ns", "size")))
_PATH, _KIND, _CTIME, _DEVICE = map(Entry._fields.index, ("path", "kind", "ctime_ns", "device"))


def resting(rows: Sequence[Row], rested_ns: int) -> dict[str, Any] | None:
    """What must stand while a manifest's `rows` are true: the kind of the root, the names in its folders (files, then others),
    and a digest of how they stand, in this order. None where that cannot tell: something had changed at or after `rested_ns`, or
    there is more than one file system.
    """
    root, *below = rows
    if root[_KIND] == "absent":
        return {"kind": "absent"}
    if not all(0 < row[_CTIME] < rested_ns for row in rows) or len({row[_DEVICE] for row in rows}) > 1:
        return None
    found = [(_saved_file if root[_KIND] == "file" else _saved_other)(root)]
    folders = []
    for folder, (files, others) in _by_folder(below).items():
        folders.append([name_to_json(folder), list(map(name_to_json, files)), list(map(name_to_json, others))])
        found += map(_saved_file, files.values())
        found += map(_saved_other, others.values())
    return {"kind": root[_KIND], "folders": folders, "digest": _digest(found)}


def _by_folder(rows: Iterable[Row]) -> dict[str, tuple[dict[str, Row], dict[str, Row]]]:
    """Folder -> the rows of its files, and of what else is in it, by name."""
    found: dict[str, tuple[dict[str, Row], dict[str, Row]]] = {}
    for row in rows:
        folder, _, name = name_from_json(row[_PATH]).rpartition("/")
        inside = found.get(folder)
        if inside is None:
            inside = found[folder] = ({}, {})
        inside[row[_KIND] != "file"][name] = row
    return found


def stands(real: str, tree: Mapping[str, Any]) -> bool:
    """Whether all of that still stands at this real place. Raises OSError, also where a name is gone; ValueError, TypeError or
    LookupError where `tree` is damaged.
    """
    kind: str = tree["kind"]
    try:
        with folder_of(real) as (above, name):
            root = os.stat(name, dir_fd=above, follow_symlinks=False)
            if kind == "absent":
                return False
            if kind == "folder":
                return _folder_stands(above, name, tree, _seen_other(root))
            if root.st_dev != os.fstat(above).st_dev or not times.tell(above):
                return False
            return _is(tree, [(_seen_file if kind == "file" else _seen_other)(root)])
    except FileNotFoundError:
        return kind == "absent"


def _folder_stands(above: int, name: str, tree: Mapping[str, Any], root: Stands) -> bool:
    found = [root]
    top = open_below(above, name)
    try:
        if not times.tell(top):
            return False
        for path, files, others in tree["folders"]:
            fd = open_under(top, name_from_json(path))
            look = partial(os.stat, dir_fd=fd, follow_symlinks=False)
            try:
                found += map(_seen_file, map(look, _names(files)))
                found += map(_seen_other, map(look, _names(others)))
            finally:
                os.close(fd)
    finally:
        os.close(top)
    return _is(tree, found)


def _names(raw: Iterable[Any]) -> list[str]:
    return [name if type(name) is str else name_from_json(name) for name in raw]


def _is(tree: Mapping[str, Any], found: Sequence[Stands]) -> bool:
    digest: object = tree["digest"]
    return digest == _digest(found)


def _digest(found: Sequence[Stands]) -> str:
    return sha256(encode_json(found)).hexdigest()
