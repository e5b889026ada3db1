"""`aios runs`: looking back needs no daemon, deciding goes to the daemon, and both show a run alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios.cli.events import summary
from aios.cli.runs import limits_of, taken_back
from aios.cli.runs_fold import RunView, fold, resolve
from aios.cli.runs_words import proof_words, rung_words, status_words
from aios.errors import Refused
from aios.events.event import Event
from aios.playbooks.run import Run
from aios.verbs.shown import run_summary
from tests.acceptance.cli_kit import NOON, aios, daemon, event, write_journal

RUN = "3f2a91c0-0000-5000-8000-000000000001"


def story(*words: tuple[str, dict[str, Any]], run: str = RUN, at: float = NOON - 600) -> list[Event]:
    """A run's events: opened, then these."""
    trigger = {
        "id": "e1",
        "type": "service.down",
        "subject": "nginx.service",
        "data": {"failures": 2},
        "time": "",
        "severity": "error",
    }
    opened = {"hash": "h", "event": "e1", "mode": "auto", "resources": ["nginx.service"], "trigger": trigger, "considered": []}
    told = [("run.opened", opened), *words]
    return [
        event(type_, "nginx.service", at + n, id_=f"{run}-{n}", **{"run": run, "playbook": "nginx-down", **data})
        for n, (type_, data) in enumerate(told)
    ]


def step(name: str, kind: str = "act", *, ok: bool = True, **more: Any) -> tuple[str, dict[str, Any]]:
    data = {
        "step": name,
        "attempt": 1,
        "skill": "restart_service",
        "kind": kind,
        "ok": ok,
        "skipped": False,
        "result": {},
        "ms": 12.4,
    }
    return "run.step_done", {**data, **more}


INTENDED = (
    "run.step_intended",
    {"step": "restart", "attempt": 1, "skill": "restart_service", "params": {}, "files": [], "units": []},
)
HEALED = ("run.healed", {"ms": 900.0, "proof": [{"skill": "http_check", "verdict": "well"}], "acts": ["restart"]})
WAITS = ("run.waiting", {"waits_for": "approval", "until": "2026-02-25T12:00:00.000000Z", "step": "restart"})
ASKS = ("approval.requested", {"acts": [{"step": "restart", "skill": "restart_service", "params": {}}], "plan": "p", "until": ""})

STORIES: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ("opened", []),
    ("healed", [step("logs", "observe"), INTENDED, step("restart"), HEALED]),
    ("cleared", [step("symptom", "verify"), ("run.cleared", {"ms": 3.0})]),
    ("waiting", [step("logs", "observe"), ASKS, WAITS]),
    ("waiting", [step("logs", "observe"), ASKS, WAITS, ("approval.given", {"plan": "p", "by": "ada"})]),
    (
        "escalated",
        [
            INTENDED,
            step("restart", ok=False),
            ("run.not_healed", {"why": "still down", "proof": []}),
            (
                "run.rolled_back",
                {"ok": True, "proof": [{"file": "/etc/x", "before": "a", "after": "b", "now": "a"}], "error": "", "by": ""},
            ),
            ("run.rung_done", {"rung": 0, "what": "notify", "run_opened": "", "healed": False, "error": ""}),
            ("run.escalated", {"why": "still down", "asked": []}),
        ],
    ),
    (
        "rolled_back",
        [
            INTENDED,
            step("restart"),
            ("run.cancelled", {"by": "ada"}),
            ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": "ada"}),
        ],
    ),
    (
        "rolled_back",
        [
            ASKS,
            WAITS,
            ("approval.denied", {"by": "ada", "reason": "in use"}),
            ("run.cancelled", {"by": "ada", "why": "denied by ada: in use"}),
            ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": ""}),
        ],
    ),
    (
        "healed",
        [
            INTENDED,
            step("restart"),
            HEALED,
            ("run.rollback_asked", {"by": "ada"}),
            ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": "ada"}),
        ],
    ),
    ("suggested", [step("logs", "observe"), ("run.suggested", {"would": [{"step": "restart"}], "verdict": "not_well"})]),
]


