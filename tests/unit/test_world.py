"""The world is folded from the journal alone: the same events give the same world, from the start or from any checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.events.catalogue import CLOSES
from aios.events.codec import decode_json, encode_json
from aios.events.event import Event, Position, Stored, format_time
from aios.playbooks.run import Run
from aios.playbooks.run_table import RESERVED_STEPS, TABLE
from aios.scores.scores import Scores
from aios.testing.loop import START_OF_TIME
from aios.world import INCIDENT_QUIET_S, SYMPTOMS_MAX, World

T0 = START_OF_TIME
SUBJECTS = ("web.service", "db.service", "job:1")
PLAYBOOKS = ("mend", "other")
SEEN = ("service.down", "service.up", "service.stopped", "resource.cpu_spike", "resource.cpu_normal", "agent.error", "work.odd")


class Journal:
    """Events one after the other, each some seconds after the one before."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.world = World(Scores())
        self.now = T0

    def add(
        self, type: str, subject: str = "host", data: dict[str, Any] | None = None, after_s: float = 1.0, **more: Any
    ) -> Event:
        self.now += after_s
        n = len(self.stored)
        at = format_time(self.now)
        event = Event(more.pop("id", f"e{n}"), "t", type, subject, at, data or {}, at, **more)
        position = Position("2026-02-24", 1, n * 100)
        self.stored.append(Stored(event, position))
        self.world.apply(event, position)
        return event

    def decided(self, event: Event, verdict: str, playbook: str = "mend", **more: Any) -> Event:
        position = next(str(p) for e, p in self.stored if e.id == event.id)
        data: dict[str, Any] = {"event": event.id, "position": position, "type": event.type, "verdict": verdict}
        data |= {"playbook": playbook, "run": "", "guard": "", "until": "", "why": "", "considered": [], **more}
        return self.add("reactor.decided", event.subject, data, correlationid=event.id, causationid=event.id)

    def opened(self, event: Event, playbook: str = "mend", run: str = "") -> str:
        run = run or f"run-{event.id}-{playbook}"
        trigger = {name: getattr(event, name) for name in ("id", "source", "type", "subject", "time", "severity")}
        data: dict[str, Any] = {"run": run, "playbook": playbook, "hash": "h", "event": event.id, "mode": "auto"}
        data |= {"resources": [event.subject], "trigger": {**trigger, "data": dict(event.data)}, "priority": 2, "lineage": []}
        self.add("run.opened", event.subject, data, id=run, correlationid=event.id, causationid=event.id)
        return run

    def of_run(self, type: str, run: str, **more: Any) -> Event:
        known: Run = self.world.runs.get(run) or self.world.recent[run]
        data = {"run": run, "playbook": known.playbook, **more}
        return self.add(type, known.subject, data, correlationid=known.incident, causationid=run)

    def intended(self, run: str, step: str = "act", attempt: int = 1) -> None:
        more: dict[str, Any] = {"skill": "s", "params": {}, "files": [], "units": []}
        self.of_run("run.step_intended", run, step=step, attempt=attempt, **more)

    def done(self, run: str, step: str = "act", attempt: int = 1, **flags: Any) -> None:
        more = {"skill": "s", "kind": "act", "ok": True, "result": {}, "next": [], "error": "", "ms": 1.0, **flags}
        self.of_run("run.step_done", run, step=step, attempt=attempt, **more)


def folded(stored: list[Stored], world: World | None = None) -> World:
    world = world or World(Scores())
    for event, position in stored:
        world.apply(event, position)
    return world


def through_a_checkpoint(world: World) -> World:
    return World.from_json(decode_json(encode_json(world.to_json())), Scores.from_json)


# --- histories, generated


