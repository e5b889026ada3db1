"""Text from outside made fit for a report: no control characters, no end, and no meaning to Markdown. Pure."""

from __future__ import annotations

import shlex
import unicodedata
from typing import Any

LONGEST = 200
_CELL = 60

# Besides controls: what reorders or hides text on a terminal or page (bidirectional marks, joiners, tags, line separators).
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_MEANINGFUL = str.maketrans({sign: f"\\{sign}" for sign in "\\`*[]<>|~"} | {"&": "&amp;"})


def plain(raw: Any, longest: int = LONGEST) -> str:
    """One line of visible characters, bounded."""
    text = raw if isinstance(raw, str) else "" if raw is None else str(raw)
    cut = text[: longest + 1]
    clean = "".join(" " if sign in "\t\n\r" else "\ufffd" if unicodedata.category(sign) in _HIDDEN else sign for sign in cut)
    return clean if len(cut) <= longest else clean[: longest - 1] + "…"


def escaped(text: str, longest: int = _CELL) -> str:
    """As `plain`, and no sign of it means anything to Markdown or HTML."""
    return plain(text, longest).translate(_MEANINGFUL)


def argument(raw: str) -> str:
    """One argument of a command that a person will paste into a shell."""
    return shlex.quote(plain(raw))


def width(text: str) -> int:
    """Columns on a terminal."""
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def span(seconds: float | None) -> str:
    """A duration for people: `180 ms`, `4.2 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(minutes / 60)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
