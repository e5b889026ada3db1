"""The inbox: files that other programs append to, followed line by line.

The spine calls `take` in its own time; a sensor that watches the folder calls `touched` with a file's name, or `doubt` when it
is not sure what it missed. Nothing is written here but copies of what could not be read: a line counts as taken when the
journal holds it, and the cursors come back from there (`aios.events.origin`) at the next start.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from zlib import crc32

from aios.clock import Clock
from aios.disk import make_dirs, write_all
from aios.errors import Refused
from aios.events.codec import LINE_MAX, BadLine, encode, parse_foreign
from aios.events.event import Draft, Event, day_of
from aios.events.origin import CURSORS_MAX, MARK_SPAN, InboxCursor, mark_of, missing_id, origin_begin, origin_text, quarantined
from aios.journal.ids import IdMemory
from aios.journal.pace import NO_PACE_LIMITS, PaceLimits, Paces
from aios.journal.quarantine import Quarantine
from aios.ports import Files, FileStat, Taken

_OPEN_MAX = 256  # files that are held open, so that the rest of one that is renamed away can still be read
_REFUSED_MAX = 1_000
_CHUNK = 256 << 10
_LINE_USUAL = 1 << 10
_BYTES_A_TAKE = 8 << 20  # what one `take` may read at most: bounds its time where lines are huge
_SURE_TO_FIT = 12 << 10  # encoding anew makes a line at most four times as long (1e15 becomes 1000000000000000.0)
_SINGLY = 16  # so many bad lines of a take are told one by one; a flood is told by its extent
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", re.ASCII)
_ROTATED = re.compile(r"[.-]\d[\d.:T-]{0,30}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MEANT = (".json", ".ndjson", ".jsonlines", ".jl", ".log", ".txt")
"""Endings of files that somebody meant for the inbox; others (of rotations, of files in the making) are nobody's business."""
_NO_ENDING = "its name must end in .jsonl"
_NO_NAME = "no name for an inbox file: letters, digits and . _ @ + -, and in a folder a day such as 2026-02-24"
_NOTHING = InboxCursor(0, 0, -1, 0, 0, 0)
_NOTHING_DRAFTED = (-1, -1)
_TIDY_EVERY_S = 3600.0
_SLOWED_TOLD_EVERY_S = 600.0
_DAY_S = 86_400.0
_BLANK_MAX = 4096
_LINGER_S = 60.0  # a program may go on with a file that a rotation took away, until it opens the new one
_LINGER_LOOK_S = 1.0
_OLD_MAX = 64
_RETRY_S, _RETRY_CEILING_S = 5.0, 300.0
_MAY_PASS = frozenset(
    getattr(errno, name)
    for name in ["EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EDQUOT", "ESTALE", "ENODEV", "ENXIO", "ETIMEDOUT", "EAGAIN"]
)
"""Errors that may go away though nobody touches the file. Of others (rights, a pipe) the kernel tells when they do."""


@dataclass(slots=True, eq=False)
class _Followed:
    """A file and how far it was read. `skipped`: bytes behind the cursor that belong to a line that is too long already.

    One that has lost its name is read on `until` then; late lines may come.
    """

    name: str
    path: str
    cursor: InboxCursor
    fd: int = -1
    size: int = 0
    skipped: int = 0
    failing: bool = False
    endless: bool = False
    behind: bool = False
    until: float = 0.0

    @property
    def source(self) -> str:
        return f"inbox/{self.name.partition('/')[0]}"


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


