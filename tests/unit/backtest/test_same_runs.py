"""The same journal gives the same runs: those of a simulated day, and those that its backtest gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from aios.backtest import Backtest, backtest, terms_of
from aios.playbooks.load import load_many
from aios.settings import Settings
from tests.simulation.assembly import SETTINGS, skills
from tests.simulation.day import History
from tests.simulation.happenings import CALM, EVERY_FAULT, Troubles
from tests.simulation.harness import play_day
from tests.simulation.playbooks import TEXTS
from tests.unit.backtest.past import write_journal

ENDS = ("healed", "cleared", "observed", "suggested", "not_healed", "unknown", "cancelled")
FAULTS = replace(EVERY_FAULT, leap_s=0.0)
"""Crashes, power cuts, full and failing disks, people who pause and answer. No leaping clock: then times themselves are wrong."""
TERMS = terms_of(Settings.model_validate(SETTINGS))


def replayed(history: History, folder: Path) -> Backtest:
    write_journal(folder, history.journal)
    return backtest(folder, load_many(TEXTS, skills()).playbooks, skills=skills(), terms=TERMS)


def lived(history: History) -> dict[str, tuple[str, str, str, str]]:
    """Run -> its playbook, its subject, the event that it answers, how it first ended."""
    runs: dict[str, tuple[str, str, str, str]] = {}
    for event in history.events:
        word = event.type.removeprefix("run.")
        if word == "opened":
            runs[event.data["run"]] = (event.data["playbook"], event.subject, event.data["event"], "open")
        elif event.type.startswith("run.") and word in ENDS and runs[event.data["run"]][3] == "open":
            runs[event.data["run"]] = (*runs[event.data["run"]][:3], word)
    return runs


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("seed", "troubles"),
    [(3, CALM), (20, FAULTS), (23, FAULTS), *(pytest.param(seed, FAULTS, marks=SLOW) for seed in (24, 25, 26))],
)
def test_the_same_playbooks_on_a_days_journal_give_the_runs_of_that_day(tmp_path: Path, seed: int, troubles: Troubles) -> None:
    """Every run that was is there again, of the same event and with the same end, and none that was not; crashes or none."""
    history = play_day(seed, 2.0, troubles)
    found = replayed(history, tmp_path)
    assert {run.id: (run.playbook, run.subject, run.event, run.end) for run in found.runs} == lived(history), f"seed {seed}"
    assert all(run.really for run in found.runs)


def test_what_guards_held_on_a_day_they_hold_in_its_backtest(tmp_path: Path) -> None:
    """By the same guard, on the same playbook, as often."""
    history = play_day(3, 3.0, CALM)
    found = replayed(history, tmp_path)
    live = Counter(
        (event.data["playbook"], event.data["guard"])
        for event in history.events
        if event.type == "reactor.decided" and event.data["verdict"] == "held"
    )
    assert Counter((held.playbook, held.guard) for held in found.held) == live
    assert live, "a day on which no guard held anything says nothing"


def test_a_backtest_says_the_same_each_time(tmp_path: Path) -> None:
    """Nothing in it depends on the hour, on chance or on the order of a set."""
    history = play_day(5, 1.0, CALM)
    first = replayed(history, tmp_path)
    again = backtest(tmp_path, load_many(TEXTS, skills()).playbooks, skills=skills(), terms=TERMS)
    assert first.to_json() == again.to_json()
