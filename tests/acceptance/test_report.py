"""The daily report, as a person reads it: a whole day of a machine goes in as events, Markdown and JSON come out."""

from __future__ import annotations

import json
import re
from typing import Any

from aios.events.codec import decode_json, encode_json
from aios.events.event import Event, Position, Stored, day_of, format_time, parse_time
from aios.reports import Report, build, from_json, to_json, to_markdown

DAY = "2026-02-24"
T0 = parse_time(f"{DAY}T00:00:00Z")
HOUR = 3600.0


class Days:
    """Writes events as the journal would hold them, in order of time."""

    def __init__(self) -> None:
        self.now = T0
        self.events: list[Event] = []

    def at(self, seconds: float) -> Days:
        self.now = T0 + seconds
        return self

    def see(self, type: str, subject: str = "system", *, late_s: float = 0.0, **data: Any) -> Days:
        stamp, happened = format_time(self.now), format_time(self.now - late_s)
        self.events.append(Event(f"e{len(self.events)}", "test", type, subject, happened, data, stamp))
        return self

    def alive(self, begin: float, end: float) -> Days:
        """A heartbeat each minute."""
        for second in range(int(begin), int(end), 60):
            self.at(second).see("daemon.heartbeat", queue=0, open_runs=0, rss_kb=30_000)
        return self

    def run(self, run: str, playbook: str, subject: str, trigger: str = "service.down", **data: Any) -> Days:
        return self.see("run.opened", subject, run=run, playbook=playbook, trigger={"type": trigger}, **data)

    def stored(self) -> list[Stored]:
        ordered = sorted(self.events, key=lambda event: event.arrival)
        return [Stored(event, Position(day_of(event.taken), 1, number)) for number, event in enumerate(ordered)]

    def report(self, first: str = DAY, last: str = DAY, now: float = T0 + 31 * HOUR) -> Report:
        return build(iter(self.stored()), first, last, now)


def bad_day() -> Days:
    """nginx falls and is healed, a disk fills up and cannot be helped, an agent's cure waits for a yes, and for 40 minutes nobody
    watched."""
    days = Days().alive(0, 2 * HOUR + 60)
    days.at(0).see("score.updated", score=1.0, dimensions={"worst": 1.0, "mean": 1.0})
    days.at(2 * HOUR + 40 * 60).see("daemon.started", version="0.1.0", blind_since=format_time(T0 + 2 * HOUR), clean=False)
    days.alive(2 * HOUR + 41 * 60, 31 * HOUR)
    days.at(3 * HOUR).see("service.down", "nginx.service", late_s=0.25, failures=2, reason="exit")
    days.run("run-1", "nginx-down", "nginx.service")
    days.at(3 * HOUR + 1).see("score.updated", score=0.4, before=1.0, dimensions={"worst": 0.3, "mean": 0.5})
    days.see("score.degraded", score=0.4, dimensions={"worst": 0.3, "mean": 0.5})
    days.see("score.degraded", "nginx.service", score=0.3, dimensions={})
    days.at(3 * HOUR + 4).see("run.healed", "nginx.service", run="run-1", playbook="nginx-down", ms=4000.0)
    days.see("service.up", "nginx.service")
    days.at(3.5 * HOUR).see("score.updated", score=0.9, before=0.4, dimensions={"worst": 0.9, "mean": 0.9})
    days.see("score.recovered", score=0.9, degraded_s=1799)
    days.see("score.recovered", "nginx.service", score=0.9, degraded_s=1799)
    days.at(5 * HOUR).see("resource.disk_full", "disk:/var", late_s=5, used=0.97, threshold=0.9)
    days.run("run-2", "disk-full", "disk:/var", "resource.disk_full")
    days.at(5 * HOUR + 30).see("run.not_healed", "disk:/var", run="run-2", playbook="disk-full", why="still 97 % full")
    proof = [{"path": "/var/log/a.log", "before": "a" * 64, "after_act": "absent", "restored": "a" * 64, "ok": True}]
    days.see("run.rolled_back", "disk:/var", run="run-2", playbook="disk-full", ok=True, proof=proof, error="")
    days.see("run.escalated", "disk:/var", run="run-2", playbook="disk-full", why="still 97 % full", asked=[])
    days.at(6 * HOUR).see("agent.error", "agent:coder", late_s=1, message="out of tokens")
    days.run("run-3", "agent-error", "agent:coder", "agent.error")
    acts = [{"step": "restart", "skill": "restart_service", "params": {}}]
    until = format_time(T0 + 30 * HOUR)
    days.see("approval.requested", "agent:coder", run="run-3", playbook="agent-error", acts=acts, plan="x", until=until)
    days.at(7 * HOUR).see("journal.quarantined", file="inbox/app.jsonl", offset=1200, length=10, reason="not JSON", kept="q/1")
    days.see(
        "scheduler.dead_letter", "api.service", letter="let-1", event="e", position="p", reason="its playbook could not be read"
    )
    return days


