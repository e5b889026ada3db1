"""What the daemon says in its log of what it does."""

from __future__ import annotations

import io
from typing import Any

from aios.clock import SystemClock
from aios.events.event import Event, Position, Stored
from aios.log import configure, get_logger
from aios.told import LINES_MAX, WITHIN_S, WORDS, Teller


def said(*events: tuple[str, dict[str, Any]], leap_s: float = 0.0) -> list[str]:
    """The lines; before the last event so much time goes by."""
    screen = io.StringIO()
    configure("console", "info", stream=screen, environ={}, clock=SystemClock())
    now = [0.0]

    class Clock(SystemClock):
        def monotonic(self) -> float:
            return now[0]

    teller = Teller(get_logger("daemon"), Clock())
    for n, (kind, data) in enumerate(events):
        now[0] += leap_s if n == len(events) - 1 else 0.0
        teller.heard([Stored(Event(str(n), "test", kind, "web.service", "", data, "", "info"), Position("2026-02-24", 1, n))])
    return [line.split(": ", 1)[1] for line in screen.getvalue().splitlines()]


def test_what_a_person_would_want_to_see_is_said_in_words() -> None:
    """And what to type next; the rest of the journal is not repeated."""
    run = {"run": "3f2a91c0-aaaa", "playbook": "web-down"}
    assert said(
        ("service.down", {"reason": "exit", "status": "signal 9 (SIGKILL)"}),
        ("run.opened", run),
        ("run.suggested", {**run, "would": [{"skill": "restart_service"}]}),
        ("approval.requested", {**run, "acts": [{"skill": "restart_service"}]}),
        ("run.healed", run),
        ("run.escalated", {**run, "why": "verify: not well"}),
    ) == [
        "web.service: service.down: signal 9 (SIGKILL)",
        "web.service: web-down proposes restart_service: aios runs approve 3f2a91c0",
        "web.service: web-down asks to restart_service: aios runs approve 3f2a91c0 (or deny)",
        "web.service: healed by web-down: aios runs show 3f2a91c0",
        "web.service: needs a person: verify: not well: aios runs show 3f2a91c0",
    ]


def test_a_burst_is_cut_and_counted() -> None:
    """A flood of events floods neither the terminal nor systemd's journal."""
    lines = said(*([("agent.error", {})] * (LINES_MAX + 5)), leap_s=WITHIN_S)
    assert len(lines) == LINES_MAX + 2
    assert lines[-2:] == ["4 lines left out: see `aios events`", "web.service: agent.error"]


def test_an_event_that_lacks_everything_is_said_all_the_same() -> None:
    """Whatever another program wrote into its event."""
    for kind in WORDS:
        assert len(said((kind, {}))) == 1
    assert said(("agent.error", {"message": ["\x1b[2J", {"a": 1}]})) == ["web.service: agent.error: ['\\x1b[2J', {'a': 1}]"]
