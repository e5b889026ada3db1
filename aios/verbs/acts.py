"""What a person has done by hand: services, skills, last-good copies. Each is an act like any other, through hands.

What it touches is saved before it, and it is known from then on as a run that has ended: `aios runs rollback` takes it back.
Only of starting and stopping services nobody keeps account: the next word takes that back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.errors import Refused
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.events.event import HOST, Draft
from aios.nearest import nearest
from aios.playbooks.run import Run
from aios.playbooks.run_opening import fits
from aios.playbooks.run_table import BY_HAND
from aios.ports import Peer
from aios.skills.types import check_unit
from aios.verbs import asked
from aios.verbs.house import House

BY_HAND_WHY = "asked for by hand"
SERVICE_SKILLS = ("start_service", "stop_service", "restart_service")


async def services(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    units = await house.services.list()
    return {
        "services": [
            {"subject": u.subject, "state": u.state, "backend": u.backend, "pid": u.pid, "since": u.since, "detail": u.detail}
            for u in units
        ]
    }


async def start_service(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return await _service(house, "start_service", peer, args)


async def stop_service(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return await _service(house, "stop_service", peer, args)


async def restart_service(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    return await _service(house, "restart_service", peer, args)


async def _service(house: House, skill: str, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    subject = await subject_of(house, asked.text(args, "subject"))
    return await _act(house, skill, {"unit": subject}, peer, subject, known=False)


async def subject_of(house: House, name: str) -> str:
    """Which service is meant: a name that the settings list stands for its subject. Refused is what nobody knows."""
    managed = {service.name: service.subject for service in house.settings.service}
    known = {*managed.values(), *(unit.subject for unit in await house.services.list())}
    subject = managed.get(name) or (f"{name}.service" if f"{name}.service" in known else name)
    if subject in known or house.reactor.protected(frozenset((subject,))):
        return subject
    try:
        missing = (await house.services.state(check_unit(subject))).state == "missing"
    except ValueError:
        missing = True
    if missing:
        listed = ", ".join(sorted(managed.values())[:10]) or "none"
        cure = f"the settings list {listed}; `aios service list` shows all that AIOS sees"
        stems = {one.removesuffix(".service"): one for one in known}  # all endings are alike, so they tell nothing
        near = nearest(name.rpartition(".")[0] or name, stems)
        raise Refused(f"there is no service {name[:100]!r}", f"did you mean {stems[near]!r}?" if near else cure)
    return subject


async def restore_kept(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """A last-good copy, put back by hand: an act like any other. `generation` 0: the newest that has the file."""
    playbook, subject = asked.text(args, "playbook"), asked.text(args, "subject")
    files, generation = args.get("files"), asked.number(args, "generation", 0, least=0)
    if not isinstance(files, list) or not files or not all(isinstance(path, str) for path in files):
        raise Refused("files must be a list of paths", "aios keep show lists what a copy holds")
    params = {"files": files, "from": "last_good", "generation": generation}
    return await _act(house, "restore_files", params, peer, subject, playbook)


async def run_skill(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """Run one skill by hand. `dry` (the default for acts) only says what it would do."""
    name, params = asked.text(args, "skill"), args.get("params") or {}
    spec = house.skills.get(name)
    if spec is None:
        raise Refused(f"there is no skill {name!r}", "aios skill list shows them")
    try:
        checked = spec.check(params)
    except ValueError as error:
        raise Refused(str(error), f"aios skill show {name} tells what it takes") from None
    if spec.kind != "act" and (spec.only_looks is None or spec.only_looks(checked, house.call_env)):
        call = SkillCall("by-hand", name, 1, name, spec.kind, checked, spec.timeout_s, Touches(), env=house.call_env)
        return {"kind": spec.kind, **(await house.looker.look(call)).to_json()}
    if args.get("dry", True):
        says = spec.dry_text(checked) if spec.dry_text is not None else f"would run {name}"
        return {"kind": spec.kind, "ok": True, "dry": True, "says": says, "params": checked}
    if name in SERVICE_SKILLS:
        await subject_of(house, str(checked["unit"]))  # refuses what nobody knows
    return await _act(house, name, checked, peer, str(checked.get("unit", HOST)))


async def _act(
    house: House,
    skill: str,
    params: Mapping[str, Any],
    peer: Peer,
    subject: str,
    playbook: str = "",
    *,
    known: bool = True,
) -> dict[str, Any]:
    spec = house.skills.get(skill)
    if spec is None:
        raise Refused(f"there is no skill {skill!r} here", "aios skill list shows them")
    try:
        touched = spec.touches(spec.check(params)).resources()
    except ValueError as error:
        raise Refused(str(error)) from None
    if protected := house.reactor.protected(touched):
        raise Refused(f"{protected} is protected", "use the system's own tools for it")
    run = Run(house.entropy.new_id(), subject=subject, resources=sorted(touched), by=peer.name, opened_at=house.clock.now())
    result = await house.aside.act(skill, params, by=peer.name, why=BY_HAND_WHY, subject=subject, playbook=playbook, run=run.id)
    answer = {"kind": "act", **result.to_json()}
    if result.result.get("begun") is False or not known or spec.irreversible or not (touched or spec.has_inverse):
        return answer
    await _remember(house, run, skill, result, f"{skill}, {BY_HAND_WHY} by {peer.name}")
    return {**answer, "run": run.id}


async def _remember(house: House, run: Run, skill: str, result: SkillResult, why: str) -> None:
    """From now on it is a run that has ended: what it did can be taken back, today or days later."""
    run.playbook, run.event, run.mode, run.status, run.why = BY_HAND, run.id, "auto", "healed", why
    run.trigger = {"type": "daemon.act_intended", "subject": run.subject, "data": {}}
    run.attempts, run.acts = {skill: 1}, [{"step": skill, "attempt": 1, "skill": skill}]
    run.results = {skill: {"ok": result.ok, "result": {}, "kind": "act", "error": result.error, "attempt": 1}}
    run.closed, run.ended_at = True, house.clock.now()
    if not fits(run.to_json()):
        run.resources = [run.subject]  # they only keep others away while it is taken back
    data = {"run": run.id, "state": {**run.to_json(), "recalled": True}, "by": run.by}
    await house.emit(Draft(type="daemon.run_recalled", subject=run.subject, data=data, causationid=run.id))
