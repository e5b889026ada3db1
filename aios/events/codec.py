"""The one place where bytes become events and events become bytes; the one door to orjson.

The spine and the journal's writer call `encode`, its readers `decode`, the inbox `parse_foreign`; whoever reads or writes any
other JSON calls `encode_json` and `decode_json` (or `decode_hostile`, where the bytes come from outside). Which origin a line
has stands in `origin`, what is a secret in `redact`; neither is known here.

A line of the journal is a CloudEvents 1.0 object in canonical order, whose last member is `"crc":"xxxxxxxx"`: the CRC-32
(zlib's) of every byte before `,"crc"`. At most 64 KiB with its newline, 32 levels, integers of 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, cast
from zlib import crc32

import orjson

from aios.events.catalogue import OWN_PREFIXES
from aios.events.event import HOST, SEVERITIES, Draft, Event, format_time

LINE_MAX = 65_536
"""Bytes of a line, its newline counted."""
LEVELS_MAX = 32
"""How deep objects and lists may nest: orjson reads 1,024 levels but writes 254, and CEL must never see so many."""

_HEAD = 100
"""The names alone of what stands before the data are longer; nothing nests there but in the line itself."""
_SEAL = b',"crc":"'
_SEAL_LENGTH = len(_SEAL) + 8 + len(b'"}')
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_WORD_MAX = 128
_NAME_MAX = 512


class BadLine(ValueError):
    """These bytes are no event (or this event no line); the text is the reason, one sentence without the bytes themselves."""


# --- plain JSON -----------------------------------------------------------------------------------------------------


def encode_json(value: Any) -> bytes:
    """Compact JSON in the order of the keys. Raises BadLine for what JSON cannot say (surrogates, huge integers, objects)."""
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError as error:
        raise BadLine(f"cannot be written as JSON: {error}") from None


def encode_sorted(value: Any) -> bytes:
    """The same value always gives the same bytes: what hashes are made of."""
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS | orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadLine(f"cannot be written as JSON: {error}") from None


def decode_json(raw: bytes | bytearray | memoryview | str) -> Any:
    """JSON from a file of our own. Raises BadLine."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error}") from None


def decode_hostile(raw: bytes, *, bytes_max: int = LINE_MAX, levels_max: int = LEVELS_MAX) -> Any:
    """JSON from outside: its size, depth and integers are checked by a byte scan before it is decoded. Raises BadLine.

    Of two members with the same name the last one counts, here and in all that is written from it.
    """
    if len(raw) > bytes_max:
        raise BadLine(f"longer than {bytes_max} bytes")
    if raw.count(b"{") + raw.count(b"[") > levels_max and depth_of(raw) > levels_max:
        raise BadLine(f"nested deeper than {levels_max} levels")
    if _NINETEEN_DIGITS in raw.translate(_DIGITS):
        _check_integers(raw)
    return decode_json(raw)


