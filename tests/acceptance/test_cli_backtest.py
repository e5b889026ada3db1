"""`aios playbook backtest` on the command line: what it takes, what it refuses, what its exit code says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from aios.cli.main import main
from aios.cli.terminal import Terminal
from tests.acceptance.cli_kit import NOON, Clock, Done, Screen, aios, event, write_journal

PLAYBOOK = """\
playbook: web-down
description: Start it again.
on: {type: service.down, match: {subject: [web.service]}}
steps:
  - {id: restart, act: restart_service, with: {unit: web.service}}
verify:
  - service_check: {unit: web.service, hold: 10s}
"""
NARROW = PLAYBOOK.replace("subject: [web.service]", "subject: [db.service]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state folder with one fall, and a folder of playbooks in force."""
    write_journal(tmp_path, event("service.down", "web.service", NOON - 3600, failures=1))
    books = tmp_path / "books"
    books.mkdir()
    (books / "web.yaml").write_text(PLAYBOOK)
    (tmp_path / "narrow.yaml").write_text(NARROW)
    return tmp_path


def tried(home: Path, *words: str) -> Done:
    return aios("playbook", "backtest", *words, environ={"AIOS_DATA": str(home), "AIOS_PLAYBOOKS": str(home / "books")})


def test_one_in_force_is_named_by_its_name(home: Path) -> None:
    """It ran once in the last thirty days, which is how far back it looks by itself."""
    done = tried(home, "web-down")
    assert done.code == 0, done.err
    assert "would run  1 time" in done.out
    assert "restart_service: taken to have helped" in done.out


def test_json_has_everything(home: Path) -> None:
    """Figures, runs, and what is assumed."""
    found = json.loads(tried(home, "web-down", "--json").out)
    assert found["playbooks"][0]["runs"] == 1
    assert found["runs"][0]["end"] == "assumed"
    assert found["assume"] == "well"


def test_a_time_with_no_event_says_so(home: Path) -> None:
    """Not an empty table."""
    done = tried(home, "web-down", "--on", "2026-02-20")
    assert done.code == 0
    assert "no event of a type" in done.out


def test_against_ends_with_1_when_something_changes_and_0_when_nothing_does(home: Path) -> None:
    """So that a script may ask."""
    old, new = str(home / "books/web.yaml"), str(home / "narrow.yaml")
    changed, same = tried(home, "--against", old, new), tried(home, "--against", old, old)
    assert (changed.code, same.code) == (1, 0)
    assert "goes" in changed.out
    assert "Nothing changes." in same.out


def test_a_folder_is_tried_whole(home: Path) -> None:
    """Every playbook right in it."""
    (home / "books" / "other.yaml").write_text(NARROW.replace("web-down", "other"))
    found = json.loads(tried(home, str(home / "books"), "--json").out)
    assert [one["name"] for one in found["playbooks"]] == ["other", "web-down"]


def test_a_copy_beside_the_one_in_force_takes_its_place(home: Path) -> None:
    """A second version of the same name, also in the same folder, is tried instead of the first."""
    (home / "books" / "web-new.yaml").write_text(NARROW)
    found = json.loads(tried(home, str(home / "books" / "web-new.yaml"), "--json").out)
    assert [(one["name"], one["runs"]) for one in found["playbooks"]] == [("web-down", 0)]
    assert found["company"] == []


def test_one_that_cannot_be_used_is_told_with_its_line(home: Path) -> None:
    """Exit code 4, as with lint."""
    (home / "bad.yaml").write_text(PLAYBOOK.replace("restart_service", "restart_servce"))
    done = tried(home, str(home / "bad.yaml"))
    assert done.code == 4
    assert "did you mean 'restart_service'?" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("web-dwn",), 1, "did you mean 'web-down'?"),
        ((), 2, "name playbooks"),
        (("web-down", "--since", "1h", "--on", "today"), 2, "either --since or --on"),
        (("web-down", "--since", "soon"), 2, "is no time"),
        (("web-down", "--within", "5"), 2, "is no duration"),
        (("web-down", "--against", "a", "b"), 2, "name playbooks, or two"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_cure(home: Path, words: tuple[str, ...], code: int, says: str) -> None:
    """In a sentence."""
    done = tried(home, *words)
    assert done.code == code
    assert says in done.err


def test_without_a_journal_it_says_where_it_looked(tmp_path: Path) -> None:
    """And how to name another."""
    (tmp_path / "web.yaml").write_text(PLAYBOOK)
    done = aios("playbook", "backtest", str(tmp_path / "web.yaml"), environ={"AIOS_DATA": str(tmp_path), "AIOS_PLAYBOOKS": ""})
    assert done.code == 1
    assert "there is no journal" in done.err


def test_the_page_is_written_where_it_is_asked_for(home: Path) -> None:
    """One file, with the plot in it."""
    done = tried(home, "web-down", "--html", str(home / "page.html"))
    assert done.code == 0
    assert "<svg" in (home / "page.html").read_text()


class Ticking(Clock):
    """A second passes at each question."""

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


def test_a_terminal_gets_colours_and_a_bar_and_a_pipe_neither(home: Path) -> None:
    """The bar is on the error stream, and gone at the end."""
    plain = tried(home, "web-down")
    assert "\033" not in plain.out
    assert plain.err == ""
    out, err = Screen(), Screen()
    environ = {"AIOS_DATA": str(home), "AIOS_PLAYBOOKS": str(home / "books")}
    assert main(["playbook", "backtest", "web-down"], Terminal(out, err, io.StringIO(), environ, Ticking())) == 0
    assert "\033[32mruns" in out.getvalue()
    assert "█" in err.getvalue()
    assert err.getvalue().endswith("\r")


def test_a_subject_cannot_steer_the_terminal(home: Path) -> None:
    """Events come from anybody."""
    (home / "books" / "all.yaml").write_text(PLAYBOOK.replace("web-down", "all").replace(", match: {subject: [web.service]}", ""))
    write_journal(home, event("service.down", "x\x1b]0;owned\x07.service", NOON - 60, failures=1))
    assert "\x1b" not in tried(home, "all").out
