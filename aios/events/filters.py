"""Which events someone wants: by type, subject and least severity. Pure.

The journal's queries, the daemon's stream and the command line all use this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aios.errors import Refused
from aios.events.event import SEVERITIES

TYPES_MAX = 100
ANY = "*"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """`types` are exact, end in `.*` (any remainder), or are `*`; `severity` is the least. Empty fields let everything pass."""

    types: tuple[str, ...] = ()
    subject: str = ""
    severity: str = ""

    def passes(self, type_: str, subject: str, severity: str) -> bool:
        if self.subject and subject != self.subject:
            return False
        if self.severity and _rank(severity) < _rank(self.severity):
            return False
        return not self.types or _among(type_, self.types)

    @property
    def severities(self) -> tuple[str, ...]:
        """Those that pass; none when all do."""
        return SEVERITIES[_rank(self.severity) :] if _rank(self.severity) else ()

    def to_args(self) -> dict[str, Any]:
        """As a request carries it."""
        return {"types": list(self.types), "subject": self.subject, "severity": self.severity}

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> EventFilter:
        """From a request. Raises Refused."""
        types, subject, severity = args.get("types") or [], args.get("subject") or "", args.get("severity") or ""
        if not isinstance(types, (list, tuple)) or len(types) > TYPES_MAX or not all(isinstance(t, str) for t in types):
            raise Refused("types must be a list of at most 100 event types", "such as service.down or service.*")
        if not isinstance(subject, str):
            raise Refused("subject must be a text", "such as nginx.service")
        if severity and severity not in SEVERITIES:
            raise Refused("there is no such severity", "it is one of " + ", ".join(SEVERITIES))
        for wanted in types:
            if ANY in wanted and wanted != ANY and (not wanted.endswith(".*") or wanted.count(ANY) > 1):
                raise Refused(f"{wanted[:80]!r} is no type", "a * stands alone, or at the end after a dot: service.*")
        return cls(tuple(types), subject, severity)


def is_wildcard(wanted: str) -> bool:
    return wanted == ANY or wanted.endswith(".*")


@lru_cache(maxsize=4096)
def _among(type_: str, wanted: tuple[str, ...]) -> bool:
    """Remembered: events have few types, and a backtest asks for dozens of each of millions."""
    return any(_is(type_, one) for one in wanted)


def _is(type_: str, wanted: str) -> bool:
    return type_.startswith(wanted[:-1]) if is_wildcard(wanted) else type_ == wanted


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0
