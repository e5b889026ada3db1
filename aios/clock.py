"""The only door to time.

Brains never come here: they get `now` as an argument. Whoever needs the time holds a `Clock` that was passed in, so that
the whole daemon also runs in virtual time. Wall-clock times are seconds since the epoch (UTC) as floats; durations and
deadlines use the monotonic clock, which no operator and no NTP can move.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`now` may leap either way; `monotonic` never goes back. Both are in seconds."""

    def now(self) -> float:
        """Wall-clock time, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; the same scale as the event loop's own time."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Sleep until `monotonic() >= deadline`."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, deadline: float) -> None:
        import asyncio  # loaded long before wherever this is awaited; hands, which never does, is 9 MB smaller without it

        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
