"""`aios playbook new`: a first version of a playbook, from flags, from an event, or from a few questions on a terminal."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from aios.cli import exits
from aios.cli.journal import reader
from aios.cli.parser import UsageError, add_verb
from aios.cli.playbook_import import write_new, write_schema
from aios.cli.reach import folder, settings, wants_json
from aios.cli.skill import catalogue
from aios.cli.terminal import Terminal
from aios.errors import Refused
from aios.events.event import Event
from aios.nearest import nearest
from aios.playbooks.model import MODES

if TYPE_CHECKING:
    from aios.cli.parser import Verbs
    from aios.playbooks.drafting import Wanted

_PROG = "aios playbook new"
ANSWER_MAX = 500
_EXAMPLES = """
aios playbook new                                      asks a few questions
aios playbook new --type service.down --subject nginx.service --url http://127.0.0.1/
aios playbook new --from-event 4f0c1d…                 a playbook for this
aios playbook new --type service.down --subject nginx    the same: a service's whole name is nginx.service
aios playbook new shop-slow --type shop.slow --restart shop.service --mode approve
"""


def arguments(group: Verbs) -> None:
    help = "write a first version of a playbook: it loads, lints, and passes its own test"
    parser = add_verb(group, "new", help, new, examples=_EXAMPLES)
    parser.add_argument("name", nargs="?", default="", help="its name (default: made of what it answers)")
    parser.add_argument(
        "--from-event",
        metavar="ID",
        help="for this event of the journal (or the beginning of its id): its type, subject and data",
    )
    parser.add_argument("--type", default="", help="the type of event that it answers: service.down")
    parser.add_argument("--subject", default="", help="only for this subject: nginx.service (default: any)")
    acting = parser.add_mutually_exclusive_group()
    acting.add_argument("--restart", metavar="UNIT", default="", help="restart this service (default: the subject, if it is one)")
    acting.add_argument("--look", action="store_true", help="only look, change nothing")
    parser.add_argument("--url", default="", help="the proof: this address answers (default: the service is up)")
    parser.add_argument("--mode", choices=MODES, default="", help="how much it may do by itself (default: suggest)")
    parser.add_argument("--out", default=".", metavar="DIR", help="where the file goes (default: here); it is made if need be")
    parser.add_argument("--force", action="store_true", help="write over a file that is there already")


def new(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when the file is there already."""
    wanted = _wanted(args, terminal)
    from aios.playbooks.drafting import checked_draft  # lint, trial and CEL: only who writes one pays

    text = checked_draft(wanted, catalogue())
    path = os.path.join(args.out, f"{wanted.title}.yaml")
    folder_is_new = not os.path.isdir(args.out)
    try:
        os.makedirs(args.out, exist_ok=True)
        write_new(path, text, args.force)
    except FileExistsError:
        raise Refused(f"{path} is there already", f"give it another name ({_PROG} NAME …), or --force writes over it") from None
    schema = write_schema(args.out)
    if wants_json(args):
        terminal.json({"file": path, "playbook": wanted.title, "subject": wanted.subject, "text": text})
        return exits.OK
    terminal.page(text.rstrip("\n"))
    terminal.say()
    if args.mode not in ("", wanted.mode):
        terminal.complain(f"It only looks, so its mode is {wanted.mode} and not {args.mode}.")
    if wanted.subject not in (args.subject, "") and args.subject:
        terminal.say(f"{args.subject} is called {wanted.subject} in events, so that is what it answers.")
    if folder_is_new:
        terminal.say(f"The folder {args.out} was not there: it is made.")
    if schema:
        terminal.say(f"{schema} lies beside it, so that your editor completes and checks what you type.")
    terminal.say(f"{path} is written: it loads, and its test passes. Next:", "green")
    terminal.say(f"  aios playbook backtest {path}      when would it have run this last month?")
    terminal.say(f"  aios playbook lint {path}          after each change; and aios playbook test {path}")
    return exits.OK


# --- what is wanted ---------------------------------------------------------------------------------------------------


