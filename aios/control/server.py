"""The daemon's end of the control socket.

`daemon.assemble` makes one `ControlServer` with a handler (questions and commands) and streams (`follow`). The kernel says who
asks (SO_PEERCRED); the socket's mode and group decide who may ask at all. Whatever comes over it, the server lives: lines,
clients, idle time and slow readers are bounded, and a handler's bug is answered and logged: nobody ends the daemon by asking
oddly.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Any

from aios.control.protocol import (
    ANSWER_BYTES_MAX,
    REQUEST_BYTES_MAX,
    BadRequest,
    Request,
    end_line,
    error_line,
    item_line,
    parse_request,
    result_line,
    short_path,
    stream_line,
)
from aios.errors import Refused
from aios.log import get_logger
from aios.ports import ControlHandler, Peer

CLIENTS_MAX = 64
IDLE_S = 60.0
"""A client that asks nothing for so long is let go; a stream is not idle."""
SLOW_S = 30.0
"""A client that takes nothing for so long is let go."""
MODE = 0o660

StreamFactory = Callable[[Peer, Mapping[str, Any]], AsyncIterator[Mapping[str, Any]]]
"""`factory(peer, args)`: what it yields is pushed until the client goes. Refuses by raising `Refused`, also on the first item."""

_UCRED = struct.Struct("3i")


def _log_bug(verb: str, error: Exception) -> None:
    get_logger("control").exception(f"a request failed: {verb}", error)


class ControlServer:
    """`await start()`, `await close()`. `gid` is the group that may use the socket besides its owner; None: the process's."""

    def __init__(
        self,
        path: str,
        handler: ControlHandler,
        streams: Mapping[str, StreamFactory],
        *,
        gid: int | None = None,
        idle_s: float = IDLE_S,
        slow_s: float = SLOW_S,
        clients_max: int = CLIENTS_MAX,
        on_bug: Callable[[str, Exception], None] = _log_bug,
    ) -> None:
        self._path, self._handler, self._streams, self._gid = path, handler, streams, gid
        self._idle_s, self._slow_s, self._clients_max = idle_s, slow_s, clients_max
        self._on_bug = on_bug
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that a dead daemon left is replaced; the state folder's lock says that it is dead. Raises OSError."""
        sock = _bound(self._path, self._gid)
        self._server = await asyncio.start_unix_server(self._on_client, sock=sock, limit=REQUEST_BYTES_MAX)

    async def close(self) -> None:
        """Take no more requests; those under way are cut off."""
        if self._server is None:
            return
        self._server.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        self._server = None
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass

    @property
    def clients(self) -> int:
        return len(self._clients)

    def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > self._clients_max:
                await self._send(writer, error_line(0, "too many clients", "close one that follows, then try again"))
                return
            peer = _peer(writer)
            while (line := await self._line(reader, writer)) is not None:
                if not await self._answer(peer, line, reader, writer):
                    return
        except (OSError, TimeoutError, asyncio.IncompleteReadError):  # the client went, or takes nothing
            pass
        finally:
            writer.close()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """The next line; None at the end of this client."""
        try:
            async with asyncio.timeout(self._idle_s):
                return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            await self._send(writer, error_line(0, "the request is longer than 1 MiB", "send less at once"))
        except TimeoutError:
            await self._send(writer, error_line(0, f"no request for {self._idle_s:g} s", "connect again"))
        return None

    async def _answer(self, peer: Peer, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one line; False when the connection ends with it."""
        try:
            request = parse_request(line)
        except BadRequest as error:
            await self._send(writer, error_line(error.request_id, str(error), 'write {"id": 1, "verb": "status", "args": {}}'))
            return True
        if request.verb in self._streams:
            await self._stream(peer, request, reader, writer)
            return False
        await self._send(writer, await self._handled(peer, request))
        return True

    async def _handled(self, peer: Peer, request: Request) -> bytes:
        """The answer's line. A bug in the handler is answered, and told to `on_bug`."""
        try:
            answer = await self._handler(peer, request.verb, request.args)
            line = result_line(request.id, answer.result) if answer.ok else error_line(request.id, answer.error, answer.hint)
        except Refused as error:
            return error_line(request.id, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - one client's odd request must not end the daemon; on_bug hears of it
            return self._bug(request, error)
        if len(line) > ANSWER_BYTES_MAX:
            return error_line(request.id, "the answer is longer than 32 MiB", "ask for less, with --limit say")
        return line

    async def _stream(self, peer: Peer, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Push items until the source ends or the client goes; what a client sends meanwhile is not read."""
        pump = asyncio.create_task(self._pump(peer, request, writer))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, gone):
                task.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)

    async def _pump(self, peer: Peer, request: Request, writer: asyncio.StreamWriter) -> None:
        last = b""
        items: AsyncIterator[Mapping[str, Any]] | None = None
        first: asyncio.Future[Mapping[str, Any] | None] | None = None
        try:
            items = aiter(self._streams[request.verb](peer, request.args))
            first = asyncio.ensure_future(anext(items, None))
            await asyncio.sleep(0)  # the source listens from here on: what the client does next, it will not miss
            if first.done():
                first.result()  # one that refuses at once says so before it is called a stream
            await self._send(writer, stream_line(request.id))
            item = await first
            while item is not None:
                await self._send(writer, item_line(request.id, item))
                item = await anext(items, None)
            last = end_line(request.id)
        except Refused as error:
            last = error_line(request.id, error.message, error.hint)
        except (OSError, TimeoutError):
            return
        except Exception as error:  # noqa: BLE001 - as in _handled
            last = self._bug(request, error)
        finally:
            if first is not None and not first.done():
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
            if isinstance(items, AsyncGenerator):  # it lets go of what it holds now, not when it is collected
                await items.aclose()
        await self._send(writer, last)

    def _bug(self, request: Request, error: Exception) -> bytes:
        self._on_bug(request.verb, error)
        hint = "this is a bug in AIOS; the daemon's log says where"
        return error_line(request.id, f"the daemon failed on this request: {type(error).__name__}: {error}", hint)

    async def _send(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        writer.write(line)
        try:
            async with asyncio.timeout(self._slow_s):
                await writer.drain()
        except TimeoutError:
            writer.transport.abort()
            raise


def _bound(path: str, gid: int | None) -> socket.socket:
    """A listening socket at the path, with its mode and group before anybody can find it there: bound aside, then renamed."""
    folder_fd = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    aside = f"{path}.{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        _remove(aside)
        sock.bind(short_path(folder_fd, aside))
        if gid is not None:
            os.chown(aside, -1, gid)
            _let_through(os.path.dirname(path), gid)
        os.chmod(aside, MODE)
        sock.listen(CLIENTS_MAX)
        os.rename(aside, path)
    except OSError:
        sock.close()
        _remove(aside)
        raise
    finally:
        os.close(folder_fd)
    return sock


def _let_through(folder: str, gid: int) -> None:
    """Whoever may use the socket must get to it: systemd gives the state folder to the daemon's own group at each start.

    A folder that somebody gave to another group, or lets everybody through, is left as it is.
    """
    seen = os.stat(folder)
    if seen.st_gid == os.getegid() != gid and not seen.st_mode & stat.S_IXOTH:
        os.chown(folder, -1, gid)
        os.chmod(folder, stat.S_IMODE(seen.st_mode) & ~stat.S_IRWXG | stat.S_IXGRP)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _peer(writer: asyncio.StreamWriter) -> Peer:
    """Who is at the other end, as the kernel says."""
    sock = writer.get_extra_info("socket")
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, _user_name(uid))


@lru_cache(maxsize=256)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
