"""`aios demo`: in a temporary folder, the daemon as it is and a small real service; three faults, and how each is healed.

The daemon gets settings and a playbook of its own, and no code path of its own. Times are from the fault: `detected` is the
durable `service.down` as the control socket delivers it, `healed` is when the service serves again (the time for which verify
then holds is not counted).
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aios.cli import exits
from aios.cli.reach import wants_json
from aios.cli.report import make
from aios.cli.terminal import Terminal
from aios.control.client import NoDaemon, ask, follow
from aios.disk import OsFiles, write_small
from aios.errors import AiosError
from aios.events.codec import decode_json
from aios.reports import to_markdown

SUBJECT = "shop.service"
FAULT_MAX_S = 30.0
"""A fault that is not healed by then counts as failed."""
SERVES_EVERY_S = 0.002
SETTLE_S = 10.0
STEPS_SHOWN = ("observe", "act")

_SETTINGS = """\
data = "{folder}/state"
playbooks = ["{folder}/playbooks"]
mode_max = "auto"
systemd = {{enabled = false}}
host = {{enabled = false}}

[skills]
look_commands = ["{folder}/check-shop"]

[[service]]
name = "shop"
argv = ["{python}", "-SE", "{program}", "{folder}/shop.conf"]
folder = "{folder}"

[[probe]]
name = "shop"
url = "http://127.0.0.1:{port}/"
subject = "shop.service"
every = "1s"
timeout = "1s"
failures = 2
"""

_PLAYBOOK = """\
playbook: shop-down
description: Bring the shop back; if its configuration does not check, put the last good one back first.
on:
  type: service.down
  match:
    subject: [shop.service]
guard:
  cooldown: 0s
  limit: 10 in 1h
keep: {{files: [{folder}/shop.conf], after: 3s}}
steps:
  - id: logs
    observe: read_logs
    with: {{unit: "${{event.subject}}", since: 1m}}
  - id: config
    observe: run_command
    with: {{argv: [{folder}/check-shop]}}
  - id: mend
    if: steps.config.result.exit_code != 0
    act: restore_files
    with: {{from: last_good, files: [{folder}/shop.conf]}}
  - id: restart
    act: restart_service
    with: {{unit: "${{event.subject}}"}}
    timeout: 20s
verify:
  - http_check: {{url: "http://127.0.0.1:{port}/", status: 200, timeout: 1s, hold: 1s, within: 10s}}
