"""The command line's end of the control socket: blocking, and without asyncio, so that a command starts fast."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from aios.control.protocol import ANSWER_BYTES_MAX, BadRequest, request_line, short_path
from aios.errors import AiosError, Refused
from aios.events.codec import BadLine, decode_json
from aios.ports import Answer

TIMEOUT_S = 10.0
_CHUNK = 1 << 16


class NoDaemon(AiosError):
    """Nobody listens at this socket."""

    def __init__(self, path: str) -> None:
        folder = os.path.dirname(path)
        super().__init__(f"no daemon runs on {folder}" + ("" if os.path.isdir(folder) else ": there is no such folder"))
        self.hint = "start one with `aios run` or `systemctl start aios`, or name its state folder with --data"


class NotAllowed(AiosError):
    """The daemon is there, and we may not speak to it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"you may not use {path}")
        self.hint = "ask as root, or have yourself added to the socket's group (`ls -l` shows it)"


class DaemonSilent(AiosError):
    """The daemon took the request and did not answer in time, or hung up before it did."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.hint = "`aios doctor` and the daemon's log tell more; a restart by systemd is harmless"


def ask(path: str, verb: str, args: Mapping[str, Any] | None = None, timeout: float = TIMEOUT_S) -> Answer:
    """One question, one answer. Raises NoDaemon, NotAllowed, DaemonSilent; a refusal is an answer that is not ok."""
    with _connect(path, timeout) as sock:
        lines = _Lines(sock, verb, timeout)
        lines.send(verb, args or {})
        raw = lines.next()
    if raw is None:
        raise DaemonSilent(f"the daemon hung up on {verb!r}")
    if raw.get("ok"):
        return Answer(True, raw.get("result") or {})
    return Answer(False, {}, str(raw.get("error")), str(raw.get("hint") or ""))


def follow(path: str, verb: str, args: Mapping[str, Any] | None = None, timeout: float = TIMEOUT_S) -> Iterator[dict[str, Any]]:
    """What the daemon pushes, until it ends the stream or the caller stops.

    When this returns, the daemon listens already: what is read from the journal after that leaves no gap. `timeout` is for
    the beginning only. Raises like `ask`, and `Refused`.
    """
    sock = _connect(path, timeout)
    try:
        lines = _Lines(sock, verb, timeout)
        lines.send(verb, args or {})
        _checked(lines.next(), verb)
        sock.settimeout(None)
    except BaseException:  # whatever it was: nobody else would close it, and it rises
        sock.close()
        raise
    return _items(sock, lines, verb)


def _items(sock: socket.socket, lines: _Lines, verb: str) -> Iterator[dict[str, Any]]:
    with sock:
        while not (raw := _checked(lines.next(), verb)).get("end"):
            yield raw["item"]


def _checked(raw: dict[str, Any] | None, verb: str) -> dict[str, Any]:
    if raw is None:
        raise DaemonSilent(f"the daemon hung up on {verb!r}")
    if raw.get("ok") is False:
        raise Refused(str(raw.get("error")), str(raw.get("hint") or ""))
    return raw


def lives(path: str) -> bool:
    """Whether somebody listens there."""
    try:
        _connect(path, 1.0).close()
    except (NoDaemon, DaemonSilent):
        return False
    except NotAllowed:
        return True
    return True


def _connect(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout)
    folder_fd = -1
    try:
        folder_fd = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.connect(short_path(folder_fd, path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        sock.close()
        raise NoDaemon(path) from None
    except PermissionError:
        sock.close()
        raise NotAllowed(path) from None
    except TimeoutError:
        sock.close()
        raise DaemonSilent(f"the daemon takes no connection at {path}") from None
    except OSError as error:
        sock.close()
        if error.errno == errno.EAGAIN:  # its queue of connections is full
            raise DaemonSilent(f"the daemon takes no connection at {path}") from None
        raise
    finally:
        if folder_fd >= 0:
            os.close(folder_fd)
    return sock


class _Lines:
    """Requests out, lines in; whatever goes wrong with the socket is told in the daemon's name."""

    def __init__(self, sock: socket.socket, verb: str, timeout: float) -> None:
        self._sock, self._verb, self._timeout = sock, verb, timeout
        self._rest = bytearray()

    def send(self, verb: str, args: Mapping[str, Any]) -> None:
        try:
            line = request_line(1, verb, args)
        except BadLine as error:
            raise BadRequest(str(error)) from None
        try:
            self._sock.sendall(line)
        except TimeoutError:
            raise DaemonSilent(f"the daemon does not read {self._verb!r} within {self._timeout:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have said why before it hung up

    def next(self) -> dict[str, Any] | None:
        """The next line; None when the daemon hung up."""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            if not (chunk := self._receive()):
                return None
            self._rest += chunk
            if len(self._rest) > ANSWER_BYTES_MAX + _CHUNK:
                raise DaemonSilent("the daemon's answer is longer than 32 MiB")
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        raw = decode_json(line)
        if not isinstance(raw, dict):
            raise DaemonSilent("the daemon's answer is no JSON object")
        return raw

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(_CHUNK)
        except TimeoutError:
            raise DaemonSilent(f"the daemon does not answer {self._verb!r} within {self._timeout:g} s") from None
        except ConnectionResetError:
            return b""
