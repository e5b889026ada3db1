"""Nodes to values, with every finding kept: one look at a file tells all that is wrong with it.

`load.py` says what a playbook may hold; here is how a text, a number, a duration or a mapping is read, and how a finding is
shown at its place. A reader gives None for what it refused, and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aios.errors import ConfigError, Fix
from aios.events.durations import format_duration, parse_duration
from aios.nearest import did_you_mean, nearest
from aios.playbooks.condition import (
    BadExpression,
    CelTemplate,
    Expression,
    Fields,
    compile_condition,
    compile_text,
    expressions_of,
)
from aios.playbooks.model import Condition
from aios.playbooks.yaml_strict import Node, Source, clip, to_json

MEANT: Mapping[str, tuple[str, str]] = {
    "event": ("type", "did you mean 'type'?"),
    "events": ("type", "did you mean 'type'? several together are any, all, sequence or absence: […]"),
    "window": ("", "a time goes with a number: count: 3 in 10m; or with several events: all: […] and within: 10m"),
    "within": ("", "a time goes with a number: count: 3 in 10m; or with several events: all: […] and within: 10m"),
}
"""What people write under `on` for want of our word: the key that they mean, if there is one, and the cure."""
NOTHING_MEANT: Mapping[str, tuple[str, str]] = {}
EXAMPLES: Mapping[str, str] = {"within": "within: 5m", "type": "type: service.down", "count": "count: 3 in 10m"}
"""Of keys that are missing, what could stand there."""
ERRORS_MAX = 100
EXPRESSIONS_MAX = 1000
"""In one parameter: more is no playbook, and compiling them would hold up the daemon."""

_PLAIN = re.compile(r"[A-Za-z_(][\w.()<>=!&|+*/% -]*\Z", re.ASCII)
"""An expression that YAML takes as it is, in braces too; any other goes into quotes."""


def _in_yaml(expression: str) -> str:
    """As it has to be written."""
    return expression if _PLAIN.match(expression) else "'" + expression.replace("'", "''") + "'"


class Reader:
    """Reads one file; `errors` gathers what was found."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.errors: list[ConfigError] = []
        self.found = 0
        """How many mistakes there were, also those that nobody is told of because there are too many."""

    @property
    def full(self) -> bool:
        """Enough was found; looking for more (and for what was meant) would only cost time."""
        return len(self.errors) >= ERRORS_MAX

    def refuse(self, node: Node, message: str, hint: str = "", instead: str = "") -> None:
        """`instead` is what should stand in the place of this scalar, where only one thing can be meant."""
        fix = Fix(node.start, node.end, instead) if instead and node.kind == "scalar" else None
        self._add(node.line, node.column, message, hint, fix)

    def _add(self, line: int, column: int, message: str, hint: str, fix: Fix | None = None) -> None:
        self.found += 1
        if not self.full:
            self.errors.append(self.source.error(line, column, message, hint, fix))

    # --- shapes ---

    def mapping(
        self,
        node: Node,
        what: str,
        known: Iterable[str],
        required: Iterable[str] = (),
        meant: Mapping[str, tuple[str, str]] = NOTHING_MEANT,
    ) -> dict[str, Node]:
        """The values of the known keys; unknown and missing ones are found wrong. `meant` is such as `MEANT`."""
        if node.kind != "map":
            self.refuse(node, f"{what} must be a mapping, and this is {node.what}", f"its keys are {', '.join(known)}")
            return {}
        known = tuple(known)
        for name, (key, _) in node.entries.items():
            if name not in known and not self.full:
                cure = meant[name][1] if name in meant else did_you_mean(name, known)
                self.refuse(key, f"{what} has no key {clip(name)}", cure)
        for name in required:
            if name not in node.entries and not self.misspelt(name, node, known, meant):
                self.refuse(node, f"{what} needs the key {name!r}", f"add `{EXAMPLES.get(name, f'{name}: …')}`")
        return {name: value for name, (_, value) in node.entries.items() if name in known}

    def misspelt(
        self, name: str, node: Node, known: tuple[str, ...], meant: Mapping[str, tuple[str, str]] = NOTHING_MEANT
    ) -> bool:
        """Whether an unknown key was probably meant: then one finding is enough."""
        unknown = [key for key in node.entries if key not in known]
        return any(meant[key][0] == name if key in meant else nearest(key, known) == name for key in unknown)

    def items(self, node: Node, what: str, at_most: int) -> tuple[Node, ...]:
        if node.kind != "list":
            self.refuse(node, f"{what} must be a list, and this is {node.what}", "begin each entry with `- `, or write [a, b]")
            return ()
        if len(node.items) > at_most:
            self.refuse(node, f"{what} has {len(node.items)} entries; at most {at_most} are read", "split the playbook")
            return ()
        return node.items

    def single(self, node: Node, what: str, example: str) -> tuple[str, Node, Node] | None:
        """The one key of a mapping, its node, and its value."""
        if node.kind != "map" or len(node.entries) != 1:
            found = f"this has {len(node.entries)}" if node.kind == "map" else f"this is {node.what}"
            self.refuse(node, f"{what} is one name with its value, and {found}", f"write {example}")
            return None
        name, (key, value) = next(iter(node.entries.items()))
        return name, key, value

    # --- scalars ---

    def text(self, node: Node, what: str, at_most: int = 1000) -> str | None:
        value = node.scalar
        if node.kind != "scalar" or not isinstance(value, str) or not value.strip():
            cure = f'put it in quotes: "{value}"' if isinstance(value, bool | int | float) else "write a text"
            self.refuse(node, f"{what} must be a text, and this is {node.what}", cure)
            return None
        if len(value) > at_most:
            self.refuse(node, f"{what} is longer than {at_most} characters", "shorten it")
            return None
        return value

    def flag(self, node: Node, what: str) -> bool | None:
        if node.kind == "scalar" and isinstance(node.scalar, bool):
            return node.scalar
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(node.scalar).lower(), "")
        self.refuse(node, f"{what} must be true or false, and this is {node.what}", f"write {meant or 'true or false'}", meant)
        return None

    def integer(self, node: Node, what: str, low: int, high: int) -> int | None:
        value = node.scalar
        if node.kind != "scalar" or isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(
                node,
                f"{what} must be a whole number from {low} to {high}, and this is {node.what}",
                f"write a number such as {min(high, 10)}",
            )
            return None
        return value

    def number(self, node: Node, what: str, low: float, high: float) -> float | None:
        value = node.scalar
        if node.kind != "scalar" or isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.refuse(
                node,
                f"{what} must be a number from {low:g} to {high:g}, and this is {node.what}",
                f"write a number such as {high:g}",
            )
            return None
        return float(value)

    def choice(self, node: Node, what: str, known: Iterable[str]) -> str | None:
        known = tuple(known)
        if node.kind == "scalar" and node.scalar in known:
            return str(node.scalar)
        shown = clip(str(node.scalar)) if node.kind == "scalar" else node.what
        self.refuse(node, f"{what} cannot be {shown}", self._choices(str(node.scalar), known))
        return None

    def _choices(self, word: str, known: tuple[str, ...]) -> str:
        near = nearest(word, known)
        return f"did you mean {near!r}?" if near else "one of " + ", ".join(known)

    def duration(self, node: Node, what: str, at_least_s: float, at_most_s: float) -> float | None:
        value = node.scalar
        if node.kind != "scalar" or not isinstance(value, str):
            cure = f"write {value}s for seconds, {value}m for minutes" if isinstance(value, int) else "write 30s, 5m or 1h"
            self.refuse(node, f"{what} must be a duration, and this is {node.what}", cure)
            return None
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            message, _, cure = str(error).partition("; ")
            self.refuse(node, f"{what}: {message}", cure)
            return None
        if not at_least_s <= seconds <= at_most_s:
            bounds = f"{format_duration(at_least_s)} and {format_duration(at_most_s)}"
            self.refuse(node, f"{what} must lie between {bounds}", "choose another length of time")
            return None
        return seconds

    # --- expressions ---

    def condition(self, node: Node, what: str, fields: Fields) -> Condition | None:
        source = node.scalar
        if node.kind != "scalar" or not isinstance(source, str):
            self.refuse(node, f"{what} must be an expression, and this is {node.what}", "write one such as score < 0.9")
            return None
        if source.strip().startswith("${"):
            bare = source.strip().removeprefix("${").removesuffix("}").strip()
            instead = _in_yaml(bare) if bare and not set(bare) & set("{}\n") else ""
            self.refuse(node, f"{what} is an expression already, without ${{ }}", f"write {instead or bare}", instead)
            return None
        try:
            return compile_condition(source, fields)
        except BadExpression as error:
            self.refuse_expression(node, error)
            return None

    def template(self, node: Node, fields: Fields) -> tuple[CelTemplate, tuple[tuple[Node, Expression], ...]]:
        """JSON with `${ }`, and every expression in it with its node."""
        found: list[tuple[Node, Expression]] = []
        tree = self._tree(node, fields, found)
        return CelTemplate(to_json(node), tree, tuple(expression for _, expression in found)), tuple(found)

    def _tree(self, node: Node, fields: Fields, found: list[tuple[Node, Expression]]) -> Any:
        if node.kind == "map":
            return {key: self._tree(value, fields, found) for key, (_, value) in node.entries.items()}
        if node.kind == "list":
            return [self._tree(item, fields, found) for item in node.items]
        if not isinstance(node.scalar, str) or self.full:
            return node.scalar
        try:
            leaf = compile_text(node.scalar, fields)
        except BadExpression as error:
            self.refuse_expression(node, error)
            return node.scalar
        found.extend((node, expression) for expression in expressions_of(leaf))
        if len(found) > EXPRESSIONS_MAX:
            self.refuse(node, f"more than {EXPRESSIONS_MAX} expressions in one parameter", "split it")
        return leaf

    def refuse_expression(self, node: Node, error: BadExpression) -> None:
        """The caret goes to the place inside the expression, as it stands in the file."""
        line, column = locate(self.source, node, error.line, error.column)
        self._add(line, column, error.message, error.hint)


