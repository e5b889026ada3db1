"""The original's JSON playbooks (v0.5, v0.6) as YAML that loads: what has a counterpart is carried over, all else is said.

Called by `aios playbook import`. The original looked for keywords in an alert's text and ran a shell line; nothing took it back,
nothing asked whether it helped. A rule here answers a type of event, and a shell line is never run. So a playbook comes over as
its trigger, mode and cooldown, with steps that look; of its command only what a skill does by name (restarting a service) becomes
an act, and that with a proof. What could not be carried over stands in the file as comments, with the words of the original.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.playbooks.writing import SCHEMA_LINE, comment, flow, literal, quoted, slug

PLAYBOOKS_MAX = 1000
TEXT_MAX = 2000
WORDS_MAX = 50
MODE_OF: Mapping[str, str] = {"auto": "auto", "confirm": "approve", "notify": "observe"}
SEVERITY_OF: Mapping[str, str] = {
    "INFO": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "ERR": "error",
    "ERROR": "error",
    "CRIT": "critical",
    "CRITICAL": "critical",
}
FIELDS = frozenset({
    "id", "name", "description", "trigger", "action", "cooldown_min", "enabled", "created_at", "success_count", "fail_count",
})  # fmt: skip
"""All that the original's own playbooks have."""


class Known(NamedTuple):
    """A type that AIOS's own sensors say, a subject of such an event, its data, and the step that looks."""

    type: str
    subject: str
    data: Mapping[str, Any]
    look: str


_STATUS = '{id: look, observe: service_status, with: {unit: "${event.subject}"}}'
_METRICS = "{id: look, observe: metrics_snapshot}"
_DISK = '{id: look, observe: disk_usage, with: {path: "${event.data.path}"}}'
_MEMORY = Known("resource.memory_high", "host", {"used": 0.95, "threshold": 0.9}, _METRICS)
_FALL = Known("service.down", "nginx.service", {"failures": 1, "reason": "exit"}, _STATUS)
SENSED: Mapping[str, Known] = {
    "disk_full": Known("resource.disk_full", "disk:/", {"path": "/", "used": 0.95, "threshold": 0.9}, _DISK),
    "memory_high": _MEMORY,
    "memory_critical": _MEMORY,
    "cpu_high": Known("resource.cpu_spike", "host", {"used": 0.95, "threshold": 0.9}, _METRICS),
    "process_crash": _FALL,
    "service_unhealthy": _FALL,
    "model_failure": Known("model.unavailable", "model:provider/name", {"status": "timeout"}, _METRICS),
    "task_timeout": Known("task.timed_out", "host", {}, _METRICS),
    "aios_unhealthy": Known("score.degraded", "system", {"score": 0.2}, _METRICS),
}
"""Rules of the original that something here says by itself."""

_RESTART = re.compile(r"""(?:Restart-Service\s+(?:-Name\s+)?|systemctl\s+restart\s+)['"]?(?P<unit>[A-Za-z0-9@_.:\-]+)['"]?""")
_ECHO = re.compile(r"""\s*echo\s+(?P<quote>['"]?)(?P<text>[^'"|&;<>$`]*)(?P=quote)\s*\Z""")
_PLACEHOLDER = "ServiceName"


@dataclass(frozen=True, slots=True)
class Carried:
    """One playbook as YAML. `left_out` are sentences: what could not be carried over."""

    name: str
    text: str
    carried: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotCarried:
    """An entry that is no playbook of the original; `number` counts from 1."""

    number: int
    why: str


@dataclass
class _Draft:
    """A playbook on its way."""

    name: str
    carried: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def carry_over(document: Any) -> list[Carried | NotCarried]:
    """Every entry of one of the original's files, in order. Raises ValueError when it is none of its shapes."""
    entries = document.get("playbooks") if isinstance(document, Mapping) else document
    if not isinstance(entries, list):
        raise ValueError("not a list of playbooks")
    if len(entries) > PLAYBOOKS_MAX:
        raise ValueError(f"more than {PLAYBOOKS_MAX} playbooks")
    names: set[str] = set()
    return [_carry(entry, number, names) for number, entry in enumerate(entries, 1)]


def _carry(entry: Any, number: int, names: set[str]) -> Carried | NotCarried:
    if not isinstance(entry, Mapping):
        return NotCarried(number, "it is not an object")
    trigger, action = entry.get("trigger"), entry.get("action")
    if not isinstance(trigger, Mapping) or not isinstance(action, Mapping):
        return NotCarried(number, "it has no trigger, or no action")
    name = slug(_text(entry.get("id"))) or slug(_text(trigger.get("rule")))
    if not name:
        return NotCarried(number, "neither its id nor its rule can be a name")
    draft = _Draft(_unused(name, names))
    return Carried(draft.name, _written(entry, trigger, action, draft), tuple(draft.carried), tuple(draft.left_out))


def _unused(name: str, names: set[str]) -> str:
    """Of two with one name the second gets a number."""
    found = next(one for one in _numbered(name) if one not in names)
    names.add(found)
    return found


def _numbered(name: str) -> Iterable[str]:
    yield name
    for number in range(2, PLAYBOOKS_MAX + 2):
        yield f"{name[:59].rstrip('-')}-{number}"


