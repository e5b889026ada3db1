"""Finds the skills and shows them to the brains as `SkillSpec`s. Called by `daemon.assemble`, `hands_main` and the command line.

Nothing is imported before it is asked for: a skill's module when its name is looked up, pydantic when the first parameters are
checked or a schema is shown. Entry points are read straight from the `entry_points.txt` of what is installed (PyPA, "Entry
points specification"): 2 ms, where importlib.metadata takes 25.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from aios.errors import ConfigError
from aios.events.calls import SkillCall, SkillCatalogue, SkillSpec, Touches
from aios.nearest import did_you_mean
from aios.skills.api import GROUP, Skill, make_params, param_names, plain_params, required_names

BODIES_MAX = 1000
NAME_MAX = 64


def scan_entry_points(group: str, paths: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> `module:attribute` of one group, over every installed distribution; the first on the path wins."""
    found: dict[str, str] = {}
    for folder in sys.path if paths is None else paths:
        for text in _entry_point_texts(folder or "."):
            for name, value in _section(text, group):
                found.setdefault(name, value)
    return found


def _entry_point_texts(folder: str) -> Iterator[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))
    except OSError:  # a zip or a folder that is not there: nothing is installed in it
        return
    for name in names:
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), encoding="utf-8") as file:
                yield file.read(1 << 20)
        except OSError:  # most distributions have none
            continue


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


class SkillBodies(Mapping[str, Skill]):
    """Name -> skill, each loaded when it is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(sorted(places.items()))
        self._loaded: dict[str, Skill] = {}

    def __getitem__(self, name: str) -> Skill:
        skill = self._loaded.get(name)
        if skill is None:
            skill = self._loaded[name] = _load(name, self._places[name])
        return skill

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def looks(self, call: SkillCall) -> bool:
        """Whether this call only looks, so that the daemon may run it; else it goes through hands, like an act."""
        if call.kind == "act" or call.skill not in self:
            return False
        skill = self[call.skill]
        return skill.kind != "act" and skill.only_looks(make_params(skill, call.params), call.env)


def _load(name: str, place: str) -> Skill:
    """Raises ConfigError when what is registered under this name is no skill."""
    module, _, attribute = place.partition(":")
    where, cure = f"entry point {name} = {place}", "mend the entry point, or uninstall the package that registers it"
    try:
        skill = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever an outsider's module raises, it names the module and does not end the daemon
        raise ConfigError(where, f"skill {name} cannot be loaded: {type(error).__name__}: {error}", hint=cure) from error
    if not isinstance(skill, Skill) or skill.name != name:
        raise ConfigError(where, f"it is not a Skill named {name!r}", hint=cure)
    return skill


class _Specs(Mapping[str, SkillSpec]):
    """The bodies, seen as specs."""

    def __init__(self, bodies: SkillBodies) -> None:
        self._bodies = bodies
        self._specs: dict[str, SkillSpec] = {}

    def __getitem__(self, name: str) -> SkillSpec:
        spec = self._specs.get(name)
        if spec is None:
            spec = self._specs[name] = spec_of(self._bodies[name])
        return spec

    def __contains__(self, name: object) -> bool:
        return name in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)


class _Schema(Mapping[str, Any]):
    """The JSON Schema of a skill's parameters, made when it is first read."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: dict[str, Any] | None = None

    def _whole(self) -> dict[str, Any]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> Any:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())


