"""A call of a skill, word by word: what a yes would start, what is under way. For whoever shows a run to a person.

Bounded and without secrets, on one line.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from aios.events.redact import Redactor

CALL_MAX, VALUE_MAX = 4000, 1000
"""Characters of a call, and of one of its parameters."""
_REDACTOR = Redactor()


def call_words(call: Mapping[str, Any], longest: int = CALL_MAX) -> str:
    """`restart: restart_service unit=nginx.service`: all that it would be called with, secrets struck out."""
    params = call.get("params")
    said = " ".join(_params(params)) if isinstance(params, Mapping) else ""
    step = f"{call['step']}: " if call.get("step") else ""
    text = f"{step}{call.get('skill', '')} {said}".rstrip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _params(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in _REDACTOR.value(dict(params)).items():
        if value in (None, "", [], {}):
            continue
        text = shlex.join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else _plain(value)
        yield f"{name}={text}" if len(text) <= VALUE_MAX else f"{name}={text[:VALUE_MAX]}… ({len(text)} characters)"


def _plain(value: Any) -> str:
    return shlex.quote(value) if isinstance(value, str) else str(value)
