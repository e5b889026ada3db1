"""One name of a saved tree as it stands: what a manifest holds of it, and how it is compared and shown.

Values only, made by `scan.py`, read by `snapshot.py`, `restore.py`, `keep.py` and `difference.py`. A manifest holds entries as
rows of the fields below; manifests of the first version held them as objects and are still read.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aios.events.codec import encode_sorted
from aios.hands import flags as inode_flags

NO_XATTRS: Mapping[str, str] = {}


class Entry(NamedTuple):
    """`path` is relative to the root of the snapshot, "" the root itself.

    kind: file, folder, link, absent; fifo, socket, device, other (noted, and left alone). `blob` is the SHA-256 of a file's
    bytes, `at` where they lie: (bulk, offset, stored, packed); nothing: the blob of that name. `data` are the parts [offset,
    length] of a sparse file that are no holes. `links` is how many names the inode has; `hard` the first of those in this
    tree, when it is more than one. `flags`: those that chattr sets (`flags.py`). The times were seen before the bytes were
    read: a change meanwhile has left a younger `ctime_ns`.
    """

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    atime_ns: int = 0
    ctime_ns: int = 0
    size: int = 0
    device: int = 0
    inode: int = 0
    links: int = 1
    blob: str = ""
    at: Sequence[Any] = ()
    data: Sequence[Sequence[int]] | None = None
    target: str = ""
    hard: str = ""
    xattrs: Mapping[str, str] = NO_XATTRS
    flags: int = 0

    def label(self) -> str:
        """Says all that a restore brings back but the times: two equal labels are two equal files."""
        if self.kind == "absent":
            return "absent"
        if self.kind == "link":
            return f"link:{shown(self.target)} {self.uid}:{self.gid}"
        owner = f"{self.mode:04o} {self.uid}:{self.gid}"
        if self.xattrs:
            owner += f" xattrs:{hashlib.sha256(encode_sorted(dict(self.xattrs))).hexdigest()[:16]}"
        if self.flags:
            owner += f" flags:{inode_flags.shown(self.flags)}"
        if self.kind == "file":
            return f"sha256:{self.blob} {owner}" + (f" hard:{shown(self.hard)}" if self.hard else "")
        return f"{self.kind}{' ' + self.target if self.target else ''} {owner}"

    def same_as(self, other: Entry | None) -> bool:
        """Times included."""
        return other is not None and (self.label(), self.mtime_ns) == (other.label(), other.mtime_ns)


def path_below(root: str, below: str) -> str:
    """The whole path of an entry."""
    return f"{root}/{below}" if below else root


def rows_of(entries: Iterable[Entry]) -> list[list[Any]]:
    """As a manifest holds them."""
    return [_row(entry) for entry in entries]


def _row(entry: Entry) -> list[Any]:
    row: list[Any] = list(entry)
    row[0] = name_to_json(entry.path)
    if entry.target or entry.hard:
        row[_TARGET], row[_HARD] = name_to_json(entry.target), name_to_json(entry.hard)
    return row


def entries_of(root: Mapping[str, Any]) -> list[Entry]:
    """The entries of a manifest's root, of either version."""
    if "rows" in root:
        return [_entry(row) for row in root["rows"]]
    return [_of_first_version(raw) for raw in root["entries"]]


def _entry(row: Sequence[Any]) -> Entry:
    entry = Entry._make(row) if len(row) == len(Entry._fields) else _without_flags(row)
    if type(entry.path) is str and type(entry.target) is str and type(entry.hard) is str:
        return entry
    return entry._replace(path=name_from_json(entry.path), target=name_from_json(entry.target), hard=name_from_json(entry.hard))


def _without_flags(row: Sequence[Any]) -> Entry:
    """A row of before flags were saved: what nobody has looked at is not known, so it is looked at again."""
    return Entry(*row[: Entry._fields.index("flags")])._replace(ctime_ns=0)


def _of_first_version(raw: Mapping[str, Any]) -> Entry:
    known = {name: value for name, value in raw.items() if name in Entry._fields}
    return Entry(**{**known, "path": name_from_json(raw["path"]), "target": name_from_json(raw.get("target", ""))})


def name_to_json(name: str) -> str | list[str]:
    """A name that is no UTF-8 (Python holds it with surrogates, JSON cannot) as its bytes in base64, in a list of one."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return [base64.b64encode(os.fsencode(name)).decode()]
    return name


def name_from_json(raw: str | list[str]) -> str:
    return raw if isinstance(raw, str) else os.fsdecode(base64.b64decode(raw[0]))


def shown(name: str) -> str:
    """For people and proofs."""
    return os.fsencode(name).decode(errors="backslashreplace")


_TARGET, _HARD = Entry._fields.index("target"), Entry._fields.index("hard")
