"""What the crash tests share: a real daemon on a folder of its own, whom to kill in it, and the laws that must hold afterwards.

Every process that descends from the daemon is known by a variable of its environment; none is signalled but through a pidfd that
was opened before it was looked at again. The laws are those of the simulation, read from the real journal.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aios.control.client import DaemonSilent, NoDaemon, ask
from aios.disk import OsFiles
from aios.errors import AiosError
from aios.events.calls import RerunClass
from aios.events.codec import encode_json
from aios.events.event import Event
from aios.hands import proc
from aios.journal.reader import FolderReader
from aios.testing.bodies import Effect
from tests.integration import crash_skills
from tests.simulation import laws

LOOK_S = 0.02
"""How often is looked whether a daemon has come to its end: each look reads its journal, and costs as much as what it does."""
DEADLINE_S = 60.0
"""Nothing here takes long; a loaded machine may."""
CLASSES: Mapping[str, RerunClass] = {
    "count_idempotent": "idempotent",
    "count_checked": "check_before_retry",
    "count_never": "never_retry",
}
KINDS = ("idempotent", "checked", "never")

COUNTING = """\
playbook: count-{kind}
description: One effect that can be counted.
on: {{type: work.{kind}}}
guard: {{cooldown: 0s, limit: none}}
steps:
  - id: count
    act: count_{kind}
    with: {{tag: "${{event.data.tag}}", busy_ms: "${{event.data.busy_ms}}"}}
    timeout: 20s
{retry}verify:
  - counted: {{tag: "${{event.data.tag}}", within: 200ms}}
