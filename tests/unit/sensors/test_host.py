"""The host sensor in virtual time, over a machine that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.catalogue import CATALOGUE
from aios.events.event import Draft
from aios.sensors.host import DiskUse, HostLimits, HostSensor
from aios.sensors.pressure import parse_avg10
from aios.testing.loop import VirtualClock, run_virtual


class Machine:
    """Implements `HostReader`."""

    def __init__(self, wakes: bool = True) -> None:
        self.cpu_used: float | None = 0.1
        self.memory_used = 0.3
        self.disk_used = {"/": 0.5}
        self.avg10: dict[str, float | None] = dict.fromkeys(("cpu", "memory", "io"), 0.0)
        self.pressure_reads = 0
        self._wakes = wakes
        self.on_stall: Callable[[str], None] = lambda resource: None

    def cpu(self) -> float | None:
        return self.cpu_used

    def memory(self) -> float | None:
        return self.memory_used

    def disks(self) -> Mapping[str, DiskUse]:
        return {path: DiskUse(used, 100.0) for path, used in self.disk_used.items()}

    def pressure(self, resource: str) -> float | None:
        self.pressure_reads += 1
        return self.avg10[resource]

    def watch_stalls(self, percent: float, on_stall: Callable[[str], None]) -> tuple[frozenset[str], Callable[[], None]]:
        self.on_stall = on_stall
        return frozenset(self.avg10) if self._wakes else frozenset(), lambda: None


def play(machine: Machine, script: Callable[[list[Draft]], Any], **more: Any) -> list[Draft]:
    told: list[Draft] = []

    async def main(clock: VirtualClock, entropy: SeededEntropy) -> None:
        sensor = HostSensor(machine, clock, HostLimits(), **more)
        task = asyncio.create_task(sensor.run(lambda *drafts: told.extend(drafts)))  # type: ignore[arg-type, return-value]
        await script(told)
        task.cancel()

    run_virtual(main)
    for draft in told:
        assert set(draft.data) <= set(CATALOGUE[draft.type].fields)
    return told


def alarms(told: list[Draft]) -> list[tuple[str, str]]:
    return [(draft.type, draft.subject) for draft in told if draft.type != "host.sampled"]


def test_a_busy_minute_is_a_spike_and_a_calm_one_ends_it() -> None:
    """Only after its time, and only once."""
    machine = Machine()

    async def script(told: list[Draft]) -> None:
        machine.cpu_used = 0.99
        await asyncio.sleep(50)
        assert alarms(told) == []
        await asyncio.sleep(30)
        assert alarms(told) == [("resource.cpu_spike", "host")]
        machine.cpu_used = 0.2
        await asyncio.sleep(100)

    assert alarms(play(machine, script)) == [("resource.cpu_spike", "host"), ("resource.cpu_normal", "host")]


def test_each_file_system_has_an_alarm_of_its_own() -> None:
    """A full disk names its mount point, and is told at once."""
    machine = Machine()
    machine.disk_used = {"/": 0.95, "/var": 0.5}

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(1)
        assert alarms(told) == [("resource.disk_full", "disk:/")]
        machine.disk_used = {"/": 0.5, "/var": 0.91}
        await asyncio.sleep(20)

    told = play(machine, script)
    assert alarms(told) == [
        ("resource.disk_full", "disk:/"),
        ("resource.disk_normal", "disk:/"),
        ("resource.disk_full", "disk:/var"),
    ]
    assert told[0].data["path"] == "/"


def test_pressure_is_not_read_at_rest_where_the_kernel_wakes_us() -> None:
    """An idle machine costs nothing."""
    machine = Machine()

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(600)
        assert machine.pressure_reads <= 6
        machine.avg10["io"] = 80.0
        machine.on_stall("io")
        await asyncio.sleep(60)
        assert alarms(told) == [("resource.pressure_high", "pressure:io")]
        machine.avg10["io"] = 1.0
        await asyncio.sleep(60)
        reads = machine.pressure_reads
        await asyncio.sleep(600)
        assert machine.pressure_reads == reads

    assert alarms(play(machine, script))[-1] == ("resource.pressure_normal", "pressure:io")


def test_pressure_is_sampled_where_the_kernel_does_not_wake_us() -> None:
    """A container may not set triggers."""
    machine = Machine(wakes=False)
    machine.avg10["memory"] = 90.0

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(60)

    assert alarms(play(machine, script)) == [("resource.pressure_high", "pressure:memory")]


def test_a_kernel_without_pressure_is_asked_once() -> None:
    """What is not there is not looked for again and again."""
    machine = Machine(wakes=False)
    machine.avg10 = dict.fromkeys(machine.avg10, None)

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(600)
        assert machine.pressure_reads == 3

    assert alarms(play(machine, script)) == []


def test_each_minute_is_sampled_for_the_score() -> None:
    """Means over the minute, and the fullest disk."""
    machine = Machine()
    machine.disk_used = {"/": 0.5, "/var": 0.7}

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(65)

    (sample,) = play(machine, script)
    assert sample.data == {"cpu": pytest.approx(0.1), "memory": pytest.approx(0.3), "disk": 0.7}


def test_what_was_ill_and_is_well_by_now_is_closed() -> None:
    """And what is still ill is told again."""
    machine = Machine()
    machine.disk_used = {"/": 0.95, "/var": 0.5}
    was_ill = [("resource.disk_full", "disk:/"), ("resource.disk_full", "disk:/var"), ("resource.memory_high", "host")]

    async def script(told: list[Draft]) -> None:
        await asyncio.sleep(30)

    told = play(machine, script, was_ill=was_ill)
    assert sorted(alarms(told)) == [
        ("resource.disk_full", "disk:/"),
        ("resource.disk_normal", "disk:/var"),
        ("resource.memory_normal", "host"),
    ]


@pytest.mark.parametrize(
    ("line", "avg10"), [(b"some avg10=1.25 avg60=0.9 avg300=0.2 total=38\n", 1.25), (b"", None), (b"some avg10=x", None)]
)
def test_the_kernels_line_is_read_or_says_nothing(line: bytes, avg10: float | None) -> None:
    """Another kernel may write another line."""
    assert parse_avg10(line) == avg10
