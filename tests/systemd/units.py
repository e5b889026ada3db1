"""The shipped units, as they are in the repository and as they are put into a box (with this checkout's `aios`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .box import Box

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
PROGRAM = "/usr/bin/aios"


def program() -> str:
    """The console script beside the Python that runs the tests."""
    return os.path.join(os.path.dirname(sys.executable), "aios")


def shipped(name: str, **changed: str) -> str:
    """A unit's text, with the program's place and some lines changed."""
    lines = []
    for line in (UNITS / name).read_text().replace(PROGRAM, program()).splitlines():
        key = line.partition("=")[0]
        lines.append(f"{key}={changed[key]}" if key in changed else line)
    return "\n".join(lines) + "\n"


def install(box: Box, settings: str, **changed: str) -> None:
    """The daemon's units and its settings in the box; not started yet."""
    box.write("/etc/aios/aios.toml", settings)
    box.write("/etc/systemd/system/aios-notify@.service", shipped("aios-notify@.service"))
    text = shipped("aios.service", **changed).replace(
        "[Service]\n", "[Service]\nEnvironment=AIOS_SETTINGS=/etc/aios/aios.toml\n", 1
    )
    box.write("/etc/systemd/system/aios.service", text)
    box.systemctl("daemon-reload")
