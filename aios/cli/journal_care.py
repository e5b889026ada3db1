"""`aios journal verify|stats|reindex|compact|requeue`: looking after the memory. They need no daemon, and get along with one."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from aios.cli import exits
from aios.cli.parser import add_verb, count
from aios.cli.reach import folder, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.journal.query import events_folder
from aios.journal.requeue import quarantine_files, requeue
from aios.journal.retention import RetentionLimits, Upkeep
from aios.journal.scrub import know_all
from aios.journal.verify import Verified, compact, reindex, stats, verify
from aios.log import printable

if TYPE_CHECKING:
    from aios.cli.parser import Verbs

SHOWN_MAX = 100
TYPES_SHOWN = 10
_MB = 1e6


def add_verbs(group: Verbs) -> None:
    looked = add_verb(
        group,
        "verify",
        "look at every byte: checksums, order, gaps, indexes, archives, digests",
        verify_journal,
        examples="aios journal verify\naios journal verify --json | jq '.findings[] | select(.grade == \"error\")'",
    )
    looked.add_argument("--known", action="store_true", help="what is damaged by now is known: `aios status` is quiet about it")
    add_verb(group, "stats", "what the journal takes and holds, by day and by type", show_stats, examples="aios journal stats")
    again = add_verb(group, "reindex", "make missing and damaged indexes again", make_indexes, examples="aios journal reindex")
    again.add_argument("--all", action="store_true", help="all of them, also those that are well")
    smaller = add_verb(
        group, "compact", "compress closed days now instead of later", make_small, examples="aios journal compact --keep 3"
    )
    smaller.add_argument(
        "--keep", type=count, default=2, metavar="DAYS", help="leave the newest so many days (default: 2, the least)"
    )
    back = add_verb(
        group,
        "requeue",
        "put mended lines from quarantine back into the inbox",
        put_back,
        examples="aios journal requeue\naios journal requeue --dry-run mended.jsonl",
    )
    back.add_argument("file", nargs="*", metavar="FILE", help="files like those in quarantine/ (default: all that are there)")
    back.add_argument("--dry-run", action="store_true", help="only say what would be taken")


def _state(args: argparse.Namespace, terminal: Terminal) -> str:
    state = folder(args, terminal)
    events_folder(state)
    return state


def _upkeep(state: str) -> Upkeep:
    """For steps that a person asked for: limits decide nothing here, and digests are the daemon's to write."""
    return Upkeep(OsFiles(), state, RetentionLimits(), lambda _day: {})


# --- verify -----------------------------------------------------------------------------------------------------------


