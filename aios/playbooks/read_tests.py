"""A playbook's own tests: `given` an event, with `stub`s for its skills, `expect` an outcome. For `load.py`; run by `trial.py`.

    tests:
      - name: a second failure restarts it
        given: {event: {type: service.down, subject: nginx.service, data: {failures: 2}}, score: 0.8}
        stub: {run_command: {exit_code: 0}, restart_service: ok, http_check: ok}
        expect: {outcome: healed, steps: [logs, config, restart]}

A stub names a skill or a step; it is `ok`, `fail`, what stands in the result, or a list of these for one call after the other
(the last one stays). For a check, `ok` means well and `fail` not well, after the acts; before them it is not well, unless
`given` says `symptom: well` or `symptom: no_data`. What is not stubbed is `ok`. For a step that asks, the stub is the choice that
a person makes, or `denied`, or `no_answer` (the usual); `approval` is what they say before an act: `given` (the usual), `denied`,
`no_answer`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from aios.nearest import did_you_mean
from aios.playbooks.model import MODES
from aios.playbooks.read import Reader
from aios.playbooks.yaml_strict import Node, to_json

OUTCOMES = ("healed", "not_healed", "unknown", "cleared", "observed", "suggested", "no_run")
"""How a test may end: a run's outcome, or `no_run` (the pattern or `when` did not let it begin)."""
WORDS = ("ok", "fail")
CHECK_WORDS = (*WORDS, "well", "not_well", "no_data")
SYMPTOMS = ("well", "not_well", "no_data")
APPROVAL, GIVEN, UNANSWERED = "approval", "given", ("denied", "no_answer")
"""A stub called `approval` answers what the run asks before it acts; else it is given."""
TESTS_MAX = 100

EVENTS_MAX = 1000
WAIT_MAX_S = 30 * 86400.0

_GIVEN_KEYS = ("event", "events", "wait", "mode", "score", "system_score", "symptom")
_EVENT_KEYS = ("type", "subject", "data", "severity", "source", "time", "id")
_EVENTS_KEYS = ("after", "type", "subject", "data", "severity", "source", "id")


class Names(NamedTuple):
    """The ids of the playbook's steps, the skills that its steps and checks use, and the choices of each step that asks."""

    steps: Collection[str]
    skills: Collection[str]
    choices: Mapping[str, Collection[str]]


def read_tests(reader: Reader, node: Node, names: Names | None) -> tuple[Mapping[str, Any], ...]:
    """Without `names`, what tests name is not looked up."""
    tests = [_test(reader, item, names) for item in reader.items(node, "tests", TESTS_MAX)]
    return tuple(test for test in tests if test is not None)


def _test(reader: Reader, node: Node, names: Names | None) -> Mapping[str, Any] | None:
    before = reader.found
    found = reader.mapping(node, "a test", ("name", "given", "stub", "expect"), ("name", "given", "expect"))
    name = reader.text(found["name"], "a test's name", 200) if "name" in found else None
    if "given" in found:
        _given(reader, found["given"])
    if "stub" in found:
        _stubs(reader, found["stub"], names)
    if "expect" in found:
        _expect(reader, found["expect"], names)
    if reader.found > before:
        return None
    given = to_json(found["given"])
    return {
        "name": name,
        "given": given,
        "stub": to_json(found["stub"]) if "stub" in found else {},
        "expect": to_json(found["expect"]),
        "line": node.line,
    }


def _given(reader: Reader, node: Node) -> None:
    given = reader.mapping(node, "given", _GIVEN_KEYS)
    said = any(name in given or reader.misspelt(name, node, _GIVEN_KEYS) for name in ("event", "events", "wait"))
    if node.kind == "map" and not said:
        reader.refuse(node, "given needs the key 'event'", "add `event: {type: …}`, or several as `events: […]`")
    if "event" in given and "events" in given:
        reader.refuse(given["event"], "given has event and events", "put it into the list")
    if "wait" in given:
        reader.duration(given["wait"], "wait", 0.0, WAIT_MAX_S)
    for name in ("score", "system_score"):
        if name in given:
            reader.number(given[name], name, 0.0, 1.0)
    if "mode" in given:
        reader.choice(given["mode"], "mode", MODES)
    if "symptom" in given:
        reader.choice(given["symptom"], "symptom", SYMPTOMS)
    if "event" in given:
        _event(reader, given["event"], _EVENT_KEYS)
    for item in reader.items(given["events"], "events", EVENTS_MAX) if "events" in given else ():
        _event(reader, item, _EVENTS_KEYS)


def _event(reader: Reader, node: Node, keys: tuple[str, ...]) -> None:
    event = reader.mapping(node, "event", keys, ("type",))
    if "after" in event:
        reader.duration(event["after"], "after", 0.0, WAIT_MAX_S)
    for name in ("type", "subject", "severity", "source", "time", "id"):
        if name in event:
            reader.text(event[name], f"event.{name}", 500)
    if "data" in event and event["data"].kind != "map":
        reader.refuse(event["data"], f"event.data must be a mapping, and this is {event['data'].what}", "write {failures: 2}")


def _stubs(reader: Reader, node: Node, names: Names | None) -> None:
    if node.kind != "map":
        reader.refuse(node, f"stub must be a mapping, and this is {node.what}", "write {restart_service: ok}")
        return
    for name, (key, value) in node.entries.items():
        known = sorted({*names.steps, *names.skills, APPROVAL}) if names else [name]
        if name not in known and not reader.full:
            reader.refuse(key, f"the playbook uses no skill and no step {name!r}", did_you_mean(name, known))
        if name == APPROVAL or (names and name in names.choices):
            words = UNANSWERED if name != APPROVAL else (GIVEN, *UNANSWERED)
            reader.choice(value, f"the answer to {name}", (*(names.choices.get(name, ()) if names else ()), *words))
            continue
        for entry in value.items if value.kind == "list" else (value,):
            if names is None and isinstance(entry.scalar, str):
                continue  # it may be a choice of a step that could not be read
            if entry.kind == "list" or (entry.kind == "scalar" and entry.scalar not in CHECK_WORDS):
                reader.refuse(entry, f"a stub cannot be {entry.what}", "ok, fail, or what stands in the result: {exit_code: 0}")
        if value.kind == "list" and not value.items:
            reader.refuse(value, "an empty list of results", "write ok, or at least one result")


def _expect(reader: Reader, node: Node, names: Names | None) -> None:
    expect = reader.mapping(node, "expect", ("outcome", "steps"), ("outcome",))
    if "outcome" in expect:
        reader.choice(expect["outcome"], "outcome", OUTCOMES)
    for item in reader.items(expect["steps"], "steps", 1000) if "steps" in expect else ():
        step = reader.text(item, "a step", 40)
        if step is not None and names and step not in names.steps:
            reader.refuse(item, f"there is no step {step!r}", did_you_mean(step, names.steps))
