"""`Blobs` over `blobs/ab/abcd…`: what is there never changes, and its name is the SHA-256 of what it holds.

Daemon, hands and launchers write here at the same time: each under a temporary name of its own, made durable, then renamed; the
same bytes give the same file, so it does not matter who comes last. What zstd makes smaller stands as `NAME.zst`. Whoever reads
checks the hash. Which blobs may go is not decided here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from hashlib import sha256

from aios.blobs.bulk import BULK, PACKED, BulkFile, read_packed, read_raw
from aios.blobs.copying import copied
from aios.disk import make_dirs, read_all, remove_if_there, write_small
from aios.ports import BlobSink, Files

BLOB_MAX = 256 << 20
_WORTH_PACKING = 4 << 10  # below one block there is nothing to gain
_LEVEL = 3
BULK_MAX = 1 << 40
ASIDE = "aside"
"""Where the collection puts what nothing seems to need, until it is sure."""
_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ZSTD = ".zst"


class BlobFolder:
    """`pack=False` for processes that must stay small (launchers): they read packed blobs, and write none."""

    def __init__(self, files: Files, folder: str, *, pack: bool = True) -> None:
        self._files = files
        self._folder = folder
        self._pack = pack
        self._made: set[str] = set()

    def put(self, data: bytes) -> str:
        """See `Blobs.put`. A damaged copy of the same bytes is mended. Raises ValueError above `BLOB_MAX`, OSError."""
        if len(data) > BLOB_MAX:
            raise ValueError(f"{len(data)} bytes are too many for a blob; at most {BLOB_MAX}")
        name = sha256(data).hexdigest()
        folder = f"{self._folder}/{name[:2]}"
        self._have_folder(folder)
        if (path := self._whole(name)) is not None:
            self._files.touch(path)  # its last use, for the collection
            self._files.fsync_dir(folder)  # whoever wrote it may have died before its name was durable
            return name
        packed = _packed(data) if self._pack and len(data) >= _WORTH_PACKING else None
        if packed is None:
            write_small(self._files, f"{folder}/{name}", data)
        else:
            write_small(self._files, f"{folder}/{name}{_ZSTD}", packed)
            remove_if_there(self._files, f"{folder}/{name}")  # a damaged one would be read first
        return name

    def get(self, name: str) -> bytes:
        """See `Blobs.get`. Raises OSError when the disk fails."""
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        path = f"{self._folder}/{name[:2]}/{name}"
        try:
            data = read_all(self._files, path, BLOB_MAX)
        except FileNotFoundError:
            data = self._unpacked(path, name)
        if sha256(data).hexdigest() != name:
            raise ValueError(f"blob {name} is damaged: its bytes have another hash")
        return data

    def sink(self, *, pack: bool = False) -> BlobSink:
        """See `Blobs.sink`. Raises OSError."""
        self._have_folder(self._folder)
        return BulkFile(self._files, self._folder, self._place, pack=pack)

    def read(self, name: str, offset: int = 0, length: int = -1) -> Iterator[bytes]:
        """See `Blobs.read`. Raises OSError when the disk fails."""
        fd, packed = self._open_bulk(name)
        try:
            if packed:
                yield from _part(read_packed(self._files, fd, name, BULK_MAX), offset, length)
            else:
                yield from read_raw(self._files, fd, offset, length)
        finally:
            self._files.close(fd)

    def pour(self, name: str, target: int, *, holes: bool) -> str | None:
        """See `Blobs.pour`. Raises OSError when the disk fails."""
        fd, packed = self._open_bulk(name)
        try:
            done = None if packed else copied(self._files, fd, target, BULK_MAX, holes=holes)
        finally:
            self._files.close(fd)
        return done and done[0]

    def holds(self, name: str) -> bool:
        """See `Blobs.holds`."""
        try:
            self._bulk(name)
        except KeyError:
            return False
        return True

    def _open_bulk(self, name: str) -> tuple[int, bool]:
        if _NAME.fullmatch(name):
            try:
                return self._files.open(f"{self._folder}/{name[:2]}/{name}{BULK}", os.O_RDONLY), False
            except FileNotFoundError:
                pass
        path, packed = self._bulk(name)
        return self._files.open(path, os.O_RDONLY), packed

    def _place(self, name: str) -> str:
        folder = f"{self._folder}/{name[:2]}"
        self._have_folder(folder)
        return f"{folder}/{name}"

    def _bulk(self, name: str) -> tuple[str, bool]:
        """Where it stands, and whether packed. What a collection has set aside is taken back. Raises KeyError."""
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        for suffix in (BULK, PACKED):
            path = f"{self._folder}/{name[:2]}/{name}{suffix}"
            if _there(self._files, path) or _taken_back(self._files, f"{self._folder}/{ASIDE}/{name}{suffix}", path):
                return path, suffix == PACKED
        raise KeyError(name)

    def sweep(self, before: float) -> int:
        """Remove temporary files that a crash left and that were last changed before this time. How many. Raises OSError."""
        swept = 0
        for folder in (self._folder, *self._folders()):
            for entry in self._files.listdir(folder):
                path = f"{folder}/{entry}"
                if entry.endswith(".tmp") and self._files.lstat(path).mtime_ns < before * 1e9:
                    remove_if_there(self._files, path)
                    swept += 1
        return swept

    def _have_folder(self, folder: str) -> None:
        """Both names durable, once in the life of this process: whoever made them may have died before they were."""
        if folder not in self._made:
            make_dirs(self._files, self._folder)
            if folder != self._folder:
                make_dirs(self._files, folder)
            self._made.add(folder)

    def _folders(self) -> list[str]:
        try:
            entries = self._files.listdir(self._folder)
        except FileNotFoundError:
            return []
        paths = (f"{self._folder}/{entry}" for entry in sorted(entries) if len(entry) == 2)
        return [path for path in paths if stat.S_ISDIR(self._files.lstat(path).mode)]

    def _whole(self, name: str) -> str | None:
        """Where it stands. None: not there, or not what it should be; it is written (again), and that tells of a failing disk."""
        try:
            self.get(name)
        except (KeyError, ValueError, OSError):
            return None
        path = f"{self._folder}/{name[:2]}/{name}"
        return path if _there(self._files, path) else path + _ZSTD

    def _unpacked(self, path: str, name: str) -> bytes:
        try:
            packed = read_all(self._files, path + _ZSTD, BLOB_MAX)
        except FileNotFoundError:
            for suffix in ("", _ZSTD):
                if _taken_back(self._files, f"{self._folder}/{ASIDE}/{name}{suffix}", path + suffix):
                    return self.get(name)
            raise KeyError(name) from None
        import zstandard  # loads on first use: 1.5 MB that most processes never need

        try:
            reader = zstandard.ZstdDecompressor().stream_reader(packed)
            data = reader.read(BLOB_MAX + 1)
        except zstandard.ZstdError as error:
            raise ValueError(f"blob {name} is damaged: {error}") from None
        if len(data) > BLOB_MAX:
            raise ValueError(f"blob {name} is damaged: it unpacks to more than {BLOB_MAX} bytes")
        return data


def _packed(data: bytes) -> bytes | None:
    """None when that would save less than an eighth."""
    import zstandard  # loads on first use: 1.5 MB that most processes never need

    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    return packed if len(packed) < len(data) * 7 // 8 else None


def _there(files: Files, path: str) -> bool:
    try:
        files.lstat(path)
    except OSError:
        return False
    return True


def _taken_back(files: Files, aside: str, path: str) -> bool:
    """Whoever asks for it needs it: it stands under its name again before the collection can look a second time."""
    try:
        files.rename(aside, path)
    except OSError:
        return False
    return True


def _part(pieces: Iterator[bytes], offset: int, length: int) -> Iterator[bytes]:
    for piece in pieces:
        part = piece[offset:] if length < 0 else piece[offset : offset + length]
        offset = max(0, offset - len(piece))
        if part:
            yield part
            length -= len(part) if length > 0 else 0
        if length == 0:
            return
