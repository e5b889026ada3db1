"""The report's arithmetic and its manners: what is counted, what is bounded, what hostile text cannot do."""

from __future__ import annotations

import json
import re
import tracemalloc
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.catalogue import CATALOGUE
from aios.events.event import Event, Position, Stored, format_time, parse_time
from aios.reports import build, to_json, to_markdown
from aios.reports.build import bounds
from aios.reports.spread import Spread
from aios.reports.text import argument, escaped, plain, span, width

DAY = "2026-02-24"
T0 = parse_time(f"{DAY}T00:00:00Z")
NOW = T0 + 86_400


def event(type: str, subject: str = "system", at: float = 10.0, /, **data: Any) -> Event:
    stamp = format_time(T0 + at)
    return Event(f"{type}{at}", "t", type, subject, stamp, data, stamp, causationid="cause")


def stored(*events: Event) -> Iterator[Stored]:
    return (Stored(one, Position(DAY, 1, number)) for number, one in enumerate(events))


def report_of(*events: Event, now: float = NOW) -> Any:
    return build(stored(*events), DAY, DAY, now)


# --- days


@pytest.mark.parametrize("days", [("2026-02-25", DAY), ("yesterday", DAY), (DAY, "2026-02-30"), ("2020-01-01", DAY)])
def test_days_that_are_none_or_out_of_order_are_refused_with_a_cure(days: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"2026-02-24|1 to 400 days"):
        bounds(*days, NOW)


def test_days_that_have_not_begun_are_neither_quiet_nor_blind() -> None:
    assert report_of(now=T0 - 1).state == "to_come"
    assert "have not begun" in to_markdown(report_of(now=T0 - 1))


# --- runs


def run(type: str, name: str, at: float, **data: Any) -> Event:
    return event(type, "nginx.service", at, run=name, playbook="p", **data)


def test_a_run_is_counted_once_by_its_first_outcome() -> None:
    """Failed, rolled back, cancelled by a person: one run, not healed."""
    report = report_of(
        run("run.opened", "r", 1),
        run("run.not_healed", "r", 2, why="no"),
        run("run.cancelled", "r", 3, by="anna"),
        run("run.rolled_back", "r", 4, ok=True, proof=[]),
        run("run.escalated", "r", 5, why="no"),
    )
    assert dict(report.runs.counts) == {"not_healed": 1}
    assert report.escalated == 1
    assert report.rollbacks == ()
    assert len(report.run_lines) == 1


def test_what_a_person_denied_is_no_failure() -> None:
    """The success rate is healed / (healed + not_healed + unknown); a no, and silence, are neither."""
    report = report_of(
        run("run.opened", "a", 1),
        run("approval.denied", "a", 2, by="anna"),
        run("run.unknown", "a", 3, why="not allowed"),
        run("run.opened", "b", 4),
        run("run.cleared", "b", 5, ms=3.0),
        run("run.opened", "c", 6),
        run("run.healed", "c", 7),
    )
    assert dict(report.runs.counts) == {"healed": 1, "cleared": 1, "denied": 1}
    assert report.runs.rate == 1.0
    assert report.heal.median_ms == pytest.approx(1000.0)


def test_what_a_person_said_stands_beside_the_run() -> None:
    """A no with its reason, and counted as a no though it also cancels the run; a yes with its reason."""
    report = report_of(
        run("run.opened", "a", 1),
        run("approval.denied", "a", 2, by="anna", reason="in use"),
        run("run.cancelled", "a", 3, by="anna", why="denied by anna: in use"),
        run("run.opened", "b", 4),
        run("approval.given", "b", 5, by="anna", reason="go on"),
        run("run.healed", "b", 6),
    )
    assert [(line.outcome, line.why) for line in report.run_lines] == [
        ("denied", "denied by anna: in use"),
        ("healed", "approved by anna: go on"),
    ]
    assert dict(report.runs.counts) == {"healed": 1, "denied": 1}


def test_nothing_tried_has_no_success_rate() -> None:
    assert report_of(event("daemon.heartbeat")).runs.rate is None


