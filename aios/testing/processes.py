"""Simulated processes: whatever runs (daemon, hands, launchers, bodies, services) as lives in the virtual loop.

Called by the other rooms of `testing` and by the simulation's harness. A process has an identity that does not come round again
(pid, start, boot id), a group, and a `Life` that can be killed at any step. Pids are few, so that they do come round. What a
process does stands in the coroutine that was given to `spawn`; descriptors and names belong to `disk.py`.
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Callable, Coroutine
from typing import Any

from aios.ports import ProcessId
from aios.testing.loop import Life, VirtualClock, VirtualLoop, current_life

FIRST_PID = 100
TICKS_A_SECOND = 100
"""How finely field 22 of /proc/PID/stat tells time on Linux."""

Handler = Callable[[], None]


class SimProcess:
    """One process. `status` is how it ended: an exit status, or minus the signal that ended it."""

    __slots__ = ("_go_on", "group", "handlers", "life", "name", "status", "watchers", "who")

    def __init__(self, who: ProcessId, name: str, life: Life, group: ProcessId) -> None:
        self.who = who
        self.name = name
        self.life = life
        self.group = group
        self.status: int | None = None
        self.handlers: dict[int, Handler] = {}
        self.watchers: list[Callable[[], None]] = []
        self._go_on: asyncio.Event | None = None

    @property
    def pid(self) -> int:
        return self.who.pid

    @property
    def alive(self) -> bool:
        return self.life.alive

    @property
    def stopped(self) -> bool:
        return self._go_on is not None

    async def pass_time(self, seconds: float) -> None:
        """Work for so long; while it is stopped (SIGSTOP) it does not come back from here."""
        await asyncio.sleep(seconds)
        while self._go_on is not None:
            await self._go_on.wait()

    def freeze(self) -> None:
        if self._go_on is None:
            self._go_on = asyncio.Event()

    def thaw(self) -> None:
        if self._go_on is not None:
            self._go_on.set()
            self._go_on = None


class SimProcesses:
    """The `Processes` port over a table of simulated processes; also the way to start and end them."""

    def __init__(self, loop: VirtualLoop, clock: VirtualClock, pid_max: int = 4000) -> None:
        self._loop = loop
        self._clock = clock
        self._pid_max = pid_max
        self._next_pid = FIRST_PID
        self._boots = 1
        self._table: dict[int, SimProcess] = {}
        self.started = 0
        self.killed = 0

    # --- the port

    def identity(self, pid: int) -> ProcessId | None:
        _refuse_the_dead()
        process = self._table.get(pid)
        return process.who if process is not None else None

    def alive(self, who: ProcessId) -> bool:
        _refuse_the_dead()
        return self._of(who) is not None

    def signal(self, who: ProcessId, number: int) -> bool:
        _refuse_the_dead()
        process = self._of(who)
        if process is None:
            return False
        self.deliver(process, number)
        return True

    def on_exit(self, who: ProcessId, callback: Callable[[], None]) -> Callable[[], None]:
        _refuse_the_dead()
        process = self._of(who)
        if process is None:
            return self._loop.call_soon(callback).cancel
        return _watch(self._loop, process, callback)

    # --- starting and ending

    @property
    def boot_id(self) -> str:
        return f"00000000-0000-4000-8000-{self._boots:012x}"

    def make(self, name: str, group: ProcessId | None = None) -> SimProcess:
        """A process that does nothing yet; without a `group` it is the leader of one of its own."""
        pid = self._free_pid()
        life = Life(self._loop, f"{name}[{pid}]")
        who = ProcessId(pid, int(self._clock.monotonic() * TICKS_A_SECOND), self.boot_id)
        process = SimProcess(who, name, life, group or who)
        self._table[pid] = process
        life.on_death.append(lambda: self._reap(process))
        self.started += 1
        return process

    def spawn(
        self, name: str, main: Callable[[SimProcess], Coroutine[Any, Any, int | None]], group: ProcessId | None = None
    ) -> SimProcess:
        """Start `main(process)`; the process ends with what it returns. A bug in it rises at the end of the simulation."""
        process = self.make(name, group)
        process.life.spawn(self._run(process, main))
        return process

    async def _run(self, process: SimProcess, main: Callable[[SimProcess], Coroutine[Any, Any, int | None]]) -> None:
        try:
            status = await main(process)
        except Exception as error:  # noqa: BLE001  whatever a process dies of is kept for the simulation's end
            self._loop.stray.append(error)
            status = 1
        self.end(process, status or 0)

    def end(self, process: SimProcess, status: int) -> None:
        """The process is gone, by its own will or by a signal (minus its number). Nothing of it runs again."""
        if process.alive:
            process.status = status
            process.life.kill()

    def kill(self, process: SimProcess) -> None:
        """kill -9."""
        if process.alive:
            self.killed += 1
            self.end(process, -signals.SIGKILL)

    def deliver(self, process: SimProcess, number: int) -> None:
        """What the kernel does with a signal."""
        if number == signals.SIGKILL:
            self.kill(process)
        elif number == signals.SIGSTOP:
            process.freeze()
        elif number == signals.SIGCONT:
            process.thaw()
        elif number in process.handlers:
            process.life.run(process.handlers[number])
        elif number != 0:
            self.end(process, -number)

    def kill_group(self, group: ProcessId) -> None:
        """All that belong to the group of this leader, whether it lives or not."""
        for process in self.living():
            if process.group == group:
                self.kill(process)

    def living(self) -> list[SimProcess]:
        """All that live, oldest first."""
        return list(self._table.values())

    def named(self, prefix: str) -> list[SimProcess]:
        return [process for process in self._table.values() if process.name.startswith(prefix)]

    def reboot(self) -> None:
        """Everything dies at once, nobody hears of it, and the next processes belong to another boot."""
        for process in self.living():
            process.watchers.clear()
            process.status = -signals.SIGKILL
        for process in self.living():
            process.life.kill()
        self._boots += 1
        self._next_pid = FIRST_PID

    # --- leaves

    def _of(self, who: ProcessId) -> SimProcess | None:
        process = self._table.get(who.pid)
        return process if process is not None and process.who == who else None

    def _free_pid(self) -> int:
        while self._next_pid in self._table:
            self._advance_pid()
        pid = self._next_pid
        self._advance_pid()
        return pid

    def _advance_pid(self) -> None:
        self._next_pid = self._next_pid + 1 if self._next_pid < self._pid_max else FIRST_PID

    def _reap(self, process: SimProcess) -> None:
        self._table.pop(process.pid, None)
        if process.status is None:
            process.status = -signals.SIGKILL
            self.killed += 1
        watchers, process.watchers = process.watchers, []
        for tell in watchers:
            tell()


def _watch(loop: VirtualLoop, process: SimProcess, callback: Callable[[], None]) -> Callable[[], None]:
    """Tell the watcher, in the watcher's own life, on the loop."""
    life = current_life()

    def tell() -> None:
        if life is None:
            loop.call_soon(callback)
        elif life.alive:
            life.run(loop.call_soon, callback)

    def end() -> None:
        if tell in process.watchers:
            process.watchers.remove(tell)

    process.watchers.append(tell)
    return end


def _refuse_the_dead() -> None:
    life = current_life()
    if life is not None:
        life.check()
