"""What changes when one set of playbooks takes the place of another: two backtests of the same journal, event by event.

Called by `aios playbook backtest --against`. Neither follows what really was: both are played on the same footing, so that
what differs is the playbooks' doing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aios.backtest.play import backtest
from aios.backtest.result import Backtest, Verdict
from aios.events.event import format_time
from aios.playbooks.model import Playbook

Kind = Literal["comes", "goes", "otherwise", "held_otherwise"]
MEANINGS: Mapping[Kind, str] = {
    "comes": "a run that was not before",
    "goes": "a run that is no more",
    "otherwise": "a run that goes otherwise",
    "held_otherwise": "no run, before and after, for another reason",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One event that the new playbooks answer otherwise."""

    kind: Kind
    event: str
    subject: str
    type: str
    at: float
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "event": self.event,
            "subject": self.subject,
            "type": self.type,
            "at": format_time(self.at),
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    old: Backtest
    new: Backtest
    changes: tuple[Change, ...]
    left_out: int
    """Events beyond those whose answers were compared."""

    @property
    def counts(self) -> Counter[str]:
        return Counter(change.kind for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        return {
            "changes": [change.to_json() for change in self.changes],
            "counts": dict(self.counts),
            "left_out": self.left_out,
            "old": self.old.to_json(),
            "new": self.new.to_json(),
        }


def compare(
    state_dir: str | os.PathLike[str],
    old: Sequence[Playbook],
    new: Sequence[Playbook],
    *,
    company: Sequence[Playbook] = (),
    **how: Any,
) -> Comparison:
    """Play the journal twice. `how` is what `backtest` takes; raises what it raises."""
    names = {playbook.name for playbook in (*old, *new)}
    beside = [playbook for playbook in company if playbook.name not in names]
    how = {**how, "company": beside, "compares": True, "follow": False}
    before, after = backtest(state_dir, old, **how), backtest(state_dir, new, **how)
    changes = sorted(_changes(before.verdicts, after.verdicts), key=lambda change: (change.at, change.event))
    return Comparison(before, after, tuple(changes), before.verdicts_left_out + after.verdicts_left_out)


def _changes(before: Mapping[str, Verdict], after: Mapping[str, Verdict]) -> list[Change]:
    changes = []
    for event in {**before, **after}:
        was, is_now = before.get(event), after.get(event)
        kind = _kind(was, is_now)
        known = is_now or was
        if kind is not None and known is not None:
            words = [verdict.words() if verdict else "no match" for verdict in (was, is_now)]
            if words[0] == words[1] and was is not None and is_now is not None:
                words = [f"at {format_time(one.at)[:19]}Z: {one.words()}" for one in (was, is_now)]
            changes.append(Change(kind, event, known.subject, known.type, known.at, *words))
    return changes


def _kind(was: Verdict | None, is_now: Verdict | None) -> Kind | None:
    ran, runs = was is not None and was.run is not None, is_now is not None and is_now.run is not None
    if ran != runs:
        return "goes" if ran else "comes"
    if was is None or is_now is None:
        return "held_otherwise"
    if was.words() == is_now.words() and (not runs or was.at == is_now.at):
        return None
    return "otherwise" if runs else "held_otherwise"
