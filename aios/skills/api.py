"""How a skill is written: one file, one `Skill` value, one entry point in the group `aios.skills`.

    [project.entry-points."aios.skills"]
    restart_service = "aios.skills.restart_service:SKILL"

The parameters are a plain frozen dataclass of the types in `types.py`: the daemon checks them with pydantic, hands makes the
dataclass from what was checked and never loads pydantic. A field that would be a Python keyword ends in an underscore
(`from_` is `from` in a playbook).

A skill that looks (observe, verify) has `look`, a coroutine in the daemon; one that acts has `act`, an ordinary function in a
process of its own, which may block, print (it ends in the attempt's `output`) and be killed at any moment. Called by
`catalogue.py` (which makes the `SkillSpec` that the brains see), `looker.py` and hands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from aios.clock import Clock
from aios.events.calls import Kind, RerunClass, SkillCall, SkillResult, Touches, failed
from aios.events.limits import UNSAID, Limits
from aios.ports import Blobs, Files, ServiceActs, Services

GROUP = "aios.skills"


@dataclass(frozen=True, slots=True)
class LookContext:
    """What a looking body may use. `env` is the call's: what the settings say that bodies need."""

    state_dir: str
    env: Mapping[str, Any]
    services: Services
    clock: Clock


class SafeFiles(Protocol):
    """Files that are touched, changed so that no link swapped in leads elsewhere, and that a crash leaves old or new.

    All raise OSError; `ELOOP` or `EXDEV` when a link lies in the way.
    """

    def replace(self, path: str, data: bytes, *, mode: int | None = None) -> None:
        """Put a whole file in place (temporary, fsync, rename); an existing one keeps owner, mode and xattrs."""
        ...

    def unlink(self, path: str) -> None:
        """Remove one file or link; never what a link points to."""
        ...

    def files_below(self, path: str) -> Iterator[tuple[str, int, float]]:
        """The regular files at or below a path, on its own file system, links not followed.

        Each is (path, bytes that deleting it gives back: 0 while it has other names, wall time of its last change).
        """
        ...

    def digest(self, path: str) -> str:
        """SHA-256 of a regular file's bytes, hex."""
        ...

    def kernel_setting(self, name: str) -> str:
        """Its value. Raises `Permanent` for what the act does not touch."""
        ...

    def set_kernel_setting(self, name: str, value: str) -> None:
        """Raises `Permanent` for what the act does not touch, OSError for what the kernel does not take."""
        ...

    def restore_last_good(self, files: Sequence[str], generation: int = 0) -> list[dict[str, Any]]:
        """Put the last-good copies (0: the newest) back; a proof for each file. Raises `Permanent` when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ActContext:
    """What an acting body may use. `folder` is the attempt's folder, absolute.

    `env` is the call's; the engine puts `playbook`, `subject`, `approved` (a person said yes to this run), `disposable`,
    `services`, `look_commands`, `webhook` and `recheck` (the attempt before was cut off: `already_done` is asked first) there.
    """

    state_dir: str
    env: Mapping[str, Any]
    services: ServiceActs
    blobs: Blobs
    files: Files
    folder: str
    call: SkillCall
    safe: SafeFiles
    clock: Clock
    limits: Limits = UNSAID
    """In force for this act: the step's, the skill's, the settings'."""
    harden: Callable[[], None] | None = None
    """For the process of a program that the body runs, before its exec: then the program cannot lift its limits."""


Look = Callable[[Any, LookContext], Awaitable[SkillResult]]
Act = Callable[[Any, ActContext], SkillResult]
AlreadyDone = Callable[[Any, ActContext], bool | None]


class Undo(NamedTuple):
    """A call that takes an act back: a skill that acts, and its parameters."""

    skill: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverse:
    """How an act that changes no file is taken back. Files and services that it touches come back without it, right after.

    about(params): the thing that it changes, for the proof; acts upon one thing say the same.
    look(params, ctx): how that thing stands, as a small flat JSON object. Asked before the act, and what it says is on disk
    before the act begins; asked again before and after the rollback. It may raise `Temporary` or `Permanent`: then no act.
    undo(params, before, now): what leads back from `now` to `before`; None when nothing is to be undone. Whether the rollback
    has worked is told by asking this once more. Raises `Permanent` where it must not be undone (somebody else has changed it
    since), which calls a person.
    """

    about: Callable[[Any], str]
    look: Callable[[Any, ActContext], Mapping[str, Any]]
    undo: Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Undo | None]


