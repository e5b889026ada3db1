"""A kept service outlives who started it, and its keeper writes down how it lived and how it ended."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.errors import Permanent
from aios.hands import proc
from aios.hands.keeper import file_name, start_kept
from aios.ports import ProcessId
from tests.integration.hands_kit import Rig, call, play

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Spec:
    argv: tuple[str, ...]
    name: str = "web"
    folder: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


class Kept:
    """Starts services and ends what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "services"
        self.log = folder / "logs" / "web.log"
        self.started: list[ProcessId] = []

    def start(self, *argv: str, **more: Any) -> ProcessId:
        who = start_kept(Spec(argv, **more), str(self.folder), str(self.log), files=OsFiles(), clock=SystemClock())
        self.started.append(who)
        return who

    def life(self, name: str = "web") -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text())  # type: ignore[no-any-return]

    def ending(self) -> dict[str, Any]:
        """Waits for the keeper, by its pidfd."""
        life = self.life()
        wait_for(ProcessId(life["keeper"], life["keeper_start"], life["boot_id"]))
        return json.loads((self.folder / "web.exit").read_text())  # type: ignore[no-any-return]


def wait_for(who: ProcessId) -> None:
    import select

    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert not proc.alive(who) or poll.poll(DEADLINE_S * 1000), f"{who} did not end"
    os.close(fd)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    it = Kept(tmp_path)
    yield it
    for who in it.started:
        if proc.alive(who):
            os.kill(who.pid, signal.SIGKILL)
            wait_for(who)


def test_its_life_is_written_down_before_it_begins(kept: Kept) -> None:
    kept.start("cat", f"{kept.folder}/web.json")
    kept.ending()
    assert json.loads(kept.log.read_text()) == kept.life()


def test_who_lives_and_who_keeps_it_can_be_found(kept: Kept) -> None:
    who = kept.start("sleep", "600")
    life = kept.life()
    assert (life["pid"], life["start"], life["boot_id"]) == who
    assert proc.alive(who)
    assert proc.identity(life["keeper"]) == ProcessId(life["keeper"], life["keeper_start"], life["boot_id"])
    assert life["argv"] == ["sleep", "600"]
    assert life["log"] == str(kept.log)
    assert abs(life["started_at"] - SystemClock().now()) < 60
    stat = proc.read_stat(who.pid)
    assert stat is not None
    assert stat.session == who.pid, "it has a session of its own, so ending it ends all of it"


@pytest.mark.parametrize(("script", "status", "number"), [("exit 7", 7, 0), ("exit 0", 0, 0), ("kill -9 $$", 0, 9)])
def test_how_it_ended_is_written_down(kept: Kept, script: str, status: int, number: int) -> None:
    who = kept.start("sh", "-c", script)
    ending = kept.ending()
    assert (ending["pid"], ending["start"], ending["boot_id"]) == who
    assert (ending["status"], ending["signal"]) == (status, number)
    assert ending["at"] >= kept.life()["started_at"]


def test_a_new_life_takes_the_old_ending_away(kept: Kept) -> None:
    kept.start("true")
    kept.ending()
    kept.start("sleep", "600")
    assert not (kept.folder / "web.exit").exists()


