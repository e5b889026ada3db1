"""File and variables become `Settings`: read once, checked, folders made absolute; every mistake is told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aios.errors import ConfigError, ConfigErrors
from aios.nearest import did_you_mean
from aios.places import default_data, default_playbooks, read_toml, settings_file
from aios.settings.fields import VARIABLE_PREFIX, variables
from aios.settings.mistakes import explain
from aios.settings.sections import Settings

OTHER_VARIABLES = frozenset({"AIOS_SETTINGS"})
"""Variables that are ours and no setting."""


def load(path: str | None, environ: Mapping[str, str], data: str | None = None) -> Settings:
    """The settings in force: `--data`, then variables, then the file, then defaults. Raises `ConfigErrors`, all at once.

    `path` names the file; without it, it is looked for (`aios.places.settings_file`), and there need not be one.
    """
    file = settings_file(path, environ)
    text, raw = read_toml(file) if file else ("", {})
    origins, errors = _put_variables(raw, environ)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        errors += explain(error, file or "settings", text, origins)
    if errors:
        raise ConfigErrors(errors)
    settings = settings.model_copy(update=_folders(settings, file, environ, data, origins))
    settings._file = file or ""
    return settings


def _put_variables(raw: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[tuple[str, ...], str], list[ConfigError]]:
    """Put what variables say into `raw`. Gives which path came from which variable, and the variables nobody knows."""
    known = variables()
    origins: dict[tuple[str, ...], str] = {}
    errors = []
    for name in sorted(environ):
        if not name.startswith(VARIABLE_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in known:
            errors.append(
                ConfigError(name, "no setting has this variable", hint=did_you_mean(name, known, "see docs/settings.md"))
            )
            continue
        variable = known[name]
        value = [word for word in environ[name].split(",") if word] if variable.many else environ[name]
        if _put(raw, variable.path, value):
            origins[variable.path] = name
    return origins, errors


def _put(raw: dict[str, Any], path: tuple[str, ...], value: object) -> bool:
    """False when the file has something else where a section should be; that is told as the file's own error."""
    for name in path[:-1]:
        raw = raw.setdefault(name, {})
        if not isinstance(raw, dict):
            return False
    raw[path[-1]] = value
    return True


def _folders(
    settings: Settings, file: str | None, environ: Mapping[str, str], data: str | None, origins: Mapping[tuple[str, ...], str]
) -> dict[str, Any]:
    """State folder and playbook folders, absolute: from the file they count from it, else from where we stand."""
    beside = os.path.dirname(file) if file else os.getcwd()

    def absolute(name: str, path: str) -> str:
        return os.path.abspath(path if (name,) in origins else os.path.join(beside, path))

    folder = os.path.abspath(data) if data else absolute("data", settings.data) if settings.data else default_data(environ)
    playbooks = tuple(absolute("playbooks", entry) for entry in settings.playbooks) or default_playbooks()
    return {"data": folder, "playbooks": playbooks}
