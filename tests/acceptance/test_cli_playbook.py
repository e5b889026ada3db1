"""`aios playbook` and `aios skill`: checking, trying and looking up need no daemon and touch nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import pytest

from aios.cli import exits
from tests.acceptance.cli_kit import aios, daemon, may_be_interrupted

GOOD = """\
playbook: agent-silent
description: Tell a person that an agent is silent.
on:
  type: agent.stalled
mode: observe
steps:
  - id: look
    observe: disk_usage
    with: {path: /}
tests:
  - name: it looks
    given: {event: {type: agent.stalled, subject: "agent:bot", data: {since_s: 60.0}}}
    stub: {disk_usage: {used: 0.5}}
    expect: {outcome: observed, steps: [look]}
"""
BROKEN = GOOD.replace("observe: disk_usage", "observe: disk_usgae").replace("agent-silent", "broken")


@pytest.fixture
def books(tmp_path: Path) -> Path:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    return folder


def at(folder: Path) -> dict[str, str]:
    return {"AIOS_PLAYBOOKS": str(folder), "AIOS_DATA": str(folder.parent)}


def test_playbooks_are_listed_from_the_folders_without_a_daemon(books: Path) -> None:
    """Name, what it answers, its mode; what cannot be used is told beside it."""
    (books / "broken.yaml").write_text(BROKEN)
    done = aios("playbook", "list", environ=at(books))
    assert done.code == 0
    row = done.out.splitlines()[1].split()
    assert row[:4] == ["agent-silent", "agent.stalled", "observe", "on"]
    assert "broken.yaml:8:" in done.err


def test_playbooks_are_listed_as_the_daemon_has_them(books: Path) -> None:
    """A person may have switched one off."""
    listed = {"playbooks": [{"name": "x", "types": ["a.b"], "mode": "auto", "enabled": False, "description": "d"}]}
    with daemon(books.parent, {"playbooks": listed}):
        assert aios("playbook", "list", environ=at(books)).out.splitlines()[1].split() == ["x", "a.b", "auto", "off", "d"]
        assert json.loads(aios("playbook", "list", "--json", environ=at(books)).out) == {**listed, "waiting": {}}


def test_a_playbook_is_shown_as_it_is_written(books: Path) -> None:
    """With the file it stands in; a wrong name gets the near one."""
    out = aios("playbook", "show", "agent-silent", environ={**at(books), "AIOS_MODE_MAX": "auto"}).out
    assert out == f"# {books}/good.yaml\n{GOOD}"
    assert json.loads(aios("playbook", "show", "agent-silent", "--json", environ=at(books)).out)["text"] == GOOD
    done = aios("playbook", "show", "agent-slient", environ=at(books))
    assert (done.code, done.err) == (
        1,
        "aios: there is no playbook 'agent-slient'\n  cure: did you mean 'agent-silent'?\n",
    )


def test_a_playbook_is_shown_with_the_mode_that_the_settings_leave_it(books: Path) -> None:
    """What is in force, and why it is not what the file says."""
    (books / "good.yaml").write_text(GOOD.replace("mode: observe", "mode: auto") + "mode: auto\n" * ("mode:" not in GOOD))
    out = aios("playbook", "show", "agent-silent", environ={**at(books), "AIOS_MODE_MAX": "shadow"}).out
    assert "# mode in force: shadow (playbook says auto, lowered by mode_max)" in out


def test_a_broken_file_does_not_hide_what_is_in_force(books: Path) -> None:
    """The daemon keeps the last good version; it is what is shown, and the broken file is named."""
    (books / "broken.yaml").write_text(BROKEN)
    path = str(books / "broken.yaml")
    row = {"name": "broken", "types": ["a.b"], "mode": "auto", "mode_in_force": "auto", "path": path, "broken": True}
    waiting = {str(books): [f"{books}/{n}.yaml" for n in range(7)]}
    script = {
        "playbook": {**row, "text": "the good text"},
        "playbooks": {"playbooks": [row, {**row, "name": "other", "broken": False, "waits": True}], "errors": [f"{path}:8: no"],
                      "waiting": waiting},
    }  # fmt: skip
    with daemon(books.parent, script):
        done = aios("playbook", "show", "broken", environ=at(books))
        listed = aios("playbook", "list", environ=at(books))
    assert (done.code, done.out) == (0, f"# {path}\nthe good text\n")
    assert f"{path} cannot be used as it is now" in done.err
    assert "on, last good version" in listed.out
    assert "on, its change waits" in listed.out
    assert f"{books} stays in force as it was, until every file in it can be used." in listed.err
    assert "The changes of 0.yaml, 1.yaml, 2.yaml, 3.yaml, 4.yaml and 2 more wait for that." in listed.err
    assert f"{path}:8: no" in listed.err
    without = aios("playbook", "show", "broken", environ=at(books))
    assert (without.code, f"cure: aios playbook lint {path}" in without.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "cure"), [("agent", "did you mean 'agent-silent'?"), ("zzz", "`aios playbook list` shows them")]
)
def test_a_name_that_no_playbook_has_is_answered_with_one_that_has(books: Path, name: str, cure: str) -> None:
    """The near one, or where all of them stand."""
    done = aios("playbook", "show", name, environ=at(books))
    assert done.err == f"aios: there is no playbook {name!r}\n  cure: {cure}\n"


def test_lint_names_file_line_column_and_cure(books: Path) -> None:
    """A mistake is exit code 4, a warning 1, remarks 0."""
    assert aios("playbook", "lint", environ=at(books)).code == exits.OK
    (books / "broken.yaml").write_text(BROKEN)
    done = aios("playbook", "lint", str(books / "broken.yaml"), environ=at(books))
    assert done.code == exits.INVALID
    assert f"{books}/broken.yaml:8:14: error: " in done.out
    assert "did you mean 'disk_usage'" in done.out
    assert "    observe: disk_usgae\n" in done.out
    findings = json.loads(aios("playbook", "lint", "--json", environ=at(books)).out)
    assert findings["usable"] == ["agent-silent"]
    assert {(f["level"], f["line"]) for f in findings["findings"] if f["level"] == "error"} == {("error", 8)}


def test_files_that_cannot_be_read_are_findings(books: Path, tmp_path: Path) -> None:
    """A missing file, one that is no text, one that is far too large: each named, none a bug."""
    (books / "binary.yaml").write_bytes(b"\xff\xfe")
    (books / "large.yaml").write_bytes(b"#" * 300_000)
    for path, message in (("none.yaml", "cannot be read: No such file"), ("binary.yaml", "is not UTF-8"), ("large.yaml", "256")):
        done = aios("playbook", "lint", str(books / path), environ=at(books))
        assert done.code == exits.INVALID
        assert path in done.out
        assert message in done.out


def test_a_pipe_in_a_folder_is_told_and_not_waited_for(books: Path) -> None:
    """Whoever names one (`<(…)` of a shell) has it read."""
    os.mkfifo(books / "pipe.yaml")
    done = aios("playbook", "lint", environ=at(books))
    assert done.code == exits.INVALID
    assert "pipe.yaml: error: cannot be read: it is no file" in done.out
    assert "1 usable" in done.out
    reading, writing = os.pipe()
    with open(writing, "w") as file:
        file.write(GOOD)
    assert "1 usable; 0 errors" in aios("playbook", "lint", f"/dev/fd/{reading}", environ=at(books)).out
    os.close(reading)


def test_playbooks_are_tried_with_their_own_tests(books: Path) -> None:
    """Passed, failed with the difference and its line, and those that have none."""
    done = aios("playbook", "test", environ=at(books))
    assert (done.code, done.out.splitlines()) == (0, ["ok   agent-silent: it looks", "1 passed, 0 failed, 0 mistakes"])
    (books / "good.yaml").write_text(GOOD.replace("outcome: observed", "outcome: healed"))
    failed = aios("playbook", "test", environ=at(books))
    assert failed.code == exits.NO
    assert "BAD  agent-silent: it looks" in failed.out
    assert f"     {books}/good.yaml:11\n  E  outcome is observed, expected healed" in failed.out
    (books / "good.yaml").write_text(GOOD[: GOOD.index("tests:")])
    assert "agent-silent has no tests" in aios("playbook", "test", environ=at(books)).out
    (books / "good.yaml").write_text(BROKEN)
    assert aios("playbook", "test", environ=at(books)).code == exits.INVALID


def test_what_can_be_meant_in_one_way_alone_is_mended_in_the_file(books: Path) -> None:
    """Every edit is shown; what is left is told; the rest of the file, its end of lines and its mode are as they were."""
    wrong = GOOD.replace("on:\n  type: agent.stalled", "on: agent.stalled  # says the probe").replace(
        "mode: observe", "enabled: yes"
    )
    wrong = wrong.replace("with: {path: /}", 'if: "${event.data.since_s > 9.0}"\n    with: {path: /}')
    path = books / "good.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + wrong.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    assert "--fix mends 3 of them" in aios("playbook", "lint", environ=at(books)).out
    done = aios("playbook", "lint", "--fix", environ=at(books))
    assert done.code == 0, done.out
    assert "  - on: agent.stalled  # says the probe" in done.out
    assert "  + on: {type: agent.stalled}  # says the probe" in done.out
    mended = wrong.replace("on: agent.stalled", "on: {type: agent.stalled}").replace("enabled: yes", "enabled: true")
    mended = mended.replace('"${event.data.since_s > 9.0}"', "event.data.since_s > 9.0")
    assert path.read_bytes() == b"\xef\xbb\xbf" + mended.replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    again = json.loads(aios("playbook", "lint", "--fix", "--json", environ=at(books)).out)
    assert (again["usable"], again["fixed"]) == (["agent-silent"], [])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("if: ${event.data.since_s > 9.0}", "if: event.data.since_s > 9.0"),
        ("if: ${event.data.since_s > 9.0}   # long", "if: event.data.since_s > 9.0   # long"),
        ("if: \"${!(event.severity == 'error')}\"", "if: '!(event.severity == ''error'')'"),
        ("if: \"${event.severity in ['error', 'critical']}\"", "if: 'event.severity in [''error'', ''critical'']'"),
        ('if: "${has(event.data.since_s) ? true : false}"', "if: 'has(event.data.since_s) ? true : false'"),
        ('if: "${event.data.since_s > 9.0} && ${score < 0.5}"', ""),
    ],
)
def test_an_expression_is_mended_so_that_yaml_takes_it(books: Path, wrong: str, right: str) -> None:
    """Bare where it may stand so, else in quotes; two of them in one text are left to a person."""
    (books / "good.yaml").write_text(GOOD.replace("with: {path: /}", f"{wrong}\n    with: {{path: /}}"))
    done = aios("playbook", "lint", "--fix", environ=at(books))
    assert (done.code == 0) is bool(right), done.out
    assert f"    {right or wrong}\n" in (books / "good.yaml").read_text()


def test_a_value_without_its_list_is_mended_and_a_guess_is_not(books: Path) -> None:
    """A misspelt word may be meant in many ways: it is left to a person."""
    wrong = GOOD.replace("  type: agent.stalled\n", "  type: agent.stalled\n  match: {subject: agent:bot, severity: error}\n")
    (books / "good.yaml").write_text(wrong.replace("mode: observe", "moode: observe"))
    done = aios("playbook", "lint", "--fix", environ=at(books))
    assert done.code == exits.INVALID
    assert 'match: {subject: ["agent:bot"], severity: ["error"]}' in (books / "good.yaml").read_text()
    assert "moode" in (books / "good.yaml").read_text()


def test_steps_that_differ_are_shown_line_by_line(books: Path) -> None:
    """What came unexpected has a plus, what did not come a minus."""
    (books / "good.yaml").write_text(GOOD.replace("steps: [look]", "steps: []"))
    assert "  +    look" in aios("playbook", "test", environ=at(books)).out.splitlines()
    off = GOOD.replace("    observe: disk_usage", "    if: event.data.since_s > 99.0\n    observe: disk_usage")
    (books / "good.yaml").write_text(off)
    assert "  -    look" in aios("playbook", "test", environ=at(books)).out.splitlines()


def test_results_are_written_for_a_ci_server(books: Path) -> None:
    """JUnit's XML: a suite a file, failures with the difference, mistakes as errors; hostile names break nothing."""
    (books / "worse.yaml").write_text(GOOD.replace("agent-silent", "worse").replace("steps: [look]", "steps: []"))
    (books / "worse.yaml").write_text((books / "worse.yaml").read_text().replace("it looks", '"a <b> & \\e \\uffff"'))
    (books / "broken.yaml").write_text(BROKEN)
    junit = books.parent / "junit.xml"
    assert aios("playbook", "test", "--junit", str(junit), environ=at(books)).code == exits.INVALID
    suites = ElementTree.parse(junit).getroot()
    counts = {Path(s.attrib["name"]).name: (s.attrib["tests"], s.attrib["failures"], s.attrib["errors"]) for s in suites}
    assert counts == {"good.yaml": ("1", "0", "0"), "worse.yaml": ("1", "1", "0"), "broken.yaml": ("1", "0", "1")}
    (failure,) = suites.iter("failure")
    assert "+   look" in (failure.text or "")
    assert (failure.text or "").splitlines()[0].endswith("worse.yaml:11")
    assert (suites.attrib["tests"], suites.attrib["failures"], suites.attrib["errors"]) == ("3", "1", "1")
    known = {"testsuites": {"name", "tests", "failures", "errors"}, "testsuite": {"name", "tests", "failures", "errors"}}
    known |= {"testcase": {"name", "classname"}, "failure": {"type", "message"}, "error": {"type", "message"}}
    assert all(set(one.attrib) == known[one.tag] for one in suites.iter()), "what strict readers know (Jenkins' xUnit schema)"
    assert [case.attrib["name"] for case in suites.iter("testcase")][1].startswith("a <b> & ?")