def _say_of(journal: Journal, run: str, type: str, draw: Any) -> None:
    step = draw(st.sampled_from(["act", "look", *RESERVED_STEPS]))
    until = format_time(journal.now + draw(st.sampled_from([1.0, 500.0])))
    extra: dict[str, dict[str, Any]] = {
        "run.waiting": {"waits_for": draw(st.sampled_from(["retry", "approval", "hands"])), "until": until, "step": step},
        "approval.requested": {"plan": "p", "acts": [{"step": "act", "skill": "s", "params": {}}], "until": until},
        "approval.given": {"plan": "p", "by": "ann"},
        "approval.denied": {"by": "ann"},
        "run.cancelled": {"by": "ann"},
        "run.rollback_asked": {"by": "ann"},
        "run.not_healed": {"why": "w", "proof": []},
        "run.unknown": {"why": "w"},
        "run.rolled_back": {"ok": draw(st.booleans()), "proof": [], "error": "", "by": ""},
        "run.rung_done": {"rung": 0, "what": "notify", "run_opened": "", "healed": draw(st.booleans()), "error": ""},
        "run.escalated": {"why": "w", "asked": []},
    }
    if type == "run.step_intended":
        journal.intended(run, step, draw(st.integers(1, 3)))
    elif type == "run.step_done":
        flags = draw(st.sampled_from([{}, {"voided": True}, {"died": True}, {"skipped": True}, {"ok": False}]))
        journal.done(run, step, draw(st.integers(1, 3)), **flags)
    else:
        journal.of_run(type, run, **extra.get(type, {}))


@st.composite
def histories(draw: st.DrawFn) -> list[Stored]:
    """Any order of what may happen: what is seen, decided, held; runs that go every way that their table allows."""
    journal = Journal()
    for _ in range(draw(st.integers(5, 40))):
        what = draw(st.sampled_from(["seen", "seen", "decided", "open", "run", "run", "run", "rare"]))
        subject, playbook = draw(st.sampled_from(SUBJECTS)), draw(st.sampled_from(PLAYBOOKS))
        journal.now += draw(st.sampled_from([0.0, 0.5, 30.0, 700.0]))
        seen = [one for one, _ in journal.stored if one.type in SEEN]
        if what == "run" and journal.world.runs:
            run = draw(st.sampled_from(sorted(journal.world.runs)))
            legal = sorted(type for status, type in TABLE if status == journal.world.runs[run].status)
            _say_of(journal, run, draw(st.sampled_from(legal)), draw)
        elif what == "open" and seen:
            journal.opened(draw(st.sampled_from(seen)), playbook)
        elif what == "decided" and seen:
            verdict = draw(st.sampled_from(["joined", "coalesced", "held", "released", "cannot_say"]))
            until = draw(st.sampled_from(["", format_time(journal.now + 60.0)]))
            guard = draw(st.sampled_from(["cooldown", "breaker"]))
            journal.decided(draw(st.sampled_from(seen)), verdict, playbook, guard=guard, until=until)
        elif what == "rare":
            _rare(journal, draw, seen)
        else:
            origin = f"inbox/{subject[:2]}@1.2.0:{len(journal.stored) * 10}+10~00000000"
            journal.add(draw(st.sampled_from(SEEN)), subject, {"used": 0.99}, origin=origin, severity="error")
    return journal.stored


def _rare(journal: Journal, draw: st.DrawFn, seen: list[Event]) -> None:
    event = draw(st.sampled_from(seen)) if seen else None
    position = next((str(p) for e, p in journal.stored if e is event), "")
    letter = {"letter": "l1", "event": event.id if event else "", "position": position, "reason": "r"}
    data: dict[str, dict[str, Any]] = {
        "daemon.paused": {"by": "ann", "reason": "", "until": ""},
        "daemon.resumed": {"by": "ann"},
        "daemon.started": {"clean": True},
        "daemon.stopped": {"reason": "r"},
        "daemon.heartbeat": {"dealt_with": position},
        "playbook.disabled": {"playbook": "mend", "by": "ann"},
        "playbook.enabled": {"playbook": "mend", "by": "ann"},
        "playbook.loaded": {"playbooks": {"mend": "h"}, "paths": {"mend": "p"}, "own_types": ["timer.due"], "disabled": []},
        "playbook.kept": {"playbook": "mend", "manifest": "m", "files": []},
        "timer.due": {"timer": "t", "planned": format_time(journal.now)},
        "reactor.called": {"playbook": "mend", "guard": "loop", "why": "w"},
        "score.degraded": {"score": 0.2, "dimensions": {}},
        "score.recovered": {"score": 0.9, "degraded_s": 1.0},
        **({"scheduler.dead_letter": letter, "scheduler.retried": {"letter": "l1", "by": "ann"}} if event else {}),
    }
    type = draw(st.sampled_from(sorted(data)))
    journal.add(type, event.subject if event else "system", data[type])


