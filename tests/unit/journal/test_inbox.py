"""Each line that another program appends is taken once, whatever else stands in the inbox and whoever dies meanwhile."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from aios.entropy import SeededEntropy
from aios.errors import Refused
from aios.events.codec import LINE_MAX, BadLine, encode
from aios.events.event import Draft, Event
from aios.events.origin import InboxCursor, cursors_of, fold_origin, origin_text, parse_origin
from aios.journal.ids import IdMemory, recall
from aios.journal.inbox import InboxFolder, emit_offline
from aios.journal.reader import FolderReader
from aios.journal.writer import JournalFile
from aios.ports import Files
from aios.testing.disk import SimDisk
from aios.testing.faults import Fault
from tests.unit.journal.failing import Crash, FailingFiles
from tests.unit.journal.test_journal_writer import FOLDER, NOW, QUARANTINE, disk

INBOX = "/s/inbox"
WEB = f"{INBOX}/web.jsonl"


def line(number: int, **more: Any) -> bytes:
    return json.dumps({"type": "a.b", "data": {"n": number}, **more}).encode() + b"\n"


def inbox_disk() -> SimDisk:
    files = disk()
    files.make_folders(INBOX)
    return files


def inbox(files: Files, cursors: dict[str, InboxCursor] | None = None, ids: IdMemory | None = None) -> InboxFolder:
    return InboxFolder(files, INBOX, QUARANTINE, cursors=cursors or {}, ids=ids)


def take_all(box: InboxFolder, limit: int = 100) -> list[Draft]:
    drafts: list[Draft] = []
    while True:
        taken = box.take(limit)
        drafts += taken.drafts
        if not taken.more:
            return drafts


def numbers(drafts: list[Draft]) -> list[int]:
    return [draft.data["n"] for draft in drafts if draft.type == "a.b"]


def folded(drafts: list[Draft], cursors: dict[str, InboxCursor] | None = None) -> dict[str, InboxCursor]:
    known = dict(cursors or {})
    for draft in drafts:
        fold_cursor(known, draft.origin)
    return known


def fold_cursor(cursors: MutableMapping[str, InboxCursor], origin: str) -> None:
    """As the world folds it, which keeps the origins unread."""
    told = {name: origin_text(name, cursor) for name, cursor in cursors.items()}
    fold_origin(told, origin)
    cursors.update(cursors_of(told))


def as_event(draft: Draft) -> Event:
    at = "2026-02-24T12:00:00Z"
    return Event(draft.id or "q" + draft.origin, draft.source, draft.type, draft.subject, at, draft.data, at, origin=draft.origin)


class TestLines:
    def test_lines_are_taken_in_order_and_once(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1) + line(2))
        assert numbers(take_all(box)) == [1, 2]
        files.append(WEB, line(3))
        assert take_all(box) == [], "nobody said that anything changed"
        box.touched("web.jsonl")
        assert numbers(take_all(box)) == [3]

    def test_a_taken_line_says_where_it_stood(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1) + line(2))
        second = take_all(inbox(files))[1]
        parsed = parse_origin(second.origin)
        assert parsed is not None
        name, cursor = parsed
        assert (name, cursor.offset, cursor.length) == ("web", len(line(1) + line(2)), len(line(2)))
        assert (second.source, second.subject) == ("inbox/web", "host")

    def test_a_program_may_write_daily_files_in_a_folder(self) -> None:
        files = inbox_disk()
        files.make_folders(f"{INBOX}/web")
        files.append(f"{INBOX}/web/2026-02-25.jsonl", line(2))
        files.append(f"{INBOX}/web/2026-02-24.jsonl", line(1))
        drafts = take_all(inbox(files))
        assert numbers(drafts) == [1, 2]
        assert {draft.source for draft in drafts} == {"inbox/web"}

    def test_a_new_folder_is_followed_when_it_is_told_of(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        assert take_all(box) == []
        files.make_folders(f"{INBOX}/web")
        files.append(f"{INBOX}/web/2026-02-24.jsonl", line(1))
        box.touched("web")
        assert numbers(take_all(box)) == [1]
        files.unlink(f"{INBOX}/web/2026-02-24.jsonl")
        files.rmdir(f"{INBOX}/web")
        box.touched("web")
        assert take_all(box) == []

    def test_names_that_are_no_inbox_file_cost_nothing(self) -> None:
        """A program that makes and renames temporary files there does not keep us busy."""
        files = inbox_disk()
        counting = FailingFiles(files, 0, looking=True)
        box = inbox(counting)  # type: ignore[arg-type]
        take_all(box)
        before = counting.calls
        for name in (".web.jsonl.swp", "web.jsonl.1", "web.jsonl~", "a/b/c.jsonl", "a/b", ""):
            box.touched(name)
            assert box.take(10) == ([], False)
        assert counting.calls == before

    def test_half_a_line_waits_for_its_end(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1) + line(2)[:9])
        assert numbers(take_all(box)) == [1]
        files.append(WEB, line(2)[9:])
        box.touched("web.jsonl")
        assert numbers(take_all(box)) == [2]

    def test_it_goes_on_behind_the_cursor_after_a_restart(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1) + line(2) + line(3))
        cursors = folded(take_all(inbox(files))[:2])
        assert numbers(take_all(inbox(files, cursors))) == [3]

    def test_nothing_new_costs_no_look_at_the_disk(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1))
        counting = FailingFiles(files, 0, looking=True)
        box = inbox(counting)  # type: ignore[arg-type]
        take_all(box)
        before = counting.calls
        for _ in range(100):
            assert box.take(100) == ([], False)
        assert counting.calls == before

    def test_each_file_has_its_turn(self) -> None:
        """One program's flood does not keep the others waiting."""
        files = inbox_disk()
        files.append(f"{INBOX}/flood.jsonl", b"".join(line(number) for number in range(5000)))
        files.append(f"{INBOX}/quiet.jsonl", line(7777))
        first = inbox(files).take(100)
        assert 7777 in numbers(first.drafts)
        assert len(first.drafts) <= 101
        assert first.more

    def test_carriage_returns_and_empty_lines_do_no_harm(self) -> None:
        files = inbox_disk()
        files.append(WEB, b"\n\r\n" + line(1)[:-1] + b"\r\n\n")
        assert numbers(take_all(inbox(files))) == [1]


