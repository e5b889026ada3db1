"""Files that rot, or that a stranger writes: no exception that nobody expects, and no good neighbour lost.

Of journal, index and archive files more than 100,000 mutated ones in all; each test says how many are its own.
"""

from __future__ import annotations

import random
import subprocess
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from zlib import crc32

import pytest

from aios.disk import OsFiles
from aios.journal import index as index_module
from aios.journal.archive import (
    ArchiveWriter,
    DamagedBlock,
    OpenPart,
    archive_path,
    open_archive,
    open_part,
    rebuild_index,
    write_archive,
)
from aios.journal.index import BadIndex, build_index, decode_index, encode_index, index_path, save_index, trusted_index
from aios.journal.parts import Part
from aios.journal.query import History
from aios.testing.disk import SimDisk
from tests.unit.journal.upkeep_kit import EVENTS, day, line

PART = Part(day(0), 1)
LINES = [line(number, 100_000) for number in range(3000)]
RAW = f"{EVENTS}/{PART.name}"
ARCHIVE = archive_path(EVENTS, PART)


@cache
def originals() -> tuple[bytes, bytes, bytes, bytes]:
    """Of a part of 3,000 events in three blocks: raw, its index, archive, its index."""
    files = fresh()
    save_index(files, RAW, build_index(files, RAW))
    write_archive(files, EVENTS, PART)
    return files.read(RAW), files.read(index_path(RAW)), files.read(ARCHIVE), files.read(index_path(ARCHIVE))


def fresh(raw: bytes | None = None) -> SimDisk:
    files = SimDisk()
    files.make_folders(f"{EVENTS}/archive")
    files.append(RAW, b"".join(LINES) if raw is None else raw, durable=True)
    return files


def with_files(**contents: bytes) -> SimDisk:
    files = SimDisk()
    files.make_folders(f"{EVENTS}/archive")
    paths = {"raw": RAW, "raw_index": index_path(RAW), "archive": ARCHIVE, "archive_index": index_path(ARCHIVE)}
    for name, data in contents.items():
        files.append(paths[name], data, durable=True)
    return files


def mutate(data: bytes, chance: random.Random) -> tuple[bytes, int, int]:
    """One thing that can happen to a file; and the stretch that it happened to."""
    at = chance.randrange(len(data))
    length = chance.choice((1, 1, 1, 4, 64, 5000))
    kind = chance.randrange(6)
    if kind == 0:
        return data[:at], at, len(data)
    if kind == 1:
        return data[:at] + bytes(length) + data[at + length :], at, at + length
    if kind == 2:
        return data[:at] + chance.randbytes(length) + data[at + length :], at, at + length
    if kind == 3:
        return data[:at] + data[at + length :], at, at + length
    if kind == 4:
        return data[:at] + chance.randbytes(length) + data[at:], at, at
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :], at, at + 1


def readable(opened: OpenPart) -> list[int]:
    found = []
    for number in range(len(opened.index)):
        found += [stored.event.data["n"] for stored in opened.readable(number)]
    opened.close()
    return found


@pytest.mark.parametrize("seed", range(5))
def test_mutated_indexes_are_never_believed(seed: int) -> None:
    """30,000 in all: refused by their checksums, whatever happened to them."""
    chance = random.Random(seed)
    for count in range(6000):
        original = originals()[1 if count & 1 else 3]
        raw, _, _ = mutate(original, chance)
        if raw == original:
            continue
        with pytest.raises(BadIndex):
            decode_index(raw)


def sealed(raw: bytes) -> bytes:
    """The same with every checksum right, as a liar would write it."""
    head = index_module._HEADER
    values = list(head.unpack_from(raw))
    begin = head.size
    for at in (10, 12, 14):
        values[at + 1] = crc32(raw[begin : begin + values[at]])
        begin += values[at]
    packed = head.pack(*values)[:-4]
    return packed + crc32(packed).to_bytes(4, "little") + raw[head.size :]


@pytest.mark.parametrize("seed", range(5))
def test_an_index_that_lies_with_right_checksums_harms_nobody(seed: int) -> None:
    """10,000 in all: refused or believed, but no exception that nobody expects, and no block that is not what it says."""
    chance = random.Random(seed)
    files = fresh()
    fd = files.open(RAW, 0)
    believed = 0
    for _ in range(2000):
        raw, _, _ = mutate(originals()[1], chance)
        if len(raw) < index_module._HEADER.size:
            continue
        try:
            index = decode_index(sealed(raw))
        except BadIndex:
            continue
        believed += 1
        opened = OpenPart(files, PART, fd, index)
        for number in index.select(types=lambda name: name == "run.opened", subject="s1.service", since=0.0):
            try:
                opened.block(number)
            except DamagedBlock:
                continue
    assert believed > 100


