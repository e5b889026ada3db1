"""The daemon itself: how things stand, the health of all, whether its parts answer, and that it is to stop."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from aios import __version__
from aios.events.event import SYSTEM, format_time
from aios.playbooks.guards import CALLED_QUIET_S
from aios.playbooks.run import Run
from aios.ports import Peer
from aios.verbs.house import House
from aios.verbs.shown import holding_json, run_summary, silence_json

HOLDINGS_SHOWN = 20


async def status(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    now = house.clock.now()
    runs = list(house.world.runs.values())
    return {
        "version": __version__,
        "pid": house.pid,
        "since": format_time(house.started_at),
        "now": format_time(now),
        "mode_max": house.settings.mode_max,
        "paused": house.world.paused if house.world.is_paused(now) else None,
        "score": house.world.scores.value(SYSTEM, now),
        "playbooks": len(house.reactor.shelf.by_name),
        "invalid_playbooks": len(house.reactor.shelf.errors),
        "disabled": sorted(house.world.disabled),
        "queue": house.reactor.queue.counts(),
        "open_runs": len(runs),
        "waiting_runs": sum(1 for run in runs if run.wait is not None),
        "needs_you": [run_summary(run) for run in (*(run for run in runs if run.asked is not None), *_suggestions(house))],
        "escalated": [run_summary(run) for run in _escalated(house, now)],
        "guards": [holding_json(holding) for holding in islice(house.world.held.values(), HOLDINGS_SHOWN)],
        "symptoms": [{"subject": s, "type": t, "since": format_time(x.since)} for (s, t), x in house.world.symptoms.items()][
            :100
        ],
        "held": len(house.world.held),
        "storm": _storm(house),
        "silences": [silence_json(one) for one in house.world.guards.silences.in_force(now)],
        "dead_letters": len(house.world.dead),
        "position": str(house.world.position),
        "state_dir": house.settings.data,
    }


def _storm(house: House) -> dict[str, Any] | None:
    storm = house.world.guards.storm
    if storm is None or storm.lifted_by:
        return None
    return {"since": format_time(storm.since), "ill": storm.ill, "known": storm.known}


def _suggestions(house: House) -> list[Run]:
    """What was proposed and nobody has taken, while the trouble that it is for still stands."""
    runs, symptoms = house.world.recent.values(), house.world.symptoms
    taken = {run.parent for run in (*house.world.runs.values(), *runs) if run.by}
    standing = [run for run in runs if run.status == "suggested" and (run.subject, run.trigger.get("type")) in symptoms]
    return [run for run in standing if run.id not in taken]


def _escalated(house: House, now: float) -> list[Run]:
    """Runs that called a person, while their subject is not well since and nobody tried again: of each pair the newest."""
    known = [*house.world.recent.values(), *house.world.runs.values()]
    again = {run.parent for run in known}
    calls = house.world.guards.calls
    newest = {(run.playbook, run.subject): run for run in known if (run.playbook, run.subject) in calls}
    found = [run for run in newest.values() if run.status == "escalated" and run.id not in again]
    return [run for run in found if now - calls[run.playbook, run.subject] < CALLED_QUIET_S]


async def score(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    now = house.clock.now()
    subject = args.get("subject")
    if subject:
        return house.world.scores.explain(str(subject), now)
    return {"scores": {s.subject: house.world.scores.explain(s.subject, now) for s in house.world.scores.subjects(now)}}


async def doctor(house: House, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hands_answer": await house.hands.answers(2.0),
        "playbook_errors": [str(error) for error in house.reactor.shelf.errors],
        "waiting": house.waiting_files(),
        "services": len(await house.services.list()),
        "open_runs": len(house.world.runs),
    }


async def stop(house: House, peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
    house.stop(f"asked for by {peer.name}")
    return {"stopping": True}
