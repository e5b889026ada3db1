"""A question gets exactly what matches, whether a day is raw, indexed, archived or damaged, and opens no more than it must."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import aios.journal
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.codec import BadLine, decode, encode
from aios.events.event import Event, Position, Stored, format_time
from aios.journal.archive import IMPORTED_FROM, archive_path, write_archive
from aios.journal.index import build_index, save_index
from aios.journal.parts import Part
from aios.journal.query import Asked, Found, History, Query, make_query, matches
from aios.playbooks.condition import BadExpression

MIDNIGHT = 1_771_891_200.0
"""2026-02-24T00:00:00Z"""
DAY_S = 86_400.0
TYPES = ("service.down", "service.up", "services.x", "agent.error", "deploy.done")
SUBJECTS = ("nginx.service", "agent:bot", 'odd"quote\\subject', "host", "ünï:😀")
WORDS = ("refused", "Refused", "tab\there", 'a "quoted" word', "naïve", '"type":"service.down","subject":"host"', "[redacted]")


def some_event(chance: random.Random, number: int, at: float) -> Event:
    data: dict[str, Any] = {"n": number, "status": chance.choice(WORDS)}
    if chance.random() < 0.3:
        data["failures"] = chance.choice([1, 2, 3, "many"])
    if chance.random() < 0.1:
        data["trigger"] = {"type": "service.down", "subject": "nginx.service", "severity": "critical"}
    time = format_time(at)
    severity = chance.choice(("info", "info", "info", "warning", "error", "critical"))
    return Event(f"id-{number}", "test", chance.choice(TYPES), chance.choice(SUBJECTS), time, data, time, severity)


def write_part(state: Path, part: Part, lines: list[bytes]) -> None:
    (state / "events").mkdir(exist_ok=True)
    (state / "events" / part.name).write_bytes(b"".join(lines))


def three_days(state: Path, seed: int, per_day: int = 300) -> list[Stored]:
    """Three days of two parts each, with bad lines; what is readable of it, in order."""
    chance = random.Random(seed)
    truth: list[Stored] = []
    number = 0
    for day in range(3):
        at = MIDNIGHT + day * DAY_S
        for part in (Part(f"2026-02-{24 + day}", 1), Part(f"2026-02-{24 + day}", 2)):
            lines: list[bytes] = []
            for _ in range(per_day):
                at += chance.uniform(0, 60)
                event = some_event(chance, number, at - (7200 if chance.random() < 0.01 else 0))  # a clock that leapt back
                number += 1
                line = encode(event)
                if chance.random() < 0.02:
                    line = line.replace(b"test", b"tesT", 1)  # a flipped bit inside valid JSON
                elif chance.random() < 0.01:
                    line = b"garbage\n"
                else:
                    truth.append(Stored(event, Position(*part, sum(map(len, lines)))))
                lines.append(line)
            write_part(state, part, lines)
    return truth


def as_it_is(state: Path) -> None:
    """All raw, without an index."""


def indexed(state: Path) -> None:
    """All closed parts, as retention does it: each index knows which events the part before holds too."""
    seen: frozenset[bytes] = frozenset()
    for path in sorted((state / "events").glob("*.jsonl"))[:-1]:
        save_index(OsFiles(), str(path), build_index(OsFiles(), str(path), seen))
        seen |= {decode(line).id.encode() for line in path.read_bytes().split(b"\n") if _is_event(line)}


def archived(state: Path) -> None:
    """The first day archived, the second indexed, the third raw."""
    indexed(state)
    folder = str(state / "events")
    for number in (1, 2):
        write_archive(OsFiles(), folder, Part("2026-02-24", number))
        os.unlink(f"{folder}/2026-02-24.{number}.jsonl")
        os.unlink(f"{folder}/2026-02-24.{number}.idx")


def without_sidecars(state: Path) -> None:
    """Archived, and then all indexes are lost."""
    archived(state)
    for path in (state / "events").rglob("*.idx"):
        path.unlink()


SHAPES = pytest.mark.parametrize("shape", [as_it_is, indexed, archived, without_sidecars])
Shape = Callable[[Path], None]

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"types": ["service.down"]},
    {"types": ["service.*"]},
    {"types": ["*"]},
    {"types": ["service.down", "agent.*"]},
    {"types": ["service.down", "deploy.done"], "subject": "nginx.service"},
    {"types": ["no.such"]},
    {"subject": 'odd"quote\\subject'},
    {"subject": "ünï:😀", "severity": "error"},
    {"severity": "info"},
    {"severity": "critical"},
    {"text": "REFUSED"},
    {"text": 'a "quoted"'},
    {"text": "\t"},
    {"text": "specversion"},
    {"text": "naïve", "types": ["service.*"]},
    {"where": "event.data.n % 100 == 7"},
    {"where": "event.data.failures > 1", "types": ["service.down"]},
    {"where": 'has(event.data.trigger) && event.subject == "host"'},
    {"since": MIDNIGHT + 3600, "until": MIDNIGHT + 7200},
    {"since": MIDNIGHT + DAY_S},
    {"since": "2026-02-24T01:00:00+01:00", "until": "2026-02-24T02:30:00Z", "severity": "warning"},
    {"on": "2026-02-25"},
    {"on": "2026-02-25", "types": ["service.up"], "after": Position("2026-02-25", 1, 0)},
    {"after": Position("2026-02-25", 1, 10**9)},
]


def values(found: Iterable[Found]) -> list[Stored]:
    return [one.stored for one in found]


def truthful(query: Query, truth: list[Stored]) -> list[Stored]:
    return [
        stored
        for stored in truth
        if (not query.on or stored.position.day == query.on)
        and (query.after is None or stored.position > query.after)
        and matches(stored.event, query)
    ]


@SHAPES
@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_every_question_gets_exactly_what_matches(tmp_path: Path, shape: Shape, question: dict[str, Any]) -> None:
    """Forwards and backwards, and the same as if every line had been decoded and compared."""
    truth = three_days(tmp_path, seed=7)
    shape(tmp_path)
    wanted = truthful(make_query(**question), truth)
    assert values(aios.journal.read(tmp_path, **question)) == wanted
    assert values(aios.journal.read(tmp_path, **question, reverse=True)) == wanted[::-1]
    assert values(aios.journal.read(tmp_path, **question, limit=3)) == wanted[:3]


@pytest.mark.parametrize("seed", range(12))
def test_random_questions_over_random_days(tmp_path: Path, seed: int) -> None:
    """Every mixture of conditions, on every shape."""
    truth = three_days(tmp_path, seed, per_day=120)
    random.Random(seed).choice([as_it_is, indexed, archived, without_sidecars])(tmp_path)
    chance = random.Random(seed + 1000)
    for _ in range(25):
        question: dict[str, Any] = {}
        if chance.random() < 0.6:
            question["types"] = chance.sample([*TYPES, "service.*", "agent.*", "nothing.*"], chance.randint(1, 3))
        if chance.random() < 0.3:
            question["subject"] = chance.choice(SUBJECTS)
        if chance.random() < 0.3:
            question["severity"] = chance.choice(("info", "warning", "error", "critical"))
        if chance.random() < 0.3:
            question["text"] = chance.choice(WORDS)[: chance.randint(1, 8)]
        if chance.random() < 0.5:
            question["since"] = MIDNIGHT + chance.choice([0, 1, 3600, 36000, chance.uniform(0, 3 * DAY_S)])
        if chance.random() < 0.5:
            question["until"] = MIDNIGHT + chance.choice([3600, DAY_S, 2 * DAY_S, chance.uniform(0, 3 * DAY_S)])
        found = values(aios.journal.read(tmp_path, **question))
        assert found == truthful(make_query(**question), truth), (seed, question)


def test_an_index_opens_only_the_blocks_that_may_hold_it(tmp_path: Path) -> None:
    """The cost follows what is returned."""
    lines = [
        encode(Event(f"i{n}", "test", "rare.one" if n == 5000 else "usual.one", "host", t, {}, t))
        for n in range(8000)
        if (t := format_time(MIDNIGHT + n))
    ]
    write_part(tmp_path, Part("2026-02-24", 1), lines)
    write_part(tmp_path, Part("2026-02-25", 1), [])
    archived_or_not = History(OsFiles(), str(tmp_path / "events"))
    for make in (lambda: None, lambda: indexed(tmp_path)):
        make()
        asked = Asked()
        assert [s.event.id for s in archived_or_not.read(make_query(types=["rare.one"]), asked=asked)] == ["i5000"]
    assert (asked.effort.opened, asked.effort.passed) == (1, 7)
    asked = Asked()
    between = make_query(since=MIDNIGHT + 100, until=MIDNIGHT + 200)
    assert len(list(archived_or_not.read(between, asked=asked))) == 100
    assert asked.effort.opened == 1
    assert asked.effort.done == asked.effort.total


def test_an_index_of_a_part_that_somebody_changed_is_not_believed(tmp_path: Path) -> None:
    """Of the same size, and with other lines: what stands there now is found from the first block that is opened."""
    at = format_time(MIDNIGHT)
    before = [encode(Event(f"i{n:04}", "test", "a.bb", "host", at, {}, at)) for n in range(3000)]
    after = [encode(Event(f"i{n:04}", "test", "c.dd" if n > 1500 else "a.bb", "host", at, {}, at)) for n in range(3000)]
    write_part(tmp_path, Part("2026-02-24", 1), before)
    write_part(tmp_path, Part("2026-02-25", 1), [])
    indexed(tmp_path)
    write_part(tmp_path, Part("2026-02-24", 1), after)
    assert sum(1 for _ in aios.journal.read(tmp_path, types=["a.*", "c.*"])) == 3000


def test_a_damaged_block_hides_no_neighbour(tmp_path: Path) -> None:
    """A flipped bit in an archive costs its block; the rest is read, and the damage is counted."""
    lines = [encode(Event(f"i{n}", "test", "a.b", "host", t, {}, t)) for n in range(3000) if (t := format_time(MIDNIGHT + n))]
    write_part(tmp_path, Part("2026-02-24", 1), lines)
    folder = str(tmp_path / "events")
    index = write_archive(OsFiles(), folder, Part("2026-02-24", 1))
    os.unlink(f"{folder}/2026-02-24.1.jsonl")
    path = Path(archive_path(folder, Part("2026-02-24", 1)))
    raw = bytearray(path.read_bytes())
    raw[index.column("at")[1] + 60] ^= 4
    path.write_bytes(raw)
    asked = Asked()
    found = [s.event.id for s in History(OsFiles(), folder).read(asked=asked)]
    assert asked.effort.damaged == 1
    assert found == [f"i{n}" for n in (*range(1024), *range(2048, 3000))]


def test_what_was_written_twice_is_read_once(tmp_path: Path) -> None:
    """After a failed sync the same events stand in two parts, over a day's turn too; in any shape and direction."""
    chance = random.Random(1)
    events = [some_event(chance, n, MIDNIGHT + n) for n in range(100)]
    write_part(tmp_path, Part("2026-02-24", 1), [encode(e) for e in events[:60]])
    write_part(tmp_path, Part("2026-02-24", 2), [])
    write_part(tmp_path, Part("2026-02-25", 1), [encode(e) for e in events[40:100]])
    write_part(tmp_path, Part("2026-02-26", 1), [])
    for shape in (as_it_is, indexed, archived, without_sidecars):
        if shape is archived:
            for path in (tmp_path / "events").glob("*.idx"):
                path.unlink()
        if shape is without_sidecars:
            for path in (tmp_path / "events").rglob("*.idx"):
                path.unlink()
        else:
            shape(tmp_path)
        assert [s.event.id for s in aios.journal.read(tmp_path)] == [e.id for e in events], shape
        assert [s.event.id for s in aios.journal.read(tmp_path, reverse=True)] == [e.id for e in reversed(events)], shape


