"""The states of a run as data: which event may come in which state, and the state that it leads to.

The picture in `docs/runs.md` is drawn from this table, `make simulate` names the pairs that it never visited, and a pair that
is not here is an error: a bug, or a damaged journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ROLLBACK = "rollback"
SYMPTOM = "symptom"
VERIFY = "verify"
RUNG = "rung"
RUN_SHOWN = 8
"""Of a run's id, which commands take."""
BY_HAND = "(by hand)"
"""Stands where a run's playbook does, for what a person had done by hand. No playbook can have such a name."""
RESERVED_STEPS = (ROLLBACK, SYMPTOM, VERIFY, RUNG)

MEANINGS: Mapping[str, str] = {
    "new": "nothing is durable yet",
    "opened": "it is decided; it waits for a slot and for its locks, or looks",
    "step_intended": "an act is on disk as intended: it is about to run, runs, or has run and nobody has said so yet",
    "step_done": "a step ended; the next one, or `verify`, follows",
    "waiting": "for a retry, an answer, a pause's end, or room; it holds no slot and no lock",
    "healed": "it acted, and `verify` held",
    "cleared": "the symptom was gone before it acted",
    "observed": "its mode does not let it act; it has looked",
    "suggested": "its mode does not let it act; a person may turn what it proposes into a run",
    "not_healed": "not well after all was done: what it did is taken back next",
    "unknown": "nobody can say whether it is well; treated as not healed",
    "cancelled": "a person ended it: what it did is taken back next, and the ladder is left out",
    "rolled_back": "what it did was taken back; the rungs of `on_failure` are climbed",
    "escalated": "a person is needed",
}

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
WELL: tuple[Status, ...] = ("healed", "cleared")

_EVERY: tuple[Status, ...] = (*BETWEEN, "step_intended", *FAILED, "rolled_back", *AFTER)

# (status, event type) -> status
TABLE: Mapping[tuple[Status, str], Status] = {
    ("new", "run.opened"): "opened",
    **{(s, "run.step_intended"): "step_intended" for s in BETWEEN},
    **{(s, "run.step_done"): "step_done" for s in (*BETWEEN, "step_intended")},
    **{(s, "run.waiting"): "waiting" for s in BETWEEN},
    **{(s, "approval.requested"): s for s in BETWEEN},
    **{("waiting", f"approval.{word}"): "waiting" for word in ("given", "denied", "expired")},
    # An answer that came too late, or twice, or to nothing: it is written down, and changes nothing.
    **{(s, "approval.refused"): s for s in _EVERY},
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
    **{(s, "run.rollback_asked"): s for s in (*AFTER, "rolled_back")},
    **{(s, t): s for s in AFTER for t in ("run.step_intended", "run.step_done", "run.rolled_back")},
}
