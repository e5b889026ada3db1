"""The `Blobs` port in memory: for tests that need a place for bytes and no disk. Simulations use the real one on `SimDisk`."""

from __future__ import annotations

from hashlib import sha256


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

    def damage(self, name: str) -> None:
        self._kept[name] += b"!"
