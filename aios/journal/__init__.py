"""The memory: the journal's writer and readers, the inbox, checkpoints, and the lock that keeps a second daemon out.

Everything here is plain synchronous code over the `Files` port; `thread` alone knows threads and the event loop.
`read` is for anyone's Python: see `aios.journal.query.read`. What it promises stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios.journal.query import read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    """`read` is loaded when it is asked for: the daemon comes through here too, and its start does without."""
    if name == "read":
        from aios.journal.query import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
