"""The world as it was when an event had just come: folded from the newest memory before it, or from the journal's beginning.

`explain` asks here for what no decision wrote down: scores, windows, who had healed what. It is the same fold as the daemon's, so
it is the truth of then; where too much would have to be folded, nobody says, and `explain` tells what is so now, and that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from aios.events.codec import decode_json
from aios.events.event import Event, Position
from aios.events.filters import EventFilter
from aios.journal.checkpoints import Checkpoints
from aios.journal.digest import BadDigest, days_with_digest, load_digest
from aios.journal.query import History, Query
from aios.ports import Blobs, Files
from aios.scores.scores import Scores
from aios.settings import Settings
from aios.world import CHECKPOINT_VERSION, UNFIT, World

FOLD_MAX = 100_000
"""So many events are folded for one answer, in a second or two; a checkpoint is seldom further away."""


def world_at(history: History, position: Position, blobs: Blobs) -> World | None:
    """With the event at this position in it; None where it would take too long, or a damaged line has torn what is folded."""
    settings = _settings(history, position, blobs)
    window_s, targets = settings.score.window_s, settings.score.latency_target_ms
    old_scores = partial(Scores.from_json, window_s=window_s, targets_ms=targets)
    world = _remembered(history, position, old_scores) or World(Scores(window_s=window_s, targets_ms=targets))
    world.correlator.recall, world.settle_s = blobs.get, settings.settle_s
    after = world.position if world.position.day else None
    for count, (event, at) in enumerate(history.read(Query(after=after, imported=False))):
        if at > position:
            break
        if count >= FOLD_MAX:
            return None
        try:
            world.apply(event, at)
        except UNFIT:
            world.tear(event)
    return world


def _remembered(history: History, position: Position, scores: partial[Scores]) -> World | None:
    """The newest checkpoint before this, else the newest such digest that holds the world."""
    files, state = history.files, history.state_dir
    found = Checkpoints(files, f"{state}/checkpoints", CHECKPOINT_VERSION).load(lambda at: at <= position)
    kept = [found[1]["world"]] if found is not None else _digests(files, f"{state}/digest", position)
    for raw in kept:
        try:
            return World.from_json(raw, scores)
        except (KeyError, TypeError, ValueError):
            continue  # of another version
    return None


def _digests(files: Files, folder: str, position: Position) -> Iterator[dict[str, object]]:
    for day in reversed([day for day in days_with_digest(files, folder) if day < position.day]):
        try:
            digest = load_digest(files, folder, day)
        except (OSError, BadDigest):
            continue
        if digest.world is not None and digest.position is not None and digest.position <= position:
            yield dict(digest.world["world"])


def _settings(history: History, position: Position, blobs: Blobs) -> Settings:
    """Those in force then; the defaults where nobody can tell."""
    query = Query(EventFilter(("daemon.settings_loaded",)), imported=False)
    found: Event | None = next((event for event, at in history.read(query, back=True) if at <= position), None)
    try:
        return Settings.from_json(decode_json(blobs.get(str(found.data["hash"])))) if found is not None else Settings()
    except (KeyError, TypeError, ValueError):
        return Settings()
