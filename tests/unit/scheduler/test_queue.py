"""The queue of waiting events: its order, its bounds, and that nothing is lost or doubled, however full it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios.events.event import Event, Position, Stored
from aios.scheduler.priority import priority, rank
from aios.scheduler.queue import AGEING_S, REPORT_EVERY_S, EventQueue, aged

P0_TYPE, P1_TYPE, P2_TYPE, P3_TYPE, NOT_QUEUED = "score.degraded", "resource.cpu_spike", "service.down", "a.b", "run.opened"


class Journal:
    """A journal in memory, with the two questions that a refill asks."""

    def __init__(self) -> None:
        self.lines: dict[Position, Event] = {}

    def add(self, type: str, severity: str = "info") -> Stored:
        number = len(self.lines)
        position = Position("2026-02-24", 1 + number // 7, number % 7 * 100)
        event = Event(f"e{number}", "t", type, "system", "", {"score": 0.1}, "", severity)
        self.lines[position] = event
        return Stored(event, position)

    def at(self, position: Position) -> Event | None:
        return self.lines.get(position)

    def read(self, after: Position | None = None) -> Iterator[Stored]:
        return (Stored(event, position) for position, event in self.lines.items() if after is None or position > after)

    def refill(self, queue: EventQueue, now: float, limit: int = 256) -> int:
        return queue.refill(self, limit, now, lambda event: event.type != NOT_QUEUED)


def fill(queue: EventQueue, journal: Journal, type: str, count: int, now: float = 0.0, severity: str = "info") -> list[str]:
    stored = [journal.add(type, severity) for _ in range(count)]
    for event, position in stored:
        queue.push(event, position, now)
    return [event.id for event, _ in stored]


def drain(queue: EventQueue, now: float = 0.0) -> list[str]:
    found = []
    while (entry := queue.pop(now)) is not None:
        found.append(entry.event.id)
    return found


def test_the_best_class_comes_first_then_severity_then_who_came_first() -> None:
    """Order: class, severity, arrival."""
    queue, journal = EventQueue(), Journal()
    late = fill(queue, journal, P3_TYPE, 2)
    plain = fill(queue, journal, P2_TYPE, 2, severity="error")
    grave = fill(queue, journal, P2_TYPE, 1, severity="critical")
    alarm = fill(queue, journal, P1_TYPE, 1)
    whole = fill(queue, journal, P0_TYPE, 1)
    assert drain(queue) == whole + alarm + grave + plain + late


def test_what_waits_is_lifted_to_p1_at_most() -> None:
    """After a minute a P3 counts as P2, after two as P1; never as P0, and an older one then comes before a younger P1."""
    queue, journal = EventQueue(), Journal()
    old = fill(queue, journal, P3_TYPE, 1, now=0.0)
    young = fill(queue, journal, P2_TYPE, 1, now=AGEING_S)
    alarm = fill(queue, journal, P1_TYPE, 1, now=2 * AGEING_S)
    whole = fill(queue, journal, P0_TYPE, 1, now=2 * AGEING_S)
    assert drain(queue, now=2 * AGEING_S) == whole + old + young + alarm


def test_before_its_time_nothing_is_lifted() -> None:
    queue, journal = EventQueue(), Journal()
    old = fill(queue, journal, P3_TYPE, 1, now=0.0)
    young = fill(queue, journal, P2_TYPE, 1, now=AGEING_S - 1)
    assert drain(queue, now=AGEING_S - 0.1) == young + old


def test_a_steady_stream_of_better_events_starves_nobody() -> None:
    """One P3 among P2 that come as fast as they are popped is popped within two ageing times."""
    queue, journal = EventQueue(), Journal()
    (patient,) = fill(queue, journal, P3_TYPE, 1)
    fill(queue, journal, P2_TYPE, 30)
    for second in range(1, int(2 * AGEING_S) + 32):
        fill(queue, journal, P2_TYPE, 1, now=second)
        entry = queue.pop(second)
        if entry and entry.event.id == patient:
            return
    pytest.fail("the P3 was never popped")


def test_a_full_queue_spills_p3_then_p2_and_never_p0_or_p1() -> None:
    """Reading never stops: P3 goes to positions first, then P2; alarms stay in memory, in a reserve of their own if need be."""
    queue, journal = EventQueue(capacity=10, reserve=5), Journal()
    fill(queue, journal, P3_TYPE, 5)
    fill(queue, journal, P2_TYPE, 5)
    fill(queue, journal, P1_TYPE, 5)
    assert queue.counts()["P3"] == {"waiting": 0, "spilled": 5}
    fill(queue, journal, P1_TYPE, 5)
    assert queue.counts()["P2"] == {"waiting": 0, "spilled": 5}
    fill(queue, journal, P1_TYPE, 4)
    fill(queue, journal, P0_TYPE, 1)
    assert queue.counts()["P1"] == {"waiting": 14, "spilled": 0}
    assert len(queue) == 15


def test_at_the_extreme_a_further_p1_is_remembered_by_position_and_p0_is_still_taken() -> None:
    """When capacity and reserve hold nothing but P0 and P1, memory stays bounded and still nothing is lost."""
    queue, journal = EventQueue(capacity=10, reserve=5), Journal()
    alarms = fill(queue, journal, P1_TYPE, 40)
    whole = fill(queue, journal, P0_TYPE, 1)
    assert len(queue) == 16
    found = []
    while queue.spilled or len(queue):
        found += drain(queue)
        journal.refill(queue, 0.0)
    assert found == whole + alarms


def test_the_least_severe_and_newest_is_pushed_out_first() -> None:
    queue, journal = EventQueue(capacity=3, reserve=0), Journal()
    grave = fill(queue, journal, P3_TYPE, 1, severity="critical")
    plain = fill(queue, journal, P3_TYPE, 2)
    alarm = fill(queue, journal, P1_TYPE, 1)
    assert drain(queue) == alarm + grave + plain[:1]
    journal.refill(queue, 0.0)
    assert drain(queue) == plain[1:]


def test_nothing_lower_overtakes_what_was_spilled() -> None:
    """While P2 waits in the journal, a new P3 waits behind it even when there is a place free."""
    queue, journal = EventQueue(capacity=4, reserve=0), Journal()
    first = fill(queue, journal, P2_TYPE, 6)
    drained = [queue.pop(0.0), queue.pop(0.0)]
    behind = fill(queue, journal, P3_TYPE, 1)
    assert [entry.event.id for entry in drained if entry] == first[:2]
    journal.refill(queue, 0.0)
    rest = drain(queue)
    journal.refill(queue, 0.0)
    assert rest + drain(queue) == first[2:] + behind


def test_a_million_spilled_events_cost_no_memory_of_their_own() -> None:
    """A flood of one class is one range, however long."""
    queue = EventQueue(capacity=10)
    event = Event("e", "t", P3_TYPE, "host", "", {}, "")
    for number in range(100_000):
        queue.push(event, Position("2026-02-24", 1, number), 0.0)
    assert queue.spilled == 99_990
    assert len(json.dumps(queue.to_json(0.0))) < 2_000


def test_what_cannot_be_read_again_is_counted() -> None:
    """A spilled event that is gone from the journal is said to be missing, and the queue goes on."""
    queue, journal = EventQueue(capacity=2, reserve=0), Journal()
    fill(queue, journal, P3_TYPE, 6)
    fill(queue, journal, P2_TYPE, 1)  # pushes one P3 out: a single position
    gone = [position for position, event in journal.lines.items() if event.id in ("e1", "e3", "e5")]
    for position in gone:
        del journal.lines[position]
    drain(queue)
    missing = 0
    while queue.spilled:
        missing += journal.refill(queue, 0.0)
        drain(queue)
    assert missing == 3


def test_spilling_is_said_once_a_minute_and_class() -> None:
    """`scheduler.spilled` names the class, where it begins and how many; not one event for each that is spilled."""
    queue, journal = EventQueue(capacity=2, reserve=0), Journal()
    fill(queue, journal, P3_TYPE, 12)
    (draft,) = queue.reports(0.0)
    assert draft.type == "scheduler.spilled"
    assert draft.data["priority"] == 3
    assert draft.data["count"] == 10
    Position.parse(draft.data["since"])
    fill(queue, journal, P3_TYPE, 5)
    assert queue.reports(1.0) == []
    assert len(queue.reports(REPORT_EVERY_S)) == 1
    assert queue.reports(2 * REPORT_EVERY_S) == []


def test_a_checkpoint_holds_all_that_is_spilled_and_how_long_it_has_waited() -> None:
    """After a restart what was spilled is read again by its position, and has not become younger; the rest is the world's."""
    queue, journal = EventQueue(capacity=4, reserve=0), Journal()
    pushed_out = fill(queue, journal, P3_TYPE, 4)
    alarms = fill(queue, journal, P1_TYPE, 4)
    ids = pushed_out + fill(queue, journal, P3_TYPE, 6)
    raw = json.loads(json.dumps(queue.to_json(now=AGEING_S)))
    again = EventQueue.from_json(raw, now=5.0)
    assert not any(again.holds(event, position) for position, event in journal.lines.items() if event.id in alarms)
    journal.refill(again, 5.0)
    entry = again.pop(5.0)
    assert entry is not None
    assert aged(rank(entry.event), entry.since, 5.0)[0] == 2
    assert [entry.event.id, *drain(again, 5.0)] == ids


