"""Which playbooks an event is for, without asking each of them.

The reactor holds one `Index` for the playbooks in force and asks `match` for every event. First a dictionary by type gives a
group; within it every pattern is filed under what can be hashed of it (tuple-space search: Srinivasan, Suri, Varghese,
"Packet classification using tuple space search", 1999): an exact value, the first or last characters of a text. Patterns
with the same set of such keys share one dictionary, so that the cost is the number of different sets, a dozen, not of
patterns. What cannot be hashed is asked of the few that are left. `when` is not asked here: it needs scores.

Types of AIOS's own are matched by their exact name alone; wildcards do not reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import Any, cast

from aios.events.catalogue import is_own
from aios.events.event import Event
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import MISSING, EventPattern, Key, Leaf, Path, hashable, values_at

KEYS_MAX = 3
"""Fields in one set of keys: more of them only make the sets more various."""

ROWS_MAX = 256
"""Rows that one pattern may take in the dictionaries: the product of its fields' values."""

VALUES_MAX = 64
"""Combinations of list elements of one event that are looked up; beyond, the whole table is asked one by one."""

TYPES_MAX = 4096
"""Event types whose group is remembered: they come from outside, and could be without end."""

Form = tuple[Path, str, int]
"""What is hashed: a field, how it is taken (`is`, `prefix`, `suffix`, `lower`), and how much of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A playbook in a group; a lower rank goes first. Equal only to itself."""

    rank: int
    playbook: Playbook
    matches: Callable[[Event], bool]


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
        self._exact: dict[str, list[Playbook]] = {}
        self._wild: dict[str, list[Playbook]] = {}
        for playbook in self.playbooks:
            if playbook.enabled:
                for name in playbook.types:
                    (self._wild if name.endswith(".*") else self._exact).setdefault(name, []).append(playbook)
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._by_type: dict[str, _Group] = {}

    def match(self, event: Event) -> list[Playbook]:
        """The playbooks whose type and pattern fit, best first."""
        group = self._by_type.get(event.type) or self._group(event.type)
        return group.match(event)

    def candidates(self, event_type: str) -> bool:
        """Whether any playbook could be for events of this type."""
        return bool((self._by_type.get(event_type) or self._group(event_type)).entries)

    def explain(self, event: Event, everything: bool = False) -> list[dict[str, Any]]:
        """Every playbook that was considered, and what it said: `{playbook, matched, why}`, best first.

        Considered are those whose type fits; with `everything` also the others, each with its reason.
        """
        as_json = event_view(event)
        by_type = [p for p in self.playbooks if any(type_fits(name, event.type) for name in p.types)]
        said = [_verdict(p, as_json) for p in sorted(by_type, key=lambda p: order(p, event.type))]
        if everything:
            others = sorted((p for p in self.playbooks if p not in by_type), key=lambda p: p.name)
            said += [{"playbook": p.name, "matched": False, "why": _other_type(p, event.type)} for p in others]
        return said

    def _group(self, event_type: str) -> _Group:
        """The group of a type. Types that the same entries reach share one, so that there are never more than playbooks."""
        reached = [name for name in self._wild if type_fits(name, event_type)]
        names = (*([event_type] if event_type in self._exact else []), *reached)
        group = self._groups.get(names)
        if group is None:
            found = {p.name: p for name in names for p in (self._exact.get(name) or self._wild.get(name) or ())}
            group = self._groups[names] = _Group(sorted(found.values(), key=lambda p: order(p, event_type)))
        if len(self._by_type) >= TYPES_MAX:
            self._by_type.clear()
        self._by_type[event_type] = group
        return group


def event_view(event: Event) -> dict[str, Any]:
    """The event as its pattern's `describe` reads it."""
    names = ("id", "source", "type", "subject", "time", "severity", "data")
    return {name: getattr(event, name) for name in names}


def _verdict(playbook: Playbook, event: Mapping[str, Any]) -> dict[str, Any]:
    matched = playbook.pattern is None or playbook.pattern.matches(event)
    why = playbook.pattern.describe(event) if playbook.pattern else "the type fits, and it asks for nothing more"
    if not playbook.enabled:
        return {"playbook": playbook.name, "matched": False, "why": "it is switched off"}
    return {"playbook": playbook.name, "matched": matched, "why": why}


def _other_type(playbook: Playbook, event_type: str) -> str:
    wild = is_own(event_type) and any(n.endswith(".*") and event_type.startswith(n[:-1]) for n in playbook.types)
    if wild:
        return f"{event_type} is a type of AIOS's own, which only its exact name reaches"
    return f"type is {event_type}; wanted {' or '.join(playbook.types[:5])}"


# --- within one type ------------------------------------------------------------------------------------------------


class _Group:
    """The playbooks of one type: tables by set of keys, and those with nothing to hash."""

    def __init__(self, playbooks: list[Playbook]) -> None:
        self.entries = [Entry(rank, p, _check_of(p)) for rank, p in enumerate(playbooks)]
        tables: dict[tuple[Form, ...], _Table] = {}
        self._rest: list[Entry] = []
        for entry in self.entries:
            rows = _rows(cast("EventPattern | None", entry.playbook.pattern))
            if not rows:
                self._rest.append(entry)
            for forms, values in rows:
                tables.setdefault(forms, _Table(forms)).add(values, entry)
        self._finds = [table.find for table in tables.values()]

    def match(self, event: Event) -> list[Playbook]:
        hits = [entry for entry in self._rest if entry.matches(event)]
        for find in self._finds:
            for entry in find(event):
                if entry.matches(event):
                    hits.append(entry)  # noqa: PERF401 - a comprehension would cost a frame for each empty table
        if len(hits) > 1:  # a row may be found twice, through two elements of a list
            hits = sorted(set(hits), key=attrgetter("rank"))
        return [entry.playbook for entry in hits]


