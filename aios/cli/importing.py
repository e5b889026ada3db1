"""`aios journal import`: event files of AIOS v0.5 and v0.6 into the journal's archive. It needs no daemon, and minds none."""

from __future__ import annotations

import argparse
import os
import re
from datetime import datetime
from typing import Any

from aios.cli import exits
from aios.cli.parser import UsageError, finish
from aios.cli.reach import folder, settings, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.events.redact import Redactor
from aios.journal.importer import FileResult, Imported, Importer

_PROG = "aios journal import"
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)")
_EXAMPLES = """
aios journal import ~/old-aios/events/*.jsonl ~/old-aios/data/*.jsonl
aios journal import --json events.jsonl | jq .files
aios journal import --zone +08:00 reactions.jsonl     where no record tells its zone
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", metavar="FILE", help="an event file of v0.5 or v0.6, in any of its dialects")
    parser.add_argument(
        "--zone",
        metavar="+HH:MM",
        help="of times without a zone (default: as records that tell both say, else the machine's own)",
    )
    finish(parser, import_files, examples=_EXAMPLES)


def import_files(args: argparse.Namespace, terminal: Terminal) -> int:
    zone_s = parse_zone(args.zone) if args.zone else None
    redactor = Redactor(settings(args, terminal).redact.values)
    now = terminal.clock.now()
    importer = Importer(OsFiles(), folder(args, terminal), redactor, now)
    done = importer.run([os.path.abspath(path) for path in args.file], zone_s=zone_s, local_zone_s=local_zone(now))
    if wants_json(args):
        terminal.json(as_json(done))
    else:
        _tell(done, terminal)
    return exits.OK


def parse_zone(text: str) -> int:
    """`+08:00` in seconds. Raises UsageError."""
    found = _ZONE.fullmatch(text)
    if text in ("Z", "UTC"):
        return 0
    if not found or int(found[2]) > 14 or int(found[3]) > 59:
        raise UsageError(f"{text[:20]!r} is no zone; write it like +08:00", _PROG)
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return -seconds if found[1] == "-" else seconds


def local_zone(now: float) -> int:
    offset = datetime.fromtimestamp(now).astimezone().utcoffset()
    return int(offset.total_seconds()) if offset else 0


def as_json(done: Imported) -> dict[str, Any]:
    return {
        "read": done.read,
        "imported": done.imported,
        "already_there": done.already_there,
        "quarantined": done.quarantined,
        "days": list(done.days),
        "types": dict(done.types.most_common()),
        "zone": zone_text(done.zone_s),
        "files": [_file_as_json(one) for one in done.files],
    }


def _file_as_json(one: FileResult) -> dict[str, Any]:
    return {
        "file": one.file,
        "read": one.read,
        "imported": one.imported,
        "already_there": one.already_there,
        "quarantined": one.quarantined,
        "reasons": one.reasons,
    }


def zone_text(zone_s: int) -> str:
    hours, minutes = divmod(abs(zone_s) // 60, 60)
    return f"{'-' if zone_s < 0 else '+'}{hours:02}:{minutes:02}"


def _tell(done: Imported, terminal: Terminal) -> None:
    rows = [
        (str(one.read), str(one.imported), str(one.already_there), str(one.quarantined), os.path.basename(one.file))
        for one in done.files
    ]
    terminal.table(("read", "imported", "there already", "not understood", "file"), rows)
    if done.days:
        terminal.say(f"{done.imported} events of {done.days[0]} to {done.days[-1]}; local times were {zone_text(done.zone_s)}.")
    for one in done.files:
        for reason, number in one.why.most_common(5):
            line = next((told["line"] for told in one.reasons if told["reason"] == reason), 0)
            terminal.say(f"{one.file}:{line}: {reason}" + (f" (and {number - 1} more)" if number > 1 else ""))
    if done.quarantined:
        terminal.say("What was not understood is kept in quarantine/, with its place and reason.")
