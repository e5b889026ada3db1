"""What the daemon's process makes of the settings."""

from __future__ import annotations

from pathlib import Path

from aios.daemon_main import managed_services
from aios.settings import load


def test_a_service_and_an_agent_of_one_name_write_to_files_of_their_own(tmp_path: Path) -> None:
    """And a file that the settings name is taken as it is."""
    file = tmp_path / "aios.toml"
    kinds = ("kind='service'", "kind='agent'", "kind='agent'\nlog='/var/log/bot.log'")
    names = ("web", "web", "bot")
    file.write_text("".join(f"[[service]]\nname='{name}'\nargv=['x']\n{kind}\n" for name, kind in zip(names, kinds, strict=True)))
    logs = [service.log for service in managed_services(load(str(file), {}, str(tmp_path)))]
    assert logs == [f"{tmp_path}/logs/web.log", f"{tmp_path}/logs/agent%3Aweb.log", "/var/log/bot.log"]


def test_what_hangs_is_ended_soon(tmp_path: Path) -> None:
    """A hang has to be healed within five seconds, so nobody is waited for longer than two, unless the settings say so."""
    file = tmp_path / "aios.toml"
    file.write_text("[[service]]\nname='web'\nargv=['x']\n")
    assert managed_services(load(str(file), {}))[0].stop_timeout_s == 2.0
