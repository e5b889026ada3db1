"""The `Blobs` port in memory: for tests that need a place for bytes and no disk. Simulations use the real one on `SimDisk`."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from aios.ports import BlobSink


class SimBlobs:
    """Durable as long as it is referenced. `damage` is bit rot."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        name = sha256(data).hexdigest()
        self._kept.setdefault(name, bytes(data))
        return name

    def get(self, name: str) -> bytes:
        data = self._kept[name]
        if sha256(data).hexdigest() != name:
            raise ValueError(f"blob {name} is damaged")
        return data

    def sink(self, *, pack: bool = False) -> BlobSink:
        return _Sink(self)

    def read(self, name: str, offset: int = 0, length: int = -1) -> Iterator[bytes]:
        data = self._kept[name]
        yield data[offset:] if length < 0 else data[offset : offset + length]

    def pour(self, name: str, target: int, *, holes: bool) -> str | None:
        return None

    def holds(self, name: str) -> bool:
        return name in self._kept

    def damage(self, name: str) -> None:
        self._kept[name] += b"!"


class _Sink:
    """A bulk that is a byte array until it has a name."""

    def __init__(self, blobs: SimBlobs) -> None:
        self._blobs = blobs
        self._data = bytearray()

    @property
    def length(self) -> int:
        return len(self._data)

    def write(self, data: bytes | memoryview) -> None:
        self._data += data

    def skip(self, length: int) -> None:
        self._data += bytes(length)

    def take(self, source: int, length: int, *, holes: bool) -> bool:
        return False

    def commit(self) -> str:
        return self._blobs.put(bytes(self._data))

    def drop(self) -> None:
        self._data.clear()
