"""Stories that once broke a law, kept for ever: as they were found and cut down (`python -m tests.simulation --shrink`).

One with a `bug` shows that the laws still see that bug when it is planted; one without was a bug of the product, and is mended.
How long things take comes from the seed, so a change of the product may shift a story past its moment: then it is made anew, with
`python -m tests.simulation --bug NAME --hours 0.15 --seed 1 --shrink`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.happenings import plan_of
from tests.simulation.shrink import Story, broken_by, shrink

KEPT = sorted((Path(__file__).parent / "kept").glob("*.json"))
A_HANDFUL = 6


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_story_breaks_no_law_any_more(path: Path) -> None:
    """Without the planted bug, that is; with it, the law that found it finds it still."""
    story = Story.from_bytes(path.read_bytes())
    assert story.sentence
    assert broken_by(replace(story, bug="")) == set()
    if story.bug:
        assert story.law in broken_by(story)


@pytest.mark.parametrize("name", ["attempts_in_memory", "rollback_in_wrong_order"])
def test_a_failing_story_is_cut_down_to_what_matters(name: str) -> None:
    """Of dozens of happenings a handful stays, in it the law still breaks, and as a file it is the same story."""
    stories = (
        Story(seed, 0.15, 2400.0, plan_of(seed, 0.15, BUGS[name].troubles), bug=name, law=BUGS[name].law) for seed in range(1, 5)
    )
    whole = next(story for story in stories if story.law in broken_by(story))
    small = shrink(whole)
    assert small is not None
    assert len(whole.plan) > 20
    assert len(small.plan) <= A_HANDFUL
    assert Story.from_bytes(small.to_bytes()) == small
    assert BUGS[name].law in broken_by(small)


def test_a_story_that_breaks_nothing_is_not_cut() -> None:
    """There is nothing to keep."""
    assert shrink(Story(1, 0.05, 2400.0, plan_of(1, 0.05, BUGS["no_sync"].troubles))) is None
