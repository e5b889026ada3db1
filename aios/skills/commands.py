"""Runs a command that only looks, in the daemon: bounded in time and output, its whole process group ended with it.

Used by `run_command` and `read_logs`. Commands that act are run by hands.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aios.skills import environment

OUTPUT_BYTES = 256 * 1024


class Ran(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


async def run(argv: Sequence[str], call_env: Mapping[str, Any], cwd: str | None = None, user: str = "") -> Ran:
    """Until it ends; when the caller stops waiting (its timeout), the group is killed.

    Raises OSError when it cannot begin, `Permanent` when there is no such user.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd or "/",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=environment.clean(call_env, {}, user),
        **environment.identity(user),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        out, err = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
        return Ran(await process.wait(), out, err)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # also what it left behind and what holds its output open
        except ProcessLookupError:
            pass
        await process.wait()


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    """The last bytes of it; what is over the bound is read and dropped, so that the command is not held up."""
    kept = bytearray()
    while part := await stream.read(65536):
        kept += part
        if len(kept) > 2 * OUTPUT_BYTES:
            del kept[:-OUTPUT_BYTES]
    return bytes(kept[-OUTPUT_BYTES:])
