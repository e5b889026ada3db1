"""Every port on this machine, made of the settings: what `daemon.outside.Outside` is when it is real."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aios.blobs.store import BlobFolder
from aios.clock import Clock, SystemClock
from aios.control.server import ControlServer
from aios.daemon.outside import Outside
from aios.disk import OsFiles, make_dirs
from aios.entropy import SystemEntropy
from aios.errors import ConfigError
from aios.events.event import HOST, Draft, day_of
from aios.events.origin import InboxCursor
from aios.hands import proc
from aios.hands.client import HandsClient
from aios.hands.processes import OsProcesses
from aios.journal.checkpoints import Checkpoints, Memories
from aios.journal.digest import FOLDER as DIGESTS
from aios.journal.fullness import Reserve
from aios.journal.ids import IdMemory, recall
from aios.journal.inbox import InboxFolder
from aios.journal.reader import FolderReader
from aios.journal.retention import Upkeep
from aios.journal.thread import ThreadedWriter
from aios.journal.writer import JournalFile
from aios.log import get_logger
from aios.machine.given import call_env, host_limits, inbox_rules, managed_services, retention_limits
from aios.machine.memory import offload, rss_kb
from aios.machine.past import numbers, recall_run, write_report
from aios.machine.playbooks import read_playbooks
from aios.machine.wakes import FileWatches, InboxWatch, Later, watch_folders
from aios.ports import Blobs, Inbox, JournalWriter, Sensor, Services
from aios.sensors.asking import Probe
from aios.sensors.host import HostSensor, PsutilReader
from aios.sensors.probes import ProbeSensor
from aios.sensors.relations import RelationsLearner
from aios.sensors.services import ServiceSensor
from aios.sensors.standing import Standings
from aios.sensors.timers import Timer, TimerSensor
from aios.sensors.wake import Waker
from aios.services.both import AllServices
from aios.services.managed import ManagedServices
from aios.services.notify import sd_notify, watchdog_s
from aios.settings import Settings
from aios.skills.catalogue import catalogue_of, load_bodies
from aios.skills.looker import DaemonLooker
from aios.verbs.handler import Verbs
from aios.world import CHECKPOINT_VERSION, LIFTS, World

if TYPE_CHECKING:
    from aios.blobs.collect import Collector


log = get_logger("daemon")


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
    services = AllServices(ManagedServices(managed, f"{state}/services", processes, clock, waker.watch), _systemd(settings))
    bodies = load_bodies()
    hands = HandsClient(state, processes, entropy, cgroup=settings.limits.cgroup)
    hands.on_lost(lambda status: log.warning("hands ended, starting it again", status=status))
    return Outside(
        clock=clock,
        entropy=entropy,
        files=files,
        blobs=blobs,
        reader=FolderReader(files, f"{state}/events"),
        make_writer=partial(_writer, settings, files, clock, loop),
        make_inbox=partial(_inbox, settings, files, clock, waker),
        checkpoints=Memories(Checkpoints(files, f"{state}/checkpoints", CHECKPOINT_VERSION), files, f"{state}/{DIGESTS}", LIFTS),
        upkeep=Upkeep(files, state, retention_limits(settings), partial(numbers, files, state, clock)),
        hands=hands,
        looker=DaemonLooker(bodies, services, clock, state),
        skills=catalogue_of(bodies),
        services=services,
        make_sensors=partial(_sensors, settings, services, clock),
        read_playbooks=partial(read_playbooks, settings.playbooks),
        watch_playbooks=partial(watch_folders, waker, settings.playbooks),
        watch_files=FileWatches(waker),
        make_control=partial(_control, settings),
        write_report=partial(write_report, files, state, clock),
        notify=sd_notify,
        offload=offload,
        recall=partial(recall_run, state),
        call_env=call_env(settings, managed),
        since_good=partial(_since_good, files, state, blobs),
        make_collector=partial(_collector, settings, files),
        boot_id=proc.boot_id(),
        pid=os.getpid(),
        rss_kb=rss_kb,
        watchdog_s=watchdog_s() or 0.0,
    )


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
        later=Later(asyncio.get_running_loop(), wake).ask,
        recall=partial(_recall_ids, files, f"{state}/events", clock),
    )
    InboxWatch(inbox, f"{state}/inbox", waker, wake).attach()
    return inbox


def _recall_ids(files: OsFiles, events: str, clock: Clock, ids: IdMemory, on_error: Callable[[OSError], None]) -> None:
    recall(ids, files, events, since_day=day_of(clock.now() - 86_400.0), on_error=on_error)


def _sensors(settings: Settings, services: Services, clock: Clock, world: World) -> Sequence[Sensor]:
    was_ill = [(kind, subject) for subject, kind in world.symptoms]
    standings = Standings(was_ill=was_ill)
    relations = RelationsLearner(services, clock, world.relations, (*(p.about for p in settings.probe), HOST))
    sensors: list[Sensor] = [ServiceSensor(services, clock, standings, relations)]
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
        sensors.append(HostSensor(PsutilReader(settings.host.disk.mounts), clock, host_limits(settings), was_ill))
    timers = [Timer(t.name, t.cron or "", t.every_s or 0.0, t.timezone) for t in settings.timer]
    if timers:
        sensors.append(TimerSensor(timers, clock, world.timers))
    return sensors


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
