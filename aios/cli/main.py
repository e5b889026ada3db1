"""The command `aios`: finds the noun, loads its file, and turns what goes wrong into a sentence and an exit code.

Only the noun that is used is imported, so that `aios status` answers at once. A noun is a module of this room with
`arguments(parser)`, which adds what it takes and sets `action`: a function of (args, terminal) that returns an exit code and
that tests call too.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aios import __version__
from aios.cli import exits
from aios.cli.parser import Parser, UsageError, add_common, unknown_words
from aios.cli.terminal import Terminal, system_terminal
from aios.errors import AiosError, ConfigError, ConfigErrors, Refused

Action = Callable[[argparse.Namespace, Terminal], int]


class Noun(NamedTuple):
    """A word after `aios`: its module and the function there that adds its arguments; one line of help."""

    module: str
    help: str
    function: str = "arguments"


NOUNS: Mapping[str, Noun] = {
    "run": Noun("run", "the daemon, in the foreground (this is what systemd starts)"),
    "demo": Noun("run", "break a small real service in a temporary folder and watch it heal", "demo_arguments"),
    "status": Noun("status", "how the daemon and the machine are"),
    "emit": Noun("emit", "put an event in the journal"),
    "events": Noun("events", "read the journal, or follow it"),
    "explain": Noun("explain", "why a playbook ran for an event, or did not"),
    "playbook": Noun("playbook", "list, check, try and switch playbooks"),
    "runs": Noun("runs", "look at runs, answer their questions, take them back"),
    "keep": Noun("keep", "last-good copies: list, compare, put back"),
    "skill": Noun("skill", "list, show and run skills"),
    "service": Noun("service", "start, stop and list services"),
    "score": Noun("score", "how healthy everything is"),
    "report": Noun("report", "what broke, what was healed, what needs you"),
    "journal": Noun("journal_noun", "take in, check and tend the memory, and see who reads it"),
    "inbox": Noun("inbox", "what other programs bring: how far, how fast, what was refused"),
    "dead": Noun("dead", "what could not be processed, and another try"),
    "pause": Noun("status", "no acts until `aios resume`; looking goes on", "pause_arguments"),
    "silence": Noun("silence", "nothing is done about a subject, or by a playbook, for some time"),
    "resume": Noun("status", "allow acts again", "resume_arguments"),
    "reload": Noun("status", "have the daemon read its playbooks again", "reload_arguments"),
    "stop": Noun("status", "end the daemon in order; managed services live on", "stop_arguments"),
    "doctor": Noun("doctor", "check this machine and say what to mend"),
    "completion": Noun("completion", "print a script that completes commands in your shell"),
}

_EPILOG = """\
examples:
  aios demo                                  see it work
  aios run                                   run it here
  aios status                                how is it?
  aios events --follow                       what happens?
  aios emit agent.error --subject agent:bot  tell it something
  aios runs list                             what did it do?
  aios report                                what came of it?

`aios COMMAND --help` teaches each command. Every command that prints takes --json.
"""


def build_parser(words: Sequence[str] | None = None) -> Parser:
    """The parser; only nouns among `words` are loaded (None: all, for completion and the docs)."""
    parser = Parser(
        prog="aios",
        description="AIOS notices trouble on this machine, repairs it, proves the repair, and asks only when it is stuck.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"aios {__version__}")
    add_common(parser)
    nouns = parser.add_subparsers(title="commands", metavar="COMMAND", dest="noun", parser_class=Parser)
    for name, noun in NOUNS.items():
        sub = nouns.add_parser(name, help=noun.help, description=noun.help[0].upper() + noun.help[1:] + ".")
        if words is None or name in words:
            getattr(importlib.import_module(f"aios.cli.{noun.module}"), noun.function)(sub)
    return parser


def main(argv: Sequence[str] | None = None, terminal: Terminal | None = None) -> int:
    """The entry point. Gives the exit code; see `exits`."""
    words = sys.argv[1:] if argv is None else list(argv)
    terminal = terminal or system_terminal()
    as_json = "--json" in words
    try:
        code = _run(words, terminal)
        terminal.out.flush()
        return code
    except BrokenPipeError:
        _forget_output(terminal)
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost door: what is no known failure is told as a bug
        return _told(error, terminal, as_json)


def _run(words: list[str], terminal: Terminal) -> int:
    parser = build_parser(words)
    try:
        args, unknown = parser.parse_known_args(words)
    except SystemExit as end:  # --help and --version have printed
        return int(end.code or 0)
    if unknown:
        raise unknown_words(_help_of(parser, words), unknown)
    action: Action | None = getattr(args, "action", None)
    if action is None:
        _help_of(parser, words).print_help(terminal.out)
        return exits.USAGE if words else exits.OK
    return action(args, terminal)


def _help_of(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the deepest command that was named."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for i, word in enumerate(words):
                if word in action.choices:
                    return _help_of(action.choices[word], words[i + 1 :])
    return parser


def _told(error: Exception, terminal: Terminal, as_json: bool) -> int:
    """Say what went wrong and what to do; gives the exit code."""
    code, message, hint = explain_failure(error)
    try:
        if as_json:
            terminal.json({"error": message, "hint": hint, "exit_code": code})
        else:
            terminal.complain(f"aios: {message}" + (f"\n  cure: {hint}" if hint else ""))
        if code == exits.BUG:
            _trace(error, terminal)
    except BrokenPipeError:
        _forget_output(terminal)
    return code


def explain_failure(error: Exception) -> tuple[int, str, str]:
    """Exit code, message and cure of a failure."""
    hint = str(getattr(error, "hint", ""))
    kind = type(error).__name__
    if isinstance(error, UsageError):
        return exits.USAGE, str(error), hint
    if isinstance(error, (ConfigError, ConfigErrors)):  # their text holds the cure already
        return exits.INVALID, str(error), ""
    if isinstance(error, Refused):
        return exits.NO, error.message, hint
    # By name: the client is loaded only by commands that speak to the daemon.
    by_name = {"NoDaemon": exits.NO_DAEMON, "NotAllowed": exits.NOT_ALLOWED, "DaemonSilent": exits.SILENT}
    if isinstance(error, AiosError):
        return by_name.get(kind, exits.NO), str(error), hint
    if isinstance(error, PermissionError):
        return (
            exits.NOT_ALLOWED,
            f"{error.filename}: {error.strerror}",
            "do it as root or as the daemon's user, or name a folder of your own with --data",
        )
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return exits.NO, f"{place}{error.strerror or error}", "`aios doctor` looks at disk, rights and limits"
    return exits.BUG, f"a bug: {kind}: {error}", "please report it, with the lines below"


def _trace(error: Exception, terminal: Terminal) -> None:
    import traceback  # only a bug pays for it

    terminal.complain("".join(traceback.format_exception(error)).rstrip())


def _forget_output(terminal: Terminal) -> None:
    """Nobody reads: keep the interpreter from complaining when it flushes at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), terminal.out.fileno())
    except (OSError, ValueError):  # no real file: nothing will be flushed
        pass


if __name__ == "__main__":
    sys.exit(main())
