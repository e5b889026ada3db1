"""`aios events` and `aios emit`: in and out of the journal, with and without a daemon; nothing hostile reaches the terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aios.cli.events import follow_events
from aios.cli.journal import parse_moment, plain
from aios.cli.main import main
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.codec import LINE_MAX
from aios.events.event import Position
from aios.journal.digest import Digest, save_digest
from aios.journal.query import Query
from tests.acceptance.cli_kit import NOON, Clock, Daemon, Screen, aios, daemon, event, may_be_interrupted, write_journal


def types_of(out: str) -> list[str]:
    return [json.loads(line)["event"]["type"] for line in out.splitlines()]


def three(state: Path) -> None:
    write_journal(state, event("service.down", "nginx.service", NOON - 7200, severity="error", failures=2, reason="exit"))
    write_journal(state, event("service.up", "nginx.service", NOON - 60), event("deploy.done", "host", NOON - 30), part=2)


def test_the_journal_is_read_without_a_daemon(tmp_path: Path) -> None:
    """One line an event: local time, the beginning of its id, severity, type, subject, facts."""
    three(tmp_path)
    done = aios("events", data=tmp_path)
    assert done.code == 0
    first = done.out.splitlines()[0]
    assert first.split()[2:] == ["service.", "error", "service.down", "nginx.service", "failures=2", "reason=exit"]
    assert len(done.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "types"),
    [
        ([], ["service.down", "service.up", "deploy.done"]),
        (["--type", "service.*"], ["service.down", "service.up"]),
        (["--type", "service.up", "--type", "deploy.done"], ["service.up", "deploy.done"]),
        (["--subject", "nginx.service"], ["service.down", "service.up"]),
        (["--severity", "warning"], ["service.down"]),
        (["--since", "1h"], ["service.up", "deploy.done"]),
        (["--since", "1h", "--limit", "1"], ["deploy.done"]),
        (["--limit", "2"], ["service.up", "deploy.done"]),
        (["--limit", "0"], ["service.down", "service.up", "deploy.done"]),
        (["--since", "2026-02-24T11:59:15+00:00"], ["deploy.done"]),
    ],
)
def test_events_are_chosen(tmp_path: Path, words: list[str], types: list[str]) -> None:
    """By type, subject, least severity, time, and how many."""
    three(tmp_path)
    assert types_of(aios("events", "--json", *words, data=tmp_path).out) == types


def test_the_newest_are_found_over_days(tmp_path: Path) -> None:
    """Backwards from the newest day, and shown in order."""
    for day, hours in (("2026-02-22", 48), ("2026-02-23", 24), ("2026-02-24", 0)):
        write_journal(tmp_path, event("a.b", id_=f"{day}-1", at=NOON - hours * 3600), event("c.d", id_=f"{day}-2"), day=day)
    out = aios("events", "--json", "--limit", "3", data=tmp_path).out
    assert [json.loads(line)["event"]["id"] for line in out.splitlines()] == ["2026-02-23-2", "2026-02-24-1", "2026-02-24-2"]


def test_a_bad_line_does_not_hide_its_neighbours(tmp_path: Path) -> None:
    """What cannot be read is stepped over."""
    write_journal(tmp_path, event("a.b"), raw=b"garbage\n")
    write_journal(tmp_path, event("c.d"))
    assert types_of(aios("events", "--json", data=tmp_path).out) == ["a.b", "c.d"]


HOSTILE = "\x1b[2J\x1b]0;owned\x07 a\nb \x9b31m \u202eevil \u2028 \ud83d"


@pytest.mark.parametrize("screen", [False, True])
def test_hostile_data_never_steers_the_terminal(tmp_path: Path, screen: bool) -> None:
    """Escape sequences, line ends, direction marks: shown as escapes, for people and in JSON."""
    text = HOSTILE.encode("utf-8", "ignore").decode()
    write_journal(tmp_path, event("x.y", f"agent:{text}", message=text, deep={text: [text]}))
    for words in (["events"], ["events", "--json"]):
        out = aios(*words, data=tmp_path, screen=screen, environ={"NO_COLOR": "1"}).out
        assert out.count("\n") == 1
        assert out.rstrip("\n").isprintable()
        assert "owned" in out
    shown = json.loads(aios("events", "--json", data=tmp_path).out)["event"]
    assert shown["data"]["message"] == text


def test_colour_only_on_a_terminal_that_wants_it(tmp_path: Path) -> None:
    """NO_COLOR and dumb terminals are honoured."""
    three(tmp_path)
    assert "\033[31m" in aios("events", data=tmp_path, screen=True).out
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\033" not in aios("events", data=tmp_path, screen=True, environ=environ).out
    assert "\033" not in aios("events", data=tmp_path).out


def test_without_a_journal_it_says_where_one_would_be(tmp_path: Path) -> None:
    """A wrong --data is the usual reason."""
    done = aios("events", data=tmp_path)
    assert (done.code, done.err) == (
        1,
        f"aios: there is no journal in {tmp_path}\n  cure: name the state folder with --data; a first `aios run` makes one\n",
    )


def test_times_are_read_as_people_write_them() -> None:
    """A length back from now, a day, or a moment; without a zone it is the machine's own."""
    assert parse_moment("90m", NOON) == NOON - 5400
    assert parse_moment("2026-02-24T12:00:00Z", 0) == NOON
    assert 0 <= NOON - parse_moment("today", NOON) < 86400
    assert abs(parse_moment("2026-02-24", 0) - (NOON - 43200)) <= 14 * 3600


