"""`aios playbook test`: runs the tests that playbooks carry, shows what is not as expected, and again when a file changes.

The tests themselves are `playbooks/trial.py`'s; here stands how their results are told: to a person, as JSON, as JUnit's XML.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn
from xml.etree import ElementTree

from aios.cli import exits
from aios.cli.parser import UsageError
from aios.cli.playbook_files import in_force
from aios.cli.reach import settings, wants_json
from aios.cli.skill import catalogue
from aios.cli.terminal import Terminal
from aios.events.calls import SkillCatalogue
from aios.playbook_files import SUFFIXES
from aios.playbooks.load import Loaded
from aios.playbooks.model import Playbook
from aios.playbooks.trial import TrialResult, try_playbook

STILL_S = 0.2
"""So long must the files be still before the tests run again: editors save in several strokes."""
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Tried(NamedTuple):
    """One test of one playbook, and how it went."""

    playbook: Playbook
    entry: Mapping[str, Any]
    result: TrialResult


def test(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when a test fails, 4 when a playbook cannot be used."""
    if args.watch:
        if args.junit or wants_json(args):
            raise UsageError("--watch is for a person who looks: leave out --json and --junit", "aios playbook test --watch")
        asyncio.run(_watch(args, terminal))
    return _once(args, terminal, catalogue())


def _once(args: argparse.Namespace, terminal: Terminal, skills: SkillCatalogue) -> int:
    loaded = in_force(args, terminal, skills)
    tried = [Tried(p, entry, try_playbook(p, entry, skills)) for p in loaded.playbooks for entry in p.tests]
    if args.junit:
        write_junit(args.junit, tried, loaded)
    if wants_json(args):
        terminal.json(as_json(tried, loaded))
    else:
        _show(tried, loaded, terminal)
    if loaded.errors:
        return exits.INVALID
    return exits.OK if all(one.result.ok for one in tried) else exits.NO


def as_json(tried: Sequence[Tried], loaded: Loaded) -> dict[str, Any]:
    rows = [
        {
            "playbook": playbook.name,
            "test": result.name,
            "ok": result.ok,
            "differences": list(result.differences),
            "outcome": result.outcome,
            "steps": list(result.steps),
        }
        for playbook, _, result in tried
    ]
    return {"tests": rows, "untested": _untested(loaded), "errors": [str(error) for error in loaded.errors]}


def _untested(loaded: Loaded) -> list[str]:
    return [playbook.name for playbook in loaded.playbooks if not playbook.tests]


# --- for a person -----------------------------------------------------------------------------------------------------


def _show(tried: Sequence[Tried], loaded: Loaded, terminal: Terminal) -> None:
    for one in tried:
        terminal.say(
            f"{'ok ' if one.result.ok else 'BAD'}  {one.playbook.name}: {one.result.name}", "" if one.result.ok else "red"
        )
        if not one.result.ok:
            terminal.say(f"     {one.playbook.path}:{one.result.line}", "dim")
            for mark, text in differences(one):
                terminal.say(f"  {mark}  {text}", {"E": "red", "-": "red", "+": "green"}.get(mark, ""))
    for error in loaded.errors:
        terminal.page(str(error))
    for name in _untested(loaded):
        terminal.say(f"     {name} has no tests", "yellow")
    failed = sum(not one.result.ok for one in tried)
    mistakes = "1 mistake" if len(loaded.errors) == 1 else f"{len(loaded.errors)} mistakes"
    words = f"{len(tried) - failed} passed, {failed} failed, {mistakes}"
    terminal.say(words, "red" if failed or loaded.errors else "green")


def differences(one: Tried) -> Iterator[tuple[str, str]]:
    """What is not as expected, as pytest shows it: (mark, text). `-` was expected and is missing, `+` came unexpected."""
    result, expect = one.result, one.entry["expect"]
    for difference in result.differences:
        yield "E", difference
    if "steps" in expect and list(result.steps) != list(expect["steps"]):
        for line in difflib.ndiff(list(expect["steps"]), list(result.steps)):
            if not line.startswith("?"):
                yield line[0], f"  {line[2:]}"


# --- for a CI server --------------------------------------------------------------------------------------------------


def write_junit(path: str, tried: Sequence[Tried], loaded: Loaded) -> None:
    """One suite a file of playbooks; a file that cannot be used is a test that could not be tried. Raises OSError."""
    failed, broken = sum(not one.result.ok for one in tried), len(loaded.errors)
    counts = {"tests": str(len(tried) + broken), "failures": str(failed), "errors": str(broken)}
    root = ElementTree.Element("testsuites", {"name": "aios playbook test", **counts})
    for playbook in loaded.playbooks:
        mine = [one for one in tried if one.playbook.name == playbook.name]
        suite = _suite(root, playbook.path, len(mine), failures=sum(not one.result.ok for one in mine))
        for one in mine:
            case = _case(suite, playbook.name, one.result.name)
            if not one.result.ok:
                failure = ElementTree.SubElement(case, "failure", type="difference", message=_xml(one.result.differences[0]))
                told = "\n".join(f"{mark} {text}" for mark, text in differences(one))
                failure.text = _xml(f"{playbook.path}:{one.result.line}\n{told}")
    for error in loaded.errors:
        suite = _suite(root, error.path, 1, errors=1)
        case = _case(suite, os.path.basename(error.path), "it can be used")
        ElementTree.SubElement(case, "error", type="mistake", message=_xml(error.message)).text = _xml(str(error))
    with open(path, "wb") as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _suite(root: ElementTree.Element, path: str, tests: int, failures: int = 0, errors: int = 0) -> ElementTree.Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(errors)}
    return ElementTree.SubElement(root, "testsuite", {"name": _xml(path), **counts})


def _case(suite: ElementTree.Element, owner: str, name: str) -> ElementTree.Element:
    """Strict readers know no `file` and no `line` of it (Jenkins' xUnit schema): where it stands is in the failure's text."""
    return ElementTree.SubElement(suite, "testcase", classname=_xml(owner), name=_xml(name))


def _xml(text: str) -> str:
    """Without the characters that no XML may hold, escaped or not (XML 1.0, section 2.2)."""
    return _NOT_IN_XML.sub("?", text)


# --- again and again --------------------------------------------------------------------------------------------------


async def _watch(args: argparse.Namespace, terminal: Terminal) -> NoReturn:
    """Until Ctrl-C."""
    from aios.sensors.wake import Waker  # watchdog costs 2 MB: only who watches pays

    skills, changed = catalogue(), asyncio.Event()

    def on_names(names: set[str]) -> None:
        if any(name.endswith(SUFFIXES) for name in names):
            changed.set()

    waker = Waker()
    for folder in _folders(args, terminal):
        waker.watch(folder, on_names, changed.set)
    try:
        while True:
            _once(args, terminal, skills)
            terminal.say("waiting for a change; Ctrl-C ends it", "dim")
            terminal.out.flush()
            await _next_change(changed)
            terminal.say()
    finally:
        waker.close()


def _folders(args: argparse.Namespace, terminal: Terminal) -> list[str]:
    paths = args.paths or settings(args, terminal).playbooks
    return sorted({path if os.path.isdir(path) else os.path.dirname(path) or "." for path in paths})


async def _next_change(changed: asyncio.Event) -> None:
    """The next one, once all is still."""
    await changed.wait()
    while changed.is_set():
        changed.clear()
        await asyncio.sleep(STILL_S)
