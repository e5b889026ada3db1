"""What the daemon and hands say on standard error: one line an event, for people or as JSON. The one door to structlog.

`configure` is called once by each process's wiring; everybody else holds `get_logger(name)`. A library's own records (they come
through `logging`) take the same way out. structlog loads when the first line is said (30 ms and 5 MB): a command that says
nothing, and hands as long as all is well, never pay for it, and the daemon pays after it is ready.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from aios.clock import Clock, SystemClock

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

Format = Literal["auto", "console", "json"]
Fields = MutableMapping[str, Any]
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


# --- processors: each takes the line's fields one step further, the last makes them text ------------------------------


def cut_values(_logger: Any, _method: str, fields: Fields) -> Fields:
    """No value is longer than `VALUE_MAX`."""
    for key, value in fields.items():
        if value is not None and not isinstance(value, (bool, int, float)):
            text = str(value)
            fields[key] = text if len(text) <= VALUE_MAX else text[:VALUE_MAX] + "…"
    return fields


def render_json(_logger: Any, _method: str, fields: Fields) -> str:
    """One object a line, UTC."""
    from structlog.processors import JSONRenderer  # structlog is loaded by now

    head = {"time": datetime.fromtimestamp(fields.pop("now"), UTC).isoformat(timespec="milliseconds")}
    head |= {"level": fields.pop("level"), "logger": fields.pop("logger"), "message": fields.pop("event")}
    return str(JSONRenderer()(None, "", {**head, **fields}))


def render_console(_logger: Any, _method: str, fields: Fields) -> str:
    """For people, in local time."""
    time, level, name = _local(fields.pop("now")), fields.pop("level"), fields.pop("logger")
    return f"{time} {level:7} {name}: {_sentence(fields)}"


def render_colour(_logger: Any, _method: str, fields: Fields) -> str:
    time, level, name = _local(fields.pop("now")), fields.pop("level"), fields.pop("logger")
    return f"\033[2m{time}{_PLAIN} {_COLOURS[level]}{level:7}{_PLAIN} {name}: {_sentence(fields)}"


def render_journald(_logger: Any, _method: str, fields: Fields) -> str:
    """systemd's journal keeps the time itself and reads the priority from the beginning (sd-daemon(3))."""
    del fields["now"]
    return f"<{_SYSLOG[fields.pop('level')]}>{fields.pop('logger')}: {_sentence(fields)}"


def _local(now: float) -> str:
    return datetime.fromtimestamp(now).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _sentence(fields: Fields) -> str:
    return " ".join((printable(str(fields.pop("event"))), *(f"{key}={_shown(value)}" for key, value in fields.items())))


def _shown(value: Any) -> str:
    text = printable(str(value))
    return repr(text) if " " in text or not text else text


# --- the one output of a process --------------------------------------------------------------------------------------


class Output:
    """Where lines go, and how they look. structlog is built when the first line comes."""

    def __init__(self, render: Processor, level: str, stream: TextIO, clock: Clock) -> None:
        self.render, self.least, self.stream, self.clock = render, LEVELS[level], stream, clock
        self._built: FilteringBoundLogger | None = None

    def logger(self) -> FilteringBoundLogger:
        if self._built is None:
            import structlog  # see the head of this file

            self._built = structlog.wrap_logger(
                self,
                processors=[structlog.processors.add_log_level, self._stamp, cut_values, self.render],
                wrapper_class=structlog.make_filtering_bound_logger(self.least),
                context_class=dict,
            )
        return self._built

    def _stamp(self, _logger: Any, _method: str, fields: Fields) -> Fields:
        fields["now"] = self.clock.now()
        return fields

    def msg(self, line: str) -> None:
        """structlog's end of the chain."""
        try:
            self.stream.write(line + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads standard error any more: no reason to stop healing
            pass

    debug = info = warning = error = msg


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
        self._say("debug", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._say("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._say("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._say("error", message, fields)

    def exception(self, message: str, error: BaseException, **fields: Any) -> None:
        """An error that nobody expected, with where it came from."""
        import traceback  # only a bug pays for it

        where = "".join(traceback.format_exception(error))
        self._say("error", message, {**fields, "traceback": where[-VALUE_MAX:]})

    def _say(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        if LEVELS[level] >= _output.least:
            getattr(_output.logger(), level)(message, **{"logger": self.name, **self.fields, **fields})


class _FromLibraries(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = next((word for word, number in reversed(LEVELS.items()) if record.levelno >= number), "debug")
        fields: dict[str, Any] = {}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        Logger(record.name)._say(level, record.getMessage(), fields)


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


def _renderer(format: Format, stream: TextIO, environ: Mapping[str, str]) -> Processor:
    if format == "json":
        return render_json
    if stream.isatty():
        return render_console if environ.get("NO_COLOR") else render_colour
    return render_journald if format == "auto" and environ.get("JOURNAL_STREAM") else render_console
