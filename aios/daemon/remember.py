"""What a new life knows of those before it: the newest checkpoint, and every event after it. Called by `assemble`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from aios.daemon.outside import Outside
from aios.events.event import Draft
from aios.log import get_logger
from aios.playbooks.run import Run
from aios.scheduler.queue import EventQueue
from aios.scores.scores import Scores
from aios.settings import Settings
from aios.world import UNFIT, World

log = get_logger("daemon")

TOLD_EACH = 100_000
"""A second or two of reading. Nobody should take a long start for one that hangs, neither a person nor systemd."""
MORE_S = 60
"""So much more time each of them asks of systemd (`TimeoutStartSec=`)."""

DECISIONS = ("run.opened", "reactor.decided", "scheduler.dead_letter")


class Remembered(NamedTuple):
    """The world as it was; what was decided since of all that the checkpoint's queue calls spilled, and must not be again; the
    type of each event that nothing in the journal says was decided; whom to call about runs that a damaged line has torn; how
    many events stood after the checkpoint.
    """

    world: World
    queue: EventQueue
    decided_since: frozenset[str]
    types: Mapping[str, str]
    torn: tuple[Draft, ...]
    folded: int


def remember(settings: Settings, outside: Outside) -> Remembered:
    """The newest checkpoint, then every event after it."""
    targets = settings.score.latency_target_ms
    new_scores = partial(Scores, window_s=settings.score.window_s, targets_ms=targets)
    old_scores = partial(Scores.from_json, window_s=settings.score.window_s, targets_ms=targets)
    now = outside.clock.monotonic()
    found = outside.checkpoints.load(lambda position: outside.reader.at(position) is not None)
    if found is None:
        world, queue = World(new_scores()), EventQueue(settings.queue_max)
    else:
        world = World.from_json(found[1]["world"], old_scores)
        queue = EventQueue.from_json(found[1]["queue"], now, settings.queue_max)
    world.correlator.recall, world.settle_s = outside.blobs.get, settings.settle_s
    decided_since = set()
    torn: dict[str, Draft] = {}
    types: dict[str, str] = {}
    folded = 0
    for event, position in outside.reader.read(world.position if found else None):
        folded += 1
        if folded % TOLD_EACH == 0:
            _tell_reading(outside, folded, event.arrival)
        if queue.spilled and event.type in DECISIONS:
            decided_since.add(str(event.data.get("event")))
        try:
            world.apply(event, position)
        except UNFIT as error:  # it, or a line of this run before it, was damaged: nobody else may have to suffer for it
            log.error(f"{event.type} {event.id} is left out, since it cannot be folded: {error!r}", position=str(position))
            if (run := world.tear(event)) is not None:
                torn[run.id] = _torn(run)
        if event.type == "reactor.called":  # told already, by a life before
            torn.pop(event.causationid, None)
        if event.id in world.undecided:
            types[event.id] = event.type
        elif event.type == "daemon.heartbeat":  # it says up to where all is decided
            types = {one: types[one] for one in world.undecided if one in types}
    return Remembered(world, queue, frozenset(decided_since), types, tuple(torn.values()), folded)


def _tell_reading(outside: Outside, events: int, until: str) -> None:
    """Where no checkpoint can be used all of the journal that is here is read: half a minute for two million events."""
    outside.notify(f"EXTEND_TIMEOUT_USEC={MORE_S * 1_000_000}\nSTATUS=reading the journal: {events} events, up to {until}")
    log.info(f"reading the journal: {events:,} events, up to {until}")


def _torn(run: Run) -> Draft:
    data = {"playbook": run.playbook, "guard": "torn", "why": f"run {run.id} of {run.playbook} was ended: {run.why}"}
    return Draft(type="reactor.called", subject=run.subject, data=data, causationid=run.id, correlationid=run.incident)
