"""The playbooks of one type, arranged so that an event meets only those that it could be for.

`Index` makes a `lookup` for each type. Its method is that of tuple-space search and of decision trees for packet classifiers
(Srinivasan, Suri, Varghese, 1999; Gupta, McKeown, 2001), made simple by asking one field at a time: every alternative of every
pattern is filed under that field of it which it shares with the fewest others, on the shelf that fits the test (`shelves.py`):
a dictionary for values, sorted texts for beginnings and ends, pieces for what stands between stars, intervals for numbers and
networks. What then still lies in a crowd is arranged again by its next field. So the cost for an event is the number of
fields that are asked about, not of playbooks; what no shelf takes (`exists: false`, say) is asked one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

from aios.events.event import Event
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import Alternative, EventPattern, Leaf, Path
from aios.playbooks.shelves import (
    COSTS,
    EXACT,
    POSITIONS,
    WHOLE,
    AnyShelf,
    Ask,
    ExactShelf,
    Find,
    Look,
    Row,
    first_names,
    give,
    options,
    shelf,
)

CROWD = 8
"""So many playbooks in one place are asked one by one; more are arranged by a further field."""

PLACES_MAX = 256
"""Places that one field of one pattern may take; with more values it is not filed by this field."""

LEVELS_MAX = 6
"""How often a crowd is arranged again: what is still one then asks for the same, or nearly so."""

TELLING = 16
"""Characters of a text from which on it is taken to be as rare as a whole value."""


def lookup(playbooks: Iterable[Playbook]) -> Find:
    """A function that adds those of the playbooks whose patterns match an event; one may be added twice."""
    items = [item for playbook in playbooks for item in _items(playbook)]
    row = _file(items, LEVELS_MAX) if len(items) > 1 else _few(items)
    return row.find if isinstance(row, _Case) else partial(give, row)


class _Item(NamedTuple):
    """One alternative of a pattern, with the fields that it is not filed by yet. exact: the others were keys in full."""

    playbook: Playbook
    leaves: Alternative
    exact: bool
    used: frozenset[Any] = frozenset()


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
_Offer = tuple[Leaf, list[list[_Place]]]
"""A field, and for each of its tests the places where it could lie."""


def _file(items: list[_Item], levels: int) -> Row:
    """Each item in the place that one of its fields offers and that fewest others could take; what has none, beside."""
    names = _Names()
    offers = [_offers(item, names) for item in items]
    preference = _Preference(offers)
    shelves: dict[_ShelfName, dict[Any, list[_Item]]] = {}
    rest: list[_Item] = []
    for item, offered in zip(items, offers, strict=True):
        if not offered:
            rest.append(item)
            continue
        leaf, places = preference.choose(offered)
        left = _left(item, leaf, places)
        for name, key in places if len(places) == 1 else dict.fromkeys(places):
            shelves.setdefault(name, {}).setdefault(key, []).append(left)
    made = [
        shelf(kind, path, {key: _arranged(found, levels) for key, found in rows.items()})
        for (kind, path), rows in shelves.items()
    ]
    return _Case(made, _few(rest) if rest else ())


def _arranged(items: list[_Item], levels: int) -> Row:
    """What lies in one place."""
    return _few(items) if len(items) <= CROWD or not levels else _file(items, levels - 1)


class _Names(dict[tuple[str, Path], _ShelfName]):
    """One and the same tuple for each name of a shelf: comparing it is then comparing an address."""

    def of(self, kind: str, path: Path) -> _ShelfName:
        name = (kind, path)
        return self.setdefault(name, name)


def _offers(item: _Item, names: _Names) -> list[_Offer]:
    """The fields it could be filed by."""
    offered = []
    for leaf in item.leaves:
        if len(leaf.tests) <= PLACES_MAX:
            tests = [
                [(names.of(kind, leaf.path), key) for kind, key in options(test) if key not in item.used] for test in leaf.tests
            ]
            if all(tests):
                offered.append((leaf, tests))
    return offered


class _Preference:
    """Which of several places is the best: where fewest could lie, then where fewest events should come by."""

    def __init__(self, offers: list[list[_Offer]]) -> None:
        crowds = self._crowds = Counter(
            place for offered in offers for _, tests in offered for places in tests for place in places
        )
        self._wanted: Counter[_ShelfName] = Counter()
        for (name, _), count in crowds.items():
            self._wanted[name] += count

    def choose(self, offered: list[_Offer]) -> tuple[Leaf, list[_Place]]:
        choices = [(leaf, [self._best(places) for places in tests]) for leaf, tests in offered]
        if len(choices) == 1:
            return choices[0]
        return min(choices, key=lambda choice: max(map(self._cost, choice[1])))

    def _best(self, places: list[_Place]) -> _Place:
        return places[0] if len(places) == 1 else min(places, key=self._cost)

    def _cost(self, place: _Place) -> tuple[int, int, int, int]:
        name, key = place
        kind = name[0]
        wanted = self._wanted[name]
        crowd = wanted // 2 + 1 if kind in ("numeric", "cidr") else self._crowds[place]
        told = len(key) if kind not in WHOLE and type(key) is str else TELLING
        return crowd, -min(told, TELLING), COSTS[kind], -wanted


def _left(item: _Item, leaf: Leaf, places: list[_Place]) -> _Item:
    """What is still to be asked of an item that is filed there. A text with stars may be filed by another piece once more."""
    tests = leaf.tests
    if len(tests) == 1 and tests[0].op == "wildcard":
        return _Item(item.playbook, item.leaves, False, item.used | {places[0][1]})
    exact = item.exact and all(test.op == name[0] and name[0] in EXACT for test, (name, _) in zip(tests, places, strict=True))
    return _Item(item.playbook, tuple(other for other in item.leaves if other is not leaf), exact, item.used)


class _Case:
    """Shelves beside one another by the field that they are for, and what is on none of them."""

    __slots__ = ("_attributes", "_members", "_rest")

    def __init__(self, shelves: list[AnyShelf], rest: Row) -> None:
        texts: dict[int, _Field] = {}
        self._members: dict[str, _Field] = {}
        for one in shelves:
            root, *below = one.path
            if root in POSITIONS and not below:
                texts.setdefault(POSITIONS[root], _Field()).add(one)
            elif root == "data" and len(below) == 1:
                self._members.setdefault(below[0], _Field()).add(one)
            elif root == "data":
                for name in first_names(one.path):
                    self._members.setdefault(name, _Field()).finds.append(one.find)
        self._attributes = tuple((position, field.rows, tuple(field.looks)) for position, field in texts.items())
        self._rest = rest

    def find(self, event: Event, hits: list[Playbook], plain: bool) -> None:
        for position, rows, looks in self._attributes:
            value = event[position]
            row = rows.get(value)
            if row is not None:
                give(row, event, hits, plain)
            for look in looks:
                for row in look(value):
                    give(row, event, hits, plain)
        members = self._members
        if members:
            data = event.data
            for name in members if len(members) < len(data) else data:
                if name in data and name in members:
                    members[name].find(data[name], event, hits, plain)
        if self._rest:
            give(self._rest, event, hits, plain)


class _Field:
    """The shelves of one member of `data`, and those of fields further down that begin with it."""

    __slots__ = ("finds", "looks", "others", "rows")

    def __init__(self) -> None:
        self.rows: dict[Any, Row] = {}
        self.looks: list[Look] = []
        self.others: list[AnyShelf] = []
        self.finds: list[Find] = []

    def add(self, one: AnyShelf) -> None:
        self.others.append(one)
        if isinstance(one, ExactShelf):
            self.rows = one.rows
        else:
            self.looks.append(one.look)

    def find(self, value: Any, event: Event, hits: list[Playbook], plain: bool) -> None:
        if type(value) is str:
            row = self.rows.get(value)
            if row is not None:
                give(row, event, hits, plain)
            for look in self.looks:
                for row in look(value):
                    give(row, event, hits, plain)
        else:
            for other in self.others:
                other.find_by(value, event, hits, plain)
        for find in self.finds:
            find(event, hits, plain)
