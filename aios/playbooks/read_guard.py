"""The `guard` of a playbook, and the windows in it. For `load.py`; what guards do: `guards.py`, `maintenance.py`.

guard:
  cooldown: 5m
  limit: 3 in 1h
  breaker: {open: 10m, ceiling: 1d}
  concurrency: {at_most: 1, by: data.cluster}
  windows:
    only: [{cron: "0 2 * * *", for: 3h, timezone: Europe/Berlin}]
    never: [{from: 2026-12-24, to: 2026-12-26}]
  depends_on: [db.service]
"""

from __future__ import annotations

import re
from datetime import tzinfo

from aios.cron import parse_cron
from aios.events.durations import parse_duration
from aios.playbooks.guards import STARTS_KEPT
from aios.playbooks.maintenance import CalendarWindow, CronWindow, Window, WindowSet, calendar, zone_of
from aios.playbooks.model import Concurrency, Guard
from aios.playbooks.read import Reader
from aios.playbooks.yaml_strict import Node, clip

GUARD_KEYS = ("cooldown", "limit", "breaker", "concurrency", "windows", "depends_on")
WINDOW_KEYS = ("cron", "for", "from", "to", "timezone")
DAY_S = 86400.0
RUNS_MAX = 1000
WINDOWS_MAX = 50
WINDOW_S_MAX = 31 * DAY_S
DEPENDS_MAX = 100
SUBJECT_MAX = 256

_LIMIT = re.compile(r"\s*(\d{1,6})\s+in\s+(\S+)\s*\Z")
FIELD = re.compile(r"(subject|source|severity|type|data(\.[A-Za-z0-9_-]{1,64}){1,8})\Z")
_EITHER = 'write {cron: "0 2 * * *", for: 3h}, or {from: 2026-12-24, to: 2026-12-26}'


def read_guard(reader: Reader, node: Node | None) -> Guard:
    """What is refused has its default, so that the rest is looked at too."""
    default = Guard()
    if node is None:
        return default
    found = reader.mapping(node, "guard", GUARD_KEYS)
    cooldown = reader.duration(found["cooldown"], "cooldown", 0.0, 365 * DAY_S) if "cooldown" in found else None
    limit = _limit(reader, found["limit"]) if "limit" in found else default.limit
    open_s, ceiling_s = _breaker(reader, found["breaker"], limit is None) if "breaker" in found else (None, None)
    return Guard(
        cooldown_s=default.cooldown_s if cooldown is None else cooldown,
        limit=limit,
        open_s=open_s or default.open_s,
        open_max_s=ceiling_s or default.open_max_s,
        concurrency=_concurrency(reader, found["concurrency"]) if "concurrency" in found else None,
        windows=_windows(reader, found["windows"]) if "windows" in found else None,
        depends_on=_depends_on(reader, found["depends_on"]) if "depends_on" in found else (),
    )


def _limit(reader: Reader, node: Node) -> tuple[int, float] | None:
    if node.kind == "scalar" and node.scalar == "none":
        return None
    found = _LIMIT.match(node.scalar) if isinstance(node.scalar, str) else None
    if not found or int(found[1]) < 1:
        reader.refuse(node, f"limit cannot be {node.what}", "write how many runs in how long: 3 in 1h; or none")
        return Guard().limit
    if int(found[1]) > STARTS_KEPT:
        reader.refuse(node, f"limit counts at most {STARTS_KEPT} runs", "choose a smaller number, or write none")
        return Guard().limit
    try:
        seconds = parse_duration(found[2])
    except ValueError as error:
        reader.refuse(node, f"limit: {str(error).partition('; ')[0]}", "write 3 in 1h")
        return Guard().limit
    if not 1.0 <= seconds <= 30 * DAY_S:
        reader.refuse(node, "limit counts over 1s to 30d", "choose another length of time")
    return int(found[1]), seconds


def _breaker(reader: Reader, node: Node, unlimited: bool) -> tuple[float | None, float | None]:
    found = reader.mapping(node, "breaker", ("open", "ceiling"))
    if unlimited:
        reader.refuse(node, "breaker never opens: limit is none", "remove breaker, or give a limit such as 3 in 1h")
    open_s = reader.duration(found["open"], "open", 1.0, 30 * DAY_S) if "open" in found else None
    ceiling_s = reader.duration(found["ceiling"], "ceiling", 1.0, 365 * DAY_S) if "ceiling" in found else None
    if open_s and ceiling_s and ceiling_s < open_s:
        reader.refuse(found["ceiling"], "ceiling is shorter than open: it could never be reached", "write a longer ceiling")
    return open_s, ceiling_s


