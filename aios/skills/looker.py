"""Runs what only looks, in the daemon: the `Looker` port. Wired by `daemon.assemble`.

A body that raises, hangs or answers nonsense is a result that is not ok; nothing gets past here but the end of the daemon itself.
Dry runs of every kind come here, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aios.clock import Clock
from aios.errors import AiosError, Temporary
from aios.events.calls import SkillCall, SkillResult, failed
from aios.ports import Services
from aios.skills.api import LookContext, Skill, make_params
from aios.skills.catalogue import dry_sentence


class DaemonLooker:
    """`bodies` are the skills by name (`load_bodies()`)."""

    def __init__(self, bodies: Mapping[str, Skill], services: Services, clock: Clock, state_dir: str) -> None:
        self._bodies = bodies
        self._services = services
        self._clock = clock
        self._state_dir = state_dir

    async def look(self, call: SkillCall) -> SkillResult:
        try:
            skill = self._bodies[call.skill]
        except (KeyError, AiosError):
            return _no_answer(call, f"there is no skill {call.skill!r} here; is the package that brings it installed?")
        try:
            return await self._looked(skill, call)
        except TimeoutError:
            return _no_answer(call, f"{call.skill} did not answer within {call.timeout_s:g} s")
        except Temporary as error:
            return _no_answer(call, str(error), ("retry",))
        except Exception as error:  # noqa: BLE001 - a body is anybody's code: its bug is a result, not the daemon's end
            return _no_answer(call, f"{type(error).__name__}: {error}"[:1000])

    async def _looked(self, skill: Skill, call: SkillCall) -> SkillResult:
        if call.dry and skill.kind == "act":
            return SkillResult(True, {"dry": dry_sentence(skill, call.params)})
        if skill.look is None:
            return failed(f"{call.skill} acts; only hands may run it")
        context = LookContext(self._state_dir, call.env, self._services, self._clock)
        async with asyncio.timeout(call.timeout_s):
            return await skill.look(make_params(skill, call.params), context)


def _no_answer(call: SkillCall, error: str, following: tuple[str, ...] = ()) -> SkillResult:
    """What cannot say whether it is well has no data; it is never well."""
    result = {"verdict": "no_data"} if call.kind == "verify" else {}
    return SkillResult(False, result, next=following, error=error)
