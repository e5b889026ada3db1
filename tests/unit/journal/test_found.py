"""What is found without decoding is what decoding every line would find, whatever stands in the lines; and it says the same.

A line that AIOS did not write, though its checksum is right, may be missed (a search goes by the order of our encoder's members);
what is found is never what was not asked for.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from aios.disk import OsFiles
from aios.events.codec import BadLine, decode, encode, encode_json, is_plain
from aios.events.event import Event, Position, Stored, format_time
from aios.journal.archive import write_archive
from aios.journal.index import PLAIN, TYPES_MAX, build_index, load_index, save_index
from aios.journal.judge import Judge
from aios.journal.parts import Part
from aios.journal.query import BY, Asked, Found, History, Query, make_query
from aios.journal.verify import verify

MIDNIGHT = 1_771_891_200.0
PART = Part("2026-02-24", 1)
TYPES = ("service.down", "service.downs", "service.up", "agent.error")
SUBJECTS = ("nginx.service", "host", "ünï:😀")
FORGED = '"type":"service.down","subject":"host"'

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"types": ["service.down"]},
    {"types": ["service.down"], "since": MIDNIGHT + 900, "until": MIDNIGHT + 5000},
    {"types": ["service.down"], "since": MIDNIGHT - 900},
    {"types": ["service.*"]},
    {"types": ["service.down", "agent.error"]},
    {"types": ["service.down"], "subject": "host"},
    {"types": ["service.down"], "severity": "error"},
    {"types": ["agent.*"], "after": Position(*PART, 30_000)},
    {"subject": "host"},
    {"severity": "critical"},
    {"text": "forged"},
    {"types": ["service.down"], "where": "event.data.n % 2 == 0"},
    {"since": MIDNIGHT + 3000, "until": MIDNIGHT + 3100},
]


def sealed(body: bytes) -> bytes:
    """With a checksum that is right, as one makes it who forges a line."""
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body[:-1]))


def members(event: Event) -> dict[str, Any]:
    names = ("id", "source", "type", "subject", "time", "arrival", "severity", "dataversion", "data")
    return {"specversion": "1.0", **{name: getattr(event, name) for name in names}}


def plain_line(chance: random.Random, number: int) -> bytes:
    """As AIOS writes it; its data may say all that a head says."""
    at = format_time(MIDNIGHT + number * 5)
    data: dict[str, Any] = {"n": number}
    if chance.random() < 0.3:
        data |= {"trigger": {"id": "x", "source": "y", "type": "service.down", "subject": "host", "time": at, "arrival": at}}
    if chance.random() < 0.2:
        data |= {"type": "service.down", "subject": "host", "severity": "critical"}
    if chance.random() < 0.2:
        data["said"] = f"forged {FORGED} \\ {chance.choice(SUBJECTS)}"
    source = chance.choice(("test", 'a "quoted" source', FORGED))
    severity = chance.choice(("info", "error", "critical"))
    return encode(Event(f"id-{number}", source, chance.choice(TYPES), chance.choice(SUBJECTS), at, data, at, severity))


def hostile_line(chance: random.Random, number: int) -> bytes:
    """A line that says otherwise than it looks."""
    event = decode(plain_line(chance, number))
    body = members(event)
    raw = encode_json(body)
    kinds: list[Callable[[], bytes]] = [
        lambda: sealed(encode_json(body | {"subject": f'odd"{FORGED}\\'})),
        lambda: sealed(raw[:-1] + b',"type":"agent.error"}'),  # twice: the last one counts
        lambda: sealed(raw[:-1] + b',"severity":"critical","subject":"host"}'),
        lambda: sealed(encode_json({name: value for name, value in body.items() if name != "arrival"})),
        lambda: sealed(encode_json(body | {"data": [1]})),
        lambda: sealed(encode_json(body | {"type": 5})),
        lambda: sealed(raw.replace(b'"data":{', b'"data":{"deep":' + b"[" * 40 + b"]" * 40 + b",", 1)),
        lambda: sealed(raw[:-3] + b"}"),
        lambda: sealed(raw[:-2] + b',"s":"\xff"}}'),
        lambda: sealed(raw.replace(b'"data":{', b'"data" :\t{', 1)),
        lambda: plain_line(chance, number).replace(b'"n":', b'"N":', 1),  # a flipped bit
        lambda: b'{"specversion":"1.0","id":"x","source":"y","type":"service.down","subject":"host"\n',
        lambda: b"\n",
        lambda: b"x" * 70_000 + b"\n",
    ]
    return chance.choice(kinds)()


def write(state: Path, lines: list[bytes], *, archived: bool) -> list[Stored]:
    """One closed part; and what of it can be read, by decoding every line."""
    (state / "events").mkdir()
    path = state / "events" / PART.name
    path.write_bytes(b"".join(lines))
    save_index(OsFiles(), str(path), build_index(OsFiles(), str(path)))
    if archived:
        write_archive(OsFiles(), str(state / "events"), PART)
        path.unlink()
        path.with_suffix(".idx").unlink()
    truth, offset = [], 0
    for line in lines:
        try:
            truth.append(Stored(decode(line), Position(*PART, offset)))
        except BadLine:
            pass
        offset += len(line)
    return truth


def truthful(query: Query, truth: list[Stored]) -> list[Stored]:
    passes = Judge(query, Asked()).passes
    return [one for one in truth if passes(one.event) and (query.after is None or one.position > query.after)]


@pytest.mark.parametrize(("seed", "hostile", "archived"), [(1, 0.0, True), (2, 0.0005, True), (3, 0.0005, False), (4, 0.2, True)])
def test_what_is_found_is_what_decoding_every_line_finds(tmp_path: Path, seed: int, hostile: float, archived: bool) -> None:
    """Events, positions, heads, lines and counts; in blocks of plain lines, in spoiled ones, and where both lie side by side."""
    chance = random.Random(seed)
    lines = [(hostile_line if chance.random() < hostile else plain_line)(chance, number) for number in range(2500)]
    truth = write(tmp_path, lines, archived=archived)
    line_at = dict(zip(accumulate(map(len, lines), initial=0), lines, strict=False))
    history = History.of(tmp_path)
    for question in QUESTIONS:
        query = make_query(**question)
        wanted = truthful(query, truth)
        found = list(history.read(query))
        ours = [one for one in wanted if encode(one.event) == line_at[one.position.offset]]
        places = {one.position for one in found}
        missed = [one for one in wanted if one.position not in places]
        assert not any(one in ours for one in missed), question
        wanted = [one for one in wanted if one not in missed]
        assert [one.stored for one in found] == wanted, question
        for one, (event, position) in zip(found, wanted, strict=True):
            assert one.head == (event.type, event.subject, event.arrival, event.severity)
            assert one.line + b"\n" == line_at[position.offset]
            assert tuple(one) == (event, position)
        assert [one.stored for one in history.read(query, back=True)] == wanted[::-1], question
        assert history.count(query) == Counter({"": len(wanted)} if wanted else {}), question
        for by, key_of in BY.items():
            assert history.count(query, by) == Counter(key_of(Found.of(*one).head) for one in wanted), (question, by)


def flags_of(state: Path, lines: list[bytes]) -> list[bool]:
    write(state, lines, archived=False)
    return [bool(flags & PLAIN) for flags in load_index(OsFiles(), str(state / "events" / PART.name)).columns["flags"]]


def test_a_block_is_plain_only_if_every_line_of_it_is(tmp_path: Path) -> None:
    """One line of 1,024 is enough, whatever is odd about it; and its neighbours' blocks stay plain."""
    chance = random.Random(5)
    lines = [plain_line(chance, at) for at in range(3072)]
    for number in range(15):
        odd = hostile_line(chance, 1500)
        lines[1500] = odd if odd != b"\n" else b"garbage\n"
        state = tmp_path / str(number)
        state.mkdir()
        plain = flags_of(state, lines)
        assert (plain[0], plain[1], any(plain[2:])) == (True, False, True), odd[:300]


