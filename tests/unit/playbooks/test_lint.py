"""Lint finds what loads but should not stay so, each with its place and cure."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aios.playbooks.lint import CODES, Finding, covers, lint
from aios.playbooks.load import load_many
from aios.skills.catalogue import load_catalogue
from tests.unit.playbooks.mistakes import GOOD
from tests.unit.playbooks.playbook_skills import SKILLS


def findings(*texts: str) -> list[Finding]:
    return lint(load_many({f"{n}.yaml": text for n, text in enumerate(texts)}, SKILLS), SKILLS)


def codes(*texts: str) -> list[str]:
    return [finding.code for finding in findings(*texts)]


def test_the_example_is_clean() -> None:
    """Otherwise nobody would believe the findings."""
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("code", "level", "line", "right", "wrong"),
    [
        ("load", "error", 9, "mode: auto", "mode: automatic"),
        ("no-cooldown", "warning", 13, "cooldown: 5m", "cooldown: 0s"),
        ("short-cooldown", "info", 13, "cooldown: 5m", "cooldown: 10s"),
        ("no-limit", "warning", 14, "limit: 3 in 1h", "limit: none"),
        ("no-hold", "warning", 32, ", hold: 10s", ""),
        ("unknown-field", "warning", 7, "{failures:", "{failurs:"),
        ("unknown-field", "warning", 8, "when: score < 0.9", "when: event.data.failed == 2"),
        ("unknown-result", "warning", 24, "result.exit_code", "result.exitcode"),
        ("nothing-kept", "warning", 24, "keep: {files: [/etc/nginx], after: 60s}\n", ""),
        ("never-put-back", "info", 15, "act: restore_files\n    with: {from: last_good, files: [/etc/nginx]}",
         "act: start_service\n    with: {unit: nginx.service}"),
        ("no-description", "info", 1, "description: Bring nginx back.\n", ""),
    ],
)  # fmt: skip
def test_a_finding_has_its_place(code: str, level: str, line: int, right: str, wrong: str) -> None:
    """Code, level, file, line, and what to do."""
    assert right in GOOD
    found = [f for f in findings(GOOD.replace(right, wrong, 1)) if f.code == code]
    assert len(found) == 1
    assert (found[0].level, found[0].path, found[0].line) == (level, "0.yaml", line)
    assert found[0].hint
    assert found[0].column >= 1


OTHER = """\
playbook: {name}
description: Looks.
on: {on}
priority: {priority}
steps: [{{id: look, observe: read_logs}}]
tests: [{{name: it looks, given: {{event: {{type: service.down}}}}, expect: {{outcome: observed}}}}]
"""


def other(name: str, on: str, priority: int = 0) -> str:
    return OTHER.format(name=name, on=on, priority=priority)


def test_a_misspelt_type_is_a_warning_and_a_foreign_one_is_not() -> None:
    """A program of yours may say what it likes."""
    found = findings(other("a", "{type: service.dwon}"), other("b", "{type: [deploy.done, service.down]}"))
    assert [(f.code, f.level) for f in found] == [("unknown-type", "warning"), ("unknown-type", "info")]
    assert found[0].hint == "did you mean 'service.down'?"
    (heartbeat,) = findings(other("a", "{type: agent.heartbeat}"))
    assert heartbeat.level == "info", "an agent says more than agent.error"


def test_a_playbook_that_is_always_second_is_found() -> None:
    """Another with a higher priority takes every event first."""
    wide = other("wide", "{type: service.*}", priority=1)
    narrow = other("narrow", "{type: service.down, match: {subject: [a.service]}}")
    assert codes(wide, narrow) == ["unreachable"]
    assert codes(other("wide", "{type: service.*}"), narrow) == []
    assert codes(other("wide", "{type: service.*, match: {subject: [b.service]}}", priority=1), narrow) == []


def test_two_with_the_same_trigger_are_found() -> None:
    """The name alone would decide; it is said once."""
    found = findings(other("a", "{type: service.down}"), other("b", "{type: service.down}"))
    assert [(f.code, f.path) for f in found] == [("same-trigger", "1.yaml")]


def test_acting_on_a_whole_family_is_found() -> None:
    """One slip would restart everything."""
    text = GOOD.replace(
        '  type: service.down\n  match:\n    subject: [nginx.service]\n    data: {failures: [{numeric: [">=", 2]}]}',
        "  type: service.*",
    )
    text = text.replace("keep: {files: [/etc/nginx], after: 60s}\n", "")
    assert "acts-on-all" in codes(text)


def test_no_tests_is_worth_knowing() -> None:
    """An info, at the playbook's name."""
    assert codes(other("a", "{type: service.down}").split("tests:")[0]) == ["no-tests"]


