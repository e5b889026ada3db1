"""act restore_files: put the last-good copies of files back. What heals a file that something else broke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from aios.events.calls import SkillResult, Touches
from aios.events.limits import Limits
from aios.skills.api import ActContext, Skill
from aios.skills.types import Paths, WholeNumber

SHOWN_MAX = 60
"""What a result has room for."""


@dataclass(frozen=True, slots=True)
class Params:
    """`from: last_good` is the only source there is; it stands in the playbook so that a reader sees what is put back.

    `generation` is one of those that `aios keep list` shows; 0 is the newest that has the file.
    """

    files: Annotated[Paths, "Files and folders that are put back."]
    from_: Annotated[Literal["last_good"], "Which copies: last_good, those that were proven well."] = "last_good"
    generation: Annotated[WholeNumber, "One of those that aios keep list shows; 0 is the newest that has the file."] = 0


def act(params: Params, ctx: ActContext) -> SkillResult:
    proof = ctx.safe.restore_last_good(params.files, params.generation)
    return SkillResult(True, {"restored": len(proof), "proof": proof[:SHOWN_MAX]})


SKILL = Skill(
    name="restore_files",
    kind="act",
    doc="Put the last-good copies of files or folders back, as they were while their subject was proven well.",
    params=Params,
    act=act,
    touches=lambda params: Touches(files=params.files),
    touch_params=("files",),
    rerun="idempotent",
    limits=Limits(memory=0, nice=0, file_size=0, write_bandwidth=0),
    timeout_s=60.0,
    dry=lambda params: f"would put the last-good copies of {', '.join(params.files)[:500]} back",
    result_fields={"restored": "int", "proof": "list"},
)
