"""`limits` of a step arrive as they are written, and the schema takes what loads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aios.errors import ConfigErrors
from aios.events.limits import UNSAID, Limits
from aios.playbooks.load import load
from aios.playbooks.schema import schema
from aios.playbooks.yaml_strict import Source, parse, to_json
from tests.unit.playbooks.json_schema import problems
from tests.unit.playbooks.playbook_skills import SKILLS

TEXT = """\
playbook: squeeze
description: x
on: {type: service.down, match: {subject: [web.service]}}
steps:
  - id: squeeze
    act: run_job
    with: {argv: [gzip, x]}
    limits: LIMITS
verify: [{service_check: {unit: web.service}}]
"""


def limits_of(written: str) -> Limits:
    return load(TEXT.replace("LIMITS", written), "p.yaml", SKILLS).steps[0].limits


def test_every_word_arrives() -> None:
    """Sizes in bytes, shares in percent, none as no limit, and what is not said is not said."""
    written = "{memory: 512M, processes: 64, cpu: 50%, output: 1M, file_size: none}"
    assert limits_of(written) == Limits(512 << 20, 64, 50, output=1 << 20, file_size=0)
    assert limits_of("{cpu: 150%}") == replace(UNSAID, cpu=150)
    assert problems(schema(SKILLS), to_json(parse(Source("p.yaml", TEXT.replace("LIMITS", written))))) == []


@pytest.mark.parametrize(
    "written", ["{memory: 5}", "{cpu: 50}", "{memory: 5X}", "{}", "{procs: 3}", "[memory]", "{processes: 1}"]
)
def test_an_editor_and_the_loader_refuse_the_same(written: str) -> None:
    text = TEXT.replace("LIMITS", written)
    assert problems(schema(SKILLS), to_json(parse(Source("p.yaml", text))))
    with pytest.raises(ConfigErrors) as caught:
        load(text, "p.yaml", SKILLS)
    assert {error.line for error in caught.value.errors} == {8}


def test_a_command_that_hands_may_have_to_run_has_limits_too() -> None:
    """An observing step whose program nobody listed is carried out like an act."""
    skills = {**SKILLS, "run_command": replace(SKILLS["run_command"], only_looks=lambda _params, _env: False)}
    looking = TEXT.replace("act: run_job", "observe: run_command").replace("LIMITS", "{memory: 64M}")
    assert load(looking, "p.yaml", skills).steps[0].limits.memory == 64 << 20


def test_the_call_that_hands_gets_says_what_the_step_says() -> None:
    """As plain JSON: what is not said is left out, so that skill and settings count behind it."""
    made: Any = limits_of("{memory: 64M, output: none}").to_json()
    assert made == {"memory": 64 << 20, "output": 0}
