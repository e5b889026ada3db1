"""Where a line from the inbox stood, as text in the event's `origin`, and the cursor that is folded from it.

The inbox writes origins, the world folds cursors, and neither knows the other. The text is

    inbox/NAME@DEVICE.INODE.GENERATION:OFFSET+LENGTH~MARK

where NAME is the file below `inbox/` without `.jsonl`, LENGTH counts the newline, and MARK is the CRC-32 of the line's bytes
(of its last 64 KiB, should it be longer): by it a file that was truncated and has grown again is told from the one we knew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from hashlib import sha1
from typing import NamedTuple
from zlib import crc32

from aios.events.codec import LINE_MAX
from aios.events.event import Draft

PREFIX = "inbox/"
IMPORT_PREFIX = "import/"
"""Origins of what `aios journal import` brought: `import/FILE:LINE`. History, by its own times; it changes no state."""
MARK_SPAN = LINE_MAX
CURSORS_MAX = 10_000
"""Files whose cursors are remembered; beyond that the one that has been quiet longest is forgotten."""

_NAMESPACE = bytes.fromhex("a105e4e27b1d5c0f9a3e6d2f80c14b57")  # drawn once, for AIOS
_BEGUN = sha1(_NAMESPACE, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_MARK = re.compile(r"[0-9a-f]{8}").fullmatch
_TEXT = re.compile(r"inbox/(.+)@(\d+)\.(\d+)\.(\d+):(\d+)\+(\d+)~([0-9a-f]{8})", re.DOTALL)


class InboxCursor(NamedTuple):
    """How far one inbox file was durably taken. `length` and `mark` describe the last line, which ends at `offset`.

    `generation` rises whenever what stands under the name is truncated or replaced, and never falls.
    """

    device: int
    inode: int
    generation: int
    offset: int
    length: int
    mark: int


def mark_of(raw: bytes) -> int:
    """The mark of a line, given its bytes with the newline (the last 64 KiB are enough)."""
    return crc32(raw[-MARK_SPAN:])


def origin_text(name: str, cursor: InboxCursor) -> str:
    """The origin of the line that ends at the cursor."""
    _, _, _, offset, length, mark = cursor
    return f"{origin_begin(name, cursor)}{offset - length}+{length}~{mark:08x}"


def origin_begin(name: str, cursor: InboxCursor) -> str:
    """What the origins of all lines of this file, in this generation, begin with; `OFFSET+LENGTH~MARK` follows."""
    return f"inbox/{name}@{cursor.device}.{cursor.inode}.{cursor.generation}:"


def parse_origin(text: str) -> tuple[str, InboxCursor] | None:
    """The file's name and the cursor after that line; None when the origin is not an inbox's."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    name, device, inode, generation, offset, length, mark = found.groups()
    end = int(offset) + int(length)
    return name, InboxCursor(int(device), int(inode), int(generation), end, int(length), int(mark, 16))


def fold_origin(origins: MutableMapping[str, str], origin: str) -> None:
    """Move the origin of the file that this one is of; origins from elsewhere change nothing.

    Never back: late lines of a file that a rotation took away come after the first of the one that has its name now. The texts
    are kept unread: this is on the path of every event, and reading costs four times more.
    """
    at = origin.rfind("@")
    if at < 0 or not origin.startswith(PREFIX):
        return
    name = origin[len(PREFIX) : at]
    known = origins.pop(name, None)  # so that the mapping's order is by last use
    origins[name] = origin if known is None or _not_behind(origin, known) else known
    if len(origins) > CURSORS_MAX:
        del origins[next(iter(origins))]


def _not_behind(origin: str, known: str) -> bool:
    begin = origin.rfind(":") + 1
    if origin[:begin] == known[:begin]:  # the same file in the same generation, as nearly always
        new_offset, old_offset = _offset(origin[begin:]), _offset(known[begin:])
        if new_offset is not None and old_offset is not None:
            return new_offset >= old_offset
    new, old = parse_origin(origin), parse_origin(known)
    if new is None or old is None:
        return old is None
    return (new[1].generation, new[1].offset) >= (old[1].generation, old[1].offset)


@lru_cache(maxsize=256)
def _offset(place: str) -> int | None:
    """Of `OFFSET+LENGTH~MARK`; None for anything else. Asked twice of each: as the new one, then as the known one."""
    offset, _, rest = place.partition("+")
    length, _, mark = rest.partition("~")
    return int(offset) if offset.isdecimal() and length.isdecimal() and _MARK(mark) else None


class _Cursors(Mapping[str, InboxCursor]):
    """Read when somebody asks, and always as the origins stand then."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins

    def __getitem__(self, name: str) -> InboxCursor:
        parsed = parse_origin(self._origins[name])
        if parsed is None:
            raise KeyError(name)
        return parsed[1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, origin in self._origins.items() if parse_origin(origin) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def cursors_of(origins: Mapping[str, str]) -> Mapping[str, InboxCursor]:
    """The cursors that these origins stand for, now and later: it follows them."""
    return _Cursors(origins)


def missing_id(origin: str, raw: bytes) -> str:
    """The id of a line that names none: UUIDv5 (RFC 9562, 5.5) of its origin and its bytes, so that it is the same again."""
    hashed = _BEGUN.copy()
    hashed.update(b"%b\n%b" % (origin.encode(), raw))
    text = hashed.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def quarantined(
    *, file: str, offset: int, length: int, reason: str, kept: str = "", origin: str = "", causationid: str = ""
) -> Draft:
    """The draft that tells of bytes put aside; with `origin` the cursor moves past them."""
    data = {"file": file, "offset": offset, "length": length, "reason": reason, "kept": kept}
    return Draft(type="journal.quarantined", subject="host", data=data, origin=origin, causationid=causationid)


def refused(draft: Draft, reason: str) -> Draft:
    """For a taken draft that no line can hold after all (`BadLine` from `encode`): what goes into the journal in its stead."""
    parsed = parse_origin(draft.origin)
    name, cursor = parsed if parsed else (draft.source, InboxCursor(0, 0, 0, 0, 0, 0))
    return quarantined(
        file=f"inbox/{name}.jsonl" if parsed else name,
        offset=cursor.offset - cursor.length,
        length=cursor.length,
        reason=reason,
        origin=draft.origin,
    )