class TestIds:
    def test_a_missing_id_is_the_same_again_after_a_crash(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1) + line(1))
        first, second = take_all(inbox(files)), take_all(inbox(files))
        assert [draft.id for draft in first] == [draft.id for draft in second]
        assert first[0].id != first[1].id, "the same words at another place are another event"

    def test_a_line_that_comes_again_is_taken_once(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1, id="x") + line(2, id="y") + line(1, id="x"))
        files.append(f"{INBOX}/other.jsonl", line(1, id="x"))
        assert sorted(numbers(take_all(inbox(files)))) == [1, 2]

    def test_the_same_id_for_another_line_is_quarantined(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1, id="x") + line(2, id="x") + line(3))
        drafts = take_all(inbox(files))
        assert [draft.type for draft in drafts] == ["a.b", "journal.quarantined", "a.b"]
        assert "id was used before" in drafts[1].data["reason"]

    def test_an_escaped_name_of_the_id_is_one_too(self) -> None:
        files = inbox_disk()
        raw = rb'{"type":"a.b","\u0069d":"x","data":{"n":1}}' + b"\n"
        files.append(WEB, raw + raw)
        assert numbers(take_all(inbox(files))) == [1]

    def test_ids_are_known_again_after_a_restart(self) -> None:
        """They are recalled from the journal, so a repetition over a restart is still one."""
        files = inbox_disk()
        files.append(WEB, line(1, id="x") + line(2, id="ü"))
        journal = JournalFile(files, FOLDER, QUARANTINE)
        journal.open(NOW)
        drafts = take_all(inbox(files))
        journal.commit([encode(as_event(draft)) for draft in drafts], NOW)
        ids = IdMemory()
        assert recall(ids, files, FOLDER, since_day="2026-02-23") == 2
        files.append(WEB, line(1, id="x") + line(2, id="ü") + line(3, id="x"))
        again = take_all(inbox(files, folded(drafts), ids))
        assert [draft.type for draft in again] == ["journal.quarantined"]

    def test_recalling_takes_the_newest_when_there_are_too_many(self) -> None:
        files = inbox_disk()
        journal = JournalFile(files, FOLDER, QUARANTINE)
        journal.open(NOW)
        events = [
            as_event(Draft(type="a.b", subject="s", id=f"i{n}", origin=f"inbox/w@1.2.0:{n}+1~{n:08x}")) for n in range(9000)
        ]
        journal.commit([encode(event) for event in events], NOW)
        ids = IdMemory(slots=64)
        assert recall(ids, files, FOLDER, since_day="2026-02-23") == 48
        assert ids.meet("i8999", 8999) == "same"
        assert ids.meet("i8952", 0) == "other"
        assert ids.meet("i8951", 8951) == "new"
        assert recall(IdMemory(), files, FOLDER, since_day="2026-02-25") == 0

    def test_the_memory_of_ids_is_bounded_and_knows_the_newest(self) -> None:
        ids = IdMemory(slots=64)
        for number in range(1000):
            assert ids.meet(f"i{number}", number) == "new"
            for known in range(max(0, number - ids.capacity + 1), number + 1):
                assert ids.meet(f"i{known}", known) == "same"
        assert ids.meet("i0", 0) == "new"


