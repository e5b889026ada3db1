"""The kinds of values that settings hold: each is checked, and its mistake says how it is written.

Used by `sections` alone. The attribute carries its unit (`settle_s`), the file has the plain word (`settle = "10s"`).
"""

from __future__ import annotations

import os
import re
import typing
from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from aios.cron import parse_cron
from aios.events.durations import format_duration, parse_duration
from aios.events.limits import format_limit, parse_limit
from aios.playbooks.maintenance import zone_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def _duration(value: object) -> float:
    return parse_duration(typing.cast(str, value))


def _longer_than_nothing(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no name; use up to 64 letters, digits and _ . @ -, and begin with a letter or digit")
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"{path[:80]!r} is no absolute path; begin it with /")
    return os.path.normpath(path)


def _absolute_or_empty(path: str) -> str:
    return _absolute(path) if path else ""


def _time_of_day(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is no time of day; write it as 07:00")
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text[:80]!r} is no HTTP URL; write it as http://127.0.0.1:8080/health")
    return text


def _zone(text: str) -> str:
    if not text:
        return text
    zone_of(text)
    return text


def _cron(text: str) -> str:
    parse_cron(text)
    return text


def _log_level(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_AS_WRITTEN = PlainSerializer(format_duration, when_used="json")
Duration = Annotated[float, BeforeValidator(_duration), _AS_WRITTEN]
LongDuration = Annotated[float, BeforeValidator(_duration), AfterValidator(_longer_than_nothing), _AS_WRITTEN]
Name = Annotated[str, AfterValidator(_name)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
OptionalPath = Annotated[str, AfterValidator(_absolute_or_empty)]
Secret = Annotated[str, Field(min_length=6)]  # a shorter one would strike out ordinary words
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Zone = Annotated[str, AfterValidator(_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
Share = Annotated[float, Field(gt=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_log_level)]


def limit_of(name: str) -> tuple[BeforeValidator, PlainSerializer]:
    """How a limit of this name is read and written."""
    return BeforeValidator(partial(parse_limit, name)), PlainSerializer(partial(format_limit, name), when_used="json")