@pytest.mark.parametrize(("status", "words"), STORIES, ids=[f"{status}-{len(words)}" for status, words in STORIES])
def test_the_journal_tells_the_same_as_the_daemon(status: str, words: list[tuple[str, dict[str, Any]]]) -> None:
    """Status, outcome, why and end of a run are those of the run's own table."""
    events = story(*words)
    view = fold(events)[RUN]
    run = Run(RUN)
    for one in events:
        run.fold(one.type, one.data, one.taken)
    assert (view.status, view.outcome, view.why) == (run.status, run.outcome, run.why)
    assert view.status == status
    assert bool(view.ended) == run.ended
    assert view.taken_back == run.taken_back
    assert [act["step"] for act in view.asks] == [act["step"] for act in (run.asked or {"acts": []})["acts"]]


def test_runs_are_listed_newest_first_without_a_daemon(tmp_path: Path) -> None:
    """Short ids, when, what, and how it stands."""
    write_journal(tmp_path, *story(INTENDED, step("restart"), HEALED))
    write_journal(tmp_path, *story(ASKS, WAITS, run="aaaa0000-1", at=NOON - 60))
    lines = aios("runs", "list", data=tmp_path).out.splitlines()
    assert [line.split()[0] for line in lines] == ["RUN", "aaaa0000", "3f2a91c0"]
    assert "(1m ago) nginx-down nginx.service auto asks you" in " ".join(lines[1].split())
    assert "(10m ago) nginx-down nginx.service auto healed" in " ".join(lines[2].split())


def test_what_waits_for_a_person_is_found(tmp_path: Path) -> None:
    """Questions and suggestions; the exit code says whether there are any."""
    write_journal(tmp_path, *story(HEALED))
    done = aios("runs", "list", "--waiting", data=tmp_path)
    assert done == (0, "Nothing waits for you.\n", "")
    write_journal(tmp_path, *story(ASKS, WAITS, run="asks"), *story(STORIES[-1][1][1], run="suggests"))
    done = aios("runs", "list", "--waiting", "--json", data=tmp_path)
    assert done.code == 1
    assert {run["id"] for run in json.loads(done.out)["runs"]} == {"asks", "suggests"}


def test_open_and_limit_choose(tmp_path: Path) -> None:
    """Only those that have not ended; at most so many."""
    write_journal(tmp_path, *story(HEALED), *story(ASKS, WAITS, run="open"))
    listed = json.loads(aios("runs", "list", "--open", "--json", data=tmp_path).out)["runs"]
    assert [run["id"] for run in listed] == ["open"]
    assert len(json.loads(aios("runs", "list", "--limit", "1", "--json", data=tmp_path).out)["runs"]) == 1


def test_with_a_daemon_it_is_asked(tmp_path: Path) -> None:
    """It knows, and need not read the journal."""
    brief = fold(story(HEALED))[RUN].brief()
    with daemon(tmp_path, {"runs": {"runs": [brief]}}) as living:
        assert "3f2a91c0" in aios("runs", "list", data=tmp_path).out
    assert living.asked == [("runs", {"open": False, "limit": 1000})]


def test_a_run_is_shown_with_its_steps_and_proof(tmp_path: Path) -> None:
    """Whole, from the journal; a person learns what to do next."""
    write_journal(tmp_path, *story(*STORIES[5][1]))
    out = aios("runs", "show", "3f2a", data=tmp_path).out
    assert out.startswith("nginx-down · nginx.service · escalated\n")
    for words in (
        "service.down (e1)",
        "not_healed",
        "still down",
        "after 6s",
        "restart_service",
        "bad",
        "12",
        "file=/etc/x before=a after=b now=a",
    ):
        assert words in out
    assert "It needs you. When it is mended: aios runs retry 3f2a91c0" in out
    whole = json.loads(aios("runs", "show", "3f2a", "--json", data=tmp_path).out)
    assert whole["rolled_back"]["proof"][0]["file"] == "/etc/x"
    assert [one["step"] for one in whole["steps"]] == ["restart"]


