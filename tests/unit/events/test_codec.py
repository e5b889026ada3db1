"""Bytes become events, and nothing else becomes one."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.codec import (
    LEVELS_MAX,
    LINE_MAX,
    BadLine,
    canonical_time,
    decode,
    decode_hostile,
    depth_of,
    encode,
    encode_json,
    encode_sorted,
    parse_foreign,
)
from aios.events.event import Draft, Event

TIME = "2026-02-24T08:15:30.123456Z"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=6)


def event(**changes: Any) -> Event:
    known: dict[str, Any] = {
        "id": "e1",
        "source": "inbox/web",
        "type": "service.down",
        "subject": "nginx.service",
        "time": TIME,
        "data": {"failures": 2},
        "arrival": TIME,
        "severity": "error",
    }
    return Event(**{**known, **changes})


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"d": value}


def foreign(**body: Any) -> Draft:
    return parse_foreign(json.dumps(body).encode(), source="inbox/web")


class TestOurOwnLines:
    @given(data=OBJECTS, subject=TEXT, origin=TEXT, cause=TEXT, incident=TEXT, version=st.integers(1, 9))
    def test_what_is_written_is_read(
        self, data: dict[str, Any], subject: str, origin: str, cause: str, incident: str, version: int
    ) -> None:
        """decode(encode(event)) is the event, whatever JSON it carries."""
        one = event(data=data, subject=subject, origin=origin, causationid=cause, correlationid=incident, dataversion=version)
        line = encode(one)
        assert decode(line) == one
        assert decode(line[:-1]) == one
        assert line.count(b"\n") == 1

    @given(data=OBJECTS, chance=st.data())
    def test_a_changed_byte_is_seen(self, data: dict[str, Any], chance: st.DataObject) -> None:
        """No single flipped bit passes, not even one inside valid JSON."""
        line = bytearray(encode(event(data=data)))
        line[chance.draw(st.integers(0, len(line) - 2))] ^= 1 << chance.draw(st.integers(0, 7))
        with pytest.raises(BadLine):
            decode(bytes(line))

    @given(cut=st.integers(0, 200))
    def test_a_torn_line_is_seen(self, cut: int) -> None:
        line = encode(event())
        with pytest.raises(BadLine):
            decode(line[: len(line) - 2 - cut])

    def test_attributes_stand_in_canonical_order(self) -> None:
        """The order is the format's, and the checksum is the CRC-32 of every byte before it."""
        line = encode(event(origin="inbox/web@1.2.0:0+9~00000000", causationid="c", correlationid="i"))
        names = "specversion id source type subject time arrival severity origin causationid correlationid dataversion data crc"
        assert list(json.loads(line)) == names.split()
        sealed, _, crc = line.rpartition(b',"crc":"')
        assert crc == b'%08x"}\n' % zlib.crc32(sealed)

    def test_empty_extension_attributes_are_left_out(self) -> None:
        assert not {"origin", "causationid", "correlationid"} & set(json.loads(encode(event())))

    def test_data_that_looks_like_the_seal_is_only_data(self) -> None:
        one = event(data={"x": ',"crc":"00000000"}', "crc": "00000000"})
        assert decode(encode(one)) == one

    def test_a_line_is_at_most_64_kib(self) -> None:
        room = LINE_MAX - len(encode(event(data={"x": ""})))
        assert len(encode(event(data={"x": "a" * room}))) == LINE_MAX
        with pytest.raises(BadLine, match="blob"):
            encode(event(data={"x": "a" * (room + 1)}))
        with pytest.raises(BadLine, match="longer"):
            decode(b"x" * (LINE_MAX + 1))

    def test_an_event_is_at_most_32_levels_deep(self) -> None:
        deepest = event(data=nested(LEVELS_MAX - 1))
        assert decode(encode(deepest)) == deepest
        with pytest.raises(BadLine, match="deeper"):
            encode(event(data=nested(LEVELS_MAX)))

    @pytest.mark.parametrize("value", ["\ud800", {"\udc80": 1}, 2**64, -(2**63) - 1, object(), b"bytes", {1: 2}])
    def test_what_json_cannot_say_is_no_line(self, value: Any) -> None:
        with pytest.raises(BadLine):
            encode(event(data={"x": value}))
        with pytest.raises(BadLine):
            encode_json(value)

    def test_a_sound_checksum_does_not_make_an_event(self) -> None:
        """The checksum is no secret: what is under it is looked at all the same."""
        for body in (b'{"a":1', b'{"id":"x","data":[]', b'{"data":{}', b"[1", b"{}", b"not json"):
            with pytest.raises(BadLine):
                decode(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
        head = encode(event()).rpartition(b',"data"')[0]
        body = head + b',"data":' + b"[" * 40 + b"]" * 40
        with pytest.raises(BadLine, match="deeper"):
            decode(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))

    def test_sorted_json_does_not_depend_on_the_order_of_writing(self) -> None:
        assert encode_sorted({"b": 1, "a": {"d": 2, "c": 3}}) == encode_sorted({"a": {"c": 3, "d": 2}, "b": 1})


