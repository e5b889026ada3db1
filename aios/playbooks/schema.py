"""The JSON Schema (2020-12) of a playbook, with every installed skill's parameters: what an editor completes and checks by.

Called by `aios playbook schema`. It says what can be said without running anything; `load` says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aios.events.calls import KINDS, SkillCatalogue, SkillSpec
from aios.events.catalogue import CATALOGUE
from aios.events.event import SEVERITIES
from aios.events.limits import BOUNDS, NONE
from aios.playbooks.load import NAME, PRIORITY_MAX
from aios.playbooks.model import ASK, MODES
from aios.playbooks.read_guard import DEPENDS_MAX, RUNS_MAX, WINDOWS_MAX
from aios.playbooks.read_on import COUNT_MAX, JOINS, PATH, PATHS_MAX, TRIGGERS_MAX
from aios.playbooks.read_on import NAME as TRIGGER_NAME
from aios.playbooks.read_steps import CHOICES_MAX
from aios.playbooks.read_tests import CHECK_WORDS, OUTCOMES, SYMPTOMS

Json = dict[str, Any]

_DURATION: Json = {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s", "5m", "1h"]}
COUNT_PATTERN = r"^\s*\d+\s+in\s+\S+\s*$"
_TEMPLATE: Json = {"type": "string", "pattern": r"\$\{", "description": "an expression: ${event.subject}"}
_SCALAR: Json = {"type": ["string", "number", "boolean", "null"]}


def schema(skills: SkillCatalogue) -> Json:
    """The whole schema, as plain JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AIOS playbook",
        "description": "When this happens: look, act, verify; else undo and escalate.",
        **_object(_top(), required=("playbook", "on", "steps")),
        "$defs": {
            "duration": _DURATION,
            "template": _TEMPLATE,
            "match": _match_fields(),
            "fields": _fields(),
            "pattern": _pattern(),
            "operator": _operator(),
            "by": _by(),
            **_triggers(),
            "step": _step(skills),
            "check": _check(skills),
            "test": _test(),
            **{f"skill.{name}": _params(skills[name]) for name in sorted(skills)},
        },
    }


