"""What the daemon touches, as ports: `machine` makes it of the real one, the simulator of its twins.

Nothing in this room knows which of the two it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aios.clock import Clock
from aios.entropy import Entropy
from aios.events.calls import SkillCatalogue
from aios.events.event import Draft, Position
from aios.events.origin import InboxCursor
from aios.journal.retention import Upkeep
from aios.ports import Blobs, Files, Hands, Inbox, JournalReader, JournalWriter, Looker, Sensor, Services
from aios.reactor.keep import SinceGood
from aios.verbs.handler import Verbs
from aios.verbs.known import Recall, forgotten
from aios.world import World

if TYPE_CHECKING:
    from aios.blobs.collect import Collector


class Checkpoints(Protocol):
    def save(self, position: Position, payload: Any) -> None: ...
    def load(self, usable: Callable[[Position], bool]) -> tuple[Position, Any] | None: ...


class StartedHands(Hands, Protocol):
    def open(self) -> None: ...
    async def close(self) -> None: ...


class StartedControl(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...


class StartableServices(Services, Protocol):
    async def to_start(self) -> Sequence[str]:
        """Once they are watched: those that the daemon itself is to start."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """The machine, as ports. Every field has a twin in `aios.testing`."""

    clock: Clock
    entropy: Entropy
    files: Files
    blobs: Blobs
    reader: JournalReader
    make_writer: Callable[[Callable[[Draft], None]], JournalWriter]
    make_inbox: Callable[[Mapping[str, InboxCursor], Callable[[], None]], Inbox]
    """Of the cursors, and of what to call when something came into it."""
    checkpoints: Checkpoints
    upkeep: Upkeep
    """Tends the journal's files: indexes, archives, digests, removal."""
    hands: StartedHands
    looker: Looker
    skills: SkillCatalogue
    services: StartableServices
    make_sensors: Callable[[World], Sequence[Sensor]]
    read_playbooks: Callable[[], Mapping[str, str]]
    watch_playbooks: Callable[[Callable[[], None]], None]
    watch_files: Callable[[Sequence[str], Callable[[], None]], None]
    """Calls back when one of these files (of a last-good copy) changed."""
    make_control: Callable[[Verbs], StartedControl]
    write_report: Callable[[str], None]
    """Writes the report of this UTC day below `reports/`."""
    notify: Callable[[str], bool]
    offload: Callable[[Callable[[], None]], Awaitable[None]]
    """Runs what syncs to the disk away from the loop."""
    call_env: Mapping[str, Any]
    since_good: SinceGood | None = None
    """What differs from the last-good copy; none: nobody looks."""
    make_collector: Callable[[], Collector] | None = None
    """Deletes what ended runs left, once nothing needs it; none: nothing is deleted."""
    recall: Recall = forgotten
    """The events of runs, however old; here and now nobody knows any."""
    boot_id: str = ""
    pid: int = 0
    rss_kb: Callable[[], int] = lambda: 0
    watchdog_s: float = 0.0
