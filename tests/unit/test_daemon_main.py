"""What the daemon's process makes of the settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aios.errors import ConfigErrors
from aios.machine.given import managed_services
from aios.machine.playbooks import read_playbooks
from aios.playbooks.load import load as load_playbook
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


def test_what_cannot_be_read_is_not_gone_and_says_why(tmp_path: Path) -> None:
    """A pipe, a folder, a link to nothing, what is no text, what is too large: none of them is waited for, or left out unsaid."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nothing")
    (tmp_path / "latin.yaml").write_bytes("description: Störung\n".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(("a" + "é" * 300_000).encode())
    (tmp_path / ".swap.yaml").write_text("not looked at")
    (tmp_path / "good.yaml").write_text("playbook: good\n")
    found = read_playbooks([str(tmp_path), str(tmp_path / "none")])
    assert {os.path.basename(path) for path in found} == {
        f"{n}.yaml" for n in ("pipe", "folder", "link", "latin", "large", "good")
    }
    said = {"pipe": "it is no file", "folder": "Is a directory", "link": "No such file", "latin": "is not UTF-8 in line 1"}
    for name, why in {**said, "large": "larger than 256 KB"}.items():
        with pytest.raises(ConfigErrors) as caught:
            load_playbook(found[f"{tmp_path}/{name}.yaml"], name, {})
        assert why in str(caught.value)


def test_a_folder_that_cannot_be_read_stays_in_force(tmp_path: Path) -> None:
    """It stands there as one file that cannot be used, so that nothing of it comes or goes."""
    folder = tmp_path / "playbooks"
    folder.write_text("something else has taken its place")
    ((path, text),) = read_playbooks([str(folder)]).items()
    assert path == f"{folder}/"
    with pytest.raises(ConfigErrors, match="this folder of playbooks cannot be read: Not a directory"):
        load_playbook(text, path, {})
