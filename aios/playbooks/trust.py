"""What playbooks have shown: how far each is trusted (its mode), and which of them healed an event of this kind before.

Folded from the events of runs into the world's `TrustBook`. Evidence is of one text: a playbook that was changed begins anew, and
a mode that was granted to the old text lapses. The reactor asks `mode_of` before a run opens and before each act, `best_first`
when several match, and `fallen` when a run has ended; a person is shown `earned`. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, NamedTuple

from aios.playbooks.index import specificity
from aios.playbooks.model import MODES, Mode, Playbook
from aios.playbooks.run import Run

RECENT = 50
"""The newest so many results speak for a playbook; what is older says little of the machine as it is."""
PLAYBOOKS_MAX = 5000
KINDS_MAX = 2000
COUNT_MAX = 64
"""Counts of healed and failed are halved beyond this, so that what was true long ago fades."""
Z = 1.96
"""Of a normal distribution: 95 of 100."""


class Rule(NamedTuple):
    """When a mode is earned, and when it is lost: over at least so many results, by the bounds of Wilson's interval."""

    runs: int = 10
    earned: float = 0.7
    lost: float = 0.5


class Grant(NamedTuple):
    """A mode other than the file's, for this text: from a person (`by`), or taken away by a fall in evidence."""

    mode: Mode
    hash: str
    at: float
    by: str
    reason: str


@dataclass(slots=True)
class Evidence:
    """Of one text. `acted`: 1 for each run that healed, 0 for each that acted and did not, or that a person refused.

    `watched`: of the runs in shadow, 1 where the symptom stayed (acting would have been called for), 0 where it went by itself.
    """

    hash: str
    since: float
    last: float = 0.0
    runs: dict[str, dict[str, int]] = field(default_factory=dict)
    approved: int = 0
    denied: int = 0
    expired: int = 0
    rolled_back: int = 0
    acted: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))
    watched: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "acted": list(self.acted), "watched": list(self.watched)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Evidence:
        recent = {name: deque(raw[name], maxlen=RECENT) for name in ("acted", "watched")}
        return cls(**{**raw, **recent})


def wilson(good: int, of: int) -> tuple[float, float]:
    """The interval in which the true share lies with 95 of 100 (E. B. Wilson, 1927). Of nothing, anything."""
    if not of:
        return 0.0, 1.0
    share, z2 = good / of, Z * Z
    middle = share + z2 / (2 * of)
    reach = Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, (middle - reach) / (1 + z2 / of)), min(1.0, (middle + reach) / (1 + z2 / of))


