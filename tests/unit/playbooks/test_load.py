"""A playbook becomes the value it says; a folder is loaded as far as it can be."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from aios.errors import ConfigErrors
from aios.playbooks.interpreters import code_flag, named_programs
from aios.playbooks.load import load, load_many
from aios.playbooks.model import Guard, Keep, Retry, Rung
from tests.evaluation.spoiled_playbooks import try_spoiled
from tests.unit.playbooks.mistakes import GOOD
from tests.unit.playbooks.playbook_skills import SKILLS

SMALL = """\
playbook: {name}
on: {{type: service.down}}
steps: [{{id: look, observe: read_logs}}]
on_failure: [{ladder}]
"""


def small(name: str, ladder: str = "") -> str:
    return SMALL.format(name=name, ladder=ladder)


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(text, "p.yaml", SKILLS)
    return [error.message for error in caught.value.errors]


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("  - id: restart\n", '  - id: way\n    ask: "W?"\n    choices: [a, b]\n  - id: restart\n', "choices are 2 to 10 names"),
        ("given: {event:", "gven: {event:", "a test has no key"),
        ("given: {event:", "given: {evnt:", "given has no key"),
        ("  type: service.down\n", "  event: service.down\n", "on has no key"),
    ],
)
def test_one_mistake_is_one_finding(right: str, wrong: str, found: str) -> None:
    """A test that chooses is not blamed for choices that cannot be read; a key that is misspelt is not missing, too."""
    text = GOOD.replace(right, wrong, 1)
    said = errors_of(text.replace("restart_service: ok", "way: a, restart_service: ok") if "ask" in wrong else text)
    assert [message[: len(found)] for message in said] == [found]


def test_a_playbook_is_what_it_says() -> None:
    """Every key of the example arrives."""
    made = load(GOOD, "nginx.yaml", SKILLS)
    assert (made.name, made.path, made.types, made.mode, made.priority) == (
        "nginx-down",
        "nginx.yaml",
        ("service.down",),
        "auto",
        5,
    )
    assert made.hash == hashlib.sha256(GOOD.encode()).hexdigest()
    assert made.match == {"subject": ["nginx.service"], "data": {"failures": [{"numeric": [">=", 2]}]}}
    assert made.guard == Guard(300.0, (3, 3600.0))
    assert made.keep == Keep(("/etc/nginx",), 60.0)
    assert [(s.id, s.kind, s.skill) for s in made.steps] == [
        ("logs", "observe", "read_logs"),
        ("config", "observe", "run_command"),
        ("mend", "act", "restore_files"),
        ("restart", "act", "restart_service"),
    ]
    assert made.steps[3].retry == Retry(3, 2.0, 2.0, 300.0)
    assert made.steps[0].retry == Retry()
    assert made.steps[2].condition is not None
    assert (made.verify[0].skill, made.verify[0].hold_s, made.verify[0].within_s) == ("http_check", 10.0, 30.0)
    assert made.verify[0].params.render({}) == {"url": "http://127.0.0.1/", "status": 200}
    assert made.on_failure == (Rung("notify", "nginx is still down"),)
    assert made.acts
    assert made.tests[0]["expect"] == {"outcome": "healed", "steps": ["logs", "config", "restart"]}


@pytest.mark.parametrize(
    ("written", "guard"),
    [
        ("guard: {limit: none}", Guard(300.0, None)),
        ("guard: {cooldown: 0s}", Guard(0.0, (3, 3600.0))),
        ("guard: {cooldown: 1h30m, limit: 10 in 2d}", Guard(5400.0, (10, 172_800.0))),
        ("description: none", Guard()),
    ],
)
def test_guards_have_defaults_and_none_is_none(written: str, guard: Guard) -> None:
    """A playbook that says nothing about guards has some."""
    assert load(small("p") + written, "p.yaml", SKILLS).guard == guard


def test_types_may_be_a_list_or_a_family() -> None:
    """Exact, several, or any remainder."""
    text = small("p").replace("service.down", "[service.*, endpoint.down, endpoint.down]")
    assert load(text, "p.yaml", SKILLS).types == ("service.*", "endpoint.down")


def test_looking_needs_no_verify_and_acting_does_unless_it_only_observes() -> None:
    """Nobody could say whether an unverified act healed anything."""
    acting = small("p").replace("{id: look, observe: read_logs}", "{id: go, act: restart_service, with: {unit: a.service}}")
    assert ["nothing verifies" in message for message in errors_of(acting)] == [True]
    assert load(acting + "mode: observe", "p.yaml", SKILLS).acts


def test_all_that_is_wrong_is_said_at_once() -> None:
    """One look at the file mends them all, from top to bottom."""
    text = GOOD.replace("mode: auto", "mode: automatic").replace("cooldown: 5m", "cooldown: 5").replace("hold: 10s", "hold: ten")
    assert [m.split(" ", 1)[0] for m in errors_of(text)] == ["mode", "cooldown", "hold:"]


def test_a_constant_parameter_is_checked_beside_an_expression() -> None:
    """What is known now is not left for the night."""
    text = GOOD.replace('with: {unit: "${event.subject}", since: 5m}', 'with: {unit: "${event.subject}", lines: many}')
    assert errors_of(text) == ["lines: 'many' is not a whole number"]


@pytest.mark.parametrize("moving", ["steps.logs.result.unit", "score > 0.5 ? 'a.service' : 'b.service'", "string(now)"])
def test_what_is_touched_is_known_when_the_run_opens(moving: str) -> None:
    """It is locked then; what could be something else at the act is refused."""
    text = GOOD.replace('with: {unit: "${event.subject}"}\n    timeout', f'with: {{unit: "${{{moving}}}"}}\n    timeout')
    assert ["says what restart_service touches" in message for message in errors_of(text)] == [True]


def test_a_folder_is_loaded_as_far_as_it_can_be() -> None:
    """One that cannot be used never harms the others."""
    loaded = load_many({"b.yaml": small("b"), "a.yaml": small("a"), "c.yaml": "on: [", "d.yaml": small("a")}, SKILLS)
    assert [p.name for p in loaded.playbooks] == ["a", "b"]
    assert [(e.path, e.message.split(":")[0]) for e in loaded.errors] == [
        ("c.yaml", "this is not YAML"),
        ("d.yaml", "a second playbook is called 'a'"),
    ]
    assert loaded.texts == {"a": small("a"), "b": small("b")}


def test_an_operators_playbook_replaces_the_shipped_one_of_its_name() -> None:
    """Folders come in order, and the later wins; within one folder two of one name are a mistake."""
    texts = {
        "/usr/shipped/a.yaml": small("a"),
        "/usr/shipped/b.yaml": small("b"),
        "/etc/aios/mine.yaml": small("a", "{fallback: b}"),
    }
    loaded = load_many(texts, SKILLS)
    assert not loaded.errors
    assert [(p.name, p.path) for p in loaded.playbooks] == [("a", "/etc/aios/mine.yaml"), ("b", "/usr/shipped/b.yaml")]
    other_order = load_many({path: texts[path] for path in reversed(texts)}, SKILLS)
    assert [p.path for p in other_order.playbooks] == ["/usr/shipped/a.yaml", "/usr/shipped/b.yaml"]


def test_a_ladder_leads_somewhere() -> None:
    """A fallback that cannot be used is found out now; so is what falls back to it."""
    texts = {
        "a.yaml": small("a", "{fallback: b}"),
        "b.yaml": small("b", "{fallback: gone}"),
        "c.yaml": small("c", "{notify: help}"),
    }
    loaded = load_many(texts, SKILLS)
    assert [p.name for p in loaded.playbooks] == ["c"]
    assert [(e.path, e.line, e.message) for e in loaded.errors] == [
        ("b.yaml", 4, "there is no usable playbook 'gone' to fall back to"),
        ("a.yaml", 4, "there is no usable playbook 'b' to fall back to"),
    ]


def test_fallbacks_do_not_go_round_in_a_circle() -> None:
    """Also when one leads into the circle from outside."""
    texts = {f"{a}.yaml": small(a, f"{{fallback: {b}}}") for a, b in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"))}
    loaded = load_many(texts, SKILLS)
    assert loaded.playbooks == ()
    assert "a → b → c → a" in loaded.errors[0].message


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "".join(f"key{n}: 1\n" for n in range(9000)),
        GOOD.replace("since: 5m", "since: 5m, " + ", ".join(f"k{n}: v" for n in range(9000))),
        GOOD.replace("since: 5m", "since: [" + ", ".join(f'"${{event.data.f{n}}}"' for n in range(9000)) + "]"),
        GOOD.replace("since: 5m", "since: [" + ", ".join(f'"${{bad{n}}}"' for n in range(9000)) + "]"),
        GOOD.replace("since: 5m", "since: '${''" + "\\\\''" * 60_000 + "'"),
        GOOD.replace("since: 5m", "since: '${" + '"""\\' * 50_000 + "'"),
        GOOD.replace("since: 5m", "since: '" + "${" * 100_000 + "'"),
        GOOD.replace("since: 5m", "since: '" + "${event.subject}" * 15_000 + "'"),
        GOOD.replace("when: score < 0.9", "when: event" + " " * 4000 + ".x"),
        GOOD.replace("[nginx.service]", "[" + ", ".join(f"s{n}.service" for n in range(9000)) + "]", 1),
        GOOD.replace("[nginx.service]", "[" + ", ".join(f"{{prefx{n}: a}}" for n in range(900)) + "]", 1),
        GOOD.replace("stub: {", "stub: {" + "".join(f"s{n}: ok, " for n in range(9000))),
        GOOD.replace("steps:\n", "steps:\n" + "".join(f"  - {{id: s{n}, observe: read_logs}}\n" for n in range(3000))),
        GOOD.replace("Bring nginx back.", "x" * 200_000),
    ],
    ids=range(14),
)
def test_a_file_made_to_be_slow_is_not(text: str) -> None:
    """The daemon loads what a person saves; a huge or clever file must not hold it up, and gets a short answer."""
    began = time.process_time()
    try:
        load(text, "p.yaml", SKILLS)
    except ConfigErrors as several:
        assert len(several.errors) <= 101  # noqa: PT017
        assert len(str(several)) < 100_000  # noqa: PT017
    assert time.process_time() - began < 1.5, "of CPU, ten times what the slowest of them costs"


