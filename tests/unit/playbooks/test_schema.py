"""The schema takes what loads, and an editor with it finds the commonest mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aios.playbooks.schema import schema
from aios.playbooks.yaml_strict import Source, parse, to_json
from tests.unit.playbooks.json_schema import problems
from tests.unit.playbooks.mistakes import GOOD, playbook_with
from tests.unit.playbooks.playbook_skills import SKILLS

MADE = schema(SKILLS)


def as_json(text: str) -> Any:
    return to_json(parse(Source("p.yaml", text)))


def test_the_schema_is_json_with_every_skill() -> None:
    """It can be written to a file, and names each skill with its words."""
    again = json.loads(json.dumps(MADE))
    assert again["$schema"].endswith("2020-12/schema")
    for name, spec in SKILLS.items():
        assert again["$defs"][f"skill.{name}"]["description"] == spec.doc


def test_the_example_fits() -> None:
    """With its expressions, its checks and its tests."""
    assert problems(MADE, as_json(GOOD)) == []


def test_an_expression_may_stand_where_a_value_may() -> None:
    """Also inside a list, and in place of a number."""
    text = GOOD.replace("files: [/etc/nginx]}\n  - id: restart", 'files: ["${event.data.file}"]}\n  - id: restart')
    assert problems(MADE, as_json(text.replace("status: 200", 'status: "${event.data.code}"'))) == []


@pytest.mark.parametrize(
    "name",
    [
        "an unknown key", "a name with capitals", "an unknown mode", "enabled is yes", "a priority in words",
        "a duration without a unit",
        "a limit by the slash", "a relative file", "a pattern value without a list", "an operator outside the list",
        "an unknown operator", "a field of data at the top", "a severity that does not exist", "a subject that is a number",
        "when is a YAML bool", "a step without an id", "a step's id with a dash", "two kinds in one step", "no kind in a step",
        "a kind that does not fit", "an unknown skill", "an unknown parameter", "a missing parameter", "too many attempts",
        "a parameter of the wrong kind", "steps is a mapping", "an act under verify", "two checks in one entry",
        "a misspelt hold",
        "an unknown rung", "a test without an expectation", "an unknown outcome", "a count per time", "a count without its time",
        "joined by a bare field", "all without within", "a count with a time inside a sequence", "two ways to join",
        "the type beside all", "a trigger's name with a dash", "an absence that counts", "an unknown join",
        "on is just the type",
    ],
)  # fmt: skip
def test_an_editor_finds_it_before_the_daemon_does(name: str) -> None:
    """What needs no running to be found is found while it is written."""
    assert problems(MADE, as_json(playbook_with(name)))
