"""What simulated skills do: bodies as generators that say how much time passes, so that they can be killed between any two steps.

`SKILLS` is the catalogue. A body yields seconds and returns its `SkillResult`; whoever drives it (`looker.py` in the daemon's
life, `hands.py` in the life of an act's process) lets that time pass. `count_…` leave one line an execution, synced, in a file
that belongs to nobody: the effect outside that survives every crash and by which the laws of re-running are checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.entropy import Entropy
from aios.errors import Permanent, Temporary
from aios.events.calls import Kind, RerunClass, SkillCall, SkillResult, SkillSpec, Touches, failed
from aios.testing.disk import SimDisk
from aios.testing.loop import VirtualClock
from aios.testing.services import SimActs, SimUnits

EFFECTS = "/effects"
"""Folder of the effects: outside the state folder, one file a skill."""

Body = Generator[float, None, SkillResult]


@dataclass(frozen=True, slots=True)
class Box:
    """What a body may touch, as seen by the process it runs in."""

    files: SimDisk
    units: SimUnits
    acts: SimActs
    clock: VirtualClock
    entropy: Entropy


class Effect(NamedTuple):
    """One execution of an act that counts."""

    skill: str
    run: str
    step: str
    attempt: int
    tag: str


def read_effects(disk: SimDisk) -> list[Effect]:
    """All that acts left outside, each skill's in the order in which it happened."""
    found = []
    for path, data in disk.tree(EFFECTS).items():
        skill = path.removeprefix(f"{EFFECTS}/").removesuffix(".log")
        for line in data.decode().splitlines():
            run, step, attempt, tag = line.split(" ", 3)
            found.append(Effect(skill, run, step, int(attempt), tag))
    return found


