"""The laws catch what they are there to catch: each is shown a history in order, and one with the bug planted."""

from __future__ import annotations

from typing import Any

from aios.events.event import Event, format_time
from aios.testing.bodies import Effect
from tests.simulation import guard_laws, laws
from tests.simulation.harness import Broken
from tests.simulation.laws import Acknowledged, Attempt, Began, GuardOf, Restored, Setting

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


def decided(at: float, guard: str, until: float, subject: str = "web.service", playbook: str = "mend") -> Event:
    moment = format_time(BEGAN + until) if until else ""
    return event("reactor.decided", at, subject, playbook=playbook, verdict="held", guard=guard, until=moment, event="e0")


def test_planted_bug_an_act_in_a_silence_or_a_storm() -> None:
    """Until its end, also where a person ends it before its time."""
    said = {"silence": "s1", "subject": "web.*", "playbook": "", "until": format_time(BEGAN + 60.0)}
    silenced = event("daemon.silenced", -60.0)._replace(data=said)
    assert len(guard_laws.silences_are_kept([silenced, *GOOD])) == 1
    ended = event("daemon.silence_ended", -1.0, silence="s1")
    assert guard_laws.silences_are_kept([silenced, ended, *GOOD]) == []
    storm, over = event("reactor.storm_began", -60.0), event("reactor.storm_over", -1.0)
    assert len(guard_laws.in_a_storm_nothing_is_done([storm, *GOOD])) == 1
    assert guard_laws.in_a_storm_nothing_is_done([storm, over, *GOOD]) == []


def test_planted_bug_a_file_that_is_not_as_before() -> None:
    """Every name below what a run touched: changed, gone, or left over; of a rollback that says itself that it failed nothing."""
    back = event("run.rolled_back", 3.0, run=RUN, ok=True)
    was = {"/world/a": {"": "folder", "x": "1", "y": "2"}}
    began = [Began(Attempt(RUN, "act", n), True, True, {}, files) for n, files in ((1, was), (2, {"/world/a": {"x": "spoiled"}}))]
    assert laws.what_failed_is_as_before(began, [Restored(back, True, {}, was)]) == []
    now = {"/world/a": {"": "folder", "x": "spoiled", "z": "3"}}
    said = laws.what_failed_is_as_before(began, [Restored(back, True, {}, now)])
    assert [str(one).split(", and ")[1][:10] for one in said] == ["/world/a/x", "/world/a/y", "/world/a/z"]
    assert laws.what_failed_is_as_before(began, [Restored(back, False, {}, now)]) == []


def test_planted_bug_a_guard_that_did_not_last() -> None:
    """What was held until a time runs before it; what a person lifted may."""
    assert len(guard_laws.what_is_held_waits([decided(-9.0, "breaker", 60.0), *GOOD])) == 1
    assert guard_laws.what_is_held_waits([decided(-9.0, "breaker", 60.0), event("daemon.resumed", -1.0), *GOOD]) == []
    assert guard_laws.what_is_held_waits([decided(-9.0, "breaker", 0.05), *GOOD]) == []


def test_planted_bug_a_silence_told_twice() -> None:
    """Between the two something has to be heard."""
    beat, again = event("beat", 0.0), event("beat", 20.0)
    told = [event("reactor.correlated", at, playbook="mute") for at in (10.0, 30.0)]
    assert guard_laws.a_silence_is_told_once([beat, told[0], again, told[1]], "mute", "beat") == []
    assert len(guard_laws.a_silence_is_told_once([beat, *told], "mute", "beat")) == 1


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


def test_an_act_that_begins_unannounced_or_unsaved_is_seen() -> None:
    """Both are noted at the moment when the act begins, not afterwards."""
    attempt = Attempt(RUN, "act", 1)
    good = Began(attempt, intended=True, saved=True, settings={})
    assert laws.an_act_begins_with_its_intent_on_the_disk([good]) == laws.a_snapshot_stands_before_the_act([good]) == []
    assert len(laws.an_act_begins_with_its_intent_on_the_disk([good._replace(intended=False)])) == 1
    assert len(laws.a_snapshot_stands_before_the_act([good._replace(saved=False)])) == 1