@pytest.mark.parametrize(
    ("wide", "narrow", "says"),
    [
        ({}, {"subject": ["a"]}, True),
        ({"subject": ["a", "b"]}, {"subject": ["a"]}, True),
        ({"subject": ["a"]}, {"subject": ["a", "b"]}, False),
        ({"subject": ["a"]}, {}, False),
        ({"data": {"x": [1]}}, {"data": {"x": [True]}}, False),
        ({"data": {"x": [{"numeric": [">", 1]}]}}, {"data": {"x": [{"numeric": [">", 1]}], "y": [2]}}, True),
    ],
)
def test_covering_is_never_claimed_wrongly(wide: Mapping[str, object], narrow: Mapping[str, object], says: bool) -> None:
    """Only what is written the same counts."""
    assert covers(wide, narrow) is says


@pytest.mark.parametrize(
    ("code", "right", "wrong"),
    [
        ("never-matches", '{failures: [{numeric: [">=", 2]}]}', '{failures: ["2"]}'),
        ("never-matches", '{failures: [{numeric: [">=", 2]}]}', "{failures: [true, {prefix: a}]}"),
        ("never-matches", '{failures: [{numeric: [">=", 2]}]}', '{reason: [{numeric: [">=", 2]}]}'),
        ("constant-when", "when: score < 0.9", "when: 1 > 2"),
        ("beside-or", "subject: [nginx.service]", "subject: [nginx.service]\n    $or: [{subject: [a]}, {severity: [error]}]"),
    ],
)
def test_what_can_never_match_is_found(code: str, right: str, wrong: str) -> None:
    """A playbook that waits for ever looks just like one that is never needed."""
    assert right in GOOD
    assert code in codes(GOOD.replace(right, wrong, 1))


def test_a_pattern_that_may_match_is_let_be() -> None:
    """One value of the right kind is enough, and `exists` asks about nothing else."""
    for fine in ('{failures: ["2", 3]}', "{failures: [{exists: false}]}", "{failures: [{anything-but: [2]}]}"):
        assert codes(GOOD.replace('{failures: [{numeric: [">=", 2]}]}', fine, 1)) == []


@pytest.mark.parametrize(
    ("code", "on", "hint"),
    [
        ("never-matches", "{type: service.down, match: {data: {failures: ['2']}}, count: 3 in 1m}", "write a number"),
        (
            "unknown-field",
            "{any: [{type: service.down, match: {data: {failurs: [2]}}}, {type: x.y}]}",
            "did you mean 'failures'?",
        ),
        ("odd-subject", "{type: service.down, match: {subject: [nginx]}}", "did you mean nginx.service?"),
        ("odd-subject", "{type: service.*, match: {subject: [nginx]}, count: 2 in 1m}", "did you mean nginx.service?"),
        (
            "odd-subject",
            "{absence: [{type: agent.heartbeat, match: {subject: [coder]}}], within: 5m}",
            "did you mean agent:coder?",
        ),
        ("odd-subject", "{type: resource.disk_full, match: {subject: [/var]}}", "did you mean disk:/var?"),
    ],
)
def test_each_entry_of_several_is_looked_at_like_one(code: str, on: str, hint: str) -> None:
    """What can never match is as bad in a window, and a window hides it better."""
    found = [f for f in findings(other("a", on)) if f.code == code]
    assert [(f.level, f.line) for f in found] == [("warning", 3)]
    assert found[0].hint.startswith(hint)


