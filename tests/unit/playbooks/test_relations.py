"""Who is watched and who suffers with whom: what the journal is told, and what is folded of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest

from aios.events.codec import LINE_MAX, decode_json, encode_json
from aios.playbooks.relations import PAIRS_MAX, WATCHED_MAX, Relations

DAY = "2026-02-24"


def told(
    known: Relations, watched: Iterable[str], sufferers: Mapping[str, Iterable[str]], day: str = DAY
) -> list[dict[str, Any]]:
    """Tell and fold what is seen."""
    news = known.news(watched, sufferers, day)
    for data in news:
        known.apply(data, day)
    return news


def test_the_first_time_all_is_told_and_then_only_what_is_new() -> None:
    known = Relations()
    assert told(known, ["a", "b"], {"a": ["b"]}) == [{"afresh": True, "watched": ["a", "b"], "sufferers": {"a": ["b"]}}]
    assert told(known, ["a", "b"], {"a": ["b"]}) == []
    assert told(known, ["a", "b", "c"], {"a": ["b"], "b": ["c"]}) == [
        {"afresh": False, "watched": ["c"], "sufferers": {"b": ["c"]}}
    ]


def test_who_does_not_suffer_any_more_is_told() -> None:
    """Of a subject that lost one of several, and of one that lost all."""
    known = Relations()
    told(known, [], {"a": ["b", "c"], "d": ["e"]})
    told(known, [], {"a": ["c"]})
    assert known.sufferers == {"a": frozenset("c")}
    assert known.suffers("c", of="a")
    assert not known.suffers("b", of="a")


def test_on_another_day_all_is_told_again_and_what_is_gone_is_forgotten() -> None:
    """So what is kept of the journal always holds it; units that come and go by the hour are told of once a day."""
    known = Relations()
    told(known, ["a", "b"], {"a": ["b"]})
    assert told(known, ["b"], {"a": ["b"]}) == []
    assert known.watched == {"a", "b"}
    told(known, ["b"], {}, "2026-02-25")
    assert (known.watched, known.sufferers) == ({"b"}, {})


def test_what_is_told_again_says_the_same() -> None:
    known, other = Relations(), Relations()
    told(known, ["a", "b"], {"a": ["b", "c"]})
    for data in known.again():
        other.apply(data, DAY)
    assert other == known == Relations.from_json(decode_json(encode_json(known.to_json())))


@pytest.mark.parametrize("seed", range(20))
def test_however_it_changes_what_is_folded_is_what_is_seen(seed: int) -> None:
    """Random machines, one after the other."""
    chance, known = Random(seed), Relations()
    for _ in range(10):
        names = [f"u{n}.service" for n in range(chance.randrange(1, 40))]
        sufferers = {one: chance.sample(names, chance.randrange(len(names))) for one in names if chance.random() < 0.5}
        told(known, names, sufferers)
        assert known.sufferers == {one: frozenset(them) for one, them in sufferers.items() if them}, f"seed {seed}"
        assert known.watched >= set(names), f"seed {seed}"


def test_a_machine_of_very_many_long_names_is_bounded_and_each_event_fits_a_line() -> None:
    """What is left out is the last by name; what is told is folded whole."""
    long = [f"{n:05d}" + "é" * 245 for n in range(5000)]
    known = Relations()
    news = told(known, long, dict.fromkeys(long, long[:100]))
    assert all(len(encode_json(data)) < LINE_MAX // 2 for data in news)
    assert len(known.watched) == WATCHED_MAX
    assert sum(map(len, known.sufferers.values())) == PAIRS_MAX
    assert told(known, long, dict.fromkeys(long, long[:100])) == []
    assert told(Relations(), ["x" * 300], {"y": ["x" * 300]}) == [{"afresh": True, "watched": [], "sufferers": {}}]
