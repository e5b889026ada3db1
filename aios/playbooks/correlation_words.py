"""How a window stands, in a sentence: for `explain`, and for a test that did not begin. Reads what `Correlator.told_of` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.events.durations import format_duration
from aios.playbooks.model import Correlation, Trigger


def waits_for(correlation: Correlation) -> str:
    """In a few words: `3 agent.error in 10m`, `service.down then no service.up in 2m`."""
    kind, within = correlation.kind, format_duration(correlation.within_s)
    words = [_words(trigger) for trigger in correlation.triggers]
    if kind == "any":
        return " or ".join(words)
    if kind == "absence":
        return f"no {' or '.join(words)} for {within}"
    return f"{(' then ' if kind == 'sequence' else ' and ').join(words)} in {within}"


def _words(trigger: Trigger) -> str:
    types = "|".join(trigger.types)
    counted = f"{trigger.count} {types}" if trigger.count > 1 else types
    return f"{'no ' if trigger.absent else ''}{counted}{f' in {format_duration(trigger.within_s)}' if trigger.within_s else ''}"


def standing(told: Mapping[str, Any]) -> str:
    """What an event is to a playbook that waits for several: what was seen, what is missing, and until when."""
    if not told.get("matched"):
        return str(told.get("why") or "; ".join(f"{one['name']}: {one['why']}" for one in told["triggers"]))
    of = ", ".join(f"{name} {value}" for name, value in told["key"].items())
    where = f" of {of}" if of else ""
    if told["kind"] == "absence":
        return _silence(told, where)
    if told["waiting"]:
        count = "" if told["waiting"] == 1 else f" ({told['waiting']} times)"
        return f"all is seen{where}{count}; it waits for what must not come, until {told['until']}"
    if told["missing"]:
        within = f" within {format_duration(told['within_s'])}" if told["within_s"] else ""
        until = f"; what was seen first counts until {told['until']}" if told["until"] else ""
        return f"{_counted(told['seen']) or 'nothing'} seen{where}, {_counted(told['missing'])} missing{within}{until}"
    return f"nothing is missing{where}"


def _silence(told: Mapping[str, Any], where: str) -> str:
    if not told["heard"]:
        return f"nothing is expected{where}: a silence was told, or was never begun"
    return f"heard{where} at {told['heard']}; silent for {format_duration(told['within_s'])} at {told['until']}"


def _counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in names.items())
