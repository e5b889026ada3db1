"""The other end of hands' socket: the product's own launcher and recovery as simulated processes that can die at any step.

The rooms of this floor do not know each other, so that code comes in as `HandsCode`; the harness wires `aios.hands` into it and
gives the product's own `HandsClient` a `SimLink`. Simulated here are only processes: hands itself, one launcher an attempt,
one process for the act's body. Launchers outlive hands and the daemon; a body outlives its launcher until recovery ends it.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aios.entropy import Entropy
from aios.events.calls import SkillCall, SkillResult, failed
from aios.events.codec import decode_json
from aios.ports import Fate, Files, ProcessId
from aios.testing.bodies import SKILLS, BodyDied, Box, SimSkill
from aios.testing.disk import SimDisk
from aios.testing.loop import Life, VirtualClock, VirtualLoop, current_life, outside
from aios.testing.processes import SimProcess, SimProcesses
from aios.testing.services import SimActs, SimUnits

Launch = Generator[str, SkillResult | None, SkillResult | None]
TakeSnapshot = Callable[[SkillCall, str], None]


class Found(Protocol):
    """What the product's recovery says (`aios.hands.recovery.Found`)."""

    @property
    def fate(self) -> Fate: ...
    @property
    def result(self) -> SkillResult | None: ...
    @property
    def who(self) -> ProcessId | None: ...
    @property
    def at(self) -> float: ...


@dataclass(frozen=True, slots=True)
class HandsCode:
    """The product's own code: launcher, recovery, the note of who acts, snapshots, and what undoes.

    `act_step` is the name that the launcher yields where its driver has to carry the act out. `own_acts` are acts that hands
    itself brings (rollback): name -> what does it, given the call and what the process that does it may touch.
    """

    launch: Callable[[SkillCall, Files, str, ProcessId, TakeSnapshot], Launch]
    recover: Callable[[Files, str, ProcessId, Callable[[ProcessId], bool], Callable[[ProcessId], None]], Found]
    write_acting: Callable[[Files, str, ProcessId], None]
    act_step: str
    snapshot: Callable[[Files], TakeSnapshot]
    own_acts: Mapping[str, Callable[[SkillCall, Box], SkillResult]] = field(default_factory=dict)
    before_act: Callable[[SkillCall, SimSkill, Box], None] = lambda _call, _skill, _box: None
    """Writes down how a thing that is no file stands, where the skill has an inverse. Raises OSError."""
    after_act: Callable[[SkillCall, SkillResult, Files], SkillResult] = lambda _call, result, _files: result
    """Writes down how the act left what it touches, in the launcher's life, and tells it with the result."""


MISHAPS: Mapping[str, str] = {
    "launcher_dies": "a launcher is killed between two of its steps",
    "launcher_dies_in_act": "a launcher is killed while its act goes on",
    "body_dies": "an act is killed between two of its steps",
    "body_hangs": "an act hangs until it is ended",
    "body_is_slow": "an act takes so many seconds longer",
    "body_detaches": "the leader of an act's group ends, and what it started goes on",
    "body_lies": "an act does nothing and says that it did it, or does it and says that it failed",
    "hands_dies_at_fork": "hands is killed when it has forked a launcher and not said so",
    "told_again": "a result is told once more, so many seconds later",
    "look_hangs": "a look never answers by itself",
}
"""What can go wrong with processes, in words; each befalls one step, act, fork or look."""


