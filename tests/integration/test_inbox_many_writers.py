"""Eight programs append to eight inbox files of a real daemon; they are killed at random, and their files rotated meanwhile.

What stands on the disk afterwards, in whole lines, under whatever name a rotation left it, is in the journal: each line once.
Four seconds of it in the suite; a whole minute is

    WRITERS_SECONDS=60 .venv/bin/pytest --timeout 600 tests/integration/test_inbox_many_writers.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path

import aios.journal

WRITERS = 8
SECONDS = float(os.environ.get("WRITERS_SECONDS", "4"))
HEARD_WITHIN_S = 1.5
DEADLINE_S = 30.0 + SECONDS
SETTINGS = 'data = "{state}"\nplaybooks = ["{playbooks}"]\n[host]\nenabled = false\n[systemd]\nenabled = false\n'
WRITER = """
import json, os, random, sys
path, name, life = sys.argv[1], sys.argv[2], sys.argv[3]
chance = random.Random(name + life)
def opened():
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\\n":
        os.write(fd, b"\\n")  # what the life before left half
    return fd
fd, n = opened(), 0
while True:
    data = {"who": name + "/" + life, "n": n, "pad": "x" * chance.randrange(200)}
    line = json.dumps({"type": "load.tick", "data": data}).encode()
    if chance.random() < 0.1:
        cut = chance.randrange(len(line))
        os.write(fd, line[:cut])
        os.write(fd, line[cut:] + b"\\n")
    else:
        os.write(fd, line + b"\\n")
    n += 1
    if n % 5 == 0:
        os.sched_yield()
    if n % 20 == 0:
        sys.stdin.read(1)  # paced by who started us
    if n % 50 == 0:
        os.close(fd)
        fd = opened()
"""


class House:
    """A daemon, and the programs that write to it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.inbox = self.state / "inbox"
        self.log = open(folder / "log", "ab")  # noqa: SIM115 - the children have it
        (folder / "playbooks").mkdir()
        self.settings = folder / "aios.toml"
        self.settings.write_text(SETTINGS.format(state=self.state, playbooks=folder / "playbooks"))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.settimeout(60)
        self.programs: dict[int, subprocess.Popen[bytes]] = {}
        self.lives: Counter[int] = Counter()
        self.tick = threading.Event()

    def start_daemon(self) -> subprocess.Popen[bytes]:
        env = {**os.environ, "NOTIFY_SOCKET": self.notify.getsockname()}
        argv = [sys.executable, "-m", "aios.cli.main", "run", "--settings", str(self.settings)]
        child = subprocess.Popen(argv, env=env, stdout=self.log, stderr=self.log)
        while b"READY=1" not in self.notify.recv(4096):
            pass
        return child

    def start_program(self, number: int) -> None:
        self.lives[number] += 1
        argv = [sys.executable, "-c", WRITER, str(self.inbox / f"w{number}.jsonl"), f"w{number}", str(self.lives[number])]
        self.programs[number] = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=self.log)

    def pace(self) -> None:
        for program in self.programs.values():
            assert program.stdin is not None
            try:
                program.stdin.write(b".")
                program.stdin.flush()
            except BrokenPipeError:
                pass  # it was killed just now

    def until(self, holds: Callable[[], bool]) -> None:
        """Or a minute is over: what does not hold then is told by the laws."""
        deadline = time.monotonic() + DEADLINE_S
        while not holds() and time.monotonic() < deadline:
            self.pace()
            self.tick.wait(0.05)

    def kill_program(self, number: int) -> None:
        program = self.programs.pop(number)
        program.kill()
        program.wait(10)

    def on_disk(self) -> Counter[tuple[str, int]]:
        """Every whole line, under whatever name."""
        found: Counter[tuple[str, int]] = Counter()
        for path in self.inbox.iterdir():
            for line in path.read_bytes().split(b"\n")[:-1]:
                try:
                    data = json.loads(line)["data"]
                except ValueError:
                    continue  # half a line of a program that was killed
                found[data["who"], data["n"]] += 1
        return found

    def in_journal(self) -> Counter[tuple[str, int]]:
        events = aios.journal.read(self.state, types=["load.tick"])
        return Counter((event.data["who"], event.data["n"]) for event, _ in events)