def test_a_part_that_is_archived_while_we_read_is_read_once(tmp_path: Path) -> None:
    """Its name was listed when it was raw; it is opened when it is archived. One that is deleted is passed over."""
    truth = three_days(tmp_path, seed=3)
    reading = aios.journal.read(tmp_path)
    first = next(reading)
    folder = tmp_path / "events"
    write_archive(OsFiles(), str(folder), Part("2026-02-25", 1))
    (folder / "2026-02-25.1.jsonl").unlink()
    (folder / "2026-02-25.2.jsonl").unlink()
    left = [stored for stored in truth if stored.position[:2] != ("2026-02-25", 2)]
    assert values([first, *reading]) == left


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    """Half a line is no event; the whole one is, the next time."""
    at = format_time(MIDNIGHT)
    lines = [encode(Event(f"i{n}", "test", "a.b", "host", at, {}, at)) for n in range(3)]
    write_part(tmp_path, Part("2026-02-24", 1), [*lines[:2], lines[2][:50]])
    assert len(values(aios.journal.read(tmp_path))) == 2
    assert len(values(aios.journal.read(tmp_path, reverse=True))) == 2
    write_part(tmp_path, Part("2026-02-24", 1), lines)
    assert len(values(aios.journal.read(tmp_path))) == 3


