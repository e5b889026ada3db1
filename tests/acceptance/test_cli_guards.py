"""`aios silence` and `aios playbook trust | promote | demote`: what each asks the daemon, and how its answer looks."""

from __future__ import annotations

import json
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
    "why": "in 10 of 10 of its acting runs healed",
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
