"""The laws catch what they are there to catch: each is shown a history in order, and one with the bug planted."""

from __future__ import annotations

from typing import Any

from aios.events.event import Event, format_time
from aios.testing.bodies import Effect
from tests.simulation import laws
from tests.simulation.laws import Acknowledged, GuardOf

BEGAN = 1_771_891_200.0
RUN = "run-1"


def event(kind: str, at: float = 0.0, subject: str = "web.service", id: str = "", origin: str = "", **data: Any) -> Event:
    moment = format_time(BEGAN + at)
    return Event(id or f"{kind}-{at}", "test", kind, subject, moment, data, moment, origin=origin)


def opened(at: float = 0.0, run: str = RUN, cause: str = "e1", playbook: str = "mend", subject: str = "web.service") -> Event:
    return event("run.opened", at, subject, run=run, playbook=playbook, event=cause, resources=[subject], mode="auto")


def intended(at: float, attempt: int = 1, run: str = RUN, step: str = "act", skill: str = "count_never") -> Event:
    return event("run.step_intended", at, run=run, playbook="mend", step=step, attempt=attempt, skill=skill)


def done(at: float, attempt: int = 1, run: str = RUN, ok: bool = True, ms: float = 100.0, **flags: Any) -> Event:
    return event(
        "run.step_done", at, run=run, playbook="mend", step="act", attempt=attempt, skill="count_never", ok=ok, ms=ms, **flags
    )


def healed(at: float, run: str = RUN) -> Event:
    return event("run.healed", at, run=run, playbook="mend")


GOOD = [
    event("service.down", id="e1", origin="inbox/a@1"),
    opened(0.1),
    intended(0.2),
    done(0.4),
    healed(1.0),
]
EFFECT = Effect("count_never", RUN, "act", 1, "t")
CLASSES: dict[str, Any] = {"count_never": "never_retry", "count_checked": "check_before_retry", "count_idempotent": "idempotent"}


def is_down(e: Event) -> bool:
    return e.type == "service.down"


def test_a_history_in_order_breaks_no_law() -> None:
    """What is well is not called ill."""
    assert laws.lines_are_taken_once(["e1"], GOOD) == []
    assert laws.everything_is_dealt_with(GOOD, is_down) == []
    assert laws.no_effect_without_intent(GOOD, [EFFECT]) == []
    assert laws.attempts_are_counted(GOOD) == []
    assert laws.an_attempt_is_carried_out_once([EFFECT]) == []
    assert laws.effects_fit_the_rerun_class(GOOD, [EFFECT], CLASSES) == []
    assert laws.no_run_twice(GOOD) == []
    assert laws.every_run_ends(GOOD) == []
    assert laws.one_run_on_a_resource(GOOD) == []
    assert laws.guards_hold(GOOD, {"mend": GuardOf(300, (3, 3600))}) == []
    assert laws.priorities_are_kept(GOOD, lambda _: 2, is_down) == []
    assert laws.timeouts_are_kept(GOOD, {("mend", "act"): 30.0}) == []


def test_planted_bug_acknowledged_before_the_sync() -> None:
    """An acknowledgement that a power cut a moment later would have made a lie."""
    acks = [Acknowledged("e1", True), Acknowledged("e2", False)]
    assert laws.acknowledged_is_durable(acks) == ["event e2 was acknowledged before it was on the disk"]
    assert laws.acknowledged_is_kept(acks, GOOD) == ["event e2 was acknowledged and is not in the journal"]


def test_planted_bug_no_intent() -> None:
    """An effect outside that the journal does not know of."""
    without = [e for e in GOOD if e.type != "run.step_intended"]
    assert len(laws.no_effect_without_intent(without, [EFFECT])) == 1
    assert len(laws.no_effect_without_intent(GOOD, [EFFECT._replace(attempt=2)])) == 1


def test_planted_bug_attempts_only_in_memory() -> None:
    """After a restart the count begins at one again: the same number twice, and an effect too many."""
    history = [opened(), intended(1), intended(9), done(10), healed(11)]
    assert len(laws.attempts_are_counted(history)) == 1
    assert len(laws.an_attempt_is_carried_out_once([EFFECT, EFFECT])) == 1


def test_planted_bug_dedupe_forgotten() -> None:
    """The same line taken twice, and two runs for one event."""
    twice = [GOOD[0], *GOOD]
    assert laws.lines_are_taken_once(["e1"], twice) == ["inbox line e1 was taken 2 times"]
    assert len(laws.no_run_twice([opened(), opened(5, "run-2")])) == 1


def test_planted_bug_timeout_on_the_wall_clock() -> None:
    """After a leap of the wall clock an act seems to take an hour, or less than no time, or times out at once."""
    limit = {("mend", "act"): 30.0}
    assert len(laws.timeouts_are_kept([done(1, ms=3_600_000.0)], limit)) == 1
    assert len(laws.timeouts_are_kept([done(1, ms=-5.0)], limit)) == 1
    early = done(1, ms=20.0, ok=False, error="timeout: ended after 30 s")
    assert len(laws.timeouts_are_kept([intended(0), early], limit)) == 1
    assert laws.timeouts_are_kept([intended(0), event("daemon.started"), early], limit) == []
    assert laws.timeouts_are_kept([done(1, ms=3_600_000.0, died=True)], limit) == []


def test_a_line_that_never_came_in_is_missed() -> None:
    """Nothing lost."""
    assert laws.lines_are_taken_once(["e1", "e9"], GOOD) == ["inbox line e9 never came into the journal"]


