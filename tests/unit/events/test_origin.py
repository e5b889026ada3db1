"""Where a line stood is told in its origin, and cursors are folded from it."""

from __future__ import annotations

import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from aios.events import origin as origins
from aios.events.event import Draft
from aios.events.origin import InboxCursor, cursors_of, fold_origin, missing_id, origin_text, parse_origin, refused

NUMBERS = st.integers(0, 2**63)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}(/\d{4}-\d\d-\d\d)?", fullmatch=True)


@given(NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 2**32 - 1))
def test_an_origin_reads_back_as_the_cursor_behind_its_line(
    name: str, device: int, inode: int, generation: int, offset: int, length: int, mark: int
) -> None:
    cursor = InboxCursor(device, inode, generation, offset + length, length, mark)
    assert parse_origin(origin_text(name, cursor)) == (name, cursor)


@given(st.text(max_size=60))
@example("0+")
@example("5+1~0000000x")
def test_other_texts_are_no_origin_and_move_nothing(text: str) -> None:
    kept: dict[str, str] = {}
    fold_origin(kept, text)
    assert dict(cursors_of(kept)) == {} or parse_origin(text)
    kept = {"web": "inbox/web@1.7.0:0+10~0000000a"}
    for other in (text, f"inbox/web@{text}", f"inbox/web@1.7.0:{text}"):
        fold_origin(kept, other)
        assert cursors_of(kept)["web"].offset >= 10


def test_cursors_follow_the_taken_lines() -> None:
    kept: dict[str, str] = {}
    fold_origin(kept, "inbox/web@1.7.0:0+10~0000000a")
    fold_origin(kept, "inbox/web@1.7.0:10+5~0000000b")
    assert cursors_of(kept) == {"web": InboxCursor(1, 7, 0, 15, 5, 0xB)}


LINES = st.tuples(st.sampled_from(["web", "a/b", "x@y"]), st.integers(0, 2), st.integers(0, 99), st.integers(5, 6))


@given(st.lists(LINES, max_size=8))
def test_the_furthest_line_of_the_newest_generation_is_where_a_cursor_stands(lines: list[tuple[str, int, int, int]]) -> None:
    """Whatever the order in which lines become durable, and whatever else the text of an origin says."""
    kept: dict[str, str] = {}
    furthest: dict[str, tuple[int, int]] = {}
    for name, generation, offset, mark in lines:
        fold_origin(kept, origin_text(name, InboxCursor(1, 7, generation, offset + 10, 10, mark)))
        furthest[name] = max(furthest.get(name, (0, 0)), (generation, offset + 10))
    fold_origin(kept, "somewhere else")
    assert {name: (cursor.generation, cursor.offset) for name, cursor in cursors_of(kept).items()} == furthest


def test_so_many_files_are_remembered_and_the_quietest_is_forgotten() -> None:
    """Names come from outside: the world's memory of them is bounded."""
    kept: dict[str, str] = {}
    for number in range(origins.CURSORS_MAX + 10):
        fold_origin(kept, f"inbox/n{number}@1.7.0:0+10~00000000")
        fold_origin(kept, "inbox/busy@1.8.0:0+10~00000000")
    assert len(kept) == origins.CURSORS_MAX
    assert "busy" in kept
    assert "n0" not in kept


def test_a_missing_id_is_a_uuid5_of_place_and_bytes() -> None:
    """The same line at the same place gets the same id again; another place or other bytes, another one."""
    made = missing_id("inbox/web@1.7.0:0+10~0", b'{"type":"a"}\n')
    namespace = uuid.UUID("a105e4e2-7b1d-5c0f-9a3e-6d2f80c14b57")
    assert made == str(uuid.uuid5(namespace, 'inbox/web@1.7.0:0+10~0\n{"type":"a"}\n'))
    assert missing_id("inbox/web@1.7.1:0+10~0", b'{"type":"a"}\n') != made


def test_a_refused_draft_still_moves_the_cursor() -> None:
    """What no line can hold after all is told in its place, with the same origin."""
    draft = refused(Draft(type="a.b", subject="host", origin="inbox/web@1.7.0:10+5~0000000b"), "too long")
    assert (draft.type, draft.origin) == ("journal.quarantined", "inbox/web@1.7.0:10+5~0000000b")
    assert draft.data == {"file": "inbox/web.jsonl", "offset": 10, "length": 5, "reason": "too long", "kept": ""}


def test_cursors_follow_the_origins_they_stand_for() -> None:
    """Who holds them sees what became durable meanwhile: a file is removed by that."""
    told: dict[str, str] = {}
    cursors = cursors_of(told)
    assert dict(cursors) == {}
    fold_origin(told, origin_text("web", InboxCursor(1, 2, 0, 30, 30, 7)))
    assert cursors.get("web") == InboxCursor(1, 2, 0, 30, 30, 7)
    assert (cursors.get("app"), len(cursors)) == (None, 1)
