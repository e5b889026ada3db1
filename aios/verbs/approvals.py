"""What a person answers to a run that asks, and to one that only proposes. The first word stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from aios.errors import Refused
from aios.events.event import Draft
from aios.nearest import did_you_mean
from aios.playbooks.run import Run
from aios.playbooks.run_opening import digest
from aios.ports import Peer
from aios.verbs import asked, runs
from aios.verbs.asked import NO, YES
from aios.verbs.house import House
from aios.verbs.shown import answered_words, run_summary


async def answer(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """The one door for what a person answers: `choice` is yes, no, or the name of one of the run's choices."""
    return runs.held(house, await _answer(house, peer, args, asked.text(args, "choice")))


async def approve(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return runs.held(house, await _answer(house, peer, args, YES))


async def deny(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return await _answer(house, peer, args, NO)


async def _answer(house: House, peer: Peer, args: Mapping[str, Any], word: str) -> dict[str, Any]:
    run, reason = await house.known.find_whole(asked.text(args, "run")), asked.reason(args)
    choices = (run.asked or {}).get("choices", {})
    if word not in choices and word not in (YES, NO) and (run.asked is not None or run.answered is None):
        known = did_you_mean(word, [*choices, NO], f"it takes {', '.join(choices or (YES, NO))}")
        raise Refused(f"run {run.id} knows no answer {word[:100]!r}", known)
    if run.status == "suggested":
        return await _answer_suggestion(house, run, peer, word, reason)
    if choices and word == YES and word not in choices:
        raise Refused(f"run {run.id} asks which way: {', '.join(choices)}", f"aios runs answer {run.id} {next(iter(choices))}")
    choice = word if word in choices else ""
    yes = bool(choice) or word == YES
    if run.asked is None or not await house.reactor.runner.answer(run, yes, peer.name, reason, choice):
        await _refuse_answer(house, run, peer, word, reason)
    return run_summary(run)


async def _refuse_answer(house: House, run: Run, peer: Peer, word: str, reason: str) -> NoReturn:
    """Too late, or a second one: the first word stands, and who came after it hears which that was."""
    cure = "aios runs list --waiting shows which wait for a person"
    if run.answered is None:
        raise Refused(f"run {run.id} asks nothing: it is {run.status}", cure)
    why = answered_words(run.answered)
    await _note_refused(house, run, peer, word, reason, why)
    raise Refused(f"run {run.id} asks nothing any more: {why}", f"aios runs show {run.id}")


async def _note_refused(house: House, run: Run, peer: Peer, word: str, reason: str, why: str) -> None:
    data = {"run": run.id, "playbook": run.playbook, "by": peer.name, "choice": word, "reason": reason, "why": why}
    told = Draft("approval.refused", run.subject, data, causationid=run.id, correlationid=run.incident)
    await house.emit(told._replace(source=f"control/{peer.name}"))


async def _answer_suggestion(house: House, run: Run, peer: Peer, word: str, reason: str) -> dict[str, Any]:
    if word == NO:
        raise Refused(f"run {run.id} only proposes: nothing is done unless you approve it", "leave it as it is")
    return await _turn_into_run(house, run, peer, reason)


async def _turn_into_run(house: House, run: Run, peer: Peer, reason: str) -> dict[str, Any]:
    """A suggestion becomes a run that may do just what was suggested. Once: a second yes is no second act."""
    async with house.known.opening:
        further = await house.known.further(run)
        if taken := next((one for one in further if one.parent == run.id and one.by), None):
            why = f"{taken.by} approved it already: see run {taken.id}"
            await _note_refused(house, run, peer, YES, reason, why)
            raise Refused(f"run {run.id} was approved already: see run {taken.id}", f"aios runs show {taken.id}")
        would = [r["result"]["would"] for r in run.results.values() if "would" in (r.get("result") or {})]
        approved = {act["step"]: digest([act["skill"], act["params"]]) for act in would}
        return await runs.open_again(house, run, peer, further, by=peer.name, approved=approved, reason=reason)