BAD = [
    (b"garbage\n", "not JSON"),
    (b'{"type":"a.b"\n', "not JSON"),
    (b"[" * 5000 + b"]" * 5000 + b"\n", "deeper"),
    (b'{"type":"run.healed"}\n', "only AIOS"),
    (b'{"type":"a.b","data":"' + b"x" * LINE_MAX + b'"}\n', "longer"),
    (b"\x00" * 100 + b"\n", "not JSON"),
    (b'{"type":"a.b","n":123456789012345678901234567890}\n', "64 bits"),
    (b'{"type":"a.b","data":{"x":[' + b",".join([b"1e15"] * 13_000) + b"]}}\n", "longer"),
]


class TestQuarantine:
    @pytest.mark.parametrize(("raw", "reason"), BAD, ids=[reason + str(at) for at, (_, reason) in enumerate(BAD)])
    def test_a_bad_line_is_put_aside_with_its_place_and_its_neighbours_live(self, raw: bytes, reason: str) -> None:
        files = inbox_disk()
        files.append(WEB, line(1) + raw + line(2))
        drafts = take_all(inbox(files))
        assert numbers(drafts) == [1, 2]
        told = drafts[1]
        assert told.type == "journal.quarantined"
        assert (told.data["file"], told.data["offset"], told.data["length"]) == ("inbox/web.jsonl", len(line(1)), len(raw))
        assert reason in told.data["reason"]
        (copy,) = (json.loads(row) for row in files.read(f"{QUARANTINE}/{told.data['kept']}").splitlines())
        assert copy["text"].encode() == raw[:LINE_MAX]
        assert numbers(take_all(inbox(files, folded(drafts)))) == []

    def test_a_quarantined_line_moves_the_cursor(self) -> None:
        files = inbox_disk()
        files.append(WEB, b"garbage\n")
        cursors = folded(take_all(inbox(files)))
        assert take_all(inbox(files, cursors)) == []

    def test_a_100_mb_line_costs_a_chunk_of_memory(self) -> None:
        """It is read in pieces, in several turns, and its copy is bounded; it is told of once; the lines around it are taken."""
        files = inbox_disk()
        files.append(WEB, line(1))
        for _ in range(100):
            files.append(WEB, b"x" * 1_000_000)
        largest = _LargestRead(files)
        box = inbox(largest)  # type: ignore[arg-type]
        before = take_all(box)
        assert [draft.type for draft in before] == ["a.b", "journal.inbox_failed"]
        assert "no end yet" in before[1].data["error"]
        box.touched("web.jsonl")
        assert take_all(box) == []
        files.append(WEB, b"\n" + line(2))
        box.touched("web.jsonl")
        drafts = take_all(box)
        assert [draft.type for draft in drafts] == ["journal.quarantined", "a.b"]
        assert drafts[0].data["length"] == 100_000_001
        assert largest.most <= 1 << 20
        assert len(files.read(f"{QUARANTINE}/{drafts[0].data['kept']}")) < 2 * LINE_MAX
        assert take_all(inbox(files, folded(drafts))) == []

    def test_a_flood_of_garbage_costs_few_events(self) -> None:
        files = inbox_disk()
        files.append(WEB, b"x\n" * 50_000 + line(1))
        drafts = take_all(inbox(files), limit=1000)
        assert numbers(drafts) == [1]
        assert len(drafts) < 2000
        told = [draft for draft in drafts if draft.type == "journal.quarantined"]
        assert sum(draft.data["length"] for draft in told) == 100_000
        assert sum(draft.data.get("lines", 1) for draft in told) == 50_000
        assert take_all(inbox(files, folded(drafts))) == []

    def test_the_copies_are_bounded(self) -> None:
        files = inbox_disk()
        files.append(WEB, (b"y" * 60_000 + b"\n") * 3000)
        take_all(inbox(files), limit=1000)
        kept = sum(len(files.read(f"{QUARANTINE}/{name}")) for name in files.listdir(QUARANTINE))
        assert kept <= 5 * (16 << 20)
        assert len(files.listdir(QUARANTINE)) <= 4

    def test_a_disk_that_takes_no_copy_does_not_stop_the_inbox(self) -> None:
        files = inbox_disk()
        files.append(WEB, b"garbage\n" + line(1))
        files.fail(Fault("write", last=99, error=errno.ENOSPC, path="quarantine"))
        drafts = take_all(inbox(files))
        assert [draft.type for draft in drafts] == ["journal.quarantined", "a.b"]
        assert drafts[0].data["kept"] == ""


