"""The reference pages, made from the code: settings, commands, event types, skills. A test compares them with `docs/`.

`python -m aios.cli.docs` writes them into the checkout's `docs/`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aios.cli.exits import MEANINGS
from aios.cli.main import build_parser
from aios.cli.skill import catalogue, parameters
from aios.events.calls import SkillSpec
from aios.events.catalogue import CATALOGUE, CLOSES, OWN_PREFIXES, is_own
from aios.events.durations import format_duration
from aios.journal.dialects import PREFIX, SEVERITIES, TABLE
from aios.places import checkout
from aios.playbooks import run_table
from aios.settings import Settings
from aios.settings.fields import default_text, section_of, variables
from aios.skills.api import GROUP
from aios.skills.catalogue import scan_entry_points

_SETTINGS_HEAD = """\
# Settings

Made from the code (`python -m aios.cli.docs`); do not edit.

One TOML file, `AIOS_…` variables, `--data DIR`. What is more particular wins: an option, then a variable, then the file, then
the default. The file is the one that `--settings` or `AIOS_SETTINGS` names, else `aios.toml` in a checkout, else
`/etc/aios/aios.toml`; there need not be one. The daemon, `aios doctor` and every command that goes by the settings (playbooks,
skills, `backtest`) check all of it when they read it: an unknown or wrong setting is refused, with its line and a cure. A command
that only asks the daemon or reads the journal (`aios status`, `runs`, `events`, `report`) takes nothing from the file but
the state folder, and checks no more of it than that: at night it must answer though the file is broken. `aios doctor` says
whether it is good.

- A duration is a number with its unit, in quotes: `500ms`, `10s`, `5m`, `1h30m`, `2d`.
- A relative folder counts from the file; in a variable or option, from where you stand.
- A list in a variable is separated by commas: `AIOS_PLAYBOOKS=/etc/aios/playbooks,/srv/playbooks`.
- Without `data`, the state folder is systemd's `StateDirectory=`, else `data/` of a checkout, else `/var/lib/aios`; without
  `playbooks`, it is `playbooks/` of a checkout, else the shipped ones and then `/etc/aios/playbooks` (of two playbooks with
  one name, the one in the later folder wins).

```toml
mode_max = "suggest"
settle = "10s"

[host.disk]
high = 0.92
mounts = ["/", "/var"]

[[service]]
name = "web"
argv = ["/usr/bin/python3", "-m", "http.server", "8080"]
folder = "/srv/web"

[[probe]]
name = "web"
url = "http://127.0.0.1:8080/"
subject = "web.service"
every = "5s"
```
"""

_COMMANDS_HEAD = """\
# Commands

Made from the code (`python -m aios.cli.docs`); do not edit.

