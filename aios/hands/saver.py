"""Stores the bytes of a tree that is scanned: one bulk (the pack) for all small files of a snapshot, one for each large file.

So a thousand small files cost one sync, and a gigabyte streams through constant memory. What zstd makes smaller is packed; what
it does not, is not. Used by `snapshot.take`; `read_content` is the way back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from aios.digest import Digest
from aios.hands import tree
from aios.hands.entry import Entry
from aios.hands.scan import PIECE, Content, Extents, extents_of, pieces, read_whole
from aios.ports import Blobs, BlobSink

LARGE = PIECE
WORTH_PACKING = 4 << 10
"""Below one block there is nothing to gain."""
_SAMPLE = 64 << 10
_ENOUGH = 7 / 8
_LEVEL = 1
_ALONE = (0, -1, 0)
"""What `Entry.at` says after the bulk, where the file has one of its own."""


class Saver:
    """A `Keep` for one snapshot. All of it is durable after `finish`, and only then do contents say in which pack they lie."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pack: BlobSink | None = None
        self._zstd: Any = None
        self._in_pack: dict[str, list[object]] = {}

    def content(self, fd: int, seen: os.stat_result) -> Content:
        if seen.st_size <= LARGE:
            data = read_whole(fd, seen.st_size, LARGE + 1)
            if len(data) <= LARGE:
                return self._small(data, fd, seen)
        return self._large(fd, seen)

    def finish(self) -> None:
        """Raises OSError."""
        if self._pack is not None:
            name = self._pack.commit()
            self._pack = None
            for at in self._in_pack.values():
                at[0] = name

    def drop(self) -> None:
        if self._pack is not None:
            self._pack.drop()
            self._pack = None

    def _small(self, data: bytes, fd: int, seen: os.stat_result) -> Content:
        blob = sha256(data).hexdigest()
        at = self._in_pack.get(blob)
        if at is None:
            if self._pack is None:
                self._pack = self._blobs.sink()
            packed = self._packed(data)
            at = self._in_pack[blob] = ["", self._pack.length, len(packed or data), int(packed is not None)]
            self._pack.write(packed or data)
        return Content(blob, at, len(data), extents_of(fd, seen) if len(data) == seen.st_size else None)

    def _packed(self, data: bytes) -> bytes | None:
        """None when that would save less than an eighth."""
        if len(data) < WORTH_PACKING:
            return None
        if self._zstd is None:
            import zstandard  # loads on first use: most snapshots are of a few small files, and never need it

            self._zstd = zstandard.ZstdCompressor(level=_LEVEL)
        packed: bytes = self._zstd.compress(data)
        return packed if len(packed) < len(data) * _ENOUGH else None

    def _large(self, fd: int, seen: os.stat_result) -> Content:
        extents = extents_of(fd, seen)
        places = _sampled(extents or [(0, seen.st_size)])
        worth = [self._packed(os.pread(fd, _SAMPLE, place)) is not None for place in places]
        sink = self._blobs.sink(pack=sum(worth) > len(places) // 2)
        try:
            if not sink.take(fd, seen.st_size, holes=extents is not None):
                for piece in pieces(fd, seen.st_size, extents):
                    if isinstance(piece, int):
                        sink.skip(piece)
                    else:
                        sink.write(piece)
            size = sink.length
            name = sink.commit()
        except BaseException:  # whatever it was: no half-written blob stays, and it rises
            sink.drop()
            raise
        return Content(name, (name, *_ALONE), size, extents)


def _sampled(parts: Extents) -> tuple[int, ...]:
    """Where to look: a head that packs well (of a disk image, of an archive) says nothing of what follows it."""
    (first, _), (middle, length), (last, tail) = parts[0], parts[len(parts) // 2], parts[-1]
    return (first, middle + length // 2, last + max(0, tail - _SAMPLE))


def write_content(fd: int, entry: Entry, blobs: Blobs) -> None:
    """A file's bytes as they were saved, into an empty file, holes and all; the hash is that of what was written.

    Raises OSError; KeyError or ValueError when they are gone or damaged.
    """
    alone = tuple(entry.at[1:]) == _ALONE
    found = blobs.pour(str(entry.at[0]), fd, holes=entry.data is not None) if alone else None
    if found is None:
        tree.write_pieces(fd, read_content(entry, blobs), entry.data)
    elif found != entry.blob:
        raise _damaged(entry)


def read_content(entry: Entry, blobs: Blobs) -> Iterator[bytes]:
    """A file's bytes as they were saved, hash checked: the last piece comes only if it is right.

    Raises OSError; KeyError or ValueError when they are gone or damaged.
    """
    digest, held = Digest(), b""
    try:
        for piece in _stored(entry, blobs):
            digest.update(piece)
            if held:
                yield held
            held = piece
    finally:
        digest.drop()
    if digest.hexdigest() != entry.blob:
        raise _damaged(entry)
    if held:
        yield held


def _damaged(entry: Entry) -> ValueError:
    return ValueError(f"blob {entry.blob} is damaged: its bytes have another hash")


def _stored(entry: Entry, blobs: Blobs) -> Iterator[bytes]:
    if not entry.at:
        yield blobs.get(entry.blob)
        return
    bulk, offset, stored, packed = entry.at
    if not packed:
        yield from blobs.read(bulk, offset, stored)
        return
    import zstandard  # loads on first use: what is small was not packed

    data = b"".join(blobs.read(bulk, offset, stored))
    try:
        yield zstandard.ZstdDecompressor().decompress(data, max_output_size=entry.size)
    except zstandard.ZstdError as error:
        raise ValueError(f"blob {bulk} is damaged: {error}") from None
