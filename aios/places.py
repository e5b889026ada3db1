"""Where the settings file and the state folder are.

Apart from `settings` so that a short command (`aios status`) finds the control socket without loading pydantic. What is
more particular wins: an option, then a variable, then the file, then what systemd says, then the checkout, then the system.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aios.errors import ConfigError, ConfigErrors

SYSTEM_SETTINGS = "/etc/aios/aios.toml"
SYSTEM_PLAYBOOKS = "/etc/aios/playbooks"
SHIPPED_PLAYBOOKS = "shipped"
"""Beside this file in an installed package; in a checkout they are `playbooks/`."""
SYSTEM_DATA = "/var/lib/aios"
FILE_BYTES_MAX = 1 << 20
CONTROL_SOCKET = "control.sock"


def checkout() -> str | None:
    """The folder of the checkout that this code runs from; None when it is installed."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    marks = ("pyproject.toml", os.path.join("aios", "places.py"))
    return folder if all(os.path.isfile(os.path.join(folder, mark)) for mark in marks) else None


def settings_file(path: str | None, environ: Mapping[str, str]) -> str | None:
    """The settings file in force; None when there is none. One that was named must exist, one by custom need not."""
    named = path or environ.get("AIOS_SETTINGS")
    if named:
        return os.path.abspath(named)
    folder = checkout()
    custom = os.path.join(folder, "aios.toml") if folder else SYSTEM_SETTINGS
    return custom if os.path.exists(custom) else None


def read_toml(path: str) -> tuple[str, dict[str, Any]]:
    """The file's text and what it says. Raises `ConfigErrors`."""
    import tomllib  # 10 ms that a machine without a settings file does not pay

    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        hint = "name another file with --settings or AIOS_SETTINGS, or make this one readable"
        raise ConfigErrors([ConfigError(path, f"cannot be read: {error.strerror}", hint=hint)]) from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigErrors([ConfigError(path, "is larger than 1 MiB", hint="is this the settings file?")])
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigErrors([ConfigError(path, "is not UTF-8", line, hint="save the file as UTF-8")]) from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_syntax_error(path, text, str(error))]) from error
    except RecursionError as error:
        raise ConfigErrors([ConfigError(path, "is nested too deeply", hint="no setting is deeper than three levels")]) from error


def _syntax_error(path: str, text: str, message: str) -> ConfigError:
    """tomllib tells the place only in its message: `… (at line 3, column 5)`."""
    import re  # only a mistake pays for it

    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    lines = text.split("\n")
    line, column = (int(found[1]), int(found[2])) if found else (len(lines), 0)  # else "(at end of document)"
    hint = "see https://toml.io; text stands in quotes, a list in [ ], each key once, and what is opened is closed"
    return ConfigError(path, "is no TOML: " + re.sub(r" \(at .*\)$", "", message), line, column, hint, lines[line - 1][:200])


def default_data(environ: Mapping[str, str]) -> str:
    """The state folder when nobody names one."""
    if environ.get("STATE_DIRECTORY"):  # systemd's StateDirectory=; of several, the first
        return environ["STATE_DIRECTORY"].split(":")[0]
    folder = checkout()
    return os.path.join(folder, "data") if folder else SYSTEM_DATA


def default_playbooks() -> tuple[str, ...]:
    """The shipped ones, then, where AIOS is installed, the operator's own, which replace those of the same name."""
    folder = checkout()
    if folder:
        return (os.path.join(folder, "playbooks"),)
    return (os.path.join(os.path.dirname(os.path.abspath(__file__)), SHIPPED_PLAYBOOKS), SYSTEM_PLAYBOOKS)


def state_folder(path: str | None, environ: Mapping[str, str], data: str | None) -> str:
    """The state folder, absolute: what `Settings.data` would be, without checking the other settings.

    Raises `ConfigErrors` when the settings file has to be read and cannot be.
    """
    named = data or environ.get("AIOS_DATA")
    if named:
        return os.path.abspath(named)
    file = settings_file(path, environ)
    if file:
        said = read_toml(file)[1].get("data")
        if isinstance(said, str) and said:
            return os.path.abspath(os.path.join(os.path.dirname(file), said))
    return default_data(environ)
