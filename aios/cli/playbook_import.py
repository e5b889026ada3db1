"""`aios playbook import`: playbooks of the original AIOS as YAML files. It needs no daemon; nothing is overwritten unasked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aios.cli import exits
from aios.cli.parser import add_verb
from aios.cli.reach import wants_json
from aios.cli.skill import catalogue
from aios.cli.terminal import Terminal
from aios.errors import ConfigErrors, Refused
from aios.events.codec import BadLine, decode_hostile

if TYPE_CHECKING:
    from aios.cli.parser import Verbs
    from aios.playbooks.original import Carried

FILE_BYTES_MAX = 4 << 20
OUT = "imported-playbooks"
SCHEMA_FILE = "playbook.schema.json"

_EXAMPLES = """
aios playbook import ~/old-aios/data/playbooks.json
aios playbook import old.json --out /etc/aios/playbooks
aios playbook lint imported-playbooks
"""


def arguments(group: Verbs) -> None:
    help = "write the original's JSON playbooks as YAML, with what could not be carried over said in comments"
    parser = add_verb(group, "import", help, import_playbooks, examples=_EXAMPLES)
    parser.add_argument("files", nargs="+", metavar="FILE", help="playbooks.json of v0.5 or v0.6")
    parser.add_argument("--out", default=OUT, metavar="DIR", help=f"where the YAML files go (default: {OUT})")
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def import_playbooks(args: argparse.Namespace, terminal: Terminal) -> int:
    """1 when an entry is no playbook, or a file is in the way."""
    from aios.playbooks.original import Carried

    found = [(path, one) for path in args.files for one in _read(path)]
    carried = [one for _, one in found if isinstance(one, Carried)]
    not_carried = [(path, one) for path, one in found if not isinstance(one, Carried)]
    _refuse_twice(carried)
    _refuse_what_would_not_load(carried, args.out)
    written = _write(carried, args.out, args.force)
    if written:
        write_schema(args.out)
    if wants_json(args):
        rows = [
            {"file": path, "playbook": one.name, "carried": list(one.carried), "left_out": list(one.left_out)}
            for path, one in zip(written, carried, strict=True)
        ]
        refused = [{"file": path, "number": one.number, "why": one.why} for path, one in not_carried]
        terminal.json({"written": rows, "refused": refused})
    else:
        _show(carried, written, terminal)
        for path, one in not_carried:
            terminal.complain(f"{path}: entry {one.number}: {one.why}")
    return exits.NO if not_carried else exits.OK


def _read(path: str) -> list[Any]:
    from aios.playbooks.original import carry_over

    with open(path, "rb") as file:
        raw = file.read(FILE_BYTES_MAX + 1)
    try:
        document = decode_hostile(raw.removeprefix(b"\xef\xbb\xbf"), bytes_max=FILE_BYTES_MAX)
        return list(carry_over(document))
    except (BadLine, ValueError) as error:
        cure = "it should be the original's playbooks.json: a list of objects"
        raise Refused(f"{path} cannot be taken: {error}", cure) from None


def _refuse_twice(carried: Sequence[Carried]) -> None:
    names = [one.name for one in carried]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused(f"two of these files have a playbook {twice[0]!r}", "import them one by one, into folders of their own")


def _refuse_what_would_not_load(carried: Sequence[Carried], out: str) -> None:
    """What is written can be used; if it could not, that is told before anything is written."""
    from aios.playbooks.load import load_many

    loaded = load_many({os.path.join(out, f"{one.name}.yaml"): one.text for one in carried}, catalogue())
    if loaded.errors:
        raise ConfigErrors(list(loaded.errors))


def _write(carried: Sequence[Carried], out: str, force: bool) -> list[str]:
    """All of them, or none when one is in the way."""
    paths = [os.path.join(out, f"{one.name}.yaml") for one in carried]
    in_the_way = [path for path in paths if os.path.lexists(path)]
    if in_the_way and not force:
        words = f"{in_the_way[0]} is there already" + (f", and {len(in_the_way) - 1} more" if len(in_the_way) > 1 else "")
        raise Refused(words, "name another folder with --out, or write over them with --force")
    os.makedirs(out, exist_ok=True)
    for path, one in zip(paths, carried, strict=True):
        write_new(path, one.text, force)
    return paths


def write_new(path: str, text: str, force: bool = False) -> None:
    """A file that was not there; with `force` also one that was, but never through a link."""
    if force and os.path.lexists(path):
        os.unlink(path)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8") as file:
        file.write(text)


def write_schema(folder: str) -> str:
    """The schema that the first line of what we write names, beside it; its path, or empty where it lies there already."""
    from aios.events.codec import encode_json
    from aios.playbooks.schema import schema

    path = os.path.join(folder, SCHEMA_FILE)
    if os.path.lexists(path):
        return ""
    write_new(path, encode_json(schema(catalogue())).decode() + "\n")
    return path


def _show(carried: Sequence[Carried], written: Sequence[str], terminal: Terminal) -> None:
    pairs = zip(written, carried, strict=True)
    rows = [(path, str(len(one.carried)), str(len(one.left_out)), (one.left_out or ("",))[0]) for path, one in pairs]
    if not rows:
        terminal.say("Nothing is written.")
    if rows:
        terminal.table(("file", "carried", "left", "first thing that is left out"), rows)
        terminal.say()
        terminal.say(f"{len(rows)} written. What is left out stands in each file as comments.")
        terminal.say(f"next: aios playbook lint {os.path.dirname(written[0])}")
