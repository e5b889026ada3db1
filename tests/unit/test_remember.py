"""What a start tells of while it reads what no checkpoint holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aios.clock import SystemClock
from aios.daemon import remember as remembering
from aios.events.codec import encode
from aios.events.event import Event
from aios.journal.reader import FolderReader
from aios.settings import Settings
from aios.testing.blobs import SimBlobs
from aios.testing.disk import SimDisk

AT = "2026-02-24T08:00:00.000000Z"


def test_a_start_that_reads_a_long_journal_says_so_and_asks_for_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, so that systemd does not take it for one that hangs; and a short one says nothing."""
    monkeypatch.setattr(remembering, "TOLD_EACH", 10)
    for count, times in ((9, 0), (35, 3)):
        files = SimDisk()
        files.make_folders("/s/events")
        lines = b"".join(encode(Event(f"e{number}", "test", "web.slow", "host", AT, {}, AT)) for number in range(count))
        files.append("/s/events/2026-02-24.1.jsonl", lines, durable=True)
        said: list[str] = []
        outside: Any = SimpleNamespace(
            clock=SystemClock(),
            checkpoints=SimpleNamespace(load=lambda _usable: None),
            reader=FolderReader(files, "/s/events"),
            blobs=SimBlobs(),
            notify=said.append,
        )
        assert remembering.remember(Settings(), outside).folded == count
        assert len(said) == times
        assert all(one.startswith("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=reading the journal: ") for one in said)
