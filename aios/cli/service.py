"""`aios service`: what a person does to services by AIOS's hand. What is stopped so is `stopped`, not `down`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aios.cli import exits
from aios.cli.parser import add_verb, verbs
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal

ACT_TIMEOUT_S = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list the services that AIOS sees", list_services, examples="aios service list")
    for word, help in (
        ("start", "start a service"),
        ("stop", "stop a service; AIOS lets it be until it is started again"),
        ("restart", "restart a service"),
    ):
        verb = add_verb(group, word, help, act, examples=f"aios service {word} nginx.service\naios service {word} agent:writer")
        verb.add_argument("subject", help="the service, such as nginx.service or agent:NAME")


def list_services(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, "services")
    if wants_json(args):
        terminal.json(answer)
        return exits.OK
    services: list[dict[str, Any]] = sorted(answer.get("services", []), key=_what_matters)
    rows = [
        (
            s["subject"],
            s["state"],
            s.get("backend", ""),
            str(s.get("pid") or ""),
            terminal.when(s.get("since") or ""),
            s.get("detail", ""),
        )
        for s in services
    ]
    terminal.table(("subject", "state", "backend", "pid", "since", "detail"), rows)
    return exits.OK


def _what_matters(service: Mapping[str, Any]) -> tuple[bool, str]:
    """What is ill or on its way stands first."""
    return service["state"] in ("up", "stopped"), service["subject"]


def act(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, f"service_{args.verb}", {"subject": args.subject}, ACT_TIMEOUT_S)
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(f"{args.subject}: " + ("done" if answer.get("ok") else f"not done: {answer.get('error', '')}"))
    return exits.OK if answer.get("ok") else exits.NO
