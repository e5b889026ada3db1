"""What the original AIOS (v0.5, v0.6) wrote, as events of today. Pure: a decoded record in, an event or the reason why not out.

Called by `importer` for each record. Four dialects of events, told apart by the name that holds the type, and three kinds of
records beside them:

- `event` (with `layer`, `payload`, `severity` INFO to CRIT; `timestamp` in ms, or `epoch` in s): `events/events.jsonl`
- `topic` (with `payload`, `priority`; `ts` in s with a fraction): `events/queue/DAY.jsonl`
- `type` or `category` (`ts` with a zone, or in s; `severity` in small letters): `events.jsonl` of v0.6
- `event_type` (with `data`; `severity` low to high; local time without a zone)
- lines of a log (`level`, `msg`, `layer`, `meta`), reactions, decisions, and the use of tokens

`TABLE` says what becomes of each name; the page in the docs is made from it. Nothing of a record is thrown away: what no
attribute of an event takes stands in its `data`. Times without a zone were the machine's own; see `zone_vote`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeGuard

from aios.events.catalogue import OWN_PREFIXES, usual_severity
from aios.events.codec import encode_sorted
from aios.events.event import HOST, Event, format_time
from aios.events.origin import missing_id

Record = Mapping[str, Any]
Data = dict[str, Any]

SOURCE = "aios-original"
PREFIX = "original."
"""Stands before names that are AIOS's own now (`scheduler.…`), and before those without a dot."""
EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""2000 to 2100: what claims to be from elsewhere tells no time."""
_QUARTER_S = 900
_MS_FROM, _US_FROM = 1e11, 1e14
_WORD = re.compile(r"[^A-Za-z0-9_\-:/.]+")
_NAME_MAX = 120


class NotAnEvent(ValueError):
    """The text is the reason."""


# --- what becomes of each name ----------------------------------------------------------------------------------------


class Meaning(NamedTuple):
    """An event type of today; `shape` turns the data of then into its own; `why` is for the docs."""

    type: str
    shape: Callable[[Data], Data] | None = None
    why: str = ""


def _share(*names: str) -> Callable[[Data], Data]:
    """A percentage of then is a share now, under its name of today; both stay."""

    def shape(data: Data) -> Data:
        value = next((data[name] for name in names if _is_number(data.get(name))), None)
        return data if value is None else {**data, "used": value / 100}

    return shape


def _sample(data: Data) -> Data:
    names = {"cpu": ("cpu_percent",), "memory": ("memory_percent", "memory_pct"), "disk": ("disk_c_pct", "disk_pct")}
    found = {name: next((data[old] for old in olds if _is_number(data.get(old))), None) for name, olds in names.items()}
    return {**data, **{name: value / 100 for name, value in found.items() if value is not None}}


def _said(data: Data) -> Data:
    message = next((str(data[name]) for name in ("error_message", "details", "error", "msg") if data.get(name)), "")
    kind = str(data.get("error_type") or "")
    return {**data, **({"message": message} if message else {}), **({"kind": kind} if kind else {})}


_SAMPLE = "percentages become shares"
TABLE: Mapping[str, Meaning] = {
    "resource_snapshot": Meaning("host.sampled", _sample, _SAMPLE),
    "sensor.system.health": Meaning("host.sampled", _sample, _SAMPLE),
    "watcher.system.metrics": Meaning("host.sampled", _sample, _SAMPLE),
    "warning.high_cpu_usage": Meaning("resource.cpu_spike", _share("value"), "an alarm"),
    "warning.memory_pressure": Meaning("resource.memory_high", _share("value"), "an alarm"),
    "error.out_of_memory": Meaning("resource.memory_high", _share("value"), "an alarm"),
    "warning.disk_usage_high": Meaning("resource.disk_full", _share("value"), "an alarm"),
    "error.disk_full": Meaning("resource.disk_full", _share("value"), "an alarm"),
    "error.agent_failed": Meaning("agent.error", _said, "an alarm"),
    "error": Meaning("agent.error", _said, "an alarm"),
    "warning.agent_timeout": Meaning("agent.stalled", None, "an alarm"),
    "provider.error": Meaning("model.unavailable", _said, "an alarm"),
    "task_failed": Meaning("task.failed"),
    "task_timeout": Meaning("task.timed_out"),
    "task.timeout": Meaning("task.timed_out"),
    "reactor_fix_success": Meaning("original.reactor.fix_succeeded"),
    "(reaction)": Meaning(
        "original.reaction", None, "a record with `reaction_id`; its playbook was not verified, so it is no run"
    ),
    "(decision)": Meaning("original.decision", None, "a record with `chosen` and `options`"),
    "(tokens)": Meaning("original.tokens_used", None, "a record with `input_tokens` or `total_tokens`"),
    "(log)": Meaning("original.log", None, "a record with `level` and `msg`"),
}
"""Name in the original -> what it is now. Other names stay as they are, after `PREFIX` where they must."""

SEVERITIES: Mapping[str, str] = {
    "debug": "info",
    "info": "info",
    "low": "info",
    "ok": "info",
    "notice": "info",
    "medium": "warning",
    "warn": "warning",
    "warning": "warning",
    "err": "error",
    "error": "error",
    "high": "error",
    "crit": "critical",
    "critical": "critical",
    "fatal": "critical",
}

_TYPE_NAMES = ("event", "topic", "event_type", "type", "category")
_BODY_NAMES = ("payload", "data", "meta")
_TIME_NAMES = ("epoch", "timestamp", "ts", "time", "datetime", "created_at")
_TAKEN = frozenset((*_TYPE_NAMES, *_BODY_NAMES, *_TIME_NAMES, "severity", "level", "alert_severity", "source"))


def event_of(record: Record, zone_s: int, origin: str) -> Event:
    """The event. `zone_s`: by how much local times were ahead of UTC. Raises NotAnEvent, BadLine (what JSON cannot say)."""
    name = name_of(record)
    meaning = TABLE.get(name) or Meaning(type_of(name))
    time = format_time(time_of(record, zone_s))
    data = _data_of(record, name, meaning)
    return Event(
        missing_id("import", encode_sorted(dict(record))),
        SOURCE,
        meaning.type,
        _subject_of(data, meaning.type),
        time,
        meaning.shape(data) if meaning.shape else data,
        time,
        _severity_of(record, meaning.type),
        origin,
    )


def name_of(record: Record) -> str:
    """The record's name in the original, or its kind in brackets. Raises NotAnEvent."""
    for field in _TYPE_NAMES:
        value = record.get(field)
        if isinstance(value, str) and value.strip():
            return value.strip()
    if "trigger" in record and "action" in record:
        raise NotAnEvent("a playbook, not an event; docs/playbooks.md says how to write it anew")
    if "reaction_id" in record or "playbook_id" in record:
        return "(reaction)"
    if "chosen" in record:
        return "(decision)"
    if "input_tokens" in record or "total_tokens" in record:
        return "(tokens)"
    if "msg" in record or "message" in record:
        return "(log)"
    raise NotAnEvent("it names no type: none of " + ", ".join(_TYPE_NAMES))


