"""The page of promises says of each shipped skill what the skill says of itself."""

from __future__ import annotations

import re

import pytest

from aios.skills.catalogue import load_catalogue
from tests.docs.pages import text_of
from tests.simulation.bugs import BUGS

ROWS = {
    words[0]: set(re.findall(r"`([a-z_]+)`", words[3]))
    for line in text_of("docs/promises.md").splitlines()
    if line.startswith("| `")
    and len(words := [cell.strip().strip("`") if n == 0 else cell for n, cell in enumerate(line.strip("|").split("|"))]) == 4
}


@pytest.mark.parametrize("rerun", ["idempotent", "check_before_retry", "never_retry"])
def test_each_skill_that_goes_through_hands_stands_in_the_row_of_its_class(rerun: str) -> None:
    """Who decides by this page must not be told a friendlier class than the code has."""
    skills = load_catalogue()
    through_hands = {name for name, spec in skills.items() if spec.kind == "act"} | {"run_command", "notify"}
    ours = {name for name in through_hands if skills[name].rerun == rerun}
    assert ROWS[rerun] == ours


def test_what_is_called_irreversible_is() -> None:
    """And nothing else is."""
    listed = re.findall(r"^- `([a-z_]+)` deletes", text_of("docs/promises.md"), re.MULTILINE)
    assert listed == [name for name, spec in load_catalogue().items() if spec.irreversible]


def test_as_many_bugs_are_planted_as_are_told_of() -> None:
    assert f"| each of {len(BUGS)} |" in text_of("docs/promises.md")
