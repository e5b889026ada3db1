"""`aios playbook new`: whatever it is asked for, what it writes loads, lints without a warning, and passes its own test."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import pytest

from aios.cli.main import main
from aios.cli.terminal import Terminal
from aios.playbooks.lint import lint
from aios.playbooks.load import load_many
from aios.playbooks.model import Playbook
from aios.playbooks.trial import try_playbook
from aios.skills.catalogue import load_catalogue
from tests.acceptance.cli_kit import NOON, Clock, Done, aios, event, write_journal

SKILLS = load_catalogue()


def made(folder: Path, *words: str) -> Done:
    return aios("playbook", "new", *words, "--out", str(folder), data=folder)


def sound(path: Path) -> Playbook:
    """It loads, lints and passes; the playbook."""
    loaded = load_many({str(path): path.read_text()}, SKILLS)
    assert not loaded.errors, [str(error) for error in loaded.errors]
    assert {finding.level for finding in lint(loaded, SKILLS)} <= {"info"}
    (playbook,) = loaded.playbooks
    assert playbook.tests
    assert all(try_playbook(playbook, test, SKILLS).ok for test in playbook.tests)
    return playbook


def test_a_playbook_for_a_service_restarts_it_and_proves_it(tmp_path: Path) -> None:
    """From two flags; it proposes and does not act until its author says so."""
    done = made(tmp_path, "--type", "service.down", "--subject", "nginx.service")
    assert done.code == 0, done.err
    playbook = sound(tmp_path / "nginx-down.yaml")
    assert (playbook.name, playbook.mode, playbook.types) == ("nginx-down", "suggest", ("service.down",))
    assert [step.skill for step in playbook.steps] == ["service_status", "restart_service"]
    assert [check.skill for check in playbook.verify] == ["service_check"]
    assert "aios playbook backtest" in done.out


def test_an_editor_finds_its_schema(tmp_path: Path) -> None:
    """The first line names it, and it lies beside the file; one that is there stays."""
    made(tmp_path, "--type", "service.down")
    first = next(tmp_path.glob("*.yaml")).read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=playbook.schema.json"
    schema = tmp_path / "playbook.schema.json"
    assert json.loads(schema.read_text())["title"] == "AIOS playbook"
    schema.write_text("{}")
    made(tmp_path, "other", "--type", "service.down")
    assert schema.read_text() == "{}"


@pytest.mark.parametrize(
    ("event_type", "mode"),
    list(
        itertools.product(
            ("service.down", "agent.stalled", "resource.disk_full", "resource.memory_high", "score.degraded", "shop.slow"),
            ("observe", "shadow", "suggest", "approve", "auto"),
        )
    ),
)
def test_every_type_and_mode_gives_one_that_passes(tmp_path: Path, event_type: str, mode: str) -> None:
    """Also with an act and an address, and for one that only looks."""
    made(tmp_path, "plain", "--type", event_type, "--mode", mode)
    made(tmp_path, "acting", "--type", event_type, "--mode", mode, "--restart", "shop", "--url", "http://127.0.0.1:8000/")
    made(tmp_path, "looking", "--type", event_type, "--look")
    assert sound(tmp_path / "acting.yaml").mode == mode
    assert not sound(tmp_path / "looking.yaml").acts
    sound(tmp_path / "plain.yaml")


def test_a_playbook_for_this_is_made_of_an_event(tmp_path: Path) -> None:
    """Its type, subject and data; its own test gives that event."""
    write_journal(tmp_path, event("service.down", "shop.service", NOON - 60, "abc", failures=3, reason="exit"))
    done = made(tmp_path, "--from-event", "abc")
    assert done.code == 0, done.err
    playbook = sound(tmp_path / "shop-down.yaml")
    assert playbook.match == {"subject": ["shop.service"]}
    assert playbook.tests[0]["given"]["event"]["data"] == {"failures": 3, "reason": "exit"}
    assert "the event abc" in (tmp_path / "shop-down.yaml").read_text()


def test_the_beginning_of_an_events_id_is_enough(tmp_path: Path) -> None:
    """Tables show no more of it; one that is none is told."""
    write_journal(tmp_path, event("service.down", "shop1.service", NOON - 60, "abcd-123"))
    done = made(tmp_path, "--from-event", "abcd-1")
    assert done.code == 0, done.err
    assert sound(tmp_path / "shop1-down.yaml").match == {"subject": ["shop1.service"]}
    assert "no event 'abcd-9'" in made(tmp_path, "--from-event", "abcd-9").err


@pytest.mark.parametrize("evil", ["x\n- y: 1", '"], x: ["', "${event.id}", "a b#c", "a\u2028b", "é😀", "../../etc/x", "*", "&a"])
def test_no_event_gets_out_of_its_place(tmp_path: Path, evil: str) -> None:
    """Subjects and data come from anybody: the file loads and says just that, and lies where it should."""
    write_journal(tmp_path, event("shop.odd", evil, NOON - 60, "abc", text=evil, k=evil))
    out = tmp_path / "out"
    done = aios("playbook", "new", "--from-event", "abc", "--out", str(out), data=tmp_path)
    assert done.code == 0, done.err
    (path,) = out.glob("*.yaml")
    playbook = sound(path)
    assert playbook.match == {"subject": [evil]}
    assert playbook.tests[0]["given"]["event"]["data"]["text"] == evil


@pytest.mark.parametrize(
    ("event_type", "said", "meant"),
    [
        ("service.down", "notes", "notes.service"),
        ("service.down", "db.socket", "db.socket"),
        ("service.down", "writer", "agent:writer"),
        ("agent.error", "coder", "agent:coder"),
        ("agent.error", "agent:coder", "agent:coder"),
        ("resource.disk_full", "/var", "disk:/var"),
        ("resource.memory_high", "host", "host"),
        ("shop.slow", "till", "till"),
    ],
)
def test_a_subject_is_spelt_as_events_spell_it(tmp_path: Path, event_type: str, said: str, meant: str) -> None:
    """A playbook for `notes` would wait for ever; what it answers instead is told."""
    settings = tmp_path / "aios.toml"
    settings.write_text('[[service]]\nname = "writer"\nargv = ["/bin/true"]\nkind = "agent"\n')
    words = ("playbook", "new", "--type", event_type, "--subject", said, "--look", "--out", str(tmp_path))
    done = aios(*words, data=tmp_path, environ={"AIOS_SETTINGS": str(settings)})
    assert done.code == 0, done.err
    (path,) = tmp_path.glob("*.yaml")
    assert sound(path).match == {"subject": [meant]}
    assert (f"{said} is called {meant} in events" in done.out) is (said != meant)


def test_what_it_makes_besides_is_told(tmp_path: Path) -> None:
    """A folder and a schema; the second time neither."""
    out = tmp_path / "books"
    first, second = made(out, "a", "--type", "service.down"), made(out, "b", "--type", "service.down")
    assert f"The folder {out} was not there: it is made." in first.out
    assert f"{out}/playbook.schema.json lies beside it" in first.out
    assert "schema" not in second.out.split("it loads")[1]
    assert "is made" not in second.out


def test_a_file_is_written_over_where_that_is_said(tmp_path: Path) -> None:
    """With --force, and never through a link."""
    (tmp_path / "mine.yaml").write_text("mine")
    (tmp_path / "linked.yaml").symlink_to(tmp_path / "mine.yaml")
    assert "--force" in made(tmp_path, "linked", "--type", "service.down").err
    assert made(tmp_path, "linked", "--type", "service.down", "--force").code == 0
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert not (tmp_path / "linked.yaml").is_symlink()
    sound(tmp_path / "linked.yaml")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """Neither a file nor what a link leads to."""
    (tmp_path / "mine.yaml").write_text("mine")
    (tmp_path / "linked.yaml").symlink_to(tmp_path / "mine.yaml")
    for name in ("mine", "linked"):
        done = made(tmp_path, name, "--type", "service.down")
        assert done.code == 1
        assert "is there already" in done.err
    assert (tmp_path / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "say what it answers"),
        (("--from-event", "nobody"), 1, "there is no journal"),
        (("Bad Name", "--type", "service.down"), 4, "a playbook cannot be called"),
        (("--type", "service down"), 4, ""),
        (("--type", "shop.slow", "--url", "http://x/"), 2, "--restart"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_cure(tmp_path: Path, words: tuple[str, ...], code: int, says: str) -> None:
    """And no file is left."""
    done = made(tmp_path, *words)
    assert done.code == code
    assert says in done.err
    assert not list(tmp_path.glob("*.yaml"))


class Answers(io.StringIO):
    def isatty(self) -> bool:
        return True


def asked(folder: Path, answers: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(
        ["playbook", "new", "--out", str(folder)], Terminal(out, err, Answers(answers), {"AIOS_DATA": str(folder)}, Clock())
    )
    return code, out.getvalue(), err.getvalue()


def test_a_person_is_asked_a_few_questions(tmp_path: Path) -> None:
    """Return takes what is proposed."""
    code, out, err = asked(tmp_path, "sevice.down\nyes\nnginx.service\n\nhttp://127.0.0.1/\nauto\n\n")
    assert code == 0, err
    playbook = sound(tmp_path / "nginx-down.yaml")
    assert (playbook.types, playbook.mode) == (("service.down",), "auto")
    assert [check.skill for check in playbook.verify] == ["http_check"]
    assert out.count("?") >= 6


def test_who_stops_answering_has_no_file(tmp_path: Path) -> None:
    """The end of the input is no answer."""
    code, _, err = asked(tmp_path, "service.down\n")
    assert code == 1
    assert "nothing is written" in err
    assert not list(tmp_path.glob("*.yaml"))
