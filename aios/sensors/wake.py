"""Wakes whoever follows a folder when something in it changes. The one module that uses watchdog.

The daemon's wiring gives `Waker.watch` to the inbox, the playbook folder and the managed services. It says which names changed
and when to doubt everything; what that means is the caller's business.

watchdog's `InotifyFD` is a thread by design; here it is never started: its descriptor stands in the event loop, so that from
another program's write to the callback there is no hop from thread to thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

OnNames = Callable[[set[str]], None]
OnDoubt = Callable[[], None]

RETRY_S = 1.0
"""How soon a folder that is gone is looked for again."""
CHECK_S = 60.0
"""How often it is checked that the watched folder is still the one at this path: a moved parent tells nobody."""

_BUFFER = 32_768
_MASK = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
_LOST = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT


class Waker:
    """One inotify instance for all folders. Made and used on the loop."""

    def __init__(self, retry_s: float = RETRY_S, check_s: float = CHECK_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._retry_s, self._check_s = retry_s, check_s
        self._inotify = InotifyFD()
        self._fd: int = self._inotify._inotify_fd  # the one thing that has no public name
        os.set_inheritable(self._fd, False)
        self._folders: set[_Folder] = set()
        self._ids = 0
        self._loop.add_reader(self._fd, self._on_readable)
        self._checking: asyncio.TimerHandle | None = None

    def watch(self, folder: str, on_names: OnNames, on_doubt: OnDoubt) -> Callable[[], None]:
        """Call `on_names` with the names that changed directly below `folder`; `on_doubt` when changes may have been missed.

        A folder that does not exist (yet, or any more) is looked for until it is back; then there is doubt. Returns what ends
        the watch.
        """
        self._ids += 1
        watched = _Folder(self, folder, CallbackId(self._ids), on_names, on_doubt)
        self._folders.add(watched)
        watched.attach()
        if self._checking is None:
            self._checking = self._loop.call_later(self._check_s, self._check)
        return lambda: self._unwatch(watched)

    def close(self) -> None:
        """End every watch."""
        if self._checking is not None:
            self._checking.cancel()
        for watched in list(self._folders):
            self._unwatch(watched)
        self._loop.remove_reader(self._fd)
        self._inotify._is_reading = False  # or close() would leave the descriptors to a thread that was never started
        self._inotify.close()

    def _unwatch(self, watched: _Folder) -> None:
        self._folders.discard(watched)
        watched.detach()

    def _on_readable(self) -> None:
        for event in self._inotify.read_events(event_buffer_size=_BUFFER):
            self._inotify.handle_event(event)
        for watched in list(self._folders):
            watched.flush()

    def _check(self) -> None:
        self._checking = self._loop.call_later(self._check_s, self._check)
        for watched in list(self._folders):
            watched.check()


class _Folder:
    """One folder that is watched; what watchdog calls back."""

    def __init__(self, waker: Waker, path: str, id_: CallbackId, on_names: OnNames, on_doubt: OnDoubt) -> None:
        self._waker, self._path, self._id = waker, path, id_
        self._on_names, self._on_doubt = on_names, on_doubt
        self._wd: WatchDescriptor | None = None
        self._place: tuple[int, int] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._names: set[str] = set()
        self._doubt = False
        self._lost = False

    def attach(self) -> bool:
        """Watch what stands at the path now; try again later where nothing does."""
        self._retry = None
        try:
            wd = self._waker._inotify.add_callback(os.fsencode(self._path), _MASK, self, self._id)
            self._place = _place(self._path)
        except OSError:  # not there, no folder, or too many watches: all may pass
            wd = WatchDescriptor(-1)
        if wd == -1:  # -1 without an error is how watchdog says "not permitted"
            self._retry = self._waker._loop.call_later(self._waker._retry_s, self._attach_again)
            return False
        self._wd = wd
        return True

    def detach(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._wd is not None:
            wd, self._wd = self._wd, None
            self._waker._inotify.remove_callbacks([(wd, self._id)])

    def flush(self) -> None:
        """Tell what one read of the kernel's queue brought."""
        if self._lost:
            self._lost = False
            self.detach()
            self.attach()
            self._doubt = True
        names, self._names = self._names, set()
        if self._doubt:  # everything is looked at again anyway
            self._doubt = False
            self._on_doubt()
        elif names:
            self._on_names(names)

    def check(self) -> None:
        if self._wd is not None and _place(self._path) != self._place:
            self._lost = True
            self.flush()

    def _attach_again(self) -> None:
        if self.attach():
            self._on_doubt()

    # --- watchdog's WatchCallback

    def on_event(self, event: InotifyEvent) -> None:
        if event.wd != self._wd:
            return
        if event.mask & _LOST:
            self._lost = True
        elif event.name:
            self._names.add(os.fsdecode(event.name))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        if wd == self._wd:
            self._wd = None
            self._lost = True

    def on_queue_overflow(self) -> None:
        self._doubt = True


def _place(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