def _object(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _said(words: str, inner: Mapping[str, Any]) -> Json:
    return {**inner, "description": words}


def _top() -> Json:
    anchored = "^" + NAME.pattern.replace(r"\Z", "$")
    return {
        "playbook": _said("Its name: small letters, digits and -.", {"type": "string", "pattern": anchored}),
        "description": _said("What it is for, in a sentence.", {"type": "string"}),
        "on": _said("The events it is for.", _on()),
        "when": _said("A CEL expression over event, score, system_score, now.", {"type": "string", "examples": ["score < 0.9"]}),
        "mode": _said("How far it may go.", {"enum": list(MODES), "default": "auto"}),
        "priority": _said("A higher one goes first.", {"type": "integer", "minimum": -PRIORITY_MAX, "maximum": PRIORITY_MAX}),
        "enabled": _said("false switches it off.", {"type": "boolean", "default": True}),
        "guard": _said("How often it may act.", _guard()),
        "approve": _said("How long a person has to answer what it asks.", _approve()),
        "keep": _said("A last-good copy, taken when verify has held.", _keep()),
        "steps": _said("What it does, in order.", {"type": "array", "minItems": 1, "items": _ref("step")}),
        "verify": _said("The symptom, and the proof.", {"type": "array", "minItems": 1, "items": _ref("check")}),
        "on_failure": _said("What is tried after its own acts were taken back.", {"type": "array", "items": _rung()}),
        "tests": _said("Its own tests: aios playbook test.", {"type": "array", "items": _ref("test")}),
    }


def _on() -> Json:
    """One event, or several together."""
    one = {"type": _types(), "match": _match()}
    count = {"count": _said("So many in how long.", {"type": "string", "pattern": COUNT_PATTERN, "examples": ["3 in 10m"]})}
    forms = [_object(one, ("type",)), _object({**one, **count, "by": _ref("by"), "lateness": _lateness()}, ("type", "count"))]
    return {"anyOf": [*forms, *(_several(kind) for kind in _SEVERAL)]}


_SEVERAL = {
    "any": "One of these is enough.",
    "all": "All of these, in any order.",
    "sequence": "These, one after the other; the last may be an absence.",
    "absence": "None of these for as long as `within` says.",
}


def _several(kind: str) -> Json:
    entries = {"type": "array", "minItems": 1, "maxItems": TRIGGERS_MAX, "items": _ref(f"trigger.{kind}")}
    known: Json = {
        kind: _said(_SEVERAL[kind], {"anyOf": [entries, _ref(f"trigger.{kind}")]}),
        "within": _said("Less than this lies between the first and the last of them.", _ref("duration")),
        "by": _ref("by"),
        "lateness": _lateness(),
    }
    if kind != "absence":
        known["join"] = _said("Which are taken where several would do.", {"enum": list(JOINS), "default": "last"})
    return _object(known, (kind,) if kind == "any" else (kind, "within"))


def _triggers() -> Json:
    """The entries of each kind."""
    name = {"type": "string", "pattern": "^" + TRIGGER_NAME.pattern.replace(r"\Z", "$")}
    bare: Json = {
        "type": _types(),
        "match": _match(),
        "name": _said("Its name in expressions: event.data.events.NAME", name),
        "by": _ref("by"),
    }
    number: Json = {"type": "integer", "minimum": 1, "maximum": COUNT_MAX}
    in_time = {"type": "string", "pattern": COUNT_PATTERN, "examples": ["3 in 10m"]}
    counted = _object({**bare, "count": _said("So many of it.", number)}, ("type",))
    absent = _object({"absence": _said("What must not stay away.", _object(bare, ("type",)))}, ("absence",))
    return {
        "trigger.any": _object({**bare, "count": _said("So many of it.", {"anyOf": [number, in_time]})}, ("type",)),
        "trigger.all": counted,
        "trigger.sequence": {"anyOf": [counted, absent]},
        "trigger.absence": _object(bare, ("type",)),
    }


def _by() -> Json:
    path = {"type": "string", "pattern": "^" + PATH.pattern.replace(r"\Z", "$"), "examples": ["subject", "data.host"]}
    several = {"type": "array", "minItems": 1, "maxItems": PATHS_MAX, "items": path}
    return _said("What joins them: a field, or several.", {"anyOf": [path, several, {"const": "none"}], "default": "subject"})


def _lateness() -> Json:
    return _said("By how much events may arrive in another order than they happened.", {**_ref("duration"), "default": "1s"})


def _types() -> Json:
    one = {"type": "string", "examples": ["service.down", "service.*", *sorted(CATALOGUE)]}
    return _said(
        "An exact type, a list, or a family: service.*", {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]}
    )


def _match() -> Json:
    return _said("Every listed field must match one of its values.", _ref("match"))


def _match_fields() -> Json:
    """The attributes of an event; the same again in each mapping of `$or`."""
    listed = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, _ref("operator")]}}
    severity = {"type": "array", "minItems": 1, "items": {"anyOf": [{"enum": list(SEVERITIES)}, _ref("operator")]}}
    words = {
        "subject": _said("What it is about: nginx.service, agent:NAME, disk:/var, host.", listed),
        "source": _said("Who tells it.", listed),
        "severity": _said("How grave it is.", severity),
        "data": _said("What its producer says, field by field.", _fields()),
    }
    match = _object({**words, "$or": _either("match")})
    return {**match, "minProperties": 1}


def _fields() -> Json:
    return {
        "type": "object",
        "minProperties": 1,
        "properties": {"$or": _either("fields")},
        "additionalProperties": _ref("pattern"),
    }


def _either(each: str) -> Json:
    return _said("One of these must match.", {"type": "array", "minItems": 2, "items": _ref(each)})


def _pattern() -> Json:
    return {"anyOf": [{"type": "array", "minItems": 1, "items": {"anyOf": [_SCALAR, _ref("operator")]}}, _ref("fields")]}


