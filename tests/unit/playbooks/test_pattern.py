"""Event patterns say the same as the field's own language, and what is written wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aios.events.event import Event
from aios.playbooks.index import Index
from aios.playbooks.model import Playbook
from aios.playbooks.pattern import BadPattern, compile_pattern
from aios.playbooks.pattern_errors import pattern_errors
from tests.unit.playbooks.pattern_reference import MOMENT, Rule, flatten

EVENT: dict[str, Any] = {
    "subject": "nginx.service",
    "severity": "error",
    "data": {
        "n": 2, "f": 2.0, "yes": True, "null": None, "text": "Hello", "list": [1, "a", True], "empty": [],
        "rows": [{"kind": "disk", "used": 95, "why": "logs", "and": 1, "zand": 1},
                 {"kind": "cpu", "used": 10}], "one": {"two": {"three": 3}},
        "street": "Straße", "star": "a*b", "big": 2**53 + 1, "ip": "10.0.0.7", "ip6": "2001:DB8:0:0::1",
        "nested": [[1], [[3]]], "cpu.load": 5,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "matches"),
    [
        # plain values
        ({"n": [2]}, True), ({"n": [2.0]}, True), ({"f": [2]}, True), ({"n": ["2"]}, False), ({"n": [1, 2]}, True),
        ({"yes": [True]}, True), ({"yes": [1]}, False), ({"yes": [1.0]}, False), ({"n": [True]}, False), ({"null": [None]}, True),
        ({"missing": [None]}, False), ({"null": [False]}, False), ({"text": ["hello"]}, False),
        ({"text": [{"exactly": "Hello"}]}, True),
        # parts of a text
        ({"text": [{"equals-ignore-case": "hELLO"}]}, True), ({"street": [{"equals-ignore-case": "STRASSE"}]}, True),
        ({"text": [{"prefix": "He"}]}, True), ({"text": [{"prefix": "he"}]}, False), ({"text": [{"prefix": ""}]}, True),
        ({"text": [{"prefix": {"equals-ignore-case": "hE"}}]}, True),
        ({"text": [{"suffix": {"equals-ignore-case": "LO"}}]}, True),
        ({"text": [{"suffix": "lo"}]}, True), ({"n": [{"prefix": "2"}]}, False), ({"n": [{"prefix": ""}]}, False),
        ({"text": [{"wildcard": "H*o"}]}, True), ({"text": [{"wildcard": "*ell*"}]}, True),
        ({"text": [{"wildcard": "H*l*l*o"}]}, True),
        ({"text": [{"wildcard": "*"}]}, True), ({"text": [{"wildcard": "Hell*lo"}]}, False),
        ({"text": [{"wildcard": "Hello"}]}, True),
        ({"text": [{"wildcard": "h*"}]}, False), ({"n": [{"wildcard": "*"}]}, False),
        ({"text": [{"wildcard": "*l*l*l*"}]}, False),
        ({"star": [{"wildcard": "a\\*b"}]}, True), ({"star": [{"wildcard": "a\\\\*"}]}, False),
        ({"text": [{"wildcard": "a\\*b"}]}, False),
        # numbers
        ({"n": [{"numeric": [">", 1]}]}, True), ({"n": [{"numeric": [">", 2]}]}, False),
        ({"n": [{"numeric": [">=", 2, "<", 3]}]}, True), ({"n": [{"numeric": [">", 2, "<=", 3]}]}, False),
        ({"n": [{"numeric": ["=", 2.0]}]}, True), ({"yes": [{"numeric": ["=", 1]}]}, False),
        ({"text": [{"numeric": [">", 0]}]}, False), ({"missing": [{"numeric": [">", 0]}]}, False), ({"big": [2**53]}, False),
        # addresses
        ({"ip": [{"cidr": "10.0.0.0/8"}]}, True), ({"ip": [{"cidr": "10.1.0.0/16"}]}, False),
        ({"text": [{"cidr": "0.0.0.0/0"}]}, False),
        ({"ip": [{"cidr": "10.0.0.6/31"}]}, True), ({"ip": ["010.0.0.7"]}, True), ({"ip": ["::ffff:a00:7"]}, True),
        ({"ip6": ["2001:0db8::1"]}, True), ({"ip6": [{"cidr": "2001:db8::/32"}]}, True),
        ({"ip6": [{"cidr": "0.0.0.0/0"}]}, False),
        ({"ip": [{"exactly": "10.0.0.7"}]}, True), ({"ip": [{"exactly": "010.0.0.7"}]}, False),
        ({"ip6": ["2001:db8::2"]}, False), ({"n": [{"cidr": "0.0.0.0/0"}]}, False),
        # what is there
        ({"n": [{"exists": True}]}, True), ({"missing": [{"exists": True}]}, False), ({"missing": [{"exists": False}]}, True),
        ({"null": [{"exists": True}]}, True), ({"empty": [{"exists": True}]}, False), ({"empty": [{"exists": False}]}, True),
        ({"one": {"two": [{"exists": True}]}}, False), ({"one": {"two": [{"exists": False}]}}, True),
        ({"one": {"none": {"x": [{"exists": False}]}}}, True), ({"n": {"x": [{"exists": False}]}}, True),
        # the opposite
        ({"n": [{"anything-but": 2}]}, False), ({"n": [{"anything-but": [1, 3]}]}, True), ({"n": [{"anything-but": "2"}]}, True),
        ({"yes": [{"anything-but": 1}]}, True), ({"null": [{"anything-but": "x"}]}, True),
        ({"f": [{"anything-but": [2]}]}, False),
        ({"missing": [{"anything-but": "x"}]}, False), ({"empty": [{"anything-but": "x"}]}, False),
        ({"one": [{"anything-but": "x"}]}, False),
        ({"text": [{"anything-but": {"prefix": "He"}}]}, False), ({"text": [{"anything-but": {"suffix": ["x", "y"]}}]}, True),
        ({"text": [{"anything-but": {"suffix": ["x", "lo"]}}]}, False), ({"n": [{"anything-but": {"prefix": "x"}}]}, True),
        ({"text": [{"anything-but": {"wildcard": "*ll*"}}]}, False),
        ({"text": [{"anything-but": {"wildcard": ["*x*", "y*"]}}]}, True),
        ({"text": [{"anything-but": {"equals-ignore-case": "HELLO"}}]}, False),
        ({"text": [{"anything-but": {"equals-ignore-case": ["a", "b"]}}]}, True),
        # lists
        ({"list": ["a"]}, True), ({"list": ["b"]}, False), ({"list": [True]}, True), ({"list": [{"anything-but": "a"}]}, True),
        ({"nested": [3]}, True), ({"rows": {"kind": ["disk"], "used": [95]}}, True),
        ({"rows": {"kind": ["disk"], "used": [10]}}, False),
        ({"rows.kind": ["disk"], "rows.used": [10]}, False), ({"rows": {"used": [{"numeric": [">", 90]}]}}, True),
        ({"rows": {"kind": ["cpu"], "why": [{"exists": False}]}}, True),
        ({"rows": {"kind": ["disk"], "why": [{"exists": False}]}}, False),
        ({"rows": {"already": [{"exists": False}], "kind": ["cpu"]}}, True),
        ({"rows": {"and": [{"exists": False}], "kind": ["cpu"]}}, False),
        ({"rows": {"zand": [{"exists": False}], "kind": ["cpu"]}}, True),
        ({"rows": {"why": [{"exists": False}]}}, False), ({"rows": {"what": [{"exists": False}]}}, True),
        ({"rows": {"kind": ["cpu"]}, "list": ["a"]}, True),
        # steps
        ({"one": {"two": {"three": [3]}}}, True), ({"one.two.three": [3]}, True), ({"one": {"two.three": [3]}}, True),
        ({"cpu.load": [5]}, True), ({"cpu": {"load": [5]}}, True), ({"cpu": {"load": [6]}}, False),
        ({"cpu": {"load": [{"exists": False}]}}, False),
        ({"n": {"x": [1]}}, False), ({"n": [3, {"exists": True}]}, True),
        # either
        ({"$or": [{"n": [3]}, {"text": ["Hello"]}]}, True), ({"$or": [{"n": [3]}, {"text": ["x"]}]}, False),
        ({"yes": [True], "$or": [{"n": [3]}, {"n": [2]}]}, True), ({"yes": [False], "$or": [{"n": [3]}, {"n": [2]}]}, False),
        ({"rows": {"$or": [{"kind": ["disk"], "used": [10]}, {"kind": ["cpu"], "used": [10]}]}}, True),
        ({"$or": [{"n": [3]}, {"$or": [{"n": [4]}, {"n": [2]}]}]}, True),
        ({"n": [7], "$or": [{"n": [2]}, {"text": ["x"]}]}, True), ({"$or": [{"n": [2]}, {"text": ["Hello"]}], "n": [7]}, False),
    ],
)  # fmt: skip
def test_a_pattern_matches_by_the_fields_own_rules(data: dict[str, Any], matches: bool) -> None:
    """True is no number, 2 is 2.0, a list matches by its elements, and two fields of a list's mappings by the same one."""
    pattern = compile_pattern({"data": data})
    assert pattern.matches(EVENT) is matches
    assert (pattern.describe(EVENT) == "every condition holds") is matches


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        (
            {"subject": ["a.service", {"prefix": "b"}]},
            'subject is "nginx.service"; wanted "a.service" or text that begins with "b"',
        ),
        ({"data": {"n": [{"numeric": [">", 3, "<=", 9]}]}}, "data.n is 2; wanted a number > 3 and <= 9"),
        ({"data": {"missing": [1]}}, "data.missing is missing; wanted 1"),
        ({"subject": ["nginx.service"], "data": {"yes": [False]}}, "data.yes is true; wanted false"),
        ({"data": {"list": ["z"]}}, 'data.list is 1, "a", true; wanted "z"'),
        ({"data": {"text": [{"wildcard": "a*\\\\*"}]}}, 'data.text is "Hello"; wanted text like "a*\\\\*"'),
        ({"data": {"ip": [{"cidr": "10.1.0.0/16"}]}}, 'data.ip is "10.0.0.7"; wanted an address in 10.1.0.0/16'),
        (
            {"data": {"text": [{"anything-but": {"prefix": ["x", "H"]}}]}},
            'data.text is "Hello"; wanted anything but text that begins with "x", text that begins with "H"',
        ),
        (
            {"data": {"text": [{"suffix": {"equals-ignore-case": "X"}}, {"equals-ignore-case": "Y"}]}},
            'data.text is "Hello"; wanted text that ends with "x" in any case or "y" in any case',
        ),
        ({"data": {"one": {"two": [{"exists": True}]}}}, 'data.one.two is {"three":3}; wanted the field to be there'),
        ({"data": {"cpu": {"load": [6]}}}, "data.cpu.load is 5; wanted 6"),
        ({"data": {"n": [{"anything-but": [1, 2]}]}}, "data.n is 2; wanted anything but 1, 2"),
        ({"data": {"n": [{"exists": False}]}}, "data.n is 2; wanted the field to be missing"),
        (
            {"$or": [{"data": {"n": [3]}}, {"subject": ["a"]}]},
            'none of the 2 alternatives holds: data.n is 2; wanted 3; subject is "nginx.service"; wanted "a"',
        ),
        (
            {"data": {"rows": {"kind": ["disk"], "used": [10]}}},
            "each condition holds for some element of a list, but all of them for none: "
            'data.rows.kind is "disk", "cpu", wanted "disk"; data.rows.used is 95, 10, wanted 10',
        ),
    ],
)
def test_a_pattern_explains_which_condition_said_no(match: dict[str, Any], sentence: str) -> None:
    """With the value that it saw."""
    assert compile_pattern(match).describe(EVENT) == sentence