def test_a_proof_says_why_another_state_is_well() -> None:
    """A service that was down before and runs now is no contradiction; what is not as before is."""
    line = {"path": "a.service", "before": "down enabled=True", "restored": "up enabled=True", "ok": True}
    assert taken_back(line) == (
        "a.service: was down enabled=True before; is up enabled=True: well, because only what ran before is made to run again"
    )
    assert taken_back({**line, "before": "up enabled=True"}) == "a.service: as before: up enabled=True"
    assert taken_back({**line, "ok": False}).startswith("a.service: NOT as before: was down")


def test_times_and_long_lists_are_said_as_people_read_them() -> None:
    """In what a step brought."""
    found = {"since": 1_771_934_400.0, "lines": ["x"] * 10, "share": 0.25, "bytes": 1_771_934_400.0}
    assert summary(found) == "since=2026-02-24T12:00:00Z lines=10 share=0.25 bytes=1.772e+09"


def test_a_question_is_shown_with_how_to_answer(tmp_path: Path) -> None:
    """What it wants to do, until when, and the two words."""
    write_journal(tmp_path, *story(ASKS, WAITS))
    out = aios("runs", "show", RUN, data=tmp_path).out
    assert "asks for\n  restart: restart_service\n" in out
    assert "It waits for you: aios runs approve 3f2a91c0   or   aios runs deny 3f2a91c0" in out


def test_what_a_person_said_is_shown(tmp_path: Path) -> None:
    """Who decided, and why, in their words: of a yes and of a no."""
    no = ("approval.denied", {"by": "ada", "reason": "in use"})
    ended = ("run.cancelled", {"by": "ada", "why": "denied by ada: in use"})
    write_journal(tmp_path, *story(ASKS, WAITS, no, ended))
    shown = aios("runs", "show", RUN, data=tmp_path).out
    assert "denied by ada: in use" in shown
    yes = story(ASKS, WAITS, ("approval.given", {"plan": "p", "by": "ada", "reason": "go on"}), HEALED)
    assert fold(yes)[RUN].reason == "go on"


def test_what_healed_and_was_taken_back_is_no_plain_heal(tmp_path: Path) -> None:
    back = ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": "ada"})
    write_journal(tmp_path, *story(INTENDED, step("restart"), HEALED, ("run.rollback_asked", {"by": "ada"}), back))
    assert "healed, taken back" in aios("runs", "list", data=tmp_path).out
    assert "nginx.service · healed, taken back" in aios("runs", "show", RUN, data=tmp_path).out


def test_a_beginning_that_is_nobodys_or_several_is_refused() -> None:
    """With what to write."""
    assert resolve("ab", ["abc", "xyz"]) == "abc"
    assert resolve("ab", ["ab", "abc"]) == "ab"
    with pytest.raises(Refused, match="there is no run 'q'"):
        resolve("q", ["abc"])
    with pytest.raises(Refused, match="is the beginning of 2 runs"):
        resolve("ab", ["abc", "abd"])


@pytest.mark.parametrize("verb", ["approve", "deny", "cancel", "retry"])
def test_a_person_decides_through_the_daemon(tmp_path: Path, verb: str) -> None:
    """The daemon knows who speaks; the command only carries the word."""
    answer = {"run": "bbbb0000-2"} if verb == "retry" else {"id": RUN}
    with daemon(tmp_path, {verb: answer}) as living:
        done = aios("runs", verb, "3f2a91c0", data=tmp_path)
    shown = "bbbb0000" if verb == "retry" else "3f2a91c0"
    said = {
        "approve": "Your yes is taken",
        "deny": "Your no is taken",
        "cancel": "It ends, and what it did is being taken back",
        "retry": "A new run is open",
    }
    assert done == (0, f"{said[verb]}: `aios runs show {shown}` shows what comes of it.\n", "")
    reason = {"reason": ""} if verb in ("approve", "deny") else {}
    assert living.asked == [(verb, {"run": "3f2a91c0", **reason})]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ({"goes_on": True}, 1, "It goes on."),
        ({"rolled_back": {"ok": True, "proof": [{"path": "/etc/x", "ok": True}]}}, 0, "Taken back. The proof: aios runs show"),
        ({"rolled_back": {"ok": False, "proof": [], "error": "disk full"}}, 1, "Not all could be taken back: disk full"),
        ({"rolled_back": {"ok": True, "proof": [], "unsaved": ["job.1"]}}, 0, "Nothing was saved of job.1: what it did is not"),
        (
            {"rolled_back": {"ok": False, "proof": [], "error": "x", "conflicts": ["/etc/x"]}},
            1,
            f"lose their change: aios runs rollback {RUN} --force",
        ),
    ],
)
def test_a_rollback_says_what_came_of_it_and_fails_unless_all_is_back(
    tmp_path: Path, answer: dict[str, Any], code: int, words: str
) -> None:
    """Zero only for what was put back; what is in the way is named, and how to go over it."""
    with daemon(tmp_path, {"rollback": {"id": RUN, **answer}}):
        done = aios("runs", "rollback", "3f2a", data=tmp_path)
        told = aios("runs", "rollback", "3f2a", "--json", data=tmp_path)
    assert (done.code, told.code) == (code, code)
    assert words in done.out