@pytest.mark.parametrize("junk", [b"x" * 1_000_000, b"\n" * 1_000_000, b"\0" * 700_000 + b"\n", os.urandom(600_000)], ids=len)
def test_any_bytes_between_good_lines_are_stepped_over(tmp_path: Path, junk: bytes) -> None:
    """Linear, without an exception, in both directions."""
    at = format_time(MIDNIGHT)
    lines = [encode(Event(f"i{n}", "test", "a.b", "host", at, {}, at)) for n in range(4)]
    write_part(tmp_path, Part("2026-02-24", 1), [*lines[:2], junk, b"\n", *lines[2:]])
    for question in ({}, {"types": ["a.b"]}, {"text": "a.b"}):
        assert [s.event.id for s in aios.journal.read(tmp_path, **question)] == ["i0", "i1", "i2", "i3"]
        assert [s.event.id for s in aios.journal.read(tmp_path, **question, reverse=True)] == ["i3", "i2", "i1", "i0"]


@SHAPES
def test_an_event_is_found_by_its_place(tmp_path: Path, shape: Shape) -> None:
    """Raw or archived; a place where no line begins holds none."""
    truth = three_days(tmp_path, seed=5, per_day=50)
    shape(tmp_path)
    history = History(OsFiles(), str(tmp_path / "events"))
    for stored in truth[::17]:
        assert history.at(stored.position) == stored.event
        assert history.at(stored.position._replace(offset=stored.position.offset + 1)) is None
    assert history.at(Position("2026-01-01", 1, 0)) is None


