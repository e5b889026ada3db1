"""`aios playbook`: list, show, check, try and switch playbooks. Checking and trying need no daemon and touch nothing."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from aios.cli import backtest, exits, explain, playbook_import, playbook_new, trust
from aios.cli.parser import add_verb, verbs
from aios.cli.playbook_files import in_force
from aios.cli.reach import ask_daemon, settings, wants_json
from aios.cli.skill import catalogue
from aios.cli.terminal import STYLE_OF, Terminal
from aios.cli.trust import mode_words
from aios.cli.waiting import waiting_words
from aios.control.client import DaemonSilent, NoDaemon, NotAllowed
from aios.errors import ConfigError, Refused
from aios.nearest import did_you_mean
from aios.playbooks.correlation_words import waits_for
from aios.playbooks.load import Loaded
from aios.playbooks.model import Playbook, lesser_mode

if TYPE_CHECKING:
    from aios.playbooks.lint import Finding, Level

_LINT = "aios playbook lint\naios playbook lint my-playbook.yaml other-folder/"
_TEST = """
aios playbook test
aios playbook test my-playbook.yaml other-folder/
aios playbook test my-playbook.yaml --watch
"""
_SCHEMA_EXAMPLES = """
aios playbook schema > playbook.schema.json
# first line of a playbook, for editors:  # yaml-language-server: $schema=playbook.schema.json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list playbooks: what they answer, their mode, whether they are on", list_playbooks)
    showing = add_verb(group, "show", "show a playbook as it is written", show, examples="aios playbook show service-down")
    showing.add_argument("name", help="its name")
    linting = add_verb(group, "lint", "check playbooks: every mistake with file, line, column and cure", lint, examples=_LINT)
    testing = add_verb(group, "test", "run the tests that playbooks carry, with stubs: nothing is touched", test, examples=_TEST)
    linting.add_argument("--fix", action="store_true", help="mend, in the files, what can only be meant in one way")
    for verb in (linting, testing):
        verb.add_argument("paths", nargs="*", metavar="PATH", help="files or folders (default: the folders of the settings)")
    testing.add_argument("--junit", metavar="FILE", help="write the results as JUnit's XML, too, for a CI server")
    testing.add_argument("--watch", action="store_true", help="run them again whenever a playbook changes, until Ctrl-C")
    backtest.arguments(group)
    playbook_new.arguments(group)
    playbook_import.arguments(group)
    words = "why a playbook ran for an event, or did not, and what would have made it run"
    explain.add_wanted(add_verb(group, "explain", words, explain.explain, examples=explain.EXAMPLES))
    trust.arguments(group)
    add_verb(group, "schema", "print the JSON Schema of a playbook, for editors", schema, examples=_SCHEMA_EXAMPLES)
    for word, help in (("enable", "switch a playbook on again"), ("disable", "switch a playbook off, until it is enabled")):
        verb = add_verb(group, word, help, switch, examples=f"aios playbook {word} service-down")
        verb.add_argument("name", help="its name")


# --- looking ----------------------------------------------------------------------------------------------------------


def list_playbooks(args: argparse.Namespace, terminal: Terminal) -> int:
    """What the daemon has in force; without one, what the folders hold."""
    broken: list[str] = []
    waiting: Mapping[str, Sequence[str]] = {}
    try:
        answer = ask_daemon(args, terminal, "playbooks")
        rows: list[Mapping[str, Any]] = answer["playbooks"]
        waiting = answer.get("waiting") or {}
        broken = [*(answer.get("errors") or []), *waiting_words(waiting)]
    except NoDaemon:
        loaded = in_force(args, terminal)
        highest = settings(args, terminal).mode_max
        rows = [{**brief(playbook), "mode_in_force": lesser_mode(playbook.mode, highest)} for playbook in loaded.playbooks]
        for error in loaded.errors:
            terminal.complain(str(error))
    if wants_json(args):
        terminal.json({"playbooks": rows, "waiting": waiting})
    elif rows:
        cells = [
            (
                r["name"],
                r.get("waits_for") or ", ".join(r.get("types", ())),
                _mode(r),
                ("on" if r.get("enabled", True) else "off") + _version(r),
                r.get("description", ""),
            )
            for r in rows
        ]
        terminal.table(("playbook", "answers", "mode", "", "description"), cells)
    else:
        terminal.say("There are no playbooks.")
    if not wants_json(args):
        for line in broken:
            terminal.complain(line)
    return exits.OK


def _version(row: Mapping[str, Any]) -> str:
    if row.get("broken"):
        return ", last good version"
    return ", its change waits" if row.get("waits") else ""


def _mode(row: Mapping[str, Any]) -> str:
    """What is in force, and what the playbook itself says where that is another."""
    own = str(row.get("mode", ""))
    now = str(row.get("mode_in_force") or own)
    return own if now == own else f"{now} (says {own})"


