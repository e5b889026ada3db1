"""A correlation as a value: how it is written down in the journal, what names it, and what joins events to one another.

`read_on.py` makes correlations of YAML, `correlate.py` of what the journal points to; both use what stands here. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import product
from typing import Any

from aios.events.codec import decode_json, encode_json, encode_sorted
from aios.events.event import HOST, Event
from aios.playbooks.model import Correlation, Trigger
from aios.playbooks.pattern import compile_pattern

KEY_CHARS_MAX = 512
KNOWN_KEYS_MAX = 1_000


def correlation_json(correlation: Correlation) -> dict[str, Any]:
    """What `playbook.loaded` points to and a checkpoint holds; `correlation_of` reads it again."""
    return {
        "kind": correlation.kind,
        "within_s": correlation.within_s,
        "join": correlation.join,
        "lateness_s": correlation.lateness_s,
        "triggers": [
            {
                "name": one.name,
                "types": list(one.types),
                "match": dict(one.match),
                "by": [list(path) for path in one.by],
                "count": one.count,
                "within_s": one.within_s,
                "absent": one.absent,
            }
            for one in correlation.triggers
        ],
    }


def correlation_of(raw: Mapping[str, Any]) -> Correlation:
    triggers = tuple(
        Trigger(
            one["name"],
            tuple(one["types"]),
            compile_pattern(one["match"]) if one["match"] else None,
            one["match"],
            tuple(tuple(path) for path in one["by"]),
            one["count"],
            one["within_s"],
            one["absent"],
        )
        for one in raw["triggers"]
    )
    return Correlation(raw["kind"], triggers, raw["within_s"], raw["join"], raw["lateness_s"], hash_of(raw))


def hash_of(raw: Mapping[str, Any]) -> str:
    """Names a trigger by what it asks for, however it is written."""
    return sha256(encode_sorted(raw)).hexdigest()[:16]


# --- keys -------------------------------------------------------------------------------------------------------------


def key_of(trigger: Trigger, event: Event) -> str | None:
    """What joins this event to others, as text; None where it lacks it: a field that is no text, number or flag joins nothing."""
    values = []
    for path in trigger.by:
        value: Any = getattr(event, path[0])
        for step in path[1:]:
            value = value.get(step) if isinstance(value, Mapping) else None
        if not isinstance(value, str | int | float):
            return None
        values.append(int(value) if isinstance(value, float) and value.is_integer() else value)
    key = encode_json(values).decode()
    return key if len(key) <= KEY_CHARS_MAX else None


def known_keys(correlation: Correlation) -> list[str]:
    """The keys that can be known before anything was seen: where `match` names what joins in full."""
    found: dict[str, None] = {}
    for trigger in correlation.triggers:
        choices = [exact_values(trigger.match, path) for path in trigger.by]
        if all(choices):
            found |= {encode_json(list(values)).decode(): None for values in product(*choices)}
    return list(found)[:KNOWN_KEYS_MAX]


def exact_values(match: Any, path: tuple[str, ...]) -> list[Any]:
    """The values that a pattern asks for at this path; empty where it asks for anything but exact ones."""
    for step in path:
        match = match.get(step) if isinstance(match, Mapping) else None
    if not isinstance(match, list) or not all(isinstance(one, str | int | float) for one in match):
        return []
    return [int(one) if isinstance(one, float) and one.is_integer() else one for one in match]


def key_shown(correlation: Correlation, key: str) -> dict[str, Any]:
    return dict(zip(map(".".join, correlation.triggers[0].by), decode_json(key.encode()), strict=True))


def subject_of(correlation: Correlation, key: str, heard: str) -> str:
    """Whom a silence is about: what it is joined by, what was heard last, or the one subject that the pattern names."""
    by = correlation.triggers[0].by
    if ("subject",) in by:
        return str(decode_json(key.encode())[by.index(("subject",))])
    named = {str(one) for trigger in correlation.triggers for one in exact_values(trigger.match, ("subject",))}
    return heard or (named.pop() if len(named) == 1 else HOST)


def paths(trigger: Trigger) -> str:
    return ", ".join(map(".".join, trigger.by))
