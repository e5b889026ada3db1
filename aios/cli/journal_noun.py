"""`aios journal …`: what can be done with the memory itself. Each verb has a file of its own; here they are put together."""

from __future__ import annotations

import argparse

from aios.cli import cursors, importing, journal_care
from aios.cli.parser import verbs


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    for name, help_, module in (
        ("import", "take in event files of AIOS v0.5 or v0.6", importing),
        ("cursors", "where each consumer stands, and putting it elsewhere", cursors),
    ):
        module.arguments(group.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + "."))
    journal_care.add_verbs(group)
