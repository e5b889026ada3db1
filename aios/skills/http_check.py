"""verify http_check: an address answers as it should.

Plain HTTP/1.0 over asyncio's streams: one request, no redirects, no chunked answers, a bounded read. An answer that does not
come in time is not well; a name that nobody can resolve is no data.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from aios.events.calls import SkillResult
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.types import Checked, Duration, Message, Url, number_within

BODY_MAX = 256 * 1024
TIMEOUT_S = 5.0


def check_status(value: Any) -> int:
    return number_within(value, 100, 599, "HTTP status", ", such as 200")


Status = Annotated[int, Checked(check_status, {"type": "integer", "minimum": 100, "maximum": 599})]


@dataclass(frozen=True, slots=True)
class Params:
    """`contains` must stand in the first 256 KiB of the answer."""

    url: Annotated[Url, "The address that is asked."]
    status: Annotated[Status, "The HTTP status that it has to answer."] = 200
    contains: Annotated[Message | None, "Text that must stand in the first 256 KiB of the answer."] = None
    timeout: Annotated[Duration, "How long the answer may take."] = TIMEOUT_S


async def look(params: Params, ctx: LookContext) -> SkillResult:
    began = ctx.clock.monotonic()
    try:
        async with asyncio.timeout(params.timeout):
            status, body = await fetch(params.url, wants_body=params.contains is not None)
    except TimeoutError:
        return verdict(False, f"{params.url} did not answer within {params.timeout:g} s", url=params.url)
    except socket.gaierror as error:
        return verdict(None, f"{params.url} cannot be resolved: {error.strerror}", url=params.url)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return verdict(False, f"{params.url} does not answer: {error}"[:500], url=params.url)
    result: dict[str, Any] = {"url": params.url, "status": status, "ms": round((ctx.clock.monotonic() - began) * 1000, 2)}
    if status != params.status:
        return verdict(False, f"{params.url} answered {status}, not {params.status}", **result)
    if params.contains is not None and params.contains.encode() not in body:
        return verdict(False, f"{params.url} answered without the expected text", **result)
    return verdict(True, **result)


async def fetch(url: str, *, wants_body: bool) -> tuple[int, bytes]:
    """Status and, if wanted, the beginning of the answer. Raises OSError, ValueError, IncompleteReadError."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=True if secure else None, limit=BODY_MAX
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\nUser-Agent: aios\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        status = _status_of(await reader.readuntil(b"\n"))
        return status, await _read_bounded(reader) if wants_body else b""
    except asyncio.LimitOverrunError as error:
        raise ValueError("its answer is no HTTP") from error
    finally:
        writer.transport.abort()  # nothing more is wanted of it, and a hung peer must not hold us


def _status_of(line: bytes) -> int:
    words = line[:100].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("its answer is no HTTP")
    return int(words[1])


async def _read_bounded(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while len(body) < BODY_MAX and (part := await reader.read(65536)):
        body += part
    return bytes(body)


SKILL = Skill(
    name="http_check",
    kind="verify",
    doc="Well when an HTTP address answers with the expected status (and text).",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "status": "int", "ms": "double", "url": "string"},
)
