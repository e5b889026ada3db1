"""`aios keep`: what stands, what has changed, and a generation put back by a person, through a real daemon."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from aios.blobs.store import BlobFolder
from aios.control.client import follow
from aios.disk import OsFiles
from aios.hands.keep import keep_copy
from tests.acceptance.cli_kit import aios
from tests.acceptance.house import House


def keep_some(state: Path, file: Path, *texts: str, playbook: str = "web-down") -> None:
    """A generation of each text."""
    state.mkdir(exist_ok=True)
    params = {"files": [str(file)], "playbook": playbook, "subject": "agent:web"}
    for text in texts:
        file.write_text(text)
        assert keep_copy(params, str(state), OsFiles(), BlobFolder(OsFiles(), f"{state}/blobs")).ok


def test_copies_are_listed_newest_first_and_shown_with_what_they_hold(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    keep_some(tmp_path / "state", file, "one", "two")
    listed = aios("keep", "list", data=tmp_path / "state")
    assert listed.code == 0
    assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [
        ["agent:web", "web-down", "2"],
        ["agent:web", "web-down", "1"],
    ]
    shown = aios("keep", "show", "agent:web", "--generation", "1", data=tmp_path / "state")
    assert str(file) in shown.out
    assert aios("keep", "show", "agent:wen", data=tmp_path / "state").err.count("did you mean 'agent:web'?") == 1


def test_what_has_changed_since_is_a_difference_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    keep_some(tmp_path / "state", file, "listen 80\n")
    same = aios("keep", "diff", "agent:web", data=tmp_path / "state")
    assert (same.code, "Nothing has changed" in same.out) == (0, True)
    file.write_text("listen 81\n")
    file.chmod(0o600)
    changed = aios("keep", "diff", "agent:web", data=tmp_path / "state")
    assert changed.code == 1
    assert "-listen 80\n+listen 81\n" in changed.out
    assert "mode 0644 -> 0600" in changed.out


def test_a_copy_of_two_playbooks_is_asked_which_and_a_missing_generation_names_those_there(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    keep_some(tmp_path / "state", file, "one")
    refused = aios("keep", "show", "agent:web", "--generation", "7", data=tmp_path / "state")
    assert "there are: 1" in refused.err
    keep_some(tmp_path / "state", file, "one", playbook="other")
    refused = aios("keep", "show", "agent:web", data=tmp_path / "state")
    assert "--playbook: other, web-down" in refused.err


def test_nothing_kept_is_no_failure(tmp_path: Path) -> None:
    done = aios("keep", "list", data=tmp_path)
    assert (done.code, "no last-good copies" in done.out) == (0, True)


def test_a_person_puts_an_older_generation_back_as_an_act_with_intent_and_proof(tmp_path: Path) -> None:
    house = House(tmp_path, {})
    try:
        file = tmp_path / "conf"
        keep_some(house.state, file, "first\n", "second\n")
        file.write_text("broken\n")
        said = house.aios("keep", "restore", "agent:web", "--generation", "1")
        assert file.read_text() == "first\n"
        assert "Generation 1 stands again" in said
        told = house.aios("events", "--type", "daemon.act_intended", "--type", "daemon.act_done", "--json").splitlines()
        assert [json.loads(line)["event"]["data"]["skill"] for line in told] == ["restore_files", "restore_files"]
        assert list((house.state / "runs").glob("*/restore_files.1/manifest.json"))
        answer = house.json("keep", "restore", "agent:web", str(file))
        assert answer["ok"]
        assert file.read_text() == "second\n"
        refused = house.raw("keep", "restore", "agent:web", "/etc/hostname")
        assert refused.returncode == 1
        assert "no last-good copy of /etc/hostname" in refused.stdout
    finally:
        house.stop()


def test_a_generation_that_a_person_put_back_is_taken_back_by_the_command_that_it_names(tmp_path: Path) -> None:
    """With its proof, over a restart of the daemon, and never over somebody else's change unless that is asked for."""
    house = House(tmp_path, {})
    try:
        file = tmp_path / "conf"
        keep_some(house.state, file, "good\n")
        file.write_text("mine\n")
        file.chmod(0o640)
        said = house.aios("keep", "restore", "agent:web")
        run = said.partition("To take that back: aios runs rollback ")[2].strip()
        assert (file.read_text(), oct(file.stat().st_mode)[-3:]) == ("good\n", "644")
        house.process.kill()
        house.process.wait()
        house.start()
        (row,) = house.json("runs", "list")["runs"]
        assert (row["id"], row["playbook"], row["subject"], row["acted"]) == (run, "(by hand)", "agent:web", True)
        assert "ended" in house.aios("runs", "list")
        file.write_text("somebody else's\n")
        refused = house.aios("runs", "rollback", run[:8], code=1)
        assert f"  {file}\n" in refused
        assert f"aios runs rollback {run} --force" in refused
        file.write_text("good\n")
        assert "Taken back" in house.aios("runs", "rollback", run[:8])
        assert (file.read_text(), oct(file.stat().st_mode)[-3:]) == ("mine\n", "640")
        shown = house.aios("runs", "show", run)
        assert "ended, taken back" in shown
        assert f"{file}: as before" in shown
        assert "taken back already" in house.raw("runs", "rollback", run).stderr
        house.stop()
        (row,) = house.json("runs", "list")["runs"]
        assert (row["id"], row["subject"], row["taken_back"], bool(row["ended"])) == (run, "agent:web", True, True)
    finally:
        house.stop()


