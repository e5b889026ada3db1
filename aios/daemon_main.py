"""The daemon's process: makes the real `Outside`, runs `Daemon`, and turns how it ended into an exit code.

Called by `aios run`. What is wired to what stands in `daemon/assemble.py`; this page says what the ports are on a real machine.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from aios.blobs.store import BlobFolder
from aios.clock import Clock, SystemClock
from aios.control.server import ControlServer
from aios.daemon.assemble import assemble
from aios.daemon.life import Daemon
from aios.daemon.outside import Outside
from aios.disk import OsFiles, make_dirs, write_small
from aios.entropy import SystemEntropy
from aios.errors import ConfigError
from aios.events.codec import encode_json
from aios.events.event import Draft, Event, Stored, day_of
from aios.events.origin import InboxCursor
from aios.hands import proc
from aios.hands.client import HandsClient
from aios.hands.processes import OsProcesses
from aios.journal.checkpoints import Checkpoints, Memories
from aios.journal.digest import FOLDER as DIGESTS
from aios.journal.fullness import Reserve
from aios.journal.ids import IdMemory, recall
from aios.journal.inbox import InboxFolder, InboxRules
from aios.journal.lock import InstanceLock
from aios.journal.pace import PaceLimits
from aios.journal.reader import FolderReader
from aios.journal.retention import RetentionLimits, Upkeep
from aios.journal.thread import JournalGone, ThreadedWriter
from aios.journal.writer import JournalFile
from aios.log import configure, get_logger
from aios.places import SYSTEM_PLAYBOOKS
from aios.playbooks.yaml_strict import unreadable
from aios.ports import Blobs, Inbox, JournalWriter, Sensor, Services, UnitState
from aios.sensors.alarm import Limits
from aios.sensors.asking import Probe
from aios.sensors.host import HostLimits, HostSensor, PsutilReader
from aios.sensors.probes import ProbeSensor
from aios.sensors.services import ServiceSensor
from aios.sensors.standing import Standings
from aios.sensors.timers import Timer, TimerSensor
from aios.sensors.wake import Waker
from aios.services.both import AllServices
from aios.services.managed import ManagedServices
from aios.services.notify import sd_notify, watchdog_s
from aios.services.spec import ManagedService
from aios.settings import Settings
from aios.skills.catalogue import catalogue_of, load_bodies
from aios.skills.looker import DaemonLooker
from aios.told import Teller, paused_words
from aios.verbs.handler import Verbs
from aios.world import CHECKPOINT_VERSION, World

if TYPE_CHECKING:
    from aios.blobs.collect import Collector

PLAYBOOK_MAX = 256 * 1024
PLAYBOOKS_MAX = 10_000
EXIT_OK, EXIT_BUG, EXIT_DISK = 0, 70, 74
DISK_CURE = "look at the disk: mount, dmesg, df"
_BROKEN_DISK = frozenset((errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT))
"""What says that a disk fails under the state folder, and not that a program or a setting is wrong."""
GC_YOUNG = 20_000
"""Allocations between two young collections. What the daemon holds is bounded and seldom in circles."""
REPORT_LOOKS_BACK_DAYS, DIGEST_LOOKS_BACK_DAYS = 7, 2
"""So far back a report looks for what was ill, and what waited, when its day began; a digest needs the numbers."""

_LIBC = ctypes.CDLL(None)

log = get_logger("daemon")


def main(settings: Settings) -> int:
    """Run the daemon until it is told to stop. Raises Refused when another one has the state folder."""
    configure(settings.log.format, settings.log.level)
    _limit_memory(settings.memory_max_mb)
    files = OsFiles()
    lock = InstanceLock(files, settings.data, proc.myself())
    try:
        return asyncio.run(_life(settings, files))
    except OSError as error:
        if error.errno not in _BROKEN_DISK:
            raise
        log.error(f"{error.filename or settings.data}: {error.strerror}; ending, so that it is started anew", cure=DISK_CURE)
        return EXIT_DISK
    finally:
        lock.release()


def _limit_memory(mb: int) -> None:
    """Of this process alone: hands takes the limit off again, so that what it starts has none."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