def prefixes(stored: list[Stored]) -> Iterator[tuple[list[Stored], list[Stored]]]:
    step = max(1, len(stored) // 8)
    return ((stored[:n], stored[n:]) for n in range(0, len(stored) + 1, step))


@settings(max_examples=120)
@given(histories())
def test_a_checkpoint_anywhere_and_the_rest_give_the_same_world(stored: list[Stored]) -> None:
    """Fold all, or load a checkpoint at any prefix and fold the rest: no difference that anybody could see."""
    whole = folded(stored)
    expected = encode_json(whole.to_json())
    for before, after in prefixes(stored):
        world = folded(after, through_a_checkpoint(folded(before)))
        assert encode_json(world.to_json()) == expected
        assert world.open_pairs == whole.open_pairs


@settings(max_examples=100)
@given(histories(), st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_what_is_folded_in_batches_gives_the_same_world(stored: list[Stored], sizes: list[int]) -> None:
    """The living daemon folds batches, a start one event after the other: no difference that anybody could see."""
    world, left = World(Scores()), list(stored)
    for size in cycle(sizes):
        world.apply_all(left[:size])
        left = left[size:]
        if not left:
            break
    assert encode_json(world.to_json()) == encode_json(folded(stored).to_json())
    assert list(world.origins.items()) == list(folded(stored).origins.items())


@settings(max_examples=60)
@given(histories())
def test_open_runs_and_their_pairs_agree(stored: list[Stored]) -> None:
    """Each run is open or recent, never both; every pair leads to an open run of just that pair."""
    world = folded(stored)
    assert not world.runs.keys() & world.recent.keys()
    assert all(not run.ended for run in world.runs.values())
    for (playbook, subject), run in world.open_pairs.items():
        assert (world.runs[run].playbook, world.runs[run].subject) == (playbook, subject)


# --- symptoms


@pytest.mark.parametrize(("closing", "opened"), [(closing, one) for closing, openeds in CLOSES.items() for one in openeds])
def test_a_symptom_stands_until_its_closing_event_on_the_same_subject(closing: str, opened: str) -> None:
    journal = Journal()
    journal.add(opened, "a", {"score": 0.2, "dimensions": {}})
    journal.add(closing, "b", {"score": 0.9, "degraded_s": 1.0})
    assert ("a", opened) in journal.world.symptoms
    first = journal.world.symptoms["a", opened]
    journal.add(opened, "a", {"score": 0.2, "dimensions": {}})
    assert journal.world.symptoms["a", opened] == first, "said again while it stands it is the same symptom"
    journal.add(closing, "a", {"score": 0.9, "degraded_s": 1.0})
    assert ("a", opened) not in journal.world.symptoms


def test_symptoms_are_bounded() -> None:
    """Invented subjects without end do not fill the memory: the oldest are forgotten."""
    world = World(Scores())
    for n in range(SYMPTOMS_MAX + 5):
        at = format_time(T0)
        world.apply(Event(f"e{n}", "t", "service.down", f"s{n}", at, {}, at), Position("2026-02-24", 1, n))
    assert len(world.symptoms) == SYMPTOMS_MAX
    assert ("s0", "service.down") not in world.symptoms


# --- decisions


@pytest.mark.parametrize("verdict", ["joined", "cannot_say", "released"])
def test_what_was_held_is_held_no_more_once_it_is_dealt_with_otherwise(verdict: str) -> None:
    """Else all that comes after would be coalesced into it for ever."""
    journal = Journal()
    event = journal.add("work.odd", "a")
    journal.decided(event, "held", guard="cooldown", until=format_time(T0 + 60.0))
    assert journal.world.held
    journal.decided(event, verdict)
    assert journal.world.held == {}


def test_what_is_coalesced_leaves_the_holding_as_it_is() -> None:
    journal = Journal()
    event = journal.add("work.odd", "a")
    journal.decided(event, "held", guard="cooldown", until=format_time(T0 + 60.0))
    journal.decided(journal.add("work.odd", "a"), "coalesced", guard="cooldown")
    assert journal.world.held["mend", "a"].event == event.id
    assert journal.world.undecided == {}


def test_a_retried_dead_letter_is_undecided_again() -> None:
    """A crash between the person's word and the decision loses nothing."""
    journal = Journal()
    event = journal.add("work.odd", "a")
    position = str(journal.stored[0].position)
    journal.add("scheduler.dead_letter", "a", {"letter": "l", "event": event.id, "position": position, "reason": "r"})
    assert journal.world.undecided == {}
    journal.add("scheduler.retried", "system", {"letter": "l", "by": "ann"})
    assert journal.world.undecided == {event.id: journal.stored[0].position}
    assert len(journal.world.dead) == 0


def test_own_types_are_undecided_only_where_the_playbooks_in_force_named_them() -> None:
    """`playbook.loaded` says which; so a replay agrees with the life before, whatever the folder holds by now."""
    journal = Journal()
    journal.add("timer.due", data={"timer": "t", "planned": format_time(T0)}, id="before")
    journal.add("playbook.loaded", "system", {"playbooks": {"x": "h"}, "own_types": ["timer.due"], "disabled": []})
    journal.add("timer.due", data={"timer": "t", "planned": format_time(T0)}, id="after")
    assert list(journal.world.undecided) == ["after"]


def test_the_heartbeat_forgets_what_was_dealt_with() -> None:
    journal = Journal()
    for _ in range(3):
        journal.add("work.odd", "a")
    journal.add("daemon.heartbeat", "system", {"dealt_with": str(journal.stored[1].position)})
    assert list(journal.world.undecided) == ["e2"]


# --- incidents


def test_an_incident_opens_with_the_first_matched_event_and_closes_after_ten_quiet_minutes() -> None:
    journal = Journal()
    first = journal.add("work.odd", "a")
    journal.opened(first)
    assert journal.world.incident_of("a", journal.now + INCIDENT_QUIET_S) is not None
    assert journal.world.incident_of("a", journal.now + INCIDENT_QUIET_S + 1.0) is None
    second = journal.add("work.odd", "a")
    journal.decided(second, "joined")
    incident = journal.world.incident_of("a", journal.now)
    assert incident is not None
    assert incident.id == first.id, "while one is open no other opens"
    journal.now += INCIDENT_QUIET_S + 1.0
    third = journal.add("work.odd", "a")
    journal.decided(third, "joined")
    later = journal.world.incident_of("a", journal.now)
    assert later is not None
    assert (later.id, later.called) == (third.id, False)


def test_that_a_person_was_called_is_remembered_as_long_as_the_incident() -> None:
    journal = Journal()
    first = journal.add("work.odd", "a")
    journal.decided(first, "held", guard="loop")
    journal.add("reactor.called", "a", {"playbook": "mend", "guard": "loop", "why": "w"}, correlationid=first.id)
    journal.decided(journal.add("work.odd", "a"), "coalesced")
    incident = journal.world.incident_of("a", journal.now)
    assert incident is not None
    assert incident.called


@pytest.mark.parametrize(
    ("guard", "cure"),
    [
        ("loop", "aios explain abcdef01; when it is mended: aios resume"),
        ("depends_on", "aios explain abcdef01"),
        ("torn", "aios runs show abcdef01"),
    ],
)
def test_a_guard_that_calls_says_what_to_type(guard: str, cure: str) -> None:
    """Who is woken needs the next command, not only the reason."""
    journal = Journal()
    data = {"playbook": "mend", "guard": guard, "why": "it went round"}
    event = journal.add("reactor.called", "a", data, causationid="abcdef0123456789")
    assert journal.world.uncalled[event.id].why == f"it went round  {cure}"


# --- guards and causes


def test_a_run_counts_once_however_often_its_act_was_void() -> None:
    """An attempt that never began is neither a try nor a second run; a checkpoint in between changes nothing."""
    journal = Journal()
    run = journal.opened(journal.add("work.odd", "a"))
    for attempt in (1, 2, 3):
        journal.intended(run, attempt=attempt)
        journal.done(run, attempt=attempt, ok=False, voided=True)
        journal.world = through_a_checkpoint(journal.world)
    journal.intended(run, attempt=4)
    assert len(journal.world.guards.pairs["mend", "a"].starts) == 1


def test_looking_counts_in_no_guard() -> None:
    journal = Journal()
    run = journal.opened(journal.add("work.odd", "a"))
    journal.done(run, "look", kind="observe")
    journal.of_run("run.observed", run, would=[], verdict="no_data")
    assert journal.world.guards.pairs == {}
    assert list(journal.world.guards.acts) == []


def test_what_is_seen_while_a_run_acts_and_ten_seconds_on_is_its_doing() -> None:
    """On its own resources and on their dependents; a checkpoint in between changes nothing."""
    journal = Journal()
    journal.add("daemon.relations_learned", data={"afresh": True, "watched": [], "sufferers": {"db.service": ["web.service"]}})
    run = journal.opened(journal.add("work.odd", "db.service"))
    assert journal.world.attributed("db.service", journal.now) is None
    journal.intended(run)
    journal.done(run)
    journal.of_run("run.healed", run, proof=[], acts=["act"])
    ended = journal.now
    for world in (through_a_checkpoint(journal.world), journal.world):
        for subject in ("db.service", "web.service"):
            found = world.attributed(subject, ended + 9.9)
            assert found is not None
            assert found.id == run
        assert world.attributed("other.service", ended + 1.0) is None
        assert world.attributed("db.service", ended + 10.0) is None


def test_resume_forgives_the_breakers_that_hold_and_no_others() -> None:
    journal = Journal()
    for subject in ("a", "b"):
        for n in range(3):
            run = journal.opened(journal.add("work.odd", subject), run=f"{subject}{n}")
            journal.intended(run)
            journal.done(run)
            journal.of_run("run.healed", run, proof=[], acts=["act"])
    journal.decided(journal.add("work.odd", "a"), "held", guard="breaker", until=format_time(T0 + 3600.0))
    journal.add("daemon.resumed", "system", {"by": "ann"})
    assert len(journal.world.guards.pairs["mend", "a"].starts) == 0
    assert len(journal.world.guards.pairs["mend", "b"].starts) == 3


def test_a_pause_with_an_end_ends_then() -> None:
    journal = Journal()
    journal.add("daemon.paused", "system", {"by": "ann", "reason": "", "until": format_time(T0 + 100.0)})
    assert journal.world.is_paused(T0 + 99.0)
    assert not journal.world.is_paused(T0 + 101.0)
    assert journal.world.paused_until == pytest.approx(T0 + 100.0)


def test_a_checkpoint_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        World.from_json({"version": 99}, Scores.from_json)


def test_a_clock_that_comes_to_the_end_of_a_run_a_second_time_puts_nothing_down_to_it() -> None:
    """The run settled long before the clock was put back to just that time: neither a checkpoint nor the journal revives it."""
    journal = Journal()
    run = journal.opened(journal.add("service.down", "a"))
    journal.intended(run)
    journal.done(run)
    journal.of_run("run.healed", run, ms=1, proof=[], acts=["act"])
    ended = journal.now
    journal.now += 60.0
    journal.add("daemon.heartbeat", "system")
    journal.now = ended - 5.0
    journal.add("daemon.heartbeat", "system")
    for world in (journal.world, through_a_checkpoint(journal.world)):
        assert run in world.recent
        assert world.attributed("a", ended + 1.0) is None


def test_a_clock_that_was_set_back_puts_nothing_down_to_what_ended_by_the_old_one() -> None:
    """A run ended an hour ahead of now: neither the life that saw it nor one from its checkpoint takes it for a cause."""
    journal = Journal()
    run = journal.opened(journal.add("service.down", "a"))
    journal.intended(run)
    journal.done(run)
    journal.of_run("run.healed", run, ms=1, proof=[], acts=["act"])
    for world in (through_a_checkpoint(journal.world), journal.world):
        ended = world.recent[run].ended_at
        subject = world.recent[run].subject
        assert world.attributed(subject, ended + 1.0) is not None
        assert world.attributed(subject, ended - 3600.0) is None
        assert world.incident_of(subject, ended) is not None
        assert world.incident_of(subject, ended - 3600.0) is None


def test_what_differs_from_the_last_good_copy_is_known_to_the_open_run_and_to_the_question() -> None:
    """Also after a checkpoint; of a run that is over nothing is noted, and a list that went to a blob is only counted."""
    journal = Journal()
    run = journal.opened(journal.add("service.down", "web.service"))
    about = {"run": run, "playbook": "mend", "generation": 1, "blob": "b"}
    journal.add("playbook.changed_since_good", "web.service", {**about, "changed": ["/srv/a"], "files": 1})
    again = World.from_json(decode_json(encode_json(journal.world.to_json())), Scores.from_json)
    said = "1 file is not as when it was last well: /srv/a (aios keep diff web.service)"
    assert again.runs[run].differs == journal.world.runs[run].differs == said
    asked = {"run": run, "playbook": "mend", "plan": "p", "acts": [], "until": "", "differs": said}
    event = journal.add("approval.requested", "web.service", asked)
    assert journal.world.uncalled[event.id].why.endswith(said)
    journal.add("playbook.changed_since_good", "web.service", {**about, "changed": {"blob": "x", "bytes": 9}, "files": 3})
    assert journal.world.runs[run].differs.startswith("3 files are not as when it was last well: … (")
    journal.add("playbook.changed_since_good", "web.service", {**about, "run": "gone", "changed": [], "files": 1})
