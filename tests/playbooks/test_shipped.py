"""Every shipped playbook loads with the real skills, passes its own tests, is clean, and fits the schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from aios.events.calls import SkillCatalogue
from aios.events.event import Event
from aios.playbooks.index import Index
from aios.playbooks.lint import lint
from aios.playbooks.load import Loaded, load_many
from aios.playbooks.schema import schema
from aios.playbooks.trial import try_playbook
from aios.playbooks.yaml_strict import Source, parse, to_json
from aios.skills.catalogue import load_catalogue

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "playbooks"))
from json_schema import problems

FOLDER = Path(__file__).parents[2] / "playbooks"
TEXTS = {str(path.relative_to(FOLDER.parent)): path.read_text() for path in sorted(FOLDER.glob("*.yaml"))}
SKILLS: SkillCatalogue = load_catalogue()
LOADED: Loaded = load_many(TEXTS, SKILLS)


def test_all_of_them_load() -> None:
    """A playbook that ships and does not load would be a poor beginning."""
    assert [str(error) for error in LOADED.errors] == []
    assert {"agent-error", "disk-full", "service-down"} <= {p.name for p in LOADED.playbooks}


@pytest.mark.parametrize(("name", "number"), [(p.name, n) for p in LOADED.playbooks for n in range(len(p.tests))])
def test_each_passes_its_own_tests(name: str, number: int) -> None:
    """`aios playbook test` on a fresh clone says that all is well."""
    playbook = next(p for p in LOADED.playbooks if p.name == name)
    result = try_playbook(playbook, playbook.tests[number], SKILLS)
    assert result.ok, f"{result.name}: {result.differences}"


def test_lint_has_nothing_to_say_but_what_cannot_be_undone() -> None:
    """What ships is the example that others copy."""
    assert [f for f in lint(LOADED, SKILLS) if f.code != "cannot-undo"] == []


@pytest.mark.parametrize("path", TEXTS)
def test_each_fits_the_schema(path: str) -> None:
    """An editor that uses the schema marks nothing."""
    assert problems(schema(SKILLS), to_json(parse(Source(path, TEXTS[path])))) == []


@pytest.mark.parametrize(
    ("type_", "subject", "data", "found"),
    [
        (
            "service.down",
            "nginx.service",
            {"failures": 1, "reason": "exit", "status": "1", "backend": "systemd"},
            ["service-down"],
        ),
        ("service.down", "agent:coder", {"failures": 1, "reason": "exit"}, []),
        ("service.down", "nginx.service", {"failures": 2, "reason": "probe"}, []),
        (
            "resource.disk_full",
            "disk:/",
            {"used": 0.95, "threshold": 0.9, "path": "/", "free_mb": 10.0, "for_s": 0.0},
            ["disk-full"],
        ),
        ("agent.error", "agent:coder", {"message": "x", "kind": "y"}, ["agent-error"]),
        ("agent.stalled", "agent:coder", {"since_s": 60.0}, []),
    ],
)
def test_each_is_found_for_what_it_is_for(type_: str, subject: str, data: dict[str, Any], found: list[str]) -> None:
    """And for nothing else."""
    moment = "2026-02-24T08:00:00.000000Z"
    event = Event("1", "sensor", type_, subject, moment, data, moment, "error")
    assert [p.name for p in Index(LOADED.playbooks).match(event)] == found
