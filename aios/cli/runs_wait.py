"""`aios runs approve | answer | rollback | retry --wait`: what comes of it, as it happens, until it is over.

The journal tells it, as it tells `aios events --follow`; so a daemon that is started anew meanwhile loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios.cli import exits
from aios.cli.events import follow_events, summary
from aios.cli.runs_words import rung_words
from aios.cli.terminal import Terminal
from aios.events.event import Event, Position
from aios.journal.query import make_query

GOOD: Mapping[str, str] = {
    "run.healed": "healed",
    "run.cleared": "cleared: the symptom was gone before it acted",
    "run.observed": "it has looked",
    "run.suggested": "it proposes, and has changed nothing",
}
BAD: Mapping[str, str] = {"run.escalated": "it needs a person", "approval.requested": "it asks, and waits for an answer"}
_TYPES = (*GOOD, *BAD, "run.step_done", "run.waiting", "run.not_healed", "run.unknown", "run.cancelled", "run.rolled_back")


def wait_for(verb: str, run: str, state: str, after: Position | None, terminal: Terminal, quiet: bool) -> tuple[Event, int]:
    """The event that ends it, and the exit code: 0 when it came out well. `after` is where the journal ended before."""
    cancelled = False
    for event in _of(run, state, after):
        if (code := _code(verb, event, cancelled)) is not None:
            return event, code
        cancelled |= event.type == "run.cancelled"
        if not quiet:
            terminal.say(f"  {terminal.local(event.time)}  {_words(event)}")
    raise AssertionError("following never ends by itself")


def _of(run: str, state: str, after: Position | None) -> Iterator[Event]:
    for event, _ in follow_events(state, make_query(types=(*_TYPES, "run.rung_done")), after):
        if str(event.data.get("run", "")).startswith(run):
            yield event


def _code(verb: str, event: Event, cancelled: bool) -> int | None:
    """None while it goes on. A rollback ends with itself; what was cancelled ends when it is taken back."""
    if event.type == "run.rolled_back" and (verb == "rollback" or cancelled):
        return exits.OK if verb == "rollback" and event.data.get("ok") is True else exits.NO
    if verb == "rollback":
        return None
    if event.type == "run.rung_done":
        return exits.OK if event.data.get("healed") is True else None
    return exits.OK if event.type in GOOD else exits.NO if event.type in BAD else None


def _words(event: Event) -> str:
    data = event.data
    if event.type == "run.step_done":
        word = "left out" if data.get("skipped") else verdict_of(data)
        return f"{data.get('step', '')}: {word or ('ok' if data.get('ok') else 'not ok: ' + str(data.get('error', '')))}"
    if event.type == "run.rung_done":
        return rung_words(data)
    if event.type == "run.rolled_back":
        return "taken back" if data.get("ok") is True else f"NOT all could be taken back: {data.get('error', '')}"
    told = {name: value for name, value in data.items() if name not in ("run", "playbook")}
    return f"{event.type.partition('.')[2].replace('_', ' ')}: {data.get('why') or summary(told)}".rstrip(": ")


def verdict_of(step: Mapping[str, Any]) -> str:
    """What a check said (`not well`); empty for other steps."""
    return str((step.get("result") or {}).get("verdict", "")).replace("_", " ") if step.get("kind") == "verify" else ""


def end_words(event: Event) -> str:
    """How it ended, for people."""
    if event.type == "run.rolled_back":
        return "taken back" if event.data.get("ok") is True else f"NOT all could be taken back: {event.data.get('error', '')}"
    if event.type == "run.rung_done":
        return "not healed by itself; its fallback healed it"
    why = event.data.get("why")
    return {**GOOD, **BAD}[event.type] + (f": {why}" if why else "")


def ended_json(event: Event) -> dict[str, Any]:
    return {"type": event.type, "time": event.time, "why": str(event.data.get("why") or event.data.get("error") or "")}
