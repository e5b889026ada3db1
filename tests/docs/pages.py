"""The pages of the project as tests read them: their blocks of code, their links, their headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HOME = Path(__file__).parents[2]
PAGES = ("README.md", "data/README.md", *sorted(f"docs/{path.name}" for path in (HOME / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
_BEFORE = {"sudo", "xargs", "source"}


class Block(NamedTuple):
    """`line` is that of its first line, from 1."""

    page: str
    line: int
    language: str
    text: str


def text_of(page: str) -> str:
    return (HOME / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[Block]:
    text = text_of(page)
    found = [Block(page, text[: one.start(2)].count("\n") + 1, one[1], one[2]) for one in _BLOCK.finditer(text)]
    return [block for block in found if block.language == language]


def links(page: str) -> list[str]:
    """What is linked, outside code."""
    return _LINK.findall(_BLOCK.sub("", text_of(page)))


def anchors(page: str) -> set[str]:
    """Of its headings, as the usual renderers make them."""
    heads = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The words after each call of this program in a block of shell.

    Three spaces in a row begin a remark: the examples of `--help` are written so.
    """
    for line in text.splitlines():
        for words in _simple_commands(re.split(r" {3,}", line.strip())[0]):
            while words and (words[0] in _BEFORE or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words = words[1:] + (["…"] if words[0] == "xargs" else [])
            if words and words[0].rpartition("/")[2] == program:
                yield words[1:]


def _simple_commands(line: str) -> Iterator[list[str]]:
    """What stands between pipes, brackets and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    into_file = False
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            yield words
            words, into_file = [], ">" in word
        elif into_file:
            into_file = False
        else:
            words.append(word)
    yield words
