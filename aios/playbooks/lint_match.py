"""Findings about what a playbook answers: patterns that no event can match, and playbooks whose acts meet on one resource.

Called by `lint.py`. Judged from what is written and from the catalogue of types alone, so it claims nothing that an event could
prove wrong: a type that AIOS does not know may have any fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aios.events.calls import SkillCatalogue
from aios.events.catalogue import CATALOGUE, EventType
from aios.nearest import nearest
from aios.playbooks.condition import CelCondition
from aios.playbooks.index import type_fits
from aios.playbooks.model import CannotSay, Playbook, variables

Said = tuple[str, tuple[str | int, ...], str, str]
"""(code, where in the file, message, cure)"""

_TEXTS, _NUMBERS = frozenset({"string"}), frozenset({"int", "double"})
_ANY = frozenset({"string", "int", "double", "bool", "map", "list"})
_OPERANDS: Mapping[str, frozenset[str]] = {
    "prefix": _TEXTS,
    "suffix": _TEXTS,
    "wildcard": _TEXTS,
    "equals-ignore-case": _TEXTS,
    "cidr": _TEXTS,
    "numeric": _NUMBERS,
}
"""What a field must hold for an operator to match; every other operator may match anything, or nothing at all."""
_WORDS = {"string": "a text", "int": "a whole number", "double": "a number", "bool": "true or false"}


def patterns(playbook: Playbook) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any], tuple[str | int, ...]]]:
    """Each pattern that it answers, or waits for: its types, what it matches, and where that stands in the file."""
    if playbook.correlation is None:
        yield playbook.types, playbook.match, ("on", "match")
        return
    kind = playbook.correlation.kind
    for number, trigger in enumerate(playbook.correlation.triggers):
        entry = ("absence",) if trigger.absent and kind == "sequence" else ()
        yield trigger.types, trigger.match, ("on", "match") if kind == "count" else ("on", kind, number, *entry, "match")


def known_types(names: Iterable[str]) -> list[EventType]:
    """The catalogue's entries, when it knows all of these types."""
    known = [CATALOGUE.get(name) for name in names]
    return [entry for entry in known if entry is not None] if None not in known else []


