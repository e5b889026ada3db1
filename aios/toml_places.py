"""Where in a TOML text each key stands, because tomllib does not tell.

A scan that only has to be right about texts that tomllib has read without complaint. It knows tables, arrays of tables,
dotted and quoted keys, and steps over comments, texts and lists; what stands inside an inline table or a list counts as
standing where its key does, which is honest and near enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Both count from 1."""

    line: int
    column: int


_KEY = re.compile(r"""[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*(\.)?""")
_HEADER = re.compile(r"[ \t]*(\[\[?)")
_SKIP = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)


def key_places(text: str) -> dict[Path, Place]:
    """Each key's path to where it is written first. Entries of `[[name]]` count from 0."""
    places: dict[Path, Place] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for offset, line_number in _statements(text):
        header = _HEADER.match(text, offset)
        names, column = _dotted(text, header.end() if header else offset, offset)
        if not names:
            continue
        if header:
            table = _resolve(names, counts, grow=header[1] == "[[")
            places.setdefault(table, Place(line_number, column))
            if isinstance(table[-1], int):
                places.setdefault(table[:-1], Place(line_number, column))
        else:
            for depth in range(1, len(names) + 1):
                places.setdefault((*table, *names[:depth]), Place(line_number, column))
    return places


def nearest_place(places: Mapping[Path, Place], path: Path) -> Place:
    """The place of this key, or of the nearest thing around it; (0, 0) when nothing is known."""
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return places[path[:end]]
    return Place(0, 0)


def _statements(text: str) -> list[tuple[int, int]]:
    """Offset and line of each line that begins a statement: not inside a text, a list or an inline table."""
    starts = []
    position, line, depth, fresh = 0, 1, 0, True
    while position < len(text):
        if fresh and depth == 0:
            starts.append((position, line))
            if header := _HEADER.match(text, position):  # its brackets are no list
                position = max(header.end(), _end_of_line(text, position))
                fresh = False
                continue
        fresh = False
        skipped = _SKIP.match(text, position)
        if skipped:
            line += skipped[0].count("\n")
            position = skipped.end()
            continue
        character = text[position]
        depth += (character in "[{") - (character in "]}")
        fresh = character == "\n"
        line += fresh
        position += 1
    return starts


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _dotted(text: str, position: int, line_start: int) -> tuple[tuple[str, ...], int]:
    """The dotted key that begins here, and its column; empty when none does (a blank line, a comment)."""
    names: list[str] = []
    column = 0
    while found := _KEY.match(text, position):
        column = column or min(i for i in (found.start(1) - 1, found.start(2) - 1, found.start(3)) if i >= 0) - line_start + 1
        names.append(next(group for group in found.group(1, 2, 3) if group is not None))
        position = found.end()
        if not found[4]:
            break
    return tuple(names), column


def _resolve(names: tuple[str, ...], counts: dict[Path, int], *, grow: bool) -> Path:
    """A header's names with the index of each array of tables on the way; `grow` begins its next entry."""
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in counts:
            path = (*path, counts[path])
    path = (*path, names[-1])
    if grow:
        counts[path] = counts.get(path, -1) + 1
    return (*path, counts[path]) if path in counts else path
