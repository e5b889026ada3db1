"""Shelves: where `lookup.py` files playbooks by one field, one kind of shelf for each way to look a value up.

| kind | key | for | how |
|---|---|---|---|
| is, address, fold | the value, the address, the folded text | plain values, `equals-ignore-case` | dictionary |
| prefix, suffix (-fold) | the text | these; wildcards by their first or last piece | sorted texts and a bisect |
| gram5, gram3, … | characters between stars | wildcards | dictionary of the rarest piece of that length |
| numeric, cidr | (low, high) | these | centred interval tree: Edelsbrunner, 1980; McCreight, 1980 |
| there | True | `exists: true`, `anything-but` | the field is there |

A shelf may give too much, never too little: what is not exact is asked again. Values in lists, and fields whose names have dots,
are looked up one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from aios.events.event import Event
from aios.playbooks.addresses import address_of
from aios.playbooks.model import Playbook
from aios.playbooks.operators import MISSING, Test, hashable
from aios.playbooks.pattern import ATTRIBUTES, EventPattern, Path, values_at

Row = Any
"""What lies in one place: a playbook whose pattern holds already, an `Ask`, a tuple of these, or something to `find` in."""

Look = Callable[[Any], Iterable[Row]]
"""The rows for one value that is no list."""

Find = Callable[[Event, list[Playbook], bool], None]

POSITIONS = {name: Event._fields.index(name) for name in ATTRIBUTES if name != "data"}
"""Where the attributes that are always a text stand in an event."""

COSTS: Mapping[str, int] = {
    "is": 0, "address": 2, "fold": 1, "prefix": 2, "suffix": 3, "prefix-fold": 3, "suffix-fold": 4,
    "numeric": 3, "cidr": 4, "gram5": 6, "gram3": 7, "gram2": 8, "gram1": 8, "there": 9,
}  # fmt: skip
"""Between places that are as crowded, the cheaper kind is taken."""

EXACT = frozenset(("is", "address", "fold", "prefix", "suffix", "prefix-fold", "suffix-fold"))
"""Kinds whose key says all of a test of the same name."""

WHOLE = frozenset(("is", "address", "fold"))
"""Kinds whose key is a whole value."""

GRAMS_MAX = 32
"""Pieces of a wildcard, and runs of one piece, that are weighed against one another."""

FEW_GRAMS = 16
"""So many pieces are searched for in a text one by one; more, by every piece that the text has."""


class Ask(NamedTuple):
    """A playbook that is only a candidate: its pattern is asked."""

    playbook: Playbook


def give(row: Row, event: Event, hits: list[Playbook], plain: bool) -> None:
    """Add what this row holds for the event. `plain`: every value that led here stood there itself, in no list."""
    kind = type(row)
    if kind is Playbook:
        if plain or _matches(row, event):
            hits.append(row)
    elif kind is Ask:
        if _matches(row.playbook, event):
            hits.append(row.playbook)
    elif kind is tuple:
        for one in row:
            give(one, event, hits, plain)
    else:
        row.find(event, hits, plain)


def _matches(playbook: Playbook, event: Event) -> bool:
    return playbook.pattern is None or cast("EventPattern", playbook.pattern).matches_event(event)


def options(test: Test) -> Iterable[tuple[str, Any]]:
    """The kinds of shelf and the keys by which this test could be found; none for `exists: false`."""
    if test.op in ("exists", "but"):
        return [("there", True)] if test.op == "but" or test.argument else []
    if test.op == "wildcard":
        return list(_of_wildcard(test.argument)) or [("there", True)]
    if test.op == "numeric":
        low, high = test.argument
        return [("numeric", (low.number if low else float("-inf"), high.number if high else float("inf")))]
    if test.op == "is":
        return [("is", hashable(test.argument))]
    if test.op in ("address", "cidr"):
        return [(test.op, test.argument[1] if test.op == "address" else test.argument[1:])]
    return [(test.op, test.argument)]


def _of_wildcard(pieces: Sequence[str]) -> Iterator[tuple[str, str]]:
    """By its beginning, its end, every run of five characters, and of shorter pieces every run of three (or what there is)."""
    if pieces[0]:
        yield "prefix", pieces[0]
    if pieces[-1]:
        yield "suffix", pieces[-1]
    shortest = min(max(map(len, pieces)), 3)
    for piece in pieces[:GRAMS_MAX]:
        length = 5 if len(piece) >= 5 else shortest
        for start in range(min(len(piece) - length + 1, GRAMS_MAX)) if length else ():
            yield f"gram{length}", piece[start : start + length]


# --- one shelf ------------------------------------------------------------------------------------------------------


class Shelf:
    """All that is filed by one field in one way."""

    __slots__ = ("_read", "look", "path")

    def __init__(self, kind: str, path: Path, rows: dict[Any, Row]) -> None:
        self.path = path
        self.look = _LOOKS[kind](kind, rows)
        self._read = _reader(path)

    def find(self, event: Event, hits: list[Playbook], plain: bool) -> None:
        self.find_by(self._read(event), event, hits, plain)

    def find_by(self, value: Any, event: Event, hits: list[Playbook], plain: bool) -> None:
        """The same for one who has read the field already."""
        if value is _MANY or isinstance(value, list | tuple):
            for one in _distinct(event, self.path):
                for row in self.look(one):
                    give(row, event, hits, False)
        elif value is not MISSING:
            for row in self.look(value):
                give(row, event, hits, plain)


class ExactShelf:
    """The usual shelf, of plain values."""

    __slots__ = ("_read", "path", "rows")

    def __init__(self, path: Path, rows: dict[Any, Row]) -> None:
        self.path = path
        self.rows = rows
        self._read = _reader(path)

    def find(self, event: Event, hits: list[Playbook], plain: bool) -> None:
        self.find_by(self._read(event), event, hits, plain)

    def find_by(self, value: Any, event: Event, hits: list[Playbook], plain: bool) -> None:
        """The same for one who has read the field already."""
        if value is _MANY or isinstance(value, list | tuple):
            for one in _distinct(event, self.path):
                row = self.rows.get(one)
                if row is not None:
                    give(row, event, hits, False)
        elif value is not MISSING and not isinstance(value, Mapping):
            row = self.rows.get(hashable(value))
            if row is not None:
                give(row, event, hits, plain)


AnyShelf = Shelf | ExactShelf


def shelf(kind: str, path: Path, rows: dict[Any, Row]) -> AnyShelf:
    return ExactShelf(path, rows) if kind == "is" else Shelf(kind, path, rows)


def _distinct(event: Event, path: Path) -> Iterator[Any]:
    """Every value of the field that is no mapping, once, as a key."""
    found = values_at(getattr(event, path[0]), path[1:])
    return iter(dict.fromkeys(hashable(value) for value in found if value is not MISSING and not isinstance(value, Mapping)))


class _Many:
    """The field has to be looked for: through lists, or by a name with dots."""


_MANY = _Many()


def _reader(path: Path) -> Callable[[Event], Any]:
    """Reads a field of an event that stands there itself; else `_MANY`."""
    if path[0] not in ATTRIBUTES:
        return lambda _event: MISSING
    position = Event._fields.index(path[0])
    if len(path) == 1:
        return lambda event: event[position]
    if len(path) == 2 and path[0] == "data":
        name = path[1]
        return lambda event: event.data.get(name, MISSING)
    first, *others = ((name, tuple(_dotted(path, start))) for start, name in enumerate(path) if start)

    def read(event: Event) -> Any:
        value = _step(event[position], *first)
        for name, dotted in others:
            if value is MISSING:
                break
            value = _step(value, name, dotted)
        return value

    return read


def _step(value: Any, name: str, dotted: tuple[str, ...]) -> Any:
    if type(value) is not dict and not isinstance(value, Mapping):
        return _MANY if isinstance(value, list | tuple) or value is _MANY else MISSING
    for other in dotted:
        if other in value:
            return _MANY
    return value.get(name, MISSING)


def _dotted(path: Path, start: int) -> Iterator[str]:
    """The names by which an event could take several steps at once from here."""
    return (".".join(path[start:end]) for end in range(start + 2, len(path) + 1))


def first_names(path: Path) -> Iterator[str]:
    """The names of which an event's data must have one if it has this field."""
    return (".".join(path[1:end]) for end in range(2, len(path) + 1))


