"""Named cursors: how far each of several consumers has durably read the journal, each at its own pace.

`aios events --cursor NAME --commit` moves them, `aios journal cursors` shows them, retention asks where they stand before it
removes anything. One file each, `cursors/NAME.json`, replaced in one step: cut off at any instant, it is the old or the new one.

`generation` counts the moves. Whoever moves a cursor says which one it had read: of two that read the same cursor at the same
time the second is refused, rather than that both think they had handled what only one of them did.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import NamedTuple
from zlib import crc32

from aios.disk import alone, make_dirs, read_all, write_small
from aios.errors import Refused
from aios.events.codec import BadLine, decode_json, encode_json, is_whole
from aios.events.event import START, Position, format_time, parse_time
from aios.ports import Files

VERSION = 1
NAMES_MAX = 1_000
_BYTES_MAX = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", re.ASCII)
_SUFFIX = ".json"
_LOCK = ".lock"


class Cursor(NamedTuple):
    """Everything up to and with `position` was handled; `moved` is when it was said last, in seconds since the epoch."""

    name: str
    position: Position = START
    generation: int = 0
    moved: float = 0.0


class DamagedCursor(Refused):
    """Its file holds something else than was written; how far its consumer had come is not known."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"the cursor {name!r} cannot be read: {why}", f"aios journal cursors reset {name} --to TIME")


class Cursors:
    """`folder` is `cursors/`; it need not exist. All raise OSError."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    def load(self, name: str) -> Cursor:
        """Where it stands; before the first event when it was never moved. Raises Refused (no name; DamagedCursor)."""
        try:
            raw = read_all(self._files, self._path(name), _BYTES_MAX)
        except FileNotFoundError:
            return Cursor(name)
        return _decode(name, raw)

    def move(self, before: Cursor, position: Position, now: float) -> Cursor:
        """Durable when it returns. `before` is what was loaded. Raises Refused when somebody else moved it since."""
        with self._alone():
            there = self.load(before.name)
            if there.generation != before.generation:
                raise Refused(
                    f"the cursor {before.name!r} was moved by somebody else meanwhile, to {there.position}",
                    "give each consumer a cursor of its own, or read again from there",
                )
            return self._put(Cursor(before.name, position, there.generation + 1, now))

    def reset(self, name: str, position: Position, now: float) -> Cursor:
        """Put it somewhere, whatever was there: also a damaged one."""
        with self._alone():
            try:
                generation = self.load(name).generation
            except DamagedCursor:
                generation = 0
            return self._put(Cursor(name, position, generation + 1, now))

    def remove(self, name: str) -> bool:
        """Forget it: nothing is kept for its consumer any more. False when there was none."""
        with self._alone():
            try:
                self._files.unlink(self._path(name))
            except FileNotFoundError:
                return False
            self._files.fsync_dir(self._folder)
            return True

    def names(self) -> list[str]:
        try:
            entries = self._files.listdir(self._folder)
        except FileNotFoundError:
            return []
        found = (entry.removesuffix(_SUFFIX) for entry in entries if entry.endswith(_SUFFIX))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def list(self) -> list[Cursor | DamagedCursor]:
        """All of them by name; in place of one that cannot be read, why."""
        found: list[Cursor | DamagedCursor] = []
        for name in self.names():
            try:
                found.append(self.load(name))
            except DamagedCursor as damaged:
                found.append(damaged)
        return found

    def _put(self, cursor: Cursor) -> Cursor:
        if cursor.generation == 1 and len(self.names()) >= NAMES_MAX:
            raise Refused(f"there are {NAMES_MAX} cursors already", "remove some: aios journal cursors list")
        write_small(self._files, self._path(cursor.name), _encode(cursor))
        return cursor

    def _path(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise Refused(f"{name[:100]!r} is no name for a cursor", "letters, digits and . _ @ + -")
        return f"{self._folder}/{name}{_SUFFIX}"

    def _alone(self) -> AbstractContextManager[None]:
        """No other process moves a cursor meanwhile."""
        make_dirs(self._files, self._folder)
        return alone(self._files, f"{self._folder}/{_LOCK}")


def _encode(cursor: Cursor) -> bytes:
    body = encode_json(
        {
            "version": VERSION,
            "name": cursor.name,
            "position": str(cursor.position),
            "generation": cursor.generation,
            "moved": format_time(cursor.moved),
        }
    )[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, crc32(body))


def _decode(name: str, raw: bytes) -> Cursor:
    if not is_whole(raw):
        raise DamagedCursor(name, "its checksum is missing or wrong")
    try:
        body = decode_json(raw)
        if body["version"] != VERSION or body["name"] != name:
            raise DamagedCursor(name, "it is another cursor's, or another version's")
        return Cursor(name, Position.parse(body["position"]), int(body["generation"]), parse_time(body["moved"]))
    except (BadLine, KeyError, TypeError, ValueError) as error:
        raise DamagedCursor(name, str(error)) from None
