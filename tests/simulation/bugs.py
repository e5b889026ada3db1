"""Bugs that are planted into the product's own code, one at a time, to see that the simulation finds them.

Each is a patch of a function or two, made for as long as `planted(name)` lasts; nothing in the product knows of it. `BUGS` says
in what troubles each is looked for, and which law must name it. Called by the tests, and by `python -m tests.simulation --bug`.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aios.blobs.bulk import BulkFile
from aios.clock import Clock
from aios.daemon import assemble as daemon_assembly
from aios.errors import AiosError
from aios.events.calls import SkillCall
from aios.events.event import Event, Position
from aios.hands import attempt, launcher, rollback, snapshot
from aios.hands.client import HandsClient
from aios.hands.restore import Restore
from aios.journal.thread import InlineWriter
from aios.journal.writer import JournalFile
from aios.playbooks.correlate import Correlator
from aios.playbooks.guards import GuardBook
from aios.playbooks.maintenance import WindowSet
from aios.playbooks.run_state import RunState
from aios.playbooks.silences import SilenceBook
from aios.ports import Files
from aios.reactor import decide, holding
from aios.reactor.runs import Runner, RunnerPorts
from aios.scheduler.slots import Slots
from aios.world import World
from tests.simulation import assembly
from tests.simulation.happenings import CALM, Troubles


@dataclass(frozen=True, slots=True)
class Patch:
    """In `owner`, `name` is made anew from what it was."""

    owner: Any
    name: str
    made: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Bug:
    """`law` is one that must name it, `troubles` where it is looked for."""

    sentence: str
    law: str
    troubles: Troubles
    patches: Sequence[Patch]


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The product with this bug; with none, where the name is empty."""
    with ExitStack() as stack:
        for patch in BUGS[name].patches if name else ():
            was = patch.owner.__dict__[patch.name]
            setattr(patch.owner, patch.name, patch.made(was))
            stack.callback(setattr, patch.owner, patch.name, was)
        yield


# --- the journal


class _NeverSyncs:
    """A disk on which a sync returns before it has begun."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def fdatasync(self, fd: int) -> None:
        self._files.fstat(fd)


class _NeverSyncsAny(_NeverSyncs):
    """The other kind of sync, too."""

    def fsync(self, fd: int) -> None:
        self._files.fstat(fd)


def _without_sync(commit: Any) -> Any:
    def commit_unsynced(self: Any, lines: Sequence[bytes], now: float) -> list[Position]:
        files = self._files
        self._files = _NeverSyncs(files)
        try:
            positions: list[Position] = commit(self, lines, now)
            return positions
        finally:
            self._files = files

    return commit_unsynced


def _acknowledged_first(append: Any) -> Any:
    def append_and_say_so(self: Any, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        append(self, events, lines)
        file, answer = self._file, asyncio.get_running_loop().create_future()
        answer.set_result([Position(file.part.day, file.part.number, file._length + n) for n, _ in enumerate(events)])
        return answer

    return append_and_say_so


def _without_intents(append: Any) -> Any:
    def append_others(self: Any, events: Sequence[Event], lines: Sequence[bytes] | None = None) -> Future[list[Position]]:
        kept = [event for event in events if event.type != "run.step_intended"]
        answer: Future[list[Position]] = asyncio.get_running_loop().create_future()

        def told(done: Future[list[Position]]) -> None:
            left, last, positions = iter(done.result()), Position("2026-02-24", 1, 0), []
            for event in events:
                last = last if event.type == "run.step_intended" else next(left)
                positions.append(last)
            answer.set_result(positions)

        append(self, kept).add_done_callback(told)
        return answer

    return append_others


# --- what is remembered


def _forgets(what: Callable[[World], None]) -> Callable[[Any], Any]:
    def made(remember: Any) -> Any:
        def remember_less(*args: Any) -> Any:
            found = remember(*args)
            what(found[0])
            return found

        return remember_less

    return made


def _attempts(world: World) -> None:
    for run in world.runs.values():
        run.attempts.clear()


def _without_pairs(from_json: Any) -> Any:
    def from_less(cls: type[GuardBook], raw: Mapping[str, Any]) -> GuardBook:
        book: GuardBook = from_json.__func__(cls, {**raw, "pairs": []})
        return book

    return classmethod(from_less)


def _without_question(from_json: Any) -> Any:
    def from_less(cls: type[RunState], raw: Mapping[str, Any]) -> RunState:
        run: RunState = from_json.__func__(cls, {**raw, "asked": None})
        return run

    return classmethod(from_less)


def _without_tries(fold: Any) -> Any:
    def fold_and_forget(self: RunState, event_type: str, data: Mapping[str, Any], at: float) -> None:
        fold(self, event_type, data, at)
        if event_type == "run.step_done":
            self.tries.pop(data["step"], None)

    return fold_and_forget


# --- runs


class _WallOnly:
    """A clock that gives wall time where monotonic time was asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.now()

    async def sleep_until(self, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self._clock.now()))