@dataclass(slots=True)
class Mishap:
    """Befalls the `nth` that could suffer it, counted from when it was planned."""

    kind: str
    nth: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in MISHAPS:
            raise ValueError(f"no mishap is called {self.kind!r}")


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
    step_s: float = 0.002
    """How long a step of a launcher, or a packet on its way, takes at most."""
    mishaps: list[Mishap] = field(default_factory=list)
    skills: Mapping[str, SimSkill] = field(default_factory=lambda: SKILLS)
    acts: int = 0
    before_act: Callable[[SkillCall], None] = lambda _call: None
    """Called when an act is about to begin: all that must stand before it stands by now."""
    lied: set[str] = field(default_factory=set)
    """Keys of the calls whose bodies lied about their result."""

    def box_for(self, life: Life) -> Box:
        return Box(self.disk.seen_by(life), self.units, SimActs(self.units), self.clock, self.entropy)

    def strikes(self, kind: str) -> Mishap | None:
        """The mishap of this kind whose turn it is; every other one comes nearer."""
        struck = None
        for mishap in [one for one in self.mishaps if one.kind == kind] if self.mishaps else ():
            mishap.nth -= 1
            if mishap.nth <= 0 and struck is None:
                struck = mishap
                self.mishaps.remove(mishap)
        return struck

    def folder_of(self, call: SkillCall) -> str:
        return f"{self.state_dir}/{call.folder}"

    # --- the launcher's process

    async def launch(self, process: SimProcess, call: SkillCall) -> SkillResult | None:
        """Drive the real launcher; None when somebody else has the attempt. Asked to end (TERM), it ends the act."""
        files = self.disk.seen_by(process.life)
        cancelled: list[bool] = []
        process.handlers[signal.SIGTERM] = lambda: self._cancel(call, cancelled)
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
                answer = failed("cancelled before it began") if cancelled else await self._act(process, call, files)
                answer = self.code.after_act(call, answer, files) if answer is not None else None

    def _cancel(self, call: SkillCall, cancelled: list[bool]) -> None:
        cancelled.append(True)
        for body in self.processes.named(f"act:{call.key}"):
            self.processes.kill_group(body.group)

    async def _between_steps(self, process: SimProcess) -> None:
        if self.strikes("launcher_dies"):
            self.processes.kill(process)
            process.life.check()
        await process.pass_time(self.entropy.uniform(0.0, self.step_s))

    # --- the act's process

    async def _act(self, launcher: SimProcess, call: SkillCall, files: Files) -> SkillResult | None:
        """Carry the act out in a process group of its own, and end that group when its time is over or somebody asks."""
        self.acts += 1
        said: list[SkillResult] = []
        over = asyncio.Event()
        body = self.processes.make(f"act:{call.key}")
        body.life.on_death.append(lambda: launcher.life.run(over.set) if launcher.alive else None)
        begun: list[bool] = []
        # Until it is let go it waits for a word on a pipe: no word, and the end of the pipe is its end.
        launcher.life.on_death.append(lambda: None if begun else self.processes.end(body, 0))
        try:
            self.code.write_acting(files, self.folder_of(call), body.who)
        except OSError as error:
            self.processes.kill(body)
            return failed(f"the act could not be carried out: {error}")
        self.before_act(call)
        begun.append(True)
        body.life.spawn(self._body(body, call, said))
        if self.strikes("launcher_dies_in_act"):
            self.loop.call_later(self.entropy.uniform(0.0, 0.3), self.processes.kill, launcher, context=outside())
        try:
            async with asyncio.timeout(call.timeout_s):
                await over.wait()
        except TimeoutError:
            self.processes.kill_group(body.group)
            why = f"timeout: it did not end within {call.timeout_s:g} s and was killed"
            return failed(why, timed_out=True, cut_off=True, attempt=call.attempt)
        self.processes.kill_group(body.group)
        result = said[0] if said else failed("it ended without a result, or was cancelled", cut_off=True)
        # Which attempt says so, so that a law can tell whether it was taken for another's.
        return replace(result, result={**result.result, "attempt": call.attempt}) if call.skill in self.skills else result

    async def _body(self, process: SimProcess, call: SkillCall, said: list[SkillResult]) -> None:
        if self.strikes("body_detaches"):
            child = self.processes.make(f"act:{call.key}", process.group)
            child.life.spawn(self._body(child, call, []))
            await process.pass_time(self.entropy.uniform(0.0, 0.05))
            self.processes.end(process, 0)
            return
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
            await process.pass_time(self.entropy.uniform(0.0, self.step_s))
            return own(call, box)
        skill = self.skills.get(call.skill)
        if skill is None:
            return failed(f"there is no skill {call.skill}")
        if call.env.get("recheck") and skill.already_done is not None:
            known = skill.already_done(call, box)
            if known is not False:
                return _looked_first(known)
        self.code.before_act(call, skill, box)
        return await self._drive(process, skill, call, box)

    async def _drive(self, process: SimProcess, skill: SimSkill, call: SkillCall, box: Box) -> SkillResult:
        if self.strikes("body_lies"):
            return await self._lie(process, skill, call, box)
        if self.strikes("body_hangs"):
            await process.pass_time(call.timeout_s + 3600.0)
        if (slow := self.strikes("body_is_slow")) is not None:
            await process.pass_time(slow.seconds)
        body = skill.body(call, box)
        while True:
            try:
                seconds = next(body)
            except StopIteration as end:
                result: SkillResult = end.value
                return result
            await process.pass_time(seconds)
            if self.strikes("body_dies"):
                self.processes.kill(process)
                process.life.check()

    async def _lie(self, process: SimProcess, skill: SimSkill, call: SkillCall, box: Box) -> SkillResult:
        """Half of them do nothing and say that they did it, half do it and say that they failed."""
        self.lied.add(call.key)
        if self.entropy.uniform(0.0, 1.0) < 0.5:
            await process.pass_time(0.01)
            return SkillResult(ok=True)
        await self._drive(process, skill, call, box)
        return SkillResult(ok=False, next=("retry",), error="it says that it failed")

    # --- recovery

    async def recover(self, process: SimProcess, call: SkillCall) -> Found:
        files = self.disk.seen_by(process.life)
        await process.pass_time(self.entropy.uniform(0.0, self.step_s))
        return self.code.recover(files, self.folder_of(call), process.who, self.processes.alive, self._end_session)

    def _end_session(self, leader: ProcessId) -> None:
        """Whatever is left of an act whose launcher is gone: the whole group."""
        self.processes.kill_group(leader)


