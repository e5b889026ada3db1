"""Playbooks in force: what they are, which are on, which mode each has earned, and that their files are read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.errors import Refused
from aios.events.event import SYSTEM, Draft, format_time
from aios.playbooks.correlation_words import waits_for
from aios.playbooks.model import MODES, Mode, Playbook, lesser_mode
from aios.playbooks.trust import wilson
from aios.ports import Peer
from aios.reactor.holding import guards_in_force
from aios.reactor.pump import granting
from aios.verbs import asked
from aios.verbs.house import House


async def listed(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    broken = {error.path for error in house.reactor.shelf.errors}
    waiting = {path for paths in house.reactor.shelf.waiting.values() for path in paths}
    listed = [
        {
            "name": p.name,
            "description": p.description,
            "path": p.path,
            "types": list(p.types),
            "waits_for": waits_for(p.correlation) if p.correlation is not None else "",
            "mode": p.mode,
            "granted": house.world.trust.mode_of(p),
            "mode_in_force": lesser_mode(house.world.trust.mode_of(p), house.settings.mode_max),
            "enabled": p.enabled and p.name not in house.world.disabled,
            "hash": p.hash,
            "acts": p.acts,
            "broken": p.path in broken,
            "waits": p.path in waiting,
        }
        for p in sorted(house.reactor.shelf.by_name.values(), key=lambda p: p.name)
    ]
    errors = [str(error) for error in house.reactor.shelf.errors]
    return {"playbooks": listed, "errors": errors, "waiting": house.waiting_files()}


async def show(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """One that is in force, with its text: the file may hold another by now, or one that cannot be used."""
    playbook = house.playbook(asked.text(args, "name"))
    (row,) = [one for one in (await listed(house, _peer, {}))["playbooks"] if one["name"] == playbook.name]
    row["guards"] = guards_in_force(playbook, house.world, house.reactor.rules, house.clock.now())
    return {**row, "text": house.reactor.shelf.blobs.get(playbook.hash).decode()}


async def enable(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """What its own file switches off, nothing else switches on."""
    playbook = house.playbook(asked.text(args, "name"))
    if not playbook.enabled:
        raise Refused(f"{playbook.path} itself says enabled: false", "write enabled: true there")
    return await _switch(house, "playbook.enabled", peer, args)


async def disable(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return await _switch(house, "playbook.disabled", peer, args)


async def _switch(house: House, event_type: str, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    data = {"playbook": house.playbook(asked.text(args, "name")).name, "by": peer.name}
    await house.emit(Draft(type=event_type, subject=SYSTEM, data=data))
    return data


async def trust(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """What playbooks have shown, and whether that carries the next mode."""
    name = str(args.get("name") or "")
    named = [house.playbook(name)] if name else sorted(house.reactor.shelf.by_name.values(), key=lambda p: p.name)
    return {"playbooks": [_trust_of(house, playbook) for playbook in named], "rule": house.reactor.rules.trust._asdict()}


def _trust_of(house: House, playbook: Playbook) -> dict[str, Any]:
    trust = house.world.trust
    mode, evidence, grant = trust.mode_of(playbook), trust.evidence_of(playbook), trust.granted.get(playbook.name)
    following, why = trust.earned(playbook, house.reactor.rules.trust)
    told: dict[str, Any] = {"name": playbook.name, "hash": playbook.hash, "mode": playbook.mode, "granted": mode}
    told |= {"mode_in_force": lesser_mode(mode, house.settings.mode_max), "earned": following or "", "why": why}
    if grant is not None and grant.hash == playbook.hash:
        told["grant"] = {"at": format_time(grant.at), "by": grant.by, "reason": grant.reason}
    if evidence is not None:
        acted, watched = list(evidence.acted), list(evidence.watched)
        told["evidence"] = {
            **evidence.to_json(),
            "since": format_time(evidence.since),
            "last": format_time(evidence.last),
            "healed_share": [round(bound, 3) for bound in wilson(sum(acted), len(acted))],
            "stayed_share": [round(bound, 3) for bound in wilson(sum(watched), len(watched))],
        }
    return told


async def promote(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """A further mode than it has: the next, or `to`. What its evidence does not carry takes `anyway`."""
    playbook = house.playbook(asked.text(args, "name"))
    before = house.world.trust.mode_of(playbook)
    following, why = house.world.trust.earned(playbook, house.reactor.rules.trust)
    to = asked.mode(args) or following or MODES[min(MODES.index(before) + 1, len(MODES) - 1)]
    if MODES.index(to) <= MODES.index(before):
        raise Refused(f"{playbook.name} may {before} already", "aios playbook demote takes a mode away")
    if lesser_mode(to, house.settings.mode_max) != to:
        raise Refused(f"the settings allow no more than {house.settings.mode_max}", "mode_max in the settings, then restart")
    earned = following is not None and MODES.index(to) <= MODES.index(following)
    if not earned and not args.get("anyway"):
        raise Refused(f"{playbook.name} has not earned {to}: {why}", "if you know better: --anyway")
    return await _grant(house, playbook, before, to, peer, args, earned)


async def demote(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """A lesser mode than it has: the one below, or `to`."""
    playbook = house.playbook(asked.text(args, "name"))
    before = house.world.trust.mode_of(playbook)
    to = asked.mode(args) or MODES[max(MODES.index(before) - 1, 0)]
    if MODES.index(to) >= MODES.index(before):
        raise Refused(f"{playbook.name} may no more than {before}", "aios playbook promote gives it a further mode")
    return await _grant(house, playbook, before, to, peer, args, False)


async def _grant(
    house: House, playbook: Playbook, before: Mode, to: Mode, peer: Peer, args: Mapping[str, Any], earned: bool
) -> dict[str, Any]:
    said = granting(playbook, before=before, to=to, by=peer.name, reason=asked.reason(args), earned=earned)
    await house.emit(said)
    return dict(said.data)


async def reload(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    errors = await house.reload()
    return {"playbooks": len(house.reactor.shelf.by_name), "errors": errors, "waiting": house.waiting_files()}
