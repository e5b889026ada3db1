"""One simulated machine: time, chance, disk, processes and services, and what can befall all of it at once.

Called by the simulation's harness, which puts a daemon into it. What outlives the daemon stands here; what belongs to one life
of the daemon is made anew for each (`SimServices`, `SimHands`, `SimLooker`).
"""

from __future__ import annotations

from dataclasses import dataclass

from aios.entropy import SeededEntropy
from aios.testing.bodies import EFFECTS, Box
from aios.testing.disk import SimDisk
from aios.testing.hands import HandsCode, SimHandsWorld
from aios.testing.loop import Life, VirtualClock, VirtualLoop
from aios.testing.processes import SimProcesses
from aios.testing.services import SimActs, SimUnits

STATE_DIR = "/state"


@dataclass(slots=True)
class SimMachine:
    """See the head of this file. `chance` is the story's, `luck` the world's: a change in one leaves the other as it was."""

    loop: VirtualLoop
    clock: VirtualClock
    chance: SeededEntropy
    luck: SeededEntropy
    disk: SimDisk
    processes: SimProcesses
    units: SimUnits
    hands: SimHandsWorld
    power_cuts: int = 0

    def power_cut(self) -> None:
        """Everything dies at once; what was not synced goes or stays by chance; then the machine is up again."""
        self.power_cuts += 1
        for unit in self.units.units.values():
            unit.process = None
        self.processes.reboot()
        self.disk.power_cut(self.luck)
        self.units.reboot()

    def box_for(self, life: Life) -> Box:
        """What looking bodies get, in the daemon's own life."""
        return Box(self.disk.seen_by(life), self.units, SimActs(self.units), self.clock, self.luck)


def make_machine(loop: VirtualLoop, clock: VirtualClock, seed: int, code: HandsCode, sync_s: float = 0.0) -> SimMachine:
    """A machine with an empty state folder and a folder for effects, both durable."""
    chance, luck = SeededEntropy(seed), SeededEntropy(seed ^ 0xD15C)
    disk = SimDisk(clock, sync_s=sync_s, spend=clock.spend)
    disk.make_folders(STATE_DIR)
    disk.make_folders(EFFECTS)
    processes = SimProcesses(loop, clock)
    units = SimUnits(processes, clock, luck)
    hands = SimHandsWorld(loop, clock, luck, processes, disk, units, code, STATE_DIR)
    return SimMachine(loop, clock, chance, luck, disk, processes, units, hands)
