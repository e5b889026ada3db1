"""The inbox: files that other programs append to, followed line by line.

The spine calls `take` in its own time; a sensor that watches the folder calls `touched` with a file's name, or `doubt` when it
is not sure what it missed. Nothing is written here but copies of what could not be read: a line counts as taken when the
journal holds it, and the cursors come back from there (`aios.events.origin`) at the next start.

Here is whose turn it is, how fast it may go, and which files are read at all. Which file is which stands in `inbox_files`, what
becomes of files that lost their name in `inbox_lost`, what becomes of lines in `inbox_lines`.

A source over its limit is slowed (`pace`); daily files that were taken whole are removed after a time, those that others append
to for good never: nobody can tell whether their program still has them open.

Everything is hostile: symbolic links, pipes and devices are refused, a line of 100 MB costs a chunk of memory, a flood of bad
lines costs few events, and no file can keep the others from their turn.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

from aios.clock import Clock
from aios.disk import make_dirs, write_all
from aios.errors import Refused
from aios.events.codec import LINE_MAX, BadLine, parse_foreign
from aios.events.event import Draft, day_of
from aios.events.origin import CURSORS_MAX, InboxCursor
from aios.journal.ids import IdMemory
from aios.journal.inbox_files import OPEN, Followed, FollowedFiles
from aios.journal.inbox_lines import Lines, Take, check_that_it_fits
from aios.journal.inbox_lost import LostNames
from aios.journal.pace import NO_PACE_LIMITS, PaceLimits, Paces
from aios.ports import Files, FileStat, Taken

_REFUSED_MAX = 1_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MEANT = (".json", ".ndjson", ".jsonlines", ".jl", ".log", ".txt")
"""Endings of files that somebody meant for the inbox; others (of rotations, of files in the making) are nobody's business."""
_NO_ENDING = "its name must end in .jsonl"
_NO_NAME = "no name for an inbox file: letters, digits and . _ @ + -, and in a folder a day such as 2026-02-24"
_TIDY_EVERY_S = 3600.0
_SLOWED_TOLD_EVERY_S = 600.0
_DAY_S = 86_400.0
_BLANK_MAX = 4096
_RETRY_S, _RETRY_CEILING_S = 5.0, 300.0
_MAY_PASS = frozenset(
    getattr(errno, name)
    for name in ["EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EDQUOT", "ESTALE", "ENODEV", "ENXIO", "ETIMEDOUT", "EAGAIN"]
)
"""Errors that may go away though nobody touches the file. Of others (rights, a pipe) the kernel tells when they do."""


@dataclass(frozen=True, slots=True)
class InboxRules:
    """What the settings say. `remove_after_s`: 0 is never. `large`: bytes above which a file is told of."""

    limits: PaceLimits = NO_PACE_LIMITS
    remove_after_s: float = 0.0
    large: int = 1 << 30


NO_RULES = InboxRules()


def never(_wait_s: float) -> None:
    """For who has no rules: nothing needs another look by itself."""


def nothing(_ids: IdMemory, _on_error: Callable[[OSError], None]) -> None:
    """For who fills the ids before."""


