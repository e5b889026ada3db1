"""A disk in memory that forgets what was not synced: the `Files` port's twin, with faults from a plan.

Called by simulations and by tests of the journal's writer, the launcher and blobs. What readers see and what a power cut leaves
stands in `image`, what is planned to fail in `faults`; here is the port, and what a story may do to a disk. A sync that fails
behaves as Linux does: the pages are marked clean, readers go on seeing them (until the cache is dropped), and no later sync
brings them to the disk. Names whose sync failed are still to be synced.

It leaves out what the product does not use: links of the symbolic kind, permissions, several devices.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from aios.clock import Clock
from aios.entropy import Entropy
from aios.ports import FileStat, Room
from aios.testing.faults import Fault
from aios.testing.image import FILE_BITS, FOLDER_BITS, WRITING, Image, NameChange, Node, Open, fail
from aios.testing.loop import Life

DEVICE = 1
ROOMY = 1 << 40


class SimDisk:
    """`Files` in memory. One view a process: `seen_by(life)` gives the same disk to code that can be killed.

    `capacity` bounds the bytes of all files; `sync_s` is how long a sync takes, by `spend` (see `VirtualClock.spend`).
    """

    def __init__(
        self,
        clock: Clock | None = None,
        capacity: int = ROOMY,
        sync_s: float = 0.0,
        spend: Callable[[float], None] | None = None,
    ) -> None:
        self._image = Image(clock, capacity, sync_s, spend)
        self._life: Life | None = None
        self._mine: set[int] = set()

    def seen_by(self, life: Life) -> SimDisk:
        """This disk for the code of one life: after the life's end every call raises `Killed`, without effect."""
        view = SimDisk.__new__(SimDisk)
        view._image = self._image
        view._life = life
        view._mine = set()
        life.on_death.append(view._close_all)
        return view

    # --- the port

    def open(self, path: str, flags: int, mode: int = 0o640) -> int:
        changing = flags & (os.O_CREAT | os.O_TRUNC)
        self._enter("open", path, bool(changing))
        image = self._image
        parent, name = image.split(path)
        node = parent.names.get(name) if name else parent
        if node is None:
            if not flags & os.O_CREAT:
                fail(errno.ENOENT, path)
            node = image.new(FILE_BITS | (mode & 0o7777), folder=False)
            image.put(parent, name, node)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            fail(errno.EEXIST, path)
        if node.folder and (flags & WRITING or flags & os.O_CREAT):
            fail(errno.EISDIR, path)
        if flags & os.O_DIRECTORY and not node.folder:
            fail(errno.ENOTDIR, path)
        if flags & os.O_TRUNC and flags & WRITING and node.data:
            image.truncate(node, 0)
        fd = image.next_fd
        image.next_fd += 1
        image.opens[fd] = Open(node, flags, path)
        node.opened += 1
        self._mine.add(fd)
        return fd

    def write(self, fd: int, data: bytes) -> int:
        opened = self._opened(fd)
        if not opened.writes:
            fail(errno.EBADF, opened.path)
        kept = self._enter("write", opened.path, True)
        if kept is not None:
            data = data[: kept.keep]
        node = opened.node
        offset = len(node.data) if opened.appends else opened.position
        data = self._image.fit(node, offset, data, opened.path)
        self._image.write_at(node, offset, bytes(data))
        opened.position = offset + len(data)
        if kept is not None and kept.kill:
            self._die()
        return len(data)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        opened = self._opened(fd)
        self._enter("pread", opened.path, False)
        if opened.node.folder:
            fail(errno.EISDIR, opened.path)
        if not opened.reads:
            fail(errno.EBADF, opened.path)
        if offset < 0:
            fail(errno.EINVAL, opened.path)
        return bytes(opened.node.data[offset : offset + length])

    def fsync(self, fd: int) -> None:
        self._sync("fsync", fd)

    def fdatasync(self, fd: int) -> None:
        self._sync("fdatasync", fd)

    def send_on(self, fd: int, offset: int, length: int) -> None:
        """Nothing is certain of it before it is synced, and nothing can fail."""

    def drop_cache(self, fd: int) -> None:
        """Clean pages are read from the disk again; dirty ones stay."""
        opened = self._opened(fd)
        self._enter("drop_cache", opened.path, False)
        self._image.drop_cache(opened.node)

    def ftruncate(self, fd: int, length: int) -> None:
        opened = self._opened(fd)
        self._enter("ftruncate", opened.path, True)
        if not opened.writes or length < 0:
            fail(errno.EINVAL, opened.path)
        grown = length - len(opened.node.data)
        if grown > 0 and self._image.used + grown > self._image.capacity:
            fail(errno.ENOSPC, opened.path)
        self._image.truncate(opened.node, length)

    def fstat(self, fd: int) -> FileStat:
        opened = self._opened(fd)
        self._enter("fstat", opened.path, False)
        return _stat(opened.node)

    def close(self, fd: int) -> None:
        opened = self._opened(fd)
        self._enter("close", opened.path, False)
        self._mine.discard(fd)
        self._image.release(fd)

    def stat(self, path: str) -> FileStat:
        self._enter("stat", path, False)
        return _stat(self._image.find(path))

    def lstat(self, path: str) -> FileStat:
        self._enter("lstat", path, False)
        return _stat(self._image.find(path))

    def room(self, path: str) -> Room:
        self._enter("room", path, False)
        image = self._image
        return Room(max(0, image.capacity - image.used), image.capacity)

    def listdir(self, path: str) -> list[str]:
        """In an order that is neither sorted nor the order of creation, as on a real disk, and the same for a seed."""
        self._enter("listdir", path, False)
        return sorted(self._image.folder(path).names, key=lambda name: name[::-1])

    def mkdir(self, path: str, mode: int = 0o750) -> None:
        self._enter("mkdir", path, True)
        parent, name = self._image.split(path)
        if not name or name in parent.names:
            fail(errno.EEXIST, path)
        self._image.put(parent, name, self._image.new(FOLDER_BITS | (mode & 0o7777), folder=True))

    def rename(self, source: str, target: str) -> None:
        self._enter("rename", target, True)
        image = self._image
        from_folder, from_name = image.split(source)
        to_folder, to_name = image.split(target)
        node = from_folder.names.get(from_name)
        if node is None:
            fail(errno.ENOENT, source)
        old = to_folder.names.get(to_name)
        if old is node:
            return
        _check_rename(node, old, target)
        if node.folder or (old is not None and old.folder):
            image.forget_paths()
        image.note(NameChange(((to_folder, to_name, node),), ((from_folder, from_name),)))
        del from_folder.names[from_name]
        to_folder.names[to_name] = node
        node.parent = to_folder
        if old is not None:
            image.unlinked(old)
        image.touch_folder(from_folder, from_name)
        image.touch_folder(to_folder, to_name)

    def link(self, source: str, target: str) -> None:
        self._enter("link", target, True)
        node = self._image.find(source)
        parent, name = self._image.split(target)
        if node.folder:
            fail(errno.EPERM, source)
        if not name or name in parent.names:
            fail(errno.EEXIST, target)
        self._image.put(parent, name, node)

    def unlink(self, path: str) -> None:
        self._enter("unlink", path, True)
        parent, name = self._image.split(path)
        node = parent.names.get(name)
        if node is None:
            fail(errno.ENOENT, path)
        if node.folder:
            fail(errno.EISDIR, path)
        self._image.remove(parent, name, node)

    def rmdir(self, path: str) -> None:
        self._enter("rmdir", path, True)
        parent, name = self._image.split(path)
        node = self._image.folder(path)
        if node.names:
            fail(errno.ENOTEMPTY, path)
        if not name:
            fail(errno.EBUSY, path)
        self._image.forget_paths()
        self._image.remove(parent, name, node)

    def touch(self, path: str) -> None:
        """It keeps no times."""
        self.lstat(path)

    def clone(self, source: int, target: int) -> bool:
        """It shares no bytes with the real machine."""
        return False

    def copy(self, source: int, target: int, offset: int, length: int) -> int | None:
        """Nor has it a kernel in common with it."""
        return None

    def fsync_dir(self, path: str) -> None:
        folder = self._image.folder(path)
        self._enter("fsync_dir", path, True)
        self._image.sync_names(folder)

    # --- what can happen to a disk

    @property
    def calls(self) -> int:
        """How many calls that change something there were."""
        return self._image.calls

    @property
    def syncs(self) -> int:
        return self._image.syncs

    @property
    def used(self) -> int:
        return self._image.used

    def fail(self, fault: Fault) -> Fault:
        """Plan a fault; it is counted from now on. Gives it back, so that its `hits` can be read."""
        self._image.faults.append(fault)
        return fault

    def mend(self) -> None:
        """Take all planned faults back."""
        self._image.faults.clear()

    @contextmanager
    def spared(self) -> Iterator[None]:
        """No planned fault strikes or counts within, and there is room: for what the story itself does to the disk."""
        image = self._image
        kept, image.faults, image.capacity, image.sync_s = (image.faults, image.capacity, image.sync_s), [], ROOMY, 0.0
        try:
            yield
        finally:
            image.faults, image.capacity, image.sync_s = kept

    def limit(self, capacity: int) -> None:
        self._image.capacity = capacity

    def slow(self, sync_s: float) -> None:
        """Every sync takes so long from now on."""
        self._image.sync_s = sync_s

    def power_cut(self, entropy: Entropy) -> None:
        """What was synced stays; of all else, each block and each name stays or goes by chance. Every descriptor is gone."""
        self._image.power_cut(entropy)

    def write_back(self) -> None:
        """What the kernel does after a while by itself: all that is dirty reaches the disk."""
        self._image.write_back()

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Bit rot: one byte of a file is another one, on the disk and for readers."""
        node = self._image.find(path)
        node.data[offset] ^= mask
        if offset < len(node.durable):
            node.durable[offset] ^= mask

    def rewrite(self, path: str, data: bytes) -> None:
        """Somebody put other bytes into a file, behind everybody's back, on the disk and for readers."""
        node = self._image.find(path)
        node.data[:] = data
        node.durable[:] = data

    def watch(self, folder: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """`callback(name)` when a name in the folder or the bytes of a file in it change. Returns what ends it."""
        node = self._image.folder(folder)
        node.watchers.append(callback)
        return lambda: node.watchers.remove(callback) if callback in node.watchers else None

    def make_folders(self, path: str) -> None:
        """Make a folder and all above it, durably: what was there before the story begins."""
        here = ""
        for part in path.strip("/").split("/"):
            here += "/" + part
            if not self.exists(here):
                self.mkdir(here)
                self.fsync_dir(here.rpartition("/")[0] or "/")

    def exists(self, path: str) -> bool:
        try:
            self._image.find(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str) -> bytes:
        """The whole file, as readers see it."""
        return bytes(self._image.find(path).data)

    def durable(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """The file, or a stretch of it, as the hardest power cut would leave it; its name counts too."""
        parent, name = self._image.split(path)
        node = parent.durable_names.get(name)
        if node is None:
            return b""
        return bytes(node.durable[offset:] if length is None else node.durable[offset : offset + length])

    def append(self, path: str, data: bytes, durable: bool = False) -> None:
        """What another program does: open, append, close (and sync)."""
        fd = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.write(fd, data)
        if durable:
            self.fsync(fd)
            self.fsync_dir(path.rpartition("/")[0] or "/")
        self.close(fd)

    def tree(self, path: str = "/") -> dict[str, bytes]:
        """Every file below a folder with its bytes: the whole disk as one comparable value."""
        found: dict[str, bytes] = {}
        for name, node in sorted(self._image.folder(path).names.items()):
            below = f"{path.rstrip('/')}/{name}"
            if node.folder:
                found.update(self.tree(below))
            else:
                found[below] = bytes(node.data)
        return found

    # --- leaves

    def _enter(self, kind: str, path: str, changing: bool) -> Fault | None:
        """Every call comes through here: the dead are refused, the call is counted, a planned fault strikes."""
        if self._life is not None and not self._life.alive:
            self._life.check()
        image = self._image
        if changing:
            image.calls += 1
        return self._strike(kind, path, changing) if image.faults else None

    def _strike(self, kind: str, path: str, changing: bool) -> Fault | None:
        self._image.faults = [fault for fault in self._image.faults if not fault.spent]
        for fault in self._image.faults:
            if (fault.kind == "any" and not changing) or not fault.strikes(kind, path):
                continue
            if fault.keep >= 0 and kind == "write":
                return fault
            if fault.kill:
                self._die()
            if fault.error:
                fail(fault.error, path)
        return None

    def _die(self) -> NoReturn:
        if self._life is None:
            raise AssertionError("a fault that kills was met by a view of the disk that belongs to no life")
        self._life.kill()
        self._life.check()
        raise AssertionError("unreachable: a killed life does not pass its check")

    def _opened(self, fd: int) -> Open:
        if self._life is not None and not self._life.alive:
            self._life.check()
        opened = self._image.opens.get(fd)
        if opened is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return opened

    def _close_all(self) -> None:
        for fd in sorted(self._mine):
            self._image.release(fd)
        self._mine.clear()

    def _sync(self, kind: str, fd: int) -> None:
        opened = self._opened(fd)
        node = opened.node
        try:
            self._enter(kind, opened.path, True)
        except OSError:
            node.pending.clear()
            raise
        self._image.sync(node)


def _check_rename(node: Node, old: Node | None, target: str) -> None:
    if old is None:
        return
    if old.folder and not node.folder:
        fail(errno.EISDIR, target)
    if node.folder and not old.folder:
        fail(errno.ENOTDIR, target)
    if old.folder and old.names:
        fail(errno.ENOTEMPTY, target)


def _stat(node: Node) -> FileStat:
    size = len(node.data)
    return FileStat(size, DEVICE, node.inode, node.mode, 0, 0, node.modified_ns, node.changed_ns)