def _concurrency(reader: Reader, node: Node) -> Concurrency | None:
    if node.kind != "map":
        at_most = reader.integer(node, "concurrency", 1, RUNS_MAX)
        return Concurrency(at_most) if at_most else None
    found = reader.mapping(node, "concurrency", ("at_most", "by"), ("at_most",))
    at_most = reader.integer(found["at_most"], "at_most", 1, RUNS_MAX) if "at_most" in found else None
    by = (reader.text(found["by"], "by", 200) or "") if "by" in found else ""
    if by and not FIELD.match(by):
        reader.refuse(found["by"], f"{clip(by)} is no field of an event", "name one, such as subject or data.cluster")
    return Concurrency(at_most, by) if at_most else None


def _depends_on(reader: Reader, node: Node) -> tuple[str, ...]:
    subjects = []
    for item in reader.items(node, "depends_on", DEPENDS_MAX):
        subject = reader.text(item, "a subject", SUBJECT_MAX)
        if subject is not None and ("${" in subject or "*" in subject):
            reader.refuse(item, f"depends_on names exact subjects, and {clip(subject)} is none", "write db.service")
        elif subject is not None:
            subjects.append(subject)
    return tuple(dict.fromkeys(subjects))


# --- windows ----------------------------------------------------------------------------------------------------------


def _windows(reader: Reader, node: Node) -> WindowSet | None:
    found = reader.mapping(node, "windows", ("only", "never"))
    if node.kind == "map" and not node.entries:
        reader.refuse(node, "windows says neither only nor never", f"write only: […], or never: […]; {_EITHER}")
    only, never = (_some(reader, found[name], name) if name in found else () for name in ("only", "never"))
    return WindowSet(only, never) if only or never else None


def _some(reader: Reader, node: Node, name: str) -> tuple[Window, ...]:
    items = reader.items(node, name, WINDOWS_MAX)
    if node.kind == "list" and not items:
        reader.refuse(node, f"{name} is an empty list", _EITHER)
    windows = [_window(reader, item) for item in items]
    return tuple(window for window in windows if window is not None)


def _window(reader: Reader, node: Node) -> Window | None:
    found = reader.mapping(node, "a window", WINDOW_KEYS)
    if node.kind != "map":
        return None
    if ("cron" in found) != ("for" in found) or ("from" in found) != ("to" in found) or ("cron" in found) == ("from" in found):
        reader.refuse(node, "a window has either cron and for, or from and to", _EITHER)
        return None
    zone, ok = _zone(reader, found["timezone"]) if "timezone" in found else (None, True)
    if not ok:
        return None
    return _cron(reader, found, zone) if "cron" in found else _calendar(reader, found, zone)


def _zone(reader: Reader, node: Node) -> tuple[tzinfo | None, bool]:
    name = reader.text(node, "timezone", 100)
    try:
        return (zone_of(name), True) if name else (None, False)
    except ValueError as error:
        message, _, cure = str(error).partition("; ")
        reader.refuse(node, message, cure)
        return None, False


def _cron(reader: Reader, found: dict[str, Node], zone: tzinfo | None) -> CronWindow | None:
    text = reader.text(found["cron"], "cron", 100)
    length_s = reader.duration(found["for"], "for", 60.0, WINDOW_S_MAX)
    if text is None or length_s is None:
        return None
    try:
        plan = parse_cron(text)
    except ValueError as error:
        message, _, cure = str(error).partition("; ")
        reader.refuse(found["cron"], message, cure or "write minute hour day month weekday, such as 0 3 * * *")
        return None
    return CronWindow(plan, length_s, zone, f"{text} for {found['for'].scalar}")


def _calendar(reader: Reader, found: dict[str, Node], zone: tzinfo | None) -> CalendarWindow | None:
    moments = [_moment(reader, found[name], zone, end=name == "to") for name in ("from", "to")]
    if None in moments:
        return None
    begins, ends = (moment or 0.0 for moment in moments)
    if ends <= begins:
        reader.refuse(found["to"], "the window ends before it begins", "a day that stands in `to` counts whole")
        return None
    return CalendarWindow(begins, ends, f"{found['from'].scalar} to {found['to'].scalar}")


def _moment(reader: Reader, node: Node, zone: tzinfo | None, *, end: bool) -> float | None:
    text = reader.text(node, "from" if not end else "to", 40)
    try:
        return calendar(text, zone, end=end) if text else None
    except (ValueError, OverflowError):
        reader.refuse(node, f"{clip(str(text))} is no day and no time", "write 2026-12-24, or 2026-12-24T18:00")
        return None
