"""The whole daemon in virtual time, for tests that ask one question of it: its own assembly over the twins of `aios.testing`.

`Rig` starts it, kills it, starts it again on the same disk; `ill` is what is wrong in this small world, and the act `mend` puts
it right (or not). A test reads what happened from the journal, as anybody could.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aios.daemon.assemble import assemble
from aios.daemon.life import Daemon
from aios.entropy import SeededEntropy
from aios.events.calls import SkillCall, SkillResult
from aios.events.event import Draft, Event, Stored
from aios.playbooks.run import Run
from aios.ports import Answer, Peer
from aios.settings import Settings
from aios.testing.bodies import SKILLS, Body, Box, SimSkill, specs
from aios.testing.looker import SimLooker
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from aios.verbs.handler import Verbs
from tests.simulation import assembly
from tests.simulation.wiring import machine_with_hands

T = TypeVar("T")
PEER = Peer(1, 1000, "ann")
SETTLE_S = 10.1
FREE = "{cooldown: 0s, limit: none}"


def playbook(
    name: str,
    on: str = "work.broken",
    *,
    mode: str = "auto",
    guard: str = FREE,
    head: str = "",
    act: str = 'mend, with: {of: "${event.subject}"}',
    more: str = "",
    hold: str = "0s",
) -> str:
    """A playbook of one act that mends the event's subject."""
    return f"""
playbook: {name}
description: Mends it.
on: {{type: {on}}}
mode: {mode}
guard: {guard}
{head}
steps:
  - {{id: look, observe: fact, with: {{of: "${{event.subject}}"}}}}
  - {{id: act, act: {act}}}
verify:
  - ill_check: {{of: "${{event.subject}}", within: 1s, hold: {hold}}}
{more}
"""


