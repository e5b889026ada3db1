"""What is wrong with the settings, where it stands, and what to do: pydantic's problems in the operator's words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aios.errors import ConfigError
from aios.nearest import did_you_mean
from aios.settings.fields import default_text, dotted, look_up, section_of
from aios.settings.sections import NAME_TWICE, NO_ADDRESS

_ADDRESS = 'give it url = "http://127.0.0.1:8080/health", or host and port'


def explain(error: ValidationError, file: str, text: str, origins: Mapping[tuple[str, ...], str]) -> list[ConfigError]:
    from aios.toml_places import key_places, nearest_place  # only a mistake pays for it

    places = key_places(text)
    lines = text.split("\n")
    found = []
    for problem in error.errors(include_url=False):
        path = _path_of(problem)
        variable = next((name for at, name in origins.items() if at == path[: len(at)]), "")
        place = nearest_place(places, path)
        snippet = lines[place.line - 1][:200] if place.line and not variable else ""
        message, hint = _in_words(problem["type"], problem["msg"], path, problem.get("input"))
        if problem["type"] == NAME_TWICE:
            message, hint = problem["msg"], ""
        where = (0, 0) if variable else place
        found.append(ConfigError(variable or file, message, *where, hint, snippet))
    return found


def _path_of(problem: ErrorDetails) -> tuple[str | int, ...]:
    """Where it stands: a name that is there twice stands in the second entry, though the whole file was judged."""
    if problem["type"] == NAME_TWICE:
        told = problem["ctx"]
        return (told["what"], told["index"], "name")
    return tuple(problem["loc"])


def _in_words(kind: str, message: str, path: tuple[str | int, ...], value: object) -> tuple[str, str]:
    """Message and cure for one of pydantic's problems."""
    name = dotted(path)
    model, field = look_up(path)
    if kind == "extra_forbidden":
        known = [entry.alias or key for key, entry in model.model_fields.items()]
        return f"there is no setting {name!r}", did_you_mean(str(path[-1]), known)
    if kind == NO_ADDRESS:
        return f"{name}: {message}", _ADDRESS
    if kind == "tuple_type" and path:
        return _no_list(path, value)
    cure = _example(str(path[-1]), field) if path and isinstance(path[-1], str) else ""
    if kind == "missing":
        return f"{name!r} is missing", cure
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        return (f"{name}: {text}" if name else text), cure
    shown = "" if isinstance(value, (Mapping, list, tuple)) else f", not {str(value)[:80]!r}"
    return f"{name}: {message[0].lower()}{message[1:]}{shown}", cure


def _no_list(path: tuple[str | int, ...], value: object) -> tuple[str, str]:
    """What should be a list, and how this one is written: a table of its own, or what was meant in brackets."""
    name, key = dotted(path), str(path[-1])
    _, field = look_up(path)
    if field is not None and section_of(field.annotation) is not None:
        if isinstance(value, Mapping):
            return f"[{name}] is one table, and there may be several", f"write [[{name}]], with two brackets"
        return f"{name} is a list of tables", f"write [[{name}]], with two brackets, and what belongs to it below"
    words = _words(value) if key == "argv" else [str(value)]
    return f"{name} is a list", f"write {key} = [{', '.join(_quoted(word) for word in words)}]"


def _words(value: object) -> list[str]:
    """A command line as a list, as a shell would cut it; what no shell understands stays whole."""
    try:
        return shlex.split(str(value)) or [""]
    except ValueError:
        return [str(value)]


def _quoted(word: str) -> str:
    return '"' + word[:80].replace("\\", "\\\\").replace('"', '\\"') + '"'


def _example(name: str, field: FieldInfo | None) -> str:
    """A line that would do, and what it means."""
    if field is None:
        return ""
    shown = default_text(field)
    example = f"write, say, {name} = {shown}: " if shown not in ("", "{}") else ""
    return example + (field.description or "")
