"""argparse in our words, and the options that every command has. Used by `main` and by each noun's file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from aios.cli.terminal import Terminal
from aios.errors import AiosError
from aios.nearest import nearest

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

Action = Callable[[argparse.Namespace, Terminal], int]


class Parser(argparse.ArgumentParser):
    """argparse, with our words: a mistake is answered with the nearest command and where to read on."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _formatter)
        super().__init__(**kwargs, allow_abbrev=False)
        self.color = False  # argparse of Python 3.14 paints its help; what we print is the same everywhere

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.prog)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        option = f"value for {'/'.join(action.option_strings)}" if action.option_strings else action.dest
        what = "command" if isinstance(action, argparse._SubParsersAction) else option
        near = nearest(str(value), known)
        cure = f"did you mean {near!r}?" if near else "there are: " + ", ".join(known)
        raise UsageError(f"there is no {what} {value!r}; {cure}", self.prog)


class UsageError(AiosError):
    def __init__(self, message: str, prog: str) -> None:
        super().__init__(message)
        self.hint = f"see {prog} --help"


def unknown_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> UsageError:
    """What the command that was named does not take; of a misspelt option, the one that is meant."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if not option:
        return UsageError(f"{parser.prog} takes no {' '.join(map(repr, words))}", parser.prog)
    near = nearest(option, [name for action in parser._actions for name in action.option_strings])
    cure = f"; did you mean {near}?" if near else ""
    return UsageError(f"{parser.prog} has no {option}{cure}", parser.prog)


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=100)


def add_common(parser: argparse.ArgumentParser, *, data: bool = True, json: bool = True) -> None:
    """The options that every command has; they may stand before or after it."""
    group = parser.add_argument_group("everywhere")
    if data:
        group.add_argument("--data", dest="state_dir", metavar="DIR", default=argparse.SUPPRESS, help="the state folder")
    group.add_argument("--settings", dest="settings_file", metavar="FILE", default=argparse.SUPPRESS, help="the settings file")
    if json:
        group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, for programs")


def verbs(parser: argparse.ArgumentParser) -> Verbs:
    """The second words of a noun: `aios runs list`. The common options may stand between the two."""
    add_common(parser)
    return parser.add_subparsers(title="commands", metavar="COMMAND", dest="verb", parser_class=Parser)


def add_verb(
    group: Verbs, name: str, help: str, action: Action, *, examples: str = "", data: bool = True
) -> argparse.ArgumentParser:
    """A second word with its action and the common options; the caller adds what else it takes."""
    parser = group.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=teach(examples))
    finish(parser, action, data=data)
    return parser


def finish(parser: argparse.ArgumentParser, action: Action, *, examples: str = "", data: bool = True) -> None:
    """The common options and the action of a command that has no second word."""
    add_common(parser, data=data)
    parser.set_defaults(action=action)
    if examples:
        parser.epilog = teach(examples)


def count(text: str) -> int:
    """The type of `--limit`: a whole number from 0."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


count.__name__ = "number"  # argparse says it in its message


def teach(examples: str) -> str | None:
    """Examples as the end of a help page."""
    if not examples:
        return None
    return "examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().split("\n"))
