"""Acts that are no run's: a managed service at start, what a person asks for by hand, a last-good copy, a call to a person.

Like a run's act, each is intended (durably) before it is started, and goes through hands and a launcher.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aios.entropy import Entropy
from aios.events.calls import SAVING_S, SkillCall, SkillCatalogue, SkillResult, Touches, failed
from aios.events.event import HOST, Draft
from aios.ports import Emit, Hands

OVERDUE_S = 15.0
BUILT_IN = ("keep_copy",)
"""Calls that hands itself understands; no playbook may name them, so they are no skills."""
BUILT_IN_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Aside:
    """See the head of this file."""

    emit: Emit
    hands: Hands
    skills: SkillCatalogue
    entropy: Entropy
    call_env: Mapping[str, Any]
    _open: dict[str, Future[SkillResult]] = field(default_factory=dict)

    def start(self) -> None:
        self.hands.on_done(self._done)

    async def act(
        self,
        skill: str,
        params: Mapping[str, Any],
        *,
        by: str,
        why: str,
        subject: str = HOST,
        cause: str = "",
        playbook: str = "",
        run: str = "",
    ) -> SkillResult:
        """Carry it out and tell what came of it. `run` names it, where somebody may want it taken back. Raises ValueError for
        parameters it refuses, KeyError for no such skill."""
        if skill in BUILT_IN:
            checked, timeout_s, touches = dict(params), BUILT_IN_TIMEOUT_S, Touches()
        else:
            spec = self.skills[skill]
            checked = spec.check(params)
            timeout_s, touches = spec.timeout_s, spec.touches(checked)
        run = run or self.entropy.new_id()
        folder = f"runs/{run}/{skill}.1"
        call = SkillCall(
            run,
            skill,
            1,
            skill,
            "act",
            checked,
            timeout_s,
            touches,
            folder,
            env={**self.call_env, "subject": subject, "playbook": playbook},
        )
        data = {"skill": skill, "params": checked, "key": call.key, "by": by, "why": why}
        await self.emit(Draft(type="daemon.act_intended", subject=subject, data=data, causationid=cause))
        result = await self._carry_out(call)
        done = {"skill": skill, "key": call.key, "ok": result.ok, "error": result.error}
        severity = "info" if result.ok else "error"
        await self.emit(Draft(type="daemon.act_done", subject=subject, data=done, severity=severity, causationid=cause))
        return result

    async def _carry_out(self, call: SkillCall) -> SkillResult:
        ended: Future[SkillResult] = asyncio.get_running_loop().create_future()
        self._open[call.key] = ended
        within_s = call.timeout_s + (SAVING_S if call.touches.files else 0.0) + OVERDUE_S
        try:
            self.hands.start(call)
            async with asyncio.timeout(within_s):
                return await ended
        except TimeoutError:
            self.hands.cancel(call.key)
            return failed(f"no result within {within_s:g} s")
        finally:
            self._open.pop(call.key, None)

    def _done(self, key: str, result: SkillResult) -> None:
        ended = self._open.get(key)
        if ended is not None and not ended.done():
            ended.set_result(result)
