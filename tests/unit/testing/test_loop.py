"""Virtual time: the clock moves only when nothing else can, and the same seed gives the same order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from aios.entropy import SeededEntropy
from aios.testing.loop import Deadlock, Killed, Life, VirtualClock, VirtualLoop, VirtualTimeError, current_life, run_virtual


def loop_of(clock: VirtualClock) -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_a_simulated_day_takes_no_time() -> None:
    """Nobody sleeps: the clock goes to the next timer."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> tuple[float, float]:
        began = clock.now()
        for _minute in range(24 * 60):
            await asyncio.sleep(60)
        return clock.now() - began, clock.monotonic()

    assert run_virtual(main) == (86400.0, 86400.0)  # a test that slept would be ended long before


def test_the_wall_clock_leaps_and_the_monotonic_one_does_not() -> None:
    """A timeout is measured on the monotonic clock, which no operator can move."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        wall, ticks = clock.now(), clock.monotonic()
        clock.leap(-3600)
        assert (clock.now() - wall, clock.monotonic() - ticks) == (-3600, 0)
        await clock.sleep_until(ticks + 5)
        assert clock.monotonic() - ticks == 5

    run_virtual(main)


def test_a_blocking_call_takes_virtual_time() -> None:
    """A slow sync delays whatever else was due meanwhile, as it does in a real process."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> list[float]:
        rang: list[float] = []
        loop_of(clock).call_later(1.0, lambda: rang.append(clock.monotonic()))
        clock.spend(3.0)
        await asyncio.sleep(0.5)
        return rang

    assert run_virtual(main) == [3.0]


def test_a_deadlock_is_told_with_the_place_where_each_task_waits() -> None:
    """Nothing ready, no timer, nobody outside: this would hang for ever on a real machine."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"Event\.wait"):
        run_virtual(main)


@pytest.mark.parametrize(
    "outside",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("127.0.0.1", 1),
        lambda: asyncio.open_unix_connection("/nowhere"),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.start_server(print, "127.0.0.1", 0),
    ],
)
def test_threads_sockets_and_children_are_refused(outside: object) -> None:
    """Whatever is real would make a run differ from the next one."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        await outside()  # type: ignore[operator]

    with pytest.raises(VirtualTimeError, match="virtual time was asked for"):
        run_virtual(main)


def test_a_thread_that_calls_in_is_refused_on_both_sides() -> None:
    """The thread gets the error, and so does the simulation."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        thread = threading.Thread(target=_swallow, args=(loop_of(clock).call_soon_threadsafe, print))
        thread.start()
        thread.join()
        await asyncio.sleep(1)

    with pytest.raises(VirtualTimeError, match="real thread"):
        run_virtual(main)


def _swallow(call: object, argument: object) -> None:
    with pytest.raises(VirtualTimeError):
        call(argument)  # type: ignore[operator]


def test_an_error_that_nobody_awaits_rises_at_the_end() -> None:
    """A bug in a callback is not hidden by the loop."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        loop_of(clock).call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main)


def test_killing_a_life_ends_tasks_timers_and_children_at_once() -> None:
    """kill -9: nothing of it runs ever again, and what a finally block tries is refused by the ports."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> list[str]:
        life = Life(loop_of(clock), "daemon")
        seen: list[str] = []

        async def child() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                seen.append("finally")
                life.check()
                seen.append("a port let the dead in")

        async def daemon() -> None:
            keep = asyncio.create_task(child())
            loop_of(clock).call_later(50, seen.append, "a timer of the dead rang")
            while not keep.done():
                await asyncio.sleep(4)
                seen.append(f"tick {clock.monotonic():.0f}")

        life.spawn(daemon())
        await asyncio.sleep(10)
        life.kill()
        await asyncio.sleep(100)
        return seen

    assert run_virtual(main) == ["tick 4", "tick 8", "finally"]


def test_a_life_can_be_killed_from_within_one_of_its_steps() -> None:
    """At a disk call, say: the rest of that step and all that was ready of the same life never happens."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> list[str]:
        life = Life(loop_of(clock), "daemon")
        seen: list[str] = []

        async def later() -> None:
            await asyncio.sleep(3)
            seen.append("the dead went on")

        async def daemon() -> None:
            keep = asyncio.create_task(later())
            await asyncio.sleep(3)
            assert current_life() is life
            life.kill()
            try:
                life.check()
            except Exception:
                seen.append("the product caught its own death")
            await keep

        life.spawn(daemon())
        await asyncio.sleep(10)
        return seen

    assert run_virtual(main) == []


def test_what_a_life_runs_as_plain_code_belongs_to_it() -> None:
    """Also a timer set by a callback dies with the process."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> list[str]:
        life, rang = Life(loop_of(clock), "hands"), list[str]()
        life.run(lambda: loop_of(clock).call_later(5, rang.append, "rang"))
        life.kill()
        with pytest.raises(Killed):
            life.check()
        life.run(lambda: loop_of(clock).call_soon(rang.append, "rang"))
        await asyncio.sleep(10)
        return rang

    assert run_virtual(main) == []


ORDER = """
import asyncio
from aios.testing.loop import run_virtual

async def main(clock, entropy):
    order = []
    async def worker(name):
        for _ in range(5):
            await asyncio.sleep(entropy.uniform(0, 1))
            order.append(name)
    tasks = {asyncio.create_task(worker(str(n))) for n in range(20)}
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        order.extend(task.get_name() for task in done)
        if len(order) > 40:
            order.extend(task.get_name() for task in tasks)
    print(order, clock.monotonic())

run_virtual(main, seed=7, timer_jitter_s=0.01)
"""


def test_the_same_seed_gives_the_same_order_in_every_process() -> None:
    """Sets of tasks included: their order does not hang on addresses or on the hash seed."""
    runs = [
        subprocess.run([sys.executable, "-c", ORDER], env={"PYTHONHASHSEED": str(n)}, capture_output=True, text=True, check=True)
        for n in (1, 2)
    ]
    assert runs[0].stdout == runs[1].stdout != ""
