"""From the text of a playbook to a `Playbook`, or to every reason why not, each with its line, column and cure.

Called by the reactor's loader (`load_many`, for the folder), by the command line and by tests. It knows the form of a
playbook; `read.py` knows how values are read, `read_guard.py` guards, `read_steps.py` steps and checks, `read_tests.py` tests,
`condition.py` and `pattern.py` the two small languages, `read_on.py` which events it is for. Pure: whoever calls has read the
files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

from aios.errors import ConfigError, ConfigErrors
from aios.events.calls import SkillCatalogue
from aios.events.catalogue import CORRELATED
from aios.nearest import did_you_mean, nearest
from aios.playbooks.condition import CelCondition, Fields, field_types
from aios.playbooks.model import MODES, Keep, Mode, Playbook, Rung
from aios.playbooks.read import Reader
from aios.playbooks.read_guard import DAY_S, read_guard
from aios.playbooks.read_on import On, OnReader
from aios.playbooks.read_steps import LONGEST_ANSWER_S, StepReader
from aios.playbooks.read_tests import Names, read_tests
from aios.playbooks.yaml_strict import Node, Source, clip, parse

KEYS = (
    "playbook", "description", "on", "when", "mode", "priority", "enabled",
    "guard", "approve", "keep", "steps", "verify", "on_failure", "tests",
)  # fmt: skip
RUNGS_MAX = 10
FILES_MAX = 100
PRIORITY_MAX = 1000

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


def load(text: str, path: str, skills: SkillCatalogue) -> Playbook:
    """One playbook. Raises ConfigErrors with all that is wrong; another playbook that it names is not looked for."""
    source = Source(path, text)
    try:
        root = parse(source)
    except ConfigError as error:
        raise ConfigErrors([error]) from None
    reader = Reader(source)
    playbook = _Form(reader, skills).playbook(root, text)
    if reader.errors or playbook is None:
        raise ConfigErrors(sorted(reader.errors, key=lambda error: (error.line, error.column)))
    return playbook


class Loaded(NamedTuple):
    """Folders: what can be used, by name in order, and why the rest cannot. `texts` are those of the usable ones, by name.

    `by_path` is all that can be read, also what another of its name replaces and what its ladder keeps from being used.
    """

    playbooks: tuple[Playbook, ...]
    errors: tuple[ConfigError, ...]
    texts: Mapping[str, str]
    by_path: Mapping[str, Playbook] = MappingProxyType({})


Known = Mapping[tuple[str, str], Playbook]
"""What was loaded before: (path, text) -> the playbook. The same text at the same path gives the same playbook."""


def load_many(
    texts: Mapping[str, str], skills: SkillCatalogue, known: Known | None = None, standing: Container[str] = ()
) -> Loaded:
    """The playbooks of some folders (path -> text). One that cannot be used never harms the others. Raises nothing.

    Files in `standing` are in force already: that their ladders lead nowhere by now is no reason to drop them. Of two with
    one name, that in the later folder wins (so an operator's replaces a shipped one); in one folder it is a mistake.
    """
    errors: list[ConfigError] = []
    found: dict[str, Playbook] = {}
    by_path: dict[str, Playbook] = {}
    for path in _by_folder(texts):
        try:
            playbook = by_path[path] = (known or {}).get((path, texts[path])) or load(texts[path], path, skills)
        except ConfigErrors as several:
            errors.extend(several.errors)
            continue
        if playbook.name in found and folder_of(found[playbook.name].path) == folder_of(path):
            errors.append(_at(texts[path], path, "playbook", f"a second playbook is called {playbook.name!r}",
                              f"the first is {found[playbook.name].path}; rename one"))  # fmt: skip
        else:
            found[playbook.name] = playbook
    errors.extend(_drop_broken_ladders(found, texts, standing))
    usable = tuple(found[name] for name in sorted(found))
    return Loaded(usable, tuple(errors), {p.name: texts[p.path] for p in usable}, by_path)


def _by_folder(texts: Mapping[str, str]) -> list[str]:
    """Folders as they come, and what is in each by name."""
    order = {folder: n for n, folder in reversed(list(enumerate(map(folder_of, texts))))}
    return sorted(texts, key=lambda path: (order[folder_of(path)], path))


def folder_of(path: str) -> str:
    """The folder that a file is in: what comes into force together."""
    return path.rpartition("/")[0]


def _drop_broken_ladders(found: dict[str, Playbook], texts: Mapping[str, str], standing: Container[str]) -> list[ConfigError]:
    """A ladder that leads nowhere, or round in a circle, would be found out at the worst moment."""
    errors: list[ConfigError] = []
    broken = True
    while broken:  # each one that goes may have been another's fallback
        broken = False
        for playbook in [found[name] for name in sorted(found) if found[name].path not in standing]:
            error = _ladder_error(playbook, found, texts[playbook.path])
            if error is not None:
                errors.append(error)
                del found[playbook.name]
                broken = True
    return errors


def _ladder_error(playbook: Playbook, found: Mapping[str, Playbook], text: str) -> ConfigError | None:
    for name in fallbacks(playbook):
        if name not in found:
            near = nearest(name, [other for other in found if other != playbook.name])
            hint = f"did you mean {near!r}?" if near else "load it beside this one, and mend what keeps it from loading"
            return _at(text, playbook.path, "fallback", f"there is no usable playbook {name!r} to fall back to", hint, name)
    circle = _circle(playbook.name, found)
    if circle:
        message = f"the fallbacks go round in a circle: {' → '.join(circle)}"
        return _at(text, playbook.path, "fallback", message, "let the last one notify a person", circle[1])
    return None


def fallbacks(playbook: Playbook) -> list[str]:
    """The playbooks that its ladder names."""
    return [rung.value for rung in playbook.on_failure if rung.what == "fallback"]


def _circle(start: str, found: Mapping[str, Playbook]) -> list[str]:
    """A way from a playbook back to itself, empty when there is none."""
    stack = [[start]]
    seen: set[str] = set()
    while stack:
        way = stack.pop()
        for name in fallbacks(found[way[-1]]) if way[-1] in found else ():
            if name == start:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                stack.append([*way, name])
    return []


def _at(text: str, path: str, key: str, message: str, hint: str, value: str = "") -> ConfigError:
    """An error at the line that holds this key (and value), found again in a text that has loaded."""
    source = Source(path, text)
    pattern = rf"\b{key}\b\s*:\s*[\"']?{re.escape(value)}" if value else rf"^\s*{key}\s*:"
    at = re.search(pattern, source.text, re.MULTILINE)
    return source.error(*(source.place(at.start()) if at else (1, 1)), message, hint)


class _Form:
    """What a playbook may hold, key by key."""

    def __init__(self, reader: Reader, skills: SkillCatalogue) -> None:
        self._reader = reader
        self._skills = skills

    def playbook(self, root: Node, text: str) -> Playbook | None:
        found = self._reader.mapping(root, "a playbook", KEYS, ("playbook", "on", "steps"))
        name = self._name(found.get("playbook"))
        trigger = OnReader(self._reader).read(found.get("on"))
        before = self._reader.found
        fields = field_types((CORRELATED,) if trigger.correlation else trigger.types)
        steps_of = StepReader(self._reader, self._skills, fields)
        steps = steps_of.steps(found["steps"]) if "steps" in found else ()
        checks = steps_of.checks(found["verify"]) if "verify" in found else ()
        mode = self._mode(found.get("mode"))
        self._refuse_unproven(found, steps_of, mode)
        whole = self._reader.found == before  # else a test would be blamed for naming a step that could not be read
        names = Names(steps_of.written_ids, steps_of.written_skills, steps_of.choices) if whole else None
        tests = read_tests(self._reader, found["tests"], names) if "tests" in found else ()
        priority = self._reader.integer(found["priority"], "priority", -PRIORITY_MAX, PRIORITY_MAX) if "priority" in found else 0
        enabled = self._reader.flag(found["enabled"], "enabled") if "enabled" in found else True
        playbook = Playbook(
            name=name or "",
            hash=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            path=self._reader.source.path,
            description=self._description(found.get("description")),
            types=trigger.types,
            pattern=trigger.pattern,
            match=trigger.match or {},
            correlation=trigger.correlation,
            when=self._when(found.get("when"), fields),
            mode=mode or "auto",
            priority=priority or 0,
            enabled=enabled is not False,
            guard=read_guard(self._reader, found.get("guard")),
            keep=self._keep(found.get("keep"), trigger, "verify" in found),
            steps=steps,
            verify=checks,
            on_failure=self._ladder(found.get("on_failure"), name),
            answer_s=self._answer_s(found.get("approve")),
            tests=tests,
        )
        return None if self._reader.errors else playbook

    def _name(self, node: Node | None) -> str | None:
        name = self._reader.text(node, "the playbook's name", 64) if node else None
        if node and name and not NAME.match(name):
            better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "my-playbook"
            self._reader.refuse(node, f"a playbook cannot be called {clip(name)}", f"small letters, digits and -: {better}")
        return name

    def _description(self, node: Node | None) -> str:
        return (self._reader.text(node, "description", 2000) or "") if node else ""

    def _mode(self, node: Node | None) -> Mode | None:
        return cast("Mode | None", self._reader.choice(node, "mode", MODES)) if node else "auto"

    def _when(self, node: Node | None, fields: Fields) -> CelCondition | None:
        condition = self._reader.condition(node, "when", fields) if node else None
        if node and isinstance(condition, CelCondition):
            if "steps" in condition.expression.roots:
                self._reader.refuse(node, "`when` is asked before any step has run", "put it into the `if` of a later step")
            return condition
        return None

    def _refuse_unproven(self, found: Mapping[str, Node], steps: StepReader, mode: Mode | None) -> None:
        acting = [step for step, kind in steps.kinds.items() if kind == "act"]
        if acting and "verify" not in found and mode != "observe":
            self._reader.refuse(
                found["steps"],
                f"step {acting[0]!r} acts, and nothing verifies: nobody could say whether it healed anything",
                "add verify: [{service_check: {unit: …, hold: 10s}}], or mode: observe to look only",
            )

    # --- keep, on_failure ---

    def _keep(self, node: Node | None, trigger: On, verified: bool) -> Keep | None:
        if node is None:
            return None
        found = self._reader.mapping(node, "keep", ("files", "after"), ("files",))
        after = self._reader.duration(found["after"], "after", 1.0, DAY_S) if "after" in found else None
        files = [self._file(item) for item in self._reader.items(found["files"], "files", FILES_MAX)] if "files" in found else []
        if not verified:
            self._reader.refuse(
                node, "keep takes a copy when verify has held, and there is no verify", "add verify, or remove keep"
            )
        subjects = (trigger.match or {}).get("subject")
        if trigger.correlation is not None:
            self._reader.refuse(
                node, "keep needs exact subjects, and several events together have none", "put it into a playbook for one event"
            )
        elif trigger.sound and (not subjects or not all(isinstance(subject, str) for subject in subjects)):
            self._reader.refuse(
                node, "keep needs exact subjects: whose files are these?", "add match: {subject: [nginx.service]}"
            )
        return Keep(tuple(file for file in files if file), 60.0 if after is None else after)

    def _file(self, node: Node) -> str | None:
        path = self._reader.text(node, "a file", 4096)
        if path is None:
            return None
        if not path.startswith("/") or ".." in path.split("/") or "${" in path or "\0" in path:
            self._reader.refuse(node, f"{clip(path)} is no absolute path", "begin it with /, without .. and without ${ }")
            return None
        return path.rstrip("/") or "/"

    def _answer_s(self, node: Node | None) -> float | None:
        if node is None:
            return None
        found = self._reader.mapping(node, "approve", ("expires",), ("expires",))
        return self._reader.duration(found["expires"], "expires", 1.0, LONGEST_ANSWER_S) if "expires" in found else None

    def _ladder(self, node: Node | None, own_name: str | None) -> tuple[Rung, ...]:
        if node is None:
            return ()
        rungs = [self._rung(item, own_name) for item in self._reader.items(node, "on_failure", RUNGS_MAX)]
        return tuple(rung for rung in rungs if rung is not None)

    def _rung(self, node: Node, own_name: str | None) -> Rung | None:
        after, node = self._after(node)
        single = self._reader.single(node, "an entry of on_failure", '- notify: "nginx is still down"')
        if single is None:
            return None
        what, key, value = single
        if what not in ("fallback", "notify"):
            self._reader.refuse(key, f"on_failure knows no {clip(what)}", did_you_mean(what, ("fallback", "notify", "after")))
            return None
        text = self._reader.text(value, what, 1000)
        if text is None:
            return None
        if "${" in text:
            self._reader.refuse(
                value, f"{what} is plain text here", "leave ${ } out; the message tells playbook, subject and reason anyway"
            )
        if what == "fallback" and text == own_name:
            self._reader.refuse(value, "a playbook cannot be its own fallback", "name another one, or notify")
        return Rung(cast("Literal['fallback', 'notify']", what), text, after)

    def _after(self, node: Node) -> tuple[float, Node]:
        """How long is waited before a rung, and the rung without it."""
        if node.kind != "map" or "after" not in node.entries:
            return 0.0, node
        after = self._reader.duration(node.entries["after"][1], "after", 0.0, LONGEST_ANSWER_S)
        rest = {name: entry for name, entry in node.entries.items() if name != "after"}
        return after or 0.0, replace(node, entries=rest)
