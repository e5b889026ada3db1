"""A folder of a thousand playbooks: read, checked and indexed for the first time, again unchanged, and with one file changed.

The shelf is the daemon's own. The baseline in the same run is PyYAML's C parser over the same texts, which checks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import yaml

from aios.playbooks.index import Index
from aios.playbooks.load import load_many
from aios.reactor.shelf import Shelf
from aios.skills.catalogue import load_catalogue
from aios.testing.blobs import SimBlobs

PLAYBOOKS = 1000
TEXT = """\
playbook: web-{n}-down
description: Bring web-{n} back; if its configuration does not check, put the last good one back first.
on:
  type: service.down
  match:
    subject: [web-{n}.service]
    data: {{failures: [{{numeric: [">=", {low}]}}]}}
when: score < 0.{score} && event.data.reason != "stopped-{n}"
guard: {{cooldown: 5m, limit: 3 in 1h}}
keep: {{files: [/etc/web-{n}], after: 60s}}
steps:
  - id: logs
    observe: read_logs
    with: {{unit: "${{event.subject}}", since: 5m}}
  - id: config
    observe: run_command
    with: {{argv: [web-{n}, -t]}}
  - id: mend
    if: steps.config.result.exit_code != {low}
    act: restore_files
    with: {{from: last_good, files: [/etc/web-{n}]}}
  - id: restart
    act: restart_service
    with: {{unit: "${{event.subject}}"}}
    timeout: 30s
    retry: {{attempts: 3, backoff: 2s, factor: 2}}
verify:
  - http_check: {{url: "http://127.0.0.1:{port}/", status: 200, hold: 10s}}
on_failure: [{{notify: "web-{n} is still down"}}]
tests:
  - name: a failure restarts it
    given: {{event: {{type: service.down, subject: web-{n}.service, data: {{failures: 9, reason: exit}}}}}}
    stub: {{run_command: {{exit_code: {low}}}, restart_service: ok, http_check: ok}}
    expect: {{outcome: healed, steps: [logs, config, restart]}}
"""


def _text(n: int) -> str:
    return TEXT.format(n=n, low=n % 5, score=n % 9 + 1, port=8000 + n)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 3)


def run() -> dict[str, Any]:
    skills = load_catalogue()
    texts = {f"/etc/aios/playbooks/web-{n}.yaml": _text(n) for n in range(PLAYBOOKS)}
    shelf = Shelf(SimBlobs(), skills)
    figures = {"cold_s": _seconds(lambda: shelf.reload(texts)), "unchanged_s": _seconds(lambda: shelf.reload(dict(texts)))}
    assert len(shelf.by_name) == PLAYBOOKS, shelf.errors[:1]
    changed = {**texts, "/etc/aios/playbooks/web-7.yaml": _text(7).replace("cooldown: 5m", "cooldown: 6m")}
    figures["one_changed_s"] = _seconds(lambda: shelf.reload(changed))
    loaded = load_many(texts, skills)
    figures["index_s"] = _seconds(lambda: Index(loaded.playbooks))
    figures["yaml_alone_s"] = _seconds(lambda: [yaml.load(text, yaml.CSafeLoader) for text in texts.values()])
    return {"playbooks": PLAYBOOKS, **figures}
