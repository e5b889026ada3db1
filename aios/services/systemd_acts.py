"""systemd's services, acted upon: start, stop, restart, enable, mask, each through a job whose result is awaited.

Used by skills' bodies, in a process of their own, behind the `ServiceActs` port; blocking, one connection for each call. A
restart is proven by another InvocationID or MainPID, never by the job alone. A refusal by polkit is final and names its cure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aios.errors import Permanent, Temporary
from aios.ports import Limits, UnitState
from aios.services.systemd_bus import KINDS, MANAGER, MANAGER_RULE, Bus, BusError, BusLost, Signal, open_bus
from aios.services.systemd_units import WatchedUnit

T = TypeVar("T")

START_LIMIT = "start-limit-hit"
START_LIMIT_WAIT_MAX_S = 30.0
_POLKIT = (
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    "org.freedesktop.DBus.Error.AuthFailed",
)
_UNKNOWN = ("org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.FileNotFound")
_MASKED = "org.freedesktop.systemd1.UnitMasked"
_GONE = "org.freedesktop.systemd1.LoadFailed"


class SystemdActs:
    """Implements `ServiceActs` for services, and for the sockets, timers and paths that start them."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    # --- the port

    def state(self, subject: str) -> UnitState:
        return self._run(subject, lambda bus: _state(bus, subject))

    def start(self, subject: str, timeout_s: float) -> UnitState:
        return self._run(subject, lambda bus: _start(bus, subject, timeout_s))

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        return self._run(subject, lambda bus: _stop(bus, subject, timeout_s))

    def restart(self, subject: str, timeout_s: float) -> UnitState:
        return self._run(subject, lambda bus: _restart(bus, subject, timeout_s))

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self._run(subject, lambda bus: _set_enabled(bus, subject, enabled, masked))

    def limits(self, subject: str) -> Limits:
        return self._run(subject, lambda bus: _limits(bus, subject))

    def set_limits(self, subject: str, limits: Limits) -> None:
        self._run(subject, lambda bus: _set_limits(bus, subject, limits))

    def reload(self, subject: str) -> None:
        self._run(subject, _reload)

    def _run(self, subject: str, act: Callable[[Bus], Awaitable[T]]) -> T:
        if not subject.endswith(KINDS):
            raise Permanent(f"{subject} is no unit that can be acted on; its name ends with {', '.join(KINDS)}")
        return asyncio.run(self._connected(subject, act))

    async def _connected(self, subject: str, act: Callable[[Bus], Awaitable[T]]) -> T:
        try:
            bus = await open_bus(self._address)
        except BusLost as error:
            raise Permanent(f"{subject} cannot be reached: {error}") from error
        try:
            return await act(bus)
        except BusLost as error:
            raise Temporary(f"{subject}: {error}") from error
        except BusError as error:
            raise _sorted(subject, error) from error
        finally:
            bus.close()


# --- acts


async def _start(bus: Bus, subject: str, timeout_s: float) -> UnitState:
    before = await _properties(bus, subject)
    if before.get("ActiveState") == "active":
        return _as_state(subject, before)
    await _lift_what_it_gave_up(bus, subject, before)
    await _job(bus, subject, "StartUnit", timeout_s)
    return await _proven_running(bus, subject, None)


async def _restart(bus: Bus, subject: str, timeout_s: float) -> UnitState:
    before = await _properties(bus, subject)
    await _lift_what_it_gave_up(bus, subject, before)
    await _job(bus, subject, "RestartUnit", timeout_s)
    return await _proven_running(bus, subject, before)


async def _lift_what_it_gave_up(bus: Bus, subject: str, before: Mapping[str, Any]) -> None:
    """What systemd gave up after its own restarts, or is about to, would not start by ours either, and names the fault it had
    before (`exit-code`), not the limit. So it is given a start, as by `systemctl reset-failed`; how often, our own guards say."""
    if before.get("ActiveState") in ("failed", "activating"):
        await bus.manager("ResetFailedUnit", "s", subject)


async def _stop(bus: Bus, subject: str, timeout_s: float) -> UnitState:
    before = await _properties(bus, subject)
    if before.get("ActiveState") != "inactive":
        await _job(bus, subject, "StopUnit", timeout_s)
    after = await _properties(bus, subject)
    if after.get("ActiveState") not in ("inactive", "failed"):
        raise Temporary(f"{subject} is {after.get('ActiveState')} after its stop job", 2.0)
    unit = WatchedUnit(subject)
    unit.learn(after)
    unit.end = "job"
    return unit.state()


async def _set_enabled(bus: Bus, subject: str, enabled: bool, masked: bool) -> None:
    """Through the files that systemd links; then systemd reads them again."""
    now = _as_state(subject, await _properties(bus, subject))
    if now.masked and not masked:
        await bus.manager("UnmaskUnitFiles", "asb", [subject], False)
    if not masked and bool(now.enabled) != enabled:
        if enabled:
            await bus.manager("EnableUnitFiles", "asbb", [subject], False, False)
        else:
            await bus.manager("DisableUnitFiles", "asb", [subject], False)
    if masked and not now.masked:
        await bus.manager("MaskUnitFiles", "asbb", [subject], False, True)
    await bus.manager("Reload")


# --- limits

INFINITY = (1 << 64) - 1
_LIMITS = {"memory_bytes": ("MemoryMax", 1), "cpu_percent": ("CPUQuotaPerSecUSec", 10_000), "tasks": ("TasksMax", 1)}
"""Ours -> systemd's property, and how much of its unit is one of ours (systemd.resource-control(5); all uint64)."""


