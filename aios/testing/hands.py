"""The `Hands` port's twin: the product's own launcher and recovery as simulated processes that can die between any two steps.

The rooms of this floor do not know each other, so that code comes in as `HandsCode`; the harness wires `aios.hands` into it.
Simulated here are only the processes around it: hands itself (which dies and comes back), one launcher an attempt, one
process for the act's body. Launchers outlive hands and the daemon; a body outlives its launcher until recovery ends it.
"""

from __future__ import annotations

import asyncio
import signal
from asyncio import Future
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aios.entropy import Entropy
from aios.events.calls import SkillCall, SkillResult, failed
from aios.ports import AttemptFate, Fate, Files, ProcessId
from aios.testing.bodies import SKILLS, BodyDied, Box, SimSkill
from aios.testing.disk import SimDisk
from aios.testing.loop import Life, VirtualClock, VirtualLoop, current_life
from aios.testing.processes import SimProcess, SimProcesses
from aios.testing.services import SimActs, SimUnits

Launch = Generator[str, SkillResult | None, SkillResult | None]
TakeSnapshot = Callable[[SkillCall], Mapping[str, Any]]
OnDone = Callable[[str, SkillResult], None]


class Found(Protocol):
    """What the product's recovery says (`aios.hands.recovery.Found`)."""

    @property
    def fate(self) -> Fate: ...
    @property
    def result(self) -> SkillResult | None: ...
    @property
    def who(self) -> ProcessId | None: ...


@dataclass(frozen=True, slots=True)
class HandsCode:
    """The product's own code: launcher, recovery, the note of who acts, snapshots, and what undoes.

    `act_step` is the name that the launcher yields where its driver has to carry the act out. `own_acts` are acts that hands
    itself brings (rollback): name -> what does it, given the call and the files of the process that does it.
    """

    launch: Callable[[SkillCall, Files, str, ProcessId, TakeSnapshot], Launch]
    recover: Callable[[Files, str, ProcessId, Callable[[ProcessId], bool], Callable[[ProcessId], None]], Found]
    write_acting: Callable[[Files, str, ProcessId], None]
    act_step: str
    snapshot: Callable[[Files], TakeSnapshot]
    own_acts: Mapping[str, Callable[[SkillCall, Files], SkillResult]] = field(default_factory=dict)


@dataclass(slots=True)
class HandsLuck:
    """Chances, each for one step, one act or one second; and how long things take."""

    launcher_dies: float = 0.0
    body_dies: float = 0.0
    hands_dies: float = 0.0
    step_s: float = 0.002
    back_after_s: float = 0.05


