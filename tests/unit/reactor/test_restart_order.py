"""Who gets slot and locks first when the daemon comes back."""

from __future__ import annotations

from aios.playbooks.run import Run
from aios.reactor.runs import by_claim

ACT = {"step": "a", "attempt": 1, "skill": "x"}


def test_whoever_held_its_locks_when_the_daemon_died_goes_on_before_all_others() -> None:
    """An act under way, then a run between its act and its proof; who waited or had not acted yet had let go of its locks."""
    in_flight = Run("flying", in_flight={"step": "a", "attempt": 1}, acts=[ACT], opened_at=4.0)
    between = Run("between", acts=[ACT], opened_at=3.0)
    waiting = Run("waiting", acts=[ACT], wait={"for": "retry", "until": "", "step": "a"}, opened_at=1.0, priority=0)
    fresh = Run("fresh", opened_at=2.0)
    claims = by_claim([fresh, waiting, between, in_flight])
    assert [[run.id for run in claim] for claim in claims] == [["flying"], ["between"], ["waiting", "fresh"]]
