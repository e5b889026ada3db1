"""What counts as falling ill and as being well again: one answer, for the score and for the report."""

from __future__ import annotations

import pytest

from aios.events.catalogue import CATALOGUE, CLOSES
from aios.scores.symptoms import closed_by, is_closing, is_level, is_opening


@pytest.mark.parametrize(
    ("type", "opening", "level", "closing"),
    [
        ("service.down", True, True, False),
        ("service.flapping", True, True, False),
        ("endpoint.down", True, True, False),
        ("resource.disk_full", True, True, False),
        ("resource.gpu_hot", True, True, False),
        ("agent.error", True, False, False),
        ("model.unavailable", True, False, False),
        ("service.up", False, False, True),
        ("resource.gpu_normal", False, False, True),
        ("score.degraded", False, False, False),
        ("score.recovered", False, False, False),
        ("budget.warning", False, False, False),
        ("run.opened", False, False, False),
        ("my.own", False, False, False),
    ],
)
def test_what_opens_and_what_closes(type: str, opening: bool, level: bool, closing: bool) -> None:
    """The score itself is no illness, or it would feed itself."""
    assert (is_opening(type), is_level(type), is_closing(type)) == (opening, level, closing)


def test_no_type_of_the_catalogue_both_opens_and_closes() -> None:
    assert not [type for type in CATALOGUE if is_opening(type) and is_closing(type)]


def test_what_closes_agrees_with_the_catalogue() -> None:
    """Every closing type of the catalogue ends exactly what the catalogue says it ends, and no other known type."""
    standing = sorted(type for type in CATALOGUE if is_opening(type))
    closing = {type: opened for type, opened in CLOSES.items() if is_closing(type)}
    assert set(CLOSES) - set(closing) == {"score.recovered", "journal.sound"}, "neither score nor journal is a symptom"
    for type, opened in closing.items():
        assert closed_by(type, standing) == sorted(opened)


def test_a_normal_of_an_unknown_kind_closes_its_own_kind_alone() -> None:
    assert closed_by("resource.gpu_normal", ["resource.gpu_hot", "resource.gpus_lost", "service.down"]) == ["resource.gpu_hot"]
