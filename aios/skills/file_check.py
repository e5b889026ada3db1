"""verify file_check: a file is there, was written lately, says what it should.

What a thing that lives by a file is seen by: the heartbeat of an agent, a backup, a setting of the kernel below /proc/sys.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult
from aios.events.durations import format_duration
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.types import AbsolutePath, Duration, Message

READ_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Params:
    """Only what is given is asked for; a file that is not there is never well. Of a large file the last 256 KiB are read."""

    path: Annotated[AbsolutePath, "The file."]
    changed_within: Annotated[Duration | None, "It was last written no longer ago than this."] = None
    contains: Annotated[Message | None, "Text that must stand in it."] = None
    equals: Annotated[Message | None, "The whole text of it; how its words are spaced does not count."] = None


async def look(params: Params, ctx: LookContext) -> SkillResult:
    wants_text = params.contains is not None or params.equals is not None
    try:
        changed, text = await asyncio.to_thread(_read, params.path, wants_text)
    except (FileNotFoundError, NotADirectoryError):
        return verdict(False, f"{params.path} is not there", path=params.path)
    except (OSError, ValueError) as error:
        return verdict(None, f"{params.path} cannot be read: {getattr(error, 'strerror', None) or error}", path=params.path)
    age_s = max(0.0, ctx.clock.now() - changed)
    return verdict(not (why := _ill(params, age_s, text)), why, path=params.path, age_s=round(age_s, 3))


def _ill(params: Params, age_s: float, text: str) -> str:
    if params.changed_within is not None and age_s > params.changed_within:
        within = format_duration(params.changed_within)
        return f"{params.path} was last written {format_duration(round(age_s))} ago, not within {within}"
    if params.contains is not None and params.contains not in text:
        return f"{params.path} does not hold the expected text"
    if params.equals is not None and text.split() != params.equals.split():
        return f"{params.path} says something else than expected"
    return ""


def _read(path: str, wants_text: bool) -> tuple[float, str]:
    """When it was written, and the end of it. Raises OSError; `ValueError` when it is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            raise ValueError("it is no regular file")
        start = max(0, seen.st_size - READ_MAX)
        return seen.st_mtime, os.pread(fd, READ_MAX, start).decode(errors="replace") if wants_text else ""
    finally:
        os.close(fd)


SKILL = Skill(
    name="file_check",
    kind="verify",
    doc="Well when a file is there, was written lately, and holds a text: a heartbeat, a backup, a setting below /proc/sys.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "path": "string", "age_s": "double"},
)