@dataclass(slots=True)
class TrustBook:
    """See the head of this file. Bounded: what was not seen for longest is forgotten first."""

    of: OrderedDict[str, Evidence] = field(default_factory=OrderedDict)
    granted: dict[str, Grant] = field(default_factory=dict)
    healed: OrderedDict[str, dict[str, list[int]]] = field(default_factory=OrderedDict)
    """Type of event -> playbook -> how often it healed one, and how often it acted and did not."""
    changed: set[str] = field(default_factory=set, compare=False)
    """Playbooks of which a run has ended since somebody looked; all, after a restart."""

    # --- folding ---

    def ended(self, run: Run, at: float) -> None:
        """A run is over, or what it did was taken back by a person later."""
        evidence = self._evidence(run, at)
        if run.taken_back:
            evidence.acted.append(0)
            self._count(run, healed=False)
            evidence.rolled_back += 1
        else:
            outcomes = evidence.runs.setdefault(run.mode, {})
            outcomes[run.outcome] = outcomes.get(run.outcome, 0) + 1
            self._weigh(run, evidence)
        self.changed.add(run.playbook)

    def _weigh(self, run: Run, evidence: Evidence) -> None:
        if run.acted and run.outcome in ("healed", "not_healed", "unknown"):
            evidence.acted.append(int(run.outcome == "healed"))
            self._count(run, healed=run.outcome == "healed")
            evidence.rolled_back += run.outcome != "healed"

    def watched(self, run: Run, by_itself: bool, at: float) -> None:
        """A run in shadow has looked to the end."""
        self._evidence(run, at).watched.append(int(not by_itself))

    def answered(self, run: Run, word: str, at: float) -> None:
        """`given`, `denied` or `expired`. A no is a judgement on what it wanted to do."""
        evidence = self._evidence(run, at)
        evidence.approved += word == "given"
        evidence.expired += word == "expired"
        if word == "denied":
            evidence.denied += 1
            evidence.acted.append(0)

    def grant(self, playbook: str, grant: Grant) -> None:
        """Another mode is in force; what it did in the one before speaks no more for or against it."""
        self.granted[playbook] = grant
        if len(self.granted) > PLAYBOOKS_MAX:
            del self.granted[next(iter(self.granted))]
        if (evidence := self.of.get(playbook)) is not None:
            evidence.acted.clear()

    def _evidence(self, run: Run, at: float) -> Evidence:
        known = self.of.pop(run.playbook, None)
        if known is None or known.hash != run.hash:
            known = Evidence(run.hash, run.opened_at)
        known.last = at
        self.of[run.playbook] = known
        if len(self.of) > PLAYBOOKS_MAX:
            self.of.popitem(last=False)
        return known

    def _count(self, run: Run, healed: bool) -> None:
        kind = str(run.trigger.get("type", ""))
        by_playbook = self.healed.pop(kind, {})
        self.healed[kind] = by_playbook
        if len(self.healed) > KINDS_MAX:
            self.healed.popitem(last=False)
        counts = by_playbook.setdefault(run.playbook, [0, 0])
        counts[not healed] += 1
        if sum(counts) > COUNT_MAX:
            counts[:] = [counts[0] // 2, counts[1] // 2]
        if len(by_playbook) > PLAYBOOKS_MAX:
            del by_playbook[next(iter(by_playbook))]

    # --- which one ---

    def counts(self, event_type: str, playbook: str) -> tuple[int, int]:
        """How often this playbook healed an event of this type, and how often it acted and did not."""
        healed, failed = self.healed.get(event_type, {}).get(playbook, (0, 0))
        return healed, failed

    def rate(self, event_type: str, playbook: str) -> float:
        """The share that it healed, smoothed: of nothing it is one half (Laplace's rule of succession)."""
        healed, failed = self.counts(event_type, playbook)
        return (healed + 1) / (healed + failed + 2)

    def best_first(self, playbooks: Sequence[Playbook], event_type: str) -> Sequence[Playbook]:
        """By priority, specificity, what healed this kind of event before, and name."""
        if len(playbooks) < 2 or event_type not in self.healed:
            return playbooks  # the index has put them in order by all the rest
        return sorted(playbooks, key=lambda playbook: (*self._rank(playbook, event_type), playbook.name))

    def _rank(self, playbook: Playbook, event_type: str) -> tuple[float, ...]:
        return -playbook.priority, -specificity(playbook, event_type), -self.rate(event_type, playbook.name)

    def numbers(self, playbook: Playbook, event_type: str) -> dict[str, Any]:
        """By what a candidate is ranked."""
        healed, failed = self.counts(event_type, playbook.name)
        rate = round(self.rate(event_type, playbook.name), 3)
        narrow = specificity(playbook, event_type)
        return {"priority": playbook.priority, "specificity": narrow, "healed_rate": rate, "healed": healed, "failed": failed}

    # --- how far ---

    def mode_of(self, playbook: Playbook) -> Mode:
        """The file's, or what was granted to this very text."""
        grant = self.granted.get(playbook.name)
        return grant.mode if grant is not None and grant.hash == playbook.hash else playbook.mode

    def evidence_of(self, playbook: Playbook) -> Evidence | None:
        """What this text has shown."""
        known = self.of.get(playbook.name)
        return known if known is not None and known.hash == playbook.hash else None

    def earned(self, playbook: Playbook, rule: Rule) -> tuple[Mode | None, str]:
        """The next mode, if the evidence carries it, and the sentence that says why or why not."""
        mode = self.mode_of(playbook)
        if mode == "auto":
            return None, "it is in auto already"
        following = MODES[MODES.index(mode) + 1]
        if mode == "observe":
            return following, "shadow changes nothing: it only watches longer"
        evidence = self.evidence_of(playbook)
        acted, watched = (list(evidence.acted), list(evidence.watched)) if evidence is not None else ([], [])
        shadow = mode == "shadow" or (mode == "suggest" and len(acted) < rule.runs <= len(watched))
        tells = watched if shadow else acted
        low, _ = wilson(sum(tells), len(tells))
        said = (_always_cleared(evidence) if not tells else "") or _shown(tells, shadow)
        if len(tells) < rule.runs:
            return None, f"{said}; {following} takes at least {rule.runs}"
        sure = f"{said}: surely {low:.0%} of all, and {following} takes {rule.earned:.0%}"
        return (following, sure) if low >= rule.earned else (None, sure)

    def fallen(self, playbook: Playbook, rule: Rule) -> tuple[Mode, str] | None:
        """The mode to which a fall in evidence takes it back: the file's, or from there one step below. Never further."""
        mode, evidence = self.mode_of(playbook), self.evidence_of(playbook)
        if evidence is None or mode not in ("approve", "auto") or MODES.index(mode) < MODES.index(playbook.mode):
            return None
        good, of = sum(evidence.acted), len(evidence.acted)
        _, high = wilson(good, of)
        if of < rule.runs or high >= rule.lost:
            return None
        below = playbook.mode if mode != playbook.mode else MODES[MODES.index(mode) - 1]
        return (
            below,
            f"{good} of its last {of} acting runs healed: surely fewer than {high:.2f} of all, and {rule.lost:g} keep a mode",
        )

    # --- checkpoints ---

    def to_json(self) -> dict[str, Any]:
        return {
            "of": {name: evidence.to_json() for name, evidence in self.of.items()},
            "granted": {name: list(grant) for name, grant in self.granted.items()},
            "healed": {kind: dict(by_playbook) for kind, by_playbook in self.healed.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> TrustBook:
        of = OrderedDict((name, Evidence.from_json(one)) for name, one in raw["of"].items())
        granted = {name: Grant(*one) for name, one in raw["granted"].items()}
        healed = OrderedDict((kind, {name: list(c) for name, c in by.items()}) for kind, by in raw["healed"].items())
        return cls(of, granted, healed, set(of))


CLEARED_MIN = 3


def _always_cleared(evidence: Evidence | None) -> str:
    """A `verify` that is well while the trouble lasts makes every run end so; whether it is, only its author can say."""
    ends = list(evidence.runs.values()) if evidence is not None else []
    cleared, all_of = sum(one.get("cleared", 0) for one in ends), sum(sum(one.values()) for one in ends)
    if cleared < CLEARED_MIN or cleared < all_of:
        return ""
    return f"all {cleared} of its runs were cleared: verify was well before it acted; does it ask about this trouble?"


def _shown(tells: Sequence[int], shadow: bool) -> str:
    """What the results say, as a sentence."""
    what = "runs in shadow" if shadow else "acting runs"
    if not tells:
        return f"none of its {what} has ended yet"
    came = "in {} of its last {} {} the symptom stayed" if shadow else "{} of its last {} {} healed"
    return came.format(sum(tells), len(tells), what)
