"""Whether a tree stands, name for name, as a snapshot saw it: told by one stat for each name, with nothing opened but folders.

The common case before an act is that nothing has changed, and this is by far the cheapest way to know. A name stands while its
inode and times do, where times tell (`times.py`): bytes, size, links, owner, mode, attributes and flags move a file's time of
change, and names that come and go move their folder's.
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
"""Inode, device, times of writing and of change (ns)."""

_seen = attrgetter("st_ino", "st_dev", "st_mtime_ns", "st_ctime_ns")
_saved = itemgetter(*map(Entry._fields.index, ("inode", "device", "mtime_ns", "ctime_ns")))
_PATH, _KIND, _CTIME, _DEVICE = map(Entry._fields.index, ("path", "kind", "ctime_ns", "device"))


def resting(rows: Sequence[Row], rested_ns: int) -> dict[str, Any] | None:
    """What must stand while a manifest's `rows` are true: the kind of the root, the names in its folders, and a digest of how
    they stand, in this order. None where that cannot tell: something had changed at or after `rested_ns`, or there is more than
    one file system.
    """
    root, *below = rows
    if root[_KIND] == "absent":
        return {"kind": "absent"}
    if not all(0 < row[_CTIME] < rested_ns for row in rows) or len({row[_DEVICE] for row in rows}) > 1:
        return None
    names: dict[str, list[Any]] = {}
    found: dict[str, list[Stands]] = {}
    for row in below:
        folder, _, name = name_from_json(row[_PATH]).rpartition("/")
        if folder not in names:
            names[folder], found[folder] = [], []
        names[folder].append(name_to_json(name))
        found[folder].append(_saved(row))
    folders = [[name_to_json(folder), inside] for folder, inside in names.items()]
    digest = _digest([_saved(root), *(one for inside in found.values() for one in inside)])
    return {"kind": root[_KIND], "folders": folders, "digest": digest}


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
                return _folder_stands(above, name, tree, _seen(root))
            return root.st_dev == os.fstat(above).st_dev and times.tell(above) and _is(tree, [_seen(root)])
    except FileNotFoundError:
        return kind == "absent"


def _folder_stands(above: int, name: str, tree: Mapping[str, Any], root: Stands) -> bool:
    found = [root]
    top = open_below(above, name)
    try:
        if not times.tell(top):
            return False
        for path, names in tree["folders"]:
            fd = open_under(top, name_from_json(path))
            try:
                found += map(_seen, map(partial(os.stat, dir_fd=fd, follow_symlinks=False), _names(names)))
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
