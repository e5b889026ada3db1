"""The first minutes with AIOS, as its user lives them: the real daemon, the real command line, `--json` each time.

One house for all: a managed service and an agent, and three playbooks (one asks, one proposes, one looks).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.control.client import follow
from tests.acceptance.house import House

SETTINGS = f"""
settle = "0s"
[[service]]
name = "web"
argv = ["{sys.executable}", "-SEc", "import signal; print('web is here', flush=True); signal.pause()"]

[[service]]
name = "bot"
kind = "agent"
argv = ["{sys.executable}", "-SEc", "import signal; signal.pause()"]
"""

WEB = """\
playbook: web-down
description: Bring the web service back, if a person lets us.
on:
  type: service.down
  match:
    subject: [web.service]
mode: approve
guard: {cooldown: 0s, limit: 10 in 1h}
steps:
  - id: restart
    act: restart_service
    with: {unit: "${event.subject}"}
verify:
  - service_check: {unit: "${event.subject}", hold: 100ms, within: 10s}
tests:
  - name: it is restarted
    given: {event: {type: service.down, subject: web.service}}
    stub: {restart_service: ok, service_check: ok}
    expect: {outcome: healed, steps: [restart]}
"""
BOT = (
    WEB.replace("web-down", "bot-error")
    .replace("service.down", "agent.error")
    .replace("web.service", "agent:bot")
    .replace("mode: approve", "mode: suggest")
    .replace("it is restarted", "it would be restarted")
    .replace("outcome: healed, steps: [restart]", "outcome: suggested")
)
LOOK = """\
playbook: look
description: Look at the disk when something was deployed.
on:
  type: deploy.done
mode: observe
steps:
  - id: disk
    observe: disk_usage
    with: {path: /}
"""
BOOKS = {"web-down": WEB, "bot-error": BOT, "look": LOOK}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    living = House(tmp_path_factory.mktemp("first"), BOOKS, SETTINGS)
    yield living
    for subject in ("web.service", "agent:bot"):
        living.aios("service", "stop", subject)
    living.stop()


class Events:
    """What happens from now on; `wait` is for the next event of a type about a subject."""

    def __init__(self, house: House) -> None:
        self.items = follow(house.socket, "events_follow", {})

    def wait(self, kind: str, subject: str) -> dict[str, Any]:
        for item in self.items:
            event: dict[str, Any] = item["event"]
            if (event["type"], event["subject"]) == (kind, subject):
                return event
        raise AssertionError(f"no {kind} of {subject}")


def service(house: House, subject: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in house.json("service", "list")["services"] if row["subject"] == subject)
    return found


def until_up(house: House, subject: str) -> dict[str, Any]:
    """Services are started with the daemon, a moment after it is ready."""
    events = Events(house)
    while (row := service(house, subject))["state"] != "up":
        next(iter(events.items))
    return row


def test_its_services_run_and_it_is_well(house: House) -> None:
    """`status` says 0 and that all is well; `service list` names what runs."""
    assert until_up(house, "web.service")["backend"] == "managed"
    assert until_up(house, "agent:bot")["pid"] > 0
    status = house.json("status")
    assert (status["playbooks"], status["mode_max"], status["paused"], status["needs_you"]) == (3, "auto", None, [])
    assert "All is well." in house.aios("status")
    assert (house.state / "logs" / "web.log").read_text() == "web is here\n"


def test_an_event_goes_in_and_is_looked_at(house: House) -> None:
    """`emit` gives the place in the journal, `events` has it there, a run looks and changes nothing."""
    events = Events(house)
    emitted = house.json("emit", "deploy.done", "--subject", "app:shop", "--data", '{"version": 7}')
    assert emitted["emitted"] == 1
    events.wait("run.observed", "app:shop")
    found = [json.loads(line) for line in house.aios("events", "--type", "deploy.done", "--json").splitlines()]
    assert [(one["position"], one["event"]["data"]) for one in found] == [(emitted["positions"][0], {"version": 7})]
    runs = [run for run in house.json("runs", "list")["runs"] if run["subject"] == "app:shop"]
    assert [(run["playbook"], run["status"], run["acted"]) for run in runs] == [("look", "observed", False)]
    shown = house.json("runs", "show", runs[0]["id"][:8])
    assert [(step["step"], step["ok"]) for step in shown["steps"]] == [("disk", True)]


def test_a_line_in_the_inbox_goes_the_same_way(house: House) -> None:
    """Any program's own file; only `type` is needed."""
    events = Events(house)
    with open(house.state / "inbox" / "myapp.jsonl", "a", encoding="utf-8") as file:
        file.write('{"type": "deploy.done", "subject": "app:inbox"}\n')
    assert events.wait("deploy.done", "app:inbox")["source"] == "inbox/myapp"
    events.wait("run.observed", "app:inbox")


