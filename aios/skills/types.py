"""What a skill's parameters may be: `Annotated` types that say what is wrong and what to write instead.

The metadata (`Checked`) is a plain value here. Only the daemon's `catalogue.py` makes pydantic look at it; hands imports this
module too and never loads pydantic. Each check takes anything and returns plain JSON, or raises `ValueError` with half a sentence
that holds the cure; the catalogue puts the parameter's name before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from aios.events.durations import LONGEST_S, parse_duration
from aios.nearest import nearest

TEXT_MAX = 4096
ARGV_MAX = 256
ARGV_BYTES_MAX = 64 * 1024
PID_MAX = 1 << 22
"""The kernel's own limit (PID_MAX_LIMIT)."""
LIMIT_MAX = 1 << 30

UNIT_SUFFIXES = ("service", "socket", "target", "timer", "mount", "path", "slice", "scope", "device", "swap", "automount")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\\@-]{0,240}\.(" + "|".join(UNIT_SUFFIXES) + ")", re.ASCII)
_AGENT = re.compile(r"agent:[A-Za-z0-9][A-Za-z0-9_.@-]{0,120}", re.ASCII)
_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?(/[!-~]*)?", re.ASCII)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:.]{2,45}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checked:
    """One check and the JSON Schema that editors see. `__get_pydantic_…` is pydantic's own protocol for such metadata."""

    check: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(compare=False)  # `X | None` hashes its parts, and a mapping has no hash

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema  # only the daemon gets here; hands must stay small

        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        return dict(self.schema)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is no {what}; write it as text")
    if len(value) > TEXT_MAX or any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        raise ValueError(f"{_shown(value)} is no {what}; at most {TEXT_MAX} characters, none of them a control character")
    return value


def check_unit(value: Any) -> str:
    text = _text(value, "unit name")
    if _UNIT.fullmatch(text) or _AGENT.fullmatch(text):
        return text
    bare = re.sub(r"[^A-Za-z0-9_.@-]", "", text).lstrip("-.@_") or "nginx"
    stem, dot, ending = bare.rpartition(".")
    if dot and (near := nearest(ending, UNIT_SUFFIXES)):
        raise ValueError(f"{_shown(text)} is no unit name; did you mean {stem}.{near}?")
    raise ValueError(f"{_shown(text)} is no unit name; write {bare}.service")


def check_path(value: Any) -> str:
    text = _text(value, "absolute path")
    parts = text.split("/")
    if not text.startswith("/"):
        raise ValueError(f"{_shown(text)} is no absolute path; begin it with /")
    if ".." in parts or "." in parts:
        raise ValueError(f"{_shown(text)} holds a '.' or '..' part; write the path without")
    return "/" + "/".join(part for part in parts if part)


def check_argv(value: Any) -> list[str]:
    if isinstance(value, str):
        raise ValueError(f"{_shown(value)} is one text; write a list of arguments, such as [{', '.join(value.split()[:4])}]")
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{_shown(value)} is no command; write a list of arguments, such as [nginx, -t]")
    if len(value) > ARGV_MAX or not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in value):
        raise ValueError(f"a command is at most {ARGV_MAX} arguments, each a text or a number")
    argv = [str(part) for part in value]
    if any("\0" in part for part in argv) or sum(map(len, argv)) > ARGV_BYTES_MAX:
        raise ValueError(f"a command is at most {ARGV_BYTES_MAX} characters without a zero byte")
    if not argv[0] or argv[0].startswith("-"):
        raise ValueError(f"{_shown(argv[0])} is no program; name one first, such as [nginx, -t]")
    return argv


def number_within(value: Any, low: int, high: int, what: str, more: str = "") -> int:
    """A whole number, both ends included; `more` ends the message. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{_shown(value)} is no {what}; write a number from {low} to {high}{more}")
    return value


def check_port(value: Any) -> int:
    return number_within(value, 1, 65535, "port")


def check_duration(value: Any) -> float:
    """Seconds, from `1h30m` or `250ms`. A number is what this check gave once, so it is taken as seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_S:
        return float(value)
    return parse_duration(value)


def check_url(value: Any) -> str:
    text = _text(value, "URL")
    found = _URL.fullmatch(text)
    if not found:
        raise ValueError(f"{_shown(text)} is no URL; write one such as http://127.0.0.1:8080/health")
    if found[3]:
        check_port(int(found[3][1:]))
    return text


def check_host(value: Any) -> str:
    text = _text(value, "host")
    if not _HOST.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no host; write a name or an address, such as 127.0.0.1")
    return text


def check_count(value: Any) -> int:
    return number_within(value, 1, 10_000, "count")


