"""The attempt's folder `runs/RUN/STEP.ATTEMPT/`: what lies in it, and the one way each file is written and read.

    started          who began (or voided) it; created once, by a link, so whoever comes second stands down
    manifest.json    what was there before the act; its blobs are durable before it is
    acting           the act's session and control group, so that what is left of it can be found
    output           what the act printed, bounded
    result           what came of it, in room that was reserved before the act
    after.json       how the act left what it touched (see `after.py`)
    found.json       what a rollback found (see `rollback.py`)

Written by the launcher and by recovery, over the `Files` port.
"""

from __future__ import annotations

import errno
import os
import zlib
from typing import Any, Literal, NamedTuple

from aios.disk import read_all, remove_if_there, write_all
from aios.errors import Permanent
from aios.events.calls import SkillCall, SkillResult
from aios.events.codec import decode_json, encode_json
from aios.ports import Files, ProcessId

STARTED, MANIFEST, ACTING, OUTPUT, RESULT = "started", "manifest.json", "acting", "output", "result"
AFTER, FOUND = "after.json", "found.json"
RESERVED = "result.new"

RESULT_ROOM = 64 * 1024
"""Reserved before the act; a result is at most half of it (see `SkillResult`)."""
SMALL_MAX = 4096
_LOST = frozenset(
    (errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EFBIG, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENOTDIR)
)
"""What cannot be read for these reasons is gone or spoiled for good. All others pass (too many open files, no memory): nothing
may be concluded from them, least of all that a launcher is gone that lives."""
_SEAL = b',"crc":"%08x"}'

Role = Literal["launcher", "recovery"]


class Started(NamedTuple):
    """Who created `started`: a launcher, or a recovery that voided the attempt."""

    who: ProcessId
    role: str


def folder_of(state_dir: str, call: SkillCall) -> str:
    """The attempt's folder, absolute. Raises `Permanent` when the call names one elsewhere."""
    parts = call.folder.split("/")
    if len(parts) != 3 or parts[0] != "runs" or not all(_plain(part) for part in parts):
        raise Permanent(f"call {call.key[:200]!r} names no folder runs/RUN/STEP.ATTEMPT")
    return f"{state_dir}/{call.folder}"


def _plain(part: str) -> bool:
    return 0 < len(part) <= 200 and part.isprintable() and not part.startswith(".")


def fence(files: Files, folder: str, who: ProcessId, role: Role) -> bool:
    """Create `started`, durably; False when somebody was there before. Raises OSError.

    It is written whole before it gets its name, so whoever sees the name can read who it is. Bytes and names are synced
    together: a power cut in between leaves no act, and at worst a `started` that cannot be read.
    """
    run = os.path.dirname(folder)
    for path in (os.path.dirname(run), run, folder):
        try:
            files.mkdir(path)
        except FileExistsError:
            pass
    temporary = f"{folder}/.started.{role}.{who.pid}.{who.start}"
    try:
        _name(files, temporary, f"{folder}/{STARTED}", encode_json({**who._asdict(), "role": role}))
        # All three, whoever made them: one of an earlier life may have died between mkdir and sync.
        for path in (folder, run, os.path.dirname(run)):
            files.fsync_dir(path)
    except FileExistsError:
        return False
    finally:
        remove_if_there(files, temporary)  # last, because a name removed before the sync would cost a second one
    return True


def _name(files: Files, temporary: str, path: str, data: bytes) -> None:
    """Write it, give it its name, sync it. Raises FileExistsError when the name is taken, OSError."""
    fd = files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, fd, data)
        files.link(temporary, path)
        files.fsync(fd)
    finally:
        files.close(fd)


def read_started(files: Files, folder: str) -> Started | None:
    """None when nobody has started it. A spoiled one was started by somebody who is gone (pid 0). Raises OSError: look again."""
    try:
        raw = decode_json(_read(files, f"{folder}/{STARTED}", SMALL_MAX))
        return Started(ProcessId(int(raw["pid"]), int(raw["start"]), str(raw["boot_id"])), str(raw["role"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return Started(ProcessId(0, 0, ""), "damaged")


def _read(files: Files, path: str, most: int) -> bytes:
    """Raises FileNotFoundError or NotADirectoryError where nothing is there, ValueError where it is lost, OSError: look again."""
    try:
        return read_all(files, path, most)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if error.errno in _LOST:
            raise ValueError(str(error)) from error
        raise


class Acting(NamedTuple):
    """The leader of the act's session, and the name of its control group; empty when it has none."""

    leader: ProcessId
    group: str


def write_acting(files: Files, folder: str, leader: ProcessId, group: str = "") -> None:
    """Not synced: it is read only while this boot lasts, and what outlives a power cut is no process."""
    fd = files.open(f"{folder}/{ACTING}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, fd, encode_json({**leader._asdict(), "group": group}))
    finally:
        files.close(fd)


def read_acting(files: Files, folder: str) -> Acting | None:
    """None when no act was begun. Raises OSError: look again."""
    try:
        raw = decode_json(_read(files, f"{folder}/{ACTING}", SMALL_MAX))
        who = ProcessId(int(raw["pid"]), int(raw["start"]), str(raw["boot_id"]))
        return Acting(who, str(raw.get("group", "")))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None  # written before the act is let go: what is torn means no act


def reserve(files: Files, folder: str) -> None:
    """Room for the result, on the disk, under its name: without it no act can have begun. Raises OSError."""
    fd = files.open(f"{folder}/{RESERVED}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, fd, b" " * RESULT_ROOM)
        files.fsync(fd)
    finally:
        files.close(fd)
    files.fsync_dir(folder)


def may_have_begun(files: Files, folder: str) -> bool:
    """Whether the launcher came so far that the act may have begun, and did not say that it never did. Raises OSError."""
    if (result := read_result(files, folder)) is not None and result.result.get("begun") is False:
        return False
    return bool({RESERVED, RESULT, ACTING, OUTPUT} & set(files.listdir(folder)))


def write_result(files: Files, folder: str, result: SkillResult) -> None:
    """Into the reserved room, sealed with its own CRC-32, then under its name. Raises OSError."""
    room = f"{folder}/{RESERVED}"
    data = encode_json(result.to_json())[:-1]
    data += _SEAL % zlib.crc32(data)
    fd = files.open(room, os.O_WRONLY | os.O_CREAT)
    try:
        write_all(files, fd, data)
        files.ftruncate(fd, len(data))
        files.fsync(fd)
    finally:
        files.close(fd)
    files.rename(room, f"{folder}/{RESULT}")
    files.fsync_dir(folder)


def read_result(files: Files, folder: str) -> SkillResult | None:
    """None when there is none that is whole. Raises OSError: look again."""
    try:
        data = _read(files, f"{folder}/{RESULT}", RESULT_ROOM)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    body = data[: -len(_SEAL % 0)]
    if data != body + _SEAL % zlib.crc32(body):
        return None
    raw: Any = decode_json(data)
    return SkillResult.from_json(raw)
