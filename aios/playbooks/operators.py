"""What may stand in a field's list: a plain value, or one operator in { }. Each becomes a `Test`, or a refusal with its place.

`pattern.py` compiles every entry of a list here; `index.py` reads `op` and `argument` to know what it can look up without asking.
The words are those of Amazon's event-ruler (the matcher behind EventBridge), and so are the refusals:

- Numbers are numbers (2 is 2.0), and true is not 1. A text never equals a number.
- `anything-but` is the plain opposite: any value that is there and that the rest of it does not match, null and numbers included.
- A text that spells an IP address equals every spelling of the same address; `exactly` is that very text.
- Case is ignored as Unicode does it (case folding), so ß is SS.

quamina's `regexp` and `shellstyle` are not taken: EventBridge has neither, `wildcard` says what `shellstyle` says, and a regular
expression is what CEL's `matches` in `when` is for, where it is asked of the few events that a pattern has already picked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aios.events.codec import encode_json
from aios.nearest import did_you_mean
from aios.playbooks.addresses import address_of, network_of

OPERATORS = ("prefix", "suffix", "wildcard", "equals-ignore-case", "anything-but", "numeric", "exists", "cidr", "exactly")
COMPARISONS = ("<", "<=", "=", ">=", ">")

Where = tuple[str | int, ...]
Check = Callable[[Any], bool]
"""Asks one value that is neither a list nor a mapping, and that is there."""


class _Missing:
    """What a field is that the event does not have (null is a value)."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()


class BadPattern(ValueError):
    """`where` leads from the pattern's root to what is wrong: names of keys, and positions in lists.

    `instead` is what must stand there, where only one thing can be meant.
    """

    def __init__(self, where: Where, message: str, hint: str = "", instead: str = "") -> None:
        super().__init__(message)
        self.where, self.message, self.hint, self.instead = where, message, hint, instead


@dataclass(frozen=True, slots=True)
class Test:
    """One entry of a field's list. `weight` says how much it narrows: a plain value 100, mere presence 10.

    op and argument: `is` a scalar · `address` (text, address) · `prefix` `suffix` text · `fold` `prefix-fold` `suffix-fold` text
    with its case folded · `wildcard` the pieces between the stars · `numeric` (low, high), each a `Bound` or None · `cidr` (text,
    first, last) · `exists` a bool · `but` the tests that must say no.
    """

    op: str
    argument: Any
    weight: int

    @property
    def words(self) -> str:
        """What it wants, as a person would say it."""
        return _WORDS[self.op](self.argument)

    def check(self) -> Check:
        """A function that asks one value; made when it is needed, since most patterns are found by hash alone."""
        return _CHECKS[self.op](self.argument)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit, and whether it belongs to what matches."""

    number: int | float
    closed: bool


def hashable(value: Any) -> Any:
    """A scalar as a key that tells true from 1: Python's own equality does not."""
    return ("bool", value) if value is True or value is False else value


def scalar_text(value: Any) -> str:
    """A value as it stands in JSON, cut to a length that fits a sentence."""
    try:
        text = encode_json(value).decode()
    except ValueError:  # a text that is no Unicode, in an event that never passed the codec
        text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


# --- from what is written to a test ---------------------------------------------------------------------------------


def read_test(value: Any, where: Where) -> Test:
    """One entry of a field's list. Raises BadPattern."""
    if isinstance(value, Mapping):
        return _operator(value, where)
    if isinstance(value, list):
        raise BadPattern(where, "a list inside the list of values", "take away one pair of brackets")
    return _exact(value, where)


def _exact(value: Any, where: Where) -> Test:
    if isinstance(value, str):
        address = address_of(value)
        return Test("is", value, 100) if address is None else Test("address", (value, address), 100)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadPattern(where, "no event holds such a number", "write a number that JSON knows")
    return Test("is", value, 100)


def _operator(raw: Mapping[str, Any], where: Where) -> Test:
    if len(raw) != 1:
        raise BadPattern(
            where, "one operator in each { }", f"one of {', '.join(OPERATORS)}; two alternatives are two entries of the list"
        )
    name, argument = next(iter(raw.items()))
    if name not in _READERS:
        raise BadPattern((*where, name), f"unknown operator {name!r}", _INSTEAD.get(name) or did_you_mean(name, OPERATORS))
    return _READERS[name](argument, (*where, name))