def test_a_skill_that_a_person_ran_says_how_it_is_taken_back_where_there_is_anything_to_take_back(tmp_path: Path) -> None:
    house = House(tmp_path, {})
    try:
        file = tmp_path / "conf"
        file.write_text("before\n")
        words = ("skill", "run", "write_file", f"path={file}", "content=after")
        run = house.aios(*words).partition("aios runs rollback ")[2].strip()
        assert file.read_text() == "after"
        assert "Taken back" in house.aios("runs", "rollback", run)
        assert file.read_text() == "before\n"
        assert "rollback" not in house.aios("skill", "run", "disk_usage", "path=/")
    finally:
        house.stop()


def test_no_skill_touches_the_memory_of_aios(tmp_path: Path) -> None:
    """Its journal, its copies, what tells of its runs: not by its name and not through a link; a service's log may be tidied."""
    house = House(tmp_path, {})
    try:
        (tmp_path / "link").symlink_to(house.state)
        for path in (house.state / "events" / "x", house.state / "lock", tmp_path / "link" / "blobs" / "x"):
            refused = house.raw("skill", "run", "write_file", f"path={path}", "content=x")
            assert refused.returncode == 1
            assert "protected" in refused.stdout + refused.stderr
            assert path.name == "lock" or not path.exists()
        (house.state / "logs").mkdir(exist_ok=True)
        house.aios("skill", "run", "write_file", f"path={house.state}/logs/x", "content=x")
    finally:
        house.stop()


WRITER = """\
playbook: writer
description: Writes a file, which does not help.
on: {type: bench.write}
steps:
  - id: write
    act: write_file
    with: {path: "FILE", content: "listen 81\\n"}
verify:
  - tcp_check: {port: PORT}
"""


def test_a_run_shows_what_its_act_changed_and_what_its_rollback_put_back(tmp_path: Path) -> None:
    """As text, with the hashes before, after the act and after the rollback; for programs the blobs that hold all of it."""
    file = tmp_path / "app.conf"
    file.write_text("listen 80\n")
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))  # ours, and nobody listens
    house = House(tmp_path, {"writer": WRITER.replace("FILE", str(file)).replace("PORT", str(nobody.getsockname()[1]))})
    try:
        ends = follow(house.socket, "events_follow", {"types": ["run.escalated"]})
        house.aios("emit", "bench.write", "--subject", "host")
        run = next(ends)["event"]["data"]["run"]
        shown = house.aios("runs", "show", run)
        assert "what changed (write)" in shown
        assert "what changed (rollback)" in shown
        assert "-listen 80" in shown
        assert "+listen 81" in shown
        whole = house.json("runs", "show", run)
        (line,) = whole["rolled_back"]["proof"]
        assert line["path"] == str(file)
        assert f"{file}: as before: {line['before']}; the act had left {line['after_act']}" in shown
        assert line["before"] == line["restored"] != line["after_act"]
        assert {one.get("kind") for step in whole["steps"] for one in step["evidence"]} >= {"changes", "diff", "proof"}
        assert file.read_text() == "listen 80\n"
    finally:
        nobody.close()
        house.stop()


