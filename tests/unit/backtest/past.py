"""Journals for tests of backtests: written line by line as the daemon would, or as a simulated day left them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import usual_severity
from aios.events.codec import encode, encode_sorted
from aios.events.event import Event, day_of, format_time
from aios.playbooks.load import load_many
from aios.playbooks.model import Playbook
from aios.playbooks.run_opening import run_id
from aios.settings import Settings

MIDNIGHT = 1_771_891_200.0
"""2026-02-24T00:00:00Z."""


@dataclass
class Past:
    """A state folder with a journal of one's own. `tell` appends an event that arrived so many seconds after midnight."""

    folder: Path
    told: int = 0

    def tell(self, at_s: float, event_type: str, subject: str = "web.service", /, part: int = 1, **data: Any) -> str:
        """Its id."""
        events = self.folder / "events"
        events.mkdir(exist_ok=True, parents=True)
        when = format_time(MIDNIGHT + at_s)
        event_id = f"e{self.told}"
        self.told += 1
        event = Event(event_id, "test", event_type, subject, when, data, when, usual_severity(event_type))
        with (events / f"{day_of(MIDNIGHT + at_s)}.{part}.jsonl").open("ab") as file:
            file.write(encode(event))
        return event_id

    def settings(self, at_s: float, **settings: Any) -> str:
        """These were in force from then on. Gives the blob's name."""
        plain = Settings.model_validate(settings).to_json()
        blob = BlobFolder(OsFiles(), f"{self.folder}/blobs").put(encode_sorted(plain))
        self.tell(at_s, "daemon.settings_loaded", "system", hash=blob, path="")
        return blob

    def really_ran(
        self,
        playbook: str,
        trigger: str,
        at_s: float,
        *,
        text_hash: str = "",
        end: str = "run.healed",
        subject: str = "web.service",
    ) -> str:
        """The record of a run of one act, as a daemon left it."""
        run = run_id(trigger, playbook)
        of = {"run": run, "playbook": playbook}
        opened: dict[str, Any] = {"hash": text_hash, "event": trigger, "mode": "auto", "resources": [subject], "lineage": []}
        opened["trigger"] = {"id": trigger, "source": "test", "type": "service.down", "subject": subject, "time": "", "data": {}}
        opened["trigger"]["severity"] = "error"
        step = {"step": "restart", "attempt": 1, "skill": "restart_service"}
        done = {"kind": "act", "ok": True, "result": {}, "evidence": [], "next": [], "error": "", "ms": 1.0}
        self.tell(at_s, "run.opened", subject, **of, **opened)
        self.tell(at_s + 0.1, "run.step_intended", subject, **of, **step, params={}, files=[], units=[], recheck=False, by="")
        self.tell(at_s + 0.2, "run.step_done", subject, **of, **step, **done)
        self.tell(at_s + 0.3, end, subject, **of, why="", proof=[], acts=["restart"], ms=1.0)
        return run


def write_journal(folder: Path, journal: Mapping[str, bytes]) -> None:
    """What a simulated day left below `events/`."""
    for path, data in journal.items():
        out = folder / "events" / path.split("/events/")[1]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)


def playbooks(skills: SkillCatalogue, *texts: str) -> tuple[Playbook, ...]:
    loaded = load_many({f"/pb/{n}.yaml": text for n, text in enumerate(texts)}, skills)
    assert not loaded.errors, [str(error) for error in loaded.errors]
    return loaded.playbooks
