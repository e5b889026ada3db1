"""Laws of what people say to runs, and of what runs wait for: a pause, a cancel, a delay that was said.

Like `laws.py`: a history in, breaches out. `harness.LAWS` holds each day against them.
"""

from __future__ import annotations

from collections.abc import Sequence

from aios.events.event import Event, parse_time
from tests.simulation.laws import RESERVED, Breach

SLACK_S = 1.5
"""What became durable so shortly before may have come too late."""
TICK_S = 0.01
AFTER_A_CANCEL = ("rollback",)
WAITED_OUT = frozenset({"retry", "ladder"})
"""Waits that nothing but their time, or a person who ends the run, is the end of."""


def a_pause_is_kept(events: Sequence[Event]) -> list[Breach]:
    """While acts are paused none begins, also of a run that has begun to act; what failed is taken back all the same."""
    since: Event | None = None
    wrong: list[Breach] = []
    for event in events:
        if event.type == "daemon.paused":
            since = since or event
        elif event.type == "daemon.resumed":
            since = None
        elif (
            since is not None
            and event.type == "run.step_intended"
            and not event.data["step"].startswith(RESERVED)
            and event.taken > since.taken + SLACK_S
        ):
            wrong.append(Breach(f"run {event.data['run']} began an act while acts were paused", event))
    return wrong


def who_is_cancelled_acts_no_more(events: Sequence[Event]) -> list[Breach]:
    """After `run.cancelled` nothing is begun but the rollback, and the ladder is left alone."""
    cancelled: set[str] = set()
    wrong: list[Breach] = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.cancelled":
            cancelled.add(run)
        elif event.type == "run.step_intended" and run in cancelled and event.data["step"] not in AFTER_A_CANCEL:
            wrong.append(Breach(f"run {run} began {event.data['step']} after it was cancelled", event))
    return wrong


def what_waits_waits_out(events: Sequence[Event]) -> list[Breach]:
    """Before a retry, and before a rung, as long as was said, over all restarts. For histories without a leap of the clock."""
    waits: dict[str, Event] = {}
    wrong: list[Breach] = []
    for event in events:
        run = str(event.data.get("run", ""))
        if event.type == "run.waiting" and event.data["waits_for"] in WAITED_OUT:
            waits[run] = event
        elif event.type in ("run.step_intended", "run.step_done", "run.waiting") and (said := waits.pop(run, None)) is not None:
            early_s = parse_time(str(said.data["until"])) - event.taken
            if early_s > TICK_S:
                wrong.append(Breach(f"run {run} waited {early_s:.1f} s too short for its {said.data['waits_for']}", event))
        elif event.type == "run.cancelled":
            waits.pop(run, None)
    return wrong
