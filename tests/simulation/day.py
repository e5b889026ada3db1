"""A day on the simulated machine: a list of happenings (`happenings.py`) is played, then the faults stop and it gets quiet.

`Day.run` plays it and gives back a `History` for the laws. The daemon is started (again and again, as systemd would) through
the function that was passed in; nothing here knows what is inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios.daemon.life import Daemon
from aios.events.calls import SkillCall
from aios.events.codec import decode_json
from aios.events.event import Event, Position, Stored
from aios.hands.attempt import MANIFEST
from aios.playbooks.run import Run
from aios.ports import Peer
from aios.testing.bodies import Effect, read_effects
from aios.testing.faults import Fault
from aios.testing.hands import Mishap
from aios.testing.loop import outside
from aios.testing.machine import STATE_DIR, SimMachine
from aios.testing.processes import SimProcess
from aios.world import World
from tests.simulation.files import is_saved, standing
from tests.simulation.guard_laws import Refold, refolded
from tests.simulation.happenings import UNITS, Happening
from tests.simulation.laws import Acknowledged, Attempt, Began, Restored, Setting

INBOX = f"{STATE_DIR}/inbox/story.jsonl"
CAPACITY = 1 << 40
COMMIT_S = 0.0002
ANSWERS_S = 10.0
OPEN = frozenset(
    f"run.{word}"
    for word in ("opened", "step_intended", "step_done", "waiting", "not_healed", "unknown", "rung_done", "rolled_back")
)
ACTORS = ("launcher:", "recovery:", "act:")


@dataclass(slots=True)
class History:
    """What there is to judge afterwards."""

    seed: int
    stored: list[Stored]
    effects: list[Effect]
    lines: list[str]
    acknowledged: list[Acknowledged]
    began: list[Began]
    restored: list[Restored]
    lied: frozenset[str]
    left: list[str]
    """Processes of attempts that live after the quiet end."""
    starts: int
    power_cuts: int
    journal: dict[str, bytes]
    hours: float
    happened: frozenset[str]
    """Kinds of happenings."""
    calls: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of this day, over those of `assembly`."""
    recall: Callable[[str], bytes] = lambda _name: b""
    """A blob, by its name."""
    known: World | None = None
    """What the last life knew at the end; None where none lived."""
    _again: Refold | None = None

    @property
    def again(self) -> Refold:
        """The journal, folded once more."""
        if self._again is None:
            self._again = refolded(self.stored, self.recall)
        return self._again

    @property
    def events(self) -> list[Event]:
        return [stored.event for stored in self.stored]


StartDaemon = Callable[["Day"], SimProcess]
ReadJournal = Callable[[SimMachine], list[Stored]]


