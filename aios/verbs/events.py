"""Events: put in by a person (`emit`), and told why they did or did not lead to a run (`explain`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from aios.errors import Refused
from aios.events.codec import BadLine, encode_json, parse_foreign
from aios.events.event import Event
from aios.ports import Peer
from aios.verbs import asked
from aios.verbs.house import House

if TYPE_CHECKING:
    from aios.reports.explain import Present

EMIT_MAX = 10_000


async def emit(house: House, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    raw = args.get("events")
    if not isinstance(raw, list) or not 1 <= len(raw) <= EMIT_MAX:
        raise Refused(f"events must be a list of 1 to {EMIT_MAX} events")
    drafts = []
    for n, one in enumerate(raw):
        try:
            drafts.append(parse_foreign(encode_json(one), source=f"control/{peer.name}"))
        except BadLine as error:
            raise Refused(f"event {n + 1}: {error}", "nothing was emitted") from None
    positions = await house.emit(*drafts)
    return {"positions": [str(position) for position in positions]}


async def explain(house: House, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
    """Every playbook that was considered for an event (or the event of a run), and what would have made it run."""
    from aios.reports.explain import Past, look_back, tell  # reports cost 4 MB and 30 ms: only who asks for one pays

    wanted, shelf = asked.text(args, "event"), house.reactor.shelf
    known = {playbook.hash: playbook for playbook in shelf.by_name.values()}
    found: list[Past | Refused] = []

    def look() -> None:
        try:
            found.append(look_back(house.history, wanted, shelf.blobs, house.skills, known))
        except Refused as refused:
            found.append(refused)

    await house.offload(look)  # a journal of a month is read in seconds, and the loop has none
    (past,) = found
    if isinstance(past, Refused):
        raise past
    return tell(past, _present(house))


def _present(house: House) -> Present:
    """What only this process knows of how things stand."""
    from aios.reports.explain import Present  # see `explain`

    now = house.clock.now()
    return Present(
        windows=house.world.correlator.told_of,
        score=lambda subject: house.world.scores.value(subject, now),
        trust=house.world.trust,
        undecided=lambda event: event in house.world.undecided,
        held=partial(_holds, house),
    )


def _holds(house: House, playbook: str, event: Event) -> bool:
    holding = house.world.held.get((playbook, event.subject))
    return holding is not None and holding.event == event.id