async def _life(settings: Settings, files: OsFiles) -> int:
    daemon = assemble(settings, real_outside(settings, files))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(_on_loop_error, daemon))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop, signal.Signals(number).name)
    loop.add_signal_handler(signal.SIGHUP, lambda: daemon.reload_now())
    log.info("starting", state=settings.data, playbooks=len(daemon.shelf.by_name))
    _spare_the_collector()
    hello = asyncio.create_task(_say_hello(settings, daemon))
    try:
        reason = await daemon.run()
    except JournalGone as error:
        log.error(f"{error.strerror}; ending, so that it is started anew", cure=DISK_CURE)
        return EXIT_DISK
    finally:
        hello.cancel()
    log.info("stopped", reason=reason)
    return EXIT_OK


async def _say_hello(settings: Settings, daemon: Daemon) -> None:
    await daemon.ready.wait()
    daemon.spine.listen(Teller(log, daemon.outside.clock).heard)
    log.info("ready", state=settings.data, mode_max=settings.mode_max, playbooks=len(daemon.shelf.by_name))
    if settings.mode_max in ("observe", "shadow", "suggest"):
        log.info(f"mode_max is {settings.mode_max}: it watches this machine and proposes; it changes nothing by itself")
    log.info("what it sees and does is told here; in another shell: aios status, aios events --follow")
    if daemon.world.is_paused(daemon.outside.clock.now()):
        log.warning(paused_words(daemon.world.paused or {}))
    for error in daemon.shelf.errors:
        log.warning(f"playbook left out: {error}")


def _spare_the_collector() -> None:
    """What is assembled stays: a full collection of it would hold the loop for 15 ms, again and again.

    Nor is it looked through once before: that takes 45 ms of the start, and gives back nothing that could be measured.
    """
    gc.freeze()
    _LIBC.malloc_trim(0)
    gc.set_threshold(GC_YOUNG, 20, 20)
    gc.enable()


