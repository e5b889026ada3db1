"""Event patterns: which events a playbook is for, in the field's own language (Amazon EventBridge's event patterns).

`load` compiles them, `lookup.py` looks up what can be looked up and asks `matches_event` for the rest. What stands in a field's
list is read by `operators.py`; here stands how fields go together:

- A pattern is a mapping; each listed field must match, by one of the values in its list. Only values at the ends count: a mapping
  is no value, an empty list holds none. So `exists: false` also matches a field that is a mapping or an empty list.
- A field of the event that is a list matches by one of its elements. Two fields below one list must match in the same element
  (event-ruler calls it array consistency), however deep. `exists: false` then means: not there in the element that the fields
  before it in the alphabet chose, and in no element if there are none: event-ruler asks in that order, and what a pattern means
  must not depend on who matches it.
- `$or` is a list of mappings of which one must match. A field that stands both beside it and in it counts as it stands in it, and
  of two the one further down, as in event-ruler.
- A dot in a name is a step: `{"a.b": …}` and `{a: {b: …}}` are the same, in patterns and in events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aios.events.event import Event
from aios.playbooks.flat import flat_matches
from aios.playbooks.operators import (
    COMPARISONS,
    MISSING,
    OPERATORS,
    BadPattern,
    Check,
    Test,
    Where,
    hashable,
    read_test,
    scalar_text,
)

__all__ = [
    "MISSING",
    "OPERATORS",
    "BadPattern",
    "Condition",
    "EventPattern",
    "Leaf",
    "Path",
    "Test",
    "compile_pattern",
    "hashable",
    "shown_values",
    "values_at",
]

OR = "$or"
VALUES_MAX = 1000
ALTERNATIVES_MAX = 256
"""What the `$or` of one pattern may come to when multiplied out."""

FIELDS_MAX = 1024
"""Fields of one pattern, over all its alternatives."""

STEPS_MAX = 32
"""Steps to one field: no event is deeper."""

ATTRIBUTES = ("id", "source", "type", "subject", "time", "severity", "data")
"""What a pattern can see of an event."""

_RESERVED = frozenset(
    (*OPERATORS, *COMPARISONS, "regex", "html", "not-wildcard", "not-equals-ignore-case", "date-after", "date-on-or-after",
     "date-before", "date-on-or-before", "in-date-range", "ip-address-in-range", "ip-address-not-in-range")
)  # fmt: skip
"""Names that no field may have inside `$or`: event-ruler keeps them for itself."""

Path = tuple[str, ...]


class Leaf(NamedTuple):
    """One field: any of the tests."""

    path: Path
    tests: tuple[Test, ...]

    @property
    def words(self) -> str:
        return " or ".join(test.words for test in self.tests)

    @property
    def absent_is_enough(self) -> bool:
        return any(test.op == "exists" and not test.argument for test in self.tests)

    @property
    def weight(self) -> int:
        return min(test.weight for test in self.tests)


class Condition(NamedTuple):
    """What one field of a pattern says of one event: its values there, as text, and what is wanted of them."""

    field: str
    value: str
    wanted: str
    holds: bool


Alternative = tuple[Leaf, ...]
"""Fields that must all match."""


class EventPattern:
    """A whole pattern, over the attributes of an event: one of its alternatives must match. It does not change.

    `weight` says how specific it is: the sum over the fields of their least narrowing value, for the widest alternative.
    """

    __slots__ = ("_asks", "_asks_event", "alternatives", "weight")

    def __init__(self, alternatives: tuple[Alternative, ...]) -> None:
        self.alternatives = alternatives
        self.weight = min(sum(leaf.weight for leaf in alternative) for alternative in alternatives)
        self._asks: tuple[Check, ...] = ()
        self._asks_event: tuple[Callable[[Event], bool], ...] = ()

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether a JSON object matches, whatever its attributes."""
        asks = self._asks or self._made_ready()
        return any(ask(event) for ask in asks)

    def matches_event(self, event: Event) -> bool:
        asks = self._asks_event or self._made_ready_for_events()
        for ask in asks:  # noqa: SIM110 - a generator would double the cost of the usual single alternative
            if ask(event):
                return True
        return False

    def _made_ready(self) -> tuple[Check, ...]:
        """Made at the first question: of many thousand patterns most are never asked."""
        self._asks = tuple(_ask(alternative) for alternative in self.alternatives)
        return self._asks

    def _made_ready_for_events(self) -> tuple[Callable[[Event], bool], ...]:
        self._asks_event = tuple(_ask_event(alternative) for alternative in self.alternatives)
        return self._asks_event

    def conditions(self, event: Mapping[str, Any]) -> list[Condition]:
        """Each condition of the alternative that is nearest to matching, with what it says of this event."""
        told = [[_condition(leaf, event) for leaf in alternative] for alternative in self.alternatives]
        return min(told, key=lambda conditions: sum(not one.holds for one in conditions))

    def describe(self, event: Mapping[str, Any]) -> str:
        """One sentence: that all holds, or which condition said no about which value."""
        if self.matches(event):
            return "every condition holds"
        said = list(dict.fromkeys(_why_not(alternative, event) for alternative in self.alternatives))
        if len(said) == 1:
            return said[0]
        more = f"; and {len(said) - 3} more" if len(said) > 3 else ""
        return f"none of the {len(self.alternatives)} alternatives holds: {'; '.join(said[:3])}{more}"