Every command takes `--data DIR` (the state folder) and `--settings FILE`, before or after it (`aios emit` only before, because
its own `--data` is the event's). Every command that prints takes `--json`: one JSON document on one line, or one a line where
it follows. A failure goes to standard error with what to do; with `--json` it is `{"error", "hint", "exit_code"}` on standard
output. Colour is only used on a terminal, and never when `NO_COLOR` is set.
"""

_EVENTS_HEAD = """\
# Event types

Made from the code (`python -m aios.cli.docs`); do not edit.

Every type that AIOS itself emits, with the shape of its `data`. Other programs may emit types of their own by `aios emit` or the
inbox, but none that start with {own}: those are
AIOS's bookkeeping, and a playbook sees them only when it names the exact type.
"""

_SKILLS_HEAD = """\
# Skills

Made from the code (`python -m aios.cli.docs`); do not edit.

What a playbook's steps call, and what `aios skill run` calls by hand. There are three kinds: **observe** looks and changes
nothing, **act** changes something (what it touches is saved before), **verify** says whether something is well. A playbook
gives the parameters under `with`, and reads what came of a step as `steps.ID.result.FIELD`.

*After a crash* says what becomes of an act that was under way when AIOS died: `idempotent` runs again, `check before retry` looks
first whether it is still needed, `never retry` is only verified, and then a person is asked.

A skill of your own is a Python package with an entry point in the group `aios.skills`; `aios/skills/` has one small file for each
of these.
"""

_KINDS = {
    "observe": "Observe: look, and change nothing",
    "act": "Act: change something",
    "verify": "Verify: say whether it is well",
}


_IMPORT_HEAD = """\
# Coming from AIOS v0.5 and v0.6

Made from the code (`python -m aios.cli.docs`); do not edit.

```sh
aios journal import ~/old-aios/events/*.jsonl ~/old-aios/events/queue/*.jsonl ~/old-aios/data/*.jsonl
```

Every event file of the original is understood, in all its dialects: with byte-order marks, UTF-16, arrays in a `.jsonl`,
documents over many lines, several objects in a line, local and UTC times, seconds and milliseconds, bytes that are no text. What
a file holds goes into archived parts of its own, each event on the day on which it happened. `aios events` and `aios report` read
them like any other day; they change no state, start no run, and no cursor waits for them. They are kept as long as a day that was
archived on the day of the import.

- **Nothing comes twice.** An event's id is made of the content of its record: importing again, or files that overlap, adds
  nothing, and of two records that say the same, time and all, one counts.
- **All or nothing.** The events of an import are there from one instant on. One that was cut off leaves nothing that is read:
  import again.
- **Nothing is dropped.** `read` is the sum of `imported`, `already_there` and `quarantined`; for each record that is not
  understood the answer names file, line and reason, and `quarantine/` keeps it.
- **Times without a zone** were the machine's own. Records that tell the same moment twice, as a number and as a text, tell by how
  much it was ahead of UTC; the most of them decide for all files of an import. Where none does it is this machine's zone, or
  `--zone`.
- **Secrets** are struck out, as everywhere.

With `--json` the answer is `{"read", "imported", "already_there", "quarantined", "days", "types", "zone", "files"}`, and each of
`files` is `{"file", "read", "imported", "already_there", "quarantined", "reasons": [{"line", "reason"}]}`.
"""

_IMPORT_OTHERS = """
Every other name stays as it is (`task.completed`), after `PREFIX` where it has no dot or belongs to AIOS's own bookkeeping now
(`scheduler.decision.made` is `PREFIXscheduler.decision.made`). Where the name has changed, `data.original` has the old one.
Fields of `payload`, `data` and `meta`, and whatever else a record holds, stand in `data`; `agent_id` makes the subject
`agent:NAME`, else it is `host`. Playbooks of the original are no events:
`aios playbook import` writes its `playbooks.json` as YAML that loads, with what could not be carried over said in comments.
"""


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_markdown() -> str:
    names = {variable.path: name for name, variable in variables().items()}
    parts = [_SETTINGS_HEAD, "## At the top of the file\n", _settings_table(Settings, (), names)]
    for path, model, many in sections(Settings, ()):
        title = f"[[{'.'.join(path)}]]" if many else f"[{'.'.join(path)}]"
        parts += [f"\n## `{title}`\n", f"{first_line(model)}\n", _settings_table(model, path, {} if many else names)]
    return _page(parts)


def sections(model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel], bool]]:
    """Every table of the file: its path, its model, whether there may be many."""
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            path = (*prefix, field.alias or name)
            yield path, inner, typing.get_origin(field.annotation) is tuple
            yield from sections(inner, path)


def _settings_table(model: type[BaseModel], prefix: tuple[str, ...], names: Mapping[tuple[str, ...], str]) -> str:
    rows = []
    for name, field in model.model_fields.items():
        if section_of(field.annotation) is None:
            key = field.alias or name
            variable = names.get((*prefix, key), "")
            rows.append((f"`{key}`", _default(field), field.description or "", f"`{variable}`" if variable else ""))
    heads = ("setting", "default", "meaning", "variable")
    used = heads if any(row[3] for row in rows) else heads[:3]
    return _table(used, [row[: len(used)] for row in rows])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    text = default_text(field)
    return f"`{text}`" if text and text != '""' else ""


def first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


# --- commands ---------------------------------------------------------------------------------------------------------


def commands_markdown() -> str:
    parts = [_COMMANDS_HEAD, "## Exit codes\n"]
    parts.append(_table(("code", "meaning"), [(str(code), meaning) for code, meaning in MEANINGS.items()]))
    for words, parser in commands(build_parser(), ()):
        parts += [f"\n## `aios {' '.join(words)}`\n", f"{parser.description}\n", f"```\n{_usage(words, parser)}\n```"]
        rows = _argument_rows(parser)
        if rows:
            parts += ["", _table(("argument", "meaning"), rows)]
        if parser.epilog:
            parts += ["", "```sh\n" + _examples(parser.epilog) + "\n```"]
    return _page(parts)


Command = tuple[tuple[str, ...], argparse.ArgumentParser]


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[Command]:
    """Every command that does something, with its words."""
    subs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if words and not subs:
        yield words, parser
    for action in subs:
        for name, sub in action.choices.items():
            yield from commands(sub, (*words, name))


_COMMON = {"help", "state_dir", "settings_file", "json"}


def _own(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.dest not in _COMMON]


def _usage(words: tuple[str, ...], parser: argparse.ArgumentParser) -> str:
    return " ".join(["aios", *words, *map(_form, _own(parser))])


def _form(action: argparse.Action) -> str:
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {_metavar(action)}"
        return f"[{action.option_strings[-1]}{value}]"
    name = _metavar(action)
    return {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} …"}.get(str(action.nargs), name)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _argument_rows(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    return [(f"`{', '.join(action.option_strings) or _metavar(action)}`", action.help or "") for action in _own(parser)]


def _examples(epilog: str) -> str:
    lines = epilog.strip().split("\n")
    return "\n".join(line.removeprefix("  ") for line in lines if line != "examples:")


# --- events -----------------------------------------------------------------------------------------------------------


def events_markdown() -> str:
    own = ", ".join(f"`{prefix}`" for prefix in OWN_PREFIXES)
    parts = [_EVENTS_HEAD.format(own=own)]
    for title, wanted in (("What sensors see", False), ("AIOS's own bookkeeping", True)):
        parts.append(f"\n## {title}")
        for name, kind in CATALOGUE.items():
            if is_own(name) == wanted:
                parts.append(f"\n### `{name}`\n\n{kind.doc} Usual severity: {kind.severity}.")
                closing = " or ".join(f"`{other}`" for other, openeds in CLOSES.items() if name in openeds)
                if closing:
                    parts.append(f"It stands until {closing} on the same subject.")
                if kind.fields:
                    rows = [(f"`{field}`", type_, meaning) for field, (type_, meaning) in kind.fields.items()]
                    parts += ["", _table(("field", "type", "meaning"), rows)]
    return _page(parts)


# --- skills -----------------------------------------------------------------------------------------------------------


def skills_markdown() -> str:
    """AIOS's own: what else is installed on this machine does not belong on everybody's page."""
    places = scan_entry_points(GROUP)
    own = [spec for name, spec in catalogue().items() if places[name].startswith("aios.skills.")]
    parts = [_SKILLS_HEAD]
    for kind, title in _KINDS.items():
        parts.append(f"\n## {title}")
        for spec in sorted((spec for spec in own if spec.kind == kind), key=lambda spec: spec.name):
            parts += _skill(spec)
    return _page(parts)


def _skill(spec: SkillSpec) -> list[str]:
    parts = [f"\n### `{spec.name}`\n\n{spec.doc} {spec.schema.get('description', '')}".rstrip() + "\n"]
    rows = [(f"`{name}`", kind, _default_of(usual), meaning) for name, kind, usual, meaning in parameters(spec)]
    if rows:
        parts.append(_table(("parameter", "type", "default", "meaning"), rows))
    gives = ", ".join(f"`{name}` ({kind})" for name, kind in spec.result_fields.items())
    facts = [f"Gives {gives or 'nothing'}", f"time limit {format_duration(spec.timeout_s)}"]
    if spec.kind == "act":
        facts.append(f"after a crash: {spec.rerun.replace('_', ' ')}")
    if spec.irreversible:
        facts.append("**cannot be taken back**")
    if spec.has_inverse:
        facts.append("taken back by its inverse")
    return [*parts, "; ".join(facts) + "."]


def _default_of(usual: str) -> str:
    return usual if usual in ("", "required") else f"`{usual}`"


# --- coming from the original -----------------------------------------------------------------------------------------


def import_markdown() -> str:
    rows = [
        (f"`{name}`", f"`{meaning.type}`", meaning.why or ("an alarm" if meaning.type in CATALOGUE else ""))
        for name, meaning in TABLE.items()
    ]
    words: dict[str, list[str]] = {}
    for word, severity in SEVERITIES.items():
        words.setdefault(severity, []).append(f"`{word}`")
    severities = [(f"`{severity}`", ", ".join(found)) for severity, found in words.items()]
    head = _IMPORT_HEAD.replace("PREFIX", PREFIX)
    parts = [head, "## Types\n", _table(("in the original", "now", ""), rows), _IMPORT_OTHERS.replace("PREFIX", PREFIX)]
    return _page([*parts, "## Severities\n", _table(("now", "in the original, in any case"), severities)])


# --- runs -------------------------------------------------------------------------------------------------------------


def runs_markdown() -> str:
    """The states of a run, drawn from the table that the code runs by."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (status, event), after in run_table.TABLE.items():
        if status != after:
            arrows.setdefault((status, after), []).append(event.removeprefix("run."))
    drawn = [f"    {status} --> {after}: {', '.join(events)}" for (status, after), events in arrows.items()]
    stays: dict[str, list[str]] = {}
    for (status, event), after in run_table.TABLE.items():
        if status == after:
            stays.setdefault(status, []).append(f"`{event}`")
    return _page(
        [
            "# The states of a run",
            "",
            "Made from `aios/playbooks/run_table.py`; `make docs` writes it again. A run is folded from its own events, so this",
            "is also what the journal says about one: `aios runs show RUN` prints it event by event.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            *drawn,
            "```",
            "",
            _table(("state", "meaning"), tuple((f"`{name}`", meaning) for name, meaning in run_table.MEANINGS.items())),
            "",
            "These events change something in a run and leave its state as it is:",
            "",
            _table(("state", "events"), tuple((f"`{name}`", ", ".join(events)) for name, events in stays.items())),
        ]
    )


# --- writing ----------------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_markdown,
    "commands.md": commands_markdown,
    "events.md": events_markdown,
    "skills.md": skills_markdown,
    "import.md": import_markdown,
    "runs.md": runs_markdown,
}


def write_pages(folder: str) -> None:
    for name, make in PAGES.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(make())


def _page(parts: list[str]) -> str:
    """One blank line between things, one newline at the end."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip("\n") + "\n"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    home = checkout()
    if home is None:
        sys.exit("the pages belong to a checkout, and this is none")
    write_pages(os.path.join(home, "docs"))
