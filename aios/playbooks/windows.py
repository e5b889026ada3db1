"""What is remembered between the events of a correlation: of a key (`Window`), of a playbook (`Tracker`), and of blind times.

`correlate.py` changes it, checkpoints hold it (`tracker_json`, `tracker_of`). It decides nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.playbooks.correlation import correlation_json, correlation_of
from aios.playbooks.joins import Seen, Used, us
from aios.playbooks.model import Correlation

BLIND_KEPT = 64

Heard = tuple[str, str, str]
"""Id, subject and time of what was heard last; the first two are empty where nothing was."""


@dataclass(slots=True)
class Waiting:
    """Something was seen after which something else must not stay away. `since` is on the clock that stands still when blind."""

    used: list[Used]
    since: int


@dataclass(slots=True)
class Window:
    """What is known of one key. `armed` is when the heap looks at it next; 0: not at all."""

    seen: list[Seen] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    heard: int | None = None
    heard_by: Heard = ("", "", "")
    armed: int = 0

    @property
    def empty(self) -> bool:
        return not self.seen and not self.waiting and self.heard is None


@dataclass(slots=True)
class Tracker:
    """The windows of one playbook."""

    playbook: str
    correlation: Correlation
    off: bool = False
    windows: OrderedDict[str, Window] = field(default_factory=OrderedDict)
    buffer: dict[int, tuple[str, Seen]] = field(default_factory=dict)
    buffered: Counter[str] = field(default_factory=Counter)
    """How many events of each key are in the buffer."""
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each key in the buffer: when the newest happened, and its number."""
    events: int = 0
    forgotten: int = 0
    told_at: int = 0

    @property
    def within(self) -> int:
        return us(self.correlation.within_s)

    @property
    def lateness(self) -> int:
        return us(self.correlation.lateness_s)

    @property
    def at_once(self) -> bool:
        """Whether no order matters: each event alone is enough."""
        return self.correlation.kind == "any" and all(trigger.count == 1 for trigger in self.correlation.triggers)

    def bits(self, *, absent: bool) -> int:
        return sum(1 << n for n, trigger in enumerate(self.correlation.triggers) if trigger.absent is absent)

    @property
    def wanted(self) -> int:
        """So many events are needed at least."""
        counts = [trigger.count for trigger in self.correlation.triggers if not trigger.absent]
        return min(counts) if self.correlation.kind in ("any", "absence") else sum(counts)

    def clear(self) -> None:
        self.windows.clear()
        self.buffer.clear()
        self.buffered.clear()
        self.newest.clear()
        self.events = 0


@dataclass(slots=True)
class Blindness:
    """The times when nobody watched, and a clock that stands still in them: `awake`."""

    total: int = 0
    times: list[tuple[int, int]] = field(default_factory=list)

    def add(self, since: int, until: int) -> None:
        since = max(since, self.over)
        if until > since:
            self.total += until - since
            self.times = [*self.times, (since, until)][-BLIND_KEPT:]

    @property
    def over(self) -> int:
        """When the last blind time ended; 0: there was none."""
        return self.times[-1][1] if self.times else 0

    def awake(self, at: int) -> int:
        return at - self.total + sum(until - max(since, at) for since, until in self.times if until > at)

    def wall(self, awake: int) -> int:
        """When the clock that stands still showed this, or will, if nobody is blind from now on."""
        at = awake + self.total
        for since, until in reversed(self.times):
            if at - (until - since) > since:
                break
            at -= until - since
        return at


# --- checkpoints -----------------------------------------------------------------------------------------------------


def tracker_json(tracker: Tracker) -> dict[str, Any]:
    return {
        "playbook": tracker.playbook,
        "correlation": correlation_json(tracker.correlation),
        "off": tracker.off,
        "windows": [_window_json(key, window) for key, window in tracker.windows.items()],
        "buffer": [[number, key, *_seen_json(seen)] for number, (key, seen) in tracker.buffer.items()],
        "events": tracker.events,
        "forgotten": tracker.forgotten,
        "told_at": tracker.told_at,
    }


def _window_json(key: str, window: Window) -> list[Any]:
    waiting = [[one.since, [[number, *_seen_json(seen)] for number, seen in one.used]] for one in window.waiting]
    return [key, [_seen_json(one) for one in window.seen], waiting, window.heard, list(window.heard_by)]


def _seen_json(seen: Seen) -> list[Any]:
    return [*seen[:-1], seen.data.decode()]


def _seen_of(raw: Sequence[Any]) -> Seen:
    return Seen._make((*raw[:-1], raw[-1].encode()))


def tracker_of(raw: Mapping[str, Any]) -> Tracker:
    tracker = Tracker(raw["playbook"], correlation_of(raw["correlation"]), raw["off"])
    for key, seen, waiting, heard, heard_by in raw["windows"]:
        waits = [Waiting([(number, _seen_of(one)) for number, *one in used], since) for since, used in waiting]
        tracker.windows[key] = Window([_seen_of(one) for one in seen], waits, heard, tuple(heard_by))
    tracker.buffer = {number: (key, _seen_of(one)) for number, key, *one in raw["buffer"]}
    tracker.buffered = Counter(key for key, _ in tracker.buffer.values())
    for number, (key, seen) in tracker.buffer.items():
        tracker.newest[key] = max(tracker.newest.get(key, (0, 0)), (seen.at, number))
    tracker.events, tracker.forgotten, tracker.told_at = raw["events"], raw["forgotten"], raw["told_at"]
    return tracker
