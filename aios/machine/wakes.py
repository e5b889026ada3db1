"""Who is woken when files change: the inbox by its folders, the playbooks by theirs, last-good copies by what they copy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial

from aios.journal.inbox import InboxFolder
from aios.sensors.wake import Waker


class Later:
    """Wakes after the shortest of the times that were asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop, self._wake = loop, wake
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, wait_s: float) -> None:
        at = self._loop.time() + wait_s
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()


class InboxWatch:
    """Wakes the inbox for its own folder and for each folder in it."""

    def __init__(self, inbox: InboxFolder, folder: str, waker: Waker, wake: Callable[[], None]) -> None:
        self._inbox, self._folder, self._waker, self._wake = inbox, folder, waker, wake
        self._below: dict[str, Callable[[], None]] = {}

    def attach(self) -> None:
        self._waker.watch(self._folder, self._on_names, self._on_doubt)
        self._on_doubt()

    def _on_names(self, names: set[str]) -> None:
        for name in names:
            self._inbox.touched(name)
            if not name.endswith(".jsonl"):
                self._follow(name)
        self._wake()

    def _on_doubt(self) -> None:
        try:
            for name in os.listdir(self._folder):
                self._follow(name)
        except OSError:
            pass  # the folder is gone: the waker looks for it, and doubts again when it is back
        self._inbox.doubt()
        self._wake()

    def _follow(self, name: str) -> None:
        path = f"{self._folder}/{name}"
        if name in self._below and not os.path.isdir(path):
            self._below.pop(name)()
        elif name not in self._below and os.path.isdir(path) and not os.path.islink(path):
            self._below[name] = self._waker.watch(path, partial(self._on_names_below, name), self._doubt_below)

    def _on_names_below(self, folder: str, names: set[str]) -> None:
        for name in names:
            self._inbox.touched(f"{folder}/{name}")
        self._wake()

    def _doubt_below(self) -> None:
        self._inbox.doubt()
        self._wake()


def watch_folders(waker: Waker, folders: Sequence[str], changed: Callable[[], None]) -> None:
    for folder in folders:
        waker.watch(folder, lambda _names: changed(), changed)


class FileWatches:
    """Watches the folders of files that last-good copies are taken of."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._known: set[str] = set()

    def __call__(self, paths: Sequence[str], changed: Callable[[], None]) -> None:
        for path in paths:
            folder, name = (path, "") if os.path.isdir(path) else os.path.split(path)
            if path not in self._known:
                self._known.add(path)
                self._waker.watch(folder, partial(self._on_names, name, changed), changed)

    def _on_names(self, wanted: str, changed: Callable[[], None], names: set[str]) -> None:
        if not wanted or wanted in names:
            changed()
