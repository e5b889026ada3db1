"""The skills that the playbooks of these tests use: small specs, in the form and with the kind of messages of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aios.events.calls import Kind, RerunClass, SkillCatalogue, SkillSpec, Touches

Parameter = tuple[dict[str, Any], Callable[[Any], bool], str]

TEXT: Parameter = ({"type": "string"}, lambda v: isinstance(v, str), "a text")
UNIT: Parameter = (
    {"type": "string", "examples": ["nginx.service"]},
    lambda v: isinstance(v, str) and v.endswith((".service", ".timer")),
    "a unit name; write nginx.service",
)
NUMBER: Parameter = ({"type": "integer"}, lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number")
ARGV: Parameter = (
    {"type": "array", "minItems": 1, "items": {"type": "string"}},
    lambda v: isinstance(v, list) and bool(v),
    "a list of arguments; write [nginx, -t]",
)
FILES: Parameter = (
    {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^/"}},
    lambda v: isinstance(v, list) and all(isinstance(p, str) and p.startswith("/") for p in v),
    "a list of absolute paths; write [/etc/nginx]",
)
FROM: Parameter = ({"enum": ["last_good"]}, lambda v: v == "last_good", "a source; write last_good")
URL: Parameter = (
    {"type": "string", "examples": ["http://127.0.0.1/"]},
    lambda v: isinstance(v, str) and v.startswith("http"),
    "a URL; write http://127.0.0.1/",
)


def spec(
    name: str, kind: Kind, *, rerun: RerunClass = "idempotent", touch: str = "", needs: str = "", **params: Parameter
) -> SkillSpec:
    required = needs.split()

    def check(raw: Mapping[str, Any]) -> dict[str, Any]:
        for given in raw:
            if given not in params:
                raise ValueError(f"{given}: {name} has no such parameter; it takes {', '.join(params)}")
        for wanted in required:
            if wanted not in raw:
                raise ValueError(f"{wanted}: is missing; {name} needs {', '.join(required)}")
        for given, value in raw.items():
            if not params[given][1](value):
                raise ValueError(f"{given}: {value!r} is not {params[given][2]}")
        return dict(raw)

    schema = {
        "type": "object",
        "properties": {n: p[0] for n, p in params.items()},
        "required": required,
        "additionalProperties": False,
    }
    touches = (lambda p: Touches(units=(str(p[touch]),))) if touch == "unit" else (lambda _p: Touches())
    fields = {"exit_code": "int", "output": "string"} if name == "run_command" else {}
    return SkillSpec(
        name,
        kind,
        f"What {name} does.",
        schema,
        check,
        touches,
        rerun,
        30.0,
        result_fields=fields,
        touch_params=tuple(touch.split()),
    )


SKILLS: SkillCatalogue = {
    s.name: s
    for s in (
        spec("read_logs", "observe", unit=UNIT, since=TEXT, lines=NUMBER),
        spec("run_command", "observe", needs="argv", argv=ARGV, cwd=TEXT),
        spec("disk_usage", "observe", needs="path", path=TEXT),
        spec("start_service", "act", touch="unit", needs="unit", unit=UNIT),
        spec("restart_service", "act", touch="unit", needs="unit", unit=UNIT),
        spec("restore_files", "act", touch="files", needs="files", **{"from": FROM}, files=FILES),
        spec("run_job", "act", rerun="never_retry", needs="argv", argv=ARGV, cwd=TEXT),
        spec("http_check", "verify", needs="url", url=URL, status=NUMBER),
        spec("service_check", "verify", needs="unit", unit=UNIT),
    )
}
