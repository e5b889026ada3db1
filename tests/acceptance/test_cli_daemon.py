"""The words that need a living daemon: what each asks it, and how its answer looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios.cli.terminal import cut, rough, wide
from aios.events.event import format_time
from tests.acceptance.cli_kit import NOON, aios, daemon, event, write_journal

WELL: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 42,
    "since": format_time(NOON - 7200),
    "now": format_time(NOON),
    "mode_max": "suggest",
    "paused": None,
    "score": 0.987,
    "playbooks": 3,
    "invalid_playbooks": 0,
    "disabled": [],
    "queue": {"P0": {"waiting": 0, "spilled": 0}, "P3": {"waiting": 2, "spilled": 7}},
    "open_runs": 1,
    "waiting_runs": 0,
    "needs_you": [],
    "symptoms": [],
    "held": 0,
    "dead_letters": 0,
    "position": "2026-02-24.1:99",
    "state_dir": "/var/lib/aios",
}
ILL = {
    **WELL,
    "paused": {"by": "ada", "reason": "moving", "until": ""},
    "symptoms": [{"subject": "nginx.service", "type": "service.down", "since": format_time(NOON - 90)}],
    "needs_you": [{"id": "3f2a91c0-1", "playbook": "nginx-down", "subject": "nginx.service", "opened": format_time(NOON - 60)}],
    "dead_letters": 2,
    "invalid_playbooks": 1,
    "disabled": ["disk-full"],
}


def squeezed(text: str) -> str:
    return " ".join(text.split())


STUCK = {
    "id": "77aa91c0-1",
    "playbook": "db-down",
    "subject": "db.service",
    "opened": format_time(NOON - 60),
    "why": "still down",
}
HELD = {
    "guard": "breaker",
    "playbook": "web-down",
    "subject": "web.service",
    "type": "service.down",
    "event": "e1",
    "on": "",
    "since": format_time(NOON - 60),
    "until": "",
    "resume": True,
}


def test_status_shows_what_is_stuck_and_what_guards_hold(tmp_path: Path) -> None:
    """With the commands that answer."""
    with daemon(tmp_path, {"status": {**ILL, "needs_you": [], "escalated": [STUCK], "guards": [HELD]}}):
        done = aios("status", data=tmp_path)
    assert done.code == 1
    assert "aios runs retry" in done.out
    assert "77aa91c0  db-down" in done.out
    assert "breaker  web-down  web.service  service.down  a person lifts it" in done.out
    assert "aios resume" in done.out
    held = {**HELD, "guard": "cooldown", "until": format_time(NOON + 60), "resume": False}
    with daemon(tmp_path, {"status": {**ILL, "symptoms": [], "needs_you": [], "guards": [held], "paused": None}}):
        assert "aios resume" not in aios("status", data=tmp_path).out


@pytest.mark.parametrize(
    ("guard", "on", "ends"),
    [
        ("concurrency", "web-down eu", "a run of it ends"),
        ("storm", "storm", "the storm is over"),
        ("paused", "paused", "aios resume"),
        ("depends_on", "db.service", "db.service is well"),
        ("protected", "", "a person lifts it"),
    ],
)
def test_status_says_what_ends_a_guard_that_no_time_ends(tmp_path: Path, guard: str, on: str, ends: str) -> None:
    """Only a subject can become well."""
    held = {**HELD, "guard": guard, "on": on, "resume": False}
    with daemon(tmp_path, {"status": {**ILL, "symptoms": [], "needs_you": [], "guards": [held], "paused": None}}):
        assert f"web.service  service.down  {ends}\n" in aios("status", data=tmp_path).out


def test_status_says_how_it_is(tmp_path: Path) -> None:
    """Well: exit code 0. The queue shows what waits in memory and in the journal."""
    with daemon(tmp_path, {"status": WELL}):
        done = aios("status", data=tmp_path)
    assert done.code == 0
    for words in ("0.1.0, pid 42", "(2h ago)", "suggest", "0.99", "3 in force", "P3 2 (7 in the journal)", "All is well."):
        assert words in done.out


def test_status_says_what_is_ill_and_who_is_waited_for(tmp_path: Path) -> None:
    """Ill, paused or waiting: exit code 1, with the next word to type."""
    with daemon(tmp_path, {"status": ILL}):
        done = aios("status", data=tmp_path)
        assert json.loads(aios("status", "--json", data=tmp_path).out) == ILL
    assert done.code == 1
    for words in (
        "paused by ada: moving",
        "nginx.service service.down",
        "(1m ago)",
        "These wait for you: aios runs approve or deny",
        "3f2a91c0 asks nginx-down",
        "2: see aios dead list",
        "switched off: disk-full; 1 cannot be used, see aios playbook lint",
    ):
        assert words in squeezed(done.out)
    assert "All is well" not in done.out


def test_a_proposal_is_not_said_to_be_denied(tmp_path: Path) -> None:
    """It does nothing unless somebody approves it; and a pause without a reason has no colon for one."""
    proposal = {"id": "9d2a91c0-1", "playbook": "p", "subject": "a.service", "opened": format_time(NOON), "status": "suggested"}
    answer = {**ILL, "needs_you": [proposal], "paused": {"by": "root", "reason": "", "until": ""}}
    with daemon(tmp_path, {"status": answer}):
        out = squeezed(aios("status", data=tmp_path).out)
    assert "These wait for you: aios runs approve has it done, else leave it" in out
    assert "9d2a91c0 proposes p" in out
    assert "deny" not in out
    assert "paused by root score" in out
    with daemon(tmp_path, {"status": {**answer, "needs_you": [proposal, *ILL["needs_you"]]}}):
        out = squeezed(aios("status", data=tmp_path).out)
    assert "what asks: aios runs approve or deny; what proposes: aios runs approve has it done, else leave it" in out


def test_what_a_skill_found_shows_times_as_times(tmp_path: Path) -> None:
    """`since` is no count of seconds to a person."""
    with daemon(tmp_path, {"skill_run": {"ok": True, "result": {"since": NOON - 7200, "used": 0.5}}}):
        out = aios("skill", "run", "service_status", "unit=a.service", data=tmp_path).out
    assert "(2h ago)" in out
    assert "0.5" in out


@pytest.mark.parametrize(
    ("words", "asked", "answer", "said"),
    [
        (
            ["pause", "moving", "--for", "90m"],
            ("pause", {"reason": "moving", "for": "1h30m"}),
            {"until": ""},
            "No acts until `aios resume`.",
        ),
        (["pause"], ("pause", {"reason": "", "for": ""}), {"until": ""}, "No acts until `aios resume`."),
        (
            ["pause", "--until", "2026-02-24T13:00:00Z"],
            ("pause", {"reason": "", "for": "1h"}),
            {"until": format_time(NOON + 3600)},
            "No acts until 2026-02-24",
        ),
        (["resume"], ("resume", {}), {"by": "root"}, "Acts are allowed again."),
        (["reload"], ("reload", {}), {"playbooks": 3, "errors": []}, "Playbooks were read again: 3 in force."),
        (["stop"], ("stop", {}), {"stopping": True}, "The daemon ends."),
        (["playbook", "enable", "x"], ("playbook_enable", {"name": "x"}), {}, "x is on."),
        (["playbook", "disable", "x"], ("playbook_disable", {"name": "x"}), {}, "x is off."),
        (["dead", "retry", "L1"], ("dead_retry", {"letter": "L1"}), {"letter": "L1"}, "L1 is tried again"),
        (["service", "stop", "a.service"], ("service_stop", {"subject": "a.service"}), {"ok": True}, "a.service: done"),
        (["service", "start", "agent:b"], ("service_start", {"subject": "agent:b"}), {"ok": True}, "agent:b: done"),
        (["service", "restart", "a.service"], ("service_restart", {"subject": "a.service"}), {"ok": True}, "a.service: done"),
        (
            ["skill", "run", "http_check", "url=http://a/", "status=200", "flag=true", "text=a=b"],
            (
                "skill_run",
                {"skill": "http_check", "params": {"url": "http://a/", "status": 200, "flag": True, "text": "a=b"}, "dry": False},
            ),
            {"ok": True, "result": {"verdict": "well"}},
            "ok verdict well",
        ),
        (
            ["skill", "run", "stop_service", "unit=a.service", "--dry"],
            ("skill_run", {"skill": "stop_service", "params": {"unit": "a.service"}, "dry": True}),
            {"ok": True, "dry": True, "says": "would stop a.service"},
            "would stop a.service",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_word_is_carried_to_the_daemon(
    tmp_path: Path, words: list[str], asked: tuple[str, Any], answer: dict[str, Any], said: str
) -> None:
    """The verb, its arguments, one sentence back; with --json the answer as it is."""
    with daemon(tmp_path, {asked[0]: answer}) as living:
        done = aios(*words, data=tmp_path)
        assert json.loads(aios(*words, "--json", data=tmp_path).out) == answer
    assert living.asked == [asked, asked]
    assert (done.code, done.err) == (0, "")
    assert said in squeezed(done.out)


@pytest.mark.parametrize(
    ("words", "verb", "answer", "code"),
    [
        (["service", "stop", "a.service"], "service_stop", {"ok": False, "error": "it does not end"}, 1),
        (["skill", "run", "http_check"], "skill_run", {"ok": False, "error": "status 500"}, 1),
        (["reload"], "reload", {"playbooks": 1, "errors": [{"path": "a.yaml", "line": 3, "message": "no such skill"}]}, 4),
    ],
)
def test_what_did_not_work_is_said(tmp_path: Path, words: list[str], verb: str, answer: dict[str, Any], code: int) -> None:
    """By the exit code and in words."""
    with daemon(tmp_path, {verb: answer}):
        done = aios(*words, data=tmp_path)
    assert done.code == code
    assert (answer.get("error") or "a.yaml:3: no such skill") in done.out + done.err


def test_a_score_of_a_name_that_nothing_goes_by_is_refused(tmp_path: Path) -> None:
    """A misspelt name is not a service of which nothing has been measured yet."""
    known = {"nginx.service": {"subject": "nginx.service", "score": 0.9}}
    with daemon(tmp_path, {"score": lambda args: {"subject": args["subject"], "score": None} if args else {"scores": known}}):
        done = aios("score", "ngnx.service", data=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("cure: did you mean 'nginx.service'?\n")


def test_scores_are_a_table_with_their_parts(tmp_path: Path) -> None:
    """What has no data is a dash; something degraded is exit code 1; --explain shows figures and formulas."""
    subject = {
        "subject": "nginx.service",
        "score": 0.42,
        "dimensions": {"success": {"value": 0.3, "weight": 0.67}, "latency": None, "stability": {"value": 0.5, "weight": 0.33}},
        "figures": {"ok": 3, "failed": 7},
        "degraded_since": NOON - 120,
    }
    system = {"subject": "system", "score": 0.71, "dimensions": {"worst": {"value": 0.42, "weight": 0.5}}, "degraded_since": None}
    with daemon(tmp_path, {"score": lambda args: subject if args else {"scores": {"nginx.service": subject, "system": system}}}):
        done = aios("score", data=tmp_path)
        explained = aios("score", "nginx.service", "--explain", data=tmp_path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[1].split()[:6] == ["nginx.service", "0.42", "0.30", "-", "0.50", "-"]
    assert lines[1].endswith("(2m ago)")
    assert lines[2].split()[:2] == ["system", "0.71"]
    assert "failed 7" in squeezed(explained.out)
    assert "0.4 success + 0.2 latency" in explained.out


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    """A fresh daemon knows nothing yet."""
    with daemon(tmp_path, {"score": {"scores": {}}}):
        assert aios("score", data=tmp_path) == (0, "Nothing has been measured yet.\n", "")


def test_dead_letters_are_listed(tmp_path: Path) -> None:
    """With the reason; none is exit code 0."""
    letter = {"letter": "L1", "event": "e", "position": "p", "subject": "host", "reason": "bad", "since": format_time(NOON - 5)}
    with daemon(tmp_path, {"dead_letters": {"dead_letters": [letter]}}):
        done = aios("dead", "list", data=tmp_path)
    assert done.code == 1
    assert "L1" in done.out
    assert "(5s ago) host bad" in squeezed(done.out)
    with daemon(tmp_path, {"dead_letters": {"dead_letters": []}}):
        assert aios("dead", "list", data=tmp_path) == (0, "There are no dead letters.\n", "")


def test_services_are_listed(tmp_path: Path) -> None:
    """As the daemon sees them."""
    unit = {"subject": "a.service", "state": "down", "backend": "managed", "pid": 0, "since": NOON - 3600, "detail": "exit 1"}
    with daemon(tmp_path, {"services": {"services": [unit]}}):
        out = aios("service", "list", data=tmp_path).out
    assert squeezed(out.splitlines()[1]).startswith("a.service down managed 2026-02-24")
    assert out.rstrip().endswith("(1h ago)  exit 1")


def test_what_is_ill_stands_first_among_services(tmp_path: Path) -> None:
    """At night nobody looks through forty that are well."""
    units = [{"subject": name, "state": state} for name, state in (("c", "up"), ("b", "up"), ("z", "down"), ("a", "stopped"))]
    with daemon(tmp_path, {"services": {"services": units}}):
        lines = aios("service", "list", data=tmp_path).out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["z", "a", "b", "c"]


def test_what_a_window_lacks_is_explained_and_so_is_what_made_a_correlation(tmp_path: Path) -> None:
    """Seen, missing, until when; and the events that came together."""
    at = format_time(NOON - 60)
    triggers = [
        {"name": "first", "matched": True, "why": "the type fits, and it asks for nothing more"},
        {"name": "e2", "matched": False, "why": "type is a; wanted b"},
    ]
    window = {"playbook": "p0", "kind": "all", "matched": True, "triggers": triggers, "key": {"subject": "web.service"}}
    window |= {"within_s": 600.0, "seen": {"first": 1}, "missing": {"e2": 1}, "until": at, "waiting": 0}
    answer: dict[str, Any] = {"event": {"id": "x", "type": "a", "subject": "web.service", "time": at, "data": {}}}
    answer |= {"considered": [], "decisions": [], "windows": [window]}
    with daemon(tmp_path, {"explain": answer}):
        out = squeezed(aios("explain", "x", data=tmp_path).out)
    assert "p0 waits for several events (all)" in out
    assert "first yes the type fits" in out
    assert "e2 no type is a; wanted b" in out
    assert "now: 1 x first seen of subject web.service, 1 x e2 missing within 10m" in out
    assert "No playbook is for it" not in out
    unknown = {name: window[name] for name in ("playbook", "kind", "matched", "triggers")}
    with daemon(tmp_path, {"explain": {**answer, "windows": [unknown]}}):
        assert "now:" not in aios("explain", "x", data=tmp_path).out
    parts = {"first": {"id": "x", "type": "a", "subject": "web.service", "time": at}}
    data = {"playbook": "p0", "kind": "sequence", "key": {"subject": "web.service"}, "since": at, "until": at, "count": 1}
    data |= {"events": parts, "used": [["x", "2026-02-24.1:0"]], "missing": ["e2"]}
    made = {"id": "y", "type": "reactor.correlated", "subject": "web.service", "time": at, "data": data}
    with daemon(tmp_path, {"explain": {"event": made, "considered": [], "decisions": [], "windows": []}}):
        out = squeezed(aios("explain", "y", data=tmp_path).out)
    assert "p0 waited for this (sequence)" in out
    assert "first a web.service" in out
    assert "e2 stayed away" in out
    assert "joined by subject web.service" in out
    assert "used x" in out


def test_an_event_is_explained(tmp_path: Path) -> None:
    """Every playbook that was considered and what it said; then what was decided."""
    answer = {
        "event": {"id": "e1", "type": "service.down", "subject": "a.service", "time": format_time(NOON - 60)},
        "considered": [
            {"playbook": "a-down", "matched": True, "why": "the type fits"},
            {"playbook": "b-down", "matched": False, "why": "subject is a.service; wanted b.service"},
        ],
        "decisions": [
            {"type": "run.opened", "time": format_time(NOON), "data": {"run": "r1", "playbook": "a-down", "mode": "auto"}},
            {
                "type": "reactor.decided",
                "time": format_time(NOON),
                "data": {"verdict": "held", "guard": "cooldown", "why": "too soon"},
            },
        ],
    }
    with daemon(tmp_path, {"explain": answer}) as living:
        out = squeezed(aios("explain", "e1", data=tmp_path).out)
    assert living.asked == [("explain", {"event": "e1"})]
    for words in (
        "service.down · a.service",
        "b-down no subject is a.service; wanted b.service",
        "a run was opened run r1",
        "held guard cooldown",
    ):
        assert words in out
    with daemon(tmp_path, {"explain": {"event": answer["event"], "considered": [], "decisions": []}}):
        assert "No playbook is for it, so nothing was decided." in aios("explain", "e1", data=tmp_path).out


def test_which_of_several_went_first_and_why_it_only_proposes_is_explained(tmp_path: Path) -> None:
    """The order of those that matched, and what lowered the mode."""
    modes = {"mode": "approve", "mode_in_force": "suggest"}
    answer = {
        "event": {"type": "a.b", "subject": "s", "time": format_time(NOON)},
        "considered": [
            {"playbook": "p", "matched": True, "why": "fits", "order": "first", **modes},
            {"playbook": "q", "matched": True, "why": "fits", "order": "after p: its priority is 0, not 1", **modes},
        ],
        "decisions": [
            {"type": "run.opened", "time": format_time(NOON), "data": {"run": "r", "playbook": "p", "mode": "suggest"}}
        ],
    }
    with daemon(tmp_path, {"explain": answer}):
        out = squeezed(aios("explain", "e1", data=tmp_path).out)
    assert "p yes first; fits q yes after p: its priority is 0, not 1; fits" in out
    assert "suggest (playbook says approve, lowered by mode_max)" in out


@pytest.mark.parametrize(
    ("own", "granted", "now", "said"),
    [
        ("auto", "auto", "auto", "mode auto"),
        ("shadow", "approve", "approve", "approve (playbook says shadow, approve by aios playbook trust)"),
        ("auto", "suggest", "suggest", "suggest (playbook says auto, suggest by aios playbook trust)"),
        ("shadow", "auto", "suggest", "suggest (playbook says shadow, auto by aios playbook trust, lowered by mode_max)"),
    ],
)
def test_why_a_mode_is_not_the_files_is_said(tmp_path: Path, own: str, granted: str, now: str, said: str) -> None:
    """Raised by a person or lowered by its evidence is something else than held down by the settings."""
    modes = {"mode": own, "granted": granted, "mode_in_force": now}
    answer = {
        "event": {"type": "a.b", "subject": "s", "time": format_time(NOON)},
        "considered": [{"playbook": "p", "matched": True, "why": "fits", **modes}],
        "decisions": [{"type": "run.opened", "time": format_time(NOON), "data": {"run": "r", "playbook": "p", "mode": now}}],
    }
    with daemon(tmp_path, {"explain": answer}):
        assert f"{said} " in squeezed(aios("explain", "e1", data=tmp_path).out) + " "


def test_an_event_is_explained_from_the_journal_without_a_daemon(tmp_path: Path) -> None:
    """What was decided stands there for as long as the journal does."""
    caused = {"causationid": "e1"}
    considered = [{"playbook": "a", "said": "matched"}, {"playbook": "b", "said": "switched off"}]
    opened = event("run.opened", "a.service", id_="r1", run="r1", playbook="a", mode="auto", considered=considered)
    write_journal(tmp_path, event("service.down", "a.service", id_="e1"), opened._replace(**caused), event("x.y", id_="e2"))
    out = squeezed(aios("explain", "e1", data=tmp_path).out)
    for words in ("service.down · a.service", "a yes matched", "b no switched off", "a run was opened run r1"):
        assert words in out
    assert "nothing was decided" in aios("explain", "e2", data=tmp_path).out
    assert aios("explain", "e3", data=tmp_path).err == (
        "aios: no event 'e3' in the journal, and no run\n  cure: look for its id with: aios events --json, or aios runs list\n"
    )


def test_a_hostile_daemon_answer_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """What it tells came from events: names, reasons, details."""
    bad = "\x1b[2Jx\ny\u202e"
    unit = {"subject": bad, "state": bad, "backend": bad, "pid": 1, "since": bad, "detail": bad}
    status = {
        **ILL,
        "paused": {"by": bad, "reason": bad, "until": bad},
        "symptoms": [{"subject": bad, "type": bad, "since": bad}],
    }
    with daemon(tmp_path, {"services": {"services": [unit]}, "status": status}):
        for words in (["service", "list"], ["status"]):
            out = aios(*words, data=tmp_path, screen=True, environ={"NO_COLOR": "1"}).out
            assert all(line.isprintable() for line in out.splitlines())
            assert "\ny" not in out


def test_columns_line_up_for_wide_letters() -> None:
    """East Asian letters take two columns, combining marks none."""
    assert (wide("abc"), wide("日本"), wide("e\u0301")) == (3, 4, 1)
    assert cut("日本語", 5) == "日本…"
    assert [rough(s) for s in (0, 0.25, 59, 3599, 7200, 200_000)] == ["0s", "250ms", "59s", "59m", "2h", "2d"]


def test_a_pause_says_what_is_still_acting_and_how_to_end_it(tmp_path: Path) -> None:
    """What had begun is carried to its end: nobody shall think that all stands still."""
    acting = {"step": "job", "skill": "run_job", "params": {"argv": ["sleep", "600"]}, "since": format_time(NOON - 30)}
    run = {"id": "3f2a91c0-0", "playbook": "mend", "subject": "web.service", "acting": acting}
    with daemon(tmp_path, {"pause": {"until": "", "acting": [run]}}):
        out = aios("pause", data=tmp_path).out
    assert "Still acting, and carried to its end: web.service, mend" in out
    assert "job: run_job argv=sleep 600   runs for 30 s" in out
    assert "aios runs cancel 3f2a91c0" in out


def test_what_a_skill_printed_is_shown_as_the_lines_that_it_is(tmp_path: Path) -> None:
    """`df -h` in one line with \\n in it is not to be read at night; what is listed is a line each."""
    result = {
        "exit_code": 0,
        "stdout": "Filesystem  Use%\n/dev/vda1  \x1b[31m97%",
        "processes": [{"pid": 7, "name": "x"}],
        "masked": False,
    }
    with daemon(tmp_path, {"skill_run": {"ok": True, "result": result, "kind": "observe", "error": ""}}):
        out = aios("skill", "run", "run_command", 'argv=["df"]', data=tmp_path).out
    assert "\n  Filesystem  Use%\n  /dev/vda1  \\x1b[31m97%\n" in out
    assert "\n  pid=7 name=x\n" in out
    assert "masked     false" in out
