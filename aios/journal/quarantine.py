"""Copies of what could not be read, for a person to look at. Bounded: the newest four files of 16 MiB.

`quarantine/inbox.7.jsonl`: one JSON line for each, with its place, the reason, and its bytes (as text, else as base64), of which
the first 64 KiB. The durable word is the `journal.quarantined` event; the copy is not synced, since a flood of garbage must not
hold up the daemon.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from codecs import getincrementaldecoder

from aios.disk import make_dirs, remove_if_there, write_all
from aios.events.codec import LINE_MAX, encode_json
from aios.ports import Files

_FILE_MAX = 16 << 20
_FILES_KEPT = 4
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


class Quarantine:
    """`kind` names its files: `inbox.7.jsonl`."""

    def __init__(self, files: Files, folder: str, kind: str) -> None:
        self._files = files
        self._folder = folder
        self._kind = kind
        self._name = re.compile(rf"{re.escape(kind)}\.([1-9]\d{{0,8}})\.jsonl", re.ASCII)
        self._fd = -1
        self._number = 0
        self._length = 0

    def keep(self, raw: bytes, *, file: str, offset: int, length: int, reason: str) -> str:
        """Put the bytes aside; the name of the copy, empty when the disk takes none (the event is told all the same)."""
        head = raw[:LINE_MAX]
        copy: dict[str, object] = {"file": file, "offset": offset, "length": length, "reason": reason}
        try:
            copy["text"] = getincrementaldecoder("utf-8")().decode(head, final=length <= LINE_MAX)  # cut, but between letters
        except UnicodeDecodeError:
            copy["base64"] = b64encode(head).decode()
        line = encode_json(copy) + b"\n"
        try:
            self._have_room(len(line))
            write_all(self._files, self._fd, line)
        except OSError:
            self.close()
            return ""
        self._length += len(line)
        return f"{self._kind}.{self._number}.jsonl"

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._files.close(fd)
            except OSError:
                pass  # nothing here was promised to be durable

    def _have_room(self, length: int) -> None:
        if self._fd >= 0 and self._length + length <= _FILE_MAX:
            return
        self.close()
        make_dirs(self._files, self._folder)
        numbers = sorted(int(found[1]) for name in self._files.listdir(self._folder) if (found := self._name.fullmatch(name)))
        self._number = numbers[-1] if numbers else 1
        self._open()
        if self._length + length > _FILE_MAX:
            self.close()
            self._number += 1
            self._open()
        for old in numbers[: max(0, len(numbers) - _FILES_KEPT + 1)]:
            if old != self._number:
                remove_if_there(self._files, f"{self._folder}/{self._kind}.{old}.jsonl")

    def _open(self) -> None:
        self._fd = self._files.open(f"{self._folder}/{self._kind}.{self._number}.jsonl", _APPEND, 0o600)
        self._length = self._files.fstat(self._fd).size