def test_the_first_line_says_what_needs_a_person() -> None:
    """An operator at 3 a.m. reads one line."""
    text = to_markdown(bad_day().report())
    assert text.splitlines()[0] == "# Needs you: 1 approval, 1 escalation, 1 dead letter"


def test_each_thing_that_waits_comes_with_the_command_that_answers_it() -> None:
    text = to_markdown(bad_day().report())
    for command in (
        "aios runs approve run-3",
        "aios runs deny run-3",
        "aios runs show run-2",
        "aios runs retry run-2",
        "aios dead retry let-1",
    ):
        assert re.search(rf"^ +{command}$", text, re.MULTILINE), command
    assert "agent-error asks before it acts: restart: restart_service" in text


def test_the_figures_of_a_day() -> None:
    """Events, outcomes, success rate, times, score, blindness: what the report counts, it counts right."""
    report = bad_day().report()
    assert report.state == "busy"
    assert report.alarms == 3
    assert (report.runs_opened, report.runs_open) == (3, 1)
    assert dict(report.runs.counts) == {"healed": 1, "not_healed": 1}
    assert report.runs.rate == 0.5
    assert report.escalated == 1
    assert report.heal.median_ms == 4000.0
    assert report.notice.median_ms is not None
    assert abs(report.notice.median_ms - 1000.0) < 1
    assert report.blind_s == 40 * 60
    assert report.quarantined == 1
    assert report.score.lowest == 0.4
    assert report.score.lowest_at.startswith(f"{DAY}T03:00:01")
    assert abs(report.score.degraded_s - (1800 - 1)) < 1
    known = 24 * HOUR - 40 * 60
    expected = ((3 * HOUR + 1 - 40 * 60) * 1.0 + 1799 * 0.4 + (20.5 * HOUR) * 0.9) / known
    assert report.score.average is not None
    assert abs(report.score.average - expected) < 1e-6
    assert [(a.type, a.standing) for a in report.alarm_lines if a.standing] == [("resource.disk_full", True)]


def test_a_rollback_is_shown_with_its_hashes() -> None:
    """Never worse than before, and here is the proof."""
    report = bad_day().report()
    (rollback,) = report.rollbacks
    assert rollback.proof[0]["before"] == rollback.proof[0]["restored"] == "a" * 64
    text = to_markdown(report)
    assert "as before" in text
    assert "aaaaaaaaaaaaaaaa…" in text


def test_the_score_is_drawn_over_the_day_and_blind_time_is_a_gap() -> None:
    text = to_markdown(bad_day().report())
    (line,) = [line for line in text.splitlines() if line.strip().startswith("1.0 ")]
    bars = line.strip().removeprefix("1.0 ")
    assert len(bars) == 48
    assert bars[0] == "█"
    assert bars[6] == "▄"
    assert bars[-1] == "█"
    report = bad_day().report()
    assert report.plot[6] == 0.4
    assert report.plot[4] is None
    assert bars[4] == "·"


def test_an_answered_question_no_longer_waits() -> None:
    """What was approved, retried or became well in the meantime is not asked for again, also when that came after the day."""
    days = bad_day()
    days.at(25 * HOUR).see("approval.given", "agent:coder", run="run-3", playbook="agent-error", by="anna")
    days.see("scheduler.retried", "api.service", letter="let-1", by="anna")
    days.see("resource.disk_normal", "disk:/var", used=0.4)
    report = days.report()
    assert report.waits == ()
    assert to_markdown(report).splitlines()[0] == "# Nothing needs you"
    assert report.alarms == 3


def test_a_day_without_anything_is_quiet() -> None:
    """Heartbeats tell quiet from blind."""
    report = Days().alive(0, 24 * HOUR).report(now=T0 + 24 * HOUR)
    assert report.state == "quiet"
    text = to_markdown(report)
    assert text.splitlines()[0] == "# Nothing needs you"
    assert " · quiet · " in text.splitlines()[2]


def test_a_day_of_which_nothing_is_known_is_blind_and_not_quiet() -> None:
    report = Days().alive(-HOUR, -60).report()
    assert report.state == "blind"
    assert report.blind_s == 24 * HOUR
    text = to_markdown(report)
    assert text.splitlines()[0] == "# Nobody watched: AIOS was blind all the time"
    assert "quiet" not in text
    assert build(iter([]), DAY, DAY, T0 + 30 * HOUR).state == "blind"


def test_a_quiet_day_with_a_gap_says_both() -> None:
    days = Days().alive(0, 2 * HOUR + 1).alive(3 * HOUR, 24 * HOUR)
    text = to_markdown(days.report(now=T0 + 24 * HOUR))
    assert "quiet, as far as AIOS saw: blind for 60 min" in text
    assert "| 02:00:00 | 03:00:00 | 60 min | no sign of life |" in text


