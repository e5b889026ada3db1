"""A part of this machine's control groups that is the tests' own, as a supervisor other than systemd would hand it over.

Each hierarchy gets a folder of the same name, which the setting `limits.cgroup` names. Needs root and a hierarchy that may be
written to; `why_not` says what is missing. What is made is taken away again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The mount points that we need: v2, and v1's memory, pids and cpu."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for name in ("unified", "memory", "pids", "cpu") if (path := ROOT / name).is_dir()]


def why_not() -> str:
    if os.geteuid() != 0:
        return "control groups can be made by root alone"
    if not hierarchies() or not all(os.access(path / "cgroup.procs", os.W_OK) for path in hierarchies()):
        return "no hierarchy of control groups can be written to here"
    return ""


@contextmanager
def handed_over(name: str, *, only: tuple[str, ...] = ()) -> Iterator[str]:
    """A path below each hierarchy (or those named); its value is what `limits.cgroup` is set to."""
    made = [path / name for path in hierarchies() if not only or path.name in only]
    for path in made:
        path.mkdir()
    try:
        yield f"/{name}"
    finally:
        for path in made:
            for inner in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
                inner.rmdir()
            path.rmdir()


def with_and_without(name: str, how: str) -> Iterator[str]:
    """For a fixture with the params `cgroup` and `rlimits`: what `limits.cgroup` is set to. Skips where there can be no group."""
    if how == "rlimits":
        yield "none"
        return
    if reason := why_not():
        pytest.skip(reason)
    with handed_over(name) as path:
        yield path


def groups_left(name: str) -> list[str]:
    """Groups of acts that are still there."""
    return [str(p) for root in hierarchies() for p in (root / name / "acts").glob("*") if p.is_dir()]
