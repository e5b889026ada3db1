"""The log: one line an event, safe on a terminal, never a reason to stop."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from aios import log


class Noon:
    def now(self) -> float:
        return 1_771_934_400.5

    def monotonic(self) -> float:
        return 0.0

    async def sleep_until(self, deadline: float) -> None:
        raise AssertionError("a log does not sleep")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before, root = log._output, logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    log._output = before
    root.handlers[:] = handlers
    root.setLevel(level)


def said(format: log.Format, stream: io.StringIO | None = None, **environ: str) -> str:
    stream = stream or io.StringIO()
    log.configure(format, "info", stream=stream, environ=environ, clock=Noon())
    log.get_logger("aios.x").bind(run="r1").warning("it broke", path="/a b", code=3)
    log.get_logger("aios.x").debug("not this")
    return stream.getvalue()


def test_a_line_for_people_has_level_name_sentence_and_fields() -> None:
    """Aligned, and values with blanks are quoted."""
    assert said("console").split(" ", 1)[1] == "warning aios.x: it broke run=r1 path='/a b' code=3\n"


def test_a_line_for_machines_is_one_json_object() -> None:
    """UTC, and numbers stay numbers."""
    assert json.loads(said("json")) == {
        "time": "2026-02-24T12:00:00.500+00:00",
        "level": "warning",
        "logger": "aios.x",
        "message": "it broke",
        "run": "r1",
        "path": "/a b",
        "code": 3,
    }


def test_colour_only_on_a_terminal_that_wants_it() -> None:
    """NO_COLOR is honoured."""
    assert "\033[33m" in said("auto", Terminal())
    assert "\033" not in said("auto", Terminal(), NO_COLOR="1")
    assert "\033" not in said("auto")


def test_under_systemd_the_priority_goes_first() -> None:
    """journald keeps the time itself."""
    assert said("auto", JOURNAL_STREAM="8:1") == "<4>aios.x: it broke run=r1 path='/a b' code=3\n"


def test_what_is_logged_cannot_steer_a_terminal() -> None:
    """Escape sequences, line ends, direction marks and half characters are shown, not sent."""
    stream = io.StringIO()
    log.configure("console", "info", stream=stream)
    log.get_logger("x").info("a\n\033[2Jb", c="\u202egnp\x9b", d="\ud800")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()
    assert "a\\n\\x1b[2Jb" in line


def test_a_library_speaks_through_the_same_output() -> None:
    """Its warnings are shown, its chatter is not."""
    stream = io.StringIO()
    log.configure("console", "info", stream=stream)
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("careful %s", "now")
    assert "warning library: careful now" in stream.getvalue()
    assert "chatter" not in stream.getvalue()


def test_a_closed_standard_error_stops_nobody() -> None:
    """The daemon heals on when nobody listens."""
    stream = io.StringIO()
    log.configure("console", "info", stream=stream)
    stream.close()
    log.get_logger("x").error("still here")


def test_a_huge_value_is_cut() -> None:
    """A log is no place for a whole line of the journal."""
    stream = io.StringIO()
    log.configure("json", "info", stream=stream)
    log.get_logger("x").info("big", value="v" * 100_000)
    assert len(stream.getvalue()) < log.VALUE_MAX + 300


def test_an_exception_tells_where_it_came_from() -> None:
    """The traceback is a field of the line."""
    stream = io.StringIO()
    log.configure("json", "info", stream=stream)
    try:
        raise LookupError("lost")
    except LookupError as error:
        log.get_logger("x").exception("bug", error)
    assert "LookupError: lost" in json.loads(stream.getvalue())["traceback"]
