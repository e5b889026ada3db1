"""One edge for all that is seen of a service: its watcher and its probes never tell the same illness twice."""

from __future__ import annotations

from typing import Any

from aios.events.event import Draft
from aios.ports import UnitState
from aios.sensors.standing import SUBJECTS_MAX, Flapping, Standings

WEB = "web.service"


def state(word: Any, pid: int = 0, falls: int = 0, **more: Any) -> UnitState:
    return UnitState(more.pop("subject", WEB), word, "managed", pid=pid, falls=falls, **more)


def types(drafts: list[Draft]) -> list[str]:
    return [draft.type for draft in drafts]


def up_and(probe: bool = False) -> Standings:
    standings = Standings()
    if probe:
        standings.probed(WEB, "p")
    standings.watched(state("up", 10), 0.0)
    if probe:
        standings.answered(WEB, "p")
    return standings


def test_a_fall_and_a_rise_are_told_once_each() -> None:
    """Edges, not repetitions."""
    standings = up_and()
    (down,) = standings.watched(state("down", falls=1, detail="exit: its process ended", exit_status="signal 9"), 1.0)
    assert (down.type, down.subject) == ("service.down", WEB)
    assert down.data == {"failures": 1, "reason": "exit", "status": "signal 9", "backend": "managed"}
    assert standings.watched(state("down", falls=1, exit_status="signal 9 (SIGKILL)"), 1.1) == []
    (up,) = standings.watched(state("up", 11, 1), 2.0)
    assert (up.type, up.data) == ("service.up", {"backend": "managed", "pid": 11})


def test_what_is_ill_at_the_start_is_told_and_what_is_well_is_not() -> None:
    """Levels."""
    standings = Standings()
    assert types(standings.watched(state("down"), 0.0)) == ["service.down"]
    assert standings.watched(state("up", 10, subject="other.service"), 0.0) == []


def test_what_the_world_believes_ill_is_closed_when_it_is_seen_well() -> None:
    """Blind time may have healed it."""
    standings = Standings(was_ill=[("service.down", WEB), ("service.down", "gone.service")])
    assert types(standings.watched(state("up", 10), 0.0)) == ["service.up"]
    assert types(standings.watched(state("stopped", subject="gone.service"), 0.0)) == ["service.stopped"]


def test_failures_are_the_deaths_of_the_last_hour() -> None:
    """So a playbook can tell a first fall from a fifth."""
    standings = up_and()
    told = []
    for n in range(1, 4):
        told += standings.watched(state("down", falls=n), n * 10.0)
        standings.watched(state("up", 10 + n, n), n * 10.0 + 1)
    assert [draft.data["failures"] for draft in told if draft.type == "service.down"] == [1, 2, 3]
    (late,) = standings.watched(state("down", falls=4), 5000.0)
    assert late.data["failures"] == 1


def test_many_falls_within_the_window_are_flapping_told_once() -> None:
    """Also when systemd itself starts it again and it is never down."""
    standings = Standings(Flapping(3, 60.0))
    standings.watched(state("up", 10), 0.0)
    drafts = []
    for n in range(1, 6):
        drafts += standings.watched(state("starting", falls=n), float(n))
        drafts += standings.watched(state("up", 10 + n, n), n + 0.5)
    flaps = [draft for draft in drafts if draft.type == "service.flapping"]
    assert [draft.data for draft in flaps] == [{"falls": 3, "within_s": 60.0}]
    again = [draft for n in range(6, 9) for draft in standings.watched(state("starting", falls=n), 1000.0 + n)]
    assert types(again) == ["service.flapping"]


def test_stopped_by_a_person_is_no_fall_and_closes_what_was_ill() -> None:
    """It is wanted so."""
    standings = up_and()
    assert types(standings.watched(state("stopped"), 1.0)) == ["service.stopped"]
    assert standings.watched(state("stopped"), 1.1) == []
    standings.watched(state("down"), 2.0)
    assert types(standings.watched(state("stopped"), 3.0)) == ["service.stopped"]


def test_a_unit_that_did_its_work_is_no_news() -> None:
    """Timers' units come and go all day."""
    standings = up_and()
    assert standings.watched(state("stopped", detail="finished"), 1.0) == []


def test_a_restart_of_our_own_is_neither_down_nor_up() -> None:
    """stopping, starting, up: nothing to tell of a service that was well."""
    standings = up_and()
    told = [
        draft
        for word, pid in (("stopping", 0), ("starting", 0), ("up", 11))
        for draft in standings.watched(state(word, pid), 1.0)
    ]
    assert told == []


def test_a_service_that_runs_and_does_not_answer_is_down_until_it_does() -> None:
    """The probe finds what the watcher cannot."""
    standings = up_and(probe=True)
    (down,) = standings.failed(WEB, "p", 2, "no answer within 1 s")
    assert down.data == {"failures": 2, "reason": "probe", "status": "no answer within 1 s", "backend": "probe"}
    assert standings.failed(WEB, "p", 3, "no answer within 1 s") == []
    assert standings.watched(state("stopping"), 1.0) == []
    assert standings.watched(state("up", 11), 2.0) == []
    assert types(standings.answered(WEB, "p")) == ["service.up"]
    assert standings.answered(WEB, "p") == []


def test_a_death_that_is_told_is_not_told_again_by_its_probe() -> None:
    """And the service is well only when its new process answers."""
    standings = up_and(probe=True)
    assert types(standings.watched(state("down", falls=1), 1.0)) == ["service.down"]
    assert not standings.wants_probe(WEB)
    assert standings.failed(WEB, "p", 2, "connection refused") == []
    assert standings.watched(state("up", 11, 1), 2.0) == []
    assert standings.wants_probe(WEB)
    assert types(standings.answered(WEB, "p")) == ["service.up"]


def test_a_new_process_that_does_not_answer_either_is_told_anew() -> None:
    """What was held against the old process is forgotten; the new one is judged for itself."""
    standings = up_and(probe=True)
    standings.failed(WEB, "p", 2, "no answer")
    standings.watched(state("up", 11), 2.0)
    assert types(standings.failed(WEB, "p", 2, "status 500, not 200")) == ["service.down"]


def test_two_probes_of_one_service_tell_one_illness() -> None:
    """It is well when both answer."""
    standings = up_and(probe=True)
    standings.probed(WEB, "q")
    standings.answered(WEB, "q")
    assert types(standings.failed(WEB, "p", 2, "x")) == ["service.down"]
    assert standings.failed(WEB, "q", 2, "x") == []
    assert standings.answered(WEB, "p") == []
    assert types(standings.answered(WEB, "q")) == ["service.up"]


def test_services_under_ever_new_names_do_not_fill_memory() -> None:
    """What is stopped and well is forgotten first."""
    standings = Standings()
    for n in range(SUBJECTS_MAX + 100):
        standings.watched(state("up", 10, subject=f"run-{n}.service"), 0.0)
        standings.watched(state("stopped", subject=f"run-{n}.service"), 1.0)
    assert len(standings._all) <= SUBJECTS_MAX
