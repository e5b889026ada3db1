"""How a command reaches the daemon and the state folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aios.cli.terminal import Terminal
from aios.errors import Refused
from aios.places import CONTROL_SOCKET, state_folder

if TYPE_CHECKING:
    from aios.settings import Settings


def folder(args: argparse.Namespace, terminal: Terminal) -> str:
    """The state folder. Raises ConfigErrors when the settings file cannot be read."""
    return state_folder(getattr(args, "settings_file", None), terminal.environ, getattr(args, "state_dir", None))


def socket_path(args: argparse.Namespace, terminal: Terminal) -> str:
    return os.path.join(folder(args, terminal), CONTROL_SOCKET)


def settings(args: argparse.Namespace, terminal: Terminal) -> Settings:
    """All settings, checked. Raises ConfigErrors."""
    from aios.settings import load  # pydantic: 60 ms that a question to the daemon does not pay

    return load(getattr(args, "settings_file", None), terminal.environ, getattr(args, "state_dir", None))


def ask_daemon(
    args: argparse.Namespace, terminal: Terminal, verb: str, request: Mapping[str, Any] | None = None, timeout: float = 10.0
) -> Mapping[str, Any]:
    """The daemon's answer. Raises NoDaemon, NotAllowed, DaemonSilent, and Refused when it says no."""
    from aios.control.client import ask

    answer = ask(socket_path(args, terminal), verb, request, timeout)
    if not answer.ok:
        raise Refused(answer.error, answer.hint)
    return answer.result


def wants_json(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "json", False))