@dataclass(frozen=True, slots=True)
class SimInverse:
    """How the thing that an act changes stands, and what leads back: skill and parameters, or nothing."""

    about: Callable[[Mapping[str, Any]], str]
    look: Callable[[Mapping[str, Any], Box], Mapping[str, Any]]
    undo: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], tuple[str, Mapping[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class SimSkill:
    """A skill of the simulated world. `already_done` is what `check_before_retry` asks: yes, no, or cannot say."""

    name: str
    kind: Kind
    body: Callable[[SkillCall, Box], Body]
    doc: str
    params: Mapping[str, Any] = field(default_factory=dict)
    rerun: RerunClass = "idempotent"
    already_done: Callable[[SkillCall, Box], bool | None] | None = None
    touches_unit: bool = False
    timeout_s: float = 10.0
    inverse: SimInverse | None = None

    def spec(self) -> SkillSpec:
        """The skill as the brains see it."""
        return SkillSpec(
            name=self.name,
            kind=self.kind,
            doc=self.doc,
            schema={"type": "object"},
            check=self.check,
            touches=self.touches,
            rerun=self.rerun,
            timeout_s=self.timeout_s,
            has_inverse=self.inverse is not None,
        )

    def check(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(raw) - set(self.params))
        if unknown:
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; it has {', '.join(self.params) or 'none'}")
        return {**self.params, **raw}

    def touches(self, checked: Mapping[str, Any]) -> Touches:
        return Touches(units=(str(checked["unit"]),)) if self.touches_unit else Touches()


# --- bodies that look


def _service_check(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.001, 0.02)
    state = box.units.seen(str(call.params["unit"]))
    if state.state in {"unknown", "missing"}:
        return SkillResult(ok=False, result={"verdict": "no_data", "state": state.state}, error="nobody knows this service")
    well = state.state == "up"
    return SkillResult(ok=well, result={"verdict": "well" if well else "not_well", "state": state.state})


def _http_check(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.001, 0.05)
    unit = box.units.units.get(str(call.params["unit"]))
    if unit is None:
        return SkillResult(ok=False, result={"verdict": "no_data"}, error="nobody serves this address")
    if unit.word == "up" and not unit.serves:
        yield float(call.params["hang_s"])
    well = unit.word == "up" and unit.serves
    return SkillResult(ok=well, result={"verdict": "well" if well else "not_well", "status": 200 if well else 0})


def _read_logs(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.001, 0.1)
    unit = box.units.units.get(str(call.params["unit"]))
    lines = [f"{call.params['unit']} started {unit.starts} times, fell {unit.falls} times"] if unit is not None else []
    return SkillResult(ok=True, result={"lines": lines, "count": len(lines)})


def _no_data_check(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.001, 0.01)
    return SkillResult(ok=False, result={"verdict": "no_data"}, error=f"{call.skill} never knows")


# --- bodies that act


def _restart(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.01, 0.3)
    yield from _asked(call, box)
    try:
        state = box.acts.restart(str(call.params["unit"]), call.timeout_s)
    except Temporary as error:
        return SkillResult(ok=False, next=("retry",), error=str(error))
    except Permanent as error:
        return failed(str(error))
    yield box.entropy.uniform(0.01, 0.5)
    return SkillResult(ok=True, result={"pid": state.pid})


def _asked(call: SkillCall, box: Box) -> Generator[float, None, None]:
    """The job that systemd is asked for: done late, or never answered, which takes as long as an answer is waited for."""
    yield call.timeout_s / 2.0 if box.units.deaf else box.entropy.uniform(0.0, box.units.late_s)


def _stop(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.01, 0.3)
    yield from _asked(call, box)
    try:
        box.acts.stop(str(call.params["unit"]), call.timeout_s)
    except Temporary as error:
        return SkillResult(ok=False, next=("retry",), error=str(error))
    except Permanent as error:
        return failed(str(error))
    return SkillResult(ok=True)


def _set_unit(call: SkillCall, box: Box) -> Body:
    """Enablement and mask as asked."""
    yield box.entropy.uniform(0.01, 0.3)
    yield from _asked(call, box)
    try:
        box.acts.set_enabled(str(call.params["unit"]), bool(call.params["enabled"]), bool(call.params["masked"]))
    except Temporary as error:
        return SkillResult(ok=False, next=("retry",), error=str(error))
    except Permanent as error:
        return failed(str(error))
    yield box.entropy.uniform(0.01, 0.3)
    return SkillResult(ok=True)


def effect_line(call: SkillCall) -> bytes:
    """One execution's trace: run, step, attempt, and what it was asked to count."""
    return f"{call.run} {call.step} {call.attempt} {call.params['tag']}\n".encode()


def effects_path(skill: str) -> str:
    return f"{EFFECTS}/{skill}.log"


def _count(call: SkillCall, box: Box) -> Body:
    """The effect is one synced line; time passes before it and after it, so that a kill may fall on either side."""
    yield box.entropy.uniform(0.0, float(call.params["busy_s"]))
    fd = box.files.open(effects_path(call.skill), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    box.files.write(fd, effect_line(call))
    box.files.fsync(fd)
    box.files.fsync_dir(EFFECTS)
    box.files.close(fd)
    yield box.entropy.uniform(0.0, float(call.params["busy_s"]))
    if box.entropy.uniform(0.0, 1.0) < float(call.params["fails"]):
        return SkillResult(ok=False, next=("retry",), error="the effect is there, and yet it says that it failed")
    return SkillResult(ok=True, result={"counted": 1})


def _counted(call: SkillCall, box: Box) -> bool | None:
    """Whether this step of this run has left its line, by whatever attempt."""
    path = effects_path(call.skill)
    if not box.files.exists(path):
        return False
    begin = f"{call.run} {call.step} ".encode()
    return any(line.startswith(begin) for line in box.files.read(path).splitlines())


def _counted_check(call: SkillCall, box: Box) -> Body:
    """Well once the effect of this tag is there: the symptom that only an act can cure."""
    yield box.entropy.uniform(0.001, 0.01)
    path = effects_path(str(call.params["skill"]))
    tag = f" {call.params['tag']}".encode()
    lines = box.files.read(path).splitlines() if box.files.exists(path) else []
    well = any(line.endswith(tag) for line in lines)
    return SkillResult(ok=well, result={"verdict": "well" if well else "not_well"})


def _hang(_call: SkillCall, _box: Box) -> Body:
    """Never comes back by itself: only its timeout ends it."""
    while True:
        yield 60.0


def _die(_call: SkillCall, _box: Box) -> Body:
    """Ends without a result, as a body that the kernel killed."""
    yield 0.01
    raise BodyDied


class BodyDied(BaseException):
    """A body's process ends here without leaving a result."""


def _start(call: SkillCall, box: Box) -> Body:
    yield box.entropy.uniform(0.01, 0.3)
    try:
        state = box.acts.start(str(call.params["unit"]), call.timeout_s)
    except Temporary as error:
        return SkillResult(ok=False, next=("retry",), error=str(error))
    except Permanent as error:
        return failed(str(error))
    return SkillResult(ok=True, result={"pid": state.pid})


def _runs(params: Mapping[str, Any], box: Box) -> Mapping[str, Any]:
    return {"state": box.acts.state(str(params["unit"])).state}


def _runs_again(
    params: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]] | None:
    if before["state"] == "up" and now["state"] != "up":
        return "start_service", {"unit": params["unit"]}
    if before["state"] == "stopped" and now["state"] != "stopped":
        return "stop_service", {"unit": params["unit"]}
    return None


_RUNNING = SimInverse(lambda params: f"{params['unit']} (running)", _runs, _runs_again)
_UNIT: Mapping[str, Any] = {"unit": "web.service"}
_COUNT: Mapping[str, Any] = {"tag": "", "busy_s": 0.2, "fails": 0.0}

SKILLS: Mapping[str, SimSkill] = {
    skill.name: skill
    for skill in (
        SimSkill("service_check", "verify", _service_check, "Whether a service runs.", _UNIT),
        SimSkill("http_check", "verify", _http_check, "Whether a service answers.", {**_UNIT, "hang_s": 60.0}),
        SimSkill("no_data_check", "verify", _no_data_check, "Never knows."),
        SimSkill("read_logs", "observe", _read_logs, "What a service said.", _UNIT),
        SimSkill("service_status", "observe", _service_check, "How a service stands.", _UNIT),
        SimSkill("restart_service", "act", _restart, "Starts a service again.", _UNIT, touches_unit=True),
        SimSkill("stop_service", "act", _stop, "Stops a service.", _UNIT, touches_unit=True, inverse=_RUNNING),
        SimSkill("start_service", "act", _start, "Starts a service.", _UNIT, touches_unit=True, inverse=_RUNNING),
        SimSkill(
            "set_unit", "act", _set_unit, "Enables and masks.", {**_UNIT, "enabled": True, "masked": False}, touches_unit=True
        ),
        SimSkill("count_idempotent", "act", _count, "Counts; may be run again.", _COUNT),
        SimSkill("count_checked", "act", _count, "Counts; looks first.", _COUNT, "check_before_retry", _counted),
        SimSkill("count_never", "act", _count, "Counts; never again.", _COUNT, "never_retry"),
        SimSkill("counted_check", "verify", _counted_check, "Whether it was counted.", {"skill": "", "tag": ""}),
        SimSkill("hang", "act", _hang, "Hangs until its timeout.", timeout_s=5.0),
        SimSkill("die", "act", _die, "Dies without a result."),
    )
}


def specs(skills: Mapping[str, SimSkill] = SKILLS) -> dict[str, SkillSpec]:
    """The catalogue as the brains want it."""
    return {name: skill.spec() for name, skill in skills.items()}
