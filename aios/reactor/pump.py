"""The pump: takes durable events from the queue, matches them, decides, and says so.

The spine tells it every durable batch (`offer`); `runs.Runner` obeys the runs that it opens. What is decided stands in
`decide.py`; this file holds what waits: the queue, what guards held until a time, what has been spilled.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aios.clock import Clock
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import is_own
from aios.events.event import Draft, Event, Position, Stored, format_time
from aios.playbooks.guards import protected
from aios.playbooks.model import Playbook, lesser_mode
from aios.playbooks.run import Run, opening
from aios.ports import Emit, JournalReader
from aios.reactor.decide import Decision, Rules, decide, resources_of
from aios.reactor.runs import Runner
from aios.reactor.shelf import Shelf
from aios.scheduler.priority import priority
from aios.scheduler.queue import EventQueue
from aios.world import Holding, World

OPEN_RUNS_MAX = 1000
"""Beyond so many open runs events wait in the queue (and spill from there); waiting runs are bounded with them."""
PUMP_BATCH = 512
"""Events decided before the loop gets a turn for others."""
FALLBACKS_DEEP_MAX = 8
REFILL_BATCH = 1024


@dataclass(slots=True)
class Reactor:
    """See the head of this file."""

    world: World
    shelf: Shelf
    queue: EventQueue
    runner: Runner
    rules: Rules
    skills: SkillCatalogue
    clock: Clock
    emit: Emit
    reader: JournalReader
    dependents: dict[str, frozenset[str]] = field(default_factory=dict)
    decided: int = 0
    _opening: dict[tuple[str, str], str] = field(default_factory=dict)
    _deciding: int = 0
    _offers: dict[tuple[str, str], TimerHandle] = field(default_factory=dict)
    _pumping: bool = False
    closing: bool = False

    def start(self) -> None:
        """After a restart: what was in the journal and undecided is offered again, and so is what was held."""
        for event_id, position in sorted(self.world.undecided.items(), key=lambda item: item[1]):
            event = self.reader.at(position)
            if event is None or event.id != event_id or not self.shelf.index.candidates(event.type):
                self.world.undecided.pop(event_id, None)
            elif not self.queue.holds(event, position):
                self._enqueue(event, position)
        for key, holding in self.world.held.items():
            self._offer_later(key, holding)
        self.runner.start()
        self._wake()

    def close(self) -> None:
        self.closing = True
        for timer in self._offers.values():
            timer.cancel()
        self.runner.close()

    # --- in ---

    def offer(self, stored: Sequence[Stored]) -> None:
        """A batch is durable and applied."""
        own = False
        undecided = self.world.undecided
        match = self.shelf.index.match
        for event, position in stored:
            if event.id in undecided:
                if match(event):
                    self._enqueue(event, position)
                else:  # no playbook answers it: dealt with, and a replay would say the same
                    del undecided[event.id]
            if is_own(event.type):
                own = True
                self._own(event)
        if own:
            self.runner.folded(stored)
        if len(self.queue):
            self._wake()

    def _enqueue(self, event: Event, position: Position) -> None:
        if not self.queue.push(event, position, self.clock.monotonic()):
            self.world.undecided.pop(event.id, None)  # spilled: the queue knows where it stands

    def _own(self, event: Event) -> None:
        if event.type == "run.opened":
            self._opening.pop((event.data["playbook"], event.subject), None)
        elif event.type == "reactor.decided" and event.data["verdict"] == "held":
            key = (event.data["playbook"], event.subject)
            holding = self.world.held.get(key)
            if holding is not None:
                self._offer_later(key, holding)

    # --- deciding ---

    def _wake(self) -> None:
        if not self._pumping and not self.closing:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Decide what waits, best first, and say it all at once."""
        self._pumping = False
        if self.closing:
            return
        drafts: list[Draft] = []
        for _ in range(PUMP_BATCH):
            if len(self.world.runs) + len(self._opening) >= OPEN_RUNS_MAX:
                break
            waiting = self.queue.pop(self.clock.monotonic())
            if waiting is None:
                break
            self._decide(waiting.event, waiting.position, drafts)
        else:
            self._wake()
        if drafts:
            self.emit(*drafts)
        if self.queue.spilled and len(self.queue) < REFILL_BATCH and len(self.world.runs) < OPEN_RUNS_MAX:
            self.queue.refill(self.reader, REFILL_BATCH, self.clock.monotonic(), self._wanted)
            if len(self.queue) or self.queue.spilled:  # a refill may look far and find nothing yet; it always gets on
                self._wake()

    def _wanted(self, event: Event) -> bool:
        return bool(self.shelf.index.match(event))

    def _decide(self, event: Event, position: Position, drafts: list[Draft]) -> None:
        matches = self.shelf.index.match(event)
        decision = self._decision(event, position, matches) if matches else None
        if decision is None or decision.verdict == "no_match":
            self.world.undecided.pop(event.id, None)
            return
        self.decided += 1
        drafts.extend(decision.drafts)

    def _decision(self, event: Event, position: Position, matches: Sequence[Playbook]) -> Decision:
        decision = decide(
            event,
            position,
            matches,
            self.world,
            self.rules,
            self.skills,
            self.clock.now(),
            opening_now=self._opening,
            dependents=self.dependents,
        )
        if decision.verdict == "opened":
            self._opening[decision.playbook, event.subject] = decision.drafts[0].id
        return decision

    # --- what is held ---

    def _offer_later(self, key: tuple[str, str], holding: Holding) -> None:
        if (timer := self._offers.pop(key, None)) is not None:
            timer.cancel()
        if holding.until:
            delay_s = max(0.0, holding.until - self.clock.now())
            self._offers[key] = asyncio.get_running_loop().call_later(delay_s, self.offer_again, key)

    def offer_again(self, key: tuple[str, str]) -> None:
        """The guard's time is over: decide once more, if the symptom still stands."""
        self._offers.pop(key, None)
        holding = self.world.held.get(key)
        if holding is None or self.closing:
            return
        event = self.reader.at(holding.position) if self.world.stands(holding) else None
        if event is None:
            self.emit(_released(key, holding, "the symptom went away"))
            return
        matches = self.shelf.index.match(event)
        decision = self._decision(event, holding.position, matches) if matches else None
        if decision is None or decision.verdict == "no_match":
            self.emit(_released(key, holding, "no playbook in force matches it any more"))
        else:
            drafts = decision.drafts
            if decision.playbook != key[0]:
                drafts = (_released(key, holding, f"{decision.playbook} answers it now"), *drafts)
            self.emit(*drafts)

    def offer_held(self, guard: str) -> None:
        """A person lifted this guard: all that it holds is offered again."""
        for key, holding in list(self.world.held.items()):
            if holding.guard == guard:
                self.offer_again(key)

    def take_again(self, position: Position) -> None:
        """A dead letter that a person has tried again."""
        event = self.reader.at(position)
        if event is not None:
            self.world.undecided[event.id] = position
            self.queue.push_again(event, position, self.clock.monotonic())
            self._wake()

    def protected(self, resources: frozenset[str]) -> str:
        """The first of these that nothing may touch; empty when there is none."""
        return protected(resources, self.rules.protected)

    # --- runs that people or ladders open ---

    def open_fallback(self, parent: Run, name: str) -> tuple[Draft, ...] | str:
        """The drafts that open a fallback's run in the same incident; or why there can be none."""
        playbook = self.shelf.by_name.get(name)
        if playbook is None:
            return f"there is no playbook {name} in force"
        if name in self.world.disabled or not playbook.enabled:
            return f"playbook {name} is switched off"
        lineage = [*parent.lineage, [parent.playbook, parent.subject]]
        if [name, parent.subject] in lineage or len(lineage) > FALLBACKS_DEEP_MAX:
            return f"playbook {name} was tried for this already"
        held = self.world.guards.verdict(playbook, parent.subject, self.clock.now())
        if held is not None:
            return held.why
        return (self.opening_for(parent, playbook, lineage),)

    def opening_for(
        self,
        run: Run,
        playbook: Playbook,
        lineage: Sequence[Sequence[str]],
        *,
        by: str = "",
        approved: Mapping[str, str] | None = None,
        again: int = 0,
    ) -> Draft:
        """The draft that opens a further run for the event of this one."""
        event = trigger_of(run)
        return opening(
            event=event,
            playbook=playbook,
            mode=lesser_mode(playbook.mode, self.rules.mode_max),
            resources=resources_of(playbook, event, self.skills, self.clock.now()),
            incident=run.incident,
            priority=priority(event),
            lineage=lineage,
            parent=run.id,
            by=by,
            approved=approved,
            again=again,
        )


def trigger_of(run: Run) -> Event:
    """The event that a run answers, as far as the run remembers it."""
    t = run.trigger
    return Event(t["id"], t["source"], t["type"], t["subject"], t["time"], t["data"], format_time(run.opened_at), t["severity"])


def _released(key: tuple[str, str], holding: Holding, why: str) -> Draft:
    data = {
        "event": holding.event,
        "position": str(holding.position),
        "type": holding.type,
        "verdict": "released",
        "playbook": key[0],
        "run": "",
        "guard": holding.guard,
        "until": "",
        "why": why,
        "considered": [],
    }
    return Draft(type="reactor.decided", subject=key[1], data=data, causationid=holding.event)