def test_it_has_its_own_folder_environment_log_and_nothing_of_ours(kept: Kept, tmp_path: Path) -> None:
    """No descriptor of the act, no signal that is ignored, and what it says is appended to its log."""
    kept.log.parent.mkdir(parents=True)
    kept.log.write_text("before\n")
    code = (
        "import os, signal, sys; print(os.getcwd(), os.environ['COLOUR'], 'PATH' in os.environ,"
        " sorted(map(int, os.listdir('/proc/self/fd')))[:-1],"
        " signal.getsignal(signal.SIGTERM) == signal.SIG_DFL); print('bad', file=sys.stderr)"
    )
    with open(tmp_path / "ours", "w", encoding="ascii") as ours:
        os.set_inheritable(ours.fileno(), True)
        kept.start(sys.executable, "-S", "-c", code, folder=str(tmp_path), env={"COLOUR": "blue"})
    kept.ending()
    assert kept.log.read_text().splitlines() == ["before", "bad", f"{tmp_path} blue True [0, 1, 2] True"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"argv": ("/no/such/program",)}, "No such file"),
        ({"argv": ("/etc/passwd",)}, "Permission denied"),
        ({"argv": ("true",), "folder": "/no/such/folder"}, "No such file"),
        ({"argv": ("true",), "user": "no-such-user"}, "no user 'no-such-user'"),
    ],
)
def test_what_cannot_be_started_is_told_with_the_reason(kept: Kept, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(Permanent, match=says):
        kept.start(*spec.pop("argv"), **spec)
    assert kept.ending()["status"] == 127


def test_a_service_lives_on_when_its_keeper_is_killed(kept: Kept) -> None:
    """Then pid and start tell whether it lives, and no ending is written."""
    who = kept.start("sleep", "600")
    life = kept.life()
    os.kill(life["keeper"], signal.SIGKILL)
    wait_for(ProcessId(life["keeper"], life["keeper_start"], life["boot_id"]))
    assert proc.alive(who)
    os.kill(who.pid, signal.SIGKILL)
    wait_for(who)
    assert not (kept.folder / "web.exit").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_it_runs_as_its_user(kept: Kept) -> None:
    nobody = pwd.getpwnam("nobody")
    kept.start("sh", "-c", "id -u; id -g; echo $USER $HOME", user="nobody")
    kept.ending()
    assert kept.log.read_text().split() == [str(nobody.pw_uid), str(nobody.pw_gid), "nobody", nobody.pw_dir]


def test_the_kernel_may_choose_it_when_memory_runs_out(kept: Kept) -> None:
    """The daemon may be protected; what it starts is not."""
    kept.start("cat", "/proc/self/oom_score_adj")
    kept.ending()
    assert int(kept.log.read_text()) >= 0


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web", "web"),
        ("agent:coder", "agent%3Acoder"),
        ("..", "%2E."),
        (".x", "%2Ex"),
        ("a/b", "a%2Fb"),
        ("ü", "%C3%BC"),
        ("%3A", "%253A"),
    ],
)
def test_a_name_is_a_safe_file_name(name: str, file: str) -> None:
    assert file_name(name) == file


def test_a_managed_service_that_an_act_restarted_outlives_act_launcher_and_hands(tmp_path: Path) -> None:
    """Through the same fence as every act; and a second restart is another process."""
    service = {
        "name": "web",
        "kind": "service",
        "argv": ["sleep", "600"],
        "folder": "/",
        "env": {},
        "user": "",
        "needs": [],
        "autostart": True,
        "log": "",
        "stop_timeout_s": 2.0,
    }
    pids: list[int] = []

    async def story(rig: Rig) -> None:
        (rig.state_dir / "services").mkdir()
        for n in range(2):
            result = await rig.act(call(f"r{n}", "restart_service", {"unit": "web.service"}, env={"services": [service]}))
            assert result.ok, result.error
            assert result.result["state"] == "up"
            pids.append(result.result["pid"])
        await rig.hands.close()
        assert pids[0] != pids[1]
        assert proc.identity(pids[0]) is None
        assert proc.identity(pids[1]) is not None

    try:
        play(tmp_path / "state", story)
    finally:
        for pid in pids:
            if proc.identity(pid) is not None and b"sleep\x00600" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def test_nothing_is_started_when_its_life_cannot_be_written_down(kept: Kept, tmp_path: Path) -> None:
    """A service that nobody could find again must not run."""
    kept.folder.mkdir()
    (kept.folder / "web.json").mkdir()
    (kept.folder / "web.json" / "in the way").touch()
    mark = tmp_path / "mark"
    with pytest.raises(Permanent, match="web was not started"):
        kept.start("touch", str(mark))
    subprocess.run(["true"], check=True)
    assert not mark.exists()
