"""What a step may use at most: values that travel from a playbook, a skill and the settings to hands. Pure.

`limits: {memory: 512M, processes: 64, cpu: 50%, nice: 10, output: 1M, file_size: 1G, write_bandwidth: 16M}`. Read by
`playbooks/read_limits.py` and `settings`, laid over one another and held in `hands/`. Its time is a step's `timeout`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NONE = "none"
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_SIZE = re.compile(r"(\d{1,12})([KMGT])", re.ASCII)
_SHARE = re.compile(r"(\d{1,5})%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """None: not said here, so what stands behind it is in force; 0: no limit.

    Sizes in bytes, `write_bandwidth` in bytes a second, `cpu` in percent of one processor, `nice` as in nice(1): how far it steps
    back where the processor is short.
    """

    memory: int | None = None
    processes: int | None = None
    cpu: int | None = None
    nice: int | None = None
    output: int | None = None
    file_size: int | None = None
    write_bandwidth: int | None = None

    def over(self, behind: Limits) -> Limits:
        """These, and where nothing is said, those behind."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return Limits(**{name: getattr(behind, name) if value is None else value for name, value in said.items()})

    def to_json(self) -> dict[str, int]:
        """What is said."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Limits:
        """Other names are let pass: a call may come from another version."""
        return cls(**{f.name: int(raw[f.name]) for f in fields(cls) if raw.get(f.name) is not None})


UNSAID = Limits()
PROMPT = Limits(nice=0, write_bandwidth=0)
"""Of AIOS's own short acts: on a machine that is busy they heal, so they step back for nobody."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How one limit is written: its form, its least and most, an example, and a sentence for the docs."""

    form: str
    least: int
    most: int
    example: str
    doc: str


BOUNDS: Mapping[str, Bound] = {
    "memory": Bound("size", 16 << 20, 1 << 50, "512M", "Memory of all its processes together."),
    "processes": Bound("count", 2, 1_000_000, "64", "Processes and threads at the same time."),
    "cpu": Bound("share", 1, 99_900, "50%", "Processor time, in percent of one processor: it is slowed down, not ended."),
    "nice": Bound("nice", 0, 19, "10", "How far it steps back for others where the processor is short; 0: not at all."),
    "output": Bound("size", 1 << 10, 1 << 30, "1M", "What is kept of what it prints; the rest is dropped."),
    "file_size": Bound("size", 1 << 10, 1 << 50, "1G", "The size of any one file that it writes."),
    "write_bandwidth": Bound(
        "size", 1 << 20, 1 << 40, "16M", "What it writes to disks in a second: it is slowed down, not ended."
    ),
}
_EXAMPLES = {
    "size": "write a whole number with its unit (K, M, G or T) such as {example}, or none",
    "count": "write a whole number such as 64, or none",
    "nice": "write a whole number from 0 (waits as anybody does) to 19 (lets all others go first), or none",
    "share": "write a percentage of one processor such as 50% or 200%, or none",
}


def parse_limit(name: str, value: object) -> int:
    """`512M` to bytes, `50%` to 50, `none` to 0. Raises ValueError: what is wrong, `; `, what to write."""
    bound = BOUNDS[name]
    if value == NONE:
        return 0
    cure = _EXAMPLES[bound.form].format(example=bound.example)
    number = _number(bound.form, value)
    if number is None:
        raise ValueError(f"{name} cannot be {str(value)[:40]!r}; {cure}")
    if not bound.least <= number <= bound.most:
        low, high = (format_limit(name, edge) for edge in (bound.least, bound.most))
        raise ValueError(f"{name} must be from {low} to {high}, and this is {str(value)[:40]}; {cure}")
    return number


def _number(form: str, value: object) -> int | None:
    if form in ("count", "nice"):
        if isinstance(value, str) and _COUNT.fullmatch(value):  # as a variable gives it
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    found = (_SIZE if form == "size" else _SHARE).fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    return int(found[1]) * (UNITS[found[2]] if form == "size" else 1)


def format_limit(name: str, value: int) -> str:
    """As it is written; what `parse_limit` reads again. Bytes that are no whole K are rounded down."""
    if not value and BOUNDS[name].form != "nice":
        return NONE
    match BOUNDS[name].form:
        case "count" | "nice":
            return str(value)
        case "share":
            return f"{value}%"
    unit = next((u for u in "TGMK" if value % UNITS[u] == 0), "K")
    return f"{value // UNITS[unit]}{unit}"