class TestFilesThatChange:
    def test_a_truncated_file_is_read_from_its_beginning(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1) + line(2))
        first = take_all(box)
        _truncate(files, WEB)
        files.append(WEB, line(3))
        box.touched("web.jsonl")
        second = take_all(box)
        assert numbers(second) == [3]
        assert _generation(second[0]) == _generation(first[0]) + 1

    def test_a_file_that_grew_past_the_cursor_after_its_truncation_is_known_by_its_bytes(self) -> None:
        """Also when nobody saw it happen: the daemon was down, or the file is as long as before."""
        for words in ([7, 8], [7, 8, 9], [7]):
            files = inbox_disk()
            files.append(WEB, line(1) + line(2))
            cursors = folded(take_all(inbox(files)))
            _truncate(files, WEB)
            files.append(WEB, b"".join(line(number) for number in words))
            assert numbers(take_all(inbox(files, cursors))) == words

    def test_what_a_truncation_took_unread_is_told(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1) + line(2)[:10])
        take_all(box)
        _truncate(files, WEB)
        box.doubt()
        (told,) = take_all(box)
        assert (told.type, told.data["length"]) == ("journal.inbox_lost", 10)

    def test_a_rotated_file_is_read_to_its_end_first(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1))
        take_all(box)
        files.append(WEB, line(2) + line(3)[:-1])
        files.rename(WEB, f"{INBOX}/web.jsonl.1")
        files.append(WEB, line(4))
        box.touched("web.jsonl")
        drafts = take_all(box)
        assert numbers(drafts) == [2, 3, 4]
        assert len({draft.id for draft in drafts}) == 3

    def test_half_a_line_at_the_end_of_a_removed_file_is_quarantined(self) -> None:
        files = inbox_disk()
        box = inbox(files)
        files.append(WEB, line(1) + line(2)[:10])
        take_all(box)
        files.unlink(WEB)
        box.touched("web.jsonl")
        (told,) = take_all(box)
        assert (told.type, told.data["length"]) == ("journal.quarantined", 10)
        files.append(WEB, line(5))
        box.touched("web.jsonl")
        assert numbers(take_all(box)) == [5]

    def test_a_file_that_was_replaced_while_we_were_down_is_told(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1))
        cursors = folded(take_all(inbox(files)))
        files.append(WEB, line(2))
        files.make_folders("/elsewhere")
        files.rename(WEB, "/elsewhere/web.jsonl.1")
        files.append(WEB, line(3))
        drafts = take_all(inbox(files, cursors))
        assert numbers(drafts) == [3]
        assert [draft.type for draft in drafts if draft.type != "a.b"] == ["journal.inbox_lost"]

    def test_another_device_number_is_no_other_file(self) -> None:
        """Some file systems get another number with each mount; that must not bring every line a second time."""
        files = inbox_disk()
        files.append(WEB, line(1) + line(2))
        cursors = folded(take_all(inbox(files)))
        moved = {name: cursor._replace(device=cursor.device + 5) for name, cursor in cursors.items()}
        files.append(WEB, line(3))
        assert numbers(take_all(inbox(files, moved))) == [3]

    def test_a_name_that_comes_back_gives_new_ids(self) -> None:
        """The kernel gives an inode number out again at once; the generation keeps the places apart."""
        files = inbox_disk()
        box = inbox(files)
        ids: set[str] = set()
        for _ in range(4):
            files.append(WEB, line(1))
            box.touched("web.jsonl")
            ids |= {draft.id for draft in take_all(box)}
            files.unlink(WEB)
            box.touched("web.jsonl")
            take_all(box)
        assert len(ids) == 4

    def test_days_that_are_gone_need_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Daily files of years, removed by their programs, do not keep today's file out."""
        monkeypatch.setattr("aios.journal.inbox.CURSORS_MAX", 50)
        files = inbox_disk()
        files.make_folders(f"{INBOX}/web")
        old = {f"web/2025-{month:02}-{day:02}": InboxCursor(1, 9, 0, 5, 5, 1) for month in range(1, 6) for day in range(1, 11)}
        files.append(f"{INBOX}/web/2026-02-24.jsonl", line(1))
        box = inbox(files, old)
        assert numbers(take_all(box)) == [1]

    def test_there_is_a_bound_on_files_and_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aios.journal.inbox.CURSORS_MAX", 50)
        files = inbox_disk()
        for number in range(60):
            files.append(f"{INBOX}/p{number:02}.jsonl", line(number))
        drafts = take_all(inbox(files))
        assert numbers(drafts) == list(range(50))
        assert sum(draft.type == "journal.inbox_failed" for draft in drafts) == 10

    def test_more_files_than_are_held_open_are_all_followed(self) -> None:
        files = inbox_disk()
        for number in range(600):
            files.append(f"{INBOX}/p{number:04}.jsonl", line(number))
        box = inbox(files)
        assert sorted(numbers(take_all(box))) == list(range(600))
        for number in range(600):
            files.append(f"{INBOX}/p{number:04}.jsonl", line(1000 + number))
        box.doubt()
        assert sorted(numbers(take_all(box))) == list(range(1000, 1600))

    def test_a_file_that_cannot_be_read_is_told_once_and_tried_again(self) -> None:
        files = inbox_disk()
        files.append(WEB, line(1))
        files.append(f"{INBOX}/ok.jsonl", line(2))
        files.fail(Fault("pread", last=3, error=errno.EIO, path="web"))
        box = inbox(files)
        drafts = take_all(box)
        assert numbers(drafts) == [2]
        assert [draft.data["file"] for draft in drafts if draft.type == "journal.inbox_failed"] == ["inbox/web.jsonl"]
        later: list[Draft] = []
        for _ in range(5):
            box.touched("web.jsonl")
            later += take_all(box)
        assert [draft.type for draft in later] == ["a.b"]

    @pytest.mark.parametrize(
        "name", ["../x.jsonl", "a b.jsonl", ".hidden.jsonl", "web/latest.jsonl", "a\n.jsonl", "x" * 200 + ".jsonl"]
    )
    def test_other_names_are_not_followed(self, name: str) -> None:
        files = inbox_disk()
        box = inbox(files)
        box.touched(name)
        assert numbers(take_all(box)) == []

    def test_a_missing_inbox_is_told(self) -> None:
        assert [draft.type for draft in take_all(inbox(disk()))] == ["journal.inbox_failed"]


