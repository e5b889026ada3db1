"""What would have made a playbook run, as one plain sentence: for `aios explain`. Pure words; `reports/explain.py` asks.

A sentence is empty where nothing was missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aios.playbooks.condition import CelCondition
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import EventPattern, shown_values, values_at

CONDITIONS_MAX = 20

Row = Mapping[str, Any]


def conditions_of(playbook: Playbook, view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every condition of its pattern: the field, its value in this event, what is wanted, and whether it holds.

    Of several alternatives, those of the one that is nearest to matching.
    """
    pattern = cast("EventPattern | None", playbook.pattern)
    return [one._asdict() for one in pattern.conditions(view)[:CONDITIONS_MAX]] if pattern is not None else []


def values_named(playbook: Playbook, known: Mapping[str, Any]) -> dict[str, str]:
    """What `when` names, with the values that it saw: `event.data.failures` -> `1`."""
    if not isinstance(playbook.when, CelCondition):
        return {}
    expression, event = playbook.when.expression, known.get("event", {})
    named = {name: shown_values([known[name]] if name in known else []) for name in ("score", "system_score", "now")}
    found = {name: value for name, value in named.items() if name in expression.roots}
    found |= {f"event.{name}": shown_values(values_at(event, (name,))) for name in expression.attributes}
    return found | {
        f"event.data.{name}": shown_values(values_at(event, ("data", name))) for name in sorted(expression.data_fields)
    }


def of_pattern(conditions: Sequence[Row], why: str) -> str:
    """`data.failures is 1, needs >= 2`."""
    failing = [one for one in conditions if not one["holds"]]
    return "; ".join(f"{one['field']} is {one['value']}, needs {_in_short(one)}" for one in failing) or why


def _in_short(condition: Row) -> str:
    """Of a number that is compared, only with what."""
    wanted = str(condition["wanted"])
    return wanted.removeprefix("a number ") if condition["value"][:1].isdigit() else wanted


def of_when(source: str, said: bool | None, why: str, values: Mapping[str, str]) -> str:
    """What the expression would have had to say, and what it saw."""
    seen = ", ".join(f"{name} is {value}" for name, value in values.items())
    missing = [name for name, value in values.items() if value == "missing"]
    if said is None and missing:
        return f"{' and '.join(missing)}, which `{source}` asks for, to be there"
    if said is None:
        return f"`{source}` to say yes or no: {why}"
    return f"`{source}` to be true" + (f": {seen}" if seen else "")


def of_switch(playbook: Playbook) -> str:
    if not playbook.enabled:
        return f"enabled: true in {playbook.path}"
    return f"aios playbook enable {playbook.name}"


_UNTIL: Mapping[str, str] = {
    "cooldown": "runs again at {until}, when its cooldown is over",
    "breaker": "runs again at {until}, when its breaker lets one run try, or after `aios resume`",
    "act_limit": "runs again at {until}, when the machine has acted less often within an hour",
    "silence": "runs again at {until}, when the silence ends, or after `aios silence --end {on}`",
    "window": "runs again at {until}, when the maintenance window lets it",
    "depends_on": "runs again when {on} is well",
    "concurrency": "runs again when a run of {on} ends",
    "storm": "runs again when the storm is over, or after `aios resume`",
    "paused": "runs again after `aios resume`",
    "called": "runs again at {until}, when its call is long ago, or when the subject was well meanwhile",
    "loop": "a person to end the circle: it is tried again after `aios resume`",
    "protected": "nothing: what is protected is left to a person",
}
"""What lifts each guard."""
_STANDS = ", if what it is for still stands then"


def of_guard(guard: str, until: str, on: str) -> str:
    """`runs again at 12:05, when its cooldown is over, …`."""
    if guard == "paused" and until:
        return f"runs again at {until}, when the pause ends, or after `aios resume`{_STANDS}"
    words = _UNTIL.get(guard, "runs again when {on} lets it" if on else "runs again at {until}")
    said = words.format(until=until or "a later time", on=on)
    return said + (_STANDS if said.startswith("runs again") else "")


def of_choice(name: str, order: str) -> str:
    """It matched, and another went first."""
    return f"{name} not to go before it" + (f" ({order})" if order else "")


def of_mode(own: str, in_force: str, mode_max: str) -> str:
    """It ran and might not act: what lets it; empty where it may."""
    if in_force in ("auto", "approve"):
        return ""
    once = ", or `aios runs approve` for this once" if in_force == "suggest" else ""
    if mode_max == in_force != own:
        return f"to act: mode_max above {in_force} in the settings{once}"
    return f"to act: a further mode, in its file or by `aios playbook promote`{once}"