async def _limits(bus: Bus, subject: str) -> Limits:
    known = await _properties(bus, subject)
    if known.get("LoadState") == "not-found":
        raise Permanent(f"systemd knows no unit {subject}; look at its name with `systemctl list-unit-files`")
    found: dict[str, int | None] = {}
    for name, (theirs, size) in _LIMITS.items():
        value = known.get(theirs, INFINITY)
        found[name] = None if value == INFINITY else value // size
    return found


async def _set_limits(bus: Bus, subject: str, limits: Limits) -> None:
    wanted = []
    for name, value in limits.items():
        theirs, size = _LIMITS[name]
        wanted.append([theirs, bus.variant("t", INFINITY if value is None else value * size)])
    await bus.manager("SetUnitProperties", "sba(sv)", subject, True, wanted)


async def _reload(bus: Bus) -> None:
    await bus.manager("Reload")


# --- how


async def _state(bus: Bus, subject: str) -> UnitState:
    return _as_state(subject, await _properties(bus, subject))


async def _properties(bus: Bus, subject: str) -> dict[str, Any]:
    return await bus.properties_of(subject)


def _as_state(subject: str, properties: Mapping[str, Any]) -> UnitState:
    unit = WatchedUnit(subject)
    unit.learn(properties)
    return unit.state()


async def _job(bus: Bus, subject: str, verb: str, timeout_s: float) -> None:
    """Queue a job and wait for its end. Raises `Temporary` or `Permanent` for any end but a good one."""
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    results: dict[str, str] = {}
    path = ""

    def on_signal(signal: Signal) -> None:
        if signal.interface == MANAGER and signal.member == "JobRemoved":
            results[signal.body[1]] = signal.body[3]
            if signal.body[1] == path and not ended.done():
                ended.set_result(signal.body[3])

    await bus.on_signal(on_signal)
    await bus.match(MANAGER_RULE)
    await bus.manager("Subscribe")
    (path,) = await bus.manager(verb, "ss", subject, "replace")
    if path in results and not ended.done():  # it was over before its path was known
        ended.set_result(results[path])
    try:
        async with asyncio.timeout(timeout_s):
            result = await ended
    except TimeoutError as error:
        raise Temporary(f"systemd has not finished {verb} of {subject} within {timeout_s:g} s", 2.0) from error
    if result not in ("done", "skipped"):
        await _raise_failed_job(bus, subject, verb, result)


async def _raise_failed_job(bus: Bus, subject: str, verb: str, result: str) -> None:
    """A start limit is lifted for the next attempt, which comes later; another failure is told as it is."""
    properties = await _properties(bus, subject)
    why = properties.get("Result", "unknown")
    if why == START_LIMIT or _over_start_limit(properties):
        await bus.manager("ResetFailedUnit", "s", subject)
        wait_s = min(START_LIMIT_WAIT_MAX_S, properties.get("StartLimitIntervalUSec", 10_000_000) / 1e6)
        raise Temporary(f"systemd starts {subject} no more: its start limit is reached (lifted for the next attempt)", wait_s)
    state = _as_state(subject, properties)
    ended = f", main process: {state.exit_status}" if state.exit_status else ""
    if result in ("dependency", "assert", "unsupported"):
        raise Permanent(f"systemd's job {verb} of {subject} ended with {result!r}; look at what it requires")
    raise Temporary(f"systemd's job {verb} of {subject} ended with {result!r} ({why}{ended})", 1.0)


def _over_start_limit(properties: Mapping[str, Any]) -> bool:
    return properties.get("ActiveState") == "failed" and properties.get("SubState") == START_LIMIT


async def _proven_running(bus: Bus, subject: str, before: Mapping[str, Any] | None) -> UnitState:
    after = await _properties(bus, subject)
    state = _as_state(subject, after)
    if state.state != "up" and not _did_its_work(after):
        ended = state.exit_status or state.detail
        raise Temporary(f"{subject} is {after.get('ActiveState')} right after its start ({ended})", 1.0)
    if before is not None and not _another_life(before, after):
        raise Permanent(f"{subject} has the same process and invocation as before; it was not restarted")
    return state


def _did_its_work(properties: Mapping[str, Any]) -> bool:
    return properties.get("Type") == "oneshot" and properties.get("Result") == "success"


def _another_life(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    if bytes(before.get("InvocationID") or b"") != bytes(after.get("InvocationID") or b""):
        return True
    return bool(after.get("MainPID")) and before.get("MainPID") != after.get("MainPID")


def _sorted(subject: str, error: BusError) -> Permanent | Temporary:
    """Who can do something about it."""
    if error.name in _POLKIT:
        return Permanent(
            f"polkit does not let this user manage {subject} ({error.text}); run as root, or install a rule that allows "
            f"org.freedesktop.systemd1.manage-units for it (systemd/50-aios.rules is one)"
        )
    if error.name in _UNKNOWN:
        return Permanent(f"systemd knows no unit {subject}; look at its name with `systemctl list-unit-files`")
    if error.name == _MASKED:
        return Permanent(f"{subject} is masked: a person has forbidden its start; `systemctl unmask {subject}` allows it again")
    if error.name == _GONE:
        return Permanent(f"systemd cannot read {subject}: {error.text}")
    return Temporary(f"{subject}: {error}", 2.0)


__all__ = ["SystemdActs"]
