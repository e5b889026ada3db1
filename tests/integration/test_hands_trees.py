"""Random trees, random acts, rollbacks that are killed and go on: what comes back is what was there, to the last attribute.

A tree has folders, files, links, hard links, modes, owners, times, extended attributes, ACLs, holes, FIFOs, and names in any
bytes; every third one flags too (`chattr`: immutable, append-only, …), which each act takes off first and gives anew.
`AIOS_TREES=N` makes more of them than the suite does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles, make_dirs, write_small
from aios.events.calls import SkillResult, Touches
from aios.events.codec import encode_json
from aios.hands import changes
from aios.hands.attempt import MANIFEST
from aios.hands.rollback import rollback
from aios.ports import ServiceActs
from tests.integration.hands_kit import taken

TREES = int(os.environ.get("AIOS_TREES", "1000"))
PARTS = 10
ROOT = os.geteuid() == 0
NAMES = [b"a", b"b", b"conf.d", "ü".encode(), b"with space", b"new\nline", b"\xff\xfe", b"-dash", b"\\xff", b"c"]
MODES = [0o600, 0o644, 0o755, 0o4755, 0o2750, 0o400, 0o1777]
TEXTS = [b"", b"x", b"a line\n" * 40, bytes(range(256)) * 20, b"listen 80;\n"]


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


NO_INVERSES: Any = None
"""The attempt of these tests wrote none down, so none is asked."""


FLAGS = (0x10, 0x20, 0x40, 0x80, 0x08, 0x10000)
"""Immutable, append-only, nodump, noatime, sync, dirsync (linux/fs.h)."""
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


# --- trees ----------------------------------------------------------------------------------------------------------


def acl(user: int, mode: int) -> bytes:
    """An access ACL as the kernel holds it (acl(5), linux/posix_acl_xattr.h): one named user beside owner, group, others."""
    rows = [(0x01, mode >> 6 & 7, -1), (0x02, 6, user), (0x04, mode >> 3 & 7, -1), (0x10, 7, -1), (0x20, mode & 7, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who & 0xFFFFFFFF) for tag, perm, who in rows)


def cap_net_bind() -> bytes:
    """A capability as the kernel holds it (linux/capability.h, VFS_CAP_REVISION_2)."""
    return struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def try_xattr(path: bytes, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:  # this file system, or this user, has none of the kind
        return


def ioctl_flags(path: bytes, number: int, value: int = 0) -> int:
    """What the kernel says or takes; 0 where neither this file nor its file system has any."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME)
    except OSError:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, number, struct.pack("i", value)))[0])
    except OSError:
        return 0
    finally:
        os.close(fd)


def put_flags(root: bytes, chance: random.Random | None) -> None:
    """Some at random, in the end; without chance none."""
    for path in all_below(root):
        if os.path.lexists(path) and (os.path.isdir(path) or os.path.isfile(path)) and not os.path.islink(path):
            wanted = chance.choice(FLAGS) | chance.choice(FLAGS) if chance is not None and chance.random() < 0.4 else 0
            has = ioctl_flags(path, GETFLAGS)
            if has & sum(FLAGS) != wanted:
                ioctl_flags(path, SETFLAGS, has & ~sum(FLAGS) | wanted)


