"""Typical mistakes in a playbook: what is written wrong, and by what it stands in a good one.

Each is a name and what it does to `GOOD`: (the text that is replaced, what stands there instead). The message that a person then
reads stands in `mistakes_golden.txt`; `UPDATE_GOLDEN=1 pytest tests/unit/playbooks/test_mistakes.py` writes it anew, to be read
before it is kept.
"""

from __future__ import annotations

ON = """\
on:
  type: service.down
  match:
    subject: [nginx.service]
    data: {failures: [{numeric: [">=", 2]}]}
"""
GOOD = """\
playbook: nginx-down
description: Bring nginx back.
on:
  type: service.down
  match:
    subject: [nginx.service]
    data: {failures: [{numeric: [">=", 2]}]}
when: score < 0.9
mode: auto
priority: 5
enabled: true
guard:
  cooldown: 5m
  limit: 3 in 1h
keep: {files: [/etc/nginx], after: 60s}
steps:
  - id: logs
    observe: read_logs
    with: {unit: "${event.subject}", since: 5m}
  - id: config
    observe: run_command
    with: {argv: [nginx, -t]}
  - id: mend
    if: steps.config.result.exit_code != 0
    act: restore_files
    with: {from: last_good, files: [/etc/nginx]}
  - id: restart
    act: restart_service
    with: {unit: "${event.subject}"}
    timeout: 30s
    retry: {attempts: 3, backoff: 2s, factor: 2}
verify:
  - http_check: {url: "http://127.0.0.1/", status: 200, hold: 10s}
on_failure: [{notify: "nginx is still down"}]
tests:
  - name: a second failure restarts it
    given: {event: {type: service.down, subject: nginx.service, data: {failures: 2}}}
    stub: {run_command: {exit_code: 0}, restart_service: ok, http_check: ok}
    expect: {outcome: healed, steps: [logs, config, restart]}
"""

UNIT = '    with: {unit: "${event.subject}"}\n    timeout'
CHECK = 'http_check: {url: "http://127.0.0.1/", status: 200, hold: 10s}'