class _Checker:
    """Raw parameters in, plain JSON out; the errors name the parameter and the cure."""

    def __init__(self, skill: Skill) -> None:
        self._skill = skill
        self._names = param_names(skill.params)
        self._required = required_names(skill.params)
        self._adapter: Any = None

    def _pydantic(self) -> Any:
        if self._adapter is None:
            from pydantic import TypeAdapter  # 45 ms and 7 MB: only when parameters are checked, and never in hands

            self._adapter = TypeAdapter(self._skill.params)
        return self._adapter

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            raise ValueError(f"{self._skill.name} takes named parameters; write them as name: value")
        self._refuse_unknown(raw)
        missing = [name for name in self._required if name not in raw]
        if missing:
            raise ValueError(f"{missing[0]}: is missing; {self._skill.name} needs {', '.join(self._required)}")
        return plain_params(self._validated(raw))

    def _refuse_unknown(self, raw: Mapping[str, Any]) -> None:
        for name in raw:
            if name not in self._names:
                cure = did_you_mean(str(name)[:80], self._names, f"it takes {', '.join(self._names) or 'none'}")
                raise ValueError(f"{str(name)[:80]}: {self._skill.name} has no such parameter; {cure}")

    def _validated(self, raw: Mapping[str, Any]) -> Any:
        adapter = self._pydantic()
        from pydantic import ValidationError  # loaded by now

        try:
            return adapter.validate_python(self._as_fields(raw))
        except ValidationError as error:
            raise ValueError(_sentence(error.errors(include_url=False)[0])) from error

    def _as_fields(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._skill.params.__dataclass_fields__  # type: ignore[attr-defined]  # every Params is a dataclass
        return {(name if name in fields else name + "_"): value for name, value in raw.items()}

    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = self._pydantic().json_schema(mode="validation")
        made.pop("title", None)
        made["additionalProperties"] = False
        words = _words_of(self._skill.params)
        made["properties"] = {
            name.rstrip("_"): {**part, **({"description": words[name]} if name in words else {})}
            for name, part in made.get("properties", {}).items()
        }
        if "required" in made:
            made["required"] = [name.rstrip("_") for name in made["required"]]
        return made


def _words_of(params: type[Any]) -> dict[str, str]:
    """What each parameter is: the text in its `Annotated`, for whoever writes a playbook."""
    hints = get_type_hints(params, include_extras=True)
    said = {name: [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, str)] for name, hint in hints.items()}
    return {name: words[-1] for name, words in said.items() if words}


def _sentence(error: Mapping[str, Any]) -> str:
    """`unit: 'nginx' is no unit name; write nginx.service`"""
    place = ".".join(str(part).rstrip("_") for part in error["loc"][:3] if not isinstance(part, int))
    said = error.get("ctx", {}).get("error")
    shown = repr(error.get("input"))[:80]
    text = str(said) if said is not None else f"{shown} does not fit; {error['msg'][:1].lower()}{error['msg'][1:]}"
    return f"{place}: {text}" if place else text


def spec_of(skill: Skill) -> SkillSpec:
    """A skill as the brains see it."""
    checker = _Checker(skill)

    def touches(params: Mapping[str, Any]) -> Touches:
        return skill.touches(make_params(skill, params))

    def dry_text(params: Mapping[str, Any]) -> str:
        return dry_sentence(skill, params)

    def only_looks(params: Mapping[str, Any], env: Mapping[str, Any]) -> bool:
        return skill.kind != "act" and skill.only_looks(make_params(skill, params), env)

    return SkillSpec(
        name=skill.name,
        kind=skill.kind,
        doc=skill.doc,
        schema=_Schema(checker.schema),
        check=checker,
        touches=touches,
        rerun=skill.rerun,
        timeout_s=skill.timeout_s,
        irreversible=skill.irreversible,
        has_inverse=skill.inverse is not None,
        result_fields=skill.result_fields,
        touch_params=skill.touch_params,
        dry_text=dry_text,
        only_looks=only_looks if skill.act is not None else None,
    )


def dry_sentence(skill: Skill, params: Mapping[str, Any]) -> str:
    """What the skill would do, in one sentence."""
    if skill.dry is not None:
        return skill.dry(make_params(skill, params))
    shown = ", ".join(f"{name}={value!r}" for name, value in params.items())
    return f"would run {skill.name}({shown})"[:1000]


def load_bodies(paths: Sequence[str] | None = None) -> SkillBodies:
    """Every installed skill, each loaded when it is asked for."""
    found = scan_entry_points(GROUP, paths)
    usable = {name: place for name, place in found.items() if name.isidentifier() and len(name) <= NAME_MAX and ":" in place}
    return SkillBodies(dict(sorted(usable.items())[:BODIES_MAX]))


def catalogue_of(bodies: SkillBodies) -> SkillCatalogue:
    return _Specs(bodies)


def load_catalogue() -> SkillCatalogue:
    """Every installed skill as the brains see it. A broken one raises `ConfigError` when it is asked for."""
    return catalogue_of(load_bodies())