# --- from what is written to alternatives ---------------------------------------------------------------------------

_Fields = dict[Path, Leaf]


def compile_pattern(raw: Mapping[str, Any]) -> EventPattern:
    """Raises BadPattern."""
    if not isinstance(raw, Mapping):
        raise BadPattern((), "a pattern is a mapping of fields to lists of values", "write {subject: [nginx.service]}")
    return EventPattern(tuple(tuple(fields.values()) for fields in _fields_of(raw, (), (), [{}], inside_or=False)))


def _fields_of(
    raw: Mapping[str, Any], where: Where, path: Path, alternatives: list[_Fields], *, inside_or: bool
) -> list[_Fields]:
    """The alternatives so far, each with the fields of this mapping added."""
    if not raw:
        raise BadPattern(
            where, "an empty mapping matches nothing that could be said", "name a field and its values, or leave it out"
        )
    for name, value in raw.items():
        here, below = (*where, name), (*path, *name.split("."))
        if name == OR:
            alternatives = _either(value, here, path, alternatives)
        elif inside_or and name in _RESERVED:
            raise BadPattern(
                here, f"{name!r} is an operator and stands inside the list of a field", f"write field: [{{{name}: …}}]"
            )
        elif isinstance(value, list) and not _is_slip(name, value):
            _check_size(alternatives, below, here)
            leaf = _leaf(value, here, below)
            for fields in alternatives:
                fields[below] = leaf
        elif isinstance(value, Mapping) and name not in OPERATORS:
            alternatives = _fields_of(value, here, below, alternatives, inside_or=inside_or)
        else:
            raise _misplaced(name, value, where)
    return alternatives


def _check_size(alternatives: list[_Fields], path: Path, where: Where) -> None:
    if len(path) > STEPS_MAX:
        raise BadPattern(where, f"more than {STEPS_MAX} steps to one field", "no event is so deep; a dot in a name is a step too")
    if len(alternatives[0]) * len(alternatives) >= FIELDS_MAX:
        raise BadPattern(where, f"more than {FIELDS_MAX} fields in one pattern", "split it into several playbooks")


def _either(value: Any, where: Where, path: Path, before: list[_Fields]) -> list[_Fields]:
    """Every alternative so far, once with each mapping of `$or`."""
    cure = f"write {OR}: [{{subject: [a]}}, {{severity: [error]}}]"
    if not isinstance(value, list) or len(value) < 2:
        raise BadPattern(where, f"{OR} takes a list of at least two mappings", cure)
    after: list[_Fields] = []
    for position, branch in enumerate(value):
        here = (*where, position)
        if not isinstance(branch, Mapping):
            raise BadPattern(here, f"{OR} takes mappings only", cure)
        after += _fields_of(branch, here, path, [dict(fields) for fields in before], inside_or=True)
        if len(after) > ALTERNATIVES_MAX or sum(map(len, after)) > FIELDS_MAX:
            raise BadPattern(
                where,
                f"{OR} multiplies out to too much",
                f"at most {ALTERNATIVES_MAX} alternatives and {FIELDS_MAX} fields in all; split the playbook",
            )
    return after


def _is_slip(name: str, value: list[Any]) -> bool:
    """Whether an operator stands where a field should, so that its argument would be taken for the field's values."""
    return name in ("anything-but", "equals-ignore-case") or (name == "numeric" and bool(value) and value[0] in COMPARISONS)


def _misplaced(name: str, value: Any, where: Where) -> BadPattern:
    """`subject: {prefix: x}` is the commonest slip: the operator belongs into the list."""
    if name in OPERATORS:
        hint = f"write {where[-1] if where else 'subject'}: [{{{name}: …}}]"
        return BadPattern((*where, name), f"{name!r} is an operator and stands inside the list of values", hint)
    instead = f"[{scalar_text(value)}]"
    return BadPattern((*where, name), f"{name} must be a list of values", f"write {name}: {instead}", instead)


