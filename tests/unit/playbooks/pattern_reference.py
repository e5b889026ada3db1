"""The plain linear matcher that patterns and index are held to, and a maker of hostile patterns and events.

`Rule` reads a pattern as it is written and asks it of a flattened event by trying every choice of values: slow, and sharing no
code with the product (wildcards by `re`, addresses by `ipaddress`, no trees, no index). `Maker` draws patterns and events from
few words, so that they meet often; the same seed always draws the same.
"""

from __future__ import annotations

import ipaddress
import json
import random
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from aios.events.codec import decode_json
from aios.events.event import Event

MOMENT = "2026-02-24T08:00:00.000000Z"
Value = tuple[Any, dict[int, int]]


def flatten(event: dict[str, Any]) -> dict[str, list[Value]]:
    """Every value by its dotted path, with the list elements that it came through."""
    found: dict[str, list[Value]] = {}
    lists = iter(range(10**9))

    def visit(value: Any, path: list[str], through: dict[int, int]) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                visit(below, [*path, name], through)
        elif isinstance(value, list):
            number = next(lists)
            for position, item in enumerate(value):
                visit(item, path, {**through, number: position} if isinstance(item, dict | list) else through)
        else:
            found.setdefault(".".join(path), []).append((value, through))

    visit(event, [], {})
    return found


class Rule:
    """A pattern, taken word for word."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.alternatives = self._read(raw, [], [{}])

    def _read(self, raw: dict[str, Any], path: list[str], so_far: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for name, value in raw.items():
            if name == "$or":
                so_far = [made for branch in value for made in self._read(branch, path, [dict(one) for one in so_far])]
            elif isinstance(value, dict):
                so_far = self._read(value, [*path, name], so_far)
            else:
                for one in so_far:
                    one[".".join([*path, name])] = value
        return so_far

    def matches(self, flat: dict[str, list[Value]]) -> bool:
        return any(self._holds(list(fields.items()), flat) for fields in self.alternatives)

    def _holds(self, fields: list[tuple[str, list[Any]]], flat: dict[str, list[Value]]) -> bool:
        choices: list[list[dict[int, int] | None]] = []
        for path, tests in fields:
            there: list[dict[int, int] | None] = [
                through for value, through in flat.get(path, []) if any(fits(test, value) for test in tests)
            ]
            unique = [one for position, one in enumerate(there) if one not in there[:position]]
            choices.append([*unique, None] if {"exists": False} in tests else unique)
        return any(self._consistent(fields, choice, flat) for choice in product(*choices))

    def _consistent(self, fields: list[tuple[str, list[Any]]], choice: tuple[Any, ...], flat: dict[str, list[Value]]) -> bool:
        """In alphabetical order; what is missing must be so in the elements that are chosen by then."""
        bound: dict[int, int] = {}
        for (path, _), through in sorted(zip(fields, choice, strict=True), key=lambda pair: pair[0][0]):
            if through is None:
                if any(
                    all(bound.get(number, position) == position for number, position in there.items())
                    for _, there in flat.get(path, [])
                ):
                    return False
            else:
                for number, position in through.items():
                    if bound.setdefault(number, position) != position:
                        return False
        return True


def fits(test: Any, value: Any) -> bool:
    """Whether one entry of a field's list says yes to a value that is there."""
    if not isinstance(test, dict):
        return same(test, value)
    [(name, wanted)] = test.items()
    if name == "anything-but":
        inner = wanted if isinstance(wanted, dict) else {"": wanted}
        [(form, texts)] = inner.items()
        tests = texts if isinstance(texts, list) else [texts]
        if not form:
            return not any(
                type(one) is type(value) and one == value if isinstance(one, str) else same(one, value) for one in tests
            )
        return not any(fits({form: one}, value) for one in tests)
    if name == "exists":
        return bool(wanted)
    if name == "numeric":
        return is_number(value) and all(compare(wanted[at], value, wanted[at + 1]) for at in range(0, len(wanted), 2))
    if not isinstance(value, str):
        return False
    if name == "cidr":
        address = as_address(value)
        network = ipaddress.ip_network(wanted, strict=False)
        return address is not None and address.version == network.version and address in network
    if name == "wildcard":
        tokens = re.findall(r"\\.|\*|[^\\*]+", wanted, re.DOTALL)
        pattern = "".join(".*" if token == "*" else re.escape(token.removeprefix("\\")) for token in tokens)
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    if isinstance(wanted, dict):
        wanted, value = wanted["equals-ignore-case"].casefold(), value.casefold()
    if name == "equals-ignore-case":
        return bool(value.casefold() == wanted.casefold())
    if name == "exactly":
        return bool(value == wanted)
    return bool(value.startswith(wanted) if name == "prefix" else value.endswith(wanted))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(sign: str, a: Any, b: Any) -> bool:
    return bool({"<": a < b, "<=": a <= b, "=": a == b, ">=": a >= b, ">": a > b}[sign])


