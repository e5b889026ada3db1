"""A disk in memory that forgets what was not synced: the `Files` port's twin, with faults from a plan.

Called by simulations and by tests of the journal's writer, the launcher and blobs. It keeps two images: what readers see
now, and what a power cut would leave. A sync carries a file's bytes, or a folder's names, from the first to the second.
`power_cut` lets each unsynced block and each unsynced name survive or not, by chance; a rename survives whole or not at all,
a write may be torn. A sync that fails behaves as Linux does: the pages are marked clean, readers go on seeing them (until the
cache is dropped), and no later sync brings them to the disk. Names whose sync failed are still to be synced.

It leaves out what the product does not use: links of the symbolic kind, permissions, several devices.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from aios.clock import Clock
from aios.entropy import Entropy
from aios.ports import FileStat, Room
from aios.testing.loop import Life

BLOCK = 4096
DEVICE = 1
FOLDER_BITS = 0o040000
FILE_BITS = 0o100000
FIRST_FD = 3
_ROOMY = 1 << 40
WRITING = os.O_WRONLY | os.O_RDWR


class Node:
    """An inode. `data` is what readers see; `durable` what a power cut leaves; `pending` leads from one to the other."""

    __slots__ = (
        "changed_ns",
        "data",
        "durable",
        "durable_names",
        "folder",
        "inode",
        "links",
        "mode",
        "modified_ns",
        "names",
        "opened",
        "parent",
        "pending",
        "unsettled",
        "watchers",
    )

    def __init__(self, inode: int, mode: int, folder: bool, now_ns: int) -> None:
        self.inode = inode
        self.mode = mode
        self.folder = folder
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes]] = []  # (offset, bytes written) or (length, b"") for a truncation
        self.names: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}
        self.unsettled: dict[NameChange, None] = {}
        self.links = 0
        self.opened = 0
        self.modified_ns = self.changed_ns = now_ns
        self.parent: Node | None = None
        self.watchers: list[Callable[[str], None]] = []


class Open:
    """An open descriptor."""

    __slots__ = ("appends", "node", "path", "position", "reads", "writes")

    def __init__(self, node: Node, flags: int, path: str) -> None:
        self.node = node
        self.path = path
        self.position = 0
        self.writes = bool(flags & WRITING)
        self.reads = not flags & os.O_WRONLY
        self.appends = bool(flags & os.O_APPEND)


@dataclass(slots=True, eq=False)
class NameChange:
    """One change of names that is not durable yet: all of it survives, or nothing."""

    puts: tuple[tuple[Node, str, Node], ...] = ()
    removes: tuple[tuple[Node, str], ...] = ()

    def folders(self) -> list[Node]:
        return [*(put[0] for put in self.puts), *(gone[0] for gone in self.removes)]

    def settle(self) -> None:
        for folder, name in self.removes:
            folder.durable_names.pop(name, None)
        for folder, name, node in self.puts:
            folder.durable_names[name] = node


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


@dataclass(slots=True)
class _Store:
    """What all views of one disk share."""

    clock: Clock | None
    capacity: int
    sync_s: float
    spend: Callable[[float], None] | None
    root: Node
    used: int = 0
    inodes: int = 1
    next_fd: int = FIRST_FD
    opens: dict[int, Open] = field(default_factory=dict)
    changes: dict[NameChange, None] = field(default_factory=dict)
    dirty: dict[Node, None] = field(default_factory=dict)
    folders: dict[str, Node] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: int = 0
    syncs: int = 0


class SimDisk:
    """`Files` in memory. One view a process: `seen_by(life)` gives the same disk to code that can be killed.

    `capacity` bounds the bytes of all files; `sync_s` is how long a sync takes, by `spend` (see `VirtualClock.spend`).
    """

    def __init__(
        self,
        clock: Clock | None = None,
        capacity: int = _ROOMY,
        sync_s: float = 0.0,
        spend: Callable[[float], None] | None = None,
    ) -> None:
        root = Node(1, FOLDER_BITS | 0o755, True, 0)
        root.links = 1
        self._store = _Store(clock, capacity, sync_s, spend, root, folders={"/": root})
        self._life: Life | None = None
        self._mine: set[int] = set()

    def seen_by(self, life: Life) -> SimDisk:
        """This disk for the code of one life: after the life's end every call raises `Killed`, without effect."""
        view = SimDisk.__new__(SimDisk)
        view._store = self._store
        view._life = life
        view._mine = set()
        life.on_death.append(view._close_all)
        return view

    # --- the port

    def open(self, path: str, flags: int, mode: int = 0o640) -> int:
        changing = flags & (os.O_CREAT | os.O_TRUNC)
        self._enter("open", path, bool(changing))
        store = self._store
        parent, name = self._split(path)
        node = parent.names.get(name) if name else parent
        if node is None:
            if not flags & os.O_CREAT:
                _fail(errno.ENOENT, path)
            node = self._new(FILE_BITS | (mode & 0o7777), folder=False)
            self._put(parent, name, node)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            _fail(errno.EEXIST, path)
        if node.folder and (flags & WRITING or flags & os.O_CREAT):
            _fail(errno.EISDIR, path)
        if flags & os.O_DIRECTORY and not node.folder:
            _fail(errno.ENOTDIR, path)
        if flags & os.O_TRUNC and flags & WRITING and node.data:
            self._truncate(node, 0)
        fd = store.next_fd
        store.next_fd += 1
        store.opens[fd] = Open(node, flags, path)
        node.opened += 1
        self._mine.add(fd)
        return fd

    def write(self, fd: int, data: bytes) -> int:
        opened = self._opened(fd)
        if not opened.writes:
            _fail(errno.EBADF, opened.path)
        kept = self._enter("write", opened.path, True)
        if kept is not None:
            data = data[: kept.keep]
        node = opened.node
        offset = len(node.data) if opened.appends else opened.position
        data = self._fit(node, offset, data, opened.path)
        self._write_at(node, offset, bytes(data))
        opened.position = offset + len(data)
        if kept is not None and kept.kill:
            self._die()
        return len(data)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        opened = self._opened(fd)
        self._enter("pread", opened.path, False)
        if opened.node.folder:
            _fail(errno.EISDIR, opened.path)
        if not opened.reads:
            _fail(errno.EBADF, opened.path)
        if offset < 0:
            _fail(errno.EINVAL, opened.path)
        return bytes(opened.node.data[offset : offset + length])

    def fsync(self, fd: int) -> None:
        self._sync("fsync", fd)

    def fdatasync(self, fd: int) -> None:
        self._sync("fdatasync", fd)

    def drop_cache(self, fd: int) -> None:
        """Clean pages are read from the disk again; dirty ones stay."""
        opened = self._opened(fd)
        self._enter("drop_cache", opened.path, False)
        node = opened.node
        if not node.pending:
            self._store.used += len(node.durable) - len(node.data)
            node.data = bytearray(node.durable)

    def ftruncate(self, fd: int, length: int) -> None:
        opened = self._opened(fd)
        self._enter("ftruncate", opened.path, True)
        if not opened.writes or length < 0:
            _fail(errno.EINVAL, opened.path)
        grown = length - len(opened.node.data)
        if grown > 0 and self._store.used + grown > self._store.capacity:
            _fail(errno.ENOSPC, opened.path)
        self._truncate(opened.node, length)

    def fstat(self, fd: int) -> FileStat:
        opened = self._opened(fd)
        self._enter("fstat", opened.path, False)
        return _stat(opened.node)

    def close(self, fd: int) -> None:
        opened = self._opened(fd)
        self._enter("close", opened.path, False)
        self._mine.discard(fd)
        self._release(fd)

    def stat(self, path: str) -> FileStat:
        self._enter("stat", path, False)
        return _stat(self._find(path))

    def lstat(self, path: str) -> FileStat:
        self._enter("lstat", path, False)
        return _stat(self._find(path))

    def room(self, path: str) -> Room:
        self._enter("room", path, False)
        store = self._store
        return Room(max(0, store.capacity - store.used), store.capacity)

    def listdir(self, path: str) -> list[str]:
        """In an order that is neither sorted nor the order of creation, as on a real disk, and the same for a seed."""
        self._enter("listdir", path, False)
        return sorted(self._folder(path).names, key=lambda name: name[::-1])

    def mkdir(self, path: str, mode: int = 0o750) -> None:
        self._enter("mkdir", path, True)
        parent, name = self._split(path)
        if not name or name in parent.names:
            _fail(errno.EEXIST, path)
        self._put(parent, name, self._new(FOLDER_BITS | (mode & 0o7777), folder=True))

    def rename(self, source: str, target: str) -> None:
        self._enter("rename", target, True)
        from_folder, from_name = self._split(source)
        to_folder, to_name = self._split(target)
        node = from_folder.names.get(from_name)
        if node is None:
            _fail(errno.ENOENT, source)
        old = to_folder.names.get(to_name)
        if old is node:
            return
        _check_rename(node, old, target)
        if node.folder or (old is not None and old.folder):
            self._store.folders = {"/": self._store.root}
        self._note(NameChange(((to_folder, to_name, node),), ((from_folder, from_name),)))
        del from_folder.names[from_name]
        to_folder.names[to_name] = node
        node.parent = to_folder
        if old is not None:
            self._unlinked(old)
        self._touch_folder(from_folder, from_name)
        self._touch_folder(to_folder, to_name)

    def link(self, source: str, target: str) -> None:
        self._enter("link", target, True)
        node = self._find(source)
        parent, name = self._split(target)
        if node.folder:
            _fail(errno.EPERM, source)
        if not name or name in parent.names:
            _fail(errno.EEXIST, target)
        self._put(parent, name, node)

    def unlink(self, path: str) -> None:
        self._enter("unlink", path, True)
        parent, name = self._split(path)
        node = parent.names.get(name)
        if node is None:
            _fail(errno.ENOENT, path)
        if node.folder:
            _fail(errno.EISDIR, path)
        self._remove(parent, name, node)

    def rmdir(self, path: str) -> None:
        self._enter("rmdir", path, True)
        parent, name = self._split(path)
        node = self._folder(path)
        if node.names:
            _fail(errno.ENOTEMPTY, path)
        if not name:
            _fail(errno.EBUSY, path)
        self._store.folders = {"/": self._store.root}
        self._remove(parent, name, node)

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
        folder = self._folder(path)
        self._enter("fsync_dir", path, True)
        self._take_time()
        if folder.unsettled:
            mine = list(folder.unsettled)
            for change in mine:
                change.settle()
            self._forget(mine)

    # --- what can happen to a disk

    @property
    def calls(self) -> int:
        """How many calls that change something there were."""
        return self._store.calls

    @property
    def syncs(self) -> int:
        return self._store.syncs

    @property
    def used(self) -> int:
        return self._store.used

    def fail(self, fault: Fault) -> Fault:
        """Plan a fault; it is counted from now on. Gives it back, so that its `hits` can be read."""
        self._store.faults.append(fault)
        return fault

    def mend(self) -> None:
        """Take all planned faults back."""
        self._store.faults.clear()

    @contextmanager
    def spared(self) -> Iterator[None]:
        """No planned fault strikes or counts within, and there is room: for what the story itself does to the disk."""
        store = self._store
        kept, store.faults, store.capacity, store.sync_s = (store.faults, store.capacity, store.sync_s), [], _ROOMY, 0.0
        try:
            yield
        finally:
            store.faults, store.capacity, store.sync_s = kept

    def limit(self, capacity: int) -> None:
        self._store.capacity = capacity

    def slow(self, sync_s: float) -> None:
        """Every sync takes so long from now on."""
        self._store.sync_s = sync_s

    def power_cut(self, entropy: Entropy) -> None:
        """What was synced stays; of all else, each block and each name stays or goes by chance. Every descriptor is gone."""
        store = self._store
        for change in store.changes:
            if entropy.uniform(0.0, 1.0) < 0.5:
                change.settle()
        self._forget(list(store.changes))
        for node in list(store.dirty):
            _lose(node, entropy)
        store.dirty.clear()
        store.opens.clear()
        store.folders = {"/": store.root}
        self._rebuild(store.root)

    def write_back(self) -> None:
        """What the kernel does after a while by itself: all that is dirty reaches the disk."""
        store = self._store
        for change in store.changes:
            change.settle()
        self._forget(list(store.changes))
        for node in store.dirty:
            _flush(node)
        store.dirty.clear()

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Bit rot: one byte of a file is another one, on the disk and for readers."""
        node = self._find(path)
        node.data[offset] ^= mask
        if offset < len(node.durable):
            node.durable[offset] ^= mask

    def watch(self, folder: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """`callback(name)` when a name in the folder or the bytes of a file in it change. Returns what ends it."""
        node = self._folder(folder)
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
            self._find(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str) -> bytes:
        """The whole file, as readers see it."""
        return bytes(self._find(path).data)

    def durable(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """The file, or a stretch of it, as the hardest power cut would leave it; its name counts too."""
        parent, name = self._split(path)
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
        for name, node in sorted(self._folder(path).names.items()):
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
        store = self._store
        if changing:
            store.calls += 1
        return self._strike(kind, path, changing) if store.faults else None

    def _strike(self, kind: str, path: str, changing: bool) -> Fault | None:
        self._store.faults = [fault for fault in self._store.faults if not fault.spent]
        for fault in self._store.faults:
            if (fault.kind == "any" and not changing) or not fault.strikes(kind, path):
                continue
            if fault.keep >= 0 and kind == "write":
                return fault
            if fault.kill:
                self._die()
            if fault.error:
                _fail(fault.error, path)
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
        opened = self._store.opens.get(fd)
        if opened is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return opened

    def _split(self, path: str) -> tuple[Node, str]:
        """The folder that holds this name, and the name; ("/", "") for the root."""
        path = path.rstrip("/") if len(path) > 1 else path
        folder, _, name = path.rpartition("/")
        if path == "/":
            return self._store.root, ""
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not absolute")
        if len(name) > 255:
            _fail(errno.ENAMETOOLONG, path)
        if name in {".", ".."} or "\0" in name:
            raise ValueError(f"{path!r} is not a plain path")
        return self._folder(folder or "/"), name

    def _folder(self, path: str) -> Node:
        known = self._store.folders.get(path)
        if known is not None:
            return known
        node = self._find(path)
        if not node.folder:
            _fail(errno.ENOTDIR, path)
        self._store.folders[path] = node
        return node

    def _find(self, path: str) -> Node:
        parent, name = self._split(path)
        if not name:
            return parent
        node = parent.names.get(name)
        if node is None:
            _fail(errno.ENOENT, path)
        return node

    def _new(self, mode: int, folder: bool) -> Node:
        self._store.inodes += 1
        return Node(self._store.inodes, mode, folder, self._now_ns())

    def _now_ns(self) -> int:
        clock = self._store.clock
        return int(clock.now() * 1e9) if clock is not None else self._store.calls

    def _note(self, change: NameChange) -> None:
        self._store.changes[change] = None
        for folder in change.folders():
            folder.unsettled[change] = None

    def _forget(self, changes: list[NameChange]) -> None:
        for change in changes:
            self._store.changes.pop(change, None)
            for folder in change.folders():
                folder.unsettled.pop(change, None)

    def _put(self, parent: Node, name: str, node: Node) -> None:
        parent.names[name] = node
        node.links += 1
        node.parent = parent
        self._note(NameChange(puts=((parent, name, node),)))
        self._touch_folder(parent, name)

    def _remove(self, parent: Node, name: str, node: Node) -> None:
        del parent.names[name]
        self._note(NameChange(removes=((parent, name),)))
        self._unlinked(node)
        self._touch_folder(parent, name)

    def _unlinked(self, node: Node) -> None:
        node.links -= 1
        node.changed_ns = self._now_ns()
        self._free(node)

    def _free(self, node: Node) -> None:
        if node.links <= 0 and node.opened <= 0 and not node.folder:
            self._store.used -= len(node.data)
            self._store.dirty.pop(node, None)

    def _release(self, fd: int) -> None:
        opened = self._store.opens.pop(fd, None)
        if opened is not None:
            opened.node.opened -= 1
            self._free(opened.node)

    def _close_all(self) -> None:
        for fd in sorted(self._mine):
            self._release(fd)
        self._mine.clear()

    def _touch_folder(self, folder: Node, name: str) -> None:
        folder.modified_ns = folder.changed_ns = self._now_ns()
        for callback in list(folder.watchers):
            callback(name)

    def _fit(self, node: Node, offset: int, data: bytes, path: str) -> bytes:
        room = self._store.capacity - self._store.used + len(node.data) - offset
        if room >= len(data):
            return data
        if room <= 0:
            _fail(errno.ENOSPC, path)
        return data[:room]

    def _write_at(self, node: Node, offset: int, data: bytes) -> None:
        if not data:
            return
        store = self._store
        before = len(node.data)
        if offset == before:
            node.data += data
        else:
            if offset > before:
                node.data.extend(bytes(offset - before))
            node.data[offset : offset + len(data)] = data
        store.used += len(node.data) - before
        node.pending.append((offset, data))
        self._changed(node)

    def _truncate(self, node: Node, length: int) -> None:
        before = len(node.data)
        if length < before:
            del node.data[length:]
        else:
            node.data.extend(bytes(length - before))
        self._store.used += length - before
        node.pending.append((length, b""))
        self._changed(node)

    def _changed(self, node: Node) -> None:
        self._store.dirty[node] = None
        node.modified_ns = node.changed_ns = self._now_ns()
        parent = node.parent
        if parent is not None and parent.watchers:
            name = next((name for name, child in parent.names.items() if child is node), "")
            for callback in list(parent.watchers):
                callback(name)

    def _sync(self, kind: str, fd: int) -> None:
        opened = self._opened(fd)
        node = opened.node
        try:
            self._enter(kind, opened.path, True)
        except OSError:
            node.pending.clear()
            raise
        self._take_time()
        _flush(node)
        self._store.dirty.pop(node, None)

    def _take_time(self) -> None:
        store = self._store
        store.syncs += 1
        if store.sync_s and store.spend is not None:
            store.spend(store.sync_s)

    def _rebuild(self, root: Node) -> None:
        """After a power cut: what readers see is what is durable; what no name leads to is gone."""
        self._store.used = 0
        todo, seen = [root], {root}
        links: dict[Node, int] = {root: 1}
        while todo:
            folder = todo.pop()
            folder.names = dict(folder.durable_names)
            folder.watchers.clear()
            for node in folder.names.values():
                links[node] = links.get(node, 0) + 1
                if node in seen:
                    continue
                seen.add(node)
                node.parent = folder
                node.opened = 0
                if node.folder:
                    todo.append(node)
                else:
                    node.data = bytearray(node.durable)
                    self._store.used += len(node.data)
        for node, count in links.items():
            node.links = count


def _settle(durable: bytearray, offset: int, data: bytes) -> None:
    """Carry one pending change to the durable image."""
    size = len(durable)
    if not data:
        if offset < size:
            del durable[offset:]
        else:
            durable.extend(bytes(offset - size))
    elif offset == size:
        durable += data
    else:
        if offset > size:
            durable.extend(bytes(offset - size))
        durable[offset : offset + len(data)] = data


def _flush(node: Node) -> None:
    for offset, data in node.pending:
        _settle(node.durable, offset, data)
    node.pending.clear()


def _lose(node: Node, entropy: Entropy) -> None:
    """Each unsynced block survives whole, as a prefix, or not at all; what is missing between two survivors reads as zeros."""
    for offset, data in node.pending:
        if not data:
            if entropy.uniform(0.0, 1.0) < 0.5:
                _settle(node.durable, offset, data)
            continue
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            luck = entropy.uniform(0.0, 3.0)
            if luck < 1.0:
                continue
            if luck < 2.0:
                block = block[: int(entropy.uniform(0.0, len(block)))]
            if block:
                _settle(node.durable, offset + start, block)
    node.pending.clear()


def _check_rename(node: Node, old: Node | None, target: str) -> None:
    if old is None:
        return
    if old.folder and not node.folder:
        _fail(errno.EISDIR, target)
    if node.folder and not old.folder:
        _fail(errno.ENOTDIR, target)
    if old.folder and old.names:
        _fail(errno.ENOTEMPTY, target)


def _stat(node: Node) -> FileStat:
    size = len(node.data)
    return FileStat(size, DEVICE, node.inode, node.mode, 0, 0, node.modified_ns, node.changed_ns)


def _fail(number: int, path: str) -> NoReturn:
    raise OSError(number, os.strerror(number), path)
