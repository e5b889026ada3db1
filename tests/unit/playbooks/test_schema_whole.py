"""The schema knows every key that the loader takes and no other, and says of each what it is.

Held by looking: each mapping that the loader reads in `SAMPLES` is compared with what the schema allows at that place, and every
place of the loader's code that reads a mapping has to be among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import aios.playbooks
from aios.playbooks.load import load
from aios.playbooks.read import NOTHING_MEANT, Reader
from aios.playbooks.read_steps import CHECK_KEYS
from aios.playbooks.schema import schema
from aios.playbooks.yaml_strict import Node, Source, parse, to_json
from aios.skills.catalogue import load_catalogue
from tests.unit.playbooks.json_schema import problems
from tests.unit.playbooks.playbook_skills import SKILLS

MADE = schema(SKILLS)

ACTS = """
steps:
  - {id: which, ask: "Which way?", choices: {a: one, b: two}, expires: 2h}
  - id: go
    act: restart_service
    with: {unit: "${event.subject}"}
    limits: {memory: 64M}
    retry: {attempts: 2}
verify: [{service_check: {unit: "${event.subject}", hold: 1s}}]
"""
LOOKS = "steps: [{id: l, observe: read_logs}]\n"
SAMPLES = {
    "everything": f"""playbook: everything
description: d
on: {{type: service.down, match: {{subject: [a.service]}}}}
guard:
  breaker: {{open: 10m, ceiling: 1d}}
  concurrency: {{at_most: 1, by: subject}}
  windows: {{only: [{{cron: "0 2 * * *", for: 2h, timezone: UTC}}], never: [{{from: 2026-12-24, to: 2026-12-26}}]}}
approve: {{expires: 1h}}
keep: {{files: [/etc/a]}}
{ACTS}
on_failure: [{{notify: help, after: 1m}}]
tests:
  - name: t
    given: {{event: {{type: service.down, subject: a.service}}}}
    expect: {{outcome: healed}}
""",
    "count": f"playbook: a\non: {{type: a.b, count: 3 in 10m}}\n{LOOKS}",
    "any": f"playbook: a\non: {{any: [{{type: a.b}}, {{type: c.d}}]}}\n{LOOKS}",
    "all": f"playbook: a\non: {{all: [{{type: a.b}}, {{type: c.d}}], within: 5m}}\n{LOOKS}",
    "sequence": f"playbook: a\non: {{sequence: [{{type: a.b}}, {{absence: {{type: c.d}}}}], within: 5m}}\n{LOOKS}",
    "absence": f"playbook: a\non: {{absence: [{{type: a.b}}], within: 5m}}\n{LOOKS}",
    "several events": f"""playbook: a
on: {{type: a.b, count: 2 in 10m}}
{LOOKS}
tests: [{{name: t, given: {{events: [{{type: a.b}}, {{type: a.b, after: 1s}}]}}, expect: {{outcome: observed}}}}]
""",
}
READS = re.compile(r'\.mapping\(\s*\w+, f?"([^"]+)"')


class Seen(Reader):
    """What was asked of each mapping, by where it stands in the text."""

    asked: list[tuple[Node, str, tuple[str, ...], tuple[str, ...]]]

    def mapping(self, node: Node, what: str, known: Any, required: Any = (), meant: Any = NOTHING_MEANT) -> dict[str, Node]:
        self.asked.append((node, what, tuple(known), tuple(required)))
        return super().mapping(node, what, known, required, meant)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> type[Seen]:
    Seen.asked = []
    monkeypatch.setattr("aios.playbooks.load.Reader", Seen)
    return Seen


Step = str | int


def places(node: Node, path: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[int, int], tuple[Step, ...]]]:
    if node.kind == "map":
        yield (node.start, node.end), path
        for name, (_, below) in node.entries.items():
            yield from places(below, (*path, name))
    for n, item in enumerate(node.items if node.kind == "list" else ()):
        yield from places(item, (*path, n))


def at(part: Mapping[str, Any], value: Any, path: tuple[Step, ...]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The parts of the schema that speak of this place of a value that fits."""
    if "$ref" in part:
        yield from at(MADE["$defs"][part["$ref"].removeprefix("#/$defs/")], value, path)
    for inner in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        if not problems(inner, value, MADE):
            yield from at(inner, value, path)
    if not path:
        yield part, value
    elif isinstance(path[0], int):
        if "items" in part:
            yield from at(part["items"], value[path[0]], path[1:])
    elif path[0] in part.get("properties", {}):
        yield from at(part["properties"][path[0]], value[path[0]], path[1:])


def test_every_key_that_the_loader_takes_is_in_the_schema_and_no_other(seen: type[Seen]) -> None:
    """At every place, and what is needed there too."""
    compared = set()
    for name, text in SAMPLES.items():
        seen.asked.clear()
        load(text, f"{name}.yaml", SKILLS)
        root = parse(Source("p.yaml", text))
        value, path_of = to_json(root), dict(places(root))
        assert problems(MADE, value) == [], name
        for node, what, known, required in seen.asked:
            path = path_of[node.start, node.end]
            closed = [part for part, _ in at(MADE, value, path) if part.get("additionalProperties") is False]
            assert {key for part in closed for key in part["properties"]} == set(known), (name, what, path)
            assert {key for part in closed for key in part.get("required", ())} == set(required), (name, what, path)
            compared.add(what)
    folder = Path(aios.playbooks.__file__).parent
    read = {what for file in folder.glob("*.py") for what in READS.findall(file.read_text())}
    kinds = {f"an entry of {kind}" for kind in ("any", "all", "sequence", "absence")}
    assert compared == read - {"an entry of {kind}"} | kinds, "a mapping that the loader reads is in no sample"


def test_every_check_takes_its_own_parameters_and_the_times_of_any_check() -> None:
    """They stand side by side under `verify`."""
    checks = {name: spec for name, spec in SKILLS.items() if spec.kind == "verify"}
    assert set(MADE["$defs"]["check"]["properties"]) == set(checks)
    for name, spec in checks.items():
        either = MADE["$defs"]["check"]["properties"][name]
        whole = either.get("anyOf", [either])[0]
        assert set(whole["properties"]) == {*CHECK_KEYS, *spec.schema.get("properties", {})}


def unsaid(part: Any, root: Mapping[str, Any], at: str) -> Iterator[str]:
    """The keys below here of which nothing says what they are."""
    if isinstance(part, Mapping):
        for name, inner in part.get("properties", {}).items():
            said = {**root["$defs"].get(str(inner.get("$ref", "")).removeprefix("#/$defs/"), {}), **inner}
            if not said.get("description") and inner not in ({}, {"const": name}) and not at.endswith("/if"):
                yield f"{at}/{name}"
        for name, inner in part.items():
            if name not in ("examples", "enum", "const", "default"):
                yield from unsaid(inner, root, f"{at}/{name}")
    elif isinstance(part, list):
        for n, inner in enumerate(part):
            yield from unsaid(inner, root, f"{at}/{n}")


def test_every_key_says_what_it_is_and_every_parameter_of_every_skill() -> None:
    """An editor shows it where somebody writes."""
    whole = schema(load_catalogue())
    assert list(unsaid(whole, whole, "")) == []
    assert len(whole["$defs"]) > 30
