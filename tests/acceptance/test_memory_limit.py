"""The daemon limits itself and nobody else: a leak ends it, not the machine, and what it starts is free of the limit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.house import House

SETTINGS = f"""
[[service]]
name = "web"
argv = ["{sys.executable}", "-SEc", "import signal; print('here', flush=True); signal.pause()"]
"""


def data_limit(pid: int) -> str:
    rows = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    return next(row.split()[3] for row in rows if row.startswith("Max data size"))


def test_the_daemon_has_the_limit_and_what_it_starts_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Max data size` in /proc, of the daemon, of hands and of a managed service."""
    monkeypatch.setenv("AIOS_MEMORY_MAX_MB", "300")
    house = House(tmp_path, {}, SETTINGS)
    try:
        daemon = house.json("status")["pid"]
        hands = [int(pid) for pid in Path(f"/proc/{daemon}/task/{daemon}/children").read_text(encoding="ascii").split()]
        house.aios("service", "restart", "web.service")
        service = json.loads((tmp_path / "state" / "services" / "web.json").read_text(encoding="utf-8"))["pid"]
        assert data_limit(daemon) == str(300 << 20)
        assert [data_limit(pid) for pid in hands] == ["unlimited"]
        assert data_limit(service) == "unlimited"
        house.aios("service", "stop", "web.service")
    finally:
        house.stop()
