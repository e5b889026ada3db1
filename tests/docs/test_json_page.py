"""`docs/json.md`: what each command gives a program, held to a living daemon. The commands run in this process, for speed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from aios.control.client import ask, follow
from tests.acceptance.cli_kit import aios
from tests.acceptance.house import House
from tests.docs.pages import text_of

pytestmark = pytest.mark.timeout(60)
PLAYBOOK = """\
playbook: bot-error
description: Look at the disk when a bot reports an error.
on:
  type: agent.error
mode: observe
steps:
  - id: look
    observe: disk_usage
    with: {path: /}
tests:
  - name: it looks
    given: {event: {type: agent.error}}
    expect: {outcome: observed, steps: [look]}
"""
_ROW = re.compile(r"^\| `aios ([^`]+)` \| (.+) \|$", re.MULTILINE)
ROWS = dict(_ROW.findall(text_of("docs/json.md")))
MORE = {
    "emit TYPE": "emit deploy.done",
    "events": "events --limit 1",
    "explain EVENT": "explain --last agent.error",
    "playbook show NAME": "playbook show bot-error",
    "playbook backtest NAME": "playbook backtest bot-error --since 1d",
    "skill show SKILL": "skill show disk_usage",
    "skill run SKILL": "skill run disk_usage path=/",
    "score SUBJECT": "score agent:bot",
    "silence SUBJECT": "silence web.service --for 1m",
    "pause": "pause why --for 1m",
}
"""What is typed for a row whose words stand for something."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One that has lived: a run, a silence, a line that could not be read."""
    living = House(tmp_path_factory.mktemp("house"), {"bot-error": PLAYBOOK})
    stream = follow(living.socket, "events_follow", {"types": ["run.observed", "journal.quarantined"], "severity": "info"})
    assert ask(living.socket, "emit", {"events": [{"type": "agent.error", "subject": "agent:bot"}]}).ok
    assert ask(living.socket, "silence", {"what": "web.service", "for": "1h"}).ok
    with open(living.state / "inbox" / "w.jsonl", "a", encoding="utf-8") as inbox:
        inbox.write("{bad\n")
    assert {next(stream)["event"]["type"] for _ in range(2)} == {"run.observed", "journal.quarantined"}
    yield living
    living.stop()


def gives(house: House, command: str) -> Any:
    if "RUN" in command:
        runs = gives(house, "runs list")["runs"]
        command = command.replace("RUN", runs[0]["id"])
    done = aios(*command.split(), "--json", data=house.state, environ={"AIOS_SETTINGS": str(house.file)})
    return json.loads(done.out.splitlines()[0])


Fields = tuple[set[str], set[str]]
"""Those that are always there, and those that may be."""


def named(words: str) -> Fields:
    found = re.findall(r"`(\w+)`(\??)", words)
    return {name for name, mark in found if not mark}, {name for name, _ in found}


def fields(words: str) -> tuple[Fields, dict[str, Fields]]:
    """Those of the object, and of each list in it those of its entries."""
    within = {name: named(inner) for name, inner in re.findall(r"`(\w+)` \(each: ([^)]*)\)", words)}
    return named(re.sub(r" \(each: [^)]*\)", "", words.partition(";")[0])), within


def is_said(found: Any, said: Fields) -> bool:
    always, may = said
    return always <= set(found) <= may


@pytest.mark.parametrize("words", ROWS)
def test_a_command_gives_what_the_page_says(house: House, words: str) -> None:
    """A field that is renamed or gone breaks somebody's program; one that is new belongs on the page."""
    answer = gives(house, MORE.get(words, words))
    outer, within = fields(ROWS[words])
    assert is_said(answer, outer), set(answer) ^ outer[0]
    for name, inner in within.items():
        for entry in answer[name][:1]:
            assert is_said(entry, inner), (name, set(entry) ^ inner[0])


def test_what_is_listed_was_there_to_be_looked_at(house: House) -> None:
    """An empty list would prove nothing of its entries."""
    empty = {
        (words, name)
        for words, said in ROWS.items()
        for name in fields(said)[1]
        if words not in ("playbook lint", "status") and not gives(house, MORE.get(words, words))[name]
    }
    assert empty <= {("keep list", "copies"), ("service list", "services"), ("report", "alarm_lines"), ("report", "run_lines")}