def test_a_subject_that_may_be_somebodys_own_is_let_be() -> None:
    """Only how our sensors spell theirs is known."""
    for on in (
        "{type: service.down, match: {subject: [nginx.service, foo@1.socket, 'agent:x', {prefix: nginx}]}}",
        "{type: shop.down, match: {subject: [shop]}}",
        "{type: [service.down, shop.down], match: {subject: [shop]}}",
        "{type: resource.cpu_spike, match: {subject: [host]}}",
        "{type: service.down, match: {$or: [{data: {failures: [2]}}, {data: {$or: [{failures: [1]}, {reason: [x]}]}}]}}",
    ):
        assert not {"odd-subject", "unknown-field"} & set(codes(other("a", on))), on


def test_two_that_act_on_one_resource_are_found() -> None:
    """Each waits for the other; said once, and not where one is the other's fallback."""
    second = GOOD.replace("nginx-down", "web-full").replace("type: service.down", "type: resource.disk_full", 1)
    second = second.replace('data: {failures: [{numeric: [">=", 2]}]}', "data: {path: [/var]}").split("tests:")[0]
    second = second.replace("keep: {files: [/etc/nginx], after: 60s}\n", "")
    found = [f for f in findings(GOOD, second) if f.code == "same-resource"]
    assert [(f.path, f.level, "nginx.service" in f.message) for f in found] == [("1.yaml", "info", True)]
    ladder = second.replace('[{notify: "nginx is still down"}]', "[{fallback: nginx-down}]")
    assert "same-resource" not in codes(GOOD, ladder)


def test_a_file_that_is_put_back_and_never_kept_is_found() -> None:
    """Each is named; a kept folder covers what is below it, and a kept file says nothing of its folder."""
    restored = GOOD.replace("files: [/etc/nginx]}\n  - id", "files: [/etc/nginx/a.conf, /etc/nginx2/b, /srv/c]}\n  - id")
    found = [f for f in findings(restored) if f.code == "not-kept"]
    assert {(f.level, f.line) for f in found} == {("warning", 26)}
    assert [f.message.split()[0] for f in found] == ["/etc/nginx2/b", "/srv/c"]
    assert found[1].hint == "write keep: {files: [/etc/nginx, /srv/c]}"
    one = GOOD.replace("keep: {files: [/etc/nginx]", "keep: {files: [/etc/nginx/nginx.conf]")
    assert codes(one) == ["not-kept"]


@pytest.mark.parametrize(
    ("on", "hint"),
    [
        ("{type: a.b, match: {subject: [notes*]}}", 'did you mean {wildcard: "notes*"} or {prefix: notes}?'),
        ("{type: a.b, match: {data: {x: {y: [1, '*.log']}}}}", 'did you mean {wildcard: "*.log"}?'),
        ("{type: a.b, match: {$or: [{subject: [a*]}, {severity: [error]}]}}", 'did you mean {wildcard: "a*"} or {prefix: a}?'),
        ("{type: a.b, match: {subject: [a*]}, count: 3 in 1m}", 'did you mean {wildcard: "a*"} or {prefix: a}?'),
        (
            "{sequence: [{type: a.b}, {absence: {type: a.c, match: {subject: ['a*c']}}}], within: 1m}",
            'did you mean {wildcard: "a*c"}?',
        ),
    ],
)
def test_a_star_in_a_plain_value_is_asked_about(on: str, hint: str) -> None:
    """It is that very text, which few mean."""
    found = [f for f in findings(other("a", on)) if f.code == "literal-star"]
    assert [(f.level, f.line, f.hint) for f in found] == [("info", 3, hint)]
    assert found[0].snippet.splitlines()[0].count("*")


def test_a_star_in_an_operator_is_let_be() -> None:
    """There it says what it means."""
    on = "{type: a.b, match: {subject: [{wildcard: 'a*'}, {exactly: 'a*'}, {anything-but: ['a*']}]}}"
    assert "literal-star" not in codes(other("a", on))


def test_a_stub_that_the_skill_never_gives_is_found() -> None:
    """Such a test proves nothing: `exitcode` would never be looked at."""
    wrong = GOOD.replace("run_command: {exit_code: 0}", "run_command: [{exit_code: 0, ok: true}, {exitcode: 1}]")
    (found,) = [f for f in findings(wrong) if f.code == "unknown-stub"]
    assert (found.level, found.line, found.hint) == ("warning", 38, "did you mean 'exit_code'?")
    assert "unknown-stub" not in codes(GOOD.replace("run_command: {exit_code: 0}", "config: {exit_code: 0, ok: false}"))


