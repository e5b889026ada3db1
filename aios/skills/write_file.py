"""act write_file: put a whole text file in place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from aios.events.calls import SkillResult, Touches, failed
from aios.events.limits import PROMPT
from aios.skills.api import ActContext, Skill
from aios.skills.types import AbsolutePath, Checked, FileMode

CONTENT_MAX = 32 * 1024


def check_content(value: Any) -> str:
    if not isinstance(value, str) or len(value.encode(errors="replace")) > CONTENT_MAX:
        raise ValueError(f"it is no text of at most {CONTENT_MAX} bytes; larger files are not written by playbooks")
    return value


Content = Annotated[str, Checked(check_content, {"type": "string", "maxLength": CONTENT_MAX})]


@dataclass(frozen=True, slots=True)
class Params:
    """`mode` as octal text; without it an existing file keeps its own, and a new one gets 0644."""

    path: Annotated[AbsolutePath, "The file that is written."]
    content: Annotated[Content, "The whole text."]
    mode: Annotated[
        FileMode | None, "Its rights as octal text; else an existing file keeps its own, and a new one gets 0644."
    ] = None


def act(params: Params, ctx: ActContext) -> SkillResult:
    data = params.content.encode()
    try:
        ctx.safe.replace(params.path, data, mode=int(params.mode, 8) if params.mode is not None else None)
    except OSError as error:
        return failed(f"{params.path} cannot be written: {error.strerror or error}")
    return SkillResult(True, {"path": params.path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})


SKILL = Skill(
    name="write_file",
    kind="act",
    doc="Write a text file, whole and at once; owner and attributes of an existing file stay.",
    params=Params,
    act=act,
    touches=lambda params: Touches(files=(params.path,)),
    touch_params=("path",),
    rerun="idempotent",
    limits=PROMPT,
    dry=lambda params: f"would write {len(params.content.encode())} bytes to {params.path}",
    result_fields={"path": "string", "bytes": "int", "sha256": "string"},
)