def test_a_dead_service_is_a_question_and_a_yes_heals_it(house: House) -> None:
    """Mode approve: it asks before it acts. No: it lets the service be. Once more, and yes: another process serves."""
    pid = until_up(house, "web.service")["pid"]
    events = Events(house)
    os.kill(pid, signal.SIGKILL)
    asked = events.wait("approval.requested", "web.service")["data"]
    assert [act["skill"] for act in asked["acts"]] == ["restart_service"]
    status = house.json("status", code=1)
    assert [run["id"] for run in status["needs_you"]] == [asked["run"]]
    assert [run["id"] for run in house.json("runs", "list", "--waiting", code=1)["runs"]] == [asked["run"]]
    assert house.json("runs", "deny", asked["run"][:8], "--reason", "not now")["id"] == asked["run"]
    events.wait("approval.denied", "web.service")
    assert service(house, "web.service")["state"] == "down"

    again = house.json("runs", "retry", asked["run"])["run"]
    assert events.wait("approval.requested", "web.service")["data"]["run"] == again
    assert house.json("runs", "approve", again[:8])["id"] == again
    events.wait("run.healed", "web.service")
    now = service(house, "web.service")
    assert now["state"] == "up"
    assert now["pid"] not in (0, pid)
    assert house.json("runs", "list", "--waiting") == {"runs": []}
    assert "restart_service" in house.aios("runs", "show", again)


def test_a_suggestion_is_shown_until_a_person_makes_a_run_of_it(house: House) -> None:
    """Mode suggest changes nothing by itself; approved, it does what it proposed, and is proposed no more."""
    until_up(house, "agent:bot")
    house.json("service", "stop", "agent:bot")
    events = Events(house)
    house.json("emit", "agent.error", "--subject", "agent:bot", "--data", '{"message": "no model"}')
    proposed = events.wait("run.suggested", "agent:bot")["data"]["run"]
    assert service(house, "agent:bot")["state"] == "stopped"
    assert [run["id"] for run in house.json("status", code=1)["needs_you"]] == [proposed]
    assert [run["id"] for run in house.json("runs", "list", "--waiting", code=1)["runs"]] == [proposed]
    assert f"aios runs approve {proposed[:8]}" in house.aios("runs", "show", proposed)
    refused = house.json("runs", "deny", proposed, code=1)
    assert "only proposes" in refused["error"]

    made = house.json("runs", "approve", proposed)["run"]
    assert events.wait("run.healed", "agent:bot")["data"]["run"] == made
    assert house.json("runs", "list", "--waiting") == {"runs": []}
    assert house.json("status")["needs_you"] == []