@pytest.mark.parametrize(
    ("match", "where", "message"),
    [
        ({}, (), "empty mapping"),
        ({"data": {"a": 1}}, ("data", "a"), "must be a list"),
        ({"data": {"a": []}}, ("data", "a"), "empty list"),
        ({"data": {}}, ("data",), "empty mapping"),
        ({"data": {"a": [[1]]}}, ("data", "a", 0), "a list inside"),
        ({"data": {"a": [{}]}}, ("data", "a", 0), "one operator"),
        ({"data": {"a": [float("nan")]}}, ("data", "a", 0), "no event holds"),
        ({"data": {"a": [{"prefix": "a", "suffix": "b"}]}}, ("data", "a", 0), "one operator"),
        ({"data": {"a": [{"prefix": 1}]}}, ("data", "a", 0, "prefix"), "takes a text"),
        ({"data": {"a": [{"prefix": ["a", "b"]}]}}, ("data", "a", 0, "prefix"), "takes a text"),
        ({"data": {"a": [{"prefix": {"wildcard": "b"}}]}}, ("data", "a", 0, "prefix"), "only equals-ignore-case"),
        ({"data": {"a": [{"suffix": {"equals-ignore-case": ["b"]}}]}},
         ("data", "a", 0, "suffix", "equals-ignore-case"), "a text"),
        ({"data": {"a": [{"exists": "yes"}]}}, ("data", "a", 0, "exists"), "true or false"),
        ({"data": {"a": [{"wildcard": "a**b"}]}}, ("data", "a", 0, "wildcard"), "two stars"),
        ({"data": {"a": [{"wildcard": "a\\b"}]}}, ("data", "a", 0, "wildcard"), "escapes nothing"),
        ({"data": {"a": [{"wildcard": "a\\"}]}}, ("data", "a", 0, "wildcard"), "escapes nothing"),
        ({"data": {"a": [{"wildcard": 3}]}}, ("data", "a", 0, "wildcard"), "takes a text"),
        ({"data": {"a": [{"anything-but": []}]}}, ("data", "a", 0, "anything-but"), "without a value"),
        ({"data": {"a": [{"anything-but": True}]}}, ("data", "a", 0, "anything-but"), "not true"),
        ({"data": {"a": [{"anything-but": ["a", None]}]}}, ("data", "a", 0, "anything-but", 1), "not null"),
        ({"data": {"a": [{"anything-but": ["a", 1]}]}}, ("data", "a", 0, "anything-but"), "texts and numbers"),
        ({"data": {"a": [{"anything-but": [["a"]]}]}}, ("data", "a", 0, "anything-but", 0), "plain values"),
        ({"data": {"a": [{"anything-but": {"cidr": "x"}}]}}, ("data", "a", 0, "anything-but"), "only prefix"),
        ({"data": {"a": [{"anything-but": {"prefix": "x", "suffix": "y"}}]}}, ("data", "a", 0, "anything-but"), "only prefix"),
        ({"data": {"a": [{"anything-but": {"prefix": ["x", ""]}}]}}, ("data", "a", 0, "anything-but", "prefix"), "empty prefix"),
        ({"data": {"a": [{"anything-but": {"wildcard": []}}]}}, ("data", "a", 0, "anything-but", "wildcard"), "empty list"),
        ({"data": {"a": [{"anything-but": {"wildcard": ["x", "**"]}}]}},
         ("data", "a", 0, "anything-but", "wildcard"), "two stars"),
        ({"data": {"a": [{"anything-but": {"suffix": 3}}]}}, ("data", "a", 0, "anything-but", "suffix"), "takes a text"),
        ({"data": {"a": [{"numeric": [">"]}]}}, ("data", "a", 0, "numeric"), "one or two comparisons"),
        ({"data": {"a": [{"numeric": [">", 1, "<", 2, "<", 3]}]}}, ("data", "a", 0, "numeric"), "one or two comparisons"),
        ({"data": {"a": [{"numeric": ["==", 1]}]}}, ("data", "a", 0, "numeric", 0), "no comparison"),
        ({"data": {"a": [{"numeric": [">", "1"]}]}}, ("data", "a", 0, "numeric", 1), "no number"),
        ({"data": {"a": [{"numeric": [">", True]}]}}, ("data", "a", 0, "numeric", 1), "no number"),
        ({"data": {"a": [{"numeric": [">", float("inf")]}]}}, ("data", "a", 0, "numeric", 1), "no number"),
        ({"data": {"a": [{"numeric": [">", 1, ">=", 2]}]}}, ("data", "a", 0, "numeric", 2), "one from below"),
        ({"data": {"a": [{"numeric": ["<", 2, ">", 1]}]}}, ("data", "a", 0, "numeric", 2), "one from below"),
        ({"data": {"a": [{"numeric": ["=", 1, "<", 2]}]}}, ("data", "a", 0, "numeric", 2), "one from below"),
        ({"data": {"a": [{"numeric": [">=", 1, "<=", 1]}]}}, ("data", "a", 0, "numeric"), "no number can be both"),
        ({"data": {"a": [{"cidr": "10.0.0.0"}]}}, ("data", "a", 0, "cidr"), "no network"),
        ({"data": {"a": [{"cidr": "10.0.0.256/8"}]}}, ("data", "a", 0, "cidr"), "no network"),
        ({"data": {"a": [{"cidr": "10.0.0.1/33"}]}}, ("data", "a", 0, "cidr"), "no network"),
        ({"data": {"a": [{"cidr": "10.0.0.1/32"}]}}, ("data", "a", 0, "cidr"), "one address"),
        ({"$or": {"subject": ["a"]}}, ("$or",), "at least two"),
        ({"$or": [{"subject": ["a"]}]}, ("$or",), "at least two"),
        ({"$or": [{"subject": ["a"]}, ["b"]]}, ("$or", 1), "mappings only"),
        ({"$or": [{"subject": ["a"]}, {}]}, ("$or", 1), "empty mapping"),
        ({"data": {"a": {"$or": [{"prefix": ["x"]}, {"b": [1]}]}}}, ("data", "a", "$or", 0, "prefix"), "inside the list"),
        ({"$or": [{"subject": ["a"]}, {"subject": ["b"]}],
         "data": {f"${n}": {"$or": [{"a": [1]}, {"b": [1]}]} for n in range(8)}},
         ("data", "$6", "$or"), "too much"),
        ({"data": {"a": {"prefix": "x"}}}, ("data", "a", "prefix"), "is an operator"),
        ({"data": {"a": {"numeric": [">", 2]}}}, ("data", "a", "numeric"), "is an operator"),
        ({"data": {"a": {"anything-but": ["x"]}}}, ("data", "a", "anything-but"), "is an operator"),
        ({"data": {"a": [{"regexp": "x"}]}}, ("data", "a", 0, "regexp"), "unknown operator"),
        ({"data": {"a": [{"shellstyle": "x*"}]}}, ("data", "a", 0, "shellstyle"), "unknown operator"),
        ({"data": {"a": [{"prefixx": "x"}]}}, ("data", "a", 0, "prefixx"), "unknown operator"),
        ({"data": {"a": list(range(1001))}}, ("data", "a"), "more than 1000"),
        ({"data": {"." * 40: [1]}}, ("data", "." * 40), "more than 32 steps"),
        ({"data": {f"f{n}": [1] for n in range(1100)}}, ("data", "f1024"), "more than 1024 fields"),
        ({"data": {f"f{n}": [1] for n in range(600)}, "$or": [{"subject": ["a"]}, {"subject": ["b"]}]}, ("$or",), "too much"),
    ],
)  # fmt: skip
def test_a_wrong_pattern_is_refused_with_its_place(match: dict[str, Any], where: tuple[Any, ...], message: str) -> None:
    """What an operator means is never guessed."""
    with pytest.raises(BadPattern) as caught:
        compile_pattern(match)
    assert caught.value.where == where
    assert message in caught.value.message
    assert caught.value.hint