class TestCrashes:
    @pytest.mark.parametrize("error", [0, errno.EIO])
    @pytest.mark.parametrize("life", [0, 1])
    def test_every_line_is_in_the_journal_once_whatever_call_fails(self, error: int, life: int) -> None:
        """Death or EIO at each disk call of inbox and journal, in the first life or the second; then a restart."""
        at = 0
        while True:
            at += 1
            files = inbox_disk()
            failing = FailingFiles(files, at, error=error, looking=True)
            for number, _ in enumerate(_outside(files)):
                try:
                    _live(failing if number == life else files)  # type: ignore[arg-type]
                except (Crash, OSError):
                    if at % 2:
                        files.power_cut(SeededEntropy(at))
            _live(files)
            events = [stored.event for stored in FolderReader(files, FOLDER).read()]
            assert sorted(event.data["n"] for event in events if event.type == "a.b") == [1, 2, 3, 4, 5, 6], f"call {at}"
            assert sum(event.type == "journal.quarantined" for event in events) == 1, f"call {at}"
            if failing.calls < at:
                assert at > 20
                return


def _outside(files: SimDisk) -> Iterator[None]:
    """What other programs write before each life of the daemon (durably: one that does not sync may lose its lines)."""
    files.append(WEB, line(1) + line(2, id="x"), durable=True)
    files.append(f"{INBOX}/api.jsonl", line(3), durable=True)
    yield
    files.append(WEB, b"garbage\n" + line(4) + line(2, id="x"), durable=True)
    files.append(f"{INBOX}/api.jsonl", line(5) + line(6), durable=True)
    yield