def test_paused_it_acts_no_more_until_it_is_resumed(house: House) -> None:
    """`pause` says so at once and in the status; what happens meanwhile is answered after `resume`."""
    pid = until_up(house, "web.service")["pid"]
    assert house.json("pause", "moving", "--for", "1h")["reason"] == "moving"
    assert house.json("status", code=1)["paused"]["reason"] == "moving"
    events = Events(house)
    os.kill(pid, signal.SIGKILL)
    assert events.wait("reactor.decided", "web.service")["data"]["guard"] == "paused"
    assert house.json("status", code=1)["held"] == 1
    house.json("resume")
    run = events.wait("approval.requested", "web.service")["data"]["run"]
    house.json("runs", "approve", run)
    events.wait("run.healed", "web.service")
    assert house.json("status")["paused"] is None


def test_what_an_ended_run_did_is_taken_back_or_said_to_be_nothing(house: House) -> None:
    """A run that only looked has nothing to take back."""
    run = next(run for run in house.json("runs", "list")["runs"] if run["playbook"] == "look")
    assert "nothing to take back" in house.json("runs", "rollback", run["id"], code=1)["error"]
    assert "is over" in house.json("runs", "cancel", run["id"], code=1)["error"]


def test_score_and_report_tell_of_it(house: House) -> None:
    """What broke, what was healed, and that nothing needs anybody."""
    until_up(house, "web.service")
    assert 0 < house.json("score", "web.service")["score"] <= 1
    assert {"web.service", "agent:bot"} <= set(house.json("score")["scores"])
    report = house.json("report", "--format", "json")
    assert report["runs"]["counts"]["healed"] >= 3
    assert report["needs_person"] is False
    assert house.aios("report").startswith("# Nothing needs you")


def test_playbooks_are_listed_linted_and_tried(house: House) -> None:
    """In force; without a mistake; their own tests pass."""
    rows = house.json("playbook", "list")["playbooks"]
    assert {row["name"]: row["mode_in_force"] for row in rows} == {
        "web-down": "approve",
        "bot-error": "suggest",
        "look": "observe",
    }
    assert [test["ok"] for test in house.json("playbook", "test")["tests"]] == [True, True]
    assert all(finding["level"] != "error" for finding in house.json("playbook", "lint", code=1)["findings"])
    assert house.json("playbook", "show", "look")["text"] == LOOK


def test_a_skill_is_called_by_hand(house: House) -> None:
    """Looking, checking, and an act that is only described."""
    assert house.json("skill", "run", "service_status", "unit=web.service")["result"]["state"] == "up"
    assert house.json("skill", "run", "service_check", "unit=web.service")["result"]["verdict"] == "well"
    dry = house.json("skill", "run", "restart_service", "unit=web.service", "--dry")
    assert dry["ok"] is True
    assert {skill["kind"] for skill in house.json("skill", "list")["skills"]} == {"observe", "act", "verify"}


def test_the_doctor_finds_nothing_that_is_bad_with_aios(house: House) -> None:
    """The machine may have its own troubles; daemon, hands, settings and playbooks are well."""
    done = json.loads(house.raw("doctor", "--json").stdout)
    words = {one["what"]: one["word"] for one in done["findings"]}
    assert {words[what] for what in ("settings", "playbooks", "daemon", "hands", "state folder")} == {"ok"}


def test_the_terminal_told_of_it(house: House) -> None:
    """Whoever watches `aios run` sees what it sees and does."""
    log = (house.folder / "log").read_text()
    for sentence in (
        "ready",
        "web.service: service.down",
        "web-down asks to restart: restart_service unit=web.service",
        "healed by web-down",
    ):
        assert sentence in log


def test_stopped_it_leaves_its_services_running_and_finds_them_again(tmp_path: Path) -> None:
    """`aios stop` ends the daemon, not what it looks after; the next daemon starts nothing twice."""
    house = House(tmp_path, BOOKS, SETTINGS)
    try:
        pid = until_up(house, "web.service")["pid"]
        house.json("stop")
        assert house.process.wait(30) == 0
        os.kill(pid, 0)
        house.start()
        assert service(house, "web.service")["pid"] == pid
    finally:
        for subject in ("web.service", "agent:bot"):
            house.aios("service", "stop", subject)
        house.stop()
