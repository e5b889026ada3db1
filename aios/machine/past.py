"""What the daemon asks the journal about the past: the report of a day, the numbers of its digest, the events of an old run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any

from aios.clock import Clock
from aios.disk import OsFiles, write_small
from aios.events.codec import encode_json
from aios.events.event import Event, Stored
from aios.journal.reader import FolderReader
from aios.machine.memory import offload

REPORT_LOOKS_BACK_DAYS, DIGEST_LOOKS_BACK_DAYS = 7, 2
"""So far back a report looks for what was ill, and what waited, when its day began; a digest needs the numbers."""
RECALLED_MAX = 20_000
"""No run has so many events."""


def write_report(files: OsFiles, state: str, clock: Clock, day: str) -> None:
    from aios.reports import build, to_json, to_markdown  # once a day: not worth its memory before

    report = build(_up_to(files, state, day, REPORT_LOOKS_BACK_DAYS), day, day, clock.now())
    write_small(files, f"{state}/reports/{day}.md", to_markdown(report).encode())
    write_small(files, f"{state}/reports/{day}.json", encode_json(to_json(report)))


def numbers(files: OsFiles, state: str, clock: Clock, day: str) -> Mapping[str, Any]:
    """The report on a day, for its digest."""
    from aios.reports import build, to_json  # once a day: not worth its memory before

    return to_json(build(_up_to(files, state, day, DIGEST_LOOKS_BACK_DAYS), day, day, clock.now()))


def _up_to(files: OsFiles, state: str, day: str, days_before: int) -> Iterator[Stored]:
    """Events from so many days before this one on."""
    since = (date.fromisoformat(day) - timedelta(days=days_before)).isoformat()
    return FolderReader(files, f"{state}/events").since(since)


async def recall_run(state: str, name: str, value: str) -> Sequence[Event]:
    """Of all days that are at hand, archived ones too: seconds, where there are many."""
    from aios.events.filters import EventFilter
    from aios.journal.query import History, Query  # only where somebody asks for what is old

    query = Query(EventFilter.from_args({"types": ["run.*", "approval.*", "daemon.run_recalled"]}), text=value, imported=False)
    found: list[Event] = []

    def read() -> None:
        wanted = (event for event, _ in History.of(state).read(query) if str(event.data.get(name, "")).startswith(value))
        found.extend(islice(wanted, RECALLED_MAX))

    await offload(read)
    return found
