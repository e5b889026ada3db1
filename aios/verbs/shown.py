"""What verbs answer with, as JSON: events, runs, what guards hold, silences. The command line reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.events.event import Event, format_time
from aios.playbooks.guards import LIFTED_BY_RESUME
from aios.playbooks.run import Run
from aios.playbooks.silences import Silence
from aios.verbs.asked import NO, YES
from aios.world import Holding


def event_json(event: Event) -> dict[str, Any]:
    """An event for people's programs; what is empty is left out."""
    whole = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "arrival": event.arrival,
        "severity": event.severity,
        "origin": event.origin,
        "causationid": event.causationid,
        "correlationid": event.correlationid,
    }
    return {**{name: value for name, value in whole.items() if value}, "data": dict(event.data)}


def run_summary(run: Run) -> dict[str, Any]:
    """One run in one line."""
    return {
        "id": run.id,
        "playbook": run.playbook,
        "subject": run.subject,
        "status": run.status,
        "outcome": run.outcome,
        "mode": run.mode,
        "opened": format_time(run.opened_at),
        "ended": format_time(run.ended_at) if run.ended_at else "",
        "acted": run.acted,
        "acting": acting_json(run),
        "taken_back": run.taken_back,
        "not_taken_back": run.not_taken_back,
        "cancelled": run.cancelled,
        "denied": bool(run.denied and not run.unanswered),
        "waits_for": run.wait["for"] if run.wait else "",
        "until": run.wait["until"] if run.wait and run.wait["for"] != "resume" else "",
        "asks": run.asked["acts"] if run.asked else [],
        "question": (run.asked or {}).get("question", ""),
        "choices": (run.asked or {}).get("choices", {}),
        "evidence": (run.asked or {}).get("evidence", []),
        "why": run.why,
        "parent": run.parent,
        "incident": run.incident,
    }


def acting_json(run: Run) -> dict[str, Any]:
    """The act of a run that is under way, with its command and since when; empty when none is."""
    if run.in_flight is None:
        return {}
    told = {name: run.in_flight[name] for name in ("step", "attempt", "skill", "params")}
    return {**told, "since": format_time(run.in_flight.get("since") or run.opened_at)}


def answered_words(answered: Mapping[str, Any]) -> str:
    """Who answered what, when and why: for somebody whose answer comes after that."""
    at = format_time(answered["at"])
    if answered["word"] == "expired":
        return f"its time was over at {at}, and nobody had answered"
    said = answered["choice"] or (YES if answered["word"] == "given" else NO)
    return f"{answered['by']} said {said} at {at}" + (f": {answered['reason']}" if answered["reason"] else "")


def holding_json(holding: Holding) -> dict[str, Any]:
    """What a guard holds, until when (empty: not by time), and what it waits on."""
    told = {name: getattr(holding, name) for name in ("guard", "playbook", "subject", "type", "event", "on")}
    until = format_time(holding.until) if holding.until else ""
    return {**told, "since": format_time(holding.since), "until": until, "resume": holding.guard in LIFTED_BY_RESUME}


def silence_json(silence: Silence) -> dict[str, Any]:
    told = {"silence": silence.id, "subject": silence.subject, "playbook": silence.playbook, "by": silence.by}
    return {**told, "since": format_time(silence.since), "until": format_time(silence.until), "reason": silence.reason}