def _operator() -> Json:
    text = {"type": "string"}
    words = {"type": "string", "minLength": 1}
    folded = _said("In any case.", text)
    edge = {"anyOf": [text, {**_object({"equals-ignore-case": folded}), "minProperties": 1}]}
    some, some_words = ({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]} for one in (text, words))
    forms = {
        "prefix": _said("text that begins so, or with one of these", some_words),
        "suffix": _said("text that ends so, or with one of these", some_words),
        "wildcard": _said("text like this, or one of these; * is any text", some),
        "equals-ignore-case": _said("the same text in any case, or one of these", some),
    }
    form = {**_object(forms), "minProperties": 1, "maxProperties": 1}
    lists = [{"type": "array", "minItems": 1, "items": {"type": one}} for one in ("string", "number")]
    but = {"anyOf": [text, {"type": "number"}, *lists, form]}
    numeric = {"type": "array", "minItems": 2, "maxItems": 4, "items": {"type": ["string", "number"]}, "examples": [[">=", 2]]}
    known = {
        "prefix": _said("text that begins so", edge),
        "suffix": _said("text that ends so", edge),
        "wildcard": _said("text like this; * is any text", {**text, "examples": ["web-*"]}),
        "equals-ignore-case": _said("the same text in any case", text),
        "anything-but": _said("any other value", but),
        "numeric": _said('a number: [">=", 2] or [">", 0, "<=", 5]', numeric),
        "exists": _said("whether the field is there", {"type": "boolean"}),
        "cidr": _said("an address in this network", {"type": "string", "pattern": "/[0-9]+$", "examples": ["10.0.0.0/8"]}),
        "exactly": _said("just this text", text),
    }
    return {**_object(known), "minProperties": 1, "maxProperties": 1}


def _guard() -> Json:
    limit = {"type": "string", "pattern": r"^(none|\s*\d+\s+in\s+\S+\s*)$", "examples": ["3 in 1h", "none"]}
    cooldown = _said("Per subject, from the end of the last run.", {**_ref("duration"), "default": "5m"})
    count = {"type": "integer", "minimum": 1, "maximum": RUNS_MAX}
    by = _said("So many for each value of this field.", {"type": "string", "examples": ["data.cluster", "subject"]})
    at_once = {"anyOf": [count, _object({"at_most": _said("How many.", count), "by": by}, ("at_most",))]}
    some = {"type": "array", "minItems": 1, "maxItems": WINDOWS_MAX, "items": _window()}
    windows = {
        **_object({"only": _said("It acts within these.", some), "never": _said("And not within these.", some)}),
        "minProperties": 1,
    }
    opened = _said("For how long at first; then twice as long after each trial that fails.", _ref("duration"))
    breaker = _object({"open": opened, "ceiling": _said("Never longer than this.", {**_ref("duration"), "default": "1d"})})
    return _object(
        {
            "cooldown": cooldown,
            "limit": _said("Then the breaker opens and a person is asked.", {**limit, "default": "3 in 1h"}),
            "breaker": _said("For how long it is open; one run then tries.", breaker),
            "concurrency": _said("So many runs that may act are open at once.", at_once),
            "windows": _said("Maintenance windows.", windows),
            "depends_on": _said(
                "Nothing is done while one of these subjects is ill.",
                {"type": "array", "maxItems": DEPENDS_MAX, "items": {"type": "string"}, "examples": [["db.service"]]},
            ),
        }
    )


def _window() -> Json:
    text = {"type": "string"}
    known = {
        "cron": _said("When it begins: minute hour day month weekday.", {**text, "examples": ["0 2 * * *", "0 22 * * fri"]}),
        "for": _said("How long it lasts.", _ref("duration")),
        "from": _said("Instead of cron: a day, or a time.", {**text, "examples": ["2026-12-24", "2026-12-24T18:00"]}),
        "to": _said("Until then; a day counts whole.", text),
        "timezone": _said("The machine's own if you do not say.", {**text, "examples": ["Europe/Berlin"]}),
    }
    return {**_object(known), "oneOf": [{"required": ["cron", "for"]}, {"required": ["from", "to"]}]}


def _approve() -> Json:
    return _object({"expires": _said("No answer by then is a no.", _ref("duration"))}, ("expires",))


def _keep() -> Json:
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^/"}}
    after = _said("Verify must have held for so long.", {**_ref("duration"), "default": "60s"})
    return _object({"files": _said("Files and folders that are copied.", files), "after": after}, ("files",))