SMALL_BLOCK, SMALL_LINES = 3, 30


@cache
def small_archive() -> tuple[bytes, bytes]:
    """Ten blocks of three lines, and its index: as an archive is, only that a thousand of them are looked through in a second."""
    files = SimDisk()
    files.make_folders(f"{EVENTS}/archive")
    writer = ArchiveWriter(files, ARCHIVE)
    for begin in range(0, SMALL_LINES, SMALL_BLOCK):
        writer.add(b"".join(LINES[begin : begin + SMALL_BLOCK]))
    writer.commit()
    return files.read(ARCHIVE), files.read(index_path(ARCHIVE))


def lost_beside(original: bytes, index_raw: bytes, each: int, chance: random.Random, with_index: bool) -> str:
    """One mutation; what was lost that was not hit, in words."""
    index = decode_index(index_raw)
    frames = [(at, at + stored) for at, stored in zip(index.columns["at"], index.columns["stored"], strict=True)]
    raw, begin, end = mutate(original, chance)
    files = with_files(archive=raw, **({"archive_index": index_raw} if with_index else {}))
    found = set(readable(open_archive(files, EVENTS, PART)))
    moved = len(raw) != len(original)
    for number, (first, beyond) in enumerate(frames):
        hit = (begin < beyond and end > first) or (begin == end and first < begin < beyond)
        if not hit and not (moved and number == len(frames) - 1 and begin >= first):
            whole = range(number * each, min(index.events, number * each + each))
            if not found.issuperset(whole):
                return f"block {number}"
    return "" if found <= set(range(index.events)) else "something was found that never was"


@pytest.mark.parametrize("with_index", [True, False], ids=["with-index", "without-index"])
@pytest.mark.parametrize("seed", range(4))
def test_mutated_archives_lose_the_blocks_that_were_hit_and_no_other(seed: int, with_index: bool) -> None:
    """36,000 in all: with its index, or found again from its frames; a block that was not touched is read."""
    chance = random.Random(seed)
    for count in range(4500):
        lost = lost_beside(*small_archive(), SMALL_BLOCK, chance, with_index)
        assert not lost, f"seed {seed}, mutation {count}: {lost} was lost"


@pytest.mark.parametrize("with_index", [True, False], ids=["with-index", "without-index"])
def test_mutated_archives_of_full_blocks_lose_no_other_block(with_index: bool) -> None:
    """200 of them, with blocks as long as they are in real life."""
    chance = random.Random(11)
    for count in range(100):
        lost = lost_beside(*originals()[2:], 1024, chance, with_index)
        assert not lost, f"mutation {count}: {lost} was lost"


@pytest.mark.parametrize("seed", range(4))
def test_mutated_raw_parts_lose_the_lines_that_were_hit_and_no_other(seed: int) -> None:
    """16,000 in all, with the index of what was there before beside them."""
    chance = random.Random(seed)
    some = LINES[:20]
    before = fresh(b"".join(some))
    index_raw = encode_index(build_index(before, RAW))
    original = before.read(RAW)
    for count in range(4000):
        raw, begin, end = mutate(original, chance)
        files = with_files(raw=raw, raw_index=index_raw)
        found = set(readable(open_part(files, EVENTS, PART)))
        offset = 0
        for number, one in enumerate(some):
            whole = raw.find(one)
            if (offset + len(one) <= begin or offset > end) and whole >= 0 and (whole == 0 or raw[whole - 1 : whole] == b"\n"):
                assert number in found, f"seed {seed}, mutation {count}: line {number} was lost"
            offset += len(one)
        assert found <= set(range(20))


def test_garbage_is_no_archive_and_no_index() -> None:
    """10,000 files of random bytes, some beginning as the real ones do."""
    chance = random.Random(7)
    for count in range(10_000):
        start = originals()[2][:40] if count & 1 else b""
        raw = start + chance.randbytes(chance.randrange(300))
        if count % 10 == 0:
            files = with_files(archive=raw, archive_index=raw)
            assert readable(open_archive(files, EVENTS, PART)) == []
        else:
            with pytest.raises(BadIndex):
                decode_index(originals()[1][: chance.randrange(60)] + raw)


def test_a_flipped_bit_anywhere_in_a_small_archive_is_noticed() -> None:
    """Every bit in turn: the block is refused, or (a mark, the end) nothing at all was lost."""
    files = fresh(b"".join(LINES[:3]))
    write_archive(files, EVENTS, PART)
    files.unlink(RAW)
    size = len(files.read(ARCHIVE))
    for offset in range(size):
        for bit in range(8):
            files.flip(ARCHIVE, offset, 1 << bit)
            found = readable(open_archive(files, EVENTS, PART))
            assert found in ([], [0, 1, 2]), (offset, bit)
            files.flip(ARCHIVE, offset, 1 << bit)
    assert readable(open_archive(files, EVENTS, PART)) == [0, 1, 2]


