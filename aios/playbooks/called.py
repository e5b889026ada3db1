"""Which events call a person, and in which words: what held itself back, a run that asks, a mode that was lost.

The world remembers a call until it was made, the daemon makes it, the log tells it. A run that failed calls by its own ladder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aios.events.call_words import call_words
from aios.events.event import Event
from aios.playbooks.guards import LIFTED_BY_RESUME
from aios.playbooks.run_table import RUN_SHOWN

ACTS_SHOWN, CALL_SHOWN = 5, 400
"""Of the acts that a call names, and of each of them."""


class Call(NamedTuple):
    """What a person is to be told, and how loudly."""

    subject: str
    why: str
    level: str = "critical"


CALLING = frozenset({"reactor.called", "reactor.storm_began", "playbook.demoted", "approval.requested"})
"""Types of which `call_of` may give a call."""


def call_of(event: Event) -> Call | None:
    """The call that this event wants made, if any."""
    if event.type not in CALLING:
        return None
    if event.type == "reactor.storm_began":
        return Call(event.subject, str(event.data["why"]))
    if event.type == "reactor.called":
        return Call(event.subject, f"{event.data['why']}  {_cure(event)}")
    if event.type == "playbook.demoted" and not event.data["by"]:
        data = event.data
        return Call(event.subject, f"{data['playbook']} may only {data['to']} from now on: {data['reason']}", "warning")
    if event.type == "approval.requested":
        return Call(event.subject, _question(event), "warning")
    return None


def _cure(event: Event) -> str:
    """What to type when a guard has called a person: first why, then what lifts it."""
    if event.data["guard"] == "torn":
        return f"aios runs show {event.causationid[:RUN_SHOWN]}"
    lifts = "; when it is mended: aios resume" if event.data["guard"] in LIFTED_BY_RESUME else ""
    return f"aios explain {event.causationid[:RUN_SHOWN]}{lifts}"


def _question(event: Event) -> str:
    acts, run = event.data["acts"], str(event.data["run"])[:RUN_SHOWN]
    differs = f"  {event.data['differs']}" if event.data.get("differs") else ""
    if isinstance(choices := event.data.get("choices"), Mapping):
        return f"{event.data['playbook']} asks: {event.data['question']}  aios runs answer {run} {'|'.join(choices)}{differs}"
    calls = [call_words(act, CALL_SHOWN) for act in acts] if isinstance(acts, list) else []  # a long one went to a blob
    named = "; ".join((*calls[:ACTS_SHOWN], *([f"and {len(calls) - ACTS_SHOWN} more"] if len(calls) > ACTS_SHOWN else [])))
    named = named or "act"
    return f"{event.data['playbook']} asks to {named}: aios runs approve {run}, or aios runs deny {run}{differs}"