@pytest.mark.parametrize(
    ("words", "types"),
    [
        (["--text", "EXIT"], ["service.down"]),
        (["--where", "event.data.failures >= 2"], ["service.down"]),
        (["--where", 'event.subject == "host"'], ["deploy.done"]),
        (["--type", "*"], ["service.down", "service.up", "deploy.done"]),
        (["--on", "2026-02-24"], ["service.down", "service.up", "deploy.done"]),
        (["--on", "yesterday"], []),
        (["--between", "3h", "1h"], ["service.down"]),
        (["--between", "2026-02-24T11:58:00Z", "2026-02-24T11:59:30Z"], ["service.up"]),
        (["--reverse"], ["deploy.done", "service.up", "service.down"]),
        (["--reverse", "--limit", "1"], ["deploy.done"]),
        (["--since", "3h", "--reverse", "--limit", "2"], ["deploy.done", "service.up"]),
    ],
)
def test_events_are_chosen_by_what_they_hold_and_when(tmp_path: Path, words: list[str], types: list[str]) -> None:
    """Text, a condition over data, a day, a stretch of time; newest first if wanted."""
    three(tmp_path)
    assert types_of(aios("events", "--json", *words, data=tmp_path).out) == types


def test_events_are_counted(tmp_path: Path) -> None:
    """All, or by type, subject and hour; for people and for programs."""
    three(tmp_path)
    assert aios("events", "--count", data=tmp_path).out == "3\n"
    assert json.loads(aios("events", "--count", "--type", "service.*", "--json", data=tmp_path).out) == {"count": 2}
    by = json.loads(aios("events", "--count", "--by", "subject", "--json", data=tmp_path).out)
    assert by == {"count": 3, "by": "subject", "counts": {"nginx.service": 2, "host": 1}}
    hours = json.loads(aios("events", "--count", "--by", "hour", "--json", data=tmp_path).out)["counts"]
    assert hours == {"2026-02-24T10:00Z": 1, "2026-02-24T11:00Z": 2}
    assert "nginx.service" in aios("events", "--count", "--by", "subject", data=tmp_path).out


def test_only_the_fields_that_are_wanted(tmp_path: Path) -> None:
    """Tab-separated for `cut`, or JSON; what is missing is empty; nothing forges a column."""
    write_journal(tmp_path, event("a.b", "host", failures=2, deep={"x.y": {"z": [1]}}, text="tab\there"), event("c.d"))
    out = aios("events", "--fields", "type,data.failures,data.deep.x.y.z,data.text,position", data=tmp_path).out
    assert out.splitlines() == [
        "a.b\t2\t[1]\ttab\\there\t2026-02-24.1:0",
        "c.d\t\t\t\t2026-02-24.1:" + out.rsplit(":", 1)[1].strip(),
    ]
    first = json.loads(aios("events", "--fields", "type,data.failures", "--json", data=tmp_path).out.splitlines()[0])
    assert first == {"type": "a.b", "data.failures": 2}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--where", "event.data.failures ="], "--where:"),
        (["--where", "event.dat.x > 1"], "did you mean event.data"),
        (["--type", "*.down"], "service.*"),
        (["--since", "soon"], "is no time"),
        (["--on", "tomorrow-ish"], "is no day"),
        (["--fields", "typ"], "did you mean 'type'"),
        (["--by", "type"], "--by goes with --count"),
        (["--commit"], "--commit goes with --cursor"),
        (["--since", "1h", "--on", "today"], "either --since or --on"),
        (["--follow", "--count"], "either --count or --follow"),
        (["--cursor", "../x"], "no name for a cursor"),
    ],
)
def test_a_question_that_cannot_be_asked_says_how_to(tmp_path: Path, words: list[str], told: str) -> None:
    """Nothing is printed, the message names the cure."""
    three(tmp_path)
    done = aios("events", *words, data=tmp_path)
    assert done.out == ""
    assert done.code in (1, 2)
    assert told in done.err