def test_every_whole_line_is_in_the_journal_once(tmp_path: Path) -> None:
    """Over rotations to foreign names and to names of the inbox, and over one end of the daemon.

    Rotations begin when the daemon has heard of each file, and take a file out of the inbox's names only when it has stood there
    for a while: one that is created and taken away at once may never be heard of, and docs/journal.md says so.
    """
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    since: dict[int, float] = {}
    house = House(tmp_path)
    daemon = house.start_daemon()
    try:
        for number in range(WRITERS):
            house.start_program(number)
        house.until(lambda: {who.partition("/")[0] for who, _ in house.in_journal()} == {f"w{n}" for n in range(WRITERS)})
        end, half, rotated = time.monotonic() + SECONDS, time.monotonic() + SECONDS / 2, 0
        while time.monotonic() < end:
            house.pace()
            number = chance.randrange(WRITERS)
            if chance.random() < 0.15:
                house.kill_program(number)
                house.start_program(number)
            path = house.inbox / f"w{number}.jsonl"
            if chance.random() < 0.3 and path.exists():
                rotated += 1
                stood_s = time.monotonic() - since.get(number, 0.0)
                since[number] = time.monotonic()
                foreign = chance.random() < 0.5 and stood_s > HEARD_WITHIN_S
                path.rename(house.inbox / (f"w{number}.jsonl.{rotated}" if foreign else f"w{number}-{rotated}.jsonl"))
            if time.monotonic() > half:
                half = inf
                daemon.kill()
                daemon.wait(10)
                daemon = house.start_daemon()
                since = dict.fromkeys(range(WRITERS), time.monotonic())
            house.tick.wait(0.02)
        for number in list(house.programs):
            house.kill_program(number)
        wanted = house.on_disk()
        assert max(wanted.values()) == 1
        house.until(lambda: house.in_journal().total() >= len(wanted))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        found = house.in_journal()
        assert wanted - found == Counter(), f"seed {seed}: lost"
        assert found - wanted == Counter(), f"seed {seed}: taken twice, or never written"
        assert rotated > 10
        assert len(wanted) > 1000
    finally:
        for number in list(house.programs):
            house.kill_program(number)
        daemon.kill()
        daemon.wait(10)
        house.notify.close()
        house.log.close()


def test_a_source_over_its_limit_goes_on_by_itself(tmp_path: Path) -> None:
    """A real daemon wakes when the source may bring more, though nothing is written any more; another source does not wait."""
    house = House(tmp_path)
    with open(house.settings, "a", encoding="utf-8") as file:
        file.write("[inbox]\nlines_per_s = 100\n")
    daemon = house.start_daemon()
    try:
        lines = [json.dumps({"type": "load.tick", "data": {"who": "loud", "n": n}}) + "\n" for n in range(1120)]
        (house.inbox / "loud.jsonl").write_text("".join(lines))
        house.until(lambda: house.in_journal().total() >= 1000)
        (house.inbox / "quiet.jsonl").write_text('{"type": "load.tick", "data": {"who": "quiet", "n": 0}}\n')
        house.until(lambda: ("quiet", 0) in house.in_journal())
        assert house.in_journal()["loud", 1119] == 0
        house.until(lambda: house.in_journal().total() >= 1121)
        assert house.in_journal().total() == 1121
        (told,) = aios.journal.read(house.state, types=["journal.inbox_slowed"])
        assert (told.event.data["source"], told.event.data["lines_per_s"]) == ("inbox/loud", 100)
    finally:
        daemon.kill()
        daemon.wait(10)
        house.notify.close()
        house.log.close()
