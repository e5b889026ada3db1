"""`aios explain EVENT`: which playbooks were considered for an event, why each ran or did not, and what came of it.

The daemon says what each condition of each playbook says of the event; without one the journal still tells what was decided.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aios.cli import exits
from aios.cli.journal import plain, reader
from aios.cli.parser import finish
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.terminal import Terminal
from aios.control.client import NoDaemon
from aios.errors import Refused
from aios.events.catalogue import CORRELATED
from aios.playbooks.correlation_words import standing

DECISIONS = ("reactor.decided", "reactor.called", "run.opened")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("event", help="the event's id, from `aios events --json`")
    finish(parser, explain, examples="aios events --type service.down --limit 1 --json | jq -r .event.id | xargs aios explain")


def explain(args: argparse.Namespace, terminal: Terminal) -> int:
    try:
        answer = ask_daemon(args, terminal, "explain", {"event": args.event})
    except NoDaemon:
        answer = from_journal(folder(args, terminal), args.event)
    if wants_json(args):
        terminal.json(answer)
    else:
        show(answer, terminal)
    return exits.OK


def from_journal(state: str, event_id: str) -> dict[str, Any]:
    """What the journal says of it: the event, and each decision that it caused. Raises Refused."""
    event: dict[str, Any] | None = None
    decisions = []
    for stored in reader(state).read():
        if stored.event.id == event_id:
            event = plain(stored.event)
        elif stored.event.causationid == event_id and stored.event.type in DECISIONS:
            decisions.append(plain(stored.event))
    if event is None:
        raise Refused(f"no event {event_id!r} in the journal", "look for its id with: aios events --json")
    told: list[dict[str, Any]] = next((d["data"]["considered"] for d in decisions if d["data"].get("considered")), [])
    considered = [{"playbook": c.get("playbook"), "matched": c.get("said") == "matched", "why": c.get("said")} for c in told]
    return {"event": event, "considered": considered, "decisions": decisions}


def show(answer: Mapping[str, Any], terminal: Terminal) -> None:
    event: Mapping[str, Any] = answer.get("event") or {}
    considered, decisions = answer.get("considered") or [], answer.get("decisions") or []
    if event:
        terminal.say(f"{event.get('type', '')} · {event.get('subject', '')} · {terminal.when(event.get('time', ''))}", "bold")
    if considered:
        terminal.say()
        rows = [(str(c.get("playbook", "")), "yes" if c.get("matched") else "no", _why(c)) for c in considered]
        terminal.table(("playbook", "matched", "why"), rows)
    elif not decisions and not any(told.get("matched") for told in answer.get("windows") or []):
        terminal.say("No playbook is for it, so nothing was decided.")
    for told in answer.get("windows") or []:
        _show_window(told, terminal)
    if event.get("type") == CORRELATED:
        _show_parts(event.get("data") or {}, terminal)
    for decision in decisions:
        _show_decision(decision, {c.get("playbook"): c for c in considered}, terminal)


def _show_window(told: Mapping[str, Any], terminal: Terminal) -> None:
    """What the event is to a playbook that waits for several, and how that stands now."""
    terminal.title(f"{told.get('playbook', '')} waits for several events ({told.get('kind', '')})")
    rows = [(str(t.get("name", "")), "yes" if t.get("matched") else "no", str(t.get("why", ""))) for t in told["triggers"]]
    terminal.table(("entry", "matched", "why"), rows)
    if told.get("matched"):
        terminal.say(f"now: {standing(told)}")


def _show_parts(data: Mapping[str, Any], terminal: Terminal) -> None:
    """The events that came together."""
    terminal.title(f"{data.get('playbook', '')} waited for this ({data.get('kind', '')})")
    parts: Mapping[str, Mapping[str, Any]] = data.get("events") or {}
    rows = [
        (
            name,
            str(part.get("type", "")),
            str(part.get("subject", "")),
            terminal.when(str(part.get("time", ""))),
            str(part.get("id", "")),
        )
        for name, part in parts.items()
        if isinstance(part, Mapping)
    ]
    rows += [(str(name), "stayed away", "", "", "") for name in data.get("missing") or []]
    terminal.table(("entry", "type", "subject", "time", "id"), rows)
    facts = [("joined by", ", ".join(f"{name} {value}" for name, value in (data.get("key") or {}).items()))]
    facts += [(name, str(data.get(name, ""))) for name in ("since", "until", "count")]
    facts += [("used", ", ".join(str(one[0]) for one in data.get("used") or []))]
    terminal.facts(facts)


def _why(considered: Mapping[str, Any]) -> str:
    """What its pattern said, and which of several that matched goes before it."""
    said = [str(considered[name]) for name in ("order", "why") if considered.get(name)]
    if rank := considered.get("rank"):
        healed = f"healed {rank['healed']} of {rank['healed'] + rank['failed']} (rate {rank['healed_rate']:.2f})"
        said.append(f"priority {rank['priority']}, specificity {rank['specificity']}, {healed}")
    return "; ".join(said)


def _show_decision(decision: Mapping[str, Any], considered: Mapping[Any, Mapping[str, Any]], terminal: Terminal) -> None:
    data = dict(decision.get("data") or {})
    playbook = considered.get(data.get("playbook"), {})
    if data.get("mode") == playbook.get("mode_in_force") != playbook.get("mode"):
        data["mode"] = f"{data['mode']} (playbook says {playbook['mode']}, lowered by mode_max)"
    opened = decision.get("type") == "run.opened"
    word = "a run was opened" if opened else str(data.get("verdict", decision.get("type", "")))
    terminal.title(f"{terminal.local(decision.get('time', ''))}  {word}")
    names = ("run", "playbook", "mode") if opened else ("playbook", "guard", "until", "run", "why")
    terminal.facts((name, data.get(name, "")) for name in names)
