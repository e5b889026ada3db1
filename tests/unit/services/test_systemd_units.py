"""What systemd's words mean, for every order in which its signals come."""

from __future__ import annotations

from typing import Any

import pytest

from aios.services.systemd_units import FINISHED, WatchedUnit

JOB = [42, "/org/freedesktop/systemd1/job/42"]
NO_JOB = [0, "/"]


def running(**more: Any) -> WatchedUnit:
    """An enabled service that runs and of which everything is known."""
    unit = WatchedUnit("web.service")
    unit.learn(
        {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            "Type": "simple",
            "Restart": "no",
            "Result": "success",
            "NRestarts": 0,
            "MainPID": 100,
            "Job": NO_JOB,
            **more,
        }
    )
    return unit


def rests(state: str = "inactive", job: list[Any] = NO_JOB, **more: Any) -> dict[str, Any]:
    return {"ActiveState": state, "SubState": "dead", "Job": job, **more}


def word(unit: WatchedUnit) -> str:
    return unit.confirm().state


def test_a_stop_job_is_a_persons_wish() -> None:
    """Inactive comes first, then the end of the job."""
    unit = running()
    unit.change({"ActiveState": "deactivating", "Job": JOB})
    assert word(unit) == "stopping"
    unit.change(rests(job=JOB))
    assert word(unit) == "stopping"
    unit.job_removed("done")
    unit.change({"Job": NO_JOB})
    assert word(unit) == "stopped"
    assert unit.falls == 0


def test_a_stop_job_whose_end_is_told_first_is_a_wish_too() -> None:
    """The other order of the same signals."""
    unit = running()
    unit.change({"ActiveState": "deactivating", "Job": JOB})
    unit.job_removed("done")
    unit.change(rests())
    assert word(unit) == "stopped"


def test_a_stop_that_had_to_kill_is_still_a_wish() -> None:
    """A person who stops a service that does not listen leaves it failed, and wants it so."""
    unit = running()
    unit.change({"ActiveState": "deactivating", "Job": JOB})
    unit.change(rests("failed", JOB, Result="timeout"))
    unit.job_removed("done")
    assert word(unit) == "stopped"


def test_a_crash_is_down_and_counted_once() -> None:
    """Failed without a job is a fall, however often it is looked at."""
    unit = running()
    unit.change(rests("failed", Result="signal", ExecMainCode=2, ExecMainStatus=9))
    assert word(unit) == "down"
    assert unit.confirm().exit_status == "signal 9"
    assert unit.confirm().detail == "failed: signal"
    assert unit.falls == 1


def test_an_enabled_service_that_ends_well_is_down_but_a_triggered_one_has_finished() -> None:
    """Nobody stopped it; only what something else starts when needed may end by itself."""
    unit = running()
    unit.change(rests(ExecMainCode=1, ExecMainStatus=0))
    assert word(unit) == "down"
    for more in ({"TriggeredBy": ["web.timer"]}, {"UnitFileState": "static"}, {"Type": "oneshot"}):
        unit = running(**more)
        unit.change(rests())
        assert word(unit) == "stopped"
        assert unit.state().detail == FINISHED
        assert unit.falls == 0


def test_systemds_own_restart_is_a_fall_but_never_down() -> None:
    """failed for an instant, auto-restart, a restart job, active: one fall, and nobody is called."""
    unit = running(Restart="always")
    unit.change(rests("failed", Result="signal"))
    assert unit.may_start_again()
    unit.change({"NRestarts": 1})
    unit.change({"ActiveState": "activating", "SubState": "auto-restart", "Job": NO_JOB})
    assert word(unit) == "starting"
    assert "again" in unit.state().detail
    unit.change(rests(job=JOB))
    assert word(unit) != "down"
    unit.change({"ActiveState": "active", "SubState": "running", "MainPID": 101, "Job": JOB})
    unit.job_removed("done")
    unit.change({"Job": NO_JOB})
    assert word(unit) == "up"
    assert unit.falls == 1


def test_a_restart_that_fails_is_down() -> None:
    """The job's bad end says that nobody wanted it so."""
    unit = running()
    unit.change({"ActiveState": "deactivating", "Job": JOB})
    unit.change({"ActiveState": "activating", "Job": JOB})
    unit.change(rests("failed", JOB, Result="exit-code"))
    unit.job_removed("failed")
    assert word(unit) == "down"
    assert unit.falls == 1


@pytest.mark.parametrize("result", ["failed", "timeout", "dependency"])
def test_a_start_that_could_not_be_is_down(result: str) -> None:
    """Also when the unit itself never came so far."""
    unit = running(ActiveState="inactive")
    unit.job_removed(result)
    assert word(unit) == "down"
    assert result in unit.state().detail


def test_what_rested_before_we_came_is_taken_for_stopped_unless_it_failed() -> None:
    """Nobody can say any more whether a person did that."""
    assert word(running(ActiveState="inactive")) == "stopped"
    assert word(running(ActiveState="failed", Result="exit-code")) == "down"


def test_masked_and_missing_are_said_as_they_are() -> None:
    """A person's ban is no illness; what does not exist is missing."""
    assert word(running(ActiveState="inactive", LoadState="masked")) == "stopped"
    assert word(running(ActiveState="inactive", LoadState="not-found")) == "missing"


def test_a_unit_file_that_vanishes_under_a_running_service_is_down() -> None:
    """Unloaded while it should run."""
    unit = running()
    unit.removed()
    assert word(unit) == "down"
    assert unit.state().detail.startswith("missing")


def test_a_unit_of_which_only_a_row_is_known_is_judged_when_all_is() -> None:
    """Whether ending by itself was a fall is known only with its type."""
    unit = WatchedUnit(
        "web.service", {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    )
    unit.change(rests(NRestarts=0))
    assert unit.may_start_again()
    unit.learn({"Type": "simple", "Restart": "no", "NRestarts": 0, **rests()})
    assert word(unit) == "down"
    assert unit.falls == 1
