"""The `Processes` port: one suite over the kernel's processes and the simulated ones."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest

from aios.entropy import SeededEntropy
from aios.hands.processes import OsProcesses
from aios.ports import Processes, ProcessId
from aios.testing.loop import VirtualClock, VirtualLoop, run_virtual
from aios.testing.processes import SimProcess, SimProcesses

DEADLINE_S = 30.0


class Machine(Protocol):
    """Something that has processes: how to try the port on it."""

    def play(self, story: Callable[[Processes, Machine], Awaitable[Any]]) -> Any: ...
    def start_sleeper(self) -> int: ...
    def reap(self) -> None: ...


class RealMachine:
    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []

    def play(self, story: Callable[[Processes, Machine], Awaitable[Any]]) -> Any:
        return asyncio.run(_awaited(story(OsProcesses(), self)))

    def start_sleeper(self) -> int:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self._children.append(child)
        return child.pid

    def reap(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()


class SimulatedMachine:
    def __init__(self) -> None:
        self._processes: SimProcesses | None = None

    def play(self, story: Callable[[Processes, Machine], Awaitable[Any]]) -> Any:
        async def main(clock: VirtualClock, _: SeededEntropy) -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            self._processes = SimProcesses(loop, clock)
            return await story(self._processes, self)

        return run_virtual(main)

    def start_sleeper(self) -> int:
        async def sleep(_: SimProcess) -> int:
            await asyncio.sleep(600)
            return 0

        assert self._processes is not None
        return self._processes.spawn("sleeper", sleep).pid

    def reap(self) -> None:
        pass


async def _awaited(story: Awaitable[Any]) -> Any:
    return await story


@pytest.fixture(params=[RealMachine, SimulatedMachine])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    machine = request.param()
    yield machine
    machine.reap()


async def gone(processes: Processes, who: ProcessId) -> None:
    """Wait for the end itself."""
    over = asyncio.Event()
    processes.on_exit(who, over.set)
    async with asyncio.timeout(DEADLINE_S):
        await over.wait()


def test_a_living_process_has_an_identity_that_stays(machine: Machine) -> None:
    """Pid, start and boot id: the same as long as it lives."""

    async def story(processes: Processes, here: Machine) -> None:
        pid = here.start_sleeper()
        who = processes.identity(pid)
        assert who is not None
        assert who.pid == pid
        assert who == processes.identity(pid)
        assert processes.alive(who)

    machine.play(story)


def test_a_killed_process_is_nobody(machine: Machine) -> None:
    """Its end is told once, it is not alive, a signal finds nobody; a zombie counts as nobody."""

    async def story(processes: Processes, here: Machine) -> None:
        who = processes.identity(here.start_sleeper())
        assert who is not None
        told: list[int] = []
        processes.on_exit(who, lambda: told.append(1))
        assert processes.signal(who, signal.SIGKILL)
        await gone(processes, who)
        await asyncio.sleep(0)
        assert told == [1]
        assert not processes.alive(who)
        assert processes.identity(who.pid) is None
        assert not processes.signal(who, signal.SIGKILL)

    machine.play(story)


def test_the_end_of_one_that_is_gone_is_told_at_once(machine: Machine) -> None:
    """Whoever asks late hears it too."""

    async def story(processes: Processes, here: Machine) -> None:
        who = processes.identity(here.start_sleeper())
        assert who is not None
        processes.signal(who, signal.SIGKILL)
        await gone(processes, who)
        await gone(processes, who)

    machine.play(story)


def test_somebody_else_with_the_same_pid_is_somebody_else(machine: Machine) -> None:
    """A pid that came round again is not alive under the old identity, and gets no signal."""

    async def story(processes: Processes, here: Machine) -> None:
        who = processes.identity(here.start_sleeper())
        assert who is not None
        for other in (who._replace(start=who.start + 1), who._replace(boot_id="another boot")):
            assert not processes.alive(other)
            assert not processes.signal(other, signal.SIGKILL)
            await gone(processes, other)
        assert processes.alive(who)

    machine.play(story)


def test_a_watch_that_was_ended_is_silent(machine: Machine) -> None:
    """What `on_exit` returns ends the watch; ending it twice is harmless."""

    async def story(processes: Processes, here: Machine) -> None:
        who = processes.identity(here.start_sleeper())
        assert who is not None
        told: list[int] = []
        end = processes.on_exit(who, lambda: told.append(1))
        end()
        end()
        processes.signal(who, signal.SIGKILL)
        await gone(processes, who)
        await asyncio.sleep(0)
        assert told == []

    machine.play(story)


def test_signal_zero_and_stop_do_not_end(machine: Machine) -> None:
    """A stopped process lives."""

    async def story(processes: Processes, here: Machine) -> None:
        who = processes.identity(here.start_sleeper())
        assert who is not None
        assert processes.signal(who, 0)
        assert processes.signal(who, signal.SIGSTOP)
        assert processes.alive(who)
        assert processes.signal(who, signal.SIGKILL)
        await gone(processes, who)

    machine.play(story)


def test_nobody_has_pid_zero(machine: Machine) -> None:
    """What a damaged record names is nobody."""

    async def story(processes: Processes, here: Machine) -> None:
        assert processes.identity(0) is None
        assert not processes.alive(ProcessId(0, 0, ""))
        assert not processes.signal(ProcessId(0, 0, ""), signal.SIGKILL)

    machine.play(story)
