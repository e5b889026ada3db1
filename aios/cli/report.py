"""`aios report`: what broke, what was healed, how long it took, what needs you. Read from the journal; no daemon is needed."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from aios.cli import exits
from aios.cli.journal import parse_day, reader
from aios.cli.parser import UsageError, finish
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.events.event import day_of
from aios.journal.digest import FOLDER as DIGESTS
from aios.journal.digest import BadDigest, days_with_digest, load_digest
from aios.journal.query import History
from aios.reports import Report, build, from_json, to_json, to_markdown

_PROG = "aios report"
_EXAMPLES = """
aios report                       today so far
aios report --date 2026-02-24     one day (days are UTC)
aios report --days 7 --format json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--date", metavar="DAY", help="a day: 2026-02-24, today or yesterday (UTC; default: today)")
    parser.add_argument("--days", type=int, metavar="N", help="the last N days, today included")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="Markdown (default) or JSON")
    finish(parser, report, examples=_EXAMPLES)


def report(args: argparse.Namespace, terminal: Terminal) -> int:
    state = folder(args, terminal)
    made = make(state, args.date, args.days, terminal.clock.now())
    gap = {} if made.first_day == made.last_day else gone(state, made.first_day, made.last_day)
    if wants_json(args) or args.format == "json":
        terminal.json({**to_json(made), **({"gap": {"days": list(gap), "events": sum(gap.values())}} if gap else {})})
        return exits.OK
    terminal.page(to_markdown(made).rstrip("\n"))
    if gap:
        what = f"{len(gap)} of these days are not kept any more, and not counted here; their digests tell of"
        terminal.say(f"\n{what} {sum(gap.values())} events: aios report --date {next(iter(gap))}")
    return exits.OK


def make(state: str, date: str | None, days: int | None, now: float) -> Report:
    """Raises UsageError for days that are none, Refused without a journal."""
    try:
        first, last = days_of(date, days, now)
        kept = from_digest(state, first) if first == last else None
        return kept or build((one.stored for one in reader(state).read()), first, last, now)
    except ValueError as error:
        raise UsageError(str(error), _PROG) from None


def from_digest(state: str, day: str) -> Report | None:
    """The report on a day that is gone, as its digest keeps it; None while the day is there, or where nobody kept it."""
    if day not in gone(state, day, day):
        return None
    try:
        return from_json(load_digest(OsFiles(), f"{state}/{DIGESTS}", day).report)
    except (ValueError, KeyError, TypeError):
        return None  # written by another version, or by hand: then the journal tells what it has


def gone(state: str, first: str, last: str) -> dict[str, int]:
    """Days of these that only a digest tells of, and their events."""
    digests = [day for day in days_with_digest(OsFiles(), f"{state}/{DIGESTS}") if first <= day <= last]
    found: dict[str, int] = {}
    there = History.of(state).days() if digests else set()
    for day in digests:
        if day not in there:
            try:
                found[day] = load_digest(OsFiles(), f"{state}/{DIGESTS}", day).events
            except (BadDigest, OSError):
                continue  # `aios journal verify` tells of it
    return found


def days_of(date: str | None, days: int | None, now: float) -> tuple[str, str]:
    """First and last day. Raises ValueError."""
    if date and days is not None:
        raise ValueError("say either --date or --days")
    today = day_of(now)
    if days is not None:
        if days < 1:
            raise ValueError("--days is a number from 1")
        return _before(today, days - 1), today
    day = parse_day(date, now) if date else today
    return day, day


def _before(day: str, days: int) -> str:
    try:
        return (datetime.fromisoformat(day) - timedelta(days=days)).strftime("%Y-%m-%d")
    except OverflowError:
        raise ValueError(f"there were no {days} days yet") from None