def test_an_index_trusted_without_its_checksum_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: without the check a rotten index hides events that are there. With it they are found."""

    def hides() -> bool:
        lost = 0
        for offset in range(index_module._HEADER.size, len(originals()[1]), 7):
            raw = bytearray(originals()[1])
            raw[offset] ^= 4
            files = with_files(raw=originals()[0], raw_index=bytes(raw))
            opened = open_part(files, EVENTS, PART)
            lost += len(opened.index.select(types=lambda name: name == "run.opened", subject="s2.service", since=0.0)) < 3
            opened.close()
        return lost > 0

    def unchecked(raw: bytes, sizes: list[int]) -> list[bytes]:
        ends = list(accumulate(sizes[::2], initial=index_module._HEADER.size))
        return [raw[begin:end] for begin, end in pairwise(ends)]

    assert not hides()
    monkeypatch.setattr(index_module, "_sections", unchecked)
    assert hides()


def test_plain_zstdcat_reads_an_archive(tmp_path: Path) -> None:
    """Nobody needs us to get at the memory."""
    files = OsFiles()
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / PART.name).write_bytes(b"".join(LINES))
    write_archive(files, str(folder), PART)
    path = archive_path(str(folder), PART)
    try:
        shown = subprocess.run(["zstdcat", path], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("zstdcat is not installed")
    assert shown == b"".join(LINES)


def test_an_archives_index_made_again_is_the_one_that_was_written() -> None:
    files = with_files(archive=originals()[2])
    fd = files.open(ARCHIVE, 0)
    assert encode_index(rebuild_index(files, fd)) == originals()[3]


def test_a_question_leaves_out_no_block_that_holds_the_answer() -> None:
    index = build_index(fresh(), RAW)
    for block in range(len(index)):
        numbers = range(block * 1024, min(3000, block * 1024 + 1024))
        for subject in {f"s{number % 5}.service" for number in numbers}:
            assert block in index.select(subject=subject)
    assert index.select(subject="nobody.service") == []
    assert index.select(types=lambda name: name == "no.such") == []
    assert index.counts() == {"service.down": 1000, "host.sampled": 1000, "run.opened": 1000}


def test_the_filters_error_is_below_one_in_a_hundred() -> None:
    """Of blocks with 200 subjects each."""
    files = SimDisk()
    files.make_folders(EVENTS)
    subjects = [f"unit-{number}.service" for number in range(200)]
    lines = [one.replace(b'"s0.service"', f'"{name}"'.encode()) for name, one in zip(subjects, [line(0)] * 200, strict=True)]
    sealed = [one[:-19] + b',"crc":"%08x"}\n' % crc32(one[:-19]) for one in lines]
    files.append(RAW, b"".join(sealed), durable=True)
    index = build_index(files, RAW)
    assert index.events == 200
    wrong = sum(index.may_hold(0, f"other-{number}.service") for number in range(20_000))
    assert wrong < 200
    assert all(index.may_hold(0, name) for name in subjects)


def test_lines_without_an_end_are_cut_and_cost_only_themselves() -> None:
    """Three megabytes without a newline between good lines."""
    raw = b"".join(LINES[:5]) + b"x" * 3_000_000 + b"\n" + b"".join(LINES[5:10])
    files = fresh(raw)
    save_index(files, RAW, build_index(files, RAW))
    opened = open_part(files, EVENTS, PART)
    assert not opened.rebuilt
    assert readable(opened) == list(range(10))
    write_archive(files, EVENTS, PART)
    archived = open_archive(files, EVENTS, PART)
    assert b"".join(archived.block(number) for number in range(len(archived.index))) == raw
    assert readable(archived) == list(range(10))


def test_an_index_of_fewer_lines_is_no_use() -> None:
    """Somebody added a line to a closed part: the old index would hide it."""
    files = with_files(raw=originals()[0] + LINES[0], raw_index=originals()[1])
    assert trusted_index(files, RAW, len(originals()[0]) + len(LINES[0]), index_module.RAW) is None


@pytest.mark.parametrize("archived", [False, True], ids=["raw", "archived"])
def test_a_line_that_rotted_before_its_block_was_sealed_is_no_answer(archived: bool) -> None:
    """The block's checksum is right, since it was made of the rotten bytes: only the line's own tells."""
    rotten = LINES[7].replace(b'"n":7', b'"n":8')
    files = fresh(b"".join([*LINES[:7], rotten, *LINES[8:20]]))
    save_index(files, RAW, build_index(files, RAW))
    if archived:
        write_archive(files, EVENTS, PART)
        files.unlink(RAW)
    found = [stored.event.data["n"] for stored in History(files, EVENTS).read()]
    assert found == [number for number in range(20) if number != 7]
