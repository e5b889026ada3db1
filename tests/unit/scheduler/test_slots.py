"""Slots and locks: at most five at once, the fifth P0's alone, one run on a resource at a time, and nobody starves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios.scheduler.queue import AGEING_S
from aios.scheduler.slots import DEEPEST_PATH, Slots, canonical


def ask(slots: Slots, run: str, priority: int = 2, *resources: str, at: float = 0.0) -> None:
    slots.request(run, priority, frozenset(resources), at)


def test_four_runs_work_and_the_fifth_slot_waits_for_p0() -> None:
    """Of five slots the fifth is P0's alone."""
    slots = Slots()
    for number in range(6):
        ask(slots, f"r{number}", 1, f"unit{number}")
    assert slots.grant(0.0) == ["r0", "r1", "r2", "r3"]
    ask(slots, "urgent", 0, "system")
    assert slots.grant(0.0) == ["urgent"]
    ask(slots, "urgent too", 0, "host")
    assert slots.grant(0.0) == []
    slots.release("r0")
    assert slots.grant(0.0) == ["urgent too"]


def test_two_p0_leave_three_slots_to_the_others() -> None:
    slots = Slots()
    ask(slots, "a", 0)
    ask(slots, "b", 0)
    for number in range(5):
        ask(slots, f"r{number}")
    assert slots.grant(0.0) == ["a", "b", "r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("nginx.service", "nginx.service", False),
        ("nginx.service", "nginx", True),
        ("file:/etc/nginx", "file:/etc/nginx/nginx.conf", False),
        ("file:/etc/nginx/nginx.conf", "file:/etc/nginx", False),
        ("file:/etc/nginx", "file:/etc/nginx-extra", True),
        ("file:/etc/nginx", "file:/etc/nginx/", False),
        ("file:/etc/nginx", "file:/etc//./nginx/../nginx/a", False),
        ("file:/", "file:/var", False),
        ("file:/var", "file:/", False),
        ("file:/etc/a", "file:/etc/b", True),
        ("disk:/var", "file:/var", True),
        ("disk:/var", "disk:/var/log", True),
    ],
)
def test_a_path_locks_everything_below_it(held: str, wanted: str, free: bool) -> None:
    """Equal names conflict, and a folder with all below it, by whole components."""
    slots = Slots()
    ask(slots, "first", 2, held)
    ask(slots, "second", 2, wanted)
    assert ("second" in slots.grant(0.0)) is free
    slots.release("first")
    if not free:
        assert slots.grant(0.0) == ["second"]


def test_all_resources_at_once_or_none() -> None:
    """A run that cannot have everything holds nothing, so two runs never wait for each other."""
    slots = Slots()
    ask(slots, "holder", 2, "a")
    assert slots.grant(0.0) == ["holder"]
    ask(slots, "both", 2, "a", "b")
    assert slots.grant(0.0) == []
    assert [one.run for one in slots.running()] == ["holder"]
    assert slots.holder("both") == "holder"
    slots.release("holder")
    assert slots.grant(0.0) == ["both"]


def test_lower_ones_do_not_starve_a_blocked_request_on_the_same_resource() -> None:
    """While a P1 waits for a and b, a later P3 does not get b before it; what needs neither goes on."""
    slots = Slots()
    ask(slots, "holder", 2, "a")
    slots.grant(0.0)
    ask(slots, "first", 1, "a", "b")
    ask(slots, "thief", 3, "b")
    ask(slots, "bystander", 3, "c")
    assert slots.grant(0.0) == ["bystander"]
    slots.release("holder")
    assert slots.grant(0.0) == ["first"]
    slots.release("first")
    assert slots.grant(0.0) == ["thief"]


def test_what_is_parked_comes_back_when_something_better_asks_for_the_same() -> None:
    """A P0 that comes late is not held up by the claim of a P3 that waits for something else as well."""
    slots = Slots()
    ask(slots, "holder", 2, "a")
    ask(slots, "parked", 3, "a", "b")
    assert slots.grant(0.0) == ["holder"]
    ask(slots, "urgent", 0, "b")
    assert slots.grant(0.0) == ["urgent"]
    slots.release("holder")
    assert slots.grant(0.0) == []
    slots.release("urgent")
    assert slots.grant(0.0) == ["parked"]


def test_who_waits_ages_to_p1_at_most() -> None:
    """An old P3 comes before a younger P1, and never before a P0."""
    slots = Slots(slots=1, reserved_for_p0=0)
    ask(slots, "old", 3, at=0.0)
    ask(slots, "young", 1, at=AGEING_S)
    ask(slots, "urgent", 0, at=2 * AGEING_S)
    assert [one.run for one in slots.waiting(AGEING_S)] == ["urgent", "young", "old"]
    assert [one.run for one in slots.waiting(2 * AGEING_S)] == ["urgent", "old", "young"]


