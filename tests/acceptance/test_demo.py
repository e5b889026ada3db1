"""`aios demo`: three faults of a real service, each healed, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def those_below(folder: Path) -> list[str]:
    """Command lines of all processes that name this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            found += [" ".join(words) for words in [process.cmdline()] if any(str(folder) in word for word in words)]
        except psutil.Error:
            continue  # gone meanwhile
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Once for all tests: it waits out its settle time, so it takes half a minute."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "TMPDIR": str(folder), "AIOS_MODE_MAX": "observe", "AIOS_DATA": "/nowhere"}
    argv = [sys.executable, "-m", "aios.cli.main", "demo", "--json"]
    return folder, subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=110)


def test_three_faults_are_noticed_and_healed(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Killed, hanging, and with a spoiled configuration; the settings of whoever calls it play no part."""
    done = played[1]
    assert done.returncode == 0, (done.stdout, done.stderr)
    faults = json.loads(done.stdout)["faults"]
    assert [(fault["fault"], fault["outcome"]) for fault in faults] == [(name, "healed") for name in ("kill", "hang", "corrupt")]
    assert [fault["steps"] for fault in faults] == [
        ["logs", "config", "restart"],
        ["logs", "config", "restart"],
        ["logs", "config", "mend", "restart"],
    ]
    for fault in faults:
        assert 0 < fault["detected_ms"] < fault["healed_ms"], fault


def test_nothing_of_it_is_left(played: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Neither a folder nor a process."""
    folder = played[0]
    assert list(folder.iterdir()) == []
    assert those_below(folder) == []
