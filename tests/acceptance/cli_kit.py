"""What tests of the command line share: a terminal of strings, a journal on disk, and a daemon that answers from a script.

The daemon's socket, protocol and client are the real ones; only what stands behind the socket is a script.
"""

from __future__ import annotations

import asyncio
import io
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aios.cli.main import main
from aios.cli.terminal import Terminal
from aios.control.server import ControlServer
from aios.errors import Refused
from aios.events.codec import encode
from aios.events.event import Event, format_time
from aios.ports import Answer, Peer

NOON = 1_771_934_400.0
"""2026-02-24T12:00:00Z"""


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.seconds = now

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep_until(self, deadline: float) -> None:
        raise AssertionError("a command does not sleep")


class Screen(io.StringIO):
    """A terminal, as far as `isatty` says."""

    def isatty(self) -> bool:
        return True


class Done(NamedTuple):
    code: int
    out: str
    err: str


def aios(
    *words: str,
    data: Path | str | None = None,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    screen: bool = False,
) -> Done:
    """Run a command in this process, as `main` would."""
    out = Screen() if screen else io.StringIO()
    err = io.StringIO()
    input_ = io.TextIOWrapper(io.BytesIO(stdin))
    where = {"AIOS_DATA": str(data)} if data is not None else {}
    code = main(list(words), Terminal(out, err, input_, {**where, **(environ or {})}, Clock()))
    return Done(code, out.getvalue(), err.getvalue())


# --- a journal --------------------------------------------------------------------------------------------------------


def event(type_: str, subject: str = "host", at: float = NOON - 60, id_: str = "", **data: Any) -> Event:
    severity = str(data.pop("severity", "info"))
    return Event(id_ or f"{type_}-{at:.0f}", "test", type_, subject, format_time(at), data, format_time(at), severity)


def write_journal(state: Path, *events: Event, day: str = "2026-02-24", part: int = 1, raw: bytes = b"") -> None:
    """Append these to a part of the journal."""
    (state / "events").mkdir(parents=True, exist_ok=True)
    with open(state / "events" / f"{day}.{part}.jsonl", "ab") as file:
        file.write(b"".join(encode(one) for one in events) + raw)


# --- a daemon ---------------------------------------------------------------------------------------------------------

Script = Mapping[str, Any]
"""Verb -> its result, a `Refused` to raise, or a function of the arguments that gives one."""


class Daemon:
    """A real control server on a thread of its own."""

    def __init__(
        self, state: Path, script: Script, stream: Callable[[Mapping[str, Any]], AsyncIterator[Any]] | None = None
    ) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._script, self._stream, self._state = script, stream, state
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _handle(self, _peer: Peer, verb: str, args: Mapping[str, Any]) -> Answer:
        self.asked.append((verb, dict(args)))
        if verb not in self._script:
            return Answer(False, error=f"the daemon knows no verb {verb!r}", hint="its version may differ from the command's")
        result = self._script[verb]
        result = result(args) if callable(result) else result
        if isinstance(result, Refused):
            raise result
        return Answer(True, result)

    async def _follow(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        self.asked.append(("events_follow", dict(args)))
        if self._stream is not None:
            async for item in self._stream(args):
                yield item

    def _run(self) -> None:
        async def life() -> None:
            self._stop = asyncio.Event()
            server = ControlServer(str(self._state / "control.sock"), self._handle, {"events_follow": self._follow})
            await server.start()
            self._ready.set()
            await self._stop.wait()
            await server.close()

        self._loop.run_until_complete(life())
        self._loop.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)


@contextmanager
def daemon(state: Path, script: Script, stream: Any = None) -> Iterator[Daemon]:
    living = Daemon(state, script, stream)
    try:
        yield living
    finally:
        living.close()


def may_be_interrupted() -> None:
    """For a child that is to be ended by Ctrl-C: what a shell starts in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