BACK = ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": "ada"})
NOT_BACK = ("run.rolled_back", {"ok": False, "proof": [], "error": "/etc/x was changed", "by": "ada"})
STUCK = ("run.escalated", {"why": "not well after all steps"})


@pytest.mark.parametrize(
    ("verb", "words", "code", "last"),
    [
        ("retry", [step("restart"), HEALED], 0, "healed"),
        ("approve", [step("x", ok=False), ("run.not_healed", {"why": "bad"}), BACK, STUCK], 1, "it needs a person: not well"),
        ("approve", [ASKS], 1, "it asks, and waits for an answer"),
        ("retry", [("run.rung_done", {"healed": True})], 0, "its fallback healed it"),
        ("answer", [("run.cancelled", {"by": "bob"}), BACK], 1, "taken back"),
        ("rollback", [step("rollback"), BACK], 0, "taken back"),
        ("rollback", [NOT_BACK], 1, "NOT all could be taken back: /etc/x was changed"),
    ],
)
def test_a_person_may_wait_for_what_comes_of_it(tmp_path: Path, verb: str, words: list[Any], code: int, last: str) -> None:
    """Told as it happens, until it is over; the exit code says whether that is good. Other runs are not meant."""
    write_journal(tmp_path, event("n.0"))
    others = story(HEALED, run="ffff0000")

    def asked(_args: Any) -> dict[str, str]:
        write_journal(tmp_path, *others, *story(*words, at=NOON))  # it all happens before we look
        return {"id": RUN}

    choice = ["restart"] if verb == "answer" else []
    with daemon(tmp_path, {verb: asked}):
        done = aios("runs", verb, "3f2a", *choice, "--wait", data=tmp_path)
    assert done.code == code, done.err
    assert last in done.out.splitlines()[-1]
    assert done.out.splitlines()[-1].endswith("aios runs show 3f2a91c0")
    assert ("restart: ok" in done.out) is (words[0][1].get("step") == "restart" and code == 0)


def test_waiting_gives_one_json_document(tmp_path: Path) -> None:
    write_journal(tmp_path, event("n.0"))

    def asked(_args: Any) -> dict[str, str]:
        write_journal(tmp_path, *story(step("restart"), HEALED, at=NOON))
        return {"run": RUN}

    with daemon(tmp_path, {"retry": asked}):
        done = aios("runs", "retry", "3f2a", "--wait", "--json", data=tmp_path)
    assert json.loads(done.out)["ended_by"]["type"] == "run.healed"


def test_a_run_that_goes_on_and_one_that_was_cleared_are_said_as_people_say_it(tmp_path: Path) -> None:
    """For a program the states keep their names."""
    for words, said in (
        ([], "looking"),
        ([INTENDED], "acting"),
        ([step("logs", "observe")], "goes on"),
        ([step("logs", "observe"), ASKS, WAITS], "asks you"),
        ([step("symptom", "verify"), ("run.cleared", {"ms": 3.0})], "verify was well before it acted"),
    ):
        state = tmp_path / said.replace(" ", "-")
        write_journal(state, *story(*words))
        assert said in aios("runs", "list", data=state).out
        (row,) = json.loads(aios("runs", "list", "--json", data=state).out)["runs"]
        assert row["status"] in ("opened", "step_intended", "step_done", "waiting", "cleared")


