"""Plays a day from a seed with the product's own wiring, and holds its history against every law."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aios.entropy import SeededEntropy
from aios.events.calls import RerunClass
from aios.events.event import Event, Position
from aios.scheduler.priority import priority
from aios.testing.bodies import SKILLS
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from tests.simulation import laws
from tests.simulation.assembly import Parts, blobs_of, read_journal, run_daemon
from tests.simulation.day import Day, History, Troubles
from tests.simulation.laws import Acknowledged
from tests.simulation.playbooks import GUARDS, MATCHED, TIMEOUTS_S
from tests.simulation.wiring import machine_with_hands

QUIET_S = 3 * 3600.0
CLASSES: dict[str, RerunClass] = {skill.name: skill.rerun for skill in SKILLS.values() if skill.name.startswith("count_")}


def play_day(
    seed: int, hours: float = 1.0, troubles: Troubles | None = None, parts: Parts | None = None, quiet_s: float = QUIET_S
) -> History:
    """One day, whole. Deterministic: the same arguments give the same journal."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> History:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        machine = machine_with_hands(loop, clock, seed, blobs_of)
        machine.disk.make_folders(f"{STATE_DIR}/inbox")

        def start(day: Day) -> SimProcess:
            def durable(event: Event, position: Position) -> None:
                path = f"{STATE_DIR}/events/{position.day}.{position.part}.jsonl"
                stands = machine.disk.durable(path, position.offset, 300)
                day.acknowledged.append(Acknowledged(event.id, event.id.encode() in stands))

            mine = replace(parts or Parts(), durable=durable, assembled=day.meet)
            number = day.starts
            return machine.processes.spawn("daemon", lambda process: _one_life(machine, process, number, seed, mine))

        return await Day(machine, troubles or Troubles(), start, seed).run(hours, quiet_s, read_journal)

    return run_virtual(main, seed)


async def _one_life(machine: SimMachine, process: SimProcess, number: int, seed: int, parts: Parts) -> int:
    """A disk that refuses at the start ends the daemon in order, and it is started again; any other error is a bug and rises."""
    try:
        return await run_daemon(machine, process, number, seed, parts)
    except OSError:
        return 1


def is_matched(event: Event) -> bool:
    return event.type in MATCHED


def broken_laws(history: History) -> list[str]:
    """Everything that is wrong with a history."""
    events, effects = history.events, history.effects
    found = [
        *laws.acknowledged_is_durable(history.acknowledged),
        *laws.acknowledged_is_kept(history.acknowledged, events),
        *laws.lines_are_taken_once(history.lines, events),
        *laws.everything_is_dealt_with(events, is_matched),
        *laws.no_effect_without_intent(events, effects),
        *laws.an_attempt_is_carried_out_once(effects),
        *laws.attempts_are_counted(events),
        *laws.effects_fit_the_rerun_class(events, effects, CLASSES),
        *laws.no_run_twice(events),
        *laws.every_run_ends(events),
        *laws.one_run_on_a_resource(events),
        *laws.modes_are_kept(events),
        *([] if history.leaps else laws.guards_hold(events, GUARDS)),
        *([] if history.leaps else laws.priorities_are_kept(events, priority, is_matched)),
        *laws.timeouts_are_kept(events, TIMEOUTS_S),
    ]
    return [f"seed {history.seed}: {sentence}" for sentence in found]
