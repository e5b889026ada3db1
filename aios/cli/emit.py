"""`aios emit`: put events in the journal. Through the daemon they are durable when it returns; without one they wait in inbox/.

The folder is named before the word (`aios --data DIR emit …`), because after it `--data` is the event's own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from aios.cli import exits
from aios.cli.parser import UsageError, finish
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.terminal import Terminal
from aios.control.client import NoDaemon
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.catalogue import is_own, usual_severity
from aios.events.codec import LINE_MAX, BadLine, decode_hostile, encode_json, parse_foreign
from aios.events.event import SEVERITIES, format_time
from aios.journal.inbox import emit_offline

BATCH_BYTES = 512 * 1024
FIELDS = frozenset({"type", "subject", "data", "severity", "id", "source", "time", "specversion", "causationid", "correlationid"})
"""What a line of standard input may say; the rest of an event is AIOS's own."""


_PROG = "aios emit"
_EXAMPLES = """
aios emit agent.error --subject agent:writer --data '{"message": "no model"}'
aios emit deploy.done --severity info
tail -f app.jsonl | aios emit -              one JSON object a line, `type` is all it needs
aios --data /var/lib/aios emit deploy.done   another state folder: before the word `emit`
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", nargs="?", help="the event's type, such as agent.error; or - for JSON lines from standard input")
    parser.add_argument("--subject", help="what it is about, such as nginx.service or agent:NAME (default: host)")
    parser.add_argument("--data", dest="event_data", metavar="JSON", help="a JSON object with the facts")
    parser.add_argument("--severity", choices=SEVERITIES, help="default: what is usual for the type")
    finish(parser, emit, examples=_EXAMPLES, data=False)


def emit(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.type is None:
        raise UsageError("name a type, such as agent.error; or - for JSON lines from standard input", _PROG)
    if args.type == "-":
        return emit_lines(args, terminal)
    event = event_from(args.type, args.subject, args.event_data, args.severity)
    told = send([event], args, terminal)
    _tell(told, 1, args, terminal)
    return exits.OK


def event_from(type_: str, subject: str | None, data: str | None, severity: str | None) -> dict[str, Any]:
    """The event of a command line. Raises UsageError that says what is wrong."""
    event: dict[str, Any] = {"type": type_, "severity": severity or usual_severity(type_)}
    if subject is not None:
        event["subject"] = subject
    if data is not None:
        try:
            event["data"] = decode_hostile(data.encode("utf-8", "surrogateescape"))
        except BadLine as error:
            raise UsageError(f'--data: {error}; write it as \'{{"message": "no model"}}\'', _PROG) from None
    try:
        reason = refusal(encode_json(event))
    except BadLine as error:
        reason = str(error)
    if reason:
        raise UsageError(f"{reason}; name one of your own, such as deploy.done" if is_own(type_) else reason, _PROG)
    return event


def refusal(raw: bytes) -> str:
    """Why the journal would not take this from a program; empty when it would. The codec is the judge, as for every line."""
    try:
        parse_foreign(raw, source="cli")
    except BadLine as error:
        return str(error)
    return ""


# --- many, from standard input ----------------------------------------------------------------------------------------


def emit_lines(args: argparse.Namespace, terminal: Terminal) -> int:
    """Good lines are sent, in order, as they come; bad ones are told with their number. 1 when there was a bad one."""
    stream: BinaryIO = terminal.input.buffer
    sent, bad = 0, 0
    told: Mapping[str, Any] = {}
    for lines in whole_lines(lambda: stream.read1(BATCH_BYTES)):  # type: ignore[attr-defined]
        good = []
        for number, raw in lines:
            event, reason = parse_line(raw)
            if reason:
                bad += 1
                terminal.complain(f"standard input:{number}: {reason}")
            elif event is not None:
                good.append(event)
        if good:
            told = send(good, args, terminal)
            sent += len(good)
    _tell(told, sent, args, terminal)
    return exits.NO if bad else exits.OK


def whole_lines(read: Callable[[], bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, as many at once as have come: so a slow pipe is not waited for, and a fast one is not slowed.

    Of a line that is too long only enough is kept to say so.
    """
    number, rest = 1, b""
    while chunk := read():
        *whole, last = (rest + chunk).split(b"\n")
        if whole:
            yield [(number + i, line) for i, line in enumerate(whole)]
        number += len(whole)
        rest = last[: LINE_MAX + 1]
    if rest:
        yield [(number, rest)]


def parse_line(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The event, or why it is none; neither for a blank line."""
    if not raw.strip():
        return None, ""
    reason = refusal(raw.strip())
    return (None, reason) if reason else (decode_hostile(raw.strip()), "")


# --- where they go ----------------------------------------------------------------------------------------------------


def send(events: Sequence[dict[str, Any]], args: argparse.Namespace, terminal: Terminal) -> Mapping[str, Any]:
    """To the daemon, else to the inbox. Gives `{"positions": […]}` or `{"inbox": FILE}`."""
    try:
        return ask_daemon(args, terminal, "emit", {"events": list(events)})
    except NoDaemon:
        return {"inbox": to_inbox(events, folder(args, terminal), terminal.clock.now())}


def to_inbox(events: Sequence[dict[str, Any]], state: str, now: float) -> str:
    """Into a file of our own in the inbox, synced; gives its path. Raises Refused and OSError.

    One file for each user, because whoever makes it owns it. `time` is now: the arrival will be when a daemon takes it.
    """
    if not os.path.isdir(state):
        raise Refused(f"no daemon runs on {state}, and there is no such folder", "start one with `aios run`, or name its folder")
    inbox, name = os.path.join(state, "inbox"), f"aios-emit-{os.getuid()}"
    for event in events:
        emit_offline(OsFiles(), inbox, encode_json({"time": format_time(now), **event}), name=name)
    return os.path.join(inbox, f"{name}.jsonl")


def _tell(told: Mapping[str, Any], count: int, args: argparse.Namespace, terminal: Terminal) -> None:
    if wants_json(args):
        terminal.json({"emitted": count, **told})
    elif told.get("inbox"):
        terminal.complain(f"No daemon runs: left in {told['inbox']}; it is taken when one starts.")
    elif told.get("positions"):
        terminal.say(f"In the journal, at {told['positions'][-1]}.")
