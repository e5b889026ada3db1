"""Kernel settings (below /proc/sys) that an act touches: saved before it, put back in a rollback.

A skill says which by `Touches(settings=("vm.swappiness",))`: dots or slashes, as `sysctl` takes them. Used by `snapshot.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from aios.errors import Permanent
from aios.hands import tree

FOLDER = "/proc/sys"
VALUE_MAX = 4096
_NAME = re.compile(r"[a-z0-9_-]+([./][A-Za-z0-9_:@-]+)+", re.ASCII)


def saved(name: str) -> dict[str, Any]:
    """A setting's value as a manifest holds it. Raises OSError, Permanent."""
    return {"name": name, "value": read(name)}


def read(name: str) -> str:
    """Raises OSError (FileNotFoundError when this kernel has no such setting), Permanent for what is no name."""
    fd = _open(name, os.O_RDONLY)
    try:
        return os.read(fd, VALUE_MAX).decode("utf-8", "replace").strip()
    finally:
        os.close(fd)


def write(name: str, value: str) -> None:
    """At one stroke, as the kernel wants it. Raises OSError (EINVAL for what it does not take), Permanent."""
    fd = _open(name, os.O_WRONLY)
    try:
        os.write(fd, value.encode() + b"\n")
    finally:
        os.close(fd)


def put_back(setting: Mapping[str, Any]) -> None:
    """Raises OSError, Permanent."""
    if read(setting["name"]) != setting["value"]:
        write(setting["name"], setting["value"])


def path_of(name: str) -> str:
    """Raises Permanent."""
    if not _NAME.fullmatch(name):
        raise Permanent(f"{name[:80]!r} is no kernel setting; write it as vm.swappiness")
    parts = name.split("/") if "/" in name else name.split(".")
    return f"{FOLDER}/{'/'.join(parts)}"


def _open(name: str, flags: int) -> int:
    with tree.folder_of(path_of(name)) as (folder, last):
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
