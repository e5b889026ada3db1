"""A real daemon, and a machine that fails under it: no descriptors left, a disk that cannot be read, one that is gone.

It goes on by itself when the cause goes away; where it cannot, it ends with exit code 74, which systemd answers with a new start.
The minute that it waits before that is cut to a second here.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import aios.journal
from aios.errors import Refused
from aios.events.event import Stored

START_S = 60.0
DEADLINE_S = 60.0
EXIT_DISK = 74
SETTINGS = 'data = "{state}"\nplaybooks = ["{books}"]\n[host]\nenabled = false\n[systemd]\nenabled = false\n'
IMPATIENT = """
import sys
import aios.journal.thread
aios.journal.thread.GIVE_UP_S = 1.0
from aios.cli.main import main
sys.exit(main())
"""
PLAYBOOK = """\
playbook: fresh
description: nothing answers it
on: {type: nobody.says_this}
mode: observe
steps:
  - id: look
    observe: disk_usage
    with: {path: /}
"""


class House:
    """A state folder and its daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.books = folder, folder / "state", folder / "books"
        self.books.mkdir()
        self.state.mkdir()
        self.settings = folder / "aios.toml"
        self.settings.write_text(SETTINGS.format(state=self.state, books=self.books))
        self.tick = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *before: str, ready: bool = True) -> subprocess.Popen[bytes]:
        path = self.folder / f"notify{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.folder / "log", "ab") as log:
            notify.bind(str(path))
            notify.settimeout(START_S)
            argv = [*before, sys.executable, "-c", IMPATIENT, "run", "--settings", str(self.settings)]
            self.process = subprocess.Popen(argv, env={**os.environ, "NOTIFY_SOCKET": str(path)}, stdout=log, stderr=log)
            while ready and b"READY=1" not in notify.recv(4096):
                pass
        return self.process

    def write(self, name: str, number: int) -> None:
        with open(self.state / "inbox" / f"{name}.jsonl", "a", encoding="utf-8") as file:
            file.write(f'{{"type": "load.tick", "data": {{"n": {number}}}}}\n')

    def ticks(self) -> list[int]:
        return [event.data["n"] for event, _ in self.events("load.tick")]

    def events(self, kind: str) -> Sequence[Stored]:
        try:
            return list(aios.journal.read(self.state, types=[kind]))
        except Refused:
            return []

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            self.tick.wait(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.end()


def strace(*what: str) -> list[str]:
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed")
    if subprocess.run([path, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    return [path, "-f", "-qq", "-o", "/dev/null", *what]


def test_without_descriptors_it_says_so_and_goes_on_when_there_are_some(house: House) -> None:
    """EMFILE: a new inbox file cannot be opened. Nobody touches it again; it is read all the same."""
    daemon = house.start()
    house.write("old", 1)
    house.until(lambda: house.ticks() == [1])
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    used = set(os.listdir(f"/proc/{daemon.pid}/fd"))
    lowest_free = next(number for number in range(len(used) + 1) if str(number) not in used)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
    house.write("new", 2)
    house.until(lambda: house.events("journal.inbox_failed"))
    (told, *_) = house.events("journal.inbox_failed")
    assert "open files" in told.event.data["error"]
    house.write("old", 3)
    house.until(lambda: 3 in house.ticks())
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (1024, hard))
    house.until(lambda: 2 in house.ticks())
    assert sorted(house.ticks()) == [1, 2, 3]
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_a_disk_that_takes_nothing_any_more_ends_it_with_a_code_of_its_own(house: House, error: str) -> None:
    """Nothing that was acknowledged is lost, and the next start goes on: what waited in the inbox waited there."""
    daemon = house.start(*strace("-e", "trace=fdatasync", "-e", f"inject=fdatasync:error={error}:when=6+"))
    house.write("web", 0)
    house.until(lambda: daemon.poll() is not None or house.write("web", 0))
    assert daemon.returncode == EXIT_DISK, house.log()
    assert "has taken nothing" in house.log()
    lines = (house.state / "inbox" / "web.jsonl").read_bytes().count(b"\n")
    house.start()
    house.until(lambda: len(house.ticks()) == lines)


def test_a_journal_that_cannot_be_read_at_the_start_ends_it_with_a_code_of_its_own(house: House) -> None:
    daemon = house.start()
    house.write("web", 1)
    house.until(lambda: house.ticks() == [1])
    daemon.kill()
    daemon.wait(30)
    (part,) = (house.state / "events").glob("*.jsonl")
    injured = house.start(*strace("-P", str(part), "-e", "inject=pread64:error=EIO:when=1+"), ready=False)
    assert injured.wait(60) == EXIT_DISK, house.log()
    assert "Input/output error" in house.log()
    assert "Traceback" not in house.log()
    house.start()
    assert house.ticks() == [1]


@pytest.mark.root
def test_a_mount_that_vanishes_ends_it_with_a_code_of_its_own(house: House) -> None:
    """What stands on it is whole; with the mount back the next start goes on."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    disk = house.folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mount is not allowed here")
    try:
        subprocess.run(["mount", "--bind", str(disk), str(house.state)], check=True)
        daemon = house.start()
        house.write("web", 1)
        house.until(lambda: house.ticks() == [1])
        subprocess.run(["umount", "-l", str(house.state)], check=True)
        (house.books / "fresh.yaml").write_text(PLAYBOOK)  # so that it has something to say
        assert daemon.wait(60) == EXIT_DISK, house.log()
        subprocess.run(["mount", "--bind", str(disk), str(house.state)], check=True)
        house.start()
        assert house.ticks() == [1]
    finally:
        house.end()
        subprocess.run(["umount", "-l", str(house.state)], check=False, capture_output=True)
        subprocess.run(["umount", "-l", str(disk)], check=True)
