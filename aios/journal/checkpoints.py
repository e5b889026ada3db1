"""The world at a journal position, kept so that a start folds minutes and not days. Written and read by the daemon.

`checkpoints/POSITION.json`, the newest two. A checkpoint can always be made again from the journal, so one that is damaged, or of
another version, is passed over in favour of the older one, and then of none. One line: version, position, SHA-256 of the
payload's bytes, payload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from aios.disk import make_dirs, read_all, remove_if_there, sweep_temporaries, write_small
from aios.events.codec import BadLine, decode_json, encode_json
from aios.events.event import Position
from aios.journal.digest import newest_world
from aios.log import get_logger
from aios.ports import Files

_log = get_logger("journal")

_KEPT = 2
_BYTES_MAX = 512 << 20
_HEAD = re.compile(rb'\{"version":(\d{1,9}),"position":"([^"\\]{1,64})","sha256":"([0-9a-f]{64})","payload":')


class Checkpoints:
    """`version` is the payload's: another one is not read."""

    def __init__(self, files: Files, folder: str, version: int) -> None:
        self._files = files
        self._folder = folder
        self._version = version

    @property
    def version(self) -> int:
        """Of the payload."""
        return self._version

    def save(self, position: Position, payload: Any) -> None:
        """Durable when it returns; then all but the newest two go. Raises OSError, and then the ones before still stand."""
        body = encode_json(payload)
        head = f'{{"version":{self._version},"position":"{position}","sha256":"{sha256(body).hexdigest()}","payload":'
        make_dirs(self._files, self._folder)
        sweep_temporaries(self._files, self._folder)
        write_small(self._files, f"{self._folder}/{position}.json", b"%b%b}\n" % (head.encode(), body))
        for old in self._positions()[_KEPT:]:
            remove_if_there(self._files, f"{self._folder}/{old}.json")

    def load(self, usable: Callable[[Position], bool] = lambda _: True) -> tuple[Position, Any] | None:
        """The newest that is whole and `usable` (its position still stands in the journal, say); None when there is none."""
        for position in self._positions():
            payload = self._load_one(position)
            if payload is not None and usable(position):
                return position, payload[0]
        return None

    def _load_one(self, position: Position) -> tuple[Any] | None:
        try:
            raw = read_all(self._files, f"{self._folder}/{position}.json", _BYTES_MAX)
        except OSError:
            return None
        head = _HEAD.match(raw)
        body = raw[head.end() : -2] if head else b""
        if not head or int(head[1]) != self._version or head[2] != str(position).encode():
            return None
        if raw[-2:] != b"}\n" or sha256(body).hexdigest().encode() != head[3]:
            return None
        try:
            return (decode_json(body),)
        except BadLine:
            return None

    def _positions(self) -> list[Position]:
        """Newest first."""
        try:
            names = self._files.listdir(self._folder)
        except FileNotFoundError:
            return []
        found: list[Position] = []
        for name in names:
            try:
                found.append(Position.parse(name.removesuffix(".json")))
            except ValueError:
                continue  # not one of ours
        return sorted(found, reverse=True)


Lifts = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


class Memories:
    """Checkpoints, and behind them the newest digest that holds the world: what a start falls back on when the days are gone."""

    def __init__(self, checkpoints: Checkpoints, files: Files, digests: str, lifts: Lifts) -> None:
        """`lifts`: version -> how a world of that version becomes one of the next."""
        self._checkpoints = checkpoints
        self._files = files
        self._digests = digests
        self._lifts = lifts

    def save(self, position: Position, payload: Any) -> None:
        """As `Checkpoints.save`."""
        self._checkpoints.save(position, payload)

    def load(self, usable: Callable[[Position], bool] = lambda _: True) -> tuple[Position, Any] | None:
        """As `Checkpoints.load`. A digest counts whether its position still stands or not: it is there to outlive it."""
        found = self._checkpoints.load(usable)
        if found is not None:
            return found
        digest = newest_world(self._files, self._digests)
        if digest is None or digest.position is None or digest.world is None:
            return None
        payload = self._lifted(digest.world)
        return (digest.position, payload) if payload is not None else None

    def _lifted(self, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As this version reads it, whatever version wrote it; None for one that it does not know: a later one's, say."""
        wanted = self._checkpoints.version
        world = dict(payload.get("world", {}))
        first = world.get("version", wanted)
        if not all(version in self._lifts for version in range(first, wanted)) or first > wanted:
            _log.error("what is older than the journal is forgotten: no digest of this version", digest=first, reads=wanted)
            return None
        for version in range(first, wanted):
            world = self._lifts[version](world)
        return {**payload, "world": world}