def test_limits_are_told_once_for_all_steps_that_share_them() -> None:
    story = {"kind": "limits", "by": "cgroup v2", "limits": {"memory": "1G"}, "cgroup": ["memory"]}
    steps = [{"step": name, "evidence": [story]} for name in ("mend", "restart", "restart")]
    assert limits_of(steps) == ["mend, restart: memory 1G by cgroup v2"]


def test_taking_back_what_healed_is_warned_of(tmp_path: Path) -> None:
    """The service lives, and its old state comes back under it."""
    with daemon(tmp_path, {"rollback": {"id": RUN, "outcome": "healed", "subject": "nginx.service"}}):
        done = aios("runs", "rollback", "3f2a", data=tmp_path)
    assert "had healed nginx.service" in done.err


WAY = (
    "approval.requested",
    {
        "acts": [],
        "plan": "p",
        "until": "2026-02-25T12:00:00.000000Z",
        "step": "way",
        "question": "Which way?",
        "choices": {"restart": "Restart it", "leave": "Leave it as it is"},
        "evidence": [{"step": "logs", "said": "lines=3"}],
    },
)


def test_a_question_is_listed_with_what_was_seen_and_each_answer_to_copy(tmp_path: Path) -> None:
    """Whoever is woken at night needs no second command to decide."""
    write_journal(tmp_path, *story(WAY, WAITS))
    listed = aios("runs", "list", "--waiting", data=tmp_path)
    assert listed.code == 1
    shown = aios("runs", "show", RUN, data=tmp_path).out
    for out in (listed.out, shown):
        assert "3f2a91c0 asks: Which way?" in out
        assert "  logs: lines=3" in out
        assert "aios runs answer 3f2a91c0 restart   Restart it" in out
        assert "aios runs answer 3f2a91c0 leave   Leave it as it is" in out
        assert "is a no." in out
    (row,) = json.loads(aios("runs", "list", "--waiting", "--json", data=tmp_path).out)["runs"]
    assert (row["question"], list(row["choices"])) == ("Which way?", ["restart", "leave"])


def test_who_answered_what_and_what_came_too_late_is_shown(tmp_path: Path) -> None:
    given = ("approval.given", {"plan": "p", "step": "way", "choice": "restart", "by": "ada", "reason": "go on"})
    late = ("approval.refused", {"by": "bob", "choice": "leave", "reason": "", "why": "ada said restart"})
    write_journal(tmp_path, *story(WAY, WAITS, given, HEALED, late))
    shown = aios("runs", "show", RUN, data=tmp_path).out
    assert "ada said restart: go on" in shown
    assert "bob said leave (not taken: ada said restart)" in shown
    assert aios("runs", "list", "--waiting", data=tmp_path).code == 0


def test_an_answer_goes_to_the_daemon_with_its_choice_and_reason(tmp_path: Path) -> None:
    with daemon(tmp_path, {"answer": {"id": RUN}}) as living:
        done = aios("runs", "answer", "3f2a91c0", "restart", "--reason", "go on", data=tmp_path)
    assert done.code == 0
    assert living.asked == [("answer", {"run": "3f2a91c0", "reason": "go on", "choice": "restart"})]


def test_a_retry_from_a_step_says_what_is_left_out(tmp_path: Path) -> None:
    left = [{"step": "config", "skill": "write_file", "became": "done, and taken back since"}]
    with daemon(tmp_path, {"retry": {"run": "bbbb0000-2", "left_out": left}}) as living:
        done = aios("runs", "retry", "3f2a91c0", "--from", "restart", data=tmp_path)
    assert "left out: config (write_file): done, and taken back since" in done.out
    assert living.asked == [("retry", {"run": "3f2a91c0", "from": "restart"})]


