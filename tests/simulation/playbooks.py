"""The playbooks of a simulated day: one act of each re-run class, a real repair, and acts that hang, die, ask or only look."""

from __future__ import annotations

from collections.abc import Mapping

from tests.simulation.laws import GuardOf


def _counting(kind: str, skill: str, busy_s: float, retry: str = "retry: {attempts: 3, backoff: 2s, factor: 2}") -> str:
    return f"""
playbook: count-{kind}
description: One effect that can be counted.
on: {{type: work.{kind}}}
guard: {{cooldown: 20s, limit: 30 in 1h}}
steps:
  - id: count
    act: {skill}
    with: {{tag: "${{event.data.tag}}", busy_s: {busy_s}}}
    timeout: 30s
    {retry}
verify:
  - counted_check: {{skill: {skill}, tag: "${{event.data.tag}}", within: 2s}}
"""


TEXTS: Mapping[str, str] = {
    "/playbooks/idempotent.yaml": _counting("idempotent", "count_idempotent", 0.2),
    "/playbooks/checked.yaml": _counting("checked", "count_checked", 0.2),
    "/playbooks/never.yaml": _counting("never", "count_never", 0.2, retry=""),
    "/playbooks/slow.yaml": _counting("slow", "count_idempotent", 10.0),
    "/playbooks/down.yaml": """
playbook: service-down
description: Start it again.
on: {type: service.down}
guard: {cooldown: 60s, limit: 6 in 1h}
steps:
  - id: logs
    observe: read_logs
    with: {unit: "${event.subject}"}
  - id: restart
    act: restart_service
    with: {unit: "${event.subject}"}
    timeout: 20s
    retry: {attempts: 3, backoff: 1s, factor: 2}
verify:
  - http_check: {unit: "${event.subject}", hang_s: 5.0, hold: 5s, within: 10s}
on_failure:
  - notify: it is still down
""",
    "/playbooks/hang.yaml": """
playbook: hang
description: Hangs until its timeout.
on: {type: work.hang}
guard: {cooldown: 5s, limit: 60 in 1h}
steps: [{id: hang, act: hang, timeout: 8s, retry: {attempts: 2, backoff: 1s}}]
verify: [{no_data_check: {within: 1s}}]
""",
    "/playbooks/die.yaml": """
playbook: die
description: Dies without a result.
on: {type: work.die}
guard: {cooldown: 5s, limit: 60 in 1h}
steps: [{id: die, act: die, timeout: 8s, retry: {attempts: 2, backoff: 1s}}]
verify: [{service_check: {unit: nobody.service, within: 1s}}]
""",
    "/playbooks/ask.yaml": """
playbook: ask
description: Asks before it acts.
on: {type: work.ask}
mode: approve
steps: [{id: count, act: count_never, with: {tag: "${event.data.tag}"}}]
verify: [{counted_check: {skill: count_never, tag: "${event.data.tag}", within: 2s}}]
""",
    "/playbooks/unset.yaml": """
playbook: unset
description: Changes how a service is set in two steps, and can never prove that it is well.
on: {type: work.unset}
guard: {cooldown: 5s, limit: 60 in 1h}
steps:
  - id: disable
    act: set_unit
    with: {unit: "${event.data.unit}", enabled: false, masked: false}
    timeout: 20s
  - id: mask
    act: set_unit
    with: {unit: "${event.data.unit}", enabled: false, masked: true}
    timeout: 20s
    retry: {attempts: 2, backoff: 1s}
verify: [{no_data_check: {within: 1s}}]
""",
    "/playbooks/halt.yaml": """
playbook: halt
description: Stops a service, and can never prove that it is well.
on: {type: work.halt}
guard: {cooldown: 5s, limit: 60 in 1h}
steps: [{id: stop, act: stop_service, with: {unit: "${event.data.unit}"}, timeout: 20s}]
verify: [{no_data_check: {within: 1s}}]
""",
    "/playbooks/suggest.yaml": """
playbook: suggest
description: Only suggests; a person may turn it into a run.
on: {type: work.suggest}
mode: suggest
steps: [{id: count, act: count_never, with: {tag: "${event.data.tag}"}}]
verify: [{counted_check: {skill: count_never, tag: "${event.data.tag}", within: 2s}}]
""",
    "/playbooks/which.yaml": """
playbook: which
description: Asks which way to go; where nothing was done, another playbook is tried later, and a person told still later.
on: {type: work.which}
guard: {cooldown: 5s, limit: 60 in 1h}
steps:
  - id: way
    ask: "${event.subject} could be counted"
    choices: {count: it is counted, leave: nothing is done}
    expires: 10m
  - id: count
    if: steps.way.result.choice == "count"
    act: count_checked
    with: {tag: "${event.data.tag}"}
verify: [{counted_check: {skill: count_checked, tag: "${event.data.tag}", within: 1s}}]
on_failure:
  - {fallback: which-else, after: 45s}
  - {notify: nobody counted, after: 2m}
""",
    "/playbooks/which-else.yaml": """
playbook: which-else
description: What is tried where nobody counted.
on: {type: work.nobody-says-this}
steps: [{id: count, act: count_checked, with: {tag: "${event.data.tag}"}}]
verify: [{counted_check: {skill: count_checked, tag: "${event.data.tag}", within: 1s}}]
""",
    "/playbooks/many.yaml": """
playbook: many
description: Looks when three have come within ten minutes.
on: {type: work.many, count: 3 in 10m}
steps: [{id: logs, observe: read_logs, with: {unit: web.service}}]
""",
    "/playbooks/look.yaml": """
playbook: look
description: Only looks.
on: {type: [work.look, resource.cpu_spike]}
steps: [{id: logs, observe: read_logs, with: {unit: web.service}}]
""",
}

