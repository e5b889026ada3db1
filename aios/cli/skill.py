"""`aios skill`: what AIOS can look at, do and verify; and one call of a skill by hand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aios.cli import exits, runs_back
from aios.cli.events import is_time, summary
from aios.cli.parser import UsageError, add_verb, verbs
from aios.cli.reach import ask_daemon, wants_json
from aios.cli.terminal import Terminal
from aios.errors import Refused
from aios.events.calls import SkillCatalogue, SkillSpec
from aios.events.codec import BadLine, decode_hostile
from aios.nearest import did_you_mean

RUN_TIMEOUT_S = 3600.0

_RUN_EXAMPLES = """
aios skill run service_status unit=nginx.service
aios skill run http_check url=http://127.0.0.1/ status=200
aios skill run restart_service unit=nginx.service --dry
aios skill run run_command 'argv=["df", "-h"]'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    group = verbs(parser)
    add_verb(group, "list", "list the skills", list_skills, examples="aios skill list")
    show_verb = add_verb(group, "show", "show a skill and its parameters", show, examples="aios skill show restart_service")
    show_verb.add_argument("skill", help="its name")
    run_verb = add_verb(group, "run", "call a skill once, by the daemon", run, examples=_RUN_EXAMPLES)
    run_verb.add_argument("skill", help="its name")
    run_verb.add_argument("params", nargs="*", metavar="NAME=VALUE", help="parameters; a value that is JSON is taken as JSON")
    run_verb.add_argument("--dry", action="store_true", help="only say what it would do")


def catalogue() -> SkillCatalogue:
    from aios.skills.catalogue import load_catalogue

    return load_catalogue()


def list_skills(args: argparse.Namespace, terminal: Terminal) -> int:
    skills = catalogue().values()
    if wants_json(args):
        terminal.json({"skills": [plain(spec) for spec in skills]})
    else:
        order = {"observe": 0, "act": 1, "verify": 2}
        rows = [(s.name, s.kind, s.doc) for s in sorted(skills, key=lambda s: (order[s.kind], s.name))]
        terminal.table(("skill", "kind", "what it does"), rows)
    return exits.OK


def show(args: argparse.Namespace, terminal: Terminal) -> int:
    spec = find(args.skill, catalogue())
    if wants_json(args):
        terminal.json({**plain(spec), "schema": dict(spec.schema)})
        return exits.OK
    terminal.say(f"{spec.name} · {spec.kind}", "bold")
    terminal.say(spec.doc)
    if "description" in spec.schema:
        terminal.say(str(spec.schema["description"]))
    terminal.say()
    rows = parameters(spec)
    if rows:
        terminal.table(("parameter", "type", "default", "meaning"), rows)
        terminal.say()
    terminal.facts(
        (
            ("gives", ", ".join(f"{name} ({kind})" for name, kind in spec.result_fields.items())),
            ("after a crash", spec.rerun.replace("_", " ")),
            ("time limit", f"{spec.timeout_s:g}s"),
            ("taking it back", taking_back(spec)),
        )
    )
    return exits.OK


def find(name: str, skills: SkillCatalogue) -> SkillSpec:
    """Raises Refused."""
    if name not in skills:
        raise Refused(f"there is no skill {name!r}", did_you_mean(name, skills, "`aios skill list` shows them"))
    return skills[name]


def taking_back(spec: SkillSpec) -> str:
    """What a rollback does about it; empty where snapshots say it all."""
    if spec.irreversible:
        return "cannot be taken back"
    return "it is undone by its inverse" if spec.has_inverse else ""


def plain(spec: SkillSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "kind": spec.kind,
        "doc": spec.doc,
        "rerun": spec.rerun,
        "timeout_s": spec.timeout_s,
        "irreversible": spec.irreversible,
        "has_inverse": spec.has_inverse,
        "result_fields": dict(spec.result_fields),
    }


def parameters(spec: SkillSpec) -> list[tuple[str, str, str, str]]:
    """Rows from the JSON Schema: name, type, default, meaning or examples."""
    required = set(spec.schema.get("required", ()))
    rows = []
    for name, field in spec.schema.get("properties", {}).items():
        usual = field.get("default")
        default = "required" if name in required else "" if usual is None else str(usual)
        rows.append((name, _type_of(field), default, _meaning(field)))
    return rows


def _type_of(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type_of(entry) for entry in field["anyOf"] if entry.get("type") != "null")
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    kind = field.get("type", field.get("format", "any"))
    if kind == "array" and "items" in field:
        return f"list of {_type_of(field['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _meaning(field: Mapping[str, Any]) -> str:
    """In words, else by examples, else by its bounds."""
    if "description" in field:
        return str(field["description"])
    either = [field, *field.get("anyOf", ())]
    if examples := [_shown(example) for entry in either for example in entry.get("examples", ())]:
        return "such as " + ", ".join(examples)
    low, high = (next((entry[bound] for entry in either if bound in entry), "") for bound in ("minimum", "maximum"))
    return f"{low} to {high}" if low != "" and high != "" else f"at least {low}" if low != "" else ""


def _shown(example: object) -> str:
    """As a playbook has it."""
    return f"[{', '.join(map(str, example))}]" if isinstance(example, list) else str(example)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when the skill says ok."""
    request = {"skill": args.skill, "params": parse_params(args.params), "dry": args.dry}
    answer = ask_daemon(args, terminal, "skill_run", request, RUN_TIMEOUT_S)
    if wants_json(args):
        terminal.json(answer)
    else:
        terminal.say("ok" if answer.get("ok") else f"not ok: {answer.get('error', '')}", "green" if answer.get("ok") else "red")
        if answer.get("says"):
            terminal.say(str(answer["says"]))
        _show_result(answer.get("result") or {}, terminal)
        runs_back.say_way_back(answer, terminal)
    return exits.OK if answer.get("ok") else exits.NO


def _show_result(result: Mapping[str, Any], terminal: Terminal) -> None:
    """Facts in a line each; what a command printed, and what was listed, as the lines that they are."""
    many = {name: lines for name, value in result.items() if (lines := _lines(value))}
    facts = ((name, value) for name, value in result.items() if name not in many)
    terminal.facts((name, terminal.when(value) if is_time(name, value) else _plain(value)) for name, value in facts)
    for name, lines in many.items():
        terminal.title(name)
        for line in lines:
            terminal.say(f"  {line}")


def _lines(value: Any) -> list[str]:
    """Of what takes more than one line; else nothing."""
    if isinstance(value, list):
        return [summary(one) if isinstance(one, dict) else str(one) for one in value]
    lines = value.rstrip("\n").splitlines() if isinstance(value, str) else []
    return lines if len(lines) > 1 else []


def _plain(value: Any) -> str:
    return summary({"": value}).removeprefix("=") if isinstance(value, bool | dict) else str(value)


def parse_params(words: list[str]) -> dict[str, Any]:
    """`name=value` words: what reads as JSON is JSON, all else is text. Raises UsageError."""
    params: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} is no parameter; write NAME=VALUE, such as unit=nginx.service", "aios skill run")
        if name in params:
            raise UsageError(f"{name!r} is given twice", "aios skill run")
        try:
            params[name] = decode_hostile(value.encode("utf-8", "surrogateescape"))
        except BadLine:
            params[name] = value
    return params
