"""Command lines: every mistake is answered with what is wrong and what to write; exit codes mean what the docs say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aios import __version__
from aios.cli import exits
from aios.cli.docs import commands
from aios.cli.main import NOUNS, build_parser
from aios.errors import Refused
from tests.acceptance.cli_kit import aios, daemon, event, write_journal

BAD = [
    # words, what stands on standard error
    (["statsu"], "aios: there is no command 'statsu'; did you mean 'status'?\n  cure: see aios --help\n"),
    (["frobnicate"], "aios: there is no command 'frobnicate'; there are: run, demo, status, emit, events,"),
    (["runs", "lsit"], "aios: there is no command 'lsit'; did you mean 'list'?\n  cure: see aios runs --help\n"),
    (["status", "now"], "aios: aios status takes no 'now'\n  cure: see aios status --help\n"),
    (["status", "--jsno"], "aios: aios status has no --jsno; did you mean --json?\n  cure: see aios status --help\n"),
    (
        ["runs", "list", "--limt=3"],
        "aios: aios runs list has no --limt; did you mean --limit?\n  cure: see aios runs list --help\n",
    ),
    (["events", "--sinc", "2h"], "aios: aios events has no --sinc; did you mean --since?\n  cure: see aios events --help\n"),
    (["--data"], "aios: argument --data: expected one argument\n  cure: see aios --help\n"),
    (["events", "--severity", "bad"], "there is no value for --severity 'bad'; there are: info, warning, error, critical"),
    (["events", "--limit", "-1"], "aios: argument --limit: invalid number value: '-1'\n  cure: see aios events --help\n"),
    (["events", "--limit", "many"], "aios: argument --limit: invalid number value: 'many'\n  cure: see aios events --help\n"),
    (["events", "--since", "noon"], "aios: 'noon' is no time; write 1h, today, 2026-02-24 or 2026-02-24T08:15:00\n"),
    (["runs", "show"], "aios: the following arguments are required: run\n  cure: see aios runs show --help\n"),
    (["emit"], "aios: name a type, such as agent.error; or - for JSON lines from standard input\n"),
    (
        ["emit", "no type"],
        "aios: type is not a dotted name of at most 128 letters, digits and _ - : /\n  cure: see aios emit --help\n",
    ),
    (["emit", "run.opened"], "aios: a type that only AIOS itself may use; name one of your own, such as deploy.done\n"),
    (["emit", "x", "--data", "{"], "aios: --data: not JSON: "),
    (["emit", "x", "--data", "[1]"], "aios: data is not an object\n"),
    (["emit", "x", "--data", "{" * 5 + '"a":' * 99], "aios: --data: not JSON: "),
    (["emit", "x", "--data", '{"a":' * 40 + "1" + "}" * 40], "aios: --data: nested deeper than 32 levels; write it as"),
    (["emit", "x", "--data", '{"a":99999999999999999999}'], "aios: --data: an integer does not fit 64 bits; write it as"),
    (["emit", "x", "--subject", "a\x1bb"], "aios: subject holds a character that does not print\n"),
    (["emit", "x", "--subject", "\udcff"], "aios: cannot be written as JSON: "),
    (["emit", "x", "--severity", "hihg"], "there is no value for --severity 'hihg'; there are: info, warning, error, critical"),
    (["pause", "--for", "5"], "aios: '5' is no duration; write a number with its unit"),
    (["pause", "--for", "5m", "--until", "2027-01-01T00:00:00Z"], "aios: say either --for or --until\n"),
    (["pause", "--until", "2020-01-01T00:00:00Z"], "aios: 2020-01-01T00:00:00Z is past\n"),
    (["pause", "--until", "next-week"], "aios: 'next-week' is no time; write 18:00, tomorrow, 2026-02-24"),
    (["skill", "run", "x", "unit"], "aios: 'unit' is no parameter; write NAME=VALUE, such as unit=nginx.service\n"),
    (["skill", "run", "x", "a=1", "a=2"], "aios: 'a' is given twice\n"),
    (["report", "--date", "soon"], "aios: 'soon' is no day; write it like 2026-02-24, or today"),
    (["report", "--days", "0"], "aios: --days is a number from 1\n"),
    (["report", "--days", "3", "--date", "today"], "aios: say either --date or --days\n"),
    (["report", "--format", "pdf"], "there is no value for --format 'pdf'; there are: md, json"),
    (["completion", "csh"], "aios: there is no shell 'csh'; did you mean 'zsh'?\n"),
]


@pytest.mark.parametrize(
    ("words", "message"), BAD, ids=[" ".join(words)[:50].encode("ascii", "replace").decode() for words, _ in BAD]
)
def test_a_bad_command_line_is_answered_with_a_cure(tmp_path: Path, words: list[str], message: str) -> None:
    """Exit code 2, nothing on standard output, and never a traceback."""
    write_journal(tmp_path)
    done = aios(*words, data=tmp_path)
    assert message in done.err
    assert (done.code, done.out) == (exits.USAGE, "")
    assert "cure: " in done.err
    assert done.err.replace("\n", "").isprintable(), ascii(done.err)


def test_without_words_it_teaches(tmp_path: Path) -> None:
    """All commands, with examples; a noun alone shows its own."""
    done = aios(data=tmp_path)
    assert done.code == exits.OK
    assert all(noun in done.out for noun in NOUNS)
    assert "examples:" in done.out
    alone = aios("runs", data=tmp_path)
    assert alone.code == exits.USAGE
    assert "approve" in alone.out
    assert "usage: aios runs" in alone.out


def test_every_command_has_help_that_teaches() -> None:
    """One sentence for each command and each argument, and every command takes --json."""
    for words, parser in commands(build_parser(), ()):
        assert parser.description, words
        for action in parser._actions:
            assert action.help, (words, action.dest)
        if words[0] != "completion":
            assert any(action.dest == "json" for action in parser._actions), words


def test_version_and_help_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    """They print, and that is all."""
    assert aios("--version").code == exits.OK
    assert aios("events", "--help").code == exits.OK
    out = capsys.readouterr().out
    assert f"aios {__version__}" in out
    assert "aios events --follow" in out


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["score"],
        ["resume"],
        ["dead", "list"],
        ["runs", "approve", "3f2a91c0"],
        ["service", "list"],
        ["stop"],
    ],
)
def test_without_a_daemon_a_command_says_so(tmp_path: Path, words: list[str]) -> None:
    """Exit code 3, and how to start one."""
    done = aios(*words, data=tmp_path)
    assert done.code == exits.NO_DAEMON
    assert done.err == (
        f"aios: no daemon runs on {tmp_path}\n"
        "  cure: start one with `aios run` or `systemctl start aios`, or name its state folder with --data\n"
    )


def test_a_failure_with_json_is_json(tmp_path: Path) -> None:
    """A program reads why, on standard output."""
    done = aios("status", "--json", data=tmp_path)
    assert done.err == ""
    assert json.loads(done.out) == {
        "error": f"no daemon runs on {tmp_path}",
        "hint": "start one with `aios run` or `systemctl start aios`, or name its state folder with --data",
        "exit_code": 3,
    }


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    """Most often its name is misspelt."""
    done = aios("status", data=tmp_path / "nope")
    assert (done.code, done.err.split("\n")[0]) == (3, f"aios: no daemon runs on {tmp_path}/nope: there is no such folder")


def test_what_the_daemon_refuses_is_said_with_its_cure(tmp_path: Path) -> None:
    """Exit code 1."""
    with daemon(tmp_path, {"approve": Refused("run r1 asks nothing: it is healed", "aios runs list shows which wait")}):
        done = aios("runs", "approve", "r1", data=tmp_path)
    assert done == (exits.NO, "", "aios: run r1 asks nothing: it is healed\n  cure: aios runs list shows which wait\n")


def test_settings_that_cannot_be_used_are_told_with_their_place(tmp_path: Path) -> None:
    """Exit code 4."""
    file = tmp_path / "aios.toml"
    file.write_text("slots = 5\nsettel = '5s'\n")
    done = aios("run", "--settings", str(file), data=tmp_path)
    assert done.code == exits.INVALID
    assert done.err == (
        f"aios: {file}:2:1: there is no setting 'settel'\n    settel = '5s'\n    ^\n  cure: did you mean 'settle'?\n"
    )
    assert aios("status", "--settings", str(tmp_path / "none.toml")).code == exits.INVALID


def test_common_options_stand_before_or_after(tmp_path: Path) -> None:
    """`aios --data D status` and `aios status --data D` are the same."""
    with daemon(tmp_path, {"status": {"version": "1"}}) as living:
        assert aios("--data", str(tmp_path), "--json", "status").code == exits.OK
        assert json.loads(aios("status", "--json", "--data", str(tmp_path)).out) == {"version": "1"}
        assert len(living.asked) == 2
    assert json.loads(aios("runs", "--json", "list", "--data", str(tmp_path)).out)["hint"].startswith("name the state folder")


def test_what_is_not_ours_to_read_is_said_with_a_cure(tmp_path: Path) -> None:
    """Exit code 5."""
    from aios.cli.main import explain_failure

    code, message, cure = explain_failure(PermissionError(13, "Permission denied", "/var/lib/aios/events"))
    assert (code, message) == (exits.NOT_ALLOWED, "/var/lib/aios/events: Permission denied")
    assert "root" in cure


def test_a_bug_is_said_to_be_one(tmp_path: Path) -> None:
    """Exit code 70, and the lines that a report needs."""
    with daemon(tmp_path, {"runs": {}}):
        done = aios("runs", "list", data=tmp_path)
    assert done.code == exits.BUG
    assert "aios: a bug: KeyError: 'runs'\n  cure: please report it" in done.err
    assert "Traceback" in done.err


def test_a_quick_command_loads_nothing_heavy(tmp_path: Path) -> None:
    """`aios status` answers at once: no pydantic, no asyncio, no YAML, no CEL."""
    code = (
        "import sys; from aios.cli.main import main; code = main(['status']);"
        "heavy = {'pydantic', 'asyncio', 'yaml', 'cel_expr_python', 'structlog', 'psutil', 'aios.settings'} & set(sys.modules);"
        "sys.exit(f'{heavy} {code}' if heavy or code != 3 else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"AIOS_DATA": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    """`aios events | head`: no traceback, no message."""
    write_journal(tmp_path, *(event("x.happened", id_=f"e{n}", text="y" * 500) for n in range(2000)))
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "aios.cli.main", "events", "--limit", "0"],
        env={**os.environ, "AIOS_DATA": str(tmp_path)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    os.read(reading, 100)
    os.close(reading)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (exits.BROKEN_PIPE, "")


@pytest.mark.parametrize("words", [["events", "--help"], ["--help"]])
def test_help_is_the_same_on_every_terminal(words: list[str]) -> None:
    """No colour codes, whatever the environment asks for."""
    done = subprocess.run(
        [sys.executable, "-m", "aios.cli.main", *words],
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "\033" not in done.stdout


@pytest.mark.parametrize("words", [["events"], ["inbox", "list"], ["journal", "verify"], ["report"]])
def test_a_folder_that_is_not_ours_to_see_is_not_said_to_hold_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Exit code 5, and whom to ask: to look for the journal elsewhere would be an hour lost."""
    write_journal(tmp_path)

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("aios.journal.query.os.listdir", refuse)
    done = aios(*words, data=tmp_path)
    assert (done.code, done.out) == (exits.NOT_ALLOWED, "")
    assert "as root" in done.err
    assert "no journal" not in done.err


def test_a_day_may_be_written_without_dashes_and_is_that_day(tmp_path: Path) -> None:
    """Days are compared as text: one of another form would be before or after all that there is."""
    write_journal(tmp_path, event("service.down", "web.service"))
    dashed, plain = (aios("report", "--date", day, data=tmp_path) for day in ("2026-02-24", "20260224"))
    assert plain == dashed
    assert dashed.code == exits.OK
