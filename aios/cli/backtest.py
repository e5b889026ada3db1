"""`aios playbook backtest`: playbooks tried on the past. It needs no daemon and touches nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aios.cli import exits
from aios.cli.journal import parse_day, parse_moment
from aios.cli.parser import UsageError, add_verb, count
from aios.cli.reach import folder, settings, wants_json
from aios.cli.terminal import Terminal
from aios.errors import ConfigErrors, Refused
from aios.events.durations import parse_duration
from aios.events.event import format_time
from aios.playbook_files import read_texts
from aios.playbooks.model import MODES

if TYPE_CHECKING:
    from aios.backtest import Backtest, Comparison
    from aios.cli.parser import Verbs
    from aios.journal.segments import Effort
    from aios.playbooks.model import Playbook

LIMIT = 20
BAR_COLUMNS = 30
PROGRESS_EVERY_S = 0.2
LINE_COLUMNS = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"
_PROG = "aios playbook backtest"
_SINCE = "30d"

_EXAMPLES = """
aios playbook backtest service-down --since 30d      one that is in force, by its name
aios playbook backtest mine.yaml other/ --on yesterday
aios playbook backtest mine.yaml --mode auto         as if it might act
aios playbook backtest --against old.yaml new.yaml   what a change changes
aios playbook backtest mine.yaml --html backtest.html
"""


def arguments(group: Verbs) -> None:
    help = "try playbooks on the journal: when they would have run, and what would have held them"
    parser = add_verb(group, "backtest", help, backtest, examples=_EXAMPLES)
    parser.add_argument("playbooks", nargs="*", metavar="PLAYBOOK", help="names, files or folders")
    parser.add_argument("--against", nargs=2, metavar=("OLD", "NEW"), help="what changes when NEW takes the place of OLD")
    span = parser.add_argument_group("when")
    span.add_argument("--since", metavar="TIME", help=f"from then on: 30d, yesterday, 2026-02-24 or a time (default: {_SINCE})")
    span.add_argument("--between", nargs=2, metavar=("TIME", "TIME"), help="from the first to just before the second")
    span.add_argument("--on", metavar="DAY", help="one day of the journal (UTC): 2026-02-24, today")
    how = parser.add_argument_group("how")
    how.add_argument("--mode", choices=MODES, help="as if the playbooks had this mode, and the settings allowed it")
    how.add_argument(
        "--assume",
        choices=("well", "ill"),
        default="well",
        help="what verify says after acts that never were: that they helped (default), or that they did not",
    )
    how.add_argument("--within", metavar="TIME", default="10m", help="by itself means: over within this time (default: 10m)")
    how.add_argument("--alone", action="store_true", help="without the other playbooks that are in force")
    how.add_argument(
        "--settings-of",
        choices=("then", "now"),
        default="then",
        help="play by the settings that were in force then (default), or by today's",
    )
    parser.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"rows of the table (default: {LIMIT}; 0 is all)")
    parser.add_argument("--html", metavar="FILE", help="write a page with the plot; needs nothing else to be looked at")


def backtest(args: argparse.Namespace, terminal: Terminal) -> int:
    """4 when a playbook cannot be used; with --against 1 when anything changes."""
    from aios.backtest.page import to_html  # pydantic, CEL and asyncio: only here

    how = _how(args, terminal)
    if args.against:
        comparison = _compare(args, terminal, how)
        found = comparison.new
    else:
        comparison, found = None, _play(args, terminal, how)
    if args.html:
        _write(args.html, to_html(found, comparison))
    if wants_json(args):
        terminal.json(comparison.to_json() if comparison else found.to_json())
    elif comparison:
        _show_comparison(comparison, args, terminal)
    else:
        _show(found, args, terminal)
    if args.html and not wants_json(args):
        terminal.say(f"The page is in {args.html}")
    return exits.NO if comparison and comparison.changes else exits.OK


# --- what is asked ----------------------------------------------------------------------------------------------------


def _how(args: argparse.Namespace, terminal: Terminal) -> dict[str, Any]:
    from aios.backtest import terms_of  # the settings and the guards: only here

    _refuse_nonsense(args)
    now = terminal.clock.now()
    known = settings(args, terminal)
    first, last = args.between or (args.since or (None if args.on else _SINCE), None)
    try:
        when = {
            "since": parse_moment(first, now) if first else None,
            "until": parse_moment(last, now) if last else None,
            "on": parse_day(args.on, now) if args.on else "",
            "within_s": parse_duration(args.within),
        }
    except ValueError as error:
        raise UsageError(str(error), _PROG) from None
    asked = {"mode": args.mode, "assume": args.assume, "then": args.settings_of == "then"}
    return {**when, **asked, "terms": terms_of(known)}


def _refuse_nonsense(args: argparse.Namespace) -> None:
    if bool(args.against) == bool(args.playbooks):
        raise UsageError("name playbooks, or two with --against OLD NEW", _PROG)
    given = [name for name in ("since", "between", "on") if getattr(args, name)]
    if len(given) > 1:
        raise UsageError(f"say either --{given[0]} or --{given[1]}", _PROG)


def _texts(names: Iterable[str], company: Mapping[str, str], by_name: Mapping[str, str]) -> dict[str, str]:
    """Files and folders are read; any other word is the name of one in force."""
    texts: dict[str, str] = {}
    for name in names:
        if name in by_name and not os.path.exists(name):
            texts[by_name[name]] = company[by_name[name]]
            continue
        if not os.path.exists(name):
            from aios.nearest import did_you_mean

            raise Refused(
                f"there is no file or playbook {name!r}", did_you_mean(name, by_name, "`aios playbook list` shows them")
            )
        found, errors = read_texts([name])
        if errors:
            raise ConfigErrors(errors)
        if not found:
            raise Refused(f"there is no playbook in {name}", "its files end in .yaml")
        texts.update(found)
    return texts


def _load(
    names: Sequence[str], args: argparse.Namespace, terminal: Terminal, skills: Any
) -> tuple[tuple[Playbook, ...], tuple[Playbook, ...]]:
    """Those that are tried, and those beside them. Raises ConfigErrors."""
    from aios.backtest import load_for
    from aios.playbooks.load import load_many

    folders = [path for path in settings(args, terminal).playbooks if os.path.isdir(path)]
    company, _ = read_texts(folders)
    by_name = {playbook.name: playbook.path for playbook in load_many(company, skills).playbooks}
    loaded, beside = load_for(_texts(names, company, by_name), company, skills)
    if loaded.errors:
        raise ConfigErrors(list(loaded.errors))
    return loaded.playbooks, () if args.alone else beside


def _play(args: argparse.Namespace, terminal: Terminal, how: Mapping[str, Any]) -> Backtest:
    from aios.backtest import backtest as play
    from aios.cli.skill import catalogue

    skills = catalogue()
    tried, beside = _load(args.playbooks, args, terminal, skills)
    bar = Bar(terminal)
    try:
        return play(folder(args, terminal), tried, company=beside, skills=skills, watch=bar.watch, **how)
    finally:
        bar.clear()


def _compare(args: argparse.Namespace, terminal: Terminal, how: Mapping[str, Any]) -> Comparison:
    from aios.backtest import compare
    from aios.cli.skill import catalogue

    skills = catalogue()
    old, _ = _load(args.against[:1], args, terminal, skills)
    new, beside = _load(args.against[1:], args, terminal, skills)
    bar = Bar(terminal)
    try:
        return compare(folder(args, terminal), old, new, company=beside, skills=skills, watch=bar.watch, **how)
    finally:
        bar.clear()


def _write(path: str, page: str) -> None:
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(page)


class Bar:
    """How far it is, on the terminal's error stream, where there is one."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._next = terminal.clock.monotonic() + PROGRESS_EVERY_S if terminal.err.isatty() else None
        self._shown = False

    def watch(self, effort: Effort) -> None:
        now = self._terminal.clock.monotonic()
        if self._next is None or now < self._next or not effort.total:
            return
        self._next, self._shown = now + PROGRESS_EVERY_S, True
        share = min(1.0, effort.done / effort.total)
        full = round(share * BAR_COLUMNS)
        self._terminal.err.write(f"\r{'█' * full}{'░' * (BAR_COLUMNS - full)} {share:4.0%} of {effort.total / 1e6:.0f} MB ")
        self._terminal.err.flush()

    def clear(self) -> None:
        if self._shown:
            self._terminal.err.write("\r" + " " * (BAR_COLUMNS + 30) + "\r")
            self._terminal.err.flush()


