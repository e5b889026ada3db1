"""The machine itself: processors, memory, disks, and work that stalls; alarms with hysteresis, and a sample each minute.

The daemon's wiring makes it. What is an alarm is decided in `alarm`; reading is behind `HostReader`, so that the sensor also runs
in virtual time; psutil stands behind `PsutilReader` alone and is loaded on first use. The kernel itself wakes us when work stalls
(`pressure`); the rest has no such notice and is read every few seconds (0.1 ms each time).

At the start nothing is raised, so what is still ill is told again after its `for` time (a level); what the world believes ill
(`was_ill`) and is well is closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from aios.clock import Clock
from aios.events.event import HOST, Draft
from aios.ports import Emit
from aios.sensors.alarm import Alarm, Limits, Word
from aios.sensors.pressure import RESOURCES, Triggers, read_avg10

SAMPLE_S = 60.0
PRESSURE_EVERY_S = 2.0
"""How often pressure is read while it is high, or about to be."""
DISK_EVERY_S = 15.0
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "afs", "autofs", "glusterfs", "fuse.glusterfs")
"""File systems whose far side may hang, and then the whole loop with it: never looked at."""
_MB = 1_000_000

Symptom = tuple[str, str]


class DiskUse(NamedTuple):
    used: float
    free_mb: float


class HostReader(Protocol):
    """Reads the machine once. A value that nobody can tell is None."""

    def cpu(self) -> float | None:
        """Share of processor time in use since it was asked last; None the first time."""
        ...

    def memory(self) -> float | None: ...
    def disks(self) -> Mapping[str, DiskUse]: ...
    def pressure(self, resource: str) -> float | None: ...

    def watch_stalls(self, percent: float, on_stall: Callable[[str], None]) -> tuple[frozenset[str], Callable[[], None]]:
        """For which resources `on_stall(resource)` will be called when they stall, and what ends that."""
        ...


class PsutilReader:
    """The real machine. `mounts` empty: every file system on a disk of this machine."""

    def __init__(self, mounts: Sequence[str] = ()) -> None:
        import psutil  # 12 ms and 1 MB; only a daemon that watches the host pays for it

        self._psutil = psutil
        self._mounts = tuple(mounts)
        self._last: tuple[float, float] | None = None

    def cpu(self) -> float | None:
        times = self._psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # the kernel counts it in user already
        total = sum(times) - guest
        before, self._last = self._last, (idle, total)
        if before is None or total <= before[1]:
            return None
        return min(1.0, max(0.0, 1.0 - (idle - before[0]) / (total - before[1])))

    def memory(self) -> float | None:
        memory = self._psutil.virtual_memory()
        return 1.0 - float(memory.available) / float(memory.total) if memory.total else None

    def disks(self) -> Mapping[str, DiskUse]:
        return {path: use for path in self._paths() if (use := disk_use(path)) is not None}

    def pressure(self, resource: str) -> float | None:
        return read_avg10(resource)

    def watch_stalls(self, percent: float, on_stall: Callable[[str], None]) -> tuple[frozenset[str], Callable[[], None]]:
        triggers = Triggers(percent, on_stall)
        return triggers.allowed, triggers.close

    def _paths(self) -> Iterable[str]:
        partitions = self._psutil.disk_partitions(all=bool(self._mounts))
        if self._mounts:
            remote = {part.mountpoint for part in partitions if part.fstype in _REMOTE}
            return [path for path in self._mounts if path not in remote]
        first_by_device: dict[str, str] = {}
        for part in partitions:
            if part.fstype not in _REMOTE and "ro" not in part.opts.split(","):
                first_by_device.setdefault(part.device, part.mountpoint)
        return first_by_device.values()


def disk_use(path: str) -> DiskUse | None:
    """As df counts: what only root may use counts as used."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    used, free = found.f_blocks - found.f_bfree, found.f_bavail
    return DiskUse(used / (used + free), free * found.f_frsize / _MB) if used + free > 0 else None


