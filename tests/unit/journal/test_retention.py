"""A day's life after it is over: nothing goes before what replaces it is durable, whatever dies and whenever."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.events.event import Position
from aios.journal.archive import list_archives, open_part
from aios.journal.cursors import Cursors
from aios.journal.digest import load_digest
from aios.journal.index import build_index, load_index
from aios.journal.parts import Part
from aios.journal.reader import FolderReader
from aios.journal.retention import Archived, Consumer, Raw, RetentionLimits, Seen, Step, plan
from aios.ports import Files, Room
from aios.testing.disk import SimDisk
from tests.unit.journal.failing import Crash, FailingFiles, ShortWrites
from tests.unit.journal.upkeep_kit import (
    DAY_S,
    EACH_DAY,
    EVENTS,
    FIRST,
    LIMITS,
    STATE,
    check,
    day,
    events,
    journal,
    line,
    tend,
    upkeep,
)

DAYS = 7


class TestPlan:
    """Pure: what there is and the limits in, steps out."""

    def raws(self, *numbers: int, **facts: Any) -> tuple[Raw, ...]:
        return tuple(Raw(Part(day(number), 1), 100, **facts) for number in numbers)

    def test_a_day_that_is_going_on_is_left_alone(self) -> None:
        assert plan(Seen(self.raws(5, indexed=False)), LIMITS) == []

    def test_what_closes_is_indexed_and_digested(self) -> None:
        steps = plan(Seen(self.raws(4, indexed=False) + self.raws(5)), LIMITS)
        assert [(step.do, step.part.day or step.day) for step in steps] == [("index", day(4)), ("digest", day(4))]

    def test_a_part_that_closes_within_its_day_is_indexed_only(self) -> None:
        raw = (Raw(Part(day(5), 1), 100, indexed=False), Raw(Part(day(5), 2), 100))
        assert [step.do for step in plan(Seen(raw), LIMITS)] == ["index"]

    def test_age_counts_in_days_of_the_journal(self) -> None:
        """Not by the clock: a leap ahead, which the writer does not believe, makes nothing old."""
        seen = Seen(self.raws(1, 2, 3, 4), digests=frozenset(map(day, range(9))))
        limits = RetentionLimits(raw_days=3)
        assert [(step.do, step.part.day) for step in plan(seen, limits)] == [("archive", day(1)), ("remove_raw", day(1))]

    def test_an_archive_goes_only_when_its_digest_and_a_world_after_it_are_there(self) -> None:
        archives = (Archived(Part(day(0), 1), 50),)
        for digests, worlds, goes in (
            ((), (), False),
            ((day(0),), (), False),
            ((), (day(0),), False),
            ((day(0), day(1)), (day(1),), True),
        ):
            seen = Seen(self.raws(9), archives, frozenset((*digests,)), frozenset(worlds))
            assert ("remove_archive" in [step.do for step in plan(seen, LIMITS)]) is goes, (digests, worlds)

    def seen(self, *consumers: Consumer, size: int = 50) -> Seen:
        archives = tuple(Archived(Part(day(number), 1), size) for number in range(4))
        known = frozenset(map(day, range(9)))
        return Seen(self.raws(8, 9), archives, known, known, consumers)

    def removed(self, seen: Seen, limits: RetentionLimits) -> list[tuple[str, str]]:
        wanted = ("remove_archive", "drop_consumer")
        return [(step.do, step.name or step.part.day) for step in plan(seen, limits) if step.do in wanted]

    def test_what_a_living_consumer_needs_stays(self) -> None:
        consumer = Consumer("logs", Position(day(2), 1, 7), FIRST + 8 * DAY_S)
        gone = [("remove_archive", day(0)), ("remove_archive", day(1))]
        assert self.removed(self.seen(consumer), RetentionLimits(keep_days=5)) == gone

    def test_a_consumer_that_has_gone_quiet_is_dropped_first(self) -> None:
        consumer = Consumer("logs", Position(day(0), 1, 7), FIRST)
        limits = RetentionLimits(keep_days=8, consumer_quiet_days=5)
        assert self.removed(self.seen(consumer), limits)[:2] == [("drop_consumer", "logs"), ("remove_archive", day(0))]

    def test_the_size_limit_wins_over_everything(self) -> None:
        """One part at a time, the oldest first; the consumer that stands in it is dropped."""
        consumer = Consumer("logs", Position(day(0), 1, 7), FIRST + 9 * DAY_S)
        limits = RetentionLimits(keep_days=30, size_max=350)
        assert self.removed(self.seen(consumer), limits) == [("drop_consumer", "logs"), ("remove_archive", day(0))]

    def test_the_size_limit_archives_early_before_it_removes(self) -> None:
        known = frozenset(map(day, range(9)))
        seen = Seen(self.raws(5, 6, 8, 9), (Archived(Part(day(0), 1), 50),), known, frozenset({day(8)}))
        steps = plan(seen, RetentionLimits(raw_days=7, size_max=100))
        assert [(step.do, step.part.day, step.why) for step in steps] == [
            ("archive", day(5), "size"),
            ("remove_raw", day(5), "size"),
        ]

    def test_what_its_age_archives_is_not_archived_to_make_room_too(self) -> None:
        """The second time it would be gone, and a failure would be told that is none."""
        known = frozenset(map(day, range(9)))
        seen = Seen(self.raws(0, 1, 8, 9), (), known, frozenset({day(8)}))
        steps = plan(seen, RetentionLimits(raw_days=7, size_max=100))
        assert [(step.do, step.part.day, step.why) for step in steps] == [
            ("archive", day(0), "age"),
            ("remove_raw", day(0), "age"),
            ("archive", day(1), "age"),
            ("remove_raw", day(1), "age"),
        ]

    def test_a_low_disk_brings_retention_forward_as_far_as_the_settings_allow(self) -> None:
        known = frozenset(map(day, range(9)))
        seen = Seen(self.raws(8, 9), tuple(Archived(Part(day(n), 1), 50) for n in (1, 4)), known, known, (), Room(10, 1000))
        limits = RetentionLimits(keep_days=30, low_keep_days=6, free_share=0.05)
        assert self.removed(seen, limits) == [("remove_archive", day(1))]
        assert self.removed(Seen(seen.raw, seen.archives[1:], known, known, (), Room(10, 1000)), limits) == []

    def test_the_newest_two_days_are_never_touched(self) -> None:
        known = frozenset(map(day, range(10)))
        seen = Seen(self.raws(8, 9), (Archived(Part(day(8), 2), 50),), known, frozenset({day(8)}))
        assert plan(seen, RetentionLimits(raw_days=0, keep_days=0, size_max=1)) == []

    def test_an_imports_age_counts_from_the_import(self) -> None:
        imported = Archived(Part("2020-01-01", 500_000_000), 50, int(FIRST + 5 * DAY_S))
        assert self.removed(Seen(self.raws(9), (imported,)), RetentionLimits(keep_days=5)) == []
        assert self.removed(Seen(self.raws(9), (imported,)), RetentionLimits(keep_days=4)) == [("remove_archive", "2020-01-01")]


class TestRounds:
    def test_after_some_rounds_every_day_is_where_it_belongs(self) -> None:
        files = journal(DAYS)
        told = tend(files, DAYS)
        assert sorted(name for name in files.listdir(EVENTS) if name.endswith(".jsonl")) == [
            f"{day(5)}.1.jsonl",
            f"{day(6)}.1.jsonl",
        ]
        archives = [f"{day(3)}.1.jsonl.zst", f"{day(4)}.1.jsonl.zst"]
        assert sorted(n for n in files.listdir(f"{EVENTS}/archive") if n.endswith(".zst")) == archives
        assert sorted(files.listdir(f"{STATE}/digest")) == [f"{day(number)}.json" for number in range(6)]
        removed = [draft.data["part"] for draft in told if draft.type == "journal.removed"]
        assert removed == [f"{day(0)}.1.jsonl", f"{day(1)}.1.jsonl", f"{day(1)}.2.jsonl", f"{day(2)}.1.jsonl"]
        check(files, DAYS, "all done")
        assert tend(files, DAYS) == []

    def test_only_the_newest_digests_hold_the_world(self) -> None:
        """Years of digests cost little, and of the few that hold it one may rot."""
        files = SimDisk()
        files.make_folders(EVENTS)
        for days in range(1, DAYS + 1):
            files.append(f"{EVENTS}/{day(days - 1)}.1.jsonl", line(days * EACH_DAY - 1), durable=True)
            tend(files, days)
        with_world = [n for n in range(6) if load_digest(files, f"{STATE}/digest", day(n)).world is not None]
        assert with_world == [3, 4, 5]

    def test_a_position_means_the_same_in_an_archive(self) -> None:
        files = journal(DAYS)
        before = {stored.position: stored.event for stored in FolderReader(files, EVENTS).read()}
        tend(files, DAYS)
        reader = FolderReader(files, EVENTS)
        kept = {position: event for position, event in before.items() if position.day >= day(3)}
        assert {position: reader.at(position) for position in kept} == kept
        assert {stored.position: stored.event for stored in reader.read()} == kept
        middle = sorted(kept)[4]
        assert [stored.position for stored in reader.read(middle)] == sorted(kept)[5:]
        assert reader.at(sorted(before)[0]) is None

    def test_days_without_an_event_are_no_days(self) -> None:
        files = SimDisk()
        files.make_folders(EVENTS)
        for number in (0, 3, 40):
            files.append(f"{EVENTS}/{day(number)}.1.jsonl", line(number * 6), durable=True)
        tend(files, 41)
        assert sorted(files.listdir(f"{STATE}/digest")) == [f"{day(0)}.json", f"{day(3)}.json"]
        assert events(files) == [240]

    def test_lines_that_cannot_be_read_stay_what_they_were(self) -> None:
        """An archive gives back the part's bytes, bad lines too, so that a person can still look at them."""
        files = journal(4)
        garbage = b'{"half":\n' + b"\xff" * 70_000 + b"\n" + line(0)
        files.append(f"{EVENTS}/{day(0)}.1.jsonl", garbage, durable=True)
        raw = files.read(f"{EVENTS}/{day(0)}.1.jsonl")
        tend(files, 4)
        opened = open_part(files, EVENTS, Part(day(0), 1))
        assert opened.where == "archive"
        assert b"".join(opened.block(number) for number in range(len(opened.index))) == raw
        assert opened.index.bad == 2

    def test_what_a_failed_sync_left_twice_counts_once(self) -> None:
        files = journal(4)
        files.append(f"{EVENTS}/{day(0)}.2.jsonl", line(4) + line(5), durable=True)
        tend(files, 4)
        assert load_digest(files, f"{STATE}/digest", day(0)).events == 6
        assert events(files) == list(range(24))
        assert open_part(files, EVENTS, Part(day(0), 2)).index.repeats == 2

    def test_a_consumer_is_dropped_with_an_event(self) -> None:
        files = journal(DAYS)
        Cursors(files, f"{STATE}/cursors").move(Cursors(files, f"{STATE}/cursors").load("logs"), Position(day(0), 1, 0), FIRST)
        limits = RetentionLimits(raw_days=2, keep_days=4, consumer_quiet_days=3)
        (dropped,) = [draft for draft in tend(files, DAYS, limits) if draft.type == "journal.consumer_dropped"]
        assert dropped.data["consumer"] == "logs"
        assert Cursors(files, f"{STATE}/cursors").names() == []

    def test_an_edit_in_a_closed_part_is_told_and_indexed_again(self) -> None:
        files = journal(3)
        keeper = upkeep(files)
        tend(files, 3, keeper=keeper)
        files.flip(f"{EVENTS}/{day(1)}.1.jsonl", 30)
        files.append(f"{EVENTS}/{day(1)}.1.jsonl", line(1), durable=True)
        told = tend(files, 3, keeper=keeper)
        assert [draft.type for draft in told] == ["journal.part_changed"]
        path = f"{EVENTS}/{day(1)}.1.jsonl"
        assert load_index(files, path).sha256 == build_index(files, path).sha256
        assert tend(files, 3, keeper=keeper) == []

    def test_a_part_that_somebody_took_away_is_told(self) -> None:
        files = journal(DAYS)
        keeper = upkeep(files)
        tend(files, DAYS, keeper=keeper)
        files.unlink(f"{EVENTS}/{day(5)}.1.jsonl")
        files.unlink(f"{EVENTS}/archive/{day(3)}.1.jsonl.zst")
        told = tend(files, DAYS, keeper=keeper)
        assert [(draft.type, draft.data["part"]) for draft in told] == [
            ("journal.part_missing", f"{day(5)}.1.jsonl"),
            ("journal.part_missing", f"archive/{day(3)}.1.jsonl.zst"),
        ]
        assert events(files) == [*range(24, 30), *range(36, 42)]

    def test_a_raw_part_that_changed_after_its_archive_was_made_is_archived_again(self) -> None:
        """The raw part counts until it is gone."""
        files = journal(DAYS)
        keeper = upkeep(files)
        keeper.do(Step("archive", Part(day(4), 1)))
        files.append(f"{EVENTS}/{day(4)}.1.jsonl", line(0), durable=True)
        keeper.do(Step("remove_raw", Part(day(4), 1)))
        opened = open_part(files, EVENTS, Part(day(4), 1))
        assert (opened.where, opened.index.events) == ("archive", 7)

    def test_a_size_that_cannot_be_kept_is_told_once_and_ends(self) -> None:
        files = journal(3)
        keeper = upkeep(files, RetentionLimits(size_max=10))
        first, again = (tend(files, 3, keeper=keeper) for _ in range(2))
        assert [(draft.type, draft.data.get("why")) for draft in first if draft.type == "journal.disk_low"] == [
            ("journal.disk_low", "size")
        ]
        assert again == []
        assert events(files)[-6:] == list(range(12, 18))

    def test_a_digest_that_rotted_is_made_again_before_its_day_goes(self) -> None:
        files = journal(4)
        tend(files, 4)
        files.flip(f"{STATE}/digest/{day(0)}.json", 200)
        for more in range(4, DAYS):
            lines = b"".join(line(number) for number in range(more * EACH_DAY, (more + 1) * EACH_DAY))
            files.append(f"{EVENTS}/{day(more)}.1.jsonl", lines, durable=True)
        tend(files, DAYS)
        check(files, DAYS, "rotten digest")
        assert load_digest(files, f"{STATE}/digest", day(0)).events == EACH_DAY

    def test_a_full_disk_lets_the_oldest_go_where_nothing_can_be_archived(self) -> None:
        """Archiving needs room that is not there: then the oldest archive makes it, as far as the settings allow."""
        files = journal(DAYS)
        limits = RetentionLimits(raw_days=4, keep_days=30, low_keep_days=3, free_share=0.5)
        tend(files, DAYS, RetentionLimits(raw_days=4, keep_days=30))
        for number in range(30, 36):
            files.append(f"{EVENTS}/{day(number // 6)}.2.jsonl", line(number) * 200, durable=True)
        tend(files, DAYS, RetentionLimits(raw_days=9, keep_days=30))
        files.limit(files.used + 100)
        told = tend(files, DAYS, limits)
        kinds = {draft.type for draft in told}
        assert {"journal.disk_low", "journal.upkeep_failed", "journal.removed"} <= kinds
        assert 0 not in events(files)
        assert set(range(24, 30)) <= set(events(files))

    def test_temporaries_of_the_dead_are_swept(self) -> None:
        files = journal(2)
        files.append(f"{EVENTS}/.{day(0)}.1.idx.99.0.tmp", b"half", durable=True)
        files.append(f"{EVENTS}/{day(9)}.1.idx", b"nobody's", durable=True)
        tend(files, 2)
        names = sorted(files.listdir(EVENTS))
        assert names == [f"{day(0)}.1.idx", f"{day(0)}.1.jsonl", f"{day(1)}.1.idx", f"{day(1)}.1.jsonl", f"{day(1)}.2.jsonl"]


