"""Playbooks as text: how a value that comes from anybody is written into YAML or a comment so that it stays what it is.

`original` (import) and `drafting` (`aios playbook new`) write playbooks with it. Texts are double-quoted where a bare word might
be read as something else; whatever does not print becomes an escape, so that no text ends its line, its quotes or its comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCHEMA_LINE = "# yaml-language-server: $schema=playbook.schema.json"
COMMENT_COLUMNS = 120
_BARE = re.compile(r"[A-Za-z/][A-Za-z0-9_/.\-]*\Z")
_WORDS_OF_YAML = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"})


def quoted(text: str) -> str:
    """A text as a YAML scalar of one line."""
    if _BARE.match(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # half a character: YAML has no way to write it
        return "\\uFFFD"
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def literal(text: str) -> str:
    """A text where `${` would be read as an expression: it is written so that it is not."""
    return quoted(text.replace("${", "$ {"))


def flow(value: Any) -> str:
    """Any JSON value in YAML's flow style, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(name))}: {flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else "null" if value is None else repr(value)


def comment(text: str, indent: str = "") -> str:
    """Text as lines of comment; what does not print is shown as an escape, and nothing gets out of it."""
    shown = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
    lines: list[str] = [""]
    for word in shown.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > COMMENT_COLUMNS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(f"{indent}# {line}".rstrip() for line in lines)


def slug(text: str) -> str:
    """A playbook's name made of any text; empty when nothing of it can stand in a name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].rstrip("-")
