"""The guide is true: its playbooks load and pass, its message is the one that comes, and nothing is left out of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aios.errors import ConfigErrors
from aios.playbooks.lint import CODES, lint
from aios.playbooks.load import KEYS, load, load_many
from aios.playbooks.model import MODES
from aios.playbooks.pattern import OPERATORS
from aios.playbooks.read_tests import OUTCOMES
from aios.playbooks.trial import try_playbook
from aios.skills.catalogue import load_catalogue

GUIDE = (Path(__file__).parents[2] / "docs" / "playbooks.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(playbook: .*?)```", GUIDE, re.DOTALL)
SKILLS = load_catalogue()


def test_the_examples_stand_beside_each_other_without_a_finding() -> None:
    """A reader copies them."""
    loaded = load_many({f"{n}.yaml": text for n, text in enumerate(EXAMPLES)}, SKILLS)
    assert len(loaded.playbooks) == len(EXAMPLES) >= 2
    said = [finding for finding in lint(loaded, SKILLS) if finding.code != "same-resource"]  # two of them are for one nginx
    assert said == []


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_passes_its_own_tests(number: int) -> None:
    """What the guide says that they do, they do."""
    playbook = load(EXAMPLES[number], "guide.yaml", SKILLS)
    assert playbook.tests
    for test in playbook.tests:
        result = try_playbook(playbook, test, SKILLS)
        assert result.ok, f"{result.name}: {result.differences}"


def test_the_message_in_the_guide_is_the_one_that_comes() -> None:
    """Place, caret, cure."""
    with pytest.raises(ConfigErrors) as caught:
        load(EXAMPLES[0].replace("act: restart_service", "act: restart_servce", 1), "web.yaml", SKILLS)
    shown = re.search(r"```text\n(web.yaml:.*?)```", GUIDE, re.DOTALL)
    assert shown
    assert str(caught.value) == shown[1].rstrip("\n")


@pytest.mark.parametrize("word", [*KEYS, *MODES, *OPERATORS, "$or", *OUTCOMES])
def test_every_word_of_the_language_is_in_the_guide(word: str) -> None:
    """A word that nobody can look up does not exist."""
    assert word in GUIDE


@pytest.mark.parametrize("code", CODES)
def test_every_finding_is_in_the_guide(code: str) -> None:
    """With the same words."""
    assert f"| `{code}` | {CODES[code]} |" in GUIDE
