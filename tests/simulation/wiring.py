"""Wires the product's own code into the simulated machine: the one place of the simulation that names both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aios.events.calls import SkillCall, SkillResult
from aios.hands import attempt, launcher, recovery, rollback, snapshot
from aios.hands.client import HandsClient
from aios.ports import Blobs, Files, ServiceActs
from aios.testing.hands import HandsCode, SimLink
from aios.testing.loop import VirtualClock, VirtualLoop
from aios.testing.machine import STATE_DIR, SimMachine, make_machine
from aios.testing.services import SimActs

BlobsOf = Callable[[Files], Blobs]


def hands_code(acts: Callable[[], ServiceActs], blobs_of: BlobsOf) -> HandsCode:
    """Launcher, recovery, snapshots and rollback as hands runs them."""

    def take_snapshot(files: Files) -> Callable[[SkillCall], Mapping[str, Any]]:
        return lambda call: snapshot.take(call.touches, blobs_of(files), acts)

    def roll_back(call: SkillCall, files: Files) -> SkillResult:
        return rollback.rollback(call.params["attempts"], STATE_DIR, files, blobs_of(files), acts)

    def tell(_call: SkillCall, _files: Files) -> SkillResult:
        return SkillResult(ok=True, result={"told": "the log"})

    return HandsCode(
        launch=launcher.launch,
        recover=recovery.recover,
        write_acting=attempt.write_acting,
        act_step=launcher.ACT,
        snapshot=take_snapshot,
        own_acts={"rollback": roll_back, "notify": tell},
    )


def machine_with_hands(loop: VirtualLoop, clock: VirtualClock, seed: int, blobs_of: BlobsOf, sync_s: float = 0.0) -> SimMachine:
    """A machine whose hands are the real ones."""
    machines: list[SimMachine] = []
    code = hands_code(lambda: SimActs(machines[0].units), blobs_of)
    machines.append(make_machine(loop, clock, seed, code, sync_s=sync_s))
    return machines[0]


class SimHands(HandsClient):
    """The product's own client; only the process at the other end of its socket is simulated."""

    def __init__(self, machine: SimMachine, on_lost: Callable[[str], None] | None = None) -> None:
        super().__init__(STATE_DIR, machine.processes, machine.luck, on_lost=on_lost)
        self._machine = machine

    def open(self) -> None:
        self._link = SimLink(self._machine.hands, self._told, self._ended, self._drained)  # type: ignore[assignment]