class TestHostileJson:
    @given(st.binary(max_size=300))
    def test_any_bytes_are_an_event_or_a_bad_line(self, raw: bytes) -> None:
        """Nothing but BadLine comes out of any bytes."""
        try:
            parse_foreign(raw, source="inbox/x")
        except BadLine:
            return

    @settings(max_examples=300)
    @given(
        body=st.dictionaries(
            st.sampled_from(["id", "type", "subject", "time", "severity", "data", "source", "specversion"]), JSON
        )
    )
    def test_any_json_is_an_event_or_a_bad_line(self, body: dict[str, Any]) -> None:
        """What is taken can be written, and reads back as it was."""
        try:
            draft = parse_foreign(encode_json(body), source="inbox/x", fresh_id="f")
        except BadLine:
            return
        one = event(
            id=draft.id, source=draft.source, subject=draft.subject, type=draft.type, data=draft.data, time=draft.time or TIME
        )
        assert decode(encode(one)) == one

    def test_depth_is_counted_before_it_is_decoded(self) -> None:
        for deep in (b"[" * 100_000, b'{"a":' * 30_000, b"[" * 33 + b"]" * 33):
            with pytest.raises(BadLine):
                decode_hostile(deep, bytes_max=1 << 20)
        assert decode_hostile(b"[" * 32 + b"]" * 32)

    def test_brackets_inside_text_are_not_depth(self) -> None:
        assert decode_hostile(json.dumps({"x": "[" * 100 + '\\"{'}).encode()) == {"x": "[" * 100 + '\\"{'}

    @given(st.text(alphabet='[]{}"\\a', max_size=200))
    def test_depth_is_found_in_any_bytes(self, text: str) -> None:
        assert 0 <= depth_of(text.encode()) <= len(text)

    @pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b'["', b"\\", b'"a', b'""'])
    def test_unterminated_text_is_scanned_once(self, unit: bytes) -> None:
        """64 KiB of quotes and backslashes are no way to keep us busy (this would take minutes were it quadratic)."""
        depth_of(unit * (LINE_MAX // len(unit)))

    @pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" * 30, "18446744073709551616"])
    def test_an_integer_beyond_64_bits_is_refused(self, number: str) -> None:
        with pytest.raises(BadLine, match="64 bits"):
            decode_hostile(b'{"n": %b}' % number.encode())

    @pytest.mark.parametrize(
        "text",
        ["9223372036854775807", "-9223372036854775808", "1." + "1" * 40, "1e5", f'"{"9" * 40}"', "0.00000000000000000001"],
    )
    def test_other_long_numbers_are_not(self, text: str) -> None:
        assert decode_hostile(b"[%b]" % text.encode()) == json.loads(f"[{text}]")

    @pytest.mark.parametrize(
        "raw", [b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"\xef\xbb\xbf{}", b'"\xff"', b"{} {}", b"", b"'a'"]
    )
    def test_what_is_not_json_is_refused(self, raw: bytes) -> None:
        with pytest.raises(BadLine):
            decode_hostile(raw)


class TestLinesFromOutside:
    def test_only_a_type_is_required(self) -> None:
        draft = foreign(type="deploy.done")
        assert draft == Draft(type="deploy.done", subject="host", source="inbox/web")

    def test_what_is_given_is_kept(self) -> None:
        draft = foreign(
            type="agent.error",
            subject="agent:bob",
            id="x-1",
            source="ci",
            severity="critical",
            time="2026-02-24T09:15:30+01:00",
            causationid="c-1",
            data={"message": "no"},
        )
        assert (draft.subject, draft.id, draft.source, draft.severity) == ("agent:bob", "x-1", "ci", "critical")
        assert draft.time == "2026-02-24T08:15:30.000000Z"
        assert (draft.causationid, draft.data) == ("c-1", {"message": "no"})

    def test_what_is_ours_is_not_believed(self) -> None:
        """Origin, arrival, incident, version and checksum are given by AIOS alone."""
        raw = encode(event(origin="inbox/other@1.2.3:4+5~00000000", correlationid="i1", dataversion=7))
        draft = parse_foreign(raw, source="inbox/web", origin="here")
        assert (draft.origin, draft.correlationid) == ("here", "")

    @pytest.mark.parametrize(
        "own",
        [
            "run.healed",
            "approval.requested",
            "scheduler.x",
            "reactor.x",
            "journal.x",
            "playbook.x",
            "score.degraded",
            "daemon.x",
            "timer.due",
        ],
    )
    def test_own_types_are_refused(self, own: str) -> None:
        with pytest.raises(BadLine, match="only AIOS"):
            foreign(type=own)

    def test_of_two_members_with_one_name_the_last_counts_everywhere(self) -> None:
        """So a type cannot be shown to the check and another one to the reader."""
        with pytest.raises(BadLine, match="only AIOS"):
            parse_foreign(b'{"type":"a.b","type":"run.healed"}', source="s")
        assert parse_foreign(b'{"type":"run.healed","type":"a.b"}', source="s").type == "a.b"

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ({}, "type is missing"),
            ({"type": 5}, "type is not"),
            ({"type": ""}, "type is not"),
            ({"type": "a b"}, "type is not"),
            ({"type": "a..b"}, "type is not"),
            ({"type": "a\n"}, "type is not"),
            ({"type": "a" * 129}, "type is not"),
            ({"type": "a", "data": [1]}, "data is not an object"),
            ({"type": "a", "data": "x"}, "data is not an object"),
            ({"type": "a", "data_base64": "eA=="}, "data_base64"),
            ({"type": "a", "severity": "bad"}, "severity"),
            ({"type": "a", "severity": ["info"]}, "severity"),
            ({"type": "a", "specversion": "0.3"}, "specversion"),
            ({"type": "a", "id": 7}, "id is not text"),
            ({"type": "a", "id": "a" * 129}, "id is longer"),
            ({"type": "a", "id": "a b"}, "does not print"),
            ({"type": "a", "subject": "a\x00"}, "does not print"),
            ({"type": "a", "subject": "a\x1b[2J"}, "does not print"),
            ({"type": "a", "subject": "a" * 513}, "longer"),
            ({"type": "a", "subject": {"x": 1}}, "not text"),
            ({"type": "a", "source": "\u202e"}, "does not print"),
            ({"type": "a", "time": "yesterday"}, "RFC 3339"),
            ({"type": "a", "time": 1771920930}, "RFC 3339"),
            ({"type": "a", "time": "2026-02-24T08:15:30"}, "zone"),
            ({"type": "a", "time": "2026-13-24T08:15:30Z"}, "RFC 3339"),
            ({"type": "a", "time": "0001-01-01T00:00:00+14:00"}, "RFC 3339"),
        ],
    )
    def test_a_bad_value_is_refused_with_its_reason(self, body: dict[str, Any], reason: str) -> None:
        with pytest.raises(BadLine, match=reason):
            foreign(**body)

    @pytest.mark.parametrize("raw", [b"[]", b"1", b'"type"', b"null", b"[1,2"])
    def test_what_is_no_object_is_no_event(self, raw: bytes) -> None:
        with pytest.raises(BadLine):
            parse_foreign(raw, source="s")

    def test_empty_and_null_attributes_count_as_missing(self) -> None:
        draft = foreign(type="a.b", id="", subject=None, source="", severity=None, time="", data=None)
        assert draft == Draft(type="a.b", subject="host", source="inbox/web")

    @pytest.mark.parametrize(
        "text",
        [
            "20260224T081530Z",
            "2026-02-24 08:15:30Z",
            "2026-02-24T08:15Z",
            "2026-02-24T08:15:30,5Z",
            "2026-W09-2T08:15:30Z",
            "2026-02-24T08:15:30.123456789Z",
        ],
    )
    def test_times_come_out_in_one_spelling(self, text: str) -> None:
        assert canonical_time(text).startswith("2026-02-24T08:15:")
        assert len(canonical_time(text)) == len(TIME)
