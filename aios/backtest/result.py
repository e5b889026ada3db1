"""What a backtest found: values, bounded, with a face in JSON. `ledger` makes them; pages and tables are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aios.events.event import format_time

_STEPS = (1, 2, 3, 6, 12, 24)
"""Hours that a part of the time line may have; longer ones are whole days."""


@dataclass(slots=True)
class Trouble:
    """What really became of the symptom that an event told of. Times are seconds since the epoch, 0: not seen."""

    subject: str
    type: str
    began: float
    ended: float = 0.0
    acted_by: str = ""
    """The playbook whose real run acted on the subject while it stood."""
    acted_at: float = 0.0
    closes: bool = True
    """Whether any event would say that it is over."""
    runs: int = 0
    """Runs of the backtest that answer it."""

    def fate(self, within_s: float) -> str:
        """by_itself | later | acted | standing | untold."""
        if not self.closes:
            return "acted" if self.acted_by else "untold"
        if self.acted_by:
            return "acted"
        if not self.ended:
            return "standing"
        return "by_itself" if self.ended - self.began <= within_s else "later"


@dataclass(slots=True)
class WouldRun:
    """A run that would have been, or (`really`) was, and was followed in the journal's own record."""

    id: str
    playbook: str
    subject: str
    event: str
    type: str
    at: float
    mode: str
    really: bool = False
    parent: str = ""
    acts: list[str] = field(default_factory=list)
    """The skills of its acts; a question mark: only if a look had said so."""
    asked: bool = False
    again: bool = False
    """A run before had answered the same trouble: this one only is where that one had not helped."""
    end: str = "open"
    """assumed: it is taken to have helped; healed: it really was, or the journal shows the symptom gone by then."""
    ended: float = 0.0
    why: str = ""
    trouble: Trouble | None = None
    better_than: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": format_time(self.at), "ended": _time(self.ended), "trouble": _trouble(self.trouble)}


@dataclass(frozen=True, slots=True)
class WouldHold:
    """An event that a guard would have held."""

    playbook: str
    subject: str
    event: str
    type: str
    at: float
    guard: str
    until: str
    """RFC 3339; empty: not by time."""
    why: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": format_time(self.at)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one event in the end, for comparing two backtests. `what`: run, held, joined, coalesced, cannot_say."""

    what: str
    playbook: str
    subject: str
    type: str
    at: float
    detail: str = ""
    """The guard that held it; else empty."""
    run: WouldRun | None = None
    why: str = ""


@dataclass(slots=True)
class Figures:
    """Counts of one playbook: what became of the events that its pattern matched, of its runs, and of the symptoms themselves."""

    name: str
    path: str = ""
    mode: str = ""
    matched: int = 0

    runs: int = 0
    joined: int = 0
    coalesced: int = 0
    held: dict[str, int] = field(default_factory=dict)
    """By guard."""
    better: dict[str, int] = field(default_factory=dict)
    """Another playbook was taken: its name."""
    when_no: int = 0
    switched_off: int = 0
    cannot_say: int = 0

    again: int = 0
    """Of the runs: those on a trouble that a run before had answered already."""
    later: int = 0
    """Of what was held: runs that opened when the guard let go."""
    released: int = 0
    """Of what was held: the symptom went away meanwhile."""
    fallbacks: int = 0
    """Runs that the ladder of another opened."""
    acts: int = 0
    asked: int = 0
    maybe: int = 0
    """Acts whose `if` or parameters depend on what a look would have seen."""
    ends: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    """Persons that would have been called."""

    troubles: int = 0
    by_itself: int = 0
    by_itself_median_s: float = 0.0
    later_by_itself: int = 0
    standing: int = 0
    untold: int = 0
    acted: dict[str, int] = field(default_factory=dict)
    """Troubles on which a real run acted: its playbook."""

    really: int = 0
    """Runs that the journal's record has of this name."""
    followed: int = 0
    """Of these, those that the backtest gives too, of the same text: they were followed as they went."""
    busiest: tuple[str, int] = ("", 0)
    """The hour with the most runs."""

    @property
    def held_in_all(self) -> int:
        return sum(self.held.values())


@dataclass(frozen=True, slots=True)
class Bucket:
    """An hour or a day of the time line."""

    begin: float
    runs: int
    held: int
    matched: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """What there is to tell. Lists are bounded; what was left out of them is counted."""

    since: float
    until: float
    """Of the events that were read: the first and the last arrival; 0 where there was none."""
    assume: str
    within_s: float
    playbooks: tuple[Figures, ...]
    company: tuple[str, ...]
    runs: tuple[WouldRun, ...]
    held: tuple[WouldHold, ...]
    hours: Mapping[int, tuple[int, int, int]]
    """By hours since the epoch: (runs, held, matched) of the playbooks that were tried."""
    runs_left_out: int = 0
    held_left_out: int = 0
    events: int = 0
    bytes: int = 0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    verdicts_left_out: int = 0
    dead: int = 0
    """Events that could not be decided at all."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it was played, a sentence each."""

    def buckets(self, most: int = 60) -> tuple[float, list[Bucket]]:
        """The time line in at most so many equal parts of whole hours: (seconds of each, the parts)."""
        if not self.until:
            return 3600.0, []
        first, last = int(self.since // 3600), int(self.until // 3600)
        step = (
            next((s for s in (1, 2, 3, 6, 12, 24) if (last - first) // s < most), 0) or -(-(last - first + 1) // most // 24) * 24
        )
        begin = first - first % step
        parts = [[0, 0, 0] for _ in range((last - begin) // step + 1)]
        for hour, counts in self.hours.items():
            part = parts[min(max(0, (hour - begin) // step), len(parts) - 1)]
            for n, count in enumerate(counts):
                part[n] += count
        return step * 3600.0, [Bucket((begin + n * step) * 3600.0, *part) for n, part in enumerate(parts)]

    def to_json(self) -> dict[str, Any]:
        seconds, buckets = self.buckets(10_000)
        return {
            "since": _time(self.since),
            "until": _time(self.until),
            "events": self.events,
            "dead": self.dead,
            "assume": self.assume,
            "within_s": self.within_s,
            "playbooks": [{**asdict(one), "busiest": list(one.busiest)} for one in self.playbooks],
            "company": list(self.company),
            "bucket_s": seconds,
            "buckets": [[format_time(b.begin), b.runs, b.held, b.matched] for b in buckets if b.runs or b.held or b.matched],
            "runs": [run.to_json() for run in self.runs],
            "runs_left_out": self.runs_left_out,
            "held": [held.to_json() for held in self.held],
            "held_left_out": self.held_left_out,
            "notes": list(self.notes),
        }


def _time(seconds: float) -> str:
    return format_time(seconds) if seconds else ""


def _trouble(trouble: Trouble | None) -> dict[str, Any] | None:
    if trouble is None:
        return None
    return {
        "subject": trouble.subject,
        "type": trouble.type,
        "began": format_time(trouble.began),
        "ended": _time(trouble.ended),
        "acted_by": trouble.acted_by,
        "acted_at": _time(trouble.acted_at),
        "closes": trouble.closes,
    }