def test_a_run_of_the_day_before_counts_where_it_ended() -> None:
    before = Stored(run("run.opened", "r", -100), Position("2026-02-23", 1, 0))
    after = Stored(run("run.healed", "r", 100, ms=200_000.0), Position(DAY, 1, 0))
    report = build(iter([before, after]), DAY, DAY, NOW)
    assert (report.runs_opened, dict(report.runs.counts), report.heal.count) == (0, {"healed": 1}, 1)


# --- alarms


def test_a_level_told_again_is_one_alarm() -> None:
    report = report_of(
        *(event("service.down", "a", at) for at in range(5)), event("service.up", "a", 6), event("service.down", "a", 7)
    )
    assert report.alarms == 2
    assert report.alarm_lines[0].standing


def test_a_wrong_clock_is_no_slow_sensor() -> None:
    """An alarm that says it happened a year ago does not spoil the time to notice."""
    stale = event("agent.error", "agent:a")
    old = Event("x", "t", stale.type, stale.subject, "2020-01-01T00:00:00Z", {}, stale.arrival)
    odd = Event("y", "t", stale.type, stale.subject, "some day", {}, stale.arrival)
    late = stale._replace(id="z", arrival=format_time(T0 + 12))
    report = report_of(old, odd, stale, late)
    assert (report.alarms, report.notice.count, report.notice.longest_ms) == (4, 1, 2000.0)


def test_the_time_to_notice_is_told_only_where_an_alarm_says_when_it_happened() -> None:
    """An event without a time of its own has that of its arrival: 0 ms would be a figure that nobody measured."""
    alarm = event("service.down", "a.service")
    assert "time to notice" not in to_markdown(report_of(alarm))
    late = to_markdown(report_of(alarm._replace(arrival=format_time(T0 + 12))))
    assert re.search(r"time to notice +\| median 2[^|]*p95 2", late)


# --- blind time and scores


def test_blind_time_counts_neither_as_degraded_nor_in_the_average() -> None:
    """What nobody saw is not known: not the score, and not how long it was low."""
    beats = [event("daemon.heartbeat", "system", minute * 60.0) for minute in range(60)]
    told = [
        event("score.updated", "system", 0.0, score=0.8, dimensions={}),
        event("score.updated", "system", 1800.0, score=0.4, dimensions={}),
        event("score.degraded", "system", 1800.0, score=0.4, dimensions={}),
    ]
    ordered = sorted([*beats, *told], key=lambda one: one.arrival)
    back = event("daemon.started", "system", 7200.0, blind_since=ordered[-1].arrival)
    report = report_of(*ordered, back, event("daemon.heartbeat", "system", 7260.0), now=T0 + 7260)
    assert report.blind_s == 7200 - 59 * 60
    assert report.score.degraded_s == pytest.approx(29 * 60 + 60)
    assert report.score.average == pytest.approx((1800 * 0.8 + 1800 * 0.4) / 3600)


def test_a_stop_in_order_is_blind_time_with_its_reason() -> None:
    report = report_of(
        event("daemon.heartbeat", "system", 0.0),
        event("daemon.stopped", "system", 30.0, reason="SIGTERM"),
        event("daemon.started", "system", 3630.0, blind_since=format_time(T0 + 30)),
        now=T0 + 3640,
    )
    assert [(one.why, report.blind_s) for one in report.blind] == [("stopped in order", 3600.0)]


# --- what waits


def test_a_suggestion_waits_until_it_is_taken_or_the_symptom_is_gone() -> None:
    opened = run("run.opened", "r", 1, trigger={"type": "service.down"})
    suggested = run("run.suggested", "r", 2, would=[{"skill": "restart_service"}], verdict="not_well")
    (wait,) = [w for w in report_of(opened, suggested, now=T0 + 20).waits if w.kind == "suggestion"]
    assert "aios runs approve r" in wait.commands
    taken = run("run.opened", "r2", 3, trigger={"type": "service.down"}, parent="r", by="anna")
    for answer in (taken, event("service.up", "nginx.service", 3), run("run.healed", "r3", 3), run("run.cancelled", "r", 3)):
        assert not [w for w in report_of(opened, suggested, answer).waits if w.kind == "suggestion"]
    other = event("service.up", "other.service", 3)
    assert [w for w in report_of(opened, suggested, other).waits if w.kind == "suggestion"]