GUARDS: Mapping[str, GuardOf] = {
    **{f"count-{kind}": GuardOf(20.0, (30, 3600.0)) for kind in ("idempotent", "checked", "never", "slow")},
    "service-down": GuardOf(60.0, (6, 3600.0)),
    "hang": GuardOf(5.0, (60, 3600.0)),
    "die": GuardOf(5.0, (60, 3600.0)),
    "unset": GuardOf(5.0, (60, 3600.0)),
    "halt": GuardOf(5.0, (60, 3600.0)),
    "which": GuardOf(5.0, (60, 3600.0)),
}

TIMEOUTS_S: Mapping[tuple[str, str], float] = {
    **{(f"count-{kind}", "count"): 30.0 for kind in ("idempotent", "checked", "never", "slow")},
    ("service-down", "restart"): 20.0,
    ("hang", "hang"): 8.0,
    ("die", "die"): 8.0,
    ("unset", "disable"): 20.0,
    ("unset", "mask"): 20.0,
    ("halt", "stop"): 20.0,
}

ATTEMPTS: Mapping[tuple[str, str], int] = {
    **{(f"count-{kind}", "count"): 3 for kind in ("idempotent", "checked", "slow")},
    ("count-never", "count"): 1,
    ("ask", "count"): 1,
    ("service-down", "restart"): 3,
    ("hang", "hang"): 2,
    ("die", "die"): 2,
    ("unset", "disable"): 1,
    ("unset", "mask"): 2,
    ("halt", "stop"): 1,
    ("suggest", "count"): 1,
    ("which", "count"): 1,
    ("which-else", "count"): 1,
}

COUNTED, COUNT, WITHIN_S = "work.many", 3, 600.0
"""What the playbook `many` counts."""

MATCHED = frozenset(
    (
        *(
            f"work.{kind}"
            for kind in ("idempotent", "checked", "never", "slow", "hang", "die", "ask", "look", "unset", "halt", "suggest")
        ),
        "service.down",
        "resource.cpu_spike",
    )
)
