"""The script that asks recorded cases of others counts right; the cases here are our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.patterns import main, verdict

CASES: list[dict[str, Any]] = [
    {"rules": {"a": [{"x": [1]}], "b": [{"x": [{"wildcard": "1*"}]}]}, "event": {"x": 1}, "expect": ["a"]},
    {"rules": {"a": [{"x": [{"shellstyle": "a*\\b"}]}]}, "event": {"x": "aa\\b"}, "expect": ["a"]},
    {
        "rules": {"a": [{"x": [{"regexp": "[a-c]+~.x"}]}], "b": [{"x": [{"regexp": "b"}]}]},
        "event": {"x": "abc.x"},
        "expect": ["a"],
    },
    {"rules": {"a": [{"x": [2]}, {"x": [3]}]}, "event": '{"x": 3}', "expect": ["a"]},
]
VERDICTS: list[dict[str, Any]] = [
    {"rule_text": '{"x": [{"numeric": ["<", 1E-325]}]}', "api": "check", "valid": False, "error": "too small"},
    {"rule_text": '{"x": [{"anything-but": {"wildcard": "a*"}}]}', "api": "check", "valid": True, "error": None},
    {"rule_text": '{"x": [{"anything-but": {"wildcard": "a*"}}]}', "api": "check_flat", "valid": False, "error": "unknown"},
    {"rule_text": '{"x": [1', "api": "check", "valid": False, "error": "no JSON"},
]


def folder_of(path: Path, cases: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> Path:
    lines = [json.dumps({"id": f"own-{n}", "source": "own", **case}) for n, case in enumerate(cases)]
    (path / "own_cases.jsonl").write_text("\n".join(lines))
    (path / "own_rule_validity.json").write_text(json.dumps([{"source": "own", **one} for one in verdicts]))
    return path


def test_what_agrees_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the patterns, of the index, and of the verdicts; quamina's own words are translated."""
    assert main(folder_of(tmp_path, CASES, VERDICTS)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "own_cases.jsonl: 4 passed, 0 failed",
        "own_rule_validity.json: 4 passed, 0 failed",
    ]


def test_what_differs_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was expected and what was said."""
    wrong = [{**CASES[0], "expect": ["b"]}]
    assert main(folder_of(tmp_path, wrong, [{**VERDICTS[0], "valid": True}])) == 1
    said = capsys.readouterr().out
    assert "expected ['b'], the patterns say ['a'], the index ['a']" in said
    assert "expected valid" in said


def test_a_folder_without_cases_is_no_success(tmp_path: Path) -> None:
    """Nothing tried is nothing passed."""
    assert main(tmp_path) == 1


def test_a_rule_text_that_is_no_json_is_refused() -> None:
    """Whatever is wrong with it."""
    assert verdict('{"x": [NaN]}', "check")
    assert verdict("[1]", "check")
    assert not verdict('{"x": [1]}', "check")
