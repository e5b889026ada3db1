"""A playbook as a value: what `load` makes of YAML, and what reactor and runs read. Durations are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from aios.events.calls import Kind
from aios.events.limits import UNSAID, Limits
from aios.playbooks.breaker import CEILING_S
from aios.playbooks.maintenance import WindowSet

Mode = Literal["observe", "shadow", "suggest", "approve", "auto"]
MODES: tuple[Mode, ...] = ("observe", "shadow", "suggest", "approve", "auto")


def lesser_mode(a: str, b: str) -> Mode:
    """The one that may do less."""
    return MODES[min(MODES.index(a), MODES.index(b))]


class Truth(NamedTuple):
    """What a condition says: True, False, or None (cannot say, which never runs); `why` is one sentence."""

    value: bool | None
    why: str = ""


class Condition(Protocol):
    """A CEL expression that was checked when it was loaded."""

    @property
    def source(self) -> str: ...

    def evaluate(self, variables: Mapping[str, Any]) -> Truth: ...


class CannotSay(Exception):
    """A template's expression has no value for these variables; the text says which and why."""


class Template(Protocol):
    """JSON with `${ }` in it."""

    @property
    def source(self) -> Any: ...

    def render(self, variables: Mapping[str, Any]) -> Any:
        """Put in the values, once. Raises `CannotSay`."""
        ...

    def part(self, name: str) -> Template | None:
        """The template of one member of an object; None where there is none of this name."""
        ...


class Pattern(Protocol):
    """An event pattern. `describe` explains one event: which condition said no, about which value."""

    def matches(self, event: Mapping[str, Any]) -> bool: ...
    def describe(self, event: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an act is tried in all, and how long between: see `aios.backoff`."""

    attempts: int = 1
    backoff_s: float = 2.0
    factor: float = 2.0
    ceiling_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: choice -> what it means, in words. `expires_s` None: the playbook's time, else the settings'."""

    text: Template
    choices: Mapping[str, str]
    expires_s: float | None = None


StepKind = Kind | Literal["ask"]
ASK: StepKind = "ask"


@dataclass(frozen=True, slots=True)
class Step:
    """`question` is there for the kind `ask`, whose `skill` is `ask`, too; no skill is called that."""

    id: str
    kind: StepKind
    skill: str
    params: Template
    condition: Condition | None = None
    timeout_s: float = 30.0
    retry: Retry = Retry()
    limits: Limits = UNSAID
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of `verify`: must become well within `within_s` and then stay well for `hold_s`."""

    skill: str
    params: Template
    hold_s: float = 0.0
    within_s: float = 30.0
    timeout_s: float = 10.0
    every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Concurrency:
    """So many runs of the playbook that may act are open at once; with `by`, so many for each value of that field."""

    at_most: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """`cooldown` and `limit` count runs that reached an act, per playbook and subject.

    `limit` is (how many, in how many seconds), `open_s` how long the breaker is open when it is reached (0: until it counts one
    less), `open_max_s` the longest that failed trials make of it. `depends_on` are subjects without which acting is in vain.
    """

    cooldown_s: float = 300.0
    limit: tuple[int, float] | None = (3, 3600.0)
    open_s: float = 0.0
    open_max_s: float = CEILING_S
    concurrency: Concurrency | None = None
    windows: WindowSet | None = None
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """A last-good copy of these files, taken when `verify` has held for `after_s`."""

    files: tuple[str, ...]
    after_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder after a failure; `after_s` is waited before it."""

    what: Literal["fallback", "notify"]
    value: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trigger:
    """One kind of event that a correlation waits for: `count` of them. `within_s` only where it has a time of its own.

    `by` are the paths of what joins it to the others: `("subject",)`, `("data", "host")`.
    """

    name: str
    types: tuple[str, ...]
    pattern: Pattern | None
    match: Mapping[str, Any]
    by: tuple[tuple[str, ...], ...]
    count: int = 1
    within_s: float = 0.0
    absent: bool = False


CorrelationKind = Literal["count", "any", "all", "sequence", "absence"]
Join = Literal["last", "first"]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Several events together: what `on` says where one event is not enough. `hash` is that of what is written, in one form."""

    kind: CorrelationKind
    triggers: tuple[Trigger, ...]
    within_s: float
    join: Join = "last"
    lateness_s: float = 1.0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Playbook:
    name: str
    hash: str
    path: str
    description: str
    types: tuple[str, ...]
    pattern: Pattern | None
    match: Mapping[str, Any]
    when: Condition | None = None
    mode: Mode = "auto"
    priority: int = 0
    enabled: bool = True
    guard: Guard = Guard()
    keep: Keep | None = None
    steps: tuple[Step, ...] = ()
    verify: tuple[Check, ...] = ()
    on_failure: tuple[Rung, ...] = ()
    answer_s: float | None = None
    """How long a person has to answer what a run asks; None: as long as the settings say."""
    tests: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    correlation: Correlation | None = None
    """Where it is for several events together; then it has no `types` and no `pattern` of its own."""

    @property
    def acts(self) -> bool:
        """Whether any step changes anything."""
        return any(step.kind == "act" for step in self.steps)


def variables(
    event: Mapping[str, Any], *, now: float, score: float | None, system_score: float | None, steps: Mapping[str, Any]
) -> dict[str, Any]:
    """What expressions may name. A score that nobody knows is left out, so that a condition on it cannot say."""
    known: dict[str, Any] = {"event": event, "now": now, "steps": steps}
    if score is not None:
        known["score"] = score
    if system_score is not None:
        known["system_score"] = system_score
    return known
