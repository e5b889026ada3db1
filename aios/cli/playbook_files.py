"""Reads the playbooks that a command is about: those that its words name, else those of the settings' folders."""

from __future__ import annotations

import argparse
import os

from aios.cli.reach import settings
from aios.cli.terminal import Terminal
from aios.events.calls import SkillCatalogue
from aios.playbook_files import read_folders
from aios.playbooks.load import Loaded


def in_force(args: argparse.Namespace, terminal: Terminal, skills: SkillCatalogue | None = None) -> Loaded:
    """What the settings' folders hold, or the paths of the command line."""
    named = getattr(args, "paths", None)
    if named:
        return read_folders(named, skills)
    return read_folders((path for path in settings(args, terminal).playbooks if os.path.isdir(path)), skills)
