"""`aios playbook trust`, `promote` and `demote`: what playbooks have shown, and a person's word on how far each may go."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aios.cli import exits
from aios.cli.parser import add_verb
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal
from aios.playbooks.model import MODES

if TYPE_CHECKING:
    from aios.cli.parser import Verbs


def arguments(group: Verbs) -> None:
    trusting = add_verb(
        group,
        "trust",
        "what playbooks have shown, and whether that carries the next mode",
        trust,
        examples="aios playbook trust\naios playbook trust service-down",
    )
    trusting.add_argument("name", nargs="?", default="", help="one of them, in full")
    for word, help, example in (
        (
            "promote",
            "let a playbook do more than its file says, while its text stays",
            'promote service-down --reason "a month in shadow"',
        ),
        ("demote", "let a playbook do less", "demote service-down --to suggest"),
    ):
        verb = add_verb(group, word, help, grant, examples=f"aios playbook {example}")
        verb.add_argument("name", help="its name")
        verb.add_argument(
            "--to", choices=MODES, default="", metavar="MODE", help=f"{', '.join(MODES)}; the next if you do not say"
        )
        verb.add_argument("--reason", default="", help="for the report")
        if word == "promote":
            verb.add_argument("--anyway", action="store_true", help="though its evidence does not carry it")


def trust(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when any has earned a further mode."""
    answer = ask_daemon(args, terminal, "playbook_trust", {"name": args.name})
    found = answer["playbooks"]
    if wants_json(args):
        terminal.json(answer)
    elif args.name:
        _show(found[0], terminal)
    else:
        rows = [(p["name"], _mode(p), p["earned"] or "no", p["why"]) for p in found]
        terminal.table(("playbook", "mode", "earned", "why"), rows)
    return exits.NO if any(p["earned"] and "evidence" in p for p in found) else exits.OK


def mode_words(playbook: Mapping[str, Any]) -> str:
    """The mode in force, and why it is not the file's: what a person granted, what evidence took, what the settings allow."""
    own, now = str(playbook["mode"]), str(playbook["mode_in_force"])
    granted = str(playbook.get("granted") or own)
    said = [f"playbook says {own}"] if own != now else []
    said += [f"{granted} by aios playbook trust"] if granted != own else []
    said += ["lowered by mode_max"] if granted != now else []
    return f"{now} ({', '.join(said)})" if said else now


def _mode(playbook: Mapping[str, Any]) -> str:
    said = "" if playbook["granted"] == playbook["mode"] else f" (file: {playbook['mode']})"
    return f"{playbook['mode_in_force']}{said}"


def _show(playbook: Mapping[str, Any], terminal: Terminal) -> None:
    evidence: Mapping[str, Any] = playbook.get("evidence") or {}
    grant: Mapping[str, Any] = playbook.get("grant") or {}
    terminal.say(f"{playbook['name']} · {_mode(playbook)}", "bold")
    terminal.facts(
        (
            ("text", str(playbook["hash"])[:12]),
            (
                "mode granted",
                f"{playbook['granted']} by {grant['by'] or 'its evidence'}, {terminal.when(grant['at'])}" if grant else "",
            ),
            ("because", grant.get("reason", "")),
            ("evidence since", terminal.when(evidence["since"]) if evidence else "no run of this text has ended"),
            *((f"runs in {mode}", _counts(outcomes)) for mode, outcomes in (evidence.get("runs") or {}).items()),
            ("healed", _share(evidence, "acted", "healed_share", "acting runs")),
            ("stayed ill", _share(evidence, "watched", "stayed_share", "runs in shadow")),
            ("asked", _asked(evidence)),
            ("taken back", evidence.get("rolled_back") or ""),
            ("next mode", f"{playbook['earned'] or 'not earned'}: {playbook['why']}"),
        )
    )


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))


def _share(evidence: Mapping[str, Any], name: str, bounds: str, what: str) -> str:
    results = evidence.get(name) or []
    low, high = evidence.get(bounds) or (0.0, 1.0)
    return f"{sum(results)} of the last {len(results)} {what}: a share of {low:.2f} to {high:.2f}" if results else ""


def _asked(evidence: Mapping[str, Any]) -> str:
    words = [(evidence.get(name) or 0, word) for name, word in (("approved", "yes"), ("denied", "no"), ("expired", "unanswered"))]
    return ", ".join(f"{count} {word}" for count, word in words if count)


def grant(args: argparse.Namespace, terminal: Terminal) -> int:
    request = {"name": args.name, "to": args.to, "reason": args.reason, "anyway": getattr(args, "anyway", False)}
    answer = ask_daemon(args, terminal, f"playbook_{args.verb}", request)
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(f"{args.name} may {answer['to']} from now on (before: {answer['before']}), while its text stays as it is.")
    return exits.OK