class InboxFolder:
    """`Inbox` over `inbox/`. `cursors` are the world's own, folded from the journal; `ids` is filled by `ids.recall`.

    `recall` may do that at the first `take`: on a busy machine it takes longer than all else at a start.
    With a clock the `rules` are in force; `later(wait_s)` then asks for another `take` after that time, whatever is touched.
    """

    def __init__(
        self,
        files: Files,
        folder: str,
        quarantine: str,
        *,
        cursors: Mapping[str, InboxCursor],
        ids: IdMemory | None = None,
        clock: Clock | None = None,
        rules: InboxRules = NO_RULES,
        later: Callable[[float], None] = never,
        recall: Callable[[IdMemory, Callable[[OSError], None]], object] = nothing,
    ) -> None:
        self._ids = ids if ids is not None else IdMemory()
        self._table = FollowedFiles(files, folder, cursors)
        self._lines = Lines(self._table, quarantine, self._ids)
        self._lost = LostNames(self._table, self._lines, clock, later, self._hear_of)
        self._durable = cursors
        self._clock = clock
        self._rules = rules
        self._later = later
        self._recall = recall
        self._paces = Paces(rules.limits)
        self._held: OrderedDict[str, None] = OrderedDict()
        self._slowed_told: dict[str, float] = {}
        self._large_told: set[str] = set()
        self._tidy_at = 0.0
        self._refused: set[str] = set()
        self._again: dict[str, None] = {}
        self._again_at = 0.0
        self._retry_s = _RETRY_S
        self._unlisted: set[str] = set()
        self._all = True
        self._listed = True

    def doubt(self) -> None:
        """See `Inbox.doubt`."""
        self._all = True

    def touched(self, path: str) -> None:
        """Something happened to this file (`web.jsonl` or `web/2026-02-24.jsonl`, below the inbox), or to this folder (`web`).

        A file is opened as soon as it is heard of, so that a rotation that is faster than its turn takes nothing away. Other
        names (what a rotation leaves, temporary files) only say that a file that has lost its name may have grown.
        """
        if path.endswith(".jsonl") and path.count("/") <= 1:
            name = path.removesuffix(".jsonl")
            self._mark(name)
            if name in self._table.dirty:
                self._notice(name)
        elif _NAME.fullmatch(path) and ".jsonl" not in path:
            for name in self._names_below(path):
                self._mark(name)
            for name in self._table.followed:
                if name.startswith(path + "/"):
                    self._mark(name)
        else:
            self._table.dirty.update(dict.fromkeys(self._lost.names))

    def _hear_of(self, name: str) -> None:
        """Of a file that a rotation gave this name: it is opened at once, and has its turn."""
        self._mark(name)
        self._notice(name)

    def _notice(self, name: str) -> None:
        file = self._table.follow(name)
        try:
            here = self._table.look(file)
            if here is None:
                return
            if not self._table.is_the_one(file, here):
                self._lost.lose_name(file, told=True)
                self._begin(file, here)
            self._table.reopen(file, here)
        except OSError:
            pass  # its turn comes, and tells of it

    def take(self, limit: int) -> Taken:
        """See `Inbox.take`. Costs nothing when nothing was touched. What cannot be read is told, not raised."""
        recall, self._recall = self._recall, nothing
        recall(self._ids, lambda error: self._table.fail("events", error))
        self._retry()
        if self._all:
            self._look_at_all()
        if self._clock is not None:
            self._release(self._clock.monotonic())
            self._tidy(self._clock)
        self._lost.look_for_late_lines()
        take = Take(limit)
        while self._table.dirty and not take.full:
            share = max(1, take.lines // len(self._table.dirty))
            name, _ = self._table.dirty.popitem(last=False)
            if self._take_at_pace(name, take, share):
                self._table.dirty[name] = None  # behind the others, so that each has its turn
        news, self._table.news = self._table.news, []
        self._ask_for_later()
        return Taken(news + take.drafts, bool(self._table.dirty))

    def close(self) -> None:
        for file in (*self._table.followed.values(), *self._lost.files()):
            self._table.shut(file)

    # --- what could not be read

    def _look_again(self, name: str, error: OSError) -> None:
        """At this file (empty: at all) in a while, should nobody touch it: what was wrong may be over by then."""
        if error.errno not in _MAY_PASS or self._clock is None:
            return
        if not self._again:
            self._again_at = self._clock.monotonic() + self._retry_s
            self._later(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _RETRY_CEILING_S)
        self._again[name] = None

    def _retry(self) -> None:
        if self._clock is None or not self._again:
            return
        wait_s = self._again_at - self._clock.monotonic()
        if wait_s > 0.0:
            self._later(wait_s)
            return
        again, self._again = self._again, {}
        self._all = self._all or "" in again
        self._table.dirty.update(dict.fromkeys(filter(None, again)))

    # --- at their pace

    def _take_at_pace(self, name: str, take: Take, share: int) -> bool:
        """Up to `share` lines of it, and no more than its source may bring now. Whether there may be more that it may bring."""
        if self._clock is None:
            return self._take_from(name, take, share)
        source, now = name.partition("/")[0], self._clock.monotonic()
        room = self._paces.room(source, now)
        if room == 0:
            self._hold(name, source, now)
            return False
        lines, size = take.lines, self._read_so_far(name)
        more = self._take_from(name, take, min(share, room))
        self._paces.used(source, lines - take.lines, max(0, self._read_so_far(name) - size), now)
        if name in self._table.followed:
            self._table.followed[name].behind = more
        return more

    def _read_so_far(self, name: str) -> int:
        file = self._table.followed.get(name)
        return file.cursor.offset + file.skipped if file else 0

    def _hold(self, name: str, source: str, now: float) -> None:
        """Its lines wait in its file. Told when there are some, and not again and again."""
        self._held[name] = None
        file = self._table.followed.get(name)
        if file is None or not file.behind or now < self._slowed_told.get(source, -_SLOWED_TOLD_EVERY_S) + _SLOWED_TOLD_EVERY_S:
            return
        self._slowed_told[source] = now
        limits = {"lines_per_s": self._paces.lines_per_s(source), "bytes_per_s": self._paces.bytes_per_s}
        data = {"file": f"inbox/{name}.jsonl", "source": f"inbox/{source}", "waiting": file.size - file.cursor.offset, **limits}
        self._table.news.append(Draft(type="journal.inbox_slowed", subject="host", data=data))

    def _release(self, now: float) -> None:
        for name in list(self._held):
            if self._paces.room(name.partition("/")[0], now) > 0:
                del self._held[name]
                self._table.dirty[name] = None

    def _ask_for_later(self) -> None:
        if self._clock is None:
            return
        now = self._clock.monotonic()
        waits = {self._paces.wait_s(name.partition("/")[0], now) for name in self._held}
        if waits:
            self._later(min(waits))

    # --- what is done with

    def _tidy(self, clock: Clock) -> None:
        """Once an hour: daily files that were taken whole go, after their time; files that grow too large are told of."""
        now = clock.monotonic()
        if now < self._tidy_at or not self._listed:
            return
        self._tidy_at = now + _TIDY_EVERY_S
        self._later(_TIDY_EVERY_S)
        newest_to_go = day_of(clock.now() - _DAY_S)
        names = self._names()
        self._large_told.intersection_update(names)
        for name in names:
            day = name.partition("/")[2]
            if not day or not _DAY.fullmatch(day):
                self._look_at_size(name)
            elif self._rules.remove_after_s and day < newest_to_go:
                self._remove_if_done(name, clock.now() - self._rules.remove_after_s)

    def _remove_if_done(self, name: str, before: float) -> None:
        """All of it stands in the journal, synced, and nobody has touched it since `before`."""
        path = f"{self._table.folder}/{name}.jsonl"
        known = self._table.followed[name].cursor if name in self._table.followed else self._table.known.get(name)
        try:
            here = self._table.disk.lstat(path)
            if known is None or here.mtime_ns > before * 1e9 or (here.device, here.inode) != (known.device, known.inode):
                return
            if not self._is_durable(name) or not self._only_blanks(path, known.offset, here.size):
                return
            self._table.disk.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(name, f"was taken whole, and cannot be removed: {error.strerror}")
            return
        if name in self._table.followed:
            self._table.forget(name)
        data = {"file": f"inbox/{name}.jsonl", "length": here.size}
        self._table.news.append(Draft(type="journal.inbox_removed", subject="host", data=data))

    def _is_durable(self, name: str) -> bool:
        """Whether the journal holds the last line of it that became an event."""
        drafted, durable = self._lines.drafted(name), self._durable.get(name)
        if drafted is None:
            return True  # nothing came of it since the start
        return durable is not None and (durable.generation, durable.offset) >= drafted

    def _only_blanks(self, path: str, begin: int, end: int) -> bool:
        """Whether nothing stands there that could be a line yet to come."""
        if begin == end:
            return True
        if not begin < end <= begin + _BLANK_MAX:
            return False
        fd = self._table.disk.open(path, OPEN)
        try:
            return not self._table.disk.pread(fd, end - begin, begin).strip()
        finally:
            self._table.disk.close(fd)

    def _look_at_size(self, name: str) -> None:
        try:
            size = self._table.disk.lstat(f"{self._table.folder}/{name}.jsonl").size
        except OSError:
            return  # `take` tells of files that cannot be looked at
        if size <= self._rules.large:
            self._large_told.discard(name)
        elif name not in self._large_told and len(self._large_told) < _REFUSED_MAX:
            self._large_told.add(name)
            data = {"file": f"inbox/{name}.jsonl", "length": size}
            self._table.news.append(Draft(type="journal.inbox_large", subject="host", data=data))

    # --- which files there are

    def _look_at_all(self) -> None:
        self._all, self._listed = False, True
        names = self._names()
        if self._listed:
            self._forget_days_gone(set(names))
        for name in (*names, *self._table.followed, *self._moved_away(set(names))):
            self._mark(name)

    def _moved_away(self, names: set[str]) -> list[str]:
        """Names whose file is gone, and stands in the inbox under a name that is nobody's: a rotation while no daemon ran."""
        gone = {
            cursor.inode: name
            for name, cursor in self._table.known.items()
            if name not in names and cursor.inode and "/" not in name
        }
        if not gone:
            return []
        found: list[str] = []
        for entry in self._list(""):
            if entry.removesuffix(".jsonl") not in names:
                try:
                    found.append(gone.get(self._table.disk.lstat(f"{self._table.folder}/{entry}").inode, ""))
                except OSError:
                    continue  # gone again
        return [name for name in found if name]

    def _forget_days_gone(self, names: set[str]) -> None:
        """Days that a program has removed do not come back: their cursors need no room.

        Those of other names stay: a file that comes back under one must not get the places, and so the ids, of the old one.
        """
        for name in [name for name in self._table.known if "/" in name and name not in names]:
            del self._table.known[name]
            self._lines.forget(name)
            self._lost.has_name_again(name)

    def _names(self) -> list[str]:
        names: list[str] = []
        for entry in self._list(""):
            if entry.endswith(".jsonl"):
                names.append(entry.removesuffix(".jsonl"))
            elif not entry.startswith("."):
                names += self._names_below(entry)
        return names

    def _names_below(self, entry: str) -> list[str]:
        """A program's own folder of daily files. What is neither that nor `NAME.jsonl` is nobody's business here."""
        try:
            mode = self._table.disk.lstat(f"{self._table.folder}/{entry}").mode
        except FileNotFoundError:
            return []  # gone again
        except OSError as error:
            self._listed = False
            self._refuse(entry, str(error.strerror))
            return []
        if stat.S_ISLNK(mode):
            self._refuse(entry, "a link; it is not followed")
        if not stat.S_ISDIR(mode):
            self._tell_of_ending(entry, mode)
            return []
        if not _NAME.fullmatch(entry):
            self._refuse(entry, _NO_NAME)
            return []
        return [f"{entry}/{day.removesuffix('.jsonl')}" for day in self._list(f"/{entry}") if day.endswith(".jsonl")]

    def _tell_of_ending(self, entry: str, mode: int) -> None:
        """A file that is never read is told of, once; but for one that had another name when it was."""
        if not stat.S_ISREG(mode) or entry in self._refused or not entry.lower().endswith(_MEANT):
            return
        try:
            inode = self._table.disk.lstat(f"{self._table.folder}/{entry}").inode
        except OSError:
            return  # gone again
        live = (file.cursor for file in (*self._table.followed.values(), *self._lost.files()))
        if all(cursor.inode != inode for cursor in chain(self._table.known.values(), live)):
            self._refuse(entry, _NO_ENDING)

    def _list(self, below: str) -> list[str]:
        try:
            names = sorted(self._table.disk.listdir(self._table.folder + below))
        except OSError as error:
            self._listed = False
            self._look_again("", error)
            if below not in self._unlisted:
                self._unlisted.add(below)
                self._table.fail(f"inbox{below}", error)
            return []
        self._unlisted.discard(below)
        return names

    def _mark(self, name: str) -> None:
        """Look at this file in the next `take`."""
        if name in self._table.followed or name in self._table.known:
            self._table.dirty[name] = None
            return
        program, slash, day = name.partition("/")
        if not _NAME.fullmatch(program) or (slash and not _DAY.fullmatch(day)):
            self._refuse(f"{name}.jsonl", _NO_NAME)
        elif len(self._table.known) + len(self._table.dirty) >= CURSORS_MAX:
            self._refuse(name, f"more than {CURSORS_MAX} files in the inbox")
        else:
            self._table.dirty[name] = None

    # --- one file

    def _take_from(self, name: str, take: Take, share: int) -> bool:
        """Up to `share` lines of it. Whether there may be more."""
        file = self._table.follow(name)
        try:
            more = self._take_what_stands(file, take, share)
        except OSError as error:
            self._table.shut(file)
            self._look_again(name, error)
            if not file.failing:
                file.failing = True
                self._table.fail(f"inbox/{name}.jsonl", error)
            return False
        if file.failing:
            file.failing = False
            self._retry_s = _RETRY_S
        return more

    def _take_what_stands(self, file: Followed, take: Take, share: int) -> bool:
        here = self._table.look(file)
        if here is None or not self._table.is_the_one(file, here):
            self._lost.lose_name(file, told=here is not None)
            if here is not None:
                self._begin(file, here)
        if self._lost.take(file.name, take, share):
            return True  # what came before the rotation goes before what came after it
        if here is None:
            self._table.forget(file.name)
            return False
        if not self._table.reopen(file, here):
            return True
        if self._table.was_truncated(file, here):
            self._start_over(file, here)
        file.size = here.size
        return self._lines.read(file, take, share)

    def _start_over(self, file: Followed, here: FileStat) -> None:
        lost = file.size - file.cursor.offset
        if lost > 0:
            self._table.tell_lost(file, lost)
        file.cursor = InboxCursor(here.device, here.inode, file.cursor.generation + 1, 0, 0, 0)
        file.size = file.skipped = 0

    def _begin(self, file: Followed, here: FileStat) -> None:
        """Another file stands under this name now, or the first one: perhaps one that we know under another name."""
        self._lost.has_name_again(file.name)
        if file.cursor.generation < 0 and self._lost.came_from_elsewhere(file, here):
            return
        file.cursor = InboxCursor(here.device, here.inode, file.cursor.generation + 1, 0, 0, 0)
        file.size = file.skipped = 0

    def _refuse(self, name: str, reason: str) -> None:
        """Told once for each name, and for so many names at most."""
        shown = ascii(name)[1:-1][:200]
        if shown in self._refused or len(self._refused) >= _REFUSED_MAX:
            return
        self._refused.add(shown)
        self._table.news.append(
            Draft(type="journal.inbox_failed", subject="host", data={"file": f"inbox/{shown}", "error": reason})
        )


def why_never_read(entry: str) -> str:
    """Of a file right in the inbox, by its name; empty when it is read, or when nobody meant it to be."""
    if entry.endswith(".jsonl"):
        return "" if _NAME.fullmatch(entry.removesuffix(".jsonl")) else _NO_NAME
    return _NO_ENDING if entry.lower().endswith(_MEANT) else ""


def emit_offline(files: Files, folder: str, raw: bytes, *, name: str) -> None:
    """Append one line to `inbox/NAME.jsonl`, for a daemon that comes later: durable there when this returns.

    `raw` is JSON without its newline. Raises BadLine when the inbox would refuse it, Refused, OSError.
    """
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is no name for an inbox file", "use letters, digits and . _ @ + -")
    if b"\n" in raw or len(raw) >= LINE_MAX:
        raise BadLine(f"an event is one line of less than {LINE_MAX} bytes")
    check_that_it_fits(parse_foreign(raw, source=f"inbox/{name}"))
    make_dirs(files, folder, 0o2770)
    fd = files.open(f"{folder}/{name}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        here = files.fstat(fd)
        if not stat.S_ISREG(here.mode):
            raise Refused(f"inbox/{name}.jsonl is not a regular file", "remove it")
        torn = here.size > 0 and files.pread(fd, 1, here.size - 1) != b"\n"
        write_all(files, fd, (b"\n" if torn else b"") + raw + b"\n")
        files.fdatasync(fd)
    finally:
        files.close(fd)
    files.fsync_dir(folder)
