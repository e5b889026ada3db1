"""What is probably a mistake where a playbook waits for several events: windows that can never fill, or that surprise.

For `lint.py`, which knows the places in the file and the levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios.events.catalogue import CATALOGUE
from aios.events.durations import format_duration
from aios.nearest import nearest
from aios.playbooks.condition import Expression
from aios.playbooks.correlation import exact_values, known_keys
from aios.playbooks.lint_match import Said, unknown_type
from aios.playbooks.model import Correlation, Playbook, Trigger

Where = tuple[str | int, ...]

CODES: Mapping[str, str] = {
    "never-fills": "The events that it waits for can never come together.",
    "never-joins": "An event of this type does not have the field that joins it.",
    "short-window": "The window is not longer than the lateness that it allows.",
    "count-of-one": "It counts to one.",
    "silent-unknown": "A silence is noticed only of what was heard once.",
    "unknown-trigger": "An expression names an entry that there is not.",
}
WARNINGS = frozenset(("never-fills", "never-joins", "short-window", "unknown-trigger"))


def windows(playbook: Playbook) -> Iterator[Said]:
    correlation = playbook.correlation
    if correlation is None:
        return
    for number, trigger in enumerate(correlation.triggers):
        where = _place(correlation, number)
        yield from _types(trigger, where)
        yield from _joined(trigger, where)
        if correlation.kind == "count" and trigger.count == 1:
            yield "count-of-one", ("on", "count"), "it counts to one", "write on: {type: …, match: …} without count"
    yield from _apart(correlation)
    yield from _time(correlation)
    if correlation.kind == "absence" and not known_keys(correlation):
        fields = _by(correlation.triggers[0])
        message = f"it is silent only where it was heard once: no {fields} is named in full"
        yield "silent-unknown", ("on",), message, f"name the {fields} in match, if it must also notice what never spoke"


def named(playbook: Playbook, where: Where, expression: Expression) -> Iterator[Said]:
    """Whether `event.data.events.NAME` is one of its entries."""
    if playbook.correlation is None:
        return
    names = sorted(trigger.name for trigger in playbook.correlation.triggers if not trigger.absent)
    for name in sorted(expression.events_named):
        if name not in names:
            near = nearest(name, names)
            hint = f"did you mean {near!r}?" if near else f"its entries are called {', '.join(names)}"
            yield "unknown-trigger", where, f"on has no entry {name!r}", hint


def _place(correlation: Correlation, number: int) -> Where:
    return ("on",) if correlation.kind == "count" else ("on", correlation.kind, number)


def _by(trigger: Trigger) -> str:
    return " and ".join(map(".".join, trigger.by))


def _types(trigger: Trigger, where: Where) -> Iterator[Said]:
    for name in trigger.types:
        yield from unknown_type(name, where)


def _joined(trigger: Trigger, where: Where) -> Iterator[Said]:
    for path in trigger.by:
        for name in trigger.types:
            known = CATALOGUE.get(name)
            if path[0] == "data" and known is not None and path[1] not in known.fields:
                near = nearest(path[1], known.fields)
                hint = f"did you mean data.{near}?" if near else f"its data has {', '.join(known.fields) or 'no fields'}"
                yield "never-joins", where, f"{name} has no {'.'.join(path)}: nothing joins it", hint


def _apart(correlation: Correlation) -> Iterator[Said]:
    """Entries that must come together and name different values of what joins them."""
    together = [one for one in correlation.triggers if not one.absent] if correlation.kind in ("all", "sequence") else []
    for position in range(min((len(one.by) for one in together), default=0)):
        wanted = [(n, set(map(_key, _values(one, one.by[position])))) for n, one in enumerate(together)]
        exact = [(n, values) for n, values in wanted if values]
        if exact and not set.intersection(*(values for _, values in exact)):
            name = ".".join(together[0].by[position])
            message = f"no {name} fits all of its entries, and they are joined by {name}"
            yield "never-fills", _place(correlation, exact[-1][0]), message, f"join them by something else than {name}: by: none"


def _values(trigger: Trigger, path: tuple[str, ...]) -> list[Any]:
    if path == ("type",):
        return [] if any(name.endswith(".*") for name in trigger.types) else list(trigger.types)
    return exact_values(trigger.match, path)


def _key(value: Any) -> tuple[str, Any]:
    """True is not 1."""
    return ("flag" if isinstance(value, bool) else "", value)


def _time(correlation: Correlation) -> Iterator[Said]:
    lengths = [correlation.within_s, *(trigger.within_s for trigger in correlation.triggers)]
    shortest = min((length for length in lengths if length), default=0.0)
    if shortest and shortest <= correlation.lateness_s:
        late, short = format_duration(correlation.lateness_s), format_duration(shortest)
        message = f"it looks at {short}, and lets events be late by {late}"
        yield "short-window", ("on", "lateness"), message, f"write a lateness below {short}"
