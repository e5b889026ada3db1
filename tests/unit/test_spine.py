"""The one door: durable first, then applied, then told; secrets struck out; and nothing that comes in can end the daemon."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.entropy import SeededEntropy
from aios.events.catalogue import is_own
from aios.events.codec import LINE_MAX, decode, decode_json
from aios.events.event import Draft, Event, Position, Stored
from aios.events.redact import REDACTED, Redactor
from aios.scores.scores import Scores
from aios.spine import Spine
from aios.testing.blobs import SimBlobs
from aios.testing.loop import VirtualClock, run_virtual
from aios.world import World

Story = Callable[["Door"], Awaitable[None]]


class SlowWriter:
    """A `JournalWriter` in memory whose disk is as slow as the test says: `sync` makes durable what was appended."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._waiting: list[tuple[list[bytes], Future[list[Position]]]] = []

    def append(self, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        assert lines is not None
        future: Future[list[Position]] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(lines), future))
        return future

    async def sync(self) -> None:
        for lines, future in self._waiting:
            first = len(self.lines)
            self.lines += lines
            future.set_result([Position("2026-02-24", 1, n) for n in range(first, len(self.lines))])
        self._waiting = []
        await asyncio.sleep(0)

    async def close(self) -> None:
        await self.sync()


class Door:
    """A spine with all that it needs."""

    def __init__(self, clock: VirtualClock, known: Sequence[str] = ()) -> None:
        self.writer = SlowWriter()
        self.world = World(Scores())
        self.blobs = SimBlobs()
        self.spine = Spine(clock, SeededEntropy(1), self.writer, self.world, Redactor(known), self.blobs, "aios/host")
        self.told: list[Stored] = []
        self.spine.listen(self.told.extend)

    async def say(self, *drafts: Draft) -> list[Event]:
        """Emit, sync, and what stands in the journal of it."""
        before = len(self.writer.lines)
        done = self.spine.emit(*drafts)
        await self.writer.sync()
        await done
        return [decode(line) for line in self.writer.lines[before:]]


def at_the_door(story: Story, known: Sequence[str] = ()) -> None:
    async def main(clock: VirtualClock, _: SeededEntropy) -> None:
        await story(Door(clock, known))

    run_virtual(main)


def draft(type: str = "a.b", **data: Any) -> Draft:
    return Draft(type=type, subject="job:1", data=data)


def test_nothing_counts_before_it_is_durable() -> None:
    """Not applied, not told, not acknowledged: until the journal has it on the disk."""

    async def story(door: Door) -> None:
        done = door.spine.emit(Draft(type="service.down", subject="a.service"))
        await asyncio.sleep(100.0)
        assert (door.world.symptoms, door.told, done.done()) == ({}, [], False)
        await door.writer.sync()
        await done
        assert len(door.world.symptoms) == len(door.told) == 1

    at_the_door(story)


def test_listeners_hear_after_the_whole_batch_was_applied_in_the_order_of_the_journal() -> None:
    """Whoever hears of an event finds it in the world, and its neighbours too."""

    async def story(door: Door) -> None:
        seen: list[tuple[str, int]] = []
        door.spine.listen(lambda stored: seen.extend((one.event.id, len(door.world.undecided)) for one in stored))
        door.spine.emit(Draft(type="x", subject="s", id="1"), Draft(type="x", subject="s", id="2"))
        door.spine.emit(Draft(type="x", subject="s", id="3"))
        await door.writer.sync()
        await asyncio.sleep(0)
        assert seen == [("1", 2), ("2", 2), ("3", 3)]
        assert [one.position for one in door.told] == sorted(one.position for one in door.told)

    at_the_door(story)


def test_who_stops_waiting_does_not_undo() -> None:
    """A cancelled waiter does not keep an event from being applied."""

    async def story(door: Door) -> None:
        done = door.spine.emit(Draft(type="service.down", subject="a.service"))
        done.cancel()
        await door.writer.sync()
        await asyncio.sleep(0)
        assert len(door.world.symptoms) == len(door.told) == 1

    at_the_door(story)


