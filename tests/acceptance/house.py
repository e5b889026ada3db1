"""A real daemon for tests that use the real command line: `aios run` in a process of its own, in a temporary folder."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios.control.client import lives

START_S = 30.0
SETTINGS = """\
data = 'state'
playbooks = ['books']
host = {enabled = false}
systemd = {enabled = false}
"""


class House:
    """A daemon of its own in a temporary folder, with these playbooks (name -> text) and nothing of this machine to watch."""

    def __init__(self, folder: Path, playbooks: Mapping[str, str], settings: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = str(self.state / "control.sock")
        (folder / "books").mkdir()
        for name, text in playbooks.items():
            (folder / "books" / f"{name}.yaml").write_text(text)
        self.file = folder / "aios.toml"
        self.file.write_text(SETTINGS + settings)
        self.env = {**os.environ, "AIOS_SETTINGS": str(self.file)}
        self.log = open(folder / "log", "wb")  # noqa: SIM115 - closed in `stop`
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aios.cli.main", "run"], env=self.env, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self._wait_for_socket()

    def _wait_for_socket(self) -> None:
        gone = os.pidfd_open(self.process.pid)
        try:
            for _ in range(int(START_S / 0.05)):
                if lives(self.socket):
                    return
                if select.select([gone], [], [], 0.05)[0]:
                    break
        finally:
            os.close(gone)
        raise AssertionError(f"the daemon did not start: {(self.folder / 'log').read_text()}")

    def raw(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aios.cli.main", *words], env=self.env, input=stdin, capture_output=True, text=True, timeout=60
        )

    def aios(self, *words: str, code: int = 0, stdin: str = "") -> str:
        done = self.raw(*words, stdin=stdin)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr, (self.folder / "log").read_text())
        return done.stdout

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.aios(*words, "--json", code=code))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_S)
        self.log.close()