_INSTEAD = {
    "shellstyle": "write {wildcard: …}; a star there means the same",
    "regexp": "write {wildcard: …}, or ask in `when`: event.subject.matches('…')",
    "regex": "write {wildcard: …}, or ask in `when`: event.subject.matches('…')",
}


def _text(argument: Any, where: Where) -> str:
    if not isinstance(argument, str):
        raise BadPattern(where, f"{where[-1]} takes a text", f"write {{{where[-1]}: some-text}}")
    return argument


def _exactly(argument: Any, where: Where) -> Test:
    return Test("is", _text(argument, where), 100)


def _edge(argument: Any, where: Where) -> Test:
    """`prefix` and `suffix`: a text, or `{equals-ignore-case: text}`."""
    name = str(where[-1])
    weight = 60 if name == "prefix" else 50
    if isinstance(argument, Mapping):
        if len(argument) != 1 or "equals-ignore-case" not in argument:
            raise BadPattern(
                where, f"inside {name} only equals-ignore-case", f"write {{{name}: {{equals-ignore-case: some-text}}}}"
            )
        text = _text(argument["equals-ignore-case"], (*where, "equals-ignore-case"))
        return Test(f"{name}-fold", text.casefold(), weight - 5 + min(len(text), 30) if text else 10)
    text = _text(argument, where)
    return Test(name, text, weight + min(len(text), 30) if text else 10)


def _ignore_case(argument: Any, where: Where) -> Test:
    return Test("fold", _text(argument, where).casefold(), 95)


def _wildcard(argument: Any, where: Where) -> Test:
    pieces = _pieces(_text(argument, where), where)
    if len(pieces) == 1:
        return Test("is", pieces[0], 100)
    return Test("wildcard", pieces, 10 + min(sum(map(len, pieces)), 40))


_TOKEN = re.compile(r"[^*\\]+|\*+|\\.?", re.DOTALL)


def _pieces(text: str, where: Where) -> tuple[str, ...]:
    r"""The literal texts between the stars; `\*` is a star and `\\` a backslash."""
    pieces = [""]
    for token in _TOKEN.findall(text):
        if token[0] == "*":
            if len(token) > 1:
                raise BadPattern(where, "two stars in a row", "one star already means any text")
            pieces.append("")
        elif token[0] == "\\":
            if token not in ("\\*", "\\\\"):
                raise BadPattern(where, "a backslash that escapes nothing", r"write \\ for a backslash and \* for a star")
            pieces[-1] += token[1]
        else:
            pieces[-1] += token
    return tuple(pieces)


def _exists(argument: Any, where: Where) -> Test:
    if not isinstance(argument, bool):
        raise BadPattern(where, "exists takes true or false", "write {exists: true}")
    return Test("exists", argument, 10)


def _cidr(argument: Any, where: Where) -> Test:
    cure = "write an address and how many of its bits count: {cidr: 10.0.0.0/24}, {cidr: 2001:db8::/32}"
    text = _text(argument, where)
    network = network_of(text)
    if network is None:
        raise BadPattern(where, f"{scalar_text(text)} is no network", cure)
    first, last = network
    if first == last:
        raise BadPattern(where, "a network of one address", f"write the address itself: [{text.partition('/')[0]}]")
    return Test("cidr", (text, first, last), 50)


def _anything_but(argument: Any, where: Where) -> Test:
    if isinstance(argument, Mapping):
        return _anything_but_form(argument, where)
    values = argument if isinstance(argument, list) else [argument]
    if not values:
        raise BadPattern(where, "anything-but without a value", "write {exists: true} if any value will do")
    for position, value in enumerate(values):
        here = (*where, position) if isinstance(argument, list) else where
        if value is None or isinstance(value, bool):
            cure = f"list what it may be instead: [{scalar_text(not value)}]" if value is not None else _BUT_CURE
            raise BadPattern(here, f"anything-but takes texts or numbers, not {scalar_text(value)}", cure)
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise BadPattern(here, "anything-but takes plain values", _BUT_CURE)
    if len({isinstance(value, str) for value in values}) > 1:
        raise BadPattern(where, "texts and numbers in one anything-but", "either all are texts or all are numbers")
    return Test("but", tuple(Test("is", value, 100) for value in values), 20)


