"""A journal in small, for tests of windows: events at seconds, a correlator that folds them, and what it says."""

from __future__ import annotations

from typing import Any

from aios.events.catalogue import CORRELATED, WINDOW_DUE
from aios.events.codec import decode_json, encode_json
from aios.events.event import Draft, Event, Position, Stored, format_time
from aios.playbooks.correlate import Correlator
from aios.playbooks.load import load
from aios.playbooks.model import Correlation
from tests.unit.playbooks.playbook_skills import SKILLS

T0 = 1_771_891_200.0
DAY = "2026-02-24"


def correlation(on: str) -> Correlation:
    """What a playbook with this `on` waits for."""
    text = f"playbook: p\ndescription: d\non: {on}\nsteps: [{{id: l, observe: read_logs, with: {{unit: a.service}}}}]\n"
    found = load(text, "p.yaml", SKILLS).correlation
    assert found is not None
    return found


class Journal:
    """Events in the order in which they were taken; times are seconds since the start."""

    def __init__(self, *ons: str, lateness: str = "0s", begun: bool = True) -> None:
        self.correlator = Correlator()
        self.stored: list[Stored] = []
        self.said: list[Draft] = []
        self.now = 0.0
        self.correlations = {f"p{n}": correlation(_with(on, lateness)) for n, on in enumerate(ons)}
        if begun:
            self.correlator.begin(self.correlations, T0, Position(DAY, 1, 0))

    def event(self, type: str, at: float, arrives: float | None = None, subject: str = "s", **more: Any) -> Event:
        """Something that happened; without `arrives` it is taken at once."""
        arrival = format_time(T0 + (at if arrives is None else arrives))
        n = len(self.stored)
        cause = more.pop("causationid", "")
        severity = more.pop("severity", "info")
        return Event(
            more.pop("id", f"{type}@{at:g}" if subject == "s" else f"{type}@{at:g}/{subject}"),
            "t", type, subject, format_time(T0 + at), more.pop("data", {"n": n}), arrival, severity, "", cause,
        )  # fmt: skip

    def take(self, event: Event) -> list[str]:
        """Fold it; what became complete by it, each as the events that were used (`-` for a silence)."""
        position = Position(DAY, 1, 100 * (len(self.stored) + 1))
        self.stored.append(Stored(event, position))
        new = self.correlator.take(event, position)
        self.said += new
        for draft in new:
            self.correlator.take(said(draft, event.arrival), position)  # as the reactor does: then it stands in the journal
        return [" ".join(one[0] for one in draft.data["used"]) or "-" for draft in new if draft.type == CORRELATED]

    def see(self, type: str, at: float, arrives: float | None = None, subject: str = "s", **more: Any) -> list[str]:
        return self.take(self.event(type, at, arrives, subject, **more))

    def pass_until(self, at: float) -> list[str]:
        """Time goes on, and each window that is over leaves its event in the journal, as the reactor sees to."""
        found: list[str] = []
        while (due := self.correlator.due()) is not None and due <= T0 + at:
            found += self.tick(due - T0)
        return found

    def tick(self, at: float) -> list[str]:
        return self.see(WINDOW_DUE, at, subject="system", id=f"due@{at:.6f}")

    def beats(self, since: float, until: float) -> list[str]:
        """The daemon lives: a heartbeat each minute."""
        found: list[str] = []
        while since <= until:
            found += self.see("daemon.heartbeat", since, subject="system")
            since += 60.0
        return found

    def restart(self) -> None:
        """As a checkpoint: all of it through JSON."""
        self.correlator = Correlator.from_json(decode_json(encode_json(self.correlator.to_json())))

    @property
    def last(self) -> Draft:
        return self.said[-1]


def _with(on: str, lateness: str) -> str:
    return on if "lateness" in on else f"{on[:-1]}, lateness: {lateness}}}"


def said(draft: Draft, arrival: str) -> Event:
    return Event(
        draft.id, "aios", draft.type, draft.subject, draft.time or arrival, draft.data, arrival, draft.severity or "warning",
        "", draft.causationid,
    )  # fmt: skip
