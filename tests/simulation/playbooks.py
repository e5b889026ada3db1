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
    "/playbooks/edit.yaml": """
playbook: edit
description: Changes files in two steps, and can never prove that it is well.
on: {type: work.edit}
guard: {cooldown: 5s, limit: 60 in 1h}
steps:
  - id: one
    act: edit
    with: {path: "/world/${event.data.unit}", tag: "${event.data.tag}"}
    timeout: 20s
  - id: two
    act: edit
    with: {path: "/world/${event.data.unit}", tag: "${event.data.tag}"}
    timeout: 20s
    retry: {attempts: 2, backoff: 1s}
verify: [{no_data_check: {within: 1s}}]
""",
    "/playbooks/rewrite.yaml": """
playbook: rewrite
description: Changes files, and is well when they say so; a person may take it back later.
on: {type: work.rewrite}
guard: {cooldown: 5s, limit: 60 in 1h}
steps: [{id: edit, act: edit, with: {path: "/world/${event.data.unit}", tag: "${event.data.tag}"}, timeout: 20s}]
verify: [{file_says: {path: "/world/${event.data.unit}", tag: "${event.data.tag}", within: 1s}}]
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
    "/playbooks/one.yaml": """
playbook: one
description: One at a time of each unit.
on: {type: work.one}
guard: {cooldown: 5s, limit: 60 in 1h, concurrency: {at_most: 1, by: data.unit}}
steps: [{id: count, act: count_checked, with: {tag: "${event.data.tag}", busy_s: 4.0}, timeout: 20s}]
verify: [{counted_check: {skill: count_checked, tag: "${event.data.tag}", within: 2s}}]
""",
    "/playbooks/hours.yaml": """
playbook: hours
description: Not in the first two of every ten minutes.
on: {type: work.hours}
guard:
  cooldown: 5s
  limit: 60 in 1h
  windows: {never: [{cron: "*/10 * * * *", for: 2m, timezone: UTC}]}
steps:
  - {id: logs, observe: read_logs, with: {unit: web.service}}
  - {id: count, act: count_checked, with: {tag: "${event.data.tag}"}, timeout: 20s}
verify: [{counted_check: {skill: count_checked, tag: "${event.data.tag}", within: 2s}}]
""",
    "/playbooks/lean.yaml": """
playbook: lean
description: Not while db.service is ill.
on: {type: work.lean}
guard: {cooldown: 5s, limit: 60 in 1h, depends_on: [db.service]}
steps:
  - {id: logs, observe: read_logs, with: {unit: web.service}}
  - {id: count, act: count_checked, with: {tag: "${event.data.tag}"}, timeout: 20s}
verify: [{counted_check: {skill: count_checked, tag: "${event.data.tag}", within: 2s}}]
""",
    "/playbooks/twice.yaml": """
playbook: twice
description: Heals only while db.service runs; its breaker opens soon, and tries again.
on: {type: work.twice}
guard: {cooldown: 1s, limit: 2 in 10m, breaker: {open: 3m, ceiling: 12m}}
steps: [{id: count, act: count_checked, with: {tag: "${event.data.tag}"}, timeout: 20s}]
verify: [{service_check: {unit: db.service, within: 2s}}, {counted_check: {skill: count_checked, tag: "${event.data.tag}"}}]
""",
    "/playbooks/both.yaml": """
playbook: both
description: Acts when a left and a right of one unit have come, in any order.
on: {all: [{type: work.left}, {type: work.right}], within: 10m, by: data.unit}
guard: {cooldown: 0s, limit: 60 in 1h}
steps: [{id: count, act: count_checked, with: {tag: "${event.id}"}, timeout: 20s}]
verify: [{counted_check: {skill: count_checked, tag: "${event.id}", within: 2s}}]
""",
    "/playbooks/order.yaml": """
playbook: order
description: Looks when a first was followed by two, and nothing was right after it.
on:
  sequence: [{type: work.first}, {type: work.then, count: 2}, {absence: {type: work.right}}]
  within: 10m
  by: data.unit
steps: [{id: logs, observe: read_logs, with: {unit: web.service}}]
""",
    "/playbooks/mute.yaml": """
playbook: mute
description: Looks when no pulse was heard for a quarter of an hour.
on: {absence: {type: work.pulse}, within: 15m, by: subject}
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
    **{name: GuardOf(5.0, (60, 3600.0)) for name in ("which", "one", "hours", "lean", "edit", "rewrite")},
}

TIMEOUTS_S: Mapping[tuple[str, str], float] = {
    **{(f"count-{kind}", "count"): 30.0 for kind in ("idempotent", "checked", "never", "slow")},
    ("service-down", "restart"): 20.0,
    ("hang", "hang"): 8.0,
    ("die", "die"): 8.0,
    ("unset", "disable"): 20.0,
    ("unset", "mask"): 20.0,
    ("halt", "stop"): 20.0,
    ("edit", "one"): 20.0,
    ("edit", "two"): 20.0,
    ("rewrite", "edit"): 20.0,
    **{(name, "count"): 20.0 for name in ("one", "hours", "lean", "twice", "both")},
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
    ("edit", "one"): 1,
    ("edit", "two"): 2,
    ("rewrite", "edit"): 1,
    ("suggest", "count"): 1,
    ("which", "count"): 1,
    ("which-else", "count"): 1,
    **{(name, "count"): 1 for name in ("one", "hours", "lean", "twice", "both")},
}

COUNTED, COUNT, WITHIN_S = "work.many", 3, 600.0
"""What the playbook `many` counts."""

SILENT = ("mute", "work.pulse")
"""Which playbook waits for the silence of what."""

PLACES: Mapping[str, tuple[int, str]] = {"one": (1, "unit")}
"""So many runs of a playbook at once, for each value of this field of the event's data."""

LEANS: Mapping[str, tuple[str, ...]] = {"lean": ("db.service",)}
"""What playbooks depend on."""

CLOSED: Mapping[str, tuple[float, float]] = {"hours": (600.0, 120.0)}
MACHINE_WINDOW = (1200.0, 180.0)
"""Windows in which nothing is done: every so many seconds (of the epoch), for so many. The second is the machine's own, in
`happenings.HARSH`."""

MATCHED = frozenset(
    (
        *(f"work.{kind}" for kind in ("idempotent", "checked", "never", "slow", "hang", "die", "ask", "look", "unset", "halt")),
        *(f"work.{kind}" for kind in ("suggest", "which", "one", "hours", "lean", "twice", "edit", "rewrite")),
        "service.down",
        "resource.cpu_spike",
    )
)