WRONG_ALL_OVER: dict[str, Any] = {
    "$or": [
        {"subject": [{"prefx": "a"}, "fine", {"prefix": 5}]},
        {"data": {"n": [{"numeric": [">", 3, "<", 1]}, {"numeric": [">=", "a"]}], "prefix": ["x"], "none": [], "m": {}, "q": 5}},
        {},
        5,
    ],
    "data": {"$or": [{"a": [1]}], "b": {"prefix": "x"}, "c": [[1], {"exists": "yes"}]},
}


def test_all_that_is_wrong_with_a_pattern_is_found_at_once() -> None:
    """Each in its own place, and nothing that is only wrong because something else was."""
    found = [(error.where, error.message) for error in pattern_errors(WRONG_ALL_OVER)]
    at = ("$or", 1, "data")
    assert found == [
        (("$or", 0, "subject", 0, "prefx"), "unknown operator 'prefx'"),
        (("$or", 0, "subject", 2, "prefix"), "prefix takes a text"),
        ((*at, "n", 0, "numeric"), "no number can be both"),
        ((*at, "n", 1, "numeric", 1), '"a" is no number'),
        ((*at, "prefix"), "'prefix' is an operator and stands inside the list of a field"),
        ((*at, "none"), "an empty list matches nothing"),
        ((*at, "m"), "an empty mapping matches nothing that could be said"),
        ((*at, "q"), "q must be a list of values"),
        (("$or", 2), "an empty mapping matches nothing that could be said"),
        (("$or", 3), "$or takes mappings only"),
        (("data", "$or"), "$or takes a list of at least two mappings"),
        (("data", "b", "prefix"), "'prefix' is an operator and stands inside the list of values"),
        (("data", "c", 0), "a list inside the list of values"),
        (("data", "c", 1, "exists"), "exists takes true or false"),
    ]
    assert pattern_errors({"subject": ["a"]}) == []
    assert len(pattern_errors({"data": {f"f{n}": [1] for n in range(2000)}})) == 1
    assert len(pattern_errors({"data": {"f": [[n] for n in range(900)]}})) == 20


