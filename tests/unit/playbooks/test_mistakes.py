"""Every typical mistake is answered with its place, a caret, and a cure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aios.errors import ConfigErrors
from aios.playbooks.load import load
from tests.unit.playbooks.mistakes import GOOD, MISTAKES, playbook_with
from tests.unit.playbooks.playbook_skills import SKILLS

GOLDEN = Path(__file__).with_name("mistakes_golden.txt")
RULE = "=" * 60


def message_for(name: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load(playbook_with(name), "nginx.yaml", SKILLS)
    return str(caught.value)


def golden() -> dict[str, str]:
    parts = GOLDEN.read_text().split(RULE + "\n")
    return {name: text.strip("\n") for name, _, text in (part.partition("\n") for part in parts if part.strip())}


def test_the_good_playbook_has_no_mistake() -> None:
    """Otherwise the table would show something else than it says."""
    assert load(GOOD, "nginx.yaml", SKILLS).name == "nginx-down"


def test_the_table_is_whole() -> None:
    """There are at least forty mistakes, and each has its message."""
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text("".join(f"{RULE}\n{name}\n{message_for(name)}\n" for name in MISTAKES))
    assert len(MISTAKES) >= 40
    assert set(golden()) == set(MISTAKES)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_place_caret_and_cure(name: str) -> None:
    """The message is exactly the one that was read and kept."""
    message = message_for(name)
    assert message == golden()[name]
    assert "cure: " in message
    assert "nginx.yaml:" in message
    assert "^" in message
