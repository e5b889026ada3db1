"""Older parts, compressed: `events/archive/2026-02-24.1.jsonl.zst` with its index beside it. Bytes in, the same bytes out.

Written by `retention` (and by the import), read by queries and `verify`. A position (day, part, offset) means the same in an
archive as in the raw part, since an archive gives back the part's bytes exactly, those of bad lines too.

Each block of the index is one frame of Zstandard (RFC 8878) with its content size and checksum, so that a flipped bit costs its
block only; `zstdcat` reads the whole as if it were one file. Before each frame stands a skippable frame of 32 bytes that makes
the archive readable without its index: magic 0x184D2A5A, length 24, then `AIOS`, offset in the raw part (u64), length in the
raw part, length of the frame that follows, and CRC-32 of the 28 bytes before it (u32), all little-endian. The last such frame is
followed by none: its offset is the raw part's size, its lengths are 0; without it the archive is cut off.

`OpenPart` is the one way to the blocks of a closed part, raw or archived. While both are there the raw one counts: an archive
takes its place only when the raw part is gone.
"""

from __future__ import annotations

import os
import re
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from aios.disk import make_dirs, remove_if_there, temporary_beside, write_all
from aios.events.codec import BadLine, decode
from aios.events.event import Position, Stored
from aios.journal.index import (
    ARCHIVE,
    BLOCK_BYTES_MAX,
    CONTINUES,
    LOST,
    RAW,
    Index,
    IndexBuilder,
    build_index,
    cut_blocks,
    save_index,
    trusted_index,
)
from aios.journal.parts import Part
from aios.ports import Files

if TYPE_CHECKING:
    from zstandard import ZstdCompressor, ZstdDecompressor

LEVEL = 1
"""Of blocks of a few hundred KB of such lines it makes 4 to 8 % less than level 3 does, in three quarters of the time."""
FOLDER = "archive"
IMPORTED_FROM = 500_000_000
"""Parts with such numbers came by an import: queries read them, the world is never folded from them."""

_MARK = struct.Struct("<II4sQIII")
_MARK_MAGIC, _MARK_LENGTH, _TAG = 0x184D2A5A, 24, b"AIOS"
_MARK_HEAD = struct.pack("<II4s", _MARK_MAGIC, _MARK_LENGTH, _TAG)
_DESCRIPTOR_AT, _HAS_CHECKSUM = _MARK.size + 4, 0x04
"""RFC 8878, 3.1.1.1.1: behind the magic number of a frame stands its descriptor, with a flag for the checksum at its end."""
_FRAME_MAX = 2 * BLOCK_BYTES_MAX - _MARK.size
_SCAN = 4 << 20
_HOLE_MAX = 1 << 40
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.([1-9]\d{0,8})\.jsonl\.zst", re.ASCII)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class DamagedBlock(ValueError):
    """A block cannot be given back as it was; the text is the reason. Its neighbours can be read all the same."""


class ArchiveFailed(OSError):
    """What was written does not read back as what it was made of: the disk, or memory, is not to be trusted."""


def archive_path(folder: str, part: Part) -> str:
    """`folder` is `events/`."""
    return f"{folder}/{FOLDER}/{part.name}.zst"


def list_archives(files: Files, folder: str) -> list[Part]:
    """All archived parts below `events/`, in order; none where there is no such folder. Raises OSError."""
    try:
        names = files.listdir(f"{folder}/{FOLDER}")
    except FileNotFoundError:
        return []
    found = (_NAME.fullmatch(name) for name in names)
    return sorted(Part(match[1], int(match[2])) for match in found if match)


# --- frames -----------------------------------------------------------------------------------------------------------


def _compressor() -> ZstdCompressor:
    import zstandard  # 5 MB that only who writes an archive pays

    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)


def _decompressor() -> ZstdDecompressor:
    import zstandard  # as above; readers of raw days do without

    return zstandard.ZstdDecompressor(max_window_size=1 << 23)


def _mark(offset: int, length: int, stored: int) -> bytes:
    head = _MARK.pack(_MARK_MAGIC, _MARK_LENGTH, _TAG, offset, length, stored, 0)[:-4]
    return head + struct.pack("<I", crc32(head))


class Mark(NamedTuple):
    """What stands before a frame: where its block begins in the raw part, how long it is, how long the frame is."""

    offset: int
    length: int
    stored: int

    @property
    def last(self) -> bool:
        return not self.stored and not self.length


def _read_mark(raw: bytes, at: int = 0) -> Mark | None:
    """None where none stands, or one that rotted."""
    if len(raw) - at < _MARK.size or not raw.startswith(_MARK_HEAD, at):
        return None
    *_, offset, length, stored, checksum = _MARK.unpack_from(raw, at)
    if crc32(raw[at : at + _MARK.size - 4]) != checksum or length > BLOCK_BYTES_MAX or stored > _FRAME_MAX:
        return None
    return Mark(offset, length, stored)


