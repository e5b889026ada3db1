"""The index finds what asking every playbook in turn would find, in the same order, and says why."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from aios.events.catalogue import is_own
from aios.events.event import Event
from aios.playbooks.index import Index, event_view, order, type_fits
from aios.playbooks.lookup import CROWD
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import EventPattern, compile_pattern
from tests.bench.bench_match import ops_match, sensor_event, types_of, wildcards_match

MOMENT = "2026-02-24T08:00:00.000000Z"


def playbook(name: str, types: tuple[str, ...] = ("a.b",), match: dict[str, Any] | None = None, **more: Any) -> Playbook:
    pattern = compile_pattern(match) if match else None
    return Playbook(name, "", "", "", types, pattern, match or {}, **more)


def event(type_: str = "a.b", subject: str = "s", **data: Any) -> Event:
    return Event("1", "test", type_, subject, MOMENT, data, MOMENT, "error")


def linear(playbooks: list[Playbook], seen: Event) -> list[str]:
    """The reference: every playbook is asked, by its type and then by its pattern over the event as JSON."""
    view = event_view(seen)
    found = [p for p in playbooks if p.enabled and any(type_fits(name, seen.type) for name in p.types)]
    found = [p for p in found if p.pattern is None or p.pattern.matches(view)]
    return [p.name for p in sorted(found, key=lambda p: order(p, seen.type))]


def names(found: list[Playbook]) -> list[str]:
    return [p.name for p in found]


def test_a_thousand_playbooks_are_found_as_one_by_one() -> None:
    """Also with many tables, rows and types; from a seed."""
    chance = random.Random(11)
    playbooks = [_random_playbook(n, chance) for n in range(1000)]
    index = Index(playbooks)
    for _ in range(300):
        data = {f"k{chance.randrange(4)}": chance.choice([1, "v1", "v2", ["v1", "v3"], {"x": "v1"}, None]) for _ in range(3)}
        seen = event(f"t.{chance.randrange(5)}", f"s-{chance.randrange(50)}", **data)
        assert names(index.match(seen)) == linear(playbooks, seen)


def _random_playbook(number: int, chance: random.Random) -> Playbook:
    match: dict[str, Any] = {}
    if chance.random() < 0.7:
        match["subject"] = [chance.choice([f"s-{chance.randrange(50)}", {"prefix": f"s-{chance.randrange(5)}"}])]
    if chance.random() < 0.6:
        match["data"] = {f"k{chance.randrange(4)}": [chance.choice(["v1", "v2", 1, {"suffix": "3"}, {"exists": False}])]}
    types = (chance.choice(["t.*", f"t.{chance.randrange(5)}"]),)
    return playbook(f"p{number}", types, match, priority=chance.randrange(3))


def test_a_wildcard_does_not_reach_own_types() -> None:
    """Bookkeeping does not feed itself: `run.healed` is found by its exact name alone."""
    index = Index([playbook("wild", ("run.*",)), playbook("exact", ("run.healed",))])
    assert is_own("run.healed")
    assert names(index.match(event("run.healed"))) == ["exact"]
    assert not index.candidates("run.opened")
    assert "exact name" in index.explain(event("run.healed"), everything=True)[1]["why"]


def test_a_family_is_any_remainder_and_never_none() -> None:
    """`service.*` fits service.down and service.a.b, but not service and not services.x."""
    assert [t for t in ("a.b", "a.b.c", "a.", "a", "ab.c") if type_fits("a.*", t)] == ["a.b", "a.b.c"]


def test_true_is_not_one() -> None:
    """Python says they are equal and hash alike; a pattern does not."""
    index = Index([playbook("true", match={"data": {"f": [True]}}), playbook("one", match={"data": {"f": [1]}})])
    assert names(index.match(event(f=True))) == ["true"]
    assert names(index.match(event(f=1.0))) == ["one"]
    assert names(index.match(event(f=[1, True]))) == ["one", "true"]


def test_the_best_goes_first() -> None:
    """By priority, then by how narrow it is, then by name."""
    index = Index(
        [
            playbook("a-wide"),
            playbook("b-narrow", match={"subject": ["s"]}),
            playbook("c-prefix", match={"subject": [{"prefix": "s"}]}),
            playbook("d-family", ("a.*",)),
            playbook("e-first", priority=1),
            playbook("f-off", enabled=False),
        ]
    )
    assert names(index.match(event())) == ["e-first", "b-narrow", "c-prefix", "a-wide", "d-family"]


def test_a_list_that_never_ends_costs_no_more_than_asking_in_turn() -> None:
    """An event with thousands of values in several fields does not multiply them."""
    match = {"data": {"f": ["x"], "g": ["x"], "h": ["x"]}}
    index = Index([playbook("p", match=match)])
    many = list(range(5000))
    assert names(index.match(event(f=many, g=many, h=many))) == []
    assert names(index.match(event(f=[*many, "x"], g=[*many, "x"], h="x"))) == ["p"]


def test_types_without_end_do_not_fill_the_memory() -> None:
    """They come from outside; what is remembered of them has a limit."""
    index = Index([playbook("p", ("a.*",))])
    for number in range(10_000):
        assert index.candidates(f"a.{number}")
        assert not index.candidates(f"b.{number}")
    assert len(index._by_type) <= 4096


@pytest.mark.parametrize("everything", [False, True])
def test_explain_names_every_playbook_that_was_considered(everything: bool) -> None:
    """With the condition that said no, and the value it saw."""
    index = Index([playbook("yes"), playbook("no", match={"data": {"n": [{"numeric": [">", 3]}]}}), playbook("other", ("z",))])
    said = {line["playbook"]: line["why"] for line in index.explain(event(n=2), everything)}
    assert said["no"] == "data.n is 2; wanted a number > 3"
    assert said["yes"] == "the type fits, and it asks for nothing more"
    assert ("other" in said) is everything


def mixed(make: Callable[[int, random.Random], dict[str, Any]], size: int, chance: random.Random) -> list[Playbook]:
    return [playbook(f"p{n}", types_of(n), make(n, chance)) for n in range(size)]


@pytest.mark.parametrize("make", [ops_match, wildcards_match])
def test_an_event_meets_few_patterns_however_many_there_are(
    make: Callable[[int, random.Random], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: at five thousand playbooks as at fifty, an event asks two patterns at most on the average."""
    asked: list[EventPattern] = []
    ask = EventPattern.matches_event
    monkeypatch.setattr(EventPattern, "matches_event", lambda self, event: asked.append(self) or ask(self, event))
    for size in (50, 500, 5000):
        chance = random.Random(5)
        index = Index(mixed(make, size, chance))
        asked.clear()
        for number in range(500):
            index.match(sensor_event(number, size, chance))
        assert len(asked) <= 2 * 500, f"{len(asked)} patterns asked by 500 events among {size}"


