"""What stays of a day when the day is gone: `digest/2026-02-24.json`.

Written by `retention`, read at the daemon's start, by reports and by `verify`. It holds the day's numbers (the report on it, its
events by type and by hour, what its parts were), for ever; and, in the newest few only, the world as it was at a position at the
end of that day or soon after it: open runs with their triggers, guards, statistics, references to blobs. From that and the days
after it everything else can be made again, so that a day may go.

One line: version, day, SHA-256 of the payload's bytes, payload. What an older program wrote is lifted when it is read (`LIFTS`);
nothing is rewritten for it. One that is damaged is passed over and told, like a checkpoint; unlike a checkpoint it cannot be made
again once its day is gone, so nothing of a day is removed before its digest was read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from aios.disk import make_dirs, read_all, write_small
from aios.events.codec import BadLine, decode_json, encode_json
from aios.events.event import Position
from aios.ports import Files

VERSION = 1
FOLDER = "digest"
WORLDS_KEPT = 3
LIFTS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From the payload of a version to that of the next; a new VERSION needs one for each version before it."""

_BYTES_MAX = 512 << 20
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.json", re.ASCII)
_HEAD = re.compile(rb'\{"version":(\d{1,9}),"day":"(\d{4}-\d\d-\d\d)","sha256":"([0-9a-f]{64})","payload":')


class BadDigest(ValueError):
    """This file is no digest that may be believed; the text is the reason."""


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What a part of the day was: enough to know it again, and to say what is missing when it is gone."""

    name: str
    size: int
    sha256: str
    events: int
    bad: int


@dataclass(frozen=True, slots=True)
class Digest:
    """`world` is what a checkpoint would hold at `position`; None where a newer digest has taken that over."""

    day: str
    events: int
    by_type: Mapping[str, int]
    by_hour: Mapping[str, int]
    parts: tuple[PartFacts, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    """The report on the day, as `aios.reports.to_json` gives it."""
    position: Position | None = None
    world: Mapping[str, Any] | None = None

    def without_world(self) -> Digest:
        return replace(self, world=None, position=None)


def digest_path(folder: str, day: str) -> str:
    return f"{folder}/{day}.json"


def save_digest(files: Files, folder: str, digest: Digest) -> None:
    """Durable when it returns; the old one or the new one whenever it is cut off. Raises OSError."""
    make_dirs(files, folder)
    write_small(files, digest_path(folder, digest.day), _encode(digest))


def load_digest(files: Files, folder: str, day: str) -> Digest:
    """Raises BadDigest, OSError (FileNotFoundError where there is none)."""
    return _decode(day, read_all(files, digest_path(folder, day), _BYTES_MAX))


def days_with_digest(files: Files, folder: str) -> list[str]:
    """In order, whether they can be read or not. Raises OSError."""
    try:
        names = files.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(found[1] for name in names if (found := _NAME.fullmatch(name)))


def newest_world(files: Files, folder: str) -> Digest | None:
    """The newest digest that can be read and holds the world; None when there is none."""
    try:
        days = days_with_digest(files, folder)
    except OSError:
        return None
    for day in reversed(days):
        try:
            digest = load_digest(files, folder, day)
        except (OSError, BadDigest):
            continue
        if digest.world is not None:
            return digest
    return None


# --- bytes ------------------------------------------------------------------------------------------------------------


def _encode(digest: Digest) -> bytes:
    payload = {
        "events": digest.events,
        "by_type": digest.by_type,
        "by_hour": digest.by_hour,
        "parts": [[part.name, part.size, part.sha256, part.events, part.bad] for part in digest.parts],
        "report": digest.report,
        "position": str(digest.position) if digest.position is not None else "",
        "world": digest.world,
    }
    body = encode_json(payload)
    head = f'{{"version":{VERSION},"day":"{digest.day}","sha256":"{sha256(body).hexdigest()}","payload":'
    return b"%b%b}\n" % (head.encode(), body)


def _decode(day: str, raw: bytes) -> Digest:
    head = _HEAD.match(raw)
    if head is None or raw[-2:] != b"}\n":
        raise BadDigest("it does not begin or end as a digest does")
    body = raw[head.end() : -2]
    if sha256(body).hexdigest().encode() != head[3]:
        raise BadDigest("its checksum is wrong")
    if head[2].decode() != day:
        raise BadDigest(f"it is the digest of {head[2].decode()}")
    try:
        return _from_payload(day, _lifted(int(head[1]), decode_json(body)))
    except (BadLine, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadDigest(f"it holds something else than a digest: {error}") from None


def _lifted(version: int, payload: dict[str, Any]) -> dict[str, Any]:
    if version > VERSION:
        raise BadDigest(f"version {version} is newer than this program, which reads {VERSION}")
    for older in range(version, VERSION):
        payload = LIFTS[older](payload)
    return payload


def _from_payload(day: str, payload: dict[str, Any]) -> Digest:
    return Digest(
        day,
        int(payload["events"]),
        {str(name): int(count) for name, count in payload["by_type"].items()},
        {str(hour): int(count) for hour, count in payload["by_hour"].items()},
        tuple(
            PartFacts(str(name), int(size), str(digest), int(events), int(bad))
            for name, size, digest, events, bad in payload["parts"]
        ),
        dict(payload["report"]),
        Position.parse(payload["position"]) if payload["position"] else None,
        payload["world"],
    )
