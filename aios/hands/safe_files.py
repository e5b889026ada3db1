"""What acting bodies change files with (`SafeFiles` in the skills' api): no link swapped in leads elsewhere.

A path is reached as it truly lay when the snapshot was taken: its folders' links were followed once, then, and a link put in the
way since is refused. So what is changed is always what was saved.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aios.errors import Permanent
from aios.hands import flags, keep, kernel, tree
from aios.hands.entry import Entry
from aios.ports import Blobs, Files

NEW_FILE_MODE = 0o644


class SafeFolder:
    """The files of one attempt: only below what its call touches."""

    def __init__(self, manifest: Mapping[str, Any], kept_folder: str, files: Files, blobs: Blobs) -> None:
        self._roots = {root["path"]: root["real"] for root in manifest.get("roots", ())}
        self._missing = [path for root in manifest.get("roots", ()) for path in root["missing"]]
        self._settings = {setting["name"] for setting in manifest.get("settings", ())}
        self._kept_folder = kept_folder
        self._files = files
        self._blobs = blobs

    def replace(self, path: str, data: bytes, *, mode: int | None = None) -> None:
        real = self._real(path)
        self._make_folders(real)
        with tree.folder_of(real) as (folder, name):
            entry = _dressed_like(folder, name, mode)
            with _locks_told(folder, name):
                tree.put_file(folder, name, data, entry)

    def unlink(self, path: str) -> None:
        with tree.folder_of(self._real(path)) as (folder, name):
            with _locks_told(folder, name):
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def files_below(self, path: str) -> Iterator[tuple[str, int, float]]:
        real = self._real(path)
        with tree.folder_of(real) as (folder, name):
            yield from _files_below(folder, name, path, os.stat(name, dir_fd=folder, follow_symlinks=False).st_dev, 0)

    def digest(self, path: str) -> str:
        with tree.folder_of(self._real(path)) as (folder, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def kernel_setting(self, name: str) -> str:
        return kernel.read(self._saved_setting(name))

    def set_kernel_setting(self, name: str, value: str) -> None:
        kernel.write(self._saved_setting(name), value)

    def _saved_setting(self, name: str) -> str:
        if name not in self._settings:
            raise Permanent(f"{name} is not among what this act touches, so it was not saved and is not changed")
        return name

    def restore_last_good(self, files: Sequence[str], generation: int = 0) -> list[dict[str, Any]]:
        for path in files:
            self._real(path)
        return keep.restore_last_good(files, self._kept_folder, self._files, self._blobs, generation)

    def _real(self, path: str) -> str:
        for root, real in self._roots.items():
            if path == root:
                return str(real)
            if path.startswith(root + "/"):
                return str(real) + path[len(root) :]
        raise Permanent(f"{path} is not among what this act touches, so it was not saved and is not changed")

    def _make_folders(self, real: str) -> None:
        """Those that were missing when the snapshot was taken; a rollback removes them again."""
        for path in self._missing:
            if real.startswith(path + "/"):
                with tree.folder_of(path) as (folder, name):
                    try:
                        os.mkdir(name, 0o755, dir_fd=folder)
                    except FileExistsError:
                        continue
                    os.fsync(folder)


@contextmanager
def _locks_told(folder: int, name: str) -> Iterator[None]:
    """A lock that somebody has set is a wish: an act leaves it, and what it says names it."""
    try:
        yield
    except PermissionError as error:
        if found := flags.locks_of(folder, name):
            raise OSError(errno.EPERM, f"it is {flags.lock_words(found)}, and an act leaves it so", name) from error
        if found := flags.flags_of(folder) & flags.LOCKS:
            raise OSError(errno.EPERM, f"its folder is {flags.lock_words(found)}, and an act leaves it so", name) from error
        raise


def _files_below(folder: int, name: str, path: str, device: int, depth: int) -> Iterator[tuple[str, int, float]]:
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if seen.st_dev != device or depth > tree.DEPTH_MAX:
        return
    if stat.S_ISREG(seen.st_mode):
        yield (path, seen.st_blocks * 512 if seen.st_nlink == 1 else 0, seen.st_mtime)
    elif stat.S_ISDIR(seen.st_mode):
        fd = tree.open_below(folder, name)
        try:
            for below in sorted(os.listdir(fd)):
                yield from _files_below(fd, below, f"{path}/{below}", device, depth + 1)
        finally:
            os.close(fd)


def _dressed_like(folder: int, name: str, mode: int | None) -> Entry:
    """Owner, mode and attributes of what is there; of a new file, ours."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return Entry("", "file", NEW_FILE_MODE if mode is None else mode, os.geteuid(), os.getegid())
    try:
        seen = tree.dress_of(fd)
    finally:
        os.close(fd)
    kept = seen.mode if mode is None else mode
    return Entry("", "file", kept, seen.uid, seen.gid, xattrs=seen.xattrs, flags=seen.flags & ~flags.LOCKS)