class _Take:
    """What one `take` has gathered, and what it may still do."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.bytes = _BYTES_A_TAKE
        self.bad = 0
        self.drafts: list[Draft] = []

    @property
    def full(self) -> bool:
        return self.lines <= 0 or self.bytes <= 0


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
        self._files = files
        self._folder = folder
        self._quarantine = Quarantine(files, quarantine, "inbox")
        self._ids = ids if ids is not None else IdMemory()
        self._durable = cursors
        self._known = dict(cursors)
        self._clock = clock
        self._rules = rules
        self._later = later
        self._recall = recall
        self._paces = Paces(rules.limits)
        self._held: OrderedDict[str, None] = OrderedDict()
        self._slowed_told: dict[str, float] = {}
        self._large_told: set[str] = set()
        self._drafted: dict[str, tuple[int, int]] = {}  # generation and offset behind the last line that became an event
        self._old: dict[str, list[_Followed]] = {}
        self._old_look_at = 0.0
        self._given_away: dict[str, int] = {}
        self._tidy_at = 0.0
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._dirty: OrderedDict[str, None] = OrderedDict()
        self._refused: set[str] = set()
        self._news: list[Draft] = []
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
            if name in self._dirty:
                self._notice(name)
        elif _NAME.fullmatch(path) and ".jsonl" not in path:
            for name in self._names_below(path):
                self._mark(name)
            for name in self._followed:
                if name.startswith(path + "/"):
                    self._mark(name)
        elif self._old:
            self._dirty.update(dict.fromkeys(self._old))

    def _notice(self, name: str) -> None:
        file = self._follow(name)
        try:
            here = self._stat(file)
            if here is None:
                return
            if not self._is_the_one(file, here):
                self._lose_name(file, told=True)
                self._begin(file, here)
            self._reopen(file, here)
        except OSError:
            pass  # its turn comes, and tells of it

    def take(self, limit: int) -> Taken:
        """See `Inbox.take`. Costs nothing when nothing was touched. What cannot be read is told, not raised."""
        recall, self._recall = self._recall, nothing
        recall(self._ids, lambda error: self._fail("events", error))
        self._retry()
        if self._all:
            self._look_at_all()
        if self._clock is not None:
            self._release(self._clock.monotonic())
            self._tidy(self._clock)
        self._look_for_late_lines()
        take = _Take(limit)
        while self._dirty and not take.full:
            share = max(1, take.lines // len(self._dirty))
            name, _ = self._dirty.popitem(last=False)
            if self._take_at_pace(name, take, share):
                self._dirty[name] = None  # behind the others, so that each has its turn
        news, self._news = self._news, []
        self._ask_for_later()
        return Taken(news + take.drafts, bool(self._dirty))

    def close(self) -> None:
        for file in (*self._followed.values(), *chain.from_iterable(self._old.values())):
            self._shut(file)

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
        self._dirty.update(dict.fromkeys(filter(None, again)))

    # --- at their pace

    def _take_at_pace(self, name: str, take: _Take, share: int) -> bool:
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
        if name in self._followed:
            self._followed[name].behind = more
        return more

    def _read_so_far(self, name: str) -> int:
        file = self._followed.get(name)
        return file.cursor.offset + file.skipped if file else 0

    def _hold(self, name: str, source: str, now: float) -> None:
        """Its lines wait in its file. Told when there are some, and not again and again."""
        self._held[name] = None
        file = self._followed.get(name)
        if file is None or not file.behind or now < self._slowed_told.get(source, -_SLOWED_TOLD_EVERY_S) + _SLOWED_TOLD_EVERY_S:
            return
        self._slowed_told[source] = now
        limits = {"lines_per_s": self._paces.lines_per_s(source), "bytes_per_s": self._paces.bytes_per_s}
        data = {"file": f"inbox/{name}.jsonl", "source": f"inbox/{source}", "waiting": file.size - file.cursor.offset, **limits}
        self._news.append(Draft(type="journal.inbox_slowed", subject="host", data=data))

    def _release(self, now: float) -> None:
        for name in list(self._held):
            if self._paces.room(name.partition("/")[0], now) > 0:
                del self._held[name]
                self._dirty[name] = None

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
        path = f"{self._folder}/{name}.jsonl"
        known = self._followed[name].cursor if name in self._followed else self._known.get(name)
        try:
            here = self._files.lstat(path)
            if known is None or here.mtime_ns > before * 1e9 or (here.device, here.inode) != (known.device, known.inode):
                return
            if not self._is_durable(name) or not self._only_blanks(path, known.offset, here.size):
                return
            self._files.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(name, f"was taken whole, and cannot be removed: {error.strerror}")
            return
        if name in self._followed:
            self._forget(name)
        data = {"file": f"inbox/{name}.jsonl", "length": here.size}
        self._news.append(Draft(type="journal.inbox_removed", subject="host", data=data))

    def _is_durable(self, name: str) -> bool:
        """Whether the journal holds the last line of it that became an event."""
        drafted, durable = self._drafted.get(name), self._durable.get(name)
        if drafted is None:
            return True  # nothing came of it since the start
        return durable is not None and (durable.generation, durable.offset) >= drafted

    def _only_blanks(self, path: str, begin: int, end: int) -> bool:
        """Whether nothing stands there that could be a line yet to come."""
        if begin == end:
            return True
        if not begin < end <= begin + _BLANK_MAX:
            return False
        fd = self._files.open(path, _OPEN)
        try:
            return not self._files.pread(fd, end - begin, begin).strip()
        finally:
            self._files.close(fd)

    def _look_at_size(self, name: str) -> None:
        try:
            size = self._files.lstat(f"{self._folder}/{name}.jsonl").size
        except OSError:
            return  # `take` tells of files that cannot be looked at
        if size <= self._rules.large:
            self._large_told.discard(name)
        elif name not in self._large_told and len(self._large_told) < _REFUSED_MAX:
            self._large_told.add(name)
            data = {"file": f"inbox/{name}.jsonl", "length": size}
            self._news.append(Draft(type="journal.inbox_large", subject="host", data=data))

    # --- which files there are

    def _look_at_all(self) -> None:
        self._all, self._listed = False, True
        names = self._names()
        if self._listed:
            self._forget_days_gone(set(names))
        for name in (*names, *self._followed, *self._moved_away(set(names))):
            self._mark(name)

    def _moved_away(self, names: set[str]) -> list[str]:
        """Names whose file is gone, and stands in the inbox under a name that is nobody's: a rotation while no daemon ran."""
        gone = {
            cursor.inode: name for name, cursor in self._known.items() if name not in names and cursor.inode and "/" not in name
        }
        if not gone:
            return []
        found: list[str] = []
        for entry in self._list(""):
            if entry.removesuffix(".jsonl") not in names:
                try:
                    found.append(gone.get(self._files.lstat(f"{self._folder}/{entry}").inode, ""))
                except OSError:
                    continue  # gone again
        return [name for name in found if name]

    def _forget_days_gone(self, names: set[str]) -> None:
        """Days that a program has removed do not come back: their cursors need no room.

        Those of other names stay: a file that comes back under one must not get the places, and so the ids, of the old one.
        """
        for name in [name for name in self._known if "/" in name and name not in names]:
            del self._known[name]
            self._drafted.pop(name, None)
            self._given_away.pop(name, None)

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
            mode = self._files.lstat(f"{self._folder}/{entry}").mode
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
            inode = self._files.lstat(f"{self._folder}/{entry}").inode
        except OSError:
            return  # gone again
        live = (file.cursor for file in (*self._followed.values(), *chain.from_iterable(self._old.values())))
        if all(cursor.inode != inode for cursor in chain(self._known.values(), live)):
            self._refuse(entry, _NO_ENDING)

    def _list(self, below: str) -> list[str]:
        try:
            names = sorted(self._files.listdir(self._folder + below))
        except OSError as error:
            self._listed = False
            self._look_again("", error)
            if below not in self._unlisted:
                self._unlisted.add(below)
                self._fail(f"inbox{below}", error)
            return []
        self._unlisted.discard(below)
        return names

    def _mark(self, name: str) -> None:
        """Look at this file in the next `take`."""
        if name in self._followed or name in self._known:
            self._dirty[name] = None
            return
        program, slash, day = name.partition("/")
        if not _NAME.fullmatch(program) or (slash and not _DAY.fullmatch(day)):
            self._refuse(f"{name}.jsonl", _NO_NAME)
        elif len(self._known) + len(self._dirty) >= CURSORS_MAX:
            self._refuse(name, f"more than {CURSORS_MAX} files in the inbox")
        else:
            self._dirty[name] = None

    def _follow(self, name: str) -> _Followed:
        file = self._followed.get(name)
        if file is None:
            file = _Followed(name, f"{self._folder}/{name}.jsonl", self._known.get(name, _NOTHING))
            self._followed[name] = file
            if len(self._followed) > _OPEN_MAX:
                self._forget(next(iter(self._followed)))
        self._followed.move_to_end(name)
        return file

    def _forget(self, name: str) -> None:
        """Close it; only its cursor is remembered."""
        file = self._followed.pop(name)
        self._shut(file)
        if file.cursor.generation >= 0:
            self._known[name] = file.cursor

    # --- one file

    def _take_from(self, name: str, take: _Take, share: int) -> bool:
        """Up to `share` lines of it. Whether there may be more."""
        file = self._follow(name)
        try:
            more = self._take_what_stands(file, take, share)
        except OSError as error:
            self._shut(file)
            self._look_again(name, error)
            if not file.failing:
                file.failing = True
                self._fail(f"inbox/{name}.jsonl", error)
            return False
        if file.failing:
            file.failing = False
            self._retry_s = _RETRY_S
        return more

    def _take_what_stands(self, file: _Followed, take: _Take, share: int) -> bool:
        here = self._stat(file)
        if here is None or not self._is_the_one(file, here):
            self._lose_name(file, told=here is not None)
            if here is not None:
                self._begin(file, here)
        if file.name in self._old and self._take_from_old(file.name, take, share):
            return True  # what came before the rotation goes before what came after it
        if here is None:
            self._forget(file.name)
            return False
        if not self._reopen(file, here):
            return True
        if self._was_truncated(file, here):
            self._start_over(file, here)
        file.size = here.size
        return self._read(file, take, share)

    def _is_the_one(self, file: _Followed, here: FileStat) -> bool:
        """Whether this is the file that we know by this name.

        At the first look after a start its device may have another number (some file systems change it with each mount);
        whether the content is the one we know is then for its mark to say.
        """
        cursor = file.cursor
        if here.inode == cursor.inode and here.device != cursor.device and file.fd < 0:
            file.cursor = cursor._replace(device=here.device)
            return True
        return (here.device, here.inode) == (cursor.device, cursor.inode)

    def _stat(self, file: _Followed) -> FileStat | None:
        try:
            here = self._files.lstat(file.path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(here.mode):
            raise OSError(errno.EINVAL, "not a regular file; links, pipes and devices are not followed")
        return here

    def _reopen(self, file: _Followed, here: FileStat) -> bool:
        """Have it open. False when another file came to stand there just now."""
        if file.fd >= 0:
            return True
        fd = self._files.open(file.path, _OPEN)
        opened = self._files.fstat(fd)
        if (opened.device, opened.inode) != (here.device, here.inode):
            self._files.close(fd)
            return False
        file.fd = fd
        return True

    def _was_truncated(self, file: _Followed, here: FileStat) -> bool:
        """Whether what stands before the cursor is not what we read there: also when the file has grown again since."""
        cursor = file.cursor
        if here.size < cursor.offset + file.skipped:
            return True
        span = min(cursor.length, MARK_SPAN)
        return crc32(self._files.pread(file.fd, span, cursor.offset - span)) != cursor.mark

    def _start_over(self, file: _Followed, here: FileStat) -> None:
        lost = file.size - file.cursor.offset
        if lost > 0:
            self._tell_lost(file, lost)
        file.cursor = InboxCursor(here.device, here.inode, file.cursor.generation + 1, 0, 0, 0)
        file.size = file.skipped = 0

    # --- rotations

    def _begin(self, file: _Followed, here: FileStat) -> None:
        """Another file stands under this name now, or the first one: perhaps one that we know under another name."""
        self._given_away.pop(file.name, None)
        if file.cursor.generation < 0 and self._came_from_elsewhere(file, here):
            return
        file.cursor = InboxCursor(here.device, here.inode, file.cursor.generation + 1, 0, 0, 0)
        file.size = file.skipped = 0

    def _lose_name(self, file: _Followed, told: bool) -> None:
        """The name is gone, or another file has it. What the old one holds is read on, if it is open or can be found."""
        if not file.cursor.inode:
            self._look_for_missed(file, self._given_away.get(file.name))
            return
        entry = self._find_renamed(file)
        if entry.endswith(".jsonl"):
            # Before anything is read of what has the name now: the journal must know of this first, or a crash brings it twice.
            self._mark(entry.removesuffix(".jsonl"))
            self._notice(entry.removesuffix(".jsonl"))
            if not file.cursor.inode:
                self._look_for_missed(file, self._given_away.get(file.name))
                return
        if file.fd < 0 and entry:
            file.fd = self._open_renamed(f"{self._folder}/{entry}", file.cursor)
        last = self._last_written(file)
        if file.fd >= 0:
            self._read_on(file)
            file.fd = -1
        elif last is not None:
            pass  # it has another name in the inbox, and is read under that
        elif told:
            self._tell_lost(file, -1)
        else:
            return  # nothing is certain yet
        self._look_for_missed(file, last)
        file.cursor = file.cursor._replace(device=0, inode=0)  # what it was is done with
        file.size = file.skipped = 0

    def _look_for_missed(self, file: _Followed, last_ns: int | None) -> None:
        missed = self._missed_since(file, last_ns) if last_ns is not None else []
        for one in missed:
            self._read_on(one)
        file.cursor = file.cursor._replace(generation=file.cursor.generation + len(missed))

    def _read_on(self, file: _Followed) -> None:
        now = self._clock.monotonic() if self._clock is not None else -inf
        self._old.setdefault(file.name, []).append(replace(file, until=now + _LINGER_S))

    def _last_written(self, file: _Followed) -> int | None:
        """When the file that lost this name was written to last, in nanoseconds; None when nobody knows it any more."""
        if file.fd >= 0:
            return self._files.fstat(file.fd).mtime_ns
        for name, cursor in self._all_cursors():
            if cursor.inode == file.cursor.inode and name != file.name:
                try:
                    return self._files.lstat(f"{self._folder}/{name}.jsonl").mtime_ns
                except FileNotFoundError:
                    return None
        return None

    def _find_renamed(self, file: _Followed) -> str:
        """Where a rotation has put it, below the inbox: mostly it stays in its folder. Empty when it is not there."""
        below = file.name.rpartition("/")[0]
        for entry in self._beside(file):
            path = f"{below}/{entry}" if below else entry
            try:
                here = self._files.lstat(f"{self._folder}/{path}")
            except OSError:
                continue  # gone again
            if here.inode == file.cursor.inode and stat.S_ISREG(here.mode) and self._known_by(path) is None:
                return path
        return ""

    def _missed_since(self, file: _Followed, last_ns: int) -> list[_Followed]:
        """Files that had this name after the one that lost it and before the one that has it, and that we never saw there.

        Two rotations between two looks. They are called `NAME.jsonl.2` or the like, nobody reads them, and they were written to
        later than the one that we know: what a rotation has kept from earlier days was not.
        """
        taken = {cursor.inode for _, cursor in self._all_cursors()}
        taken |= {old.cursor.inode for olds in self._old.values() for old in olds}
        folder, base = os.path.split(file.path)
        found: list[tuple[int, str, FileStat]] = []
        for entry in self._beside(file):
            if entry.startswith(base) and _ROTATED.fullmatch(entry, len(base)):
                here = self._files.lstat(f"{folder}/{entry}")
                if stat.S_ISREG(here.mode) and here.mtime_ns > last_ns and here.inode not in taken:
                    found.append((here.mtime_ns, f"{folder}/{entry}", here))
        missed: list[_Followed] = []
        for number, (_, path, here) in enumerate(sorted(found)[:_OLD_MAX], 1):
            cursor = InboxCursor(here.device, here.inode, file.cursor.generation + number, 0, 0, 0)
            fd = self._open_renamed(path, cursor)
            if fd >= 0:
                missed.append(_Followed(file.name, file.path, cursor, fd))
        return missed

    def _beside(self, file: _Followed) -> list[str]:
        try:
            return self._files.listdir(os.path.dirname(file.path))
        except FileNotFoundError:
            return []  # its folder is gone too

    def _open_renamed(self, path: str, cursor: InboxCursor) -> int:
        try:
            return self._open_if_it_is(path, self._files.lstat(path), cursor)
        except OSError:
            return -1  # gone again: it is told as lost

    def _known_by(self, path: str) -> InboxCursor | None:
        """The cursor of the inbox file at this path, if it is one that we know: it is read under that name."""
        name = path.removesuffix(".jsonl")
        return self._followed[name].cursor if name in self._followed else self._known.get(name)

    def _open_if_it_is(self, path: str, here: FileStat, cursor: InboxCursor) -> int:
        """Opened, if what stands before the cursor is what was read there; else -1. An inode may be another file's by now."""
        fd = self._files.open(path, _OPEN)
        opened = self._files.fstat(fd)
        span = min(cursor.length, MARK_SPAN)
        same = (opened.device, opened.inode) == (here.device, here.inode) and opened.size >= cursor.offset
        if same and crc32(self._files.pread(fd, span, cursor.offset - span)) == cursor.mark:
            return fd
        self._files.close(fd)
        return -1

    def _came_from_elsewhere(self, file: _Followed, here: FileStat) -> bool:
        """Whether a rotation gave a file that we know this name: then it is read on under it, and no line comes twice."""
        before = self._take_over_old(file, here) or self._take_over_named(file, here)
        if not before:
            return False
        self._dirty[before] = None
        if file.cursor.length:
            origin = origin_text(file.name, file.cursor)  # by this the world knows how far it was read, under its new name
            data = {"file": f"inbox/{file.name}.jsonl", "before": f"inbox/{before}.jsonl"}
            self._news.append(Draft(type="journal.inbox_moved", subject="host", data=data, origin=origin))
        return True

    def _take_over_old(self, file: _Followed, here: FileStat) -> str:
        """From those that have lost their name. Gives the name."""
        for name, olds in self._old.items():
            for old in olds:
                if (old.cursor.device, old.cursor.inode) == (here.device, here.inode):
                    olds.remove(old)
                    if not olds:
                        del self._old[name]
                    file.cursor, file.fd, file.size, file.skipped = old.cursor, old.fd, old.size, old.skipped
                    return name
        return ""

    def _take_over_named(self, file: _Followed, here: FileStat) -> str:
        """From those whose name was taken away just now, or while no daemon ran. Raises OSError for a second name of a file."""
        here_too = {name: cursor for name, cursor in self._all_cursors() if name != file.name and cursor.inode == here.inode}
        for name, cursor in sorted(here_too.items(), key=lambda item: item[1].offset, reverse=True):
            if self._still_there(name, here):
                raise OSError(errno.EMLINK, f"another name of inbox/{name}.jsonl, and read under that")
            fd = self._open_if_it_is(file.path, here, cursor)
            if fd >= 0:
                file.cursor, file.fd = cursor._replace(device=here.device), fd
                for other in here_too:
                    self._give_away(other, here.mtime_ns)
                return name
        return ""

    def _all_cursors(self) -> Iterator[tuple[str, InboxCursor]]:
        for name, cursor in self._known.items():
            if name not in self._followed:
                yield name, cursor
        for name, file in self._followed.items():
            yield name, file.cursor

    def _still_there(self, name: str, here: FileStat) -> bool:
        try:
            there = self._files.lstat(f"{self._folder}/{name}.jsonl")
        except FileNotFoundError:
            return False
        return (there.device, there.inode) == (here.device, here.inode)

    def _give_away(self, name: str, last_ns: int) -> None:
        """The file that this name had, written to last at this time, is read under another one now."""
        self._given_away[name] = last_ns
        if name in self._known:
            self._known[name] = self._known[name]._replace(device=0, inode=0)
        other = self._followed.get(name)
        if other is not None:
            self._shut(other)
            other.cursor = other.cursor._replace(device=0, inode=0)
            other.size = other.skipped = 0

    def _look_for_late_lines(self) -> None:
        """Files without a name that may have grown: the kernel tells of some of them only."""
        if not self._old:
            return
        now = self._clock.monotonic() if self._clock is not None else inf
        if now >= self._old_look_at:
            self._old_look_at = now + _LINGER_LOOK_S
            self._dirty.update(dict.fromkeys(self._old))
        self._later(_LINGER_LOOK_S)

    def _take_from_old(self, name: str, take: _Take, share: int) -> bool:
        """Up to `share` lines of the files that had this name. Whether there is more at hand."""
        now = self._clock.monotonic() if self._clock is not None else inf
        crowded = sum(map(len, self._old.values())) > _OLD_MAX
        for old in list(self._old[name]):
            try:
                old.size = self._files.fstat(old.fd).size
                if self._read(old, take, share):
                    return True
                if now < old.until and not crowded:
                    continue
                self._take_half_line(old, take)
            except OSError as error:
                self._fail(f"inbox/{name}.jsonl", error)
            self._shut(old)
            self._old[name].remove(old)
        if not self._old[name]:
            del self._old[name]
        return False

    def _take_half_line(self, old: _Followed, take: _Take) -> None:
        """Nothing comes any more: what stands behind the last newline is a line, or what a program did not get to write."""
        cursor = old.cursor
        left = old.size - cursor.offset
        if left > LINE_MAX:
            self._put_aside_long(old, left, take)
        elif left > 0:
            self._lines(old, [self._files.pread(old.fd, left, cursor.offset)], take, newline=b"")

    # --- lines

    def _read(self, file: _Followed, take: _Take, share: int) -> bool:
        offset = file.cursor.offset + file.skipped
        there = max(0, file.size - offset) + 1  # one more: a short read is then the end, as far as we know
        wanted = min(_CHUNK, LINE_MAX + 1 + share * _LINE_USUAL, there)
        chunk = self._files.pread(file.fd, wanted, offset)
        take.bytes -= len(chunk)
        end = chunk.rfind(b"\n") + 1
        if file.skipped or (not end and len(chunk) > LINE_MAX):
            if self._pass_over(file, chunk, take) or len(chunk) == wanted:
                return True
            self._tell_endless(file)
            return False
        if not end:
            return False
        lines = chunk[: end - 1].split(b"\n", share)
        left_over = len(lines) > share
        if left_over:
            lines.pop()
        take.lines -= len(lines)
        self._lines(file, lines, take)
        return left_over or len(chunk) == wanted

    def _pass_over(self, file: _Followed, chunk: bytes, take: _Take) -> bool:
        """A line that is too long: on to its end, in as many turns as it takes. Whether the end was found."""
        end = chunk.find(b"\n") + 1
        file.skipped += end or len(chunk)
        if end:
            self._put_aside_long(file, file.skipped, take)
        return end > 0

    def _tell_endless(self, file: _Followed) -> None:
        """Once: its program has stopped inside a line that is too long already, and what it writes next belongs to that."""
        if not file.endless:
            file.endless = True
            data = {"file": f"inbox/{file.name}.jsonl", "error": f"a line of more than {LINE_MAX} bytes that has no end yet"}
            self._news.append(Draft(type="journal.inbox_failed", subject="host", data=data))

    def _put_aside_long(self, file: _Followed, length: int, take: _Take) -> None:
        begin = file.cursor.offset
        head = self._files.pread(file.fd, LINE_MAX, begin)
        tail = self._files.pread(file.fd, MARK_SPAN, begin + length - MARK_SPAN)
        self._move(file, length, crc32(tail))
        file.skipped, file.endless = 0, False
        take.lines -= 1
        self._put_aside(file, head, f"longer than {LINE_MAX} bytes", take)

    def _move(self, file: _Followed, length: int, mark: int) -> None:
        device, inode, generation, offset, _, _ = file.cursor
        file.cursor = InboxCursor(device, inode, generation, offset + length, length, mark)

    def _lines(self, file: _Followed, lines: Sequence[bytes], take: _Take, newline: bytes = b"\n") -> None:
        """The next lines of it, of which each stood before a newline (but for the last one of a file that is gone).

        What lines of one file share is made once, and the cursor moves behind the last of them: there may be a million.
        """
        device, inode, generation, offset, length, mark = file.cursor
        begin, source, drafts = origin_begin(file.name, file.cursor), file.source, take.drafts
        drafted = -1
        for line in lines:
            raw = line + newline
            length = len(raw)
            mark = crc32(raw) if length <= MARK_SPAN else mark_of(raw)
            origin = f"{begin}{offset}+{length}~{mark:08x}"
            offset += length
            if length <= 2 and not raw.strip():
                continue  # an empty line says nothing
            try:
                draft = self._draft(source, raw, origin, mark)
            except BadLine as bad:
                file.cursor = InboxCursor(device, inode, generation, offset, length, mark)
                self._put_aside(file, raw, str(bad), take)
                drafted = offset
                continue
            if draft is not None:
                drafts.append(draft)
                drafted = offset
        file.cursor = InboxCursor(device, inode, generation, offset, length, mark)
        if drafted >= 0:
            self._note(file, drafted)

    def _note(self, file: _Followed, offset: int) -> None:
        """An event comes of what ends there; the journal is to hold it before the file may go."""
        generation = file.cursor.generation
        if generation >= self._drafted.get(file.name, _NOTHING_DRAFTED)[0]:
            self._drafted[file.name] = generation, offset

    def _draft(self, source: str, raw: bytes, origin: str, mark: int) -> Draft | None:
        """None for a line that was taken before. Raises BadLine."""
        fresh = "" if b'"id"' in raw else missing_id(origin, raw)
        draft = parse_foreign(raw, source=source, origin=origin, fresh_id=fresh)
        if len(raw) > _SURE_TO_FIT:
            _check_that_it_fits(draft)
        if not draft.id:
            return draft._replace(id=missing_id(origin, raw))
        if draft.id == fresh:
            return draft
        met = self._ids.meet(draft.id, mark)
        if met == "other":
            raise BadLine("this id was used before, for another line")
        return draft if met == "new" else None

    # --- what cannot be taken

    def _put_aside(self, file: _Followed, raw: bytes, reason: str, take: _Take) -> None:
        """The line that ends at the cursor is bad."""
        cursor = file.cursor
        place = f"inbox/{file.name}.jsonl"
        begin = cursor.offset - cursor.length
        kept = self._quarantine.keep(raw, file=place, offset=begin, length=cursor.length, reason=reason)
        take.bad += 1
        self._note(file, cursor.offset)
        origin = origin_text(file.name, cursor)
        if take.bad > _SINGLY and take.drafts and self._extend(take.drafts, place, cursor, origin):
            return
        take.drafts.append(quarantined(file=place, offset=begin, length=cursor.length, reason=reason, kept=kept, origin=origin))

    def _extend(self, drafts: list[Draft], place: str, cursor: InboxCursor, origin: str) -> bool:
        """In a flood: let the last draft tell of this line too, if that was about the line just before."""
        last = drafts[-1]
        if last.type != "journal.quarantined" or last.data["file"] != place:
            return False
        begin = last.data["offset"]
        if begin + last.data["length"] != cursor.offset - cursor.length:
            return False
        lines = last.data.get("lines", 1) + 1
        drafts[-1] = last._replace(data={**last.data, "length": cursor.offset - begin, "lines": lines}, origin=origin)
        return True

    def _tell_lost(self, file: _Followed, length: int) -> None:
        data = {"file": f"inbox/{file.name}.jsonl", "offset": file.cursor.offset, "length": length}
        self._news.append(Draft(type="journal.inbox_lost", subject="host", data=data))

    def _fail(self, place: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        self._news.append(Draft(type="journal.inbox_failed", subject="host", data={"file": place, "error": reason}))

    def _refuse(self, name: str, reason: str) -> None:
        """Told once for each name, and for so many names at most."""
        shown = ascii(name)[1:-1][:200]
        if shown in self._refused or len(self._refused) >= _REFUSED_MAX:
            return
        self._refused.add(shown)
        self._news.append(Draft(type="journal.inbox_failed", subject="host", data={"file": f"inbox/{shown}", "error": reason}))

    def _shut(self, file: _Followed) -> None:
        if file.fd >= 0:
            fd, file.fd = file.fd, -1
            try:
                self._files.close(fd)
            except OSError:
                pass  # it was only read


def _check_that_it_fits(draft: Draft) -> None:
    """Raises BadLine when the line, written anew with the attributes it will get, is too long."""
    at = draft.time or "2026-02-24T08:15:30.123456Z"
    encode(
        Event(
            draft.id,
            draft.source,
            draft.type,
            draft.subject,
            at,
            draft.data,
            "2026-02-24T08:15:30.123456Z",
            "critical",
            draft.origin,
            draft.causationid,
            "0" * 64,
        )
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
    _check_that_it_fits(parse_foreign(raw, source=f"inbox/{name}"))
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