def test_a_world_that_is_not_as_before_is_seen() -> None:
    """Enablement and mask always; running only where it ran, and did not fall by itself."""
    before = Setting(enabled=True, masked=False, runs=True, falls=0)
    began = [Began(Attempt(RUN, "act", 1), True, True, {"web.service": before})]
    back = event("run.rolled_back", 2, run=RUN, playbook="mend", ok=True)

    def judged(now: Setting, ok: bool = True) -> int:
        return len(laws.what_failed_is_as_before(began, [Restored(back, ok, {"web.service": now})]))

    assert judged(before) == 0
    assert judged(before._replace(masked=True)) == 1
    assert judged(before._replace(masked=True), ok=False) == 0
    assert judged(before._replace(runs=False)) == 1
    assert judged(before._replace(runs=False, falls=1)) == 0


def test_an_answer_that_counts_twice_is_seen() -> None:
    """One answer a question; what was answered is not asked again; after a no nothing is done."""

    def word(kind: str, at: float) -> Event:
        return event(f"approval.{kind}", at, run=RUN, playbook="mend", plan="p", by="ann")

    asked, yes, no = word("requested", 1), word("given", 2), word("denied", 3)
    assert laws.an_answer_counts_once([asked, yes, intended(4)]) == []
    assert len(laws.an_answer_counts_once([asked, yes, no])) == 1
    assert len(laws.an_answer_counts_once([asked, yes, word("requested", 3)])) == 1
    assert len(laws.an_answer_counts_once([asked, word("requested", 3)])) == 1
    assert len(laws.an_answer_counts_once([asked, no, intended(4)])) == 1


def test_too_many_attempts_and_foreign_results_are_seen() -> None:
    """Effects <= attempts <= the limit; and an attempt is told its own result."""
    history = [opened(), *(e for n in (1, 2, 3) for e in (intended(n, n), done(n + 0.5, n, ok=False)))]
    assert laws.attempts_keep_to_their_limit(history, [], {("mend", "act"): 3}) == []
    assert len(laws.attempts_keep_to_their_limit(history, [], {("mend", "act"): 2})) == 1
    assert len(laws.attempts_keep_to_their_limit(history[:3], [EFFECT, EFFECT._replace(tag="u")], {})) == 1
    own = event("run.step_done", 9, run=RUN, playbook="mend", step="act", attempt=2, ok=True, result={"attempt": 2})
    assert laws.results_are_their_own([own]) == []
    other = own._replace(data={**own.data, "result": {"attempt": 1}})
    assert len(laws.results_are_their_own([other])) == 1


def test_what_is_healed_and_not_well_is_seen() -> None:
    """A run that counts, and whose effect is not there."""
    begun = event("run.opened", run=RUN, playbook="count-never", event="e1", trigger={"data": {"tag": "t"}})
    assert laws.healed_is_well([begun, healed(2)], [EFFECT]) == []
    assert len(laws.healed_is_well([begun, healed(2)], [])) == 1


def test_what_is_left_at_the_end_is_seen() -> None:
    """A queue that is not empty, a run that is open, a process that lives; and bounds that were overrun."""
    beat = event("daemon.heartbeat", 9, queue=0, open_runs=0)
    assert laws.nothing_is_left([beat], []) == []
    assert len(laws.nothing_is_left([beat], ["act:r/s.1"])) == 1
    assert len(laws.nothing_is_left([event("daemon.heartbeat", 9, queue=3, open_runs=1)], [])) == 2
    assert len(laws.nothing_is_left([], [])) == 1
    assert laws.queues_are_bounded([beat], 10, 10) == []
    assert len(laws.queues_are_bounded([event("daemon.heartbeat", 9, queue=11, open_runs=0)], 10, 10)) == 1


def test_a_breach_says_where_it_showed() -> None:
    """The seed, the time, the event and the law are in the sentence that is printed."""
    [breach] = laws.every_run_ends([opened(3661.5)])
    broken = Broken(7, "every_run_ends", breach)
    assert broken.law == "every_run_ends"
    for word in ("seed 7", "01:01:01.500", "run.opened", "web.service", "every_run_ends"):
        assert word in broken