def _wanted(args: argparse.Namespace, terminal: Terminal) -> Wanted:
    from aios.playbooks.drafting import ABOUT_SERVICES, SUBJECT, Wanted

    asks = not (args.type or args.from_event)
    if asks and not terminal.input.isatty():
        raise UsageError("say what it answers: --type service.down, or --from-event ID", _PROG)
    wanted = Wanted(args.type, args.name, args.subject, args.restart, args.url, args.mode or "suggest")
    if args.from_event:
        wanted = _from_event(wanted, _event(args.from_event, args, terminal))
    if args.subject:
        wanted = replace(wanted, subject=_canonical(args.subject, wanted.event_type, args, terminal))
    if asks:
        return _asked(wanted, args, terminal)
    if not wanted.unit and not args.look:
        service = wanted.event_type.startswith(ABOUT_SERVICES) or wanted.subject.endswith(".service")
        wanted = replace(wanted, unit=(wanted.subject or SUBJECT) if service else "")
    return _settled(wanted)


def _canonical(subject: str, event_type: str, args: argparse.Namespace, terminal: Terminal) -> str:
    """How events spell it: `nginx` is nginx.service, `coder` agent:coder, `/var` disk:/var. Else its pattern never fires."""
    if not subject or set(":$") & set(subject) or subject in ("host", "system"):
        return subject
    if event_type.startswith("resource.disk_") and subject.startswith("/"):
        return f"disk:{subject}"
    managed = {service.name: service.subject for service in settings(args, terminal).service}
    if event_type.startswith("service."):
        return managed.get(subject) or (subject if "." in subject else f"{subject}.service")
    if event_type.startswith("agent.") and "." not in subject:
        return managed.get(subject) or f"agent:{subject}"
    return subject


def _settled(wanted: Wanted) -> Wanted:
    """A service by its whole name; who only looks needs no mode, and no proof."""
    if wanted.unit:
        bare = not set(".:$") & set(wanted.unit)
        return replace(wanted, unit=f"{wanted.unit}.service") if bare else wanted
    if wanted.url:
        raise UsageError("--url is the proof of an act: say with --restart what is restarted", _PROG)
    return replace(wanted, mode="observe")


def _from_event(wanted: Wanted, event: Event) -> Wanted:
    return replace(
        wanted,
        event_type=wanted.event_type or event.type,
        subject=wanted.subject or event.subject,
        severity=event.severity,
        data=dict(event.data),
        event=event.id,
    )


def _event(event_id: str, args: argparse.Namespace, terminal: Terminal) -> Event:
    from aios.reports.explain import find_event  # the playbooks' whole room: only who names an event pays

    return find_event(reader(folder(args, terminal)), event_id).event


# --- questions --------------------------------------------------------------------------------------------------------


def _asked(wanted: Wanted, args: argparse.Namespace, terminal: Terminal) -> Wanted:
    from aios.events.catalogue import CATALOGUE, is_own
    from aios.playbooks.drafting import ABOUT_SERVICES, SUBJECT, name_for

    seen = [name for name in CATALOGUE if not is_own(name)]
    event_type = _ask(terminal, "Which type of event does it answer?", "service.down")
    if event_type not in CATALOGUE and (near := nearest(event_type, seen)):
        event_type = near if _ask(terminal, f"No sensor says {event_type}. Did you mean {near}?", "yes") == "yes" else event_type
    subject = _ask(terminal, "Only for one subject, such as nginx.service? (empty: any)", wanted.subject)
    subject = _canonical(subject, event_type, args, terminal)
    usual = (subject or SUBJECT) if event_type.startswith(ABOUT_SERVICES) else ""
    unit = (
        "" if args.look else _ask(terminal, "Which service does it restart? (- for none: it only looks)", args.restart or usual)
    )
    unit = "" if unit == "-" else unit
    wanted = replace(wanted, event_type=event_type, subject=subject, unit=unit)
    if unit:
        wanted = replace(wanted, url=_ask(terminal, "Which address proves it? (empty: the service is up)", wanted.url))
        mode = _ask(terminal, f"How much may it do by itself? ({', '.join(MODES)})", wanted.mode)
        if mode not in MODES:
            raise Refused(f"there is no mode {mode!r}", "it is one of " + ", ".join(MODES))
        wanted = replace(wanted, mode=mode)
    name = _ask(terminal, "What is it called?", wanted.name or name_for(event_type, subject))
    return _settled(replace(wanted, name=name))


def _ask(terminal: Terminal, question: str, usual: str) -> str:
    shown = f" [{usual}]" if usual else ""
    terminal.out.write(f"{question}{shown} ")
    terminal.out.flush()
    line = terminal.input.readline(ANSWER_MAX)
    if not line:
        terminal.say()
        raise Refused("no answer: nothing is written", f"{_PROG} --type TYPE asks nothing")
    return line.strip() or usual
