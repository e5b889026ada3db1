"""The `Looker` port's twin: bodies that look, run in the daemon's own life, in virtual time.

A body that takes longer than its timeout is cut off there; a body that raises is a result that is not ok. Some answers come
late or not at all, as the harness plans it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aios.events.calls import SkillCall, SkillResult, failed
from aios.testing.bodies import SKILLS, Box, SimSkill


class SimLooker:
    """Looks at the simulated world. `hangs()` says of each look whether it never answers by itself."""

    def __init__(self, box: Box, skills: Mapping[str, SimSkill] = SKILLS, hangs: Callable[[], bool] = lambda: False) -> None:
        self._box = box
        self._skills = skills
        self.hangs = hangs
        self.looks = 0

    async def look(self, call: SkillCall) -> SkillResult:
        skill = self._skills.get(call.skill)
        if skill is None or skill.kind == "act":
            return failed(f"{call.skill} is no skill that looks")
        self.looks += 1
        try:
            async with asyncio.timeout(call.timeout_s):
                return await self._drive(skill, call)
        except TimeoutError:
            return failed(f"{call.skill} took longer than {call.timeout_s:g} s")
        except Exception as error:  # noqa: BLE001  the port's law: a body that fails is a result that is not ok
            return failed(f"{call.skill} failed: {error}")

    async def _drive(self, skill: SimSkill, call: SkillCall) -> SkillResult:
        if self.hangs():
            await asyncio.sleep(call.timeout_s + 1.0)
        body = skill.body(call, self._box)
        while True:
            try:
                seconds = next(body)
            except StopIteration as end:
                result: SkillResult = end.value
                return result
            await asyncio.sleep(seconds)
