"""`aios events`: read the journal, count it, or follow it. It needs no daemon; with one, new events come without delay."""

from __future__ import annotations

import argparse
import os
import re
import select as kernel
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from aios.cli import exits
from aios.cli.journal import event_of, parse_day, parse_moment, reader, state_file
from aios.cli.parser import UsageError, count, finish
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import STYLE_OF, Terminal, cut
from aios.control.client import DaemonSilent, NoDaemon, follow
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.catalogue import CATALOGUE
from aios.events.codec import encode_json
from aios.events.event import SEVERITIES, Event, Position, format_time
from aios.journal.archive import IMPORTED_FROM
from aios.journal.cursors import Cursor, Cursors
from aios.journal.gap import Gap, gap_of
from aios.journal.query import BY, Asked, Found, History, Query, Watch, make_query, matches
from aios.journal.segments import Effort
from aios.log import printable
from aios.nearest import nearest
from aios.places import CONTROL_SOCKET
from aios.playbooks.condition import BadExpression

LIMIT = 50
WITHOUT_DAEMON_S = 0.5
"""How often a follower looks for a daemon and for what one wrote, while there is none."""
SUMMARY_MAX = 300
PROGRESS_AFTER_S = 1.0
PROGRESS_EVERY_S = 0.2
_TIMES = frozenset({"since", "until", "time", "at", "started", "ended", "opened", "mtime"})
_PROG = "aios events"
_NAME_OF_ONE = re.compile(r"[0-9a-f]{32,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids and hashes: their beginning is enough to know them again, and `--json` has them whole."""

_EXAMPLES = """
aios events                                          the newest 50
aios events --since 1h --severity warning            the last hour's trouble
aios events --type 'service.*' --subject nginx.service
aios events --where 'event.data.failures >= 3' --on 2026-02-20
aios events --count --by type --since 7d
aios events --since 1d --fields time,subject,data.status
aios events --follow --json | jq -c .event
aios events --cursor mailer --commit --json          what is new since the last time
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_argument_group("which")
    wanted.add_argument("--type", action="append", default=[], help="exact, or 'service.*' (may be repeated)")
    wanted.add_argument("--subject", default="", help="such as nginx.service")
    wanted.add_argument("--severity", default="", choices=SEVERITIES, help="at least this")
    wanted.add_argument("--text", default="", help="stands in type, subject, source, id or data; case does not count")
    wanted.add_argument("--where", default="", metavar="CEL", help="a condition such as 'event.data.failures >= 3'")
    wanted.add_argument("--since", metavar="TIME", help="taken since: 2h, today, 2026-02-24 or a time")
    wanted.add_argument("--on", metavar="DAY", help="of this day of the journal (UTC, as in reports): 2026-02-24, today")
    wanted.add_argument("--between", nargs=2, metavar=("TIME", "TIME"), help="taken from the first to just before the second")
    wanted.add_argument("--limit", type=count, metavar="N", help=f"the newest N (default: {LIMIT}; with a time, all; 0 is all)")
    parser.add_argument("--reverse", action="store_true", help="the newest first")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")
    parser.add_argument("--count", action="store_true", help="only how many")
    parser.add_argument("--by", choices=list(BY), default="", help="with --count: for each type, subject or hour (UTC)")
    parser.add_argument("--fields", metavar="LIST", help="only these, tab-separated: id,type,position,data.failures")
    parser.add_argument("--cursor", metavar="NAME", help="what is new since this cursor stood last; the oldest first")
    parser.add_argument("--commit", action="store_true", help="with --cursor: move it behind what was printed")
    finish(parser, events, examples=_EXAMPLES)


def events(args: argparse.Namespace, terminal: Terminal) -> int:
    _refuse_nonsense(args)
    query = query_of(args, terminal.clock.now())
    state = folder(args, terminal)
    if args.count:
        return _count(args, state, query, terminal)
    show = shower(args, terminal)
    if args.cursor:
        return _from_cursor(args, state, query, show, terminal)
    if args.follow:
        return _follow(args, state, query, show, terminal)
    _show_past(args, state, query, show, terminal)
    return exits.OK


_NOT_TOGETHER = (
    ("since", "between"),
    ("since", "on"),
    ("on", "between"),
    ("count", "follow"),
    ("count", "fields"),
    ("count", "limit"),
    ("count", "reverse"),
    ("count", "cursor"),
    ("follow", "reverse"),
    ("follow", "on"),
    ("follow", "between"),
    ("follow", "cursor"),
    ("cursor", "reverse"),
)
_NEEDS = (("by", "count"), ("commit", "cursor"))


def _refuse_nonsense(args: argparse.Namespace) -> None:
    given = {name for name, value in vars(args).items() if value not in (None, "", False, [])}
    for one, other in _NOT_TOGETHER:
        if {one, other} <= given:
            raise UsageError(f"say either --{one} or --{other}", _PROG)
    for one, other in _NEEDS:
        if one in given and other not in given:
            raise UsageError(f"--{one} goes with --{other}", _PROG)


def query_of(args: argparse.Namespace, now: float) -> Query:
    """Raises UsageError for what cannot be asked."""
    first, last = args.between or (args.since, None)
    try:
        return make_query(
            types=args.type,
            subject=args.subject,
            severity=args.severity,
            text=args.text,
            where=args.where,
            since=parse_moment(first, now) if first else None,
            until=parse_moment(last, now) if last else None,
            on=parse_day(args.on, now) if args.on else "",
        )
    except BadExpression as error:
        place = f" (line {error.line}, column {error.column})" if "\n" in args.where or error.column > 1 else ""
        raise UsageError(f"--where: {error.message}{place}" + (f"\n  {error.hint}" if error.hint else ""), _PROG) from None
    except Refused as error:
        raise UsageError(f"{error.message}; {error.hint}", _PROG) from None
    except ValueError as error:
        raise UsageError(str(error), _PROG) from None


# --- the past ---------------------------------------------------------------------------------------------------------


def _show_past(args: argparse.Namespace, state: str, query: Query, show: Show, terminal: Terminal) -> Position | None:
    """Gives the position of the last line that was shown and not imported."""
    asked, progress = Asked(), Progress(terminal)
    last: Position | None = None
    found = past(args, reader(state), query, asked, progress.watch)
    if _reaches_far(args, found):
        _tell_gap(args, gap_of(OsFiles(), state, query), terminal)
    nothing = True
    for stored in found:
        nothing = False
        progress.clear()
        show(stored)
        if stored.position.part < IMPORTED_FROM:
            last = stored.position
    progress.clear()
    _tell_unsaid(asked, terminal)
    if nothing and not wants_json(args):
        terminal.complain("nothing matches" + _meant(args.type))
    return last


def _meant(types: Iterable[str]) -> str:
    """A type that nobody says, and is near one that we know."""
    near = [did for name in types if name not in CATALOGUE and (did := nearest(name, CATALOGUE))]
    return f": did you mean {near[0]!r}?" if near else ""


def _reaches_far(args: argparse.Namespace, found: Iterable[Found]) -> bool:
    """Whether the answer may go back to the beginning: the newest few do only when there are not enough of them."""
    return not isinstance(found, list) or len(found) < (LIMIT if args.limit is None else args.limit)


def _tell_gap(args: argparse.Namespace, gap: Gap | None, terminal: Terminal) -> None:
    if gap is None:
        return
    if wants_json(args):
        terminal.json({"gap": gap.as_json()})
    else:
        terminal.complain(f"note: {gap}")


def past(args: argparse.Namespace, history: History, query: Query, asked: Asked, watch: Watch | None) -> Iterable[Found]:
    """What the journal holds, in the order in which it is shown."""
    timed = args.since or args.between or args.on
    limit = args.limit if args.limit is not None else (0 if timed else LIMIT)
    if args.reverse:
        found = history.read(query, back=True, asked=asked, watch=watch)
        return islice(found, limit) if limit else found
    if limit:
        return history.newest(query, limit, asked=asked, watch=watch)
    return history.read(query, asked=asked, watch=watch)


def _tell_unsaid(asked: Asked, terminal: Terminal) -> None:
    if lost := asked.spoiled + asked.effort.damaged:
        places = "one place" if lost == 1 else f"{lost} places"
        terminal.complain(f"note: the journal is damaged in {places} here, so this may lack something: aios journal verify")
    if asked.unsaid:
        terminal.complain(f"note: --where could not be said of {asked.unsaid} events, such as: {asked.why_unsaid}")


class Progress:
    """On a terminal, and when it takes longer than a second: how far it is."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._next = terminal.clock.monotonic() + PROGRESS_AFTER_S if terminal.err.isatty() else None
        self._shown = False

    def watch(self, effort: Effort) -> None:
        if self._next is None or self._terminal.clock.monotonic() < self._next:
            return
        self._next = self._terminal.clock.monotonic() + PROGRESS_EVERY_S
        share = min(1.0, effort.done / effort.total) if effort.total else 1.0
        self._terminal.err.write(f"\rreading the journal: {share:4.0%} of {effort.total / 1e6:,.0f} MB ")
        self._terminal.err.flush()
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._terminal.err.write("\r\033[K")
            self._terminal.err.flush()
            self._shown = False


# --- counting ---------------------------------------------------------------------------------------------------------


def _count(args: argparse.Namespace, state: str, query: Query, terminal: Terminal) -> int:
    asked, progress = Asked(), Progress(terminal)
    counts = reader(state).count(query, args.by, asked=asked, watch=progress.watch)
    progress.clear()
    ordered = _ordered(counts, args.by)
    gap = gap_of(OsFiles(), state, query)
    _tell_unsaid(asked, terminal)
    if wants_json(args):
        by = {"by": args.by, "counts": ordered} if args.by else {}
        terminal.json({"count": counts.total(), **by, **({"gap": gap.as_json()} if gap else {})})
        return exits.OK
    _tell_gap(args, gap, terminal)
    if not args.by:
        terminal.say(str(counts.total()))
    else:
        terminal.table(("count", args.by), [(str(number), name) for name, number in ordered.items()])
        terminal.say(f"{counts.total()} in all")
    return exits.OK


def _ordered(counts: Counter[str], by: str) -> dict[str, int]:
    """Hours in their order, all else by number."""
    return dict(sorted(counts.items()) if by == "hour" else sorted(counts.items(), key=lambda item: (-item[1], item[0])))


# --- from a cursor ----------------------------------------------------------------------------------------------------


def _from_cursor(args: argparse.Namespace, state: str, query: Query, show: Show, terminal: Terminal) -> int:
    """What is new to this consumer. Only what has left us counts as handled: the cursor moves after the output is flushed."""
    cursors = Cursors(OsFiles(), state_file(state, "cursors"))
    cursor = cursors.load(args.cursor)
    history, asked, progress = reader(state), Asked(), Progress(terminal)
    end = _and_position(history.last_position(), cursor)
    query = _after(query, cursor)
    _tell_gap(args, gap_of(OsFiles(), state, query), terminal)
    fresh = history.read(query, asked=asked, watch=progress.watch)
    shown, last = 0, cursor.position
    for stored in islice(fresh, args.limit) if args.limit else fresh:
        progress.clear()
        show(stored)
        shown, last = shown + 1, stored.position
    progress.clear()
    terminal.out.flush()
    _tell_unsaid(asked, terminal)
    if args.commit:
        there = last if args.limit and shown >= args.limit else max(end, last)
        if there != cursor.position:
            cursors.move(cursor, there, terminal.clock.now())
    return exits.OK


def _and_position(end: Position | None, cursor: Cursor) -> Position:
    return max(end, cursor.position) if end else cursor.position


def _after(query: Query, cursor: Cursor) -> Query:
    return replace(query, after=cursor.position if cursor.position.day else None, imported=False)


# --- following --------------------------------------------------------------------------------------------------------


def _follow(args: argparse.Namespace, state: str, query: Query, show: Show, terminal: Terminal) -> int:
    end = reader(state).last_position()
    if args.since or args.limit:
        shown = _show_past(args, state, query, show, terminal)
        end = max(end, shown) if end and shown else end or shown
    for found in follow_events(state, query, end):
        show(found)
        terminal.out.flush()
    return exits.OK


def follow_events(state: str, query: Query, after: Position | None) -> Iterator[Found]:
    """What comes after this position, each event once and in order, for ever: over a daemon that ends and starts again.

    First the stream is opened, then the journal is read to its end, then the stream goes on where that ended.
    """
    while True:
        stream = _stream(state, query)
        for stored in reader(state).read(Query(after=after, imported=False)):
            after = stored.position
            if matches(stored.event, query):
                yield stored
        if stream is None:
            kernel.select([], [], [], WITHOUT_DAEMON_S)  # nobody writes the journal now: only a daemon's start ends this
            continue
        try:
            for item in stream:
                position = Position.parse(item["position"])
                if after is None or position > after:
                    after = position
                    event = event_of(item["event"])
                    if matches(event, query):
                        yield Found.of(event, position)
        except DaemonSilent:  # it ended; what it still wrote stands in the journal
            continue


def _stream(state: str, query: Query) -> Iterator[dict[str, Any]] | None:
    try:
        return follow(os.path.join(state, CONTROL_SOCKET), "events_follow", query.filter.to_args())
    except (NoDaemon, DaemonSilent):
        return None


# --- showing ----------------------------------------------------------------------------------------------------------

Show = Callable[[Found], None]


def shower(args: argparse.Namespace, terminal: Terminal) -> Show:
    """What prints one event. Raises UsageError for fields that there are not."""
    if args.fields:
        fields = parse_fields(args.fields)
        return _json_fields(terminal, fields) if wants_json(args) else _tabbed(terminal, fields)
    return _json_lines(terminal) if wants_json(args) else _lines(terminal)


ID_SHOWN = 8
"""Of an event's id: `aios explain` takes the beginning."""


def _lines(terminal: Terminal) -> Show:
    """One line an event, for people: a stream has no widths to align to, so the columns are fixed."""

    def show(found: Found) -> None:
        event = found.event
        when = f"{terminal.local(event.time)}  {event.id[:ID_SHOWN]:{ID_SHOWN}}"
        head = f"{when}  {event.severity:8}  {event.type:24}  {event.subject:24}  "
        terminal.say(head + summary(event.data), STYLE_OF.get(event.severity, ""))

    return show


def _json_lines(terminal: Terminal) -> Show:
    """The event's line as it stands in the journal, undecoded."""

    def show(found: Found) -> None:
        terminal.json_text(f'{{"position":"{found.place}","event":{found.line.decode()}}}')

    return show


def _json_fields(terminal: Terminal, fields: list[str]) -> Show:
    return lambda found: terminal.json({name: field_of(name, found) for name in fields})


def _tabbed(terminal: Terminal, fields: list[str]) -> Show:
    """For `cut` and `awk`: what is no text is JSON, what is missing is empty; a tab or line end inside is shown as escapes."""

    def show(found: Found) -> None:
        values = [field_of(name, found) for name in fields]
        terminal.out.write("\t".join(printable(_as_text(value)) for value in values) + "\n")

    return show


def parse_fields(text: str) -> list[str]:
    """`id,type,data.failures`. Raises UsageError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ("position", *Event._fields)
    for name in names:
        if name not in known and not name.startswith("data."):
            near = nearest(name, known)
            cure = f"did you mean {near!r}?" if near else f"there are: {', '.join(known)}, and data.NAME"
            raise UsageError(f"an event has no field {name[:80]!r}; {cure}", _PROG)
    if not names:
        raise UsageError("--fields names none; write such as id,type,data.failures", _PROG)
    return names


def field_of(name: str, found: Found) -> Any:
    """None where there is none. A member's own name may hold dots: the longest that fits counts."""
    if name == "position":
        return found.place
    if not name.startswith("data."):
        return getattr(found.event, name)
    return _member(found.event.data, name.removeprefix("data."))


def _member(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    at = path.rfind(".")
    while at > 0:
        if path[:at] in value:
            return _member(value[path[:at]], path[at + 1 :])
        at = path.rfind(".", 0, at)
    return None


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else encode_json(value).decode()


def summary(data: Mapping[str, Any]) -> str:
    """The facts of an event in a few words."""
    words = [f"{name}={_short(value, name)}" for name, value in data.items() if value not in ("", None, [], {})]
    return cut(printable(" ".join(words)), SUMMARY_MAX)


def _short(value: Any, name: str = "") -> str:
    """A time as a time, a long list as how many it holds."""
    if isinstance(value, float):
        return shown_time(value) if is_time(name, value) else f"{value:.4g}"
    if isinstance(value, dict):
        return "{…}" if len(value) > 3 else "{" + ", ".join(f"{k}: {_short(v, k)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        many = len(value) > 3 or any(isinstance(one, dict) for one in value)
        return str(len(value)) if many else "[" + ", ".join(map(_short, value)) + "]"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:8] + "…" if _NAME_OF_ONE.fullmatch(text) else text[:80]


def is_time(name: str, value: object) -> bool:
    """A number of seconds since 1970, by its name and its size: results of skills carry times as numbers."""
    return isinstance(value, float) and 1e9 < value < 1e10 and (name in _TIMES or name.endswith("_at"))


def shown_time(seconds: float) -> str:
    return f"{format_time(seconds)[:19]}Z"