@dataclass(slots=True)
class Day:
    machine: SimMachine
    plan: Sequence[Happening]
    start_daemon: StartDaemon
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    recall: Callable[[str], bytes] = lambda _name: b""
    lines: list[str] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    began: list[Began] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)
    starts: int = 0
    daemon: SimProcess | None = None
    over: bool = False
    commit_s: float = COMMIT_S
    """How long after it was asked for a commit of the journal happens."""
    _cancel_at: int = 0
    _daemon: Daemon | None = None
    _on_disk: set[Attempt] = field(default_factory=set)
    _touched: dict[str, set[str]] = field(default_factory=dict)
    """Run -> the files that its acts have touched."""

    async def run(self, hours: float, quiet_s: float, read: ReadJournal) -> History:
        """What is planned for so many hours, then quiet for so long."""
        clock = self.machine.clock
        for subject, (heals, needs) in UNITS.items():
            self.machine.units.add(subject, heals, needs)
        self.machine.hands.before_act = self._before_act
        began = clock.monotonic()
        self._start()
        for happening in self.plan:
            if began + happening.at > clock.monotonic():
                await clock.sleep_until(began + happening.at)
            getattr(self, f"do_{happening.do}")(**happening.args)
        await clock.sleep_until(began + hours * 3600.0)
        self._calm_down()
        if self.settings:
            self._be_there()
        await clock.sleep_until(clock.monotonic() + quiet_s)
        self.over = True
        left = [process.name for process in self.machine.processes.living() if process.name.startswith(ACTORS)]
        if self.daemon is not None:
            self.machine.processes.kill(self.daemon)
        return self._history(hours, left, read)

    def _history(self, hours: float, left: list[str], read: ReadJournal) -> History:
        disk = self.machine.disk
        return History(
            seed=self.seed,
            calls=disk.calls,
            stored=read(self.machine),
            effects=read_effects(disk),
            lines=self.lines,
            acknowledged=self.acknowledged,
            began=self.began,
            restored=self.restored,
            lied=frozenset(self.machine.hands.lied),
            left=left,
            starts=self.starts,
            power_cuts=self.machine.power_cuts,
            journal=disk.tree(f"{STATE_DIR}/events"),
            hours=hours,
            happened=frozenset(happening.do for happening in self.plan),
            settings=self.settings,
            recall=self.recall,
            known=self._daemon.world if self._daemon is not None and self.daemon is not None else None,
        )

    def _calm_down(self) -> None:
        """Everything works from here on."""
        self.machine.disk.mend()
        self.machine.disk.limit(CAPACITY)
        self._slow(0.0)
        self.machine.hands.mishaps.clear()
        self.machine.units.deaf = False
        self.machine.units.late_s = 0.02
        for unit in self.machine.units.units.values():
            unit.heals = 1.0

    def _be_there(self) -> None:
        """Where settings hold back until a person has spoken, somebody is there in the quiet time: answers, and ends storms."""
        if self.over:
            return
        daemon = self._daemon
        if daemon is not None:
            for run in [run for run in daemon.world.runs.values() if run.asked is not None]:
                self._answer(run, yes=True)
            if daemon.world.guards.storming:
                self._verb("resume", {})
        self._after(ANSWERS_S, self._be_there)

    # --- the daemon, as systemd keeps it

    def _start(self) -> None:
        if self.over or (self.daemon is not None and self.daemon.alive):
            return
        self.starts += 1
        self.daemon = self.start_daemon(self)
        self.daemon.life.on_death.append(self._start_soon)

    def _start_soon(self) -> None:
        if not self.over:
            self.machine.loop.call_later(self.machine.chance.uniform(0.1, 3.0), self._start)

    # --- what is noted at the edges

    def meet(self, daemon: Daemon) -> None:
        """The daemon that people talk to from now on."""
        self._daemon = daemon

    def durable(self, event: Event, position: Position) -> None:
        """The daemon was told that this is on the disk: is it?"""
        path = f"{STATE_DIR}/events/{position.day}.{position.part}.jsonl"
        on_disk = event.id.encode() in self.machine.disk.durable(path, position.offset, 300)
        self.acknowledged.append(Acknowledged(event.id, on_disk))
        if self._cancel_at and event.type in OPEN:
            self._cancel_at -= 1
            if not self._cancel_at:
                self.machine.loop.call_soon(self._verb, "cancel", {"run": event.data["run"]}, context=outside())
        if event.type == "run.step_intended" and on_disk:
            self._on_disk.add(Attempt(event.data["run"], event.data["step"], event.data["attempt"]))
        elif event.type == "daemon.act_intended" and on_disk:
            self._on_disk.add(attempt_of(event.data["key"]))
        elif event.type == "run.rolled_back":
            files = {path: standing(path) for path in self._touched.get(event.data["run"], ())}
            self.restored.append(Restored(event, bool(event.data["ok"]), self._settings(), files))

    def _before_act(self, call: SkillCall) -> None:
        attempt = attempt_of(call.key)
        manifest = f"{STATE_DIR}/{call.folder}/{MANIFEST}"
        touches = bool(call.touches.files or call.touches.units)
        written = self.machine.disk.durable(manifest) if touches else b""
        saved = not touches or bool(written)
        files = {path: standing(path) for path in call.touches.files}
        if files:
            saved = saved and is_saved(decode_json(written), files, self.machine.disk)
            self._touched.setdefault(attempt.run, set()).update(files)
        settings = {unit: setting for unit, setting in self._settings().items() if unit in call.touches.units}
        self.began.append(Began(attempt, attempt in self._on_disk, saved, settings, files))

    def _settings(self) -> dict[str, Setting]:
        return {
            unit.subject: Setting(unit.enabled, unit.masked, unit.word == "up", unit.falls)
            for unit in self.machine.units.units.values()
        }

    # --- work, and services that fall

    def do_append(self, line: str, id: str = "") -> None:
        """The faults of the story are the daemon's; whoever writes here got its line onto the disk."""
        if id:
            self.lines.append(id)
        with self.machine.disk.spared():
            self.machine.disk.append(INBOX, line.encode("latin-1"), durable=True)

    def do_fall(self, unit: str) -> None:
        self.machine.units.crash(unit)

    def do_hang(self, unit: str) -> None:
        self.machine.units.hang(unit)

    # --- kills, and the power

    def do_kill_daemon(self) -> None:
        if self.daemon is not None:
            self.machine.processes.kill(self.daemon)

    def do_stop_daemon(self) -> None:
        """In order; one that is not ready yet is killed."""
        if self.daemon is None or not self.daemon.alive:
            return
        if self._daemon is not None and self._daemon.ready.is_set():
            self.daemon.life.run(self._daemon.stop, "SIGTERM")
        else:
            self.machine.processes.kill(self.daemon)

    def do_rot(self, where: float) -> None:
        for path, data in self.machine.disk.tree(f"{STATE_DIR}/events").items():
            if data:
                self.machine.disk.flip(path, int(where * (len(data) - 1)))

    def do_kill_at_call(self, nth: int) -> None:
        """Whoever makes the n-th changing call below the state folder from now dies at it: daemon, launcher or recovery."""
        self.machine.disk.fail(Fault("any", first=nth, kill=True, path=f"{STATE_DIR}/"))

    def do_power_cut(self) -> None:
        self.machine.power_cut()

    def do_hands_dies(self) -> None:
        for process in self.machine.processes.named("hands"):
            self.machine.processes.kill(process)

    def do_mishap(self, kind: str, nth: int, seconds: float = 0.0) -> None:
        self.machine.hands.mishaps.append(Mishap(kind, nth, seconds))

    # --- the disk, the clock, the bus

    def do_disk_fails(self, kind: str, first: int, last: int, path: str, error: int = 0, keep: int = -1) -> None:
        self.machine.disk.fail(Fault(kind, first, last, error=error, keep=keep, path=path))

    def do_disk_full(self, room: int, for_s: float) -> None:
        disk = self.machine.disk
        disk.limit(disk.used + room)
        self._after(for_s, lambda: disk.limit(CAPACITY))

    def do_disk_slow(self, sync_s: float, for_s: float) -> None:
        self._slow(sync_s)
        self._after(for_s, lambda: self._slow(0.0))

    def _slow(self, sync_s: float) -> None:
        self.machine.disk.slow(sync_s)
        self.commit_s = max(sync_s, COMMIT_S)  # on its own thread, so that the daemon goes on meanwhile

    def do_leap(self, seconds: float) -> None:
        self.machine.clock.leap(seconds)

    def do_bus_deaf(self, for_s: float) -> None:
        self.machine.units.deaf = True
        self._after(for_s, lambda: setattr(self.machine.units, "deaf", False))

    def do_bus_late(self, late_s: float, for_s: float) -> None:
        self.machine.units.late_s = late_s
        self._after(for_s, lambda: setattr(self.machine.units, "late_s", 0.02))

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self.machine.loop.call_later(seconds, call)

    # --- people: all of it through the door that the command line has, too

    def do_answer(self, which: float, yes: bool) -> None:
        """A person looks at what waits for an answer, and at what was only suggested, and says yes or no to one of them."""
        self._say("answer", "asking", which, yes)

    def do_cancel(self, nth: int) -> None:
        """At the n-th word of an open run from now on, in the midst of whatever it is doing."""
        self._cancel_at = nth

    def do_take_back(self, which: float) -> None:
        self._say("rollback", "ended", which)

    def do_try_again(self, which: float) -> None:
        self._say("retry", "ended", which)

    def do_pause(self, for_s: float) -> None:
        self._verb("pause", {})
        self._after(for_s, lambda: self._verb("resume", {}))

    def do_silence(self, what: str, playbook: str, for_s: float, ends_s: float) -> None:
        """Some are ended before their time."""
        about = {"all": True} if what == "*" else {"what": what} if what else {}
        self._verb("silence", {**about, "playbook": playbook, "for": f"{for_s:.0f}s"})
        if ends_s < for_s:
            self._after(ends_s, lambda: self._verb("silence_end", {"all": True}))

    def _say(self, verb: str, of: str, which: float, yes: bool = True) -> None:
        if self._daemon is None:
            return
        world = self._daemon.world
        runs = {
            "asking": [
                *(run for run in world.runs.values() if run.asked is not None),
                *(run for run in world.recent.values() if run.status == "suggested"),
            ],
            "ended": [run for run in world.recent.values() if run.acted],
        }[of]
        if runs:
            run = runs[min(len(runs) - 1, int(which * len(runs)))]
            if verb == "answer":
                self._answer(run, yes)
            else:
                self._verb(verb, {"run": run.id})

    def _answer(self, run: Run, yes: bool) -> None:
        words = list((run.asked or {}).get("choices") or ("yes", "no"))
        self._verb("answer", {"run": run.id, "choice": words[0 if yes else -1]})

    def _verb(self, verb: str, args: Mapping[str, Any]) -> None:
        daemon, process = self._daemon, self.daemon
        if daemon is not None and process is not None and process.alive and daemon.ready.is_set():
            process.life.spawn(_asked(daemon, verb, args))


def attempt_of(key: str) -> Attempt:
    """Of RUN/STEP.ATTEMPT."""
    run, _, rest = key.partition("/")
    step, _, number = rest.rpartition(".")
    return Attempt(run, step, int(number))


ANN = Peer(pid=4242, uid=1000, name="ann")


async def _asked(daemon: Daemon, verb: str, args: Mapping[str, Any]) -> None:
    """A refusal is an answer, too; anything else that rises is a bug."""
    await daemon.verbs(ANN, verb, args)