def die_at(call: int, seed: int, half: bool, wrap: Any = None) -> bool:
    """A round that dies at this call, a power cut by chance, the law; a round to the end, the law. True: it did not die."""
    files, chance = journal(DAYS), SeededEntropy(seed)
    dying = FailingFiles(wrap(files) if wrap else files, call, half=half)
    place = f"call {call}, seed {seed}, half {half}"
    try:
        tend(dying, DAYS)  # type: ignore[arg-type]
    except Crash:
        pass
    if chance.uniform(0, 1) < 0.7:
        files.power_cut(chance)
    check(files, DAYS, place)
    if not wrap:
        tend(files, DAYS)
        check(files, DAYS, f"{place}, and on")
        assert events(files) == list(range(18, 42)), place
    return not dying.dead


def calls_of_a_round() -> int:
    counting = FailingFiles(journal(DAYS), 0)
    tend(counting, DAYS)  # type: ignore[arg-type]
    return counting.calls


@pytest.mark.parametrize("seed", range(4))
def test_death_at_every_call_loses_nothing(seed: int) -> None:
    """Index, digest, archive, removal: killed at each disk call in turn, with power cuts; over 1,000 points in all."""
    calls = calls_of_a_round()
    assert calls * 4 > 1000
    for call in range(1, calls + 2):
        finished = die_at(call, seed * 10_007 + call, half=bool(seed & 1))
    assert finished


