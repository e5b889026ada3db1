"""Runs a program inside an act, its output bounded. Used by `run_command` and `run_job` in hands."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aios.skills.environment import identity

OUTPUT_BYTES = 64 * 1024
TOLD_BYTES = 1 << 20
"""So much of what it prints is said on as it comes: the attempt's `output` has it, also when the act is cut off. No step's limit
of `output` reaches further; who prints more is not held up by it."""


class Ran(NamedTuple):
    """`exit_code` is negative for the signal that ended it."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str], cwd: str | None, env: Mapping[str, str], user: str = "", harden: Callable[[], None] | None = None
) -> Ran:
    """Until it has ended and closed its output. The act's timeout ends it, too.

    `env` is its whole environment; `harden` is called in its process, as that user, before its exec. Raises OSError when it
    cannot begin, `Permanent` when there is no such user.
    """
    with subprocess.Popen(
        argv,
        cwd=cwd or "/",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=harden,  # the act's process has one thread, so nothing can be held that a fork would leave locked
        **identity(user),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        _collect(kept, os.pidfd_open(process.pid), _Teller(sys.stdout.fileno()))
        out, err = (bytes(part[-OUTPUT_BYTES:]) for part in kept.values())
        return Ran(process.wait(), out, err)


@dataclass(slots=True)
class _Teller:
    """Says on, to the act's own output, what its program prints."""

    fd: int
    told: int = 0

    def tell(self, part: bytes) -> None:
        part = part[: TOLD_BYTES - self.told]
        self.told += len(part)
        while part:
            part = part[os.write(self.fd, part) :]


def _collect(kept: Mapping[int, bytearray], ended: int, teller: _Teller) -> None:
    """Until the program has ended: what it left running may hold the pipes open for ever."""
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        over = False
        while not over:
            ready = [key.fd for key, _ in selector.select()]
            over = ended in ready
            for fd in list(kept) if over else [fd for fd in ready if fd != ended]:
                if not _take(fd, kept[fd], teller, everything=over) and not over:
                    selector.unregister(fd)
    os.close(ended)


def _take(fd: int, kept: bytearray, teller: _Teller, everything: bool) -> bool:
    """One read, or all that lies there (at most one pipe full); False at its end."""
    for _ in range(16 if everything else 1):
        try:
            part = os.read(fd, 65536)
        except BlockingIOError:
            return True
        if not part:
            return False
        kept += part
        teller.tell(part)
        if len(kept) > 2 * OUTPUT_BYTES:
            del kept[:-OUTPUT_BYTES]
    return True
