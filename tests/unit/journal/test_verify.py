"""`verify` finds whatever rotted, was changed or taken away, says what to do, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aios.events.codec import encode_json
from aios.events.event import Position
from aios.journal.archive import archive_path
from aios.journal.checkpoints import Checkpoints, Memories
from aios.journal.cursors import Cursors
from aios.journal.digest import BadDigest, load_digest, save_digest
from aios.journal.parts import Part
from aios.journal.quarantine import Quarantine
from aios.journal.requeue import quarantine_files, requeue
from aios.journal.verify import compact, reindex, stats, verify
from aios.testing.disk import SimDisk
from tests.unit.journal.upkeep_kit import EVENTS, FIRST, STATE, day, events, journal, line, tend, upkeep, world_at

DAYS = 7
RAW = f"{EVENTS}/{day(5)}.1.jsonl"
ARCHIVED = archive_path(EVENTS, Part(day(4), 1))


def tended() -> SimDisk:
    files = journal(DAYS)
    tend(files, DAYS)
    return files


def found(files: SimDisk) -> list[tuple[str, str]]:
    """Grade and file of each finding; looking changes nothing."""
    before = files.tree(STATE)
    result = verify(files, STATE)
    assert files.tree(STATE) == before
    assert all(one.cure for one in result.findings)
    return [(one.grade, one.file) for one in result.findings]


def test_a_journal_that_was_tended_is_whole() -> None:
    files = tended()
    result = verify(files, STATE)
    assert (result.findings, result.parts, result.archives, result.digests, result.events) == ([], 2, 2, 6, 24)


def test_a_flipped_byte_anywhere_is_found() -> None:
    """Every byte of every kind of file, raw and archived: an error or a warning that names the file."""
    files = tended()
    kinds = (RAW, f"{EVENTS}/{day(5)}.1.idx", ARCHIVED, ARCHIVED.replace(".jsonl.zst", ".idx"), f"{STATE}/digest/{day(4)}.json")
    for path in kinds:
        for offset in range(0, len(files.read(path)), 5):
            files.flip(path, offset)
            named = {file for _, file in found(files)}
            assert path.removeprefix(f"{EVENTS}/").removeprefix(f"{STATE}/") in named, (path, offset)
            files.flip(path, offset)
    assert found(files) == []


def test_what_was_removed_or_changed_is_found() -> None:
    files = tended()
    files.unlink(RAW)
    files.append(ARCHIVED, b"more", durable=True)
    Cursors(files, f"{STATE}/cursors").reset("logs", Position(day(5), 1, 0), FIRST)
    files.flip(f"{STATE}/cursors/logs.json", 5)
    assert set(found(files)) == {
        ("error", f"{day(5)}.1.jsonl"),
        ("warning", f"{day(5)}.1.idx"),
        ("error", f"archive/{day(4)}.1.idx"),
        ("warning", f"archive/{day(4)}.1.jsonl.zst"),
        ("error", "cursors/"),
    }


def test_a_part_that_was_written_again_by_another_is_found() -> None:
    files = tended()
    raw = files.read(RAW)
    files.unlink(RAW)
    files.append(RAW, raw + line(99), durable=True)
    files.unlink(f"{EVENTS}/{day(5)}.1.idx")
    assert set(found(files)) == {("error", f"{day(5)}.1.jsonl"), ("warning", f"{day(5)}.1.idx")}


def test_reindex_makes_what_is_missing_or_damaged() -> None:
    files = tended()
    files.flip(f"{EVENTS}/{day(5)}.1.idx", 50)
    files.unlink(ARCHIVED.replace(".jsonl.zst", ".idx"))
    assert sorted(reindex(upkeep(files))) == [f"{day(5)}.1.idx", f"archive/{day(4)}.1.idx"]
    assert found(files) == []
    assert reindex(upkeep(files)) == []


def test_compact_brings_archives_forward_and_leaves_the_newest_two_days() -> None:
    files = journal(5)
    assert [one["part"] for one in compact(upkeep(files))] == [
        f"{day(0)}.1.jsonl",
        f"{day(1)}.1.jsonl",
        f"{day(1)}.2.jsonl",
        f"{day(2)}.1.jsonl",
    ]
    assert events(files) == list(range(30))
    assert [(one.part, one.where, one.events) for one in stats(files, STATE)][-2:] == [
        (f"{day(3)}.1.jsonl", "raw", 6),
        (f"{day(4)}.1.jsonl", "raw", 6),
    ]


def test_mended_lines_go_back_once() -> None:
    files = SimDisk()
    files.make_folders(f"{STATE}/quarantine")
    copies = [
        {"file": "inbox/web.jsonl", "offset": 0, "length": 3, "reason": "x", "text": '{"type":"web.slow","data":{"ms":9}}'},
        {"file": "inbox/web.jsonl", "offset": 9, "length": 3, "reason": "x", "text": '{"type":"run.healed"}'},
        {"file": "inbox/web.jsonl", "offset": 20, "length": 3, "reason": "x", "base64": "//8="},
        {"file": "inbox/app/2026-02-24.jsonl", "offset": 0, "length": 3, "reason": "x", "text": '{"type":"app.up","id":"7"}'},
    ]
    files.append(f"{STATE}/quarantine/inbox.1.jsonl", b"".join(encode_json(copy) + b"\n" for copy in copies) + b"torn")
    paths = quarantine_files(files, STATE)
    assert requeue(files, STATE, paths, dry=True).requeued == 2
    assert not files.exists(f"{STATE}/inbox")
    first, again = requeue(files, STATE, paths), requeue(files, STATE, paths)
    assert (first.requeued, len(first.refused)) == (2, 3)
    assert (again.requeued, again.already) == (0, 2)
    lines = files.read(f"{STATE}/inbox/requeued.jsonl").splitlines()
    assert len(lines) == 2
    assert b'"source":"inbox/web"' in lines[0]
    assert b'"id":"7"' in lines[1]


def test_a_line_that_the_quarantine_cut_is_called_too_long_and_not_spoiled() -> None:
    """Only its first 64 KiB stand there: whoever mends it has to know that the rest is missing."""
    files = SimDisk()
    files.make_folders(STATE)
    whole = encode_json({"type": "web.slow", "data": {"text": "ü" * 50_000}})
    Quarantine(files, f"{STATE}/quarantine", "inbox").keep(
        whole, file="inbox/web.jsonl", offset=0, length=len(whole), reason="longer than 65536 bytes"
    )
    ((_, _, why),) = requeue(files, STATE, quarantine_files(files, STATE)).refused
    assert "only so many of its 100" in why
    assert "JSON" not in why


class TestMemories:
    """What a start begins from: a checkpoint, else the newest digest that holds the world."""

    def memories(self, files: SimDisk) -> Memories:
        return Memories(Checkpoints(files, f"{STATE}/checkpoints", 1), files, f"{STATE}/digest", {})

    def test_a_usable_checkpoint_comes_first(self) -> None:
        files = tended()
        self.memories(files).save(Position(day(6), 1, 0), "newer")
        assert self.memories(files).load() == (Position(day(6), 1, 0), "newer")
        assert self.memories(files).load(lambda _: False) == world_at(DAYS)

    def test_without_one_the_newest_digest_is_begun_from(self) -> None:
        files = tended()
        assert self.memories(files).load() == world_at(DAYS)

    def test_a_world_of_a_later_version_is_folded_anew(self) -> None:
        files = tended()
        digest = load_digest(files, f"{STATE}/digest", day(5))
        save_digest(files, f"{STATE}/digest", replace(digest, world={"world": {"version": 2}}))
        assert self.memories(files).load() is None

    def test_a_world_of_an_earlier_version_is_lifted_step_by_step(self) -> None:
        """An upgrade forgets nothing of the days that are gone."""
        files = tended()
        digest = load_digest(files, f"{STATE}/digest", day(5))
        save_digest(files, f"{STATE}/digest", replace(digest, world={"world": {"version": 1, "told": []}, "queue": []}))

        def lift(to: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
            return lambda world: {**world, "version": to, "told": [*world["told"], to]}

        upgraded = Checkpoints(files, f"{STATE}/checkpoints", 3)
        found = Memories(upgraded, files, f"{STATE}/digest", {1: lift(2), 2: lift(3)}).load()
        assert found == (digest.position, {"world": {"version": 3, "told": [2, 3]}, "queue": []})
        assert Memories(upgraded, files, f"{STATE}/digest", {1: lift(2)}).load() is None

    def test_a_damaged_digest_gives_way_to_the_one_before(self) -> None:
        files = SimDisk()
        files.make_folders(EVENTS)
        for days in range(1, 5):
            files.append(f"{EVENTS}/{day(days - 1)}.1.jsonl", line(days * 6 - 1), durable=True)
            tend(files, days)
        files.flip(f"{STATE}/digest/{day(2)}.json", 300)
        with pytest.raises(BadDigest):
            load_digest(files, f"{STATE}/digest", day(2))
        assert self.memories(files).load() == world_at(3)

    def test_the_days_of_a_world_may_go(self) -> None:
        """The reader goes on behind a position whose part is gone."""
        from aios.journal.reader import FolderReader

        files = tended()
        assert next(FolderReader(files, EVENTS).read(Position(day(0), 1, 5))).event.data["n"] == 18