def _leaf(raw: list[Any], where: Where, path: Path) -> Leaf:
    if not raw:
        raise BadPattern(where, "an empty list matches nothing", "list the values that match")
    if len(raw) > VALUES_MAX:
        raise BadPattern(where, f"more than {VALUES_MAX} values", "use a prefix, or split the playbook")
    return Leaf(path, tuple(read_test(value, (*where, position)) for position, value in enumerate(raw)))


# --- from alternatives to functions ---------------------------------------------------------------------------------

NO, ABSENT, FOUND = 0, 1, 2
"""What a node of a pattern says of a value, as bits: no; yes, by what is not there; yes, by a value that is there.

The two kinds of yes differ below lists: a value that is there binds the pattern to its element, what is not there must be missing
in all elements to which nothing binds it.
"""

_Verdict = Callable[[Any], int]
_Tree = dict[str, Any]


class _SlowWay(Exception):
    """No error: here the event has what a tree cannot be asked (a name with a dot, a list whose elements the order chooses)."""


def _ask(alternative: Alternative) -> Check:
    tree = _tree(alternative)
    if tree is None:
        return lambda event: flat_matches(_flat_fields(alternative), event)
    verdict = _node(tree)

    def ask(event: Mapping[str, Any]) -> bool:
        try:
            return verdict(event) > NO
        except _SlowWay:
            return flat_matches(_flat_fields(alternative), event)

    return ask


def _ask_event(alternative: Alternative) -> Callable[[Event], bool]:
    """The same for an event: its attributes are read by position, and names with dots are not looked for among them."""
    tree = _tree(alternative)
    if tree is None:
        return lambda event: flat_matches(_flat_fields(alternative), event_view(event))
    if not all(_child(below)(MISSING) for name, below in tree.items() if name not in ATTRIBUTES):
        return lambda _event: False
    verdicts = tuple((Event._fields.index(name), _child(below)) for name, below in tree.items() if name in ATTRIBUTES)

    def ask(event: Event) -> bool:
        try:
            for position, verdict in verdicts:
                if not verdict(event[position]):
                    return False
        except _SlowWay:
            return flat_matches(_flat_fields(alternative), event_view(event))
        return True

    return ask


def event_view(event: Event) -> dict[str, Any]:
    """The event as a JSON object, with what a pattern can see of it."""
    return {name: getattr(event, name) for name in ATTRIBUTES}


def _flat_fields(alternative: Alternative) -> list[tuple[str, Check, bool]]:
    return [(".".join(leaf.path), found_by(leaf), leaf.absent_is_enough) for leaf in alternative]


def _tree(alternative: Alternative) -> _Tree | None:
    """Nested by the steps of the paths; None when a field has both values and fields of its own, which no tree can say."""
    tree: _Tree = {}
    for leaf in alternative:
        node = tree
        for name in leaf.path[:-1]:
            node = node.setdefault(name, {})
            if isinstance(node, Leaf):
                return None
        if leaf.path[-1] in node:
            return None
        node[leaf.path[-1]] = leaf
    return tree


def _child(below: Leaf | _Tree) -> _Verdict:
    return _leaf_verdict(below) if isinstance(below, Leaf) else _node(below)


def found_by(leaf: Leaf) -> Check:
    """Whether one value that is neither list nor mapping matches by being there."""
    texts = frozenset(test.argument for test in leaf.tests if test.op == "is" and isinstance(test.argument, str)) or ()
    present = [test for test in leaf.tests if not (test.op == "exists" and not test.argument)]
    of_texts, of_others = [], []
    for test in present:
        for_texts = test.op not in ("is", "numeric")
        for_others = test.op in ("numeric", "but", "exists") or (test.op == "is" and not isinstance(test.argument, str))
        if for_texts or for_others:
            check = test.check()
            of_texts += [check] if for_texts else []
            of_others += [check] if for_others else []
    return _found(texts, tuple(of_texts), tuple(of_others))


def _found(texts: Collection[str], of_texts: tuple[Check, ...], of_others: tuple[Check, ...]) -> Check:
    def found(value: Any) -> bool:
        if type(value) is str:
            if value in texts:
                return True
            checks = of_texts
        else:
            checks = of_others
        for check in checks:  # noqa: SIM110 - a generator would cost more than the checks
            if check(value):
                return True
        return False

    return found