def test_every_code_is_explained() -> None:
    """A person who meets a code can read what it means."""
    assert all(words.endswith(".") for words in CODES.values())


JOBBER = """\
playbook: jobber
description: Runs a command.
on: {{type: service.down}}
steps: [{{id: job, act: run_job, with: {{argv: [/usr/bin/true]{more}}}}}]
verify: [{{tcp_check: {{port: 80, hold: 10s}}}}]
"""


@pytest.mark.parametrize(("more", "found"), [("", 1), (", files: [/etc/x]", 0), (", units: [a.service]", 0), (", files: []", 1)])
def test_a_command_that_names_nothing_cannot_be_taken_back(more: str, found: int) -> None:
    """Nothing is saved before it, so whoever writes it is told."""
    skills = load_catalogue()
    told = lint(load_many({"0.yaml": JOBBER.format(more=more)}, skills), skills)
    assert len([one for one in told if one.code == "cannot-undo" and "files or units" in one.message]) == found


STALLED = """playbook: coder-stalled
description: Restart a coder that has stalled.
on: {type: agent.stalled, match: {subject: ["agent:coder"]}}
steps:
  - {id: restart, act: restart_service, with: {unit: "agent:coder"}}
verify:
  - service_check: {unit: "agent:coder", hold: 10s}
tests:
  - name: it is restarted
    given: {event: {type: agent.stalled, subject: "agent:coder"}}
    expect: {outcome: healed, steps: [restart]}
"""
ALL = load_catalogue()


def codes_of(text: str, look_commands: list[str] | None = None) -> list[tuple[str, str, int]]:
    loaded = load_many({"x.yaml": text}, ALL)
    assert loaded.errors == ()
    return [(finding.code, finding.level, finding.line) for finding in lint(loaded, ALL, look_commands)]


def test_a_check_that_is_well_while_the_trouble_lasts_is_told() -> None:
    """An agent that has stalled still runs: `service_check` would end every run as cleared, and no test of its own shows it."""
    assert codes_of(STALLED) == [("blind-verify", "info", 6)]
    silent = STALLED.replace("on: {type: agent.stalled", "on: {within: 1m, absence: [{type: task.finished")
    assert ("blind-verify", "info", 6) in codes_of(silent.replace("]}}\n", "]}}]}\n", 1))
    for sees in ("file_check: {path: /srv/beat, changed_within: 1m, hold: 10s}", "tcp_check: {port: 80, hold: 10s}"):
        assert codes_of(STALLED.replace('service_check: {unit: "agent:coder", hold: 10s}', sees)) == []
    assert codes_of(STALLED.replace("agent.stalled", "service.down")) == [], "what is down is not up"
    given = 'given: {event: {type: agent.stalled, subject: "agent:coder"}, symptom: well}'
    meant = STALLED + f"  - {{name: lives, {given}, expect: {{outcome: cleared}}}}\n"
    assert codes_of(meant) == [], "a test says that it is meant"


def test_a_command_that_the_settings_do_not_list_is_told_where_they_are_known() -> None:
    """A check that may not run never proves anything (warning); a look that acts surprises (info)."""
    text = STALLED.replace(
        'service_check: {unit: "agent:coder", hold: 10s}', "command_check: {argv: [/srv/fine], hold: 10s}"
    ).replace("steps:\n", "steps:\n  - {id: seen, observe: run_command, with: {argv: [nginx, -t]}}\n")
    text = text.replace("steps: [restart]", "steps: [seen, restart]")
    assert codes_of(text, ["df"]) == [("not-listed", "info", 5), ("not-listed", "warning", 8)]
    assert codes_of(text, ["nginx", "/srv/fine"]) == codes_of(text) == []


@pytest.mark.parametrize("unit", ["sshd.service", "dbus.socket", "home.mount"])
def test_what_no_run_may_touch_is_told_before_the_night(unit: str) -> None:
    """Else the playbook loads, passes its tests, and does nothing when it is needed."""
    text = STALLED.replace("agent.stalled", "service.down").replace('with: {unit: "agent:coder"}', f"with: {{unit: {unit}}}")
    assert ("protected", "warning", 4) in codes_of(text)