def test_a_field_may_bear_an_operators_name() -> None:
    """A list that holds no comparison is a list of values, as in the field's own language."""
    pattern = compile_pattern({"data": {"prefix": ["a"], "exists": ["b"], "numeric": [3]}})
    assert pattern.matches({"data": {"prefix": "a", "exists": "b", "numeric": 3}})


@pytest.mark.parametrize(
    ("data", "matches"),
    [
        ({"a": {"b": 1, "c": 2}}, True),
        ({"a.b": 1, "a.c": 2}, True),
        ({"a.b": 1, "a": {"c": 2}}, True),
        ({"a": [{"b": 1}, {"c": 2}], "a.c": 2}, True),
        ({"a": [{"b": 1}, {"c": 2}]}, False),
        ({"a": [{"b": 1, "c": 3}], "a.c": 3}, False),
    ],
)
def test_a_dot_in_a_name_is_a_step(data: dict[str, Any], matches: bool) -> None:
    """Written as one name or as two, also both ways in one event."""
    assert compile_pattern({"data": {"a": {"b": [1], "c": [2]}}}).matches({"data": data}) is matches


def test_a_field_may_have_values_and_fields() -> None:
    """A list may hold both a text and mappings."""
    pattern = compile_pattern({"a": ["x"], "a.b": [1]})
    assert pattern.matches({"a": ["x", {"b": 1}]})
    assert not pattern.matches({"a": [["x"], {"b": 1}]})
    assert not pattern.matches({"a": {"b": 1}})