def test_a_rollback_that_failed_needs_a_person() -> None:
    failed = run("run.rolled_back", "r", 2, ok=False, proof=[{"path": "/a", "ok": False}], error="disk full")
    report = report_of(failed, now=T0 + 20)
    assert [w.kind for w in report.waits if w.kind != "daemon"] == ["rollback"]
    assert "NOT as before: disk full" in to_markdown(report)


def test_a_refused_rollback_is_no_rollback_and_says_how_to_force_it() -> None:
    """Nothing was put back, so none is counted; which files stands whole, however many."""
    files = [f"/etc/nginx/sites-enabled/{name}.example.org.conf" for name in ("one", "two", "three")]
    error = f"changed by somebody else since our act: {', '.join(files)}; nothing was put back."
    error += " To put it back all the same, and lose their change: aios runs rollback r --force"
    refused = run("run.rolled_back", "r", 2, ok=False, proof=[], error=error, conflicts=files)
    report = report_of(run("run.opened", "r", 1, trigger={"type": "service.down"}), refused, now=T0 + 20)
    (wait,) = [w for w in report.waits if w.kind == "rollback"]
    assert wait.commands == ("aios runs show r", "aios runs rollback r --force")
    assert [line.rolled_back for line in report.playbooks] == [0]
    assert "nothing was put back" in to_markdown(report).partition("## ")[2]
    again = run("run.rolled_back", "r", 3, ok=True, proof=[{"path": files[0], "ok": True}], by="anna")
    assert [line.rolled_back for line in report_of(refused, again).playbooks] == [1]


def test_a_rollback_of_what_nobody_saved_says_that_it_stands() -> None:
    back = run("run.rolled_back", "r", 2, ok=True, proof=[], error="", unsaved=["job.1"])
    report = report_of(back)
    assert "nothing was saved of job.1: what it did is not taken back" in to_markdown(report)
    assert sum(line.rolled_back for line in report.playbooks) == 0


def test_an_invalid_playbook_waits_until_a_later_load_is_silent_about_it() -> None:
    """A load tells first what is invalid, then what is in force."""
    invalid = event("playbook.invalid", "system", 10, path="/etc/aios/playbooks/it's.yaml", line=3, message="no steps")
    same_load = event("playbook.loaded", "system", 10.001, playbooks={})
    (wait,) = [w for w in report_of(invalid, same_load).waits if w.kind == "playbook"]
    assert wait.commands == ("aios playbook lint '/etc/aios/playbooks/it'\"'\"'s.yaml'",)
    later = event("playbook.loaded", "system", 100, playbooks={})
    assert not [w for w in report_of(invalid, same_load, later).waits if w.kind == "playbook"]


def test_a_load_says_itself_which_playbooks_are_invalid_however_soon_it_comes() -> None:
    """An editor's empty file, and the whole one 25 ms later: nothing waits. What is still refused waits on."""
    invalid = [event("playbook.invalid", "system", 10, path=f"/p/{name}.yaml", line=1, message="empty") for name in "ab"]
    loaded = event("playbook.loaded", "system", 10.025, playbooks={}, invalid=["/p/b.yaml"])
    (wait,) = [w for w in report_of(*invalid, loaded).waits if w.kind == "playbook"]
    assert wait.what.startswith("/p/b.yaml")
    much_later = event("playbook.loaded", "system", 5000, playbooks={}, invalid=["/p/b.yaml"])
    assert [w.kind for w in report_of(*invalid, much_later).waits if w.kind == "playbook"] == ["playbook"]