def test_followers_and_cursors_do_not_see_what_was_imported(tmp_path: Path) -> None:
    """It is history: it changes nothing, and nobody waits for it."""
    truth = three_days(tmp_path, seed=5, per_day=20)
    part = Part("2026-02-24", IMPORTED_FROM + 1)
    at = format_time(MIDNIGHT)
    write_part(tmp_path, part, [encode(Event("old", "test", "a.b", "host", at, {}, at))])
    write_archive(OsFiles(), str(tmp_path / "events"), part)
    (tmp_path / "events" / part.name).unlink()
    history = History(OsFiles(), str(tmp_path / "events"))
    assert values(history.read(Query(imported=False))) == truth
    assert [s.event.id for s in history.read(make_query(types=["a.*"]))] == ["old"]
    assert history.last_position() == truth[-1].position


def test_where_that_cannot_say_leaves_out_and_is_counted(tmp_path: Path) -> None:
    """A field that is missing is no match; why is told."""
    truth = three_days(tmp_path, seed=5, per_day=50)
    asked = Asked()
    query = make_query(where="event.data.failures == 2")
    found = values(History(OsFiles(), str(tmp_path / "events")).read(query, asked=asked))
    assert found == [s for s in truth if s.event.data.get("failures") == 2]
    assert asked.unsaid == len([s for s in truth if "failures" not in s.event.data])
    assert "failures" in asked.why_unsaid


