"""The guide for the first playbook, typed line by line, against a real daemon: it must do what the page says it does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import blocks

DEADLINE_S = 60.0


class Typist:
    """Types the page's blocks in a folder of its own, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "AIOS_SETTINGS": str(folder / "aios.toml"),
            "HOME": str(folder.parent),
            "LANG": "C.UTF-8",
        }
        self.left = [block.text for block in blocks("docs/guide.md", "sh")]
        self.daemon: subprocess.Popen[bytes] | None = None

    def text(self) -> str:
        """The next block, in this folder."""
        return self.left.pop(0).replace("/tmp/hello", str(self.folder)).replace("8099", str(self.port))

    def type(self) -> str:
        """Type the next block; what it prints."""
        cwd = self.folder if self.folder.exists() else self.folder.parent
        done = subprocess.run(["bash", "-euc", self.text()], cwd=cwd, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.args[2]}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """The block for the second terminal."""
        with open(self.folder.parent / "log", "wb") as log:
            argv = ["bash", "-euc", self.text().replace("aios run", "exec aios run")]
            self.daemon = subprocess.Popen(argv, env=self.env, stdout=log, stderr=log)

    def ask(self, *words: str) -> Any:
        """What a command says as JSON; None while it cannot."""
        done = subprocess.run(["aios", *words, "--json"], env=self.env, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def until(self, true: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {DEADLINE_S:g} s: {what}\n{(self.folder.parent / 'log').read_text()}")
            time.sleep(0.1)  # each look starts a command

    def state(self) -> str:
        """How the service stands, as its watcher said last."""
        events = [event["type"] for event in self.events("service.*")]
        return "up" if not events else events[-1].removeprefix("service.")

    def events(self, kind: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["aios", "events", "--type", kind, "--json"], env=self.env, capture_output=True, text=True, timeout=60
        )
        return [row["event"] for row in map(json.loads, done.stdout.splitlines()) if "event" in row]

    def pid(self) -> str:
        return (self.folder / "hello.pid").read_text()

    def age_s(self) -> float:
        """Seconds since the newest run ended."""
        ended = self.events("run.healed")[-1]["time"]
        return time.time() - datetime.fromisoformat(ended).timestamp()

    def newest_run(self) -> tuple[int, str]:
        runs = (self.ask("runs", "list") or {"runs": []})["runs"]
        return len(runs), str(runs[0]["status"]) if runs else ""


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    one = Typist(tmp_path / "hello")
    yield one
    if (one.folder / "hello.pid").exists():
        try:
            os.kill(int((one.folder / "hello.pid").read_text()), signal.SIGTERM)
        except ProcessLookupError:
            pass
    if one.daemon is not None:
        one.daemon.send_signal(signal.SIGTERM)
        one.daemon.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_guide_does_what_it_says(typist: Typist) -> None:
    """From nothing to a playbook that heals by itself: each block is typed as it stands, after what it waits for is so."""
    typist.type()  # 1: the service and the settings
    typist.start()
    typist.until(lambda: typist.ask("status") and (typist.folder / "hello.pid").exists(), "the daemon and the service run")
    assert "state folder" in typist.type()

    typist.type()  # 2: it dies
    typist.until(lambda: typist.state() == "down", "it is noticed")
    assert "is written" in typist.type()
    written = (typist.folder / "playbooks" / "hello-down.yaml").read_text()
    assert "mode: suggest" in written

    assert "1 passed, 0 failed" in typist.type()  # 3: lint and test
    assert "would run  1 time" in typist.type()  # 4: the past

    typist.until(lambda: any(p["name"] == "hello-down" for p in typist.ask("playbook", "list")["playbooks"]), "it is in force")
    before = typist.pid()
    typist.type()  # 5: it proposes
    typist.until(lambda: typist.pid() != before, "it runs again")
    typist.type()
    typist.until(lambda: typist.newest_run()[1] == "suggested", "it proposes")
    assert "Your yes is taken" in typist.type()
    typist.until(lambda: typist.newest_run() == (2, "healed"), "what was approved heals")

    assert "1 passed, 0 failed" in typist.type()  # 6: it acts
    typist.until(lambda: typist.age_s() > 10.0, "the cooldown is over")
    typist.type()
    typist.until(lambda: typist.newest_run() == (3, "healed"), "it heals by itself")

    typist.type()  # 7: clean up
    assert not typist.folder.exists()
    assert typist.left == []
