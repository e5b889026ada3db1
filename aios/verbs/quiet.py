"""What a person has AIOS leave alone for a time: everything (`pause`), one subject or playbook (`silence`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.errors import Refused
from aios.events.durations import parse_duration
from aios.events.event import HOST, SYSTEM, Draft, format_time
from aios.nearest import did_you_mean
from aios.playbooks.run_opening import run_id
from aios.playbooks.silences import SILENCE_S_MAX, SILENCES_MAX, like
from aios.ports import Peer
from aios.verbs import asked
from aios.verbs.house import House
from aios.verbs.shown import run_summary, silence_json

SUBJECT_MAX = 256


async def pause(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    until = ""
    if args.get("for"):
        try:
            until = format_time(house.clock.now() + parse_duration(str(args["for"])))
        except ValueError as error:
            raise Refused(str(error)) from None
    data = {"by": peer.name, "reason": str(args.get("reason") or ""), "until": until}
    await house.emit(Draft(type="daemon.paused", subject=SYSTEM, data=data))
    return {**data, "acting": [run_summary(run) for run in house.world.runs.values() if run.in_flight is not None]}


async def resume(house: House, peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    await house.emit(Draft(type="daemon.resumed", subject=SYSTEM, data={"by": peer.name}))
    return {"by": peer.name}


async def silence(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing is done about a subject, or by a playbook, for some time. `what` names either; `all` is everything."""
    what, playbook = str(args.get("what") or ""), str(args.get("playbook") or "")
    if bool(what) == bool(args.get("all")) and not playbook:
        raise Refused("say what is to be silenced: a subject, a playbook, or all", "aios silence web.service --for 2h")
    if what in house.reactor.shelf.by_name and not playbook:
        what, playbook = "", what
    if playbook:
        house.playbook(playbook)  # refuses what is not in force
    if len(what) > SUBJECT_MAX or not what.isprintable():
        raise Refused(f"a subject has at most {SUBJECT_MAX} characters, all of them printable")
    now = house.clock.now()
    until = format_time(now + _length_of_silence(house, args))
    silence = run_id(f"{now} {peer.name} {what}", playbook or "silence")[:8]
    data = {"silence": silence, "subject": what or "*", "playbook": playbook, "until": until, "by": peer.name}
    data["reason"] = asked.reason(args)
    await house.emit(Draft(type="daemon.silenced", subject=what if what and "*" not in what else SYSTEM, data=data))
    unknown = await _unknown_subject(house, what) if what else ""
    return {**data, "unknown": unknown} if unknown else data


async def _unknown_subject(house: House, what: str) -> str:
    """Why a silence may hold nothing: no subject that anybody has named so far. It may come later, so that is only said."""
    patterns = [p.match.get("subject", ()) for p in house.reactor.shelf.by_name.values()]
    named = {value for values in patterns for value in values if isinstance(value, str)}
    seen = {score.subject for score in house.world.scores.subjects(house.clock.now())}
    ill = {subject for subject, _ in house.world.symptoms}
    known = {HOST, SYSTEM, *named, *seen, *ill, *(unit.subject for unit in await house.services.list())}
    if any(like(what, subject) for subject in known):
        return ""
    return f"no subject {what} is known so far, and no playbook; " + did_you_mean(
        what.replace("*", ""), {*known, *house.reactor.shelf.by_name}, "it holds as soon as there is one"
    )


def _length_of_silence(house: House, args: Mapping[str, Any]) -> float:
    try:
        length_s = parse_duration(str(args.get("for") or ""))
    except ValueError as error:
        raise Refused(f"a silence ends: {error}", "say for how long: --for 2h") from None
    if not 0 < length_s <= SILENCE_S_MAX:
        raise Refused("a silence lasts at most 366 days", "aios playbook disable, or `protected` in the settings, is for good")
    if len(house.world.guards.silences.in_force(house.clock.now())) >= SILENCES_MAX:
        raise Refused(f"{SILENCES_MAX} silences are in force", "one with a star in it does for many: aios silence 'web-*' …")
    return length_s


async def silences(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    in_force = house.world.guards.silences.in_force(house.clock.now())
    return {"silences": [silence_json(one) for one in in_force]}


async def end_silence(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """By its id, or all of them. What they held goes on at once, if it still stands."""
    in_force = house.world.guards.silences.in_force(house.clock.now())
    ended = in_force if args.get("all") else [one for one in in_force if one.id == args.get("silence")]
    if not ended and not args.get("all"):
        raise Refused(f"there is no silence {str(args.get('silence'))[:100]!r} in force", "aios silence lists them")
    drafts = [Draft(type="daemon.silence_ended", subject=SYSTEM, data={"silence": s.id, "by": peer.name}) for s in ended]
    if drafts:
        await house.emit(*drafts)
    return {"ended": [silence_json(one) for one in ended]}