def test_watching_runs_them_again_when_a_file_changes(books: Path) -> None:
    """Until Ctrl-C; an editor's half-written file is told, and the next save is tried again."""
    argv = [sys.executable, "-m", "aios.cli.main", "playbook", "test", "--watch"]
    child = subprocess.Popen(
        argv, env={**os.environ, **at(books)}, stdout=subprocess.PIPE, text=True, preexec_fn=may_be_interrupted
    )
    assert child.stdout is not None
    try:
        assert _until(child.stdout, "waiting for a change") == ["ok   agent-silent: it looks", "1 passed, 0 failed, 0 mistakes"]
        (books / "good.yaml").write_text(GOOD.replace("outcome: observed", "outcome: healed"))
        assert "1 failed" in _until(child.stdout, "waiting for a change")[-1]
        (books / "new.yaml").write_text(GOOD.replace("agent-silent", "new").replace("outcome: observed", "outcome: healed"))
        assert "2 failed" in _until(child.stdout, "waiting for a change")[-1]
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == exits.INTERRUPTED


def _until(lines: IO[str], last: str) -> list[str]:
    """What is printed before this line."""
    seen = []
    for line in lines:
        if line.startswith(last):
            return seen
        seen.append(line.rstrip("\n"))
    raise AssertionError(f"it ended after {seen}")


