"""Secrets are struck out before an event is appended, and this is the one place that knows how. Pure.

The spine calls `Redactor.clean` once for each event, before it is encoded for the journal, and goes on with what comes back:
the world never sees what the journal does not hold. Struck out are values under names such as `password` and `api_key`,
values that the settings or the environment name (`known`), and shapes that only secrets have. What other tools print into
files of their own is not our business.

Most events hold nothing of the kind, so one compiled expression over the encoded line (about 1 µs) decides whether the slow
way is walked at all. It errs on the side of walking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aios.events.codec import BadLine, encode, encode_json
from aios.events.event import Event

REDACTED = "[redacted]"
_KNOWN_MIN = 6  # a shorter value would strike out ordinary words

_NAMES = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|(?:access|auth|refresh|id|api|bearer|session|csrf|bot|deploy)[_-]?token|token"
    r"|api[_-]?key|apikey|(?:access|secret|private|signing|encryption|ssh|master|account)[_-]?key|credentials?"
    r"|(?:proxy[_-]?)?authori[sz]ation|(?:set[_-]?)?cookie|client[_-]?secret|connection[_-]?string|dsn"
)
# The last word of a name tells: `db_password`, `clientSecret`, but not `token_count` or `max_tokens`.
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})\Z")
_SECRET_FLAG = re.compile(rf"(?i)--?[\w-]*(?:{_NAMES})\Z")

_SHAPES = (
    r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[A-Z0-9]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\b[sr]k[-_](?:live_|test_|ant-|proj-)?[A-Za-z0-9_-]{16,}"  # keys of payment and model providers
    r"|\bAIza[A-Za-z0-9_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JWT
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_WHOLE = re.compile(_SHAPES, re.DOTALL)
# These keep what stands before the secret, which tells a reader what it was.
_AFTER = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s{1,8})[A-Za-z0-9._~+/-]{12,}=*"),
    re.compile(r"(://[^\s/@:\"'<>]{0,128}:)[^\s/@\"'<>]+(?=@)"),
    re.compile(rf"(?i)((?:{_NAMES})[\"']?=)(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"),
    re.compile(
        r"(?i)((?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|cookie)[\"']?:\s{0,8})(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
    ),
    re.compile(r"(?i)(authorization[\"']?:\s{0,8})(?:\"[^\"]*\"|'[^']*'|[^\r\n\"']+)"),
    re.compile(rf"(?i)(?<![\w-])(--[\w-]{{0,64}}(?:{_NAMES})\s{{1,8}})[^\s\"'-][^\s\"']*"),
)
# Stems of all of the above, in lower case, as first letter -> remainders: grouped so, the expression is twice as fast.
_STEMS = {
    "p": ("ass", "wd"),
    "s": ("ecret", "k[-_]"),
    "t": ("oken",),
    "k": ("ey",),
    "c": ("ookie", "redential", "onnection.?string"),
    "a": ("uthori", "iza", "kia", "sia", "roa", "ida", "gpa", "npa", "bia", "cca"),
    "d": ("sn",),
    "b": ("earer", "asic"),
    "x": ("ox",),
    "g": ("lpat", "h[pousr]_", "ithub_pat"),
    "r": ("k[-_]",),
    "e": ("yj",),
    ":": ("//",),
}
_STEM = "|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in _STEMS.items())


class Redactor:
    """Strikes out secrets; `known` are values that are secret wherever they stand (at least six characters)."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = sorted({value for value in known if len(value) >= _KNOWN_MIN}, key=len, reverse=True)
        encoded = [re.escape(encode_json(value)[1:-1].lower()) for value in self._known]
        self._gate = re.compile(b"|".join([_STEM.encode(), *encoded]))
        self._stems = re.compile(_STEM)

    def clean(self, event: Event, line: bytes | None = None) -> Event:
        """The event without secrets: itself when it holds none. `line` is `encode(event)`, if the caller has it already.

        What comes back fits a line as what came did: where many short secrets would make it too long, all data is struck out.
        """
        if not self.suspicious(line if line is not None else encode(event)) and "://" not in event.subject:
            return event
        data, subject = self.value(event.data), self.text(event.subject)
        if data == event.data and subject == event.subject:
            return event
        clean = event._replace(data=data, subject=subject)
        try:
            encode(clean)
        except BadLine:
            return clean._replace(data={"all": REDACTED})
        return clean

    def suspicious(self, line: bytes) -> bool:
        """Whether an encoded event may hold a secret in its data: cheap, and wrong only towards yes."""
        return self._gate.search(line[max(0, line.find(b'"data":')) :].lower()) is not None

    def value(self, value: Any) -> Any:
        """JSON without secrets; a new value, the old one is not touched."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self._named(name, item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return self._list(value)
        return value

    def _named(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool) or value in ("", [], {}) or not _SECRET_NAME.search(name):
            return self.value(value)
        return REDACTED

    def _list(self, items: list[Any] | tuple[Any, ...]) -> list[Any]:
        """What follows `--password` in a list of arguments is one."""
        cleaned: list[Any] = []
        after_flag = False
        for item in items:
            cleaned.append(REDACTED if after_flag and isinstance(item, str) else self.value(item))
            after_flag = isinstance(item, str) and len(item) < 80 and _SECRET_FLAG.match(item) is not None
        return cleaned

    def text(self, text: str) -> str:
        """Text without the values and shapes that are secret wherever they stand."""
        for known in self._known:
            text = text.replace(known, REDACTED)
        if self._stems.search(text.lower()) is None:
            return text
        text = _WHOLE.sub(REDACTED, text)
        for shape in _AFTER:
            text = shape.sub(r"\g<1>" + REDACTED, text)
        return text
