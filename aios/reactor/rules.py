"""What the settings say of guards, as guards take it. The wiring of the daemon and a backtest call `rules_of`."""

from __future__ import annotations

from aios.cron import parse_cron
from aios.events.durations import format_duration
from aios.playbooks.maintenance import CalendarWindow, CronWindow, WindowSet, calendar, zone_of
from aios.playbooks.protection import untouchable
from aios.playbooks.trust import Rule
from aios.reactor.holding import Rules
from aios.settings import Settings


def rules_of(settings: Settings) -> Rules:
    """What the settings say of guards."""
    needs = {service.subject: frozenset(service.needs) for service in settings.service if service.needs}
    for subject, more in settings.depends_on.items():
        needs[subject] = needs.get(subject, frozenset()) | frozenset(more)
    return Rules(
        settings.mode_max,
        settings.acts_per_hour,
        untouchable(settings.protected, settings.data),
        concurrency=settings.concurrency,
        windows=_windows_of(settings),
        needs=needs,
        storm_share=settings.storm.share,
        storm_at_least=settings.storm.at_least,
        trust=Rule(settings.trust.runs, settings.trust.earned, settings.trust.lost),
    )


def _windows_of(settings: Settings) -> WindowSet:
    """The machine's own maintenance windows."""
    made: dict[str, list[CronWindow | CalendarWindow]] = {"only": [], "never": []}
    for s in settings.window:
        zone = zone_of(s.timezone) if s.timezone else None
        if s.cron is not None and s.for_s is not None:
            text = f"{s.name} ({s.cron} for {format_duration(s.for_s)})"
            made[s.acts].append(CronWindow(parse_cron(s.cron), s.for_s, zone, text))
        else:
            begins, ends = calendar(s.begins, zone, end=False), calendar(s.ends, zone, end=True)
            made[s.acts].append(CalendarWindow(begins, ends, f"{s.name} ({s.begins} to {s.ends})"))
    return WindowSet(tuple(made["only"]), tuple(made["never"]))
