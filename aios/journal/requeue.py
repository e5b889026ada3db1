"""Lines from quarantine, mended by a person, go back into the inbox: `aios journal requeue`.

The person edits `text` in a copy below `quarantine/` (or in a file made from one); each line that can be taken now is appended
to `inbox/requeued.jsonl`, from where the daemon takes it like any other. A line that names no id gets one made of the place where
it first stood and its bytes, and what went back is written into `quarantine/requeued.jsonl`: so doing it twice, or being cut
off in between, brings nothing twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aios.disk import make_dirs, read_all, write_all
from aios.events.codec import LINE_MAX, BadLine, decode_hostile, encode_json, parse_foreign
from aios.events.origin import missing_id
from aios.ports import Files

INBOX = "requeued.jsonl"
LEDGER = "requeued.jsonl"
_FILE_MAX = 256 << 20
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


@dataclass(slots=True)
class Requeued:
    """How many went back, how many had gone before, and what cannot be taken yet: [file, line from 1, reason] of each."""

    requeued: int = 0
    already: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)


def quarantine_files(files: Files, state: str) -> list[str]:
    """Copies of refused lines of the inbox, oldest first. Raises OSError."""
    try:
        names = files.listdir(f"{state}/quarantine")
    except FileNotFoundError:
        return []
    return [f"{state}/quarantine/{name}" for name in sorted(names) if name.startswith("inbox.") and name.endswith(".jsonl")]


def requeue(files: Files, state: str, paths: list[str], dry: bool = False) -> Requeued:
    """Put back what can be taken from these files; `dry` only says what would be. Raises OSError."""
    result, gone = Requeued(), set(_gone_before(files, state))
    lines: list[bytes] = []
    ids: list[str] = []
    for path in paths:
        for number, raw in enumerate(read_all(files, path, _FILE_MAX).split(b"\n"), 1):
            if not raw.strip():
                continue
            try:
                line, mark = _mended(raw)
            except BadLine as bad:
                result.refused.append((path, number, str(bad)))
                continue
            if mark in gone:
                result.already += 1
                continue
            gone.add(mark)
            lines.append(line)
            ids.append(mark)
    result.requeued = len(lines)
    if lines and not dry:
        make_dirs(files, f"{state}/inbox")
        _append(files, f"{state}/inbox/{INBOX}", b"".join(lines))
        _append(files, f"{state}/quarantine/{LEDGER}", b"".join(encode_json({"id": mark}) + b"\n" for mark in ids))
    return result


def _mended(raw: bytes) -> tuple[bytes, str]:
    """The line for the inbox, and what it is known by. Raises BadLine."""
    copy = decode_hostile(raw, bytes_max=8 * LINE_MAX)
    text = copy.get("text") if type(copy) is dict else None
    if type(text) is not str:
        raise BadLine("it has no text to take (bytes that are no UTF-8 stand in base64); write the mended line into `text`")
    line = text.strip().encode(errors="surrogatepass")
    try:
        body: dict[str, Any] = decode_hostile(line)
    except BadLine:
        if LINE_MAX - 4 < len(text.encode(errors="surrogatepass")) <= LINE_MAX:  # as `Quarantine.keep` cuts it, between letters
            what = f"longer than {LINE_MAX} bytes, and only so many of its {copy.get('length')} were kept"
            raise BadLine(f"{what}; write a shorter line into `text`") from None
        raise
    if type(body) is not dict:
        raise BadLine("the text is not a JSON object")
    file, offset = str(copy.get("file", "")), copy.get("offset", 0)
    mark = missing_id(f"quarantine:{file}:{offset}", line)
    body.setdefault("id", mark)
    if "source" not in body and file.startswith("inbox/"):
        body["source"] = f"inbox/{file.removeprefix('inbox/').partition('/')[0].removesuffix('.jsonl')}"
    ready = encode_json(body)
    parse_foreign(ready, source="inbox/requeued")
    return ready + b"\n", mark


def _gone_before(files: Files, state: str) -> Iterator[str]:
    try:
        raw = read_all(files, f"{state}/quarantine/{LEDGER}", _FILE_MAX)
    except FileNotFoundError:
        return
    for line in raw.split(b"\n"):
        try:
            yield str(decode_hostile(line)["id"])
        except (BadLine, KeyError, TypeError):
            continue  # the torn end of one that was cut off: its line is taken again, under the same id


def _append(files: Files, path: str, data: bytes) -> None:
    fd = files.open(path, _APPEND)
    try:
        write_all(files, fd, data)
        files.fsync(fd)
    finally:
        files.close(fd)
    files.fsync_dir(os.path.dirname(path))
