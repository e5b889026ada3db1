"""Skills are found where any package registers them, cost nothing until they are used, and refuse bad parameters with a cure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aios import skills
from aios.errors import ConfigError
from aios.events.calls import SkillCall, SkillResult, Touches
from aios.skills.api import Skill, make_params, plain_params
from aios.skills.catalogue import catalogue_of, load_bodies, load_catalogue, scan_entry_points, spec_of
from aios.skills.types import UnitName

CATALOGUE = load_catalogue()

GOOD: dict[str, dict[str, Any]] = {
    "read_logs": {"unit": "nginx.service", "since": "5m", "lines": 20},
    "metrics_snapshot": {},
    "list_processes": {"sort": "cpu", "limit": 3},
    "disk_usage": {"path": "/var"},
    "run_command": {"argv": ["nginx", "-t"]},
    "service_status": {"unit": "agent:coder"},
    "start_service": {"unit": "a@b.service"},
    "stop_service": {"unit": "a.service"},
    "restart_service": {"unit": "a.service"},
    "restore_files": {"from": "last_good", "files": ["/etc/nginx/"]},
    "set_kernel_setting": {"setting": "vm.swappiness", "value": 10},
    "write_file": {"path": "/etc/x", "content": "text\n", "mode": "640"},
    "renice_process": {"pid": 4711, "nice": 10},
    "limit_service": {"unit": "a.service", "memory_mb": 512, "tasks": "none"},
    "cleanup_files": {"paths": ["/var/tmp"], "older_than": "1d", "keep": 2},
    "run_job": {"argv": ["make", 3], "env": {"A": "b"}, "files": ["/srv"], "units": ["a.service"]},
    "http_check": {"url": "http://[::1]:8080/health?x=1", "status": 204, "contains": "ok"},
    "tcp_check": {"port": 22},
    "file_check": {"path": "/srv/beat", "changed_within": "30s", "contains": "alive"},
    "command_check": {"argv": ["openssl", "verify"], "exit_code": 2, "contains": "OK", "user": "nobody"},
    "process_check": {"name": "nginx", "min": 2},
    "service_check": {"unit": "a.service"},
    "metric_below": {"metric": "disk", "below": 0.9, "path": "/var"},
    "notify": {"message": "help", "level": "critical", "webhook": "https://example.org/x"},
}
SHIPPED = tuple(GOOD)


def test_every_shipped_skill_is_registered_as_an_outsiders_would_be() -> None:
    shipped = {path.stem for path in (Path(skills.__file__).parent).glob("*.py") if "\nSKILL = " in path.read_text()}
    assert shipped == set(SHIPPED)
    assert shipped <= set(CATALOGUE)


@pytest.mark.parametrize("name", SHIPPED)
def test_checked_parameters_are_plain_json_that_passes_the_check_again(name: str) -> None:
    """What stands in a run's intent is checked again when it is taken up after a crash."""
    from aios.events.codec import decode_json, encode_json

    spec = CATALOGUE[name]
    checked = spec.check(GOOD[name])
    assert decode_json(encode_json(checked)) == checked
    assert spec.check(checked) == checked
    assert isinstance(spec.touches(checked), Touches)
    assert spec.dry_text is not None
    assert spec.dry_text(checked)
    skill = load_bodies()[name]
    assert plain_params(make_params(skill, checked)) == checked


