"""A real daemon that was killed while it acted, killed again at the K-th disk call of its recovery, for every K.

A file of its own, because the suite's workers share out files: this one and `test_daemon_crash_calls.py` are its longest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.strace_kit import NEEDS_STRACE, SYNCS, first_without_a_kill

pytestmark = NEEDS_STRACE


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", SYNCS)
def test_killed_at_each_sync_and_rename_of_its_recovery_it_keeps_its_laws(tmp_path: Path, call: str) -> None:
    """Whoever mends the first death dies too, just before something was made durable."""
    assert first_without_a_kill(tmp_path, call, in_recovery=True) > 1
