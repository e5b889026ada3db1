"""The real engine over a journal: reactor, world, runner and queue as the daemon has them, in virtual time, nothing outside.

`play.backtest` calls `Machine.run`. Time stands at the arrival of the event that is being decided, and moves on only where a
timer is due or the next event comes; what no playbook, no guard and no score asks about is never decoded.

A run that really was (same event, same text, same mode: hence the same id) is followed in its own record, step by step, so
that the same playbooks give the same runs as they did live. Every other run is driven by the real runner over stand-ins.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from math import inf

from aios.backtest import history as past
from aios.backtest.ledger import Ledger
from aios.backtest.stand_ins import Assume, StandInHands, StandInLooker, assuming, unchecked_where_unsaid
from aios.backtest.terms import LOADED, Terms
from aios.entropy import SeededEntropy
from aios.errors import MachineError, Refused
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import CLOSES, CORRELATED, WINDOW_DUE, usual_severity
from aios.events.event import START, SYSTEM, Draft, Event, Position, Stored, format_time, parse_time
from aios.journal.archive import IMPORTED_FROM
from aios.journal.query import History
from aios.playbooks.correlate import SILENCE_S
from aios.playbooks.index import Index
from aios.playbooks.model import Playbook, lesser_mode
from aios.playbooks.protection import protected
from aios.playbooks.run import Run
from aios.playbooks.run_opening import run_id
from aios.playbooks.run_words import Env
from aios.reactor.holding import held_before_act
from aios.reactor.pump import Reactor
from aios.reactor.runs import Runner, RunnerPorts
from aios.reactor.shelf import Shelf
from aios.scheduler.queue import EventQueue
from aios.scheduler.slots import Slots
from aios.scores.scores import Scores
from aios.testing.blobs import SimBlobs
from aios.testing.loop import VirtualLoop
from aios.world import World

SOURCE = "aios/backtest"
MICROSECOND = 1e-6
TOGETHER_MAX = 512
"""Events that arrived at once are decided at once, as the daemon does; so many of them at most."""
LATE_S = 2.0
"""So long a trigger of several events waits for one that comes late."""
ENDING_MAX_S = 3600.0
"""For so long after the last event runs that go on are followed to their end."""
REMEMBERED_MIN = 2000
"""Events that may be offered again are remembered by position; of those that are held or undecided all, of others so many."""
HOLDS_MAX = 40_000


@dataclass(frozen=True, slots=True)
class How:
    """How whoever asks wants it played."""

    assume: Assume = "well"
    grants: bool = True
    """Whether modes that persons gave count; not where whoever asks names the mode."""
    terms_of: Callable[[Event], Terms | None] = lambda _loaded: None
    """The terms that were in force from this event on; None: those before stay."""


@dataclass(slots=True)
class WallClock:
    """The loop's time is the wall clock's, less what that was put back: then time goes on, and its hands do not."""

    loop: VirtualLoop
    back_s: float = 0.0

    def now(self) -> float:
        return self.loop.time() - self.back_s

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self.loop.time()))


class _Runner(Runner):
    """Leaves alone the runs that are followed in the record: without a slot nothing of theirs is driven."""

    followed: set[str]

    def _want_slot(self, run: Run) -> None:
        if run.id not in self.followed:
            super()._want_slot(run)


class Machine:
    """See the head of this file. `tried` are asked about, `company` is in force beside them."""

    def __init__(
        self,
        history: History,
        tried: Sequence[Playbook],
        company: Sequence[Playbook],
        skills: SkillCatalogue,
        terms: Terms,
        how: How,
        ledger: Ledger,
        record: past.Record,
    ) -> None:
        self._history, self._skills, self._how, self._ledger, self._record = history, skills, how, ledger, record
        self._playbooks = {p.name: p for p in (*company, *tried)}
        self._loop = VirtualLoop(resolution_s=MICROSECOND)
        self._clock = WallClock(self._loop)
        self._entropy = SeededEntropy(0)
        self._assumed: dict[str, Playbook] = {}
        self._lenient = unchecked_where_unsaid(skills, self._playbooks.values())
        self._events: dict[Position, Event] = {}
        self._followed: set[str] = set()
        self._at = START
        self._bumps = 0
        self._scores = any(map(asks_for_scores, self._playbooks.values()))
        self._decided: set[str] = set()
        self._holds: dict[str, int] = {}
        self._early = past.Early()
        self.first = self.last = 0.0
        self._watched_until = inf
        self.events = 0
        self._assemble(terms)
        self._go_by(terms)

    def _assemble(self, terms: Terms) -> None:
        """As `daemon.assemble` does, with stand-ins for everything outside."""
        world = self.world = World(Scores())
        world.named_own = frozenset(name for p in self._playbooks.values() for name in p.types if name.startswith(_OWN))
        shelf = Shelf(SimBlobs(), self._skills)
        shelf.index, shelf.by_name = Index(self._playbooks.values()), dict(self._playbooks)
        ports = RunnerPorts(
            self._clock, self._entropy, self.emit, StandInHands(), StandInLooker(world, self._how.assume), self._lenient
        )
        runner = self._runner = _Runner(world, Slots(terms.slots), ports, self._text_of, self._env_of)
        runner.followed = self._followed
        self.reactor = Reactor(
            world, shelf, EventQueue(), runner, terms.rules, self._skills, self._clock, self.emit, _Reader(self)
        )
        runner.open_fallback = self.reactor.open_fallback
        self.index = shelf.index

    def _go_by(self, terms: Terms) -> None:
        """What the settings say from here on."""
        self._terms, self.reactor.rules, self.world.settle_s = terms, terms.rules, terms.settle_s
        self._runner.slots.resize(terms.slots)
        self.world.scores.measure(terms.score_window_s, terms.latency_targets_ms)

    # --- what the engine asks for

    def _text_of(self, run: Run) -> Playbook:
        known = self._assumed.get(run.playbook)
        if known is None:
            known = self._assumed[run.playbook] = assuming(self._playbooks[run.playbook])
        return known

    def _env_of(self, run: Run, playbook: Playbook, chance: float) -> Env:
        """What a run may know and do at this moment of the past."""
        now, rules, world = self._clock.now(), self._terms.rules, self.world
        return Env(
            now=now,
            playbook=playbook,
            skills=self._lenient,
            mode_max=lesser_mode(rules.mode_max, world.trust.mode_of(playbook)),
            watch_s=self._terms.watch_s,
            paused=world.is_paused(now),
            resumes_at=world.paused_until,
            disabled=run.playbook in world.disabled,
            protected=lambda resources: protected(resources, rules.protected),
            acts_again_at=world.guards.acts_again_at(now, rules.acts_per_hour),
            held_now=lambda: held_before_act(playbook, run, world, rules, self.reactor.in_flight.triggers, now),
            score=world.scores.value(run.subject, now) if self._scores else None,
            system_score=world.scores.value(SYSTEM, now) if self._scores else None,
            chance=chance,
            call_env=self._terms.call_env,
        )

    def emit(self, *drafts: Draft) -> Future[list[Position]]:
        """The one door of the backtest: what the engine says is durable at once, and is applied in its turn."""
        if self._clock.now() > self._watched_until:
            drafts = tuple(draft for draft in drafts if draft.type != WINDOW_DUE)
            if not drafts:  # nobody was there to see that a window is over: it is seen when the daemon is up again
                return self._loop.create_future()
        now = format_time(self._clock.now())
        stored = [Stored(self._event_of(draft, now), self._next_position()) for draft in drafts]
        done: Future[list[Position]] = self._loop.create_future()
        self._loop.call_soon(self._durable, stored, done)
        return done

    def _event_of(self, draft: Draft, now: str) -> Event:
        return Event(
            draft.id or self._entropy.new_id(),
            SOURCE,
            draft.type,
            draft.subject,
            draft.time or now,
            draft.data,
            now,
            draft.severity or usual_severity(draft.type),
            "",
            draft.causationid,
            draft.correlationid,
        )

    def _next_position(self) -> Position:
        """Right behind the line that it follows from."""
        self._bumps += 1
        return self._at._replace(offset=self._at.offset + self._bumps)

    def _durable(self, stored: list[Stored], done: Future[list[Position]]) -> None:
        for event, position in stored:
            self._choose(event)
            self._apply(event, position)
            if event.type == CORRELATED:
                self._ledger.saw(event, self.index.match(event))
        done.set_result([position for _, position in stored])
        self.reactor.offer(stored)

    def _choose(self, event: Event) -> None:
        """A run that opens is followed where its record begins here and now; the ledger hears of everything."""
        if event.type == "run.opened":
            data = event.data
            held = self._holds.pop(data["run"], 0)
            early = self._early.take(data["run"], event.taken)
            if self._record.follows(data["run"], data["hash"], data["mode"], START if early else self._at, held):
                self._followed.add(data["run"])
                self._loop.call_soon(self._catch_up, early[1:])
            self._decided.add(str(data["event"]))
        elif event.type in ("reactor.decided", "scheduler.dead_letter"):
            self._decided.add(str(event.data["event"]))
            self._count_hold(event)
        self._ledger.said(event, event.type == "run.opened" and event.data["run"] in self._followed)
        if event.type == "approval.requested":
            self._loop.call_soon(self._say_yes, event.data["run"])

    def _catch_up(self, came_by: Sequence[Stored]) -> None:
        for event, position in came_by:
            self._fold(event, position)

    def _count_hold(self, event: Event) -> None:
        """How often the run that may follow was held before."""
        verdict = event.data.get("verdict")
        if verdict in ("held", "released"):
            run = run_id(str(event.data["event"]), str(event.data["playbook"]))
            held = self._holds.pop(run, 0)
            if verdict == "held" and len(self._holds) < HOLDS_MAX:
                self._holds[run] = held + 1

    def _say_yes(self, asking: str) -> None:
        """A person who is asked says yes, or the first choice, at once: nobody knows what they would have said."""
        run = self.world.runs.get(asking)
        if run is not None:
            self._loop.create_task(self._answer(run))

    async def _answer(self, run: Run) -> None:
        choices = (run.asked or {}).get("choices") or [""]
        await self._runner.answer(run, True, "the backtest", choice=next(iter(choices)))

    def _apply(self, event: Event, position: Position) -> None:
        self.world.apply(event, position)
        if event.id in self.world.undecided:
            self._remember(event, position)

    def _remember(self, event: Event, position: Position) -> None:
        self._events[position] = event
        if len(self._events) > REMEMBERED_MIN + 2 * len(self.world.held):
            kept = {holding.position for holding in self.world.held.values()} | set(self.world.undecided.values())
            self._events = {at: one for at, one in self._events.items() if at in kept}

    # --- the way through time

    def know(self, before: Iterator[Stored]) -> None:
        """How things stood when the first event came. Nothing of it is decided, and no run of then is known."""
        for event, position in before:
            if event.type == LOADED:
                self._go_by(self._how.terms_of(event) or self._terms)
            elif self._counts(event):
                self.world.apply(event, position)
        self.world.undecided.clear()

    def _counts(self, event: Event) -> bool:
        """Whether this is taken as it was: grants where they are wanted, storms where nobody can tell them again."""
        if event.type in past.GRANTS and not self._how.grants:
            return False
        return past.is_input(event) and not (event.type in past.STORMS and self.world.relations.watched)

    def run(self, stream: Iterator[Stored], end: float) -> None:
        """From the first event to the last, until the journal's `end`, and on to the end of what they began."""
        try:
            asyncio.events.set_event_loop(self._loop)
            self._loop.run_until_complete(self._go_through(stream, end))
            if self._loop.stray:
                raise self._loop.stray[0]
        finally:
            self._close()

    def _close(self) -> None:
        self.reactor.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
        asyncio.events.set_event_loop(None)

    async def _go_through(self, stream: Iterator[Stored], end: float) -> None:
        for arrival, together in groupby(stream, key=_arrival):
            at = _moment(arrival)
            if at is None:
                continue
            first = next(together)
            together = chain((first,), together)
            self._watched_until = self._last_sign_before(first.event, at)
            await self._until(at)
            self._watched_until = inf
            if not self.first:
                self.reactor.start()
                self._begin_windows(at)
            self.first = self.first or at
            self.last = max(self.last, at)
            while batch := list(islice(together, TOGETHER_MAX)):
                self.events += len(batch)
                self._take(batch)
                await self._settle()
                self._nothing_said(batch)
        await self._until(max(end, self.last + LATE_S))
        await self._finish()

    def _last_sign_before(self, event: Event, at: float) -> float:
        """Until when somebody watched before this event, as far as windows go; without end where nobody was away."""
        if not self.world.correlator.trackers:
            return inf
        told = event.data.get("blind_since") if event.type == "daemon.started" else None
        if isinstance(told, str) and told:
            return _moment(told) or inf
        return self.last if at - self.last > SILENCE_S else inf

    def _begin_windows(self, at: float) -> None:
        """What waits for several events begins with the first line that is read: what was seen before it, nobody knows."""
        together = {p.name: p.correlation for p in self._playbooks.values() if p.correlation is not None and p.enabled}
        self.world.correlator.begin(together, at, START)

    async def _finish(self) -> None:
        """What was begun goes on to its end; what is held stays held, for what came after the journal's end nobody knows."""
        self.reactor.closing = True
        ends = self._clock.now() + ENDING_MAX_S
        while self._clock.now() < ends and any(run not in self._followed for run in self.world.runs):
            await self._until(min(self._clock.now() + 10.0, ends))

    async def _until(self, arrival: float) -> None:
        """Everything that is due before happens first. A wall clock that was put back is so here too."""
        loop, at = self._loop, arrival + self._clock.back_s
        while loop.is_due(at):
            due: Future[None] = loop.create_future()
            loop.call_at(at, _wake, due)
            await due
            await self._settle()
        loop.set_time(at)
        if at < loop.time():
            self._clock.back_s = loop.time() - arrival

    async def _settle(self) -> None:
        """Until nothing is left to do at this time."""
        while not self._loop.idle:  # noqa: ASYNC110  there is no event to wait for: it asks the loop itself
            await asyncio.sleep(0)

    def _take(self, batch: list[Stored]) -> None:
        offered = []
        for event, position in batch:
            if position.part < IMPORTED_FROM:
                self._at, self._bumps = position, 0
            if event.type.startswith(_RUNS):
                self._follow(event, position)
                continue
            if not self._counts(event):
                continue
            if event.type == LOADED:
                self._other_settings(event)
                continue
            if event.type in CLOSES:
                self._ledger.closed(event)
            self._apply(event, position)
            offered.append(Stored(event, position))
            if self.index.candidates(event.type) and (matches := self.index.match(event)):
                self._ledger.saw(event, matches)
        if offered:
            self.reactor.offer(offered)

    def _nothing_said(self, batch: list[Stored]) -> None:
        """What matched and was never decided: every `when` said no."""
        for event, _ in batch:
            if event.id in self._decided or not self.index.candidates(event.type) or event.type.startswith(_RUNS):
                continue
            if matches := self.index.match(event):
                off = frozenset(p.name for p in matches if p.name in self.world.disabled)
                self._ledger.nothing_said(event, matches, off)
        self._decided.clear()

    def _other_settings(self, event: Event) -> None:
        """As after a start by them: what only the old ones held is offered again."""
        terms = self._how.terms_of(event)
        if terms is not None and terms != self._terms:
            self._go_by(terms)
            self.reactor.offer_unprotected()
            self.reactor.look_around()

    def _follow(self, event: Event, position: Position) -> None:
        """The record of a real run: it goes on as it did, where it is followed; else it is only history."""
        self._ledger.was(event)
        data = event.data
        run = str(data.get("run", ""))
        if event.type == "run.opened":
            if run in self.world.runs or run in self.world.recent:
                return
            if self._opened_outside(event):
                self._followed.add(run)
        if run in self._followed:
            self._fold(event, position)
        else:
            self._early.note(event, position)
        if run not in self._followed and self._scores and data.get("playbook") not in self._playbooks:
            self.world.scores.apply(event)

    def _opened_outside(self, event: Event) -> bool:
        """Runs that a person asked for or had tried again, and fallbacks of runs that are followed: no decision gives them."""
        data = event.data
        asked = bool(data.get("by")) or bool(data.get("again"))
        return data.get("playbook") in self._playbooks and (asked or data.get("parent") in self._followed)

    def _fold(self, event: Event, position: Position) -> None:
        try:
            self._ledger.said(event, True)
            self._apply(event, position)
            self.reactor.offer([Stored(event, position)])
        except (MachineError, KeyError, TypeError, ValueError) as error:
            where = f"the record of run {str(event.data.get('run'))[:40]!r} cannot be folded at {position}: {error}"
            raise Refused(where, "the journal is damaged there: aios journal verify") from None
        run = self.world.runs.get(event.data["run"])
        if run is None:
            self._followed.discard(event.data["run"])


class _Reader:
    """The journal, for what is offered again."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def at(self, position: Position) -> Event | None:
        machine = self._machine
        found = machine._events.get(position)
        return found if found is not None else machine._history.at(position)

    def read(self, after: Position | None = None) -> Iterator[Stored]:
        return iter(())


_RUNS = ("run.", "approval.")
_OWN = ("run.", "approval.", "scheduler.", "reactor.", "journal.", "playbook.", "score.", "daemon.", "timer.")


def asks_for_scores(playbook: Playbook) -> bool:
    """Whether any of its expressions may name a score."""
    conditions = [playbook.when, *(step.condition for step in playbook.steps)]
    sources: list[object] = [condition.source for condition in conditions if condition is not None]
    sources += [step.params.source for step in playbook.steps]
    sources += [check.params.source for check in playbook.verify]
    return "score" in repr(sources)


def _arrival(stored: Stored) -> str:
    return stored.event.arrival


def _moment(arrival: str) -> float | None:
    try:
        return parse_time(arrival)
    except ValueError:
        return None


def _wake(due: Future[None]) -> None:
    if not due.done():
        due.set_result(None)
