"""The queue of events that wait to be decided: bounded, ordered by class, severity and arrival, aged, and it spills.

The river pushes (`push`, in the order of the journal), the pump pops, and whenever there is room somebody calls `refill` with the
journal's reader. Order of popping: class (0 to 3), then severity, then who came first. What has waited `AGEING_S` counts as one
class better, at most as P1.

**A full queue never stops reading and never loses.** An event lives in memory or is *spilled*: then the queue knows only where
it stands in the journal. P3 goes first, then P2. P0 and P1 push out what is lower, and have `reserve` places of their own beyond
the capacity; only when every place of both holds a P0 or P1 is a further P1 spilled too, because memory is bounded and losing is
worse (P0 comes from our own score alone, at most about once a minute, and is always taken in).

**What is remembered.** Once a class has spilled, everything further of that class and of lower ones is spilled until all of it
was read again. So one range of positions holds exactly what is spilled of a class (its `Tail`), and nothing lower overtakes it.
What was pushed out of memory lies before that range and is remembered singly, never more than the queue has places (held or dead
events that are offered again come on top). Memory stays bounded for any number of events, and nothing comes in twice.

A checkpoint (`to_json`) holds what is spilled, nothing else: what waits in memory is undecided in the world and is pushed again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from math import inf
from typing import Any, NamedTuple, Protocol

from aios.events.catalogue import is_own
from aios.events.event import START, Draft, Event, Position, Stored
from aios.scheduler.priority import CLASSES, P1, P2, P3, RANKS, priority, rank

CAPACITY = 4096
"""Places for events in memory; at about 1 kB an event that is 4 MB."""
RESERVE = 512
"""Places beyond the capacity that only P0 and P1 may take."""
AGEING_S = 60.0
"""Whoever waited so long counts as one class better; twice as long, two classes; never better than P1."""
REPORT_EVERY_S = 60.0
"""How often at most a class says that it spills."""

LOOK_AT_MOST = 8
"""A refill looks at this many events of the journal for each that it may bring back, then lets the loop go round."""

_VERSION = 1
_UP_TO = (0, 0b0011, 0b0111, 0b1111)
"""What a class must queue up behind when it is spilled: itself and all above. P0 queues up behind nobody."""


class Waiting(NamedTuple):
    """An event in the queue; `since` is the monotonic time from which it ages."""

    seq: int
    since: float
    event: Event
    position: Position


class Stretch(NamedTuple):
    """Where spilled events of one class stand: the one at `last` (`after` is None), or all after `after` up to `last` itself."""

    priority: int
    after: Position | None
    last: Position
    events: int


class Rereader(Protocol):
    """What a refill needs of the journal's reader (`aios.ports.JournalReader` has it)."""

    def read(self, after: Position | None = None) -> Iterator[Stored]: ...
    def at(self, position: Position) -> Event | None: ...


@dataclass(slots=True)
class Tail:
    """Everything of a class after `after` up to `last` is spilled."""

    after: Position
    last: Position
    count: int


@dataclass(slots=True)
class Spilled:
    """What is spilled of one class: single positions (with the time each ages from), all of them before the tail."""

    singles: dict[Position, float] = field(default_factory=dict)
    tail: Tail | None = None
    untold: int = 0
    told_at: float = -inf

    def __len__(self) -> int:
        return len(self.singles) + (self.tail.count if self.tail else 0)

    @property
    def empty(self) -> bool:
        return not self.singles and self.tail is None

    @property
    def first(self) -> Position:
        return min(self.singles) if self.singles else self.tail.after if self.tail else START


