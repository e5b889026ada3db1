"""Skills of an outsider that count their effects: one of each re-run class, and the check that reads what they counted.

The crash tests copy this file into a folder on the path of a real daemon, with entry points as any package has them. Each act
appends one line, in one write and synced, to a file outside the state folder, and dawdles before and after it, so that a kill
can hit it in the middle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from aios.events.calls import SkillResult
from aios.skills.api import ActContext, LookContext, Skill, verdict

EFFECTS = "CRASH_EFFECTS"
"""The variable that names the file; it also marks every process of a test, so that none is left over unseen."""


@dataclass(frozen=True)
class CountParams:
    tag: str
    busy_ms: int = 0


@dataclass(frozen=True)
class TagParams:
    tag: str


def _acting(skill: str) -> Callable[[CountParams, ActContext], SkillResult]:
    def act(params: CountParams, ctx: ActContext) -> SkillResult:
        time.sleep(params.busy_ms / 2000)
        _leave(f"{skill} {ctx.call.run} {ctx.call.step} {ctx.call.attempt} {params.tag}\n")
        time.sleep(params.busy_ms / 2000)
        return SkillResult(True)

    return act


def _leave(line: str) -> None:
    fd = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, line.encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def _counted(word: str, place: int) -> bool:
    try:
        with open(os.environ[EFFECTS], encoding="ascii") as file:
            return any(line.split()[place] == word for line in file)
    except FileNotFoundError:
        return False


def already_done(_params: CountParams, ctx: ActContext) -> bool:
    """Its own run has left a line."""
    return _counted(ctx.call.run, 1)


async def counted(params: TagParams, _ctx: LookContext) -> SkillResult:
    return verdict(_counted(params.tag, 4), "nothing was counted")


IDEMPOTENT = Skill(
    name="count_idempotent", kind="act", doc="Count.", params=CountParams, act=_acting("count_idempotent"), rerun="idempotent"
)
CHECKED = Skill(
    name="count_checked",
    kind="act",
    doc="Count.",
    params=CountParams,
    act=_acting("count_checked"),
    rerun="check_before_retry",
    already_done=already_done,
)
NEVER = Skill(name="count_never", kind="act", doc="Count.", params=CountParams, act=_acting("count_never"), rerun="never_retry")
COUNTED = Skill(name="counted", kind="verify", doc="Whether it was counted.", params=TagParams, look=counted)
