"""verify tcp_check: a port takes connections."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Annotated

from aios.events.calls import SkillResult
from aios.skills.api import LookContext, Skill, verdict
from aios.skills.types import Duration, Host, Port


@dataclass(frozen=True, slots=True)
class Params:
    port: Annotated[Port, "The port that must take a connection."]
    host: Annotated[Host, "The machine: a name or an address."] = "127.0.0.1"
    timeout: Annotated[Duration, "How long that may take."] = 5.0


async def look(params: Params, ctx: LookContext) -> SkillResult:
    place = f"{params.host} port {params.port}"
    began = ctx.clock.monotonic()
    try:
        async with asyncio.timeout(params.timeout):
            _, writer = await asyncio.open_connection(params.host, params.port)
    except TimeoutError:
        return verdict(False, f"{place} did not take a connection within {params.timeout:g} s")
    except socket.gaierror as error:
        return verdict(None, f"{params.host} cannot be resolved: {error.strerror}")
    except OSError as error:
        return verdict(False, f"{place} takes no connection: {error.strerror or error}")
    writer.transport.abort()
    return verdict(True, ms=round((ctx.clock.monotonic() - began) * 1000, 2))


SKILL = Skill(
    name="tcp_check",
    kind="verify",
    doc="Well when a TCP port takes a connection.",
    params=Params,
    look=look,
    timeout_s=10.0,
    result_fields={"verdict": "string", "ms": "double"},
)
