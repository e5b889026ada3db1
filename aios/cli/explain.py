"""`aios explain EVENT|RUN`: which playbooks were considered, what each condition said of which value, which guard held it and
until when, and what would have made it run.

`reports/explain.py` knows; the daemon adds how things stand now, and without one the journal tells all the rest.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aios.cli import exits
from aios.cli.journal import reader
from aios.cli.parser import UsageError, finish
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.terminal import Terminal
from aios.cli.trust import mode_words
from aios.control.client import NoDaemon
from aios.errors import Refused
from aios.events.catalogue import CORRELATED, is_own
from aios.journal.query import make_query
from aios.playbooks.correlation_words import standing
from aios.reports.explain import explain as look

EXAMPLES = """
aios events --type service.down --limit 1 --json | jq -r .event.id | xargs aios explain
aios explain 3f2a91c0
aios explain --last service.down
"""
TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?\Z")
SHOWN_MAX, OTHERS_SHOWN = 30, 5
LOOKED_THROUGH = 200
"""Newest events of a subject among which one is sought that is no bookkeeping."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_wanted(parser)
    finish(parser, explain, examples=EXAMPLES)


def add_wanted(parser: argparse.ArgumentParser) -> None:
    words = "the id of an event, a run or a dead letter, or its beginning"
    parser.add_argument("event", metavar="EVENT|RUN", nargs="?", default="", help=words)
    parser.add_argument("--last", metavar="TYPE|SUBJECT", default="", help="the newest event of this type, or about this subject")


def explain(args: argparse.Namespace, terminal: Terminal) -> int:
    if bool(args.event) == bool(args.last):
        raise UsageError("name an event or a run, or --last TYPE", "aios explain")
    event = args.event or _newest(args.last, folder(args, terminal))
    try:
        answer = ask_daemon(args, terminal, "explain", {"event": event})
    except NoDaemon:
        answer = look(folder(args, terminal), event)
    if wants_json(args):
        terminal.json(answer)
    else:
        show(answer, terminal)
    return exits.OK


def _newest(word: str, state: str) -> str:
    """The id of the newest event of this type, or about this subject: of those, what happened goes before AIOS's own bookkeeping.

    Raises Refused.
    """
    history = reader(state)
    of_type = history.newest(make_query(types=(word,)), 1) if TYPE.match(word) else []
    about = history.newest(make_query(subject=word), LOOKED_THROUGH)
    found = of_type or [stored for stored in about if _happened(stored.event.type)] or about
    if not found:
        raise Refused(f"no event of the type {word!r}, and none about such a subject", "aios events shows what there was")
    return max(found, key=lambda stored: stored.event.taken).event.id


def _happened(event_type: str) -> bool:
    """Whether somebody may ask why this was answered, or was not."""
    return event_type == CORRELATED or not (is_own(event_type) or event_type.endswith(".sampled"))


def show(answer: Mapping[str, Any], terminal: Terminal) -> None:
    event: Mapping[str, Any] = answer.get("event") or {}
    considered, decisions = answer.get("considered") or [], answer.get("decisions") or []
    if event:
        terminal.say(f"{event.get('type', '')} · {event.get('subject', '')} · {terminal.when(event.get('time', ''))}", "bold")
    if considered:
        terminal.say()
        rows = [(str(c.get("playbook", "")), "yes" if c.get("matched") else "no", _why(c)) for c in considered[:SHOWN_MAX]]
        terminal.table(("playbook", "matched", "why"), rows)
        _show_needs(considered[:SHOWN_MAX], terminal)
    elif not decisions and not any(told.get("matched") for told in answer.get("windows") or []):
        terminal.say("No playbook is for it, so nothing was decided.")
    for told in answer.get("windows") or []:
        _show_window(told, terminal)
    if event.get("type") == CORRELATED:
        _show_parts(event.get("data") or {}, terminal)
    for decision in decisions:
        _show_decision(decision, {c.get("playbook"): c for c in considered}, terminal)
    for run, told in (answer.get("runs") or {}).items():
        _show_run(run, told, terminal)
    _show_others(answer, len(considered), terminal)


