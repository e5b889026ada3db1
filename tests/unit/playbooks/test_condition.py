"""Conditions and templates: checked when loaded, and never guessing when they run."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from aios.events.codec import encode_json
from aios.playbooks.condition import (
    BadExpression,
    CelTemplate,
    compile_condition,
    compile_expression,
    compile_text,
    field_types,
)
from aios.playbooks.model import CannotSay
from aios.playbooks.read import Reader
from aios.playbooks.yaml_strict import Source, parse

NOW = 1_771_920_000.0
EVENT = {
    "id": "1", "source": "sensor", "type": "service.down", "subject": "nginx.service", "severity": "error",
    "time": "2026-02-24T08:00:00.000000Z",
    "data": {"failures": 2, "reason": "exit", "load": 0.5, "none": None, "tags": ["a", "b"], "deep": {"er": [1, {"x": True}]}},
}  # fmt: skip
STEPS = {"config": {"ok": True, "result": {"exit_code": 1}}}
FIELDS = field_types(("service.down",))


def as_read(template: Any, fields: Any = ()) -> CelTemplate:
    """As a playbook's parameter is read."""
    source = Source("a.yaml", encode_json(template).decode())
    reader = Reader(source)
    made, _ = reader.template(parse(source), fields)
    assert reader.errors == []
    return made


def known(**more: Any) -> dict[str, Any]:
    return {"event": EVENT, "steps": STEPS, "now": NOW, "score": 0.5, **more}


def bad(source: str, fields: Any = FIELDS) -> BadExpression:
    with pytest.raises(BadExpression) as caught:
        compile_condition(source, fields)
    return caught.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("score < 0.9", True),
        ("event.data.failures >= 2", True),
        ("event.data.failures > 2 || event.data.reason == 'exit'", True),
        ("event.subject.endsWith('.service') && !(event.severity in ['info'])", True),
        ("steps.config.result.exit_code != 0", True),
        ("has(event.data.failures) && event.data.failures == 2", True),
        ("has(event.data.nothing)", False),
        ("has((event.data).failures)", True),
        ("event.data.tags.exists(tag, tag == 'b')", True),
        ("size(event.data.deep.er) == 3", False),
        ("event.data.none == null", True),
        ("now - timestamp(event.time) >= duration('0s')", True),
        ("event.data['load'] < 0.6", True),
        ("event // a comment with steps.nothing\n.data.failures == 2", True),
    ],
)
def test_a_condition_says_true_or_false(source: str, value: bool) -> None:
    """Over the event, the scores, the time and the steps before it."""
    assert compile_condition(source, FIELDS).evaluate(known()).value is value


@pytest.mark.parametrize(
    ("source", "variables", "why"),
    [
        ("score < 0.9", {"event": EVENT}, "the score is not known yet"),
        ("system_score < 0.3", known(), "the system score is not known yet"),
        ("event.data.nothing == 1", known(), "there is no 'nothing'"),
        ("steps.restart.ok", known(), "there is no 'restart'"),
        ("event.data.load", known(), "is a decimal number, not true or false"),
        ("event.data.failures > 1", known(event={**EVENT, "data": {"failures": "2"}}), "event.data.failures is text"),
        ("event.data.failures > 1", known(event={**EVENT, "data": {"failures": True}}), "event.data.failures is true or false"),
        ("event.data.failures > 1", known(event={**EVENT, "data": {}}), "there is no event.data.failures"),
        ("event.data.x > 1", known(event={**EVENT, "data": {"x": "\ud800"}}), "no Unicode"),
        ("event.data.x > 1", known(event={**EVENT, "data": {"x": 2**70}}), "out of range"),
        ("event.data.x[0] > 1", known(event={**EVENT, "data": {"x": [0] * 1001}}), "at most 1000"),
        ("event.data.x > 1", known(event={**EVENT, "data": "no mapping"}), "event.data.x"),
        ("event.data.x + 1 > 1", known(event={**EVENT, "data": {"x": "a"}}), "do not fit together"),
        ("1 / event.data.failures > 0", known(event={**EVENT, "data": {"failures": 0}}), "divide by zero"),
        (
            "event.data.x.all(a, event.data.x.all(b, a + b >= 0))",
            known(event={**EVENT, "data": {"x": list(range(1000))}}),
            "10,000",
        ),
    ],
)
def test_what_is_neither_cannot_say_and_tells_why(source: str, variables: dict[str, Any], why: str) -> None:
    """Missing, of another kind, too large or too much: no answer, never a wrong one."""
    truth = compile_condition(source, FIELDS).evaluate(variables)
    assert truth.value is None
    assert why in truth.why


def test_data_that_is_too_deep_never_reaches_cel() -> None:
    """Some hundred levels would end the process."""
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    truth = compile_condition("size(event.data) > 0").evaluate(known(event={"data": {"x": deep}}))
    assert truth.value is None
    assert "nested deeper than 32" in truth.why


