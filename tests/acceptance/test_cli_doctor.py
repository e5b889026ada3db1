"""`aios doctor`: every ill thing is found, and has a cure."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.cli import doctor
from aios.cli.doctor import Finding
from aios.disk import OsFiles
from aios.errors import Refused
from aios.journal.lock import InstanceLock
from aios.ports import ProcessId
from tests.acceptance.cli_kit import aios, daemon


def found(state: Path, *words: str, environ: dict[str, str] | None = None) -> dict[str, Finding]:
    """Findings by what they are about; the worst where there are several."""
    raw = json.loads(aios("doctor", "--json", *words, data=state, environ={"AIOS_PLAYBOOKS": str(state), **(environ or {})}).out)
    order = ["ok", "warning", "bad"]
    findings: dict[str, Finding] = {}
    for one in (Finding(**entry) for entry in raw["findings"]):
        if one.what not in findings or order.index(one.word) > order.index(findings[one.what].word):
            findings[one.what] = one
    return findings


def test_a_well_machine_is_well_and_says_what_was_looked_at(tmp_path: Path) -> None:
    """Everything that the product stands on, and no trace is left."""
    findings = found(tmp_path)
    looked = {
        "python",
        "settings",
        "playbooks",
        "state folder",
        "disk room",
        "sync",
        "daemon",
        "pidfd",
        "openat2",
        "clock",
        "systemd",
        "pressure",
    }
    assert looked <= set(findings)
    for what in ("python", "settings", "playbooks", "state folder", "sync", "pidfd", "openat2"):
        assert findings[what].word == "ok", findings[what]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "word", "said"),
    [
        ("argv = ['sh', '-c', 'x']", "ok", "are there"),
        ("argv = ['no-such-program-here']", "bad", "no-such-program-here is not there"),
        ("argv = ['./program']", "bad", "./program is no program that can be run"),
        ("argv = ['sh']\nuser = 'nobody-has-this'", "bad", "there is no user nobody-has-this"),
        ("argv = ['sh']\nfolder = '/no/such/folder'", "bad", "there is no folder /no/such/folder"),
    ],
)
def test_a_service_that_cannot_be_started_is_found(tmp_path: Path, more: str, word: str, said: str) -> None:
    """Its program, its user, its folder: before it is down for that."""
    (tmp_path / "program").write_text("no exec bit")
    place = "" if "folder" in more else f"\nfolder = '{tmp_path}'"
    (tmp_path / "aios.toml").write_text(f"[[service]]\nname = 'web'\n{more}{place}\n")
    finding = found(tmp_path, "--settings", str(tmp_path / "aios.toml"))["service web.service"]
    assert (finding.word, said in finding.said) == (word, True)
    assert bool(finding.cure) == (word == "bad")


def test_every_ill_finding_has_a_cure(tmp_path: Path) -> None:
    """Whatever this machine lacks."""
    ill = [finding for finding in found(tmp_path).values() if finding.word != "ok"]
    assert ill, "no daemon runs here, so something is"
    assert [finding for finding in ill if not finding.cure] == []


def test_for_people_it_is_one_line_and_a_cure(tmp_path: Path) -> None:
    """Exit code 1 only when something is bad."""
    done = aios("doctor", data=tmp_path, environ={"AIOS_PLAYBOOKS": str(tmp_path)})
    assert "warning  daemon: none runs\n         cure: aios run, or systemctl start aios\n" in done.out
    assert done.code == (1 if "\nbad " in done.out else 0)


def test_bad_settings_and_playbooks_are_found(tmp_path: Path) -> None:
    """With their place and cure."""
    (tmp_path / "bad.yaml").write_text("playbook: [\n")
    assert found(tmp_path)["playbook"].said.startswith(f"{tmp_path}/bad.yaml:")
    assert found(tmp_path, environ={"AIOS_SLOTSS": "3"})["settings"] == Finding(
        "settings", "bad", "AIOS_SLOTSS: no setting has this variable", "did you mean 'AIOS_SLOTS'?"
    )
    missing = found(tmp_path, environ={"AIOS_PLAYBOOKS": f"{tmp_path}/none"})["playbooks"]
    assert (missing.word, missing.said) == ("warning", f"there is no folder {tmp_path}/none")


def test_a_folder_that_is_none_or_open_to_all_is_found(tmp_path: Path) -> None:
    """What stands there decides what may be believed."""
    assert found(tmp_path / "none")["state folder"].word == "warning"
    (tmp_path / "file").write_text("")
    assert found(tmp_path / "file")["state folder"].said == f"{tmp_path}/file is no folder"
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert found(open_to_all)["state folder"].cure == f"chmod o-w {open_to_all}"


def test_a_disk_that_fails_or_is_slow_is_found(tmp_path: Path) -> None:
    """A slow sync makes each act wait; one that fails makes all acts impossible."""
    ticks = iter([0.0, 2.0])
    assert [f.word for f in doctor.check_sync(str(tmp_path), lambda: next(ticks))] == ["warning"]
    assert [f.word for f in doctor.check_sync("/proc/self", lambda: 0.0)] == ["bad"]


def test_no_room_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below it the journal may stop."""
    monkeypatch.setattr(doctor, "ROOM_MIN_MB", 10**12)
    assert found(tmp_path)["disk room"].word == "bad"


def test_a_daemon_is_found_by_its_socket_and_by_its_lock(tmp_path: Path) -> None:
    """It answers; or it holds the lock and does not; or hands does not."""
    lock = InstanceLock(OsFiles(), str(tmp_path), ProcessId(os.getpid(), 1, "boot"))
    assert found(tmp_path)["daemon"].said == f"process {os.getpid()} holds the lock and has no control socket"
    with daemon(tmp_path, {"doctor": {"hands_answer": True}}):
        findings = found(tmp_path)
        assert (findings["daemon"].said, findings["hands"].word) == (f"answers, pid {os.getpid()}", "ok")
    with daemon(tmp_path, {"doctor": {"hands_answer": False}}):
        assert found(tmp_path)["hands"].word == "bad"
    lock.release()
    with daemon(tmp_path, {"doctor": Refused("not now", "later")}):
        assert found(tmp_path)["daemon"] == Finding("daemon", "bad", "not now", "later")


@pytest.mark.parametrize(
    ("values", "words"), [((8, 100), ["warning", "warning"]), ((128, 65536), ["ok", "ok"]), ((), ["warning", "warning"])]
)
def test_low_inotify_limits_are_found(tmp_path: Path, values: tuple[int, ...], words: list[str]) -> None:
    """With the sysctl that raises them."""
    for name, value in zip(("max_user_instances", "max_user_watches"), values, strict=False):
        (tmp_path / name).write_text(f"{value}\n")
    findings = list(doctor.check_inotify(str(tmp_path)))
    assert [finding.word for finding in findings] == words
    if values and words[0] == "warning":
        assert findings[0].cure == "sysctl fs.inotify.max_user_instances=32"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bus"))
        listening.listen()
        yield str(tmp_path / "bus")


def test_systemd_and_its_bus_are_looked_for(tmp_path: Path, bus: str) -> None:
    """Absent is a warning: managed services work without. Present without a bus is bad."""
    assert [f.word for f in doctor.check_systemd(str(tmp_path / "none"))] == ["warning"]
    assert [f.word for f in doctor.check_systemd(str(tmp_path), bus)] == ["ok", "ok"]
    assert [f.word for f in doctor.check_systemd(str(tmp_path), str(tmp_path / "nobody"))] == ["ok", "bad"]
