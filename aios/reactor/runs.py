"""Runs, driven: asks each open run what is to be done, does it through the ports, and tells the run what came of it.

The pump calls `folded` after each durable batch; people's answers come through `answer`, `cancel`, `take_back`. Each run has
at most one thing under way (`_busy`); a run that waits holds no slot. What a run wants next stands in `playbooks/run.py`.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, Task, TimerHandle
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from aios.clock import Clock
from aios.entropy import Entropy
from aios.events.calls import SkillCatalogue, SkillResult
from aios.events.event import Draft, Position, Stored
from aios.playbooks.model import Playbook
from aios.playbooks.run import Run
from aios.playbooks.run_state import said_no
from aios.playbooks.run_words import (
    Act,
    Answered,
    Ask,
    Cancelled,
    Checked,
    Command,
    CutOff,
    Env,
    Happening,
    Look,
    OpenFallback,
    Over,
    RungEnded,
    Say,
    StepEnded,
    TakeBack,
    Wait,
)
from aios.ports import Emit, Hands, Looker
from aios.reactor.checks import ask
from aios.scheduler.slots import Slots
from aios.world import World

SAID_AT_ONCE_MAX = 32
LOST_AFTER_S = 10.0
"""An act that gave no result so long after its deadline and its cancelling is looked up on the disk."""


class EnvOf(Protocol):
    def __call__(self, run: Run, playbook: Playbook, chance: float) -> Env: ...


@dataclass(slots=True)
class RunnerPorts:
    clock: Clock
    entropy: Entropy
    emit: Emit
    hands: Hands
    looker: Looker
    skills: SkillCatalogue


@dataclass(slots=True)
class Runner:
    """See the head of this file. `playbook_of(hash, name)` finds a run's own text; `env_of` says what is in force."""

    world: World
    slots: Slots
    ports: RunnerPorts
    playbook_of: Callable[[Run], Playbook]
    env_of: EnvOf
    open_fallback: Callable[[Run, str], tuple[Draft, ...] | str] = lambda _run, _name: "no reactor is wired"
    _busy: dict[str, str] = field(default_factory=dict)
    _looks: dict[str, Task[None]] = field(default_factory=dict)
    """Looks and proofs under way, by run: nobody waits for those of a run that is cancelled."""
    _saying: dict[str, Future[list[Position]]] = field(default_factory=dict)
    _granted: set[str] = field(default_factory=set)
    _asked_for_slot: set[str] = field(default_factory=set)
    _watching: set[str] = field(default_factory=set)
    """Runs in shadow that wait whether their symptom goes by itself."""
    _crowded: dict[str, None] = field(default_factory=dict)
    """Runs that wait before their first act because others have taken the places."""
    _waits: dict[str, TimerHandle] = field(default_factory=dict)
    _acts: dict[str, tuple[str, str, int, float]] = field(default_factory=dict)
    _deadlines: dict[str, TimerHandle] = field(default_factory=dict)
    _recovering: set[str] = field(default_factory=set)
    _tasks: set[Task[None]] = field(default_factory=set)
    closing: bool = False

    def start(self) -> None:
        """After a restart: those that held their locks when the daemon died get them before anybody else asks."""
        self.ports.hands.on_done(self._act_done)
        for claim in by_claim(self.world.runs.values()):
            for run in claim:
                if run.in_flight is not None:
                    self._recovering.add(run.id)
                self._want_slot(run)
            self._grant()

    def close(self) -> None:
        """Let go of everything; acts go on in their launchers and are found again."""
        self.closing = True
        for timer in (*self._waits.values(), *self._deadlines.values()):
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    # --- what the journal tells ---

    def folded(self, stored: Sequence[Stored]) -> None:
        """These events are durable and applied: runs that they concern may go on."""
        for event, _ in stored:
            if event.type == "run.opened":
                run = self.world.runs.get(event.data["run"])
                if run is not None and run.id not in self._busy:
                    self._want_slot(run)
        self._grant()

    # --- what people say ---

    async def answer(self, run: Run, yes: bool, by: str, reason: str = "", choice: str = "") -> bool:
        """A yes (one of the choices, where it asked which way) or no to a run that asked; a no ends it.

        False when it asks nothing (any more), or nothing that this answers.
        """
        await self._quiet(run)
        env = self._env(run)
        drafts = run.advance(Answered(yes, by, reason, choice), env)
        if not drafts:
            return False
        if not yes:
            drafts = (*drafts, *run.advance(Cancelled(by, said_no(by, reason)), env))
        await self._hear(run, drafts)
        return True

    async def cancel(self, run: Run, by: str) -> bool:
        """End a run, and the fallbacks that it has opened; what they did is taken back. False when it is over already."""
        await self._quiet(run)
        drafts = run.advance(Cancelled(by), self._env(run))
        if not drafts:
            return False
        if run.in_flight is not None:
            self.ports.hands.cancel(_key(run))
        elif (look := self._looks.pop(run.id, None)) is not None:
            look.cancel()
            self._busy.pop(run.id, None)
        await self._hear(run, drafts)
        for fallback in [one for one in self.world.runs.values() if one.parent == run.id and not one.by]:
            await self.cancel(fallback, by)
        return True

    async def take_back(self, run: Run, by: str, *, force: bool = False) -> bool:
        """Roll an ended run back because a person asks for it; forced: also where somebody else has changed it since.

        False when there is nothing to take back (any more).
        """
        await self._quiet(run)
        drafts = run.advance(TakeBack(by, force), self._env(run))
        if not drafts:
            return False
        await self._hear(run, drafts)
        return True

    def wake_all(self, waits_for: str) -> None:
        """End the waits of this kind (`resume`, say) now."""
        for run in list(self.world.runs.values()):
            if run.wait is not None and run.wait["for"] == waits_for:
                self._wait_over(run.id)

    def wake_guarded(self) -> None:
        """What guards held before their first act may go on, if what they wait on is over; else they look and wait again."""
        for run in list(self.world.runs.values()):
            if run.wait is not None and run.wait["for"] == "guard" and self._is_lifted(run):
                self._wait_over(run.id)

    def wake_crowded(self) -> None:
        """A run has ended, or waits itself: of those that wait for its place the first may go on."""
        for run_id in list(self._crowded):
            run = self.world.runs.get(run_id)
            if run is None or run.wait is None or run.wait.get("on") != "concurrency":
                del self._crowded[run_id]
            elif self._is_lifted(run):
                self._wait_over(run_id)

    def _is_lifted(self, run: Run) -> bool:
        """Whether what it waits for, if that is a guard or a pause, is over already."""
        assert run.wait is not None
        if run.wait["for"] == "guard":
            return not self._env(run).held_now()
        return run.wait["for"] == "resume" and not self._env(run).paused

    def wake_watching(self, subject: str) -> None:
        """A sensor says that this is well: a run in shadow that watches it looks now."""
        for run_id in list(self._watching):
            run = self.world.runs.get(run_id)
            if run is None or run.wait is None or run.wait["for"] != "watch":
                self._watching.discard(run_id)
            elif run.subject == subject:
                self._wait_over(run_id)

    async def _quiet(self, run: Run) -> None:
        """Wait until all that was said for this run is folded: what comes next must be decided on that."""
        while (saying := self._saying.get(run.id)) is not None:
            await asyncio.shield(saying)

    def _hear(self, run: Run, drafts: tuple[Draft, ...]) -> Future[list[Position]]:
        """Say what somebody outside decided about a run, and wake it."""
        return self._emit(run, drafts, self._heard)

    def _heard(self, run_id: str) -> None:
        if run_id in self._busy:
            return
        self._drop_wait(run_id)
        run = self.world.runs.get(run_id)
        if run_id in self._granted:
            self._drive(run_id)
        elif run is not None:
            self._want_slot(run)
            self._grant()

    def _emit(self, run: Run, drafts: tuple[Draft, ...], then: Callable[[str], None]) -> Future[list[Position]]:
        """One saying at a time for each run: the next is decided when this one is folded."""
        durable = self.ports.emit(*drafts)
        self._saying[run.id] = durable
        durable.add_done_callback(lambda _: self._said(run.id, then))
        return durable

    def _said(self, run_id: str, then: Callable[[str], None]) -> None:
        self._saying.pop(run_id, None)
        if not self.closing:
            then(run_id)

    # --- slots ---

    def _want_slot(self, run: Run) -> None:
        if run.id in self._granted or run.id in self._asked_for_slot:
            return
        self._asked_for_slot.add(run.id)
        resources = frozenset(run.resources) or frozenset((run.subject,))
        self.slots.request(run.id, run.priority, resources, self.ports.clock.monotonic())

    def _grant(self) -> None:
        for run_id in self.slots.grant(self.ports.clock.monotonic()):
            self._asked_for_slot.discard(run_id)
            self._granted.add(run_id)
            self._drive(run_id)

    def _release(self, run_id: str) -> None:
        if run_id in self._granted:
            self._granted.discard(run_id)
            self.slots.release(run_id)
        elif run_id in self._asked_for_slot:
            self._asked_for_slot.discard(run_id)
            self.slots.release(run_id)

    # --- driving ---

    def _env(self, run: Run) -> Env:
        return self.env_of(run, self.playbook_of(run), self.ports.entropy.uniform(0.0, 1.0))

    def _drive(self, run_id: str) -> None:
        """Ask the run what is to be done and begin it. Its slot is held."""
        run = self.world.runs.get(run_id)
        if self.closing or run_id in self._busy:
            return
        if run is None:
            self._over(run_id)
            return
        self._obey(run, run.next(self._env(run)))

    def _obey(self, run: Run, command: Command) -> None:
        match command:
            case Say(drafts):
                self._say(run, drafts)
            case Look():
                self._begin(run, "look", self._look(run, command))
            case Ask():
                self._begin(run, "ask", self._ask(run, command))
            case Act():
                self._act(run, command)
            case Wait(until, _):
                self._wait(run, until)
            case OpenFallback(playbook, opened):
                self._fallback(run, playbook, opened)
            case Over():
                self._over(run.id)

    def _say(self, run: Run, drafts: tuple[Draft, ...]) -> None:
        if not drafts:
            self._drive(run.id)
            return
        self._busy[run.id] = "say"
        self._emit(run, self._with_what_follows(run, drafts), self._go_on)

    def _with_what_follows(self, run: Run, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
        """What the run will say next of itself, said at once: one sync instead of several.

        Folding is pure, so what a copy says after these drafts is what the run itself will say after them. What goes outside
        (a look, an act, a wait) is never begun on a copy.
        """
        env = self._env(run)
        ahead, said, new = run.clone(), drafts, drafts
        while len(said) < SAID_AT_ONCE_MAX:
            for draft in new:
                ahead.fold(draft.type, draft.data, env.now)
            command = ahead.next(env)
            if not isinstance(command, Say):
                break
            new = command.drafts
            said = (*said, *new)
        return said

    def _go_on(self, run_id: str) -> None:
        self._busy.pop(run_id, None)
        if run_id in self._granted:
            self._drive(run_id)

    def _begin(self, run: Run, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._busy[run.id] = what
        self._looks[run.id] = self._spawn(work)

    def _tell(self, run: Run, happening: Happening) -> None:
        """Something happened to the run: say it, then go on. An ended or unknown run hears nothing."""
        if self.closing:
            return
        if (saying := self._saying.get(run.id)) is not None:
            saying.add_done_callback(lambda _: self._tell(run, happening))
            return
        self._busy.pop(run.id, None)
        self._looks.pop(run.id, None)
        self._say(run, run.advance(happening, self._env(run)))

    async def _look(self, run: Run, command: Look) -> None:
        began = self.ports.clock.monotonic()
        result = await self.ports.looker.look(command.call)
        took_ms = (self.ports.clock.monotonic() - began) * 1000.0
        self._tell(run, StepEnded(command.call.step, command.call.attempt, result, took_ms))

    async def _ask(self, run: Run, command: Ask) -> None:
        began = self.ports.clock.monotonic()
        verdict, proof = await ask(command, self.ports.looker, self.ports.clock)
        took_ms = (self.ports.clock.monotonic() - began) * 1000.0
        self._tell(run, Checked(command.phase, verdict, proof, took_ms))

    # --- acts ---

    def _act(self, run: Run, command: Act) -> None:
        call = command.call
        self._busy[run.id] = "act"
        self._acts[call.key] = (run.id, call.step, call.attempt, self._began(run))
        self._watch(call.key, command.deadline_s, partial(self._overdue, command))
        if run.id in self._recovering:
            self._recovering.discard(run.id)
            self._spawn(self._recover(command))
        else:
            self.ports.hands.start(call)

    def _began(self, run: Run) -> float:
        """When the act under way began, by the monotonic clock; of one that an earlier daemon began its intent says so."""
        now = self.ports.clock.monotonic()
        if run.id not in self._recovering or run.in_flight is None:
            return now
        since = float(run.in_flight.get("since") or self.ports.clock.now())
        return now - max(0.0, self.ports.clock.now() - since)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: Task[None]) -> None:
        """A look or a recovery never raises; if one does, that is a bug, and it must be seen."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a run's task failed", "exception": error})

    def _watch(self, key: str, delay_s: float, then: Callable[[], object]) -> None:
        if (timer := self._deadlines.pop(key, None)) is not None:
            timer.cancel()
        self._deadlines[key] = asyncio.get_running_loop().call_later(delay_s, then)

    def _overdue(self, command: Act) -> None:
        """The launcher should have ended it itself: have hands end it, then look it up."""
        self.ports.hands.cancel(command.call.key)
        self._watch(command.call.key, LOST_AFTER_S, lambda: self._spawn(self._recover(command)))

    async def _recover(self, command: Act) -> None:
        call = command.call
        fate = await self.ports.hands.recover(call)
        if call.key not in self._acts:
            return
        if fate.fate == "done" and fate.result is not None:
            waited_s = max(0.0, self.ports.clock.now() - fate.at) if fate.at else 0.0
            self._act_done(call.key, fate.result, waited_s)
        elif fate.fate in ("died", "voided"):
            self._act_over(call.key, CutOff(call.step, call.attempt, voided=fate.fate == "voided"))
        elif fate.fate == "hands_lost":
            self._watch(call.key, LOST_AFTER_S, lambda: self._spawn(self._recover(command)))
        else:  # it runs, and hands will tell its end
            self._watch(call.key, command.deadline_s, partial(self._overdue, command))

    def _act_done(self, key: str, result: SkillResult, waited_s: float = 0.0) -> None:
        """`waited_s`: so long ago it ended, while no daemon was there to hear of it."""
        known = self._acts.get(key)
        if known is None:
            return  # an old attempt's result: nobody waits for it any more
        _, step, attempt, began = known
        if result.result.get("died"):
            self._act_over(key, CutOff(step, attempt, voided=False, why=result.error))
            return
        if result.result.get("begun") is False and "retry" in result.next:
            self._act_over(key, CutOff(step, attempt, voided=True, why=result.error))
            return
        took_ms = max(0.0, self.ports.clock.monotonic() - began - waited_s) * 1000.0
        self._act_over(key, StepEnded(step, attempt, result, took_ms))

    def _act_over(self, key: str, happening: Happening) -> None:
        run_id, *_ = self._acts.pop(key)
        if (timer := self._deadlines.pop(key, None)) is not None:
            timer.cancel()
        run = self.world.runs.get(run_id)
        if run is not None:
            self._tell(run, happening)

    # --- waits ---

    def _wait(self, run: Run, until: float) -> None:
        """Wall time says until when, the monotonic clock counts it: a clock that leaps changes no wait that has begun.

        After a restart too: however far the clock went back meanwhile, nothing waits longer than it would have at first.
        """
        self._release(run.id)
        self._drop_wait(run.id)
        if run.wait is not None and self._is_lifted(run):
            self._wait_over(run.id)  # it ended while the run said that it waits: nobody would say so again
            return
        if run.wait is not None and run.wait["for"] == "watch":
            self._watching.add(run.id)
        if run.wait is not None and run.wait.get("on") == "concurrency":
            self._crowded[run.id] = None
        now = self.ports.clock.now()
        since = run.wait.get("since", now) if run.wait is not None else now
        delay_s = max(0.0, until - max(now, since))
        self._waits[run.id] = asyncio.get_running_loop().call_later(delay_s, self._wait_over, run.id)
        self._grant()

    def _drop_wait(self, run_id: str) -> None:
        if (timer := self._waits.pop(run_id, None)) is not None:
            timer.cancel()

    def _wait_over(self, run_id: str) -> None:
        self._drop_wait(run_id)
        run = self.world.runs.get(run_id)
        if run is None or self.closing:
            return
        if run.asked is not None:
            if run_id not in self._saying:
                self._hear(run, run.advance(Answered(yes=False, by=""), self._env(run)))
            return
        if run.wait is not None and run.wait["for"] != "rung":
            run.wake()
        self._want_slot(run)
        self._grant()

    # --- the ladder, and the end ---

    def _fallback(self, run: Run, playbook: str, opened: str) -> None:
        if opened in run.fallbacks:
            healed, why = run.fallbacks[opened]
            self._tell(run, RungEnded(healed, opened, "" if healed else why))
            return
        if opened in self.world.recent:
            self._tell(run, RungEnded(False, "", f"a run of {playbook} answered this event already"))
            return
        if opened not in self.world.runs:
            drafts = self.open_fallback(run, playbook)
            if isinstance(drafts, str):
                self._tell(run, RungEnded(False, "", drafts))
                return
            self.ports.emit(*drafts)
        self._release(run.id)  # until the fallback's run is over, which wakes this one
        self._grant()

    def _over(self, run_id: str) -> None:
        self._release(run_id)
        self._drop_wait(run_id)
        ended = self.world.recent.get(run_id)
        parent = self.world.runs.get(ended.parent) if ended is not None and ended.parent else None
        if parent is not None:
            self._want_slot(parent)
        self._grant()


def by_claim(runs: Iterable[Run]) -> tuple[list[Run], list[Run], list[Run]]:
    """Open runs after a restart: with an act under way; between an act and its proof, their locks theirs too; all others."""
    claims: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    for run in sorted(runs, key=lambda run: (run.priority, run.opened_at)):
        claims[0 if run.in_flight is not None else 1 if run.acted and run.wait is None else 2].append(run)
    return claims


def _key(run: Run) -> str:
    assert run.in_flight is not None
    return f"{run.id}/{run.in_flight['step']}.{run.in_flight['attempt']}"
