"""Every kind of bad input, through the real front door: the message says where it stands, what is wrong, and what to do.

One table for each way in. The finer cases of each have tests of their own beside their code (`tests/unit`, `test_cli_words`);
here it is the real command in a process of its own, the real socket and the real inbox of one daemon, which outlives it all.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.control.client import follow
from tests.acceptance.house import House

DEEP = '{"a":' * 40 + "1" + "}" * 40
LINE_OF_100_MB = 100_000_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    living = House(tmp_path_factory.mktemp("bad"), {})
    yield living
    assert living.process.poll() is None, "bad input ended the daemon"
    assert living.json("status")["dead_letters"] == 0
    living.stop()


def refused(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """This exit code, these words on standard error, nothing on standard output, and no traceback."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def alone(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command where no daemon is, with a small environment of its own."""
    whole = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environ}
    argv = [sys.executable, "-P", "-m", "aios.cli.main", *words]
    return subprocess.run(argv, env=whole, cwd=folder, capture_output=True, text=True, timeout=60)


# --- command lines ----------------------------------------------------------------------------------------------------

LINES = [
    (["stauts"], 2, ["there is no command 'stauts'; did you mean 'status'?", "cure: see aios --help"]),
    (["runs", "aprove", "x"], 2, ["there is no command 'aprove'; did you mean 'approve'?", "cure: see aios runs --help"]),
    (["status", "--colour"], 2, ["aios status has no --colour", "cure: see aios status --help"]),
    (["events", "--since", "noon"], 2, ["'noon' is no time; write 1h, today,"]),
    (["runs", "approve", "x"], 3, ["no daemon", "cure: "]),
    (["--settings", "nowhere.toml", "status"], 4, ["nowhere.toml: cannot be read: No such file", "cure: name another file"]),
    (["--data", "/dev/null", "run"], 1, ["/dev/null", "cure: "]),
]


@pytest.mark.parametrize(("words", "code", "said"), LINES, ids=[" ".join(row[0]) for row in LINES])
def test_a_bad_command_line(tmp_path: Path, words: list[str], code: int, said: list[str]) -> None:
    """The nearest word, or where to read on."""
    environ = {} if "--settings" in words else {"AIOS_DATA": str(tmp_path / "state")}
    refused(alone(tmp_path, *words, **environ), code, *said)


# --- settings and variables -------------------------------------------------------------------------------------------

SETTINGS = [
    ("slot = 3\n", ["aios.toml:1:1: there is no setting 'slot'", "cure: did you mean 'slots'?"]),
    ("[host.cpu]\nhigh = 7\n", ["aios.toml:2:1: host.cpu.high: input should be less than or equal to 1", "cure: write, say"]),
    ("settle = 10\n", ["aios.toml:1:1: settle: 10 is no duration", 'cure: write, say, settle = "10s"']),
    ("[[service]]\nname = 'web'\n", ["aios.toml:1:3: 'service[1].argv' is missing", "cure: "]),
    ("[[timer]]\nname = 't'\ncron = '0 0 30 2 *'\n", ["aios.toml:3:1: timer[1].cron: '0 0 30 2 *' never comes", "cure: "]),
    ("slots = \n", ["aios.toml:1:9: is no TOML", "cure: see https://toml.io"]),
    ("a = " + "[" * 5000, ["aios.toml: is nested too deeply", "cure: "]),
]


@pytest.mark.parametrize(("text", "said"), SETTINGS, ids=[row[0][:30] for row in SETTINGS])
def test_a_bad_setting(tmp_path: Path, text: str, said: list[str]) -> None:
    """File, line, column, cure; the daemon does not start on a guess."""
    (tmp_path / "aios.toml").write_text(text)
    done = alone(tmp_path, "run", "--settings", "aios.toml", "--data", "state")
    refused(done, 4, *said)
    assert not (tmp_path / "state").exists()


VARIABLES = [
    ({"AIOS_SLOTSS": "3"}, ["AIOS_SLOTSS: no setting has this variable", "cure: did you mean 'AIOS_SLOTS'?"]),
    ({"AIOS_SLOTS": "many"}, ["AIOS_SLOTS: slots: input should be a valid integer", "cure: write, say, slots = 5"]),
    ({"AIOS_MODE_MAX": "yolo"}, ["AIOS_MODE_MAX: mode_max: input should be 'observe'", 'cure: write, say, mode_max = "auto"']),
    ({"AIOS_SETTINGS": "/nowhere/aios.toml"}, ["/nowhere/aios.toml: cannot be read", "cure: name another file"]),
]