def touches_nothing(_params: Any) -> Touches:
    """What a skill that looks touches."""
    return Touches()


def always_looks(_params: Any, _env: Mapping[str, Any]) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A skill, whole.

    name: as playbooks write it. doc: first line of the reference. params: a frozen dataclass.
    look / act: the body; an observe skill may have both when `only_looks` decides by its parameters and the settings.
    touches: what the call changes. touch_params: the parameters that decide that; they may not depend on `steps.`.
    rerun: what may be done with an attempt that a crash cut off; `check_before_retry` needs `already_done`, which says True (the
    act has had its effect), False (it has not) or None (cannot say, a person is asked).
    inverse: how it is taken back where it changes what is no file (see `Inverse`).
    dry: one sentence for what it would do. irreversible: no snapshot can take it back; it leaves a manifest instead.
    limits: what its act may use, where the settings' defaults do not fit (0: no limit); a step may say otherwise.
    result_fields: name -> CEL type (string, int, double, bool, map, list) of what stands in `result`: an expression that names
    another field is told by lint. How to add a skill of ours, step by step: docs/architecture.md.
    """

    name: str
    kind: Kind
    doc: str
    params: type
    look: Look | None = None
    act: Act | None = None
    touches: Callable[[Any], Touches] = touches_nothing
    touch_params: tuple[str, ...] = ()
    rerun: RerunClass = "idempotent"
    already_done: AlreadyDone | None = None
    timeout_s: float = 30.0
    limits: Limits = UNSAID
    dry: Callable[[Any], str] | None = None
    irreversible: bool = False
    inverse: Inverse | None = None
    only_looks: Callable[[Any, Mapping[str, Any]], bool] = always_looks
    result_fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a skill that cannot work, when it is loaded and not when it is needed. Raises ValueError."""
        if (self.act if self.kind == "act" else self.look) is None:
            raise ValueError(f"skill {self.name}: kind {self.kind} needs {'act' if self.kind == 'act' else 'look'}=")
        if (self.rerun == "check_before_retry") != (self.already_done is not None):
            raise ValueError(f"skill {self.name}: already_done= goes with rerun='check_before_retry', and only with it")
        if self.inverse is not None and (self.kind != "act" or self.irreversible):
            raise ValueError(f"skill {self.name}: inverse= is for a skill that acts and is not irreversible")
        unknown = set(self.touch_params) - set(param_names(self.params))
        if unknown:
            raise ValueError(f"skill {self.name}: touch_params names no parameter: {', '.join(sorted(unknown))}")


def param_names(params: type) -> tuple[str, ...]:
    """The parameters as playbooks write them."""
    return tuple(f.name.rstrip("_") for f in fields(params))


def required_names(params: type) -> tuple[str, ...]:
    """The parameters that have no default."""
    return tuple(f.name.rstrip("_") for f in fields(params) if f.default is MISSING and f.default_factory is MISSING and f.init)


def make_params(skill: Skill, checked: Mapping[str, Any]) -> Any:
    """The dataclass from parameters that were checked before (JSON has lists where the dataclass has tuples).

    Raises ValueError or TypeError for parameters that are no longer this skill's: a stored call may be older than the code.
    """
    unknown = checked.keys() - set(param_names(skill.params))
    if unknown:
        raise ValueError(f"{skill.name} no longer has the parameter {min(unknown)!r}")
    values = {f.name: checked[f.name.rstrip("_")] for f in fields(skill.params) if f.name.rstrip("_") in checked}
    return skill.params(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def plain_params(params: Any) -> dict[str, Any]:
    """The dataclass as plain JSON, as a call carries it."""
    values = {f.name.rstrip("_"): getattr(params, f.name) for f in fields(params)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def verdict(well: bool | None, why: str = "", **result: Any) -> SkillResult:
    """What a verify skill answers: True is well, False not well, None no data. `why` is one sentence."""
    word = "no_data" if well is None else "well" if well else "not_well"
    return SkillResult(ok=bool(well), result={"verdict": word, **result}, error="" if well else why)


__all__ = [
    "GROUP",
    "Act",
    "ActContext",
    "AlreadyDone",
    "Inverse",
    "Look",
    "LookContext",
    "SafeFiles",
    "Skill",
    "SkillResult",
    "Touches",
    "Undo",
    "failed",
    "make_params",
    "param_names",
    "plain_params",
    "required_names",
    "verdict",
]
