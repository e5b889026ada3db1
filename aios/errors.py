"""Errors, sorted by who can act on them.

An outcome that we expect is a value; an exception is a surprise. Those here name the one who can do something about
it: the operator (`ConfigError`), the executor (`Temporary`, `Permanent`), the caller (`Refused`). Everything else is a
bug: it rises, the daemon ends loudly, and systemd starts it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class AiosError(Exception):
    """Base of every error that AIOS raises on purpose."""


class Fix(NamedTuple):
    """What should stand in the file between these two indices of its text, where only one thing can be meant."""

    start: int
    end: int
    text: str


@dataclass(eq=False)
class ConfigError(AiosError):
    """Something an operator wrote cannot be used as it is: it names the place and the cure.

    `line` and `column` count from 1; 0 means that the place has none (an environment variable, say). `fix` is the cure as an edit
    of the file.
    """

    path: str
    message: str
    line: int = 0
    column: int = 0
    hint: str = ""
    snippet: str = ""
    fix: Fix | None = None

    def __str__(self) -> str:
        place = self.path
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        text = f"{place}: {self.message}"
        if self.snippet:
            text += f"\n    {self.snippet}"
            if self.column:
                text += "\n    " + " " * (self.column - 1) + "^"
        if self.hint:
            text += f"\n  cure: {self.hint}"
        return text


class ConfigErrors(AiosError):
    """Several `ConfigError`s at once, so that one look at the file mends them all."""

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


@dataclass(eq=False)
class Temporary(AiosError):
    """It may work later: the executor tries again after `delay_s` seconds."""

    message: str
    delay_s: float = 1.0

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Permanent(AiosError):
    """It will not work by trying again."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Refused(AiosError):
    """The caller asked for something that is not allowed, unknown or out of turn; `hint` says what to do instead."""

    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}\n  cure: {self.hint}" if self.hint else self.message


class MachineError(AiosError):
    """A state machine was given a happening that its table does not know: a bug, or a damaged journal."""
