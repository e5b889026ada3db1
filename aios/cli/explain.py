"""`aios explain EVENT`: which playbooks were considered for an event, why each ran or did not, and what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aios.cli import exits
from aios.cli.parser import finish
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("event", help="the event's id, from `aios events`")
    finish(parser, explain, examples="aios events --type service.down --limit 1 --json | jq -r .event.id | xargs aios explain")


def explain(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, "explain", {"event": args.event})
    if wants_json(args):
        terminal.json(answer)
    else:
        show(answer, terminal)
    return exits.OK


def show(answer: Mapping[str, Any], terminal: Terminal) -> None:
    event = answer.get("event") or {}
    if event:
        terminal.say(f"{event.get('type', '')} · {event.get('subject', '')} · {terminal.when(event.get('time', ''))}", "bold")
    considered = answer.get("considered") or []
    if not considered:
        terminal.say("No playbook is for events of this type.")
    else:
        terminal.say()
        rows = [(str(c.get("playbook", "")), "yes" if c.get("matched") else "no", str(c.get("why", ""))) for c in considered]
        terminal.table(("playbook", "matched", "why"), rows)
    for decision in answer.get("decisions") or []:
        _show_decision(decision, terminal)


def _show_decision(decision: Mapping[str, Any], terminal: Terminal) -> None:
    data = decision.get("data") or {}
    opened = decision.get("type") == "run.opened"
    word = "a run was opened" if opened else str(data.get("verdict", decision.get("type", "")))
    terminal.title(f"{terminal.local(decision.get('time', ''))}  {word}")
    names = ("run", "playbook", "mode") if opened else ("playbook", "guard", "until", "run", "why")
    terminal.facts((name, data.get(name, "")) for name in names)
