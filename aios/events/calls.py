"""What a skill is asked and what it answers: values that cross from the daemon to hands, and back.

A call is data: a name, checked parameters, limits, what it touches. The playbooks room gets the catalogue of skills as a
mapping of `SkillSpec`; it never sees a skill's body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["observe", "act", "verify"]
KINDS: tuple[Kind, ...] = ("observe", "act", "verify")

RerunClass = Literal["idempotent", "check_before_retry", "never_retry"]
"""What may be done with an attempt that a crash cut off: run again; look first; verify, then ask a person."""

Verdict = Literal["well", "not_well", "no_data"]
"""What a verify skill says. No data is never well."""

SAVING_S = 300.0
"""The files that an act touches are saved before its own time begins; gigabytes on a slow disk take minutes."""
ROLLBACK_MORE_MAX_S = 3000.0
"""What a rollback may take longer than its call says, when gigabytes have to be put back."""


@dataclass(frozen=True, slots=True)
class Touches:
    """What a call changes: snapshotted before it, locked while its run is open.

    `files` are absolute paths (a folder means all below it), `units` canonical subjects of services, `settings` of the kernel as
    `sysctl` names them (`vm.swappiness`).
    """

    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def resources(self) -> frozenset[str]:
        """The names a run locks."""
        return frozenset((*self.units, *(f"file:{path}" for path in self.files), *(f"setting:{name}" for name in self.settings)))


@dataclass(frozen=True, slots=True)
class SkillResult:
    """`ok`, what came of it, where the proof lies, what should come next.

    `result` is a JSON object of at most 32 KiB (what is bigger goes to a blob, named in `evidence`). A verify skill puts
    its verdict under `result["verdict"]`. `next` holds any of `retry`, `fallback`, `human_check`. `error` is one sentence.
    """

    ok: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Mapping[str, Any], ...] = ()
    next: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "result": dict(self.result),
            "evidence": [dict(e) for e in self.evidence],
            "next": list(self.next),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SkillResult:
        return cls(
            ok=bool(raw["ok"]),
            result=raw.get("result") or {},
            evidence=tuple(raw.get("evidence") or ()),
            next=tuple(raw.get("next") or ()),
            error=raw.get("error") or "",
        )

    @property
    def verdict(self) -> Verdict:
        """A verify skill's word; anything unclear is no data."""
        word = self.result.get("verdict")
        if word == "well" and self.ok:
            return "well"
        return "not_well" if word == "not_well" else "no_data"


def failed(error: str, **result: Any) -> SkillResult:
    """A result that says no, and why."""
    return SkillResult(ok=False, result=result, error=error)


GRACE_S = 1.0
"""Between TERM and KILL, where the settings say nothing else."""


@dataclass(frozen=True, slots=True)
class SkillCall:
    """One attempt of one step, ready to be carried out.

    `params` has passed the skill's own check. `folder` is the attempt's folder below the state folder
    (`runs/RUN/STEP.ATTEMPT`), where an act leaves what happened. `env` is what settings say that bodies need (commands that
    count as looking, disposable paths, managed services, limits), as plain JSON. `limits` is what the step itself says
    (`Limits.to_json`).
    """

    run: str
    step: str
    attempt: int
    skill: str
    kind: Kind
    params: Mapping[str, Any]
    timeout_s: float
    touches: Touches = Touches()
    folder: str = ""
    dry: bool = False
    env: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def grace_s(self) -> float:
        """How long it has between TERM and KILL."""
        return float((self.env.get("limits") or {}).get("grace_s", GRACE_S))

    @property
    def key(self) -> str:
        """Names the attempt: `RUN/STEP.ATTEMPT`."""
        return f"{self.run}/{self.step}.{self.attempt}"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "step": self.step,
            "attempt": self.attempt,
            "skill": self.skill,
            "kind": self.kind,
            "params": dict(self.params),
            "timeout_s": self.timeout_s,
            "files": list(self.touches.files),
            "units": list(self.touches.units),
            "settings": list(self.touches.settings),
            "folder": self.folder,
            "dry": self.dry,
            "env": dict(self.env),
            "limits": dict(self.limits),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SkillCall:
        return cls(
            run=raw["run"],
            step=raw["step"],
            attempt=raw["attempt"],
            skill=raw["skill"],
            kind=raw["kind"],
            params=raw["params"],
            timeout_s=raw["timeout_s"],
            touches=Touches(tuple(raw["files"]), tuple(raw["units"]), tuple(raw.get("settings", ()))),
            folder=raw["folder"],
            dry=raw["dry"],
            env=raw.get("env") or {},
            limits=raw.get("limits") or {},
        )


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A skill as the brains see it: all but its body.

    `check` takes raw parameters (after `${ }`) and returns plain JSON ones; it raises `ValueError` with one sentence
    that names the parameter and the cure. `touches`, `dry_text` (what it would do, one sentence) and `only_looks` take checked
    parameters. `touch_params` decide what is touched; they may not depend on `steps.`. `has_inverse`: it says itself how what is
    no file is taken back. `only_looks(params, env)` says whether the daemon may run it; else it goes through hands, like an act.
    """

    name: str
    kind: Kind
    doc: str
    schema: Mapping[str, Any]
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    touches: Callable[[Mapping[str, Any]], Touches]
    rerun: RerunClass = "idempotent"
    timeout_s: float = 30.0
    irreversible: bool = False
    has_inverse: bool = False
    result_fields: Mapping[str, str] = field(default_factory=dict)
    touch_params: tuple[str, ...] = ()
    dry_text: Callable[[Mapping[str, Any]], str] | None = None
    only_looks: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None


SkillCatalogue = Mapping[str, SkillSpec]