# --- kinds ----------------------------------------------------------------------------------------------------------

_NOTHING: tuple[Row, ...] = ()


def _look_address(_kind: str, rows: dict[Any, Row]) -> Look:
    def look(value: Any) -> Iterable[Row]:
        row = rows.get(address_of(value)) if type(value) is str else None
        return _NOTHING if row is None else (row,)

    return look


def _look_fold(_kind: str, rows: dict[Any, Row]) -> Look:
    def look(value: Any) -> Iterable[Row]:
        row = rows.get(value.casefold()) if type(value) is str else None
        return _NOTHING if row is None else (row,)

    return look


def _look_there(_kind: str, rows: dict[Any, Row]) -> Look:
    found = tuple(rows.values())
    return lambda value: _NOTHING if isinstance(value, Mapping) else found


def _look_edge(kind: str, rows: dict[Any, Row]) -> Look:
    """Of the sorted texts the last that is not after the value; it, or one of those that it begins with itself, is the longest
    beginning of the value, and all that this one begins with are beginnings too. Most values are told apart before, by so many
    characters as the shortest text has."""
    backwards, folded = kind.startswith("suffix"), kind.endswith("fold")
    filed = {text[::-1] if backwards else text: row for text, row in rows.items()}
    texts = sorted(filed)
    found = [filed[text] for text in texts]
    shorter = _chain(texts)
    shortest = min(map(len, texts))
    edge = slice(-shortest, None) if backwards and shortest else slice(shortest)
    edges = frozenset(text[edge] for text in rows)

    def look(value: Any) -> Iterable[Row]:
        if type(value) is not str:
            return _NOTHING
        if folded:
            value = value.casefold()
        if value[edge] not in edges:
            return _NOTHING
        if backwards:
            value = value[::-1]
        position = bisect_right(texts, value) - 1
        while position >= 0 and not value.startswith(texts[position]):
            position = shorter[position]
        if position < 0:
            return _NOTHING
        reached = [found[position]]
        while (position := shorter[position]) >= 0:
            reached.append(found[position])
        return reached

    return look