CPU = Limits(0.95, 0.80, 60.0)
MEMORY = Limits(0.92, 0.85, 30.0)
DISK = Limits(0.90, 0.85)
PRESSURE = Limits(40.0, 20.0, 30.0)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What counts as ill. Shares from 0 to 1, pressure in percent."""

    every_s: float = 5.0
    cpu: Limits = CPU
    memory: Limits = MEMORY
    disk: Limits = DISK
    pressure: Limits | None = PRESSURE


@dataclass(slots=True)
class _Minute:
    """What `host.sampled` tells at the end of the minute."""

    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def draft(self, disks: Mapping[str, DiskUse]) -> Draft | None:
        data = {name: round(sum(seen) / len(seen), 4) for name, seen in (("cpu", self.cpu), ("memory", self.memory)) if seen}
        if disks:
            data["disk"] = round(max(use.used for use in disks.values()), 4)
        self.cpu.clear()
        self.memory.clear()
        return Draft(type="host.sampled", subject=HOST, data=data) if data else None


class HostSensor:
    """A `Sensor`."""

    name = "host"

    def __init__(
        self, reader: HostReader, clock: Clock, limits: HostLimits | None = None, was_ill: Collection[Symptom] = ()
    ) -> None:
        self._reader, self._clock = reader, clock
        self._limits = limits or HostLimits()
        self._was_ill = frozenset(was_ill)
        self._cpu = Alarm(self._limits.cpu)
        self._memory = Alarm(self._limits.memory)
        self._disks: dict[str, Alarm] = {}
        self._pressure = {resource: Alarm(self._limits.pressure) for resource in RESOURCES} if self._limits.pressure else {}
        self._closed: set[Symptom] = set()
        self._minute = _Minute()
        self._stalled = asyncio.Event()

    async def run(self, emit: Emit) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_host(emit))
            if self._pressure:
                group.create_task(self._follow_pressure(emit))

    async def _follow_host(self, emit: Emit) -> None:
        disks: Mapping[str, DiskUse] = {}
        disk_due = minute_end = self._clock.monotonic()
        minute_end += SAMPLE_S
        while True:
            now = self._clock.monotonic()
            drafts = self._look_at_cpu(now) + self._look_at_memory(now)
            if now >= disk_due:
                disks, disk_due = self._reader.disks(), now + max(DISK_EVERY_S, self._limits.every_s)
                drafts += self._look_at_disks(disks, now)
            if now >= minute_end:
                minute_end = now + SAMPLE_S
                sample = self._minute.draft(disks)
                drafts += [sample] if sample else []
            if drafts:
                emit(*drafts)
            await self._clock.sleep_until(now + self._limits.every_s)

    def _look_at_cpu(self, now: float) -> list[Draft]:
        used = self._reader.cpu()
        if used is None:
            return []
        self._minute.cpu.append(used)
        names = ("resource.cpu_spike", "resource.cpu_normal")
        return self._feed(self._cpu, used, now, names, HOST, _used(used, self._limits.cpu))

    def _look_at_memory(self, now: float) -> list[Draft]:
        used = self._reader.memory()
        if used is None:
            return []
        self._minute.memory.append(used)
        names = ("resource.memory_high", "resource.memory_normal")
        return self._feed(self._memory, used, now, names, HOST, _used(used, self._limits.memory))

    def _look_at_disks(self, disks: Mapping[str, DiskUse], now: float) -> list[Draft]:
        drafts = []
        for path, use in disks.items():
            alarm = self._disks.setdefault(path, Alarm(self._limits.disk))
            data = {**_used(use.used, self._limits.disk), "path": path, "free_mb": round(use.free_mb, 1)}
            names = ("resource.disk_full", "resource.disk_normal")
            drafts += self._feed(alarm, use.used, now, names, f"disk:{path}", data)
        for path in set(self._disks) - set(disks):
            del self._disks[path]  # unmounted
        return drafts

    # --- pressure

    async def _follow_pressure(self, emit: Emit) -> None:
        """At rest nothing is read where the kernel wakes us; else it is read as often as the rest."""
        if all(self._reader.pressure(resource) is None for resource in RESOURCES):
            return  # a kernel without it
        limits = self._limits.pressure
        allowed, end = self._reader.watch_stalls(limits.high if limits else 100.0, lambda resource: self._stalled.set())
        try:
            while True:
                now = self._clock.monotonic()
                drafts = [draft for resource in RESOURCES for draft in self._look_at_pressure(resource, now)]
                if drafts:
                    emit(*drafts)
                if any(alarm.undecided() for alarm in self._pressure.values()) or self._stalled.is_set():
                    self._stalled.clear()
                    await self._clock.sleep_until(now + PRESSURE_EVERY_S)
                elif allowed >= set(RESOURCES):
                    await self._stalled.wait()
                else:
                    await self._clock.sleep_until(now + self._limits.every_s)
        finally:
            end()

    def _look_at_pressure(self, resource: str, now: float) -> list[Draft]:
        avg10 = self._reader.pressure(resource)
        if avg10 is None:
            return []
        names = ("resource.pressure_high", "resource.pressure_normal")
        data = {"resource": resource, "avg10": avg10}
        return self._feed(self._pressure[resource], avg10, now, names, f"pressure:{resource}", data)

    # --- all of them

    def _feed(
        self, alarm: Alarm, value: float, now: float, names: tuple[str, str], subject: str, data: Mapping[str, object]
    ) -> list[Draft]:
        word: Word | None = alarm.feed(value, now)
        if word is not None:
            self._closed.add((names[0], subject))
            return [Draft(type=names[0] if word == "raise" else names[1], subject=subject, data=data)]
        return self._close_what_was(alarm, value, names, subject, data)

    def _close_what_was(
        self, alarm: Alarm, value: float, names: tuple[str, str], subject: str, data: Mapping[str, object]
    ) -> list[Draft]:
        """An alarm of the life before, that nobody closed and that is well by now."""
        symptom = (names[0], subject)
        if symptom not in self._was_ill or symptom in self._closed or alarm.raised or value > alarm.limits.normal:
            return []
        self._closed.add(symptom)
        return [Draft(type=names[1], subject=subject, data=data)]


def _used(used: float, limits: Limits) -> dict[str, float]:
    return {"used": round(used, 4), "threshold": limits.high, "for_s": limits.for_s}
