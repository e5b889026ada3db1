"""Who is watched on this machine, and who suffers with whom: as the journal tells it (`daemon.relations_learned`).

The world folds it, and guards go by it: `depends_on` and `loop` ask who suffers, storms take their share of who is watched. The
sensor of services says what it sees; `news` makes of that what the journal does not hold yet. Pure and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

WATCHED_MAX = 4096
PAIRS_MAX = 10_000
"""Of subjects and those that suffer with them. No machine of ours has a tenth; what is beyond is left out, the last by name."""
NAME_CHARS_MAX = 256
CHARS_MAX = 8192
"""Of names in one event: far below what a line may hold, in any script."""


@dataclass(slots=True)
class Relations:
    """See the head of this file. `day` is that of the last event that told all of it."""

    watched: set[str] = field(default_factory=set)
    sufferers: dict[str, frozenset[str]] = field(default_factory=dict)
    """Subject -> those that suffer when it is ill. Subjects with whom nobody suffers are not there."""
    day: str = ""

    def apply(self, data: Mapping[str, Any], day: str) -> None:
        """Fold one event."""
        if data["afresh"]:
            self.watched, self.sufferers, self.day = set(), {}, day
        self.watched.update(map(str, data["watched"]))
        for subject, suffering in data["sufferers"].items():
            if suffering:
                self.sufferers[subject] = self.sufferers.get(subject, frozenset()) | frozenset(suffering)
            else:
                self.sufferers.pop(subject, None)

    def suffers(self, subject: str, of: str) -> bool:
        """Whether this subject suffers when that one is ill."""
        return subject in self.sufferers.get(of, ())

    def news(self, watched: Iterable[str], sufferers: Mapping[str, Iterable[str]], day: str) -> list[dict[str, Any]]:
        """What the journal is to be told of what is seen, as data of events: all of it once a day, else what is new.

        Who is watched no more stays until all is told again: units that run by the hour come and go.
        """
        there, suffering = _bounded(watched, sufferers)
        if self.day != day:
            return _pieces(sorted(there), suffering, afresh=True)
        changed = {one: them for one, them in suffering.items() if them != self.sufferers.get(one)}
        gone: dict[str, frozenset[str]] = {one: frozenset() for one in self.sufferers if one not in suffering}
        lost = {one: frozenset[str]() for one, them in changed.items() if self.sufferers.get(one, frozenset()) - them}
        return _pieces([], {**gone, **lost}, afresh=False) + _pieces(sorted(there - self.watched), changed, afresh=False)

    def again(self) -> list[dict[str, Any]]:
        """All of it, as data of events: so that what is kept of the journal always holds it."""
        return _pieces(sorted(self.watched), self.sufferers, afresh=True)

    def to_json(self) -> dict[str, Any]:
        return {
            "watched": sorted(self.watched),
            "sufferers": {subject: sorted(suffering) for subject, suffering in self.sufferers.items()},
            "day": self.day,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Relations:
        sufferers = {subject: frozenset(suffering) for subject, suffering in raw["sufferers"].items()}
        return cls(set(raw["watched"]), sufferers, raw["day"])


def _bounded(watched: Iterable[str], sufferers: Mapping[str, Iterable[str]]) -> tuple[set[str], dict[str, frozenset[str]]]:
    there = [one for one in sorted(set(watched)) if len(one) <= NAME_CHARS_MAX][:WATCHED_MAX]
    left, kept = PAIRS_MAX, {}
    for subject in sorted(sufferers):
        suffering = [one for one in sorted(set(sufferers[subject])) if len(one) <= NAME_CHARS_MAX][:left]
        if suffering and len(subject) <= NAME_CHARS_MAX:
            kept[subject] = frozenset(suffering)
            left -= len(suffering)
    return set(there), kept


def _pieces(watched: list[str], sufferers: Mapping[str, frozenset[str]], *, afresh: bool) -> list[dict[str, Any]]:
    """As many events as lines of the journal can hold; of a subject with very many, some in one and some in the next."""
    pieces: list[dict[str, Any]] = [{"afresh": True, "watched": [], "sufferers": {}}] if afresh else []
    room = CHARS_MAX if afresh else 0
    for subject, one in [*((name, None) for name in watched), *_pairs(sufferers)]:
        takes = len(subject) + len(one or "")
        if takes > room or not pieces:
            pieces.append({"afresh": False, "watched": [], "sufferers": {}})
            room = CHARS_MAX
        room -= takes
        if one is None:
            pieces[-1]["watched"].append(subject)
        else:
            pieces[-1]["sufferers"].setdefault(subject, []).extend([one] if one else [])
    return pieces


def _pairs(sufferers: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, str | None]]:
    """Each with each of those that suffer with it; an empty one where nobody does."""
    for subject in sorted(sufferers):
        for one in sorted(sufferers[subject]) or [""]:
            yield subject, one
