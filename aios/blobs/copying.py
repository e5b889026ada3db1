"""Copies a large file without a byte passing through the process but to be hashed: the kernel copies, a thread hashes behind it.

Hashing costs more than copying; on two processors the copy then costs no time of its own. Used by `bulk.py` (a file is saved) and
`store.py` (it is put back). Whoever calls has an answer to None: to read and write the bytes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EIO
from hashlib import sha256
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread

from aios.ports import Files

_STEP = 8 << 20
"""What the kernel copies at once: after each the hashing goes on, and writing to the disk begins."""
_HASHED_AT_ONCE = 64 << 10
"""Stays in the processor's own cache, and is memory that the allocator has at hand: a megabyte is three times as dear."""
_STEPS_AHEAD = 6
"""The copy waits for the hash, so that what is hashed is still in memory."""


class _Following:
    """Hashes a file from its beginning as far as `reach` has said that it was written, some steps behind."""

    def __init__(self, files: Files, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._hash = sha256()
        self._ends: SimpleQueue[int] = SimpleQueue()
        self._room = BoundedSemaphore(_STEPS_AHEAD)
        self._failed: OSError | None = None
        self._thread = Thread(target=self._work, name="digest", daemon=True)
        self._thread.start()

    def reach(self, end: int) -> None:
        self._room.acquire()
        self._ends.put(end)

    def hexdigest(self) -> str:
        """Raises OSError when it could not be read."""
        self.drop()
        if self._failed is not None:
            raise self._failed
        return self._hash.hexdigest()

    def drop(self) -> None:
        """Ends the thread: nothing may fork while it runs."""
        self._ends.put(-1)
        self._thread.join()

    def _work(self) -> None:
        done = 0
        while (end := self._ends.get()) >= 0:
            try:
                done = done if self._failed else self._hash_to(end, done)
            except OSError as error:
                self._failed = error
            self._room.release()

    def _hash_to(self, end: int, done: int) -> int:
        while done < end:
            piece = self._files.pread(self._fd, min(_HASHED_AT_ONCE, end - done), done)
            if not piece:
                raise OSError(EIO, "what was written a moment ago is not there")
            self._hash.update(piece)
            done += len(piece)
        return done


def copied(files: Files, source: int, target: int, limit: int, *, holes: bool) -> tuple[str, int] | None:
    """Fill an empty file (not one that appends) from another, up to `limit` bytes; hash and length of what stands there.

    Shared where the file system can, else, without `holes` (which a copy would fill), copied in the kernel; None where neither
    can be, or there are no bytes: then nothing was written. The hash is read back from `target`: whoever changes `source`
    meanwhile cannot make it wrong. Raises OSError.
    """
    shared = files.clone(source, target)
    if holes and not shared:
        return None
    ends = _shared(files, target, limit) if shared else _copying(files, source, target, limit)
    end = next(ends, 0)
    if not end:
        return None
    following = _Following(files, target)
    try:
        following.reach(end)
        for end in ends:
            following.reach(end)
    except BaseException:  # whatever it was: its thread ends with it, and it rises
        following.drop()
        raise
    return following.hexdigest(), end


def _shared(files: Files, target: int, limit: int) -> Iterator[int]:
    length = files.fstat(target).size
    if length > limit:
        files.ftruncate(target, limit)
    yield from range(_STEP, min(length, limit), _STEP)
    yield min(length, limit)


def _copying(files: Files, source: int, target: int, limit: int) -> Iterator[int]:
    """Up to where it is copied, step by step."""
    done = 0
    while done < limit and (more := files.copy(source, target, done, min(_STEP, limit - done))) != 0:
        if more is None and done:
            raise OSError(EIO, "the kernel has copied a part and now says that it cannot")
        if more is None:
            return
        done += more
        yield done
