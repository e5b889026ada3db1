"""A real daemon with hands and launchers, killed at its K-th disk call, for every K of a short history. See `strace_kit.py`."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.integration.strace_kit import NEEDS_STRACE, SYNCS, first_without_a_kill, killed_at

pytestmark = NEEDS_STRACE

OFTEN = ("write", "openat")
UP_TO = {"fdatasync": 12, "fsync": 30, "rename": 10, "write": 300, "openat": 1200}
"""From where a sample is taken: about as many of each as a short history makes in one thread."""
SAMPLE = 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", SYNCS)
def test_killed_at_each_sync_and_rename_it_keeps_its_laws(tmp_path: Path, call: str) -> None:
    """Journal, blobs, the fence, snapshots, results, checkpoints: whatever was about to be made durable is missing."""
    assert first_without_a_kill(tmp_path, call, in_recovery=False) > 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("CRASH_KILLS" not in os.environ, reason="takes minutes; make crash does it")
@pytest.mark.parametrize("call", ["openat", "write", "fdatasync"])
def test_killed_at_each_call_that_the_journal_makes_it_keeps_its_laws(tmp_path: Path, call: str) -> None:
    """Every time when the journal's part is opened, written or synced, by whomever."""
    assert first_without_a_kill(tmp_path, call, in_recovery=False, journal_only=True) > 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("call", SYNCS + OFTEN)
def test_killed_at_some_disk_calls_it_keeps_its_laws(tmp_path: Path, call: str) -> None:
    """A few of each kind, by chance."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for nth in chance.sample(range(1, UP_TO[call]), SAMPLE):
        killed_at(tmp_path / f"{nth}", call, nth, in_recovery=chance.random() < 0.5)