def _on_loop_error(daemon: Daemon, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback failed: that is a bug, and the daemon must not go on as if it had not been."""
    error = context.get("exception")
    log.error(f"a part failed: {context.get('message')}", error=repr(error))
    daemon.fail(error if error is not None else RuntimeError(str(context.get("message"))))


# --- the ports --------------------------------------------------------------------------------------------------------


def real_outside(settings: Settings, files: OsFiles) -> Outside:
    """Every port on this machine. Called on the loop."""
    state = settings.data
    for folder in ("", "/events", "/inbox", "/quarantine", "/blobs", "/runs", "/reports", "/services", "/logs", "/keep"):
        make_dirs(files, state + folder)
    loop = asyncio.get_running_loop()
    clock, entropy, processes = SystemClock(), SystemEntropy(), OsProcesses()
    waker = Waker()
    blobs = BlobFolder(files, f"{state}/blobs")
    managed = managed_services(settings)
    services = _RealServices(ManagedServices(managed, f"{state}/services", processes, clock, waker.watch), _systemd(settings))
    bodies = load_bodies()
    hands = HandsClient(
        state,
        processes,
        entropy,
        on_lost=lambda status: log.warning("hands ended, starting it again", status=status),
        cgroup=settings.limits.cgroup,
    )
    return Outside(
        clock=clock,
        entropy=entropy,
        files=files,
        blobs=blobs,
        reader=FolderReader(files, f"{state}/events"),
        make_writer=partial(_writer, settings, files, clock, loop),
        make_inbox=partial(_inbox, settings, files, clock, waker),
        checkpoints=Memories(Checkpoints(files, f"{state}/checkpoints", CHECKPOINT_VERSION), files, f"{state}/{DIGESTS}"),
        upkeep=Upkeep(files, state, limits_of(settings), partial(_numbers, files, state, clock)),
        hands=hands,
        looker=DaemonLooker(bodies, services, clock, state),
        skills=catalogue_of(bodies),
        services=services,
        make_sensors=partial(_sensors, settings, services, clock),
        read_playbooks=partial(read_playbooks, settings.playbooks),
        watch_playbooks=partial(_watch_folders, waker, settings.playbooks),
        watch_files=_FileWatches(waker),
        make_control=partial(_control, settings),
        write_report=partial(_write_report, files, state, clock),
        notify=sd_notify,
        offload=_offload,
        recall=partial(_recall, state),
        call_env=call_env(settings, managed),
        since_good=partial(_since_good, files, state, blobs),
        make_collector=partial(_collector, settings, files),
        boot_id=proc.boot_id(),
        pid=os.getpid(),
        rss_kb=_rss_kb,
        watchdog_s=watchdog_s() or 0.0,
    )


class _RealServices(AllServices):
    """Both backends, and which managed services the daemon is to start."""

    def __init__(self, managed: ManagedServices, systemd: Services | None) -> None:
        super().__init__(managed, systemd)
        self._own = managed
        self._begun = asyncio.Event()

    async def start(self, on_change: Callable[[UnitState], None]) -> None:
        await super().start(on_change)
        self._begun.set()

    async def to_start(self) -> Sequence[str]:
        await self._begun.wait()
        return self._own.to_start()


def managed_services(settings: Settings) -> list[ManagedService]:
    """The services and agents of the settings."""
    listed = [
        ManagedService(
            name=s.name,
            kind=s.kind,
            argv=tuple(s.argv),
            folder=s.folder,
            env=dict(s.env),
            user=s.user,
            needs=tuple(s.needs),
            autostart=s.autostart,
            log=s.log,
            stop_timeout_s=s.stop_timeout_s,
        )
        for s in settings.service
    ]
    return [one if one.log else replace(one, log=f"{settings.data}/logs/{one.stem}.log") for one in listed]


def call_env(settings: Settings, managed: Sequence[ManagedService]) -> dict[str, Any]:
    """What skills' bodies need of the settings."""
    return {
        "look_commands": list(settings.skills.look_commands),
        "disposable": list(settings.skills.disposable),
        "webhook": str(settings.notify.webhook or ""),
        "webhook_headers": dict(settings.notify.headers),
        "webhook_timeout_s": settings.notify.timeout_s,
        "services": [service.to_json() for service in managed],
        "snapshots": {"files": settings.snapshots.files_max, "bytes": settings.snapshots.one_max_mb << 20},
        "generations": settings.snapshots.generations,
        "limits": limits_env(settings),
    }


def limits_env(settings: Settings) -> dict[str, Any]:
    """What acts may use where nothing else is said, as hands reads it."""
    return {
        "memory": settings.limits.memory,
        "processes": settings.limits.processes,
        "cpu": settings.limits.cpu,
        "output": settings.limits.output,
        "file_size": settings.limits.file_size,
        "grace_s": settings.limits.grace_s,
        "environment": list(settings.limits.environment),
    }


async def _since_good(files: OsFiles, state: str, blobs: Blobs, playbook: str, subject: str) -> dict[str, Any] | None:
    return await asyncio.to_thread(_changed_since_good, files, state, blobs, playbook, subject)


def _changed_since_good(files: OsFiles, state: str, blobs: Blobs, playbook: str, subject: str) -> dict[str, Any] | None:
    """Only looks. What cannot be read tells nothing, and keeps no run from going on."""
    from aios.hands import keep  # only a daemon with last-good copies pays for it

    try:
        found = keep.newest(state, playbook, subject, files)
        since = keep.since_good(found[1], blobs) if found else None
    except OSError:
        return None
    if found is None or since is None or not since.changed:
        return None
    text = blobs.put(since.diff.encode(errors="replace"))
    return {"generation": found[0], "changed": since.changed[:20], "files": len(since.changed), "blob": text}


def _collector(settings: Settings, files: OsFiles) -> Collector:
    from aios.blobs.collect import Bounds, Collector  # an hour after the start, and not before

    return Collector(files, settings.data, Bounds(settings.snapshots.keep_days, settings.snapshots.size_max_mb << 20))


def _systemd(settings: Settings) -> Services | None:
    if not settings.systemd.enabled or not os.path.exists("/run/systemd/system"):
        return None
    from aios.services.systemd import SystemdServices  # dbus-fast: 4 MB, only where there is a systemd

    return SystemdServices(settings.systemd.watch)


def _writer(
    settings: Settings, files: OsFiles, clock: Clock, loop: asyncio.AbstractEventLoop, tell: Callable[[Draft], None]
) -> JournalWriter:
    trusted = settings.journal.clock_trusted
    journal = JournalFile(
        files, f"{settings.data}/events", f"{settings.data}/quarantine", clock_trusted=lambda: trusted or _clock_in_sync()
    )
    journal.open(clock.now())
    reserve = Reserve(files, f"{settings.data}/events/.reserve", settings.journal.reserve_mb * 1_000_000)
    return ThreadedWriter(journal, clock, loop, tell, reserve)


def _clock_in_sync() -> bool:
    """Whether NTP has set the clock (systemd-timesyncd leaves this file; adjtimex has no door in Python)."""
    return os.path.exists("/run/systemd/timesync/synchronized")


def _inbox(
    settings: Settings,
    files: OsFiles,
    clock: Clock,
    waker: Waker,
    cursors: Mapping[str, InboxCursor],
    wake: Callable[[], None],
) -> Inbox:
    state = settings.data
    inbox = InboxFolder(
        files,
        f"{state}/inbox",
        f"{state}/quarantine",
        cursors=cursors,
        clock=clock,
        rules=inbox_rules(settings),
        later=_Later(asyncio.get_running_loop(), wake).ask,
        recall=partial(_recall_ids, files, f"{state}/events", clock),
    )
    _InboxWatch(inbox, f"{state}/inbox", waker, wake).attach()
    return inbox


def _recall_ids(files: OsFiles, events: str, clock: Clock, ids: IdMemory, on_error: Callable[[OSError], None]) -> None:
    recall(ids, files, events, since_day=day_of(clock.now() - 86_400.0), on_error=on_error)


def inbox_rules(settings: Settings) -> InboxRules:
    limits = PaceLimits(settings.inbox.lines_per_s, settings.inbox.kb_per_s * 1000, settings.inbox.limits)
    return InboxRules(limits, settings.inbox.remove_after_s, settings.inbox.large_mb * 1_000_000)


class _Later:
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


class _InboxWatch:
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


def _sensors(settings: Settings, services: Services, clock: Clock, world: World) -> Sequence[Sensor]:
    was_ill = [(kind, subject) for subject, kind in world.symptoms]
    standings = Standings(was_ill=was_ill)
    sensors: list[Sensor] = [ServiceSensor(services, clock, standings)]
    probes = [
        Probe(
            name=p.name,
            url=str(p.url or ""),
            host=p.host,
            port=p.port or 0,
            subject=p.subject,
            every_s=p.every_s,
            timeout_s=p.timeout_s,
            failures=p.failures,
            status=p.status,
            contains=p.contains,
        )
        for p in settings.probe
    ]
    if probes:
        sensors.append(ProbeSensor(probes, clock, standings, was_ill))
    if settings.host.enabled:
        sensors.append(HostSensor(PsutilReader(settings.host.disk.mounts), clock, _host_limits(settings), was_ill))
    timers = [Timer(t.name, t.cron or "", t.every_s or 0.0, t.timezone) for t in settings.timer]
    if timers:
        sensors.append(TimerSensor(timers, clock, world.timers))
    return sensors


def _host_limits(settings: Settings) -> HostLimits:
    host = settings.host
    pressure = Limits(host.pressure.high, host.pressure.normal, host.pressure.for_s) if host.pressure.enabled else None
    cpu, memory, disk = (Limits(t.high, t.normal, t.for_s) for t in (host.cpu, host.memory, host.disk))
    return HostLimits(host.every_s, cpu, memory, disk, pressure)


# --- playbooks --------------------------------------------------------------------------------------------------------


def read_playbooks(folders: Sequence[str]) -> dict[str, str]:
    """Path -> text of every `.yaml` and `.yml` in these folders. A file or folder that cannot be read stands there as one that
    cannot be used, with the reason: it is not gone, and what was in force of its folder stays so."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            if folder != SYSTEM_PLAYBOOKS:  # not everybody has playbooks of his own
                log.warning("there is no such folder of playbooks", folder=folder)
            continue
        except OSError as error:
            found[f"{folder}/"] = unreadable(f"this folder of playbooks cannot be read: {error.strerror}")
            continue
        wanted = [name for name in names if name.endswith((".yaml", ".yml")) and not name.startswith(".")]
        if len(wanted) > PLAYBOOKS_MAX:
            log.warning("more playbooks than are read from one folder", folder=folder, found=len(wanted), read=PLAYBOOKS_MAX)
        for name in wanted[:PLAYBOOKS_MAX]:
            if (text := _read_playbook(f"{folder}/{name}")) is not None:
                found[f"{folder}/{name}"] = text
    return found


def _read_playbook(path: str) -> str | None:
    """None: it was removed just now. A pipe or a device that somebody called so is not waited for."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return unreadable("cannot be read: it is no file")
            raw = file.read(PLAYBOOK_MAX + 1)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and not os.path.islink(path)
        return None if gone else unreadable(f"cannot be read: {error.strerror}")
    try:
        return raw.decode("utf-8", "ignore" if len(raw) > PLAYBOOK_MAX else "strict")  # the cut may split a character
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return unreadable(f"is not UTF-8 in line {line}: save it as UTF-8")


def _watch_folders(waker: Waker, folders: Sequence[str], changed: Callable[[], None]) -> None:
    for folder in folders:
        waker.watch(folder, lambda _names: changed(), changed)


class _FileWatches:
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


# --- the rest ---------------------------------------------------------------------------------------------------------


def _control(settings: Settings, verbs: Verbs) -> ControlServer:
    gid = _gid(settings.control.group)
    return ControlServer(f"{settings.data}/control.sock", verbs, {"events_follow": verbs.follow}, gid=gid)


def _gid(group: str) -> int | None:
    if not group:
        return None
    import grp  # only where the settings name a group

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            "settings", f"control.group: there is no group {group!r} here", hint=f"make it with: groupadd {group}"
        ) from None


