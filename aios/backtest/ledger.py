"""The book of a backtest: what the engine said, beside what really happened. `machine` tells it, `finish` gives the result.

It hears four things: an event and the playbooks that it matched (`saw`), what the engine said of it (`said`), what the record of
real runs says (`was`), and that a symptom closed (`closed`). Bounded: rows beyond a limit are counted, not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from aios.backtest.result import Backtest, Figures, Trouble, Verdict, WouldHold, WouldRun
from aios.backtest.stand_ins import depends_on_looks
from aios.events.catalogue import CLOSES
from aios.events.event import Event, format_time
from aios.playbooks.model import Playbook
from aios.playbooks.run_table import RESERVED_STEPS
from aios.reactor.decide import SAID_CHARS_MAX
from aios.scores.symptoms import is_level

ROWS_MAX = 2000
"""Runs, and held events, that are told one by one."""
VERDICTS_MAX = 20_000
"""Events whose verdict is remembered for a comparison."""
TROUBLES_MAX = 20_000
DURATIONS_MAX = 10_000
WHY_CHARS_MAX = 300

_CLOSING_OF = {opened for openeds in CLOSES.values() for opened in openeds}
_ENDS = {"run.healed", "run.cleared", "run.observed", "run.suggested", "run.not_healed", "run.unknown", "run.cancelled"}


@dataclass
class Ledger:
    """See the head of this file. `compares`: whether the verdict of each event is remembered."""

    tried: Sequence[Playbook]
    within_s: float
    compares: bool = False
    rows: list[WouldRun] = field(default_factory=list)
    held: list[WouldHold] = field(default_factory=list)
    rows_left_out: int = 0
    held_left_out: int = 0
    hours: dict[int, list[int]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    verdicts_left_out: int = 0
    dead: int = 0

    def __post_init__(self) -> None:
        self._figures = {p.name: Figures(p.name, p.path, p.mode) for p in self.tried}
        self._open: dict[str, WouldRun] = {}
        self._troubles: dict[tuple[str, str], dict[str, Trouble]] = {}
        """(subject, type) -> playbook -> what stands."""
        self._holding: set[tuple[str, str]] = set()
        """What a guard holds now: (event, playbook); the world bounds how many."""
        self._whens = {p.name: _yes_of(p) for p in self.tried}
        self._by_itself: dict[str, list[float]] = {name: [] for name in self._figures}
        self._asked_of_looks = {(p.name, step.id) for p in self.tried for step in p.steps if depends_on_looks(step)}
        self._hours_of: dict[str, Counter[int]] = {name: Counter() for name in self._figures}

    # --- what was seen

    def saw(self, event: Event, matches: Sequence[Playbook]) -> None:
        """An event that some playbooks match, in the order in which they would be taken."""
        for playbook in matches:
            figures = self._figures.get(playbook.name)
            if figures is not None:
                figures.matched += 1
                self._trouble(event, playbook.name)
        if any(playbook.name in self._figures for playbook in matches):
            self._hour(event.taken)[2] += 1

    def nothing_said(self, _event: Event, matches: Sequence[Playbook], off: frozenset[str]) -> None:
        """The engine decided that none of these is for it: each one's `when` said no, or it is switched off."""
        for playbook in matches:
            if (figures := self._figures.get(playbook.name)) is not None:
                if playbook.name in off:
                    figures.switched_off += 1
                else:
                    figures.when_no += 1

    def _trouble(self, event: Event, name: str) -> None:
        """What really becomes of it is told by later events."""
        at = event.taken
        if event.type not in _CLOSING_OF or not is_level(event.type):
            self._count_fate(Trouble(event.subject, event.type, at, closes=False), name, first=True)
            return
        standing = self._troubles.setdefault((event.subject, event.type), {})
        if name in standing or len(self._troubles) > TROUBLES_MAX:
            return
        standing[name] = Trouble(event.subject, event.type, at)
        self._figures[name].troubles += 1

    def closed(self, event: Event) -> None:
        """An event that ends symptoms of its subject."""
        for opened in CLOSES.get(event.type, ()):
            for name, trouble in self._troubles.pop((event.subject, opened), {}).items():
                trouble.ended = event.taken
                self._count_fate(trouble, name)

    def _count_fate(self, trouble: Trouble, name: str, first: bool = False) -> None:
        figures = self._figures[name]
        figures.troubles += first
        fate = trouble.fate(self.within_s)
        if fate == "acted":
            figures.acted[trouble.acted_by] = figures.acted.get(trouble.acted_by, 0) + 1
        elif fate == "by_itself":
            figures.by_itself += 1
            durations = self._by_itself[name]
            if len(durations) < DURATIONS_MAX:
                durations.append(trouble.ended - trouble.began)
        elif fate == "later":
            figures.later_by_itself += 1
        elif fate == "standing":
            figures.standing += 1
        else:
            figures.untold += 1

    # --- what really was

    def was(self, event: Event) -> None:
        """One event of a real run."""
        name = str(event.data.get("playbook", ""))
        if event.type == "run.opened" and (figures := self._figures.get(name)) is not None:
            figures.really += 1
        if event.type != "run.step_intended" or str(event.data.get("step", "")).startswith(RESERVED_STEPS):
            return
        for (subject, _), standing in self._standing_on(event.subject):
            for trouble in standing.values():
                if subject == event.subject and not trouble.acted_by:
                    trouble.acted_by, trouble.acted_at = name, event.taken

    def _standing_on(self, subject: str) -> list[tuple[tuple[str, str], dict[str, Trouble]]]:
        keys = [(subject, opened) for opened in _CLOSING_OF]
        return [(key, self._troubles[key]) for key in keys if key in self._troubles]

    # --- what the engine said

    def said(self, event: Event, followed: bool = False) -> None:
        """One own event of the backtest: a decision, or a run's."""
        kind = event.type
        if kind == "reactor.decided":
            self._decided(event)
        elif kind == "run.opened":
            self._opened(event, followed)
        elif kind == "reactor.called":
            self._call(event)
        elif kind == "scheduler.dead_letter":
            self.dead += 1
        elif (row := self._open.get(str(event.data.get("run", "")))) is not None:
            self._of_run(row, event)

    def _decided(self, event: Event) -> None:
        data = event.data
        name, verdict = str(data["playbook"]), str(data["verdict"])
        if verdict == "released":
            self._released(str(data["event"]), name)
            return
        key = (str(data["event"]), name)
        if key not in self._holding:  # one that is offered again was weighed before
            self._weighed(data, name)
        if verdict == "held":
            self._holding.add(key)
        else:
            self._holding.discard(key)
        figures = self._figures.get(name)
        if figures is None:
            return
        if verdict == "held":
            figures.held[data["guard"]] = figures.held.get(data["guard"], 0) + 1
            self._hour(event.taken)[1] += 1
            self._hold(event)
        elif verdict == "joined":
            figures.joined += 1
        elif verdict == "coalesced":
            figures.coalesced += 1
        elif verdict == "cannot_say":
            figures.cannot_say += 1
        detail, why = str(data["guard"]) if verdict == "held" else "", str(data.get("why") or "")[:WHY_CHARS_MAX]
        said = Verdict(verdict, name, event.subject, str(data["type"]), event.taken, detail, why=why)
        self._verdict(str(data["event"]), said)

    def _weighed(self, data: Any, taken: str) -> None:
        """Of each playbook that was looked at and not taken: why not."""
        for one in data.get("considered") or ():
            figures = self._figures.get(one["playbook"])
            if figures is None or one["playbook"] == taken:
                continue
            said = str(one["said"])
            if said == "matched" or said == self._whens[figures.name]:
                figures.better[taken] = figures.better.get(taken, 0) + 1
            elif said == "switched off":
                figures.switched_off += 1
            elif said.startswith("when cannot say"):
                figures.cannot_say += 1
            else:
                figures.when_no += 1

    def _released(self, event_id: str, name: str) -> None:
        self._holding.discard((event_id, name))
        if (figures := self._figures.get(name)) is not None:
            figures.released += 1

    def _hold(self, event: Event) -> None:
        data = event.data
        if len(self.held) >= ROWS_MAX:
            self.held_left_out += 1
            return
        why = str(data["why"])[:WHY_CHARS_MAX]
        names = (data["playbook"], event.subject, data["event"], data["type"])
        self.held.append(WouldHold(*names, event.taken, data["guard"], data["until"], why))

    def _opened(self, event: Event, followed: bool) -> None:
        data = event.data
        name = str(data["playbook"])
        again = (str(data["event"]), name) in self._holding
        if not data.get("parent"):
            self._holding.discard((str(data["event"]), name))
            if not again:
                self._weighed(data, name)
        figures = self._figures.get(name)
        if figures is None:
            return
        figures.followed += followed
        row = WouldRun(
            data["run"], name, event.subject, data["event"], data["trigger"]["type"], event.taken, data["mode"], followed
        )
        row.parent = str(data.get("parent") or "")
        row.better_than = tuple(one["playbook"] for one in data.get("considered") or () if one["playbook"] != name)
        row.trouble = self._troubles.get((event.subject, row.type), {}).get(name)
        if row.trouble is not None:
            row.trouble.runs += 1
            row.again = row.trouble.runs > 1
        if row.parent:
            figures.fallbacks += 1
        else:
            figures.runs += 1
            figures.again += row.again
            figures.later += again
        hour = int(row.at // 3600)
        self._hour(row.at)[0] += 1
        self._hours_of[name][hour] += 1
        self._open[row.id] = row
        if len(self.rows) < ROWS_MAX:
            self.rows.append(row)
        else:
            self.rows_left_out += 1
        self._verdict(row.event, Verdict("run", name, row.subject, row.type, row.at, run=row))

    def _of_run(self, row: WouldRun, event: Event) -> None:
        figures = self._figures[row.playbook]
        kind, data = event.type, event.data
        if kind == "run.step_intended" and not str(data["step"]).startswith(RESERVED_STEPS):
            self._act(row, figures, str(data["step"]), str(data["skill"]), int(data["attempt"]))
        elif kind == "run.step_done" and data.get("skipped") and "would" in (data.get("result") or {}):
            row.acts.append(f"({data['skill']})")
        elif kind == "approval.requested":
            row.asked = True
            figures.asked += 1
        elif kind in _ENDS and row.end == "open":
            row.end, row.ended = kind.removeprefix("run."), event.taken
            if row.end == "healed" and not row.really and (row.trouble is None or not row.trouble.ended):
                row.end = "assumed"
            row.why = str(data.get("why") or "")[:WHY_CHARS_MAX]
            figures.ends[row.end] = figures.ends.get(row.end, 0) + 1
            if kind in ("run.healed", "run.cleared", "run.observed", "run.suggested"):
                del self._open[row.id]
        elif kind == "run.escalated":
            figures.calls += 1
            self._open.pop(row.id, None)

    def _act(self, row: WouldRun, figures: Figures, step: str, skill: str, attempt: int) -> None:
        figures.acts += 1
        maybe = not row.really and (row.playbook, step) in self._asked_of_looks
        figures.maybe += maybe
        if attempt == 1:
            row.acts.append(f"{skill}?" if maybe else skill)

    def _call(self, event: Event) -> None:
        if (figures := self._figures.get(str(event.data["playbook"]))) is not None:
            figures.calls += 1

    def _verdict(self, event_id: str, verdict: Verdict) -> None:
        if not self.compares or verdict.playbook not in self._figures:
            return
        if event_id in self.verdicts or len(self.verdicts) < VERDICTS_MAX:
            self.verdicts[event_id] = verdict
        else:
            self.verdicts_left_out += 1

    def _hour(self, at: float) -> list[int]:
        return self.hours.setdefault(int(at // 3600), [0, 0, 0])

    # --- the end

    def finish(
        self, *, since: float, until: float, assume: str, company: Sequence[str], events: int, size: int, notes: Sequence[str]
    ) -> Backtest:
        for standing in self._troubles.values():
            for name, trouble in standing.items():
                self._count_fate(trouble, name)
        for name, figures in self._figures.items():
            for row in self._open.values():
                if row.playbook == name and row.end == "open":
                    figures.ends["open"] = figures.ends.get("open", 0) + 1
            figures.by_itself_median_s = round(median(self._by_itself[name]), 3) if self._by_itself[name] else 0.0
            if self._hours_of[name]:
                hour, most = max(self._hours_of[name].items(), key=lambda item: (item[1], -item[0]))
                figures.busiest = (_hour_text(hour), most)
        return Backtest(
            since=since,
            until=until,
            assume=assume,
            within_s=self.within_s,
            playbooks=tuple(self._figures.values()),
            company=tuple(company),
            runs=tuple(self.rows),
            held=tuple(self.held),
            hours={hour: (counts[0], counts[1], counts[2]) for hour, counts in sorted(self.hours.items())},
            runs_left_out=self.rows_left_out,
            held_left_out=self.held_left_out,
            events=events,
            bytes=size,
            verdicts=self.verdicts,
            verdicts_left_out=self.verdicts_left_out,
            dead=self.dead,
            notes=tuple(notes),
        )


def _yes_of(playbook: Playbook) -> str:
    """What a decision says of it where its `when` agreed."""
    return f"{playbook.when.source.strip()} is true"[:SAID_CHARS_MAX] if playbook.when is not None else "matched"


def _hour_text(hour: int) -> str:
    return format_time(hour * 3600.0)[:13] + ":00Z"