def _by_the_wall(_: Any) -> Any:
    return lambda clock, *rest: RunnerPorts(_WallOnly(clock), *rest)


def _without_timer(wait: Any) -> Any:
    def wait_for_ever(self: Any, run: Any, until: float) -> None:
        wait(self, run, until)
        self._drop_wait(run.id)

    return wait_for_ever


def _without_locks(request: Any) -> Any:
    def request_nothing(self: Slots, run: str, priority: int, _resources: frozenset[str], now: float) -> None:
        request(self, run, priority, frozenset((run,)), now)

    return request_nothing


def _any_attempt(told: Any) -> Any:
    def told_whatever(self: Any, message: Mapping[str, Any]) -> None:
        if message["say"] == "done" and message["key"] not in self._attempts:
            step = message["key"].rpartition(".")[0]
            key = next((key for key in self._attempts if key.rpartition(".")[0] == step), message["key"])
            message = {**message, "key": key}
        told(self, message)

    return told_whatever


# --- hands


def _never_complains(restore_unit: Any) -> Any:
    def restore(before: Mapping[str, Any], services: Any) -> None:
        try:
            restore_unit(before, services)
        except AiosError:
            return

    return restore


def _all_well(_: Any) -> Any:
    return lambda *_args: []


def _first_first(checked: Any) -> Any:
    return lambda attempts, state_dir: checked(attempts, state_dir)[::-1]


def _saves_late(_: Any) -> Any:
    def prepared(call: SkillCall, files: Files, folder: str, take_snapshot: launcher.TakeSnapshot) -> launcher.Launch:
        yield launcher.RESERVE
        attempt.reserve(files, folder)
        result = yield launcher.ACT
        take_snapshot(call, f"{folder}/{attempt.MANIFEST}")
        return result

    return prepared


def _saved_in_memory(commit: Any) -> Any:
    def commit_unsynced(self: BulkFile) -> str:
        self._files = _NeverSyncsAny(self._files)  # type: ignore[assignment]
        name: str = commit(self)
        return name

    return commit_unsynced


def _all_but_one(write: Any) -> Any:
    return lambda self, fd, files: write(self, fd, files[:-1])


def _saves_nothing(_: Any) -> Any:
    return lambda *_args, **_options: {}


def _finds_nobody(_: Any) -> Any:
    return lambda _files, _folder: None


def _says_nothing(_: Any) -> Any:
    return lambda *_args, **_options: None


WORK = replace(CALM, work_s=20.0, subjects=10.0)
EDITS = replace(WORK, work_s=10.0, subjects=40.0, kinds=("edit", "rewrite"))
UNSETS = replace(WORK, work_s=10.0, subjects=40.0, kinds=("unset",))
KILLS = replace(WORK, kill_daemon_s=40.0)

