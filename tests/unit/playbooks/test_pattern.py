"""Event patterns say the same as the field's own language, and what is written wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aios.playbooks.pattern import BadPattern, compile_pattern

EVENT: dict[str, Any] = {
    "subject": "nginx.service",
    "severity": "error",
    "data": {
        "n": 2, "f": 2.0, "yes": True, "null": None, "text": "Hello", "list": [1, "a", True], "empty": [],
        "rows": [{"kind": "disk", "used": 95}, {"kind": "cpu", "used": 10}], "one": {"two": {"three": 3}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "matches"),
    [
        ({"n": [2]}, True), ({"n": [2.0]}, True), ({"f": [2]}, True), ({"n": ["2"]}, False), ({"n": [1, 2]}, True),
        ({"yes": [True]}, True), ({"yes": [1]}, False), ({"yes": [1.0]}, False), ({"n": [True]}, False), ({"null": [None]}, True),
        ({"missing": [None]}, False), ({"null": [False]}, False), ({"text": ["hello"]}, False),
        ({"text": [{"equals-ignore-case": "hELLO"}]}, True), ({"text": [{"prefix": "He"}]}, True),
        ({"text": [{"prefix": "he"}]}, False),
        ({"text": [{"suffix": "lo"}]}, True), ({"n": [{"prefix": "2"}]}, False),
        ({"n": [{"numeric": [">", 1]}]}, True), ({"n": [{"numeric": [">", 2]}]}, False),
        ({"n": [{"numeric": [">=", 2, "<", 3]}]}, True),
        ({"n": [{"numeric": ["=", 2.0]}]}, True), ({"yes": [{"numeric": ["=", 1]}]}, False),
        ({"text": [{"numeric": [">", 0]}]}, False),
        ({"missing": [{"numeric": [">", 0]}]}, False),
        ({"n": [{"exists": True}]}, True), ({"missing": [{"exists": True}]}, False), ({"missing": [{"exists": False}]}, True),
        ({"null": [{"exists": True}]}, True), ({"empty": [{"exists": True}]}, False), ({"empty": [{"exists": False}]}, True),
        ({"n": [{"anything-but": 2}]}, False), ({"n": [{"anything-but": [1, 3]}]}, True), ({"n": [{"anything-but": True}]}, True),
        ({"yes": [{"anything-but": 1}]}, True), ({"null": [{"anything-but": "x"}]}, True),
        ({"missing": [{"anything-but": "x"}]}, False),
        ({"text": [{"anything-but": {"prefix": "He"}}]}, False), ({"text": [{"anything-but": {"suffix": ["x", "y"]}}]}, True),
        ({"n": [{"anything-but": {"prefix": "x"}}]}, False),
        ({"list": ["a"]}, True), ({"list": ["b"]}, False), ({"list": [True]}, True), ({"list": [{"anything-but": "a"}]}, True),
        ({"rows": {"kind": ["disk"], "used": [95]}}, True), ({"rows": {"kind": ["disk"], "used": [10]}}, False),
        ({"rows": {"used": [{"numeric": [">", 90]}]}}, True), ({"one": {"two": {"three": [3]}}}, True),
        ({"one": {"two": [{"exists": True}]}}, True), ({"one": {"none": {"x": [{"exists": False}]}}}, True),
        ({"n": {"x": [1]}}, False), ({"n": [3, {"exists": True}]}, True),
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
        (
            {"data": {"rows": {"kind": ["disk"], "used": [10]}}},
            "each condition holds for some element of a list, but all of them for none",
        ),
    ],
)
def test_a_pattern_explains_which_condition_said_no(match: dict[str, Any], sentence: str) -> None:
    """With the value that it saw."""
    assert compile_pattern(match).describe(EVENT) == sentence


@pytest.mark.parametrize(
    ("match", "where", "message"),
    [
        ({"data": {"a": 1}}, ("data", "a"), "must be a list"),
        ({"data": {"a": []}}, ("data", "a"), "empty list"),
        ({"data": {}}, ("data",), "empty mapping"),
        ({"data": {"a": [[1]]}}, ("data", "a", 0), "a list inside"),
        ({"data": {"a": [{}]}}, ("data", "a", 0), "one operator"),
        ({"data": {"a": [{"prefix": "a", "suffix": "b"}]}}, ("data", "a", 0), "one operator"),
        ({"data": {"a": [{"prefix": 1}]}}, ("data", "a", 0, "prefix"), "takes a text"),
        ({"data": {"a": [{"prefix": ""}]}}, ("data", "a", 0, "prefix"), "takes a text"),
        ({"data": {"a": [{"exists": "yes"}]}}, ("data", "a", 0, "exists"), "true or false"),
        ({"data": {"a": [{"anything-but": []}]}}, ("data", "a", 0, "anything-but"), "without a value"),
        ({"data": {"a": [{"anything-but": {"wildcard": "x"}}]}}, ("data", "a", 0, "anything-but"), "only prefix"),
        ({"data": {"a": [{"numeric": [">"]}]}}, ("data", "a", 0, "numeric"), "one or two comparisons"),
        ({"data": {"a": [{"numeric": [">", "1"]}]}}, ("data", "a", 0, "numeric", 1), "no number"),
        ({"data": {"a": [{"numeric": [">", True]}]}}, ("data", "a", 0, "numeric", 1), "no number"),
        ({"data": {"a": [{"numeric": [">", 1, ">=", 2]}]}}, ("data", "a", 0, "numeric", 2), "same side"),
        ({"data": {"a": [{"numeric": ["=", 1, "<", 2]}]}}, ("data", "a", 0, "numeric", 2), "same side"),
        ({"data": {"a": [{"cidr": "10.0.0.0/8"}]}}, ("data", "a", 0, "cidr"), "not known in this version"),
        ({"$or": [{"a": [1]}]}, ("$or",), "not known in this version"),
        ({"data": {"a": [{"regex": "x"}]}}, ("data", "a", 0, "regex"), "unknown operator"),
        ({"data": {"a": list(range(1001))}}, ("data", "a"), "more than 1000"),
    ],
)
def test_a_wrong_pattern_is_refused_with_its_place(match: dict[str, Any], where: tuple[Any, ...], message: str) -> None:
    """What an operator means is never guessed."""
    with pytest.raises(BadPattern) as caught:
        compile_pattern(match)
    assert caught.value.where == where
    assert message in caught.value.message
    assert caught.value.hint
