"""Playbooks that wait for several events: what is read, what lint says of them, and how their own tests play."""

from __future__ import annotations

from typing import Any

import pytest

from aios.errors import ConfigErrors
from aios.playbooks import correlate
from aios.playbooks.correlation import correlation_json, correlation_of
from aios.playbooks.correlation_words import waits_for
from aios.playbooks.lint import Finding, lint
from aios.playbooks.load import load, load_many
from aios.playbooks.model import Playbook
from aios.playbooks.schema import schema
from aios.playbooks.trial import TrialResult, try_playbook
from aios.playbooks.yaml_strict import Source, parse, to_json
from tests.unit.playbooks.correlate_kit import Journal
from tests.unit.playbooks.json_schema import problems
from tests.unit.playbooks.playbook_skills import SKILLS

ONS = (
    "{type: a.b, count: 3 in 10m}",
    "{type: [a.b, c.*], match: {subject: [x]}, count: 1 in 1s, by: [data.host, subject], lateness: 0s}",
    "{any: [{type: a.b, count: 3 in 10m, name: often}, {type: c.d}]}",
    "{any: {type: a.b, count: 3}, within: 1h, by: none}",
    "{all: [{type: a.b, count: 2}, {type: c.d, by: data.where}], within: 5m, by: data.host, join: first}",
    "{sequence: [{type: a.b}, {absence: {type: [c.d, e.f], name: answer}}], within: 5m, lateness: 10m}",
    "{absence: [{type: a.b}], within: 30d}",
    "{absence: {type: a.b, match: {$or: [{subject: [x]}, {severity: [error]}]}}, within: 5m}",
)


def text(on: str, *, when: str = "", use: str = "${event.subject}", tests: str = "") -> str:
    asked = f"when: {when}\n" if when else ""
    return (
        f"playbook: p\ndescription: d\non: {on}\n{asked}steps:\n"
        f'  - {{id: look, observe: read_logs, with: {{unit: "{use}"}}}}\nmode: observe\n{tests}'
    )


def loaded(on: str, **more: str) -> Playbook:
    return load(text(on, **more), "p.yaml", SKILLS)


@pytest.mark.parametrize("on", ONS)
def test_what_is_written_is_the_same_after_the_journal_and_fits_the_schema(on: str) -> None:
    """An editor accepts what the daemon does; what the daemon writes down it reads again, under the same hash."""
    correlation = loaded(on).correlation
    assert correlation is not None
    again = correlation_of(correlation_json(correlation))
    assert (again.hash, correlation_json(again)) == (correlation.hash, correlation_json(correlation))
    assert problems(schema(SKILLS), to_json(parse(Source("p.yaml", text(on))))) == []


def test_two_that_ask_for_the_same_have_the_same_hash_and_others_have_not() -> None:
    same = [loaded(on).correlation for on in ("{type: a, count: 3 in 10m}", "{count: 3 in 600s, by: [subject], type: [a]}")]
    assert same[0] is not None
    assert same[1] is not None
    assert same[0].hash == same[1].hash
    hashes = {found.hash for on in ONS if (found := loaded(on).correlation) is not None}
    assert len(hashes) == len(ONS)


def test_it_is_told_in_a_few_words() -> None:
    told = [waits_for(found) for on in ONS if (found := loaded(on).correlation) is not None]
    assert told[0] == "3 a.b in 10m"
    assert told[2] == "3 a.b in 10m or c.d"
    assert told[4] == "2 a.b and c.d in 5m"
    assert told[5] == "a.b then no c.d|e.f in 5m"
    assert told[6] == "no a.b for 30d"


# --- lint -------------------------------------------------------------------------------------------------------------


APART = "{type: service.down, match: {subject: [a]}}, {type: service.up, match: {subject: [b]}}"


def findings(on: str, **more: str) -> dict[str, Finding]:
    return {one.code: one for one in lint(load_many({"p.yaml": text(on, **more)}, SKILLS), SKILLS)}


@pytest.mark.parametrize(
    ("code", "level", "wrong", "right"),
    [
        (
            "never-fills",
            "warning",
            f"{{all: [{APART}], within: 5m}}",
            f"{{all: [{APART}], within: 5m, by: none}}",
        ),
        (
            "never-fills",
            "warning",
            "{sequence: [{type: service.down}, {type: service.up}], within: 5m, by: type}",
            "{sequence: [{type: service.down}, {type: service.down}], within: 5m, by: type}",
        ),
        (
            "never-joins",
            "warning",
            "{type: agent.error, count: 3 in 5m, by: data.host}",
            "{type: agent.error, count: 3 in 5m, by: data.kind}",
        ),
        ("short-window", "warning", "{type: a, count: 3 in 1m, lateness: 1m}", "{type: a, count: 3 in 1m, lateness: 59s}"),
        ("count-of-one", "info", "{type: service.down, count: 1 in 5m}", "{type: service.down, count: 2 in 5m}"),
        (
            "silent-unknown",
            "info",
            "{absence: [{type: agent.error}], within: 5m}",
            "{absence: [{type: agent.error, match: {subject: ['agent:a']}}], within: 5m}",
        ),
        ("unknown-type", "info", "{any: [{type: made.up}]}", "{any: [{type: service.down}]}"),
    ],
)
def test_a_window_that_cannot_be_meant_is_found(code: str, level: str, wrong: str, right: str) -> None:
    assert findings(wrong)[code].level == level
    assert findings(wrong)[code].hint
    assert code not in findings(right)


