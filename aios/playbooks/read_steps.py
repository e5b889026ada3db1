"""`steps` and `verify`: which skill, with what, and whether those parameters could ever work. Used by `load.py` alone.

What is constant is checked by the skill itself, now; what holds `${ }` is checked by the same function when the run has its
value. What can hurt is refused here whatever the skill says: an interpreter that is handed code, a command whose name
comes from an event, a lock that depends on what a step found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aios.events.calls import KINDS, Kind, SkillCatalogue, SkillSpec
from aios.events.limits import UNSAID
from aios.nearest import did_you_mean, nearest
from aios.playbooks.condition import CelCondition, CelTemplate, Expression, Fields
from aios.playbooks.interpreters import code_flag, named_programs, remote_shell
from aios.playbooks.model import ASK, Check, Question, Retry, Step, StepKind
from aios.playbooks.read import Reader, is_constant
from aios.playbooks.read_limits import read_limits
from aios.playbooks.run_table import RESERVED_STEPS
from aios.playbooks.yaml_strict import Node, clip, to_json

STEPS_MAX = 100
CHECKS_MAX = 20
DAY_S = 86400.0
LONGEST_ANSWER_S = 30 * DAY_S

STEP_KINDS: tuple[StepKind, ...] = (*KINDS, ASK)
STEP_KEYS = ("id", *STEP_KINDS, "with", "if", "timeout", "retry", "limits", "choices", "expires")
ASKING_KEYS, CALLING_KEYS = ("choices", "expires"), ("with", "timeout", "retry", "limits")
CHOICES_MAX = 10
CHECK_KEYS = ("hold", "within", "timeout", "every")
RETRY_KEYS = ("attempts", "backoff", "factor", "ceiling")

_ID = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_CEL_WORDS = frozenset((
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
    "namespace", "null", "package", "return", "true", "var", "void", "while",
))  # fmt: skip
_CHOICE = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")
_VERBS = {"observe": "looks", "act": "acts", "verify": "verifies"}


@dataclass(frozen=True, slots=True)
class Named:
    """An expression of a step or check, where it stands, and the parameter that it belongs to (empty: `if`)."""

    node: Node
    expression: Expression
    param: str


class StepReader:
    """Reads the steps of one playbook in order, so that each knows what ran before it."""

    def __init__(self, reader: Reader, skills: SkillCatalogue, fields: Fields) -> None:
        self._reader = reader
        self._skills = skills
        self._fields = fields
        self._places: dict[str, Node] = {}
        self._later: tuple[str, ...] = ()
        self.kinds: dict[str, StepKind] = {}
        self.choices: dict[str, tuple[str, ...]] = {}
        self.written_ids: set[str] = set()
        self.written_skills: set[str] = set()

    # --- steps ---

    def steps(self, node: Node) -> tuple[Step, ...]:
        items = self._reader.items(node, "steps", STEPS_MAX)
        if node.kind == "list" and not items:
            self._reader.refuse(node, "steps is empty", "add a step: `- id: restart`, `act: restart_service`, `with: {unit: …}`")
        self._later = tuple(str(to_json(item.entries["id"][1])) for item in items if item.kind == "map" and "id" in item.entries)
        return tuple(step for step in map(self._step, items) if step is not None)

    def _step(self, node: Node) -> Step | None:
        found = self._reader.mapping(node, "a step", STEP_KEYS, ("id",))
        step_id = self._id(found["id"]) if "id" in found else None
        if ASK in found and not any(kind in found for kind in KINDS):
            return self._asking(found, step_id)
        kind, spec = self._skill_of(node, found)
        for key in ASKING_KEYS:
            if key in found and kind:
                self._reader.refuse(
                    node.entries[key][0], f"{key} is for a question to a person", 'write ask: "Which way?" instead'
                )
        named: list[Named] = []
        params = self._params(found.get("with"), spec, node, named)
        condition = self._reader.condition(found["if"], "if", self._fields) if "if" in found else None
        if isinstance(condition, CelCondition):
            named.append(Named(found["if"], condition.expression, ""))
        self._check_references(named, step_id)
        timeout = self._duration(found.get("timeout"), "timeout", spec.timeout_s if spec else 30.0, 0.001, DAY_S)
        retry = self._retry(found.get("retry"), kind, spec)
        if spec and kind == "act":
            self._refuse_wandering_touch(spec, named)
        if step_id and kind and spec:
            self.kinds[step_id] = kind
            limits = read_limits(self._reader, found["limits"], spec) if "limits" in found else UNSAID
            return Step(step_id, kind, spec.name, params, condition, timeout, retry, limits)
        return None

    def _asking(self, found: Mapping[str, Node], step_id: str | None) -> Step | None:
        """A question to a person."""
        for key in CALLING_KEYS:
            if key in found:
                self._reader.refuse(found[key], f"a question takes no {key}", "it takes choices and expires")
        named: list[Named] = []
        condition = self._reader.condition(found["if"], "if", self._fields) if "if" in found else None
        if isinstance(condition, CelCondition):
            named.append(Named(found["if"], condition.expression, ""))
        asked = self._reader.text(found[ASK], ASK, 1000)
        text, expressions = self._reader.template(found[ASK], self._fields) if asked else (CelTemplate("", ""), ())
        named += [Named(node, expression, "") for node, expression in expressions]
        self._check_references(named, step_id)
        choices = self._choices(found)
        expires = self._reader.duration(found["expires"], "expires", 1.0, LONGEST_ANSWER_S) if "expires" in found else None
        if not (step_id and asked and choices):
            return None
        self.kinds[step_id], self.choices[step_id] = ASK, tuple(choices)
        return Step(step_id, ASK, ASK, CelTemplate({}, {}), condition, question=Question(text, choices, expires))

    def _choices(self, found: Mapping[str, Node]) -> dict[str, str]:
        example = "choices: {restart: Restart it, leave: Leave it as it is}"
        if "choices" not in found:
            self._reader.refuse(found[ASK], "a question needs choices", f"write {example}")
            return {}
        node = found["choices"]
        if node.kind != "map" or not 2 <= len(node.entries) <= CHOICES_MAX:
            self._reader.refuse(node, f"choices are 2 to {CHOICES_MAX} names, each with what it means", f"write {example}")
            return {}
        choices = {}
        for name, (key, value) in node.entries.items():
            if not _CHOICE.match(name):
                self._reader.refuse(key, f"a choice cannot be called {clip(name)}", "small letters, digits, _ and -: restart")
            elif (words := self._reader.text(value, f"what {name} means", 200)) is not None:
                choices[name] = words
                if "${" in words:
                    self._reader.refuse(value, "what a choice means is plain text", "put the ${ } into the question")
        return choices

    def _id(self, node: Node) -> str | None:
        value = self._reader.text(node, "a step's id", 40)
        if value is None:
            return None
        if not _ID.match(value):
            better = re.sub(r"[^a-z0-9_]+", "_", value.lower()).strip("_0123456789") or "restart"
            self._reader.refuse(node, f"a step's id cannot be {clip(value)}", f"small letters, digits and _: {better}")
        elif value in RESERVED_STEPS or value in _CEL_WORDS:
            self._reader.refuse(node, f"a step's id cannot be {value!r}, which has a meaning of its own", f"write {value}_it")
        elif value in self._places:
            self._reader.refuse(node, f"a second step is called {value!r}", f"the first is on line {self._places[value].line}")
        else:
            self._places[value] = node
            self.written_ids.add(value)
            return value
        return None

    def _skill_of(self, node: Node, found: Mapping[str, Node]) -> tuple[Kind | None, SkillSpec | None]:
        kinds = [kind for kind in STEP_KINDS if kind in found]
        if len(kinds) != 1 or kinds[0] == ASK:
            said = "has none" if not kinds else f"has {' and '.join(kinds)}"
            guessed = any(nearest(name, STEP_KINDS) for name in node.entries if name not in STEP_KEYS)
            place = node.entries[kinds[1]][0] if kinds else node
            cure = "one step does one thing: make it two" if kinds else "write act: restart_service"
            if kinds or (not guessed and node.kind == "map"):
                self._reader.refuse(place, f"a step has one of observe, act, verify, ask, and this {said}", cure)
            return None, None
        kind = cast("Kind", kinds[0])
        name = self._reader.text(found[kind], kind, 100)
        return kind, self.skill(name, found[kind], kind) if name else None

    def skill(self, name: str, node: Node, kind: Kind) -> SkillSpec | None:
        self.written_skills.add(name)
        spec = self._skills.get(name)
        if spec is None:
            fitting = [known for known in self._skills if self._skills[known].kind == kind]
            near = nearest(name, list(self._skills))
            cure = f"did you mean {near!r}?" if near else f"skills that {kind}: {', '.join(sorted(fitting))}"
            self._reader.refuse(node, f"there is no skill {name!r}", cure)
        elif spec.kind != kind:
            self._reader.refuse(
                node,
                f"{name} {_VERBS[spec.kind]}, and cannot stand under {kind}",
                f"write {spec.kind}: {name}" if kind != "verify" else f"put {name} under steps",
            )
            return None
        return spec

    def _retry(self, node: Node | None, kind: Kind | None, spec: SkillSpec | None) -> Retry:
        if node is None:
            return Retry()
        if isinstance(node.scalar, int) and not isinstance(node.scalar, bool):
            better = f"{{attempts: {node.scalar}}}"
            self._reader.refuse(node, f"retry must be a mapping, and this is {node.what}", f"write retry: {better}", better)
            return Retry()
        found = self._reader.mapping(node, "retry", RETRY_KEYS)
        if kind and kind != "act":
            self._reader.refuse(node, f"retry is for acts, and this step {_VERBS[kind]}", "remove retry")
        attempts = self._reader.integer(found["attempts"], "attempts", 1, 20) if "attempts" in found else None
        if spec and spec.rerun == "never_retry" and attempts != 1:
            self._reader.refuse(node, f"{spec.name} may never run twice", "remove retry; put a fallback under on_failure instead")
        factor = self._reader.number(found["factor"], "factor", 1.0, 100.0) if "factor" in found else None
        return Retry(
            attempts=attempts or 3,
            backoff_s=self._duration(found.get("backoff"), "backoff", 2.0, 0.0, DAY_S),
            factor=factor or 2.0,
            ceiling_s=self._duration(found.get("ceiling"), "ceiling", 300.0, 0.0, DAY_S),
        )

    def _duration(self, node: Node | None, what: str, default: float, low: float, high: float) -> float:
        read = self._reader.duration(node, what, low, high) if node is not None else None
        return default if read is None else read

    # --- verify ---

    def checks(self, node: Node) -> tuple[Check, ...]:
        items = self._reader.items(node, "verify", CHECKS_MAX)
        if node.kind == "list" and not items:
            self._reader.refuse(node, "verify is empty", "add a check: `- http_check: {url: …, hold: 10s}`")
        return tuple(check for check in map(self._check, items) if check is not None)

    def _check(self, node: Node) -> Check | None:
        single = self._reader.single(node, "an entry of verify", "- http_check: {url: …, hold: 10s}")
        if single is None:
            return None
        name, key, value = single
        spec = self.skill(name, key, "verify")
        if value.kind == "scalar" and value.scalar is None:
            value = Node("map", value.line, value.column, value.start, value.end)
        own = {known: entry for known, (_, entry) in value.entries.items() if known in CHECK_KEYS}
        shared = {word for word in own if spec is not None and word in spec.schema.get("properties", {})}  # `timeout`, to both
        theirs = {known: entry for known, entry in value.entries.items() if known not in CHECK_KEYS or known in shared}
        if value.kind == "map":
            value = Node("map", value.line, value.column, value.start, value.end, entries=theirs)
        named: list[Named] = []
        params = self._params(value, spec, key, named)
        self._refuse_late_results(named)
        times = {word: self._duration(own.get(word), word, *_CHECK_TIMES[word]) for word in CHECK_KEYS}
        if spec is None:
            return None
        return Check(name, params, times["hold"], times["within"], times["timeout"], times["every"])

    def _refuse_late_results(self, named: list[Named]) -> None:
        """Verify is also asked before the first act, as the symptom: what an act found is not there yet."""
        order = list(self.kinds)
        late = ("act", ASK)
        first_act = next((position for position, step in enumerate(order) if self.kinds[step] in late), len(order))
        for name in named:
            for step in sorted(name.expression.steps):
                if step not in self.kinds:
                    self._unknown_step(name.node, step)
                elif order.index(step) >= first_act:
                    self._reader.refuse(
                        name.node,
                        f"verify cannot name step {step!r}: it is also asked before the first act",
                        "name the event, or a step that observes before the first act",
                    )

    # --- parameters ---

    def _params(self, node: Node | None, spec: SkillSpec | None, owner: Node, named: list[Named]) -> CelTemplate:
        if node is None:
            node = Node("map", owner.line, owner.column, owner.start, owner.end)
        if node.kind != "map":
            self._reader.refuse(node, f"parameters are names with values, and this is {node.what}", "write with: {name: value}")
            return CelTemplate({}, {})
        before = self._reader.found
        for param, (_, value) in node.entries.items():
            _, found = self._reader.template(value, self._fields)
            named.extend(Named(leaf, expression, param) for leaf, expression in found)
        template, _ = self._reader.template(node, self._fields) if self._reader.found == before else (None, ())
        if "argv" in node.entries:
            self._refuse_code(node.entries["argv"][1])
        if spec is not None and self._reader.found == before:
            self._check_params(node, spec, owner)
        return template or CelTemplate({}, {})

    def _check_params(self, node: Node, spec: SkillSpec, owner: Node) -> None:
        """Ask the skill, with a likely value for each parameter that is not known yet; blame only what is known."""
        constant = {name for name, (_, value) in node.entries.items() if is_constant(value)}
        tried = {name: to_json(value) for name, (_, value) in node.entries.items()}
        for name in tried.keys() - constant:
            tried[name] = likely_value(spec.schema.get("properties", {}).get(name, {}))
        try:
            spec.check(tried)
        except ValueError as error:
            self._blame(node, spec, owner, constant, str(error))

    def _blame(self, node: Node, spec: SkillSpec, owner: Node, constant: set[str], said: str) -> None:
        name = re.split(r"[.:\[ ]", said, maxsplit=1)[0]
        if name in node.entries and name not in constant and name in spec.schema.get("properties", {}):
            return
        place = owner
        if name in node.entries:
            key, value = node.entries[name]
            known = name in spec.schema.get("properties", {})
            place = value if known else key
        message, _, cure = said.partition("; ")
        if name in node.entries and (near := nearest(name, list(spec.schema.get("properties", {})))) and near != name:
            cure = f"did you mean {near!r}?"
        message = f"{spec.name}: {message}" if place is owner else message
        self._reader.refuse(place, message, cure or f"`aios skill show {spec.name}` lists its parameters")

    # --- what may be named ---

    def _check_references(self, named: list[Named], step_id: str | None) -> None:
        for name in named:
            for step in sorted(name.expression.steps):
                if step in self.kinds:
                    continue
                if step == step_id:
                    self._reader.refuse(name.node, f"step {step!r} names its own result", "name an earlier step")
                elif step in self._later and step not in self._places:
                    self._reader.refuse(
                        name.node, f"step {step!r} runs later, so it has no result yet", "change the order of the steps"
                    )
                elif step not in self._places:
                    self._unknown_step(name.node, step)

    def _unknown_step(self, node: Node, step: str) -> None:
        known = list(self._places)
        hint = did_you_mean(step, known) if known else "this is the first step; name the event instead"
        self._reader.refuse(node, f"there is no step {step!r}", hint)

    def _refuse_wandering_touch(self, spec: SkillSpec, named: list[Named]) -> None:
        """What a run touches is locked when it opens, before any step has found anything; a score moves on until then."""
        for name in named:
            others = sorted(name.expression.roots - {"event"})
            if name.param in spec.touch_params and others:
                what = "on what a step found" if "steps" in others else f"on {others[0]!r}"
                self._reader.refuse(
                    name.node,
                    f"{name.param!r} says what {spec.name} touches, so it may not depend {what}",
                    "write it out, or take it from the event; one playbook for each is fine",
                )

    def _refuse_code(self, node: Node) -> None:
        """An argument list whose program is unknown, or is an interpreter with the code at hand."""
        if node.kind != "list":
            if not is_constant(node):
                self._reader.refuse(node, "the whole command comes from an expression", "write the program and each argument out")
            return
        words = [str(item.scalar) if item.kind == "scalar" else "" for item in node.items]
        for named in named_programs(words):
            if not is_constant(node.items[named]):
                hint = "event data is never code: write it out"
                self._reader.refuse(node.items[named], "the program to run comes from an expression", hint)
                return
        at = code_flag(words)
        if at is not None:
            hint = "put the code in a script file and run that; event data goes in as its arguments"
            self._reader.refuse(node.items[at], f"{words[at]!r} hands code to an interpreter", hint)
        remote = remote_shell(words)
        for item in () if remote is None else node.items[remote + 1 :]:
            if not is_constant(item):
                message = (
                    f"{words[remote or 0]} gives its arguments to a shell on the other side, and this one comes from outside"
                )
                self._reader.refuse(item, message, "run a script there by a fixed name; event data is never code")


_CHECK_TIMES: Mapping[str, tuple[float, float, float]] = {
    "hold": (0.0, 0.0, 3600.0),
    "within": (30.0, 0.0, DAY_S),
    "timeout": (10.0, 0.001, 3600.0),
    "every": (1.0, 0.05, 3600.0),
}
"""What we read of a check ourselves: (default, least, most), seconds."""


def likely_value(schema: Mapping[str, Any]) -> Any:
    """A value that a skill would probably take, to stand in for one that is only known when it runs."""
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for inner in schema.get("anyOf", ()):
        return likely_value(inner)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    stand_ins: dict[str, Any] = {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.0), "boolean": True}
    if kind == "array":
        return [likely_value(schema.get("items", {}))] * int(schema.get("minItems", 0))
    return stand_ins.get(kind, {} if kind == "object" else "/x" if str(schema.get("pattern", "")).startswith("^/") else "x")
