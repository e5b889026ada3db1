"""Seeded days on the simulated machine, with the daemon's own assembly: whatever dies and whenever, every law holds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from aios.testing.loop import START_OF_TIME
from tests.simulation.happenings import (
    CALM,
    EVERY_FAULT,
    FAULTS,
    HARSH,
    Happening,
    Troubles,
    faults_of,
    nemesis_of,
    plan_of,
    settings_of,
)
from tests.simulation.harness import LAWS, QUIET_S, broken_laws, play_day
from tests.simulation.laws import an_attempt_is_carried_out_once

LEAPS = Troubles(leap_s=600.0)
TIRED_DISK = Troubles(disk_fails_s=120.0, disk_full_s=600.0, disk_slow_s=600.0, kill_daemon_s=300.0, power_cut_s=900.0)
STORIES, STORY_H, PACE = 50, 6.0, 8.0
"""300 hours in all, with about twenty happenings each: work, and whatever the nemesis of that seed has chosen."""
POOR_NERVES = Troubles(kill_daemon_s=60.0, kill_at_call_s=60.0, work_s=30.0)


def test_a_calm_hour_breaks_no_law_and_heals_what_fell() -> None:
    """Nothing dies but services: all of them are brought back, all work is done, and nothing is done twice."""
    history = play_day(1, 1.0, CALM)
    assert broken_laws(history) == []
    kinds = [event.type for event in history.events]
    assert kinds.count("daemon.started") == 1
    assert "run.healed" in kinds
    assert len(history.effects) > 20


@pytest.mark.parametrize("seed", range(1, 7))
def test_all_troubles_at_once_break_no_law(seed: int) -> None:
    """Whatever `happenings.EVERY_FAULT` knows, for half an hour."""
    assert broken_laws(play_day(seed, 0.5)) == []


@pytest.mark.parametrize("troubles", [LEAPS, TIRED_DISK, POOR_NERVES], ids=["leaps", "tired-disk", "poor-nerves"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_one_great_trouble_breaks_no_law(seed: int, troubles: Troubles) -> None:
    """A wall clock that leaps by hours, a disk that fails every other minute, a daemon that dies every minute."""
    assert broken_laws(play_day(seed, 0.4, troubles)) == []


@pytest.mark.parametrize("seed", [11, 14, 23, 26])
def test_settings_that_hold_back_break_no_law(seed: int) -> None:
    """The nemesis chooses those, too: few places, a low storm, a mode that is lost, dependencies, machine-wide windows."""
    assert broken_laws(play_day(seed, 1.0, nemesis_of(seed, 2.0), settings=settings_of(seed))) == []


def test_over_many_seeds_every_setting_is_tried() -> None:
    """And none of them always."""
    chosen = [frozenset(settings_of(seed)) for seed in range(60)]
    assert frozenset.union(*chosen) == {name for name, _ in HARSH}
    assert frozenset.intersection(*chosen) == frozenset()


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_journal_that_rots_keeps_no_daemon_from_starting(seed: int) -> None:
    """One flipped byte costs its own line; the daemon starts, goes on to the end, and acts twice for nothing that it lost."""
    history = play_day(seed, 2.0, replace(CALM, kill_daemon_s=600.0, rots=True))
    last = history.events[-1]
    assert history.starts > 5
    assert last.type == "daemon.heartbeat"
    assert last.taken > START_OF_TIME + 2 * 3600.0 + QUIET_S - 120.0
    assert an_attempt_is_carried_out_once(history.effects) == []


@pytest.mark.slow
@pytest.mark.parametrize("nth", range(STORIES))
def test_three_hundred_hours_with_faults_break_no_law(nth: int) -> None:
    """Each story has a random subset of the faults; a failure prints the command that plays it again."""
    seed = 1000 + nth
    troubles = nemesis_of(seed, PACE)
    found = broken_laws(play_day(seed, STORY_H, troubles, settings=settings_of(seed)))
    options = f"--settings --hours {STORY_H:g} --seed {seed} --pace {PACE:g}"
    again = f"python -m tests.simulation {options}   ({', '.join(faults_of(troubles))})"
    assert found == [], again


def test_the_nemesis_turns_on_a_random_subset_by_seed() -> None:
    """The same seed the same faults; over many seeds every fault is there and every fault is missing."""
    chosen = [frozenset(faults_of(nemesis_of(seed))) for seed in range(60)]
    assert chosen == [frozenset(faults_of(nemesis_of(seed))) for seed in range(60)]
    assert frozenset.union(*chosen) == frozenset(FAULTS)
    assert frozenset.intersection(*chosen) == frozenset()
    assert len(set(chosen)) > 30


def test_a_plan_is_data_that_comes_from_its_seed() -> None:
    """So that it can be cut, and kept as a file."""
    plan = plan_of(5, 2.0, EVERY_FAULT)
    assert plan == plan_of(5, 2.0, EVERY_FAULT)
    assert plan != plan_of(6, 2.0, EVERY_FAULT)
    assert tuple(Happening.from_json(happening.to_json()) for happening in plan) == plan
    assert [happening.at for happening in plan] == sorted(happening.at for happening in plan)
    assert len({happening.do for happening in plan_of(5, 24.0, EVERY_FAULT)}) > 15


def test_each_law_has_a_name_and_a_sentence() -> None:
    """A violation names the law; `python -m tests.simulation --laws` prints them."""
    assert len({law.name for law in LAWS}) == len(LAWS)
    assert all(law.sentence.endswith(".") for law in LAWS)


def journal_digest(seed: int) -> str:
    """Names a whole history: every part of the journal, byte for byte."""
    digest = hashlib.sha256()
    for path, data in play_day(seed, 0.5).journal.items():
        digest.update(f"{path} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_journal_byte_for_byte() -> None:
    """In this process twice, and in two others with other hash seeds: nothing hangs on addresses or on the order of sets."""
    here = journal_digest(3)
    assert here == journal_digest(3)
    command = [sys.executable, "-c", "from tests.simulation.test_day import journal_digest; print(journal_digest(3))"]
    for number in ("1", "2"):
        elsewhere = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": number}, capture_output=True, text=True, check=True
        )
        assert elsewhere.stdout.strip() == here


def test_another_seed_gives_another_journal() -> None:
    """The seed matters."""
    assert journal_digest(3) != journal_digest(4)