class _WithoutFolderSync:
    def __init__(self, files: Files) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def fsync_dir(self, path: str) -> None:
        """Planted: a new name may be lost."""


class _WithoutArchiveSync(_WithoutFolderSync):
    def fsync(self, fd: int) -> None:
        """Planted: what stands in a new file may be lost, though its name stays."""

    def fsync_dir(self, path: str) -> None:
        self._files.fsync_dir(path)


@pytest.mark.parametrize("fault", [_WithoutFolderSync, _WithoutArchiveSync])
def test_planted_faults_are_caught(fault: type) -> None:
    """The same test with a sync left out fails: so it looks where it should."""
    calls = calls_of_a_round()
    caught = 0
    for call in range(1, calls, 3):
        try:
            die_at(call, call, half=False, wrap=fault)
        except (AssertionError, ValueError, OSError):
            caught += 1
    assert caught > 0


FEW_DAYS, FEW = 4, RetentionLimits(raw_days=2, keep_days=3)
"""So few that each call can meet each error, and enough that parts are indexed, archived, digested and removed."""


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EDQUOT, errno.EROFS])
def test_an_error_at_every_call_is_told_and_survived(error: int) -> None:
    """Each call in turn, looking ones too: no loss, nothing rises from a step, and the next round does what was left."""
    whole = journal(FEW_DAYS)
    counting = FailingFiles(whole, 0, looking=True)
    tend(counting, FEW_DAYS, FEW)  # type: ignore[arg-type]
    kept = list(range(EACH_DAY, FEW_DAYS * EACH_DAY))
    assert events(whole) == kept, "one day was removed"
    assert len(list_archives(whole, EVENTS)) == 2, "another is archived"
    for call in range(1, counting.calls + 1):
        files = journal(FEW_DAYS)
        failing = FailingFiles(files, call, error=error, looking=True, half=True)
        place = f"{errno.errorcode[error]} at call {call}"
        told: list[Any] = []
        try:
            told = tend(failing, FEW_DAYS, FEW)  # type: ignore[arg-type]
        except OSError:
            pass  # while looking: the daemon tells it and looks again later
        check(files, FEW_DAYS, place, FEW)
        tend(files, FEW_DAYS, FEW)
        check(files, FEW_DAYS, f"{place}, and on", FEW)
        assert events(files) == kept, place
        assert all(draft.data["error"] for draft in told if draft.type == "journal.upkeep_failed")


def test_short_writes_are_gone_on_with() -> None:
    files = journal(DAYS)
    tend(ShortWrites(files, 100), DAYS)  # type: ignore[arg-type]
    check(files, DAYS, "short writes")
