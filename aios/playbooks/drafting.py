"""A first version of a playbook, from a few answers: text that loads, lints and passes its own test. For `aios playbook new`.

What it does stays small on purpose: look, restart a service if one is named, prove it. Its author goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.errors import ConfigErrors, Refused
from aios.events.calls import SkillCatalogue
from aios.playbooks.lint import lint
from aios.playbooks.load import load_many
from aios.playbooks.trial import try_playbook
from aios.playbooks.writing import SCHEMA_LINE, comment, flow, literal, quoted, slug

SUBJECT = "${event.subject}"
ABOUT_SERVICES = ("service.", "agent.")
FIELDS_MAX, VALUE_MAX = 20, 200
"""Of an event's data so many plain fields, and of each text so much, stand in the test."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answers. `subject` empty: whatever the event is about; `unit` empty: it only looks; `url`: the proof is an address."""

    event_type: str
    name: str = ""
    subject: str = ""
    unit: str = ""
    url: str = ""
    mode: str = "suggest"
    description: str = ""
    severity: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    event: str = ""
    """The event that it was made for."""

    @property
    def title(self) -> str:
        """Its name, given or made of what it answers."""
        return self.name or name_for(self.event_type, self.subject)


def name_for(event_type: str, subject: str) -> str:
    """`nginx-down` for the fall of `nginx.service`."""
    about = slug(subject.removesuffix(".service").rpartition(":")[2]) or slug(event_type.rpartition(".")[0])
    return slug(f"{about[:40]}-{event_type.rpartition('.')[2]}") or "my-playbook"


def checked_draft(wanted: Wanted, skills: SkillCatalogue) -> str:
    """The playbook's text, which loads, is without a warning, and passes its own test.

    Raises ConfigErrors where what was asked for cannot be a playbook, Refused where it would be none to recommend.
    """
    text = draft(wanted)
    loaded = load_many({f"{wanted.title}.yaml": text}, skills)
    if loaded.errors:
        raise ConfigErrors(list(loaded.errors))
    warning = next((finding for finding in lint(loaded, skills) if finding.level != "info"), None)
    if warning is not None:
        raise Refused(f"{warning.message} [{warning.code}]", warning.hint)
    (playbook,) = loaded.playbooks
    for test in playbook.tests:
        result = try_playbook(playbook, test, skills)
        if not result.ok:
            raise Refused(f"its own test would fail: {'; '.join(result.differences)}", "please report what you asked for")
    return text


def draft(wanted: Wanted) -> str:
    """The playbook's text, as it would be written; nothing is checked."""
    head = [SCHEMA_LINE]
    if wanted.event:
        head.append(comment(f"Made for the event {wanted.event}."))
    lines = [
        *head,
        f"playbook: {wanted.title}",
        f"description: {literal(wanted.description or _description(wanted))}",
        "on:",
        f"  type: {quoted(wanted.event_type)}",
        *([f"  match: {{subject: [{quoted(wanted.subject)}]}}"] if wanted.subject else []),
        f"mode: {wanted.mode}   # observe | shadow | suggest | approve | auto: how much it may do by itself",
        *(["guard: {cooldown: 5m, limit: 3 in 1h}"] if wanted.unit else []),
        "steps:",
        f"  - {_look(wanted)}",
    ]
    if wanted.unit:
        lines += [
            f"  - {{id: restart, act: restart_service, with: {{unit: {quoted(wanted.unit)}}}, timeout: 30s}}",
            "verify:   # what it means that all is well: asked before the act, and as its proof",
            f"  - {_proof(wanted)}",
            "on_failure:",
            f"  - notify: {literal(f'{wanted.title} could not help')}",
        ]
    return "\n".join([*lines, *_test(wanted)]) + "\n"


def _description(wanted: Wanted) -> str:
    about = wanted.subject or "whatever it is about"
    if not wanted.unit:
        return f"Look at {about} when {wanted.event_type} comes."
    what = about if wanted.unit in (SUBJECT, wanted.subject) else wanted.unit
    return f"Restart {what} when {wanted.event_type} comes, and prove that it helped."


def _look(wanted: Wanted) -> str:
    unit = wanted.unit or (wanted.subject or SUBJECT if wanted.event_type.startswith(ABOUT_SERVICES) else "")
    if unit:
        return f"{{id: look, observe: service_status, with: {{unit: {quoted(unit)}}}}}"
    if wanted.event_type.startswith("resource.disk_"):
        return '{id: look, observe: disk_usage, with: {path: "${event.data.path}"}}'
    return "{id: look, observe: metrics_snapshot}"


def _proof(wanted: Wanted) -> str:
    if wanted.url:
        return f"http_check: {{url: {literal(wanted.url)}, within: 30s, hold: 10s}}"
    return f"service_check: {{unit: {quoted(wanted.unit)}, within: 30s, hold: 10s}}"


def _test(wanted: Wanted) -> list[str]:
    """That its event makes it do what it is for, whatever its mode lets it do today."""
    event: dict[str, Any] = {"type": wanted.event_type, "subject": wanted.subject or _example(wanted)}
    event |= {"severity": wanted.severity} if wanted.severity else {}
    data = _plain(wanted.data)
    if wanted.event_type.startswith("resource.disk_"):
        data.setdefault("path", "/")
    event |= {"data": data} if data else {}
    acts = bool(wanted.unit)
    proof = "http_check" if wanted.url else "service_check"
    stub = [f"    stub: {{service_status: {{state: down}}, restart_service: ok, {proof}: ok}}"] if wanted.unit else []
    return [
        "tests:",
        "  - name: it answers its event",
        "    given:",
        *(["      mode: auto   # what it does when it may act"] if acts else []),
        f"      event: {flow(event)}",
        *stub,
        f"    expect: {{outcome: {'healed' if acts else 'observed'}, steps: {flow(['look', 'restart'] if acts else ['look'])}}}",
    ]


def _example(wanted: Wanted) -> str:
    if wanted.event_type.startswith("agent."):
        return "agent:coder"
    if wanted.event_type.startswith("resource.disk_"):
        return "disk:/"
    return "example.service" if wanted.event_type.startswith(ABOUT_SERVICES) or wanted.unit == SUBJECT else "host"


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event's data a test can show on one line."""
    simple = {name: value for name, value in data.items() if isinstance(value, str | bool | int | float)}
    few = list(simple.items())[:FIELDS_MAX]
    return {name: value[:VALUE_MAX] if isinstance(value, str) else value for name, value in few if len(name) <= VALUE_MAX}