class Grower:
    """Makes and changes trees by one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files: list[bytes] = []

    def grow(self, path: bytes, depth: int = 0) -> None:
        kind = self.chance.choices(
            ["file", "folder", "link", "hard", "sparse", "fifo"], [5, 4 if depth < 3 else 0, 2, 2, 1, 0.3]
        )[0]
        if depth == 0:
            kind = self.chance.choices(["folder", "file", "link"], [8, 1, 1])[0]
        match kind:
            case "file":
                self.write(path, self.chance.choice(TEXTS))
            case "sparse":
                self.sparse(path)
            case "hard" if self.files:
                os.link(self.chance.choice(self.files), path, follow_symlinks=False)
            case "hard":
                self.write(path, b"alone")
            case "link":
                os.symlink(self.chance.choice([b"a", b"/nowhere", b"../b", b"/etc/hostname", b"\xff"]), path)
            case "fifo":
                os.mkfifo(path)
            case "folder":
                os.mkdir(path)
                for name in self.chance.sample(NAMES, self.chance.randint(0, 5)):
                    self.grow(path + b"/" + name, depth + 1)
        self.dress(path)

    def write(self, path: bytes, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data)
        self.files.append(path)

    def sparse(self, path: bytes) -> None:
        with open(path, "wb") as file:
            file.seek(self.chance.choice([8192, 1 << 20, 3 << 20]))
            file.write(b"island")
            file.truncate(file.tell() + self.chance.choice([0, 100_000]))
        self.files.append(path)

    def dress(self, path: bytes) -> None:
        """Some of all that a file can wear."""
        if not os.path.islink(path):
            if self.chance.random() < 0.3:
                try_xattr(path, "user.aios", self.chance.randbytes(5))
            if self.chance.random() < 0.2:
                try_xattr(path, "system.posix_acl_access", acl(self.chance.choice([1, 1000]), 0o640))
            if self.chance.random() < 0.1 and os.path.isdir(path):
                try_xattr(path, "system.posix_acl_default", acl(7, 0o750))
            os.chmod(path, self.chance.choice(MODES) | (0o700 if os.path.isdir(path) else 0o400))
        if ROOT and self.chance.random() < 0.3:
            os.chown(path, self.chance.choice([0, 1, 1000]), self.chance.choice([0, 5]), follow_symlinks=False)
        if self.chance.random() < 0.2 and os.path.isfile(path) and not os.path.islink(path):
            try_xattr(path, "security.capability", cap_net_bind())
        if self.chance.random() < 0.8:
            when = self.chance.randrange(10**18, 17 * 10**17)
            os.utime(path, ns=(when, when + 7), follow_symlinks=False)

    def act(self, root: bytes) -> None:
        """What an act may do to a tree: anything."""
        if self.chance.random() < 0.15:
            remove(root)
            if self.chance.random() < 0.5:
                self.files = []
                self.grow(root)
            return
        for _ in range(self.chance.randint(1, 4)):
            self.one_change(self.chance.choice(all_below(root)))

    def one_change(self, path: bytes) -> None:
        self.files = [file for file in self.files if os.path.isfile(file) and not os.path.islink(file)]
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        match self.chance.choice(["append", "rewrite", "remove", "dress", "add", "swap", "link up", "touch"]):
            case "append" if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "ab") as file:
                    file.write(b"more\n")
            case "rewrite" if not is_folder:
                remove(path)
                self.write(path, b"another")
            case "remove" if os.path.lexists(path):
                remove(path)
            case "dress" if os.path.lexists(path):
                self.dress(path)
            case "add" if is_folder:
                name = path + b"/" + self.chance.choice([b"new", b"new2", b"\xfe"])
                if not os.path.lexists(name):
                    self.grow(name, 2)
            case "swap" if not is_folder and os.path.lexists(path):
                remove(path)
                os.mkdir(path)
            case "link up" if self.files and not is_folder:
                source = self.chance.choice(self.files)
                if source != path:
                    remove(path)
                    os.link(source, path, follow_symlinks=False)
            case "touch" if os.path.lexists(path):
                os.utime(path, ns=(5, 12345), follow_symlinks=False)


def all_below(root: bytes) -> list[bytes]:
    found = [root]
    for folder, folders, files in os.walk(root):
        found += [folder + b"/" + name for name in (*folders, *files)]
    return found


def remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def seen(root: bytes) -> dict[bytes, tuple[Any, ...]]:
    """All there is to see of a tree, by means that are not the product's own."""
    found: dict[bytes, tuple[Any, ...]] = {}
    names: dict[int, list[bytes]] = {}
    if not os.path.lexists(root):
        return found
    for path in sorted(all_below(root)):
        stat_ = os.lstat(path)
        names.setdefault(stat_.st_ino, []).append(path)
        what: Any = None
        if stat.S_ISREG(stat_.st_mode):
            with open(path, "rb") as file:
                what = hashlib.sha256(file.read()).hexdigest()
        elif stat.S_ISLNK(stat_.st_mode):
            what = os.readlink(path)
        worn = {}
        if not stat.S_ISLNK(stat_.st_mode) and not stat.S_ISFIFO(stat_.st_mode):
            worn = {name: os.getxattr(path, name) for name in os.listxattr(path)}
            worn["flags"] = bin(ioctl_flags(path, GETFLAGS) & sum(FLAGS)).encode()
        times = () if stat.S_ISFIFO(stat_.st_mode) else (stat_.st_mtime_ns,)
        blocks = stat_.st_blocks * 512 < stat_.st_size
        found[path] = (stat_.st_mode, stat_.st_uid, stat_.st_gid, times, what, worn, blocks)
    for tied in names.values():
        for path in tied:
            found[path] = (*found[path], tuple(tied))
    return found


# --- a rollback of one of them --------------------------------------------------------------------------------------


