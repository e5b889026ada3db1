"""A report on a day that is gone still prints, as it was when the day ended."""

from __future__ import annotations

import json
from pathlib import Path

from aios.cli.report import gone, make
from aios.disk import OsFiles
from aios.events.codec import decode_json, encode, encode_json
from aios.events.event import Event, Position, Stored, parse_time
from aios.journal.digest import Digest, save_digest
from aios.reports import build, from_json, to_json, to_markdown

DAY = "2026-02-24"
NOW = parse_time(f"{DAY}T23:00:00Z")


def events() -> list[Stored]:
    kinds = [
        ("daemon.started", "system", {"blind_since": "", "clean": True}),
        ("service.down", "nginx.service", {"failures": 2}),
        ("run.opened", "nginx.service", {"run": "r1", "playbook": "p", "event": "e1", "trigger": {"type": "service.down"}}),
        ("run.healed", "nginx.service", {"run": "r1", "playbook": "p", "ms": 12.5}),
        ("score.updated", "system", {"score": 0.75}),
        (
            "run.rolled_back",
            "nginx.service",
            {"run": "r2", "playbook": "p", "ok": False, "proof": [{"file": "/a", "before": "x"}]},
        ),
        ("run.escalated", "nginx.service", {"run": "r2", "playbook": "p", "why": "stuck"}),
        ("journal.quarantined", "host", {"file": "inbox/a.jsonl", "offset": 3, "reason": "no JSON"}),
        ("daemon.stopped", "system", {"reason": "SIGTERM"}),
    ]
    found = []
    for number, (kind, subject, data) in enumerate(kinds):
        at = f"{DAY}T10:{number:02}:00.000000Z"
        found.append(Stored(Event(f"e{number}", "t", kind, subject, at, data, at), Position(DAY, 1, number)))
    return found


def test_a_report_comes_back_from_json_as_it_was() -> None:
    report = build(iter(events()), DAY, DAY, NOW)
    again = from_json(decode_json(encode_json(to_json(report))))
    assert again == report
    assert to_markdown(again) == to_markdown(report)


def test_a_day_that_is_gone_is_told_by_its_digest(tmp_path: Path) -> None:
    report = build(iter(events()), DAY, DAY, NOW)
    (tmp_path / "events").mkdir()
    later = events()[0].event._replace(arrival="2026-04-01T00:00:00.000000Z", time="2026-04-01T00:00:00.000000Z")
    (tmp_path / "events" / "2026-04-01.1.jsonl").write_bytes(encode(later))
    save_digest(OsFiles(), str(tmp_path / "digest"), Digest(DAY, 9, {}, {}, (), json.loads(encode_json(to_json(report)))))
    assert make(str(tmp_path), DAY, None, NOW + 40 * 86_400) == report
    assert gone(str(tmp_path), "2026-02-01", "2026-03-01") == {DAY: 9}
    (tmp_path / "events" / f"{DAY}.1.jsonl").write_bytes(encode(events()[1].event))
    assert make(str(tmp_path), DAY, None, NOW).events == 1
    assert gone(str(tmp_path), "2026-02-01", "2026-03-01") == {}
