"""Event patterns: which events a playbook is for, in the field's own language (Amazon EventBridge's event patterns).

`load` compiles them, `index.py` hashes what can be hashed (`keys`) and asks `matches_event` for the rest. Known here: exact
values, `prefix`, `suffix`, `equals-ignore-case`, `anything-but`, `numeric`, `exists`. What another operator means is not
guessed: it is refused.

A pattern is a mapping; each listed field must match, by one of the values in its list. A field of the event that is a list
matches when one of its elements does; a mapping below a list of mappings matches when one element fulfils all of it. 2 and
2.0 are the same number; true is no number. An empty list holds no value, so there `exists: false` matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aios.events.codec import encode_json
from aios.events.event import Event
from aios.nearest import did_you_mean

OPERATORS = ("prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists")
LATER = ("wildcard", "cidr", "$or")
VALUES_MAX = 1000
COMPARISONS = ("<", "<=", "=", ">=", ">")

Path = tuple[str, ...]
Check = Callable[[Any], bool]


class _Missing:
    """What a field is that the event does not have (null is a value)."""

    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


class BadPattern(ValueError):
    """`where` leads from the pattern's root to what is wrong: names of keys, and positions in lists."""

    def __init__(self, where: tuple[str | int, ...], message: str, hint: str = "") -> None:
        super().__init__(message)
        self.where, self.message, self.hint = where, message, hint


class Key(NamedTuple):
    """What an index may hash: this field, taken whole or in part, equals one of these values.

    form: `is` (the value itself), `prefix` or `suffix` (its first or last `length` characters), `lower` (in lower case).
    """

    form: str
    length: int
    value: Any


@dataclass(frozen=True, slots=True)
class Test:
    """One value of a field's list. `key` is None when it cannot be hashed; `weight` says how much it narrows."""

    check: Check
    words: str
    weight: int
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field: any of the tests."""

    path: Path
    tests: tuple[Test, ...]
    matches: Check

    @property
    def words(self) -> str:
        return " or ".join(test.words for test in self.tests)


@dataclass(frozen=True, slots=True)
class Branch:
    """A mapping: all of its fields."""

    fields: Mapping[str, Leaf | Branch]
    matches: Check

    def leaves(self) -> Iterator[Leaf]:
        for node in self.fields.values():
            if isinstance(node, Leaf):
                yield node
            else:
                yield from node.leaves()


@dataclass(frozen=True, slots=True)
class EventPattern:
    """A whole pattern, over the attributes of an event."""

    root: Branch

    def matches(self, event: Mapping[str, Any]) -> bool:
        return self.root.matches(event)

    def matches_event(self, event: Event) -> bool:
        return all(node.matches(getattr(event, name, MISSING)) for name, node in self.root.fields.items())

    def describe(self, event: Mapping[str, Any]) -> str:
        """One sentence: that all holds, or which condition said no about which value."""
        if self.matches(event):
            return "every condition holds"
        for leaf in self.root.leaves():
            values = values_at(event, leaf.path)
            if not leaf.matches(values[0] if len(values) == 1 else values):
                return f"{'.'.join(leaf.path)} is {_shown(values)}; wanted {leaf.words}"
        return "each condition holds for some element of a list, but all of them for none"

    @property
    def weight(self) -> int:
        """How specific it is: the sum over its fields of their least narrowing value."""
        return sum(min(test.weight for test in leaf.tests) for leaf in self.root.leaves())


def compile_pattern(raw: Mapping[str, Any]) -> EventPattern:
    """Raises BadPattern."""
    return EventPattern(_branch(raw, ()))


def _branch(raw: Mapping[str, Any], path: Path) -> Branch:
    if not raw:
        raise BadPattern(
            path, "an empty mapping matches nothing that could be said", "name a field and its values, or leave it out"
        )
    fields: dict[str, Leaf | Branch] = {}
    for name, value in raw.items():
        here = (*path, name)
        if name in LATER:
            raise BadPattern(here, f"{name!r} is not known in this version", "write one playbook for each alternative")
        if isinstance(value, Mapping):
            _refuse_operator_as_field(value, here)
            fields[name] = _branch(value, here)
        elif isinstance(value, list):
            fields[name] = _leaf(value, here)
        else:
            raise BadPattern(here, f"{name} must be a list of values", f"write {name}: [{_scalar_text(value)}]")
    return Branch(fields, _all_of(fields))


def _refuse_operator_as_field(value: Mapping[str, Any], where: Path) -> None:
    """`subject: {prefix: x}` is the commonest slip: the operator belongs into the list."""
    for name in value:
        if name in OPERATORS or name in LATER[:2]:
            hint = f"write {where[-1]}: [{{{name}: …}}]"
            raise BadPattern((*where, name), f"{name!r} is an operator and stands inside the list of values", hint)


def _leaf(raw: list[Any], path: Path) -> Leaf:
    if not raw:
        raise BadPattern(path, "an empty list matches nothing", "list the values that match")
    if len(raw) > VALUES_MAX:
        raise BadPattern(path, f"more than {VALUES_MAX} values", "use a prefix, or split the playbook")
    tests = tuple(_test(value, (*path, position)) for position, value in enumerate(raw))
    return Leaf(path, tests, _any_of(tests))


# --- how values are tested ------------------------------------------------------------------------------------------


def _all_of(fields: Mapping[str, Leaf | Branch]) -> Check:
    checks = tuple((name, node.matches) for name, node in fields.items())

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(matches(item) for item in value) if value else matches(MISSING)
        if not isinstance(value, Mapping):
            return all(check(MISSING) for _, check in checks)
        return all(check(value.get(name, MISSING)) for name, check in checks)

    return matches


def _any_of(tests: tuple[Test, ...]) -> Check:
    """One check for a whole list of values; plain texts, by far the most of them, as one set."""
    texts = frozenset(test.key.value for test in tests if test.key and test.key.form == "is" and type(test.key.value) is str)
    others = tuple(test.check for test in tests if not (test.key and test.key.form == "is" and type(test.key.value) is str))

    def matches(value: Any) -> bool:
        if type(value) is str and value in texts:
            return True
        if isinstance(value, list):
            return any(matches(item) for item in value) if value else matches(MISSING)
        return any(check(value) for check in others)

    return matches


def hashable(value: Any) -> Any:
    """A scalar as a key that tells true from 1: Python's own equality does not."""
    return ("bool", value) if value is True or value is False else value