def _plain(value: Any) -> Any:
    """Containers of our own code that orjson does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# A string, also one whose end is missing: so the scan is linear for any bytes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_NINETEEN_DIGITS = b"0" * 19  # fewer always fit 64 bits
_LONG_INTEGER = re.compile(rb"(?<![\d.eE+\-])-?\d{19,}+(?![.eE])")


def depth_of(raw: bytes) -> int:
    """How deep brackets outside strings nest. Linear, whatever the bytes."""
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets), initial=0))


def _check_integers(raw: bytes) -> None:
    """orjson turns an integer that is too big into a float without a word; we do not."""
    for digits in _LONG_INTEGER.findall(_STRING.sub(b"", raw)):
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
            raise BadLine("an integer does not fit 64 bits")


# --- our own lines --------------------------------------------------------------------------------------------------


def encode(event: Event) -> bytes:
    """The event as a line of the journal, newline included. Raises BadLine for what no line can hold."""
    event_id, source, kind, subject, time, data, arrival, severity, origin, cause, incident, dataversion = event
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time,
        "arrival": arrival,
        "severity": severity,
    }
    if origin:
        body["origin"] = origin
    if cause:
        body["causationid"] = cause
    if incident:
        body["correlationid"] = incident
    body["dataversion"] = dataversion
    body["data"] = data
    try:
        sealed = orjson.dumps(body, _plain, _OPTIONS)[:-1]
    except TypeError as error:
        raise BadLine(f"cannot be written as JSON: {error}") from None
    if len(sealed) > LINE_MAX - _SEAL_LENGTH - 1:
        raise BadLine(f"longer than {LINE_MAX} bytes; put the data into a blob and name it")
    if sealed.count(b"{", _HEAD) + sealed.count(b"[", _HEAD) >= LEVELS_MAX and depth_of(sealed) > LEVELS_MAX:
        raise BadLine(f"nested deeper than {LEVELS_MAX} levels")
    return b'%b,"crc":"%08x"}\n' % (sealed, crc32(sealed))


def is_whole(line: bytes) -> bool:
    """Whether the line ends with the CRC of what stands before it."""
    end = len(line) - 1 if line.endswith(b"\n") else len(line)
    start = end - _SEAL_LENGTH
    return start > 0 and line[start:end] == b'%b%08x"}' % (_SEAL, crc32(memoryview(line)[:start]))


def was_whole(line: bytes) -> bool:
    """Of a line that cannot be read: whether it was spoiled. Half a line that a crash left has no end, and was never taken."""
    body = line.rstrip()
    return body.endswith(b'"}') or body[-_SEAL_LENGTH:].startswith(_SEAL)


def decode(line: bytes) -> Event:
    """A line of the journal (its newline may be missing) as an event. Raises BadLine."""
    if len(line) > LINE_MAX:
        raise BadLine(f"longer than {LINE_MAX} bytes")
    if not is_whole(line):
        raise BadLine("its checksum is missing or wrong")
    return decode_sure(line)


_WORDS = itemgetter("id", "source", "type", "subject", "time", "arrival", "severity")
_new = tuple.__new__  # half of what an event's own `__new__` takes, and a busy day is a million of them


def is_plain(line: bytes) -> bool:
    """Whether this line (without its newline) can be decoded, and is JSON in our encoder's own bytes, no name in it twice.

    In what order its members stand is not looked at.
    """
    if len(line) >= LINE_MAX or not is_whole(line):
        return False
    if line.count(b"{") + line.count(b"[") > LEVELS_MAX and depth_of(line) > LEVELS_MAX:
        return False
    try:
        body = orjson.loads(line)
        return orjson.dumps(body) == line and bool(_event_of(body))
    except (orjson.JSONDecodeError, BadLine):
        return False


def decode_sure(line: bytes) -> Event:
    """As `decode`, of a line whose bytes are sure: it stands in a block that has a checksum of its own. Raises BadLine."""
    if line.count(b"{") + line.count(b"[") > LEVELS_MAX and depth_of(line) > LEVELS_MAX:
        raise BadLine(f"nested deeper than {LEVELS_MAX} levels")
    return _event_of(decode_json(line))


def _event_of(body: Any) -> Event:
    try:
        get, data = body.get, body["data"]
        event_id, source, kind, subject, time, arrival, severity = words = _WORDS(body)
        more = (get("origin", ""), get("causationid", ""), get("correlationid", ""))
        "".join(words + more)  # the cheapest way to ask whether all of them are text
        event = _new(Event, (event_id, source, kind, subject, time, data, arrival, severity, *more, body["dataversion"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadLine(f"an attribute is missing, or no text: {error}") from None
    if type(data) is not dict:
        raise BadLine("data is not an object")
    return event


# --- lines from outside ---------------------------------------------------------------------------------------------

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_\-:/]*(?:\.[A-Za-z0-9_\-:/]+)*")


def parse_foreign(raw: bytes, *, source: str, origin: str = "", fresh_id: str = "") -> Draft:
    """A line that another program wrote, as a draft. Raises BadLine.

    Only `type` is required, and it may not be one of our own; `source` and `fresh_id` are used where the line names none,
    `subject` is then `host`. `time` comes out in UTC. Of the rest, `causationid` is believed (a program may know what woke it);
    `arrival`, `origin`, `correlationid`, `dataversion`, `crc` and unknown attributes are not ours to take from there: they
    are left out, and their place is the program's own file.
    """
    body = decode_hostile(raw)
    if type(body) is not dict:
        raise BadLine("not a JSON object")
    get = body.get
    event_type = get("type")
    if type(event_type) is not str or (wrong := _wrong_with_type(event_type)):
        raise BadLine(_about_type(event_type) if type(event_type) is not str else wrong)
    data = get("data")
    if data is None:
        data = {}
        if "data_base64" in body:
            raise BadLine("data_base64 is not taken; put an object into data")
    elif type(data) is not dict:
        raise BadLine("data is not an object")
    severity = get("severity") or ""
    if severity and severity not in SEVERITIES:
        raise BadLine(f"severity is none of {', '.join(SEVERITIES)}")
    if get("specversion", "1.0") != "1.0":
        raise BadLine("specversion is not 1.0")
    time = get("time")
    fields = (
        event_type,
        _word(get("subject"), "subject", _NAME_MAX) or HOST,
        data,
        severity,
        _word(get("causationid"), "causationid", _WORD_MAX) if "causationid" in body else "",
        "",  # the incident is ours to say
        (_word(get("id"), "id", _WORD_MAX) if "id" in body else "") or fresh_id,
        (_word(get("source"), "source", _NAME_MAX) if "source" in body else "") or source,
        canonical_time(time) if time else "",
        origin,
    )
    return _new(Draft, fields)


@lru_cache(maxsize=1024)
def _wrong_with_type(event_type: str) -> str:
    """Programs say the same few types again and again."""
    if len(event_type) > _WORD_MAX or not _TYPE.fullmatch(event_type):
        return _about_type(event_type)
    return "a type that only AIOS itself may use" if event_type.startswith(OWN_PREFIXES) else ""


def _about_type(event_type: Any) -> str:
    if event_type is None:
        return "type is missing"
    return f"type is not a dotted name of at most {_WORD_MAX} letters, digits and _ - : /"


def _word(value: Any, name: str, length_max: int) -> str:
    """An attribute that may be missing: one line of text, never with control characters (they would forge output)."""
    if value is None:
        return ""
    if type(value) is not str:
        raise BadLine(f"{name} is not text")
    if len(value) > length_max:
        raise BadLine(f"{name} is longer than {length_max} characters")
    if not value.isprintable() or (name != "subject" and " " in value):
        raise BadLine(f"{name} holds a character that does not print")
    return value


def canonical_time(text: Any) -> str:
    """RFC 3339 with any offset, as UTC with a Z. Raises BadLine."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise BadLine("time has no zone; end it with Z or an offset such as +01:00")
        if 20 <= len(text) <= 27 and text[-1] == "Z" and text[10] == "T" and text[4] == text[7] == "-" and text[19] in ".Z":
            return cast("str", text)
        return format_time(moment.timestamp())
    except BadLine:
        raise
    except (ValueError, TypeError, OverflowError, OSError):
        raise BadLine("time is not RFC 3339, such as 2026-02-24T08:15:30Z") from None