def locate(source: Source, node: Node, line: int, column: int) -> tuple[int, int]:
    """Where a place within a scalar's text (both from 1) stands in the file: exact unless escapes or folding moved it."""
    lines = str(node.scalar).split("\n")
    wanted = lines[line - 1] if 0 < line <= len(lines) else ""
    bare = wanted.strip()
    if not bare:
        return node.line, node.column
    reach = node.start + 2 * len(str(node.scalar)) + 2000
    at = source.text.find(bare, node.start, reach)
    if at < 0:
        return node.line, node.column
    indent = len(wanted) - len(wanted.lstrip())
    return source.place(at + max(0, column - 1 - indent))


def is_constant(node: Node) -> bool:
    """Whether nothing is put into it when it runs."""
    if node.kind == "map":
        return all(is_constant(value) for _, value in node.entries.values())
    if node.kind == "list":
        return all(is_constant(item) for item in node.items)
    return not (isinstance(node.scalar, str) and "${" in node.scalar.replace("$${", ""))


def node_at(node: Node, where: Iterable[str | int]) -> Node:
    """Follow names and positions as far as they lead."""
    for part in where:
        if node.kind == "map" and part in node.entries:
            node = node.entries[str(part)][1]
        elif node.kind == "list" and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node


def keys_with_places(node: Node) -> Mapping[str, Node]:
    """Name -> node of the key."""
    return {name: key for name, (key, _) in node.entries.items()}