def test_a_run_that_comes_back_keeps_its_place_in_time() -> None:
    """A run that asks again after a retry with its first time stands before those that asked meanwhile."""
    slots = Slots(slots=1, reserved_for_p0=0)
    ask(slots, "new", 2, at=5.0)
    ask(slots, "back", 2, at=1.0)
    assert slots.grant(6.0) == ["back"]


def test_a_request_can_be_withdrawn() -> None:
    slots = Slots()
    ask(slots, "gone", 2, "a")
    assert slots.release("gone")
    assert not slots.release("gone")
    assert slots.grant(0.0) == []


def test_asking_twice_is_a_bug_of_the_caller() -> None:
    slots = Slots()
    ask(slots, "r")
    with pytest.raises(ValueError, match="asked for a slot already"):
        ask(slots, "r")


def test_a_hostile_path_costs_no_more_than_a_deep_one() -> None:
    """Ten thousand components lock an ancestor instead: coarser, so safe."""
    name = canonical("file:" + "/a" * 10_000)
    assert name.count("/") == DEEPEST_PATH
    slots = Slots()
    ask(slots, "deep", 2, "file:" + "/a" * 10_000)
    ask(slots, "beside", 2, "file:" + "/a" * 9_000)
    assert slots.grant(0.0) == ["deep"]


NAMES = st.sampled_from(
    ["a.service", "b.service", "host", "file:/etc", "file:/etc/a", "file:/etc/a/x", "file:/etc/ab", "file:/var", "file:/"]
)


def conflicting(a: str, b: str) -> bool:
    """The law, said plainly."""
    if a == b:
        return True
    if not (a.startswith("file:") and b.startswith("file:")):
        return False
    short, long = sorted((a[5:].rstrip("/"), b[5:].rstrip("/")), key=len)
    return long == short or long.startswith(short + "/")


class SlotsMachine(RuleBasedStateMachine):
    """Any mixture of asking, granting, releasing: limits and locks hold, and everyone gets a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots()
        self.now = 0.0
        self.number = 0
        self.working: dict[str, tuple[int, frozenset[str]]] = {}
        self.asked: dict[str, tuple[int, frozenset[str]]] = {}

    @rule(priority=st.integers(0, 3), names=st.frozensets(NAMES, max_size=3))
    def request(self, priority: int, names: frozenset[str]) -> None:
        self.number += 1
        run = f"r{self.number}"
        self.slots.request(run, priority, names, self.now)
        self.asked[run] = (priority, names)

    @rule()
    def grant(self) -> None:
        for run in self.slots.grant(self.now):
            self.working[run] = self.asked.pop(run)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.working)))
        assert self.slots.release(run)
        del self.working[run]

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.asked)))
        assert self.slots.release(run)
        del self.asked[run]

    @rule(seconds=st.sampled_from([0.5, 61.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def at_most_five_and_the_fifth_for_p0(self) -> None:
        assert len(self.working) <= 5
        assert sum(priority != 0 for priority, _ in self.working.values()) <= 4

    @invariant()
    def locks_are_exclusive(self) -> None:
        held = [(run, name) for run, (_, names) in self.working.items() for name in names]
        assert not [1 for run, a in held for other, b in held if run < other and conflicting(a, b)]

    @invariant()
    def it_agrees_with_us(self) -> None:
        assert {one.run for one in self.slots.running()} == set(self.working)
        assert {one.run for one in self.slots.waiting(self.now)} == set(self.asked)

    def teardown(self) -> None:
        """When those that work end one after the other, everyone gets a turn, and no lock is left behind."""
        for _ in range(len(self.asked) + len(self.working) + 1):
            self.grant()
            for run in list(self.working)[:1]:
                self.slots.release(run)
                del self.working[run]
        assert not self.asked
        for run in list(self.working):
            self.slots.release(run)
        assert not self.slots._locks._held
        assert not self.slots._locks._above
        assert not self.slots._parked
        assert not self.slots._claims._held


TestSlotsLaws = SlotsMachine.TestCase
TestSlotsLaws.settings = settings(max_examples=100, stateful_step_count=30)


@given(flood=st.lists(st.integers(1, 2), min_size=1, max_size=3))
@settings(max_examples=20)
def test_a_flood_of_better_requests_starves_nobody(flood: list[int]) -> None:
    """A P3 among better requests that never end, all on one resource, works within the ageing time and those before it."""
    slots = Slots()
    ask(slots, "patient", 3, "x", at=0.0)
    working = ""
    for second in range(1, 1000):
        for number, priority in enumerate(flood):
            ask(slots, f"{second}.{number}", priority, "x", at=float(second))
        if working:
            slots.release(working)
        (working,) = slots.grant(float(second))
        if working == "patient":
            assert second <= 3 * AGEING_S * len(flood)
            return
    pytest.fail("it never worked")
