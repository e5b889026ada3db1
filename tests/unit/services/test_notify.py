"""The word to the service manager."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from aios.services.notify import sd_notify, watchdog_s


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told_through_its_socket(tmp_path: Path, abstract: bool) -> None:
    """By a path, and by an abstract name."""
    address = f"@aios-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(5)
        assert sd_notify("READY=1\nSTATUS=up", address)
        assert manager.recv(100) == b"READY=1\nSTATUS=up"


def test_without_a_manager_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand, the daemon has nobody to tell."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not sd_notify("READY=1")
    assert not sd_notify("READY=1", str(tmp_path / "nobody"))
    assert not sd_notify("READY=1", "vsock:2:1234")


def test_the_watchdogs_interval_counts_only_for_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that inherits the variables is not watched."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert watchdog_s() is None