def _show_needs(considered: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    """Of each playbook what it asked and what it saw, and the sentence that says what it lacked."""
    lacking = [one for one in considered if one.get("needs")]
    for one in lacking:
        terminal.title(f"{one['playbook']} {VERDICTS.get(str(one.get('verdict')), 'did not run')}")
        asked = [("yes" if c["holds"] else "no", c["field"], c["value"], c["wanted"]) for c in one.get("conditions") or []]
        if len(asked) > 1:
            terminal.table(("holds", "field", "value", "wanted"), asked)
        terminal.facts([("guard", one.get("guard", "")), ("until", _when(one, terminal)), ("it needs", _local(one, terminal))])


def _when(one: Mapping[str, Any], terminal: Terminal) -> str:
    return terminal.when(str(one["until"])) if one.get("until") else ""


def _local(one: Mapping[str, Any], terminal: Terminal) -> str:
    """The sentence, with its time as clocks on the wall have it."""
    until, sentence = str(one.get("until") or ""), str(one["needs"])
    return sentence.replace(until, terminal.local(until)) if until else sentence


VERDICTS: Mapping[str, str] = {
    "no_match": "did not match",
    "when_false": "matched, and its `when` said no",
    "cannot_say": "matched, and its `when` could not say",
    "off": "is switched off",
    "not_first": "matched, and came after another",
    "held": "was held",
    "released": "was held, and let go",
    "coalesced": "waits with another event",
    "opened": "ran, and might not act",
    "joined": "joined a run that might not act",
    "dead": "could not be processed",
    "waits": "matched, and waits",
    "undecided": "matched",
    "imported": "matched",
}
"""What became of a playbook, as a heading."""


def _show_run(run: str, told: Mapping[str, Any], terminal: Terminal) -> None:
    """How a run stands that the event led to."""
    waits = f" for {told['waits_for']}" if told.get("waits_for") else ""
    facts = [("stands", f"{told.get('status', '')}{waits}"), ("until", _when(told, terminal)), ("why", str(told.get("why", "")))]
    terminal.title(f"run {run[:8]} of {told.get('playbook', '')}: aios runs show {run[:8]}")
    terminal.facts(facts)


def _show_others(answer: Mapping[str, Any], considered: int, terminal: Terminal) -> None:
    """What the answer leaves out, and what is not known."""
    others: Mapping[str, Any] = answer.get("others") or {}
    if others.get("count"):
        named = ", ".join(str(one["playbook"]) for one in others["playbooks"][:OTHERS_SHOWN])
        more = ", …" if others["count"] > OTHERS_SHOWN else ""
        terminal.say()
        terminal.say(f"Not asked, for they are for other types: {others['count']} ({named}{more}).", "dim")
    if considered > SHOWN_MAX:
        terminal.say(f"{considered - SHOWN_MAX} more were considered: --json tells of all.")
    for note in answer.get("notes") or []:
        terminal.say(str(note), "yellow")


def _show_window(told: Mapping[str, Any], terminal: Terminal) -> None:
    """What the event is to a playbook that waits for several, how that stood with it, and how it stands now."""
    terminal.title(f"{told.get('playbook', '')} waits for several events ({told.get('kind', '')})")
    rows = [(str(t.get("name", "")), "yes" if t.get("matched") else "no", str(t.get("why", ""))) for t in told["triggers"]]
    terminal.table(("entry", "matched", "why"), rows)
    if told.get("used"):
        at = str(told["used"]["at"])
        terminal.say(str(told["needs"]).replace(at, terminal.local(at)))
    elif told.get("matched") and "key" in told:  # else nobody knows how it stood
        terminal.say(f"{told.get('as_of', 'now')}: {standing(told)}")
        if told.get("now"):
            terminal.say(f"now: {told['now']}")


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
        data["mode"] = mode_words(playbook)
    opened = decision.get("type") == "run.opened"
    word = "a run was opened" if opened else str(data.get("verdict", decision.get("type", "")))
    terminal.title(f"{terminal.local(decision.get('time', ''))}  {word}")
    names = ("run", "playbook", "mode") if opened else ("playbook", "guard", "until", "run", "why")
    terminal.facts((name, data.get(name, "")) for name in names)