@dataclass
class Rig:
    """See the head of this file."""

    loop: VirtualLoop
    clock: VirtualClock
    machine: SimMachine
    texts: dict[str, str]
    settings: dict[str, Any]
    ill: set[str] = field(default_factory=set)
    facts: dict[str, Any] = field(default_factory=dict)
    acts: list[str] = field(default_factory=list)
    """`SUBJECT by PLAYBOOK` of each execution of `mend`, in order."""
    mends: bool = True
    busy_s: float = 0.05
    look_s: float = 0.01
    commit_s: float = 0.0002
    """What is said is durable, and folded, so much later."""
    lives: int = 0
    process: SimProcess | None = None
    born: Daemon | None = None
    died: list[BaseException] = field(default_factory=list)
    _read_at: int = -1
    _stored: list[Stored] = field(default_factory=list)

    # --- its world

    def skills(self) -> dict[str, SimSkill]:
        of = {"of": ""}
        own = (
            SimSkill("ill_check", "verify", self._ill_check, "Whether it is ill.", of),
            SimSkill("fact", "observe", self._fact, "A fact about it.", of),
            SimSkill("mend", "act", self._mend, "Mends it.", {**of, "way": ""}),
            SimSkill("mend_once", "act", self._mend, "Mends it, once.", {**of, "way": ""}, rerun="never_retry"),
        )
        return {**SKILLS, **{skill.name: skill for skill in own}}

    def _ill_check(self, call: SkillCall, _box: Box) -> Body:
        yield self.look_s
        well = str(call.params["of"]) not in self.ill
        return SkillResult(ok=well, result={"verdict": "well" if well else "not_well"})

    def _fact(self, call: SkillCall, _box: Box) -> Body:
        yield self.look_s
        return SkillResult(ok=True, result={"value": self.facts.get(str(call.params["of"]), "")})

    def _mend(self, call: SkillCall, _box: Box) -> Body:
        yield self.busy_s / 2
        self.acts.append(f"{call.params['of']} by {call.env['playbook']}")
        if self.mends:
            self.ill.discard(str(call.params["of"]))
        yield self.busy_s / 2
        return SkillResult(ok=True)

    # --- the daemon's life

    @property
    def daemon(self) -> Daemon:
        assert self.born is not None
        return self.born

    async def start(self) -> None:
        """One more life on the same disk; returns when it is ready. A bug that ends it rises here, or in `until`."""
        self.lives += 1
        self.born = None
        self.process = self.machine.processes.spawn(f"daemon{self.lives}", self._life)
        await self.until(lambda: self.born is not None and self.born.ready.is_set())

    async def _life(self, process: SimProcess) -> int:
        entropy = SeededEntropy(7_000_003 + self.lives)
        outside = assembly.outside_of(self.machine, process, entropy, assembly.Parts(commit_s=lambda: self.commit_s))
        skills = self.skills()
        self.machine.hands.skills = skills
        outside = replace(
            outside,
            skills={**assembly.skills(), **specs(skills)},
            looker=SimLooker(self.machine.box_for(process.life), skills),
            read_playbooks=lambda: dict(self.texts),
        )
        daemon = assemble(Settings.model_validate({"data": STATE_DIR, "acts_per_hour": 4000, **self.settings}), outside)
        process.life.on_error = daemon.fail
        self.born = daemon
        try:
            await daemon.run()
        except Exception as error:
            self.died.append(error)
            raise
        return 0

    def kill(self) -> None:
        assert self.process is not None
        self.machine.processes.kill(self.process)

    async def restart(self) -> None:
        self.kill()
        await asyncio.sleep(0.1)
        await self.start()

    async def in_daemon(self, work: Coroutine[Any, Any, T]) -> T:
        assert self.process is not None
        return await self.process.life.spawn(work)

    # --- what a test says and asks

    async def emit(self, type: str = "work.broken", subject: str = "job:1", **attributes: Any) -> str:
        """An event from outside; returns its id once it is durable."""
        event_id = attributes.pop("id", "") or f"e{len(self.stored())}-{subject}"
        draft = Draft(type=type, subject=subject, id=event_id, **attributes)

        async def say() -> None:
            await self.daemon.spine.emit(draft)

        await self.in_daemon(say())
        return event_id

    async def ask(self, verb: str, **args: Any) -> Answer:
        return await self.in_daemon(Verbs.__call__(self.daemon.verbs, PEER, verb, args))

    async def do(self, verb: str, **args: Any) -> Mapping[str, Any]:
        answer = await self.ask(verb, **args)
        assert answer.ok, f"{verb}: {answer.error}"
        return answer.result

    def stored(self) -> list[Stored]:
        """The journal; read again only when the disk has changed since, because `until` asks every few milliseconds."""
        if self._read_at != self.machine.disk.calls:
            self._read_at, self._stored = self.machine.disk.calls, assembly.read_journal(self.machine)
        return self._stored

    def events(self, *types: str, subject: str = "") -> list[Event]:
        return [s.event for s in self.stored() if s.event.type in types and subject in ("", s.event.subject)]

    def verdicts(self, event: str) -> list[str]:
        """What became of this event, in order."""
        told = [e for e in self.events("reactor.decided", "run.opened", "scheduler.dead_letter") if e.data["event"] == event]
        return [str(one.data.get("verdict", one.type)) for one in told]

    async def until(self, what: Callable[[], Any], within_s: float = 60.0) -> Any:
        """Wait for the thing itself, in virtual time. A daemon that died meanwhile rises."""
        ends = self.loop.time() + within_s
        while not (found := what()):
            if self.died:
                raise self.died[0]
            assert self.loop.time() < ends, f"not within {within_s} s; the journal: {[s.event.type for s in self.stored()][-40:]}"
            await asyncio.sleep(0.005 if within_s <= 60.0 else 0.5)
        return found

    async def until_event(self, type: str, subject: str = "", count: int = 1, within_s: float = 60.0) -> Event:
        """The count-th event of this type."""
        found: list[Event] = await self.until(
            lambda: (got := self.events(type, subject=subject)) if len(self.events(type, subject=subject)) >= count else None,
            within_s,
        )
        return found[count - 1]

    async def falls_ill(self, subject: str = "job:1", **attributes: Any) -> str:
        """Ill, and said so; after the settle time of whatever acted before, so that it is news."""
        await asyncio.sleep(SETTLE_S)
        self.ill.add(subject)
        return await self.emit(subject=subject, **attributes)

    async def until_quiet(self, within_s: float = 600.0) -> None:
        """Until no run is open that does not wait, and nothing is queued."""
        await asyncio.sleep(0.05)
        await self.until(
            lambda: not len(self.daemon.reactor.queue) and all(r.wait for r in self.daemon.world.runs.values()), within_s
        )

    def run_of(self, playbook: str, subject: str = "job:1") -> Run:
        """The newest run of this playbook on this subject."""
        world = self.daemon.world
        return [r for r in (*world.recent.values(), *world.runs.values()) if (r.playbook, r.subject) == (playbook, subject)][-1]


Story = Callable[[Rig], Awaitable[T]]


def play(story: Story[T], *texts: str, seed: int = 1, started: bool = True, **settings: Any) -> T:
    """Run a story with these playbooks in virtual time."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        machine = machine_with_hands(loop, clock, seed, assembly.blobs_of)
        machine.disk.make_folders(f"{STATE_DIR}/inbox")
        rig = Rig(loop, clock, machine, {f"/playbooks/{n}.yaml": text for n, text in enumerate(texts)}, settings)
        if started:
            await rig.start()
        told = await story(rig)
        if rig.process is not None and rig.process.alive:
            rig.kill()
        return told

    return run_virtual(main, seed)
