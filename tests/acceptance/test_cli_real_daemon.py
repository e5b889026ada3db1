"""The command line and the real daemon: every word works against a living `aios run`, and no request ends it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.control.client import ask, follow, lives
from aios.errors import Refused
from tests.acceptance.house import START_S, House

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
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    living = House(tmp_path_factory.mktemp("house"), {"bot-error": PLAYBOOK})
    yield living
    living.stop()


def test_a_well_daemon_says_that_it_is_well(house: House) -> None:
    """Status, score, services, dead letters of a house where nothing has happened."""
    status = house.json("status")
    assert (status["pid"], status["playbooks"], status["state_dir"]) == (house.process.pid, 1, str(house.state))
    assert "All is well." in house.aios("status")
    assert "There are no dead letters." in house.aios("dead", "list")
    assert house.json("service", "list") == {"services": []}
    assert [row["name"] for row in house.json("playbook", "list")["playbooks"]] == ["bot-error"]


def test_an_event_becomes_a_run_that_can_be_followed_listed_shown_and_explained(house: House) -> None:
    """The whole way, by words alone."""
    stream = follow(house.socket, "events_follow", {"types": ["run.*"], "severity": "info"})
    position = house.json("emit", "agent.error", "--subject", "agent:bot")["positions"][0]
    ends = {"run.observed", "run.cleared", "run.unknown", "run.escalated"}
    seen = [next(item["event"]["type"] for item in stream if item["event"]["type"] in ends)]
    assert seen == ["run.observed"]
    listed = house.json("runs", "list")["runs"]
    assert [(run["playbook"], run["subject"], run["status"]) for run in listed] == [("bot-error", "agent:bot", "observed")]
    shown = house.json("runs", "show", listed[0]["id"][:8])
    assert [step["step"] for step in shown["steps"]][:1] == ["look"]
    assert "bot-error · agent:bot · observed" in house.aios("runs", "show", listed[0]["id"])
    events = [json.loads(line) for line in house.aios("events", "--type", "agent.error", "--json").splitlines()]
    assert [one["position"] for one in events] == [position]
    explained = house.json("explain", events[0]["event"]["id"])
    assert [(one["playbook"], one["matched"]) for one in explained["considered"]] == [("bot-error", True)]
    assert "a run was opened" in house.aios("explain", events[0]["event"]["id"])


def test_the_daemon_and_the_journal_list_the_same_runs(house: House) -> None:
    """With and without a daemon a run looks the same."""
    house.aios("emit", "agent.error", "--subject", "agent:twin")
    while not (runs := [r for r in house.json("runs", "list")["runs"] if r["subject"] == "agent:twin" and r["ended"]]):
        assert house.process.poll() is None
    from aios.cli.journal import reader
    from aios.cli.runs_fold import fold

    view = fold(stored.event for stored in reader(str(house.state)).read())[runs[0]["id"]].brief()
    for name in ("playbook", "subject", "status", "outcome", "mode", "why", "waits_for", "asks", "parent", "incident"):
        assert view[name] == runs[0][name], name


def test_a_person_pauses_switches_and_reloads(house: House) -> None:
    """And the status says who."""
    house.aios("pause", "moving house", "--for", "1h")
    status = house.json("status", code=1)
    assert status["paused"]["reason"] == "moving house"
    assert "paused by" in house.aios("status", code=1)
    house.aios("resume")
    assert ask(house.socket, "status").result["paused"] is None
    house.aios("playbook", "disable", "bot-error")
    assert house.json("playbook", "list")["playbooks"][0]["enabled"] is False
    house.aios("playbook", "enable", "bot-error")
    assert house.json("reload") == {"playbooks": 1, "errors": [], "waiting": {}}
    assert "there is no playbook 'x'" in house.json("playbook", "disable", "x", code=1)["error"]


def test_a_skill_is_called_by_hand(house: House) -> None:
    """What looks, looks; what it does not know is refused with a cure."""
    answer = house.json("skill", "run", "disk_usage", "path=/")
    assert answer["ok"] is True
    assert 0 < answer["result"]["used"] < 1
    assert "there is no skill 'disk_usgae'" in house.json("skill", "run", "disk_usgae", code=1)["error"]
    refused = house.json("skill", "run", "disk_usage", "paht=/", code=1)
    assert "paht" in refused["error"] + refused["hint"]


def test_what_is_not_there_is_refused_with_a_cure(house: House) -> None:
    """Runs, letters, events."""
    for words in (["runs", "approve", "zzzz9999"], ["runs", "show", "zzzz9999"], ["dead", "retry", "none"], ["explain", "none"]):
        refused = house.json(*words, code=1)
        assert refused["error"]
        assert refused["hint"]


def test_the_doctor_finds_the_daemon_and_its_hands(house: House) -> None:
    """Both answer."""
    raw = subprocess.run(
        [sys.executable, "-m", "aios.cli.main", "doctor", "--json"], env=house.env, capture_output=True, text=True, timeout=60
    )
    findings = {one["what"]: one["word"] for one in json.loads(raw.stdout)["findings"]}
    assert (findings["daemon"], findings["hands"], findings["playbooks"], findings["settings"]) == ("ok",) * 4


def test_a_second_daemon_is_refused(house: House) -> None:
    """One a state folder; the first does not notice."""
    done = subprocess.run(
        [sys.executable, "-m", "aios.cli.main", "run"], env=house.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert f"another AIOS is running on {house.state}: process {house.process.pid} holds its lock" in done.stderr
    assert ask(house.socket, "status").result["pid"] == house.process.pid


VERBS = (
    "status", "emit", "playbooks", "playbook_enable", "playbook_disable", "runs", "run", "approve", "deny", "cancel", "rollback",
    "retry", "dead_letters", "dead_retry", "score", "pause", "resume", "services", "service_start", "service_stop",
    "service_restart", "skill_run", "explain", "doctor", "events_follow", "__init__", "nonsense",
)  # fmt: skip
NAMES = (
    "events", "name", "run", "limit", "open", "letter", "subject", "reason", "for", "skill", "params", "dry", "event",
    "types", "severity",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, 1.5, "", "x", "../../etc/passwd", "\x00", "\x1b[2J", "é" * 600, "9999999d", "disk_usage",
    "bot-error", [], [None], [[]], [{"type": 1}], [{"type": "run.opened"}], [{"type": "a.b", "data": {"x": "y" * 70_000}}],
    {}, {"a": []}, {"path": 7}, {"unit": "-rf /"},
)  # fmt: skip


def followed(house: House, args: dict[str, Any]) -> str:
    """The cure that comes with a refusal to be followed; empty when it is not refused."""
    try:
        follow(house.socket, "events_follow", args).close()  # type: ignore[attr-defined]
    except Refused as refused:
        return refused.hint
    return ""


def test_no_request_is_answered_with_a_bug_or_ends_the_daemon(house: House) -> None:
    """Every verb with odd arguments: refused or done, never a bug."""
    seed = 20260224
    chance = random.Random(seed)
    for turn in range(600):
        verb = chance.choice(VERBS)
        args = {name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(0, 5))}
        if verb == "events_follow":
            assert "a bug in AIOS" not in followed(house, args), (seed, turn, args)
            continue
        answer = ask(house.socket, verb, args)
        assert "a bug in AIOS" not in answer.hint, (seed, turn, verb, args, answer)
    for value in VALUES:
        for name in ("types", "subject", "severity"):
            assert "a bug in AIOS" not in followed(house, {name: value}), (name, value)
    ask(house.socket, "resume")
    assert house.process.poll() is None
    assert ask(house.socket, "status").result["pid"] == house.process.pid


def test_stop_ends_it_in_order(tmp_path: Path) -> None:
    """Exit code 0, the journal says so, and the socket is gone; what is emitted afterwards waits in the inbox."""
    own = House(tmp_path, {"bot-error": PLAYBOOK})
    try:
        own.aios("stop")
        assert own.process.wait(START_S) == 0
        assert not lives(own.socket)
        out = own.aios("events", "--json", "--limit", "1")
        assert json.loads(out)["event"]["type"] == "daemon.stopped"
        assert "inbox" in own.json("emit", "a.b")
    finally:
        own.stop()