def _looked_first(known: bool | None) -> SkillResult:
    if known:
        return SkillResult(ok=True, result={"already": True})
    return SkillResult(ok=False, next=("human_check",), error="nobody can say whether the attempt before had its effect")


class SimLink:
    """The daemon's end of the socket to one hands process, which it starts; made by a `HandsClient` in place of its real link.

    `told(message)` is called on the loop in the daemon's life, `ended(link, status)` when hands is gone, `drained(link)` when
    nobody holds the other end any more. What was sent arrives even when the sender dies; what has arrived waits until it is read.
    """

    def __init__(
        self,
        world: SimHandsWorld,
        told: Callable[[Mapping[str, Any]], None],
        ended: Callable[[Any, str], None],
        drained: Callable[[Any], None],
    ) -> None:
        self._world = world
        self._told, self._ended, self._drained = told, ended, drained
        self._daemon = current_life()
        self._arrived: deque[Mapping[str, Any]] = deque()
        self._holders = 1
        self._closed = False
        self.born = world.loop.time()
        self._hands = world.processes.spawn("hands", self._hands_main)
        self.pid = self._hands.pid
        self._hands.life.on_death.append(self._hands_gone)
        if self._daemon is not None:
            self._daemon.on_death.append(self._daemon_gone)

    # --- the daemon's side

    def send(self, packet: bytes) -> None:
        _refuse_the_dead()
        if self._hands.alive and not self._closed:
            delay_s = self._world.entropy.uniform(0.0, self._world.step_s)
            self._hands.life.run(self._world.loop.call_later, delay_s, self._obey, decode_json(packet))

    def read(self) -> None:
        """Everything that lies there."""
        while self._arrived and not self._closed:
            self._told(self._arrived.popleft())

    def kill(self) -> None:
        self._world.processes.kill(self._hands)

    async def close(self) -> None:
        """The end of the socket is the end of hands."""
        self._closed = True
        self._world.processes.end(self._hands, 0)

    def _daemon_gone(self) -> None:
        self._closed = True
        self._world.processes.end(self._hands, 0)

    def _in_daemon(self, call: Callable[..., None], *args: Any) -> None:
        if self._closed:
            return
        if self._daemon is None:
            self._world.loop.call_soon(call, *args)
        elif self._daemon.alive:
            self._daemon.run(self._world.loop.call_soon, call, *args)

    # --- hands' side

    async def _hands_main(self, _process: SimProcess) -> int:
        """Listens until its end of the socket is closed; what arrives comes through `_obey`."""
        await asyncio.Event().wait()
        return 1

    def _hands_gone(self) -> None:
        self._in_daemon(self._say_ended)
        self._let_go()

    def _say_ended(self) -> None:
        self.read()
        self._ended(self, f"exit status {self._hands.status}")

    def _let_go(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._in_daemon(self._drained, self)

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._arrived.append(message)
        self._in_daemon(self.read)

    def _obey(self, message: Mapping[str, Any]) -> None:
        if message["do"] == "ping":
            self._tell({"say": "pong", "n": message["n"]})
            return
        call = SkillCall.from_json(message["call"])
        if message["do"] == "start":
            process = self._fork(f"launcher:{call.key}", lambda process: self._launch(process, call))
            if self._world.strikes("hands_dies_at_fork"):
                self._world.processes.kill(self._hands)
            self._hands.life.check()
            self._tell({"say": "launched", "key": call.key, **process.who._asdict()})
        else:
            process = self._fork(f"recovery:{call.key}", lambda process: self._recover(process, call))
            self._hands.life.check()
            self._tell({"say": "recovering", "key": call.key, **process.who._asdict()})

    def _fork(self, name: str, main: Callable[[SimProcess], Coroutine[Any, Any, int]]) -> SimProcess:
        process = self._world.processes.spawn(name, main)
        self._holders += 1
        process.life.on_death.append(self._let_go)
        return process

    async def _launch(self, process: SimProcess, call: SkillCall) -> int:
        result = await self._world.launch(process, call)
        if result is not None:
            message = {"say": "done", "key": call.key, "result": result.to_json()}
            self._tell(message)
            if (again := self._world.strikes("told_again")) is not None:
                self._world.loop.call_later(again.seconds, self._tell, message, context=outside())
        return 0

    async def _recover(self, process: SimProcess, call: SkillCall) -> int:
        try:
            found = await self._world.recover(process, call)
        except OSError as error:
            self._tell({"say": "fate", "key": call.key, "fate": "", "error": str(error)})
            return 0
        result = found.result.to_json() if found.result else None
        who = found.who._asdict() if found.who else None
        self._tell({"say": "fate", "key": call.key, "fate": found.fate, "result": result, "who": who, "at": found.at})
        return 0


def _refuse_the_dead() -> None:
    life = current_life()
    if life is not None:
        life.check()