class _Frames:
    """Gives back what frames hold, and nothing that is not sure to be it."""

    def __init__(self) -> None:
        import zstandard  # see `_decompressor`

        self._zstd = zstandard
        self._decompressor = _decompressor()

    def block(self, frame: bytes, length: int) -> bytes:
        """Raises DamagedBlock. Looks at the size that the frame claims before anything is allocated for it."""
        try:
            if self._zstd.frame_content_size(frame) != length or length > BLOCK_BYTES_MAX:
                raise DamagedBlock("its frame is not of the size that it should have")
            return self._decompressor.decompress(frame, allow_extra_data=False)
        except (self._zstd.ZstdError, MemoryError) as error:
            raise DamagedBlock(f"its frame cannot be decompressed: {error}") from None


# --- writing ----------------------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Writes one archive under a temporary name; `commit` puts it in its place. For blocks in order. All raise OSError."""

    def __init__(self, files: Files, path: str, seen: frozenset[bytes] = frozenset()) -> None:
        self._files = files
        self._path = path
        self._compressor = _compressor()
        self._builder = IndexBuilder(seen)
        self._offset = 0
        self._size = 0
        self.at: array[int] = array("Q")
        self.stored: array[int] = array("I")
        make_dirs(files, os.path.dirname(path))
        self._temporary = temporary_beside(path)
        self._fd = files.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)

    def add(self, raw: bytes, flags: int = 0, *, indexed: bool = True) -> None:
        """The next block; `indexed` false where the caller has its index already."""
        frame = self._compressor.compress(raw)
        write_all(self._files, self._fd, _mark(self._offset, len(raw), len(frame)) + frame)
        stored = _MARK.size + len(frame)
        self.at.append(self._size)
        self.stored.append(stored)
        if indexed:
            self._builder.add(raw, flags, self._size, stored)
        self._offset += len(raw)
        self._size += stored

    def commit(self, known: Index | None = None, since: int = 0) -> Index:
        """Durable, read back whole and compared, in its place under its name, its index beside it. Raises ArchiveFailed too."""
        files = self._files
        write_all(files, self._fd, _mark(self._offset, 0, 0))
        self._size += _MARK.size
        files.fsync(self._fd)
        files.drop_cache(self._fd)  # so that what is compared comes from the disk
        if known is None:
            index = self._builder.finish(ARCHIVE, self._size, since)
        else:
            index = known.moved(ARCHIVE, self.at, self.stored, self._size, since)
        self._compare(index)
        fd, self._fd = self._fd, -1
        files.close(fd)
        files.rename(self._temporary, self._path)
        files.fsync_dir(os.path.dirname(self._path))
        save_index(files, self._path, index)
        return index

    def _compare(self, index: Index) -> None:
        """By each block's CRC-32 of the raw part, and by its frame's own checksum: it is read as whoever asks later reads it."""
        frames = _Frames()
        try:
            for block in range(len(index)):
                _read_block(self._files, self._fd, index, block, frames, twice=True)
        except DamagedBlock as error:
            raise ArchiveFailed(5, f"an archive does not read back: {error}", self._path) from None
        if self._offset != index.part_size:
            raise ArchiveFailed(5, "an archive does not read back as the part it was made of", self._path)

    def give_up(self) -> None:
        """Nothing of it stays. Safe to call at any time."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._files.close(fd)
            except OSError:
                pass  # it is given up either way
        remove_if_there(self._files, self._temporary)


def write_archive(files: Files, folder: str, part: Part, seen: frozenset[bytes] = frozenset(), since: int = 0) -> Index:
    """Archive a raw part; the raw one stays. Durable and compared when it returns. Raises OSError, and then nothing has changed.

    The part's index says where its blocks are, if it still fits the part's bytes; else the blocks are cut anew.
    """
    path = f"{folder}/{part.name}"
    fd = files.open(path, _READ)
    try:
        size = files.fstat(fd).size
        known = trusted_index(files, path, size, RAW)
        if known is not None:
            try:
                return _copy_indexed(files, folder, part, fd, known, since)
            except DamagedBlock:
                pass  # the part is not what its index was made of: what is there now is archived, with an index of its own
        return _copy_cut(files, folder, part, fd, size, seen, since)
    finally:
        files.close(fd)


def _copy_indexed(files: Files, folder: str, part: Part, fd: int, known: Index, since: int) -> Index:
    writer = ArchiveWriter(files, archive_path(folder, part))
    try:
        for block in range(len(known)):
            writer.add(_read_block(files, fd, known, block, None), indexed=False)
        return writer.commit(known, since)
    finally:
        writer.give_up()


def _copy_cut(files: Files, folder: str, part: Part, fd: int, size: int, seen: frozenset[bytes], since: int) -> Index:
    writer = ArchiveWriter(files, archive_path(folder, part), seen)
    try:
        for cut in cut_blocks(files, fd, size):
            writer.add(cut.raw, cut.flags)
        return writer.commit(None, since)
    finally:
        writer.give_up()


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_block(files: Files, fd: int, index: Index, block: int, frames: _Frames | None, *, twice: bool = False) -> bytes:
    """The raw bytes of a block, checked. Raises DamagedBlock, OSError.

    What a frame gives back has passed the frame's own checksum, and where its mark is that of this block nothing else can
    stand there: to compute the CRC-32 too (`twice`) would take a sixth of the time of a scan.
    """
    columns = index.columns
    if columns["flags"][block] & LOST:
        raise DamagedBlock("it could not be read when its index was made")
    stored, length = columns["stored"][block], columns["length"][block]
    raw = files.pread(fd, stored, columns["at"][block])
    if frames is not None:
        marked = _read_mark(raw) == Mark(columns["offset"][block], length, stored - _MARK.size)
        sealed = len(raw) > _DESCRIPTOR_AT and raw[_DESCRIPTOR_AT] & _HAS_CHECKSUM
        raw = frames.block(raw[_MARK.size :], length)
        if marked and sealed and not twice:
            return raw
    if len(raw) != length or crc32(raw) != columns["crc"][block]:
        raise DamagedBlock("its checksum is wrong")
    return raw


class OpenPart:
    """A closed part, wherever it stands: its index and its blocks. Holds one descriptor; `close` it.

    `index` is the one beside it, or, where that is missing or cannot be believed, one made from what can be read (`rebuilt`).
    """

    def __init__(self, files: Files, part: Part, fd: int, index: Index, rebuilt: bool = False) -> None:
        self._files = files
        self._fd = fd
        self._frames: _Frames | None = None
        self.part = part
        self.where = "raw" if index.kind == RAW else "archive"
        self.index = index
        self.rebuilt = rebuilt

    def block(self, number: int, *, twice: bool = False) -> bytes:
        """The raw bytes of this block; `twice` looks at both checksums of an archive's. Raises DamagedBlock, OSError."""
        if self._frames is None and self.index.kind == ARCHIVE:
            self._frames = _Frames()
        return _read_block(self._files, self._fd, self.index, number, self._frames, twice=twice)

    def unchecked(self, number: int) -> bytes:
        """The bytes of a damaged block of a raw part, whose lines have checksums of their own; of an archive nothing.

        Raises OSError.
        """
        if self.index.kind == ARCHIVE:
            return b""
        columns = self.index.columns
        return self._files.pread(self._fd, columns["stored"][number], columns["at"][number])

    def events(self, number: int) -> Iterator[Stored]:
        """The readable events of this block, in order. Raises DamagedBlock, OSError."""
        return events_in(self.part, self.index, number, self.block(number))

    def readable(self, number: int) -> Iterator[Stored]:
        """As `events`; of a damaged block whatever lines are whole. Raises OSError."""
        try:
            raw = self.block(number)
        except DamagedBlock:
            raw = self.unchecked(number)
        return events_in(self.part, self.index, number, raw)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)


