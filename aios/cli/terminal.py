"""What a command has in its hand: output, errors, environment, clock; and how things look.

Every word that comes from outside passes `printable` here, so no event can steer a terminal. Colour only on a terminal that
wants it (NO_COLOR). Tests make a `Terminal` over strings.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

from aios.clock import Clock, SystemClock
from aios.events.codec import decode_json, encode_json
from aios.events.event import parse_time
from aios.log import printable

_STYLES = {
    "bold": "\033[1m",
    "dim": "\033[2m",
    "red": "\033[31m",
    "green": "\033[32m",
    "yellow": "\033[33m",
    "critical": "\033[1;31m",
}
_PLAIN = "\033[0m"
_GAP = "  "

STYLE_OF: Mapping[str, str] = {
    "critical": "critical",
    "error": "red",
    "warning": "yellow",
    "healed": "green",
    "cleared": "green",
    "up": "green",
    "well": "green",
    "ok": "green",
    "escalated": "red",
    "not_healed": "red",
    "rolled_back": "yellow",
    "unknown": "yellow",
    "waiting": "yellow",
    "suggested": "yellow",
    "down": "red",
    "bad": "red",
    "info": "",
}
"""The colour of a word that means well or ill, wherever it stands in a table."""


@dataclass
class Terminal:
    out: TextIO
    err: TextIO
    input: TextIO
    environ: Mapping[str, str]
    clock: Clock = field(default_factory=SystemClock)

    @property
    def interactive(self) -> bool:
        return self.out.isatty()

    @property
    def coloured(self) -> bool:
        return self.interactive and not self.environ.get("NO_COLOR") and self.environ.get("TERM") != "dumb"

    def say(self, line: str = "", style: str = "") -> None:
        """One line for people; what could steer the terminal, or forge a second line, is shown as escapes."""
        self.out.write(self._styled(printable(line), style) + "\n")

    def title(self, line: str) -> None:
        """What stands below belongs together."""
        self.say()
        self.say(line, "bold")

    def page(self, text: str, style: str = "") -> None:
        """Several lines, as they are in a file."""
        for line in text.split("\n"):
            self.say(line, style)

    def complain(self, text: str) -> None:
        """Lines on standard error."""
        for line in text.split("\n"):
            self.err.write(printable(line) + "\n")

    def json(self, value: Any) -> None:
        """One JSON document on one line; it is safe on a terminal too."""
        text = encode_json(value).decode()
        if not text.isprintable():
            text = "".join(c if c.isprintable() else _json_escape(c) for c in text)
        self.out.write(text + "\n")

    def json_text(self, text: str) -> None:
        """The same of what is JSON already: there is no other character in it that steers a terminal and is ASCII."""
        if text.isascii() and not any(character in text for character in "\t\n\r\x7f"):
            self.out.write(text + "\n")
        else:
            self.json(decode_json(text))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns. On a terminal the last one is cut at its width; into a pipe nothing is cut."""
        cells = [[printable(str(cell)) for cell in row] for row in rows]
        widths = [max((wide(row[i]) for row in (heads, *cells)), default=0) for i in range(len(heads))]
        self.out.write(self._styled(_aligned([h.upper() for h in heads], widths), "dim") + "\n")
        for row in cells:
            self.out.write(self._cut(row, widths) + "\n")

    def facts(self, facts: Iterable[tuple[str, object]]) -> None:
        """`name: value` lines, aligned; what is empty is left out."""
        shown = [(name, printable(str(value))) for name, value in facts if value not in ("", None, [], {})]
        width = max((wide(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.out.write(f"{self._styled(_pad(name, width), 'dim')}{_GAP}{self._styled(value, STYLE_OF.get(value, ''))}\n")

    def when(self, time: str | float) -> str:
        """Local time and how long ago: `2026-02-24 08:15:30 (3m ago)`."""
        return f"{self.local(time)} ({self.ago(time)})" if time else ""

    def local(self, time: str | float) -> str:
        try:
            return datetime.fromtimestamp(_seconds(time)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        except (ValueError, OverflowError, OSError):  # a time from outside may be any text
            return str(time)

    def ago(self, time: str | float) -> str:
        try:
            age = self.clock.now() - _seconds(time)
        except (ValueError, OverflowError):
            return "?"
        return f"{rough(age)} ago" if age >= 0 else f"in {rough(-age)}"

    def _styled(self, text: str, style: str) -> str:
        return f"{_STYLES[style]}{text}{_PLAIN}" if style and self.coloured else text

    def _cut(self, row: Sequence[str], widths: Sequence[int]) -> str:
        if self.interactive and row:
            room = self._columns() - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
            row = [*row[:-1], cut(row[-1], max(room, 10))]
        padded = [_pad(cell, width) for cell, width in zip(row, widths, strict=True)]
        padded[-1] = row[-1]
        return _GAP.join(self._styled(text, STYLE_OF.get(cell, "")) for text, cell in zip(padded, row, strict=True)).rstrip()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.out.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def system_terminal() -> Terminal:
    """The real one. What the locale cannot say is written as escapes rather than as a failure."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return Terminal(sys.stdout, sys.stderr, sys.stdin, os.environ)


def wide(text: str) -> int:
    """Columns that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def cut(text: str, columns: int) -> str:
    if wide(text) <= columns:
        return text
    while text and wide(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def rough(seconds: float) -> str:
    """A length of time in one unit, as people say it."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.0f}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.0f}ms"


def _seconds(time: str | float) -> float:
    return parse_time(time) if isinstance(time, str) else time


def _pad(text: str, width: int) -> str:
    return text + " " * (width - wide(text))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
