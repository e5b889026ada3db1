"""`aios dead`: events and runs that could not be processed, kept with the reason; and another try."""

from __future__ import annotations

import argparse

from aios.cli import exits
from aios.cli.parser import add_verb, verbs
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list dead letters, oldest first", list_letters, examples="aios dead list")
    retry_verb = add_verb(group, "retry", "have one processed again", retry, examples="aios dead retry 3f2a…")
    retry_verb.add_argument("letter", help="its id, from `aios dead list`")


def list_letters(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when there are none."""
    answer = ask_daemon(args, terminal, "dead_letters")
    letters = answer.get("dead_letters", [])
    if wants_json(args):
        terminal.json(answer)
    elif letters:
        rows = [(d["letter"], terminal.when(d.get("since", "")), d.get("subject", ""), d.get("reason", "")) for d in letters]
        terminal.table(("letter", "since", "subject", "reason"), rows)
        if answer.get("older"):
            terminal.say(f"{answer['older']} older ones stand only in the journal: aios events --type scheduler.dead_letter")
    else:
        terminal.say("There are no dead letters.", "green")
    return exits.NO if letters else exits.OK


def retry(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, "dead_retry", {"letter": args.letter})
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(f"{args.letter} is tried again; `aios events --follow` shows what comes of it.")
    return exits.OK