OnBad = Callable[[Position, int, str], None]
"""Where a bad line begins, how many bytes it has, and why it is bad."""


def ignore_bad(position: Position, length: int, reason: str) -> None:
    """For readers whose user has been told elsewhere."""


def events_in(part: Part, index: Index, number: int, raw: bytes, on_bad: OnBad = ignore_bad) -> Iterator[Stored]:
    """The readable events in the bytes of a block."""
    offset = index.columns["offset"][number]
    begin = raw.find(b"\n") + 1 if index.columns["flags"][number] & CONTINUES else 0
    while begin < len(raw):
        end = raw.find(b"\n", begin) + 1 or len(raw)
        position = Position(part.day, part.number, offset + begin)
        try:
            yield Stored(decode(raw[begin:end]), position)
        except BadLine as bad:
            on_bad(position, end - begin, str(bad))
        begin = end


def open_part(files: Files, folder: str, part: Part) -> OpenPart:
    """The raw part, else its archive. Raises OSError (FileNotFoundError where there is neither).

    For closed parts: the one that is written now changes behind an index's back (`reader.Tail` reads that).
    """
    try:
        return open_raw(files, folder, part)
    except FileNotFoundError:
        return open_archive(files, folder, part)


def open_raw(files: Files, folder: str, part: Part) -> OpenPart:
    """Raises OSError."""
    path = f"{folder}/{part.name}"
    return _opened(files, part, path, RAW, lambda _fd: build_index(files, path))