@pytest.mark.parametrize(
    ("argv", "at"),
    [
        (["sh", "-c", "x"], 1),
        (["/bin/bash", "-lc", "x"], 1),
        (["bash", "-o", "pipefail", "-c", "x"], 3),
        (["python3.11", "-c", "x"], 1),
        (["python3", "-W", "ignore", "-Ic", "x"], 3),
        (["perl", "-ne", "x"], 1),
        (["ruby", "-e", "x"], 1),
        (["node", "-pe", "x"], 1),
        (["node", "--eval=x"], 1),
        (["php", "-r", "x"], 1),
        (["env", "A=1", "sh", "-c", "x"], 3),
        (["timeout", "5", "nice", "sh", "-c", "x"], 4),
        (["su", "postgres", "-c", "x"], 2),
        (["busybox", "sh", "-c", "x"], 2),
        (["fish", "--command", "x"], 1),
        (["find", "/srv", "-exec", "sh", "-c", "x", ";"], 4),
        (["docker", "exec", "web", "sh", "-c", "x"], 4),
        (["ssh", "box", "bash", "-lc", "x"], 3),
        (["flock", "/run/l", "-c", "x"], 2),
        (["script", "-qc", "x"], 1),
        (["env", "-S", "sh -c x"], 1),
        (["env", "-iS", "sh -c x"], 1),
        (["deno", "eval", "x"], 1),
        (["pwsh", "-NoProfile", "-Command", "x"], 2),
        (["julia", "-E", "x"], 1),
        (["R", "-e", "x"], 1),
        (["rbash", "-c", "x"], 1),
        (["flock", "/run/l", "rsync", "-c", "a", "b"], None),
        (["env", "-i", "PATH=/bin", "tar", "-cf", "x"], None),
        (["deno", "run", "x.ts", "eval"], None),
        (["grep", "-c", "bash", "/etc/shells"], None),
        (["pgrep", "-f", "sh", "-c"], None),
        (["sh", "run.sh", "-c", "x"], None),
        (["python3", "app.py", "-c", "conf"], None),
        (["nginx", "-c", "/etc/nginx.conf"], None),
        (["perl", "-I/usr/elib", "x.pl"], None),
        (["python3", "-m", "http.server"], None),
        (["env", "LANG=C", "nginx", "-t"], None),
        (["systemctl", "-e"], None),
        ([], None),
    ],
)
def test_code_is_never_handed_to_an_interpreter(argv: list[str], at: int | None) -> None:
    """Directly or behind a wrapper; a script with arguments of its own is well."""
    assert code_flag(argv) == at


