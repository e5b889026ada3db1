"""CEL: what `when`, `if` and `${ }` say, compiled and type-checked when a playbook is loaded.

`load` compiles; reactor and runs evaluate, through the protocols `Condition` and `Template` of `model.py`. The one door to
`cel_expr_python` (the CEL team's binding). What it must be kept from, each found by trying:

- a Python function called from CEL leaks 112 bytes a call, so there are none: variables only;
- data nested some hundred levels ends the process, so nothing deeper than `DEPTH_MAX` reaches it;
- `map` over a long list costs its square, so no list longer than `LIST_MAX` reaches it (CEL itself stops at 10,000 rounds);
- `has(x.y)` on a declared name gives the value instead of a bool, so names inside `has( )` are left untyped;
- a bool passes for a whole number, so the types of declared fields are checked here before they go in;
- `eval` gives errors as values, and raises RuntimeError for some: anything but a true BOOL is "cannot say", with a reason.

Fields of `event.data` whose type the catalogue knows are declared as dotted names (`event.data.failures: int`), which CEL
resolves before it looks into the map `event`: so a wrong comparison is found at load and not in the night.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from aios.events.catalogue import CATALOGUE
from aios.events.codec import encode_json
from aios.events.event import format_time
from aios.nearest import nearest
from aios.playbooks.model import CannotSay, Condition, Truth

SOURCE_MAX = 4096
DEPTH_MAX = 32
LIST_MAX = 1000
TEXT_MAX = 32 * 1024

ROOTS = ("event", "score", "system_score", "now", "steps")
ATTRIBUTES = ("id", "source", "type", "subject", "time", "severity")
"""What expressions see of an event beside its `data`."""
STEP_FIELDS = ("ok", "result")
"""What expressions see of a step that is over."""

Fields = tuple[tuple[str, str], ...]
"""The typed fields of `event.data`: (name, CEL type), sorted, so that it can key a cache."""

_QUOTED = re.compile(
    r'[rRbB]{0,2}(?:"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')', re.DOTALL
)
_COMMENT = re.compile(r"//[^\n]*")
_WORD = re.compile(r"[A-Za-z_]\w*")
_DATA_FIELD = re.compile(r"\bevent\s*\)?\s*\.\s*data\s*\)?\s*\.\s*([A-Za-z_]\w*)")
_STEP = re.compile(r"(?<![\w.])steps\s*\)?\s*\.\s*([A-Za-z_]\w*)")
_STEP_INDEX = re.compile(r"(?<![\w.])steps\s*\)?\s*\[\s*(?=\")")
_NAME_IN_QUOTES = re.compile(r"[\"'](\w+)[\"']")
_ATTRIBUTE = re.compile(r"(?<![\w.])event\s*\.\s*([A-Za-z_]\w*)")
_STEP_FIELD = re.compile(r"(?<![\w.])steps\s*\.\s*[A-Za-z_]\w*\s*\.\s*([A-Za-z_]\w*)")
_STEP_RESULT = re.compile(r"\bsteps\s*\.\s*([A-Za-z_]\w*)\s*\.\s*result\s*\.\s*([A-Za-z_]\w*)")
_EVENT_NAMED = re.compile(r"\bevent\s*\.\s*data\s*\.\s*events\s*\.\s*([A-Za-z_]\w*)")
_CEL_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_WORDS = {"int": "a whole number", "double": "a decimal number", "string": "text", "bool": "true or false", "null_type": "null"}


class BadExpression(ValueError):
    """An expression that cannot be compiled. `line` and `column` count from 1 within the expression's own text."""

    def __init__(self, message: str, hint: str = "", line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column


def field_types(types: tuple[str, ...]) -> Fields:
    """The fields of `event.data` that have one known type in all of these event types; none if any is a wildcard or unknown."""
    known = [CATALOGUE.get(name) for name in types]
    if not known or None in known:
        return ()
    shapes = [{name: kind for name, (kind, _) in entry.fields.items()} for entry in known if entry is not None]
    common = {name: kind for name, kind in shapes[0].items() if all(shape.get(name) == kind for shape in shapes)}
    return tuple(sorted(common.items()))


# --- compiling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression, and what it names: roots, fields of `event.data`, steps, and results of steps."""

    source: str
    program: Any
    kind: str
    roots: frozenset[str]
    typed: Fields
    attributes: tuple[str, ...]
    data_fields: frozenset[str]
    steps: frozenset[str]
    step_results: frozenset[tuple[str, str]]
    events_named: frozenset[str]
    """Of `event.data.events`, where several events came together."""


@lru_cache(maxsize=8192)
def compile_expression(source: str, fields: Fields = ()) -> Expression:
    """Raises BadExpression. The same source is compiled once, however many playbooks hold it."""
    if not source.strip():
        raise BadExpression("the expression is empty", "write a CEL expression such as score < 0.9")
    if len(source) > SOURCE_MAX:
        raise BadExpression(f"the expression is longer than {SOURCE_MAX} characters", "split it into several steps or playbooks")
    bare = _bare(source)
    _refuse_unknown_fields(bare)
    untyped = _words_inside_has(bare)
    typed = tuple((name, kind) for name, kind in fields if name not in untyped)
    attributes = tuple(name for name in ATTRIBUTES if name not in untyped)
    try:
        program = _environment(typed, attributes).compile(source)
    except RuntimeError as error:
        raise explain_error(str(error), source) from None
    words = set(_WORD.findall(bare))
    return Expression(
        source=source,
        program=program,
        kind=program.return_type().name(),
        roots=frozenset(words & set(ROOTS)),
        typed=tuple((name, kind) for name, kind in typed if name in words),
        attributes=tuple(name for name in attributes if name in words),
        data_fields=frozenset(_DATA_FIELD.findall(bare)),
        steps=frozenset(_steps_named(bare, source)),
        step_results=frozenset(_STEP_RESULT.findall(bare)),
        events_named=frozenset(_EVENT_NAMED.findall(bare)),
    )


def _refuse_unknown_fields(bare: str) -> None:
    """CEL takes any name after a map's dot; the two maps whose first names we know are looked at here."""
    for found in _ATTRIBUTE.finditer(bare):
        if found[1] not in (*ATTRIBUTES, "data"):
            near = nearest(found[1], (*ATTRIBUTES, "data"))
            hint = f"did you mean event.{near}?" if near else f"what its producer says is under event.data: event.data.{found[1]}"
            raise BadExpression(f"an event has no {found[1]!r}", hint, *_place(bare, found.start(1)))
    for found in _STEP_FIELD.finditer(bare):
        if found[1] not in STEP_FIELDS:
            hint = f"a step has `ok` and `result`: write ….result.{found[1]}"
            raise BadExpression(f"a step has no {found[1]!r}", hint, *_place(bare, found.start(1)))


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _bare(source: str) -> str:
    """The source with blanks for the inside of quotes and for comments; all else stands where it stood."""
    without = _QUOTED.sub(lambda found: '"' + re.sub(r"[^\n]", " ", found.group()[1:-1]) + '"', source)
    return _COMMENT.sub(lambda found: " " * len(found.group()), without)


def _steps_named(bare: str, source: str) -> set[str]:
    """The steps that an expression names: `steps.ID`, and `steps["ID"]`, whose name only the source itself still has."""
    named = set(_STEP.findall(bare))
    for found in _STEP_INDEX.finditer(bare):
        quoted = _NAME_IN_QUOTES.match(source, found.end())
        if quoted:
            named.add(quoted[1])
    return named


def _words_inside_has(bare: str) -> set[str]:
    words: set[str] = set()
    for found in re.finditer(r"\bhas\s*\(", bare):
        depth, end = 1, found.end()
        while end < len(bare) and depth:
            depth += {"(": 1, ")": -1}.get(bare[end], 0)
            end += 1
        words.update(_WORD.findall(bare[found.end() : end]))
    return words


@lru_cache(maxsize=256)
def _environment(typed: Fields, attributes: tuple[str, ...]) -> Any:
    from cel_expr_python import cel  # on first use: 6 MB that a daemon without expressions never pays

    kinds = {
        "string": cel.Type.STRING,
        "int": cel.Type.INT,
        "double": cel.Type.DOUBLE,
        "bool": cel.Type.BOOL,
        "map": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
        "list": cel.Type.List(cel.Type.DYN),
    }
    variables = {
        "event": kinds["map"],
        "steps": kinds["map"],
        "score": cel.Type.DOUBLE,
        "system_score": cel.Type.DOUBLE,
        "now": cel.Type.TIMESTAMP,
        **{f"event.{name}": cel.Type.STRING for name in attributes},
        **{f"event.data.{name}": kinds[kind] for name, kind in typed},
    }
    return cel.NewEnv(variables=variables)


def explain_error(text: str, source: str) -> BadExpression:
    """CEL's own words as a message, a cure and a place."""
    found = _CEL_ERROR.search(text)
    if not found:
        if "recursion" in text:
            return BadExpression("the expression is nested too deeply (32 levels)", "split it")
        return BadExpression(f"this is not CEL: {text.splitlines()[0][:200]}")
    line, column, message = max(1, int(found[1])), max(1, int(found[2])), found[3]
    if "recursion" in message:
        return BadExpression("the expression is nested too deeply (32 levels)", "split it", line, column)
    said, hint = _in_our_words(message, source)
    return BadExpression(said, hint, line, column)


def _in_our_words(message: str, source: str) -> tuple[str, str]:
    if found := re.match(r"undeclared reference to '([^']*)'", message):
        return _unknown_name(found[1], source)
    if found := re.match(r"found no matching overload for '([^']*)' applied to '(.*)'", message):
        return _wrong_types(found[1].replace("@", "").strip("_") or found[1], found[2])
    if "input '<EOF>'" in message:
        return "the expression ends too early", "a value is missing at the end, or a ( [ or { is not closed"
    message = re.sub(r" expecting .*", "", message).removeprefix("Syntax error: ").removesuffix(" [INVALID_ARGUMENT]")
    if found := re.search(r"'(and|or|not|AND|OR|NOT|is|if)'", message):
        word = found[1].lower()
        return f"CEL has no word {word!r}", "write && for and, || for or, ! for not, == for is, A ? B : C for if"
    if re.search(r"token recognition error at: '[\"']", message):
        return "a quote is not closed", "close it, or take it away"
    if re.search(r"token recognition error at: '='", message) or re.search(r"[^=!<>]=[^=]", _bare(source)):
        return f"this is not CEL: {message}", "write == to compare"
    return f"this is not CEL: {message}", "see docs/playbooks.md for what expressions may say"


def _unknown_name(name: str, source: str) -> tuple[str, str]:
    functions = (
        "size",
        "has",
        "matches",
        "startsWith",
        "endsWith",
        "contains",
        "exists",
        "all",
        "filter",
        "map",
        "timestamp",
        "duration",
    )
    called = re.search(rf"\b{re.escape(name)}\s*\(", source) is not None
    near = nearest(name, functions if called else ROOTS)
    if near:
        return f"unknown {'function' if called else 'name'} {name!r}", f"did you mean {near!r}?"
    if called:
        return f"unknown function {name!r}", "known are: " + ", ".join(functions) + " and the others of CEL's standard library"
    return f"unknown name {name!r}", f'an expression may name {", ".join(ROOTS)}; text needs quotes: "{name}"'


def _wrong_types(operator: str, types: str) -> tuple[str, str]:
    kinds = [_WORDS.get(kind.strip(), kind.strip()) for kind in types.strip("()").split(",")]
    if len(kinds) == 2 and set(kinds) == {"a whole number", "a decimal number"}:
        return f"{operator!r} does not mix a decimal and a whole number", "write the whole number with a point: 1.0 instead of 1"
    if kinds[-1:] == ["null"]:
        return f"{operator!r}: this value is never null", "a field that may be missing is asked with has(event.data.field)"
    return (
        f"{operator!r} does not fit {' and '.join(kinds)}",
        "both sides must be of one kind; text needs quotes, numbers must not have any",
    )


# --- evaluating -----------------------------------------------------------------------------------------------------


class Activation:
    """The variables of one moment, checked once and used by all expressions of a template."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._ready: dict[str, Any] = {}

    def value(self, expression: Expression) -> Any:
        """The plain value. Raises CannotSay."""
        given = {name: self._root(name) for name in expression.roots if name in self._variables}
        if "event" in given and (expression.typed or expression.attributes):
            self._put_fields(given, expression)
        try:
            answer = expression.program.eval(data=given)
            kind = answer.type().name()
            if kind == "BOOL":
                return bool(answer.value())
            plain = answer.plain_value()
        except RuntimeError as error:  # a text that is no Unicode, or more than 10,000 rounds
            raise CannotSay(_reason(str(error), expression, self._variables)) from None
        if kind == "ERROR":
            raise CannotSay(_reason(str(plain), expression, self._variables))
        return plain

    def _root(self, name: str) -> Any:
        if name not in self._ready:
            value = self._variables[name]
            if name == "now":
                value = datetime.fromtimestamp(value, UTC)
            elif name in ("event", "steps"):
                check_bounds(value, name)
            self._ready[name] = value
        return self._ready[name]

    def _put_fields(self, given: dict[str, Any], expression: Expression) -> None:
        """A field that is missing or of another type stays out: CEL then cannot say, and `_reason` tells why."""
        event = given["event"]
        for name in expression.attributes:
            if isinstance(event.get(name), str):
                given[f"event.{name}"] = event[name]
        data = event.get("data")
        if isinstance(data, Mapping):
            for name, kind in expression.typed:
                if name in data and (fitting := fit(data[name], kind)) is not None:
                    given[f"event.data.{name}"] = fitting


def fit(value: Any, kind: str) -> Any:
    """The value as CEL's type, None when it is of another one. 2.0 is a whole number, 2 a decimal one, true neither."""
    if kind in ("int", "double"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if kind == "double":
            return float(value)
        return int(value) if value == value // 1 and abs(value) < 2**63 else None
    shape: dict[str, type] = {"string": str, "bool": bool, "map": dict, "list": list}
    return value if isinstance(value, shape[kind]) else None


def check_bounds(value: Any, name: str) -> None:
    """Raises CannotSay for what CEL must not see: too deep, or a list that is too long."""
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        current, depth = stack.pop()
        if isinstance(current, dict | Mapping):
            inside: Any = current.values()
        elif isinstance(current, list | tuple):
            if len(current) > LIST_MAX:
                raise CannotSay(f"{name} holds a list of {len(current)} entries; expressions read at most {LIST_MAX}")
            inside = current
        else:
            continue
        if depth > DEPTH_MAX:
            raise CannotSay(f"{name} is nested deeper than {DEPTH_MAX} levels")
        stack.extend((item, depth + 1) for item in inside if isinstance(item, dict | list | tuple | Mapping))


def _reason(text: str, expression: Expression, variables: Mapping[str, Any]) -> str:
    """Why an expression has no value: one sentence that a person can act on."""
    source = expression.source.strip()
    shown = source if len(source) <= 80 else source[:79] + "…"
    if found := re.search(r'No value with name "([^"]*)"', text):
        return f"{_missing(found[1], variables)} (in {shown})"
    if found := re.search(r'Key not found in map : "?([^"\n]*?)"?(?: \[|$)', text):
        return f"there is no {found[1]!r} (in {shown})"
    if "construction from null" in text:
        return f"a text in it is no Unicode (in {shown})"
    if "Iteration budget" in text:
        return f"it would take more than 10,000 rounds (in {shown})"
    if found := re.search(r"No matching overloads found : (.*)", text):
        return f"the values do not fit together: {found[1]} (in {shown})"
    return f"{text.split(': ', 1)[-1][:200]} (in {shown})"


def _missing(name: str, variables: Mapping[str, Any]) -> str:
    if name in ("score", "system_score"):
        return f"the {name.replace('_', ' ')} is not known yet"
    value: Any = variables
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return f"there is no {name}"
        value = value[part]
    return f"{name} is {_kind_of(value)}, and the catalogue of event types says otherwise"


def _kind_of(value: Any) -> str:
    names: dict[type, str] = {
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a decimal number",
        type(None): "null",
    }
    return names.get(type(value), "a list" if isinstance(value, list) else "a mapping")


def plain(value: Any, depth: int = 0) -> Any:
    """A value of CEL's as JSON: timestamps as RFC 3339, durations in seconds. Raises CannotSay for what JSON cannot say."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if value - value != 0.0:
            raise CannotSay("the value is not a finite number")
        return value
    if isinstance(value, datetime):
        return format_time(value.timestamp())
    if isinstance(value, timedelta):
        return value.total_seconds()
    if depth > DEPTH_MAX:
        raise CannotSay(f"the value is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise CannotSay("a mapping whose keys are no text cannot be written as JSON")
        return {key: plain(item, depth + 1) for key, item in value.items()}
    raise CannotSay(f"a value of the type {type(value).__name__} cannot be written as JSON")


@dataclass(frozen=True, slots=True)
class CelCondition:
    """`when` and `if`."""

    source: str
    expression: Expression

    def evaluate(self, variables: Mapping[str, Any]) -> Truth:
        try:
            value = Activation(variables).value(self.expression)
        except CannotSay as reason:
            return Truth(None, str(reason))
        if not isinstance(value, bool):
            return Truth(None, f"{self.source.strip()} is {_kind_of(value)}, not true or false")
        return Truth(value, f"{self.source.strip()} is {'true' if value else 'false'}")


def compile_condition(source: str, fields: Fields = ()) -> Condition:
    """A yes-or-no expression. Raises BadExpression."""
    expression = compile_expression(source, fields)
    if expression.kind not in ("BOOL", "DYN"):
        gives = _WORDS.get(expression.kind.lower(), expression.kind.lower())
        raise BadExpression(f"this gives {gives}, not true or false", "compare it with something: … == …, … < …")
    return CelCondition(source, expression)


# --- templates ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A text with expressions in it: its parts are plain text and expressions in turn."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class CelTemplate:
    """JSON with `${ }` in it. `tree` is the same JSON with `Text` or `Expression` where a value is put in."""

    source: Any
    tree: Any
    expressions: tuple[Expression, ...] = ()

    def render(self, variables: Mapping[str, Any]) -> Any:
        return _render(self.tree, Activation(variables)) if self.expressions else self.tree

    def part(self, name: str) -> CelTemplate | None:
        """The template of one member; None where there is none of this name."""
        if not isinstance(self.tree, dict) or name not in self.tree:
            return None
        return CelTemplate(self.source[name], self.tree[name], self.expressions)


def expressions_of(leaf: Any) -> tuple[Expression, ...]:
    """What a compiled leaf evaluates."""
    if isinstance(leaf, Expression):
        return (leaf,)
    return tuple(part for part in leaf.parts if isinstance(part, Expression)) if isinstance(leaf, Text) else ()


def compile_text(text: str, fields: Fields = ()) -> str | Expression | Text:
    """A text; an expression when it is one `${ }` and nothing else; or a mixture. `$${` is a plain `${`. Raises BadExpression."""
    parts: list[str | Expression] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > 0 and text[start - 1] == "$":
            parts.append(text[at : start - 1] + "${")
            at = start + 2
            continue
        end = _closing_brace(text, start + 2)
        if end < 0:
            raise BadExpression("${ is not closed", "add the }; a plain ${ is written $${", *_place(text, start))
        parts.append(text[at:start])
        parts.append(_inner(text, start + 2, end, fields))
        at = end + 1
    parts.append(text[at:])
    kept = tuple(part for part in parts if part != "")
    if not any(isinstance(part, Expression) for part in kept):
        return "".join(part for part in kept if isinstance(part, str))
    return kept[0] if len(kept) == 1 else Text(kept)


def _inner(text: str, start: int, end: int, fields: Fields) -> Expression:
    """Compile what stands between the braces; places are told within the whole text."""
    try:
        return compile_expression(text[start:end], fields)
    except BadExpression as error:
        before = text[:start]
        line = error.line + before.count("\n")
        column = error.column + (start - (before.rfind("\n") + 1) if error.line == 1 else 0)
        raise BadExpression(error.message, error.hint, line, column) from None


def _closing_brace(text: str, at: int) -> int:
    """The } that closes an expression: not one in quotes, nor one of a map in CEL. -1 when there is none in reach."""
    depth = 0
    end = min(len(text), at + SOURCE_MAX)
    while at < end:
        if quoted := _QUOTED.match(text, at, end):
            at = quoted.end()
            continue
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    return -1


def _render(tree: Any, activation: Activation) -> Any:
    if isinstance(tree, Expression):
        return plain(activation.value(tree))
    if isinstance(tree, Text):
        text = "".join(part if isinstance(part, str) else as_text(plain(activation.value(part))) for part in tree.parts)
        if len(text) > TEXT_MAX:
            raise CannotSay(f"the text becomes longer than {TEXT_MAX} characters")
        return text
    if isinstance(tree, dict):
        return {key: _render(item, activation) for key, item in tree.items()}
    return [_render(item, activation) for item in tree] if isinstance(tree, list) else tree


def as_text(value: Any) -> str:
    """A value inside text. Nothing is no text: a command with `null` in it is worse than none. Raises CannotSay."""
    if value is None:
        raise CannotSay("the value is null, which cannot stand inside text")
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value == value // 1 and abs(value) < 1e15:
        return str(int(value))
    return encode_json(value).decode()
