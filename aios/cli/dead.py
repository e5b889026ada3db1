"""`aios dead`: events and runs that could not be processed, kept with the reason; their whole story; and another try."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aios.cli import exits
from aios.cli.events import summary
from aios.cli.journal import plain, reader
from aios.cli.parser import add_verb, verbs
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.runs_fold import RunView, fold_one, resolve
from aios.cli.terminal import Terminal
from aios.events.event import Event
from aios.scheduler.dead import DeadLetter, DeadLetters

LETTER = "scheduler.dead_letter"
TOLD = (LETTER, "scheduler.retried", "reactor.decided", "reactor.called", "run.opened")


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list dead letters, oldest first", list_letters, examples="aios dead list")
    showing = add_verb(
        group, "show", "show one with its whole story: event, decisions, runs", show, examples="aios dead show 3f2a"
    )
    retry_verb = add_verb(group, "retry", "have one processed again", retry, examples="aios dead retry 3f2a…")
    for verb, what in ((showing, "its id, or the beginning of it"), (retry_verb, "its id, from `aios dead list`")):
        verb.add_argument("letter", help=what)


def list_letters(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when there are none."""
    answer = ask_daemon(args, terminal, "dead_letters")
    letters = answer.get("dead_letters", [])
    if wants_json(args):
        terminal.json(answer)
    elif letters:
        rows = [(d["letter"], terminal.when(d.get("since", "")), d.get("subject", ""), d.get("reason", "")) for d in letters]
        terminal.table(("letter", "since", "subject", "reason"), rows)
        if answer.get("older"):
            terminal.say(f"{answer['older']} older ones stand only in the journal: aios events --type scheduler.dead_letter")
        terminal.say("`aios dead show LETTER` tells the whole story of one.")
    else:
        terminal.say("There are no dead letters.", "green")
    return exits.NO if letters else exits.OK


# --- the whole story --------------------------------------------------------------------------------------------------


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    """From the journal alone, so that it can be read without a daemon."""
    story = tell(folder(args, terminal), args.letter)
    if wants_json(args):
        terminal.json(story)
    else:
        _show(story, terminal)
    return exits.OK


def tell(state: str, wanted: str) -> dict[str, Any]:
    """The letter, its event, what was decided about that and which runs answered it, and what can be done. Raises Refused.

    Two passes: a letter is written after its event, and stands in the journal after what was decided about it.
    """
    letters, ever = DeadLetters(), dict[str, DeadLetter]()
    for stored in reader(state).read():
        letters.apply(stored.event)
        if stored.event.type == LETTER:
            one = DeadLetters()
            one.apply(stored.event)
            ever |= {letter.letter: letter for letter in one.list()}
    letter = ever[resolve(wanted, ever, what="dead letter", cure="`aios dead list` shows them")]
    event, told, runs = _about(state, letter)
    waits = letters.get(letter.letter) is not None
    return {
        "letter": asdict(letter),
        "waits": waits,
        "event": plain(event) if event else None,
        "story": [plain(one) for one in told],
        "runs": [view.brief() for view in runs],
        "to_do": _to_do(letter, waits, event is not None),
    }


def _about(state: str, letter: DeadLetter) -> tuple[Event | None, list[Event], list[RunView]]:
    event: Event | None = None
    told: list[Event] = []
    views: dict[str, RunView] = {}
    for stored in reader(state).read():
        one = stored.event
        if one.id == letter.event and one.id and event is None:
            event = one
        elif one.type in TOLD and (letter.event in (one.causationid, one.data.get("event")) or _of(one, letter)):
            told.append(one)
        if one.type.startswith(("run.", "approval.")):
            fold_one(views, one)
    return event, told, [view for view in views.values() if view.event == letter.event]


def _of(event: Event, letter: DeadLetter) -> bool:
    return event.data.get("letter") == letter.letter


def _to_do(letter: DeadLetter, waits: bool, event_there: bool) -> list[str]:
    if not waits:
        return ["it was tried again already; what came of it stands above"]
    if not event_there:
        return ["its event has left the journal: emit it anew, if it still matters"]
    todo = [f"mend what is said above, then: aios dead retry {letter.letter}"]
    if "could not be decided" in letter.reason:
        return ["a skill failed while it was asked what it touches: the daemon's log has its traceback", *todo]
    if "too long" in letter.reason:
        return ["its data does not fit into a line of the journal beside a run: have the program that says it say less"]
    return todo


def _show(story: Mapping[str, Any], terminal: Terminal) -> None:
    letter, event = story["letter"], story["event"] or {}
    terminal.say(f"dead letter · {letter['subject']} · {'waits' if story['waits'] else 'tried again'}", "bold")
    terminal.facts(
        (
            ("letter", letter["letter"]),
            ("since", terminal.when(letter["since"])),
            ("reason", letter["reason"]),
            ("event", f"{event.get('type', 'gone from the journal')} ({letter['event']})"),
            ("its data", summary(event.get("data") or {})),
            ("stands at", letter["position"]),
        )
    )
    terminal.say()
    rows = [(terminal.when(one["time"]), one["type"], _words(one["data"])) for one in story["story"]]
    terminal.table(("when", "what", ""), rows)
    if story["runs"]:
        terminal.say()
        shown = [(run["id"][:8], run["playbook"], run["status"], run["why"]) for run in story["runs"]]
        terminal.table(("run", "playbook", "status", "why"), shown)
    for line in story["to_do"]:
        terminal.say()
        terminal.say(line, "yellow")


def _words(data: Mapping[str, Any]) -> str:
    """A decision in one line."""
    said = [str(data.get(name) or "") for name in ("verdict", "playbook", "guard", "why", "reason", "by")]
    return " · ".join(word for word in said if word)


def retry(args: argparse.Namespace, terminal: Terminal) -> int:
    answer = ask_daemon(args, terminal, "dead_retry", {"letter": args.letter})
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say(f"{args.letter} is tried again; `aios dead show {args.letter}` shows what comes of it.")
    return exits.OK