RESTART = "  - id: restart\n"
MISTAKES: dict[str, tuple[str, str]] = {
    # --- YAML itself
    "a tab indents": ("  cooldown: 5m", "\tcooldown: 5m"),
    "a bracket stays open": ("[nginx, -t]", "[nginx, -t"),
    "a quote stays open": ('still down"}]', "still down}]"),
    "an expression without quotes inside braces": ('unit: "${event.subject}", since', "unit: ${event.subject}, since"),
    "a colon in unquoted text": ("Bring nginx back.", "Bring it back: now"),
    "a key twice": ("mode: auto", "mode: auto\nmode: suggest"),
    "an anchor": ("mode: auto", "mode: &m auto"),
    "an alias": ("mode: auto", "mode: *m"),
    "a tag": ("mode: auto", "mode: !!str auto"),
    "a merge key": ("guard:\n", "guard:\n  <<: {limit: none}\n"),
    "a second document": ("verify:\n", "---\nverify:\n"),
    "wrong indentation": ("  limit: 3 in 1h", "   limit: 3 in 1h"),
    "a control character": ("Bring", "Br\x07ing"),
    "a hexadecimal number": ("priority: 5", "priority: 0x5"),
    # --- the form
    "an unknown key": ("description:", "descripton:"),
    "an unknown key that is near none": ("description:", "colour:"),
    "a required key is missing": ("on:\n  type: service.down\n  match:", "when_not:\n  match:"),
    "a name with capitals": ("playbook: nginx-down", "playbook: Nginx Down"),
    "a name that is a number": ("playbook: nginx-down", "playbook: 2026"),
    "on is just the type": (
        'on:\n  type: service.down\n  match:\n    subject: [nginx.service]\n    data: {failures: [{numeric: [">=", 2]}]}',
        "on: service.down",
    ),
    "keep beside a count": ("on:\n  type: service.down", "on:\n  count: 3 in 10m\n  type: service.down"),
    "a count per time": ("on:\n  type: service.down", "on:\n  count: 3 per 10m\n  type: service.down"),
    "a count without its time": ("on:\n  type: service.down", "on:\n  count: 3\n  type: service.down"),
    "joined by a bare field": ("on:\n  type: service.down", "on:\n  count: 3 in 10m\n  by: host\n  type: service.down"),
    "within beside a count": ("on:\n  type: service.down", "on:\n  count: 3 in 10m\n  within: 5m\n  type: service.down"),
    "all without within": (ON, "on:\n  all: [{type: service.down}, {type: agent.error}]\n"),
    "a window beside a type": ("on:\n  type: service.down", "on:\n  window: 10m\n  type: service.down"),
    "an event instead of a type": (ON, "on: {event: service.down}\n"),
    "an event in an entry": (ON, "on:\n  all: [{event: service.down}, {type: agent.error}]\n  within: 5m\n"),
    "a number of tries": ("retry: {attempts: 3, backoff: 2s, factor: 2}", "retry: 3"),
    "a misspelt event of a test": ("given: {event: {", "given: {evnt: {"),
    "all of one": (ON, "on:\n  all: [{type: service.down}]\n  within: 5m\n"),
    "within zero": (ON, "on:\n  all: [{type: service.down}, {type: agent.error}]\n  within: 0s\n"),
    "an absence in the middle": (
        ON,
        "on:\n  sequence:\n    - type: service.down\n    - absence: {type: service.up}\n    - type: agent.error\n  within: 5m\n",
    ),
    "a count with a time inside a sequence": (
        ON,
        "on:\n  sequence:\n    - {type: service.down, count: 3 in 1m}\n    - type: agent.error\n  within: 5m\n",
    ),
    "two ways to join": (ON, "on:\n  any: [{type: service.down}]\n  all: [{type: agent.error}]\n  within: 5m\n"),
    "the type beside all": (ON, "on:\n  type: service.down\n  all: [{type: agent.error}]\n  within: 5m\n"),
    "a trigger's name with a dash": (ON, "on:\n  any: [{type: service.down, name: web-down}]\n"),
    "an absence that counts": (ON, "on:\n  absence: [{type: service.down, count: 2}]\n  within: 5m\n"),
    "what becomes of events as a trigger": (ON, "on:\n  any: [{type: reactor.decided}]\n"),
    "an unknown join": (ON, "on:\n  all: [{type: service.down}, {type: agent.error}]\n  within: 5m\n  join: newest\n"),
    "a type with a star in the middle": ("type: service.down", 'type: "service.*.down"'),
    "a wildcard on own types": ("type: service.down", 'type: "run.*"'),
    "an unknown mode": ("mode: auto", "mode: automatic"),
    "a mode that YAML 1.1 would read as false": ("mode: auto", "mode: off"),
    "enabled is yes": ("enabled: true", "enabled: yes"),
    "a priority in words": ("priority: 5", "priority: high"),
    # --- guards and keep
    "a duration without a unit": ("cooldown: 5m", "cooldown: 5"),
    "a duration in words": ("cooldown: 5m", "cooldown: 5 minutes"),
    "a limit without a time": ("limit: 3 in 1h", "limit: 3"),
    "a limit by the slash": ("limit: 3 in 1h", "limit: 3/h"),
    "a relative file": ("files: [/etc/nginx], after", "files: [etc/nginx], after"),
    "keep without a subject": ("    subject: [nginx.service]\n", ""),
    # --- the pattern
    "a pattern value without a list": ("subject: [nginx.service]", "subject: nginx.service"),
    "an operator outside the list": ("subject: [nginx.service]", "subject: {prefix: nginx}"),
    "an unknown operator": ("subject: [nginx.service]", "subject: [{prefx: nginx}]"),
    "an operator that others have": ("subject: [nginx.service]", 'subject: [{regexp: "nginx.*"}]'),
    "two stars in a row": ("subject: [nginx.service]", 'subject: [{wildcard: "nginx**"}]'),
    "an $or of one": ("    subject: [nginx.service]", "    $or: [{subject: [nginx.service]}]"),
    "a field of data in $or": ("    subject: [nginx", "    $or: [{failures: [2]}, {severity: [error]}]\n    subject: [nginx"),
    "the severity in $or does not exist": (
        "    subject: [nginx",
        "    $or: [{severity: [warn]}, {data: {n: [1]}}]\n    subject: [nginx",
    ),
    "texts and numbers in one anything-but": ('failures: [{numeric: [">=", 2]}]', "failures: [{anything-but: [2, none]}]"),
    "a network without its bits": ("subject: [nginx.service]", "subject: [{cidr: 10.0.0.1}]"),
    "a comparison that is none": ('numeric: [">=", 2]', 'numeric: ["=>", 2]'),
    "no number can be both": ('numeric: [">=", 2]', 'numeric: [">", 5, "<", 2]'),
    "the type in match": ("    subject: [nginx", "    type: [service.down]\n    subject: [nginx"),
    "a field of data at the top": ("    data: {failures:", "    failures: [2]\n    data: {failures:"),
    "a severity that does not exist": ("    subject: [nginx", "    severity: [warn]\n    subject: [nginx"),
    "a subject that is a number": ("subject: [nginx.service]", "subject: [80]"),
    # --- expressions
    "a misspelt variable": ("when: score < 0.9", "when: scor < 0.9"),
    "a whole number against a decimal": ("when: score < 0.9", "when: score < 1"),
    "text against a number": ("when: score < 0.9", 'when: event.data.failures == "2"'),
    "text without quotes": ("when: score < 0.9", "when: event.subject == nginx"),
    "and in words": ("when: score < 0.9", "when: score < 0.9 and system_score < 0.9"),
    "one equals sign": ("when: score < 0.9", "when: event.data.failures = 2"),
    "an expression that ends too early": ("when: score < 0.9", "when: score <"),
    "an expression that is no condition": ("when: score < 0.9", "when: event.subject"),
    "a condition in ${ }": ("when: score < 0.9", 'when: "${score < 0.9}"'),
    "when is a YAML bool": ("when: score < 0.9", "when: true"),
    "when asks about steps": ("when: score < 0.9", "when: steps.logs.ok"),
    "an attribute that events do not have": ("when: score < 0.9", "when: event.failures > 2"),
    "an unknown function": ("when: score < 0.9", 'when: event.subject.startswith("nginx")'),
    "a template that is not closed": ('unit: "${event.subject}", since', 'unit: "${event.subject", since'),
    "an error in a block of text": ("when: score < 0.9", "when: |\n  score < 0.9\n  && scor < 0.8"),
    "a result without result": ("steps.config.result.exit_code", "steps.config.exit_code"),
    # --- steps
    "a step without an id": ("  - id: logs\n    observe", "  - observe"),
    "a step's id with a dash": ("id: restart\n", "id: restart-it\n"),
    "a step's id twice": ("id: config", "id: logs"),
    "a step's id that is reserved": ("id: logs", "id: rollback"),
    "two kinds in one step": ("    observe: read_logs", "    observe: read_logs\n    act: restart_service"),
    "no kind in a step": ("    observe: read_logs\n", ""),
    "a kind that does not fit": ("    observe: read_logs", "    act: read_logs"),
    "an unknown skill": ("act: restart_service", "act: restart_servce"),
    "an unknown skill that is near none": ("act: restart_service", "act: reboot"),
    "an unknown step is named": ("steps.config.result", "steps.confg.result"),
    "a later step is named": ("steps.config.result.exit_code", "steps.restart.result.exit_code"),
    "its own step is named": ("steps.config.result.exit_code", "steps.mend.result.exit_code"),
    "an unknown parameter": ("since: 5m", "sincee: 5m"),
    "a missing parameter": ("    with: {argv: [nginx, -t]}\n", ""),
    "a parameter of the wrong kind": ("files: [/etc/nginx]}\n  - id: restart", "files: [etc]}\n  - id: restart"),
    "a unit without its suffix": (UNIT, "    with: {unit: nginx}\n    timeout"),
    "a shell with -c": ("[nginx, -t]", '[sh, -c, "nginx -t"]'),
    "an interpreter behind a wrapper": ("[nginx, -t]", '[env, LANG=C, python3, -Ic, "print(1)"]'),
    "a program from the event": ("[nginx, -t]", '["${event.data.program}", -t]'),
    "what is touched depends on a step": (UNIT, '    with: {unit: "${steps.logs.result.unit}"}\n    timeout'),
    "a limit without its unit": ("    timeout: 30s", "    timeout: 30s\n    limits: {memory: 512}"),
    "a share without its percent": ("    timeout: 30s", "    timeout: 30s\n    limits: {cpu: 0.5}"),
    "a limit that is misspelt": ("    timeout: 30s", "    timeout: 30s\n    limits: {memry: 512M}"),
    "a limit that nothing could run in": ("    timeout: 30s", "    timeout: 30s\n    limits: {memory: 1M}"),
    "a limit that is a list": ("    timeout: 30s", "    timeout: 30s\n    limits: {memory: [1M, 2M]}"),
    "limits that say nothing": ("    timeout: 30s", "    timeout: 30s\n    limits: {}"),
    "limits of what only looks": ("    observe: read_logs", "    observe: read_logs\n    limits: {memory: 64M}"),
    "a retry of a step that looks": ("    observe: read_logs", "    observe: read_logs\n    retry: {attempts: 2}"),
    "too many attempts": ("attempts: 3", "attempts: 300"),
    "a retry of what may never run twice": (
        'act: restart_service\n    with: {unit: "${event.subject}"}',
        "act: run_job\n    with: {argv: [sync-it]}",
    ),
    "a timeout of zero": ("timeout: 30s", "timeout: 0s"),
    "steps is a mapping": (
        "steps:\n  - id: logs\n    observe: read_logs\n",
        "steps:\n  logs:\n    observe: read_logs\nother:\n  - a: b\n",
    ),
    # --- verify and on_failure
    "nothing verifies": ('verify:\n  - http_check: {url: "http://127.0.0.1/", status: 200, hold: 10s}\n', ""),
    "an act under verify": (CHECK, "restart_service: {unit: nginx.service}"),
    "two checks in one entry": ("status: 200, hold: 10s}", "status: 200}\n    service_check: {unit: nginx.service}"),
    "a misspelt hold": ("hold: 10s", "holds: 10s"),
    "verify names an act's result": ('url: "http://127.0.0.1/"', 'url: "${steps.restart.result.url}"'),
    "an unknown rung": ("{notify:", "{notfy:"),
    "its own fallback": ('{notify: "nginx is still down"}', "{fallback: nginx-down}"),
    "an expression in a message": ("nginx is still down", "${event.subject} is still down"),
    "a delay without a unit": ('{notify: "nginx is still down"}', '{notify: "nginx is still down", after: 10}'),
    "a delay with nothing to do": ('{notify: "nginx is still down"}', "{after: 10m}"),
    "a time to answer without a unit": ("priority: 5\n", "priority: 5\napprove: {expires: 2}\n"),
    # --- questions
    "a question without choices": (RESTART, '  - id: way\n    ask: "Which way?"\n' + RESTART),
    "a question with one choice": (RESTART, '  - id: way\n    ask: "Which way?"\n    choices: {go: Go on}\n' + RESTART),
    "choices without what they mean": (RESTART, '  - id: way\n    ask: "Which way?"\n    choices: [go, stop]\n' + RESTART),
    "a choice with capitals": (RESTART, '  - id: way\n    ask: "Which way?"\n    choices: {Go: Go on, stop: Stop}\n' + RESTART),
    "a question with parameters": (
        RESTART,
        '  - id: way\n    ask: "Which way?"\n    choices: {go: Go on, stop: Stop}\n    with: {a: 1}\n' + RESTART,
    ),
    "a question that asks and acts": (RESTART, RESTART + '    ask: "Which way?"\n    choices: {go: Go on, stop: Stop}\n'),
    "choices of an act": ("    timeout: 30s\n", "    timeout: 30s\n    choices: {go: Go on, stop: Stop}\n"),
    "verify names an answer": (
        RESTART + '    act: restart_service\n    with: {unit: "${event.subject}"}\n    timeout: 30s\n'
        '    retry: {attempts: 3, backoff: 2s, factor: 2}\nverify:\n  - http_check: {url: "http://127.0.0.1/"',
        '  - id: way\n    ask: "Which way?"\n    choices: {go: Go on, stop: Stop}\n'
        + RESTART
        + '    act: restart_service\n    with: {unit: "${event.subject}"}\n    timeout: 30s\n'
        '    retry: {attempts: 3, backoff: 2s, factor: 2}\nverify:\n  - http_check: {url: "${steps.way.result.choice}"',
    ),
    # --- tests
    "a test without an expectation": ("    expect: {outcome: healed, steps: [logs, config, restart]}\n", ""),
    "an unknown outcome": ("outcome: healed", "outcome: heeled"),
    "a stub for nothing": ("restart_service: ok", "reload_service: ok"),
    "a stub that says nothing": ("restart_service: ok", "restart_service: good"),
    "an expected step that is not there": ("steps: [logs, config, restart]", "steps: [logs, conf, restart]"),
}


def playbook_with(name: str) -> str:
    """The good playbook with one mistake."""
    right, wrong = MISTAKES[name]
    assert GOOD.count(right) >= 1, f"{name}: {right!r} does not stand in the good playbook"
    return GOOD.replace(right, wrong, 1)