def test_an_event_that_nobody_decided_is_missed() -> None:
    """Taken is processed: opened, joined, coalesced, held or dead."""
    assert len(laws.everything_is_dealt_with([GOOD[0]], is_down)) == 1
    held = event("reactor.decided", 1, event="e1", verdict="held")
    assert laws.everything_is_dealt_with([GOOD[0], held], is_down) == []


def test_never_retry_is_never_tried_again_after_a_crash() -> None:
    """It is verified, and then a person is asked."""
    history = [opened(), intended(1), done(2, ok=False, died=True), intended(3, 2), done(4, 2)]
    effects = [EFFECT, EFFECT._replace(attempt=2)]
    found = laws.effects_fit_the_rerun_class(history, effects, CLASSES)
    assert len(found) == 2
    assert "tried again after attempt 1 died" in found[1]


def test_check_before_retry_acts_once() -> None:
    """A second effect without an honest failure before it means that nobody looked."""
    history = [
        opened(),
        intended(1, skill="count_checked"),
        done(2, ok=False, died=True),
        intended(3, 2, skill="count_checked"),
        done(4, 2),
    ]
    one = Effect("count_checked", RUN, "act", 1, "t")
    assert laws.effects_fit_the_rerun_class(history, [one], CLASSES) == []
    assert len(laws.effects_fit_the_rerun_class(history, [one, one._replace(attempt=2)], CLASSES)) == 1


def test_an_honest_failure_allows_another_effect() -> None:
    """Retries that the playbook asks for are no accident."""
    history = [opened(), intended(1, skill="count_checked"), done(2, ok=False), intended(3, 2, skill="count_checked"), done(4, 2)]
    one = Effect("count_checked", RUN, "act", 1, "t")
    assert laws.effects_fit_the_rerun_class(history, [one, one._replace(attempt=2)], CLASSES) == []


def test_what_says_that_it_was_done_left_an_effect() -> None:
    """Idempotent means at least once, not maybe."""
    assert len(laws.effects_fit_the_rerun_class(GOOD, [], CLASSES)) == 1


def test_a_run_that_stands_still_is_missed() -> None:
    """Every run ends, or waits for a person."""
    assert len(laws.every_run_ends(GOOD[:-1])) == 1
    waits = event("run.waiting", 2, run=RUN, waits_for="approval", until="")
    assert laws.every_run_ends([opened(), waits]) == []
    retries = event("run.waiting", 2, run=RUN, waits_for="retry", until="")
    assert len(laws.every_run_ends([opened(), retries])) == 1


def test_two_runs_on_one_resource_are_seen() -> None:
    """A run locks what it touches."""
    history = [opened(), intended(1), opened(2, "run-2"), intended(3, run="run-2")]
    assert len(laws.one_run_on_a_resource(history)) == 1
    history = [opened(), intended(1), done(2), healed(3), opened(4, "run-2"), intended(5, run="run-2")]
    assert laws.one_run_on_a_resource(history) == []


def test_a_guard_that_forgot_over_a_restart_is_seen() -> None:
    """Cooldown from the end of the last run, and the limit slides."""
    guards = {"mend": GuardOf(300, (2, 3600))}
    soon = [*GOOD, opened(10, "run-2", "e2"), intended(11, run="run-2")]
    assert len(laws.guards_hold(soon, guards)) == 1
    many: list[Event] = []
    for n in range(3):
        many += [opened(n * 400.0, f"r{n}", f"e{n}"), intended(n * 400.0 + 1, run=f"r{n}"), healed(n * 400.0 + 2, f"r{n}")]
    assert len(laws.guards_hold(many, guards)) == 1
    assert laws.guards_hold(many[:6], guards) == []


def test_the_less_urgent_first_is_seen() -> None:
    """P1 before P3, unless P3 has aged or P1 had only just come."""

    def urgency(e: Event) -> int:
        return 1 if e.subject == "disk:/" else 3

    def seen(_: Event) -> bool:
        return True

    low = event("a.b", 0, id="low")
    high = event("c.d", 1, "disk:/", id="high")
    late = [low, high, opened(5, "r1", "low"), opened(6, "r2", "high", subject="disk:/")]
    assert len(laws.priorities_are_kept(late, urgency, seen)) == 1
    just_come = [low, high, opened(1.5, "r1", "low"), opened(6, "r2", "high", subject="disk:/")]
    assert laws.priorities_are_kept(just_come, urgency, seen) == []
    aged = [low, high, opened(70, "r1", "low"), opened(71, "r2", "high", subject="disk:/")]
    assert laws.priorities_are_kept(aged, urgency, seen) == []


def test_an_act_without_a_yes_is_seen() -> None:
    """approve: after a yes; observe, shadow, suggest: never."""

    def in_mode(mode: str) -> Event:
        return event("run.opened", run=RUN, playbook="mend", event="e1", resources=[], mode=mode)

    given = event("approval.given", 1, run=RUN, playbook="mend", plan="p", by="ann")
    assert len(laws.modes_are_kept([in_mode("approve"), intended(2)])) == 1
    assert laws.modes_are_kept([in_mode("approve"), given, intended(2)]) == []
    assert len(laws.modes_are_kept([in_mode("suggest"), given, intended(2)])) == 1
    assert laws.modes_are_kept([in_mode("auto"), intended(2)]) == []
