"""`aios score`: how healthy each subject and the whole is, and what that is made of."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from aios.cli import exits
from aios.cli.parser import finish
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal
from aios.errors import Refused
from aios.nearest import did_you_mean

DIMENSIONS = ("success", "latency", "stability", "resources")

_FORMULAS = """
score      0.4 success + 0.2 latency + 0.2 stability + 0.2 resources, over the last 15 minutes; what has no data is left out
success    (ok + 1.9) / (ok + failed + 2)
latency    the smaller of 1 and target / 95th percentile
stability  0.5 ^ (falls ill in the last hour / 2)
resources  the least over processor, memory and disk of (0.95 - used) / 0.25, from 0 to 1
system     half the worst subject, half the mean of all"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", default="", help="only this one, such as nginx.service")
    parser.add_argument("--explain", action="store_true", help="show how it is computed")
    finish(parser, score, examples="aios score\naios score nginx.service --explain")


def score(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when something is degraded."""
    answer = ask_daemon(args, terminal, "score", {"subject": args.subject} if args.subject else {})
    entries = [answer] if args.subject else list((answer.get("scores") or {}).values())
    if wants_json(args):
        terminal.json(answer)
    else:
        if args.subject and answer.get("score") is None:
            _refuse_unknown(args, terminal)
        show(entries, terminal, explain=args.explain)
    return exits.NO if any(entry.get("degraded_since") for entry in entries) else exits.OK


def _refuse_unknown(args: argparse.Namespace, terminal: Terminal) -> None:
    """A name that nothing goes by is probably misspelt."""
    known = ask_daemon(args, terminal, "score").get("scores") or {}
    if args.subject not in known:
        cure = did_you_mean(args.subject, known, "`aios score` lists all")
        raise Refused(f"nothing has been measured of {args.subject!r}", cure)


def show(entries: Sequence[Mapping[str, Any]], terminal: Terminal, *, explain: bool) -> None:
    known = [entry for entry in entries if entry.get("score") is not None]
    if known:
        terminal.table(("subject", "score", *DIMENSIONS, "degraded since"), [row(entry, terminal) for entry in known])
    else:
        terminal.say("Nothing has been measured yet.")
    if explain:
        for entry in known:
            terminal.title(str(entry.get("subject", "")))
            terminal.facts(sorted((entry.get("figures") or {}).items()))
        terminal.page(_FORMULAS)


def row(entry: Mapping[str, Any], terminal: Terminal) -> tuple[str, ...]:
    dimensions = entry.get("dimensions") or {}
    values = (number((dimensions.get(name) or {}).get("value")) for name in DIMENSIONS)
    since = entry.get("degraded_since")
    return str(entry.get("subject", "")), number(entry.get("score")), *values, terminal.when(since) if since else ""


def number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "-"