def test_the_schema_is_for_editors(books: Path) -> None:
    """JSON Schema, with every installed skill."""
    made = json.loads(aios("playbook", "schema", environ=at(books)).out)
    assert made["$schema"].startswith("https://json-schema.org/")
    assert "skill.restart_service" in made["$defs"]


# --- skills -----------------------------------------------------------------------------------------------------------


def test_skills_are_listed_by_what_they_do() -> None:
    """What looks, what acts, what verifies."""
    rows = [line.split()[:2] for line in aios("skill", "list").out.splitlines()[1:]]
    kinds = [kind for _, kind in rows]
    assert kinds == sorted(kinds, key=["observe", "act", "verify"].index)
    assert ["restart_service", "act"] in rows
    assert {skill["name"] for skill in json.loads(aios("skill", "list", "--json").out)["skills"]} == {name for name, _ in rows}


def test_every_skill_is_shown_with_its_parameters() -> None:
    """Name, type, default, and what a crash means for it."""
    for line in aios("skill", "list").out.splitlines()[1:]:
        name = line.split()[0]
        done = aios("skill", "show", name)
        assert done.code == 0
        assert name in done.out
        assert "after a crash" in done.out
        assert json.loads(aios("skill", "show", name, "--json").out)["schema"]


def test_an_unknown_skill_gets_the_near_one() -> None:
    """With a cure."""
    assert aios("skill", "show", "restart_servcie") == (
        1,
        "",
        "aios: there is no skill 'restart_servcie'\n  cure: did you mean 'restart_service'?\n",
    )