def test_a_past_day_claims_nothing_that_began_after_it() -> None:
    """It says that something waits since, and where to look; what began on the day, or before, and still waits is its own."""
    alive = event("daemon.heartbeat", "system", 5)
    invalid = event("playbook.invalid", "system", 90_000, path="/p/a.yaml", line=1, message="no steps")
    later = [Stored(alive, Position(DAY, 1, 0)), Stored(invalid, Position("2026-02-25", 1, 0))]
    report = build(iter(later), DAY, DAY, NOW + 10_000)
    assert (report.waits, report.waits_after) == ((), 1)
    page = to_markdown(report)
    assert not page.startswith("# Needs you")
    assert "Since then 1 thing came up that needs you: `aios report`." in page
    early = event("playbook.invalid", "system", 50, path="/p/a.yaml", line=1, message="no steps")
    assert to_markdown(report_of(early, now=NOW + 10_000)).startswith("# Needs you: 1 playbook")


def test_paused_acts_are_the_first_thing_said() -> None:
    """Since when, by whom, why, and how to go on; until they are resumed or the pause ends by itself."""
    paused = event("daemon.paused", "system", 60, by="root", reason="upgrade", until="")
    page = to_markdown(report_of(paused, event("service.down", "a", 61), now=T0 + 120))
    assert page.startswith("# Needs you: ")
    assert "acts are paused since 00:01:00 by root: upgrade" in page.splitlines()[0]
    assert "aios resume" in page
    resumed = event("daemon.resumed", "system", 70, by="root")
    assert not [w for w in report_of(paused, resumed, now=T0 + 120).waits if w.kind == "pause"]
    for until, stands in (("2026-02-24T00:01:30Z", False), ("2026-02-24T00:03:00Z", True), ("some day", True)):
        ends = event("daemon.paused", "system", 60, by="root", reason="", until=until)
        assert bool([w for w in report_of(ends, now=T0 + 120).waits if w.kind == "pause"]) == stands


def test_what_a_person_took_back_is_no_plain_heal() -> None:
    """Counted as healed, once, and as taken back beside it."""
    back = run("run.rolled_back", "a", 3, ok=True, proof=[{"path": "/a", "ok": True}], by="anna")
    report = report_of(run("run.opened", "a", 1), run("run.healed", "a", 2), run("run.healed", "b", 2.5), back, back)
    assert (dict(report.runs.counts), report.runs.taken_back) == ({"healed": 2}, 1)
    assert [(line.run, line.taken_back) for line in report.run_lines] == [("a", True), ("b", False)]
    page = to_markdown(report)
    assert "2 healed (1 taken back)" in page
    assert "healed, taken back" in page


def test_a_breaker_that_opened_calls_a_person() -> None:
    called = event("reactor.called", "nginx.service", 5, playbook="p", guard="breaker", why="acted 3 times")
    (wait,) = [w for w in report_of(called).waits if w.kind == "called"]
    assert wait.commands == ("aios playbook show p", "aios explain cause")


# --- hostile text


HOSTILE = "a|b`c\n# owned\r\x1b[31m\u202e\u200b<img src=x onerror=1>![x](http://evil)*&amp;" + "z" * 5000


def test_hostile_text_stays_text() -> None:
    """No cell, line, code span, tag, image or escape sequence comes out of what a program wrote."""
    report = report_of(
        event("service.down", HOSTILE, 1),
        event(HOSTILE, HOSTILE, 2),
        event("run.opened", HOSTILE, 3, run=HOSTILE, playbook=HOSTILE, trigger={"type": HOSTILE}),
        event("approval.requested", HOSTILE, 4, run=HOSTILE, playbook=HOSTILE, acts=[{"skill": HOSTILE}] * 99, until=HOSTILE),
        event("run.escalated", HOSTILE, 5, run=HOSTILE + "2", playbook=HOSTILE, why=HOSTILE),
        event("run.rolled_back", HOSTILE, 6, run="r", playbook="p", ok=False, error=HOSTILE, proof=[{HOSTILE: HOSTILE}] * 99),
        event("run.not_healed", HOSTILE, 7, run="r", playbook=HOSTILE, why=HOSTILE),
        event("journal.quarantined", "system", 8, file=HOSTILE, offset=1, reason=HOSTILE),
        event("scheduler.dead_letter", HOSTILE, 9, letter=HOSTILE, reason=HOSTILE),
        event("score.updated", HOSTILE, 9, score=0.1, dimensions={}),
    )
    text = to_markdown(report)
    assert len(text) < 60_000
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\u200b]", text)
    assert not re.search(r"^# owned", text, re.MULTILINE)
    for line in text.splitlines():
        if not line.startswith("       "):  # commands stand in indented code, where nothing has a meaning
            assert not re.search(r"(?<!\\)[<`\[]", line), line
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
    assert len(json.dumps(to_json(report))) < 200_000


