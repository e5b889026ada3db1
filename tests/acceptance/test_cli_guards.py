"""`aios silence` and `aios playbook trust | promote | demote`: what each asks the daemon, and how its answer looks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios.events.event import format_time
from tests.acceptance.cli_kit import NOON, aios, daemon

UNTIL = format_time(NOON + 7200)
SILENCE: dict[str, Any] = {
    "silence": "3f2a91c0",
    "subject": "web.service",
    "playbook": "",
    "since": format_time(NOON),
    "until": UNTIL,
    "by": "ada",
    "reason": "moving",
}
TRUST: dict[str, Any] = {
    "name": "web-down",
    "hash": "ab" * 32,
    "mode": "shadow",
    "granted": "approve",
    "mode_in_force": "approve",
    "earned": "auto",
    "why": "10 of its last 10 acting runs healed",
    "grant": {"at": format_time(NOON), "by": "ada", "reason": "a month"},
    "evidence": {
        "since": format_time(NOON),
        "last": format_time(NOON),
        "runs": {"approve": {"healed": 10, "cleared": 2}},
        "acted": [1] * 10,
        "watched": [],
        "healed_share": [0.722, 1.0],
        "stayed_share": [0.0, 1.0],
        "approved": 10,
        "denied": 1,
        "expired": 0,
        "rolled_back": 0,
    },
}


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_silence_says_until_when_and_how_to_end_it(tmp_path: Path) -> None:
    with daemon(tmp_path, {"silence": SILENCE}) as asked:
        done = aios("silence", "web.service", "--for", "2h", "--reason", "moving", data=tmp_path)
        assert json.loads(aios("silence", "web.service", "--for", "2h", "--json", data=tmp_path).out) == SILENCE
    assert done.code == 0
    assert "Silenced: web.service" in done.out
    assert "aios silence --end 3f2a91c0" in done.out
    wanted = {"what": "web.service", "all": False, "playbook": "", "for": "2h", "reason": "moving"}
    assert ("silence", wanted) in asked.asked


def test_a_silence_of_what_nobody_knows_is_warned_of(tmp_path: Path) -> None:
    """It may come later; whoever wrote it wrong should know."""
    unknown = "no subject wbe.service is known so far, and no playbook; did you mean 'web.service'?"
    with daemon(tmp_path, {"silence": {**SILENCE, "unknown": unknown}}):
        done = aios("silence", "wbe.service", "--for", "2h", data=tmp_path)
    assert (done.code, done.err) == (0, f"warning: {unknown}\n")
    assert done.out.startswith("Silenced: ")


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own time zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("words", "length"),
    [
        (["--until", "tomorrow"], "12h"),
        (["--until", "18:00"], "6h"),
        (["--until", "9:30"], "21h30m"),
        (["--until", "2026-02-25T00:00:00Z"], "12h"),
        (["--until", "2026-02-25"], "12h"),
    ],
)
def test_an_end_is_said_as_people_say_it(tmp_path: Path, words: list[str], length: str, in_utc: None) -> None:
    """In the machine's own time zone where none is named."""
    with daemon(tmp_path, {"silence": SILENCE, "pause": {}}) as asked:
        assert aios("silence", "web.service", *words, data=tmp_path).code == 0
        assert aios("pause", *words, data=tmp_path).code == 0
    assert {request["for"] for _, request in asked.asked} == {length}


@pytest.mark.parametrize("command", [["silence", "web.service"], ["pause"]])
def test_an_end_that_is_no_time_is_refused_with_what_to_write(tmp_path: Path, command: list[str]) -> None:
    done = aios(*command, "--until", "next week", data=tmp_path)
    assert done.code == 2
    assert "'next week' is no time; write 18:00, tomorrow, 2026-02-24" in done.err
    assert "--for 2h" in done.err


def test_silences_are_listed_and_ended(tmp_path: Path) -> None:
    with daemon(tmp_path, {"silences": {"silences": [SILENCE]}, "silence_end": {"ended": [SILENCE]}}):
        listed, ended = aios("silence", data=tmp_path), aios("silence", "--end", "all", data=tmp_path)
    assert "3f2a91c0 web.service" in squeezed(listed.out)
    assert "ada moving" in squeezed(listed.out)
    assert ended.out.strip() == "Ended: web.service."


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["web.service"], "a silence ends: say --for or --until"),
        (["web.service", "--all", "--for", "1h"], "either one subject or --all"),
        (["--for", "1h"], "say what is to be silenced"),
        (["web.service", "--for", "soon"], "'soon' is no duration"),
    ],
)
def test_what_a_silence_lacks_is_said(tmp_path: Path, words: list[str], told: str) -> None:
    done = aios("silence", *words, data=tmp_path)
    assert done.code == 2
    assert told in done.err


def test_trust_shows_the_evidence_and_says_when_a_mode_is_earned(tmp_path: Path) -> None:
    """1: somebody has something to decide."""
    with daemon(tmp_path, {"playbook_trust": {"playbooks": [TRUST], "rule": {}}}):
        table, one = aios("playbook", "trust", data=tmp_path), aios("playbook", "trust", "web-down", data=tmp_path)
    assert table.code == one.code == 1
    assert "web-down approve (file: shadow) auto" in squeezed(table.out)
    for words in (
        "approve by ada",
        "2 cleared, 10 healed",
        "10 of the last 10 acting runs: a share of 0.72 to 1.00",
        "10 yes, 1 no",
    ):
        assert words in squeezed(one.out)


def test_promoting_and_demoting_are_carried_to_the_daemon(tmp_path: Path) -> None:
    answer = {"playbook": "web-down", "before": "shadow", "to": "suggest", "by": "ada"}
    with daemon(tmp_path, {"playbook_promote": answer, "playbook_demote": answer}) as asked:
        done = aios("playbook", "promote", "web-down", "--to", "suggest", "--anyway", data=tmp_path)
        aios("playbook", "demote", "web-down", data=tmp_path)
    assert done.code == 0
    assert "web-down may suggest from now on (before: shadow)" in done.out
    assert [(verb, args["to"], args["anyway"]) for verb, args in asked.asked] == [
        ("playbook_promote", "suggest", True),
        ("playbook_demote", "", False),
    ]
    assert aios("playbook", "promote", "web-down", "--to", "yolo", data=tmp_path).code == 2