def test_an_event_whose_lists_multiply_without_end_is_answered_soon() -> None:
    """With names that have dots it goes the slow way, which tries no more than so many choices."""
    pattern = compile_pattern({"data": {f"x{n}": {"a": [1], "b": [2]} for n in range(6)}})
    lists = {f"x{n}": [{"a": 1} for _ in range(40)] for n in range(6)}
    assert not pattern.matches({"data": {**lists, "x0.c": 1, "x5.b": [2]}})


def test_the_weight_of_a_pattern_is_that_of_its_widest_alternative() -> None:
    """What decides which of several playbooks is the more special."""
    narrow = compile_pattern({"subject": ["a"], "data": {"n": [1]}})
    wide = compile_pattern({"$or": [{"subject": ["a"], "data": {"n": [1]}}, {"subject": [{"wildcard": "a*"}]}]})
    assert narrow.weight > wide.weight


LONG = "x" * 30_000 + "needle" + "y" * 30_000


@pytest.mark.parametrize(
    ("match", "seen", "matches"),
    [
        # numbers are compared, not read
        ({"n": [1e2]}, {"n": 100}, True), ({"n": [0]}, {"n": -0.0}, True), ({"n": [0.3]}, {"n": 0.1 + 0.2}, False),
        ({"n": [{"numeric": ["=", 5e-324]}]}, {"n": 5e-324}, True), ({"n": [{"numeric": [">", 0]}]}, {"n": 5e-324}, True),
        ({"n": [2**63 - 1]}, {"n": 2**63 - 2}, False), ({"n": [{"numeric": ["<", 2**53 + 1]}]}, {"n": float(2**53)}, True),
        ({"n": [{"anything-but": [1]}]}, {"n": 1.0}, False), ({"n": [{"anything-but": ["1"]}]}, {"n": 1}, True),
        ({"n": [{"numeric": [">=", -5e9, "<=", 5e9]}]}, {"n": 5_000_000_000}, True),
        ({"n": [{"numeric": [">", 5e9]}]}, {"n": 5_000_000_000.000001}, True),
        # several entries of one field are alternatives, also opposite ones
        ({"n": [{"anything-but": "a"}, {"anything-but": "b"}]}, {"n": "a"}, True),
        ({"n": [{"exists": False}, {"prefix": "a"}]}, {"n": "b"}, False),
        ({"n": [{"exists": False}, "a"]}, {}, True), ({"n": [None]}, {}, False), ({"n": [""]}, {"n": ""}, True),
        # lists: one element decides, however deep; an empty one is nothing
        ({"a": {"b": [1]}}, {"a": [[{"b": 2}], [[{"b": 1}]]]}, True),
        ({"a": {"b": [1], "c": [2]}}, {"a": [[{"b": 1}, {"c": 2}]]}, False),
        ({"a": {"b": [1], "c": [2]}}, {"a": [[{"b": 1}], [{"b": 1, "c": 2}]]}, True),
        ({"a": {"b": [1], "c": {"d": [2]}}}, {"a": [{"b": 1, "c": [{"d": 1}, {"d": 2}]}]}, True),
        ({"a": {"b": [1], "c": {"d": [2], "e": [3]}}}, {"a": [{"b": 1, "c": [{"d": 2}, {"e": 3}]}]}, False),
        ({"a": [{"anything-but": "x"}]}, {"a": ["x", "x"]}, False), ({"a": [{"anything-but": "x"}]}, {"a": [[], {}]}, False),
        ({"a": [{"exists": False}]}, {"a": [[], {}]}, True), ({"a": [{"exists": True}]}, {"a": [[None]]}, True),
        ({"a": {"b": [1]}, "c": {"d": [2]}}, {"a": [{"b": 0}, {"b": 1}], "c": [{"d": 2}, {"d": 0}]}, True),
        # texts of any script, and long ones
        ({"t": [{"prefix": "名"}]}, {"t": "名前"}, True),
        ({"t": [{"suffix": {"equals-ignore-case": "ÄRGER"}}]}, {"t": "kein ärger"}, True),
        ({"t": [{"wildcard": "*😀*"}]}, {"t": "a😀b"}, True), ({"t": ["é"]}, {"t": "e\u0301"}, False),
        ({"t": [{"wildcard": "x*needle*y"}]}, {"t": LONG}, True), ({"t": [{"wildcard": "*needle*needle*"}]}, {"t": LONG}, False),
        ({"t": [{"wildcard": ""}]}, {"t": ""}, True), ({"t": [{"wildcard": ""}]}, {"t": "a"}, False),
        ({"t": [{"anything-but": {"wildcard": ""}}]}, {"t": ""}, False), ({"t": [{"wildcard": "a*a"}]}, {"t": "a"}, False),
        # `$or` inside and beside
        ({"a": {"$or": [{"b": [1]}, {"c": [2]}], "d": [3]}}, {"a": {"c": 2, "d": 3}}, True),
        ({"a": {"$or": [{"b": [1]}, {"c": [2]}], "d": [3]}}, {"a": {"b": 1}}, False),
        ({"a": {"$or": [{"b": [1], "c": [2]}, {"e": [9]}]}}, {"a": [{"b": 1}, {"c": 2}]}, False),
        ({"$or": [{"a": [1]}, {"b": [1]}], "c": {"$or": [{"d": [1]}, {"e": [1]}]}}, {"b": 1, "c": {"e": 1}}, True),
    ],
)  # fmt: skip
def test_pattern_index_and_the_linear_matcher_say_the_same(match: dict[str, Any], seen: dict[str, Any], matches: bool) -> None:
    """Further cases, read from the language's own pages and not from its tests."""
    data = {"data": match}
    event = Event("1", "test", "a.b", "host", MOMENT, seen, MOMENT)
    assert compile_pattern(match).matches(seen) is matches
    assert compile_pattern(data).matches_event(event) is matches
    assert Rule(match).matches(flatten(seen)) is matches
    playbook = Playbook("p", "", "", "", (event.type,), compile_pattern(data), data)
    assert bool(Index([playbook]).match(event)) is matches
