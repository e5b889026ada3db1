"""The index finds what asking every playbook in turn would find, in the same order, and says why."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.catalogue import is_own
from aios.events.event import Event
from aios.playbooks.index import Index, event_view, order, type_fits
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import compile_pattern

TYPES = ("a.b", "a.c", "a.b.c", "run.healed", "x")
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


scalars = st.sampled_from(["a", "ab", "abc", "A", "", 0, 1, 1.0, 2, True, False, None, "1", "é"])
texts = st.sampled_from(["a", "ab", "abc", "B", "é"])
bounds = st.sampled_from([[">", 0], [">=", 1, "<", 2], ["=", 1], ["<", 1.5]])
tests = st.one_of(
    scalars,
    st.builds(lambda v: {"prefix": v}, texts),
    st.builds(lambda v: {"suffix": v}, texts),
    st.builds(lambda v: {"equals-ignore-case": v}, texts),
    st.builds(lambda v: {"anything-but": v}, st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3))),
    st.builds(lambda v: {"anything-but": {"prefix": v}}, texts),
    st.builds(lambda v: {"numeric": v}, bounds),
    st.builds(lambda v: {"exists": v}, st.booleans()),
)
leaves = st.lists(tests, min_size=1, max_size=3)
fields = st.sampled_from(["f", "g", "h"])
trees = st.dictionaries(
    fields, st.one_of(leaves, st.dictionaries(fields, leaves, min_size=1, max_size=2)), min_size=1, max_size=3
)
subjects = st.lists(st.one_of(texts, st.builds(lambda v: {"prefix": v}, texts)), min_size=1, max_size=3)
matches = st.fixed_dictionaries({}, optional={"subject": subjects, "data": trees})
families = st.lists(st.sampled_from(["a.b", "a.c", "a.*", "a.b.*", "run.healed", "x"]), min_size=1, max_size=2, unique=True)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(fields, inner, max_size=3)), max_leaves=6
)
events = st.builds(
    lambda t, s, d: Event("1", "test", t, s, MOMENT, d, MOMENT, "error"),
    st.sampled_from(TYPES),
    st.sampled_from(["a", "ab", "abc", "B", "zz"]),
    st.dictionaries(fields, values, max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(families, matches, st.integers(-1, 1), st.booleans()), max_size=12),
    st.lists(events, min_size=1, max_size=5),
)
def test_the_index_finds_what_asking_in_turn_finds(written: list[Any], seen: list[Event]) -> None:
    """The same playbooks, in the same order, for any patterns and any events."""
    playbooks = [
        playbook(f"p{n}", tuple(types), match, priority=priority, enabled=enabled or n % 3 > 0)
        for n, (types, match, priority, enabled) in enumerate(written)
    ]
    index = Index(playbooks)
    for one in seen:
        assert names(index.match(one)) == linear(playbooks, one)
        said = {line["playbook"]: line["matched"] for line in index.explain(one)}
        assert sorted(name for name, matched in said.items() if matched) == sorted(linear(playbooks, one))


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
    assert len(index._groups) <= 2


@pytest.mark.parametrize("everything", [False, True])
def test_explain_names_every_playbook_that_was_considered(everything: bool) -> None:
    """With the condition that said no, and the value it saw."""
    index = Index([playbook("yes"), playbook("no", match={"data": {"n": [{"numeric": [">", 3]}]}}), playbook("other", ("z",))])
    said = {line["playbook"]: line["why"] for line in index.explain(event(n=2), everything)}
    assert said["no"] == "data.n is 2; wanted a number > 3"
    assert said["yes"] == "the type fits, and it asks for nothing more"
    assert ("other" in said) is everything
