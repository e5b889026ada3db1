"""What is due when: a heap of keys, each with one time, that can be moved and cancelled. Pure.

Runs that wait for a retry and held symptoms stand here. The scale is the caller's: monotonic for what lives in this process; what
must survive a restart has its wall-clock time in the world, which fills this again.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_SLACK = 64
"""Cancelled entries stay in the heap until they are half of it; below this many nobody cares."""


class Delays:
    """Keys in the order in which they become due; equal times in the order in which they were set."""

    __slots__ = ("_due", "_heap", "_seq")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, tuple[float, int]] = {}
        self._seq = 0

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def set(self, key: str, due: float) -> None:
        """This key is due then; a time that it had before is forgotten."""
        self._seq += 1
        self._due[key] = (due, self._seq)
        heappush(self._heap, (due, self._seq, key))
        self._sweep()

    def cancel(self, key: str) -> bool:
        """False: it was not waiting."""
        return self._due.pop(key, None) is not None

    def when(self, key: str) -> float | None:
        entry = self._due.get(key)
        return entry[0] if entry else None

    def due(self, now: float) -> list[str]:
        """Take out all whose time has come, in order."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            _, seq, key = heappop(self._heap)
            if self._is_live(key, seq):
                del self._due[key]
                found.append(key)
        return found

    def next_due(self) -> float | None:
        """When the next becomes due; None: nothing waits."""
        while self._heap and not self._is_live(self._heap[0][2], self._heap[0][1]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_live(self, key: str, seq: int) -> bool:
        entry = self._due.get(key)
        return entry is not None and entry[1] == seq

    def _sweep(self) -> None:
        if len(self._heap) > _SLACK + 2 * len(self._due):
            self._heap = [(due, seq, key) for key, (due, seq) in self._due.items()]
            heapify(self._heap)
