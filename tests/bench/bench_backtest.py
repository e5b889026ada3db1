"""A backtest of a week's journal, in events a second, beside the original's way to look for what a playbook answers.

The original (v0.5) has no backtest; what it does for any question to its files is `json.loads` for every line and a comparison
with each playbook in turn. That is the baseline here, over lines of the same file, in the same run: no time, no guards, no runs.
`ops` is a journal in which one event in 200 is one that the playbook answers or that closes it, `dense` one in ten; `when` asks
for scores too, so that every sample of the host counts. Seconds are the processor's, so that neighbours do not count.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from aios.backtest import backtest
from aios.events.codec import encode
from aios.events.event import Event, format_time
from aios.playbooks.load import load_many
from aios.skills.catalogue import load_catalogue

EVENTS = 300_000
BASELINE_EVENTS = 60_000
MIDNIGHT = 1_771_891_200.0
STEP_S = 2.0

WEB = """
playbook: web-down
description: Start it again.
on: {type: service.down, match: {subject: [web.service], data: {failures: [{numeric: [">=", 2]}]}}}
%s
steps:
  - {id: restart, act: restart_service, with: {unit: web.service}}
verify:
  - service_check: {unit: web.service, hold: 10s}
"""
TYPES = ("shop.order", "shop.payment", "host.sampled", "http.request", "agent.step")


def event(number: int, every: int) -> Event:
    when = format_time(MIDNIGHT + number * STEP_S)
    if number % every == 0:
        kind, subject = ("service.down", "web.service") if number // every % 2 == 0 else ("service.up", "web.service")
        data: dict[str, Any] = {"failures": number // every % 5, "reason": "exit", "status": "1", "backend": "systemd"}
    else:
        kind, subject = TYPES[number % len(TYPES)], f"unit-{number % 97}.service"
        if kind == "host.sampled":
            subject, data = "host", {"cpu": 0.3, "memory": 0.4, "disk": 0.5}
        else:
            data = {"order": number, "sum": 12.5, "customer": f"c{number % 1009}", "note": "paid by card, shipped by post"}
    return Event(f"{number:032x}", "bench", kind, subject, when, data, when, "info")


def write(folder: Path, every: int) -> Path:
    (folder / "events").mkdir(parents=True)
    path = folder / "events" / "2026-02-24.1.jsonl"
    with open(path, "wb") as file:
        for number in range(EVENTS):
            file.write(encode(event(number, every)))
    return path


def original(path: Path) -> float:
    """Events a second of decoding every line and asking one playbook after the other."""
    playbooks = [{"trigger": f"service.{word}", "subject": "web.service"} for word in ("down", "slow", "hung")]
    begin = time.process_time()
    found = 0
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number >= BASELINE_EVENTS:
                break
            one = json.loads(line)
            found += any(p["trigger"] == one["type"] and p["subject"] == one["subject"] for p in playbooks)
    assert found
    return BASELINE_EVENTS / (time.process_time() - begin)


def timed(folder: Path, more: str = "") -> dict[str, Any]:
    skills = load_catalogue()
    loaded = load_many({"web.yaml": WEB % more}, skills)
    begin = time.process_time()
    found = backtest(folder, loaded.playbooks, skills=skills)
    took = time.process_time() - begin
    figures = found.playbooks[0]
    return {
        "events_per_s": round(EVENTS / took),
        "matched": figures.matched,
        "runs": figures.runs,
        "held": figures.held_in_all,
        "us_per_matched": round(took / max(1, figures.matched) * 1e6, 1),
    }


def run() -> dict[str, Any]:
    figures: dict[str, Any] = {"events": EVENTS}
    with tempfile.TemporaryDirectory() as top:
        for name, every in (("ops", 200), ("dense", 10)):
            path = write(Path(top) / name, every)
            baseline = original(path)
            figures[name] = timed(Path(top) / name)
            figures[name]["original_per_s"] = round(baseline)
            figures[name]["times_the_original"] = round(figures[name]["events_per_s"] / baseline, 2)
        figures["when_asks_for_scores"] = timed(Path(top) / "ops", "when: score < 0.99")
    figures["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return figures
