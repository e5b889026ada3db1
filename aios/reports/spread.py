"""How a quantity is spread, in constant memory: exact up to a thousand values, then a histogram that is right to 2 %. Pure."""

from __future__ import annotations

from math import ceil, exp, log

from aios.reports.model import Times

_EXACT_MAX = 1000
_BAR = log(1.02)
_LEAST = 1e-3


class Spread:
    """Values of at least 0; the quantiles are nearest-rank."""

    __slots__ = ("_bars", "_exact", "count", "longest")

    def __init__(self) -> None:
        self._exact: list[float] = []
        self._bars: dict[int, int] = {}  # at most about 2,500, from a microsecond to a thousand years
        self.count = 0
        self.longest = 0.0

    def add(self, value_ms: float) -> None:
        value_ms = min(max(0.0, value_ms), 1e14)
        self.count += 1
        self.longest = max(self.longest, value_ms)
        if self.count <= _EXACT_MAX:
            self._exact.append(value_ms)
            return
        for one in (*self._exact, value_ms):
            bar = round(log(max(one, _LEAST)) / _BAR)
            self._bars[bar] = self._bars.get(bar, 0) + 1
        self._exact = []

    def quantile(self, share: float) -> float | None:
        if not self.count:
            return None
        rank = max(1, ceil(share * self.count))
        if self._exact:
            return sorted(self._exact)[rank - 1]
        for bar in sorted(self._bars):
            rank -= self._bars[bar]
            if rank <= 0:
                break
        return min(self.longest, exp(bar * _BAR))

    def times(self) -> Times:
        return Times(self.count, self.quantile(0.5), self.quantile(0.95), self.longest if self.count else None)