def test_an_entry_that_there_is_not_is_found_where_it_is_named() -> None:
    on = "{all: [{type: service.down, name: down}, {type: agent.error}], within: 5m}"
    found = findings(on, use="${event.data.events.dwon.subject}")["unknown-trigger"]
    assert (found.line, found.level) == (5, "warning")
    assert "down" in found.hint
    assert "unknown-trigger" not in findings(on, use="${event.data.events.down.subject}")


# --- tests in playbooks -----------------------------------------------------------------------------------------------


def tried(on: str, given: str, outcome: str = "observed", **more: str) -> TrialResult:
    tests = f"tests:\n  - name: t\n    given: {given}\n    expect: {{outcome: {outcome}}}\n"
    playbook = loaded(on, tests=tests, **more)
    return try_playbook(playbook, playbook.tests[0], SKILLS)


DOWN = "{type: service.down, subject: web.service"


@pytest.mark.parametrize(
    ("on", "given", "outcome"),
    [
        (
            "{type: service.down, count: 3 in 10m}",
            f"{{events: [{DOWN}}}, {DOWN}, after: 5m}}, {DOWN}, after: 4m59s}}]}}",
            "observed",
        ),
        ("{type: service.down, count: 3 in 10m}", f"{{events: [{DOWN}}}, {DOWN}, after: 5m}}, {DOWN}, after: 5m}}]}}", "no_run"),
        ("{type: service.down, count: 1 in 10m}", f"{{event: {DOWN}}}}}", "observed"),
        ("{absence: {type: a.b, match: {subject: [x]}}, within: 30d}", "{wait: 30d}", "observed"),
        ("{absence: {type: a.b, match: {subject: [x]}}, within: 30d}", "{wait: 29d}", "no_run"),
        ("{absence: {type: a.b}, within: 1d}", "{events: [{type: a.b}, {after: 23h, type: a.b}], wait: 23h}", "no_run"),
        ("{absence: {type: a.b}, within: 1d}", "{events: [{type: a.b}, {after: 25h, type: a.b}]}", "observed"),
    ],
)
def test_days_pass_at_once_in_a_test(on: str, given: str, outcome: str) -> None:
    result = tried(on, given, outcome, use="a.service")
    assert result.ok, result.differences


def test_a_test_that_does_not_begin_says_what_is_missing() -> None:
    result = tried("{type: service.down, count: 3 in 10m}", f"{{events: [{DOWN}}}, {DOWN}, after: 1m}}]}}", "no_run")
    assert "2 x e1 seen of subject web.service, 1 x e1 missing within 10m" in result.why


def test_the_playbook_sees_what_came_together() -> None:
    """`when` and `${ }` name the parts; `when` is asked of each that is complete, until one agrees."""
    on = "{all: [{type: service.down, name: down}, {type: agent.error, name: error, by: source}], within: 5m, by: subject}"
    events = f"{{events: [{DOWN}, data: {{failures: 2}}}}, {{type: agent.error, source: web.service, after: 1s}}]}}"
    for when, outcome in (
        ("event.data.events.down.data.failures == 2", "observed"),
        ("event.data.events.down.data.failures == 3", "no_run"),
        ("event.data.count == 2 && event.data.last.type == 'agent.error' && event.type == 'reactor.correlated'", "observed"),
    ):
        result = tried(on, events, outcome, when=f'"{when}"', use="${event.data.events.down.subject}")
        assert result.ok, result.differences


def test_a_value_that_a_field_of_a_correlation_never_has_is_found_at_load() -> None:
    with pytest.raises(ConfigErrors) as caught:
        loaded("{type: service.down, count: 3 in 10m}", when="event.data.count == 'three'")
    assert [error.message for error in caught.value.errors] == ["'==' does not fit a whole number and text"]


def test_a_field_that_a_correlation_has_not_is_found_by_lint() -> None:
    """`when` sees what was found together, and the data of one of the events only below `last` or `events`."""
    on = "{type: service.down, count: 3 in 10m}"
    for when, wrong in (("event.data.failures > 2", True), ("event.data.last.data.failures > 2", False)):
        found = lint(load_many({"p.yaml": text(on, when=when)}, SKILLS), SKILLS)
        assert any(finding.code == "unknown-field" for finding in found) is wrong, found


def test_of_several_events_the_first_that_an_ordinary_playbook_answers_opens_its_run() -> None:
    result = tried("{type: service.down}", f"{{events: [{{type: service.up}}, {DOWN}, after: 1h}}]}}")
    assert result.ok, result.differences


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "given needs the key 'event'"),
        (f"{{event: {DOWN}}}, events: []}}", "given has event and events"),
        ("{wait: -1s}", "wait: '-1s' is no duration"),
        ("{events: [{after: x, type: a}]}", "after: 'x' is no duration"),
    ],
)
def test_what_cannot_happen_in_a_test_is_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        tried("{type: service.down}", given)
    assert [error.message for error in caught.value.errors] == [said]


def test_a_hostile_history_costs_no_more_than_it_may(monkeypatch: Any) -> None:
    """Thousands of events of one key that fit everything and complete nothing: what is asked stays bounded."""
    asked = 0
    real = correlate.find

    def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        assert len(args[1]) <= correlate.EVENTS_OF_KEY_MAX
        return real(*args)

    monkeypatch.setattr(correlate, "find", counted)
    journal = Journal("{all: [{type: a, count: 2}, {type: a, count: 2}, {type: b}], within: 1h}")
    for n in range(2000):
        journal.see("a", 2000.0 - n, arrives=2000.0)  # the worst order: each is older than all before
    assert asked <= 2000 * correlate.ANCHORS_MAX