def test_a_run_that_has_left_the_journal_is_shown_from_the_daemons_memory(tmp_path: Path) -> None:
    """A question may be older than the journal."""
    write_journal(tmp_path, *story(HEALED, run="aaaa0000-1"))
    run = Run(RUN, playbook="mend", subject="web.service", status="waiting")
    brief = {"id": RUN, "playbook": "mend", "subject": "web.service", "status": "waiting", "question": "Which way?"}
    brief |= {"choices": {"go": "Go on", "stop": "Stop"}, "evidence": [], "asks": [], "until": "2026-02-25T12:00:00.000000Z"}
    with daemon(tmp_path, {"run": {**brief, "run": run.to_json()}}):
        shown = aios("runs", "show", RUN, data=tmp_path)
    assert shown.code == 0
    assert "asks: Which way?" in shown.out
    assert "aios runs answer 3f2a91c0 go   Go on" in shown.out


# --- dead letters


def dead_story(*more: Event) -> list[Event]:
    """An event that was held once, then could not be decided."""
    held = {
        "event": "e9",
        "verdict": "held",
        "guard": "cooldown",
        "why": "too soon",
        "playbook": "mend",
        "position": "2026-02-24.1:0",
    }
    letter = {
        "letter": "dead0000-1",
        "event": "e9",
        "position": "2026-02-24.1:0",
        "reason": "it could not be decided: KeyError: 'x'",
    }
    ill = event("service.down", "web.service", NOON - 900, id_="e9", failures=3)
    decided = event("reactor.decided", "web.service", NOON - 899, id_="d1", **held)._replace(causationid="e9")
    dead = event("scheduler.dead_letter", "web.service", NOON - 800, id_="d2", **letter)._replace(causationid="e9")
    return [ill, decided, dead, *more]


def test_a_dead_letter_is_shown_with_its_whole_story_and_what_to_do(tmp_path: Path) -> None:
    """The event, each decision, the reason, the cure; without a daemon."""
    write_journal(tmp_path, *dead_story())
    shown = aios("dead", "show", "dead", data=tmp_path)
    assert shown.code == 0
    for words in (
        "service.down (e9)",
        "failures=3",
        "held · mend · cooldown · too soon",
        "KeyError",
        "aios dead retry dead0000-1",
    ):
        assert words in shown.out
    assert "the daemon's log has its traceback" in shown.out
    told = json.loads(aios("dead", "show", "dead0000-1", "--json", data=tmp_path).out)
    assert (told["waits"], [one["type"] for one in told["story"]]) == (True, ["reactor.decided", "scheduler.dead_letter"])


def test_a_dead_letter_that_was_tried_again_shows_the_run_that_came_of_it(tmp_path: Path) -> None:
    again = event("scheduler.retried", "system", NOON - 700, id_="d3", letter="dead0000-1", by="ada")
    runs = [e._replace(data={**e.data, **({"event": "e9"} if e.type == "run.opened" else {})}) for e in story(HEALED)]
    write_journal(tmp_path, *dead_story(again, *runs))
    shown = aios("dead", "show", "dead", data=tmp_path).out
    assert "tried again" in shown
    assert "nginx-down" in shown
    assert "healed" in shown
    assert aios("dead", "show", "beef", data=tmp_path).code == 1


def test_a_run_whose_beginning_is_gone_is_left_out() -> None:
    """Old days go; what is left of a run is no run."""
    assert fold(story(HEALED)[1:]) == {}


def test_a_run_seen_twice_is_one(tmp_path: Path) -> None:
    """A replay says `run.opened` again under the same id."""
    assert list(fold([*story(HEALED), *story()])) == [RUN]
    assert fold([*story(HEALED), *story()])[RUN].status == "healed"
    assert isinstance(fold(story())[RUN], RunView)


