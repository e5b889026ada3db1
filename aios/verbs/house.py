"""What the verbs may reach of the daemon, and how a playbook that a person names is found in it.

`daemon.assemble` makes it; each verb is a function of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.clock import Clock
from aios.entropy import Entropy
from aios.errors import Refused
from aios.events.calls import SkillCatalogue
from aios.journal.query import History
from aios.nearest import did_you_mean
from aios.playbooks.model import Playbook
from aios.ports import Emit, Hands, JournalReader, Looker, Services
from aios.reactor.aside import Aside
from aios.reactor.pump import Reactor
from aios.settings import Settings
from aios.verbs.followers import Followers
from aios.verbs.known import KnownRuns
from aios.world import World


@dataclass(frozen=True, slots=True)
class House:
    """See the head of this file."""

    settings: Settings
    world: World
    reactor: Reactor
    aside: Aside
    services: Services
    hands: Hands
    looker: Looker
    skills: SkillCatalogue
    reader: JournalReader
    emit: Emit
    clock: Clock
    entropy: Entropy
    call_env: Mapping[str, Any]
    reload: Callable[[], Awaitable[list[dict[str, Any]]]]
    stop: Callable[[str], None]
    known: KnownRuns
    started_at: float
    pid: int
    history: History
    offload: Callable[[Callable[[], None]], Awaitable[None]]
    followers: Followers = field(default_factory=Followers)

    def playbook(self, name: str) -> Playbook:
        """The one that is in force under this name. Raises Refused."""
        names = self.reactor.shelf.by_name
        playbook = names.get(name)
        if playbook is None:
            raise Refused(
                f"there is no playbook {name[:100]!r} in force", did_you_mean(name, names, "aios playbook list shows them")
            )
        return playbook

    def waiting_files(self) -> dict[str, list[str]]:
        """Folders that stay in force as they were, because of a file that cannot be used -> what else was changed there."""
        return {folder: list(paths) for folder, paths in self.reactor.shelf.waiting.items()}
