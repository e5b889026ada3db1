"""What became of an attempt that somebody lost sight of: the daemon crashed, or its launcher ended without a word.

Runs in a process that hands forks for it (it may sync, and wait for leftovers to die); a simulator calls it directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aios.events.calls import SkillResult
from aios.hands import attempt
from aios.ports import Fate, Files, ProcessId


class Found(NamedTuple):
    """As `AttemptFate`; `who` is the launcher while the fate is `running`, `at` is when the result was written (wall time)."""

    fate: Fate
    result: SkillResult | None = None
    who: ProcessId | None = None
    at: float = 0.0


def recover(
    files: Files,
    folder: str,
    me: ProcessId,
    alive: Callable[[ProcessId], bool],
    end_session: Callable[[ProcessId], None],
) -> Found:
    """Take the result, find the launcher, or void the attempt. Raises OSError.

    `end_session` ends what is left of an act whose launcher is gone, and returns when nothing of it lives: only then is the
    attempt `died`, so that no second attempt ever runs beside the first. An attempt whose launcher is gone before it had room
    for a result is `voided`, too: its act never began, and its fence stands.
    """
    while True:
        started = attempt.read_started(files, folder)
        if started is not None:
            return _of_started(files, folder, started, alive, end_session)
        if attempt.fence(files, folder, me, "recovery"):
            return Found("voided")


def _of_started(
    files: Files,
    folder: str,
    started: attempt.Started,
    alive: Callable[[ProcessId], bool],
    end_session: Callable[[ProcessId], None],
) -> Found:
    if started.role == "recovery":
        return Found("voided")
    if alive(started.who):
        result = attempt.read_result(files, folder)
        return _done(files, folder, result) if result else Found("running", who=started.who)
    # It is gone, so what it wrote is all it will ever have written: look for the result only now.
    acting = attempt.read_acting(files, folder)
    result = attempt.read_result(files, folder)
    if result is None and acting is not None:
        end_session(acting.leader)
    if result is not None:
        return _done(files, folder, result)
    return Found("died" if attempt.may_have_begun(files, folder) else "voided")


def _done(files: Files, folder: str, result: SkillResult) -> Found:
    return Found("done", result, at=files.stat(f"{folder}/{attempt.RESULT}").mtime_ns / 1e9)
