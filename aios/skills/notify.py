"""act notify: tell a person. A line in `notifications.log` of the state folder, always; a webhook, where there is one.

Idempotent for who receives: each message carries a key that a second try repeats.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from aios.disk import write_all
from aios.errors import Temporary
from aios.events.calls import SkillResult
from aios.events.codec import encode_json
from aios.events.event import format_time
from aios.events.limits import PROMPT
from aios.skills.api import ActContext, Skill
from aios.skills.types import Message, Url

LOG = "notifications.log"
LOG_MAX = 1 << 20
WEBHOOK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Params:
    """Without `webhook` the one of the settings is used, if there is one."""

    message: Annotated[Message, "What a person is told."]
    level: Annotated[Literal["info", "warning", "error", "critical"], "How loudly."] = "warning"
    webhook: Annotated[Url | None, "Where it is sent; without it, to the webhook of the settings, if there is one."] = None


def act(params: Params, ctx: ActContext) -> SkillResult:
    note = {
        "time": format_time(ctx.clock.now()),
        "level": params.level,
        "message": params.message,
        "run": ctx.call.run,
        "key": f"{ctx.call.run}/{ctx.call.step}",
        "playbook": str(ctx.env.get("playbook", "")),
        "subject": str(ctx.env.get("subject", "")),
    }
    print(f"{params.level}: {params.message}", file=sys.stderr)
    _log(note, ctx)
    url = params.webhook or ctx.env.get("webhook") or ""
    if url:
        _post(str(url), note)
    return SkillResult(True, {"logged": True, "posted": bool(url)})


def _log(note: dict[str, Any], ctx: ActContext) -> None:
    path = f"{ctx.state_dir}/{LOG}"
    try:
        if ctx.files.stat(path).size > LOG_MAX:
            ctx.files.rename(path, f"{path}.1")
    except FileNotFoundError:
        pass
    fd = ctx.files.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        write_all(ctx.files, fd, encode_json(note) + b"\n")
        ctx.files.fdatasync(fd)
    finally:
        ctx.files.close(fd)


def _post(url: str, note: dict[str, Any]) -> None:
    """Raises Temporary when it was not taken."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # 4 MB: only in the process that posts

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=WEBHOOK_TIMEOUT_S)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "Idempotency-Key": note["key"], "User-Agent": "aios"}
        connection.request("POST", path, encode_json(note), headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Temporary(f"the webhook does not answer: {error}", delay_s=5.0) from error
    finally:
        connection.close()
    if status >= 300:
        raise Temporary(f"the webhook answered {status}", delay_s=5.0)


SKILL = Skill(
    name="notify",
    kind="act",
    doc="Tell a person: a line in the notifications' log, and the webhook of the settings.",
    params=Params,
    act=act,
    rerun="idempotent",
    limits=PROMPT,
    timeout_s=20.0,
    dry=lambda params: f"would notify ({params.level}): {params.message[:200]}",
    result_fields={"logged": "bool", "posted": "bool"},
)
