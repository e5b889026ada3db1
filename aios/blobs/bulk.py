"""Bulks: the bytes of files that snapshots and last-good copies hold, streamed, as `NAME.bulk` beside the other blobs.

A bulk is written once, piece by piece, and named by the SHA-256 of what it holds (holes count as zeros). Only manifests name
bulks, so that the collection (`collect.py`) can tell them from evidence by their suffix alone. Used by `BlobFolder`; what is
packed stands as `NAME.bulk.zst`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from aios.blobs.copying import copied
from aios.digest import Digest
from aios.disk import remove_if_there, temporary_beside, write_all
from aios.ports import Files

BULK, PACKED = ".bulk", ".bulk.zst"
TEMPORARY = "bulk"
LEVEL = 1
PIECE = 1 << 20
GATHERED = 64 << 10
"""Small writes go out together: a call of the disk for each costs as much as all else that is done for a small file. And each
piece sets out for the disk when it is whole, so that the last sync waits for little, and nobody else's waits for all of it."""


class BulkFile:
    """See `BlobSink`. `place(name, packed)` makes its folder and gives its path; it has no name until `commit`."""

    def __init__(self, files: Files, folder: str, place: Any, *, pack: bool) -> None:
        self._files = files
        self._place = place
        self._temporary, self._fd = _opened(files, folder)
        self._hash = Digest()
        self._written = 0
        self._on_disk = 0
        self._sent_on = 0
        self._packer: Any = _packer() if pack else None
        self._small: list[bytes] = []
        self._small_length = 0
        self._taken = ""
        """The hash of what was taken from a file as a whole."""

    @property
    def length(self) -> int:
        """Of what it holds, so far."""
        return self._written

    def write(self, data: bytes | memoryview) -> None:
        """Raises OSError."""
        self._written += len(data)
        if len(data) < GATHERED and isinstance(data, bytes):  # another piece may be of a buffer that is filled anew
            self._small.append(data)
            self._small_length += len(data)
            if self._small_length >= GATHERED:
                self._flush()
        else:
            self._flush()
            self._take_in(data)

    def _flush(self) -> None:
        if self._small:
            data, self._small, self._small_length = b"".join(self._small), [], 0
            self._take_in(data)

    def _take_in(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._put(self._packer.compress(data) if self._packer else data)

    def skip(self, length: int) -> None:
        """Zeros that take no room. Raises OSError."""
        self._flush()
        zeros = bytes(min(length, PIECE))
        for start in range(0, length, PIECE):
            part = zeros[: min(PIECE, length - start)]
            self._hash.update(part)
            if self._packer:
                self._put(self._packer.compress(part))
        self._written += length
        if not self._packer:
            self._on_disk += length
            self._files.ftruncate(self._fd, self._on_disk)

    def take(self, source: int, length: int, *, holes: bool) -> bool:
        """See `BlobSink.take`. Only as the first and the last thing."""
        if self._packer:
            return False
        fd = self._files.open(self._temporary, os.O_RDWR)  # of its own: the kernel copies into none that appends
        try:
            taken = copied(self._files, source, fd, length, holes=holes)
        finally:
            self._files.close(fd)
        if taken is None:
            return False
        self._taken, self._written = taken
        return True

    def commit(self) -> str:
        """Its name; durable when it returns. Raises OSError."""
        try:
            self._flush()
            if self._packer:
                self._put(self._packer.flush())
            self._files.fsync(self._fd)
            self._files.close(self._fd)
            self._fd = -1
            name = self._taken or self._hash.hexdigest()
            path = self._place(name) + (PACKED if self._packer else BULK)
            self._files.rename(self._temporary, path)
            self._files.fsync_dir(os.path.dirname(path))
        except OSError:
            self.drop()
            raise
        return name

    def drop(self) -> None:
        """It is not wanted after all."""
        self._hash.drop()
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1
        remove_if_there(self._files, self._temporary)

    def _put(self, data: Any) -> None:
        write_all(self._files, self._fd, data)
        self._on_disk += len(data)
        if self._on_disk - self._sent_on >= PIECE:
            self._files.send_on(self._fd, self._sent_on, self._on_disk - self._sent_on)
            self._sent_on = self._on_disk


def _opened(files: Files, folder: str) -> tuple[str, int]:
    """One that nobody has: a launcher with our pid may have been killed, in another life of the machine or container."""
    while True:
        path = temporary_beside(f"{folder}/{TEMPORARY}")
        try:
            return path, files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND)
        except FileExistsError:
            continue


def read_raw(files: Files, fd: int, offset: int, length: int) -> Iterator[bytes]:
    """`length` bytes from `offset`, or to the end when it is negative. Raises OSError."""
    left = length
    while left and (piece := files.pread(fd, PIECE if left < 0 else min(PIECE, left), offset)):
        offset += len(piece)
        left -= len(piece) if left > 0 else 0
        yield piece


def read_packed(files: Files, fd: int, name: str, limit: int) -> Iterator[bytes]:
    """All that it holds. Raises OSError; ValueError when it is damaged."""
    import zstandard  # loads on first use: 1.5 MB that most processes never need

    source: Any = _Reading(files, fd)
    reader = zstandard.ZstdDecompressor().stream_reader(source)
    whole = 0
    try:
        while piece := reader.read(PIECE):  # as much as we ask for, however much a little may unpack to
            whole += len(piece)
            if whole > limit:
                raise ValueError(f"blob {name} is damaged: it unpacks to more than {limit} bytes")
            yield piece
    except zstandard.ZstdError as error:
        raise ValueError(f"blob {name} is damaged: {error}") from None


class _Reading:
    """An open file of the port as something to read from."""

    def __init__(self, files: Files, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._at = 0

    def read(self, length: int) -> bytes:
        data = self._files.pread(self._fd, length, self._at)
        self._at += len(data)
        return data


def _packer() -> Any:
    import zstandard  # loads on first use: 1.5 MB that most processes never need

    return zstandard.ZstdCompressor(level=LEVEL).compressobj()