def open_archive(files: Files, folder: str, part: Part) -> OpenPart:
    """Raises OSError."""
    return _opened(files, part, archive_path(folder, part), ARCHIVE, lambda fd: rebuild_index(files, fd))


def _opened(files: Files, part: Part, path: str, kind: int, make_index: Callable[[int], Index]) -> OpenPart:
    """With the index beside it, or one that is made anew where that one cannot be trusted."""
    fd = files.open(path, _READ)
    try:
        index = trusted_index(files, path, files.fstat(fd).size, kind)
        return OpenPart(files, part, fd, make_index(fd) if index is None else index, rebuilt=index is None)
    except BaseException:  # whatever it was: nobody else would close it, and it rises
        files.close(fd)
        raise


# --- without an index -------------------------------------------------------------------------------------------------


def rebuild_index(files: Files, fd: int, seen: frozenset[bytes] = frozenset(), since: int = 0) -> Index:
    """The index of an archive, from its frames: all of them that are whole, whatever lies between. Raises OSError."""
    size = files.fstat(fd).size
    builder, frames = IndexBuilder(seen), _Frames()
    at, flags, ended = 0, 0, False
    while at < size and not ended:
        mark, found = _next_mark(files, fd, at, builder.size)
        if found > at:  # what stands here lost its mark; the next one tells where it ends
            flags = _add_unmarked(files, fd, builder, frames, (at, found), mark, flags)
        if mark is None:
            break
        if mark.offset > builder.size:
            builder.add_lost(mark.offset - builder.size)
            flags = 0
        ended = mark.last
        at = found + _MARK.size
        if not ended and mark.offset == builder.size:
            before = builder.bad_blocks
            flags = _add_frame(files, fd, builder, frames, found, mark, flags)
            if builder.bad_blocks == before:
                at += mark.stored  # else the next mark may stand nearer than this one says: something was cut out
    if not ended:
        builder.add_lost(0)
    return builder.finish(ARCHIVE, size, since)


def broken_marks(files: Files, fd: int, index: Index) -> list[int]:
    """Places in an archive where a mark should stand and does not. Its blocks can be read all the same. Raises OSError."""
    columns = index.columns
    rows = zip(columns["at"], columns["offset"], columns["length"], columns["stored"], columns["flags"], strict=True)
    wanted = [(at, Mark(offset, length, stored - _MARK.size)) for at, offset, length, stored, flags in rows if not flags & LOST]
    wanted.append((index.file_size - _MARK.size, Mark(index.part_size, 0, 0)))
    return [at for at, mark in wanted if _read_mark(files.pread(fd, _MARK.size, max(0, at))) != mark]


def _next_mark(files: Files, fd: int, at: int, offset: int) -> tuple[Mark | None, int]:
    """The first mark from here on that goes on at or behind this offset of the raw part, and where it stands."""
    while True:
        chunk = files.pread(fd, _SCAN, at)
        found = 0
        while (found := chunk.find(_MARK_HEAD, found)) >= 0:
            mark = _read_mark(chunk, found)
            if mark is not None and offset <= mark.offset <= offset + _HOLE_MAX:
                return mark, at + found
            found += 1
        if len(chunk) <= _MARK.size:
            return None, at + len(chunk)
        at += len(chunk) - _MARK.size + 1  # one may stand across the seam


def _add_frame(files: Files, fd: int, builder: IndexBuilder, frames: _Frames, at: int, mark: Mark, flags: int) -> int:
    """The flags of the block behind it."""
    try:
        raw = frames.block(files.pread(fd, mark.stored, at + _MARK.size), mark.length)
    except DamagedBlock:
        builder.add_lost(mark.length)
        return 0
    builder.add(raw, flags, at, _MARK.size + mark.stored)
    return 0 if raw.endswith(b"\n") else CONTINUES


def _add_unmarked(
    files: Files, fd: int, builder: IndexBuilder, frames: _Frames, stretch: tuple[int, int], mark: Mark | None, flags: int
) -> int:
    """Between the last frame and the next mark lies a frame whose own mark rotted, if the lengths fit. The flags behind it."""
    begin, end = stretch
    length = mark.offset - builder.size if mark is not None else 0
    if not 0 < length <= BLOCK_BYTES_MAX or not 0 < end - begin - _MARK.size <= _FRAME_MAX:
        return 0
    return _add_frame(files, fd, builder, frames, begin, Mark(builder.size, length, end - begin - _MARK.size), flags)
