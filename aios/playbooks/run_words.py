"""What a run hears (happenings), what it asks for (commands), and what it needs to know (`Env`): values, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.events.calls import SkillCall, SkillCatalogue, SkillResult, Verdict
from aios.events.event import Draft
from aios.playbooks.guards import Held
from aios.playbooks.model import Playbook

# --- happenings: what comes in ----------------------------------------------------------------------------------------


class StepEnded(NamedTuple):
    """An observing step or an act ended, with its result; `ms` is how long it took."""

    step: str
    attempt: int
    result: SkillResult
    ms: float


class CutOff(NamedTuple):
    """An attempt ended without a result: it `died` in the middle, or was `voided` before it had begun."""

    step: str
    attempt: int
    voided: bool
    why: str = ""


class Checked(NamedTuple):
    """`verify` was asked: as the symptom before the first act, or as the proof at the end."""

    phase: str
    verdict: Verdict
    proof: tuple[Mapping[str, Any], ...]
    ms: float


class Answered(NamedTuple):
    """A person said yes or no, or nobody did in time (`by` is empty). Where a question was asked, a yes names the choice."""

    yes: bool
    by: str
    reason: str = ""
    choice: str = ""


class Cancelled(NamedTuple):
    """`why` is empty where a person just ended it; a no says so here."""

    by: str
    why: str = ""


class TakeBack(NamedTuple):
    """A person wants an ended run taken back; forced: also where somebody else has changed it since."""

    by: str
    force: bool = False


class RungEnded(NamedTuple):
    """A fallback's run ended (or could not be opened)."""

    healed: bool
    run_opened: str
    error: str


Happening = StepEnded | CutOff | Checked | Answered | Cancelled | TakeBack | RungEnded


# --- commands: what goes out ------------------------------------------------------------------------------------------


class Say(NamedTuple):
    """Events that come first; when they are folded, ask again."""

    drafts: tuple[Draft, ...]


class Look(NamedTuple):
    call: SkillCall


class CheckCall(NamedTuple):
    call: SkillCall
    hold_s: float
    within_s: float
    every_s: float


class Ask(NamedTuple):
    """Ask `verify`: each check once (symptom), or until it has held (proof)."""

    phase: str
    checks: tuple[CheckCall, ...]


class Act(NamedTuple):
    """Its intent is durable: start it, or after a restart find out what became of it."""

    call: SkillCall
    deadline_s: float


class Wait(NamedTuple):
    """Hold no slot and no lock until then (wall clock), or until woken."""

    until: float
    waits_for: str


class OpenFallback(NamedTuple):
    playbook: str
    run: str


class Over(NamedTuple):
    pass


Command = Say | Look | Ask | Act | Wait | OpenFallback | Over


@dataclass(frozen=True, slots=True)
class Env:
    """What a run needs to know of the rest, fresh at every question."""

    now: float
    playbook: Playbook
    skills: SkillCatalogue
    mode_max: str = "auto"
    paused: bool = False
    resumes_at: float = 0.0
    disabled: bool = False
    protected: Callable[[frozenset[str]], str] = lambda _resources: ""
    acts_again_at: float = 0.0
    held_now: Callable[[], Held | None] = lambda: None
    """Asked before the first act: the guard of the moment that lets nothing begin."""
    score: float | None = None
    system_score: float | None = None
    chance: float = 0.5
    watch_s: float = 0.0
    """For how long a run in shadow watches whether the symptom goes by itself."""
    call_env: Mapping[str, Any] = field(default_factory=dict)
    approval_expires_s: float = 86400.0
