"""The whole daemon under a real systemd: READY, the watchdog, kill -9, and managed services that live on."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .box import DISK, Box
from .units import install, program

DEADLINE_S = 30.0

SETTINGS = """
data = "/var/lib/aios"
playbooks = ["/etc/aios/playbooks"]

[[service]]
name = "kept"
argv = ["/bin/sleep", "infinity"]

[systemd]
watch = ["aiost-*.service"]
"""

PLAYBOOK = """
playbook: back-again
description: Start again what fell.
on:
  type: service.down
  match: {subject: [aiost-fragile.service]}
guard: {cooldown: 0s}
steps:
  - id: restart
    act: restart_service
    with: {unit: "${event.subject}"}
verify:
  - service_check: {unit: "${event.subject}"}
"""


@pytest.fixture(scope="module")
def daemon(box: Box) -> Iterator[Box]:
    """The daemon, started by systemd in the box."""
    box.write("/etc/aios/playbooks/back-again.yaml", PLAYBOOK)
    install(box, SETTINGS, WatchdogSec="2")
    started = box.run("systemctl", "start", "aios.service", check=False)
    if started.returncode != 0:
        pytest.fail(
            "the daemon does not come up:\n" + box.run("journalctl", "--no-pager", "-u", "aios", check=False).stdout[-4000:]
        )
    yield box
    box.systemctl("stop", "aios.service", check=False)


def aios(box: Box, *words: str) -> Any:
    """What a command prints as JSON."""
    out = box.run(program(), "--settings", "/etc/aios/aios.toml", *words, "--json", check=False).stdout
    return json.loads(out) if out.strip() else None


def until(condition: Callable[[], Any]) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)  # each look starts a process in the box
    assert answer, "it did not become true in time"
    return answer


def kept_pid(box: Box) -> int:
    """The managed service's process, by the pid that the box knows it by; 0 while it does not run."""
    try:
        pid = int(json.loads(box.read("/var/lib/aios/services/kept.json"))["pid"])
    except FileNotFoundError:
        return 0
    return pid if box.run("kill", "-0", str(pid), check=False).returncode == 0 else 0


def is_active(box: Box) -> bool:
    return box.systemctl("is-active", "aios.service", check=False) == "active"


def test_it_says_ready_and_keeps_its_state_where_systemd_put_it(daemon: Box) -> None:
    """Type=notify: the start returned because it had said so."""
    assert is_active(daemon)
    assert "watching" in daemon.systemctl("show", "-P", "StatusText", "aios.service")
    assert daemon.run("stat", "-c", "%a", "/var/lib/aios").stdout.strip() == "750"
    assert until(lambda: kept_pid(daemon))


def test_after_kill_9_it_is_ready_again_and_its_services_never_noticed(daemon: Box) -> None:
    """systemd starts it again; what it had started lives on and is found."""
    kept, before = until(lambda: kept_pid(daemon)), daemon.main_pid("aios.service")
    daemon.systemctl("kill", "-s", "KILL", "--kill-whom=main", "aios.service")
    until(lambda: is_active(daemon) and daemon.main_pid("aios.service") not in (0, before))
    assert kept_pid(daemon) == kept
    states = aios(daemon, "service", "list")["services"]
    assert [(s["subject"], s["state"], s["pid"]) for s in states if s["subject"] == "kept.service"] == [
        ("kept.service", "up", kept)
    ]


def test_a_hang_is_ended_by_the_watchdog(daemon: Box) -> None:
    """A stopped daemon sends no sign of life; systemd puts a new one in its place."""
    kept, before = until(lambda: kept_pid(daemon)), daemon.main_pid("aios.service")
    daemon.run("kill", "-STOP", str(before))
    until(lambda: is_active(daemon) and daemon.main_pid("aios.service") not in (0, before))
    assert kept_pid(daemon) == kept