_BUT_CURE = "write {anything-but: [a, b]}, {anything-but: [1, 2]} or {anything-but: {prefix: x}}"
_BUT_FORMS = ("prefix", "suffix", "equals-ignore-case", "wildcard")


def _anything_but_form(argument: Mapping[str, Any], where: Where) -> Test:
    """`{anything-but: {prefix: x}}`: what does not begin so. Several texts in a list: with none of them."""
    if len(argument) != 1 or next(iter(argument)) not in _BUT_FORMS:
        raise BadPattern(where, f"inside anything-but only prefix, suffix, {' or '.join(_BUT_FORMS[2:])}", _BUT_CURE)
    name, inner = next(iter(argument.items()))
    where = (*where, name)
    texts = inner if isinstance(inner, list) else [inner]
    if not texts:
        raise BadPattern(where, "an empty list", "list the texts that do not match")
    for text in texts:
        if not _text(text, where) and name in ("prefix", "suffix"):
            raise BadPattern(where, f"every text has an empty {name}", "write the text that it must not have")
    return Test("but", tuple(_READERS[name](text, where) for text in texts), 20)


_NUMERIC_CURE = 'write {numeric: [">=", 2]} or {numeric: [">", 0, "<=", 5]}'


def _numeric(argument: Any, where: Where) -> Test:
    """`[">", 0, "<=", 5]`: one comparison, or first one from below and then one from above."""
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise BadPattern(where, "numeric takes a list of one or two comparisons, each a sign and a number", _NUMERIC_CURE)
    comparisons = [_comparison(argument, position, where) for position in range(0, len(argument), 2)]
    low: Bound | None = None
    high: Bound | None = None
    for position, (sign, number) in enumerate(comparisons):
        bound = Bound(number, "=" in sign)
        if position and (high or sign not in ("<", "<=")):
            raise BadPattern((*where, 2), "two comparisons are one from below and then one from above", _NUMERIC_CURE)
        low = bound if sign in (">", ">=", "=") else low
        high = bound if sign in ("<", "<=", "=") else high
    if sign == "=":
        return Test("is", number, 100)
    if low and high and low.number >= high.number:
        raise BadPattern(where, "no number can be both", "the lower limit must be below the upper one")
    return Test("numeric", (low, high), 50 if low and high else 40)


def _comparison(argument: list[Any], position: int, where: Where) -> tuple[str, int | float]:
    sign, number = argument[position : position + 2]
    if sign not in COMPARISONS:
        raise BadPattern(
            (*where, position), f"{scalar_text(sign)} is no comparison", f"one of {' '.join(COMPARISONS)}, in quotes"
        )
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise BadPattern((*where, position + 1), f"{scalar_text(number)} is no number", _NUMERIC_CURE)
    return sign, number


_READERS: Mapping[str, Callable[[Any, Where], Test]] = {
    "prefix": _edge,
    "suffix": _edge,
    "wildcard": _wildcard,
    "equals-ignore-case": _ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
    "exactly": _exactly,
}


# --- from a test to a function --------------------------------------------------------------------------------------


def _check_is(wanted: Any) -> Check:
    key = hashable(wanted)
    return lambda seen: hashable(seen) == key


def _check_address(argument: tuple[str, Any]) -> Check:
    _, wanted = argument
    return lambda seen: isinstance(seen, str) and address_of(seen) == wanted


def _check_prefix(text: str) -> Check:
    return lambda seen: isinstance(seen, str) and seen.startswith(text)


def _check_suffix(text: str) -> Check:
    return lambda seen: isinstance(seen, str) and seen.endswith(text)


def _check_fold(text: str) -> Check:
    return lambda seen: isinstance(seen, str) and seen.casefold() == text


def _check_prefix_fold(text: str) -> Check:
    return lambda seen: isinstance(seen, str) and seen.casefold().startswith(text)


