"""The folders of playbooks, read as the daemon reads them: whatever stands there, it is told and never waited for."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from aios.log import get_logger
from aios.places import SYSTEM_PLAYBOOKS
from aios.playbooks.yaml_strict import BYTES_MAX, unreadable

PLAYBOOKS_MAX = 10_000

log = get_logger("daemon")


def read_playbooks(folders: Sequence[str]) -> dict[str, str]:
    """Path -> text of every `.yaml` and `.yml` in these folders. A file or folder that cannot be read stands there as one that
    cannot be used, with the reason: it is not gone, and what was in force of its folder stays so."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            if folder != SYSTEM_PLAYBOOKS:  # not everybody has playbooks of his own
                log.warning("there is no such folder of playbooks", folder=folder)
            continue
        except OSError as error:
            found[f"{folder}/"] = unreadable(f"this folder of playbooks cannot be read: {error.strerror}")
            continue
        wanted = [name for name in names if name.endswith((".yaml", ".yml")) and not name.startswith(".")]
        if len(wanted) > PLAYBOOKS_MAX:
            log.warning("more playbooks than are read from one folder", folder=folder, found=len(wanted), read=PLAYBOOKS_MAX)
        for name in wanted[:PLAYBOOKS_MAX]:
            if (text := _read_playbook(f"{folder}/{name}")) is not None:
                found[f"{folder}/{name}"] = text
    return found


def _read_playbook(path: str) -> str | None:
    """None: it was removed just now. A pipe or a device that somebody called so is not waited for."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return unreadable("cannot be read: it is no file")
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and not os.path.islink(path)
        return None if gone else unreadable(f"cannot be read: {error.strerror}")
    try:
        return raw.decode("utf-8", "ignore" if len(raw) > BYTES_MAX else "strict")  # the cut may split a character
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return unreadable(f"is not UTF-8 in line {line}: save it as UTF-8")