# --- what is shown ----------------------------------------------------------------------------------------------------


def _show(found: Backtest, args: argparse.Namespace, terminal: Terminal) -> None:
    from aios.backtest.words import figures_facts, span_words

    terminal.say(span_words(found), "bold")
    for note in found.notes:
        terminal.say(note, "yellow")
    _show_line(found, terminal)
    for figures in found.playbooks:
        terminal.title(f"{figures.name} ({figures.mode})  {figures.path}")
        terminal.facts(figures_facts(figures, found))
        lowered = [run.mode for run in found.runs if run.playbook == figures.name and run.mode != figures.mode][:1]
        if lowered:
            terminal.say(
                f"The settings allow {lowered[0]} at most; --mode {figures.mode} asks how it would do by itself.", "yellow"
            )
    _show_rows(found, args.limit, terminal)


def _show_line(found: Backtest, terminal: Terminal) -> None:
    seconds, buckets = found.buckets(LINE_COLUMNS)
    if not buckets:
        return
    terminal.say()
    for word, counts, style in (
        ("runs", [b.runs for b in buckets], "green"),
        ("held", [b.held for b in buckets], "yellow"),
        ("matched", [b.matched for b in buckets], "dim"),
    ):
        if any(counts):
            terminal.say(f"{word:<8}{sparkline(counts)}  most {max(counts)}", style)
    first, last = terminal.local(buckets[0].begin)[:16], terminal.local(buckets[-1].begin + seconds)[:16]
    terminal.say(f"{'':<8}{first}{'':<{max(1, len(buckets) - 32)}}{last}  (each {seconds / 3600:g} h)", "dim")