@pytest.mark.parametrize(("environ", "said"), VARIABLES, ids=[next(iter(row[0])) for row in VARIABLES])
def test_a_bad_variable(tmp_path: Path, environ: dict[str, str], said: list[str]) -> None:
    """It is named, not a line of a file."""
    refused(alone(tmp_path, "run", "--data", "state", **environ), 4, *said)


# --- playbooks --------------------------------------------------------------------------------------------------------

GOOD = """\
playbook: web
description: Bring it back.
on:
  type: service.down
guard: {cooldown: 5m, limit: 3 in 1h}
steps:
  - id: restart
    act: restart_service
    with: {unit: "${event.subject}"}
verify:
  - service_check: {unit: "${event.subject}", hold: 10s}
"""

PLAYBOOKS = [
    (
        "act: restart_service",
        "act: restart_servce",
        ["web.yaml:8:10: error: there is no skill", "cure: did you mean 'restart_service'?"],
    ),
    ("description:", "descripton:", ["web.yaml:2:1: error: ", "cure: did you mean 'description'?"]),
    ("cooldown: 5m", "cooldown: 5", ["web.yaml:5:19: error: ", "cure: "]),
    ("${event.subject}", "${event.subjcet}", ["web.yaml:9:", "cure: "]),
    ("on:\n", "on: &a\n", ["web.yaml:3:", "cure: "]),
    ("description: Bring it back.", "description: !!python/object:os.system x", ["web.yaml:2:", "cure: "]),
    ("description: Bring it back.", "description: a\ndescription: b", ["web.yaml:3:1: ", "cure: "]),
    ("description: Bring it back.", "description: " + "[" * 100_000, ["web.yaml:2:", "cure: "]),
    ("description: Bring it back.", "description: " + "x" * 300_000, ["web.yaml", "cure: "]),
]


@pytest.mark.parametrize(("right", "wrong", "said"), PLAYBOOKS, ids=[row[1][:30] for row in PLAYBOOKS])
def test_a_bad_playbook(tmp_path: Path, right: str, wrong: str, said: list[str]) -> None:
    """File, line, column, cure; and the one beside it is used all the same."""
    assert right in GOOD
    (tmp_path / "web.yaml").write_text(GOOD.replace(right, wrong, 1))
    (tmp_path / "well.yaml").write_text(GOOD.replace("playbook: web", "playbook: well"))
    done = alone(tmp_path, "playbook", "lint", ".", AIOS_DATA=str(tmp_path / "state"))
    shown = done.stdout + done.stderr
    assert done.returncode == 4, shown
    assert "Traceback" not in shown
    assert "1 usable" in shown
    for part in said:
        assert part in shown


def test_a_playbook_that_is_not_there(tmp_path: Path) -> None:
    """A name that was mistyped is no empty folder."""
    done = alone(tmp_path, "playbook", "lint", "nowhere.yaml", AIOS_DATA=str(tmp_path / "state"))
    assert done.returncode == 4
    assert "nowhere.yaml: error: cannot be read: No such file" in done.stdout
    assert "cure: make it readable, or name another" in done.stdout


def test_a_bad_playbook_leaves_the_last_good_version_in_force(house: House) -> None:
    """A living daemon says what is wrong, with its line, and goes on with what was well."""
    file = house.folder / "books" / "web.yaml"
    file.write_text(GOOD)
    assert house.json("reload") == {"playbooks": 1, "errors": [], "waiting": {}}
    file.write_text(GOOD.replace("act: restart_service", "act: restart_servce"))
    answer = house.json("reload", code=4)
    assert answer["playbooks"] == 1
    assert [(error["path"], error["line"]) for error in answer["errors"]] == [(str(file), 8)]
    assert "web.yaml:8: there is no skill 'restart_servce'" in house.raw("reload").stderr
    file.unlink()
    house.json("reload")


# --- events -----------------------------------------------------------------------------------------------------------

EVENTS = [
    (["no type"], ["type is not a dotted name", "cure: see aios emit --help"]),
    (["run.healed"], ["a type that only AIOS itself may use", "cure: "]),
    (["agent.error", "--data", "{"], ["--data: not JSON", """write it as '{"message": "no model"}'"""]),
    (["agent.error", "--data", "[1]"], ["data is not an object", "cure: "]),
    (["agent.error", "--data", DEEP], ["--data: nested deeper than 32 levels"]),
    (["agent.error", "--data", json.dumps({"a": "x" * 70_000})], ["longer than 65536 bytes"]),
    (["agent.error", "--severity", "hihg"], ["there is no value for --severity 'hihg'"]),
    (["agent.error", "--subject", "a\x1b[2Jb"], ["subject holds a character that does not print"]),
]