def test_a_run_says_what_its_acts_were_held_to_and_by_what() -> None:
    """Each limit once, with who holds it; and why there is less than there could be."""
    grouped = {"kind": "limits", "by": "cgroup v2", "cgroup": ["memory"], "rlimits": ["file_size"]}
    grouped |= {"limits": {"memory": "1G", "file_size": "4G", "cpu": "none"}}
    bare = {"kind": "limits", "by": "rlimits", "rlimits": ["memory"], "looks": ["memory"], "limits": {"memory": "1G"}, "why": "x"}
    steps = [{"step": "look"}, {"step": "a", "evidence": [{"kind": "diff"}, grouped]}, {"step": "b", "evidence": [bare]}]
    assert limits_of(steps) == [
        "a: memory 1G by cgroup v2; file_size 4G by rlimits of each process",
        "b: memory 1G by looking at it (x)",
    ]


JOB = {"step": "clean", "skill": "run_job", "params": {"argv": ["rm", "-r", "/var/cache/x y"], "files": [], "token": "geheim123"}}


def test_what_a_yes_would_start_is_shown_word_by_word(tmp_path: Path) -> None:
    """Where it is listed and where it is shown; secrets are struck out."""
    asks = ("approval.requested", {"acts": [JOB], "plan": "p", "until": ""})
    write_journal(tmp_path, *story(asks, WAITS))
    for out in (aios("runs", "show", RUN, data=tmp_path).out, aios("runs", "list", "--waiting", data=tmp_path).out):
        assert "clean: run_job argv=rm -r '/var/cache/x y'" in out
        assert "geheim" not in out


def test_what_is_under_way_is_shown_with_its_command_and_how_long_it_runs(tmp_path: Path) -> None:
    intended = ("run.step_intended", {**JOB, "attempt": 1, "files": [], "units": []})
    write_journal(tmp_path, *story(intended))
    shown = aios("runs", "show", RUN, data=tmp_path).out
    assert "clean: run_job argv=rm -r '/var/cache/x y'" in shown.partition("under way")[2]
    assert "runs for 599 s" in shown
    assert "aios runs cancel 3f2a91c0" in shown
    write_journal(tmp_path, *story(intended, step("clean"), run="done0000"))
    assert "under way" not in aios("runs", "show", "done", data=tmp_path).out


CANCELLED = ("run.cancelled", {"by": "ada"})
EMPTY_BACK = ("run.rolled_back", {"ok": True, "proof": [], "error": "", "by": ""})


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([ASKS, WAITS, ("approval.denied", {"by": "ada", "reason": ""}), CANCELLED, EMPTY_BACK], "denied"),
        ([ASKS, WAITS, CANCELLED, EMPTY_BACK], "cancelled"),
        ([INTENDED, step("restart"), CANCELLED, EMPTY_BACK], "cancelled, taken back"),
        ([INTENDED, step("restart"), HEALED, ("run.rolled_back", {"ok": False, "proof": []})], "healed, NOT taken back"),
    ],
)
def test_a_run_is_called_what_became_of_it(tmp_path: Path, words: list[tuple[str, dict[str, Any]]], status: str) -> None:
    """What a person ended before anything was done was not rolled back; what could not be taken back is said."""
    events = story(*words)
    write_journal(tmp_path, *events)
    assert f"nginx-down · nginx.service · {status}\n" in aios("runs", "show", RUN, data=tmp_path).out
    run = Run(RUN)
    for one in events:
        run.fold(one.type, one.data, one.taken)
    assert status_words(run_summary(run)) == status


def test_nobody_answered_is_said_so(tmp_path: Path) -> None:
    write_journal(tmp_path, *story(ASKS, WAITS, ("approval.expired", {"plan": "p"})))
    assert "nobody answered in time" in aios("runs", "show", RUN, data=tmp_path).out


def test_a_yes_during_a_pause_says_what_it_waits_for(tmp_path: Path) -> None:
    with daemon(tmp_path, {"approve": {"id": RUN, "paused": {"by": "ann"}}}):
        out = aios("runs", "approve", "3f2a", data=tmp_path).out
    assert "Acts are paused (by ann): it waits for `aios resume`." in out


