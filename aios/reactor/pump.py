"""The pump: takes durable events from the queue, matches them, decides, and says so.

The spine tells it every durable batch (`offer`); `runs.Runner` obeys the runs that it opens. What is decided stands in
`decide.py`; this file holds what waits: the queue, what guards held until a time, what has been spilled.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from aios.clock import Clock
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import CLOSES, LEARNED, WINDOW_DUE, is_own
from aios.events.event import START, SYSTEM, Draft, Event, Position, Stored, format_time
from aios.playbooks.index import Index
from aios.playbooks.model import MODES, Mode, Playbook, lesser_mode
from aios.playbooks.protection import protected
from aios.playbooks.run import Run
from aios.playbooks.run_opening import opening, run_id, unfit
from aios.ports import Emit, JournalReader
from aios.reactor.decide import NO_MATCH, Decision, InFlight, decide, resources_of
from aios.reactor.holding import HeldOn, Rules, held_now, room_for, storm_news
from aios.reactor.runs import Runner
from aios.reactor.shelf import Shelf
from aios.scheduler.priority import priority
from aios.scheduler.queue import EventQueue
from aios.world import LIFTED, Holding, World

OPEN_RUNS_MAX = 1000
"""Beyond so many open runs events wait in the queue (and spill from there), but for P0; waiting runs are bounded with them."""
PUMP_BATCH = 512
"""Events decided before the loop gets a turn for others."""
HELD_MAX = 20_000
"""So many playbooks and subjects may be held at once; what comes on top is a dead letter, which a person can have tried again."""
FALLBACKS_DEEP_MAX = 8
TICK_S = 0.001
"""A deadline is looked at so much after it: the journal's times are whole microseconds, timers are not that exact."""
EARLY_S = 2e-6
"""Times of the wall and of the loop are no exact sums: what lies so near together is one moment."""
_LIFTING = frozenset({"reactor.storm_began", "reactor.storm_over", "daemon.silence_ended", "daemon.resumed"})
"""What runs that wait for a guard wait for, besides that something is well again."""
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
    in_flight: InFlight = field(default_factory=InFlight)
    decided_since: frozenset[str] = frozenset()
    """Events that were decided after the checkpoint that the queue comes from: of these, what it calls spilled is not."""
    undecided_types: Mapping[str, str] = field(default_factory=dict)
    """Types of events that were undecided when the daemon started, by their ids: most are for no playbook at all."""
    _index: Index | None = None
    _offers: dict[tuple[str, str], float] = field(default_factory=dict)
    """What is held until a time: when, on the loop's clock."""
    _offers_due: list[tuple[float, tuple[str, str]]] = field(default_factory=list)
    """The same as a heap; what is there no more, or has another time, is dropped when met."""
    _offer_timer: TimerHandle | None = None
    _offered: dict[str, tuple[str, str]] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    """What of the correlator's is on its way into the journal."""
    _due: TimerHandle | None = None
    _due_at: float = 0.0
    _held_on: HeldOn = field(default_factory=HeldOn)
    _ill_changes: int = -1
    _storm_said: str = ""
    _demoting: set[tuple[str, str]] = field(default_factory=set)
    _pumping: bool = False
    closing: bool = False

    def start(self, before: Index | None = None) -> None:
        """After a restart: what was in the journal and undecided is decided, by what was in force `before` where that is given.

        What was held is offered again when its time comes, or now, where only the settings kept it.
        """
        self._index = before
        for event_id, position in sorted(self.world.undecided.items(), key=lambda item: item[1]):
            event = self._still_wanted(event_id, position)
            if event is None:
                self.world.undecided.pop(event_id, None)
            elif not self.queue.holds(event, position):
                self._enqueue(event, position)
        self.undecided_types = {}
        if before is not None:
            while len(self.queue) and self._pump():
                pass
            self._index = None
        for key, holding in list(self.world.held.items()):
            self._offer_later(key, holding)
            self._held_on.add(key, holding)
        self.offer_unprotected()
        self.offer_held(LIFTED)
        self.look_around()
        self._judge_trust()
        self.runner.start()
        self._correlate()
        self._wake()

    def _still_wanted(self, event_id: str, position: Position) -> Event | None:
        """Read again only if its type is one that a playbook answers: a busy machine has tens of thousands that none does."""
        known = self.undecided_types.get(event_id)
        if known is not None and not self.index.candidates(known):
            return None
        event = self.reader.at(position)
        return event if event is not None and event.id == event_id and self.index.match(event) else None

    @property
    def index(self) -> Index:
        """The playbooks by which events are decided now."""
        return self._index or self.shelf.index

    @property
    def dealt_with(self) -> Position:
        """Everything in the journal up to here is decided, or can never be."""
        first = min(self.world.undecided.values(), default=self.world.position)
        first = min(first, self.queue.first_spilled or first)
        return first if first == self.world.position else first._replace(offset=first.offset - 1)

    def close(self) -> None:
        self.closing = True
        for timer in (self._offer_timer, self._due):
            if timer is not None:
                timer.cancel()
        self.runner.close()

    # --- in ---

    def offer(self, stored: Sequence[Stored]) -> None:
        """A batch is durable and applied."""
        own = False
        undecided, match = self.world.undecided, self.index.match
        push, now = self.queue.push, self.clock.monotonic()
        for event, position in stored:
            # What no playbook answers is dealt with, and a replay would say the same; of what is spilled the queue knows.
            if event.id in undecided and not (match(event) and push(event, position, now)):
                del undecided[event.id]
            if is_own(event.type):
                own = True
                self._own(event)
            elif event.type in CLOSES:
                self.runner.wake_watching(event.subject)
        if self.world.ill_changes != self._ill_changes:
            self.look_around()
        if own:
            self.runner.folded(stored)
            self.runner.wake_crowded()
            self._offer_freed()
            self._judge_trust()
        if self.world.correlator.trackers or self.world.correlator.pending:
            self._correlate()
        if len(self.queue) or self.queue.spilled:
            self._wake()

    def _enqueue(self, event: Event, position: Position) -> None:
        if not self.queue.push(event, position, self.clock.monotonic()):
            self.world.undecided.pop(event.id, None)  # spilled: the queue knows where it stands

    def _judge_trust(self) -> None:
        """Playbooks of which a run has ended: one that heals too seldom may do less from now on, and a person is told."""
        changed = self.world.trust.changed
        while changed and not self.closing:
            playbook = self.shelf.by_name.get(changed.pop())
            fallen = self.world.trust.fallen(playbook, self.rules.trust) if playbook is not None else None
            if playbook is None or fallen is None or (playbook.name, playbook.hash) in self._demoting:
                continue
            self._demoting.add((playbook.name, playbook.hash))
            to, why = fallen
            before = self.world.trust.mode_of(playbook)
            self.emit(granting(playbook, before=before, to=to, by="", reason=why))

    def _own(self, event: Event) -> None:
        if event.type in ("playbook.demoted", "playbook.promoted"):
            self._demoting.discard((event.data["playbook"], event.data["hash"]))
        if event.type in _LIFTING:
            self._storm_said = "" if event.type.startswith("reactor.storm") else self._storm_said
            self.runner.wake_guarded()
        if event.type == "daemon.resumed":  # what waits for that is woken, and what held itself back may try again
            self.runner.wake_all("resume")
            self.offer_held(LIFTED)
        if event.type == LEARNED:
            self.look_around()
        if event.type not in ("run.opened", "reactor.decided"):
            return
        self.in_flight.folded(event)
        if event.type == "reactor.decided" and event.data["verdict"] == "held":
            key = (event.data["playbook"], event.subject)
            holding = self.world.held.get(key)
            if holding is not None:
                self._offer_later(key, holding)
                self._held_on.add(key, holding)

    # --- several events together ---

    def _correlate(self) -> None:
        """Say what became complete, and see to it that the journal goes on when a window is over."""
        correlator = self.world.correlator
        self._said &= correlator.pending.keys()
        fresh = [draft for name, draft in correlator.pending.items() if name not in self._said]
        if fresh and not self.closing:
            self._said |= {draft.id for draft in fresh}
            self.emit(*fresh)
        due_at = correlator.due() or 0.0
        if due_at != self._due_at or self._due is None:
            self._look_again(due_at)

    def _look_again(self, due_at: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due, self._due_at = None, due_at
        if due_at and not self.closing:
            delay_s = max(0.0, due_at - self.clock.now()) + TICK_S
            self._due = asyncio.get_running_loop().call_later(delay_s, self._time_went_on)

    def _time_went_on(self) -> None:
        """The watermark follows the journal alone, so that a replay decides the same: so something is put there at a deadline."""
        self._due, self._due_at = None, 0.0
        if not self.closing:
            self.emit(Draft(type=WINDOW_DUE, subject=SYSTEM))

    # --- deciding ---

    def _wake(self) -> None:
        if not self._pumping and not self.closing:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> int:
        """Decide what waits, best first, and say it all at once. How many were decided."""
        self._pumping = False
        if self.closing:
            return 0
        drafts: list[Draft] = []
        taken = 0
        for _ in range(PUMP_BATCH):
            if len(self.world.runs) + len(self.in_flight.runs) >= OPEN_RUNS_MAX and not self.queue.urgent:
                break
            waiting = self.queue.pop(self.clock.monotonic())
            if waiting is None:
                break
            taken += 1
            self._decide(waiting.event, waiting.position, drafts)
        else:
            self._wake()
        if drafts:
            self.emit(*drafts)
        if self.queue.spilled and len(self.queue) < REFILL_BATCH and len(self.world.runs) < OPEN_RUNS_MAX:
            self._refill()
        return taken

    def _refill(self) -> None:
        """Read again what was spilled; it counts as undecided from here on."""
        missing = self.queue.refill(self.reader, REFILL_BATCH, self.clock.monotonic(), self._wanted, self._came_back)
        if missing:
            why = f"{missing} spilled events could not be read again: the journal does not hold them any more"
            self.emit(_dead_letter(Event("", "", "", SYSTEM, "", {}, ""), START, why))
        if len(self.queue) or self.queue.spilled:  # a refill may look far and find nothing yet; it always gets on
            self._wake()

    def _wanted(self, event: Event) -> bool:
        return event.id not in self.decided_since and bool(self.index.match(event))

    def _came_back(self, event: Event, position: Position) -> None:
        if event.id not in self._offered:  # what is held stands in the world already
            self.world.undecided[event.id] = position

    def _decide(self, event: Event, position: Position, drafts: list[Draft]) -> None:
        offered = self._offered.pop(event.id, None)
        holding = self.world.held.get(offered) if offered is not None else None
        if offered is not None and holding is None:
            self._offer_freed()  # its place is another's
            return  # the symptom went away, or its run was opened, while it waited for its turn
        matches = self.index.match(event)
        decision = self._decision(event, position, matches) if matches else NO_MATCH
        if holding is not None and decision.playbook != holding.playbook and decision.verdict != "dead":
            why = f"{decision.playbook} answers it now" if decision.playbook else "no playbook in force matches it any more"
            drafts.append(_released(holding, why))
        if decision.verdict == "no_match":
            self.world.undecided.pop(event.id, None)
            return
        drafts.extend(decision.drafts)

    def _decision(self, event: Event, position: Position, matches: Sequence[Playbook]) -> Decision:
        now = self.clock.now()
        try:
            decision = decide(
                event,
                position,
                matches,
                self.world,
                self.rules,
                self.skills,
                now,
                in_flight=self.in_flight,
            )
        except Exception as error:  # noqa: BLE001  skills are asked what they touch, and an outsider's may fail in any way
            return _dead(event, position, f"it could not be decided: {type(error).__name__}: {error}"[:500])
        if decision.verdict == "opened" and (why := unfit(decision.drafts[0])):
            return _dead(event, position, why)
        fresh = (decision.playbook, event.subject) not in self.world.held
        if decision.verdict == "held" and fresh and len(self.world.held) >= HELD_MAX:
            return _dead(event, position, f"{HELD_MAX} others are held by guards already")
        if decision.drafts:
            self.in_flight.begun(decision, event.subject, now, self.world)
        return decision

    # --- what is held ---

    def _offer_later(self, key: tuple[str, str], holding: Holding) -> None:
        self._offers.pop(key, None)
        if holding.until:
            # A clock that went back since, over a restart, makes nothing wait longer than it would have at first.
            at = asyncio.get_running_loop().time() + max(0.0, holding.until - max(self.clock.now(), holding.since))
            self._offers[key] = at
            heappush(self._offers_due, (at, key))
            self._offer_at(self._offers_due[0][0])

    def _offer_at(self, at: float) -> None:
        loop = asyncio.get_running_loop()
        if self._offer_timer is not None and loop.time() < self._offer_timer.when() <= at:
            return
        if self._offer_timer is not None:
            self._offer_timer.cancel()
        self._offer_timer = loop.call_at(at, self._offer_due)

    def _offer_due(self) -> None:
        """All whose time has come: of one moment in the order in which they happened, as in any replay of the journal."""
        self._offer_timer = None
        now, due, again_at = asyncio.get_running_loop().time(), [], 0.0
        while self._offers_due and self._offers_due[0][0] <= now + EARLY_S:
            at, key = heappop(self._offers_due)
            if self._offers.get(key) == at and (holding := self.world.held.get(key)) is not None:
                due.append((holding.position, key))
                again_at = max(again_at, holding.until)
        if 0.0 < again_at - self.clock.now() < EARLY_S:  # a moment early, and then the guards still hold them
            for _, key in due:
                heappush(self._offers_due, (self._offers[key], key))
            self._offer_timer = asyncio.get_running_loop().call_at(now + EARLY_S, self._offer_due)
            return
        for _, key in sorted(due):
            self.offer_again(key)
        if self._offers_due:
            self._offer_at(self._offers_due[0][0])

    def offer_again(self, key: tuple[str, str]) -> None:
        """The guard's time is over, or a person lifted it: it is decided once more in its turn, if the symptom still stands."""
        self._offers.pop(key, None)
        holding = self.world.held.get(key)
        if holding is None or self.closing or holding.event in self._offered or key in self.in_flight.held:
            return  # what was decided of it just now is looked at once it is folded
        event = self.reader.at(holding.position) if self.world.stands(holding) else None
        if event is None:
            self.emit(_released(holding, "the symptom went away"))
            return
        self._offered[event.id] = key
        if not self.queue.holds(event, holding.position):
            self.queue.push_again(event, holding.position, self.clock.monotonic())
        self._wake()

    def offer_held(self, guard: str) -> None:
        """This guard was lifted: all that it holds is offered again."""
        for key, holding in list(self.world.held.items()):
            if holding.guard == guard:
                self.offer_again(key)

    def offer_unprotected(self) -> None:
        """Other settings are in force: what only the old ones kept from being touched is offered again."""
        for key, holding in list(self.world.held.items()):
            if holding.guard == "protected" and not self.protected(frozenset((holding.subject,))):
                self.offer_again(key)

    def look_around(self) -> None:
        """Who is ill has changed, or who is watched: a storm may begin or be over, and what waited for others may go on."""
        self._ill_changes = self.world.ill_changes
        news = storm_news(self.world, self.rules)
        if news is not None and news.type != self._storm_said and not self.closing:
            self._storm_said = news.type
            self.emit(news)
        self._offer_freed()
        self.runner.wake_guarded()

    def _offer_freed(self) -> None:
        """Offer again what waits for something that is over: as many as there is room for."""
        if self._held_on.groups:
            for key in self._held_on.free(self.world, self._room_for, self._offered):
                self.offer_again(key)

    def _room_for(self, guard: str, on: str) -> int | None:
        return room_for(guard, on, self.world, self.rules, self.in_flight.triggers, self.shelf.by_name)

    def take_again(self, position: Position) -> bool:
        """A dead letter that a person has tried again. False: the journal does not hold its event any more."""
        event = self.reader.at(position)
        if event is None:
            return False
        self.world.undecided[event.id] = position
        if not self.queue.holds(event, position) and not self.queue.push_again(event, position, self.clock.monotonic()):
            del self.world.undecided[event.id]  # spilled: the queue knows where it stands
        self._wake()
        return True

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
        if (name, parent.subject) in self.world.open_pairs:
            return f"a run of {name} is open on {parent.subject} already"
        now = self.clock.now()
        held = self.world.guards.verdict(playbook, parent.subject, now)
        if held is not None and held.guard != "called":  # a rung of the ladder is not a new cry for help
            return held.why
        if playbook.acts and (held := held_now(playbook, parent.subject, self.world, self.rules, now)):
            return held.why
        draft = self.opening_for(parent, playbook, lineage, again=parent.again)
        return unfit(draft) or (draft,)

    def opening_for(
        self,
        run: Run,
        playbook: Playbook,
        lineage: Sequence[Sequence[str]],
        *,
        by: str = "",
        approved: Mapping[str, str] | None = None,
        again: int = 0,
        kept: Mapping[str, Mapping[str, Any]] | None = None,
        passed: Sequence[str] = (),
    ) -> Draft:
        """The draft that opens a further run for the event of this one."""
        event = trigger_of(run)
        return opening(
            event=event,
            playbook=playbook,
            mode=lesser_mode(self.world.trust.mode_of(playbook), self.rules.mode_max),
            resources=resources_of(playbook, event, self.skills, self.clock.now()),
            incident=run.incident,
            priority=priority(event),
            lineage=lineage,
            parent=run.id,
            by=by,
            approved=approved,
            again=again,
            kept=kept,
            passed=passed,
        )


def trigger_of(run: Run) -> Event:
    """The event that a run answers, as far as the run remembers it."""
    t = run.trigger
    return Event(t["id"], t["source"], t["type"], t["subject"], t["time"], t["data"], format_time(run.opened_at), t["severity"])


def _dead(event: Event, position: Position, why: str) -> Decision:
    return Decision("dead", (_dead_letter(event, position, why),))


def _dead_letter(event: Event, position: Position, why: str) -> Draft:
    letter = run_id(event.id or str(position), "dead letter")  # the same event again gives the same letter
    data = {"letter": letter, "event": event.id, "position": str(position), "reason": why}
    return Draft(type="scheduler.dead_letter", subject=event.subject, data=data, causationid=event.id)


def _released(holding: Holding, why: str) -> Draft:
    data = {
        "event": holding.event,
        "position": str(holding.position),
        "type": holding.type,
        "verdict": "released",
        "playbook": holding.playbook,
        "run": "",
        "guard": holding.guard,
        "until": "",
        "why": why,
        "considered": [],
    }
    return Draft(type="reactor.decided", subject=holding.subject, data=data, causationid=holding.event)


def granting(playbook: Playbook, *, before: Mode, to: Mode, by: str, reason: str, earned: bool = False) -> Draft:
    """The event by which another mode is in force for this text."""
    kind = "playbook.promoted" if MODES.index(to) > MODES.index(before) else "playbook.demoted"
    data = {"playbook": playbook.name, "hash": playbook.hash, "before": before, "to": to, "by": by, "reason": reason}
    return Draft(type=kind, subject=SYSTEM, data={**data, "earned": earned})
