"""What changed between two moments of a tree, for people: a unified diff of small text files, and every other change in words.

Called at an act's end, by rollbacks, and for last-good copies against now. Bounded, and without secrets.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from aios.events.redact import Redactor
from aios.hands import flags, tree
from aios.hands.entry import Entry, shown
from aios.hands.saver import read_content
from aios.hands.scan import open_to_read
from aios.ports import Blobs

TEXT_MAX = 32 << 10
TEXTS_MAX = 256 << 10
"""Characters that are kept of all that an act left."""
FILE_MAX = 64 << 10
LINES_MAX = 2000
PATHS_MAX = 200

Bytes = Callable[[Entry], bytes | None]
"""A small file's bytes; None when they cannot be had."""

_ABSENT = Entry("", "absent")


def changed_paths(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[str]:
    """Paths that differ in more than their times."""
    paths = before.keys() | after.keys()
    return sorted(path for path in paths if before.get(path, _ABSENT).label() != after.get(path, _ABSENT).label())


def difference(before: Mapping[str, Entry], after: Mapping[str, Entry], before_bytes: Bytes, after_bytes: Bytes) -> str:
    """Empty when there is none."""
    paths = changed_paths(before, after)
    text: list[str] = []
    room = TEXT_MAX
    for n, path in enumerate(paths):
        part = _part(path, before.get(path, _ABSENT), after.get(path, _ABSENT), before_bytes, after_bytes)
        room -= len(part)
        if room < 0 or n >= PATHS_MAX:
            text.append(f"… and {len(paths) - n} further files\n")
            break
        text.append(part)
    return Redactor().text("".join(text))


def _part(path: str, before: Entry, after: Entry, before_bytes: Bytes, after_bytes: Bytes) -> str:
    lines = [f"{shown(path)}: {words}\n" for words in _words(before, after)]
    if before.blob != after.blob:
        old, new = _lines(before, before_bytes), _lines(after, after_bytes)
        if old is None or new is None:
            lines.append(f"{shown(path)}: content changed, {before.size} -> {after.size} bytes\n")
        else:
            from difflib import unified_diff  # loads on first use: most acts change no file

            diff = unified_diff(old, new, f"before{shown(path)}", f"after{shown(path)}")
            lines.extend(line if line.endswith("\n") else line + "\n\\ no newline at the end\n" for line in diff)
    return "".join(lines)


def texts_of(paths: Iterable[str], seen: Mapping[str, Entry], bytes_of: Bytes) -> dict[str, str]:
    """The small text files among these, as far as there is room."""
    found: dict[str, str] = {}
    room = TEXTS_MAX
    for path in paths:
        lines = _lines(seen.get(path, _ABSENT), bytes_of)
        text = "".join(lines or ())
        if lines is None or len(text) > room:
            continue
        found[path], room = text, room - len(text)
    return found


def since_left(path: str, left: str, now: Entry, left_text: str | None, now_bytes: Bytes) -> str:
    """What somebody else changed since an act left this path so: in words, and line by line where the text was kept."""
    said = f"{shown(path)}: the act left it {left}; now it is {now.label()}\n"
    lines = _lines(now, now_bytes)
    if left_text is not None and lines is not None:
        from difflib import unified_diff  # loads on first use, as above

        diff = unified_diff(left_text.splitlines(keepends=True), lines, f"as the act left it{shown(path)}", f"now{shown(path)}")
        said += "".join(line if line.endswith("\n") else line + "\n\\ no newline at the end\n" for line in diff)
    return Redactor().text(said)[:TEXT_MAX]


def _words(before: Entry, after: Entry) -> Iterator[str]:
    if before.kind != after.kind:
        yield f"{before.kind} -> {after.kind}"
    if "absent" in (before.kind, after.kind):
        return
    if before.mode != after.mode:
        yield f"mode {before.mode:04o} -> {after.mode:04o}"
    if (before.uid, before.gid) != (after.uid, after.gid):
        yield f"owner {before.uid}:{before.gid} -> {after.uid}:{after.gid}"
    if before.target != after.target:
        yield f"points to {shown(before.target)!r} -> {shown(after.target)!r}"
    if before.hard != after.hard:
        yield f"another name of {shown(before.hard) or 'nothing'!r} -> {shown(after.hard) or 'nothing'!r}"
    if before.flags != after.flags:
        yield f"flags {flags.shown(before.flags) or 'none'} -> {flags.shown(after.flags) or 'none'}"
    for name in sorted(before.xattrs.keys() | after.xattrs.keys()):
        if before.xattrs.get(name) != after.xattrs.get(name):
            word = "added" if name not in before.xattrs else "removed" if name not in after.xattrs else "changed"
            yield f"attribute {name} {word}"


def _lines(entry: Entry, bytes_of: Bytes) -> list[str] | None:
    """None when it is no small text."""
    if entry.kind == "absent":
        return []
    if entry.kind != "file" or entry.size > FILE_MAX:
        return None
    data = bytes_of(entry)
    if data is None or b"\0" in data:
        return None
    try:
        lines = data.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
    return lines if len(lines) <= LINES_MAX else None


def saved_bytes(blobs: Blobs) -> Bytes:
    """Of entries of a manifest."""

    def read(entry: Entry) -> bytes | None:
        try:
            return b"".join(read_content(entry, blobs))
        except (OSError, KeyError, ValueError):
            return None

    return read


def live_bytes(places: Mapping[int, str]) -> Bytes:
    """Of entries that were seen just now; `places` are their real paths by inode."""

    def read(entry: Entry) -> bytes | None:
        try:
            with tree.folder_of(places[entry.inode]) as (folder, name):
                fd = open_to_read(folder, name)
            try:
                seen = os.fstat(fd)
                return os.pread(fd, FILE_MAX + 1, 0) if stat.S_ISREG(seen.st_mode) else None
            finally:
                os.close(fd)
        except (OSError, KeyError):
            return None

    return read
