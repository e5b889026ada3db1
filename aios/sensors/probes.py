"""Probes: asks the addresses of the settings again and again, and says when a service or an address does not answer.

A probe of a service or agent speaks through `standing`, so that it never repeats what the service's own watcher said, and rests
while that one says that the service does not run. A probe of a bare address emits `endpoint.down` and `endpoint.up`. Each minute
`probe.sampled` says how it went, which the score reads. How one question is asked is `asking`'s business.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from aios.clock import Clock
from aios.events.event import Draft
from aios.ports import Emit
from aios.sensors.asking import Ask, Probe, ask
from aios.sensors.standing import Standings, Symptom

SAMPLE_S = 60.0
GRACE_EVERY_S = 0.1
"""How often a process that has just started is asked, until it answers for the first time."""
_SAMPLES_MAX = 1000
_SPREAD_S = 1.0


def is_service(subject: str) -> bool:
    return subject.endswith(".service") or subject.startswith("agent:")


@dataclass(slots=True)
class _Probed:
    """One probe, and what its answers have been."""

    probe: Probe
    failures: int = 0
    ill_since: float | None = None
    was_ill: bool = False
    life: int = 0
    grace_until: float = -math.inf
    ok: int = 0
    failed: int = 0
    times_ms: list[float] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def sample(self) -> Draft | None:
        """The last minute; None where nothing was asked."""
        if not self.ok and not self.failed:
            return None
        data: dict[str, float] = {"ok": self.ok, "failed": self.failed}
        if self.times_ms:
            data["p95_ms"] = round(percentile(self.times_ms, 0.95), 3)
        self.ok = self.failed = 0
        self.times_ms.clear()
        return Draft(type="probe.sampled", subject=self.probe.about, data=data)


class ProbeSensor:
    """A `Sensor`. `was_ill` are the `endpoint.down`s that the world believes open."""

    name = "probes"

    def __init__(
        self, probes: Sequence[Probe], clock: Clock, standings: Standings, was_ill: Collection[Symptom] = (), ask: Ask = ask
    ) -> None:
        self._clock, self._standings, self._ask = clock, standings, ask
        self._probed = [_Probed(probe, was_ill=("endpoint.down", probe.about) in was_ill) for probe in probes]
        for probed in self._probed:
            if is_service(probed.probe.about):
                standings.probed(probed.probe.about, probed.probe.name)
                standings.listen(probed.probe.about, probed.woken.set)

    async def run(self, emit: Emit) -> None:
        count = max(1, len(self._probed))
        async with asyncio.TaskGroup() as group:
            for index, probed in enumerate(self._probed):
                group.create_task(self._follow(probed, emit, index / count * min(_SPREAD_S, probed.probe.every_s)))
            if self._probed:
                group.create_task(self._sample(emit))

    async def _sample(self, emit: Emit) -> None:
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + SAMPLE_S)
            drafts = [draft for probed in self._probed if (draft := probed.sample()) is not None]
            if drafts:
                emit(*drafts)

    async def _follow(self, probed: _Probed, emit: Emit, first_after_s: float) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + first_after_s)
        due = self._clock.monotonic()
        while True:
            probed.woken.clear()
            if self._is_worth_asking(probed):
                drafts = await self._ask_once(probed)
                if drafts:
                    emit(*drafts)
                due = max(due + self._every_s(probed), self._clock.monotonic())
                await self._until(due, probed.woken)
            else:
                await probed.woken.wait()
                due = self._clock.monotonic()

    def _is_worth_asking(self, probed: _Probed) -> bool:
        """Not while the service's own watcher says that it does not run; a new process gets a fresh start."""
        subject = probed.probe.about
        if not is_service(subject):
            return True
        if not self._standings.wants_probe(subject):
            probed.failures = 0
            return False
        life = self._standings.life(subject)
        if life != probed.life:
            probed.life, probed.failures = life, 0
            probed.grace_until = self._clock.monotonic() + probed.probe.grace_s
        return True

    def _every_s(self, probed: _Probed) -> float:
        young = self._clock.monotonic() < probed.grace_until
        return min(GRACE_EVERY_S, probed.probe.every_s) if young else probed.probe.every_s

    async def _ask_once(self, probed: _Probed) -> list[Draft]:
        began = self._clock.monotonic()
        error = await self._ask(probed.probe)
        now = self._clock.monotonic()
        if is_service(probed.probe.about) and self._standings.life(probed.probe.about) != probed.life:
            return []  # the answer, or the silence, was another process's
        if not error:
            probed.grace_until = -math.inf
            probed.ok += 1
            if len(probed.times_ms) < _SAMPLES_MAX:
                probed.times_ms.append((now - began) * 1000)
            return self._answered(probed, now)
        if now < probed.grace_until:
            return []
        probed.failed += 1
        probed.failures += 1
        return self._failed(probed, error, now) if probed.failures >= probed.probe.failures else []

    def _answered(self, probed: _Probed, now: float) -> list[Draft]:
        probed.failures = 0
        subject = probed.probe.about
        if is_service(subject):
            return self._standings.answered(subject, probed.probe.name)
        ill_since, was_ill = probed.ill_since, probed.was_ill
        probed.ill_since, probed.was_ill = None, False
        if ill_since is None and not was_ill:
            return []
        return [Draft(type="endpoint.up", subject=subject, data={"down_s": round(now - (ill_since or now), 3)})]

    def _failed(self, probed: _Probed, error: str, now: float) -> list[Draft]:
        subject = probed.probe.about
        if is_service(subject):
            return self._standings.failed(subject, probed.probe.name, probed.failures, error)
        if probed.ill_since is not None:
            return []
        probed.ill_since = now
        return [Draft(type="endpoint.down", subject=subject, data={"failures": probed.failures, "status": error})]

    async def _until(self, deadline: float, woken: asyncio.Event) -> None:
        """Until it is due, or the service's watcher has news."""
        waiting = [asyncio.ensure_future(self._clock.sleep_until(deadline)), asyncio.ensure_future(woken.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


__all__ = ["Ask", "Probe", "ProbeSensor", "ask", "is_service", "percentile"]
