"""Silences: a person says that nothing is to be done about a subject, or by a playbook, for some time.

Folded from `daemon.silenced` and `daemon.silence_ended` into the world's `GuardBook`; asked before a run opens and before its
first act. Looking goes on. Each ends by itself. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SILENCES_MAX = 1000
SILENCE_S_MAX = 366 * 86_400.0


class Silence(NamedTuple):
    """`subject` may hold stars, each any text; an empty `playbook` is every playbook. `until` is wall time."""

    id: str
    subject: str
    playbook: str
    until: float
    since: float
    by: str
    reason: str

    def covers(self, playbook: str, subject: str) -> bool:
        return self.playbook in ("", playbook) and like(self.subject, subject)

    @property
    def what(self) -> str:
        """What it is about, in words."""
        about = "everything" if self.subject == "*" else self.subject
        return about if not self.playbook else self.playbook if self.subject == "*" else f"{self.playbook} on {about}"


def like(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which each star stands for any text."""
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == text
    last = parts.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@dataclass(slots=True)
class SilenceBook:
    """Those that are in force, and some that have ended by themselves and were not looked at since."""

    by_id: dict[str, Silence] = field(default_factory=dict)

    def begin(self, silence: Silence) -> None:
        """Bounded: what has ended goes, then what ends first."""
        self.by_id = {key: one for key, one in self.by_id.items() if one.until > silence.since}
        self.by_id[silence.id] = silence
        if len(self.by_id) > SILENCES_MAX:
            del self.by_id[min(self.by_id.values(), key=lambda one: (one.until, one.id)).id]

    def end(self, silence: str) -> None:
        self.by_id.pop(silence, None)

    def of(self, playbook: str, subject: str, now: float) -> Silence | None:
        """The silence that lasts longest over this playbook and subject."""
        found = [one for one in self.by_id.values() if one.until > now and one.covers(playbook, subject)]
        return max(found, key=lambda one: (one.until, one.id), default=None)

    def in_force(self, now: float) -> list[Silence]:
        """The one that ends first comes first."""
        return sorted((one for one in self.by_id.values() if one.until > now), key=lambda one: (one.until, one.id))

    def to_json(self) -> list[Any]:
        return [list(one) for one in self.by_id.values()]

    @classmethod
    def from_json(cls, raw: list[Any]) -> SilenceBook:
        return cls({one[0]: Silence(*one) for one in raw})


def silence_of(data: Mapping[str, Any], since: float, until: float) -> Silence:
    """From the data of a `daemon.silenced`."""
    return Silence(data["silence"], data["subject"], data["playbook"], until, since, data["by"], data["reason"])
