"""`aios run`: the daemon in the foreground."""

from __future__ import annotations

import argparse

from aios.cli.parser import finish
from aios.cli.reach import settings
from aios.cli.terminal import Terminal

_EXAMPLES = """
aios run
aios run --data /var/lib/aios --settings /etc/aios/aios.toml
AIOS_MODE_MAX=suggest aios run              look and propose, change nothing
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, run, examples=_EXAMPLES)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Until a signal or `aios stop`. Gives the daemon's exit code."""
    from aios.daemon import main  # everything that the daemon needs; no other command pays for it

    return main(settings(args, terminal))
