"""What stands where in a closed part: the sidecar `events/2026-02-24.1.idx`, and the same beside each archive.

Built by `retention` when a part closes, and by `archive` with the places of its frames; read by queries, which open only the
blocks that can hold what they look for; rebuilt by `verify`. It is never believed without its checksums: a bad or missing one
is built again or done without, since all of it can be made from the lines.

A part is cut at ends of lines into blocks of 1,024 lines or 1 MiB, whichever is less. A line without an end for more than that
is cut all the same; the block behind such a cut is marked (`CONTINUES`), and begins to count at its first newline. Where the
index of an archive was made again from a damaged one, what could not be read is a block of its own (`LOST`), as long as it takes.

The format, version 1, little-endian. A header of 136 bytes: magic `AIOSIDX\\n`, version (u16), kind (u16: 0 beside a raw part,
1 beside an archive), blocks (u32), types (u32), size of the raw part (u64), size of the file that it stands beside (u64),
readable events (u64), since when its age counts (i64, seconds; 0: the end of its day), SHA-256 of the raw part, then length and
CRC-32 (u32 each) of three sections, four u32 of zero, and the CRC-32 of the header before it. The sections:

- columns, each an array over the blocks: offset in the raw part (u64), place in the file (u64), first and last arrival, first and
  last time (i64, whole seconds rounded down), length in the raw part, length in the file, CRC-32 of the raw bytes, readable
  events, unreadable lines, events that the end of the part before holds too, end of its filter (u32), severities (u8, bit 0 is
  info), flags (u8: `CONTINUES`, `LOST`, `PLAIN`);
- types, by name: length of the name (u16), name, number n of blocks (u32), n block numbers (u32), n counts (u32). At most
  4,096 types; further ones count under the empty name, which therefore must be looked at for any type;
- filters: for each block a Bloom filter of its subjects, ten bits for each distinct subject, seven hashes (the two halves of an
  8-byte BLAKE2b, added as h1 + i * h2): it takes a subject that is not there for one that is in fewer than 1 of 100 blocks.
"""

from __future__ import annotations

import os
import re
import struct
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from itertools import accumulate, chain
from typing import Any, NamedTuple
from zlib import crc32

from aios.disk import read_all, write_small
from aios.events.codec import LINE_MAX, BadLine, decode, is_plain, is_whole
from aios.events.event import SEVERITIES, parse_time
from aios.ports import Files

VERSION = 1
RAW, ARCHIVE = 0, 1
BLOCK_LINES = 1024
BLOCK_BYTES = 1 << 20
BLOCK_BYTES_MAX = BLOCK_BYTES + LINE_MAX
"""No block is longer: what is read or decompressed at once is bounded by it."""
CONTINUES = 1
"""Flag: this block begins inside a line that is too long; it counts from its first newline on."""
LOST = 2
"""Flag: its bytes could not be read when the index was built. No question leaves it out, since it may have held the answer."""
PLAIN = 4
"""Flag: each of its lines was decoded when the index was built, and is byte for byte what AIOS writes: so what its bytes say of a
type is sure, and whoever has checked the block need not decode a line to know that it can be decoded."""
TYPES_MAX = 4096
OTHERS = ""

_MAGIC = b"AIOSIDX\n"
_HEADER = struct.Struct("<8sHHIIQQQq32sIIIIII16xI")
_COLUMNS = (
    ("offset", "Q"),
    ("at", "Q"),
    ("arrival_first", "q"),
    ("arrival_last", "q"),
    ("time_first", "q"),
    ("time_last", "q"),
    ("length", "I"),
    ("stored", "I"),
    ("crc", "I"),
    ("events", "I"),
    ("bad", "I"),
    ("repeats", "I"),
    ("filter_end", "I"),
    ("severities", "B"),
    ("flags", "B"),
)
_ROW_BYTES = sum(array(code).itemsize for _, code in _COLUMNS)
_INDEX_BYTES_MAX = 1 << 30
_LOST_MAX = 1 << 31
_BITS_EACH = 10
_HASHES = 7
_TO_THE_SECOND = len(b"2026-02-24T08:15:30")
_EARLIEST, _LATEST = -(2**62), 2**62
"""Bounds of a block that holds a time nobody can read: it is never left out."""