def test_a_wait_for_a_person_has_no_made_up_end(tmp_path: Path) -> None:
    """The time in the event is only when the run looks again by itself."""
    waits = ("run.waiting", {"waits_for": "resume", "until": "2026-02-24T13:00:00.000000Z", "step": "restart"})
    write_journal(tmp_path, *story(waits))
    (line,) = [one for one in aios("runs", "show", RUN, data=tmp_path).out.splitlines() if one.startswith("waits for")]
    assert line.split() == ["waits", "for", "resume"]


def test_what_a_failed_step_printed_last_is_shown(tmp_path: Path) -> None:
    """There the cause stands; of a step that went well nothing."""
    result = {"exit_code": 1, "stderr": "\n".join(f"line {n}" for n in range(50)), "stdout": ""}
    write_journal(tmp_path, *story(step("job", ok=False, result=result, error="job ended with exit code 1")))
    out = aios("runs", "show", RUN, data=tmp_path).out
    assert "stderr of job, its end" in out
    assert "  line 49\n" in out.partition("stderr of job")[2]
    assert "  line 29\n" not in out.partition("stderr of job")[2]


def test_a_damaged_line_is_told_where_runs_are_looked_at(tmp_path: Path) -> None:
    """The daemon's checkpoint may know how it ended; the journal alone does not, and must not pretend to."""
    write_journal(tmp_path, *story(INTENDED, step("restart"), HEALED))
    assert aios("runs", "show", RUN, data=tmp_path).err == ""
    (part,) = (tmp_path / "events").glob("*.jsonl")
    part.write_bytes(part.read_bytes().replace(b'"run.healed"', b'"run.heaLed"'))
    done = aios("runs", "show", RUN, data=tmp_path)
    assert "damaged in 1 place, so this may lack something: aios journal verify" in done.err
    part.write_bytes(part.read_bytes() + b'{"specversion":"1.0","id":"ha\n')
    assert "damaged in 1 place" in aios("runs", "list", data=tmp_path).err, "half a line that a crash left is no damage"


@pytest.mark.parametrize(
    ("rung", "words"),
    [
        ({"what": "notify"}, "rung 1: a person was told"),
        ({"what": "notify", "error": "no webhook"}, "rung 1: nobody could be told: no webhook"),
        ({"what": "fallback", "run_opened": RUN, "healed": True}, "rung 1: run 3f2a91c0 healed it"),
        ({"what": "fallback", "run_opened": RUN, "error": "still down"}, "rung 1: run 3f2a91c0 did not heal it: still down"),
        ({"what": "fallback", "error": "it is switched off"}, "rung 1: no fallback was opened: it is switched off"),
    ],
)
def test_a_rung_is_told_in_words(rung: dict[str, Any], words: str) -> None:
    """Not as a row of fields, in which a notify reads as if it had failed to heal."""
    assert rung_words({"run": RUN, "playbook": "p", "rung": 0, **rung}) == words


def test_a_proof_is_told_in_words() -> None:
    """What was asked, what it said, for how long; not the fields of its record."""
    check = {"skill": "http_check", "params": {"url": "http://127.0.0.1/", "status": 200}, "verdict": "well", "looks": 7}
    well = {**check, "took_s": 5.0, "held_s": 5.0, "seen": {"status": 200, "ms": 1.2}}
    assert proof_words(well) == (
        "http_check url=http://127.0.0.1/ status=200: well for 5s, after 7 looks; last seen status=200 ms=1.2"
    )
    ill = {"skill": "service_check", "params": {"unit": "db.service"}, "verdict": "not_well", "looks": 1, "error": "it is down"}
    assert proof_words(ill) == "service_check unit=db.service: not well, after 1 look: it is down"


def test_a_check_is_told_by_what_it_found(tmp_path: Path) -> None:
    """`ok` beside the symptom would say that all is well, where it only says that somebody could look."""
    told = step("symptom", "verify")
    ill = (told[0], {**told[1], "result": {"verdict": "not_well"}})
    write_journal(tmp_path, *story(ill, INTENDED, step("restart"), HEALED))
    row = next(line for line in aios("runs", "show", RUN, data=tmp_path).out.splitlines() if line.startswith("symptom"))
    assert "not well" in row
    assert " ok " not in row