def test_events_are_counted_by_what_is_asked(tmp_path: Path) -> None:
    """Type, subject, hour; or all of them."""
    truth = three_days(tmp_path, seed=5, per_day=50)
    for by, key in (("type", "type"), ("subject", "subject")):
        counts = History.of(tmp_path).count(Query(), by)
        assert counts == {value: sum(getattr(s.event, key) == value for s in truth) for value in counts}
    assert History.of(tmp_path).count(Query()) == {"": len(truth)}
    hours = History.of(tmp_path).count(Query(), "hour")
    assert hours.total() == len(truth)
    assert all(hour.endswith(":00Z") for hour in hours)


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"types": ["a*b"]}, Refused),
        ({"types": ["*.down"]}, Refused),
        ({"severity": "loud"}, Refused),
        ({"where": "event.data.x ="}, BadExpression),
        ({"where": "1 + 1"}, BadExpression),
        ({"since": "yesterday-ish"}, ValueError),
        ({"since": "2026-02-24T00:00:00"}, ValueError),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(tmp_path: Path, question: dict[str, Any], error: type[Exception]) -> None:
    """Before anything is read, and not as an empty answer."""
    three_days(tmp_path, seed=1, per_day=1)
    with pytest.raises(error):
        aios.journal.read(tmp_path, **question)


def test_without_a_journal_it_is_refused(tmp_path: Path) -> None:
    """A wrong folder is the usual reason."""
    with pytest.raises(Refused, match="there is no journal"):
        aios.journal.read(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_never_raise_and_lose_no_good_neighbour(tmp_path: Path, seed: int) -> None:
    """Flipped, cut, doubled and inserted bytes in raw files, archives and indexes: what can be read is read."""
    chance = random.Random(seed)
    truth = three_days(tmp_path, seed, per_day=40)
    archived(tmp_path)
    paths = [path for path in (tmp_path / "events").rglob("*") if path.is_file()]
    known = {stored.event.id: stored.event for stored in truth}
    for turn in range(60):
        path = chance.choice(paths)
        whole = path.read_bytes()
        path.write_bytes(_mutated(whole, chance))
        found = values(aios.journal.read(tmp_path))
        assert all(known.get(s.event.id) == s.event for s in found), (seed, turn, path.name)
        others = [s for s in truth if f"{s.position.day}.{s.position.part}" not in path.name]
        assert [s for s in found if f"{s.position.day}.{s.position.part}" not in path.name] == others, (seed, turn, path.name)
        if path.name.endswith(".jsonl"):
            intact = {line for line in path.read_bytes().split(b"\n") if _is_event(line)}
            there = {s.event.id for s in found if f"{s.position.day}.{s.position.part}.jsonl" == path.name}
            assert there == {decode(line).id for line in intact}, (seed, turn, path.name)
        path.write_bytes(whole)


def _is_event(line: bytes) -> bool:
    try:
        decode(line)
    except BadLine:
        return False
    return True


def _mutated(whole: bytes, chance: random.Random) -> bytes:
    if not whole:
        return b"\xff"
    at = chance.randrange(len(whole))
    return chance.choice(
        [
            lambda: whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :],
            lambda: whole[:at],
            lambda: whole[at:],
            lambda: whole[:at] + os.urandom(chance.randint(1, 300)) + whole[at:],
            lambda: whole[:at] + whole[max(0, at - 200) :],
            lambda: b"",
        ]
    )()
