"""What a simulated disk is made of: inodes and names, each twice: as readers see them, and as a power cut would leave them.

Used by `disk` alone. A sync carries a file's bytes, or a folder's names, from the first image to the second. A power cut lets
each unsynced block and each unsynced name survive or not, by chance; a rename survives whole or not at all, a write may be torn.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from aios.clock import Clock
from aios.entropy import Entropy
from aios.testing.faults import Fault

BLOCK = 4096
FOLDER_BITS = 0o040000
FILE_BITS = 0o100000
FIRST_FD = 3
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


@dataclass(slots=True, eq=False)
class Image:
    """One disk, which all views of it share."""

    clock: Clock | None
    capacity: int
    sync_s: float
    spend: Callable[[float], None] | None
    root: Node = field(init=False)
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

    def __post_init__(self) -> None:
        self.root = Node(1, FOLDER_BITS | 0o755, True, 0)
        self.root.links = 1
        self.forget_paths()

    # --- names and bytes, as readers see them

    def split(self, path: str) -> tuple[Node, str]:
        """The folder that holds this name, and the name; ("/", "") for the root."""
        path = path.rstrip("/") if len(path) > 1 else path
        folder, _, name = path.rpartition("/")
        if path == "/":
            return self.root, ""
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not absolute")
        if len(name) > 255:
            fail(errno.ENAMETOOLONG, path)
        if name in {".", ".."} or "\0" in name:
            raise ValueError(f"{path!r} is not a plain path")
        return self.folder(folder or "/"), name

    def folder(self, path: str) -> Node:
        known = self.folders.get(path)
        if known is not None:
            return known
        node = self.find(path)
        if not node.folder:
            fail(errno.ENOTDIR, path)
        self.folders[path] = node
        return node

    def forget_paths(self) -> None:
        """Where folders were found before: one of them has moved, or is gone."""
        self.folders = {"/": self.root}

    def find(self, path: str) -> Node:
        parent, name = self.split(path)
        if not name:
            return parent
        node = parent.names.get(name)
        if node is None:
            fail(errno.ENOENT, path)
        return node

    def new(self, mode: int, folder: bool) -> Node:
        self.inodes += 1
        return Node(self.inodes, mode, folder, self.now_ns())

    def now_ns(self) -> int:
        clock = self.clock
        return int(clock.now() * 1e9) if clock is not None else self.calls

    def note(self, change: NameChange) -> None:
        self.changes[change] = None
        for folder in change.folders():
            folder.unsettled[change] = None

    def forget(self, changes: list[NameChange]) -> None:
        for change in changes:
            self.changes.pop(change, None)
            for folder in change.folders():
                folder.unsettled.pop(change, None)

    def put(self, parent: Node, name: str, node: Node) -> None:
        parent.names[name] = node
        node.links += 1
        node.parent = parent
        self.note(NameChange(puts=((parent, name, node),)))
        self.touch_folder(parent, name)

    def remove(self, parent: Node, name: str, node: Node) -> None:
        del parent.names[name]
        self.note(NameChange(removes=((parent, name),)))
        self.unlinked(node)
        self.touch_folder(parent, name)

    def unlinked(self, node: Node) -> None:
        node.links -= 1
        node.changed_ns = self.now_ns()
        self._free(node)

    def _free(self, node: Node) -> None:
        if node.links <= 0 and node.opened <= 0 and not node.folder:
            self.used -= len(node.data)
            self.dirty.pop(node, None)

    def release(self, fd: int) -> None:
        opened = self.opens.pop(fd, None)
        if opened is not None:
            opened.node.opened -= 1
            self._free(opened.node)

    def touch_folder(self, folder: Node, name: str) -> None:
        folder.modified_ns = folder.changed_ns = self.now_ns()
        for callback in list(folder.watchers):
            callback(name)

    def fit(self, node: Node, offset: int, data: bytes, path: str) -> bytes:
        room = self.capacity - self.used + len(node.data) - offset
        if room >= len(data):
            return data
        if room <= 0:
            fail(errno.ENOSPC, path)
        return data[:room]

    def write_at(self, node: Node, offset: int, data: bytes) -> None:
        if not data:
            return
        before = len(node.data)
        if offset == before:
            node.data += data
        else:
            if offset > before:
                node.data.extend(bytes(offset - before))
            node.data[offset : offset + len(data)] = data
        self.used += len(node.data) - before
        node.pending.append((offset, data))
        self._changed(node)

    def truncate(self, node: Node, length: int) -> None:
        before = len(node.data)
        if length < before:
            del node.data[length:]
        else:
            node.data.extend(bytes(length - before))
        self.used += length - before
        node.pending.append((length, b""))
        self._changed(node)

    def _changed(self, node: Node) -> None:
        self.dirty[node] = None
        node.modified_ns = node.changed_ns = self.now_ns()
        parent = node.parent
        if parent is not None and parent.watchers:
            name = next((name for name, child in parent.names.items() if child is node), "")
            for callback in list(parent.watchers):
                callback(name)

    # --- what reaches the disk

    def sync(self, node: Node) -> None:
        """The bytes of a file."""
        self._take_time()
        _flush(node)
        self.dirty.pop(node, None)

    def sync_names(self, folder: Node) -> None:
        self._take_time()
        if folder.unsettled:
            mine = list(folder.unsettled)
            for change in mine:
                change.settle()
            self.forget(mine)

    def drop_cache(self, node: Node) -> None:
        """Clean pages are read from the disk again; dirty ones stay."""
        if not node.pending:
            self.used += len(node.durable) - len(node.data)
            node.data = bytearray(node.durable)

    def power_cut(self, entropy: Entropy) -> None:
        """What was synced stays; of all else, each block and each name stays or goes by chance. Every descriptor is gone."""
        for change in self.changes:
            if entropy.uniform(0.0, 1.0) < 0.5:
                change.settle()
        self.forget(list(self.changes))
        for node in list(self.dirty):
            _lose(node, entropy)
        self.dirty.clear()
        self.opens.clear()
        self.forget_paths()
        self._rebuild(self.root)

    def write_back(self) -> None:
        """What the kernel does after a while by itself: all that is dirty reaches the disk."""
        for change in self.changes:
            change.settle()
        self.forget(list(self.changes))
        for node in self.dirty:
            _flush(node)
        self.dirty.clear()

    def _take_time(self) -> None:
        self.syncs += 1
        if self.sync_s and self.spend is not None:
            self.spend(self.sync_s)

    def _rebuild(self, root: Node) -> None:
        """After a power cut: what readers see is what is durable; what no name leads to is gone."""
        self.used = 0
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
                    self.used += len(node.data)
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


def fail(number: int, path: str) -> NoReturn:
    raise OSError(number, os.strerror(number), path)
