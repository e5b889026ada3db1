"""Dead letters: what could not be processed, kept with its reason until a person has it tried again.

Folded from `scheduler.dead_letter` and `scheduler.retried`; the world keeps it, `aios runs` and the report show it. Bounded: of
more than `LIMIT` letters the oldest are only counted here; they remain in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aios.events.event import Event

LIMIT = 1000
_REASON_CHARS = 500
_VERSION = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`event` is the id of what could not be processed, `position` where it stands, `since` when it was put here (RFC 3339)."""

    letter: str
    event: str
    position: str
    subject: str
    reason: str
    since: str


class DeadLetters:
    """Those that wait for a person, oldest first."""

    __slots__ = ("_letters", "_limit", "older")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._letters: dict[str, DeadLetter] = {}
        self.older = 0
        """Letters that are only counted: find them in the journal."""

    def apply(self, event: Event) -> None:
        if event.type == "scheduler.dead_letter":
            self._add(event)
        elif event.type == "scheduler.retried":
            self._remove(str(event.data.get("letter", "")))

    def _add(self, event: Event) -> None:
        data = event.data
        letter = DeadLetter(
            letter=str(data.get("letter") or event.id),
            event=str(data.get("event", "")),
            position=str(data.get("position", "")),
            subject=event.subject,
            reason=str(data.get("reason", ""))[:_REASON_CHARS],
            since=event.arrival,
        )
        self._letters.pop(letter.letter, None)  # the same letter again is the newest, not a second one
        self._letters[letter.letter] = letter
        if len(self._letters) > self._limit:
            del self._letters[next(iter(self._letters))]
            self.older += 1

    def _remove(self, letter: str) -> None:
        if self._letters.pop(letter, None) is None and self.older:
            self.older -= 1

    def __len__(self) -> int:
        return len(self._letters) + self.older

    def list(self) -> list[DeadLetter]:
        return [*self._letters.values()]

    def get(self, letter: str) -> DeadLetter | None:
        return self._letters.get(letter)

    def to_json(self) -> dict[str, Any]:
        return {"version": _VERSION, "older": self.older, "letters": [asdict(letter) for letter in self._letters.values()]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], limit: int = LIMIT) -> DeadLetters:
        """Raises ValueError where the version is one that this code does not know."""
        if raw.get("version") != _VERSION:
            raise ValueError(f"dead letters of version {raw.get('version')!r}; this code reads {_VERSION}")
        letters = cls(limit)
        letters.older = raw["older"]
        letters._letters = {one["letter"]: DeadLetter(**one) for one in raw["letters"]}
        return letters
