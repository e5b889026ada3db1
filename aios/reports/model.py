"""A report as a value: what `build` finds, and what its faces show. Durations are in the unit of their name, times RFC 3339."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["quiet", "busy", "blind", "to_come"]
"""quiet: watched, and nothing happened. blind: nobody watched. to_come: these days have not begun."""

HEALED, CLEARED, NOT_HEALED, UNKNOWN = "healed", "cleared", "not_healed", "unknown"
DENIED, OBSERVED, SUGGESTED, CANCELLED = "denied", "observed", "suggested", "cancelled"
OUTCOMES = (HEALED, CLEARED, NOT_HEALED, UNKNOWN, DENIED, OBSERVED, SUGGESTED, CANCELLED)


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took; None where it never happened."""

    count: int
    median_ms: float | None
    p95_ms: float | None
    longest_ms: float | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """How often a subject fell ill in one way; `standing`: it still is."""

    type: str
    subject: str
    count: int
    standing: bool


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of runs. `rate` is healed / (healed + not_healed + unknown); None when nothing of that happened."""

    counts: Mapping[str, int]
    rate: float | None
    taken_back: int = 0
    """Of the healed: a person took back later what they did."""


@dataclass(frozen=True, slots=True)
class PlaybookLine:
    playbook: str
    opened: int
    outcomes: Outcomes
    escalated: int
    rolled_back: int
    heal: Times


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run that ended."""

    run: str
    playbook: str
    subject: str
    ended: str
    outcome: str
    took_ms: float | None
    why: str
    taken_back: bool = False
    """It healed, and a person took back later what it did."""


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """A subject's score over the days: mean weighted by time, lowest and when, seconds below the line."""

    subject: str
    average: float | None
    lowest: float | None
    lowest_at: str
    degraded_s: float


@dataclass(frozen=True, slots=True)
class Blind:
    """Nobody watched between these times."""

    since: str
    until: str
    why: str


@dataclass(frozen=True, slots=True)
class HeldBack:
    """AIOS might do less for this time: `kind` is storm, silence, pause or demotion (which has no end of its own)."""

    kind: str
    subject: str
    since: str
    until: str
    """Empty: it lasts."""
    what: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a person has to answer, with the commands that do."""

    kind: str
    subject: str
    what: str
    since: str
    until: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a run took back, and the proof: hashes before the act, after it, after the rollback."""

    run: str
    playbook: str
    subject: str
    at: str
    ok: bool
    error: str
    proof: tuple[Mapping[str, Any], ...]
    proof_beyond: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that could not be read or written."""

    type: str
    where: str
    why: str
    at: str


@dataclass(frozen=True, slots=True)
class Report:
    first_day: str
    last_day: str
    until: str
    """The report knows what happened up to here; what waits is as of `made`."""
    made: str
    state: State
    watched_from: str
    """When AIOS was first started, if that was within these days."""
    events: int
    by_type: tuple[tuple[str, int], ...]
    by_type_beyond: int
    alarms: int
    alarm_lines: tuple[Alarm, ...]
    runs_opened: int
    runs_open: int
    """Runs that had not ended when the days did."""
    runs: Outcomes
    escalated: int
    run_lines: tuple[RunLine, ...]
    notice: Times
    heal: Times
    score: ScoreLine
    plot: tuple[float | None, ...]
    """The whole's lowest score in each of equal parts of the days; None where nobody knows it."""
    subjects: tuple[ScoreLine, ...]
    blind_s: float
    blind: tuple[Blind, ...]
    quarantined: int
    troubles: tuple[Trouble, ...]
    waits: tuple[Wait, ...]
    waits_beyond: int
    playbooks: tuple[PlaybookLine, ...]
    rollbacks: tuple[Rollback, ...]
    held_back: tuple[HeldBack, ...] = ()
    held_back_beyond: int = 0
    waits_after: int = 0
    """What waits now, but began to only after these days."""