def _written(entry: Mapping[str, Any], trigger: Mapping[str, Any], action: Mapping[str, Any], draft: _Draft) -> str:
    known = SENSED.get(_text(trigger.get("rule")))
    event_type = _type(trigger, known, draft)
    severities = [] if known else _severities(trigger, draft)
    unit = _restarted(action, known, draft)
    mode = _mode(action, draft)
    _say_what_is_left(entry, action, draft)
    title = _text(entry.get("name")) or draft.name
    description = " ".join(one for one in (title, _text(entry.get("description"))) if one)
    lines = [SCHEMA_LINE, comment(f"From a playbook of the original AIOS: {_text(entry.get('id')) or draft.name}.")]
    lines += [comment(f"Not carried over: {one}") for one in draft.left_out]
    lines += [f"playbook: {draft.name}", f"description: {literal(description)}"]
    lines += ["on:", f"  type: {event_type}"]
    if severities:
        lines.append(f"  match: {{severity: {flow(severities)}}}")
    lines += [f"mode: {mode}"] + ([] if entry.get("enabled", True) is not False else ["enabled: false"])
    lines += ["guard:", f"  cooldown: {_cooldown(entry, draft)}", "steps:", f"  - {known.look if known else _METRICS}"]
    if unit:
        lines += [f"  - {{id: restart, act: restart_service, with: {{unit: {quoted(unit)}}}}}"]
        lines += ["verify:", f"  - service_check: {{unit: {quoted(unit)}, hold: 10s}}"]
    return "\n".join([*lines, *_test(event_type, known, severities, unit, mode)]) + "\n"


def _type(trigger: Mapping[str, Any], known: Known | None, draft: _Draft) -> str:
    """What it answers: what a sensor says by itself, else a type that somebody has to send."""
    rule = re.sub(r"[^a-z0-9_]+", "_", _text(trigger.get("rule")).lower()).strip("_")[:64]
    event_type = known.type if known else f"original.{rule or draft.name.replace('-', '_')}"
    draft.carried.append(f"rule {rule!r} as events of type {event_type}")
    if words := _words(trigger.get("keywords")):
        sent = "" if known else f" (send it with: aios emit {event_type})"
        said = f"the words that it looked for in any text: {', '.join(map(repr, words))}; a type of event says it now{sent}"
        draft.left_out.append(said)
    return event_type


def _severities(trigger: Mapping[str, Any], draft: _Draft) -> list[str]:
    words = _words(trigger.get("severity"))
    unknown = [word for word in words if word.upper() not in SEVERITY_OF]
    if unknown:
        draft.left_out.append(f"severities that nobody says: {', '.join(map(repr, unknown))}")
    return list(dict.fromkeys(SEVERITY_OF[word.upper()] for word in words if word.upper() in SEVERITY_OF))


def _restarted(action: Mapping[str, Any], known: Known | None, draft: _Draft) -> str:
    """The service that its command restarts, where that is all that can be said of it; empty when it is something else."""
    command = _text(action.get("command"))
    found = _RESTART.search(command)
    if found is not None:
        unit = found["unit"]
        if unit == _PLACEHOLDER:
            unit = "${event.subject}" if known is _FALL else ""
        if unit:
            draft.carried.append("its command as restart_service, proven by service_check")
            return unit if "." in unit else f"{unit}.service"
    echoed = _ECHO.match(command)
    if echoed is not None:
        message = echoed["text"].strip()
        draft.left_out.append(f"its message {message!r}: every run is in the report, and one that needs a person calls")
    elif command:
        draft.left_out.append(f"its command, a shell line: {command}; write what it does as steps with skills")
    return ""


def _mode(action: Mapping[str, Any], draft: _Draft) -> str:
    kind = _text(action.get("type"))
    mode = MODE_OF.get(kind, "suggest")
    if kind not in MODE_OF:
        draft.left_out.append(f"its way to act, {kind!r}: it proposes now (mode suggest)")
    else:
        draft.carried.append(f"{kind} as mode {mode}")
    return mode


def _say_what_is_left(entry: Mapping[str, Any], action: Mapping[str, Any], draft: _Draft) -> None:
    if risk := _text(action.get("risk")):
        draft.left_out.append(f"its risk {risk!r}: the mode says what it may do")
    words = (("success_count", "well"), ("fail_count", "failed"))
    counts = [f"{entry[name]} {word}" for name, word in words if isinstance(entry.get(name), int) and entry[name]]
    if counts:
        draft.left_out.append(f"its counts ({', '.join(counts)}): nothing proved them")
    others = [_text(name) for name in entry if name not in FIELDS]
    if others:
        draft.left_out.append(f"its fields {', '.join(map(repr, others[:WORDS_MAX]))}")


def _cooldown(entry: Mapping[str, Any], draft: _Draft) -> str:
    minutes = entry.get("cooldown_min")
    if isinstance(minutes, (int, float)) and not isinstance(minutes, bool) and 0 < minutes <= 365 * 1440:
        draft.carried.append(f"its cooldown of {minutes:g} minutes")
        return f"{minutes:g}m" if minutes >= 1 else f"{round(minutes * 60)}s"
    return "5m"


def _test(event_type: str, known: Known | None, severities: Sequence[str], unit: str, mode: str) -> list[str]:
    """A test of its own, which passes: that the event it answers makes it run."""
    event: dict[str, Any] = {"type": event_type, "subject": known.subject if known else "host"}
    event |= {"severity": severities[0]} if severities else {}
    event |= {"data": dict(known.data)} if known and known.data else {}
    acts = bool(unit) and mode in ("auto", "approve")
    outcome = "healed" if acts else "suggested" if unit and mode == "suggest" else "observed"
    steps = ["look", "restart"] if acts else ["look"]
    stub = ["    stub: {service_status: {state: down}, restart_service: ok, service_check: ok}"] if unit else []
    return [
        "tests:",
        "  - name: it answers its event",
        f"    given: {{event: {flow(event)}}}",
        *stub,
        f"    expect: {{outcome: {outcome}, steps: {flow(steps)}}}",
    ]


def _text(value: Any) -> str:
    return value[:TEXT_MAX].strip() if isinstance(value, str) else ""


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [value]
    return [word for word in map(_text, value[:WORDS_MAX]) if word] if isinstance(value, list) else []
