"""The short history that is killed at every disk call, on a disk that refuses there instead: that call, and the two after it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from tests.simulation.harness import broken_laws, play_day
from tests.simulation.test_every_call import QUIET_S, SEED, SHORT_H, WORK

SHORT = 0
"""No error: a write of one byte, which is said."""
ERRORS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EDQUOT, SHORT)
CALLS_MAX = 1000
"""More calls than the history makes, those that only look counted."""
AT_WORK = 400
"""So many are over when the daemon has begun to work."""
STEP = 11


def broken_by(nth: int, error: int) -> list[str]:
    history = play_day(SEED, SHORT_H, replace(WORK, fails_at=(nth, error)), quiet_s=QUIET_S)
    sentences = broken_laws(history)
    if nth > AT_WORK and history.starts > 1:
        sentences.append("it had to be started anew")
    return [f"{errno.errorcode.get(error, 'short')} at call {nth}: {sentence}" for sentence in sentences]


@pytest.mark.slow
@pytest.mark.parametrize("rest", range(STEP))
def test_an_error_at_every_disk_call_breaks_no_law(rest: int) -> None:
    """Each call once, reads too, each error in turn; a daemon that has begun its work goes on without a restart.

    `EVERY_ERROR=1` tries all errors at each call: five times as long, two minutes of CPU.
    """
    errors = ERRORS if os.environ.get("EVERY_ERROR") else ()
    tries = [(nth, error) for nth in range(1 + rest, CALLS_MAX, STEP) for error in errors or (ERRORS[nth % len(ERRORS)],)]
    assert [sentence for nth, error in tries for sentence in broken_by(nth, error)] == []