def _check_suffix_fold(text: str) -> Check:
    return lambda seen: isinstance(seen, str) and seen.casefold().endswith(text)


def _check_wildcard(pieces: tuple[str, ...]) -> Check:
    """First and last piece at the ends, the others in between, each as early as it comes: never a step back."""
    first, *middle, last = pieces
    shortest = sum(map(len, pieces))

    def check(seen: Any) -> bool:
        if not isinstance(seen, str) or len(seen) < shortest or not seen.startswith(first) or not seen.endswith(last):
            return False
        position, end = len(first), len(seen) - len(last)
        for piece in middle:
            position = seen.find(piece, position, end)
            if position < 0:
                return False
            position += len(piece)
        return True

    return check


def _check_numeric(argument: tuple[Bound | None, Bound | None]) -> Check:
    low, high = argument
    above = _compare(low, ">") if low else None
    below = _compare(high, "<") if high else None

    def check(seen: Any) -> bool:
        if isinstance(seen, bool) or not isinstance(seen, int | float):
            return False
        return (above is None or above(seen)) and (below is None or below(seen))

    return check


def _compare(bound: Bound, sign: str) -> Callable[[int | float], bool]:
    number = bound.number
    if sign == ">":
        return (lambda seen: seen >= number) if bound.closed else (lambda seen: seen > number)
    return (lambda seen: seen <= number) if bound.closed else (lambda seen: seen < number)


def _check_cidr(argument: tuple[str, Any, Any]) -> Check:
    _, first, last = argument

    def check(seen: Any) -> bool:
        address = address_of(seen) if isinstance(seen, str) else None
        return address is not None and address[0] == first[0] and first <= address <= last

    return check


def _check_exists(wanted: bool) -> Check:
    return lambda _seen: wanted


def _check_but(tests: tuple[Test, ...]) -> Check:
    refused = frozenset(hashable(test.argument) for test in tests if test.op == "is")
    others = tuple(test.check() for test in tests if test.op != "is")
    if not others:
        return lambda seen: hashable(seen) not in refused
    return lambda seen: hashable(seen) not in refused and not any(check(seen) for check in others)


_CHECKS: Mapping[str, Callable[[Any], Check]] = {
    "is": _check_is,
    "address": _check_address,
    "prefix": _check_prefix,
    "suffix": _check_suffix,
    "fold": _check_fold,
    "prefix-fold": _check_prefix_fold,
    "suffix-fold": _check_suffix_fold,
    "wildcard": _check_wildcard,
    "numeric": _check_numeric,
    "cidr": _check_cidr,
    "exists": _check_exists,
    "but": _check_but,
}


# --- from a test to words -------------------------------------------------------------------------------------------


def _numeric_words(argument: tuple[Bound | None, Bound | None]) -> str:
    low, high = argument
    said = [f"{'>=' if low.closed else '>'} {low.number}"] if low else []
    said += [f"{'<=' if high.closed else '<'} {high.number}"] if high else []
    return "a number " + " and ".join(said)


def _wildcard_words(pieces: tuple[str, ...]) -> str:
    written = "*".join(piece.replace("\\", "\\\\").replace("*", "\\*") for piece in pieces)
    return f'text like "{written}"'


def _but_words(tests: tuple[Test, ...]) -> str:
    shown = ", ".join(test.words for test in tests[:5])
    return f"anything but {shown}{', …' if len(tests) > 5 else ''}"


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "is": scalar_text,
    "address": lambda argument: scalar_text(argument[0]),
    "prefix": lambda text: f'text that begins with "{text}"',
    "suffix": lambda text: f'text that ends with "{text}"',
    "fold": lambda text: f'"{text}" in any case',
    "prefix-fold": lambda text: f'text that begins with "{text}" in any case',
    "suffix-fold": lambda text: f'text that ends with "{text}" in any case',
    "wildcard": _wildcard_words,
    "numeric": _numeric_words,
    "cidr": lambda argument: f"an address in {argument[0]}",
    "exists": lambda wanted: "the field to be there" if wanted else "the field to be missing",
    "but": _but_words,
}