"""


@dataclass(slots=True)
class Fault:
    """One fault and what came of it; milliseconds, None for what never came."""

    name: str
    words: str
    detected_ms: float | None = None
    healed_ms: float | None = None
    outcome: str = "nothing"
    steps: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "fault": self.name,
            "detected_ms": self.detected_ms,
            "healed_ms": self.healed_ms,
            "outcome": self.outcome,
            "steps": self.steps,
        }


def demo(args: argparse.Namespace, terminal: Terminal) -> int:
    """0 when every fault was healed."""
    as_json = wants_json(args)
    tell = _quiet if as_json else lambda text, style="": terminal.say(text, style)
    folder = tempfile.mkdtemp(prefix="aios-demo-")
    stage = Stage(folder, tell)
    try:
        faults = stage.play()
        if as_json:
            terminal.json({"faults": [fault.to_json() for fault in faults]})
        else:
            tell("")
            terminal.page(to_markdown(make(f"{folder}/state", None, None, terminal.clock.now())).rstrip("\n"))
    finally:
        stage.clear()
    return exits.OK if all(fault.outcome == "healed" for fault in faults) else exits.NO


def _quiet(_text: str, _style: str = "") -> None:
    return None


class Stage:
    """The folder, the daemon and the service; `play` it, then `clear` it."""

    def __init__(self, folder: str, tell: Callable[..., None]) -> None:
        self._folder = folder
        self._tell = tell
        self._socket = f"{folder}/state/control.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._heard: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        self._port = _free_port()
        self._began = _now()

    def play(self) -> list[Fault]:
        """Raises AiosError when the daemon or the service does not even start."""
        self._lay_out()
        self._say("starting the daemon and a small HTTP service", "bold")
        self._start()
        self._wait_for("daemon.act_done", "the service to be started", skill="start_service")
        self._wait_until_serving(_now() + FAULT_MAX_S)
        self._say(f"the service answers on 127.0.0.1:{self._port}; waiting for a last-good copy of its configuration")
        self._wait_for("playbook.kept", "a last-good copy")
        faults = [
            Fault("kill", "kill -9 of the service"),
            Fault("hang", "SIGSTOP: it lives and does not answer"),
            Fault("corrupt", "its configuration spoiled, then kill -9: it cannot start"),
        ]
        for n, fault in enumerate(faults):
            if n:
                self._settle()
            self._break(fault)
        return faults

    # --- before

    def _lay_out(self) -> None:
        files, program = OsFiles(), f"{os.path.dirname(os.path.abspath(__file__))}/demo_shop.py"
        os.mkdir(f"{self._folder}/playbooks")
        fill = {"folder": self._folder, "python": sys.executable, "program": program, "port": self._port}
        write_small(files, f"{self._folder}/aios.toml", _SETTINGS.format(**fill).encode())
        write_small(files, f"{self._folder}/playbooks/shop-down.yaml", _PLAYBOOK.format(**fill).encode())
        write_small(files, f"{self._folder}/shop.conf", f"port = {self._port}\ngreeting = hello\n".encode())
        check = f'#!/bin/sh\nexec "{sys.executable}" -SE "{program}" --check "{self._folder}/shop.conf"\n'
        write_small(files, f"{self._folder}/check-shop", check.encode(), 0o755)

    def _start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
        log = os.open(f"{self._folder}/daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        argv = [sys.executable, "-P", "-m", "aios.cli.main", "run", "--settings", f"{self._folder}/aios.toml"]
        self._daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        os.close(log)
        deadline = _now() + FAULT_MAX_S
        while True:
            try:
                items = follow(self._socket, "events_follow", {})
                break
            except NoDaemon:
                if _now() > deadline or self._daemon.poll() is not None:
                    raise AiosError(f"the daemon did not start: {self._log_end()}") from None
                _pause(0.01)
        threading.Thread(target=self._listen, args=(items,), daemon=True).start()

    def _listen(self, items: Any) -> None:
        try:
            for item in items:
                self._heard.put((_now(), item["event"]))
        except AiosError:
            pass  # the daemon has ended, as it was told

    def _log_end(self) -> str:
        with open(f"{self._folder}/daemon.log", encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    # --- a fault

    def _break(self, fault: Fault) -> None:
        self._say(fault.words, "bold")
        with open(f"{self._folder}/state/services/shop.json", "rb") as file:
            pid = decode_json(file.read())["pid"]
        if fault.name == "corrupt":
            with open(f"{self._folder}/shop.conf", "w", encoding="utf-8") as file:
                file.write("\x00 this is no configuration \x00\n")
        began = _now()
        os.kill(pid, signal.SIGSTOP if fault.name == "hang" else signal.SIGKILL)
        served: list[float] = []
        watcher = threading.Thread(target=self._when_it_serves, args=(began, served), daemon=True)
        watcher.start()
        self._follow_run(fault, began)
        watcher.join(1.0)
        if served:
            fault.healed_ms = round((served[0] - began) * 1000.0, 1)
        self._say(f"{fault.outcome}: noticed after {_ms(fault.detected_ms)}, serving again after {_ms(fault.healed_ms)}", "green")

    def _follow_run(self, fault: Fault, began: float) -> None:
        deadline = began + FAULT_MAX_S
        while (event := self._next(deadline)) is not None:
            at, told = event
            kind, data = told["type"], told["data"]
            if told["subject"] != SUBJECT:
                continue
            if kind == "service.down" and fault.detected_ms is None:
                fault.detected_ms = round((at - began) * 1000.0, 1)
            if kind == "run.step_done" and data["kind"] in STEPS_SHOWN and not data.get("skipped"):
                fault.steps.append(data["step"])
            self._say_event(kind, data, at - began)
            if kind in ("run.healed", "run.escalated", "run.cleared"):
                fault.outcome = kind.removeprefix("run.")
                return

    def _when_it_serves(self, began: float, served: list[float]) -> None:
        self._wait_until_serving(began + FAULT_MAX_S, served)

    def _wait_until_serving(self, deadline: float, served: list[float] | None = None) -> None:
        while _now() < deadline:
            if self._serves():
                if served is not None:
                    served.append(_now())
                return
            _pause(SERVES_EVERY_S)
        if served is None:
            raise AiosError(f"the service did not come up: {self._log_end()}")

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.2) as link:
                link.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return link.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    def _settle(self) -> None:
        """What happens within the settle time is put down to the run before, and a loop is not healed: so wait it out."""
        self._say(f"waiting {SETTLE_S:g} s, in which what happens is put down to the run before")
        end = _now() + SETTLE_S + 0.5
        while self._next(end) is not None:
            pass

    # --- events

    def _next(self, deadline: float) -> tuple[float, dict[str, Any]] | None:
        try:
            return self._heard.get(timeout=max(0.0, deadline - _now()))
        except queue.Empty:
            return None

    def _wait_for(self, kind: str, what: str, **data: str) -> None:
        deadline = _now() + FAULT_MAX_S
        while (event := self._next(deadline)) is not None:
            told = event[1]
            if told["type"] == kind and all(told["data"].get(name) == value for name, value in data.items()):
                return
        raise AiosError(f"waited {FAULT_MAX_S:g} s for {what}: {self._log_end()}")

    def _say(self, text: str, style: str = "") -> None:
        self._tell(f"{_now() - self._began:7.2f} s  {text}", style)

    def _say_event(self, kind: str, data: dict[str, Any], since_s: float) -> None:
        what = {
            "service.down": f"noticed: {data.get('status') or data.get('reason')}",
            "run.opened": f"playbook {data.get('playbook')} runs",
            "run.step_intended": f"act {data.get('step')} ({data.get('skill')}) is on disk, and starts",
            "run.step_done": f"step {data.get('step')}: " + ("skipped" if data.get("skipped") else _said(data)),
            "run.healed": "healed, and it has stayed well",
            "run.not_healed": f"not healed: {data.get('why')}",
            "run.rolled_back": "taken back",
            "run.escalated": f"a person is needed: {data.get('why')}",
        }.get(kind)
        if what is not None:
            self._say(f"  +{since_s * 1000.0:7.1f} ms  {what}", "dim")

    # --- after

    def clear(self) -> None:
        """End the service and the daemon, and take the folder away."""
        try:
            ask(self._socket, "service_stop", {"subject": SUBJECT}, timeout=15.0)
            ask(self._socket, "stop", {}, timeout=5.0)
        except AiosError:
            pass  # it did not live any more; what follows sees to the rest
        if self._daemon is not None:
            try:
                self._daemon.wait(10.0)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _said(data: dict[str, Any]) -> str:
    result = data.get("result") or {}
    if "verdict" in result:
        return str(result["verdict"]).replace("_", " ")
    return "done" if data.get("ok") else str(data.get("error"))


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _now() -> float:
    """The demo measures from outside, so it reads the clock itself."""
    return time.perf_counter()


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
