"""Reads the playbooks that a command is about: those that its words name, else those of the settings' folders."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from aios.cli.reach import settings
from aios.cli.skill import catalogue
from aios.cli.terminal import Terminal
from aios.errors import ConfigError
from aios.events.calls import SkillCatalogue
from aios.playbooks.load import Loaded, load_many

SUFFIXES = (".yaml", ".yml")
FILE_BYTES_MAX = 256 * 1024
"""More than that no playbook has; the loader says so in words."""


def read_folders(paths: Iterable[str], skills: SkillCatalogue | None = None) -> Loaded:
    """All playbooks of these files and folders, as the daemon would load them."""
    texts, unreadable = read_texts(paths)
    loaded = load_many(texts, catalogue() if skills is None else skills)
    return Loaded(loaded.playbooks, (*unreadable, *loaded.errors), loaded.texts)


def read_texts(paths: Iterable[str]) -> tuple[dict[str, str], list[ConfigError]]:
    """The texts of these files and folders by their paths, and what cannot be read."""
    texts: dict[str, str] = {}
    unreadable: list[ConfigError] = []
    for path in paths:
        for file in files_of(path):
            try:
                texts[file] = _read(file)
            except OSError as error:
                unreadable.append(
                    ConfigError(file, f"cannot be read: {error.strerror}", hint="make it readable, or name another")
                )
            except UnicodeDecodeError:
                unreadable.append(ConfigError(file, "is not UTF-8", hint="save the file as UTF-8"))
    return texts, unreadable


def _read(file: str) -> str:
    with open(file, "rb") as opened:
        return opened.read(FILE_BYTES_MAX + 1).decode("utf-8")


def files_of(path: str) -> list[str]:
    """A file is itself; a folder is the playbooks right in it; what is not there is told by who opens it."""
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))


def in_force(args: argparse.Namespace, terminal: Terminal, skills: SkillCatalogue | None = None) -> Loaded:
    """What the settings' folders hold, or the paths of the command line."""
    named = getattr(args, "paths", None)
    if named:
        return read_folders(named, skills)
    return read_folders((path for path in settings(args, terminal).playbooks if os.path.isdir(path)), skills)