def _rung() -> Json:
    either = {"fallback": _said("another playbook", {"type": "string"}), "notify": _said("a message", {"type": "string"})}
    whole = _object({**either, "after": _said("How long is waited before it.", _ref("duration"))})
    return {**whole, "oneOf": [{"required": [what]} for what in either]}


def _step(skills: SkillCatalogue) -> Json:
    retry = _object(
        {
            "attempts": _said("Tries in all.", {"type": "integer", "minimum": 1, "maximum": 20, "default": 3}),
            "backoff": _said("The time before the second one.", _ref("duration")),
            "factor": _said("Each time so much longer than the one before.", {"type": "number", "minimum": 1}),
            "ceiling": _said("Never longer than this.", _ref("duration")),
        }
    )
    known: Json = {
        "id": _said(
            "Its name in expressions: small letters, digits and _.", {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$"}
        ),
        "with": _said("The skill's parameters.", {"type": ["object", "null"]}),
        "if": _said("A CEL expression; the step is left out when it says no.", {"type": "string"}),
        "timeout": _said("How long it may take; else what its skill says.", _ref("duration")),
        "limits": _said("What it may use at most; where nothing is said, the skill's and the settings' count.", _limits()),
        "retry": _said("How often an act is tried in all.", retry),
    }
    meaning = {"type": "string", "minLength": 1, "maxLength": 200}
    choices = {"type": "object", "minProperties": 2, "maxProperties": CHOICES_MAX}
    known[ASK] = _said("A question to a person; steps.ID.result.choice is what they chose.", {"type": "string", "minLength": 1})
    known["choices"] = _said("The answers, and what each means.", {**choices, "additionalProperties": meaning})
    known["expires"] = _said("How long a person has to answer.", _ref("duration"))
    for kind in KINDS:
        known[kind] = _said(_KIND_WORDS[kind], {"enum": [name for name in sorted(skills) if skills[name].kind == kind]})
    one_kind = {"oneOf": [*({"required": [kind]} for kind in KINDS), {"required": [ASK, "choices"]}]}
    return {**_object(known, ("id",)), **one_kind, "allOf": [_if_skill(skills[name]) for name in sorted(skills)]}


def _limits() -> Json:
    forms: Mapping[str, Json] = {
        "size": {"type": "string", "pattern": r"^(\d{1,12}[KMGT]|none)$"},
        "count": {"anyOf": [{"type": "integer", "minimum": 2}, {"const": NONE}]},
        "share": {"type": "string", "pattern": r"^(\d{1,5}%|none)$"},
        "nice": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 19}, {"const": NONE}]},
    }
    return {
        **_object({name: _said(b.doc, {**forms[b.form], "examples": [b.example]}) for name, b in BOUNDS.items()}),
        "minProperties": 1,
    }


_KIND_WORDS = {
    "observe": "A skill that looks and changes nothing.",
    "act": "A skill that changes something.",
    "verify": "A skill that says whether it is well.",
}


def _if_skill(spec: SkillSpec) -> Json:
    """When the step names this skill, its parameters are these."""
    then: Json = {"properties": {"with": _ref(f"skill.{spec.name}")}}
    if spec.schema.get("required"):
        then["required"] = ["with"]
    return {"if": {"properties": {spec.kind: {"const": spec.name}}, "required": [spec.kind]}, "then": then}


def _check(skills: SkillCatalogue) -> Json:
    own = {
        "hold": _said("It must stay well for so long.", {**_ref("duration"), "default": "0s"}),
        "within": _said("It must become well within this time.", {**_ref("duration"), "default": "30s"}),
        "timeout": _said("How long one look may take.", {**_ref("duration"), "default": "10s"}),
        "every": _said("How often it is looked at.", {**_ref("duration"), "default": "1s"}),
    }
    known: Json = {}
    for name in sorted(skills):
        if skills[name].kind == "verify":
            params = _params(skills[name])
            whole = {**params, "properties": {**params.get("properties", {}), **own}, "description": skills[name].doc}
            known[name] = whole if whole.get("required") else {"anyOf": [whole, {"type": "null"}]}
    return {**_object(known), "minProperties": 1, "maxProperties": 1}


