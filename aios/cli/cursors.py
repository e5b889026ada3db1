"""`aios journal cursors`: where each consumer stands, and putting it elsewhere. `aios events --cursor` reads from them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from aios.cli import exits
from aios.cli.journal import parse_moment, reader, state_file
from aios.cli.parser import UsageError, add_verb, verbs
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.event import START, Position, format_time
from aios.journal.cursors import Cursor, Cursors, DamagedCursor
from aios.journal.query import History, Query, make_query

_PROG = "aios journal cursors"
_COUNTED_MAX = 10_000
"""So far behind is told exactly; further is `more than`."""


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "every cursor, where it stands and how far behind", list_cursors)
    reset = add_verb(
        group,
        "reset",
        "put a cursor somewhere; made when there is none",
        reset_cursor,
        examples="aios journal cursors reset mailer --to 2h\naios journal cursors reset mailer --to 2026-02-24.1:1024",
    )
    reset.add_argument("name", metavar="NAME", help="the cursor")
    reset.add_argument("--to", required=True, metavar="PLACE", help="beginning, end, a time (2h, 2026-02-24), or a position")
    remove = add_verb(group, "remove", "forget a cursor: nothing is kept for it any more", remove_cursor)
    remove.add_argument("name", metavar="NAME", help="the cursor")


def cursors_of(args: argparse.Namespace, terminal: Terminal) -> Cursors:
    return Cursors(OsFiles(), state_file(folder(args, terminal), "cursors"))


def list_cursors(args: argparse.Namespace, terminal: Terminal) -> int:
    history = reader(folder(args, terminal))
    found = cursors_of(args, terminal).list()
    told = [_as_json(one, history) for one in found]
    if wants_json(args):
        terminal.json({"cursors": told})
    elif not told:
        terminal.say("No cursors. `aios events --cursor NAME --commit` makes one.")
    else:
        rows = [
            (
                one["name"],
                one.get("position", ""),
                terminal.when(one.get("moved", "")),
                str(one.get("behind", "")),
                one.get("error", ""),
            )
            for one in told
        ]
        terminal.table(("name", "position", "moved", "behind", ""), rows)
    return exits.NO if any(isinstance(one, DamagedCursor) for one in found) else exits.OK


def _as_json(one: Cursor | DamagedCursor, history: History) -> dict[str, Any]:
    if isinstance(one, DamagedCursor):
        return {"name": one.name, "error": str(one)}
    behind, more = behind_of(one, history)
    told = {"name": one.name, "position": str(one.position), "generation": one.generation, "moved": format_time(one.moved)}
    return {**told, "behind": f"more than {behind}" if more else behind}


def behind_of(cursor: Cursor, history: History) -> tuple[int, bool]:
    """How many events it has not handled; whether there are more than were counted."""
    query = Query(after=cursor.position if cursor.position.day else None, imported=False)
    count = 0
    for _ in history.read(query):
        count += 1
        if count > _COUNTED_MAX:
            return _COUNTED_MAX, True
    return count, False


def reset_cursor(args: argparse.Namespace, terminal: Terminal) -> int:
    state, now = folder(args, terminal), terminal.clock.now()
    there = place_of(args.to, reader(state), now)
    moved = cursors_of(args, terminal).reset(args.name, there, now)
    if wants_json(args):
        terminal.json({"name": moved.name, "position": str(moved.position), "generation": moved.generation})
    else:
        terminal.say(f"{moved.name} stands at {moved.position if moved.position.day else 'the beginning'}.")
    return exits.OK


def place_of(text: str, history: History, now: float) -> Position:
    """Where a cursor is to stand: behind the last event before this. Raises UsageError."""
    if text == "beginning":
        return START
    if text == "end":
        return history.last_position() or START
    try:
        position = Position.parse(text)
    except ValueError:
        pass
    else:
        if history.at(position) is None:
            raise UsageError(f"no event stands at {text[:60]}; `aios events --fields position,time` shows where they do", _PROG)
        return position
    try:
        query = make_query(until=parse_moment(text, now))
    except ValueError as error:
        raise UsageError(f"{error}; or say beginning, end, or a position", _PROG) from None
    before = next(history.read(replace(query, imported=False), back=True), None)
    return before.position if before else START


def remove_cursor(args: argparse.Namespace, terminal: Terminal) -> int:
    if not cursors_of(args, terminal).remove(args.name):
        raise Refused(f"there is no cursor {args.name!r}", "`aios journal cursors list` shows them")
    if wants_json(args):
        terminal.json({"removed": args.name})
    else:
        terminal.say(f"{args.name} is forgotten.")
    return exits.OK
