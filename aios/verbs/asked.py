"""What a call of a verb brings along, checked: it comes from another program, and may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.errors import Refused
from aios.nearest import did_you_mean
from aios.playbooks.model import MODES, Mode

REASON_MAX = 1000
"""Characters of what a person says about a yes or a no."""
YES, NO = "yes", "no"


def text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value or len(value) > 512:
        raise Refused(f"{name} must be text")
    return value


def reason(args: Mapping[str, Any]) -> str:
    """Why a person decides so, in their words; empty where they do not say."""
    value = args.get("reason") or ""
    if not isinstance(value, str) or len(value) > REASON_MAX:
        raise Refused(f"reason must be text of at most {REASON_MAX} characters")
    return value


def number(args: Mapping[str, Any], name: str, usual: int, least: int = 1) -> int:
    value = args.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 10_000:
        raise Refused(f"{name} must be a whole number from {least} to 10000")
    return value


def mode(args: Mapping[str, Any]) -> Mode | None:
    """The mode that is asked for, if any."""
    word = str(args.get("to") or "")
    found = next((mode for mode in MODES if mode == word), None)
    if word and found is None:
        raise Refused(f"there is no mode {word[:100]!r}", did_you_mean(word, MODES, "one of " + ", ".join(MODES)))
    return found
