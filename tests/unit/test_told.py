"""What the daemon says in its log of what it does."""

from __future__ import annotations

import io
from typing import Any

from aios.clock import SystemClock
from aios.events.event import Event, Position, Stored
from aios.log import configure, get_logger
from aios.told import LINES_MAX, WITHIN_S, WORDS, Teller, paused_words


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


def test_what_becomes_of_the_journal_itself_is_said() -> None:
    """Who looks at the daemon's log alone must see that the disk is full, that days go early, and who lost by it."""
    assert said(
        ("journal.disk_low", {"why": "size", "size_mb": 34.0, "free_mb": 76000.0}),
        ("journal.disk_low", {"why": "disk", "size_mb": 34.0, "free_mb": 12.5}),
        (
            "journal.consumer_dropped",
            {"consumer": "logs", "position": "2026-02-20.1:77", "part": "2026-02-20.1.jsonl", "why": "size"},
        ),
        ("journal.disk_full", {"error": "[Errno 28] No space left on device", "reserve_mb": 16.0}),
        ("journal.disk_normal", {}),
        ("journal.part_missing", {"part": "2026-02-20.1.jsonl", "size": 7}),
        ("journal.part_changed", {"part": "2026-02-20.1.jsonl", "was": 7, "size": 9}),
        ("journal.archived", {"part": "2026-02-20.1.jsonl"}),
    ) == [
        "web.service: the journal is larger than it may be (34.0 MB): old days go",
        "web.service: the journal's disk runs low (12.5 MB free): old days go sooner",
        "web.service: cursor logs was given up: it stood at 2026-02-20.1:77, and that had to go",
        "web.service: the disk takes no more, what matters least waits: [Errno 28] No space left on device",
        "web.service: the journal has room again",
        "web.service: 2026-02-20.1.jsonl of the journal is gone, and we did not remove it",
        "web.service: somebody else changed 2026-02-20.1.jsonl of the journal",
    ]


def test_what_a_person_has_to_find_is_said_with_its_place() -> None:
    """A refused playbook, a refused line, a load, what was taken back, a last-good copy."""
    run = {"run": "3f2a91c0-aaaa", "playbook": "web-down"}
    assert said(
        ("playbook.invalid", {"path": "/p/a.yaml", "line": 3, "column": 1, "message": "no steps", "waiting": []}),
        ("playbook.invalid", {"path": "/p/a.yaml", "line": 3, "column": 1, "message": "no steps", "waiting": ["/p/b.yaml"]}),
        ("playbook.loaded", {"playbooks": {"a": "h", "b": "h"}, "invalid": []}),
        ("playbook.loaded", {"playbooks": {"b": "h"}, "invalid": ["/p/a.yaml"]}),
        ("journal.quarantined", {"file": "inbox/a.jsonl", "offset": 120, "reason": "type is missing"}),
        ("run.rolled_back", {**run, "ok": True, "proof": [], "by": "root"}),
        ("run.rolled_back", {**run, "ok": True, "proof": [], "by": ""}),
        ("run.rolled_back", {**run, "ok": False, "error": "disk full"}),
        ("playbook.kept", {"playbook": "web-down", "files": ["/etc/web.conf"]}),
        ("reactor.correlated", {"playbook": "web-down", "count": 3, "missing": ["up"]}),
        ("reactor.correlated", {"playbook": "web-down", "count": 0, "missing": ["e1"], "kind": "absence", "since": "12:00"}),
        ("reactor.window_dropped", {"playbook": "web-down", "why": "its trigger was changed"}),
        ("playbook.loaded", {"playbooks": {"blob": "h", "bytes": 90000}, "invalid": []}),
    ) == [
        "web.service: playbook refused, what was in force stays: /p/a.yaml:3:1: no steps",
        "web.service: playbook refused, what was in force stays: /p/a.yaml:3:1: no steps; other changes in its folder wait (1)",
        "web.service: playbooks loaded: 2 in force",
        "web.service: playbooks loaded: 1 in force, 1 refused as they are",
        "web.service: quarantined: inbox/a.jsonl:120: type is missing",
        "web.service: what web-down did was taken back, as root asked: aios runs show 3f2a91c0",
        "web.service: NOT all that web-down did could be taken back: disk full: aios runs show 3f2a91c0",
        "web.service: a last-good copy was taken for web-down: /etc/web.conf",
        "web.service: 3 events together, up stayed away, for web-down: aios explain 9",
        "web.service: silent since 12:00, for web-down: aios explain 10",
        "web.service: windows of web-down: its trigger was changed",
        "web.service: playbooks loaded: many hundred in force",
    ]


def test_a_pause_that_stands_is_said_whole() -> None:
    """Since when, by whom, why, until when."""
    whole = {"by": "root", "reason": "upgrade", "until": "2026-02-24T12:00:00Z", "since": "2026-02-24T10:00:00Z"}
    assert paused_words(whole) == (
        "acts are paused since 2026-02-24T10:00:00Z, by root (upgrade): "
        "nothing is changed until 2026-02-24T12:00:00Z or `aios resume`"
    )
    assert paused_words({"by": "root"}) == "acts are paused, by root: nothing is changed until `aios resume`"


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


def test_a_broken_playbook_is_one_line_however_many_mistakes_it_has() -> None:
    """Told together; lint tells the others."""
    screen = io.StringIO()
    configure("console", "info", stream=screen, environ={}, clock=SystemClock())
    at = {"line": 2, "column": 1}
    told = [("a.yaml", "one"), ("a.yaml", "two"), ("b.yaml", "three")]
    events = [Event(m, "test", "playbook.invalid", "system", "", {"path": p, **at, "message": m}, "", "error") for p, m in told]
    Teller(get_logger("daemon"), SystemClock()).heard([Stored(one, Position("2026-02-24", 1, 0)) for one in events])
    assert [line.split("stays: ")[1] for line in screen.getvalue().splitlines()] == [
        "a.yaml:2:1: one; and 1 more: aios playbook lint a.yaml",
        "b.yaml:2:1: three",
    ]
