"""One attempt, from fence to result, as a generator: the law of acting in one place.

Between any two of its steps it may be killed, and every call it makes on the disk may fail or be the last. `launch` yields the
name of what it does next; at `ACT` its driver carries the act out and sends back what came of it. The real driver is
`hands_main`'s process for each call (`server.py`); a simulator drives the same generator in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from aios.errors import AiosError, Permanent, Temporary
from aios.events.calls import SkillCall, SkillResult, failed
from aios.hands import attempt
from aios.ports import Files, ProcessId

FENCE, SNAPSHOT, RESERVE, ACT, WRITE, DONE = "fence", "snapshot", "reserve", "act", "write", "done"
STEPS = (FENCE, SNAPSHOT, RESERVE, ACT, WRITE, DONE)

TakeSnapshot = Callable[[SkillCall, str], None]
"""Saves what the call touches, durably: its bytes as blobs, and the manifest at this path; nothing where nothing is touched.
Raises OSError, Permanent or Temporary."""

Launch = Generator[str, SkillResult | None, SkillResult | None]


def launch(call: SkillCall, files: Files, state_dir: str, me: ProcessId, take_snapshot: TakeSnapshot) -> Launch:
    """Returns the result, or None when somebody else has this attempt: then nothing was done and nothing is to be told."""
    try:
        folder = attempt.folder_of(state_dir, call)
        yield FENCE
        if not attempt.fence(files, folder, me, "launcher"):
            return None
    except (OSError, Permanent) as error:
        return not_begun(f"the attempt cannot be recorded: {error}")
    result = yield from _prepared(call, files, folder, take_snapshot)
    yield WRITE
    result = _written(files, folder, result)
    yield DONE
    return result


def _prepared(
    call: SkillCall, files: Files, folder: str, take_snapshot: TakeSnapshot
) -> Generator[str, SkillResult | None, SkillResult]:
    """Without a snapshot and room for the result there is no act."""
    try:
        yield SNAPSHOT
        take_snapshot(call, f"{folder}/{attempt.MANIFEST}")
        yield RESERVE
        attempt.reserve(files, folder)
    except Temporary as error:
        return not_begun(f"no snapshot, so no act: {error}")
    except OSError as error:
        return not_begun(f"no snapshot or no room for the result, so no act: {error}", again=False)
    except (AiosError, ValueError) as error:  # it says itself what cannot be saved
        return not_begun(f"no snapshot, so no act: {error}", again=False)
    result = yield ACT
    return result if result is not None else failed("the act left no result")


def not_begun(why: str, *, again: bool = True) -> SkillResult:
    """A result that says for sure that nothing was done."""
    return SkillResult(ok=False, result={"begun": False}, next=("retry",) if again else (), error=why)


def _written(files: Files, folder: str, result: SkillResult) -> SkillResult:
    """A result that the disk refuses is still told; only a crash before the journal has it makes it `died`."""
    try:
        attempt.write_result(files, folder, result)
    except OSError as error:
        return SkillResult(result.ok, {**result.result, "unsaved": str(error)}, result.evidence, result.next, result.error)
    return result