@dataclass(slots=True)
class SimHandsWorld:
    """What outlives a daemon: the processes that act, and what they act upon."""

    loop: VirtualLoop
    clock: VirtualClock
    entropy: Entropy
    processes: SimProcesses
    disk: SimDisk
    units: SimUnits
    code: HandsCode
    state_dir: str
    luck: HandsLuck = field(default_factory=HandsLuck)
    skills: Mapping[str, SimSkill] = field(default_factory=lambda: SKILLS)
    acts: int = 0

    def box_for(self, life: Life) -> Box:
        return Box(self.disk.seen_by(life), self.units, SimActs(self.units), self.clock, self.entropy)

    def lucky(self, chance: float) -> bool:
        return chance > 0.0 and self.entropy.uniform(0.0, 1.0) < chance

    def folder_of(self, call: SkillCall) -> str:
        return f"{self.state_dir}/{call.folder}"

    # --- the launcher's process

    def start_launcher(self, call: SkillCall, told: Callable[[SkillResult | None], None]) -> SimProcess:
        """`told(result)` when the launcher ends with a word of its own; nobody hears of one that was killed."""

        async def main(process: SimProcess) -> int:
            result = await self._launch(process, call)
            told(result)
            return 0

        return self.processes.spawn(f"launcher:{call.key}", main)

    async def _launch(self, process: SimProcess, call: SkillCall) -> SkillResult | None:
        files = self.disk.seen_by(process.life)
        steps = self.code.launch(call, files, self.state_dir, process.who, self.code.snapshot(files))
        answer: SkillResult | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: SkillResult | None = end.value
                return result
            answer = None
            await self._between_steps(process)
            if step == self.code.act_step:
                answer = await self._act(process, call, files)

    async def _between_steps(self, process: SimProcess) -> None:
        if self.lucky(self.luck.launcher_dies):
            self.processes.kill(process)
            process.life.check()
        await process.pass_time(self.entropy.uniform(0.0, self.luck.step_s))

    # --- the act's process

    async def _act(self, launcher: SimProcess, call: SkillCall, files: Files) -> SkillResult | None:
        """Carry the act out in a process group of its own, and end that group when its time is over."""
        self.acts += 1
        said: list[SkillResult] = []
        over = asyncio.Event()
        body = self.processes.make(f"act:{call.key}")
        launcher_life = launcher.life
        body.life.on_death.append(lambda: launcher_life.run(over.set) if launcher_life.alive else None)
        self.code.write_acting(files, self.folder_of(call), body.who)
        body.life.spawn(self._body(body, call, said))
        try:
            async with asyncio.timeout(call.timeout_s):
                await over.wait()
        except TimeoutError:
            self.processes.kill_group(body.group)
            return failed(f"timeout: ended after {call.timeout_s:g} s", timeout=True)
        return said[0] if said else None

    async def _body(self, process: SimProcess, call: SkillCall, said: list[SkillResult]) -> None:
        try:
            said.append(await self._run_body(process, call))
        except BodyDied:
            self.processes.kill(process)
        except Exception as error:  # noqa: BLE001  a body may fail in any way; a real one ends with a status and its output
            said.append(failed(f"{call.skill} failed: {error}"))
        self.processes.end(process, 0)

    async def _run_body(self, process: SimProcess, call: SkillCall) -> SkillResult:
        box = self.box_for(process.life)
        own = self.code.own_acts.get(call.skill)
        if own is not None:
            await process.pass_time(self.entropy.uniform(0.0, self.luck.step_s))
            return own(call, box.files)
        skill = self.skills.get(call.skill)
        if skill is None:
            return failed(f"there is no skill {call.skill}")
        if call.env.get("recheck") and skill.already_done is not None:
            known = skill.already_done(call, box)
            if known is not False:
                return _looked_first(known)
        return await self._drive(process, skill, call, box)

    async def _drive(self, process: SimProcess, skill: SimSkill, call: SkillCall, box: Box) -> SkillResult:
        body = skill.body(call, box)
        while True:
            try:
                seconds = next(body)
            except StopIteration as end:
                result: SkillResult = end.value
                return result
            await process.pass_time(seconds)
            if self.lucky(self.luck.body_dies):
                self.processes.kill(process)
                process.life.check()

    # --- recovery

    async def recover(self, process: SimProcess, call: SkillCall) -> Found:
        files = self.disk.seen_by(process.life)
        await process.pass_time(self.entropy.uniform(0.0, self.luck.step_s))
        return self.code.recover(files, self.folder_of(call), process.who, self.processes.alive, self._end_session)

    def _end_session(self, leader: ProcessId) -> None:
        """Whatever is left of an act whose launcher is gone: the whole group."""
        self.processes.kill_group(leader.pid)


def _looked_first(known: bool | None) -> SkillResult:
    if known:
        return SkillResult(ok=True, result={"already_done": True})
    return SkillResult(ok=False, next=("human_check",), error="nobody can say whether the attempt before had its effect")