BUGS: Mapping[str, Bug] = {
    "acknowledge_first": Bug(
        "What was not written yet is called durable.",
        "acknowledged_is_durable",
        WORK,
        [Patch(InlineWriter, "append", _acknowledged_first)],
    ),
    "no_sync": Bug(
        "The journal is written and not synced.", "acknowledged_is_durable", WORK, [Patch(JournalFile, "commit", _without_sync)]
    ),
    "no_intent": Bug(
        "An act's intent is called durable and never written.",
        "an_act_begins_with_its_intent_on_the_disk",
        WORK,
        [Patch(InlineWriter, "append", _without_intents)],
    ),
    "attempts_in_memory": Bug(
        "How often a step was tried is forgotten at a restart.",
        "attempts_are_counted",
        replace(KILLS, kinds=("slow", "hang", "idempotent")),
        [Patch(daemon_assembly, "remember", _forgets(_attempts))],
    ),
    "lost_wakeup": Bug("A wait begins and nothing ends it.", "every_run_ends", WORK, [Patch(Runner, "_wait", _without_timer)]),
    "wall_clock": Bug(
        "Acts are timed by a clock that may leap.",
        "timeouts_are_kept",
        replace(WORK, leap_s=20.0),
        [Patch(daemon_assembly, "RunnerPorts", _by_the_wall)],
    ),
    "restore_unchecked": Bug(
        "A rollback says that it held, and nobody looked.",
        "what_failed_is_as_before",
        replace(UNSETS, bus_s=30.0),
        [Patch(snapshot, "restore_unit", _never_complains), Patch(rollback, "_unit_lines", _all_well)],
    ),
    "cooldown_lost": Bug(
        "Guards remember nothing over a restart.",
        "guards_hold",
        replace(KILLS, work_s=8.0, subjects=1.0),
        [Patch(GuardBook, "from_json", _without_pairs)],
    ),
    "approval_forgotten": Bug(
        "A question that stands is forgotten at a restart, and asked again.",
        "an_answer_counts_once",
        replace(KILLS, answers_s=0.0, kinds=("ask",)),
        [Patch(RunState, "from_json", _without_question)],
    ),
    "two_on_one_resource": Bug("Runs lock nothing.", "one_run_on_a_resource", UNSETS, [Patch(Slots, "request", _without_locks)]),
    "rollback_in_wrong_order": Bug(
        "What was done first is taken back first.",
        "what_failed_is_as_before",
        UNSETS,
        [Patch(rollback, "_checked", _first_first)],
    ),
    "old_result_taken": Bug(
        "A result that is told late counts for whatever attempt is under way.",
        "results_are_their_own",
        replace(WORK, work_s=10.0, acts_s=10.0),
        [Patch(HandsClient, "_told", _any_attempt)],
    ),
    "dedupe_forgotten": Bug(
        "How far the inbox was taken, and what, is forgotten at a restart.",
        "lines_are_taken_once",
        KILLS,
        [
            Patch(World, "cursors", lambda _: property(lambda _world: {})),
            Patch(assembly, "recall", lambda _: lambda *_args, **_options: None),
        ],
    ),
    "no_snapshot": Bug(
        "An act begins, and what it touches was not saved.",
        "a_snapshot_stands_before_the_act",
        UNSETS,
        [Patch(snapshot, "outline", _saves_nothing)],
    ),
    "snapshot_late": Bug(
        "What an act touches is saved when it has acted.",
        "a_snapshot_stands_before_the_act",
        EDITS,
        [Patch(launcher, "_prepared", _saves_late)],
    ),
    "saved_in_memory": Bug(
        "The bytes of saved files are called durable and never synced.",
        "a_snapshot_stands_before_the_act",
        EDITS,
        [Patch(BulkFile, "commit", _saved_in_memory)],
    ),
    "file_skipped": Bug(
        "A rollback leaves one file out, and its proof does not look.",
        "what_failed_is_as_before",
        EDITS,
        [Patch(Restore, "_write", _all_but_one), Patch(rollback, "_proof", _all_well)],
    ),
    "made_stays": Bug(
        "A rollback leaves what the act made, and its proof does not look.",
        "what_failed_is_as_before",
        EDITS,
        [Patch(Restore, "_remove_what_was_not_there", _says_nothing), Patch(rollback, "_proof", _all_well)],
    ),
    "leftovers_live": Bug(
        "An act whose launcher was killed goes on beside its next attempt.",
        "effects_fit_the_rerun_class",
        replace(WORK, work_s=6.0, hands_s=4.0, subjects=40.0, kinds=("checked",)),
        [Patch(attempt, "read_acting", _finds_nobody)],
    ),
    "windows_forgotten": Bug(
        "What was seen of a window is forgotten at a restart.",
        "windows_are_complete",
        replace(KILLS, kinds=("many",)),
        [Patch(Correlator, "from_json", lambda _: classmethod(lambda cls, _raw: cls()))],
    ),
    "places_ignored": Bug(
        "Nobody counts how many runs are open.",
        "concurrency_is_kept",
        replace(WORK, work_s=3.0, kinds=("one",)),
        [Patch(decide, "crowded", _says_nothing), Patch(holding, "crowded", _says_nothing)],
    ),
    "never_let_go": Bug(
        "What is held until something ends is not offered again when it ends.",
        "nothing_is_held_for_ever",
        replace(WORK, work_s=3.0, kinds=("one",)),
        [Patch(holding.HeldOn, "free", lambda _: lambda *_args: [])],
    ),
    "window_unheeded": Bug(
        "A maintenance window is never closed.",
        "closed_windows_are_kept",
        replace(WORK, kinds=("hours",)),
        [Patch(WindowSet, "closed_until", lambda _: lambda _windows, now: (now + 60.0, ""))],
    ),
    "illness_unheeded": Bug(
        "Nobody asks whether what something depends on is ill.",
        "dependencies_are_kept",
        replace(WORK, work_s=6.0, falls_s=30.0, kinds=("lean",)),
        [Patch(holding, "_waits_for_the_ill", _says_nothing)],
    ),
    "silences_forgotten": Bug(
        "A checkpoint holds no silences.",
        "a_restart_changes_nothing",
        replace(KILLS, people_s=10.0),
        [Patch(SilenceBook, "from_json", lambda _: classmethod(lambda cls, _raw: cls()))],
    ),
    "pause_unheeded": Bug(
        "Nobody asks whether acts are paused.",
        "a_pause_is_kept",
        replace(WORK, people_s=20.0),
        [Patch(World, "is_paused", lambda _: lambda _world, _now: False)],
    ),
    "waits_cut_short": Bug(
        "Whatever waits is over at once.",
        "what_waits_waits_out",
        replace(WORK, kinds=("hang", "die")),
        [Patch(Runner, "_wait", lambda was: lambda runner, run, _until: was(runner, run, 0.0))],
    ),
    "endless_retry": Bug(
        "How often a step was tried is forgotten at its end.",
        "attempts_keep_to_their_limit",
        replace(WORK, work_s=60.0, kinds=("hang",)),
        [Patch(RunState, "fold", _without_tries)],
    ),
}
