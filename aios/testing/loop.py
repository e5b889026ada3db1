"""An asyncio loop in virtual time: instead of sleeping until the next timer it moves its clock there.

Called by simulations through `run_virtual`. The same seed gives the same order: ready callbacks run in the order in which
they were scheduled, and sets of tasks iterate by the order of their birth, not by their address in memory.

Code runs inside a *life*: what a simulated process (`processes.py`) is to the loop. `Life.kill` is the `kill -9` of this world:
no callback, timer or task of that life runs ever again, and the `finally` blocks that Python insists on running find ports
that refuse (`Life.check`). Real threads, sockets and children are refused here with an error that says so.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from asyncio import events
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar, cast

from aios.entropy import SeededEntropy

T = TypeVar("T")

START_OF_TIME = 1_771_891_200.0
"""Where the wall clock of a simulation begins: 2026-02-24T00:00:00Z."""

CLOCK_RESOLUTION_S = 1e-9


class VirtualTimeError(RuntimeError):
    """Something was asked of the loop that virtual time cannot give."""


class Deadlock(VirtualTimeError):
    """Nothing is ready, no timer is set, and the main task has not ended: time would stand still for ever."""


class Killed(BaseException):
    """Risen inside code whose process was killed. No `except Exception` of the product may catch it."""


class Life:
    """What runs between the start of a simulated process and its end."""

    __slots__ = ("alive", "loop", "name", "on_death", "on_error", "tasks")

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.loop = loop
        self.tasks: dict[VirtualTask, None] = {}
        self.on_death: list[Callable[[], None]] = []
        self.on_error: Callable[[BaseException], None] | None = None
        """Hears of errors in callbacks that nobody awaits, as a loop's exception handler does in a real process."""

    def check(self) -> None:
        """What every simulated port calls first. Raises `Killed` when this life is over."""
        if not self.alive:
            raise Killed(f"{self.name} was killed")

    def forget(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(cast("VirtualTask", task), None)

    def spawn(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine inside this life."""
        context = contextvars.copy_context()
        context.run(_life.set, self)
        return self.loop.create_task(main, context=context)

    def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run plain code inside this life: timers and tasks that it makes belong to the life."""
        context = contextvars.copy_context()
        context.run(_life.set, self)
        return context.run(call, *args)

    def kill(self) -> None:
        """End it at this very step: also from within, at a disk call say. Harmless when it is over already."""
        if not self.alive:
            return
        self.alive = False
        self.loop.bury(self)
        callbacks, self.on_death = self.on_death, []
        for callback in callbacks:
            outside().run(callback)  # it may be the dead one's own step that we are in


_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("aios_simulated_life", default=None)


def current_life() -> Life | None:
    """The life whose code runs now; None outside of every simulated process."""
    return _life.get()


def outside() -> contextvars.Context:
    """A context that belongs to no life."""
    context = contextvars.copy_context()
    context.run(_life.set, None)
    return context


class VirtualTask(asyncio.Task[Any]):
    """A task that hashes by birth, so that a set of tasks has the same order in every run of a seed."""

    # Annotated here, set by the task factory: a Task's own constructor is in C and takes no more arguments.
    birth: int
    context: contextvars.Context
    life: Life | None

    def __hash__(self) -> int:
        return self.birth

    def __eq__(self, other: object) -> bool:
        return self is other


class _VirtualSelector:
    """Stands where the loop waits for sockets, and moves the clock instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        if loop.intruder is not None:
            raise loop.intruder
        if loop.stray:
            raise loop.stray.pop(0)
        if timeout is None:
            raise Deadlock(_describe_deadlock(loop))
        if timeout > 0:
            loop.advance(timeout)
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is virtual and starts at 0. Use `run_virtual`.

    `resolution_s` is how close two times count as one: a loop whose time is the wall clock's needs a microsecond, for a float
    near 1.8e9 cannot tell less apart.
    """

    def __init__(
        self, entropy: SeededEntropy | None = None, timer_jitter_s: float = 0.0, resolution_s: float = CLOCK_RESOLUTION_S
    ) -> None:
        super().__init__()
        self.intruder: VirtualTimeError | None = None
        self._time = 0.0
        self._births = 0
        self._home = threading.get_ident()
        self._entropy = entropy
        self._timer_jitter_s = timer_jitter_s if entropy else 0.0
        self._clock_resolution = resolution_s
        self._selector = _VirtualSelector(self)
        self.set_task_factory(self._make_task)
        self.set_exception_handler(_raise_what_nobody_awaits)
        self.stray: list[BaseException] = []

    # --- time

    def time(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Let time pass without running anything: a call that blocks, such as a slow sync."""
        self._time += seconds

    def set_time(self, time: float) -> None:
        """Exactly this time, which no sum of differences gives; never back. For whoever replays what happened at known times."""
        self._time = max(self._time, time)

    def is_due(self, time: float) -> bool:
        """Whether any timer is set for this time or before."""
        timers = self._scheduled  # type: ignore[attr-defined]  # the loop's own heap
        return bool(timers) and timers[0].when() <= time

    @property
    def idle(self) -> bool:
        """Nothing is left to run at this time but whoever asks."""
        return not self._ready  # type: ignore[attr-defined]  # the loop's own queue

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    # --- lives

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None, **options: Any) -> VirtualTask:
        context = context if context is not None else contextvars.copy_context()
        life = context.get(_life)
        self._births += 1
        task = VirtualTask.__new__(VirtualTask)
        task.birth, task.context, task.life = self._births, context, life
        task.__init__(coro, loop=loop, context=context, **options)  # type: ignore[misc]  # hashed while it is made
        if life is not None:
            life.tasks[task] = None
            task.add_done_callback(life.forget)
        return task

    def call_soon(  # type: ignore[override]  # typeshed ties args to the callback
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        life = context.get(_life) if context is not None else _life.get()
        if life is not None and not life.alive:
            handle.cancel()
        return handle

    def call_at(  # type: ignore[override]  # typeshed ties args to the callback
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if self._timer_jitter_s and self._entropy:
            when += self._entropy.uniform(0.0, self._timer_jitter_s)
        handle = super().call_at(when, callback, *args, context=context)
        life = context.get(_life) if context is not None else _life.get()
        if life is not None and not life.alive:
            handle.cancel()
        return handle

    def bury(self, life: Life) -> None:
        """Drop everything that a life had scheduled, then close its coroutines as soon as the running step is over."""
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]  # the loop's own queues
            if handle._context.get(_life) is life:
                handle.cancel()
        self._ready.appendleft(asyncio.Handle(_close_coroutines, (self, life), self, outside()))  # type: ignore[attr-defined]

    # --- what virtual time refuses

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed ties args to the callback
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._home:
            self.intruder = VirtualTimeError(
                f"a real thread called {callback!r} into virtual time; give the code an inline adapter"
            )
            raise self.intruder
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        _refuse(f"a real thread for {func!r}", "an inline adapter of the port")

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        _refuse(f"to wait for the real descriptor {fd!r}", "a simulated port")

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        _refuse(f"to wait for the real descriptor {fd!r}", "a simulated port")

    def add_signal_handler(self, sig: Any, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        _refuse(f"a handler for the real signal {sig!r}", "SimProcesses")

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        _refuse(f"to look up {host!r}", "a simulated port")

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        _refuse(f"a real connection {args[1:]!r}", "a simulated port")

    async def create_server(self, *args: Any, **options: Any) -> Any:
        _refuse(f"a real server {args[1:]!r}", "a simulated port")

    async def create_unix_connection(self, *args: Any, **options: Any) -> Any:
        _refuse("a real socket", "a simulated port")

    async def create_unix_server(self, *args: Any, **options: Any) -> Any:
        _refuse("a real socket", "a simulated port")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        _refuse("a real socket", "a simulated port")

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        _refuse(f"a real child {args[1:]!r}", "SimHands or SimProcesses")

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        _refuse(f"a real child {args[1:]!r}", "SimHands or SimProcesses")


class VirtualClock:
    """A `Clock` over a virtual loop. The wall clock can leap; the monotonic one only follows the loop."""

    def __init__(self, loop: VirtualLoop, start: float = START_OF_TIME) -> None:
        self._loop = loop
        self._offset = start - loop.time()

    def now(self) -> float:
        return self._offset + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self._loop.time()))

    def leap(self, seconds: float) -> None:
        """Move the wall clock, as an operator or NTP does."""
        self._offset += seconds

    def spend(self, seconds: float) -> None:
        """Block for so long: nothing else runs meanwhile."""
        self._loop.advance(seconds)


Main = Callable[[VirtualClock, SeededEntropy], Awaitable[T]]


def run_virtual(main: Main[T], seed: int = 0, start: float = START_OF_TIME, timer_jitter_s: float = 0.0) -> T:
    """Run `main(clock, entropy)` in a virtual loop of its own and give back what it returns.

    `timer_jitter_s` lets each timer come late by a seeded amount, as on a busy machine: finds what leans on the order of
    timers. An exception in a task or callback that nobody awaits rises here at once. Raises `Deadlock`.
    """
    entropy = SeededEntropy(seed)
    loop = VirtualLoop(SeededEntropy(seed ^ 0x5EED), timer_jitter_s)
    clock = VirtualClock(loop, start)
    threads_before = threading.active_count()
    collects = gc.isenabled()
    gc.disable()  # finalizers run at the same moments in every run of a seed, and it saves a fifth of the time
    try:
        events.set_event_loop(loop)
        result = loop.run_until_complete(_as_coroutine(main(clock, entropy)))
        if loop.stray:
            raise loop.stray[0]
        if threading.active_count() > threads_before:
            names = sorted(thread.name for thread in threading.enumerate())
            raise VirtualTimeError(f"real threads were left running: {', '.join(names)}")
        return result
    finally:
        _end(loop)
        events.set_event_loop(None)
        if collects:
            gc.enable()


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _end(loop: VirtualLoop) -> None:
    for task in sorted(asyncio.all_tasks(loop), key=_birth):
        _close(task)
    loop._ready.clear()  # type: ignore[attr-defined]
    loop._scheduled.clear()  # type: ignore[attr-defined]
    loop.close()


def _birth(task: asyncio.Task[Any]) -> int:
    return task.birth if isinstance(task, VirtualTask) else 0


def _close_coroutines(loop: VirtualLoop, life: Life) -> None:
    del loop
    for task in list(life.tasks):
        _close(task)
    life.tasks.clear()


def _close(task: asyncio.Task[Any]) -> None:
    """Let a coroutine go for good: its `finally` blocks run now, against ports that refuse, rather than at some collection."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine: Any = task.get_coro()
    try:
        if isinstance(task, VirtualTask):
            task.context.run(coroutine.close)
        else:
            coroutine.close()
    except BaseException:  # noqa: BLE001  a corpse may say anything here (it awaits in a finally, its ports refuse); nobody hears it
        pass


def _raise_what_nobody_awaits(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, Killed) or not isinstance(loop, VirtualLoop):
        return
    error = error if error is not None else VirtualTimeError(str(context.get("message")))
    life = _life_of(context)
    if life is not None and life.alive and life.on_error is not None:
        life.run(life.on_error, error)
    else:
        loop.stray.append(error)


def _life_of(context: dict[str, Any]) -> Life | None:
    task, handle = context.get("task") or context.get("future"), context.get("handle")
    if isinstance(task, VirtualTask):
        return task.life
    return handle._context.get(_life) if isinstance(handle, asyncio.Handle) else _life.get()  # type: ignore[attr-defined]


def _refuse(what: str, instead: str) -> NoReturn:
    raise VirtualTimeError(f"virtual time was asked for {what}; use {instead}")


def _describe_deadlock(loop: VirtualLoop) -> str:
    waiting = [_where(task) for task in sorted(asyncio.all_tasks(loop), key=_birth) if _lives(task)]
    lines = "\n".join(f"  {line}" for line in waiting) or "  (no task at all)"
    return f"nothing is scheduled at {loop.time():.6f} s and nobody outside can wake these tasks:\n{lines}"


def _lives(task: asyncio.Task[Any]) -> bool:
    return not (isinstance(task, VirtualTask) and task.life is not None and not task.life.alive)


def _where(task: asyncio.Task[Any]) -> str:
    places = []
    inner: Any = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None)
        if frame is not None:
            places.append(f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})")
        inner = getattr(inner, "cr_await", None)
    return f"{task.get_name()}: {' > '.join(places)}"