def brief(playbook: Playbook) -> dict[str, Any]:
    return {
        "name": playbook.name,
        "types": list(playbook.types),
        "waits_for": waits_for(playbook.correlation) if playbook.correlation is not None else "",
        "mode": playbook.mode,
        "enabled": playbook.enabled,
        "description": playbook.description,
        "path": playbook.path,
        "hash": playbook.hash,
    }


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    """As its file has it. Where that cannot be used: the last good version, if a daemon has it in force."""
    loaded = in_force(args, terminal)
    playbook = next((p for p in loaded.playbooks if p.name == args.name), None)
    if playbook is not None:
        mode = {"mode_in_force": lesser_mode(playbook.mode, settings(args, terminal).mode_max)}
        live = _last_good(args, terminal) or {}
        lived = {
            name: live[name]
            for name in ("mode_in_force", "granted", "guards")
            if name in live and live.get("hash") == playbook.hash
        }
        found: Mapping[str, Any] = {**brief(playbook), **mode, **lived, "text": loaded.texts[playbook.name]}
    else:
        found = _last_good(args, terminal) or _no_playbook(args.name, loaded)
        terminal.complain(f"{found['path']} cannot be used as it is now (`aios playbook lint` says why).")
        terminal.complain("This is the last good version, which is in force:")
    if wants_json(args):
        terminal.json(found)
    else:
        terminal.say(f"# {found['path']}", "dim")
        if found["mode"] != found["mode_in_force"]:
            terminal.say(f"# mode in force: {mode_words(found)}", "dim")
        for guard in found.get("guards") or []:
            terminal.say(f"# {guard}", "dim")
        terminal.page(str(found["text"]).rstrip("\n").replace("\t", "    "))
    return exits.OK


def _last_good(args: argparse.Namespace, terminal: Terminal) -> Mapping[str, Any] | None:
    """What the daemon has in force under this name; None where there is none to ask, or it has none."""
    try:
        return ask_daemon(args, terminal, "playbook", {"name": args.name})
    except (NoDaemon, NotAllowed, DaemonSilent, Refused):
        return None


def _no_playbook(name: str, loaded: Loaded) -> NoReturn:
    """Its file is broken, or its name is none."""
    for error in loaded.errors:
        if os.path.splitext(os.path.basename(error.path))[0] == name:
            raise Refused(f"{error.path} cannot be used", f"aios playbook lint {error.path}")
    names = [playbook.name for playbook in loaded.playbooks]
    raise Refused(f"there is no playbook {name!r}", did_you_mean(name, names, "`aios playbook list` shows them"))


# --- checking ---------------------------------------------------------------------------------------------------------


def lint(args: argparse.Namespace, terminal: Terminal) -> int:
    """4 when one cannot be used, 1 when there is a warning."""
    from aios.playbook_files import fix_files
    from aios.playbooks.lint import lint as find  # reads every playbook a second time: only here

    skills = catalogue()
    loaded = in_force(args, terminal, skills)
    listed = settings(args, terminal).skills.look_commands
    findings = find(loaded, skills, listed)
    fixed = []
    if args.fix:
        while made := fix_files(findings):
            fixed += made
            loaded = in_force(args, terminal, skills)  # what was wrong may have hidden more
            findings = find(loaded, skills, listed)
    if wants_json(args):
        said = {"usable": [playbook.name for playbook in loaded.playbooks], "findings": [_finding_json(f) for f in findings]}
        terminal.json({**said, **({"fixed": [asdict(one) for one in fixed]} if args.fix else {})})
    else:
        for one in fixed:
            terminal.say(f"{one.path}:{one.line}: {one.message} [{one.code}]")
            terminal.say(f"  - {one.before}", "red")
            terminal.say(f"  + {one.after}", "green")
        for finding in findings:
            terminal.page(finding_text(finding), STYLE_OF.get(finding.level, ""))
        _sum_up(loaded, findings, len(fixed), terminal)
    levels = {finding.level for finding in findings}
    return exits.INVALID if "error" in levels else exits.NO if "warning" in levels else exits.OK


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "fix": finding.fix.text if finding.fix is not None else None}


LEVELS: tuple[tuple[Level, str], ...] = (("error", "error"), ("warning", "warning"), ("info", "remark"))


def _sum_up(loaded: Loaded, findings: Sequence[Finding], fixed: int, terminal: Terminal) -> None:
    count = Counter(finding.level for finding in findings)
    told = (f"{count[level]} {word}{'' if count[level] == 1 else 's'}" for level, word in LEVELS)
    words = f"{len(loaded.playbooks)} usable; {', '.join(told)}"
    words += f"; {fixed} fixed" if fixed else ""
    fixable = sum(finding.fix is not None for finding in findings)
    words += f"; --fix mends {fixable} of them" if fixable else ""
    terminal.say(words, "red" if count["error"] else "yellow" if count["warning"] else "green")


def finding_text(finding: Finding) -> str:
    """As a compiler would say it: place, level, message, code; then the line, the mark and the cure."""
    message = f"{finding.level}: {finding.message} [{finding.code}]"
    return str(ConfigError(finding.path, message, finding.line, finding.column, finding.hint, finding.snippet))


def test(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when a test fails, 4 when a playbook cannot be used."""
    from aios.cli.playbook_test import test as try_them  # the run machine and its stubs: only here

    return try_them(args, terminal)


def schema(_args: argparse.Namespace, terminal: Terminal) -> int:
    from aios.playbooks.schema import schema as make

    terminal.json(make(catalogue()))
    return exits.OK


def switch(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, f"playbook_{args.verb}", {"name": args.name})
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(f"{args.name} is {'on' if args.verb == 'enable' else 'off'}.")
    return exits.OK