def _check_of(playbook: Playbook) -> Callable[[Event], bool]:
    return _always if playbook.pattern is None else cast("EventPattern", playbook.pattern).matches_event


def _always(_event: Event) -> bool:
    return True


def _rows(pattern: EventPattern | None) -> list[tuple[tuple[Form, ...], tuple[Any, ...]]]:
    """Every alternative of a pattern as (what is hashed, the values); empty when nothing in it can be hashed."""
    keyed = [(leaf.path, keys) for leaf in (pattern.root.leaves() if pattern else ()) if (keys := _keys_of(leaf))]
    keyed.sort(key=lambda pair: len(pair[1]))  # fields with few values narrow most
    while keyed and (len(keyed) > KEYS_MAX or _size(keyed) > ROWS_MAX):
        keyed.pop()
    keyed.sort(key=lambda pair: pair[0])
    if not keyed:
        return []
    rows = []
    for choice in product(*(keys for _, keys in keyed)):
        forms = tuple((path, key.form, key.length) for (path, _), key in zip(keyed, choice, strict=True))
        rows.append((forms, tuple(key.value for key in choice)))
    return rows


def _size(keyed: list[tuple[Path, tuple[Key, ...]]]) -> int:
    size = 1
    for _, keys in keyed:
        size *= len(keys)
    return size


def _keys_of(leaf: Leaf) -> tuple[Key, ...]:
    """One key for each value of the field, none if a single one of them cannot be hashed."""
    keys = tuple(dict.fromkeys(test.key for test in leaf.tests if test.key))
    return keys if all(test.key for test in leaf.tests) else ()


class _Table:
    """One dictionary: patterns whose hashed fields are the same. `find` gives the entries whose values fit."""

    def __init__(self, forms: tuple[Form, ...]) -> None:
        self._reads = [(_reader(path), form, length) for path, form, length in forms]
        self._paths = [path for path, _, _ in forms]
        self._rows: dict[Any, list[Entry]] = {}
        simple = len(forms) == 1 and forms[0][1] == "is"
        self.find: Callable[[Event], Iterable[Entry]] = self._find_one if simple else self._find_all
        self._read = self._reads[0][0]

    def add(self, values: tuple[Any, ...], entry: Entry) -> None:
        row = self._rows.setdefault(values[0] if len(values) == 1 else values, [])
        if entry not in row:
            row.append(entry)

    def _find_one(self, event: Event) -> Iterable[Entry]:
        """The usual case, one exact field that holds a text, without a detour."""
        value = self._read(event)
        return self._rows.get(value, ()) if type(value) is str else self._find_all(event)

    def _find_all(self, event: Event) -> Iterable[Entry]:
        wanted: list[Any] = []
        for read, form, length in self._reads:
            value = read(event)
            if type(value) is not str:
                if isinstance(value, list):
                    return self._find_many(event)
                if value is MISSING or isinstance(value, Mapping):
                    return ()
                wanted.append(hashable(value) if form == "is" else MISSING)
            else:
                wanted.append(value if form == "is" else _take(value, form, length))
        return self._rows.get(wanted[0] if len(wanted) == 1 else tuple(wanted), ())

    def _find_many(self, event: Event) -> Iterable[Entry]:
        """Some field is a list or lies below one: every combination of the values that are there."""
        columns: list[list[Any]] = []
        size = 1
        for path, (_, form, length) in zip(self._paths, self._reads, strict=True):
            found = [value for value in values_at(_root_of(event, path), path[1:]) if not isinstance(value, Mapping)]
            columns.append([hashable(v) if form == "is" else _take(v, form, length) for v in found if v is not MISSING])
            size *= len(columns[-1])
        if size > VALUES_MAX:
            return {entry: None for row in self._rows.values() for entry in row}
        combinations = (c[0] for c in product(*columns)) if len(columns) == 1 else product(*columns)
        return [entry for combination in combinations for entry in self._rows.get(combination, ())]


def _take(value: Any, form: str, length: int) -> Any:
    if type(value) is not str:
        return MISSING
    if form == "prefix":
        return value[:length]
    return value[-length:] if form == "suffix" else value.lower()


def _root_of(event: Event, path: Path) -> Any:
    return getattr(event, path[0], MISSING)


def _reader(path: Path) -> Callable[[Event], Any]:
    """Reads a field of an event; a list on the way there comes back as the list."""
    first: Callable[[Event], Any] = attrgetter(path[0])
    if len(path) == 1:
        return first
    if len(path) == 2:
        name = path[1]
        return lambda event: first(event).get(name, MISSING)

    def deep(event: Event) -> Any:
        value = first(event)
        for name in path[1:]:
            if not isinstance(value, Mapping):
                return value if isinstance(value, list) else MISSING
            value = value.get(name, MISSING)
        return value

    return deep
