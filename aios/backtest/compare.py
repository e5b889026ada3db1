"""What changes when one set of playbooks takes the place of another: two backtests of the same journal, event by event.

Called by `aios playbook backtest --against`. Each is played as it would be alone, so the old one's runs stand there as they went
wherever it was in force. What a run that was and one that is only assumed have in common is what they do, not how it ended: so
that alone is compared between them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aios.backtest.play import backtest
from aios.backtest.result import Backtest, Verdict, WouldRun
from aios.backtest.words import run_words
from aios.events.event import format_time
from aios.playbooks.model import Playbook

Kind = Literal["comes", "goes", "otherwise", "held_otherwise"]
MEANINGS: Mapping[Kind, str] = {
    "comes": "a run that was not before",
    "goes": "a run that is no more",
    "otherwise": "a run that does something else, at another time, or ends otherwise",
    "held_otherwise": "no run, before and after, for another reason",
}
KIND_WORDS: Mapping[str, str] = {"held_otherwise": "still no run"}
"""How a kind is called where people read it; others as they are."""
NOT_FOR_IT = "not for it"
_NO_RUN: Mapping[str, str] = {
    "joined": "joins the run that is open",
    "coalesced": "joins what is held already",
    "cannot_say": "no run: `when` cannot say",
}
LEGEND: Mapping[str, str] = {
    "as it went": "this run really was, with the same text and mode: the journal's own record of it",
    "taken to have helped": "it never was; what its acts would have done nobody knows (--assume ill: as if they had not helped)",
    "joins": "a run on this subject was open, or the event before it was held: one run answers both",
    NOT_FOR_IT: "its pattern or its `when` says no, it is switched off, or another playbook goes first",
    "?": "the act hangs on an `if`, or on parameters, that depend on what a look would have found",
}
"""Words of the table that a reader may not know, and what they mean."""


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
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "event": self.event,
            "subject": self.subject,
            "type": self.type,
            "at": format_time(self.at),
            "before": self.before,
            "after": self.after,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    old: Backtest
    new: Backtest
    changes: tuple[Change, ...]
    left_out: int
    """Events beyond those whose answers were compared."""

    def legend(self, changes: Sequence[Change]) -> dict[str, str]:
        """Of the words that stand in these rows, what they mean."""
        told = " ".join(f"{change.before} {change.after}" for change in changes)
        return {word: meaning for word, meaning in LEGEND.items() if word in told}

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
    how = {**how, "company": beside, "compares": True}
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
            words = [_words(was), _words(is_now)]
            if words[0] == words[1] and was is not None and is_now is not None:
                words = [f"at {format_time(one.at)[:19]}Z: {_words(one)}" for one in (was, is_now)]
            changes.append(Change(kind, event, known.subject, known.type, known.at, words[0], words[1], _why(was, is_now)))
    return changes


def _words(verdict: Verdict | None) -> str:
    """What becomes of the event, on one line."""
    if verdict is None:
        return NOT_FOR_IT
    if verdict.run is not None:
        return f"{verdict.playbook} ({verdict.run.mode}): {run_words(verdict.run)}"
    return f"held by {verdict.detail}" if verdict.what == "held" else _NO_RUN.get(verdict.what, verdict.what)


def _kind(was: Verdict | None, is_now: Verdict | None) -> Kind | None:
    ran, runs = was is not None and was.run is not None, is_now is not None and is_now.run is not None
    if ran != runs:
        return "goes" if ran else "comes"
    if was is None or is_now is None:
        return "held_otherwise"
    if was.run is not None and is_now.run is not None:
        return "otherwise" if _differ(was.run, is_now.run) else None
    return "held_otherwise" if (was.what, was.detail) != (is_now.what, is_now.detail) else None


def _differ(was: WouldRun, is_now: WouldRun) -> str:
    """In what two runs for one event differ, in words; empty where they do the same."""
    differences = {
        "another playbook": was.playbook != is_now.playbook,
        "another mode": was.mode != is_now.mode,
        "other acts": _acts(was) != _acts(is_now),
        "another time": was.at != is_now.at,
        "ends otherwise": was.really == is_now.really and was.end != is_now.end,
    }
    return ", ".join(word for word, differs in differences.items() if differs)


def _acts(run: WouldRun) -> list[str]:
    """A question mark says only that nobody can know whether a look would have asked for it."""
    return [act.rstrip("?") for act in run.acts]


def _why(was: Verdict | None, is_now: Verdict | None) -> str:
    """What holds the one that does not run; of two runs, in what they differ."""
    if was is not None and is_now is not None and was.run is not None and is_now.run is not None:
        return _differ(was.run, is_now.run)
    silent = next((one for one in (is_now, was) if one is not None and one.run is None and one.why), None)
    return silent.why if silent is not None else ""
