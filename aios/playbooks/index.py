"""Which playbooks an event is for, without asking each of them.

The reactor holds one `Index` for the playbooks in force and asks `match` for every event. A dictionary by type gives a few
lookups (`lookup.py`): that of the type itself, and one for each family (`service.*`) that it belongs to. `when` is not asked
here: it needs scores.

Types of AIOS's own are matched by their exact name alone; families do not reach them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from aios.events.catalogue import CORRELATED, is_own
from aios.events.event import Event
from aios.playbooks.lookup import lookup
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import EventPattern, event_view
from aios.playbooks.shelves import Find

__all__ = ["Index", "event_view", "order", "specificity", "type_fits"]

TYPES_MAX = 4096
"""Event types whose lookups are remembered: they come from outside, and could be without end."""


def type_fits(pattern: str, event_type: str) -> bool:
    """`service.*` fits any remainder, but no own type; all else is exact."""
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1]) and len(event_type) > len(pattern) - 1 and not is_own(event_type)
    return pattern == event_type


def specificity(playbook: Playbook, event_type: str) -> int:
    """How narrowly a playbook says which events it is for: an exact type counts like an exact field, a wildcard by its length."""
    fitting = [name for name in playbook.types if type_fits(name, event_type)]
    by_type = 100 if event_type in fitting else max((20 + min(len(name), 40) for name in fitting), default=0)
    pattern = cast("EventPattern | None", playbook.pattern)
    return by_type + (pattern.weight if pattern else 0) + (5 if playbook.when else 0)


def order(playbook: Playbook, event_type: str) -> tuple[int, int, str]:
    """Sorts playbooks best first: priority, then specificity, then the name, so that it is always the same."""
    return (-playbook.priority, -specificity(playbook, event_type), playbook.name)


class Index:
    """Playbooks in force, ready to be matched. It does not change; new playbooks make a new one."""

    def __init__(self, playbooks: Iterable[Playbook]) -> None:
        self.playbooks = tuple(playbooks)
        by_name: dict[str, list[Playbook]] = {}
        for playbook in self.playbooks:
            if playbook.enabled:
                for name in playbook.types:
                    by_name.setdefault(name, []).append(playbook)
        self._lookups = {name: lookup(found) for name, found in by_name.items()}
        together = {p.name: p for p in self.playbooks if p.correlation is not None and p.enabled}
        self._of_correlated: tuple[Find, ...] = (partial(_find_correlated, together),) if together else ()
        self._by_type: dict[str, tuple[Find, ...]] = {}

    def match(self, event: Event) -> list[Playbook]:
        """The playbooks whose type and pattern fit, best first."""
        event_type = event.type
        lookups = self._by_type.get(event_type)
        if lookups is None:
            lookups = self._remember(event_type)
        hits: list[Playbook] = []
        for find in lookups:
            find(event, hits, True)
        return _best_first(hits, event_type) if len(hits) > 1 else hits

    def candidates(self, event_type: str) -> bool:
        """Whether any playbook could be for events of this type."""
        lookups = self._by_type.get(event_type)
        return bool(self._remember(event_type) if lookups is None else lookups)

    def explain(self, event: Event, everything: bool = False) -> list[dict[str, Any]]:
        """Every playbook that was considered, and what it said: `{playbook, matched, why}`, best first.

        Considered are those whose type fits; with `everything` also the others, each with its reason.
        """
        as_json = event_view(event)
        by_type = [p for p in self.playbooks if any(type_fits(name, event.type) for name in p.types)]
        by_type += [p for p in self.match(event) if p.correlation is not None]
        said = [_verdict(p, as_json) for p in sorted(by_type, key=lambda p: order(p, event.type))]
        if everything:
            others = sorted((p for p in self.playbooks if p not in by_type), key=lambda p: p.name)
            said += [{"playbook": p.name, "matched": False, "why": _other_type(p, event.type)} for p in others]
        return said

    def _remember(self, event_type: str) -> tuple[Find, ...]:
        """Where the playbooks of a type are found."""
        if len(self._by_type) >= TYPES_MAX:
            self._by_type.clear()
        found = tuple(self._lookups[name] for name in _names_that_fit(event_type) if name in self._lookups)
        if event_type == CORRELATED:
            found += self._of_correlated
        self._by_type[event_type] = found
        return found


def _find_correlated(together: Mapping[str, Playbook], event: Event, hits: list[Playbook], _plain: bool) -> None:
    """What became complete is for the playbook that waited for it, if it still waits for the same."""
    found = together.get(event.data["playbook"])
    if found is not None and found.correlation is not None and found.correlation.hash == event.data["trigger"]:
        hits.append(found)


def _names_that_fit(event_type: str) -> Iterator[str]:
    """The type itself and its families; for `a.b.c` they are `a.*` and `a.b.*`."""
    yield event_type
    if not is_own(event_type):
        for position, character in enumerate(event_type[:-1]):
            if character == ".":
                yield f"{event_type[: position + 1]}*"


def _best_first(hits: list[Playbook], event_type: str) -> list[Playbook]:
    """Sorted, each once: a playbook may be found by two of its types, alternatives or values."""
    once = {id(playbook): playbook for playbook in hits}
    return sorted(once.values(), key=lambda playbook: order(playbook, event_type))


def _verdict(playbook: Playbook, event: Mapping[str, Any]) -> dict[str, Any]:
    matched = playbook.pattern is None or playbook.pattern.matches(event)
    why = playbook.pattern.describe(event) if playbook.pattern else "the type fits, and it asks for nothing more"
    if not playbook.enabled:
        return {"playbook": playbook.name, "matched": False, "why": "it is switched off"}
    if playbook.correlation is not None:
        return {"playbook": playbook.name, "matched": True, "why": "it waited for these events to come together"}
    return {"playbook": playbook.name, "matched": matched, "why": why}


def _other_type(playbook: Playbook, event_type: str) -> str:
    if playbook.correlation is not None:
        return "it waits for several events together"
    wild = is_own(event_type) and any(n.endswith(".*") and event_type.startswith(n[:-1]) for n in playbook.types)
    if wild:
        return f"{event_type} is a type of AIOS's own, which only its exact name reaches"
    return f"type is {event_type}; wanted {' or '.join(playbook.types[:5])}"
