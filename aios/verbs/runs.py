"""Runs and dead letters: shown, tried again, ended, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aios.errors import Refused
from aios.events.event import SYSTEM, Draft, Position, Stored
from aios.events.filters import EventFilter
from aios.playbooks.model import Playbook
from aios.playbooks.retry import NOTHING_LEFT_OUT, LeftOut, leave_out
from aios.playbooks.run import Run
from aios.playbooks.run_opening import unfit
from aios.playbooks.run_table import ROLLBACK
from aios.ports import Peer
from aios.scheduler.dead import DeadLetter
from aios.verbs import asked
from aios.verbs.house import House
from aios.verbs.known import Further
from aios.verbs.shown import run_summary

ROLLBACK_WAIT_S = 10.0
"""How long a person waits for what comes of a rollback; a longer one goes on, and they are told so."""


async def listed(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    limit = asked.number(args, "limit", 50)
    open_runs = [run_summary(run) for run in house.world.runs.values()]
    if args.get("open"):
        return {"runs": open_runs[:limit]}
    ended = [run_summary(run) for run in reversed(house.world.recent.values())]
    return {"runs": (open_runs + ended)[:limit]}


async def show(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    run = house.known.find(asked.text(args, "run"))
    return {**run_summary(run), "run": run.to_json()}


async def retry(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """The same event once more: of a run, `from` a step if that is named, or of a dead letter."""
    if (letter := _letter(house, asked.text(args, "run"))) is not None:
        return await retry_dead(house, peer, {"letter": letter.letter})
    run = await house.known.find_whole(asked.text(args, "run"))
    if not run.ended:
        raise Refused(f"run {run.id} is still open", "cancel it first: aios runs cancel " + run.id)
    left = leave_out(run, _in_force(house, run), asked.text(args, "from")) if args.get("from") else NOTHING_LEFT_OUT
    async with house.known.opening:
        further = await house.known.further(run)
        answer = held(house, await open_again(house, run, peer, further, reason=asked.reason(args), left=left))
    return {**answer, "left_out": list(left.told)} if left.told else answer


def _in_force(house: House, run: Run) -> Playbook:
    playbook = house.reactor.shelf.by_name.get(run.playbook)
    if playbook is None:
        raise Refused(f"playbook {run.playbook} is not in force any more")
    return playbook


async def open_again(
    house: House,
    run: Run,
    peer: Peer,
    further: Sequence[Further],
    *,
    by: str = "",
    approved: Mapping[str, str] | None = None,
    reason: str,
    left: LeftOut = NOTHING_LEFT_OUT,
) -> dict[str, Any]:
    playbook = _in_force(house, run)
    if (run.playbook, run.subject) in house.world.open_pairs:
        raise Refused(f"a run of {run.playbook} is open on {run.subject}", "aios runs list --open shows it")
    again = 1 + max(run.again, run.retried, *(one.again for one in further))
    lineage = [pair for pair in run.lineage if pair != [run.playbook, run.subject]]
    opened = house.reactor.opening_for(
        run, playbook, lineage, by=by, approved=approved, again=again, kept=left.kept, passed=left.passed
    )
    if reason:
        opened = opened._replace(data={**opened.data, "reason": reason})
    if why := unfit(opened):
        raise Refused(why)
    await house.emit(opened._replace(source=f"control/{peer.name}"))
    return {"run": opened.id}


def held(house: House, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that lets a run act, with the pause that it waits for all the same."""
    paused = house.world.paused if house.world.is_paused(house.clock.now()) else None
    return {**answer, "paused": paused} if paused else answer


async def cancel(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    run = await house.known.find_any(asked.text(args, "run"))
    if not await house.reactor.runner.cancel(run, peer.name):
        raise Refused(f"run {run.id} is over: {run.status}", "aios runs rollback takes back what an ended run did")
    return run_summary(run)


async def rollback(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    run = await house.known.find_any(asked.text(args, "run"))
    if not run.ended:
        raise Refused(f"run {run.id} is open", "aios runs cancel ends it and takes back what it did")
    if not run.acted:
        raise Refused(f"run {run.id} did not act: there is nothing to take back")
    if (run.results.get(ROLLBACK) or {}).get("ok"):
        raise Refused(f"run {run.id} was taken back already")
    run = await house.known.know_again(run, peer.name)
    wanted = EventFilter.from_args({"types": ["run.step_done", "run.rolled_back"], "subject": run.subject})
    with house.followers.news(wanted) as news:
        if not await house.reactor.runner.take_back(run, peer.name, force=bool(args.get("force"))):
            raise Refused(f"run {run.id} is being taken back already")
        return {**run_summary(run), **await _rolled_back(news, run.id)}


async def dead_letters(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    return {"dead_letters": [asdict(letter) for letter in house.world.dead.list()], "older": house.world.dead.older}


def _letter(house: House, wanted: str) -> DeadLetter | None:
    """By its id, or by a beginning of it that is no other's."""
    found = [one for one in house.world.dead.list() if one.letter.startswith(wanted)]
    return found[0] if len(found) == 1 and len(wanted) >= 4 else house.world.dead.get(wanted)


async def retry_dead(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    letter = _letter(house, asked.text(args, "letter"))
    if letter is None:
        raise Refused(f"there is no dead letter {args['letter']!r}", "aios dead list shows them")
    position = Position.parse(letter.position)
    if house.reader.at(position) is None:
        raise Refused("the journal does not hold its event any more", "its age is over; emit the event anew")
    await house.emit(Draft(type="scheduler.retried", subject=SYSTEM, data={"letter": letter.letter, "by": peer.name}))
    house.reactor.take_again(position)
    return {"letter": letter.letter}


async def _rolled_back(news: asyncio.Queue[Stored], run: str) -> dict[str, Any]:
    """What came of a rollback, from the run's events as they become durable; `goes_on` when it takes longer than one waits."""
    evidence: list[Any] = []
    try:
        async with asyncio.timeout(ROLLBACK_WAIT_S):
            while True:
                event = (await news.get()).event
                data = event.data
                if data.get("run") == run and event.type == "run.rolled_back":
                    return {"rolled_back": {**data, "evidence": evidence}}
                if data.get("run") == run and data.get("step") == ROLLBACK:
                    evidence = list(data.get("evidence") or [])
    except TimeoutError:
        pass
    return {"goes_on": True}
