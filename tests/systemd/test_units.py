"""The shipped units say what systemd understands, and what the docs promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .box import Box
from .units import UNITS, shipped


def said(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    """No unknown directive, no missing program, no unit that is named and not there."""
    for name in ("aios.service", "aios-notify@.service"):
        (tmp_path / name).write_text(re.sub(r"(?m)^(ExecStart=-?)\S+", r"\1/bin/true", shipped(name)))
    paths = [str(tmp_path / name) for name in ("aios.service", "aios-notify@.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60, check=False
    )
    newer = "DelegateSubgroup"  # systemd 254; before, it is passed over, and the unit says so
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "aios" in line and newer not in line]
    assert not complaints


def test_what_the_daemon_starts_outlives_it() -> None:
    """A restart of the daemon ends neither managed services nor acts."""
    unit = said("aios.service")
    assert unit["KillMode"] == ["process"]
    assert unit["Delegate"] == ["yes"]
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["30"]
    assert unit["Restart"] == ["always"]
    assert unit["RestartSec"] == ["100ms"]
    assert unit["OnFailure"] == ["aios-notify@%n.service"]
    assert unit["StateDirectory"] == ["aios"]


def test_nothing_keeps_it_from_healing() -> None:
    """Files anywhere can be put back, and services' folders are the machine's own."""
    assert not {"ProtectSystem", "ProtectHome", "PrivateTmp", "ReadOnlyPaths", "User"} & set(said("aios.service"))


def test_a_unit_that_has_given_up_calls_the_notifier(box: Box) -> None:
    """OnFailure= reaches the log with the name of what failed."""
    box.write("/etc/systemd/system/aios-notify@.service", shipped("aios-notify@.service"))
    box.unit(
        "aiost-gives-up.service", "[Unit]\nOnFailure=aios-notify@%n.service\n[Service]\nExecStart=/bin/false\n", enable=False
    )
    box.systemctl("start", "aiost-gives-up.service")
    box.run(
        "sh",
        "-c",
        "until journalctl --no-pager -t aios | grep -q 'aiost-gives-up.service has failed'; do sleep 0.1; done",
        timeout_s=30,
    )


def test_the_polkit_rule_is_read_and_lets_only_the_named_units_through(box: Box) -> None:
    """The example works as it is shipped, for the user and the unit that it names."""
    box.write("/etc/polkit-1/rules.d/50-aios.rules", (UNITS / "50-aios.rules").read_text())
    box.run("useradd", "--system", "aios", check=False)
    sleeper = "[Service]\nExecStart=/bin/sleep infinity\n"
    for unit in ("nginx.service", "aiost-else.service"):
        box.unit(unit, sleeper, enable=False)
    box.systemctl("restart", "polkit.service")
    as_aios = ["setpriv", "--reuid=aios", "--regid=aios", "--clear-groups", "systemctl", "--no-ask-password", "restart"]
    assert box.run(*as_aios, "nginx.service", check=False).returncode == 0
    assert box.run(*as_aios, "aiost-else.service", check=False).returncode != 0
