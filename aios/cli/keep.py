"""`aios keep`: last-good copies, files as they were while their subject was proven well. Putting one back needs a daemon."""

from __future__ import annotations

import argparse
from typing import Any

from aios.blobs.store import BlobFolder
from aios.cli import exits, runs_back
from aios.cli.parser import add_verb, count, verbs
from aios.cli.reach import ask_daemon, folder, wants_json
from aios.cli.terminal import Terminal
from aios.disk import OsFiles
from aios.errors import Refused
from aios.events.event import format_time
from aios.hands.entry import Entry, entries_of, path_below, shown
from aios.hands.keep import Copy, copies, since_good
from aios.nearest import nearest

RESTORE_TIMEOUT_S = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list last-good copies, newest first", list_copies, examples="aios keep list")
    for name, help, action, example in (
        ("show", "show what a copy holds", show, "aios keep show nginx.service"),
        ("diff", "show what has changed since a copy was taken; 1 when anything has", diff, "aios keep diff nginx.service"),
        (
            "restore",
            "put a copy back; an act like any other, with snapshot and proof",
            restore,
            "aios keep restore nginx.service\naios keep restore nginx.service /etc/nginx/nginx.conf --generation 3",
        ),
    ):
        verb = add_verb(group, name, help, action, examples=example)
        verb.add_argument("subject", help="whose copy, from `aios keep list`")
        verb.add_argument("--playbook", default="", metavar="NAME", help="whose `keep` took it, where several do")
        verb.add_argument("--generation", type=count, default=0, metavar="N", help="which of its copies (default: the newest)")
        if name == "restore":
            verb.add_argument("files", nargs="*", metavar="FILE", help="only these (default: all that the copy holds)")


def list_copies(args: argparse.Namespace, terminal: Terminal) -> int:
    found = list(copies(folder(args, terminal), OsFiles()))
    if wants_json(args):
        terminal.json({"copies": [_brief(copy) for copy in found]})
    elif found:
        terminal.table(
            ("subject", "playbook", "generation", "taken", "files", "trouble"),
            [
                (c.subject, c.playbook, str(c.generation), terminal.when(format_time(c.taken)), str(_count(c)), _trouble(c))
                for c in found
            ],
        )
    else:
        terminal.say("There are no last-good copies. A playbook with `keep` takes one once its subject is proven well.")
    return exits.OK


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    copy = _wanted(args, terminal)
    files = [(path, entry) for path, entry in _entries(copy)]
    if wants_json(args):
        terminal.json({**_brief(copy), "entries": [{"path": shown(path), "is": entry.label()} for path, entry in files]})
        return exits.OK
    terminal.say(f"{copy.subject} · generation {copy.generation} · {terminal.when(format_time(copy.taken))}", "bold")
    terminal.table(
        ("file", "kind", "mode", "owner", "bytes", "sha256"),
        [
            (shown(path), it.kind, f"{it.mode:04o}", f"{it.uid}:{it.gid}", str(it.size) if it.blob else "", it.blob[:16])
            for path, it in files
        ],
    )
    return exits.OK


def diff(args: argparse.Namespace, terminal: Terminal) -> int:
    copy = _wanted(args, terminal)
    assert copy.manifest is not None
    found = since_good(copy.manifest, BlobFolder(OsFiles(), f"{folder(args, terminal)}/blobs"))
    if wants_json(args):
        terminal.json({**_brief(copy), "changed": found.changed, "diff": found.diff})
    elif found.changed:
        for line in found.diff.splitlines():
            terminal.say(line, {"+": "green", "-": "red"}.get(line[:1], ""))
    else:
        terminal.say(f"Nothing has changed since generation {copy.generation}.", "green")
    return exits.NO if found.changed else exits.OK


def restore(args: argparse.Namespace, terminal: Terminal) -> int:
    copy = _wanted(args, terminal)
    assert copy.manifest is not None
    files = args.files or [str(root["path"]) for root in copy.manifest["roots"]]
    request = {"playbook": copy.playbook, "subject": copy.subject, "files": files, "generation": copy.generation}
    answer = ask_daemon(args, terminal, "keep_restore", request, RESTORE_TIMEOUT_S)
    if wants_json(args):
        terminal.json(answer)
        return exits.OK if answer.get("ok") else exits.NO
    if not answer.get("ok"):
        terminal.say(f"It was not put back: {answer.get('error')}", "red")
        return exits.NO
    result = answer.get("result") or {}
    terminal.say(f"Generation {copy.generation} stands again; {result.get('restored', 0)} files were changed.", "green")
    for line in result.get("proof") or []:
        terminal.say(f"  {line.get('path')}: was {line.get('after_act')}; is {line.get('restored')}")
    if result.get("restored") and copy.subject.endswith(".service"):
        terminal.say(f"{copy.subject} reads it when it starts again: aios service restart {copy.subject}", "yellow")
    if result.get("restored"):
        runs_back.say_way_back(answer, terminal)
    return exits.OK


# --- which --------------------------------------------------------------------------------------------------------------


def _wanted(args: argparse.Namespace, terminal: Terminal) -> Copy:
    """Raises Refused when there is none, or when several playbooks keep one."""
    found = list(copies(folder(args, terminal), OsFiles()))
    of = [copy for copy in found if copy.subject == args.subject and args.playbook in ("", copy.playbook)]
    if not of:
        near = nearest(args.subject, {copy.subject for copy in found})
        raise Refused(
            f"there is no last-good copy of {args.subject!r}", f"did you mean {near!r}?" if near else "see aios keep list"
        )
    if len(names := sorted({copy.playbook for copy in of})) > 1:
        raise Refused(f"several playbooks keep a copy of {args.subject}", f"add --playbook: {', '.join(names)}")
    chosen = [copy for copy in of if args.generation in (0, copy.generation) and copy.manifest is not None]
    if not chosen:
        numbers = ", ".join(str(copy.generation) for copy in of if copy.manifest is not None)
        raise Refused(f"there is no generation {args.generation} that can be read", f"there are: {numbers or 'none'}")
    return chosen[0]


def _brief(copy: Copy) -> dict[str, Any]:
    return {
        "subject": copy.subject,
        "playbook": copy.playbook,
        "generation": copy.generation,
        "taken": format_time(copy.taken),
        "files": _count(copy),
        "damaged": copy.manifest is None,
    }


def _entries(copy: Copy) -> list[tuple[str, Entry]]:
    roots = copy.manifest["roots"] if copy.manifest else ()
    return [(path_below(root["path"], entry.path), entry) for root in roots for entry in entries_of(root)]


def _count(copy: Copy) -> int:
    return sum(1 for _, entry in _entries(copy) if entry.kind != "absent")


def _trouble(copy: Copy) -> str:
    return "damaged" if copy.manifest is None else ""
