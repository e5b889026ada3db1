"""Every mistake of an event pattern at once, where `compile_pattern` names the first.

For `read_on.py`, once a pattern was refused. What was wrong is taken out of a copy, so that the next mistake is met; what stands
around it keeps its place, so that each can be shown where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aios.playbooks.operators import BadPattern, Where
from aios.playbooks.pattern import OR, compile_pattern

AT_MOST = 20
_SOUND: Final = {"exists": True}


def pattern_errors(raw: Mapping[str, Any]) -> list[BadPattern]:
    """All mistakes, as far as they can be told from one another; the first of many. Empty for a sound pattern."""
    found: list[BadPattern] = []
    rest = _copy(raw)
    while len(found) < AT_MOST:
        try:
            compile_pattern(rest)
        except BadPattern as error:
            again = error.message.startswith("more than") and any(error.message == one.message for one in found)
            if again:
                break  # every further field is one too many
            found.append(error)
            if not _mended(rest, error.where):
                break
        else:
            break
    return found


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _mended(node: Any, where: Where) -> bool:
    """Put something sound in the place of the value, field or `$or` that this mistake is in. False where there is none."""
    for position, step in enumerate(where):
        if isinstance(node, list):  # the mappings of a `$or`
            if not isinstance(node[int(step)], Mapping) or not node[int(step)]:
                node[int(step)] = {"x": [_SOUND]}
                return True
            node = node[int(step)]
            continue
        value, further = node[step], where[position + 1 :]
        if step != OR and isinstance(value, list) and value and further and isinstance(further[0], int):
            value[further[0]] = _SOUND
            return True
        if further and ((isinstance(value, Mapping) and value) or (step == OR and isinstance(value, list))):
            node = value
            continue
        del node[step]  # its name may be what is wrong
        node.setdefault("x", [_SOUND])
        return True
    return False
