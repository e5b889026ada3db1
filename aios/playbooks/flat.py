"""The slow and general way to ask a pattern: the event as a flat list of values, each with the list elements it came through.

`pattern.py` asks here only what its trees cannot say: events that have dots in the names of their fields, patterns in which a
field has both values and fields below it, and `exists: false` before other fields of a list's elements. Method: event-ruler's
array consistency (`ArrayMembership`): one value is chosen for each field, in the alphabetical order of their paths, and no two of
them may come through different elements of one list; what must be missing must be so in the elements that are chosen by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

STEPS_MAX = 20_000
"""Choices that are tried for one event; its lists could multiply without end. An event beyond does not match."""

Membership = tuple[tuple[int, int], ...]
"""The list elements that a value came through: the list's number, and which of its elements."""

Field = tuple[str, Callable[[Any], bool], bool]
"""The path with its dots, whether a value matches by being there, and whether it is enough that none is there."""


def flat_matches(fields: Sequence[Field], event: Mapping[str, Any]) -> bool:
    """Whether every field finds its value, all of them consistently."""
    fields = sorted(fields, key=itemgetter(0))
    values = _flatten(event, {path for path, _, _ in fields})
    there = [values.get(path, []) for path, _, _ in fields]
    choices = [
        list(dict.fromkeys(membership for value, membership in found if matches(value)))
        for found, (_, matches, _) in zip(there, fields, strict=True)
    ]
    return _Search(choices, [{m for _, m in found} for found in there], [absent for _, _, absent in fields]).run(0, {})


class _Search:
    """Backtracking over the choices for each field."""

    def __init__(self, choices: list[list[Membership]], there: list[set[Membership]], may_be_absent: list[bool]) -> None:
        self._choices, self._there, self._may_be_absent = choices, there, may_be_absent
        self._steps = 0

    def run(self, field: int, bound: dict[int, int]) -> bool:
        self._steps += 1
        if self._steps > STEPS_MAX:
            return False
        if field == len(self._choices):
            return True
        for membership in self._choices[field]:
            if _fits(membership, bound) and self.run(field + 1, {**bound, **dict(membership)}):
                return True
        if not self._may_be_absent[field] or any(_fits(membership, bound) for membership in self._there[field]):
            return False
        return self.run(field + 1, bound)


def _fits(membership: Membership, bound: Mapping[int, int]) -> bool:
    return all(bound.get(number, element) == element for number, element in membership)


def _flatten(event: Mapping[str, Any], paths: set[str]) -> dict[str, list[tuple[Any, Membership]]]:
    """The values at these paths, in the order of the event."""
    leading = {path[:end] for path in paths for end, character in enumerate(path) if character == "."} | paths
    found: dict[str, list[tuple[Any, Membership]]] = {}
    numbers: Iterator[int] = iter(range(1 << 62))

    def visit(value: Any, path: str, membership: Membership) -> None:
        if isinstance(value, Mapping):
            for name, below in value.items():
                further = f"{path}.{name}" if path else name
                if further in leading:
                    visit(below, further, membership)
        elif isinstance(value, list | tuple):
            number = next(numbers)
            for position, item in enumerate(value):
                inside = isinstance(item, Mapping | list | tuple)
                visit(item, path, (*membership, (number, position)) if inside else membership)
        else:
            found.setdefault(path, []).append((value, membership))

    visit(event, "", ())
    return found
