"""Plays a day from a seed with the product's own wiring, and holds its history against every law (`LAWS`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aios.entropy import SeededEntropy
from aios.errors import Temporary
from aios.events.calls import RerunClass, SkillCatalogue
from aios.events.event import Event
from aios.playbooks import load
from aios.reactor import shelf
from aios.reactor.pump import OPEN_RUNS_MAX
from aios.scheduler.priority import priority
from aios.testing.bodies import SKILLS
from aios.testing.loop import START_OF_TIME, VirtualClock, VirtualLoop, run_virtual
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from tests.simulation import laws
from tests.simulation.assembly import SETTINGS, Parts, blobs_of, read_journal, run_daemon
from tests.simulation.day import Day, History
from tests.simulation.files import real_files
from tests.simulation.guard_laws import (
    a_restart_changes_nothing,
    a_silence_is_told_once,
    closed_windows_are_kept,
    concurrency_is_kept,
    dependencies_are_kept,
    in_a_storm_nothing_is_done,
    nothing_is_held_for_ever,
    silences_are_kept,
    the_same_journal_finds_the_same,
    what_is_held_waits,
)
from tests.simulation.happenings import EVERY_FAULT, UNITS, Happening, Troubles, plan_of
from tests.simulation.laws import Breach
from tests.simulation.people_laws import a_pause_is_kept, what_waits_waits_out, who_is_cancelled_acts_no_more
from tests.simulation.playbooks import (
    ATTEMPTS,
    CLOSED,
    COUNT,
    COUNTED,
    GUARDS,
    LEANS,
    MACHINE_WINDOW,
    MATCHED,
    PLACES,
    SILENT,
    TIMEOUTS_S,
    WITHIN_S,
)
from tests.simulation.wiring import machine_with_hands

QUIET_S = 3 * 3600.0
CLASSES: dict[str, RerunClass] = {skill.name: skill.rerun for skill in SKILLS.values() if skill.name.startswith("count_")}


def play_day(
    seed: int,
    hours: float = 1.0,
    troubles: Troubles | None = None,
    parts: Parts | None = None,
    quiet_s: float = QUIET_S,
    settings: Mapping[str, Any] | None = None,
) -> History:
    """One day, whole, as it comes from its seed. Deterministic: the same arguments give the same journal."""
    return play(seed, plan_of(seed, hours, troubles or EVERY_FAULT), hours, parts, quiet_s, settings)


def play(
    seed: int,
    plan: Sequence[Happening],
    hours: float,
    parts: Parts | None = None,
    quiet_s: float = QUIET_S,
    settings: Mapping[str, Any] | None = None,
) -> History:
    """One day with just these happenings; the seed gives what else is chance (how long things take, what a power cut leaves)."""

    async def main(clock: VirtualClock, _: SeededEntropy) -> History:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        machine = machine_with_hands(loop, clock, seed, blobs_of)
        machine.disk.make_folders(f"{STATE_DIR}/inbox")

        def start(day: Day) -> SimProcess:
            mine = replace(parts or Parts(), settings=settings or {}, commit_s=lambda: day.commit_s)
            mine = replace(mine, durable=day.durable, assembled=day.meet)
            number = day.starts
            return machine.processes.spawn("daemon", lambda process: _one_life(machine, process, number, seed, mine))

        day = Day(machine, plan, start, seed, settings or {}, lambda name: blobs_of(machine.disk).get(name))
        return await day.run(hours, quiet_s, read_journal)

    with _compiled_once(), real_files():
        return run_virtual(main, seed)


async def _one_life(machine: SimMachine, process: SimProcess, number: int, seed: int, parts: Parts) -> int:
    """A disk that refuses, at the start or the end, ends it in order, and it is started again; other errors are bugs and rise."""
    try:
        return await run_daemon(machine, process, number, seed, parts)
    except (OSError, Temporary):
        return 1


def is_matched(event: Event) -> bool:
    return event.type in MATCHED


@dataclass(frozen=True, slots=True)
class Law:
    """`holds_for`: whether a history can be held against it. Name and sentence are those of the function in `laws`."""

    name: str
    sentence: str
    breaches: Callable[[History], Sequence[Breach]]
    holds_for: Callable[[History], bool] = lambda _: True


def _law(
    law: Callable[..., Sequence[Breach]],
    breaches: Callable[[History], Sequence[Breach]],
    holds_for: Callable[[History], bool] = lambda _: True,
) -> Law:
    return Law(law.__name__, " ".join((law.__doc__ or "").split("\n\n")[0].split()), breaches, holds_for)


def _clock_is_steady(history: History) -> bool:
    return "leap" not in history.happened


def _closed(history: History) -> Callable[[str], Sequence[tuple[float, float]]]:
    machine = [MACHINE_WINDOW] if "window" in history.settings else []
    return lambda playbook: [*machine, *([CLOSED[playbook]] if playbook in CLOSED else [])]


def _needs(history: History) -> Callable[[str, str], Sequence[str]]:
    """What the playbook says, what systemd knows, and what the settings of the day say."""
    said = history.settings.get("depends_on", {})
    known = {unit: needs for unit, (_, needs) in UNITS.items()}
    return lambda playbook, subject: [*LEANS.get(playbook, ()), *known.get(subject, ()), *said.get(subject, ())]


def _disk_is_quick(history: History) -> bool:
    return "disk_slow" not in history.happened


LAWS: Sequence[Law] = (
    _law(laws.acknowledged_is_durable, lambda h: laws.acknowledged_is_durable(h.acknowledged)),
    _law(laws.acknowledged_is_kept, lambda h: laws.acknowledged_is_kept(h.acknowledged, h.events)),
    _law(laws.lines_are_taken_once, lambda h: laws.lines_are_taken_once(h.lines, h.events)),
    _law(laws.everything_is_dealt_with, lambda h: laws.everything_is_dealt_with(h.events, is_matched)),
    _law(laws.no_effect_without_intent, lambda h: laws.no_effect_without_intent(h.events, h.effects)),
    _law(laws.an_act_begins_with_its_intent_on_the_disk, lambda h: laws.an_act_begins_with_its_intent_on_the_disk(h.began)),
    _law(laws.a_snapshot_stands_before_the_act, lambda h: laws.a_snapshot_stands_before_the_act(h.began)),
    _law(laws.an_attempt_is_carried_out_once, lambda h: laws.an_attempt_is_carried_out_once(h.effects)),
    _law(laws.attempts_are_counted, lambda h: laws.attempts_are_counted(h.events)),
    _law(laws.attempts_keep_to_their_limit, lambda h: laws.attempts_keep_to_their_limit(h.events, h.effects, ATTEMPTS)),
    _law(laws.effects_fit_the_rerun_class, lambda h: laws.effects_fit_the_rerun_class(h.events, h.effects, CLASSES, lied=h.lied)),
    _law(laws.results_are_their_own, lambda h: laws.results_are_their_own(h.events)),
    _law(laws.no_run_twice, lambda h: laws.no_run_twice(h.events)),
    _law(laws.every_run_ends, lambda h: laws.every_run_ends(h.events, asking_is_an_end=False)),
    _law(laws.one_run_on_a_resource, lambda h: laws.one_run_on_a_resource(h.events)),
    _law(laws.what_failed_is_as_before, lambda h: laws.what_failed_is_as_before(h.began, h.restored)),
    _law(laws.healed_is_well, lambda h: laws.healed_is_well(h.events, h.effects)),
    _law(laws.modes_are_kept, lambda h: laws.modes_are_kept(h.events)),
    _law(laws.an_answer_counts_once, lambda h: laws.an_answer_counts_once(h.events)),
    _law(laws.guards_hold, lambda h: laws.guards_hold(h.events, GUARDS), _clock_is_steady),
    _law(laws.priorities_are_kept, lambda h: laws.priorities_are_kept(h.events, priority, is_matched), _clock_is_steady),
    _law(laws.windows_are_complete, lambda h: laws.windows_are_complete(h.events, COUNTED, COUNT, WITHIN_S), _clock_is_steady),
    _law(concurrency_is_kept, lambda h: concurrency_is_kept(h.events, h.settings.get("concurrency", 0), PLACES)),
    _law(silences_are_kept, lambda h: silences_are_kept(h.events), _clock_is_steady),
    _law(in_a_storm_nothing_is_done, lambda h: in_a_storm_nothing_is_done(h.events), _clock_is_steady),
    _law(closed_windows_are_kept, lambda h: closed_windows_are_kept(h.events, _closed(h)), _clock_is_steady),
    _law(dependencies_are_kept, lambda h: dependencies_are_kept(h.again, _needs(h)), _clock_is_steady),
    _law(what_is_held_waits, lambda h: what_is_held_waits(h.events), _clock_is_steady),
    _law(nothing_is_held_for_ever, lambda h: nothing_is_held_for_ever(h.stored, h.again)),
    _law(a_restart_changes_nothing, lambda h: a_restart_changes_nothing(h.stored, h.known, h.again)),
    _law(the_same_journal_finds_the_same, lambda h: the_same_journal_finds_the_same(h.again)),
    _law(a_silence_is_told_once, lambda h: a_silence_is_told_once(h.events, *SILENT), _clock_is_steady),
    _law(a_pause_is_kept, lambda h: a_pause_is_kept(h.events)),
    _law(who_is_cancelled_acts_no_more, lambda h: who_is_cancelled_acts_no_more(h.events)),
    _law(what_waits_waits_out, lambda h: what_waits_waits_out(h.events), _clock_is_steady),
    _law(laws.timeouts_are_kept, lambda h: laws.timeouts_are_kept(h.events, TIMEOUTS_S), _disk_is_quick),
    _law(laws.queues_are_bounded, lambda h: laws.queues_are_bounded(h.events, SETTINGS["queue_max"], OPEN_RUNS_MAX + 5)),
    _law(laws.nothing_is_left, lambda h: laws.nothing_is_left(h.events, h.left)),
)


class Broken(str):
    """A law that does not hold: the whole sentence, with seed, time and event; `law` is its name."""

    __slots__ = ("law",)
    law: str

    def __new__(cls, seed: int, law: str, breach: Breach) -> Broken:
        event = breach.event
        when = f" at {_clock(event.taken)}, {event.type} {event.id} of {event.subject}" if event is not None else ""
        broken = super().__new__(cls, f"seed {seed}{when}: {law}: {breach}")
        broken.law = law
        return broken


def _clock(at: float) -> str:
    seconds = at - START_OF_TIME
    return f"{'-' if seconds < 0 else ''}{abs(seconds) // 3600:02.0f}:{abs(seconds) % 3600 // 60:02.0f}:{abs(seconds) % 60:06.3f}"


def broken_laws(history: History) -> list[Broken]:
    """Everything that is wrong with a history."""
    return [Broken(history.seed, law.name, breach) for law in LAWS if law.holds_for(history) for breach in law.breaches(history)]


# Every restart reads the same playbooks, and nothing of a loaded playbook ever changes: here each folder is compiled once. The
# product is not asked and does not know.
_load_many = shelf.load_many
_compiled: dict[tuple[tuple[str, str], ...], load.Loaded] = {}


def _load_once(
    texts: Mapping[str, str], skills: SkillCatalogue, _known: load.Known | None = None, _standing: Container[str] = ()
) -> load.Loaded:
    key = tuple(texts.items())
    if key not in _compiled:
        _compiled[key] = _load_many(texts, skills)
    return _compiled[key]


@contextmanager
def _compiled_once() -> Iterator[None]:
    shelf.load_many = _load_once
    try:
        yield
    finally:
        shelf.load_many = _load_many
