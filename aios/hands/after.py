"""How an act left what it touched, written down at its end: so that a rollback takes back our own changes and nobody else's.

`record` runs in the launcher right after the act and writes `after.json` beside the manifest. `Undone` is one attempt as a
rollback sees it: what stood before, how the act left it, and therefore which paths are ours. An act that a crash cut off leaves
no such record: then everything below its roots counts as its own, as nobody can say better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.disk import read_all, write_small
from aios.events.codec import decode_json, encode_json
from aios.hands import snapshot
from aios.hands.attempt import AFTER
from aios.hands.entry import Entry, name_from_json, name_to_json, path_below
from aios.ports import Files

RECORD_MAX = 1 << 30
"""An act may leave a million names behind (`snapshot.seen_now`)."""


class Stood(NamedTuple):
    """A path at some moment, as far as comparing needs it."""

    label: str
    mtime_ns: int


Standing = Mapping[str, Stood]
ABSENT = Stood("absent", 0)
NO_TEXTS: Mapping[str, str] = {}


def standing(entries: Mapping[str, Entry]) -> dict[str, Stood]:
    return {path: Stood(entry.label(), entry.mtime_ns) for path, entry in entries.items()}


def look(manifest: Mapping[str, Any]) -> dict[str, Entry]:
    """What stands now at the manifest's roots: whole path -> entry. Raises OSError."""
    found: dict[str, Entry] = {}
    for root, entries in snapshot.seen_now(manifest):
        found.update((path_below(root["path"], entry.path), entry) for entry in entries)
    return found


def real_places(manifests: Iterable[Mapping[str, Any]], now: Mapping[str, Entry]) -> dict[int, str]:
    """Inode -> where it truly lies."""
    places: dict[int, str] = {}
    for manifest in manifests:
        for root in snapshot.reversible(manifest):
            path, real = str(root["path"]), str(root["real"])
            below = ((whole, entry) for whole, entry in now.items() if whole == path or whole.startswith(f"{path}/"))
            places.update((entry.inode, real + whole[len(path) :]) for whole, entry in below)
    return places


def record(files: Files, folder: str, seen: Mapping[str, Entry], texts: Mapping[str, str] = NO_TEXTS) -> None:
    """Durable when it returns. `texts`: of small files that the act changed, so that a later change of somebody else can be
    shown. Raises OSError."""
    left = [[name_to_json(path), text] for path, text in texts.items()]
    write_small(files, f"{folder}/{AFTER}", encode_json({"version": 1, "rows": to_rows(standing(seen)), "texts": left}))


def to_rows(stood: Standing) -> list[list[Any]]:
    return [[name_to_json(path), it.label, it.mtime_ns] for path, it in stood.items()]


def from_rows(rows: Iterable[Sequence[Any]]) -> dict[str, Stood]:
    return {name_from_json(path): Stood(label, mtime_ns) for path, label, mtime_ns in rows}


@dataclass(frozen=True, slots=True)
class Undone:
    """One attempt that is taken back. `after` None: nobody wrote down how it left things."""

    manifest: Mapping[str, Any]
    entries: Mapping[str, Entry]
    before: Standing
    after: Standing | None
    texts: Mapping[str, str] = field(default_factory=dict)
    """Small files as the act left them."""

    def covers(self, path: str) -> bool:
        return any(path == root or path.startswith(f"{root}/") for root in self._roots())

    def _roots(self) -> list[str]:
        return [str(root["path"]) for root in snapshot.reversible(self.manifest)]

    def ours(self) -> set[str] | None:
        """The paths that this act changed; None: all, as far as anybody knows."""
        if self.after is None:
            return None
        paths = self.before.keys() | self.after.keys()
        return {path for path in paths if self.before.get(path, ABSENT) != self.after.get(path, ABSENT)}


def undone(files: Files, folder: str, manifest: Mapping[str, Any]) -> Undone:
    entries = snapshot.entries_by_path(manifest)
    return Undone(manifest, entries, standing(entries), *_recorded(files, folder))


def _recorded(files: Files, folder: str) -> tuple[Standing | None, Mapping[str, str]]:
    try:
        raw = decode_json(read_all(files, f"{folder}/{AFTER}", RECORD_MAX))
        return from_rows(raw["rows"]), {name_from_json(path): str(text) for path, text in raw.get("texts", ())}
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # cut off by a crash, or of the first version: another thing
        return None, NO_TEXTS


def conflicts(attempts: Sequence[Undone], now: Standing) -> list[str]:
    """Paths that somebody else changed after an act of ours had: taking those back would take back their work, too.

    `attempts` are the last one first. What was put back already is no conflict.
    """
    found = set()
    for place, attempt in enumerate(attempts):
        ours = attempt.ours()
        if ours is None or attempt.after is None:
            continue
        later = attempts[:place]
        for path in ours:
            left = attempt.after.get(path, ABSENT)
            heir = next((it for it in reversed(later) if it.covers(path)), None)
            stands = heir.before.get(path, ABSENT) if heir else now.get(path, ABSENT)
            back = {it.before.get(path, ABSENT).label for it in attempts[place:] if it.covers(path)}
            if stands.label != left.label and (heir or stands.label not in back):
                found.add(path)
    return sorted(found | _strangers_in_our_folders(attempts, now))


def as_left(attempts: Sequence[Undone], path: str) -> tuple[Stood, str | None]:
    """How the last act that changed this path left it, and its text where that was kept. `attempts`: the last one first."""
    for it in attempts:
        if it.after is not None and path in (it.ours() or ()):
            return it.after.get(path, ABSENT), it.texts.get(path)
    return ABSENT, None


def _strangers_in_our_folders(attempts: Sequence[Undone], now: Standing) -> set[str]:
    """What somebody put into a folder that an act of ours made, and that would go with it."""
    made = set()
    known: set[str] = set()
    for attempt in attempts:
        ours = attempt.ours()
        if ours is None or attempt.after is None:
            return set()
        known |= attempt.before.keys() | attempt.after.keys()
        made |= {path for path in ours if _is_folder(attempt.after, path) and not _is_folder(attempt.before, path)}
    return {path for path in now.keys() - known if any(path.startswith(f"{folder}/") for folder in made)}


def _is_folder(stood: Standing, path: str) -> bool:
    return stood.get(path, ABSENT).label.startswith("folder")