@pytest.mark.parametrize(
    ("source", "message", "line", "column"),
    [
        ("scor < 0.9", "unknown name", 1, 1),
        ("score < 1", "does not mix", 1, 7),
        ("event.data.failures == 'x'", "does not fit", 1, 21),
        ("true &&\n  scor < 0.9", "unknown name", 2, 3),
        ("event.nothing", "an event has no", 1, 7),
        ("steps.config.exit_code == 1", "a step has no", 1, 14),
        ("", "empty", 1, 1),
        ("(" * 200 + "true" + ")" * 200, "too deeply", 1, 1),
        ("true" + " || true" * 2000, "longer than", 1, 1),
        ("event.subject.format()", "unknown function", 1, 21),
    ],
)
def test_a_bad_expression_is_found_when_loaded(source: str, message: str, line: int, column: int) -> None:
    """With the place within it, and a cure."""
    error = bad(source)
    assert message in error.message
    assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        ("steps.a.ok && steps['b'].ok", {"a", "b"}),
        ('steps . c . ok && steps[ "d" ].result.x == "steps.e"', {"c", "d"}),
        ("event.subject == 'steps.f' // steps.g", set()),
        ("event.data.steps.h == 1", set()),
    ],
)
def test_the_steps_that_an_expression_names_are_known(source: str, steps: set[str]) -> None:
    """And what stands in quotes or comments is no name."""
    assert compile_expression(source).steps == steps


def test_fields_have_the_catalogues_types_where_all_types_agree() -> None:
    """An unknown or wildcard type leaves them open, and so does a disagreement."""
    assert ("failures", "int") in FIELDS
    assert field_types(("service.*",)) == ()
    assert field_types(("service.down", "deploy.done")) == ()
    assert field_types(("service.down", "endpoint.down")) == (("failures", "int"), ("status", "string"))
    compile_condition("event.data.failures == 'x'", ())  # nobody knows its type


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${event.data.failures}", 2),
        ("${event.data.deep}", {"er": [1, {"x": True}]}),
        ("${event.data.none}", None),
        ("failed ${event.data.failures} times", "failed 2 times"),
        ("${event.subject}: ${event.data.reason}", "nginx.service: exit"),
        ("${event.data.tags} are the tags", '["a","b"] are the tags'),
        ("${1.0}x", "1x"),
        ("$${event.subject}", "${event.subject}"),
        ("$$${event.subject}", "$${event.subject}"),
        ("a $ {b} $", "a $ {b} $"),
        ("${ {'a': '}'}['a'] }", "}"),
        ("${'${event.subject}'}", "${event.subject}"),
        ("${now}", "2026-02-24T08:00:00.000000Z"),
        ("${duration('90s')}", 90.0),
        ({"unit": "${event.subject}", "n": [1, "${score}", None, True]}, {"unit": "nginx.service", "n": [1, 0.5, None, True]}),
        ("no expression", "no expression"),
    ],
)
def test_a_template_puts_values_in_once(template: Any, value: Any) -> None:
    """Alone it keeps its type, inside text it is text, and what was put in is never read again."""
    made = as_read(template, FIELDS)
    assert made.render(known()) == value
    assert made.source == template


def test_what_an_event_says_is_never_an_expression() -> None:
    """`${ }` in an event's data is put in as it is."""
    event = {**EVENT, "data": {"reason": "${steps.config.ok}"}}
    assert as_read("said: ${event.data.reason}").render(known(event=event)) == "said: ${steps.config.ok}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("${event.data.nothing}", "there is no 'nothing'"),
        ("x${event.data.none}", "null"),
        ("${b'x'}", "cannot be written as JSON"),
        ("${0.0 / 0.0}", "not a finite number"),
        ("${ {1: 2} }", "keys are no text"),
        ("${type(1)}", "cannot be written as JSON"),
        ("${event.data.big}${event.data.big}", "longer than"),
    ],
)
def test_a_template_without_a_value_says_so(template: str, why: str) -> None:
    """Instead of putting in something that looks like one."""
    event = {**EVENT, "data": {**EVENT["data"], "big": "x" * 20_000}}  # type: ignore[dict-item]
    with pytest.raises(CannotSay, match=why):
        as_read(template).render(known(event=event))


@pytest.mark.parametrize(("template", "column"), [("${", 1), ("a ${event.subject", 3), ("x ${scor}", 5), ("${}", 1)])
def test_a_bad_template_is_found_when_loaded(template: str, column: int) -> None:
    """With the place within the text."""
    with pytest.raises(BadExpression) as caught:
        compile_text(template)
    assert caught.value.column >= column


def test_evaluating_leaks_nothing() -> None:
    """A daemon that runs for weeks evaluates millions of times."""
    condition = compile_condition("event.data.failures >= 2 && score < 0.9 && event.data.nothing == 1", FIELDS)
    for _ in range(2000):
        condition.evaluate(known())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(30_000):
        condition.evaluate(known())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024  # KiB; 112 bytes a call would be 3,300
