"""The small files below `services/` that tell how a managed service stands; both sides of `managed` read them.

`NAME.json` and `NAME.exit` are written by the keeper (its docstring has the format), `NAME.want` by the acting side:

    {"want": "up", "stopping": {"pid": 1, "start": 2, "boot_id": "…"}, "by": {"pid": 3, "start": 4, "boot_id": "…"}}

`want` is what a person or a run last asked for, `up` or `stopped`. `by` is the process that carries it out just now; while it
lives, the end of the process named in `stopping` is its doing and no fall.

A file that cannot be read says nothing, and then the process itself is the truth.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aios.disk import OsFiles, read_all, write_small
from aios.events.codec import decode_hostile, encode_json
from aios.ports import Files, ProcessId

Want = Literal["up", "stopped"]

RECORD_BYTES_MAX = 256 * 1024
"""`argv` stands in NAME.json; more than the kernel takes as arguments from our settings it cannot be."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a service: which process, and who keeps it."""

    who: ProcessId
    started_at: float = 0.0
    keeper: int = 0
    log: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a life ended, as its keeper saw it."""

    pid: int
    start: int
    status: int
    signal: int
    at: float

    def belongs_to(self, who: ProcessId) -> bool:
        return (self.pid, self.start) == (who.pid, who.start)

    def __str__(self) -> str:
        return f"signal {self.signal} ({_signal_name(self.signal)})" if self.signal else f"exit {self.status}"


@dataclass(frozen=True, slots=True)
class Intent:
    """What is wanted of a service; None for `want`: nobody ever said."""

    want: Want | None = None
    stopping: ProcessId | None = None
    by: ProcessId | None = None

    def to_json(self) -> dict[str, Any]:
        return {"want": self.want, "stopping": _process_to_json(self.stopping), "by": _process_to_json(self.by)}


class Records:
    """The files of all managed services in one folder."""

    def __init__(self, folder: str, files: Files | None = None) -> None:
        self.folder = folder
        self._files: Files = files if files is not None else OsFiles()

    def life(self, stem: str) -> Life | None:
        raw = self._read(stem, "json")
        who = _process(raw)
        if who is None:
            return None
        log, keeper = raw.get("log"), raw.get("keeper")
        return Life(
            who, _number(raw.get("started_at")), keeper if isinstance(keeper, int) else 0, log if isinstance(log, str) else ""
        )

    def ending(self, stem: str, who: ProcessId) -> Ending | None:
        """How this life ended; None while nobody has written it down."""
        raw = self._read(stem, "exit")
        numbers = [raw.get(key) for key in ("pid", "start", "status", "signal")]
        pid, start, status, number = (value if isinstance(value, int) else -1 for value in numbers)
        ending = Ending(pid, start, status, number, _number(raw.get("at")))
        return ending if ending.belongs_to(who) and status >= 0 and number >= 0 else None

    def intent(self, stem: str) -> Intent:
        raw = self._read(stem, "want")
        want = raw.get("want")
        return Intent(want if want in ("up", "stopped") else None, _process(raw.get("stopping")), _process(raw.get("by")))

    def write_intent(self, stem: str, intent: Intent) -> None:
        """Durable when it returns. Raises OSError."""
        write_small(self._files, f"{self.folder}/{stem}.want", encode_json(intent.to_json()))

    def _read(self, stem: str, suffix: str) -> Mapping[str, Any]:
        try:
            text = read_all(self._files, f"{self.folder}/{stem}.{suffix}", RECORD_BYTES_MAX)
            raw = decode_hostile(text, bytes_max=RECORD_BYTES_MAX)
        except (OSError, ValueError):
            return {}
        return raw if isinstance(raw, dict) else {}


def _process(raw: Any) -> ProcessId | None:
    if not isinstance(raw, Mapping):
        return None
    pid, start, boot_id = raw.get("pid"), raw.get("start"), raw.get("boot_id")
    if isinstance(pid, int) and isinstance(start, int) and isinstance(boot_id, str) and pid > 1:
        return ProcessId(pid, start, boot_id)
    return None


def _process_to_json(who: ProcessId | None) -> dict[str, Any] | None:
    return who._asdict() if who is not None else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


__all__ = ["Ending", "Intent", "Life", "Records", "Want"]
