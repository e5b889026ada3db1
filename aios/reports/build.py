"""One pass over the events of the days, and a bounded memory whatever their number: gives a `Report`.

Called by `aios report` and each morning by the daemon. Give it events from as far back as there are, up to now: those before
`first_day` only say what waits, what was ill and how the scores stood when the days began; those after `last_day` only answer
what waited, or add to it. The day of an event is the day of its line in the journal; all times are arrivals.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from math import inf

from aios.events.event import SYSTEM, Event, Stored, format_time
from aios.events.origin import IMPORT_PREFIX
from aios.reports import model
from aios.reports.held_back import HeldBacks
from aios.reports.model import (
    Alarm,
    Outcomes,
    PlaybookLine,
    Report,
    Rollback,
    RunLine,
    ScoreLine,
    State,
    Trouble,
    Wait,
)
from aios.reports.spread import Spread
from aios.reports.text import plain
from aios.reports.waits import Waits
from aios.reports.watch import SIGNS, Watch
from aios.scores.symptoms import closed_by, is_closing, is_level, is_opening

TYPES_MAX = 300
ALARMS_MAX = 500
RUNS_MAX = 10_000
RUNS_SHOWN = 40
PLAYBOOKS_MAX = 500
ROLLBACKS_SHOWN = 50
PROOF_SHOWN = 20
ERROR_CHARS = 1000
TROUBLES_SHOWN = 20
SUBJECTS_SHOWN = 20
STANDING_MAX = 10_000
DAYS_MAX = 400
NOTICE_BELIEVED_S = 86_400.0
"""An alarm that claims to have happened longer ago than this tells of a wrong clock, not of a slow sensor."""

OTHERS = "(others)"
_ENDS = {f"run.{outcome}": outcome for outcome in model.OUTCOMES if outcome != model.DENIED}
_TROUBLES = frozenset(
    (
        "journal.quarantined",
        "journal.torn",
        "journal.part_failed",
        "journal.damaged",
        "journal.inbox_failed",
        "journal.inbox_lost",
        "daemon.hands_lost",
    )
)


def build(events: Iterator[Stored], first_day: str, last_day: str, now: float) -> Report:
    """The report on these days (UTC, both included). Raises ValueError for days that are none, or in the wrong order."""
    start, end = bounds(first_day, last_day, now)
    fold = _Fold(first_day, last_day, start, end)
    for event, position in events:
        fold.see(event, position.day)
    return fold.report(now)


def bounds(first_day: str, last_day: str, now: float) -> tuple[float, float]:
    """From when to when, in seconds since the epoch; no later than now. Raises ValueError."""
    first, last = _day(first_day), _day(last_day)
    if last < first or (last - first).days >= DAYS_MAX:
        raise ValueError(f"a report is on 1 to {DAYS_MAX} days in order, not {first_day} to {last_day}")
    start = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()
    end = start + ((last - first) + timedelta(days=1)).total_seconds()
    return start, max(start, min(end, now))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day; write it like 2026-02-24") from None


@dataclass(slots=True)
class _Life:
    """A run that is open, or ended lately: what its later events need to know."""

    opened_at: float | None = None
    trigger: str = ""
    denied: bool = False
    said: str = ""
    """Who said yes to it, and why."""
    healed: bool = False
    """Within the days."""
    taken_back: bool = False
    ended_at: float = inf


@dataclass(slots=True)
class _Tally:
    """Counts of one playbook, or of all."""

    opened: int = 0
    escalated: int = 0
    rolled_back: int = 0
    taken_back: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    heal: Spread = field(default_factory=Spread)

    def outcomes(self) -> Outcomes:
        tried = sum(self.counts.get(one, 0) for one in (model.HEALED, model.NOT_HEALED, model.UNKNOWN))
        rate = self.counts.get(model.HEALED, 0) / tried if tried else None
        return Outcomes({one: self.counts[one] for one in model.OUTCOMES if one in self.counts}, rate, self.taken_back)

    def line(self, playbook: str) -> PlaybookLine:
        return PlaybookLine(playbook, self.opened, self.outcomes(), self.escalated, self.rolled_back, self.heal.times())


@dataclass(slots=True)
class _Fold:
    """All that is counted while the events go by."""

    first_day: str
    last_day: str
    start: float
    end: float
    events: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    by_type_beyond: int = 0
    alarms: dict[tuple[str, str], int] = field(default_factory=dict)
    standing: dict[str, set[str]] = field(default_factory=dict)
    lives: OrderedDict[str, _Life] = field(default_factory=OrderedDict)
    run_lines: deque[RunLine] = field(default_factory=lambda: deque(maxlen=RUNS_SHOWN))
    total: _Tally = field(default_factory=_Tally)
    playbooks: dict[str, _Tally] = field(default_factory=dict)
    notice: Spread = field(default_factory=Spread)
    quarantined: int = 0
    troubles: deque[Trouble] = field(default_factory=lambda: deque(maxlen=TROUBLES_SHOWN))
    rollbacks: deque[Rollback] = field(default_factory=lambda: deque(maxlen=ROLLBACKS_SHOWN))
    waits: Waits = field(default_factory=Waits)
    watch: Watch = field(init=False)
    held_back: HeldBacks = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.start, self.end)
        self.held_back = HeldBacks(self.start, self.end)

    # --- events, one by one

    def see(self, event: Event, day: str) -> None:
        if day <= self.last_day:
            self._see_in_time(event, counted=day >= self.first_day)
        if event.type.startswith(("run.", "approval.", "scheduler.", "reactor.", "playbook.", "daemon.")):
            self.waits.see(event, self._life(event).trigger if event.type.startswith(("run.", "approval.")) else "")
            self.held_back.see(event)
        elif is_closing(event.type):
            self.waits.well(event.subject, event.type)
        if event.type in _ENDS:
            life = self._life(event)
            life.ended_at = min(life.ended_at, event.taken)

    def _see_in_time(self, event: Event, counted: bool) -> None:
        if event.type in SIGNS:
            self.watch.sign(event)
        elif event.type.startswith("score."):
            self.watch.score(event)
        elif event.type.startswith(("run.", "approval.")):
            self._see_run(event, counted)
        else:
            self._see_illness(event, counted)
        if counted:
            self._count(event)

    def _count(self, event: Event) -> None:
        self.events += 1
        if event.type in self.by_type or len(self.by_type) < TYPES_MAX:
            self.by_type[event.type] = self.by_type.get(event.type, 0) + 1
        else:
            self.by_type_beyond += 1
        if event.type in _TROUBLES:
            self._see_trouble(event)

    def _see_trouble(self, event: Event) -> None:
        data = event.data
        self.quarantined += event.type == "journal.quarantined"
        place = data.get("file") or data.get("part") or ""
        where = f"{place}:{data['offset']}" if place and "offset" in data else place
        why = data.get("reason") or data.get("error") or data.get("status") or ""
        self.troubles.append(Trouble(event.type, plain(where), plain(why), event.arrival))

    # --- illness

    def _see_illness(self, event: Event, counted: bool) -> None:
        if not is_opening(event.type):
            self._close(event)
            return
        if is_level(event.type) and not event.origin.startswith(IMPORT_PREFIX):  # the original told no end of an alarm
            standing = self.standing.get(event.subject)
            if standing is None:
                if len(self.standing) >= STANDING_MAX:
                    del self.standing[next(iter(self.standing))]
                standing = self.standing[event.subject] = set()
            if event.type in standing:
                return  # a level told again is no second alarm
            standing.add(event.type)
        if counted:
            self._count_alarm(event)

    def _close(self, event: Event) -> None:
        standing = self.standing.get(event.subject)
        if standing:
            standing.difference_update(closed_by(event.type, standing))
            if not standing:
                del self.standing[event.subject]

    def _count_alarm(self, event: Event) -> None:
        key = (event.type, event.subject)
        if key not in self.alarms and len(self.alarms) >= ALARMS_MAX:
            key = (OTHERS, OTHERS)
        self.alarms[key] = self.alarms.get(key, 0) + 1
        if event.origin.startswith(IMPORT_PREFIX):
            return  # its arrival there is not known
        try:
            took_s = event.taken - event.at
        except ValueError:
            return  # an event of another program whose time nobody can read
        if took_s != 0 and took_s <= NOTICE_BELIEVED_S:  # without a time of its own an event has its arrival's: no measure
            self.notice.add(took_s * 1000)

    # --- runs

    def _life(self, event: Event) -> _Life:
        run = str(event.data.get("run", ""))
        life = self.lives.get(run)
        if life is None:
            life = self.lives[run] = _Life()
            if len(self.lives) > RUNS_MAX:
                self.lives.popitem(last=False)
        return life

    def _tallies(self, event: Event) -> tuple[_Tally, _Tally]:
        name = str(event.data.get("playbook", ""))
        if name not in self.playbooks and len(self.playbooks) >= PLAYBOOKS_MAX:
            name = OTHERS
        return self.total, self.playbooks.setdefault(name, _Tally())

    def _see_run(self, event: Event, counted: bool) -> None:
        life = self._life(event)
        if event.type == "run.opened":
            trigger = event.data.get("trigger")
            life.opened_at = event.taken
            life.trigger = str(trigger.get("type", "")) if isinstance(trigger, Mapping) else ""
            life.said = _yes(event) if event.data.get("by") else ""
        elif event.type in ("approval.denied", "approval.expired"):
            life.denied = True
        elif event.type == "approval.given":
            life.said = _yes(event)
        if counted and event.type in _COUNTERS:
            _COUNTERS[event.type](self, event, life)

    def _count_opened(self, event: Event, _life: _Life) -> None:
        for tally in self._tallies(event):
            tally.opened += 1

    def _count_escalated(self, event: Event, _life: _Life) -> None:
        for tally in self._tallies(event):
            tally.escalated += 1

    def _count_rolled_back(self, event: Event, life: _Life) -> None:
        if life.healed and not life.taken_back and event.data.get("ok") is True:
            life.taken_back = True
            self._count_taken_back(event)
        proof = event.data.get("proof")
        lines = [line for line in proof if isinstance(line, Mapping)] if isinstance(proof, list) else []
        unsaved = event.data.get("unsaved")
        if not lines and event.data.get("ok") is True and not unsaved:
            return  # it had done nothing, so there was nothing to take back
        for tally in self._tallies(event) if event.data.get("ok") is True and lines else ():
            tally.rolled_back += 1
        shown = tuple({plain(k, 40): plain(v) for k, v in islice(line.items(), 10)} for line in lines[:PROOF_SHOWN])
        data = event.data
        self.rollbacks.append(
            Rollback(
                run=plain(data.get("run")),
                playbook=plain(data.get("playbook")),
                subject=plain(event.subject),
                at=event.arrival,
                ok=data.get("ok") is True,
                error=plain(data.get("error"), ERROR_CHARS) or _nothing_saved(unsaved),
                proof=shown,
                proof_beyond=len(lines) - len(shown),
            )
        )

    def _count_taken_back(self, event: Event) -> None:
        """A person took back what had healed."""
        for tally in self._tallies(event):
            tally.taken_back += 1
        run = plain(event.data.get("run"))
        for number, line in enumerate(self.run_lines):
            if line.run == run:
                self.run_lines[number] = replace(line, taken_back=True)

    def _count_end(self, event: Event, life: _Life) -> None:
        if life.ended_at < inf:
            return  # a person cancelled what had failed already
        outcome = _ENDS[event.type]
        if life.denied and outcome in (model.NOT_HEALED, model.UNKNOWN, model.CANCELLED):
            outcome = model.DENIED
        life.healed = outcome == model.HEALED
        took_ms = self._took_ms(event, life)
        for tally in self._tallies(event):
            tally.counts[outcome] = tally.counts.get(outcome, 0) + 1
            if outcome == model.HEALED and took_ms is not None:
                tally.heal.add(took_ms)
        data = event.data
        self.run_lines.append(
            RunLine(
                run=plain(data.get("run")),
                playbook=plain(data.get("playbook")),
                subject=plain(event.subject),
                ended=event.arrival,
                outcome=outcome,
                took_ms=took_ms,
                why=plain(data.get("why") or life.said),
            )
        )

    @staticmethod
    def _took_ms(event: Event, life: _Life) -> float | None:
        told = event.data.get("ms")
        if isinstance(told, (int, float)) and not isinstance(told, bool) and told >= 0:
            return float(told)
        return max(0.0, event.taken - life.opened_at) * 1000 if life.opened_at is not None else None

    # --- the end

    def report(self, now: float) -> Report:
        self.watch.finish()
        system = self.watch.tracks.pop(SYSTEM, None)
        if self.watch.silent and self._lasts_until(now):
            self._say_silent()
        waits, beyond, after = self._waits(now)
        held_back = self.held_back.lines()
        lines = sorted((track.line(subject) for subject, track in self.watch.tracks.items()), key=_worst_first)
        return Report(
            first_day=self.first_day,
            last_day=self.last_day,
            until=format_time(self.end),
            made=format_time(now),
            state=self._state(),
            watched_from=self._watched_from(),
            events=self.events,
            by_type=tuple((plain(name), count) for name, count in sorted(self.by_type.items(), key=lambda i: (-i[1], i[0]))),
            by_type_beyond=self.by_type_beyond,
            alarms=sum(self.alarms.values()),
            alarm_lines=self._alarm_lines(),
            runs_opened=self.total.opened,
            runs_open=self._open_at_end(),
            runs=self.total.outcomes(),
            escalated=self.total.escalated,
            run_lines=tuple(self.run_lines),
            notice=self.notice.times(),
            heal=self.total.heal.times(),
            score=system.line(SYSTEM) if system else ScoreLine(SYSTEM, None, None, "", 0.0),
            plot=tuple(self.watch.plot),
            subjects=tuple(line for line in lines if line.lowest is not None)[:SUBJECTS_SHOWN],
            blind_s=self.watch.blind_s,
            blind=tuple(self.watch.blind),
            quarantined=self.quarantined,
            troubles=tuple(self.troubles),
            waits=tuple(waits),
            waits_beyond=beyond,
            waits_after=after,
            playbooks=tuple(self.playbooks[name].line(plain(name)) for name in sorted(self.playbooks)),
            rollbacks=tuple(self.rollbacks),
            held_back=held_back,
            held_back_beyond=self.held_back.beyond,
        )

    def _state(self) -> State:
        whole_s = self.end - self.start
        if whole_s <= 0:
            return "to_come"
        if self.alarms or self.total.opened or self.total.counts:
            return "busy"
        return "blind" if self.watch.blind_s >= 0.99 * whole_s else "quiet"

    def _waits(self, now: float) -> tuple[list[Wait], int, int]:
        """What waits since these days or longer, how much more does, and how much waits only since they were over."""
        waits, more = self.waits.list(now), self.waits.beyond + self.waits.dead.older
        if self._lasts_until(now):
            return waits, more, 0
        theirs = [wait for wait in waits if wait.since[: len(self.last_day)] <= self.last_day]
        return theirs, 0, len(waits) - len(theirs) + more

    def _open_at_end(self) -> int:
        return sum(life.opened_at is not None and life.ended_at > self.end for life in self.lives.values())

    def _watched_from(self) -> str:
        first = self.watch.first_started
        return format_time(first) if first is not None and first >= self.start else ""

    def _lasts_until(self, now: float) -> bool:
        """Whether the report tells of the present, so that a silent daemon is news."""
        return self.end >= now > self.start

    def _say_silent(self) -> None:
        since = format_time(self.watch.last_sign) if self.watch.last_sign is not None else ""
        stopped = "AIOS was stopped" if self.watch.last_was_stop else "AIOS gives no sign of life"
        wait = Wait("daemon", SYSTEM, f"{stopped}: nobody watches", since, "", ("aios doctor", "systemctl status aios"))
        self.waits.add("", wait, SYSTEM)

    def _alarm_lines(self) -> tuple[Alarm, ...]:
        rows = [
            Alarm(plain(name), plain(subject), count, name in self.standing.get(subject, ()))
            for (name, subject), count in self.alarms.items()
        ]
        return tuple(sorted(rows, key=lambda row: (not row.standing, -row.count, row.subject, row.type)))


_COUNTERS: Mapping[str, Callable[[_Fold, Event, _Life], None]] = {
    "run.opened": _Fold._count_opened,
    "run.escalated": _Fold._count_escalated,
    "run.rolled_back": _Fold._count_rolled_back,
    **dict.fromkeys(_ENDS, _Fold._count_end),
}


def _nothing_saved(unsaved: object) -> str:
    """A command's work that no snapshot holds is not taken back."""
    named = ", ".join(plain(step, 40) for step in unsaved[:5]) if isinstance(unsaved, list) else ""
    return f"nothing was saved of {named}: what it did is not taken back" if named else ""


def _yes(event: Event) -> str:
    by, reason = plain(event.data.get("by"), 40), plain(event.data.get("reason"))
    return f"approved by {by}: {reason}" if reason else f"approved by {by}"


def _worst_first(line: ScoreLine) -> tuple[float, float, str]:
    return (line.lowest if line.lowest is not None else 2.0, -line.degraded_s, line.subject)