def test_secrets_are_in_neither_journal_nor_world() -> None:
    """Struck out once, before both: by name, by value, by shape, in the subject too."""

    async def story(door: Door) -> None:
        (event,) = await door.say(
            Draft(
                type="service.down",
                subject="url:http://bob:hunter22@host/",
                data={"password": "pw", "said": "the key is sesame-open", "aws": "AKIAABCDEFGHIJKLMNOP"},
            )
        )
        assert event.subject == f"url:http://bob:{REDACTED}@host/"
        assert event.data == {"password": REDACTED, "said": f"the key is {REDACTED}", "aws": REDACTED}
        assert door.told[0].event == event
        assert next(iter(door.world.symptoms))[0] == event.subject
        assert b"hunter22" not in b"".join(door.writer.lines)

    at_the_door(story, known=["sesame-open"])


def test_an_own_event_too_long_for_a_line_goes_on_with_its_longest_fields_in_blobs() -> None:
    """Longest first, and no more than must be: the short ones stay readable."""

    async def story(door: Door) -> None:
        result = {"text": "r" * 3000}
        (event,) = await door.say(draft("daemon.act_done", result=result, evidence=["e" * 70_000], step="s"))
        assert event.data["result"] == result
        named = event.data["evidence"]
        assert decode_json(door.blobs.get(named["blob"])) == ["e" * 70_000]
        assert named["bytes"] == 70_004

    at_the_door(story)


def test_secrets_do_not_get_into_blobs() -> None:
    async def story(door: Door) -> None:
        (event,) = await door.say(draft("daemon.act_done", out={"password": "topsecret", "text": "x" * 70_000}))
        assert b"topsecret" not in door.blobs.get(event.data["out"]["blob"])

    at_the_door(story)


def test_an_own_event_full_of_short_secrets_keeps_its_shape() -> None:
    """Struck out they are longer; what is folded again is never struck out as a whole."""

    async def story(door: Door) -> None:
        many = [{"token": "a"} for _ in range(4500)]
        (event,) = await door.say(draft("daemon.act_done", skill="s", key="k", ok=True, result=many))
        assert (event.data["skill"], event.data["key"], event.data["ok"]) == ("s", "k", True)
        assert set(event.data["result"]) == {"blob", "bytes"}

    at_the_door(story)


@pytest.mark.parametrize(
    "value",
    [2**70, "\ud800", {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, {"odd": object()}],
    ids=["huge", "half-a-character", "deep", "no-json"],
)
def test_an_own_event_that_json_cannot_say_is_said_all_the_same(value: Any) -> None:
    """A skill's odd result ends no daemon."""

    async def story(door: Door) -> None:
        (event,) = await door.say(draft("daemon.act_done", skill="s", result=value))
        assert event.data["skill"] == "s"
        assert door.blobs.get(event.data["result"]["blob"])

    at_the_door(story)


def test_a_foreign_event_that_no_line_can_hold_is_quarantined() -> None:
    """With where it came from, so that the cursor of its file moves past it."""

    async def story(door: Door) -> None:
        origin = "inbox/story@1.2.0:100+70~00000000"
        too_long = Draft(type="a.b", subject="s", data={"x": "y" * LINE_MAX}, origin=origin)
        after = Draft(type="a.b", subject="s", id="neighbour")
        events = await door.say(too_long, after)
        assert [event.type for event in events] == ["journal.quarantined", "a.b"]
        assert events[0].data["file"] == "inbox/story.jsonl"
        assert (events[0].data["offset"], events[0].data["length"]) == (100, 70)
        assert door.world.cursors["story"].offset == 170
        assert "y" * 100 not in str(events[0].data)

    at_the_door(story)


def test_what_a_draft_leaves_out_is_filled_in() -> None:
    async def story(door: Door) -> None:
        (event,) = await door.say(Draft(type="service.down", subject="a.service"))
        assert (event.source, event.severity, event.time) == ("aios/host", "error", event.arrival)
        assert len(event.id) == 32

    at_the_door(story)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("x" * 30_000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(
    type=st.sampled_from(["a.b", "daemon.act_done", "daemon.heartbeat"]),
    data=st.dictionaries(st.sampled_from(["a", "token", "password", "result", "out"]), JSON, max_size=5),
)
def test_whatever_comes_in_a_line_comes_out(type: str, data: dict[str, Any]) -> None:
    """Any data at all: one line that can be read, of the same type or a quarantine; the same in the world's eyes."""

    async def story(door: Door) -> None:
        if type == "daemon.heartbeat":
            data.pop("dealt_with", None)
        (event,) = await door.say(draft(type, **data))
        assert event.type == type or (event.type == "journal.quarantined" and not is_own(type))
        assert door.told[-1].event.id == event.id
        assert len(door.writer.lines[-1]) <= LINE_MAX

    at_the_door(story)
