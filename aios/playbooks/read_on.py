"""Which events a playbook is for: its `on`, for one event or for several together. Called by `load.py`.

on: {type: service.down, match: {subject: [nginx.service]}}
on: {type: agent.error, count: 3 in 10m, by: subject}
on:
  sequence:
    - {type: deploy.done, name: deploy}
    - absence: {type: service.up}
  within: 5m
  by: data.host
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from aios.events.catalogue import OWN_PREFIXES, is_own
from aios.events.codec import BadLine
from aios.events.durations import parse_duration
from aios.events.event import SEVERITIES
from aios.nearest import did_you_mean, nearest
from aios.playbooks.correlation import correlation_json, hash_of
from aios.playbooks.model import Correlation, CorrelationKind, Join, Trigger
from aios.playbooks.pattern import BadPattern, EventPattern, compile_pattern
from aios.playbooks.pattern_errors import pattern_errors
from aios.playbooks.read import MEANT, Reader, keys_with_places, node_at
from aios.playbooks.yaml_strict import Node, clip, to_json

MATCH_KEYS = ("subject", "source", "severity", "data", "$or")
KINDS: tuple[CorrelationKind, ...] = ("any", "all", "sequence", "absence")
JOINS: tuple[Join, ...] = ("last", "first")
TYPES_MAX = 100
TRIGGERS_MAX = 8
COUNT_MAX = 100
"""Events that one correlation may need in all: each is named in the event that tells of it."""
PATHS_MAX = 4
WITHIN_S = (1.0, 30 * 86400.0)
LATENESS_S, LATENESS_MAX_S = 1.0, 600.0

TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?\Z")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
PATH = re.compile(r"(subject|source|type|severity|data(\.[A-Za-z0-9_-]{1,64}){1,8})\Z")
COUNT = re.compile(r"\s*(\d{1,6})\s+in\s+(\S+)\s*\Z")
By = tuple[tuple[str, ...], ...]
_SUBJECT: By = (("subject",),)


@dataclass(frozen=True, slots=True)
class On:
    """For one event: `types`, `pattern` and `match`. For several: `correlation`, and the others are empty."""

    types: tuple[str, ...] = ()
    pattern: EventPattern | None = None
    match: Mapping[str, Any] | None = None
    sound: bool = True
    correlation: Correlation | None = None


class _Count(NamedTuple):
    """`3`, or `3 in 10m`."""

    number: int = 1
    within_s: float = 0.0


class OnReader:
    """See the head of this file."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, node: Node | None) -> On:
        if node is None:
            return On(sound=False)
        if node.kind == "scalar" and isinstance(node.scalar, str):
            instead = f"{{type: {node.scalar}}}" if TYPE.match(node.scalar) else ""
            self._reader.refuse(node, "on must be a mapping", f"write on: {{type: {node.scalar}}}", instead)
            return On(sound=False)
        kinds = [str(name) for name in keys_with_places(node) if name in KINDS]
        if kinds or "count" in node.entries:
            before = self._reader.found
            correlation = self._named(node, self._together(node, kinds))
            return On(correlation=correlation if self._reader.found == before else None, sound=False)
        found = self._reader.mapping(node, "on", ("type", "match"), ("type",), MEANT)
        types, pattern, match = self._event(found)
        return On(types, pattern, match, sound=match is not None or "match" not in found)

    def _event(self, found: Mapping[str, Node]) -> tuple[tuple[str, ...], EventPattern | None, Mapping[str, Any] | None]:
        types = self._types(found["type"]) if "type" in found else ()
        pattern, match = self._match(found["match"]) if "match" in found else (None, None)
        return types, pattern, match

    # --- several events together ---

    def _named(self, node: Node, correlation: Correlation | None) -> Correlation | None:
        if correlation is None:
            return None
        try:
            return replace(correlation, hash=hash_of(correlation_json(correlation)))
        except BadLine:
            self._reader.refuse(node, "on holds what no event can: a whole number beyond 64 bits", "write what events have")
            return None

    def _together(self, node: Node, kinds: list[str]) -> Correlation | None:
        if not kinds:
            return self._counted(node)
        if len(kinds) > 1:
            self._reader.refuse(
                node.entries[kinds[1]][0],
                f"on has {kinds[0]} and {kinds[1]}",
                "one of them only; several playbooks may say several",
            )
            return None
        for misplaced in ("type", "match", "count"):
            if misplaced in node.entries:
                cure = f"write {kinds[0]}: [{{type: …, match: …}}]"
                self._reader.refuse(node.entries[misplaced][0], f"{misplaced} stands in each entry of {kinds[0]}", cure)
                return None
        return self._kind(node, cast("CorrelationKind", kinds[0]))

    def _counted(self, node: Node) -> Correlation | None:
        found = self._reader.mapping(node, "on", ("type", "match", "count", "by", "lateness"), ("type", "count"))
        by = self._joined_by(found)
        count = self._count(found["count"], "in") if "count" in found else _Count()
        event = {name: node for name, node in found.items() if name in ("type", "match")}
        trigger = self._trigger_of(event, "e1", by, count)
        if trigger is None:
            return None
        one = replace(trigger, within_s=0.0)
        return Correlation("count", (one,), trigger.within_s, lateness_s=self._lateness(found.get("lateness")))

    def _kind(self, node: Node, kind: CorrelationKind) -> Correlation | None:
        keys = (kind, "within", "by", "lateness") if kind == "absence" else (kind, "within", "by", "join", "lateness")
        found = self._reader.mapping(node, "on", keys, (kind,) if kind == "any" else (kind, "within"))
        within = self._reader.duration(found["within"], "within", *WITHIN_S) if "within" in found else None
        by = self._joined_by(found)
        triggers = self._triggers(found[kind], kind, by, within)
        join = self._reader.choice(found["join"], "join", JOINS) if "join" in found else "last"
        lateness = self._lateness(found.get("lateness"))
        if triggers is None:
            return None
        return Correlation(kind, triggers, within or 0.0, cast("Join", join or "last"), lateness)

    def _triggers(self, node: Node, kind: CorrelationKind, by: By, within: float | None) -> tuple[Trigger, ...] | None:
        items = (node,) if node.kind == "map" else self._reader.items(node, kind, TRIGGERS_MAX)
        triggers = []
        for position, item in enumerate(items):
            last = kind == "sequence" and position and position == len(items) - 1
            triggers.append(self._entry(item, kind, f"e{position + 1}", by, may_stay_away=bool(last)))
        if any(trigger is None for trigger in triggers) or node.kind == "scalar":
            return None
        made = [trigger for trigger in triggers if trigger is not None]
        return tuple(made) if self._are_sound(node, kind, made, within) else None

    def _are_sound(self, node: Node, kind: CorrelationKind, triggers: list[Trigger], within: float | None) -> bool:
        """What only the triggers together can have wrong."""
        names = [trigger.name for trigger in triggers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            self._reader.refuse(node, f"two triggers are called {twice!r}", "give each a name of its own: {type: …, name: …}")
        elif sum(trigger.count for trigger in triggers) > COUNT_MAX:
            self._reader.refuse(node, f"more than {COUNT_MAX} events in all", "choose smaller counts")
        elif not triggers:
            self._reader.refuse(node, f"{kind} is an empty list", f"write {kind}: [{{type: service.down}}]")
        elif kind in ("all", "sequence") and sum(trigger.count for trigger in triggers) < 2:
            self._reader.refuse(node, f"{kind} of one event is that event", "add a second one, or write on: {type: …}")
        elif kind == "any" and within is None and any(one.count > 1 and not one.within_s for one in triggers):
            self._reader.refuse(node, "a count needs a time", "write count: 3 in 10m, or within: 10m beside any")
        else:
            return True
        return False

    def _entry(self, node: Node, kind: CorrelationKind, name: str, by: By, *, may_stay_away: bool) -> Trigger | None:
        absent = node.kind == "map" and "absence" in node.entries
        if absent and not may_stay_away:
            cure = "only the last entry of a sequence may be an absence: first what is seen, then what must not stay away"
            self._reader.refuse(node.entries["absence"][0], "an absence cannot stand here", cure)
            return None
        if absent:
            whole = self._reader.mapping(node, f"an entry of {kind}", ("absence",), ("absence",))
            node = whole.get("absence", node)
        keys = ("type", "match", "name", "by") if absent or kind == "absence" else ("type", "match", "name", "by", "count")
        found = self._reader.mapping(node, f"an entry of {kind}", keys, ("type",), MEANT)
        count = self._count(found["count"], "may" if kind == "any" else "no") if "count" in found else _Count()
        trigger = self._trigger_of(found, name, by, count)
        return replace(trigger, absent=True) if trigger is not None and absent else trigger

    def _trigger_of(self, found: Mapping[str, Node], name: str, by: By, count: _Count) -> Trigger | None:
        before = self._reader.found
        types, pattern, match = self._event(found)
        own_by = self._by(found["by"]) if "by" in found else by
        if own_by is not None and len(own_by) != len(by):
            self._reader.refuse(found["by"], f"the triggers are joined by {len(by)} fields", f"name {len(by)} here, too")
        if "name" in found:
            name = self._name(found["name"]) or name
        self._refuse_echo(found.get("type"), types)
        if self._reader.found > before:
            return None
        return Trigger(name, types, pattern, match or {}, by if own_by is None else own_by, count.number, count.within_s)

    def _refuse_echo(self, node: Node | None, types: tuple[str, ...]) -> None:
        for name in types:
            if node is not None and name.startswith("reactor."):
                self._reader.refuse(
                    node, f"{name} tells what came of events, and would be counted for ever", "name what was seen"
                )

    def _name(self, node: Node) -> str | None:
        name = self._reader.text(node, "a trigger's name", 40)
        if name is not None and not NAME.match(name):
            better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "first"
            self._reader.refuse(node, f"a trigger cannot be called {clip(name)}", f"small letters, digits and _: {better}")
            return None
        return name

    def _joined_by(self, found: Mapping[str, Node]) -> By:
        by = self._by(found["by"]) if "by" in found else None
        return _SUBJECT if by is None else by

    def _by(self, node: Node) -> By | None:
        """None where it cannot be read."""
        if node.scalar == "none":
            return ()
        items = self._reader.items(node, "by", PATHS_MAX) if node.kind == "list" else (node,)
        paths = [self._path(item) for item in items]
        if node.kind == "list" and not items:
            self._reader.refuse(node, "by is an empty list", "write by: subject, by: data.host, or by: none")
        return tuple(tuple(path.split(".")) for path in paths if path) or None

    def _path(self, node: Node) -> str | None:
        path = self._reader.text(node, "by", 600)
        if path is not None and not PATH.match(path):
            cure = did_you_mean(path, ("subject", "source", "type", "severity"), f"a field of the data is data.{path}")
            self._reader.refuse(node, f"events are not joined by {clip(path)}", cure)
            return None
        return path

    def _lateness(self, node: Node | None) -> float:
        seconds = self._reader.duration(node, "lateness", 0.0, LATENESS_MAX_S) if node is not None else None
        return LATENESS_S if seconds is None else seconds

    def _count(self, node: Node, time: str) -> _Count:
        """`time` says whether `3 in 10m` is wanted: `in` (it must be), `may`, `no`."""
        if isinstance(node.scalar, int) and not isinstance(node.scalar, bool) and time != "in":
            number = self._reader.integer(node, "count", 1, COUNT_MAX)
            return _Count(number or 1)
        found = COUNT.match(node.scalar) if isinstance(node.scalar, str) else None
        if found is None or not 1 <= int(found[1]) <= COUNT_MAX:
            wanted = f"how many, from 1 to {COUNT_MAX}{'' if time == 'no' else ', in how long: 3 in 10m'}"
            self._reader.refuse(node, f"count cannot be {node.what}", f"write {wanted}")
            return _Count()
        if time == "no":
            self._reader.refuse(node, "the time of all together is `within`", f"write count: {found[1]}")
            return _Count()
        return _Count(int(found[1]), self._count_time(node, found[2]))

    def _count_time(self, node: Node, text: str) -> float:
        try:
            seconds = parse_duration(text)
        except ValueError as error:
            self._reader.refuse(node, f"count: {str(error).partition('; ')[0]}", "write 3 in 10m")
            return WITHIN_S[0]
        if not WITHIN_S[0] <= seconds <= WITHIN_S[1]:
            self._reader.refuse(node, "count counts over 1s to 30d", "choose another length of time")
        return seconds

    # --- one event ---

    def _types(self, node: Node) -> tuple[str, ...]:
        items = self._reader.items(node, "type", TYPES_MAX) if node.kind == "list" else (node,)
        if node.kind == "list" and not node.items:
            self._reader.refuse(node, "type is an empty list", "name at least one type, such as service.down")
        types = [name for item in items if (name := self._type(item))]
        return tuple(dict.fromkeys(types))

    def _type(self, node: Node) -> str | None:
        name = self._reader.text(node, "type", 128)
        if name is None:
            return None
        if not TYPE.match(name):
            cure = "name a type such as service.down, or a family such as service.*"
            self._reader.refuse(node, f"{clip(name)} is no type of event", cure)
            return None
        if name.endswith(".*") and (is_own(name) or any(prefix.startswith(name[:-1]) for prefix in OWN_PREFIXES)):
            self._reader.refuse(
                node, f"{name} never matches: AIOS's own types are reached by their exact name only", "name the exact type"
            )
            return None
        return name

    def _match(self, node: Node) -> tuple[EventPattern | None, Mapping[str, Any] | None]:
        before = self._reader.found
        if not self._match_keys(node):
            return None, None
        raw = to_json(node)
        if self._reader.found > before or node.kind != "map":
            return None, None
        try:
            pattern = compile_pattern(raw)
        except BadPattern:
            for error in pattern_errors(raw):
                self._reader.refuse(self._pattern_place(node, error), error.message, error.hint, error.instead)
            return None, None
        self._refuse_hopeless(node)
        return pattern, raw

    def _match_keys(self, node: Node) -> bool:
        """Whether only names of attributes stand in `match`, and in the mappings of its `$or`."""
        if node.kind == "map" and "type" in node.entries:
            self._reader.refuse(
                node.entries["type"][0], "the type does not stand in match", "write it beside match: on: {type: …, match: …}"
            )
            return False
        before = self._reader.found
        for name, key in keys_with_places(node).items():
            if name not in MATCH_KEYS and not self._reader.full and not nearest(name, MATCH_KEYS):
                self._reader.refuse(
                    key, f"an event has no {clip(name)}", f"what its producer says is under data: {{{name}: […]}}"
                )
        if self._reader.found == before:
            self._reader.mapping(node, "match", MATCH_KEYS)
        either = node.entries["$or"][1] if node.kind == "map" and "$or" in node.entries else None
        branches = either.items if either is not None and either.kind == "list" else ()
        return all(self._match_keys(branch) for branch in branches if branch.kind == "map")

    def _pattern_place(self, node: Node, error: BadPattern) -> Node:
        """The key where the key is wrong, the value where the value is."""
        owner = node_at(node, error.where[:-1])
        last = error.where[-1] if error.where else ""
        if owner.kind == "map" and str(last) in owner.entries and "operator" in error.message:
            return owner.entries[str(last)][0]
        return node_at(node, error.where)

    def _refuse_hopeless(self, node: Node) -> None:
        """Values that these attributes never have."""
        for name in ("subject", "source", "severity"):
            values = node.entries[name][1] if name in node.entries else None
            if values is not None and values.kind != "list":
                self._reader.refuse(values, f"{name} is a text and has no fields", f"write {name}: [a, b]")
                continue
            for value in values.items if values else ():
                if value.kind == "scalar" and not isinstance(value.scalar, str):
                    self._reader.refuse(
                        value, f"{name} is always a text, and this is {value.what}", f'put it in quotes: "{value.scalar}"'
                    )
                elif name == "severity" and value.kind == "scalar" and value.scalar not in SEVERITIES:
                    self._reader.refuse(
                        value, f"no event has the severity {clip(str(value.scalar))}", did_you_mean(str(value.scalar), SEVERITIES)
                    )
        if "data" in node.entries and node.entries["data"][1].kind == "list":
            self._reader.refuse(node.entries["data"][1], "data is a mapping", "name its fields: data: {failures: [2]}")
        for branch in node.entries["$or"][1].items if "$or" in node.entries else ():
            self._refuse_hopeless(branch)
