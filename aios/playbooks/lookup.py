"""The playbooks of one type, arranged so that an event meets only those that it could be for.

`Index` makes a `Lookup` for each type. Its method is that of tuple-space search and of decision trees for packet classifiers
(Srinivasan, Suri, Varghese, 1999; Gupta, McKeown, 2001), made simple by asking one field at a time: every alternative of every
pattern is filed under that field of it which it shares with the fewest others, on the shelf that fits the test (`shelves.py`):
a dictionary for values, sorted texts for beginnings and ends, pieces for what stands between stars, intervals for numbers and
networks. What then still lies in a crowd is arranged again by its next field. So the cost for an event is the number of
fields that are asked about, not of playbooks; what no shelf takes (`exists: false`, say) is asked one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

from aios.events.event import Event
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import Alternative, EventPattern, Leaf, Path
from aios.playbooks.shelves import COSTS, EXACT, Ask, Row, first_names, give, options, shelf

CROWD = 8
"""So many playbooks in one place are asked one by one; more are arranged by a further field."""

PLACES_MAX = 256
"""Places that one field of one pattern may take; with more values it is not filed by this field."""

SHELVES_MAX = 12
"""Of more shelves for fields of data, only those are looked at whose field the event has."""


class Lookup:
    """Playbooks by their patterns. It does not change."""

    __slots__ = ("_row",)

    def __init__(self, playbooks: Iterable[Playbook]) -> None:
        items = [item for playbook in playbooks for item in _items(playbook)]
        self._row = _file(items) if len(items) > 1 else _few(items)

    def find(self, event: Event, hits: list[Playbook]) -> None:
        """Add those whose patterns match; one may be added twice."""
        give(self._row, event, hits, True)


class _Item(NamedTuple):
    """One alternative of a pattern, with the fields that it is not filed by yet. exact: the others were keys in full."""

    playbook: Playbook
    leaves: Alternative
    exact: bool


def _items(playbook: Playbook) -> Iterator[_Item]:
    pattern = cast("EventPattern | None", playbook.pattern)
    for alternative in pattern.alternatives if pattern else ((),):
        yield _Item(playbook, alternative, True)


def _few(items: list[_Item]) -> Row:
    """These, one by one. Those that are found already need no question."""
    rows = tuple(item.playbook if item.exact and not item.leaves else Ask(item.playbook) for item in items)
    return rows[0] if len(rows) == 1 else rows


_ShelfName = tuple[str, Path]
_Place = tuple[_ShelfName, Any]


def _file(items: list[_Item]) -> Row:
    """Each item in the least crowded place that one of its fields offers; what has none, beside."""
    offers = [_offers(item) for item in items]
    prefer = _preference(offers)
    shelves: dict[_ShelfName, dict[Any, list[_Item]]] = {}
    rest: list[_Item] = []
    for item, offered in zip(items, offers, strict=True):
        if not offered:
            rest.append(item)
            continue
        choices = [(leaf, [min(places, key=prefer) for places in tests]) for leaf, tests in offered]
        leaf, places = min(choices, key=lambda choice: max(map(prefer, choice[1])))
        left = _without(item, leaf, places)
        for name, key in dict.fromkeys(places):
            shelves.setdefault(name, {}).setdefault(key, []).append(left)
    made = [
        shelf(kind, path, {key: _few(found) if len(found) <= CROWD else _file(found) for key, found in rows.items()})
        for (kind, path), rows in shelves.items()
    ]
    return _Case(made, _few(rest) if rest else ())


def _offers(item: _Item) -> list[tuple[Leaf, list[list[_Place]]]]:
    """The fields it could be filed by, and for each of their tests the possible places."""
    offered = []
    for leaf in item.leaves:
        if len(leaf.tests) <= PLACES_MAX:
            tests = [[((kind, leaf.path), key) for kind, key in options(test)] for test in leaf.tests]
            if all(tests):
                offered.append((leaf, tests))
    return offered


def _preference(offers: list[list[tuple[Leaf, list[list[_Place]]]]]) -> Callable[[_Place], tuple[int, int, int]]:
    """How bad a place is: how many could lie there, then what its kind costs, then how few want its shelf."""
    crowds = Counter(place for offered in offers for _, tests in offered for places in tests for place in places)
    wanted: Counter[_ShelfName] = Counter()
    for (name, _), count in crowds.items():
        wanted[name] += count

    def prefer(place: _Place) -> tuple[int, int, int]:
        name = place[0]
        crowd = wanted[name] // 2 if name[0] in ("numeric", "cidr") else crowds[place]
        return max(crowd, CROWD), COSTS[name[0]], -wanted[name]

    return prefer


def _without(item: _Item, leaf: Leaf, places: list[_Place]) -> _Item:
    exact = all(test.op == kind and kind in EXACT for test, ((kind, _), _) in zip(leaf.tests, places, strict=True))
    return _Item(item.playbook, tuple(other for other in item.leaves if other is not leaf), item.exact and exact)


class _Case:
    """Shelves beside one another, and what is on none of them."""

    __slots__ = ("_by_name", "_finds", "_rest")

    def __init__(self, shelves: list[Any], rest: Row) -> None:
        by_data = [one for one in shelves if one.path[0] == "data" and len(one.path) > 1]
        self._by_name: dict[str, list[Any]] = {}
        if len(by_data) > SHELVES_MAX:
            for one in by_data:
                for name in first_names(one.path):
                    self._by_name.setdefault(name, []).append(one.find)
        self._finds = tuple(one.find for one in shelves if not self._by_name or one not in by_data)
        self._rest = rest

    def find(self, event: Event, hits: list[Playbook], plain: bool) -> None:
        for find in self._finds:
            find(event, hits, plain)
        if self._by_name:
            for name in event.data:
                for find in self._by_name.get(name, ()):
                    find(event, hits, plain)
        if self._rest:
            give(self._rest, event, hits, plain)