def _test() -> Json:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    text = {name: _said(words, {"type": "string"}) for name, words in _EVENT_WORDS.items()}
    fields = {**text, "data": _said("What its producer says.", {"type": "object"})}
    event = _said("What happens.", _object(fields, ("type",)))
    after = {"after": _said("Time since the one before.", _ref("duration"))}
    one_of_several = _object({**{name: part for name, part in fields.items() if name != "time"}, **after}, ("type",))
    events = _said("Several, one after the other.", {"type": "array", "items": one_of_several})
    wait = _said("Time that passes after the last of them.", _ref("duration"))
    ill = {
        "mode": _said("The mode in which it is tried; its own if you do not say.", {"enum": list(MODES)}),
        "score": _said("Of the event's subject.", {**share, "default": 0.5}),
        "system_score": _said("Of the whole machine.", {**share, "default": 0.5}),
        "symptom": _said("What verify says before the first act.", {"enum": list(SYMPTOMS), "default": "not_well"}),
    }
    happens = {"anyOf": [{"required": [name]} for name in ("event", "events", "wait")]}
    given = {**_object({"event": event, "events": events, "wait": wait, **ill}), **happens}
    answer = {"anyOf": [{"enum": list(CHECK_WORDS)}, {"type": "object"}]}
    said = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$"}
    either = {"anyOf": [answer, said, {"type": "array", "minItems": 1, "items": answer}]}
    stub = {"type": "object", "additionalProperties": either}
    outcome = _said("How the run ends; no_run: none begins.", {"enum": list(OUTCOMES)})
    steps = _said("The steps that are carried out, in order.", {"type": "array", "items": {"type": "string"}})
    whole = {
        "name": _said("What it shows, as a sentence.", {"type": "string"}),
        "given": _said("What happens, and how things stand.", given),
        "stub": _said("What skills and steps answer; the others are ok.", stub),
        "expect": _said("What has to come of it.", _object({"outcome": outcome, "steps": steps}, ("outcome",))),
    }
    return _object(whole, ("name", "given", "expect"))


_EVENT_WORDS = {
    "type": "Its type, written out.",
    "subject": "What it is about; host if you do not say.",
    "severity": "info, warning, error or critical; what is usual for its type if you do not say.",
    "source": "Who tells it.",
    "time": "When it happened.",
    "id": "Its id.",
}


# --- skills ---------------------------------------------------------------------------------------------------------


def _params(spec: SkillSpec) -> Json:
    """The skill's own schema, where every value may also be an expression."""
    raw = dict(spec.schema)
    defs = raw.pop("$defs", {})
    made = _object(
        {name: _or_template(_inlined(part, defs)) for name, part in raw.get("properties", {}).items()},
        tuple(raw.get("required", ())),
    )
    return {**made, "description": spec.doc}


def _inlined(part: Any, defs: Mapping[str, Any], depth: int = 0) -> Any:
    """`$ref`s to the skill's own definitions, written out: their names would not be unique in here."""
    if isinstance(part, Mapping):
        target = str(part.get("$ref", "")).removeprefix("#/$defs/")
        if target in defs and depth < 8:
            return _inlined({**defs[target], **{k: v for k, v in part.items() if k != "$ref"}}, defs, depth + 1)
        return {key: _inlined(value, defs, depth) for key, value in part.items()}
    return [_inlined(value, defs, depth) for value in part] if isinstance(part, list) else part


def _or_template(part: Mapping[str, Any]) -> Json:
    """Also an expression, here and in what is inside."""
    inner = dict(part)
    if isinstance(inner.get("items"), Mapping):
        inner["items"] = _or_template(inner["items"])
    if isinstance(inner.get("additionalProperties"), Mapping):
        inner["additionalProperties"] = _or_template(inner["additionalProperties"])
    if inner.get("type") == "string" and not {"pattern", "enum", "const"} & inner.keys():
        return inner
    words: Json = {name: inner.pop(name) for name in ("description", "title", "examples", "default") if name in inner}
    return {**words, "anyOf": [inner, _ref("template")]}
