"""Wires the product's own code into the simulated machine: the one place of the simulation that names both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aios.disk import write_small
from aios.events.calls import RerunClass, SkillCall, SkillResult
from aios.events.codec import encode_json
from aios.hands import attempt, changes, launcher, recovery, rollback, snapshot, undo
from aios.hands.client import HandsClient
from aios.ports import Blobs, Files, ServiceActs
from aios.testing.bodies import Box, SimInverse, SimSkill
from aios.testing.hands import HandsCode, SimLink
from aios.testing.loop import VirtualClock, VirtualLoop
from aios.testing.machine import STATE_DIR, SimMachine, make_machine
from aios.testing.services import SimActs
from tests.simulation.files import ALL_SKILLS, in_every_playing

BlobsOf = Callable[[Files], Blobs]


def hands_code(acts: Callable[[], ServiceActs], blobs_of: BlobsOf) -> HandsCode:
    """Launcher, recovery, snapshots and rollback as hands runs them."""

    manifests: dict[str, Mapping[str, Any]] = {}

    def take_snapshot(files: Files) -> Callable[[SkillCall, str], None]:
        def taken(call: SkillCall, path: str) -> None:
            if outline := snapshot.outline(call.touches, acts):
                manifests[call.key] = in_every_playing(snapshot.filled(outline, blobs_of(files)))
                write_small(files, path, encode_json(manifests[call.key]))

        return taken

    def after_act(call: SkillCall, result: SkillResult, files: Files) -> SkillResult:
        return changes.told(result, lambda: manifests.pop(call.key, {}), f"{STATE_DIR}/{call.folder}", files, blobs_of(files))

    def roll_back(call: SkillCall, box: Box) -> SkillResult:
        inverses = SimInverses(call, box)
        return rollback.rollback(call.params["attempts"], STATE_DIR, box.files, blobs_of(box.files), acts, inverses)

    def before_act(call: SkillCall, skill: SimSkill, box: Box) -> None:
        if (inverse := skill.inverse) is not None:
            done = undo.Done(call.skill, call.params, inverse.about(call.params), inverse.look(call.params, box))
            undo.record(box.files, f"{STATE_DIR}/{call.folder}", done)

    def tell(_call: SkillCall, _box: Box) -> SkillResult:
        return SkillResult(ok=True, result={"told": "the log"})

    return HandsCode(
        launch=launcher.launch,
        recover=recovery.recover,
        write_acting=attempt.write_acting,
        act_step=launcher.ACT,
        snapshot=take_snapshot,
        own_acts={"rollback": roll_back, "notify": tell},
        before_act=before_act,
        after_act=after_act,
    )


@dataclass(frozen=True, slots=True)
class SimInverses:
    """`undo.Inverses` of the simulated skills, for one rollback; an inverse's body takes no time of its own."""

    call: SkillCall
    box: Box

    def look(self, done: undo.Done) -> Mapping[str, Any]:
        return self._of(done.skill).look(done.params, self.box)

    def inverse(self, done: undo.Done, now: Mapping[str, Any]) -> undo.Inverse | None:
        found = self._of(done.skill).undo(done.params, done.before, now)
        return None if found is None else undo.Inverse(*found)

    def rerun(self, skill: str) -> RerunClass:
        return ALL_SKILLS[skill].rerun

    def carry_out(self, inverse: undo.Inverse, *, recheck: bool) -> SkillResult:
        skill = ALL_SKILLS[inverse.skill]
        call = replace(self.call, skill=skill.name, params=inverse.params)
        if recheck and skill.already_done is not None and skill.already_done(call, self.box):
            return SkillResult(ok=True)
        body = skill.body(call, self.box)
        while True:
            try:
                next(body)
            except StopIteration as end:
                result: SkillResult = end.value
                return result

    def _of(self, skill: str) -> SimInverse:
        inverse = ALL_SKILLS[skill].inverse
        assert inverse is not None, f"{skill} has no inverse, and something was written down before it"
        return inverse


def machine_with_hands(loop: VirtualLoop, clock: VirtualClock, seed: int, blobs_of: BlobsOf, sync_s: float = 0.0) -> SimMachine:
    """A machine whose hands are the real ones."""
    machines: list[SimMachine] = []
    code = hands_code(lambda: SimActs(machines[0].units), blobs_of)
    machines.append(make_machine(loop, clock, seed, code, sync_s=sync_s))
    machines[0].hands.skills = ALL_SKILLS
    return machines[0]


class SimHands(HandsClient):
    """The product's own client; only the process at the other end of its socket is simulated."""

    def __init__(self, machine: SimMachine) -> None:
        super().__init__(STATE_DIR, machine.processes, machine.luck)
        self._machine = machine

    def open(self) -> None:
        self._link = SimLink(self._machine.hands, self._told, self._ended, self._drained)  # type: ignore[assignment]