def same(wanted: Any, value: Any) -> bool:
    if is_number(wanted) and is_number(value):
        return bool(wanted == value)
    if isinstance(wanted, str) and isinstance(value, str):
        addresses = as_address(wanted), as_address(value)
        return wanted == value or (None not in addresses and addresses[0] == addresses[1])
    return type(wanted) is type(value) and bool(wanted == value)


def as_address(text: str) -> Any:
    try:
        plain = re.sub(r"(^|\.)0+(?=\d)", r"\1", text) if re.fullmatch(r"[\d.]+", text, re.ASCII) else text
        address = ipaddress.ip_address(plain)
    except ValueError:
        return None
    if ("." in text and ":" in text) or "%" in text:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# --- drawing --------------------------------------------------------------------------------------------------------

WORDS = (
    "a", "ab", "abc", "ABC", "Ab", "abcab", "bca", "c", "", "1", "*", "a*c", "a\\b", "ß", "SS", "é", "web-1", "web-12",
    "db-1-web", "10.0.0.1", "010.0.0.1", "10.0.0.255", "::1", "0:0::1", "::ffff:a00:1", "10.0.0", "a.b", "\n", "a\nb",
)  # fmt: skip
NUMBERS = (0, 1, 1.0, 2, -1, 0.5, 1.5, 3, 2**53, 2**53 + 1, float(2**53), 1e300)
OTHERS = (True, False, None)
FIELDS = ("f", "g", "h", "f.g")
TYPES = ("a.b", "a.c", "a.b.c", "run.healed", "x")
FAMILIES = ("a.b", "a.c", "a.*", "a.b.*", "run.healed", "x")


KINDS = ("", "edge", "fold", "wildcard", "numeric", "cidr", "rows", "absent", "crowd")