def test_a_command_to_paste_is_one_command() -> None:
    """What stands for a run's id is one argument of the shell, whatever it holds."""
    assert argument("x; rm -rf /") == "'x; rm -rf /'"
    assert "\n" not in argument("a\nrm")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("a\nb", "a b"),
        ("\x00", "\ufffd"),
        ("<b>&", "\\<b\\>&amp;"),
        ("x" * 99, "x" * 59 + "…"),
    ],
)
def test_escaping(raw: str, expected: str) -> None:
    assert escaped(raw) == expected


@given(st.text(max_size=400))
def test_plain_text_is_one_bounded_line_without_controls(raw: str) -> None:
    text = plain(raw)
    assert len(text) <= 200
    assert [sign for sign in text if not sign.isprintable() and unicodedata.category(sign) != "Zs"] == [], "a space is seen"
    assert width(text) <= 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
@settings(max_examples=300)
def test_whatever_stands_in_a_journal_a_report_comes_out(data: st.DataObject) -> None:
    """Any type of the catalogue with any JSON in its fields: an old or damaged journal still gives a report."""
    events = []
    for number in range(data.draw(st.integers(1, 6))):
        type = data.draw(st.sampled_from(sorted(CATALOGUE)))
        fields = {name: data.draw(json_values) for name in CATALOGUE[type].fields if data.draw(st.booleans())}
        events.append(event(type, data.draw(st.sampled_from(["system", "host", "a.service"])), float(number), **fields))
    report = report_of(*events)
    assert to_markdown(report).startswith("# ")
    assert to_json(report)["events"] == len(events)


# --- much


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    """Twenty times the events, all with names of their own, in the same memory."""

    def flood(count: int) -> Iterator[Stored]:
        for number in range(count):
            name = f"{number}"
            kinds = (
                event("agent.error", f"agent:{name}", number / 10),
                event(f"my.{name}", "x", number / 10),
                event("run.opened", f"s{name}", number / 10, run=name, playbook=f"p{name}", trigger={"type": "agent.error"}),
                event("run.escalated", f"s{name}", number / 10, run=name, playbook=f"p{name}", why="x" * 500),
                event("score.updated", f"s{name}", number / 10, score=0.5, dimensions={}),
            )
            for one in kinds:
                yield Stored(one, Position(DAY, 1, number))

    def peak(count: int) -> int:
        tracemalloc.start()
        report = build(flood(count), DAY, DAY, NOW)
        assert report.events == 5 * count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, big = peak(1_000), peak(12_000)
    assert big < 30_000_000
    assert big < 8 * small


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=50))
def test_a_spread_is_exact_while_it_is_small(values: list[float]) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    ordered = sorted(values)
    assert spread.quantile(0.5) == ordered[(len(values) + 1) // 2 - 1]
    assert spread.times().longest_ms == ordered[-1]


def test_a_spread_is_right_to_two_percent_when_it_is_big() -> None:
    spread = Spread()
    for number in range(1, 100_001):
        spread.add(float(number))
    assert spread.quantile(0.5) == pytest.approx(50_000, rel=0.02)
    assert spread.quantile(0.95) == pytest.approx(95_000, rel=0.02)
    assert len(spread._bars) < 1000


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.18, "180 ms"),
        (4.24, "4.2 s"),
        (0.9999, "1.0 s"),
        (99.96, "2 min"),
        (3600, "60 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, expected: str) -> None:
    assert span(seconds) == expected
