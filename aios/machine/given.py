"""What the settings say, as each room takes it: services, limits, rules, what skills' bodies need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os.path import isabs, realpath
from typing import Any

from aios.journal.inbox import InboxRules
from aios.journal.pace import PaceLimits
from aios.journal.retention import RetentionLimits
from aios.playbooks.protection import untouchable
from aios.sensors.alarm import Limits
from aios.sensors.host import HostLimits
from aios.services.spec import ManagedService
from aios.settings import Settings


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
    kept_off = untouchable(settings.protected, settings.data)
    return {
        "look_commands": list(settings.skills.look_commands),
        "disposable": list(settings.skills.disposable),
        "protected": sorted({*kept_off, *map(realpath, filter(isabs, kept_off))}),
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
        "nice": settings.limits.nice,
        "output": settings.limits.output,
        "file_size": settings.limits.file_size,
        "write_bandwidth": settings.limits.write_bandwidth,
        "grace_s": settings.limits.grace_s,
        "environment": list(settings.limits.environment),
    }


def inbox_rules(settings: Settings) -> InboxRules:
    limits = PaceLimits(settings.inbox.lines_per_s, settings.inbox.kb_per_s * 1000, settings.inbox.limits)
    return InboxRules(limits, settings.inbox.remove_after_s, settings.inbox.large_mb * 1_000_000)


def host_limits(settings: Settings) -> HostLimits:
    host = settings.host
    pressure = Limits(host.pressure.high, host.pressure.normal, host.pressure.for_s) if host.pressure.enabled else None
    cpu, memory, disk = (Limits(t.high, t.normal, t.for_s) for t in (host.cpu, host.memory, host.disk))
    return HostLimits(host.every_s, cpu, memory, disk, pressure)


def retention_limits(settings: Settings) -> RetentionLimits:
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