_SEVERITY_BIT = {name: 1 << at for at, name in enumerate(SEVERITIES)}
_ANY_SEVERITY = 0x80
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class BadIndex(ValueError):
    """These bytes are no index that may be believed; the text is the reason."""


class Types(NamedTuple):
    """Where one type occurs: block numbers, rising, and how often in each."""

    blocks: memoryview
    counts: memoryview


@dataclass(frozen=True, slots=True)
class Index:
    """See the head of this file. The columns are memoryviews: `index.offset[3]` is where block 3 begins in the raw part."""

    kind: int
    part_size: int
    file_size: int
    events: int
    since: int
    sha256: bytes
    columns: Mapping[str, memoryview]
    types: Mapping[str, Types]
    filters: bytes

    def __len__(self) -> int:
        return len(self.columns["offset"])

    def column(self, name: str) -> memoryview:
        return self.columns[name]

    # --- questions

    def select(
        self,
        *,
        types: Callable[[str], bool] | None = None,
        subject: str = "",
        severities: int = 0,
        since: float | None = None,
        until: float | None = None,
        by_time: bool = False,
        after: int = -1,
    ) -> list[int]:
        """Numbers of the blocks that may hold what is asked for, rising; no block that holds it is left out.

        `types` says whether a type is wanted; `severities` is a mask (see `severity_mask`); `since` <= arrival < `until`
        (`by_time`: the event's own time) in seconds; `after` leaves out blocks that end at or before this offset of the part.
        """
        found: Iterable[int] = range(len(self)) if types is None else self._with_types(types)
        if after >= 0:
            offset, length = self.columns["offset"], self.columns["length"]
            found = [at for at in found if offset[at] + length[at] > after]
        if since is not None or until is not None:
            found = self._between(found, since, until, "time" if by_time else "arrival")
        if severities:
            column = self.columns["severities"]
            found = [at for at in found if column[at] & (severities | _ANY_SEVERITY)]
        if subject:
            found = [at for at in found if self.may_hold(at, subject)]
        return list(found)

    def _with_types(self, wanted: Callable[[str], bool]) -> list[int]:
        lists = [known.blocks for name, known in self.types.items() if name == OTHERS or wanted(name)]
        return sorted(set(chain(self.lost(), *lists)))

    def lost(self) -> list[int]:
        """Blocks whose bytes could not be read when this was built."""
        return [at for at, flags in enumerate(self.columns["flags"]) if flags & LOST]

    def _between(self, blocks: Iterable[int], since: float | None, until: float | None, what: str) -> list[int]:
        first, last = self.columns[f"{what}_first"], self.columns[f"{what}_last"]
        begin = _EARLIEST if since is None else since
        end = _LATEST if until is None else until
        return [at for at in blocks if last[at] + 1 > begin and first[at] < end]

    def may_hold(self, block: int, subject: str) -> bool:
        """False: no event of this block is about the subject. True: some may be."""
        if self.columns["flags"][block] & LOST:
            return True
        ends = self.columns["filter_end"]
        bits = self.filters[ends[block - 1] if block else 0 : ends[block]]
        raw = subject.encode(errors="surrogatepass")
        return bool(bits) and all(bits[bit >> 3] & (1 << (bit & 7)) for bit in _bits_of(raw, len(bits) * 8))

    def counts_of(self, block: int) -> dict[str, int]:
        """Readable lines of one block by type; under the empty name those of types that have no list."""
        found: dict[str, int] = {}
        for name, known in self.types.items():
            at = bisect_left(known.blocks, block)
            if at < len(known.blocks) and known.blocks[at] == block:
                found[name] = known.counts[at]
        return found

    def counts(self) -> dict[str, int]:
        """Readable lines by type. What the end of the part before holds too (`repeats`) is counted here as well."""
        return {name: sum(known.counts) for name, known in self.types.items()}

    @property
    def bad(self) -> int:
        """Lines that could not be read when this was built."""
        return sum(self.columns["bad"])

    @property
    def repeats(self) -> int:
        return sum(self.columns["repeats"])

    def moved(self, kind: int, at: array[int], stored: array[int], file_size: int, since: int) -> Index:
        """The same blocks, in another file."""
        columns = {**self.columns, "at": memoryview(at), "stored": memoryview(stored)}
        return Index(kind, self.part_size, file_size, self.events, since, self.sha256, columns, self.types, self.filters)


