"""Damage in a closed part is told once, stays told over restarts, and ends when it is mended, gone or known; never by itself."""

from __future__ import annotations

import pytest

from aios.journal.parts import Part
from aios.journal.retention import Step
from aios.journal.scrub import KNOWN, Scrub, damage_of, know_all
from aios.testing.disk import SimDisk
from tests.unit.journal.upkeep_kit import EVENTS, day, journal, line, tend, upkeep

DAYS = 7


def told(files: SimDisk, ill: set[str], scrub: Scrub | None = None) -> list[tuple[str, str]]:
    """What one round tells; `ill` is what the world knows, and follows it. Without `scrub` each round is that of a new life."""
    found = [(draft.type, draft.subject) for draft in (scrub or Scrub(files, EVENTS)).some(frozenset(ill))]
    for kind, subject in found:
        (ill.add if kind == "journal.damaged" else ill.discard)(subject)
    return found


def flip(files: SimDisk, number: int, *, archived: bool) -> str:
    """One bit of the middle of this day's part; its subject."""
    path = f"{EVENTS}/archive/{day(number)}.1.jsonl.zst" if archived else f"{EVENTS}/{day(number)}.1.jsonl"
    files.flip(path, files.stat(path).size // 2)
    return f"journal:{day(number)}.1"


@pytest.mark.parametrize(("number", "archived"), [(4, True), (5, False)])
def test_a_flipped_bit_is_told_once_and_stands_over_restarts(number: int, archived: bool) -> None:
    files, ill = journal(DAYS), set[str]()
    tend(files, DAYS)
    assert told(files, ill) == []
    subject = flip(files, number, archived=archived)
    assert told(files, ill) == [("journal.damaged", subject)]
    assert told(files, ill) == []
    assert ill == {subject}
    know_all(files, EVENTS)
    assert told(files, ill) == [("journal.sound", subject)]
    assert told(files, ill) == []


def test_further_damage_is_told_though_the_first_is_known() -> None:
    files, ill = journal(DAYS), set[str]()
    tend(files, DAYS)
    flip(files, 5, archived=False)
    assert know_all(files, EVENTS) == {f"{day(5)}.1.jsonl": [0]}
    assert told(files, ill) == []
    assert told(files, ill) == []
    other = flip(files, 4, archived=True)
    assert told(files, ill) == [("journal.damaged", other)]


def test_what_is_put_back_or_gone_is_sound() -> None:
    files, ill = journal(DAYS), set[str]()
    tend(files, DAYS)
    both = {flip(files, 5, archived=False), flip(files, 4, archived=True)}
    assert {subject for _, subject in told(files, ill)} == both
    flip(files, 5, archived=False)  # the same bit again
    files.unlink(f"{EVENTS}/archive/{day(4)}.1.jsonl.zst")
    assert set(told(files, ill)) == {("journal.sound", subject) for subject in both}


def test_a_line_spoiled_before_its_day_was_closed_stays_damage_when_it_is_archived() -> None:
    """The index and the archive were made of the spoiled bytes: by their checksums all is well."""
    files, ill = journal(DAYS), set[str]()
    subject = flip(files, 4, archived=False)
    tend(files, DAYS)
    assert told(files, ill) == [("journal.damaged", subject)]


def test_half_a_line_of_a_crash_is_no_damage() -> None:
    """It was never acknowledged."""
    files = journal(DAYS)
    files.append(f"{EVENTS}/{day(5)}.1.jsonl", line(3)[:40] + b"\n", durable=True)
    tend(files, DAYS)
    assert damage_of(files, EVENTS, Part(day(5), 1))[0] == []


def test_a_part_without_an_index_is_read_all_the_same() -> None:
    files = journal(DAYS)
    subject = flip(files, 2, archived=False)
    assert told(files, set()) == [("journal.damaged", subject)]


def test_a_large_journal_is_read_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much each round, going on where it stood, and round again."""
    monkeypatch.setattr("aios.journal.scrub.EACH_BYTES", 1)
    files = journal(DAYS)
    tend(files, DAYS)
    scrub = Scrub(files, EVENTS)
    both = {flip(files, 4, archived=True), flip(files, 5, archived=False)}
    for _ in range(2):
        rounds = [told(files, set(), scrub) for _ in range(DAYS)]
        assert max(map(len, rounds)) == 1
        assert {subject for found in rounds for _, subject in found} == both


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b'{"a": 1}', b"\xff" * 9, b"[" * 5000])
def test_what_is_known_is_a_file_that_may_be_anything(content: bytes) -> None:
    """Spoiled, it says nothing, and all is told anew."""
    files = journal(DAYS)
    tend(files, DAYS)
    subject = flip(files, 5, archived=False)
    files.append(f"{EVENTS}/{KNOWN}", content, durable=True)
    assert told(files, set()) == [("journal.damaged", subject)]


def test_a_day_that_is_archived_early_is_read_where_it_stands() -> None:
    files = journal(DAYS)
    keeper = upkeep(files)
    keeper.do(Step("archive", Part(day(5), 1)))
    keeper.do(Step("remove_raw", Part(day(5), 1)))
    assert damage_of(files, EVENTS, Part(day(5), 1))[0] == []
    flip(files, 5, archived=True)
    assert damage_of(files, EVENTS, Part(day(5), 1))[0] == [0]
