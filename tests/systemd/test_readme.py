"""The README's way to a service, run as it stands: from its first line to a daemon that answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .box import Box, why_not

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh() -> Iterator[Box]:
    """A machine that nothing was installed on yet: a box of its own."""
    if reason := why_not():
        pytest.skip(reason)
    with Box("readme") as box:
        yield box


def the_block() -> str:
    """What "Run it as a service" tells its reader to type."""
    _, _, chapter = (HOME / "README.md").read_text().partition("## Run it as a service")
    return chapter.split("```sh\n", 1)[1].split("```", 1)[0]


@pytest.mark.timeout(300)
def test_what_the_readme_says_installs_a_service_that_runs(fresh: Box) -> None:
    """Every line of the block, as root, from a checkout; then systemd has a daemon that is ready, and the command talks to it."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=True).stdout
    fresh.run("mkdir", "-p", "/srv/checkout")
    target = f"/proc/{fresh.leader}/root/srv/checkout"
    subprocess.run(["xargs", "-0", "cp", "--parents", "-t", target], cwd=HOME, input=files, check=True)
    system_python = f"{Path(sys.base_prefix) / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
    script = f"set -eux\ncd /srv/checkout\nexport PATH={system_python} PIP_DISABLE_PIP_VERSION_CHECK=1\n{the_block()}"
    done = fresh.run_online("bash", "-c", script)
    if "Temporary failure in name resolution" in done.stderr:
        pytest.skip("the locked packages are nowhere to be had: no network")
    assert done.returncode == 0, done.stderr[-3000:]

    assert fresh.systemctl("is-active", "aios.service") == "active"
    status = json.loads(fresh.run("/usr/bin/aios", "status", "--json").stdout)
    assert status["mode_max"] == "suggest", status
    assert status["playbooks"] >= 3, "the shipped ones are in force"
    emitted = json.loads(fresh.run("/usr/bin/aios", "emit", "agent.error", "--subject", "agent:writer", "--json").stdout)
    assert emitted, "the daemon takes an event over its socket"
    assert "agent:writer" in fresh.run("/usr/bin/aios", "events", "--type", "agent.error").stdout