def odd_subjects(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    """`nginx` where sensors say nginx.service: the pattern is sound, and never fires."""
    for types, match, where in patterns(playbook):
        subjects = match.get("subject")
        for position, subject in enumerate(subjects if isinstance(subjects, list) else ()):
            meant = {_spelt(subject, name) for name in types} if isinstance(subject, str) and subject else set()
            if len(meant) == 1 and subject not in meant:
                message = f"no sensor calls a subject {subject}"
                yield "odd-subject", (*where, "subject", position), message, f"did you mean {meant.pop()}?"


def _spelt(subject: str, event_type: str) -> str:
    """How sensors spell it."""
    if event_type.startswith("resource.disk_") and subject.startswith("/"):
        return f"disk:{subject}"
    bare = not set(".:/@*") & set(subject)
    if bare and event_type.startswith("service."):
        return f"{subject}.service"
    return f"agent:{subject}" if bare and event_type.startswith("agent.") else subject


def impossible(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    """Fields of which no listed value is of the kind that the type's own data has there, and conditions that are always false."""
    for names, match, where in patterns(playbook):
        types, data = known_types(names), match.get("data")
        for name, values in data.items() if isinstance(data, Mapping) else ():
            kinds = {entry.fields[name][0] for entry in types if name in entry.fields}
            if kinds and isinstance(values, list) and not any(_may_hold(value, kinds) for value in values):
                message = f"no event matches: {name} is {' or '.join(sorted(_WORDS.get(k, k) for k in kinds))}"
                yield "never-matches", (*where, "data", name), message, _kinder(kinds)
    if isinstance(playbook.when, CelCondition) and not playbook.when.expression.roots:
        value = playbook.when.evaluate({}).value
        if value is not None:
            said = f"{playbook.when.source} is always {'true' if value else 'false'}"
            yield "constant-when", ("when",), said, "name what it depends on: event, score, system_score or now"


def _may_hold(value: Any, kinds: set[str]) -> bool:
    """Whether a field of one of these kinds can match this entry of a pattern's list."""
    if not kinds <= set(_WORDS):
        return True  # a list or a mapping: the entry is held against what is in it
    if isinstance(value, Mapping):
        return any(kinds & _OPERANDS.get(operator, _ANY) for operator in value)
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int | float):
        return bool(kinds & _NUMBERS)
    return "string" in kinds if isinstance(value, str) else True


def _kinder(kinds: set[str]) -> str:
    if kinds & _NUMBERS:
        return 'write a number, or a comparison such as {numeric: [">=", 2]}'
    return "write true or false" if "bool" in kinds else 'write a text in quotes, such as "2"'


def beside_or(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    """A field that stands beside `$or` and in it counts as it stands in it, which few expect."""
    yield from _beside_or(playbook.match, ("on", "match"))


def _beside_or(pattern: Mapping[str, Any], where: tuple[str | int, ...]) -> Iterator[Said]:
    choices = pattern.get("$or")
    inside = set(_leaves(choices)) if isinstance(choices, list) else set()
    for name, given in pattern.items():
        if name == "$or":
            continue
        for leaf in _leaves([{name: given}]):
            if leaf in inside:
                message = f"{'.'.join(leaf)} stands beside $or and in it: what stands beside it does not count"
                yield "beside-or", (*where, name), message, "write both conditions into each alternative, or in one place alone"
        if isinstance(given, Mapping):
            yield from _beside_or(given, (*where, name))


def _leaves(patterns: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    """The paths of all fields that have values."""
    for pattern in patterns:
        if not isinstance(pattern, Mapping):
            continue
        for name, given in pattern.items():
            if isinstance(given, Mapping):
                yield from ((name, *leaf) for leaf in _leaves([given]))
            elif name == "$or" and isinstance(given, list):
                yield from _leaves(given)
            else:
                yield (name,)


def literal_stars(playbook: Playbook, _skills: SkillCatalogue) -> Iterator[Said]:
    """`notes*` is that very text, star and all; whoever knows shells means any text."""
    for _, match, where in patterns(playbook):
        yield from _stars(match, where)


def _stars(given: Any, where: tuple[str | int, ...]) -> Iterator[Said]:
    """Plain values with a star, in the lists of a pattern; what stands in an operator says what it means."""
    if isinstance(given, Mapping):
        for name, inner in given.items():
            yield from _stars(inner, (*where, name))
    for position, value in enumerate(given if isinstance(given, list) else ()):
        if where[-1] == "$or":
            yield from _stars(value, (*where, position))
        elif isinstance(value, str) and "*" in value:
            before = value[:-1]
            prefix = f" or {{prefix: {before}}}" if value.endswith("*") and before and "*" not in before else ""
            message = f"{value} is this very text: a star in a plain value stands for nothing else"
            yield "literal-star", (*where, position), message, f'did you mean {{wildcard: "{value}"}}{prefix}?'


def same_resource(playbook: Playbook, others: Iterable[Playbook], touches: Mapping[str, frozenset[str]]) -> Iterator[Said]:
    """Another playbook, for other events, acts on what this one acts on: each waits for the other. The later name says it.

    `touches` is name -> `touched`.
    """
    mine = touches[playbook.name]
    for other in others if mine and playbook.enabled else ():
        both = mine & touches[other.name]
        if not both or other.name >= playbook.name or not other.enabled:
            continue
        if (other.types, other.match, other.correlation) == (playbook.types, playbook.match, playbook.correlation):
            continue  # the same trigger: only one of them runs
        if any(rung.value in (other.name, playbook.name) for p in (playbook, other) for rung in p.on_failure):
            continue  # one is the other's fallback
        message = f"{other.name} acts on {min(both)}, too: one waits while the other runs"
        yield (
            "same-resource",
            ("steps",),
            message,
            "well if they do not undo each other's work; else make one the other's fallback",
        )


def touched(playbook: Playbook, skills: SkillCatalogue) -> frozenset[str]:
    """The resources of its acts that can be told without an event: constants, and the subjects that `match` lists."""
    subjects: list[str | None] = [text for text in playbook.match.get("subject", ()) if isinstance(text, str)] or [None]
    found: set[str] = set()
    for subject in subjects:
        event = {"type": playbook.types[0] if playbook.types else "", **({"subject": subject} if subject else {})}
        known = variables(event, now=0.0, score=None, system_score=None, steps={})
        for step in playbook.steps:
            spec = skills.get(step.skill)
            if step.kind != "act" or spec is None:
                continue
            try:
                found |= set(spec.touches(spec.check(step.params.render(known))).resources())
            except (CannotSay, ValueError):
                continue  # it depends on the event
    return frozenset(found)


def unknown_type(name: str, where: tuple[str | int, ...]) -> Iterator[Said]:
    """What so resembles one of our types is probably that one, misspelt; others are somebody else's."""
    if any(type_fits(name, known) for known in CATALOGUE):
        return
    family = name.partition(".")[0]  # original.disk_full is no slip of the pen for resource.disk_full
    of_family = [known for known in CATALOGUE if nearest(family, [known.partition(".")[0]], 0.75)]
    tails = {known.partition(".")[2]: known for known in of_family}  # agent.heartbeat resembles agent.error in its family alone
    near = tails.get(nearest(name.partition(".")[2], tails) or "")
    hint = f"did you mean {near!r}?" if near else "that is well if a program of yours says it"
    yield "unknown-type", where, f"no sensor of AIOS says {name}", hint
