"""`aios run`: the daemon in the foreground. `aios demo`: the same, on something small that is broken on purpose."""

from __future__ import annotations

import argparse
import gc

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
    gc.disable()  # until all is assembled (`_spare_the_collector`): what a start makes, stays, and looking through it takes time
    found = settings(args, terminal)
    from aios.daemon_main import main  # everything that the daemon needs; no other command pays for it

    return main(found)


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    finish(parser, demo, examples="aios demo\naios demo --json", data=False)


def demo(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when every fault was healed."""
    from aios.cli.demo import demo as show  # as above

    return show(args, terminal)
