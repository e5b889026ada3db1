"""`aios events`: read the journal, or follow it. It needs no daemon; with one, new events come without delay."""

from __future__ import annotations

import argparse
import os
import re
import select as kernel
from collections.abc import Iterator, Mapping
from typing import Any

from aios.cli import exits
from aios.cli.journal import last_position, newest, parse_since, plain, read_since, reader, select
from aios.cli.parser import UsageError, count, finish
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import STYLE_OF, Terminal, cut
from aios.control.client import DaemonSilent, NoDaemon, follow
from aios.control.filters import EventFilter
from aios.events.event import SEVERITIES, Position, Stored
from aios.log import printable
from aios.places import CONTROL_SOCKET

LIMIT = 50
WITHOUT_DAEMON_S = 0.5
"""How often a follower looks for a daemon and for what one wrote, while there is none."""
SUMMARY_MAX = 300
_NAME_OF_ONE = re.compile(r"[0-9a-f]{32,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids and hashes: their beginning is enough to know them again, and `--json` has them whole."""

_EXAMPLES = """
aios events                                  the newest 50
aios events --since 1h --severity warning    the last hour's trouble
aios events --type 'service.*' --subject nginx.service
aios events --follow --json | jq -c .event
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--type", action="append", default=[], help="exact, or 'service.*' (may be repeated)")
    parser.add_argument("--subject", default="", help="such as nginx.service")
    parser.add_argument("--severity", default="", choices=SEVERITIES, help="at least this")
    parser.add_argument("--since", metavar="TIME", help="1h, today, 2026-02-24 or a time")
    parser.add_argument("--limit", type=count, metavar="N", help=f"the newest N (default: {LIMIT}; with --since, all; 0 is all)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")
    finish(parser, events, examples=_EXAMPLES)


def events(args: argparse.Namespace, terminal: Terminal) -> int:
    wanted = EventFilter(tuple(args.type), args.subject, args.severity)
    state = folder(args, terminal)
    show = _JsonLines(terminal) if wants_json(args) else _Lines(terminal)
    if args.follow:
        position = _show_past(args, state, wanted, show, terminal) if args.since or args.limit else last_position(state)
        for item_position, event in follow_events(state, wanted, position):
            show(item_position, event)
            terminal.out.flush()
        return exits.OK
    _show_past(args, state, wanted, show, terminal)
    return exits.OK


def _show_past(args: argparse.Namespace, state: str, wanted: EventFilter, show: _Lines, terminal: Terminal) -> Position | None:
    """Gives the position of the last line of the journal that was looked at."""
    end = last_position(state) if args.follow else None
    for stored in past(state, wanted, args.since, args.limit, terminal.clock.now()):
        show(str(stored.position), plain(stored.event))
        end = max(end, stored.position) if end else stored.position
    return end


def past(state: str, wanted: EventFilter, since: str | None, limit: int | None, now: float) -> Iterator[Stored] | list[Stored]:
    """What the journal holds. Raises UsageError for a `since` that is no time."""
    if since is None:
        count = LIMIT if limit is None else limit
        return newest(state, wanted, count) if count else select(reader(state).read(), wanted)
    try:
        moment = parse_since(since, now)
    except ValueError as error:
        raise UsageError(str(error), "aios events") from None
    found = select(read_since(state, moment), wanted, moment)
    return list(found)[-limit:] if limit else found


# --- following --------------------------------------------------------------------------------------------------------


def follow_events(state: str, wanted: EventFilter, after: Position | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What comes after this position, each event once and in order, for ever: over a daemon that ends and starts again.

    First the stream is opened, then the journal is read to its end, then the stream goes on where that ended.
    """
    journal = reader(state)
    while True:
        stream = _stream(state, wanted)
        for stored in journal.read(after):
            after = stored.position
            if wanted.passes(stored.event.type, stored.event.subject, stored.event.severity):
                yield str(stored.position), plain(stored.event)
        if stream is None:
            kernel.select([], [], [], WITHOUT_DAEMON_S)  # nobody writes the journal now: only a daemon's start ends this
            continue
        try:
            for item in stream:
                position = Position.parse(item["position"])
                if after is None or position > after:
                    after = position
                    yield item["position"], item["event"]
        except DaemonSilent:  # it ended; what it still wrote stands in the journal
            continue


def _stream(state: str, wanted: EventFilter) -> Iterator[dict[str, Any]] | None:
    try:
        return follow(os.path.join(state, CONTROL_SOCKET), "events_follow", wanted.to_args())
    except (NoDaemon, DaemonSilent):
        return None


# --- showing ----------------------------------------------------------------------------------------------------------


class _Lines:
    """One line an event, for people: a stream has no widths to align to, so the columns are fixed."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def __call__(self, position: str, event: Mapping[str, Any]) -> None:
        terminal = self._terminal
        severity = str(event.get("severity", "info"))
        head = f"{terminal.local(event['time'])}  {severity:8}  {event['type']:24}  {event['subject']:24}  "
        terminal.say(head + summary(event.get("data") or {}), STYLE_OF.get(severity, ""))


class _JsonLines(_Lines):
    def __call__(self, position: str, event: Mapping[str, Any]) -> None:
        self._terminal.json({"position": position, "event": event})


def summary(data: Mapping[str, Any]) -> str:
    """The facts of an event in a few words."""
    words = [f"{name}={_short(value)}" for name, value in data.items() if value not in ("", None, [], {})]
    return cut(printable(" ".join(words)), SUMMARY_MAX)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{…}" if len(value) > 3 else "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{len(value)}]" if len(value) > 3 else "[" + ", ".join(map(_short, value)) + "]"
    text = str(value)
    return text[:8] + "…" if _NAME_OF_ONE.fullmatch(text) else text[:80]
