"""SHA-256 beside the work: large pieces are hashed by a thread of their own, while the caller reads and writes the next ones.

Hashing costs more than copying; on two processors it then costs no time of its own. Small files are hashed where they stand.
Used by `blobs/bulk.py` and `hands/scan.py`; where the kernel copies, it is `blobs/copying.py` that hashes.
"""

from __future__ import annotations

from hashlib import sha256
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread

PIECES_AHEAD = 6
_WORTH_A_THREAD = 512 << 10

Piece = bytes | memoryview


class Digest:
    """`update` in order, then `hexdigest` once, or `drop` when it is not wanted. A piece must stay as it is until `PIECES_AHEAD`
    further ones were given."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._room = BoundedSemaphore(PIECES_AHEAD - 1)
        self._thread: Thread | None = None

    def update(self, piece: Piece) -> None:
        if self._thread is None and len(piece) < _WORTH_A_THREAD:
            self._hash.update(piece)
            return
        if self._thread is None:
            self._thread = Thread(target=self._work, name="digest", daemon=True)
            self._thread.start()
        self._room.acquire()
        self._queue.put(piece)

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._hash.update(piece)
            self._room.release()

    def hexdigest(self) -> str:
        self.drop()
        return self._hash.hexdigest()

    def drop(self) -> None:
        """Ends the thread: nothing may fork while it runs."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