def severity_mask(least: str) -> int:
    """The mask of this severity and all above; 0 (which asks for nothing) for an empty one."""
    return sum(_SEVERITY_BIT[name] for name in SEVERITIES[SEVERITIES.index(least) :]) if least else 0


@lru_cache(maxsize=4096)
def _hashes_of(subject: bytes) -> tuple[int, int]:
    digest = blake2b(subject, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1


def _bits_of(subject: bytes, size: int) -> list[int]:
    first, step = _hashes_of(subject)
    return [(first + number * step) % size for number in range(_HASHES)]


def _filter_of(subjects: Iterable[bytes]) -> bytes:
    known = sorted(subjects)
    bits = bytearray(-(-len(known) * _BITS_EACH // 8))
    for subject in known:
        for bit in _bits_of(subject, len(bits) * 8):
            bits[bit >> 3] |= 1 << (bit & 7)
    return bytes(bits)


# --- bytes ------------------------------------------------------------------------------------------------------------


def encode_index(index: Index) -> bytes:
    """The file's bytes; the same index gives the same bytes."""
    columns = b"".join(index.columns[name].tobytes() for name, _ in _COLUMNS)
    types = b"".join(_encode_type(name, index.types[name]) for name in sorted(index.types))
    head = _HEADER.pack(
        _MAGIC,
        VERSION,
        index.kind,
        len(index),
        len(index.types),
        index.part_size,
        index.file_size,
        index.events,
        index.since,
        index.sha256,
        *chain.from_iterable((len(section), crc32(section)) for section in (columns, types, index.filters)),
        0,
    )[:-4]
    return b"".join((head, struct.pack("<I", crc32(head)), columns, types, index.filters))


def _encode_type(name: str, known: Types) -> bytes:
    raw = name.encode()
    return b"%b%b%b%b%b" % (
        struct.pack("<H", len(raw)),
        raw,
        struct.pack("<I", len(known.blocks)),
        known.blocks.tobytes(),
        known.counts.tobytes(),
    )


def decode_index(raw: bytes) -> Index:
    """Raises BadIndex for anything that is not a whole index of this version."""
    if len(raw) < _HEADER.size:
        raise BadIndex("shorter than its header")
    head = _HEADER.unpack_from(raw)
    if head[0] != _MAGIC or crc32(raw[: _HEADER.size - 4]) != head[-1]:
        raise BadIndex("its header is damaged")
    _, version, kind, blocks, types, part_size, file_size, events, since, digest, *sections, _ = head
    if version != VERSION or kind not in (RAW, ARCHIVE):
        raise BadIndex(f"version {version}, this program reads {VERSION}")
    columns_raw, types_raw, filters = _sections(raw, sections)
    index = Index(
        kind, part_size, file_size, events, since, digest,
        _decode_columns(columns_raw, blocks), _decode_types(types_raw, types, blocks), filters,
    )  # fmt: skip
    _check(index)
    return index


def _sections(raw: bytes, sizes: list[int]) -> Iterator[bytes]:
    begin = _HEADER.size
    if begin + sizes[0] + sizes[2] + sizes[4] != len(raw):
        raise BadIndex("not as long as its header says")
    for length, checksum in zip(sizes[::2], sizes[1::2], strict=True):
        section = raw[begin : begin + length]
        if crc32(section) != checksum:
            raise BadIndex("a checksum is wrong")
        yield section
        begin += length


def _decode_columns(raw: bytes, blocks: int) -> dict[str, memoryview]:
    if len(raw) != blocks * _ROW_BYTES:
        raise BadIndex("its columns have the wrong length")
    view, begin = memoryview(raw), 0
    columns: dict[str, memoryview] = {}
    for name, code in _COLUMNS:
        end = begin + blocks * array(code).itemsize
        columns[name] = view[begin:end].cast(code)  # type: ignore[call-overload]  # a code is one of the literals
        begin = end
    return columns


def _decode_types(raw: bytes, count: int, blocks: int) -> dict[str, Types]:
    view, at = memoryview(raw), 0
    found: dict[str, Types] = {}
    try:
        for _ in range(count):
            (length,) = struct.unpack_from("<H", raw, at)
            name = raw[at + 2 : at + 2 + length].decode()
            (number,) = struct.unpack_from("<I", raw, at + 2 + length)
            begin = at + 6 + length
            at = begin + 8 * number
            if at > len(raw) or number > blocks:
                raise BadIndex("its types are cut off")
            found[name] = Types(view[begin : begin + 4 * number].cast("I"), view[begin + 4 * number : at].cast("I"))
            if number and max(found[name].blocks) >= blocks:
                raise BadIndex("it names a block that is not there")
    except (struct.error, UnicodeDecodeError) as error:
        raise BadIndex(f"its types cannot be read: {error}") from None
    if at != len(raw) or len(found) != count:
        raise BadIndex("its types have the wrong length")
    return found


def _check(index: Index) -> None:
    """What no checksum says: that the blocks cover the part, each within bounds, and lie in the file one after the other."""
    columns = index.columns
    lengths, ends = columns["length"], columns["filter_end"]
    begins = list(accumulate(lengths, initial=0))
    if list(columns["offset"]) != begins[:-1] or begins[-1] != index.part_size:
        raise BadIndex("its blocks do not cover the part")
    if any(length > BLOCK_BYTES_MAX and not flags & LOST for length, flags in zip(lengths, columns["flags"], strict=True)):
        raise BadIndex("a block is longer than any may be")
    if len(index) and max(columns["stored"]) > 2 * BLOCK_BYTES_MAX:
        raise BadIndex("a block takes more room than any may")
    if any(at + stored > index.file_size for at, stored in zip(columns["at"], columns["stored"], strict=True)):
        raise BadIndex("a block lies outside its file")
    if len(index) and (list(ends) != sorted(ends) or ends[-1] != len(index.filters)):
        raise BadIndex("its filters have the wrong length")


# --- building ---------------------------------------------------------------------------------------------------------


class Cut(NamedTuple):
    """A block of a raw part: where it begins, its bytes, its flags."""

    offset: int
    raw: bytes
    flags: int


def cut_blocks(files: Files, fd: int, size: int) -> Iterator[Cut]:
    """The first `size` bytes of an open part as blocks. Raises OSError. Memory: two blocks."""
    offset, held, flags = 0, b"", 0
    read = 0
    while offset < size:
        if read < size and len(held) < BLOCK_BYTES_MAX:
            chunk = files.pread(fd, min(BLOCK_BYTES_MAX, size - read), read)
            if not chunk:
                raise OSError(5, "the part is shorter than it was")
            held += chunk
            read += len(chunk)
            continue
        for block in _cut(held, last=read >= size):
            yield Cut(offset, block, flags)
            flags = 0 if block.endswith(b"\n") else CONTINUES
            offset += len(block)
            held = held[len(block) :] if len(block) < len(held) else b""


def _cut(held: bytes, last: bool) -> list[bytes]:
    """Whole blocks from the front of these bytes; of what cannot be a whole block yet, none, unless nothing follows."""
    found: list[bytes] = []
    begin = 0
    while begin < len(held):
        end = _end_of_block(held, begin)
        if end == len(held) and not last and found:
            break
        found.append(held[begin:end])
        begin = end
    return found


_LINES = re.compile(rb"(?:[^\n]*+\n){%d}" % BLOCK_LINES)


def _end_of_block(held: bytes, begin: int) -> int:
    limit = min(len(held), begin + BLOCK_BYTES)
    whole = _LINES.match(held, begin, limit)
    if whole:
        return whole.end()
    if limit == len(held):
        return limit
    end = held.rfind(b"\n", begin, limit) + 1
    if end > begin:
        return end
    end = held.find(b"\n", limit, begin + BLOCK_BYTES_MAX) + 1
    return end if end > begin else min(len(held), begin + BLOCK_BYTES_MAX)


class LineFacts(NamedTuple):
    """What the index keeps of a line. `time` and `arrival` to the second (`2026-02-24T08:15:30`); other forms as they stand."""

    id: str
    type: str
    subject: str
    time: str
    arrival: str
    severity: str


_TEXT = rb'"([^"\\]*+)"'
_TIME = rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,6})?+Z"'
_LINE = re.compile(
    rb'\{"specversion":"1\.0","id":%b,"source":"(?:[^"\\]++|\\.)*+","type":%b,"subject":%b,"time":%b,"arrival":%b,"severity":%b'
    % (_TEXT, _TEXT, _TEXT, _TIME, _TIME, _TEXT)
)


def facts_of(line: bytes) -> LineFacts | None:
    """Of a line without its newline; None when it cannot be read. A third of what decoding it costs."""
    if len(line) >= LINE_MAX or not is_whole(line):
        return None
    fast = _LINE.match(line)
    facts = fast.groups() if fast is not None else _slow_facts(line)
    return LineFacts(*(word.decode(errors="replace") for word in facts)) if facts is not None else None


def _facts(lines: Iterable[bytes]) -> tuple[list[tuple[bytes, ...]], bool]:
    """As `LineFacts`, in UTF-8, of those that can be read; and whether all of them are `PLAIN`."""
    found, plain = [], True
    match = _LINE.match
    for line in lines:
        fast = match(line) if is_plain(line) else None
        facts = fast.groups() if fast is not None else _slow_facts(line)
        plain = plain and fast is not None
        if facts is not None:
            found.append(facts)
    return found, plain


def _slow_facts(line: bytes) -> tuple[bytes, ...] | None:
    try:
        event = decode(line)
        words = (event.id, event.type, event.subject, event.time, event.arrival, event.severity)
        return tuple(word.encode() for word in words)
    except (BadLine, UnicodeEncodeError, AttributeError):
        return None


def lines_of(raw: bytes, flags: int) -> list[bytes]:
    """The lines of a block without their newlines; of one that continues a line, those behind it."""
    lines = raw.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines[1:] if flags & CONTINUES else lines


@dataclass(slots=True)
class IndexBuilder:
    """Takes blocks in order. `seen`: ids, in UTF-8, that the end of the part before holds: events that were written again."""

    seen: frozenset[bytes] = frozenset()
    _columns: dict[str, array[int]] = field(default_factory=lambda: {name: array(code) for name, code in _COLUMNS})
    _types: dict[str, tuple[array[int], array[int]]] = field(default_factory=dict)
    _filters: bytearray = field(default_factory=bytearray)
    _hash: Any = field(default_factory=sha256)
    _size: int = 0
    bad_blocks: int = 0
    """How many stretches could not be read."""

    def add(self, raw: bytes, flags: int, at: int, stored: int) -> None:
        """The next block: its raw bytes, and where they stand in the file."""
        lines = lines_of(raw, flags)
        facts, plain = _facts(lines)
        if plain and not flags & CONTINUES and raw.endswith(b"\n"):
            flags |= PLAIN
        ids, types, subjects, times, arrivals, severities = zip(*facts, strict=True) if facts else ((),) * 6
        self._add_types(Counter(types))
        self._filters += _filter_of(set(subjects))
        mask = 0
        for severity in set(severities):
            mask |= _SEVERITY_BIT.get(severity.decode(errors="replace"), _ANY_SEVERITY)
        repeats = sum(map(self.seen.__contains__, ids)) if self.seen else 0
        row = (
            self._size, at, *_span(arrivals), *_span(times), len(raw), stored, crc32(raw), len(facts),
            len(lines) - len(facts), repeats, len(self._filters), mask, flags,
        )  # fmt: skip
        for (name, _), value in zip(_COLUMNS, row, strict=True):
            self._columns[name].append(value)
        self._hash.update(raw)
        self._size += len(raw)

    def add_lost(self, length: int) -> None:
        """A stretch of the raw part that cannot be read (0: nobody knows how long); as many blocks as it takes."""
        self.bad_blocks += 1
        while True:
            piece = min(length, _LOST_MAX)
            row = (self._size, 0, _EARLIEST, _LATEST, _EARLIEST, _LATEST, piece, 0, 0, 0, 1, 0, len(self._filters), 0xFF, LOST)
            for (name, _), value in zip(_COLUMNS, row, strict=True):
                self._columns[name].append(value)
            self._size += piece
            length -= piece
            if length <= 0:
                return

    @property
    def size(self) -> int:
        """Bytes of the raw part so far."""
        return self._size

    def _add_types(self, counts: Counter[bytes]) -> None:
        block = len(self._columns["offset"])
        others = 0
        for raw, count in counts.items():
            name = raw.decode(errors="replace")
            if name not in self._types and len(self._types) >= TYPES_MAX:
                others += count
            else:
                self._put_type(name, block, count)
        if others:
            self._put_type(OTHERS, block, others)

    def _put_type(self, name: str, block: int, count: int) -> None:
        blocks, counts = self._types.setdefault(name, (array("I"), array("I")))
        if blocks and blocks[-1] == block:
            counts[-1] += count  # an event whose type is empty, and the others
        else:
            blocks.append(block)
            counts.append(count)

    def finish(self, kind: int, file_size: int, since: int = 0) -> Index:
        return Index(
            kind,
            self._size,
            file_size,
            sum(self._columns["events"]),
            since,
            self._hash.digest(),
            {name: memoryview(column) for name, column in self._columns.items()},
            {name: Types(memoryview(blocks), memoryview(counts)) for name, (blocks, counts) in self._types.items()},
            bytes(self._filters),
        )


def _span(times: Sequence[bytes]) -> tuple[int, int]:
    """The first and the last of these times, in whole seconds."""
    if not times:
        return _LATEST, _EARLIEST
    try:
        if all(len(text) == _TO_THE_SECOND for text in times):
            return _seconds(min(times)), _seconds(max(times))
        moments = [int(parse_time(text.decode()) if len(text) != _TO_THE_SECOND else _seconds(text)) for text in times]
        return min(moments) - 1, max(moments)
    except (ValueError, OverflowError):
        return _EARLIEST, _LATEST


@lru_cache(maxsize=256)
def _seconds(text: bytes) -> int:
    return int(datetime.fromisoformat(text.decode()).replace(tzinfo=UTC).timestamp())


def build_index(files: Files, path: str, seen: frozenset[bytes] = frozenset()) -> Index:
    """The index of a raw part, from its lines. About 3 µs a line; memory: two blocks. Raises OSError."""
    fd = files.open(path, _READ)
    try:
        size = files.fstat(fd).size
        builder = IndexBuilder(seen)
        for cut in cut_blocks(files, fd, size):
            builder.add(cut.raw, cut.flags, cut.offset, len(cut.raw))
    finally:
        files.close(fd)
    return builder.finish(RAW, size)


# --- files ------------------------------------------------------------------------------------------------------------


def index_path(path: str) -> str:
    """Of a part or of an archive: `…/2026-02-24.1.jsonl` and `…/2026-02-24.1.jsonl.zst` have `…/2026-02-24.1.idx` beside them."""
    return path.removesuffix(".zst").removesuffix(".jsonl") + ".idx"


def save_index(files: Files, path: str, index: Index) -> None:
    """Durable when it returns, the old one or the new one whenever it is cut off. Raises OSError."""
    write_small(files, index_path(path), encode_index(index))


def load_index(files: Files, path: str) -> Index:
    """The index beside this part or archive. Raises BadIndex, OSError (FileNotFoundError where there is none).

    Whoever holds the file open compares `file_size` with its size: an index of another file, or of fewer lines, is no use.
    """
    return decode_index(read_all(files, index_path(path), _INDEX_BYTES_MAX))


def trusted_index(files: Files, path: str, file_size: int, kind: int) -> Index | None:
    """The index, if it can be read and is about a file of this kind and size; else None, and the reader does without."""
    try:
        index = load_index(files, path)
    except (BadIndex, OSError):
        return None
    return index if index.kind == kind and index.file_size == file_size else None