def test_a_line_of_ours_is_plain_and_one_that_was_touched_is_not() -> None:
    """Also where the touch left it good JSON with a right checksum."""
    chance = random.Random(6)
    for number in range(300):
        line = plain_line(chance, number)
        assert is_plain(line[:-1])
        body = line[: line.rindex(b',"crc"')] + b"}"
        for touched in (body.replace(b",", b", ", 1), body.replace(b'"id-', b'"\\u0069d-', 1), body[:-1] + b',"data":{}}'):
            assert decode(sealed(touched))
            assert not is_plain(sealed(touched)[:-1])


def test_an_index_that_says_too_little_costs_time_and_no_answer(tmp_path: Path) -> None:
    """One of an older AIOS, which did not look whether lines are plain."""
    chance = random.Random(7)
    truth = write(tmp_path, [plain_line(chance, number) for number in range(2000)], archived=False)
    path = str(tmp_path / "events" / PART.name)
    index = load_index(OsFiles(), path)
    assert all(flags & PLAIN for flags in index.columns["flags"])
    save_index(OsFiles(), path, replace(index, columns={**index.columns, "flags": memoryview(bytes(len(index)))}))
    for question in QUESTIONS:
        query = make_query(**question)
        assert [one.stored for one in History.of(tmp_path).read(query)] == truthful(query, truth)


def test_a_type_too_many_for_the_index_is_found_and_counted(tmp_path: Path) -> None:
    """Of more than 4,096 types the index lists the first, and says only that there are others."""
    at = format_time(MIDNIGHT)
    lines = [encode(Event(f"id-{number}", "test", f"a.t{number}", "host", at, {}, at)) for number in range(TYPES_MAX + 500)]
    write(tmp_path, lines, archived=True)
    history = History.of(tmp_path)
    assert [one.event.id for one in history.read(make_query(types=[f"a.t{TYPES_MAX + 300}"]))] == [f"id-{TYPES_MAX + 300}"]
    assert history.count(make_query(types=["a.*"])).total() == len(lines)
    assert history.count(Query(), "type") == Counter(f"a.t{number}" for number in range(len(lines)))


def test_verify_takes_an_index_that_says_too_little_and_none_that_says_too_much(tmp_path: Path) -> None:
    """Whether lines are plain is looked at like all else that an index says."""
    chance = random.Random(8)
    lines = [plain_line(chance, number) for number in range(1500)]
    lines[3] = sealed(encode_json(members(decode(lines[3]))).replace(b",", b", ", 1))
    write(tmp_path, lines, archived=False)
    (tmp_path / "events" / "2026-02-25.1.jsonl").write_bytes(plain_line(chance, 1500))  # the newest has no index
    path = str(tmp_path / "events" / PART.name)
    index = load_index(OsFiles(), path)
    assert [bool(flags & PLAIN) for flags in index.columns["flags"]] == [False, True]
    for flags, wrong in ((bytes(2), 0), (bytes([PLAIN, PLAIN]), 1)):
        save_index(OsFiles(), path, replace(index, columns={**index.columns, "flags": memoryview(flags)}))
        found = [one.what for one in verify(OsFiles(), str(tmp_path)).findings if "index" in one.what]
        assert len(found) == wrong, found