@pytest.mark.parametrize(
    ("argv", "positions"),
    [
        (["nginx", "-t"], [0]),
        (["sh", "-e", "X"], [0, 2]),
        (["python3.11", "-W", "ignore", "X", "y"], [0, 3]),
        (["/usr/bin/env", "A=1", "B=2", "X"], [0, 3]),
        (["sudo", "-u", "www", "timeout", "5", "bash", "X"], [0, 3, 5, 6]),
        (["nice", "-n", "10", "ionice", "-c", "3", "X"], [0, 3, 6]),
        (["xargs", "-n", "1", "X"], [0, 3]),
        (["systemctl", "restart", "X"], [0]),
        (["docker", "exec", "X", "reload"], [0]),
        (["su", "postgres", "X"], [0]),
        (["timeout", "5"], [0]),
        ([], []),
    ],
)
def test_what_is_run_is_found_behind_what_runs_it(argv: list[str], positions: list[int]) -> None:
    """A script that the event names is a program that the event names."""
    assert list(named_programs(argv)) == positions


@pytest.mark.parametrize(
    ("argv", "refused"),
    [
        ('[sh, "${event.data.script}"]', "the program to run comes from an expression"),
        ('[sudo, -u, www, "${event.data.program}", -t]', "the program to run comes from an expression"),
        ('[ssh, box, systemctl, restart, "${event.data.unit}"]', "gives its arguments to a shell on the other side"),
        ('[timeout, "9", /usr/bin/ssh, "${event.subject}", uptime]', "gives its arguments to a shell on the other side"),
        ("[ssh, box, systemctl, restart, nginx]", ""),
        ('[sh, /opt/mend.sh, "${event.data.unit}"]', ""),
        ('[docker, restart, "${event.data.container}"]', ""),
    ],
)
def test_event_data_never_says_what_is_run(argv: str, refused: str) -> None:
    """As one whole argument of a fixed program it is a name or a number; anywhere else it would be code."""
    text = GOOD.replace("argv: [nginx, -t]", f"argv: {argv}")
    assert text != GOOD
    if not refused:
        load(text, "p.yaml", SKILLS)
        return
    with pytest.raises(ConfigErrors, match=refused):
        load(text, "p.yaml", SKILLS)


