"""A run in words: how it stands, and each call that it makes or asks for, word by word. For `aios runs`, `aios pause` and the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from aios.events.event import parse_time
from aios.events.redact import Redactor
from aios.playbooks.run_table import RESERVED_STEPS

CALL_MAX, VALUE_MAX = 4000, 1000
"""Characters of a call, and of one of its parameters."""


def status_words(run: Mapping[str, Any]) -> str:
    """How it stands, as a person would say it."""
    word = str(run.get("status", ""))
    if run.get("cancelled") and word in ("cancelled", "rolled_back"):
        word = "denied" if run.get("denied") else "cancelled"
        if run.get("status") == "rolled_back" and run.get("acted") and not run.get("not_taken_back"):
            return word + ", taken back"
    if run.get("not_taken_back"):
        return ("" if word == "rolled_back" else f"{word}, ") + "NOT taken back"
    return word + (", taken back" if run.get("taken_back") else "")


def outcome_words(run: Mapping[str, Any]) -> str:
    """What became of it; of one that a person ended nobody can say whether it would have helped."""
    if run.get("cancelled") and run.get("outcome") == "unknown":
        return "denied" if run.get("denied") else "cancelled"
    return str(run.get("outcome") or "")


def call_words(call: Mapping[str, Any]) -> str:
    """`restart: restart_service unit=nginx.service`: all that it would be called with, secrets struck out."""
    params = call.get("params")
    said = " ".join(_params(params)) if isinstance(params, Mapping) else ""
    text = f"{call.get('step', '')}: {call.get('skill', '')} {said}".rstrip()
    return text if len(text) <= CALL_MAX else text[: CALL_MAX - 1] + "…"


def _params(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in Redactor().data(dict(params)).items():
        if value in (None, "", [], {}):
            continue
        text = shlex.join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else _plain(value)
        yield f"{name}={text}" if len(text) <= VALUE_MAX else f"{name}={text[:VALUE_MAX]}… ({len(text)} characters)"


def _plain(value: Any) -> str:
    return shlex.quote(value) if isinstance(value, str) else str(value)


def acting_words(acting: Mapping[str, Any], now: float) -> str:
    """The call that is under way, and for how long it has run."""
    try:
        runs_s = max(0.0, now - parse_time(str(acting.get("since"))))
    except ValueError:
        return call_words(acting)
    kind = "" if str(acting.get("step", "")).startswith(RESERVED_STEPS) else "runs "
    return f"{call_words(acting)}   {kind}for {runs_s:.0f} s"
