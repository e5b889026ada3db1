"""What goes wrong on a simulated disk, as a plan: which calls fail, write short, or end their caller's life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Fault:
    """What goes wrong: calls number `first` to `last` (from 1, counted from when the fault was planned; 0: only the first).

    `error` is an errno; 0 with `keep` writes only that many bytes and reports no error. `kill` ends the caller's life at
    the call, before its effect (with `keep`: after that many bytes). `kind` "any" counts every call that changes something,
    "every" those that only look, too.
    """

    kind: str
    first: int = 1
    last: int = 0
    error: int = 0
    keep: int = -1
    kill: bool = False
    path: str = ""
    seen: int = 0
    hits: int = 0

    @property
    def spent(self) -> bool:
        return self.seen >= max(self.first, self.last)

    def strikes(self, kind: str, path: str) -> bool:
        if (self.kind not in ("any", "every") and self.kind != kind) or self.path not in path:
            return False
        self.seen += 1
        if not self.first <= self.seen <= max(self.first, self.last):
            return False
        self.hits += 1
        return True
