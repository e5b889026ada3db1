"""What goes over the control socket: one JSON object a line, both ways.

    client: {"id": 1, "verb": "status", "args": {}}
    server: {"id": 1, "ok": true, "result": {…}}          or {"id": 1, "ok": false, "error": "…", "hint": "…"}
    a stream: {"id": 1, "ok": true, "stream": true}, then {"id": 1, "item": {…}} …, then {"id": 1, "end": true} (or an error)

A client ends a stream by closing the connection. Nothing here has a side effect.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aios.events.codec import BadLine, decode_hostile, encode_json

REQUEST_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 32 << 20
VERB_MAX = 64
ID_MAX = 2**53
LEVELS_MAX = 40
"""`emit` wraps events, which may have 32 levels."""

_SUN_PATH_MAX = 107
"""Bytes that the kernel takes as the path of a socket (unix(7))."""


class BadRequest(ValueError):
    """What came is no request; the text says what one looks like. `request_id` is its id, if that much could be read."""

    def __init__(self, message: str, request_id: int = 0) -> None:
        super().__init__(message)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    verb: str
    args: Mapping[str, Any]


def parse_request(line: bytes) -> Request:
    """A request from a line. Raises BadRequest for everything that is none."""
    try:
        raw = decode_hostile(line, bytes_max=REQUEST_BYTES_MAX, levels_max=LEVELS_MAX)
    except BadLine as error:
        raise BadRequest(f"the request is {error}" if str(error).startswith("not") else f"the request: {error}") from None
    if not isinstance(raw, dict):
        raise BadRequest("a request is a JSON object with id, verb and args")
    request_id = raw.get("id", 0)
    if isinstance(request_id, bool) or not isinstance(request_id, int) or not 0 <= request_id < ID_MAX:
        raise BadRequest("id must be a number from 0 to 2^53")
    if extra := sorted(set(raw) - {"id", "verb", "args"}):
        raise BadRequest(f"a request has id, verb and args, not {extra[0][:VERB_MAX]!r}", request_id)
    verb = raw.get("verb")
    if not isinstance(verb, str) or not verb or len(verb) > VERB_MAX:
        raise BadRequest(f"verb must be a word of at most {VERB_MAX} letters", request_id)
    args = raw.get("args", {})
    if not isinstance(args, dict):
        raise BadRequest("args must be a JSON object", request_id)
    return Request(request_id, verb, args)


def request_line(request_id: int, verb: str, args: Mapping[str, Any]) -> bytes:
    return encode_json({"id": request_id, "verb": verb, "args": args}) + b"\n"


def result_line(request_id: int, result: Mapping[str, Any]) -> bytes:
    """Raises BadLine for what JSON cannot say."""
    return encode_json({"id": request_id, "ok": True, "result": result}) + b"\n"


def error_line(request_id: int, error: str, hint: str = "") -> bytes:
    return encode_json({"id": request_id, "ok": False, "error": _sayable(error), "hint": _sayable(hint)}) + b"\n"


def stream_line(request_id: int) -> bytes:
    return encode_json({"id": request_id, "ok": True, "stream": True}) + b"\n"


def item_line(request_id: int, item: Mapping[str, Any]) -> bytes:
    return encode_json({"id": request_id, "item": item}) + b"\n"


def end_line(request_id: int) -> bytes:
    return encode_json({"id": request_id, "end": True}) + b"\n"


def _sayable(text: str) -> str:
    """An error may quote what came; half characters cannot be written as JSON."""
    return text[:4000].encode("utf-8", "backslashreplace").decode()


def short_path(folder_fd: int, path: str) -> str:
    """A path that fits into a socket's address: through the open folder where the path itself is too long."""
    if len(os.fsencode(path)) <= _SUN_PATH_MAX:
        return path
    return f"/proc/self/fd/{folder_fd}/{os.path.basename(path)}"