def sparkline(counts: Sequence[int]) -> str:
    """One character a part; anything that is not nothing can be seen."""
    most = max(counts) or 1
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // most)] for count in counts)


def _show_rows(found: Backtest, limit: int, terminal: Terminal) -> None:
    from aios.backtest.words import run_words, trouble_words

    rows = [(run.at, run.playbook, run.subject, run_words(run), trouble_words(run, found.within_s)) for run in found.runs] + [
        (held.at, held.playbook, held.subject, f"held by {held.guard} until {_until(held.until, terminal)}", held.why)
        for held in found.held
    ]
    rows.sort(key=lambda row: row[0])
    shown = rows[-limit:] if limit else rows
    if not shown:
        return
    terminal.say()
    cells = [(terminal.local(at), playbook, subject, what, really) for at, playbook, subject, what, really in shown]
    terminal.table(("when", "playbook", "subject", "it would", "really; why"), cells)
    more = len(rows) - len(shown) + found.runs_left_out + found.held_left_out
    if more:
        terminal.say(f"and {more} more: --limit 0 shows all that are kept, --json too", "dim")


def _until(until: str, terminal: Terminal) -> str:
    return terminal.local(until) if until else "a person lifts it"


def _show_comparison(comparison: Comparison, args: argparse.Namespace, terminal: Terminal) -> None:
    from aios.backtest.compare import KIND_WORDS, MEANINGS
    from aios.backtest.words import span_words

    terminal.say(span_words(comparison.new), "bold")
    for note in comparison.new.notes:
        terminal.say(note, "yellow")
    old, new = (sum(f.runs for f in side.playbooks) for side in (comparison.old, comparison.new))
    terminal.say(f"{old} runs before, {new} after")
    counts = comparison.counts
    if not counts:
        terminal.say("Nothing changes.", "green")
        return
    words = {kind: KIND_WORDS.get(kind, kind) for kind in MEANINGS}
    terminal.facts((words[kind], f"{counts[kind]}: {meaning}") for kind, meaning in MEANINGS.items() if counts.get(kind))
    terminal.say()
    shown = comparison.changes[-args.limit :] if args.limit else comparison.changes
    rows = [(terminal.local(format_time(c.at)), words[c.kind], c.subject, c.before, c.after, c.why) for c in shown]
    terminal.table(("when", "", "subject", "before", "after", "why"), rows)
    for word, meaning in comparison.legend(shown).items():
        terminal.say(f"{word}: {meaning}", "dim")
    more = len(comparison.changes) - len(shown) + comparison.left_out
    if more:
        terminal.say(f"and {more} more: --limit 0 shows all that are kept, --json too", "dim")
