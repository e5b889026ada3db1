"""Sockets: one Protocol for each thing outside, and the law of each method.

Adapters live in the rooms above (`journal/`, `blobs/`, `hands/`, `skills/`, `services/`, `sensors/`, `control/`), their twins in
`testing/`; `tests/contract` holds every adapter to what stands here. Nothing here has behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from aios.events.calls import SkillCall, SkillResult, Touches
from aios.events.event import Draft, Event, Position, Stored

if TYPE_CHECKING:
    from asyncio import Future  # hands reads this module too, and asyncio would cost it 9 MB

# --- the disk -------------------------------------------------------------------------------------------------------


class FileStat(NamedTuple):
    size: int
    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int


class Room(NamedTuple):
    """Bytes that a file system has left for us, and in all."""

    free: int
    total: int


class Files(Protocol):
    """The disk, call by call, so that each call can fail, be cut off or be lost. Paths are absolute. All raise OSError.

    Law: what was written counts as lost at a power cut until `fsync`/`fdatasync` of the descriptor came back; a created,
    renamed or removed name, until `fsync_dir` of its folder. After a failed sync nothing of that descriptor may be
    believed. `write` may write less than it was given. After `drop_cache` reads come from the disk: what a failed sync
    left in memory only is not seen any more.
    """

    def open(self, path: str, flags: int, mode: int = 0o640) -> int: ...
    def write(self, fd: int, data: bytes) -> int: ...
    def pread(self, fd: int, length: int, offset: int) -> bytes: ...
    def fsync(self, fd: int) -> None: ...
    def fdatasync(self, fd: int) -> None: ...
    def send_on(self, fd: int, offset: int, length: int) -> None:
        """What was written there sets out for the disk. That it cannot is no error: `fsync` says how it went."""
        ...

    def drop_cache(self, fd: int) -> None: ...
    def ftruncate(self, fd: int, length: int) -> None: ...
    def fstat(self, fd: int) -> FileStat: ...
    def close(self, fd: int) -> None: ...
    def stat(self, path: str) -> FileStat: ...
    def lstat(self, path: str) -> FileStat: ...
    def room(self, path: str) -> Room: ...
    def listdir(self, path: str) -> list[str]: ...
    def mkdir(self, path: str, mode: int = 0o750) -> None: ...
    def rename(self, source: str, target: str) -> None: ...
    def link(self, source: str, target: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def fsync_dir(self, path: str) -> None: ...
    def touch(self, path: str) -> None:
        """Its times are now."""
        ...

    def clone(self, source: int, target: int) -> bool:
        """Let an empty file share the bytes of a real file of the machine (a reflink). False where that cannot be.

        Here and in `copy` one of the two is a descriptor of this port, the other may be one of the real machine.
        """
        ...

    def copy(self, source: int, target: int, offset: int, length: int) -> int | None:
        """In the kernel, to the same place in a file that does not append; how many bytes. None where that cannot be.

        They are on their way to the disk when this returns, and no further: that is said by `fsync`. 0: there are no more.
        """
        ...


# --- the journal ----------------------------------------------------------------------------------------------------


class JournalWriter(Protocol):
    """The one writer. It commits what has gathered, then goes round; there is no timer."""

    def append(self, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        """Put events at the end, in this order and after all that were given before; `lines` are the same, encoded.

        The future resolves on the loop when they are durable, in order over all calls. It never resolves for what is
        not durable: on a failed write or sync a new part is begun and they are written again, until the disk takes them.
        """
        ...

    async def close(self) -> None:
        """Commit what is left, then end."""
        ...

    @property
    def committing_since(self) -> float:
        """Since when (monotonic) one commit has been under way; 0: none is. So a disk that hangs is told from one that fails."""
        ...


class JournalReader(Protocol):
    def read(self, after: Position | None = None) -> Iterator[Stored]:
        """Every readable event after this position in order; bad lines are stepped over (the writer's start-up tells of them)."""
        ...

    def at(self, position: Position) -> Event | None:
        """The event at this position; None where there is none that can be read."""
        ...


class Taken(NamedTuple):
    """What the inbox found: drafts with their `origin`, in file order. Refused lines are `journal.quarantined` drafts."""

    drafts: list[Draft]
    more: bool


class Inbox(Protocol):
    """Files that other programs append to. The cursor of each is folded by the world from the `origin` of taken lines."""

    def take(self, limit: int) -> Taken:
        """At most about `limit` further lines over all files, fairly; `more` when there are others at hand."""
        ...

    def doubt(self) -> None:
        """Look at every file again at the next `take` (overflow, lost watch, replaced folder)."""
        ...


class BlobSink(Protocol):
    """A large blob on its way, in constant memory. Whoever begins one ends it: `commit` or `drop`. All raise OSError."""

    @property
    def length(self) -> int:
        """Of what was written so far, holes counted."""
        ...

    def write(self, data: bytes | memoryview) -> None: ...
    def skip(self, length: int) -> None:
        """So many zeros, which take no room where the file system can."""
        ...

    def take(self, source: int, length: int, *, holes: bool) -> bool:
        """The bytes of a real file, shared or copied in the kernel, before anything was written. False where that cannot be:
        then write them. What is copied must have no holes."""
        ...

    def commit(self) -> str:
        """Its name. Durable when it returns."""
        ...

    def drop(self) -> None: ...


class Blobs(Protocol):
    """Content-addressed (SHA-256, hex) bytes: what is there never changes.

    Two kinds: small ones (`put`, `get`: evidence, texts), and bulks (`sink`, `read`: the bytes of saved files), which only
    manifests of snapshots and last-good copies name.
    """

    def put(self, data: bytes) -> str:
        """Durable when it returns. Putting the same bytes again is harmless."""
        ...

    def get(self, name: str) -> bytes:
        """The bytes, their hash checked. Raises KeyError when unknown, ValueError when damaged."""
        ...

    def sink(self, *, pack: bool = False) -> BlobSink:
        """Begin a bulk."""
        ...

    def read(self, name: str, offset: int = 0, length: int = -1) -> Iterator[bytes]:
        """The bytes of a bulk, piece by piece, unchecked: who reads compares the hash of what it wants. KeyError when unknown."""
        ...

    def pour(self, name: str, target: int, *, holes: bool) -> str | None:
        """All of a bulk into an empty real file; the hash of what stands there now. None where it has to be read and written.

        With `holes`, which a copy would fill, only shared. KeyError when unknown.
        """
        ...

    def holds(self, name: str) -> bool:
        """Whether a bulk is there; asking keeps it from being collected for an hour."""
        ...


# --- acting and looking ---------------------------------------------------------------------------------------------

Fate = Literal["done", "running", "died", "voided", "hands_lost"]


class AttemptFate(NamedTuple):
    """What became of an attempt that a crash left open.

    done: its result is here, written `at` (wall time; 0.0: not known). running: its launcher lives; its end will be told.
    died: it had started and left no result. voided: it had never started, and now never will.
    """

    fate: Fate
    result: SkillResult | None = None
    at: float = 0.0


class Hands(Protocol):
    """Carries out calls in launchers of their own. Law: the caller has made the intent durable before `start`."""

    def start(self, call: SkillCall) -> None:
        """Carry it out; what came of it goes to the callback given to `on_done`, once. Returns at once."""
        ...

    def recover(self, call: SkillCall) -> Awaitable[AttemptFate]:
        """After a crash: take the result, find the launcher again, or void the attempt."""
        ...

    def cancel(self, key: str) -> None:
        """End the attempt's whole process group; its result (not ok) is told as usual."""
        ...

    def on_done(self, callback: Callable[[str, SkillResult], None]) -> None:
        """`callback(key, result)` on the loop, for each attempt that ended."""
        ...

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """`callback(how it ended)` on the loop, each time that hands ends by itself; it is started again."""
        ...

    async def answers(self, within_s: float) -> bool:
        """Whether hands lives and answers."""
        ...


class Looker(Protocol):
    """Runs what only looks, in the daemon."""

    async def look(self, call: SkillCall) -> SkillResult:
        """Never raises: a body that fails or takes too long is a result that is not ok."""
        ...


class SkillContext(Protocol):
    """What a skill's body may use; each process wires its own."""

    @property
    def state_dir(self) -> str: ...
    @property
    def env(self) -> Mapping[str, Any]: ...


# --- services -------------------------------------------------------------------------------------------------------

UnitWord = Literal["up", "down", "stopped", "starting", "stopping", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class UnitState:
    """How a service stands. down: it should run and does not. stopped: a person wants it so. `since` is wall time."""

    subject: str
    state: UnitWord
    backend: Literal["systemd", "managed"]
    pid: int = 0
    since: float = 0.0
    enabled: bool | None = None
    masked: bool = False
    detail: str = ""
    exit_status: str = ""
    falls: int = 0
    log_path: str = ""


class Services(Protocol):
    """Services and agents of this machine, seen. Two backends: systemd over D-Bus, and managed."""

    async def start(self, on_change: Callable[[UnitState], None], on_doubt: Callable[[], None]) -> None:
        """Begin to watch; first every ill unit is told (levels), then every change (edges). Told on the loop.

        `on_doubt()`: from here on `relations` or `list` may say something else than before.
        """
        ...

    async def state(self, subject: str) -> UnitState:
        """`missing` when no backend knows it; `unknown` when none can say."""
        ...

    async def list(self) -> list[UnitState]: ...

    async def relations(self) -> Mapping[str, frozenset[str]] | None:
        """Subject -> those that suffer when it does: systemd's RequiredBy, WantedBy, BoundBy and ConsistsOf, and our `needs`.

        None while nobody can say; subjects with whom nobody suffers may be left out.
        """
        ...

    async def close(self) -> None: ...


Limits = Mapping[str, int | None]
"""Any of `memory_bytes`, `cpu_percent` (100: one processor), `tasks`; None: no limit."""


class ServiceActs(Protocol):
    """Services, acted upon: used by skills' bodies, in a launcher. Blocking; all raise `Permanent` or `Temporary`."""

    def state(self, subject: str) -> UnitState: ...
    def start(self, subject: str, timeout_s: float) -> UnitState: ...
    def stop(self, subject: str, timeout_s: float) -> UnitState: ...
    def restart(self, subject: str, timeout_s: float) -> UnitState:
        """Proven by a main pid or invocation that is another one than before, never by an exit code."""
        ...

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None: ...
    def reload(self, subject: str) -> None:
        """Have its files (drop-ins) read again; it goes on running."""
        ...

    def limits(self, subject: str) -> Limits: ...
    def set_limits(self, subject: str, limits: Limits) -> None:
        """Those that are named; they hold while the machine runs, for the service's whole control group."""
        ...


# --- processes ------------------------------------------------------------------------------------------------------


class ProcessId(NamedTuple):
    """A process for good: pids come round again, these three do not. `start` is field 22 of /proc/PID/stat."""

    pid: int
    start: int
    boot_id: str


class Processes(Protocol):
    def identity(self, pid: int) -> ProcessId | None:
        """Who has this pid now; None when nobody has (a zombie counts as nobody)."""
        ...

    def alive(self, who: ProcessId) -> bool: ...

    def signal(self, who: ProcessId, number: int) -> bool:
        """Through a pidfd, so never to another process. False when it is gone."""
        ...

    def on_exit(self, who: ProcessId, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback()` on the loop once it is gone (at once when it is already). Returns what ends the watch."""
        ...


# --- ways in --------------------------------------------------------------------------------------------------------

Emit = Callable[..., "Future[list[Position]]"]
"""`emit(*drafts)`: the one door for changes. The future resolves when they are durable and applied, with their positions."""


class Sensor(Protocol):
    """Sees something outside and emits it: edges, and levels at start and after blind time."""

    name: str

    async def run(self, emit: Emit) -> None:
        """Until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the control socket gives back for one request."""

    ok: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    name: str


class ControlHandler(Protocol):
    async def __call__(self, peer: Peer, verb: str, args: Mapping[str, Any]) -> Answer: ...


__all__ = [
    "Answer",
    "AttemptFate",
    "BlobSink",
    "Blobs",
    "ControlHandler",
    "Emit",
    "Fate",
    "FileStat",
    "Files",
    "Hands",
    "Inbox",
    "JournalReader",
    "JournalWriter",
    "Limits",
    "Looker",
    "Peer",
    "ProcessId",
    "Processes",
    "Room",
    "Sensor",
    "ServiceActs",
    "Services",
    "SkillContext",
    "Taken",
    "Touches",
    "UnitState",
    "UnitWord",
]