@pytest.mark.parametrize("make", [ops_match, wildcards_match])
def test_a_playbook_takes_less_than_a_kilobyte_of_the_index(make: Callable[[int, random.Random], dict[str, Any]]) -> None:
    """Its compiled pattern counted in; a hundred thousand of them must fit a daemon that is to be light."""
    chance = random.Random(6)
    written = [(types_of(n), make(n, chance)) for n in range(3000)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    patterns = [compile_pattern(match) for _, match in written]
    compiled = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    books = [Playbook(f"p{n}", "", "", "", types, patterns[n], match) for n, (types, match) in enumerate(written)]
    gc.collect()
    tracemalloc.start()
    index = Index(books)
    gc.collect()
    indexed = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(index.playbooks) == 3000
    assert (compiled + indexed) / 3000 < 1000


@pytest.mark.parametrize(
    "match",
    [
        {"subject": [{"wildcard": "*" + "abcdefghij" * 20 + "*"}]},
        {"data": {f"f{n}": [n] for n in range(1000)}},
        {"data": {"f": [{"numeric": [">", 3]}]}},
        {"data": {"f": [{"exists": False}]}},
    ],
)
def test_a_crowd_that_asks_for_the_same_is_found_whole(match: dict[str, Any]) -> None:
    """What nothing tells apart is not told apart for ever."""
    index = Index([playbook(f"p{n}", match=match) for n in range(CROWD + 4)])
    seen = event(subject="x" + "abcdefghij" * 21, **{f"f{n}": n for n in range(1000)}, f=4)
    found = names(index.match(seen))
    assert found == linear([*index.playbooks], seen)
    assert len(found) == (0 if "f" in match.get("data", {}) and match["data"]["f"] == [{"exists": False}] else CROWD + 4)


def test_a_thousand_playbooks_with_a_field_each_of_their_own_are_found() -> None:
    """An event is asked only about the fields that it has."""
    index = Index([playbook(f"p{n}", match={"data": {f"f{n}": [{"prefix": "a"}], f"g{n}.h": [1]}}) for n in range(1000)])
    assert names(index.match(event(f7="ab", g7={"h": 1}, f8="ab"))) == ["p7"]
    assert names(index.match(event(**{"f9": ["x", "ab"], "g9.h": [1, 2]}))) == ["p9"]
    assert names(index.match(event(f7="ab", g7=[{"h": 2}, {"h": 1}], f9="b"))) == ["p7"]
