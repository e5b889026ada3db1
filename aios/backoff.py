"""How long to wait before trying again.

Exponential with "equal jitter": half of the delay is fixed, half is drawn, so that many waiters neither return together nor
return at once (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations


def delay_s(attempt: int, *, base_s: float, factor: float, ceiling_s: float, chance: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1); `chance` is a draw from [0, 1)."""
    if attempt < 1:
        raise ValueError("attempt counts from 1")
    try:
        full = min(ceiling_s, base_s * factor ** (attempt - 1))
    except OverflowError:  # factor ** 10_000: the ceiling is the answer
        full = ceiling_s
    return full / 2 + full / 2 * chance