def type_of(name: str) -> str:
    """The type of today for a name that is not in the table. Raises NotAnEvent."""
    parts = [part for part in _WORD.sub("_", name).split(".") if part]
    clean = ".".join(parts)
    if not parts or not clean.strip("_.") or len(clean) > _NAME_MAX:
        raise NotAnEvent("its type is no name")
    if len(parts) == 1 or clean.startswith(OWN_PREFIXES) or not clean[0].isalpha() or not clean[0].isascii():
        return PREFIX + clean
    return clean


def _data_of(record: Record, name: str, meaning: Meaning) -> Data:
    data: Data = {key: value for key, value in record.items() if key not in _TAKEN and value is not None}
    for field in _BODY_NAMES:
        body = record.get(field)
        if isinstance(body, Mapping):
            data |= body
        elif body not in (None, "", []):
            data[field] = body
    if isinstance(record.get("source"), str):
        data.setdefault("original_source", record["source"])
    if meaning.type != name:
        data["original"] = name
    return data


def _subject_of(data: Data, type_: str) -> str:
    agent = data.get("agent_id") or (data.get("component") if type_.startswith("agent.") else None)
    if isinstance(agent, str) and agent and agent.isprintable() and len(agent) <= _NAME_MAX:
        return f"agent:{agent}"
    return HOST


def _severity_of(record: Record, type_: str) -> str:
    for field in ("severity", "level", "alert_severity"):
        word = record.get(field)
        if isinstance(word, str) and word.lower() in SEVERITIES:
            return SEVERITIES[word.lower()]
    return usual_severity(type_)


# --- times ------------------------------------------------------------------------------------------------------------


def time_of(record: Record, zone_s: int) -> float:
    """When it happened, in seconds since the epoch. Raises NotAnEvent.

    A number says it best; a text beside it may have more digits. A text without a zone is local time.
    """
    number, text = _number_of(record), _text_of(record)
    if text is None and number is None:
        raise NotAnEvent("it tells no time between 2000 and 2100")
    if text is None:
        assert number is not None
        return number
    if text.tzinfo is not None:
        return _within(text.timestamp())
    if number is None:
        return _within(text.replace(tzinfo=timezone(timedelta(seconds=zone_s))).timestamp())
    ahead = text.replace(tzinfo=UTC).timestamp() - number
    whole = round(ahead / _QUARTER_S) * _QUARTER_S
    return _within(text.replace(tzinfo=UTC).timestamp() - whole) if abs(ahead - whole) <= 2 else number


def zone_vote(record: Record) -> int | None:
    """By how much local time was ahead of UTC, in seconds, if this record tells it: it has a number and a text without a zone."""
    number, text = _number_of(record), _text_of(record)
    if number is None or text is None or text.tzinfo is not None:
        return None
    ahead = text.replace(tzinfo=UTC).timestamp() - number
    whole = round(ahead / _QUARTER_S) * _QUARTER_S
    return whole if abs(ahead - whole) <= 2 and abs(whole) <= 14 * 3600 else None


def _number_of(record: Record) -> float | None:
    for field in _TIME_NAMES:
        value = record.get(field)
        if _is_number(value):
            seconds = value / 1e6 if value >= _US_FROM else value / 1e3 if value >= _MS_FROM else float(value)
            if EARLIEST <= seconds < LATEST:
                return seconds
    return None


def _text_of(record: Record) -> datetime | None:
    for field in _TIME_NAMES:
        value = record.get(field)
        if isinstance(value, str) and len(value) >= len("2026-02-22"):
            try:
                moment = datetime.fromisoformat(value.strip().replace("/", "-"))
            except ValueError:
                continue
            if 2000 <= moment.year <= 2100:
                return moment
    return None


def _within(seconds: float) -> float:
    if not EARLIEST <= seconds < LATEST:
        raise NotAnEvent("it tells no time between 2000 and 2100")
    return seconds


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = ["NotAnEvent", "TABLE", "event_of", "time_of", "zone_vote"]
