"""The simulation finds what it is there to find: five bugs, planted one at a time into the real wiring, are each noticed."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Sequence
from typing import Any

import pytest

from aios.clock import Clock
from aios.events.event import Event, Position
from aios.ports import Files, JournalWriter
from aios.world import World
from tests.simulation.assembly import Parts
from tests.simulation.day import Troubles
from tests.simulation.harness import broken_laws, play_day

SEEDS = range(1, 5)


def found_by(seed: int, parts: Parts, troubles: Troubles | None = None) -> str:
    return "\n".join(broken_laws(play_day(seed, 0.4, troubles, parts, quiet_s=300.0)))


class NeverSyncs:
    """A disk to the journal's writer on which a sync returns before it has begun."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def fdatasync(self, fd: int) -> None:
        self._files.fstat(fd)


@pytest.mark.parametrize("seed", SEEDS)
def test_acknowledging_before_the_sync_is_found(seed: int) -> None:
    """An event counts as taken only when the hardest power cut would leave it."""
    assert "acknowledged before it was on the disk" in found_by(seed, Parts(journal_files=NeverSyncs), Troubles(power_cut_s=0))


class ForgetsIntents:
    """A writer that says of every intent that it is durable, and has not written it."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._last = Position("2026-02-24", 1, 0)

    def append(self, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        answer: Future[list[Position]] = asyncio.get_running_loop().create_future()
        kept = [event for event in events if event.type != "run.step_intended"]
        written = self._writer.append(kept)
        written.add_done_callback(lambda done: answer.set_result(self._positions(events, done.result())))
        return answer

    def _positions(self, events: Sequence[Event], written: list[Position]) -> list[Position]:
        left = iter(written)
        positions = []
        for event in events:
            self._last = self._last if event.type == "run.step_intended" else next(left)
            positions.append(self._last)
        return positions

    async def close(self) -> None:
        await self._writer.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_acting_without_an_intent_is_found(seed: int) -> None:
    """What happens outside is announced in the journal first."""
    quiet = Troubles(kill_daemon_s=0, kill_at_call_s=0, power_cut_s=0, disk_s=0)
    assert "without a durable intent" in found_by(seed, Parts(writer=ForgetsIntents), quiet)


def forget_attempts(world: World) -> None:
    for run in world.runs.values():
        run.attempts.clear()


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_attempts_only_in_memory_is_found(seed: int) -> None:
    """After a restart the next attempt has the next number, so that it has a folder and a fence of its own."""
    nervous = Troubles(kill_daemon_s=30.0, work_s=20.0, disk_s=0, power_cut_s=0)
    assert "was intended where" in found_by(seed, Parts(remembered=forget_attempts), nervous)


@pytest.mark.parametrize("seed", SEEDS)
def test_forgetting_what_was_taken_is_found(seed: int) -> None:
    """A line of the inbox is taken once, over every restart."""
    assert "was taken 2 times" in found_by(seed, Parts(knows_what_it_took=False))


class WallOnly:
    """A clock that gives wall time where monotonic time was asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.now()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self._clock.now()))


@pytest.mark.parametrize("seed", SEEDS)
def test_timing_acts_by_the_wall_clock_is_found(seed: int) -> None:
    """A wall clock that leaps makes no act longer or shorter."""
    leaping = Troubles(leap_s=20.0, work_s=20.0, kill_daemon_s=0, kill_at_call_s=0, power_cut_s=0, disk_s=0)
    found = found_by(seed, Parts(clock=WallOnly), leaping)
    assert "its timeout is" in found or "was timed out after" in found


def test_the_same_troubles_without_a_planted_bug_break_no_law() -> None:
    """What was found above was the bug, not the trouble."""
    leaping = Troubles(leap_s=20.0, work_s=20.0, kill_daemon_s=0, kill_at_call_s=0, power_cut_s=0, disk_s=0)
    nervous = Troubles(kill_daemon_s=30.0, work_s=20.0, disk_s=0, power_cut_s=0)
    for troubles in (leaping, nervous):
        assert broken_laws(play_day(1, 0.4, troubles)) == []