@pytest.mark.parametrize("name", SHIPPED)
def test_each_skill_tells_what_it_is(name: str) -> None:
    spec = CATALOGUE[name]
    assert spec.doc.endswith(".")
    assert spec.schema["additionalProperties"] is False
    assert set(spec.schema.get("required", ())) <= set(spec.schema["properties"])
    assert set(spec.touch_params) <= set(spec.schema["properties"])
    if spec.kind == "verify":
        assert spec.result_fields["verdict"] == "string"


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("restart_service", {"unit": "nginx"}, "unit: 'nginx' is no unit name; write nginx.service"),
        ("restart_service", {"unit": "../x; rm -rf /"}, "unit: '../x; rm -rf /' is no unit name; write xrm-rf.service"),
        ("restart_service", {"unit": "web.servce"}, "unit: 'web.servce' is no unit name; did you mean web.service?"),
        ("restart_service", {"unit": 5}, "unit: 5 is no unit name; write it as text"),
        ("restart_service", {"unit": "a.service\n"}, "control character"),
        ("restart_service", {}, "unit: is missing; restart_service needs unit"),
        ("restart_service", {"zzz": 1}, "zzz: restart_service has no such parameter; it takes unit"),
        ("restart_service", {"unti": "a.service"}, "unti: restart_service has no such parameter; did you mean 'unit'?"),
        ("run_command", {"argv": "nginx -t"}, "argv: 'nginx -t' is one text; write a list of arguments, such as [nginx, -t]"),
        ("run_command", {"argv": []}, "argv: [] is no command"),
        ("run_command", {"argv": ["-x"]}, "argv: '-x' is no program"),
        ("run_command", {"argv": ["a\0b"]}, "without a zero byte"),
        ("run_command", {"argv": ["x"] * 300}, "at most 256 arguments"),
        ("run_command", {"argv": [{"a": 1}]}, "each a text or a number"),
        (
            "set_kernel_setting",
            {"setting": "kernel.core_pattern", "value": 1},
            "no setting of the kernel that playbooks may",
        ),
        ("set_kernel_setting", {"setting": "fs.binfmt_misc.register", "value": 1}, "no setting of the kernel"),
        ("set_kernel_setting", {"setting": "vm.swappiness", "value": "|/bin/sh"}, "it is no number"),
        ("write_file", {"path": "etc", "content": ""}, "path: 'etc' is no absolute path; begin it with /"),
        ("write_file", {"path": "/a/../b", "content": ""}, "'.' or '..' part"),
        ("write_file", {"path": "/a", "content": "x" * 40_000}, "content: it is no text of at most 32768 bytes"),
        (
            "write_file",
            {"path": "/a", "content": "", "mode": 640},
            'mode: 640 is no file mode; write it as text in octal, such as "0640"',
        ),
        ("read_logs", {"unit": "a.service", "since": "soon"}, "since: 'soon' is no duration"),
        ("read_logs", {"unit": "a.service", "since": float("nan")}, "since: nan"),
        ("tcp_check", {"port": True}, "port: True is no port; write a number from 1 to 65535"),
        ("tcp_check", {"port": 70000}, "port: 70000 is no port"),
        ("tcp_check", {"port": 1, "host": "a b"}, "host: 'a b' is no host"),
        ("http_check", {"url": "ftp://x"}, "url: 'ftp://x' is no URL; write one such as http://127.0.0.1:8080/health"),
        ("http_check", {"url": "http://x:99999/"}, "url: 99999 is no port"),
        ("http_check", {"url": "http://x/\r\nHost: y"}, "url: "),
        ("http_check", {"url": "http://user@x/"}, "is no URL"),
        ("http_check", {"url": "http://x/", "status": 42}, "status: 42 is no HTTP status"),
        ("list_processes", {"sort": "name"}, "sort: 'name' does not fit; input should be 'memory' or 'cpu'"),
        ("list_processes", {"limit": 0}, "limit: 0 is no count"),
        ("metric_below", {"metric": "disk", "below": "x"}, "below: 'x' is no number"),
        ("cleanup_files", {"paths": "/x", "older_than": "1d"}, "paths: '/x' is no list of paths; write one such as [/etc/nginx]"),
        ("notify", {"message": " "}, "message: ' ' is no message"),
        ("run_job", {"argv": ["x"], "env": {"A=B": "c"}}, "env: 'A=B' is no name of a variable"),
        ("run_job", {"argv": ["x"], "env": {"A": 1}}, "env: variable A"),
        ("restore_files", {"files": ["/x"], "from": "yesterday"}, "from: 'yesterday' does not fit; input should be 'last_good'"),
    ],
)
def test_a_bad_parameter_is_named_with_the_cure(name: str, raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as told:
        CATALOGUE[name].check(raw)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_what_it_touches_is_told_from_its_parameters() -> None:
    assert CATALOGUE["restart_service"].touches({"unit": "a.service"}).resources() == {"a.service"}
    assert CATALOGUE["write_file"].touches({"path": "/x", "content": ""}).resources() == {"file:/x"}
    job = CATALOGUE["run_job"].check({"argv": ["x"], "files": ["/srv"], "units": ["a.service"]})
    assert CATALOGUE["run_job"].touches(job).resources() == {"file:/srv", "a.service"}
    assert not CATALOGUE["http_check"].touches({"url": "http://x/"}).resources()


def test_a_command_only_looks_when_the_settings_list_its_program() -> None:
    bodies = load_bodies()

    def call(skill: str, kind: Any, **env: Any) -> SkillCall:
        return SkillCall(
            "r", "s", 1, skill, kind, {"argv": ["nginx", "-t"]} if skill == "run_command" else GOOD[skill], 1.0, env=env
        )

    assert bodies.looks(call("run_command", "observe", look_commands=["nginx"]))
    assert not bodies.looks(call("run_command", "observe", look_commands=["/usr/sbin/nginx"]))
    assert not bodies.looks(call("run_command", "observe"))
    assert bodies.looks(call("disk_usage", "observe"))
    assert not bodies.looks(call("restart_service", "act"))
    only_looks = catalogue_of(bodies)["run_command"].only_looks
    assert only_looks is not None
    assert only_looks({"argv": ["nginx"]}, {"look_commands": ("nginx",)})


def test_loading_the_catalogue_imports_no_skill_and_no_pydantic() -> None:
    """READY must not wait for what nobody asked for; and hands never loads pydantic at all."""
    code = (
        "import sys; from aios.skills.catalogue import load_catalogue; c = load_catalogue(); assert 'restart_service' in c;"
        "assert 'aios.skills.restart_service' not in sys.modules;"
        "[c[name] for name in c if name.endswith('_service')]; assert 'aios.skills.restart_service' in sys.modules;"
        "assert 'pydantic' not in sys.modules and 'importlib.metadata' not in sys.modules and 'asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_entry_points_are_read_as_the_specification_says(tmp_path: Path) -> None:
    for folder, text in (
        (
            "a-1.dist-info",
            "[console_scripts]\nnot = a:b\n\n[ours]\none = pkg.one:SKILL\n# a\n; b\n two=pkg:TWO \n[other]\nno = x:y\n",
        ),
        ("b-1.egg-info", "[ours]\none = later:SKILL\n"),
        ("c-1.dist-info", ""),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "entry_points.txt").write_text(text)
    (tmp_path / "d-1.dist-info").mkdir()
    found = scan_entry_points("ours", [str(tmp_path), str(tmp_path / "nowhere")])
    assert found == {"one": "pkg.one:SKILL", "two": "pkg:TWO"}


def test_it_finds_what_the_standard_library_finds() -> None:
    from importlib.metadata import entry_points

    assert scan_entry_points("aios.skills") == {point.name: point.value for point in entry_points(group="aios.skills")}


def test_a_broken_skill_of_an_outsider_is_told_with_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "x-1.dist-info").mkdir()
    (tmp_path / "x-1.dist-info" / "entry_points.txt").write_text("[aios.skills]\nbad = nowhere:SKILL\nwrong = json:loads\n")
    bodies = load_bodies([str(tmp_path)])
    assert set(bodies) == {"bad", "wrong"}
    for name, says in (("bad", "No module named 'nowhere'"), ("wrong", "not a Skill named 'wrong'")):
        with pytest.raises(ConfigError) as told:
            bodies[name]
        assert says in str(told.value)
        assert f"entry point {name} = " in str(told.value)
        assert "cure:" in str(told.value)


@dataclass(frozen=True, slots=True)
class Params:
    unit: UnitName


async def look(_params: Params, _ctx: Any) -> SkillResult:
    return SkillResult(True)


def act(_params: Params, _ctx: Any) -> SkillResult:
    return SkillResult(True)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"kind": "act", "look": look}, "needs act="),
        ({"kind": "verify", "act": act}, "needs look="),
        ({"kind": "act", "act": act, "rerun": "check_before_retry"}, "already_done="),
        ({"kind": "act", "act": act, "already_done": lambda _params, _ctx: True}, "already_done="),
        ({"kind": "act", "act": act, "touch_params": ("untit",)}, "untit"),
    ],
)
def test_a_skill_that_cannot_work_is_refused_when_it_is_written(how: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Skill(name="x", doc="x", params=Params, **how)


def test_a_dry_run_without_a_sentence_of_its_own_still_says_what_it_would_do() -> None:
    spec = spec_of(Skill(name="x", kind="act", doc="X.", params=Params, act=act))
    assert spec.dry_text is not None
    assert spec.dry_text({"unit": "a.service"}) == "would run x(unit='a.service')"
