"""The names of the journal's parts, in order: `events/2026-02-24.1.jsonl`. For writer and reader."""

from __future__ import annotations

import re
from typing import NamedTuple

from aios.ports import Files

BATCH_BYTES_MAX = 4 << 20
"""No commit writes more. So after a failed sync nothing older than this much of a part's end is in doubt."""

_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.([1-9]\d{0,8})\.jsonl", re.ASCII)


class Part(NamedTuple):
    """Order is (day, number)."""

    day: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.day}.{self.number}.jsonl"


def list_parts(files: Files, folder: str) -> list[Part]:
    """All parts in order; other files are not the journal's. Raises OSError."""
    found = (_NAME.fullmatch(name) for name in files.listdir(folder))
    return sorted(Part(match[1], int(match[2])) for match in found if match)
