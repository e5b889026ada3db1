"""`aios silence`: nothing is done about a subject, or by a playbook, for some time; which silences there are; and ending one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aios.cli import exits
from aios.cli.parser import UsageError, finish
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.status import length_of_pause
from aios.cli.terminal import Terminal

_EXAMPLES = """
aios silence web.service --for 2h --reason "moving the database"
aios silence 'web-*' --for 30m                    every subject that begins so
aios silence nginx-down --until 2026-12-27T06:00:00+01:00
aios silence --all --for 10m
aios silence                                      which are in force
aios silence --end 3f2a91c0                       or: aios silence --end all
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", default="", metavar="SUBJECT|PLAYBOOK", help="which; a star in a subject is any text")
    parser.add_argument("--all", action="store_true", help="everything on this machine")
    parser.add_argument("--playbook", default="", metavar="NAME", help="only this playbook, on that subject")
    parser.add_argument("--for", dest="for_", metavar="TIME", help="for how long, such as 2h")
    parser.add_argument("--until", metavar="TIME", help="until when: 18:00, tomorrow, 2026-02-24T18:00:00+01:00")
    parser.add_argument("--reason", default="", help="why, for the report")
    parser.add_argument("--end", metavar="ID", help="end this one, or `all`")
    finish(parser, silence, examples=_EXAMPLES)


def silence(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.end:
        return _end(args, terminal)
    if not (args.what or args.all or args.playbook):
        return _list(args, terminal)
    length = length_of_pause(args.for_, args.until, terminal.clock.now(), "aios silence")
    if not length:
        raise UsageError("a silence ends: say --for or --until", "aios silence")
    if args.what and args.all:
        raise UsageError("say either one subject or --all", "aios silence")
    request = {"what": args.what, "all": args.all, "playbook": args.playbook, "for": length, "reason": args.reason}
    answer = ask_daemon(args, terminal, "silence", request)
    if wants_json(args):
        terminal.json(answer)
    else:
        if answer.get("unknown"):
            terminal.complain(f"warning: {answer['unknown']}")
        terminal.say(f"Silenced: {_about(answer)}, until {terminal.local(answer['until'])}. To end it before: ")
        terminal.say(f"  aios silence --end {answer['silence']}")
    return exits.OK


def _about(one: Mapping[str, Any]) -> str:
    about = "everything" if one["subject"] == "*" else str(one["subject"])
    return about if not one["playbook"] else f"{one['playbook']} on {about}"


def _list(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.for_ or args.until or args.reason:
        raise UsageError("say what is to be silenced", "aios silence")
    answer = ask_daemon(args, terminal, "silences")
    found = answer["silences"]
    if wants_json(args):
        terminal.json(answer)
    elif found:
        rows = [(s["silence"], _about(s), terminal.local(s["until"]), s["by"], s["reason"]) for s in found]
        terminal.table(("id", "silenced", "until", "by", "why"), rows)
    else:
        terminal.say("Nothing is silenced.")
    return exits.OK


def _end(args: argparse.Namespace, terminal: Terminal) -> int:
    request = {"all": True} if args.end == "all" else {"silence": args.end}
    answer = ask_daemon(args, terminal, "silence_end", request)
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say("Ended: " + (", ".join(_about(one) for one in answer["ended"]) or "nothing was silenced") + ".")
    return exits.OK