def _chain(texts: list[str]) -> list[int]:
    """For each of these sorted texts, which is the longest other one that it begins with; -1 for none."""
    shorter: list[int] = []
    for position, text in enumerate(texts):
        before = position - 1
        while before >= 0 and not text.startswith(texts[before]):
            before = shorter[before]
        shorter.append(before)
    return shorter


def _look_gram(kind: str, rows: dict[Any, Row]) -> Look:
    length = int(kind[-1])
    few = tuple(rows.items()) if len(rows) <= FEW_GRAMS else ()

    def look(value: Any) -> Iterable[Row]:
        if type(value) is not str:
            return _NOTHING
        if few:
            return [row for gram, row in few if gram in value]
        found = []
        for end in range(length, len(value) + 1):
            gram = value[end - length : end]
            if gram in rows:
                found.append(rows[gram])
        return found

    return look


def _look_numeric(_kind: str, rows: dict[Any, Row]) -> Look:
    intervals = Intervals(rows)

    def look(value: Any) -> Iterable[Row]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _NOTHING
        return intervals.around(value)

    return look


def _look_cidr(_kind: str, rows: dict[Any, Row]) -> Look:
    intervals = Intervals(rows)

    def look(value: Any) -> Iterable[Row]:
        address = address_of(value) if type(value) is str else None
        return _NOTHING if address is None else intervals.around(address)

    return look


class Intervals:
    """Closed intervals, asked which of them hold a value: in the logarithm of their number and the number of those found."""

    __slots__ = ("_above", "_below", "_by_high", "_by_low", "_centre", "_highs", "_lows")

    def __init__(self, rows: Mapping[tuple[Any, Any], Row]) -> None:
        ends = sorted(low if low != float("-inf") else high for low, high in rows)
        self._centre = ends[len(ends) // 2]
        here = {ends: row for ends, row in rows.items() if ends[0] <= self._centre <= ends[1]}
        by_low = sorted(here, key=lambda ends: ends[0])
        by_high = sorted(here, key=lambda ends: ends[1])
        self._lows, self._by_low = [low for low, _ in by_low], [here[ends] for ends in by_low]
        self._highs, self._by_high = [high for _, high in by_high], [here[ends] for ends in by_high]
        below = {ends: row for ends, row in rows.items() if ends[1] < self._centre}
        above = {ends: row for ends, row in rows.items() if ends[0] > self._centre}
        self._below = Intervals(below) if below else None
        self._above = Intervals(above) if above else None

    def around(self, value: Any) -> list[Row]:
        """What lies at the intervals that hold this value."""
        found: list[Row] = []
        node: Intervals | None = self
        while node is not None:
            if value < node._centre:
                found += node._by_low[: bisect_right(node._lows, value)]
                node = node._below
            else:
                found += node._by_high[bisect_left(node._highs, value) :]
                node = node._above
        return found


_LOOKS: Mapping[str, Callable[[str, dict[Any, Row]], Look]] = {
    "address": _look_address,
    "fold": _look_fold,
    "prefix": _look_edge,
    "suffix": _look_edge,
    "prefix-fold": _look_edge,
    "suffix-fold": _look_edge,
    "gram5": _look_gram,
    "gram3": _look_gram,
    "gram2": _look_gram,
    "gram1": _look_gram,
    "numeric": _look_numeric,
    "cidr": _look_cidr,
    "there": _look_there,
}
