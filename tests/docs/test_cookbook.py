"""Every recipe of the cookbook is run: it loads beside all others, lint has no doubt about it, and its own tests pass."""

from __future__ import annotations

import re

import pytest

from aios.playbooks.lint import lint
from aios.playbooks.load import load_many
from aios.playbooks.trial import try_playbook
from aios.skills.catalogue import load_catalogue
from tests.docs.pages import Block, anchors, blocks, text_of

RECIPES = blocks("docs/cookbook.md", "yaml")
SKILLS = load_catalogue()


def name_of(block: Block) -> str:
    return block.text.split("\n", 1)[0].removeprefix("playbook: ")


def test_there_are_twenty() -> None:
    """Each under a heading of its own, and in the table."""
    headings = re.findall(r"^### \d+\. ", text_of("docs/cookbook.md"), re.MULTILINE)
    assert len(RECIPES) == len(headings) >= 20
    assert len({name_of(block) for block in RECIPES}) == len(RECIPES)
    linked = set(re.findall(r"\]\(#(\d[^)]+)\)", text_of("docs/cookbook.md")))
    assert linked == {anchor for anchor in anchors("docs/cookbook.md") if anchor[0].isdigit()}


@pytest.mark.parametrize("block", RECIPES, ids=name_of)
def test_a_recipe_works_as_it_stands(block: Block) -> None:
    """A reader copies it: no mistake, no warning, and it has tests that pass."""
    loaded = load_many({"recipe.yaml": block.text}, SKILLS)
    assert [str(error) for error in loaded.errors] == []
    assert [finding for finding in lint(loaded, SKILLS) if finding.level != "info"] == []
    (playbook,) = loaded.playbooks
    results = [try_playbook(playbook, test, SKILLS) for test in playbook.tests]
    assert results
    assert [(result.name, result.differences) for result in results if not result.ok] == []


def test_they_live_side_by_side() -> None:
    """All of them in one folder: none shadows another, no name stands twice."""
    loaded = load_many({f"/etc/aios/{name_of(block)}.yaml": block.text for block in RECIPES}, SKILLS)
    assert loaded.errors == ()
    assert len(loaded.playbooks) == len(RECIPES)