def test_a_condition_that_cannot_say_is_noted(tmp_path: Path) -> None:
    """So that an empty answer is not taken for a true one."""
    three(tmp_path)
    done = aios("events", "--where", "event.data.failures > 5", data=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("note: --where could not be said of 2 events")


def test_a_question_past_what_is_kept_says_since_when_and_what_digests_count(tmp_path: Path) -> None:
    """In words on standard error, or as `gap`; and nothing of it where the question does not reach so far."""
    three(tmp_path)
    digests = str(tmp_path / "digest")
    for day, number in (("2026-01-01", 5), ("2026-01-02", 7), ("2026-02-24", 3)):
        save_digest(OsFiles(), digests, Digest(day, number + 1, {"service.down": number, "x.y": 1}, {}, ()))
    told = aios("events", "--count", "--type", "service.*", data=tmp_path)
    assert told.out == "2\n"
    assert told.err == (
        "note: the journal holds events since 2026-02-24; of 2 days from 2026-01-01 to 2026-01-02 "
        "the digests still count 12 events (aios report --date 2026-01-02)\n"
    )
    gap = json.loads(aios("events", "--count", "--since", "2026-01-02T00:00:00Z", "--json", data=tmp_path).out)["gap"]
    assert (gap["days"], gap["count"], gap["exact"], gap["kept_since"]) == (1, 8, True, "2026-02-24")
    to_midnight = ("--between", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    gap = json.loads(aios("events", "--count", *to_midnight, "--json", data=tmp_path).out)["gap"]
    assert (gap["last_day"], gap["count"], gap["exact"]) == ("2026-01-01", 6, True)
    lines = [json.loads(line) for line in aios("events", "--json", "--subject", "host", data=tmp_path).out.splitlines()]
    assert lines[0]["gap"]["exact"] is False
    assert len(lines) == 2
    for words in (["--since", "1h"], ["--limit", "1"], ["--on", "2026-02-24"]):
        assert "gap" not in aios("events", "--json", *words, data=tmp_path).out


def test_a_long_reading_shows_how_far_it_is(tmp_path: Path) -> None:
    """On a terminal, after a second, on standard error; and it is gone at the end."""

    class Passing(Clock):
        def monotonic(self) -> float:
            self.seconds += 0.7
            return self.seconds

    for day in ("2026-02-22", "2026-02-23", "2026-02-24"):
        write_journal(tmp_path, *(event("a.b", id_=f"{day}-{n}") for n in range(5)), day=day)
    screen = Screen()
    terminal = Terminal(io.StringIO(), screen, io.TextIOWrapper(io.BytesIO()), {"AIOS_DATA": str(tmp_path)}, Passing())
    assert main(["events", "--count"], terminal) == 0
    assert "reading the journal:" in screen.getvalue()
    assert screen.getvalue().endswith("\r\033[K")
    assert aios("events", "--count", data=tmp_path).err == ""


# --- cursors ----------------------------------------------------------------------------------------------------------


def ids_of(out: str) -> list[str]:
    return [json.loads(line)["event"]["id"] for line in out.splitlines()]


def test_each_consumer_reads_on_from_its_own_cursor(tmp_path: Path) -> None:
    """What was committed does not come again; what was not, does."""
    write_journal(tmp_path, *(event("a.b", id_=f"e{n}") for n in range(5)))
    read = ("events", "--json", "--cursor")
    assert ids_of(aios(*read, "mail", data=tmp_path).out) == ["e0", "e1", "e2", "e3", "e4"]
    assert ids_of(aios(*read, "mail", "--limit", "2", "--commit", data=tmp_path).out) == ["e0", "e1"]
    assert ids_of(aios(*read, "mail", "--commit", data=tmp_path).out) == ["e2", "e3", "e4"]
    assert ids_of(aios(*read, "mail", "--commit", data=tmp_path).out) == []
    assert ids_of(aios(*read, "web", data=tmp_path).out) == ["e0", "e1", "e2", "e3", "e4"]
    write_journal(tmp_path, event("c.d", id_="e5"), day="2026-02-25")
    assert ids_of(aios(*read, "mail", "--type", "a.*", "--commit", data=tmp_path).out) == []
    assert ids_of(aios(*read, "mail", data=tmp_path).out) == [], "what it did not ask for is behind it too"


def test_what_could_not_be_printed_is_not_committed(tmp_path: Path) -> None:
    """The cursor moves after the output has left us."""

    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    write_journal(tmp_path, event("a.b", id_="e0"))
    terminal = Terminal(Closed(), io.StringIO(), io.TextIOWrapper(io.BytesIO()), {"AIOS_DATA": str(tmp_path)}, Clock())
    assert main(["events", "--cursor", "mail", "--commit"], terminal) == 141
    assert ids_of(aios("events", "--json", "--cursor", "mail", data=tmp_path).out) == ["e0"]


def test_a_damaged_cursor_is_told_with_its_cure(tmp_path: Path) -> None:
    """It is never taken for one that stands at the beginning."""
    write_journal(tmp_path, event("a.b", id_="e0"))
    aios("events", "--cursor", "mail", "--commit", data=tmp_path)
    (tmp_path / "cursors" / "mail.json").write_text("{}")
    done = aios("events", "--cursor", "mail", data=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "aios journal cursors reset mail" in done.err


# --- following --------------------------------------------------------------------------------------------------------


def test_following_misses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """The stream repeats what the journal had already; each event is shown once, in order, across the end of a daemon."""
    write_journal(tmp_path, event("n.0", id_="e0"))
    first, second = event("n.1", id_="e1"), event("n.2", id_="e2")

    async def stream(args: Mapping[str, Any]) -> AsyncIterator[Any]:
        write_journal(tmp_path, first, second)  # durable before it is pushed
        lengths = [Position("2026-02-24", 1, offset) for offset in offsets(tmp_path)]
        for position, one in zip(lengths, (event("n.0", id_="e0"), first, second), strict=True):
            yield {"position": str(position), "event": plain(one)}
        await asyncio.Event().wait()

    living = Daemon(tmp_path, {}, stream)
    following = follow_events(tmp_path.as_posix(), Query(), Position("2026-02-24", 1, 0))
    assert [next(following).event.id, next(following).event.id] == ["e1", "e2"]
    living.close()
    write_journal(tmp_path, event("n.3", id_="e3"), part=2)  # what a daemon wrote while it ended
    assert next(following).event.id == "e3"
    assert ("events_follow", {"types": [], "subject": "", "severity": ""}) in living.asked


def offsets(state: Path) -> list[int]:
    lines = (state / "events" / "2026-02-24.1.jsonl").read_bytes().splitlines(keepends=True)
    return [sum(map(len, lines[:n])) for n in range(len(lines))]


@pytest.mark.parametrize(
    ("words", "types"),
    [
        ([], []),
        (["--limit", "1"], ["deploy.done"]),
        (["--since", "2026-02-24T11:30:00Z"], ["service.up", "deploy.done"]),
    ],
)
def test_following_begins_where_the_journal_ends_or_where_it_is_told(tmp_path: Path, words: list[str], types: list[str]) -> None:
    """Without --since only what is new; with it, the past first. Ctrl-C ends it quietly."""
    three(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-m", "aios.cli.main", "events", "--follow", "--json", *words],
        env={**os.environ, "AIOS_DATA": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=may_be_interrupted,
    )
    assert child.stdout is not None
    with daemon(tmp_path, {}, endless) as living:
        while not any(verb == "events_follow" for verb, _ in living.asked):
            assert child.poll() is None
        write_journal(tmp_path, event("new.one"), part=3)
    seen = types_of("".join(child.stdout.readline() for _ in range(len(types) + 1)))
    child.send_signal(2)
    out, err = child.communicate(timeout=30)
    assert (seen, out, err) == ([*types, "new.one"], "", "")
    assert child.returncode == 130


async def endless(args: Mapping[str, Any]) -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield {}


# --- emit -------------------------------------------------------------------------------------------------------------


def test_an_event_goes_through_the_daemon(tmp_path: Path) -> None:
    """Durable when the command returns; the position says where."""
    with daemon(tmp_path, {"emit": {"positions": ["2026-02-24.1:0"]}}) as living:
        done = aios("--data", str(tmp_path), "emit", "agent.error", "--subject", "agent:bot", "--data", '{"message": "ü"}')
    assert done == (0, "In the journal, at 2026-02-24.1:0.\n", "")
    assert living.asked == [
        ("emit", {"events": [{"type": "agent.error", "severity": "error", "subject": "agent:bot", "data": {"message": "ü"}}]})
    ]


def test_without_a_daemon_an_event_waits_in_the_inbox_and_it_says_so(tmp_path: Path) -> None:
    """With the time when it happened, and whole."""
    done = aios("emit", "deploy.done", "--data", '{"n": 1}', data=tmp_path)
    path = tmp_path / "inbox" / f"aios-emit-{os.getuid()}.jsonl"
    assert done == (0, "", f"No daemon runs: left in {path}; it is taken when one starts.\n")
    assert json.loads(path.read_text()) == {
        "time": "2026-02-24T12:00:00.000000Z",
        "type": "deploy.done",
        "severity": "info",
        "data": {"n": 1},
    }
    assert json.loads(aios("emit", "deploy.done", "--json", data=tmp_path).out) == {"emitted": 1, "inbox": str(path)}
    assert len(path.read_text().splitlines()) == 2


def test_without_a_state_folder_nothing_is_invented(tmp_path: Path) -> None:
    """A mistyped folder is told, not made."""
    done = aios("emit", "x.y", data=tmp_path / "none")
    assert done.code == 1
    assert "there is no such folder" in done.err
    assert not (tmp_path / "none").exists()


def test_lines_of_standard_input_are_emitted_and_bad_ones_named(tmp_path: Path) -> None:
    """The good ones go, in order; each bad one is told with its line; exit code 1."""
    lines = b"\n".join(
        [
            b'{"type": "a.b"}',
            b"",
            b"garbage",
            b'{"type": "run.opened"}',
            b'{"type": "c.d", "data": []}',
            b'{"type": "x", "data": {"t": "' + b"y" * LINE_MAX + b'"}}',
            b'{"type": "c.d", "data": {"n": 1}}',
            b'{"type": "e.f"}',
        ]
    )
    with daemon(tmp_path, {"emit": lambda args: {"positions": ["p"] * len(args["events"])}}) as living:
        done = aios("emit", "-", "--json", data=tmp_path, stdin=lines)
    assert done.code == 1
    assert json.loads(done.out)["emitted"] == 3
    assert [one["type"] for _, args in living.asked for one in args["events"]] == ["a.b", "c.d", "e.f"]
    told = done.err.splitlines()
    assert [line.split(":")[1] for line in told] == ["3", "4", "5", "6"]
    assert told[1] == "standard input:4: a type that only AIOS itself may use"


def test_a_slow_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """`tail -f | aios emit -`: each line goes when it comes."""
    with daemon(tmp_path, {"emit": {"positions": ["p"]}}) as living:
        child = subprocess.Popen(
            [sys.executable, "-m", "aios.cli.main", "emit", "-"],
            env={**os.environ, "AIOS_DATA": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert child.stdin is not None
        for n in range(3):
            child.stdin.write(b'{"type": "a.b"}\n')
            child.stdin.flush()
            while len(living.asked) <= n:
                assert child.poll() is None
        child.stdin.close()
        assert child.wait(30) == 0


def test_an_event_that_the_daemon_refuses_is_told(tmp_path: Path) -> None:
    """The daemon has the last word."""
    with daemon(tmp_path, {"emit": Refused("event 1: no", "nothing was emitted")}):
        assert aios("emit", "a.b", data=tmp_path) == (1, "", "aios: event 1: no\n  cure: nothing was emitted\n")


def test_a_question_that_finds_nothing_says_so(tmp_path: Path) -> None:
    """On standard error, with the type that was meant; a program sees that from the output."""
    write_journal(tmp_path, event("service.down"))
    done = aios("events", "--type", "service.dwon", data=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert done.err == "nothing matches: did you mean 'service.down'?\n"
    assert aios("events", "--type", "nothing.here", data=tmp_path).err == "nothing matches\n"
    assert aios("events", "--type", "nothing.here", "--json", data=tmp_path).err == ""


@pytest.mark.parametrize("words", [["--on", "2026-02-24"], ["--count"], ["--json"], ["--limit", "5", "--reverse"]])
def test_a_hole_in_the_journal_is_told_beside_the_answer(tmp_path: Path, words: list[str]) -> None:
    """A flipped bit costs its line; whoever asks hears that the answer may lack something."""
    three(tmp_path)
    path = tmp_path / "events" / "2026-02-24.1.jsonl"
    assert aios("events", *words, data=tmp_path).err == ""
    path.write_bytes(path.read_bytes().replace(b'"service.down"', b'"service.dowm"'))
    done = aios("events", *words, data=tmp_path)
    assert "the journal is damaged in one place here" in done.err
    assert "service.dow" not in done.out