def verify_journal(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when nothing is lost or unbelievable; warnings do not count."""
    found = verify(OsFiles(), _state(args, terminal))
    if wants_json(args):
        terminal.json(_verified_json(found))
    else:
        _show_verified(found, terminal)
    if args.known:
        _take_as_known(args, terminal)
    return exits.NO if found.errors else exits.OK


def _take_as_known(args: argparse.Namespace, terminal: Terminal) -> None:
    known = know_all(OsFiles(), events_folder(_state(args, terminal)))
    if not wants_json(args):
        what = f"the damage in {', '.join(sorted(known))}" if known else "no damage in a closed part"
        terminal.say(f"known from here on: {what}; a daemon says so within an hour")


def _verified_json(found: Verified) -> dict[str, Any]:
    return {
        "ok": not found.errors,
        "errors": found.errors,
        "warnings": len(found.findings) - found.errors,
        "beyond": found.beyond,
        "findings": [one._asdict() for one in found.findings],
        "parts": found.parts,
        "archives": found.archives,
        "digests": found.digests,
        "events": found.events,
        "bytes": found.bytes,
    }


def _show_verified(found: Verified, terminal: Terminal) -> None:
    for one in found.findings[:SHOWN_MAX]:
        terminal.say(f"{one.grade}: {one.file}:{one.offset}: {printable(one.what)}", "red" if one.grade == "error" else "yellow")
        terminal.say(f"  cure: {one.cure}")
    left = len(found.findings) - SHOWN_MAX + found.beyond
    if left > 0:
        terminal.say(f"… and {left} more; `aios journal verify --json` has them")
    what = f"{found.events} events in {found.parts} parts and {found.archives} archives, {found.digests} digests"
    if found.findings:
        terminal.say(f"{found.errors} errors, {len(found.findings) - found.errors} warnings; {what} were looked at.")
    else:
        terminal.say(f"All is whole: {what}.", "green")


# --- stats ------------------------------------------------------------------------------------------------------------


def show_stats(args: argparse.Namespace, terminal: Terminal) -> int:
    parts = list(stats(OsFiles(), _state(args, terminal)))
    by_type: Counter[str] = Counter()
    for part in parts:
        by_type.update(part.by_type)
    raw, held = sum(part.raw_bytes for part in parts), sum(part.file_bytes for part in parts)
    events, bad = sum(part.events for part in parts), sum(part.bad for part in parts)
    if wants_json(args):
        plain = [{name: value for name, value in part._asdict().items() if name != "by_type"} for part in parts]
        totals = {"events": events, "bad": bad, "raw_bytes": raw, "file_bytes": held}
        terminal.json({**totals, "by_type": dict(by_type.most_common()), "parts": plain})
        return exits.OK
    heads = ("part", "where", "events", "unreadable", "as lines, MB", "on disk, MB")
    rows = [(p.part, p.where, str(p.events), str(p.bad), f"{p.raw_bytes / _MB:.2f}", f"{p.file_bytes / _MB:.2f}") for p in parts]
    terminal.table(heads, rows)
    terminal.say(f"{events} events, {bad} lines that cannot be read; {raw / _MB:.2f} MB of lines in {held / _MB:.2f} MB on disk")
    if by_type:
        terminal.table(("type", "events"), [(name or "(others)", str(n)) for name, n in by_type.most_common(TYPES_SHOWN)])
    return exits.OK


# --- mending ----------------------------------------------------------------------------------------------------------


def make_indexes(args: argparse.Namespace, terminal: Terminal) -> int:
    done = reindex(_upkeep(_state(args, terminal)), everything=args.all)
    if wants_json(args):
        terminal.json({"indexes": done})
    else:
        for name in done:
            terminal.say(name)
        terminal.say(f"{len(done)} indexes were made." if done else "Every index is there and whole.", "green")
    return exits.OK


def make_small(args: argparse.Namespace, terminal: Terminal) -> int:
    done = compact(_upkeep(_state(args, terminal)), args.keep)
    if wants_json(args):
        terminal.json({"archived": [dict(one) for one in done]})
        return exits.OK
    for one in done:
        terminal.say(f"{one['part']}: {one['bytes'] / _MB:.2f} MB → {one['stored'] / _MB:.2f} MB")
    terminal.say(f"{len(done)} parts were compressed." if done else "There is nothing to compress.", "green")
    return exits.OK


def put_back(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when some lines cannot be taken yet."""
    state = _state(args, terminal)
    found = requeue(OsFiles(), state, args.file or quarantine_files(OsFiles(), state), args.dry_run)
    if wants_json(args):
        refused = [{"file": file, "line": line, "reason": reason} for file, line, reason in found.refused]
        terminal.json({"requeued": found.requeued, "already": found.already, "dry_run": args.dry_run, "refused": refused})
    else:
        for file, line, reason in found.refused[:SHOWN_MAX]:
            terminal.say(f"{file}:{line}: {printable(reason)}", "yellow")
        verb = "would go" if args.dry_run else "went"
        terminal.say(f"{found.requeued} lines {verb} back into the inbox, {found.already} had gone before.")
        if found.refused:
            terminal.say(f"{len(found.refused)} cannot be taken yet: mend `text` there, then do this again.")
            terminal.say("What you do not want: delete its line there. Naming a FILE takes that one alone.")
    return exits.NO if found.refused and not found.requeued else exits.OK