def test_when_nobody_watches_now_that_is_the_first_thing_to_know() -> None:
    """A report on today by a machine whose daemon is gone asks for a person."""
    report = Days().alive(0, 5 * HOUR).report(now=T0 + 8 * HOUR)
    assert to_markdown(report).splitlines()[0] == "# Needs you: AIOS is not running"
    assert "aios doctor" in to_markdown(report)


def test_the_first_day_of_a_machine_does_not_count_what_was_before_it_as_blind() -> None:
    days = Days().at(10 * HOUR).see("daemon.started", blind_since="", clean=True).alive(10 * HOUR, 24 * HOUR)
    report = days.report(now=T0 + 24 * HOUR)
    assert report.blind_s == 0
    assert "quiet since the first start at 10:00:00" in to_markdown(report)


def test_several_days_are_one_report() -> None:
    days = bad_day()
    days.at(26 * HOUR).see("service.down", "nginx.service", late_s=0.1).run("run-9", "nginx-down", "nginx.service")
    days.at(26 * HOUR + 2).see("run.healed", "nginx.service", run="run-9", playbook="nginx-down", ms=2000.0)
    report = days.report(DAY, "2026-02-25")
    assert (report.alarms, report.runs.counts["healed"]) == (4, 2)
    text = to_markdown(report)
    assert "2026-02-24 to 2026-02-25" in text
    assert "2026-02-25 02:00:02" in text
    yesterday = days.report(DAY, DAY)
    assert yesterday.runs.counts["healed"] == 1


def test_the_json_report_holds_the_same_and_can_be_written() -> None:
    report = bad_day().report()
    raw = to_json(report)
    assert decode_json(encode_json(raw)) == raw
    assert raw["needs_person"] is True
    assert raw["waiting"] == 3
    assert raw["runs"] == {"counts": {"healed": 1, "not_healed": 1}, "rate": 0.5, "taken_back": 0}
    assert raw["rollbacks"][0]["proof"][0]["after_act"] == "absent"
    assert json.dumps(raw)


def test_the_report_is_narrow_enough_and_its_columns_stand_below_one_another() -> None:
    """Markdown that reads well as it is."""
    text = to_markdown(bad_day().report())
    table: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
            assert len(line) < 160
        elif table:
            bars = [[m.start() for m in re.finditer(r"(?<!\\)\|", row)] for row in table]
            assert all(row == bars[0] for row in bars), "\n".join(table)
            table = []


def silenced(days: Days, silence: str, subject: str, playbook: str, until: str) -> None:
    days.see("daemon.silenced", silence=silence, playbook=playbook, until=until, by="ann", reason="")
    days.events[-1].data["subject"] = subject


def held_back_day() -> Days:
    days = Days().alive(0, 31 * HOUR)
    silenced(days.at(-HOUR), "s0", "old.service", "", format_time(T0 - 60))
    silenced(days.at(-60), "s1", "*", "web-down", format_time(T0 + 9 * HOUR))
    days.at(HOUR).see("reactor.storm_began", ill=3, known=5, subjects=["a"], why="3 of 5 subjects are ill")
    days.at(2 * HOUR).see("reactor.storm_over", ill=0, known=5)
    days.at(3 * HOUR).see("daemon.silence_ended", silence="s1", by="bob")
    days.at(4 * HOUR).see("daemon.paused", by="ann", reason="upgrade", until="")
    told = {"playbook": "web-down", "hash": "h", "before": "auto", "to": "approve", "by": "", "earned": False}
    days.at(5 * HOUR).see("playbook.demoted", **told, reason="1 of 10 healed")
    return days.at(25 * HOUR).see("reactor.storm_began", ill=3, known=5, subjects=["a"], why="tomorrow")


def test_storms_silences_pauses_and_demotions_of_the_day_are_listed() -> None:
    """They explain why nothing was done about an alarm; what reaches into the day is of it, what was over before is not."""
    report = held_back_day().report()
    assert [(one.kind, one.subject, one.since[11:16], one.until[11:16]) for one in report.held_back] == [
        ("silence", "web-down", "23:59", "03:00"),
        ("storm", "system", "01:00", "02:00"),
        ("pause", "system", "04:00", ""),
        ("demotion", "web-down", "05:00", "05:00"),
    ]
    text = to_markdown(report)
    (pause,) = [line for line in text.splitlines() if "| pause " in line]
    assert "LASTS" in pause
    assert "by ann: upgrade" in pause
    assert "auto → approve: 1 of 10 healed" in text
    assert from_json(decode_json(encode_json(to_json(report)))) == report


def test_what_held_back_is_bounded_and_the_rest_is_counted() -> None:
    days = Days()
    for number in range(700):
        silenced(days.at(number), f"s{number}", "*", "", "")
    report = days.report()
    assert len(report.held_back) == 50
    assert report.held_back_beyond == 650
    assert report.held_back[-1].since == format_time(T0 + 699)
    assert "And 650 more" in to_markdown(report)
