"""Durations as people write them: `500ms`, `10s`, `5m`, `1h30m`, `2d`.

Used wherever outsiders write a length of time: settings and playbooks. Pure. A bare number is refused, because nobody can
tell whether it means seconds or minutes.
"""

from __future__ import annotations

import itertools
import re

UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_S = 3650 * UNIT_S["d"]
"""Ten years: what is longer is a slip of the pen."""

TEXT_MAX = 32
_PART = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)"
_WHOLE = re.compile(rf"(?:{_PART})+", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)


def parse_duration(text: str) -> float:
    """`"1h30m"` to 5400.0 seconds. Units go from large to small, each once. Raises ValueError that says what to write."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no duration; write a number with its unit in quotes, such as 500ms, 10s, 5m, 1h or 2d")
    if len(text) > TEXT_MAX or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text[:TEXT_MAX]!r} is no duration; write a number with its unit, such as 500ms, 10s, 5m, 1h30m or 2d")
    parts = _PARTS.findall(text)
    sizes = [UNIT_S[unit] for _, unit in parts]
    if any(later >= earlier for earlier, later in itertools.pairwise(sizes)):
        raise ValueError(f"{text!r} names its units out of order; write the larger first and each once, such as 1h30m")
    seconds = sum(float(number) * UNIT_S[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise ValueError(f"{text!r} is longer than ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """The short form: 5400.0 to `1h30m`, 0.5 to `500ms`. What `parse_duration` reads again, to the millisecond."""
    left_ms = round(seconds * 1000)
    if left_ms < 0:
        return "-" + format_duration(-seconds)
    text = ""
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left_ms = divmod(left_ms, size_ms)
        if count:
            text += f"{count}{unit}"
    return text or "0s"
