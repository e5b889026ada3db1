"""Runs as a person names them: by the beginning of an id, however old they are.

The world knows the open ones and the newest that ended; the journal knows all that is at hand of it. `verbs` asks here before it
answers, retries or takes back a run. Reading the journal takes seconds where there are many days: only what the world does not
know is looked for there.
"""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aios.errors import Refused
from aios.events.event import Draft, Event
from aios.playbooks.run import Run
from aios.playbooks.run_opening import fits
from aios.playbooks.run_table import BY_HAND, RUN_SHOWN
from aios.ports import Emit
from aios.world import UNFIT, World

CURE = "aios runs list shows them"
Recall = Callable[[str, str], Awaitable[Sequence[Event]]]
"""`recall(name, value)`: the events of runs whose data begins so under that name: `run` (its id) or `event` (what it answers)."""


async def forgotten(_name: str, _value: str) -> Sequence[Event]:
    """Of somebody with no journal to read."""
    return ()


class Further(NamedTuple):
    """A run that a person had opened for the event of another: its id, its number, after which run, and who approved it."""

    id: str
    again: int
    parent: str
    by: str


@dataclass(slots=True)
class KnownRuns:
    """See the head of this file."""

    world: World
    recall: Recall
    emit: Emit
    opening: Lock = field(default_factory=Lock)
    """Held from the look at what was opened until the new run is known: who comes at the same moment finds it."""

    def find(self, wanted: str) -> Run:
        """An open one, or one of the newest that ended. Raises Refused, also where several begin so."""
        known = {**self.world.recent, **self.world.runs}
        if wanted in known:
            return known[wanted]
        found = [run for name, run in known.items() if name.startswith(wanted)]
        if len(found) == 1 and len(wanted) >= 4:
            return found[0]
        why = f"{len(found)} runs begin with {wanted!r}" if found else f"there is no run {wanted!r} that is open or recent"
        raise Refused(why, CURE)

    async def find_any(self, wanted: str) -> Run:
        """Also one that ended so long ago that only the journal knows it."""
        run: Run | None
        try:
            run = self.find(wanted)
        except Refused:
            if len(wanted) < RUN_SHOWN or any(name.startswith(wanted) for name in (*self.world.recent, *self.world.runs)):
                raise
            run = run_of(await self.recall("run", wanted), recalled=True)
            if run is None:
                raise
        return run

    async def find_whole(self, wanted: str) -> Run:
        """As `find_any`, with its event's data and all that came of its steps."""
        run = await self.find_any(wanted)
        if run.playbook == BY_HAND:
            raise Refused(f"run {run.id} was no playbook's, but done by hand ({run.why})", "have it done again as it was then")
        if not run.recalled:
            return run
        whole = run_of(await self.recall("run", run.id))
        if whole is None:
            raise Refused(f"the journal does not hold the beginning of run {run.id} any more", "emit its event anew")
        return whole

    async def further(self, run: Run) -> list[Further]:
        """The runs that were opened for the same event and playbook since."""
        pair = (run.event, run.playbook)
        told: Sequence[Event] = ()
        if self.world.runs.get(run.id, self.world.recent.get(run.id)) is not run:
            told = await self.recall("event", run.event)
        past = [e.data for e in told if e.type == "run.opened" and (e.data["event"], e.data["playbook"]) == pair]
        found = {str(d["run"]): Further(d["run"], int(d.get("again", 0)), d.get("parent", ""), d.get("by", "")) for d in past}
        for one in (*self.world.recent.values(), *self.world.runs.values()):  # now, whatever happened while that was read
            if (one.event, one.playbook) == pair:
                found[one.id] = Further(one.id, max(one.again, one.retried), one.parent, one.by)
        return [one for one in found.values() if one.id != run.id]

    async def know_again(self, run: Run, by: str) -> Run:
        """Have the world know a run again that it had forgotten: by an event, so that a replay does, too."""
        if run.id in self.world.recent:
            return self.world.recent[run.id]
        state = run.for_rollback() | {"retried": max((one.again for one in await self.further(run)), default=0)}
        if not fits(state):
            raise Refused(
                f"run {run.id} is too long to be taken up again", f"its snapshots are below runs/{run.id} in the state folder"
            )
        data = {"run": run.id, "state": state, "by": by}
        await self.emit(Draft(type="daemon.run_recalled", subject=run.subject, data=data, causationid=run.id))
        return self.world.recent[run.id]


def run_of(events: Iterable[Event], *, recalled: bool = False) -> Run | None:
    """The run that these events tell; None where they are not one run's, or its beginning is gone.

    `recalled`: what was said of it when it became known (again) is enough for a beginning.
    """
    run: Run | None = None
    for event in events:
        if recalled and event.type == "daemon.run_recalled":
            if run is not None and event.data["run"] != run.id:
                return None
            run = run or Run.from_json(event.data["state"])
            continue
        if event.type == "run.opened":
            if run is not None and event.data["run"] != run.id:
                return None
            if run is None:
                run = Run(event.data["run"], incident=event.correlationid)
        if run is not None and event.data["run"] == run.id:
            try:
                run.fold(event.type, event.data, event.taken)
            except UNFIT:
                continue  # it was told torn, or opened twice: what the world made of that it made, too
    return run
