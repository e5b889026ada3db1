"""A folder that is swapped for a link, again and again, while it is restored: nothing is written outside.

The attacker is a process of its own that exchanges the two by renameat2, as fast as it can. `AIOS_RACE_ROUNDS=N` makes it longer.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aios.blobs.store import BlobFolder
from aios.disk import OsFiles
from aios.events.calls import Touches
from aios.hands import snapshot
from aios.ports import ServiceActs
from tests.integration.hands_kit import taken

ROUNDS = int(os.environ.get("AIOS_RACE_ROUNDS", "10000"))
RENAME_EXCHANGE = 2
AT_FDCWD = -100
LOOK_EVERY = 200


def no_services() -> ServiceActs:
    raise AssertionError("no service is touched")


def swap_for_ever(sub: str, link: str, outside: str) -> None:
    """Never returns. Where a restore has cleared the link away, it is put there again."""
    renameat2 = ctypes.CDLL(None).renameat2
    one, two = os.fsencode(sub), os.fsencode(link)
    n = 0
    while True:
        n += 1
        renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE)
        if n % 20 == 0 and not os.path.islink(sub) and not os.path.islink(link):
            shutil.rmtree(link, ignore_errors=True)
            try:
                os.symlink(outside, link)
            except OSError:
                continue


@contextmanager
def attacked(sub: str, link: str, outside: str) -> Iterator[None]:
    pid = os.fork()
    if pid == 0:
        try:
            swap_for_ever(sub, link, outside)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def everything(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        stat = path.lstat()
        found[str(path)] = (stat.st_ino, stat.st_mode, stat.st_ctime_ns, path.read_bytes() if path.is_file() else b"")
    return found


@pytest.mark.parametrize("way", ["openat2", "walk"])
def test_a_folder_swapped_for_a_link_during_a_restore_leads_nowhere(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states of a tree are restored in turn, so that every round has files to write, to remove, to tie and to dress."""
    if way == "walk":

        def unknown(_folder: int, path: str) -> int:
            raise OSError(38, "Function not implemented", path)

        monkeypatch.setattr("aios.hands.tree._openat2", unknown)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    top = Path(os.path.realpath(tempfile.mkdtemp(prefix="aios-race-", dir=memory)))
    try:
        outside, root = top / "outside", top / "root"
        for name in ("a", "b", "deep/c"):
            (outside / name).parent.mkdir(parents=True, exist_ok=True)
            (outside / name).write_text("precious")
        blobs = BlobFolder(OsFiles(), str(top / "blobs"), pack=False)
        manifests = []
        for names in (("a", "deep/c", "only1"), ("a", "b", "only2")):
            shutil.rmtree(root, ignore_errors=True)
            for name in names:
                (root / "sub" / name).parent.mkdir(parents=True, exist_ok=True)
                (root / "sub" / name).write_text(f"mine {names}")
            os.link(root / "sub" / "a", root / "sub" / "tied")
            (root / "sub" / "way").symlink_to("a")
            manifests.append(taken(Touches(files=(str(root),)), blobs, no_services))
        before = everything(outside)
        met = 0
        with attacked(str(root / "sub"), str(top / "link"), str(outside)):
            for n in range(ROUNDS // 2):
                met += bool(snapshot.restore(manifests[n % 2], blobs, no_services))
                if n % LOOK_EVERY == 0:
                    assert everything(outside) == before
        assert everything(outside) == before, "not a byte, not a name, not an attribute"
        assert met, "the attacker was never met: the race was none"
    finally:
        shutil.rmtree(top)
