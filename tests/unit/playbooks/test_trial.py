"""A playbook's own tests run the real run, in virtual time, with stubs."""

from __future__ import annotations

from typing import Any

import pytest

from aios.playbooks.load import load
from aios.playbooks.trial import TrialResult, try_playbook
from tests.unit.playbooks.mistakes import GOOD
from tests.unit.playbooks.playbook_skills import SKILLS


def trial(text: str = GOOD, **changes: Any) -> TrialResult:
    playbook = load(text, "nginx.yaml", SKILLS)
    test = dict(playbook.tests[0])
    test["given"] = {**test["given"], **changes.pop("given", {})}
    return try_playbook(playbook, {**test, **changes}, SKILLS)


def test_the_examples_own_test_holds() -> None:
    """A second failure restarts nginx."""
    result = trial()
    assert result == TrialResult("a second failure restarts it", True, (), "healed", ("logs", "config", "restart"), "", 36)


@pytest.mark.parametrize(
    ("stub", "outcome", "steps"),
    [
        ({"run_command": {"exit_code": 1}}, "healed", ("logs", "config", "mend", "restart")),
        ({"config": {"exit_code": 1}, "http_check": "fail"}, "not_healed", ("logs", "config", "mend", "restart")),
        ({"run_command": {"exit_code": 0}, "http_check": "no_data"}, "unknown", ("logs", "config", "restart")),
        ({"run_command": {"exit_code": 0}, "restart_service": ["fail", "fail", "ok"]}, "healed", ("logs", "config", "restart")),
        ({"run_command": {"exit_code": 0}, "restart_service": "fail"}, "not_healed", ("logs", "config", "restart")),
        ({"run_command": {"exit_code": 0}, "restart": {"ok": False}}, "not_healed", ("logs", "config", "restart")),
        ({"run_command": "ok"}, "unknown", ("logs", "config")),
    ],
)
def test_stubs_steer_the_run(stub: dict[str, Any], outcome: str, steps: tuple[str, ...]) -> None:
    """By skill or by step, one answer or one after the other."""
    result = trial(stub=stub, expect={"outcome": outcome, "steps": list(steps)})
    assert result.ok, result.differences


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"event": {"type": "service.up", "subject": "nginx.service"}}, "the type service.up is not among service.down"),
        ({"event": {"type": "service.down", "subject": "other.service"}}, 'subject is "other.service"'),
        ({"score": 0.95}, "`when`: score < 0.9 is false"),
    ],
)
def test_a_playbook_that_does_not_run_says_why(given: dict[str, Any], why: str) -> None:
    """`no_run` may be what is expected."""
    result = trial(given=given, expect={"outcome": "no_run", "steps": []})
    assert result.ok
    assert why in result.why


def test_a_symptom_that_is_gone_is_cleared() -> None:
    """Nothing is done for what is well already."""
    assert trial(given={"symptom": "well"}).outcome == "cleared"


@pytest.mark.parametrize(
    ("mode", "outcome"), [("observe", "observed"), ("shadow", "observed"), ("suggest", "suggested"), ("approve", "healed")]
)
def test_modes_are_kept(mode: str, outcome: str) -> None:
    """A test tells what the playbook would do in the mode that it has."""
    assert trial(GOOD.replace("mode: auto", f"mode: {mode}")).outcome == outcome


def test_what_differs_is_said() -> None:
    """What came, what was expected, and why it came."""
    result = trial(stub={"run_command": {"exit_code": 0}, "restart_service": "fail"})
    assert not result.ok
    assert result.differences == ("outcome is not_healed, expected healed (step restart failed: stubbed: fail)",)


def test_a_playbook_that_only_suggests_is_tried_as_if_it_might_act() -> None:
    """Its mode may change every week; what it does when it acts is what its test holds."""
    text = GOOD.replace("mode: auto", "mode: suggest").replace("given: {event:", "given: {mode: auto, event:")
    playbook = load(text, "p.yaml", SKILLS)
    result = try_playbook(playbook, playbook.tests[0], SKILLS)
    assert (result.ok, result.outcome) == (True, "healed"), result


def test_a_window_that_ends_later_says_how_long_the_test_has_to_wait() -> None:
    """And so long is enough."""
    on = "on: {sequence: [{type: a.b}, {absence: {type: a.c}}], within: 5s}"
    test = "{name: t, given: {events: [{type: a.b}]WAIT}, expect: {outcome: observed}}"
    text = f"playbook: a\n{on}\nsteps: [{{id: look, observe: read_logs}}]\ntests: [{test}]\n"

    def tried(wait: str) -> TrialResult:
        playbook = load(text.replace("WAIT", wait), "a.yaml", SKILLS)
        return try_playbook(playbook, playbook.tests[0], SKILLS)

    assert tried("").why.endswith("add wait: 6s")
    assert tried(", wait: 6s").ok