@pytest.mark.parametrize("seed", range(4))
def test_a_spoiled_playbook_is_refused_or_loads_and_never_crashes(seed: int) -> None:
    """A thousand spoiled texts a seed (`python -m tests.evaluation.spoiled_playbooks` tries a hundred thousand)."""
    tried = try_spoiled(GOOD, 1000, seed, SKILLS)
    assert tried.wrong == []
    assert 0 < tried.loads < 1000


@pytest.mark.parametrize(
    "value", ["null", "[]", "{}", "1", "true", "text", "[[]]", "{a: {b: [1]}}", '"${x}"', '"${event.subject}"']
)
def test_any_kind_of_value_may_stand_anywhere(value: str) -> None:
    """Every value of the example, replaced by every kind: an answer, never a crash."""
    for at, line in enumerate(GOOD.splitlines()):
        key, colon, _ = line.partition(":")
        if not colon:
            continue
        lines: list[Any] = GOOD.splitlines()
        indent = len(line) - len(line.lstrip(" -"))
        after = at + 1
        while after < len(lines) and len(lines[after]) - len(lines[after].lstrip()) > indent:
            after += 1
        text = "\n".join([*lines[:at], f"{key}: {value}", *lines[after:]])
        try:
            load(text, "p.yaml", SKILLS)
        except ConfigErrors as several:
            str(several)
