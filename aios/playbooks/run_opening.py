"""How a run begins: its id, and the event that opens it. Called by the reactor, for events, ladders and people alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from aios.events.codec import BadLine, depth_of, encode_json
from aios.events.event import Draft, Event
from aios.playbooks.model import Playbook

RUN_NAMESPACE = UUID("6f0f2b1e-6c2c-5d0b-9a55-a105a105a105")
WRITTEN_BYTES_MAX, WRITTEN_LEVELS_MAX = 48 * 1024, 26
"""What an intent, a question to a person or the opening of a run may hold, so that a line of the journal has room for it."""


SHORT_MAX = 300
"""Characters of one step's result where a person is asked."""


def run_id(event_id: str, playbook: str, again: int = 0) -> str:
    """The same event and playbook give the same run, so that a replay opens no second one."""
    return str(uuid5(RUN_NAMESPACE, f"{event_id}\n{playbook}\n{again}" if again else f"{event_id}\n{playbook}"))


def digest(value: Any) -> str:
    """Names an act or a plan, so that what was approved can be told from what would be done."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fits(value: Any) -> bool:
    """Whether this fits into a line of the journal beside all else: what is folded again may never go to a blob."""
    try:
        raw = encode_json(value)
    except BadLine:
        return False
    brackets = raw.count(b"{") + raw.count(b"[")
    return len(raw) <= WRITTEN_BYTES_MAX and (brackets <= WRITTEN_LEVELS_MAX or depth_of(raw) <= WRITTEN_LEVELS_MAX)


def in_short(result: Mapping[str, Any]) -> str:
    """What a step found, in one line."""
    said = result.get("error") or ", ".join(f"{name}={value}" for name, value in (result.get("result") or {}).items())
    return str(said or "ok")[:SHORT_MAX]


def unfit(opened: Draft) -> str:
    """Why no line of the journal can hold what this `run.opened` says; empty when one can."""
    if fits({name: value for name, value in opened.data.items() if name != "considered"}):
        return ""
    return "its data is too long, or nested too deeply, to be written down again with a run"


def opening(
    *,
    event: Event,
    playbook: Playbook,
    mode: str,
    resources: Sequence[str],
    incident: str,
    priority: int,
    considered: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[Sequence[str]] = (),
    next_best: str = "",
    parent: str = "",
    by: str = "",
    approved: Mapping[str, str] | None = None,
    again: int = 0,
    kept: Mapping[str, Mapping[str, Any]] | None = None,
    passed: Sequence[str] = (),
) -> Draft:
    """The event that opens a run. Its id is the run's id: a run is named by its `run.opened`."""
    run = run_id(event.id, playbook.name, again)
    trigger = {name: getattr(event, name) for name in _TRIGGER_FIELDS}
    return Draft(
        type="run.opened",
        id=run,
        subject=event.subject,
        causationid=event.id,
        correlationid=incident,
        data={
            "run": run,
            "playbook": playbook.name,
            "hash": playbook.hash,
            "event": event.id,
            "mode": mode,
            "resources": sorted(resources),
            "trigger": {**trigger, "data": dict(event.data)},
            "considered": [dict(c) for c in considered],
            "lineage": [list(pair) for pair in lineage],
            "next_best": next_best,
            "priority": priority,
            "parent": parent,
            "by": by,
            "approved": dict(approved or {}),
            "again": again,
            **({"passed": list(passed), "kept": dict(kept or {})} if passed else {}),
        },
    )


_TRIGGER_FIELDS = ("id", "source", "type", "subject", "time", "severity")
