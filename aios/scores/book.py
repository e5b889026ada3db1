"""What the score remembers of one subject: counts by the minute, illnesses, latency by the day. Bounded, whatever happens.

`Scores` writes into it and reads its dimensions. All times are wall-clock seconds (the arrival of events).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf, log, pow
from typing import Any

from aios.scores import formula
from aios.scores.symptoms import closed_by, is_level

WINDOW_S = 900.0
FALLS_WINDOW_S = 3600.0
MEDIAN_DAYS = 7
STANDING_MAX = 16

_MINUTE_S = 60
_DAY_S = 86_400
# Latencies of a day are kept as a histogram whose bars are 10 % apart: at most about 220 numbers for 0.01 ms to 3 hours.
_BAR = log(1.1)
_LEAST_MS, _MOST_MS = 0.01, 1e7


@dataclass(slots=True)
class Minute:
    """Sums of one minute. `p95_ms` is a sum of 95th percentiles, `probes` how many; the shares are sums over `samples`."""

    minute: int
    good: int = 0
    failed: int = 0
    p95_ms: float = 0.0
    probes: int = 0
    samples: int = 0
    cpu: float = 0.0
    memory: float = 0.0
    disk: float = 0.0

    def row(self) -> list[float]:
        return [
            self.minute,
            self.good,
            self.failed,
            self.p95_ms,
            self.probes,
            self.samples,
            self.cpu,
            self.memory,
            self.disk,
        ]


@dataclass(frozen=True, slots=True)
class Said:
    """What was last said of a score: the value, which dimensions, when; how deep it is degraded (0, 1, 2) and since when."""

    value: float | None = None
    dimensions: tuple[str, ...] = ()
    at: float = 0.0
    depth: int = 0
    since: float = 0.0

    def row(self) -> list[Any]:
        return [self.value, list(self.dimensions), self.at, self.depth, self.since]

    @classmethod
    def from_row(cls, row: list[Any]) -> Said:
        return cls(row[0], tuple(row[1]), *row[2:])


@dataclass(slots=True)
class Voice:
    """`told` is in the journal, `said` may still be on its way there (`on_the_way` drafts); only `told` goes to a checkpoint."""

    told: Said = Said()
    said: Said = Said()
    on_the_way: int = 0

    def hear(self, told: Said) -> None:
        """One of our own events came back from the journal."""
        self.told = told
        if self.on_the_way > 0:
            self.on_the_way -= 1
        else:
            self.said = told


@dataclass(slots=True)
class Book:
    """One subject. `standing`: level -> since when it stands.

    Lists, not deques: they are short, and an empty deque takes 600 bytes, of which there may be 30,000.
    """

    seen_at: float = 0.0
    minutes: list[Minute] = field(default_factory=list)
    falls: list[list[int]] = field(default_factory=list)
    standing: dict[str, float] = field(default_factory=dict)
    disk_used: float | None = None
    days: list[tuple[int, float, int]] = field(default_factory=list)
    today: int = 0
    bars: dict[int, int] = field(default_factory=dict)
    voice: Voice = field(default_factory=Voice)

    # --- writing

    def minute(self, at: float, window_s: float) -> Minute:
        """This minute's sums. What a clock that went back wrote into the future is dropped."""
        now = int(at // _MINUTE_S)
        minutes = self.minutes
        while minutes and minutes[-1].minute > now + 1:
            minutes.pop()
        if not minutes or minutes[-1].minute < now:
            minutes.append(Minute(now))
            while minutes[0].minute < now - window_s // _MINUTE_S - 1:
                del minutes[0]
        return minutes[-1]

    def add_latency(self, p95_ms: float, at: float, window_s: float) -> None:
        minute = self.minute(at, window_s)
        minute.p95_ms += p95_ms
        minute.probes += 1
        day = int(at // _DAY_S)
        if day != self.today:
            self._close_day(day)
        bar = round(log(min(max(p95_ms, _LEAST_MS), _MOST_MS)) / _BAR)
        self.bars[bar] = self.bars.get(bar, 0) + 1

    def _close_day(self, day: int) -> None:
        median = formula.weighted_median(self._bars_ms())
        if median is not None:
            self.days.append((self.today, median, sum(self.bars.values())))
            del self.days[: -(MEDIAN_DAYS - 1)]
        self.today, self.bars = day, {}

    def _bars_ms(self) -> list[tuple[float, int]]:
        return [(pow(1.1, bar), count) for bar, count in self.bars.items()]

    def fall(self, event_type: str, at: float) -> None:
        """It fell ill; a level that stands already is no new fall."""
        if is_level(event_type):
            if event_type in self.standing or len(self.standing) >= STANDING_MAX:
                return
            self.standing[event_type] = at
        minute = int(at // _MINUTE_S)
        if self.falls and self.falls[-1][0] >= minute:
            self.falls[-1][1] += 1
        else:
            self.falls.append([minute, 1])
        while self.falls[0][0] < minute - FALLS_WINDOW_S // _MINUTE_S - 1:
            del self.falls[0]

    def close(self, event_type: str) -> None:
        for one in closed_by(event_type, self.standing):
            del self.standing[one]

    # --- reading

    def recent(self, now: float, window_s: float) -> Iterable[Minute]:
        """The minutes of the window, newest first."""
        return takewhile(lambda minute: (minute.minute + 1) * _MINUTE_S > now - window_s, reversed(self.minutes))

    def falls_at(self, now: float) -> int:
        """Falls of the last hour; an illness that began earlier and still stands counts as one."""
        recent = sum(count for minute, count in self.falls if (minute + 1) * _MINUTE_S > now - FALLS_WINDOW_S)
        return recent + sum((since // _MINUTE_S + 1) * _MINUTE_S <= now - FALLS_WINDOW_S for since in self.standing.values())

    def usual_p95_ms(self, now: float) -> float | None:
        """The median of seven days, this one counted."""
        oldest = now // _DAY_S - MEDIAN_DAYS
        return formula.weighted_median([*((value, count) for day, value, count in self.days if day > oldest), *self._bars_ms()])

    def figures(self, now: float, window_s: float, target_ms: float | None) -> dict[str, Any]:
        """Everything that the dimensions are computed from."""
        total = Minute(0)
        for minute in self.recent(now, window_s):
            total.good += minute.good
            total.failed += minute.failed
            total.p95_ms += minute.p95_ms
            total.probes += minute.probes
            total.samples += minute.samples
            total.cpu += minute.cpu
            total.memory += minute.memory
            total.disk += minute.disk
        p95_ms = total.p95_ms / total.probes if total.probes else None
        return {
            "good": total.good,
            "failed": total.failed,
            "p95_ms": p95_ms,
            "target_ms": None if p95_ms is None else target_ms or self.usual_p95_ms(now),
            "falls": self.falls_at(now),
            "used": self._used(total, now, window_s),
        }

    def _used(self, total: Minute, now: float, window_s: float) -> dict[str, float]:
        if total.samples:
            return {name: getattr(total, name) / total.samples for name in ("cpu", "memory", "disk")}
        if self.disk_used is not None and (self.standing or now - self.seen_at < window_s):
            return {"disk": self.disk_used}
        return {}

    def changes_at(self, now: float, window_s: float) -> float:
        """When the mere passing of time may change its score next; infinity: it never does."""
        found = [
            *((minute.minute + 1) * _MINUTE_S + window_s for minute in self.minutes),
            *((minute + 1) * _MINUTE_S + FALLS_WINDOW_S for minute, _ in self.falls),
            *((since // _MINUTE_S + 1) * _MINUTE_S + FALLS_WINDOW_S for since in self.standing.values()),
        ]
        if self.disk_used is not None:
            found.append(self.seen_at + window_s)
        if self.days or self.bars:
            found.append((now // _DAY_S + 1) * _DAY_S)  # the median of seven days has other days then
        return min((at for at in found if at > now), default=inf)

    # --- checkpoints

    def to_json(self) -> dict[str, Any]:
        return {
            "seen_at": self.seen_at,
            "minutes": [minute.row() for minute in self.minutes],
            "falls": [list(fall) for fall in self.falls],
            "standing": dict(self.standing),
            "disk_used": self.disk_used,
            "days": [list(day) for day in self.days],
            "today": self.today,
            "bars": [[bar, count] for bar, count in self.bars.items()],
            "told": self.voice.told.row(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Book:
        told = Said.from_row(raw["told"])
        book = cls(seen_at=raw["seen_at"], disk_used=raw["disk_used"], today=raw["today"], voice=Voice(told, told))
        book.minutes.extend(Minute(*row) for row in raw["minutes"])
        book.falls.extend(list(fall) for fall in raw["falls"])
        book.standing.update(raw["standing"])
        book.days.extend((day, value, count) for day, value, count in raw["days"])
        book.bars.update((bar, count) for bar, count in raw["bars"])
        return book


def dimensions_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """The dimensions that have data, in their order."""
    found = {
        formula.SUCCESS: formula.success(figures["good"], figures["failed"]),
        formula.LATENCY: formula.latency(figures["target_ms"], figures["p95_ms"]),
        formula.STABILITY: formula.stability(figures["falls"]),
        formula.RESOURCES: formula.resources([*figures["used"].values()]),
    }
    return {name: value for name, value in found.items() if value is not None}