async def _offload(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, _work_and_tidy, work)


def _work_and_tidy(work: Callable[[], None]) -> None:
    """What a day's digest took for a moment, 30 MB perhaps, goes back to the machine: glibc would keep it for ever."""
    try:
        work()
    finally:
        _LIBC.malloc_trim(0)


RECALLED_MAX = 20_000
"""No run has so many events."""


async def _recall(state: str, name: str, value: str) -> Sequence[Event]:
    """Of all days that are at hand, archived ones too: seconds, where there are many."""
    from aios.events.filters import EventFilter
    from aios.journal.query import History, Query  # only where somebody asks for what is old

    query = Query(EventFilter.from_args({"types": ["run.*", "approval.*"]}), text=value, imported=False)
    found: list[Event] = []

    def read() -> None:
        wanted = (event for event, _ in History.of(state).read(query) if str(event.data.get(name, "")).startswith(value))
        found.extend(islice(wanted, RECALLED_MAX))

    await _offload(read)
    return found


def _write_report(files: OsFiles, state: str, clock: Clock, day: str) -> None:
    from aios.reports import build, to_json, to_markdown  # once a day: not worth its memory before

    report = build(_up_to(files, state, day, REPORT_LOOKS_BACK_DAYS), day, day, clock.now())
    write_small(files, f"{state}/reports/{day}.md", to_markdown(report).encode())
    write_small(files, f"{state}/reports/{day}.json", encode_json(to_json(report)))


def limits_of(settings: Settings) -> RetentionLimits:
    """What the settings say about how long the journal is kept."""
    return RetentionLimits(
        raw_days=settings.journal.raw_days,
        keep_days=settings.journal.keep_days,
        low_keep_days=min(settings.journal.low_keep_days, settings.journal.keep_days),
        size_max=settings.journal.size_max_mb * 1_000_000,
        free_share=settings.journal.free_low,
        free_enough=settings.journal.free_enough_mb * 1_000_000,
        consumer_quiet_days=settings.journal.consumer_quiet_days,
    )


def _numbers(files: OsFiles, state: str, clock: Clock, day: str) -> Mapping[str, Any]:
    """The report on a day, for its digest."""
    from aios.reports import build, to_json  # once a day: not worth its memory before

    return to_json(build(_up_to(files, state, day, DIGEST_LOOKS_BACK_DAYS), day, day, clock.now()))


def _up_to(files: OsFiles, state: str, day: str, days_before: int) -> Iterator[Stored]:
    """Events from so many days before this one on."""
    since = (date.fromisoformat(day) - timedelta(days=days_before)).isoformat()
    return FolderReader(files, f"{state}/events").since(since)


def _rss_kb() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