class Place:
    """A tree, the state folder of one attempt on it, and blobs."""

    def __init__(self, folder: str) -> None:
        self.root = os.fsencode(folder) + b"/it"
        self.state = f"{folder}/state"
        self.files = OsFiles()
        self.blobs = BlobFolder(self.files, f"{self.state}/blobs", pack=False)
        self.attempt = f"{self.state}/runs/r/step.1"
        make_dirs(self.files, self.attempt)

    def act(self, what: Callable[[], None], *, recorded: bool = True) -> None:
        """Snapshot, act, and (unless a crash came) the record of how it left things."""
        manifest = taken(Touches(files=(os.fsdecode(self.root),)), self.blobs, no_services, now_ns=2**62)
        write_small(self.files, f"{self.attempt}/{MANIFEST}", encode_json(manifest))
        self.next_tick()  # `now_ns` says that all had rested long: then no change can come within the tick of the last one
        what()
        if recorded:
            changes.told(SkillResult(True), lambda: manifest, self.attempt, self.files, self.blobs)

    def next_tick(self) -> None:
        """Until the file system's clock, which stands for some milliseconds, has gone on."""
        path = f"{self.state}/tick"
        began = touched_at(path)
        while touched_at(path) == began:
            pass

    def roll_back(self, force: bool = False) -> SkillResult:
        return rollback(["runs/r/step.1"], self.state, self.files, self.blobs, no_services, NO_INVERSES, force)


def touched_at(path: str) -> int:
    """The time that a change gets now."""
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        return os.fstat(file.fileno()).st_ctime_ns


@contextmanager
def place(on_disk: bool) -> Iterator[Place]:
    """In memory where that can be: there a sync costs nothing, and all that a tree wears is there, too."""
    memory = None if on_disk or not os.access("/dev/shm", os.W_OK) else "/dev/shm"
    folder = os.path.realpath(tempfile.mkdtemp(prefix="aios-trees-", dir=memory))
    try:
        yield Place(folder)
    finally:
        put_flags(os.fsencode(folder) + b"/it", None)
        shutil.rmtree(folder)


CALLS = ("rename", "link", "symlink", "unlink", "rmdir", "mkdir", "chown", "fchown", "fchmod", "utime", "setxattr")
CALLS_OF_FILES = ("write", "fsync", "ftruncate")


@contextmanager
def killed_at(n: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The n-th change of the disk from here on does not happen, and nothing after it does."""
    left = [n]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*args, **more)

        return call

    with monkeypatch.context() as patch:
        for name in (*CALLS, *CALLS_OF_FILES):
            patch.setattr(os, name, dying(getattr(os, name)))
        asks, sets = fcntl.ioctl, dying(fcntl.ioctl)
        patch.setattr(fcntl, "ioctl", lambda fd, number, *more: (sets if number == SETFLAGS else asks)(fd, number, *more))
        yield


def one_story(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    with place(on_disk=seed % 20 == 0) as here:
        grower = Grower(chance)
        if chance.random() < 0.95:
            grower.grow(here.root)
        flagged = random.Random(f"flags of {seed}") if ROOT and seed % 3 == 0 else None
        put_flags(here.root, flagged)
        was = seen(here.root)

        def act() -> None:
            if flagged is not None:
                put_flags(here.root, None)
            if was:
                grower.act(here.root)
            else:
                grower.grow(here.root)
            put_flags(here.root, flagged)

        here.act(act, recorded=chance.random() < 0.7)
        for _ in range(3):
            with killed_at(chance.choice([0, 1, 2, 3, 5, 8, 13, 21, 40]), monkeypatch):
                try:
                    here.roll_back()
                except Killed:
                    continue
        result = here.roll_back()
        now = seen(here.root)
        gone = {path for path in was if path not in now and stat.S_ISFIFO(was[path][0])}
        if not _lost_a_fifo(was, now):
            assert now == was, f"seed {seed}: {_differences(was, now)}"
            assert result.ok, f"seed {seed}: {result.error}"
        assert not gone or not result.ok, f"seed {seed}: a FIFO that cannot be made again must be told"
        assert not [path for path in all_below(here.root) if b".aios-" in path], f"seed {seed}"


def _lost_a_fifo(was: dict[bytes, tuple[Any, ...]], now: dict[bytes, tuple[Any, ...]]) -> bool:
    """FIFOs are noted, not saved: what an act did to one stays."""
    return any(stat.S_ISFIFO(it[0]) and now.get(path) != it for path, it in was.items())


def _differences(was: dict[bytes, Any], now: dict[bytes, Any]) -> list[Any]:
    return [(path, was.get(path), now.get(path)) for path in was.keys() | now.keys() if was.get(path) != now.get(path)][:3]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_random_tree_comes_back_from_a_random_act(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the act did, and wherever the rollback was killed before it went on."""
    for seed in range(part * TREES // PARTS, (part + 1) * TREES // PARTS):
        one_story(seed, monkeypatch)