def _test(value: Any, where: tuple[str | int, ...]) -> Test:
    if isinstance(value, Mapping):
        return _operator(value, where)
    if isinstance(value, list):
        raise BadPattern(where, "a list inside the list of values", "take away one pair of brackets")
    return _exact(value)


def _exact(value: Any) -> Test:
    wanted = hashable(value)

    def check(seen: Any) -> bool:
        return seen is not MISSING and not isinstance(seen, Mapping | list) and hashable(seen) == wanted

    return Test(check, _scalar_text(value), 100, Key("is", 0, wanted))


def _operator(raw: Mapping[str, Any], where: tuple[str | int, ...]) -> Test:
    if len(raw) != 1:
        raise BadPattern(
            where, "one operator in each { }", f"one of {', '.join(OPERATORS)}; two alternatives are two entries of the list"
        )
    name, argument = next(iter(raw.items()))
    where = (*where, name)
    if name in LATER:
        raise BadPattern(where, f"the operator {name!r} is not known in this version", f"known are {', '.join(OPERATORS)}")
    if name not in _OPERATORS:
        raise BadPattern(where, f"unknown operator {name!r}", did_you_mean(name, OPERATORS))
    return _OPERATORS[name](argument, where)


def _text(argument: Any, where: tuple[str | int, ...]) -> str:
    if not isinstance(argument, str) or not argument:
        raise BadPattern(where, f"{where[-1]} takes a text that is not empty", f"write {{{where[-1]}: some-text}}")
    return argument


def _prefix(argument: Any, where: tuple[str | int, ...]) -> Test:
    text = _text(argument, where)
    check: Check = lambda seen: isinstance(seen, str) and seen.startswith(text)  # noqa: E731 - one of a row of alike
    return Test(check, f'text that begins with "{text}"', 60 + min(len(text), 30), Key("prefix", len(text), text))


def _suffix(argument: Any, where: tuple[str | int, ...]) -> Test:
    text = _text(argument, where)
    check: Check = lambda seen: isinstance(seen, str) and seen.endswith(text)  # noqa: E731 - one of a row of alike
    return Test(check, f'text that ends with "{text}"', 50 + min(len(text), 30), Key("suffix", len(text), text))


def _ignore_case(argument: Any, where: tuple[str | int, ...]) -> Test:
    text = _text(argument, where).lower()
    check: Check = lambda seen: isinstance(seen, str) and seen.lower() == text  # noqa: E731 - one of a row of alike
    return Test(check, f'"{text}" in any case', 95, Key("lower", 0, text))


def _exists(argument: Any, where: tuple[str | int, ...]) -> Test:
    if not isinstance(argument, bool):
        raise BadPattern(where, "exists takes true or false", "write {exists: true}")
    check: Check = (lambda seen: seen is not MISSING) if argument else (lambda seen: seen is MISSING)
    return Test(check, "the field to be there" if argument else "the field to be missing", 10)


