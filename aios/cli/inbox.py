"""`aios inbox list`: each source of the inbox, how far it was taken, how fast it goes, what was refused. It needs no daemon."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from aios.cli import exits
from aios.cli.journal import reader
from aios.cli.parser import add_verb, verbs
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.events.event import Event, format_time
from aios.events.filters import EventFilter
from aios.events.origin import MARK_SPAN, PREFIX, InboxCursor, cursors_of, fold_origin, parse_origin
from aios.journal.checkpoints import Checkpoints
from aios.journal.inbox import why_never_read
from aios.journal.query import History, Query
from aios.log import printable
from aios.world import CHECKPOINT_VERSION

RATE_OVER_S = 3600.0
REFUSED_OVER_S = 86_400.0
REASONS_SHOWN = 5
_NEWS = ("journal.quarantined", "journal.inbox_failed", "journal.inbox_lost", "journal.inbox_slowed", "journal.inbox_large")


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(
        group,
        "list",
        "each source: how far it was taken, how fast, what was refused",
        list_sources,
        examples="aios inbox list\naios inbox list --json | jq '.sources[] | select(.waiting > 0)'",
    )


@dataclass(slots=True)
class Source:
    """All files of one program. `waiting`: bytes that no daemon has taken yet."""

    name: str
    files: int = 0
    size: int = 0
    taken: int = 0
    written: float = 0.0
    taken_in_hour: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return self.size - self.taken

    def as_json(self) -> dict[str, Any]:
        return {
            "source": f"{PREFIX}{self.name}",
            "files": self.files,
            "bytes": self.size,
            "taken": self.taken,
            "waiting": self.waiting,
            "written": format_time(self.written) if self.written else "",
            "taken_in_hour": self.taken_in_hour,
            "refused_in_day": self.refused,
            "reasons": dict(self.reasons.most_common(50)),
            "notes": list(self.notes.values()),
        }


def list_sources(args: argparse.Namespace, terminal: Terminal) -> int:
    sources = sources_of(folder(args, terminal), terminal.clock.now())
    if wants_json(args):
        terminal.json({"sources": [source.as_json() for source in sources]})
        return exits.OK
    if not sources:
        terminal.say("Nothing has come by the inbox. Programs append JSON lines to files of their own in inbox/.")
        return exits.OK
    rows = [
        (
            source.name,
            str(source.files),
            _size(source.waiting),
            _size(source.taken),
            str(source.taken_in_hour),
            terminal.ago(source.written) if source.written else "",
            str(source.refused),
            _note(source),
        )
        for source in sources
    ]
    terminal.table(("source", "files", "waiting", "taken", "taken/h", "written", "refused", "note"), rows)
    return exits.OK


def _note(source: Source) -> str:
    reasons = [f"{count} x {reason}" for reason, count in source.reasons.most_common(REASONS_SHOWN)]
    if (more := len(source.reasons) - REASONS_SHOWN) > 0:
        reasons.append(f"and {more} other reasons: aios events --type journal.quarantined")
    return printable("; ".join([*source.notes.values(), *reasons]))


def _size(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size //= 1000
    return f"{size} GB"


# --- what is known ----------------------------------------------------------------------------------------------------


def sources_of(state: str, now: float) -> list[Source]:
    """By name. Raises Refused when there is no journal."""
    history = reader(state)
    cursors = cursors_at(state, history)
    sources: dict[str, Source] = {}
    for name, path in inbox_files(f"{state}/inbox"):
        _look_at(sources.setdefault(_program(name), Source(_program(name))), path, cursors.get(name))
    for event, _ in history.read(Query(since=now - RATE_OVER_S, origin=PREFIX, imported=False)):
        parsed = parse_origin(event.origin)
        if parsed and event.type != "journal.quarantined":
            source = sources.setdefault(_program(parsed[0]), Source(_program(parsed[0])))
            source.taken_in_hour += 1
    for event, _ in history.read(Query(EventFilter(_NEWS), since=now - REFUSED_OVER_S, imported=False)):
        if event.type in ("journal.quarantined", "journal.inbox_lost") or os.path.lexists(f"{state}/{event.data.get('file')}"):
            _hear(sources, event)  # what was wrong with a file that is gone is over
    for name, why in never_read(f"{state}/inbox"):
        sources.setdefault(name, Source(name)).notes["journal.inbox_failed"] = _WORDS["journal.inbox_failed"].format(error=why)
    return sorted(sources.values(), key=lambda source: source.name)


def cursors_at(state: str, history: History) -> Mapping[str, InboxCursor]:
    """How far each file is durably taken: as a daemon knows it at its start, from the newest checkpoint and what came after."""
    loaded = Checkpoints(OsFiles(), f"{state}/checkpoints", CHECKPOINT_VERSION).load()
    origins: dict[str, str] = {}
    position = None
    if loaded is not None:
        position, payload = loaded
        origins = dict(payload.get("world", {}).get("origins", {}))
    for event, _ in history.read(Query(after=position, origin=PREFIX, imported=False)):
        fold_origin(origins, event.origin)
    return cursors_of(origins)


def inbox_files(inbox: str) -> Iterable[tuple[str, str]]:
    """Names as cursors have them, and paths. What is no file of lines is left out: the daemon tells of it."""
    try:
        entries = sorted(os.scandir(inbox), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False):
            yield entry.name.removesuffix(".jsonl"), entry.path
        elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            for name, path in inbox_files(entry.path):
                if "/" not in name:
                    yield f"{entry.name}/{name}", path


def never_read(inbox: str) -> Iterable[tuple[str, str]]:
    """Files whose names keep them from being read, and why: told also where no daemon runs that could."""
    try:
        entries = sorted(os.scandir(inbox), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False) and (why := why_never_read(entry.name)):
            yield entry.name.removesuffix(".jsonl"), why


def _look_at(source: Source, path: str, cursor: InboxCursor | None) -> None:
    try:
        here = os.lstat(path)
    except FileNotFoundError:
        return
    source.files += 1
    source.size += here.st_size
    source.written = max(source.written, here.st_mtime)
    if cursor is not None and cursor.offset <= here.st_size and (cursor.inode == here.st_ino or _is_a_copy(path, cursor)):
        source.taken += cursor.offset


def _is_a_copy(path: str, cursor: InboxCursor) -> bool:
    """Of a state folder that came back from a backup: the line that was taken last stands where it stood."""
    span = min(cursor.length, MARK_SPAN)
    try:
        with open(path, "rb") as file:
            file.seek(cursor.offset - span)
            return span > 0 and crc32(file.read(span)) == cursor.mark
    except OSError:
        return False


def _hear(sources: dict[str, Source], event: Event) -> None:
    """What went wrong with its files in the last day."""
    file = str(event.data.get("file") or "")
    if not file.startswith(PREFIX):
        return
    name = _program(file.removeprefix(PREFIX).removesuffix(".jsonl"))
    source = sources.setdefault(name, Source(name))
    if event.type == "journal.quarantined":
        lines = event.data.get("lines", 1)
        number = lines if isinstance(lines, int) else 1
        source.refused += number
        source.reasons[str(event.data.get("reason") or "")[:120]] += number
    else:
        source.notes[event.type] = _WORDS[event.type].format(**{"error": "", "length": 0, "waiting": 0, **event.data})[:200]


_WORDS: Mapping[str, str] = {
    "journal.inbox_failed": "cannot be read: {error}",
    "journal.inbox_lost": "truncated or removed before it was read to the end",
    "journal.inbox_slowed": "slowed: over its limit",
    "journal.inbox_large": "large: {length} bytes",
}


def _program(name: str) -> str:
    return name.partition("/")[0]
