"""Under which rules a backtest plays: what the settings say, today's or those that were in force then.

Each start of a daemon tells the journal which settings are in force (`daemon.settings_loaded` names the blob that holds them),
and so does each day; `play` gives `machine` a `Then`, which reads them as they come by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.events.codec import decode_json
from aios.events.event import Event
from aios.reactor.holding import Rules
from aios.reactor.rules import rules_of
from aios.scheduler.slots import SLOTS
from aios.scores.book import WINDOW_S
from aios.settings import Settings
from aios.world import SETTLE_S

LOADED = "daemon.settings_loaded"
UNREAD_TOLD_MAX = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """What of the settings decides. The default is what a playbook may at most expect of a machine that nobody has set up."""

    rules: Rules = field(default_factory=lambda: Rules("auto", 60, frozenset()))
    settle_s: float = SETTLE_S
    slots: int = SLOTS
    watch_s: float = 0.0
    """How long a run of mode shadow watches whether the symptom goes by itself."""
    score_window_s: float = WINDOW_S
    latency_targets_ms: Mapping[str, float] = field(default_factory=dict)
    call_env: Mapping[str, Any] = field(default_factory=dict)


def terms_of(settings: Settings) -> Terms:
    """As the daemon would go by them."""
    return Terms(
        rules_of(settings),
        settings.settle_s,
        settings.slots,
        settings.trust.watch_s,
        settings.score.window_s,
        dict(settings.score.latency_target_ms),
        {"look_commands": list(settings.skills.look_commands)},
    )


class Then:
    """The settings that were in force then. `unread` says of which nobody can tell any more what they said."""

    def __init__(self, blob: Callable[[str], bytes]) -> None:
        self._blob = blob
        self._known: dict[str, Terms | None] = {}
        self.unread: list[str] = []
        self.found = False

    def terms(self, event: Event) -> Terms | None:
        """Of this event on; None where they cannot be read: then those before stay."""
        name = str(event.data.get("hash", ""))
        if name not in self._known:
            self._known[name] = self._read(name, event)
        self.found = self.found or self._known[name] is not None
        return self._known[name]

    def _read(self, name: str, event: Event) -> Terms | None:
        try:
            return terms_of(Settings.from_json(decode_json(self._blob(name))))
        except KeyError:
            why = "they are gone"
        except (ValueError, TypeError, AttributeError) as error:
            why = f"this version cannot read them: {str(error).splitlines()[0][:100]}"
        if len(self.unread) < UNREAD_TOLD_MAX:
            self.unread.append(f"The settings of {event.arrival[:19]}Z count as those before: {why}.")
        return None

    @property
    def notes(self) -> list[str]:
        """What whoever reads the result should know."""
        if self.found:
            return self.unread
        return [*self.unread, "The journal does not say which settings were in force then: it is played by today's."]