def test_after_a_restart_the_queue_knows_what_it_holds_and_takes_in_what_it_does_not() -> None:
    """An event that was popped before the checkpoint and not decided is offered again, out of turn, and is not lost."""
    queue, journal = EventQueue(capacity=4, reserve=0), Journal()
    ids = fill(queue, journal, P2_TYPE, 9)
    popped = queue.pop(0.0)
    assert popped is not None
    in_memory = set(ids[1:4])
    again = EventQueue.from_json(json.loads(json.dumps(queue.to_json(0.0))), 0.0, capacity=4, reserve=0)
    for position, event in journal.lines.items():
        undecided = event is popped.event or event.id in in_memory
        assert again.holds(event, position) is not undecided
        if undecided:
            again.push(event, position, 0.0)
    ids += fill(again, journal, P2_TYPE, 3)
    found: list[str] = []
    while again.spilled or len(again):
        found += drain(again)
        assert journal.refill(again, 0.0) == 0
    assert sorted(found) == sorted(ids)


def test_an_unknown_version_of_the_state_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        EventQueue.from_json({"version": 99}, 0.0)


class QueueMachine(RuleBasedStateMachine):
    """Any mixture of pushing, popping, refilling, crashing: nothing lost, nothing doubled, memory bounded, order kept."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = EventQueue(capacity=6, reserve=2)
        self.journal = Journal()
        self.now = 0.0
        self.waiting: dict[str, Event] = {}
        self.popped: dict[str, Stored] = {}

    @rule(
        type=st.sampled_from([P1_TYPE, P2_TYPE, P3_TYPE, P3_TYPE, NOT_QUEUED]),
        severity=st.sampled_from(["info", "critical"]),
        count=st.integers(1, 6),
    )
    def push(self, type: str, severity: str, count: int) -> None:
        for _ in range(count):
            event, position = self.journal.add(type, severity)
            if type != NOT_QUEUED:
                self.queue.push(event, position, self.now)
                self.waiting[event.id] = event

    @rule(count=st.integers(1, 8))
    def pop(self, count: int) -> None:
        for _ in range(count):
            heads = [
                aged(place, lane[0].since, self.now) for place, lane in enumerate(self.queue._lanes) if lane
            ]  # white box: the law of order needs to know what is in memory
            entry = self.queue.pop(self.now)
            if entry is None:
                assert not heads
                return
            assert aged(rank(entry.event), entry.since, self.now) == min(heads)
            assert self.waiting.pop(entry.event.id) is entry.event
            self.popped[entry.event.id] = Stored(entry.event, entry.position)

    @precondition(lambda self: self.popped)
    @rule(data=st.data())
    def offer_again(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.popped)))
        event, position = self.popped.pop(name)
        self.queue.push_again(event, position, self.now)
        self.waiting[name] = event

    @precondition(lambda self: self.popped)
    @rule(data=st.data())
    def crash_before_the_decision(self, data: st.DataObject) -> None:
        """What was popped and not decided when a crash came is pushed again, first of all."""
        name = data.draw(st.sampled_from(sorted(self.popped)))
        self.crash()
        event, position = self.popped.pop(name)
        assert not self.queue.holds(event, position)
        self.queue.push(event, position, self.now)
        self.waiting[name] = event

    @rule(limit=st.integers(1, 9))
    def refill(self, limit: int) -> None:
        assert self.journal.refill(self.queue, self.now, limit) == 0

    @rule(seconds=st.sampled_from([1.0, 40.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        raw = json.loads(json.dumps(self.queue.to_json(self.now)))
        self.queue = EventQueue.from_json(raw, self.now, capacity=6, reserve=2)
        for position, event in self.journal.lines.items():  # as the reactor does at start, with what the world calls undecided
            if event.id in self.waiting and not self.queue.holds(event, position):
                self.queue.push(event, position, self.now)

    @invariant()
    def counts_hold(self) -> None:
        assert len(self.queue) + self.queue.spilled == len(self.waiting)
        assert len(self.queue) <= 8
        counts = self.queue.counts()
        for which in range(4):
            expected = sum(priority(event) == which for event in self.waiting.values())
            assert counts[f"P{which}"]["waiting"] + counts[f"P{which}"]["spilled"] == expected

    def teardown(self) -> None:
        for _ in range(1000):
            if not self.waiting:
                break
            self.pop(8)
            self.refill(9)
        assert not self.waiting
        assert self.queue.spilled == len(self.queue) == 0


TestQueueLaws = QueueMachine.TestCase
TestQueueLaws.settings = settings(max_examples=150, stateful_step_count=40)
