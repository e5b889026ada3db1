"""Slots and locks: which of the runs that want to work may work now. Pure; the pump asks, grants and releases.

Five runs work at once, and the fifth place is P0's alone. A run asks with everything it locks: its own subject (also when it only
looks) and all that its skills say they touch; it gets all of that at once, or waits with nothing. A run that waits for approval,
a delay or a retry releases, and asks again later.

Two names conflict when they are equal; `file:/etc/nginx` also conflicts with everything below it. Order of granting: class
(aged as in the queue, at most to P1), then who asked first. Nobody starves: what an earlier request waits for is kept from every
later one, and every request is the earliest at last, because it ages.

What was found blocked is parked, with a claim on its names, until something is released, or something better asks, that conflicts
with these: so a thousand runs that wait for one name cost nothing while others come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge

from aios.scheduler.priority import CLASSES, P0, P1
from aios.scheduler.queue import AGEING_S

SLOTS = 5
RESERVED_FOR_P0 = 1
DEEPEST_PATH = 64
"""A deeper path locks its ancestor of this depth: coarser, so safe, and no hostile path costs more than that."""

_FILE = "file:"


@dataclass(frozen=True, slots=True)
class Request:
    """A run that wants to work. `resources` as given; `asked_at` in monotonic seconds."""

    run: str
    priority: int
    resources: frozenset[str]
    asked_at: float
    seq: int = field(compare=False, default=0)

    def standing(self, now: float) -> tuple[int, float, int]:
        """What orders requests, best first."""
        lifted = max(P1, self.priority - int((now - self.asked_at) // AGEING_S))
        return (self.priority if self.priority <= P1 else lifted, self.asked_at, self.seq)


class Locks:
    """Names that are taken, by whom; asks for conflicts in the depth of a path, however many are taken.

    Several requests may claim the same name: claims are counted, and the first holder is remembered.
    """

    __slots__ = ("_above", "_held")

    def __init__(self) -> None:
        self._held: dict[str, list[str]] = {}
        self._above: dict[str, dict[str, int]] = {}  # folder -> runs that hold something below it

    def conflict(self, names: Iterable[str]) -> str | None:
        """Who holds one of these names, a folder above it or something below it; None: they are free."""
        if not self._held:
            return None
        return next((holder for name in names for holder in self._holders(name)), None)

    def _holders(self, name: str) -> Iterator[str]:
        yield from self._held.get(name, ())
        if name.startswith(_FILE):
            for folder in folders_above(name):
                yield from self._held.get(folder, ())
            yield from self._above.get(name, ())

    def take(self, names: Iterable[str], run: str) -> None:
        for name in names:
            self._held.setdefault(name, []).append(run)
            for folder in folders_above(name):
                below = self._above.setdefault(folder, {})
                below[run] = below.get(run, 0) + 1

    def free(self, names: Iterable[str], run: str) -> None:
        for name in names:
            self._held[name].remove(run)
            if not self._held[name]:
                del self._held[name]
            for folder in folders_above(name):
                self._free_above(folder, run)

    def _free_above(self, folder: str, run: str) -> None:
        below = self._above[folder]
        below[run] -= 1
        if not below[run]:
            del below[run]
        if not below:
            del self._above[folder]


class Slots:
    """See the head of this file. `now` is monotonic seconds."""

    __slots__ = ("_claims", "_lanes", "_locks", "_names", "_parked", "_reserved", "_running", "_seq", "_slots", "_waiting")

    def __init__(self, slots: int = SLOTS, reserved_for_p0: int = RESERVED_FOR_P0) -> None:
        self._slots = slots
        self._reserved = reserved_for_p0
        self._running: dict[str, Request] = {}
        self._waiting: dict[str, Request] = {}  # those in the lanes and those that are parked
        # What each run locks, in canonical spelling; sorted, so that a simulation repeats whatever the hashes of strings are.
        self._names: dict[str, tuple[str, ...]] = {}
        self._locks = Locks()
        # One lane a class, ordered by when they asked (dicts keep order; see `_sort_lane`).
        self._lanes: list[dict[str, Request]] = [{} for _ in CLASSES]
        self._parked: dict[str, Request] = {}
        self._claims = Locks()  # of the parked
        self._seq = 0

    def resize(self, slots: int) -> None:
        """So many from here on; who works goes on."""
        self._slots = slots

    def request(self, run: str, priority: int, resources: frozenset[str], asked_at: float) -> None:
        """Wait for a slot and these resources. Raises ValueError for a run that waits or works already: a bug of the caller."""
        if run in self._waiting or run in self._running:
            raise ValueError(f"run {run} has asked for a slot already")
        self._seq += 1
        asked = self._waiting[run] = Request(run, priority, resources, asked_at, self._seq)
        self._names[run] = tuple(sorted({*map(canonical, resources)}))
        lane = self._lanes[priority]
        newest = next(reversed(lane.values()), None)
        lane[run] = asked
        if newest is not None and newest.asked_at > asked_at:
            self._sort_lane(priority)  # rare: a run that comes back keeps the time of its first question

    def _sort_lane(self, priority: int) -> None:
        lane = self._lanes[priority]
        self._lanes[priority] = {one.run: one for one in sorted(lane.values(), key=lambda one: (one.asked_at, one.seq))}

    def grant(self, now: float) -> list[str]:
        """The runs that may begin now, best first; from here on they hold their slot and their resources."""
        granted: list[str] = []
        while self._waiting and len(self._running) < self._slots and not self._scan(now, granted):
            self._unpark()
        return granted

    def _in_order(self, now: float) -> Iterator[Request]:
        """Those in the lanes, best first. Each lane is in order by itself, since who asked earlier has aged more."""
        filled = [lane for lane in self._lanes if lane]
        if len(filled) == 1:
            return iter(filled[0].values())
        return merge(*(lane.values() for lane in filled), key=lambda asked: asked.standing(now))

    def _scan(self, now: float, granted: list[str]) -> bool:
        """Grant what can be granted. False: something better than what is parked conflicts with it; a scan of all must tell."""
        taken: list[Request] = []
        blocked: list[Request] = []
        blocked_names: set[tuple[str, ...]] = set()  # a thousand requests for the same names cost one look each
        complete = True
        for asked in self._in_order(now):
            if not self._slot_for(asked.priority, taken):
                break  # P0 stands before all others, so nobody behind can have a slot either
            names = self._names[asked.run]
            claimant = self._claims.conflict(names)
            parked = self._parked.get(claimant) if claimant is not None else None
            if parked is not None and asked.standing(now) < parked.standing(now):
                complete = False
                break
            if claimant is None and names not in blocked_names and self._locks.conflict(names) is None:
                self._locks.take(names, asked.run)
                taken.append(asked)
                continue
            blocked.append(asked)
            if names not in blocked_names:
                blocked_names.add(names)
                self._claims.take(names, asked.run)
        self._begin(taken)
        for asked in blocked:
            del self._lanes[asked.priority][asked.run]
            self._parked[asked.run] = asked
        granted += (asked.run for asked in taken)
        return complete

    def _begin(self, taken: list[Request]) -> None:
        for asked in taken:
            del self._waiting[asked.run]
            del self._lanes[asked.priority][asked.run]
            self._running[asked.run] = asked

    def _unpark(self) -> None:
        """Back into the lanes, each in its place."""
        for asked in self._parked.values():
            self._lanes[asked.priority][asked.run] = asked
        for priority in {asked.priority for asked in self._parked.values()}:
            self._sort_lane(priority)
        self._parked = {}
        self._claims = Locks()

    def _slot_for(self, priority: int, taken: list[Request]) -> bool:
        if len(self._running) + len(taken) >= self._slots:
            return False
        if priority == P0:
            return True
        others = sum(one.priority != P0 for one in self._running.values()) + sum(one.priority != P0 for one in taken)
        return others < self._slots - self._reserved

    def release(self, run: str) -> bool:
        """The run ends or waits: its slot and its resources are free. Also withdraws a request. False: it had neither."""
        if run in self._parked:
            self._unpark()
        names = self._names.pop(run, None)
        if names is None:
            return False
        if self._running.pop(run, None) is None:
            del self._lanes[self._waiting.pop(run).priority][run]
            return True
        self._locks.free(names, run)
        if self._claims.conflict(names) is not None:
            self._unpark()
        return True

    def running(self) -> list[Request]:
        return list(self._running.values())

    def waiting(self, now: float) -> list[Request]:
        """In the order in which they would be granted."""
        return sorted(self._waiting.values(), key=lambda asked: asked.standing(now))

    def holder(self, run: str) -> str | None:
        """For `explain`: a working run that holds something this waiting run needs; None: it waits for a slot or for its turn."""
        names = self._names.get(run)
        return self._locks.conflict(names) if names is not None and run in self._waiting else None


def canonical(name: str) -> str:
    """A resource's one spelling: paths without empty, `.` and `..` parts, and no deeper than `DEEPEST_PATH`."""
    if not name.startswith(_FILE):
        return name
    parts: list[str] = []
    for part in name[len(_FILE) :].split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return _FILE + "/" + "/".join(parts[:DEEPEST_PATH])


def folders_above(name: str) -> Iterator[str]:
    """`file:/etc/nginx` -> `file:/`, `file:/etc`; nothing for names that are no files, or are the root."""
    if not name.startswith(_FILE) or name == _FILE + "/":
        return
    yield _FILE + "/"
    at = name.find("/", len(_FILE) + 1)
    while at >= 0:
        yield name[:at]
        at = name.find("/", at + 1)