"""
RETRY = "    retry: {attempts: 3, backoff: 20ms}\n"
SETTINGS = """\
data = "{folder}/state"
playbooks = ["{folder}/playbooks"]
acts_per_hour = 100000
[host]
enabled = false
[systemd]
enabled = false
"""


@dataclass(frozen=True)
class Line:
    """What was put in: an event of one kind, by the inbox or by `emit`."""

    tag: str
    kind: str
    subject: str
    busy_ms: int

    def raw(self) -> dict[str, object]:
        data = {"tag": self.tag, "busy_ms": self.busy_ms}
        return {"id": self.tag, "type": f"work.{self.kind}", "subject": self.subject, "data": data}


@dataclass
class House:
    """A daemon that dies often, and all that came of it."""

    folder: Path
    more_settings: str = ""
    written: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    was_killed: bool = False
    """Whether something died of what strace injected."""
    _lines: int = 0

    def __post_init__(self) -> None:
        site, books = self.folder / "site", self.folder / "playbooks"
        (site / "crash_skills-1.dist-info").mkdir(parents=True)
        shutil.copy(crash_skills.__file__, site / "crash_skills.py")
        names = {"count_idempotent": "IDEMPOTENT", "count_checked": "CHECKED", "count_never": "NEVER", "counted": "COUNTED"}
        points = "".join(f"{name} = crash_skills:{value}\n" for name, value in names.items())
        (site / "crash_skills-1.dist-info" / "entry_points.txt").write_text(f"[aios.skills]\n{points}")
        books.mkdir()
        for kind in KINDS:
            (books / f"{kind}.yaml").write_text(COUNTING.format(kind=kind, retry=RETRY if kind != "never" else ""))
        (self.folder / "aios.toml").write_text(SETTINGS.format(folder=self.folder) + self.more_settings)

    # --- its life

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def socket(self) -> str:
        return str(self.state / "control.sock")

    def start(self, before: Sequence[str] = ()) -> None:
        """Begin; `before` is put in front of the command (strace). Returns at once."""
        argv = [*before, sys.executable, "-m", "aios.cli.main", "run", "--settings", str(self.folder / "aios.toml")]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(argv, env=self._env(), stdout=log, stderr=log, start_new_session=True)

    def _env(self) -> dict[str, str]:
        effects = str(self.folder / "effects")
        paths = os.pathsep.join([str(self.folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "PYTHONPATH": paths, crash_skills.EFFECTS: effects}

    def is_ready(self) -> bool:
        """It answers at its control socket."""
        try:
            return ask(self.socket, "status", timeout=5.0).ok
        except AiosError:
            return False

    def ready(self) -> None:
        self.until(lambda: self.is_ready() or not self.runs(), "the daemon answers", LOOK_S)
        assert self.runs(), f"the daemon ended by itself:\n{self.log()}"

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ensure(self) -> None:
        """Start it again if it is dead."""
        if not self.runs():
            self.start()

    def stop(self, keepers: bool = False) -> None:
        """In order; then nothing of it may be left, but keepers where there are managed services."""
        self.ensure()
        self.ready()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE_S) == 0, self.log()
        self.until(lambda: all(keepers and is_keeper(pid) for pid in self.processes()), "no process is left over")

    def clear(self) -> None:
        """End whatever a failed test left."""
        for pid in self.processes():
            kill(pid, self.is_ours)
        if self.process is not None:
            self.process.wait(DEADLINE_S)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-6000:]

    def until(self, true: Callable[[], object], what: str, every_s: float = 0.005) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {DEADLINE_S:g} s: {what}\n{self.log()}")
            time.sleep(every_s)

    # --- what is put in

    def put(self, chance: random.Random, count: int) -> None:
        """So many lines in one write, as any program appends them; now and then two about the same subject."""
        lines = [self._line(chance) for _ in range(count)]
        path = self.state / "inbox" / "work.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        os.write(fd, b"".join(encode_json(line.raw()) + b"\n" for line in lines))
        os.close(fd)
        self.written += [line.tag for line in lines]

    def emit(self, chance: random.Random) -> None:
        """By the control socket; only what was acknowledged counts as taken."""
        line = self._line(chance)
        try:
            if ask(self.socket, "emit", {"events": [line.raw()]}, timeout=5.0).ok:
                self.acknowledged.append(line.tag)
        except (NoDaemon, DaemonSilent):
            return

    def _line(self, chance: random.Random) -> Line:
        self._lines += 1
        subject = f"work-{chance.randrange(4) if chance.random() < 0.3 else self._lines + 10}"
        return Line(f"t{self._lines}", chance.choice(KINDS), subject, chance.choice((0, 0, 20, 60, 100)))

    def put_kinds(self, busy_ms: int) -> None:
        """One line of each kind."""
        path = self.state / "inbox" / "kinds.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [Line(f"k{kind}", kind, f"kind-{kind}", busy_ms) for kind in KINDS]
        path.write_bytes(b"".join(encode_json(line.raw()) + b"\n" for line in lines))
        self.written += [line.tag for line in lines]

    # --- who lives

    def is_ours(self, pid: int) -> bool:
        mark = f"{crash_skills.EFFECTS}={self.folder}/effects".encode()
        try:
            return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def processes(self) -> dict[int, int]:
        """Every living process of this house: pid -> its parent."""
        found = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and self.is_ours(int(name)):
                stat = proc.read_stat(int(name))
                if stat is not None and not stat.gone:
                    found[int(name)] = stat.parent
        return found

    def by_role(self) -> dict[str, list[int]]:
        """daemon, hands, launcher, act: told apart by who descends from whom (an orphan among them is a launcher)."""
        roles: dict[str, list[int]] = {"daemon": [], "hands": [], "launcher": [], "act": []}
        parents = self.processes()
        daemon = self.process.pid if self.process is not None else 0
        for pid, parent in parents.items():
            if pid == daemon:
                roles["daemon"].append(pid)
            elif parent == daemon:
                roles["hands"].append(pid)
            elif parents.get(parent) == daemon or parent not in parents:
                roles["launcher"].append(pid)
            else:
                roles["act"].append(pid)
        return roles

    def kill(self, whom: str) -> bool:
        """SIGKILL to the daemon, hands, a launcher, an act, or all of them; False when there is none."""
        roles = self.by_role()
        pids = [pid for role in roles.values() for pid in role] if whom == "all" else roles[whom][:1]
        killed = [pid for pid in pids if kill(pid, self.is_ours)]
        if self.process is not None and self.process.pid in killed:
            self.process.wait(DEADLINE_S)
        return bool(killed)

    def wait_for(self, whom: str, at_most_s: float = 1.0) -> None:
        """Until there is such a process; it may have come and gone unseen, so not for long."""
        deadline = time.monotonic() + at_most_s
        while not self.by_role().get(whom) and self.runs() and time.monotonic() < deadline:
            time.sleep(0.001)

    def acting(self) -> bool:
        """Whether anything is carried out just now."""
        roles = self.by_role()
        return any(not is_keeper(pid) for pid in (*roles["launcher"], *roles["act"]))

    # --- what must hold

    def events(self) -> list[Event]:
        return [event for event, _ in FolderReader(OsFiles(), str(self.state / "events")).read()]

    def effects(self) -> list[Effect]:
        path = self.folder / "effects"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [Effect(skill, run, step, int(attempt), tag) for skill, run, step, attempt, tag in rows]

    def open_ends(self) -> list[str]:
        """What a daemon that has had its time owes nobody any more."""
        events = self.events()
        return [
            *laws.lines_are_taken_once(self.written, events),
            *laws.everything_is_dealt_with(events, lambda event: event.type.startswith("work.")),
            *laws.every_run_ends(events),
        ]

    def quiet(self) -> None:
        """Wait until everything that was put in has come to its end."""
        deadline = time.monotonic() + DEADLINE_S
        while owed := self.open_ends():
            assert self.runs(), f"the daemon ended by itself:\n{self.log()}"
            assert time.monotonic() < deadline, f"{owed}\n{self.log()}"
            time.sleep(LOOK_S)

    def traced_until_quiet(self, trace: Path) -> None:
        """Let a daemon under strace go on until it dies, or all is quiet; whether anything was killed stands in `was_killed`."""
        over = lambda: not self.runs() or (not self.open_ends() and self.is_ready())  # noqa: E731
        self.until(over, "it dies, or all is quiet", LOOK_S)
        self.was_killed = any(line.endswith("= ?") for line in trace.read_text(errors="replace").splitlines())

    def broken_laws(self) -> list[str]:
        events, effects = self.events(), self.effects()
        taken = Counter(event.id for event in events)
        return [
            *self.open_ends(),
            *(f"emit {tag} was acknowledged and is there {taken[tag]} times" for tag in self.acknowledged if taken[tag] != 1),
            *laws.no_effect_without_intent(events, effects),
            *laws.an_attempt_is_carried_out_once(effects),
            *laws.attempts_are_counted(events),
            *laws.effects_fit_the_rerun_class(events, effects, CLASSES),
            *laws.no_run_twice(events),
            *laws.one_run_on_a_resource(events),
            *_effects_fit_the_end(events, effects),
        ]


def _effects_fit_the_end(events: Sequence[Event], effects: Sequence[Effect]) -> list[str]:
    """A healed run has had its effect; what may not be repeated has it once at most."""
    healed = {event.data["run"] for event in events if event.type == "run.healed"}
    kind_of = {event.data["run"]: event.data["playbook"] for event in events if event.type == "run.opened"}
    counts = {run: sum(effect.run == run for effect in effects) for run in kind_of}
    wrong = [f"run {run} of {kind_of[run]} healed and had no effect" for run in healed if not counts[run]]
    return wrong + [
        f"run {run} of {kind_of[run]} had {n} effects"
        for run, n in counts.items()
        if n > 1 and kind_of[run] != "count-idempotent"
    ]


def is_keeper(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "aios-keeper\n"
    except OSError:
        return False


def kill(pid: int, still: Callable[[int], bool]) -> bool:
    """SIGKILL, through a pidfd, if it is still who we think it is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not still(pid):
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