def test_a_stop_and_a_start_leave_managed_services_as_they_are(daemon: Box) -> None:
    """KillMode=process, and the next daemon does not start them twice."""
    kept = until(lambda: kept_pid(daemon))
    daemon.systemctl("stop", "aios.service")
    assert kept_pid(daemon) == kept
    daemon.systemctl("start", "aios.service")
    until(lambda: aios(daemon, "service", "list"))
    assert kept_pid(daemon) == kept
    assert daemon.run("pgrep", "-c", "-f", "^/bin/sleep infinity$").stdout.strip() >= "1"


def test_a_unit_that_crashes_is_healed_and_one_that_a_person_stops_is_let_be(daemon: Box) -> None:
    """The whole loop, against systemd itself."""
    unit = "aiost-fragile.service"
    daemon.unit(unit, "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
    daemon.systemctl("start", unit)
    first = daemon.main_pid(unit)
    until(lambda: any(s["subject"] == unit and s["state"] == "up" for s in aios(daemon, "service", "list")["services"]))
    daemon.systemctl("kill", "-s", "KILL", unit)
    until(lambda: daemon.main_pid(unit) not in (0, first))
    until(lambda: any(run.get("state") == "healed" or run.get("outcome") == "healed" for run in runs(daemon)))
    count = len(runs(daemon))
    daemon.systemctl("stop", unit)
    until(lambda: "service.stopped" in daemon.run(program(), "--settings", "/etc/aios/aios.toml", "events").stdout)
    assert daemon.systemctl("is-active", unit, check=False) == "inactive"
    assert len(runs(daemon)) == count


def runs(box: Box) -> list[dict[str, Any]]:
    found = aios(box, "runs", "list")
    listed: list[dict[str, Any]] = found["runs"] if isinstance(found, dict) else found or []
    return listed


def test_an_act_has_a_group_of_its_own_below_the_unit_and_nobody_gets_away(daemon: Box) -> None:
    """What the act detached is ended with it, the run says what held it, and the managed service beside it lives on."""
    kept = until(lambda: kept_pid(daemon))
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(600)\n"
    daemon.write("/opt/detach.py", code + "print(os.getpriority(0, 0), os.sched_getscheduler(0))\n")
    told = aios(daemon, "skill", "run", "run_job", f'argv=["{sys.executable}", "/opt/detach.py"]')
    assert told["ok"], told
    assert told["result"]["stdout"].split() == ["10", str(os.SCHED_BATCH)]
    held = next(entry for entry in told["evidence"] if entry["kind"] == "limits")
    assert held["by"] in ("cgroup hybrid", "cgroup v2", "cgroup v1")
    assert daemon.run("pgrep", "-f", "/opt/detach.py", check=False).stdout == ""
    left = daemon.run("sh", "-c", "find /sys/fs/cgroup -mindepth 1 -type d -path '*aios.service/acts/*'").stdout
    assert left == ""
    assert kept_pid(daemon) == kept
    assert "aios.service/services/kept" in daemon.run("cat", f"/proc/{kept}/cgroup").stdout


def test_an_act_that_writes_fast_is_held_back_and_says_so(daemon: Box) -> None:
    """What the unit rules out (system calls, capabilities) leaves what that takes."""
    daemon.write("/opt/writes", f"for n in $(seq 100); do head -c 500000 /dev/zero >> {DISK}/fast; sleep 0.005; done")
    told = aios(daemon, "skill", "run", "run_job", 'argv=["sh", "/opt/writes"]')
    assert told["ok"], told
    held = next(entry for entry in told["evidence"] if entry["kind"] == "limits")
    assert held["slowed"] == ["write_bandwidth"]
    slowed = next((entry for entry in told["evidence"] if entry["kind"] == "slowed"), None)
    if slowed is None:
        pytest.skip("/var/tmp is no disk here: the kernel counts no writes there")
    assert slowed["slowed_s"] > 1.0
    assert (
        "frozen 1" not in daemon.run("sh", "-c", "cat /sys/fs/cgroup/unified/*/*/*/cgroup.events 2>/dev/null", check=False).stdout
    )


def test_the_doctor_says_what_holds_acts_here(daemon: Box) -> None:
    findings = aios(daemon, "doctor")["findings"]
    found = next(finding for finding in findings if finding["what"] == "limits")
    assert found["said"].startswith(("acts are ended by cgroup", "cgroup"))