def _anything_but(argument: Any, where: tuple[str | int, ...]) -> Test:
    if isinstance(argument, Mapping):
        return _anything_but_form(argument, where)
    values = argument if isinstance(argument, list) else [argument]
    for position, value in enumerate(values):
        if isinstance(value, list | Mapping):
            raise BadPattern((*where, position), "anything-but takes plain values", "write {anything-but: [a, b]}")
    if not values:
        raise BadPattern(where, "anything-but without a value", "write {exists: true} if any value will do")
    refused = frozenset(hashable(value) for value in values)
    words = "anything but " + ", ".join(_scalar_text(value) for value in values[:5])

    def check(seen: Any) -> bool:
        return seen is not MISSING and not isinstance(seen, Mapping | list) and hashable(seen) not in refused

    return Test(check, words, 20)


def _anything_but_form(argument: Mapping[str, Any], where: tuple[str | int, ...]) -> Test:
    """`{anything-but: {prefix: x}}`: text that does not begin so. Several texts in a list: none of them."""
    if len(argument) != 1 or next(iter(argument)) not in ("prefix", "suffix", "equals-ignore-case"):
        raise BadPattern(
            where, "inside anything-but only prefix, suffix or equals-ignore-case", "write {anything-but: {prefix: x}}"
        )
    name, inner = next(iter(argument.items()))
    texts = inner if isinstance(inner, list) else [inner]
    if not texts:
        raise BadPattern((*where, name), "an empty list", "list the texts that do not match")
    tests = [_OPERATORS[name](text, (*where, name)) for text in texts]

    def check(seen: Any) -> bool:
        return isinstance(seen, str) and not any(test.check(seen) for test in tests)

    return Test(check, "no " + " nor ".join(test.words for test in tests), 20)


def _numeric(argument: Any, where: tuple[str | int, ...]) -> Test:
    """`[">", 0, "<=", 5]`: one comparison, or one from below and one from above."""
    low, high = _bounds(argument, where)

    def check(seen: Any) -> bool:
        if isinstance(seen, bool) or not isinstance(seen, int | float):
            return False
        if low is not None and not (seen > low[0] or (low[1] and seen == low[0])):
            return False
        return high is None or seen < high[0] or (high[1] and seen == high[0])

    if low is not None and low == high:
        return Test(check, f"the number {low[0]}", 100, Key("is", 0, low[0]))
    said = [f"{'>=' if low[1] else '>'} {low[0]}"] if low else []
    said += [f"{'<=' if high[1] else '<'} {high[0]}"] if high else []
    return Test(check, "a number " + " and ".join(said), 40 + 10 * (len(said) - 1))


Bound = tuple[int | float, bool]
"""A limit, and whether it belongs to what matches."""


def _bounds(argument: Any, where: tuple[str | int, ...]) -> tuple[Bound | None, Bound | None]:
    cure = 'write {numeric: [">=", 2]} or {numeric: [">", 0, "<=", 5]}'
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise BadPattern(where, "numeric takes a list of one or two comparisons, each a sign and a number", cure)
    low: Bound | None = None
    high: Bound | None = None
    for position in range(0, len(argument), 2):
        sign, number = argument[position : position + 2]
        if sign not in COMPARISONS:
            raise BadPattern(
                (*where, position), f"{_scalar_text(sign)} is no comparison", f"one of {' '.join(COMPARISONS)}, in quotes"
            )
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadPattern((*where, position + 1), f"{_scalar_text(number)} is no number", cure)
        if (low if ">" in sign else high if "<" in sign else low or high) is not None:
            raise BadPattern((*where, position), "two comparisons from the same side", cure)
        low = (number, "=" in sign) if sign != "<" and sign != "<=" else low
        high = (number, "=" in sign) if sign != ">" and sign != ">=" else high
    if low and high and (low[0] > high[0] or (low[0] == high[0] and not (low[1] and high[1]))):
        raise BadPattern(where, "no number can be both", "the lower limit must be below the upper one")
    return low, high


_OPERATORS: Mapping[str, Callable[[Any, tuple[str | int, ...]], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}


# --- reading events -------------------------------------------------------------------------------------------------


def values_at(value: Any, path: Path) -> list[Any]:
    """Every value at this path, through lists; `[MISSING]` when there is none."""
    found = [value]
    for name in path:
        inside = [item.get(name, MISSING) for item in _elements(found) if isinstance(item, Mapping)]
        found = [item for item in inside if item is not MISSING]
    flat = list(_elements(found))
    return flat or [MISSING]


def _elements(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _elements(value)
        else:
            yield value


def _scalar_text(value: Any) -> str:
    try:
        text = encode_json(value).decode()
    except ValueError:  # a text that is no Unicode, in an event that never passed the codec
        text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _shown(values: list[Any]) -> str:
    return ", ".join("missing" if value is MISSING else _scalar_text(value) for value in values[:5])