class SimHands:
    """The daemon's side, one for each life of the daemon."""

    def __init__(self, world: SimHandsWorld) -> None:
        self._world = world
        self._callback: OnDone | None = None
        self._launchers: dict[str, SimProcess] = {}
        self._hands: SimProcess | None = None
        self._waiting: list[SkillCall] = []
        self.on_lost: Callable[[str], None] | None = None
        self.lost = 0

    def on_done(self, callback: OnDone) -> None:
        self._callback = callback

    def start(self, call: SkillCall) -> None:
        _refuse_the_dead()
        if self._alive():
            self._fork(call)
        else:
            self._waiting.append(call)

    def recover(self, call: SkillCall) -> Awaitable[AttemptFate]:
        _refuse_the_dead()
        answer: Future[AttemptFate] = self._world.loop.create_future()
        mine = current_life()

        async def main(process: SimProcess) -> int:
            found = await self._world.recover(process, call)
            if found.fate == "running" and found.who is not None:
                self._watch_again(call, found.who, mine)
            _settle(answer, AttemptFate(found.fate, found.result), mine)
            return 0

        if not self._alive():
            answer.set_result(AttemptFate("hands_lost"))
            return answer
        process = self._world.processes.spawn(f"recovery:{call.key}", main)
        process.life.on_death.append(lambda: _settle(answer, AttemptFate("hands_lost"), mine))
        return answer

    def cancel(self, key: str) -> None:
        """The launcher ends the act's group and tells the result as usual."""
        _refuse_the_dead()
        for process in self._world.processes.named(f"act:{key}"):
            self._world.processes.deliver(process, signal.SIGKILL)

    async def answers(self, within_s: float) -> bool:
        await asyncio.sleep(min(within_s, self._world.luck.step_s))
        return self._alive()

    # --- hands' own process

    def begin(self) -> None:
        """Start hands, as the daemon does early; it is started again whenever it ends."""
        life = current_life()
        process = self._world.processes.spawn("hands", self._hands_main)
        process.life.on_death.append(lambda: self._hands_ended(process, life))
        self._hands = process
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._fork(call)

    async def _hands_main(self, _process: SimProcess) -> int:
        while True:
            await asyncio.sleep(1.0 if self._world.luck.hands_dies else 86_400.0)
            if self._world.lucky(self._world.luck.hands_dies):
                return 1

    def _hands_ended(self, process: SimProcess, daemon: Life | None) -> None:
        if daemon is None or not daemon.alive:
            return
        self.lost += 1
        if self.on_lost is not None:
            daemon.run(self.on_lost, f"ended {process.status}")
        daemon.run(self._world.loop.call_later, self._world.luck.back_after_s, self.begin)

    def _alive(self) -> bool:
        return self._hands is not None and self._hands.alive

    # --- launchers

    def _fork(self, call: SkillCall) -> None:
        daemon, hands = current_life(), self._hands

        def told(result: SkillResult | None) -> None:
            """Through hands' socket: what ends while hands is away is found on the disk instead."""
            self._launchers.pop(call.key, None)
            if result is not None and hands is not None and hands.alive:
                self._tell(call.key, result, daemon)

        self._launchers[call.key] = self._world.start_launcher(call, told)

    def _watch_again(self, call: SkillCall, who: ProcessId, daemon: Life | None) -> None:
        """A launcher of an earlier life: when it ends, its result is on the disk."""
        process = next((p for p in self._world.processes.living() if p.who == who), None)
        if process is None:
            return
        process.life.on_death.append(lambda: self._look_up(call, daemon))

    def _look_up(self, call: SkillCall, daemon: Life | None) -> None:
        if daemon is None or not daemon.alive:
            return

        async def main(process: SimProcess) -> int:
            found = await self._world.recover(process, call)
            if found.result is not None:
                self._tell(call.key, found.result, daemon)
            return 0

        self._world.processes.spawn(f"recovery:{call.key}", main)

    def _tell(self, key: str, result: SkillResult, daemon: Life | None) -> None:
        if self._callback is None:
            return
        if daemon is None:
            self._world.loop.call_soon(self._callback, key, result)
        elif daemon.alive:
            daemon.run(self._world.loop.call_soon, self._callback, key, result)


def _settle(answer: Future[AttemptFate], fate: AttemptFate, daemon: Life | None) -> None:
    if not answer.done() and (daemon is None or daemon.alive):
        answer.set_result(fate)


def _refuse_the_dead() -> None:
    life = current_life()
    if life is not None:
        life.check()
