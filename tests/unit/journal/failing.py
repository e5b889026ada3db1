"""A disk that fails or dies at its K-th call: wraps any `Files`. For tests that try every K, as SQLite's do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from aios.ports import Files

CHANGING = frozenset(
    {"write", "fsync", "fdatasync", "ftruncate", "mkdir", "rename", "link", "unlink", "rmdir", "fsync_dir", "open", "close"}
)
LOOKING = frozenset({"pread", "fstat", "stat", "lstat", "listdir", "drop_cache", "room"})


class Crash(BaseException):
    """The process is dead; nothing after this call happens."""


class FailingFiles:
    """Counts calls. At call number `at` (from 1) and, for errors, the `times - 1` after it: `error`, or death where it is 0.

    `half` lets a dying or failing write put down the first half of its bytes.
    """

    def __init__(
        self, files: Files, at: int, *, error: int = 0, times: int = 1, half: bool = False, looking: bool = False
    ) -> None:
        self._files = files
        self._at = at
        self._error = error
        self._times = times
        self._half = half
        self._counted = CHANGING | LOOKING if looking else CHANGING
        self.calls = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        return self._wrapped(name, call) if name in CHANGING | LOOKING else call

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            if self.dead:
                raise Crash
            self.calls += name in self._counted
            if name in self._counted and self._at <= self.calls < self._at + self._times:
                if self._half and name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                if not self._error:
                    self.dead = True
                    raise Crash
                if name == "close":
                    call(*args)  # on Linux the descriptor is gone whatever close says
                raise OSError(self._error, os.strerror(self._error))
            return call(*args)

        return counted


class ShortWrites:
    """Takes at most `most` bytes with each write."""

    def __init__(self, files: Files, most: int) -> None:
        self._files = files
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def write(self, fd: int, data: bytes) -> int:
        return self._files.write(fd, data[: self._most])