class EventQueue:
    """See the head of this file. `now` is always monotonic seconds, and never goes back."""

    __slots__ = ("_capacity", "_lanes", "_lift_at", "_mask", "_reserve", "_seen", "_seq", "_size", "_spilled", "_spilling")

    def __init__(self, capacity: int = CAPACITY, reserve: int = RESERVE) -> None:
        self._capacity = capacity
        self._reserve = reserve
        self._lanes: list[deque[Waiting]] = [deque() for _ in range(RANKS)]
        self._mask = 0  # bit r: lane r holds something
        self._size = 0
        self._seq = 0
        self._seen = START
        self._lift_at = inf  # no lane's head is lifted before this time
        self._spilled = [Spilled() for _ in CLASSES]
        self._spilling = 0  # bit c: something of class c is spilled

    # --- in

    def push(self, event: Event, position: Position, now: float) -> bool:
        """Take the next event of the journal. True: it waits in memory; False: it is spilled and will be read again.

        One that is not the next, because its decision was lost in a crash, is taken as by `push_again`.
        """
        before = self._seen
        if position <= before:
            return self.push_again(event, position, now)
        self._seen = position
        place = rank(event)
        if self._size >= self._capacity or (self._spilling and self._spilling & _UP_TO[place >> 2]):
            return self._push_full(place, event, position, now, before)
        self._enter(place, event, position, now)
        return True

    def push_again(self, event: Event, position: Position, now: float) -> bool:
        """Take an event that was popped before (held by a guard, a dead letter): it ages anew. As `push` in all else."""
        place = rank(event)
        if self._place_for(place >> 2):
            self._enter(place, event, position, now)
            return True
        self._spill_single(place >> 2, position, now)
        return False

    def _open_lane(self, place: int, since: float) -> None:
        self._mask |= 1 << place
        if place >= P2 << 2:
            self._lift_at = min(self._lift_at, since + AGEING_S)

    def _enter(self, place: int, event: Event, position: Position, since: float) -> None:
        lane = self._lanes[place]
        if not lane:
            self._open_lane(place, since)
        self._seq += 1
        self._size += 1
        lane.append(Waiting(self._seq, since, event, position))

    def _push_full(self, place: int, event: Event, position: Position, now: float, before: Position) -> bool:
        which = place >> 2
        if not self._spilling & _UP_TO[which] and self._place_for(which):
            self._enter(place, event, position, now)
            return True
        spilled = self._spilled[which]
        self._spilling |= 1 << which
        spilled.untold += 1
        tail = spilled.tail
        if tail is None:
            spilled.tail = Tail(before, position, 1)
        else:
            tail.last = position
            tail.count += 1
        return False

    def _place_for(self, which: int) -> bool:
        """Whether an event of this class may come into memory; pushes a lower one out where that makes the place."""
        if self._size < self._capacity:
            return True
        for lower in (P3, P2):
            if lower > which and self._push_out(lower):
                return True
        return which == 0 or (which == P1 and self._size < self._capacity + self._reserve)

    def _push_out(self, which: int) -> bool:
        """Spill the newest event of the least severity in this class; False where the class has none in memory."""
        for place in range(which * 4 + 3, which * 4 - 1, -1):
            lane = self._lanes[place]
            if lane:
                victim = lane.pop()
                self._left(place)
                self._spill_single(which, victim.position, victim.since)
                return True
        return False

    def _spill_single(self, which: int, position: Position, since: float) -> None:
        self._spilled[which].singles[position] = since
        self._spilled[which].untold += 1
        self._spilling |= 1 << which

    # --- out

    def pop(self, now: float) -> Waiting | None:
        """The event that comes next; None when none is in memory."""
        mask = self._mask
        if not mask:
            return None
        place = (mask & -mask).bit_length() - 1 if now < self._lift_at else self._best_place(now)
        found = self._lanes[place].popleft()
        self._left(place)
        return found

    def _left(self, place: int) -> None:
        self._size -= 1
        if not self._lanes[place]:
            self._mask &= ~(1 << place)

    def _best_place(self, now: float) -> int:
        """With ageing: within a lane the head is the oldest, hence the best, so the best head is the best of all."""
        self._lift_at = min(
            (lane[0].since + AGEING_S for lane in self._lanes[P2 << 2 :] if lane),
            default=inf,
        )
        heads = [(*aged(place, lane[0].since, now), lane[0].seq, place) for place, lane in enumerate(self._lanes) if lane]
        return min(heads)[3]

    # --- spilled events come back

    def holds(self, event: Event, position: Position) -> bool:
        """Whether this event is spilled: it will be read again by itself."""
        spilled = self._spilled[priority(event)]
        tail = spilled.tail
        return position in spilled.singles or (tail is not None and tail.after < position <= tail.last)

    @property
    def room(self) -> int:
        """Places free for any class."""
        return max(0, self._capacity - self._size)

    def unspill(self, room: int | None = None) -> list[Stretch]:
        """Where to read again for so many places, best class first, within a class in the order of the journal."""
        left = self.room if room is None else room
        found: list[Stretch] = []
        for which in CLASSES:
            spilled = self._spilled[which]
            singles = nsmallest(left, spilled.singles) if left > 0 else []
            found += (Stretch(which, None, position, 1) for position in singles)
            left -= len(singles)
            if spilled.tail and left > 0:
                found.append(Stretch(which, spilled.tail.after, spilled.tail.last, spilled.tail.count))
                left -= spilled.tail.count
        return found

    def restore(self, event: Event, position: Position, now: float) -> bool:
        """Take back an event that was read again; one that is not spilled is stepped over.

        False: there is no room, stop reading; it stays spilled.
        """
        place = rank(event)
        spilled = self._spilled[place >> 2]
        tail = spilled.tail
        single = spilled.singles.get(position)
        if single is None and (tail is None or not tail.after < position <= tail.last):
            return True
        if self._size >= self._capacity and not self._place_for(place >> 2):
            return False
        self._enter(place, event, position, now if single is None else single)
        if single is not None:
            del spilled.singles[position]
        elif tail is not None:
            tail.after = position
            tail.count -= 1
            if tail.count <= 0:
                spilled.tail = None
        self._settle(place >> 2)
        return True

    def finished(self, stretch: Stretch) -> int:
        """The caller has read this stretch to its end. How many of its events were not to be found there any more."""
        spilled = self._spilled[stretch.priority]
        missing = 0
        if stretch.after is None:
            missing = 1 if spilled.singles.pop(stretch.last, None) is not None else 0
        elif spilled.tail and spilled.tail.last <= stretch.last:
            missing = spilled.tail.count
            spilled.tail = None
        elif spilled.tail:
            spilled.tail.after = max(spilled.tail.after, stretch.last)
        self._settle(stretch.priority)
        return missing

    def _settle(self, which: int) -> None:
        if self._spilled[which].empty:
            self._spilling &= ~(1 << which)

    def refill(
        self,
        reader: Rereader,
        limit: int,
        now: float,
        wanted: Callable[[Event], bool] = lambda _: True,
        came_back: Callable[[Event, Position], None] = lambda _event, _position: None,
    ) -> int:
        """Bring about `limit` spilled events back, while there is room; `came_back` hears of each.

        `wanted` says which events go to the queue at all (bookkeeping, say, does not, nor what is wanted no more).
        Returns how many were not to be found any more; the caller says so aloud.
        """
        missing = 0
        goal = self._size + min(limit, self.room)
        for stretch in self.unspill(goal - self._size):
            unwanted: list[str] = []
            events = self._hear(_events_of(stretch, reader), stretch, wanted, unwanted)
            read_to = self._restore_stretch(stretch, events, now, came_back, goal)
            if read_to is None:
                break
            missing += max(0, self.finished(stretch._replace(last=read_to)) - len(unwanted))
            if read_to != stretch.last:
                break
        return missing

    @staticmethod
    def _hear(
        events: Iterator[Stored], stretch: Stretch, wanted: Callable[[Event], bool], unwanted: list[str]
    ) -> Iterator[tuple[Event, Position, bool]]:
        """Each event, and whether it is to come back; what is of this class, seen outside and wanted no more is noted."""
        for event, position in events:
            ours = priority(event) == stretch.priority
            if ours and not wanted(event):
                ours = False
                if not is_own(event.type):
                    unwanted.append(event.id)
            yield event, position, ours

    def _restore_stretch(
        self,
        stretch: Stretch,
        events: Iterator[tuple[Event, Position, bool]],
        now: float,
        came_back: Callable[[Event, Position], None],
        goal: int,
    ) -> Position | None:
        """How far it was read: to the end, to where we may look no further, or None where room or goal ended it."""
        looks = max(1, goal - self._size) * LOOK_AT_MOST
        for event, position, ours in events:
            if ours and (self._size >= goal or not self.restore(event, position, now)):
                return None
            if ours:
                came_back(event, position)
            looks -= 1
            if not looks:
                return position
        return stretch.last

    # --- what others may know

    def __len__(self) -> int:
        """Events in memory."""
        return self._size

    @property
    def spilled(self) -> int:
        """Events that wait in the journal alone."""
        return sum(len(spilled) for spilled in self._spilled)

    @property
    def urgent(self) -> bool:
        """Whether a P0 waits."""
        return bool(self._mask & 0b1111)

    @property
    def first_spilled(self) -> Position | None:
        """At or before the first event that waits in the journal alone; None: none does."""
        return min((spilled.first for spilled in self._spilled if not spilled.empty), default=None)

    def counts(self) -> dict[str, dict[str, int]]:
        """Per class: how many wait in memory, how many are spilled."""
        return {
            f"P{which}": {
                "waiting": sum(len(lane) for lane in self._lanes[which * 4 : which * 4 + 4]),
                "spilled": len(self._spilled[which]),
            }
            for which in CLASSES
        }

    def reports(self, now: float) -> list[Draft]:
        """`scheduler.spilled` for each class that has spilled since it last said so, at most one a minute and class."""
        return [self._report(which, now) for which in CLASSES if self._may_report(self._spilled[which], now)]

    @staticmethod
    def _may_report(spilled: Spilled, now: float) -> bool:
        return spilled.untold > 0 and not spilled.empty and now - spilled.told_at >= REPORT_EVERY_S

    def _report(self, which: int, now: float) -> Draft:
        spilled = self._spilled[which]
        spilled.untold, spilled.told_at = 0, now
        data = {"priority": which, "since": str(spilled.first), "count": len(spilled)}
        return Draft(type="scheduler.spilled", subject="system", data=data, severity="warning")

    # --- checkpoints

    def to_json(self, now: float) -> dict[str, Any]:
        """Positions of all that is spilled. Whoever loads it reads them again; none of it needs the events themselves."""
        return {
            "version": _VERSION,
            "seen": str(self._seen),
            "classes": [
                {
                    "singles": [[str(position), round(now - since, 3)] for position, since in sorted(spilled.singles.items())],
                    "tail": [str(tail.after), str(tail.last), tail.count] if tail else None,
                }
                for spilled in self._spilled
                for tail in (spilled.tail,)
            ],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], now: float, capacity: int = CAPACITY, reserve: int = RESERVE) -> EventQueue:
        """Raises ValueError where the version is one that this code does not know."""
        if raw.get("version") != _VERSION:
            raise ValueError(f"queue state of version {raw.get('version')!r}; this code reads {_VERSION}")
        queue = cls(capacity, reserve)
        queue._seen = Position.parse(raw["seen"])
        for spilled, kept in zip(queue._spilled, raw["classes"], strict=True):
            spilled.singles = {Position.parse(at): now - waited for at, waited in kept["singles"]}
            if kept["tail"]:
                after, last, count = kept["tail"]
                spilled.tail = Tail(Position.parse(after), Position.parse(last), count)
        queue._spilling = sum(1 << which for which in CLASSES if not queue._spilled[which].empty)
        return queue


def aged(place: int, since: float, now: float) -> tuple[int, int]:
    """(class, severity rank) of a rank with its waiting time taken into account: one class better each `AGEING_S`, at most P1."""
    which, severity = place >> 2, place & 3
    return (which if which <= P1 else max(P1, which - int((now - since) // AGEING_S)), severity)


def _events_of(stretch: Stretch, reader: Rereader) -> Iterator[Stored]:
    if stretch.after is None:
        event = reader.at(stretch.last)
        if event is not None:
            yield Stored(event, stretch.last)
        return
    for stored in reader.read(stretch.after if stretch.after != START else None):
        if stored.position > stretch.last:
            return
        yield stored