@pytest.mark.parametrize(("words", "said"), EVENTS, ids=[" ".join(row[0])[:40].replace("\x1b", "ESC") for row in EVENTS])
def test_a_bad_event(house: House, words: list[str], said: list[str]) -> None:
    """It is refused on the spot, and nothing of it reaches the journal."""
    before = house.json("status")["position"]
    refused(house.raw("emit", *words), 2, *said)
    assert house.json("status")["position"] == before


def test_bad_lines_of_standard_input_are_named_and_their_neighbours_live(house: House) -> None:
    """By number; exit code 1."""
    lines = ['{"type": "a.first"}', "{", '{"type": "run.healed"}', "", '{"type": "a.last", "data": 7}', '{"type": "a.last"}']
    done = house.raw("emit", "-", "--json", stdin="\n".join(lines) + "\n")
    assert done.returncode == 1
    assert json.loads(done.stdout)["emitted"] == 2
    told = done.stderr.splitlines()
    assert [line.split(":")[1] for line in told] == ["2", "3", "5"]
    assert "a type that only AIOS itself may use" in told[1]
    assert "data is not an object" in told[2]


# --- the inbox --------------------------------------------------------------------------------------------------------

INBOX = [
    (b"not json at all\n", "not JSON"),
    (b'{"type": "run.healed"}\n', "a type that only AIOS itself may use"),
    (b'{"type": "agent.error", "data": ' + DEEP.encode() + b"}\n", "nested deeper than 32 levels"),
    (b'{"type": "agent.error", "data": {"n": 99999999999999999999}}\n', "an integer does not fit 64 bits"),
    (b'{"subject": "host"}\n', "type is missing"),
    (b'{"type": "agent.error", "data": [1]}\n', "data is not an object"),
    (b'{"type": "agent.\xff"}\n', "not JSON"),
    (b"\x00" * LINE_OF_100_MB + b"\n", "longer than 65536 bytes"),
]


@pytest.mark.parametrize("number", range(len(INBOX)), ids=[row[1] for row in INBOX])
def test_a_bad_line_in_the_inbox(house: House, number: int) -> None:
    """It ends in quarantine with its file, its offset, its length and the reason; the lines before and after it are taken."""
    raw, reason = INBOX[number]
    name = f"program{number}"
    before, after = (f'{{"type": "a.{word}", "subject": "{name}"}}\n'.encode() for word in ("before", "after"))
    items = follow(house.socket, "events_follow", {})
    with open(house.state / "inbox" / f"{name}.jsonl", "ab") as file:
        file.write(before)
        if len(raw) < LINE_OF_100_MB:
            file.write(raw)
        else:  # a hole reads as zeroes and costs no disk
            file.truncate(len(before) + LINE_OF_100_MB)
            file.seek(0, 2)
            file.write(b"\n")
        file.write(after)
    seen: dict[str, Any] = {}
    for item in items:
        event = item["event"]
        if event["subject"] == name or event["type"] == "journal.quarantined":
            seen[event["type"]] = event
        if {"a.before", "a.after", "journal.quarantined"} <= set(seen):
            break
    told = seen["journal.quarantined"]["data"]
    assert (told["file"], told["offset"], told["length"]) == (f"inbox/{name}.jsonl", len(before), len(raw)), told
    assert reason in told["reason"]


# --- control requests -------------------------------------------------------------------------------------------------

REQUESTS = [
    (b"hello\n", "the request is not JSON", '{"id": 1, "verb": "status", "args": {}}'),
    (b"[]\n", "a request is a JSON object with id, verb and args", '{"id": 1'),
    (b'{"id": 1, "verb": "status", "now": true}\n', "a request has id, verb and args, not 'now'", '{"id": 1'),
    (b'{"id": 1, "verb": 7}\n', "verb must be a word", '{"id": 1'),
    (b'{"id": 1, "verb": "selfdestruct"}\n', "the daemon knows no verb 'selfdestruct'", "version"),
    (b'{"id": 1, "verb": "approve", "args": {"run": 7}}\n', "run must be text", ""),
    (b'{"id": 1, "verb": "status", "args": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", "nested deeper than", '{"id": 1'),
    (b"x" * (2 << 20) + b"\n", "longer than 1 MiB", "send less at once"),
]


@pytest.mark.parametrize(("raw", "error", "hint"), REQUESTS, ids=[repr(row[0][:40]) for row in REQUESTS])
def test_a_bad_control_request(house: House, raw: bytes, error: str, hint: str) -> None:
    """The answer says what is wrong and what a request looks like; the next client is served."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(house.socket)
        try:
            link.sendall(raw)
        except OSError:
            pass  # it need not read to the end what is far too long
        answer = json.loads(link.makefile("rb").readline())
    assert answer["ok"] is False
    assert error in answer["error"]
    assert hint in answer["hint"]
    assert house.json("status")["pid"] == house.process.pid
