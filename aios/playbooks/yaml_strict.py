"""YAML text to nodes that know their place; whatever is hostile or merely surprising in YAML is refused on the way.

`load` calls `parse`; the readers in `read.py` turn nodes into values. Nothing here knows what a playbook is.

It is a pass over the parser's events, never its object builder: that one crashes the interpreter on deep nesting, lets
the last of two equal keys win, and expands aliases without end. Scalars are those of YAML 1.2 (core schema), so that `no`,
`on` and `1:30` are text; a number that begins with 0 (`0644`) is text too, because 1.1 and 1.2 read it differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from aios.errors import ConfigError, Fix

BYTES_MAX = 256 * 1024
EVENTS_MAX = 20_000
DEPTH_MAX = 32
SNIPPET_MAX = 200
_UNREADABLE = "\ud800"
"""Begins what stands for the text of a file that cannot be read; no file can hold it."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_OTHER_NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|\.inf|\.Inf|\.INF|\.nan|\.NaN|\.NAN)\Z")
_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip

Scalar = str | int | float | bool | None
Entry = tuple["Node", "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file. `line` and `column` count from 1, `start` and `end` are indices in the text.

    `entries` of a map are key -> (node of the key, node of the value), in the file's order.
    """

    kind: Literal["map", "list", "scalar"]
    line: int
    column: int
    start: int
    end: int
    scalar: Scalar = None
    plain: bool = True
    entries: dict[str, Entry] = field(default_factory=dict)
    items: tuple[Node, ...] = ()

    @property
    def what(self) -> str:
        """What it is, for a message."""
        if self.kind != "scalar":
            return {"map": "a mapping", "list": "a list"}[self.kind]
        if self.scalar is None:
            return "nothing"
        if isinstance(self.scalar, bool):
            return "true" if self.scalar else "false"
        return f"the text {clip(self.scalar)}" if isinstance(self.scalar, str) else f"the number {self.scalar}"


def clip(text: str, length: int = 40) -> str:
    """Quoted and not too long, for a message."""
    return '"' + (text if len(text) <= length else text[: length - 1] + "…").replace("\n", " ") + '"'


def to_json(node: Node) -> Any:
    """The plain value without its place."""
    if node.kind == "map":
        return {key: to_json(value) for key, (_, value) in node.entries.items()}
    if node.kind == "list":
        return [to_json(item) for item in node.items]
    return node.scalar


class Source:
    """The text of one file, and how an error in it looks."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text.removeprefix("\ufeff")
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """A line of the file, from 1; empty past the end."""
        if self._lines is None:
            self._lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def error(self, line: int, column: int, message: str, hint: str = "", fix: Fix | None = None) -> ConfigError:
        shown = _UNPRINTABLE.sub("?", self.line(line)).replace("\t", " ")
        if column > SNIPPET_MAX:
            shown = ""
        return ConfigError(self.path, message, line, column, hint, shown[:SNIPPET_MAX], fix)

    def place(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of an index in the text."""
        before = self.text[:index]
        line = before.count("\n") + 1
        return line, index - (before.rfind("\n") + 1) + 1


def unreadable(why: str) -> str:
    """What to give as the text of a file that is there and cannot be read: it is refused with this reason."""
    return _UNREADABLE + why


def parse(source: Source) -> Node:
    """The one document of the file. Raises ConfigError at the first thing that cannot stand."""
    if source.text.startswith(_UNREADABLE):
        raise ConfigError(source.path, source.text.removeprefix(_UNREADABLE), hint="make it readable, or remove it")
    _refuse_unreadable(source)
    return _Builder(source).document()


def _refuse_unreadable(source: Source) -> None:
    text = source.text
    if len(text) > BYTES_MAX or len(text.encode("utf-8", "replace")) > BYTES_MAX:
        raise ConfigError(source.path, f"the file is larger than {BYTES_MAX // 1024} KB", hint="split it into several playbooks")
    found = _UNPRINTABLE.search(text)
    if found:
        line, column = source.place(found.start())
        message = f"the character U+{ord(found.group()):04X} may not stand in a YAML file"
        raise source.error(line, column, message, "remove it; it is usually left over from copying, or the file is not text")


class _Builder:
    """Folds parser events into nodes; every limit is checked before the next event is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._events = self._read()
        self._depth = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent" and root is not None:
                self._refuse(
                    event, "a second document begins here", "one playbook a file: move what follows `---` to its own file"
                )
            elif name not in ("StreamStartEvent", "StreamEndEvent", "DocumentStartEvent", "DocumentEndEvent"):
                root = self._node(event)
        if root is None or (root.kind == "scalar" and root.scalar is None):
            raise self._source.error(
                1, 1, "the file is empty", "begin with `playbook: NAME`; docs/playbooks.md shows a first one"
            )
        return root

    def _read(self) -> Iterator[Any]:
        import yaml  # on first use: a daemon without changed playbooks never needs it

        # The C parser is twenty times as fast; both give the same events.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(self._source.text)
        try:
            for _ in range(EVENTS_MAX):
                if not loader.check_event():
                    return
                yield loader.get_event()
        except yaml.MarkedYAMLError as error:
            raise self._explain(error) from None
        except yaml.YAMLError as error:
            raise self._source.error(1, 1, f"this is not YAML: {str(error).splitlines()[0]}") from None
        finally:
            loader.dispose()
        raise ConfigError(
            self._source.path, f"more than {EVENTS_MAX:,} values in one file", hint="split it into several playbooks"
        )

    def _node(self, event: Any) -> Node:
        self._refuse_cleverness(event)
        name = type(event).__name__
        if name == "ScalarEvent":
            return self._scalar(event)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._refuse(event, f"nested deeper than {DEPTH_MAX} levels", "flatten it; no playbook needs this")
        node = self._map(event) if name == "MappingStartEvent" else self._list(event)
        self._depth -= 1
        return node

    def _map(self, start: Any) -> Node:
        entries: dict[str, Entry] = {}
        for event in self._events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._key(event)
            name = str(key.scalar)
            if name in entries:
                first = entries[name][0]
                self._refuse(
                    event, f"the key {clip(name)} stands here a second time", f"the first is on line {first.line}; keep one"
                )
            entries[name] = (key, self._node(next(self._events)))
        return self._at(start, "map", entries=entries)

    def _list(self, start: Any) -> Node:
        items: list[Node] = []
        for event in self._events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            items.append(self._node(event))
        return self._at(start, "list", items=tuple(items))

    def _key(self, event: Any) -> Node:
        """Keys are always text, as they are written: `on` is `on`, and 404 is `404`."""
        self._refuse_cleverness(event)
        if type(event).__name__ != "ScalarEvent":
            hint = "a key is plain text; a text that begins with { or [ needs quotes, `${ }` too"
            self._refuse(event, "a list or mapping cannot be a key", hint)
        if event.value == "<<" and not event.style:
            self._refuse(event, "merge keys (`<<`) are not known here", "write the keys out")
        return self._at(event, "scalar", scalar=event.value)

    def _scalar(self, event: Any) -> Node:
        value: Scalar = event.value
        if not event.style:
            try:
                value = resolve(event.value)
            except ValueError as error:
                self._refuse(event, str(error), "put it in quotes if it is meant as text")
        return self._at(event, "scalar", scalar=value, plain=not event.style)

    def _at(self, event: Any, kind: Literal["map", "list", "scalar"], **fields: Any) -> Node:
        mark = event.start_mark
        return Node(kind, mark.line + 1, mark.column + 1, mark.index, event.end_mark.index, **fields)

    def _inside(self, mark: Any) -> tuple[int, int]:
        """The parser finds an open bracket past the end of the file; a person looks for it on the last line."""
        line, column = mark.line + 1, mark.column + 1
        while line > 1 and not self._source.line(line).strip():
            line -= 1
            column = len(self._source.line(line)) + 1
        return line, column

    def _refuse_cleverness(self, event: Any) -> None:
        if type(event).__name__ == "AliasEvent":
            self._refuse(
                event,
                f"aliases (`*{event.anchor}`) are not allowed",
                'write the value out; a text that begins with * needs quotes: "*"',
            )
        if event.anchor is not None:
            self._refuse(
                event,
                f"anchors (`&{event.anchor}`) are not allowed",
                "write the value out; a text that begins with & needs quotes",
            )
        if event.tag is not None:
            self._refuse(event, f"tags (`{event.tag}`) are not allowed", "remove it; a text that begins with ! needs quotes")

    def _refuse(self, event: Any, message: str, hint: str = "") -> NoReturn:
        raise self._source.error(event.start_mark.line + 1, event.start_mark.column + 1, message, hint)

    def _explain(self, error: Any) -> ConfigError:
        # An open quote is missed at the end of the file, and looked for where it was opened.
        opened = "quoted scalar" in str(error.context)
        mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
        line, column = self._inside(mark) if mark else (1, 1)
        problem = str(error.problem or error.context or "cannot be read")
        message = f"this is not YAML: {problem}"
        return self._source.error(line, column, message, _yaml_hint(problem, self._source.line(line), column))


def resolve(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema, without what JSON cannot say. Raises ValueError."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise ValueError("a whole number has at most 64 bits")
        return int(text)
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("this number is too large")
        return value
    if _OTHER_NUMBER.match(text):
        raise ValueError(f"{text} is a number that playbooks do not have; write decimal digits")
    return text


def _yaml_hint(problem: str, line: str, column: int) -> str:
    """The likely cure for what the YAML parser says in its own words."""
    before = line[: column - 1]
    if "${" in line and "flow" not in problem and re.search(r"[{\[,]\s*[^\"']*\$\{", line):
        return 'inside { } or [ ] an expression needs quotes: "${event.subject}"'
    if "\t" in line and not before.strip():
        return "indent with spaces, never with tabs"
    if "mapping values are not allowed" in problem:
        return "a text with `: ` in it needs quotes; or this line is indented further than the one above"
    if "expected <block end>" in problem or "block mapping" in problem:
        return "this line's indentation does not fit the lines above; align the keys of one mapping"
    if "expected ',' or" in problem or "expected the node content" in problem:
        return "a [ or { is not closed, or a value that holds { } [ ] or , needs quotes"
    if "cannot start any token" in problem:
        return "a text that begins with %, @ or ` needs quotes; indent with spaces, never with tabs"
    if "quoted scalar" in problem or "end of stream" in problem or "escape" in problem:
        return "a quote is not closed, or a \\ in double quotes is not doubled; single quotes take \\ as it is"
    if "could not find expected ':'" in problem:
        return "a key needs a colon and a space after it: `key: value`"
    return "compare with docs/playbooks.md; every [ { and quote must be closed"
