"""What the daemon and hands say on standard error: one line an event, for people or as JSON.

`configure` is called once by each process's wiring; everybody else holds `get_logger(name)`. A library's own records (they come
through `logging`) take the same way out. Written out here rather than taken from structlog: that costs 7 MB and 40 ms of a
daemon that must be light, and what is used of it is this page.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TextIO

from aios.clock import Clock, SystemClock

Format = Literal["auto", "console", "json"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "\033[2m", "info": "\033[32m", "warning": "\033[33m", "error": "\033[31m"}
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_PLAIN = "\033[0m"
VALUE_MAX = 2000
"""Characters of one value; a log is no place for a whole journal line."""


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters, direction marks and the like are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Renderer(Protocol):
    def __call__(self, level: str, name: str, message: str, fields: Mapping[str, Any], now: float) -> str: ...


def render_json(level: str, name: str, message: str, fields: Mapping[str, Any], now: float) -> str:
    import json  # who logs for people does not pay for it

    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    values = {key: _cut(value) for key, value in fields.items()}
    return json.dumps({"time": time, "level": level, "logger": name, "message": message, **values}, default=str)


def render_console(level: str, name: str, message: str, fields: Mapping[str, Any], now: float) -> str:
    time = datetime.fromtimestamp(now).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{time} {level:7} {name}: {_sentence(message, fields)}"


def render_colour(level: str, name: str, message: str, fields: Mapping[str, Any], now: float) -> str:
    time = datetime.fromtimestamp(now).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"\033[2m{time}{_PLAIN} {_COLOURS[level]}{level:7}{_PLAIN} {name}: {_sentence(message, fields)}"


def render_journald(level: str, name: str, message: str, fields: Mapping[str, Any], now: float) -> str:  # noqa: ARG001 - it has its own clock
    """systemd's journal keeps the time itself and reads the priority from the beginning (sd-daemon(3))."""
    return f"<{_SYSLOG[level]}>{name}: {_sentence(message, fields)}"


def _sentence(message: str, fields: Mapping[str, Any]) -> str:
    return " ".join((printable(message), *(f"{key}={_shown(value)}" for key, value in fields.items())))


def _shown(value: Any) -> str:
    text = printable(str(_cut(value)))
    return repr(text) if " " in text or not text else text


def _cut(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= VALUE_MAX else text[:VALUE_MAX] + "…"


class Output:
    """Where lines go. One for each process."""

    def __init__(self, render: Renderer, level: str, stream: TextIO, clock: Clock) -> None:
        self.render, self.least, self.stream, self.clock = render, LEVELS[level], stream, clock

    def put(self, level: str, name: str, message: str, fields: Mapping[str, Any]) -> None:
        if LEVELS[level] < self.least:
            return
        line = self.render(level, name, message, fields, self.clock.now())
        try:
            self.stream.write(line + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads standard error any more: no reason to stop healing
            pass


_output = Output(render_console, "info", sys.stderr, SystemClock())


class Logger:
    """Says what happened as one short sentence, with its facts as fields: `log.info("ready", events=12)`."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        self.name, self.fields = name, fields or {}

    def bind(self, **fields: Any) -> Logger:
        """A logger that adds these fields to all it says."""
        return Logger(self.name, {**self.fields, **fields})

    def debug(self, message: str, **fields: Any) -> None:
        _output.put("debug", self.name, message, {**self.fields, **fields})

    def info(self, message: str, **fields: Any) -> None:
        _output.put("info", self.name, message, {**self.fields, **fields})

    def warning(self, message: str, **fields: Any) -> None:
        _output.put("warning", self.name, message, {**self.fields, **fields})

    def error(self, message: str, **fields: Any) -> None:
        _output.put("error", self.name, message, {**self.fields, **fields})

    def exception(self, message: str, error: BaseException, **fields: Any) -> None:
        """An error that nobody expected, with where it came from."""
        import traceback  # only a bug pays for it

        where = "".join(traceback.format_exception(error))
        _output.put("error", self.name, message, {**self.fields, **fields, "traceback": where[-VALUE_MAX:]})


class _FromLibraries(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = next((word for word, number in reversed(LEVELS.items()) if record.levelno >= number), "debug")
        fields: dict[str, Any] = {}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        _output.put(level, record.name, record.getMessage(), fields)


def get_logger(name: str) -> Logger:
    """A logger may be taken before `configure`: it looks for the output each time it speaks."""
    return Logger(name)


def configure(
    format: Format = "auto",
    level: str = "info",
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> None:
    """Set the one output of this process. `environ` (os.environ) tells of NO_COLOR and of systemd's journal (JOURNAL_STREAM)."""
    global _output
    stream = stream or sys.stderr
    known = os.environ if environ is None else environ
    _output = Output(_renderer(format, stream, known), level, stream, clock or SystemClock())
    root = logging.getLogger()
    root.handlers[:] = [_FromLibraries()]
    root.setLevel(max(LEVELS[level], logging.WARNING if level != "debug" else 0))  # libraries chat


def _renderer(format: Format, stream: TextIO, environ: Mapping[str, str]) -> Renderer:
    if format == "json":
        return render_json
    if stream.isatty():
        return render_console if environ.get("NO_COLOR") else render_colour
    return render_journald if format == "auto" and environ.get("JOURNAL_STREAM") else render_console