class Maker:
    """Draws from a source of chance.

    With a kind, nearly all patterns ask one field in one way, so that they crowd together: `edge` beginnings and ends, `fold` the
    same in any case, `rows` two fields of one list, `absent` what an element of a list has not, `crowd` what all share.
    """

    def __init__(self, chance: random.Random, kind: str = "") -> None:
        self.chance = chance
        self.kind = kind

    def pattern(self) -> dict[str, Any]:
        """What stands in `match`: always valid."""
        return self._of_kind() if self.kind and self.chance.random() < 0.8 else self._any()

    def _of_kind(self) -> dict[str, Any]:
        pick = self.chance.choice
        if self.kind == "rows":
            return {"data": {"f": {"g": [pick(("a", "ab"))], "h": [pick(("a", "abc"))]}}}
        if self.kind == "absent":
            fields = {name: [pick(("a", {"exists": False}, {"exists": True}))] for name in self.chance.sample("fh", pick((1, 2)))}
            return {"data": {"f": {**fields, "g": {"h": [pick(("a", {"exists": False}))]}}}}
        if self.kind == "crowd":
            return {"data": {"f": [{"numeric": [pick((">", ">=")), pick((0, 1))]}], "h": [True]}}
        word, name = pick(WORDS), pick(("prefix", "suffix"))
        network = f"10.0.{self.chance.randrange(2)}.{self.chance.randrange(0, 256, 64)}"
        test = {
            "edge": {name: word},
            "fold": pick(({name: {"equals-ignore-case": word}}, {"equals-ignore-case": word})),
            "wildcard": {"wildcard": self.wildcard()},
            "numeric": {"numeric": self.bounds()},
            "cidr": {"cidr": f"{network}/{pick((8, 23, 24, 26, 31))}"},
        }[self.kind]
        return {"data": {"f": [test]}} if self.kind in ("numeric", "cidr") or pick((True, False)) else {"subject": [test]}

    def _any(self) -> dict[str, Any]:
        match: dict[str, Any] = {}
        if self.chance.random() < 0.5:
            match["subject"] = self.tests()
        if self.chance.random() < 0.8 or not match:
            match["data"] = self.fields(2)
        if self.chance.random() < 0.15:
            match["$or"] = [{"data": self.fields(1)}, {"subject": self.tests()}, {"data": self.fields(1)}][
                : self.chance.choice((2, 3))
            ]
        return match

    def fields(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in self.chance.sample(FIELDS, self.chance.choice((1, 1, 1, 2, 2, 3))):
            made[name] = self.fields(depth - 1) if depth and self.chance.random() < 0.4 else self.tests()
        if depth and self.chance.random() < 0.1:
            made["$or"] = [self.fields(depth - 1), self.fields(depth - 1)]
        return made

    def tests(self) -> list[Any]:
        return [self.test() for _ in range(self.chance.choice((1, 1, 1, 1, 2, 3)))]

    def test(self) -> Any:
        draw, word = self.chance.random(), self.chance.choice(WORDS)
        if draw < 0.4:
            return self.scalar()
        if draw < 0.55:
            name = self.chance.choice(("prefix", "suffix"))
            return {name: word if self.chance.random() < 0.7 else {"equals-ignore-case": word}}
        if draw < 0.65:
            return {"wildcard": self.wildcard()}
        if draw < 0.7:
            return {self.chance.choice(("equals-ignore-case", "exactly")): word}
        if draw < 0.78:
            return {"exists": self.chance.random() < 0.5}
        if draw < 0.82:
            return {"cidr": self.chance.choice(("10.0.0.0/24", "10.0.0.1/31", "0.0.0.0/0", "::/64", "::1/127"))}
        return {"numeric": self.bounds()} if draw < 0.9 else {"anything-but": self.refused()}

    def scalar(self) -> Any:
        return self.chance.choice((self.chance.choice(WORDS), self.chance.choice(NUMBERS), self.chance.choice(OTHERS)))

    def wildcard(self) -> str:
        pieces = [
            self.chance.choice(("a", "b", "c", "", "web-", "1", "\\*", "\\\\", "abca"))
            for _ in range(self.chance.choice((2, 2, 3, 4)))
        ]
        return pieces[0] + "*" + "*".join(piece or "b" for piece in pieces[1:-1]) + ("*" if len(pieces) > 2 else "") + pieces[-1]

    def bounds(self) -> list[Any]:
        low, high = sorted(self.chance.sample((0, 1, 1.5, 2, 3, -1, 2**53), 2))
        return self.chance.choice(
            ([">", low], [">=", low], ["<", high], ["<=", high], ["=", low], [">=", low, "<", high], [">", low, "<=", high])
        )

    def refused(self) -> Any:
        draw = self.chance.random()
        words = self.chance.sample(WORDS, self.chance.choice((1, 2)))
        if draw < 0.3:
            return self.chance.choice((words[0], words))
        if draw < 0.5:
            return self.chance.sample(NUMBERS, 2)
        form = self.chance.choice(("prefix", "suffix", "equals-ignore-case", "wildcard"))
        texts = [self.wildcard()] if form == "wildcard" else [word or "z" for word in words]
        return {form: self.chance.choice((texts[0], texts))}

    def event(self) -> Event:
        """Decoded from JSON in which names may stand twice; the last one counts."""
        data = decode_json(self._object(2))
        pick = self.chance.choice
        if self.kind == "rows":
            data["f"] = [{"g": pick(("a", "ab", True)), "h": pick(("a", "abc", 1))} for _ in range(2)]
        elif self.kind == "absent":
            data["f"] = [
                {name: pick(("a", "b", {"h": "a"}, [{"h": "a"}, {}])) for name in self.chance.sample("fgh", 2)} for _ in "12"
            ]
        elif self.kind == "crowd":
            data |= {"f": pick((0, 1, 2, [0, 1])), "h": True}
        elif self.kind in ("numeric", "cidr", "edge") and self.chance.random() < 0.8:
            addresses = [f"10.0.{self.chance.randrange(3)}.{self.chance.choice((0, 63, 64, 128, 255))}" for _ in range(2)]
            data["f"] = self.chance.choice((self.chance.choice(NUMBERS), addresses[0], addresses, *WORDS))
        subject = self.chance.choice(WORDS) or "host"
        return Event("1", "test", "a.b" if self.kind else self.chance.choice(TYPES), subject, MOMENT, data, MOMENT, "error")

    def _object(self, depth: int) -> str:
        names = self.chance.choices(FIELDS, k=self.chance.choice((0, 1, 2, 2, 3)))
        return "{" + ",".join(f"{json.dumps(name)}:{self._value(depth)}" for name in names) + "}"

    def _value(self, depth: int) -> str:
        draw = self.chance.random()
        if depth and draw < 0.25:
            return self._object(depth - 1)
        if depth and draw < 0.5:
            return "[" + ",".join(self._element(depth - 1) for _ in range(self.chance.choice((0, 1, 2, 2, 3)))) + "]"
        value = self.scalar()
        return json.dumps(value)

    def _element(self, depth: int) -> str:
        return self._object(depth) if self.chance.random() < 0.6 else self._value(depth)

    def types(self) -> tuple[str, ...]:
        if self.kind:
            return ("a.b",) if self.kind in ("rows", "crowd") else (self.chance.choice(("a.b", "a.*")),)
        return tuple(self.chance.sample(FAMILIES, self.chance.choice((1, 1, 2))))


def rounds(seed: int, count: int, patterns: int, events: int) -> Iterator[tuple[int, list[Any], list[Event]]]:
    """`count` times the number of the round, some written playbooks (types, pattern), and some events; of each kind in turn."""
    for number in range(count):
        make = Maker(random.Random(seed * 1_000_003 + number), KINDS[number % len(KINDS)])
        yield number, [(make.types(), make.pattern()) for _ in range(patterns)], [make.event() for _ in range(events)]