def _live(files: Files) -> None:
    """One life of a daemon that knows nothing but its disk: fold the cursors, take, append, until nothing is new."""
    journal = JournalFile(files, FOLDER, QUARANTINE)
    journal.open(NOW)
    cursors: dict[str, InboxCursor] = {}
    for stored in FolderReader(files, FOLDER).read():
        fold_cursor(cursors, stored.event.origin)
    ids = IdMemory(slots=64)
    recall(ids, files, FOLDER, since_day="2026-02-23")
    box = inbox(files, cursors, ids)
    for limit in (1, 2, 3, 100, 100):
        batch = [encode(as_event(draft)) for draft in box.take(limit).drafts]
        for _ in range(5):
            try:
                journal.commit(batch, NOW)
                break
            except OSError:
                continue


class TestEmitOffline:
    def test_a_line_waits_for_a_daemon(self) -> None:
        files = inbox_disk()
        emit_offline(files, INBOX, line(1)[:-1], name="emit-0")
        emit_offline(files, INBOX, line(2)[:-1], name="emit-0")
        files.power_cut(SeededEntropy(1))
        assert numbers(take_all(inbox(files))) == [1, 2]

    def test_half_a_line_of_someone_who_died_does_not_spoil_it(self) -> None:
        files = inbox_disk()
        files.append(f"{INBOX}/emit-0.jsonl", line(1)[:9])
        emit_offline(files, INBOX, line(2)[:-1], name="emit-0")
        assert numbers(take_all(inbox(files))) == [2]

    def test_what_the_inbox_would_refuse_is_refused_at_once(self) -> None:
        files = inbox_disk()
        with pytest.raises(BadLine, match="only AIOS"):
            emit_offline(files, INBOX, b'{"type":"run.healed"}', name="emit-0")
        with pytest.raises(BadLine):
            emit_offline(files, INBOX, b'{"type":"a.b",\n}', name="emit-0")
        with pytest.raises(Refused):
            emit_offline(files, INBOX, line(1)[:-1], name="../up")
        assert files.listdir(INBOX) == []


class _LargestRead:
    def __init__(self, files: Files) -> None:
        self._files = files
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        self.most = max(self.most, length)
        return self._files.pread(fd, length, offset)


def _truncate(files: SimDisk, path: str) -> None:
    fd = files.open(path, 1)
    files.ftruncate(fd, 0)
    files.close(fd)


def _generation(draft: Draft) -> int:
    parsed = parse_origin(draft.origin)
    assert parsed is not None
    return parsed[1].generation
