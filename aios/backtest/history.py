"""What of the journal a backtest reads, in which order, and what it may not read as if it had been seen outside.

`machine` asks here. Three kinds of lines come by, and all others are passed over by a search of their bytes (`journal.sift`):
what was seen outside, what people and clocks said to AIOS, and the record of the runs that really were. What AIOS derived
itself (decisions, scores, calls) is never an input: the backtest derives its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import merge
from sys import intern

from aios.backtest.terms import LOADED
from aios.events.catalogue import CLOSES, LEARNED, is_own
from aios.events.event import START, Event, Position, Stored, parse_time
from aios.events.filters import EventFilter
from aios.journal.query import EVERYTHING, Asked, History, Query, Watch
from aios.playbooks.model import Playbook
from aios.playbooks.run_opening import run_id

STORMS = ("reactor.storm_began", "reactor.storm_over")
"""Facts only where the journal does not say who was watched: then nobody can tell a storm again."""

SAID_TO_US = frozenset(
    {
        "daemon.paused",
        "daemon.resumed",
        "daemon.silenced",
        "daemon.silence_ended",
        "playbook.enabled",
        "playbook.disabled",
        "timer.due",
        "score.degraded",
        "score.recovered",
        LEARNED,
        LOADED,
        *STORMS,
    }
)
"""Of AIOS's own types those that are facts here: what a person, a clock or systemd said, and how well the whole machine was."""

GRANTS = frozenset({"playbook.promoted", "playbook.demoted"})
"""Another mode for a playbook, by a person or by what it has shown."""

TIME_DOWN = frozenset({"daemon.started", "daemon.stopped", "daemon.heartbeat"})
"""What tells a quiet time from one in which nobody was there to hear."""

RECORD = ("run.*", "approval.*")
SCORED = ("probe.sampled", "host.sampled", "resource.*")
RUNS_REMEMBERED_MAX = 100_000
"""Runs of the record that are told from assumed ones; of more than that the first are followed, the others assumed."""


EARLY_S = 10.0
EARLY_RUNS_MAX, EARLY_EVENTS_MAX = 200, 200


def is_input(event: Event) -> bool:
    """Whether this is something that happened, and not something that AIOS made of it."""
    if event.type in GRANTS:
        return bool(event.data.get("by"))  # one that AIOS itself demoted is demoted here by the same evidence
    return event.type in SAID_TO_US or event.type in TIME_DOWN or not is_own(event.type)


def types_read(playbooks: Sequence[Playbook], *, scores: bool, time_down: bool) -> tuple[str, ...]:
    """The types of the lines that are looked at."""
    wanted = {name for playbook in playbooks for name in playbook.types}
    together = [playbook.correlation for playbook in playbooks if playbook.correlation is not None]
    wanted.update(name for correlation in together for trigger in correlation.triggers for name in trigger.types)
    wanted.update(SAID_TO_US, GRANTS, RECORD, CLOSES, *CLOSES.values())
    if scores:
        wanted.update(SCORED)
    if time_down:
        wanted.update(TIME_DOWN)
    return tuple(sorted(wanted))


def read(history: History, span: Query, types: Iterable[str], asked: Asked, watch: Watch | None = None) -> Iterator[Stored]:
    """The events of these types within the span, by the time of their arrival: what was imported lies among what was not."""
    query = replace(span, filter=EventFilter(tuple(types)))
    imported = (one.stored for one in history.read(replace(query, own=False), asked=asked, watch=watch))
    first = next(imported, None)
    own = (one.stored for one in history.read(replace(query, imported=False), asked=asked, watch=watch))
    if first is None:
        return own
    return merge(_again(first, imported), own, key=_arrival)


def before(history: History, span: Query) -> Iterator[Stored]:
    """What was said before the span begins of people's wishes, of settings, of the machine, and of who is ill."""
    begins = parse_time(f"{span.on}T00:00:00Z") if span.on else span.since
    if not begins:
        return iter(())
    types = {*SAID_TO_US, *GRANTS, *CLOSES, *(opened for openeds in CLOSES.values() for opened in openeds)}
    return read(history, replace(span, since=0.0, until=begins, on=""), sorted(types), Asked())


def end_of(history: History, span: Query) -> float:
    """When the last line of the span was written, of whatever type: until then guards let go, and windows close. 0: never."""
    kinds = (replace(span, own=False), replace(span, imported=False))
    return max((stored.event.taken for kind in kinds for stored in history.newest(kind, 1)), default=0.0)


def _again(first: Stored, others: Iterator[Stored]) -> Iterator[Stored]:
    yield first
    yield from others


def _arrival(stored: Stored) -> str:
    return stored.event.arrival


class Record:
    """Which runs really were: where they began, so that a run's own record can be followed when it comes by.

    A run is known again by its id (made of its event and its playbook's name) and the text and mode it ran with.
    """

    def __init__(self) -> None:
        self._opened: dict[int, tuple[Position, int, Position]] = {}
        self._held: dict[str, tuple[int, Position]] = {}

    @classmethod
    def of(cls, history: History, span: Query, watch: Watch | None = None) -> Record:
        record = cls()
        query = replace(span, filter=EventFilter(("run.opened", "reactor.decided")), imported=False)
        for event, position in history.read(query, watch=watch):
            record._note(event, position._replace(day=intern(position.day)))
        return record

    def _note(self, event: Event, position: Position) -> None:
        """Where each run opened, how often guards had held it before, and where last."""
        data = event.data
        if event.type == "run.opened":
            held = self._held.pop(str(data.get("run")), (0, START))
            if len(self._opened) < RUNS_REMEMBERED_MAX:
                self._opened[_key(data.get("run"), data.get("hash"), data.get("mode"))] = (position, *held)
        elif data.get("verdict") == "held" and len(self._held) < RUNS_REMEMBERED_MAX:
            run = run_id(str(data.get("event")), str(data.get("playbook")))
            self._held[run] = (self._held.get(run, (0, START))[0] + 1, position)

    def follows(self, run: str, text_hash: str, mode: str, at: Position, held: int) -> bool:
        """Whether the run that opens here is the one that opened there: of this text and mode, later in the journal than `at`.

        How much later does not count (the disk may have been full for an hour), but no guard may have held it there in between:
        then it is another moment of the same trouble. Times that are equal are told apart by how often it was `held` here.
        """
        opened, times, last = self._opened.get(_key(run, text_hash, mode), (START, 0, START))
        return opened > at and (times == held or last <= at)


class Early:
    """Records that came by some moments before the backtest opens their run: kept so that they can be caught up with.

    In the daemon any line of the journal moves the time of triggers for several events on; here only those that are read.
    """

    def __init__(self) -> None:
        self._runs: dict[str, list[Stored]] = {}

    def note(self, event: Event, position: Position) -> None:
        run = str(event.data.get("run", ""))
        if event.type == "run.opened":
            self._runs[run] = []
            if len(self._runs) > EARLY_RUNS_MAX:
                del self._runs[next(iter(self._runs))]
        if (known := self._runs.get(run)) is not None and len(known) < EARLY_EVENTS_MAX:
            known.append(Stored(event, position))

    def take(self, run: str, now: float) -> list[Stored]:
        """What came by of this run, its beginning left out; nothing where it began long ago, or not at all."""
        known = self._runs.pop(run, [])
        return known if known and now - known[0].event.taken <= EARLY_S else []


def _key(*names: object) -> int:
    """A number in the place of three long texts: nine in ten bytes less."""
    return hash(names)


__all__ = ["EVERYTHING", "Early", "Record", "is_input", "read", "types_read"]
