"""When nobody watched, and how the scores went meanwhile: two folds over time that `build` feeds in order.

Time is the arrival of events. Signs of life are `daemon.started`, `daemon.heartbeat` and `daemon.stopped`; more than
`SILENCE_S` without one, or what `daemon.started` says of the time before it, is blind time. A score holds until the next is told,
and nobody knows it in blind time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from aios.events.event import Event, format_time, parse_time
from aios.reports.model import Blind, ScoreLine

SILENCE_S = 90.0
BLIND_SHOWN = 50
SCORED_SUBJECTS_MAX = 1000
PLOT_PARTS = 48
_DAY_S = 86_400.0

SIGNS = frozenset(("daemon.started", "daemon.heartbeat", "daemon.stopped"))


@dataclass(slots=True)
class Track:
    """One subject's score within [start, end]."""

    start: float
    end: float
    since: float = 0.0
    value: float | None = None
    degraded: bool = False
    weighted: float = 0.0
    known_s: float = 0.0
    degraded_s: float = 0.0
    lowest: float | None = None
    lowest_at: float = 0.0

    def until(self, now: float) -> tuple[float, float] | None:
        """Count what holds up to now; gives back the time that this added."""
        begin, stop = max(self.since, self.start), min(now, self.end)
        self.since = max(self.since, now)
        if stop < begin:
            return None
        if self.degraded:
            self.degraded_s += stop - begin
        if self.value is None:
            return None
        self.weighted += self.value * (stop - begin)
        self.known_s += stop - begin
        if self.lowest is None or self.value < self.lowest:
            self.lowest, self.lowest_at = self.value, begin
        return begin, stop

    def line(self, subject: str) -> ScoreLine:
        average = self.weighted / self.known_s if self.known_s > 0 else self.lowest
        at = format_time(self.lowest_at) if self.lowest is not None else ""
        return ScoreLine(subject, average, self.lowest, at, self.degraded_s)


@dataclass(slots=True)
class Watch:
    """See the head of this file. `start` and `end` bound what is counted; events may come from before and after."""

    start: float
    end: float
    tracks: dict[str, Track] = field(default_factory=dict)
    plot: list[float | None] = field(default_factory=lambda: [None] * PLOT_PARTS)
    blind: list[Blind] = field(default_factory=list)
    blind_s: float = 0.0
    last_sign: float | None = None
    last_was_stop: bool = False
    first_started: float | None = None

    # --- signs of life

    def sign(self, event: Event) -> None:
        now = event.taken
        since = self._silent_since(event)
        if since is not None and (now - since > SILENCE_S or event.type == "daemon.started"):
            self._add_blind(since, now)
        self.last_sign, self.last_was_stop = now, event.type == "daemon.stopped"

    def _silent_since(self, event: Event) -> float | None:
        """Since when there was no sign; None: since ever, because this is the first start of all."""
        told = event.data.get("blind_since") if event.type == "daemon.started" else None
        if told == "" and self.last_sign is None:
            self.first_started = event.taken
            return None
        since = _time(told) if isinstance(told, str) else None
        if since is not None:
            return since if self.last_sign is None else max(since, self.last_sign)
        return self.start if self.last_sign is None else self.last_sign

    def _add_blind(self, since: float, until: float) -> None:
        for subject, track in self.tracks.items():
            if track.since < since:
                self._advance(subject, track, since)
            track.since = max(track.since, until)
        begin, stop = max(since, self.start), min(until, self.end)
        if stop <= begin:
            return
        self.blind_s += stop - begin
        if len(self.blind) < BLIND_SHOWN:
            why = "stopped in order" if self.last_was_stop else "no sign of life"
            self.blind.append(Blind(format_time(begin), format_time(stop), why))

    def finish(self) -> None:
        """Nothing comes after this."""
        if self.last_sign is None:
            self._add_blind(self.start, self.end)
        elif self.end - self.last_sign > SILENCE_S:
            self._add_blind(self.last_sign, self.end)
        for subject, track in self.tracks.items():
            self._advance(subject, track, self.end)

    @property
    def silent(self) -> bool:
        """At the end nobody watches any more."""
        return self.last_sign is None or self.end - self.last_sign > SILENCE_S

    # --- scores

    def score(self, event: Event) -> None:
        """`score.updated`, `score.degraded`, `score.recovered`."""
        value = event.data.get("score")
        track = self._track(event.subject)
        if track is None or isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            return
        self._advance(event.subject, track, event.taken)
        track.value = float(value)
        if event.type != "score.updated":
            track.degraded = event.type == "score.degraded"

    def _track(self, subject: str) -> Track | None:
        track = self.tracks.get(subject)
        if track is None and len(self.tracks) < SCORED_SUBJECTS_MAX:
            track = self.tracks[subject] = Track(self.start, self.end)
        return track

    def _advance(self, subject: str, track: Track, now: float) -> None:
        added = track.until(now)
        if added is not None and subject == "system" and track.value is not None:
            for part in self._parts(*added):
                before = self.plot[part]
                self.plot[part] = track.value if before is None else min(before, track.value)

    def _parts(self, begin: float, stop: float) -> Iterator[int]:
        if stop <= begin or self.end <= self.start:
            return
        each_s = self._plot_end_s() / PLOT_PARTS
        first, beyond = int((begin - self.start) // each_s), ceil((stop - self.start) / each_s)
        yield from range(max(0, first), min(PLOT_PARTS, beyond))

    def _plot_end_s(self) -> float:
        """The plot spans whole days, also while the last is still going on."""
        return ceil((self.end - self.start) / _DAY_S) * _DAY_S


def _time(text: str) -> float | None:
    try:
        return parse_time(text)
    except ValueError:
        return None