def check_whole(value: Any) -> int:
    return number_within(value, 0, 1_000_000, "whole number")


def check_pid(value: Any) -> int:
    return number_within(value, 1, PID_MAX, "process id")


def check_nice(value: Any) -> int:
    return number_within(value, -20, 19, "nice value")


def check_limit(value: Any) -> int | str:
    if value == "none":
        return "none"
    return number_within(value, 1, LIMIT_MAX, "limit", ", or none")


def check_path_list(value: Any) -> list[str]:
    return check_paths(value) if not isinstance(value, list | tuple) or value else []


def check_units(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or len(value) > 100:
        raise ValueError(f"{_shown(value)} is no list of units; write one such as [nginx.service]")
    return [check_unit(unit) for unit in value]


def check_paths(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 1000:
        raise ValueError(f"{_shown(value)} is no list of paths; write one such as [/etc/nginx]")
    return [check_path(path) for path in value]


def check_mode(value: Any) -> str:
    """A file mode as octal text (`"0640"`), because YAML reads 0640 as a decimal number."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
        return value.zfill(4)
    raise ValueError(f'{_shown(value)} is no file mode; write it as text in octal, such as "0640"')


def check_message(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_MAX or "\0" in value:
        raise ValueError(f"{_shown(value)} is no message; write a text of at most {TEXT_MAX} characters")
    return value


def check_user(value: Any) -> str:
    """A user's name, or nothing."""
    text = _text(value, "user's name")
    if text and not _USER.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no user's name; write it as in /etc/passwd, such as www-data")
    return text


def check_environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > 100:
        raise ValueError(f"{_shown(value)} is no environment; write names with their values, such as {{LANG: C}}")
    for name, text in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,120}", name, re.ASCII):
            raise ValueError(f"{_shown(name)} is no name of a variable; letters, digits and _ only")
        if not isinstance(text, str) or len(text) > TEXT_MAX or "\0" in text:
            raise ValueError(f"variable {name} is no text of at most {TEXT_MAX} characters; put its value in quotes")
    return dict(value)


_STR = {"type": "string"}

UnitName = Annotated[str, Checked(check_unit, {**_STR, "examples": ["nginx.service", "agent:coder"]})]
AbsolutePath = Annotated[str, Checked(check_path, {**_STR, "pattern": "^/", "examples": ["/etc/nginx"]})]
Paths = Annotated[tuple[str, ...], Checked(check_paths, {"type": "array", "minItems": 1, "items": {**_STR, "pattern": "^/"}})]
Argv = Annotated[
    tuple[str, ...],
    Checked(check_argv, {"type": "array", "minItems": 1, "items": {"type": ["string", "number"]}, "examples": [["nginx", "-t"]]}),
]
Port = Annotated[int, Checked(check_port, {"type": "integer", "minimum": 1, "maximum": 65535})]
Duration = Annotated[float, Checked(check_duration, {"type": ["string", "number"], "examples": ["30s", "5m", "2h"]})]
Url = Annotated[str, Checked(check_url, {**_STR, "pattern": "^https?://", "examples": ["http://127.0.0.1/"]})]
Host = Annotated[str, Checked(check_host, {**_STR, "examples": ["127.0.0.1"]})]
Count = Annotated[int, Checked(check_count, {"type": "integer", "minimum": 1, "maximum": 10000})]
Pid = Annotated[int, Checked(check_pid, {"type": "integer", "minimum": 1, "maximum": PID_MAX})]
Nice = Annotated[int, Checked(check_nice, {"type": "integer", "minimum": -20, "maximum": 19})]
Limit = Annotated[
    int | str,
    Checked(
        check_limit, {"anyOf": [{"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}, {"const": "none"}], "examples": [512]}
    ),
]
WholeNumber = Annotated[int, Checked(check_whole, {"type": "integer", "minimum": 0})]
PathList = Annotated[tuple[str, ...], Checked(check_path_list, {"type": "array", "items": {**_STR, "pattern": "^/"}})]
UnitNames = Annotated[tuple[str, ...], Checked(check_units, {"type": "array", "items": _STR})]
FileMode = Annotated[str, Checked(check_mode, {**_STR, "pattern": "^0?[0-7]{3}$", "examples": ["0640"]})]
Message = Annotated[str, Checked(check_message, {**_STR, "minLength": 1, "maxLength": TEXT_MAX})]
UserName = Annotated[str, Checked(check_user, {**_STR, "examples": ["www-data"]})]
Environment = Annotated[
    Mapping[str, str], Checked(check_environment, {"type": "object", "additionalProperties": {"type": "string"}})
]
