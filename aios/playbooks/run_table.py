"""The states of a run as data: which event may come in which state, and the state that it leads to.

The picture in the docs is drawn from this table, the simulator counts which of its pairs were visited, and a pair that is
not here is an error: a bug, or a damaged journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ROLLBACK = "rollback"
SYMPTOM = "symptom"
VERIFY = "verify"
RUNG = "rung"
RESERVED_STEPS = (ROLLBACK, SYMPTOM, VERIFY, RUNG)

Status = Literal[
    "new",
    "opened",
    "step_intended",
    "step_done",
    "waiting",
    "healed",
    "not_healed",
    "unknown",
    "cleared",
    "rolled_back",
    "escalated",
    "observed",
    "suggested",
    "cancelled",
]

BETWEEN: tuple[Status, ...] = ("opened", "step_done", "waiting")
FAILED: tuple[Status, ...] = ("not_healed", "unknown", "cancelled")
AFTER: tuple[Status, ...] = ("healed", "cleared", "observed", "suggested", "escalated")
ENDED: frozenset[Status] = frozenset(("healed", "cleared", "observed", "suggested", "escalated"))

# (status, event type) -> status
TABLE: Mapping[tuple[Status, str], Status] = {
    ("new", "run.opened"): "opened",
    **{(s, "run.step_intended"): "step_intended" for s in BETWEEN},
    **{(s, "run.step_done"): "step_done" for s in (*BETWEEN, "step_intended")},
    **{(s, "run.waiting"): "waiting" for s in BETWEEN},
    **{(s, "approval.requested"): s for s in BETWEEN},
    **{("waiting", f"approval.{word}"): "waiting" for word in ("given", "denied", "expired")},
    **{("step_done", f"run.{end}"): end for end in ("healed", "cleared")},
    **{(s, f"run.{end}"): end for s in BETWEEN for end in ("not_healed", "unknown", "observed", "suggested")},
    **{(s, "run.cancelled"): "cancelled" for s in (*BETWEEN, "step_intended")},
    # After a failure: what was done is taken back (an act like others), then the ladder is climbed.
    **{(s, t): s for s in FAILED for t in ("run.step_intended", "run.step_done", "run.waiting")},
    **{(s, "run.cancelled"): s for s in ("not_healed", "unknown")},
    **{(s, "run.rolled_back"): "rolled_back" for s in FAILED},
    **{("rolled_back", t): "rolled_back" for t in ("run.step_intended", "run.step_done", "run.waiting", "run.rung_done")},
    ("rolled_back", "run.escalated"): "escalated",
    ("rolled_back", "run.cancelled"): "rolled_back",
    ("rolled_back", "run.rolled_back"): "rolled_back",
    # A person may take an ended run back later.
    **{(s, t): s for s in AFTER for t in ("run.step_intended", "run.step_done", "run.rolled_back")},
}