MANY = """\
playbook: many
description: Writes many files, which does not help.
on: {type: bench.write}
steps:
  - id: write
    act: run_job
    with: {argv: [cp, -r, FOLDER.new/., FOLDER], files: [FOLDER]}
verify:
  - tcp_check: {port: PORT}
"""


def test_the_proof_names_every_file_and_the_end_of_hands_is_told(tmp_path: Path) -> None:
    """The event of a rollback has room for sixty lines; what a person reads is all of them."""
    folder, new = tmp_path / "many", tmp_path / "many.new"
    folder.mkdir()
    new.mkdir()
    for n in range(1, 101):
        (new / str(n)).write_text("bad")
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))  # ours, and nobody listens
    house = House(tmp_path, {"many": MANY.replace("FOLDER", str(folder)).replace("PORT", str(nobody.getsockname()[1]))})
    try:
        ends = follow(house.socket, "events_follow", {"types": ["run.escalated", "daemon.hands_lost"]})
        house.aios("emit", "bench.write", "--subject", "host")
        shown = house.aios("runs", "show", next(ends)["event"]["data"]["run"])
        assert all(f"{folder}/{n}: as before: absent; the act had left sha256" in shown for n in range(1, 101))
        assert list(folder.iterdir()) == []
        (hands,) = (one for one in psutil.Process(house.process.pid).children() if "aios.hands_main" in one.cmdline())
        hands.kill()
        assert next(ends)["event"]["data"]["status"] == "signal 9"
    finally:
        nobody.close()
        house.stop()


HEALER = WRITER.replace("which does not help", "which helps").replace("tcp_check: {port: PORT}", "http_check: {url: URL}")


@contextmanager
def well_where_it_says(file: Path, word: str) -> Iterator[str]:
    """The address of a server that is well as long as the file holds the word."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if word in file.read_text() else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_a_rollback_over_somebody_elses_change_is_refused_in_sight_of_it(tmp_path: Path) -> None:
    """Exit code 1, which file, what stands there now against what the act left, and the whole command that goes over it."""
    file = tmp_path / "app.conf"
    file.write_text("listen 80\n")
    with well_where_it_says(file, "81") as url:
        refuse_and_force(file, House(tmp_path, {"writer": HEALER.replace("FILE", str(file)).replace("URL", url)}))


def refuse_and_force(file: Path, house: House) -> None:
    try:
        ends = follow(house.socket, "events_follow", {"types": ["run.healed"]})
        house.aios("emit", "bench.write", "--subject", "host")
        run = next(ends)["event"]["data"]["run"]
        file.write_text("listen 82\n")
        said = house.aios("runs", "rollback", run, code=1)
        assert f"  {file}\n" in said
        assert "  -listen 81\n  +listen 82\n" in said
        assert f"aios runs rollback {run} --force" in said
        assert f"aios runs rollback {run} --force" in house.aios("report")
        assert "NOT taken back" in house.aios("runs", "list")
        shown = house.aios("runs", "show", run)
        assert "+listen 82" in shown
        assert f"aios runs rollback {run} --force" in shown
        assert "Taken back" in house.aios("runs", "rollback", run, "--force")
        assert file.read_text() == "listen 80\n"
        assert "NOT taken back" not in house.aios("runs", "list")
    finally:
        house.stop()