def _leaf_verdict(leaf: Leaf) -> _Verdict:
    tests = leaf.tests
    if len(tests) == 1 and tests[0].op == "is" and isinstance(tests[0].argument, str):
        return _verdict_of_text(tests[0].argument)
    found = found_by(leaf)
    absent = ABSENT if leaf.absent_is_enough else NO

    def verdict(value: Any) -> int:
        if type(value) is str:
            return FOUND if found(value) else NO
        if isinstance(value, list | tuple):
            values = list(_elements(value))
            if not values:
                return absent
            return FOUND if any(found(one) for one in values) else NO
        if value is MISSING or isinstance(value, Mapping):
            return absent
        return FOUND if found(value) else NO

    return verdict


def _verdict_of_text(text: str) -> _Verdict:
    """The usual leaf, which is one text: it takes a tenth of the memory."""

    def verdict(value: Any) -> int:
        if isinstance(value, list | tuple):
            return FOUND if text in _elements(value) else NO
        return FOUND if value == text else NO

    return verdict


def _elements(values: Sequence[Any]) -> Iterator[Any]:
    """What is in a list and in lists in it, but for mappings."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _elements(value)
        elif not isinstance(value, Mapping):
            yield value


def _node(tree: _Tree) -> _Verdict:
    order_matters = _order_matters(tree)
    children = tuple((name, _child(below)) for name, below in tree.items())
    dotted = tuple(_dotted_names(tree))
    absent = ABSENT
    for _, child in children:
        absent &= child(MISSING)

    def of_mapping(value: Mapping[str, Any]) -> int:
        for name in dotted:
            if name in value:
                raise _SlowWay
        found, missing = NO, ABSENT
        for name, child in children:
            said = child(value.get(name, MISSING))
            if not said:
                return NO
            found |= said
            missing &= said
        return found & FOUND | missing

    def of_list(values: Sequence[Any]) -> int:
        if order_matters:
            raise _SlowWay
        found, missing = NO, ABSENT
        for value in values:
            said = verdict(value)
            found |= said
            missing &= said
        return found & FOUND | (missing & absent)

    def verdict(value: Any) -> int:
        if isinstance(value, Mapping):
            return of_mapping(value)
        return of_list(value) if isinstance(value, list | tuple) else absent

    return verdict


def _order_matters(tree: _Tree) -> bool:
    """Whether a field that may be missing comes before one that chooses an element."""
    leaves = sorted(_leaves(tree), key=lambda leaf: ".".join(leaf.path))
    first = next((position for position, leaf in enumerate(leaves) if leaf.absent_is_enough), len(leaves))
    return any(test.op != "exists" or test.argument for leaf in leaves[first + 1 :] for test in leaf.tests)


def _leaves(tree: _Tree) -> Iterator[Leaf]:
    for below in tree.values():
        if isinstance(below, Leaf):
            yield below
        else:
            yield from _leaves(below)


def _dotted_names(tree: _Tree) -> Iterator[str]:
    """Every name by which an event could take several of the steps below here at once."""
    for name, below in tree.items():
        if not isinstance(below, Leaf):
            for further in [*below, *_dotted_names(below)]:
                yield f"{name}.{further}"


# --- why not --------------------------------------------------------------------------------------------------------


def _condition(leaf: Leaf, event: Mapping[str, Any]) -> Condition:
    values = values_at(event, leaf.path)
    holds = _leaf_verdict(leaf)([value for value in values if value is not MISSING])
    return Condition(".".join(leaf.path), shown_values(values), leaf.words, holds > NO)


def _why_not(alternative: Alternative, event: Mapping[str, Any]) -> str:
    for one in (_condition(leaf, event) for leaf in alternative):
        if not one.holds:
            return f"{one.field} is {one.value}; wanted {one.wanted}"
    below = [leaf for leaf in alternative if _through_a_list(event, leaf.path)][:4]
    seen = "; ".join(f"{one.field} is {one.value}, wanted {one.wanted}" for one in (_condition(leaf, event) for leaf in below))
    return f"each condition holds for some element of a list, but all of them for none: {seen}"


def _through_a_list(value: Any, path: Path) -> bool:
    for name in path:
        if isinstance(value, list | tuple):
            return True
        value = value.get(name, MISSING) if isinstance(value, Mapping) else MISSING
    return False


def shown_values(values: list[Any]) -> str:
    """As a person reads them: `missing` where there is none, the first five of many."""
    shown = ["missing" if value is MISSING else scalar_text(value) for value in values[:5]]
    return ", ".join([*shown, "…"] if len(values) > 5 else shown)


def values_at(value: Any, path: Path) -> list[Any]:
    """Every value at this path, through lists and names with dots; `[MISSING]` when there is none."""
    return list(_at(value, path)) or [MISSING]


def _at(value: Any, path: Path) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        for steps in range(1, len(path) + 1):
            name = path[0] if steps == 1 else ".".join(path[:steps])
            if name in value:
                yield from _at(value[name], path[steps:])
