"""The hands process: `python -m aios.hands_main STATE_DIR CGROUP FD`, started by `aios/hands/client.py`.

This page is its whole wiring. Nothing here decides. It must stay small: no asyncio, no pydantic, no sensors.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aios.blobs.store import BlobFolder
from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.errors import ConfigError, Permanent, Temporary
from aios.events.calls import RerunClass, SkillCall, SkillResult
from aios.events.limits import UNSAID
from aios.events.limits import Limits as StepLimits
from aios.hands import interrupts, launcher, turn, undo
from aios.hands import limits as hold
from aios.hands.cgroups import find, prepare
from aios.hands.keeper import start_kept
from aios.hands.processes import OsProcesses
from aios.hands.safe_files import SafeFolder
from aios.hands.server import Wiring, serve
from aios.ports import Limits, ServiceActs, UnitState
from aios.services.managed_acts import ManagedActs
from aios.services.spec import ManagedService
from aios.skills.api import ActContext, Inverse, Skill, make_params
from aios.skills.catalogue import SkillBodies, dry_sentence, load_bodies


def main() -> None:
    state_dir, cgroup, number = sys.argv[1:4]
    link = socket.socket(fileno=int(number))
    link.set_inheritable(False)
    os.chdir("/")
    turn.ask_for_short_turns()
    interrupts.busiest()  # once, before the first fork
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[1],) * 2)  # the daemon's limit is its own
    serve(link, assemble(state_dir, cgroup))


def assemble(state_dir: str, cgroup: str = "") -> Wiring:
    files, clock = OsFiles(), SystemClock()
    blobs = BlobFolder(files, f"{state_dir}/blobs", pack=False)
    bodies, groups = load_bodies(), prepare(find(cgroup))

    def services(call: SkillCall) -> ServiceActs:
        managed = [ManagedService.from_json(raw) for raw in call.env.get("services", ())]
        start = partial(start_kept, files=files, clock=clock, groups=groups)
        return LazyActs(ManagedActs(managed, f"{state_dir}/services", OsProcesses(), start, f"{state_dir}/logs"))

    def body(call: SkillCall, folder: str, acts: ServiceActs, safe: SafeFolder, limits: StepLimits) -> SkillResult:
        harden = partial(hold.harden, limits.processes or 0)
        return act(bodies, call, ActContext(state_dir, call.env, acts, blobs, files, folder, call, safe, clock, limits, harden))

    def inverses(call: SkillCall, folder: str, acts: Callable[[], ServiceActs]) -> SkillInverses:
        safe = SafeFolder({}, "", files, blobs)  # an inverse changes no files: those are the snapshots' business
        return SkillInverses(bodies, lambda: ActContext(state_dir, call.env, acts(), blobs, files, folder, call, safe, clock))

    def irreversible(skill: str) -> bool:
        return skill in bodies and bodies[skill].irreversible

    def warm(skill: str) -> None:
        """Load a skill before the fork, so that no launcher has to. Those that only look are never loaded here."""
        if skill in bodies:
            try:
                bodies[skill]
            except ConfigError as error:  # told as the act's result, too: its launcher tries again
                print(error, file=sys.stderr)

    def limits_of(skill: str) -> StepLimits:
        try:
            return bodies[skill].limits if skill in bodies else UNSAID
        except ConfigError:  # it cannot be loaded: the act's own result tells
            return UNSAID

    return Wiring(state_dir, clock, blobs, services, body, files, inverses, irreversible, warm, limits_of, groups)


def act(bodies: SkillBodies, call: SkillCall, ctx: ActContext) -> SkillResult:
    """In the act's own process. After an attempt that was cut off (`recheck`) the skill's own look comes first."""
    if call.skill not in bodies:
        raise Permanent(f"there is no skill {call.skill!r} in hands; is the package that brings it installed?")
    skill = bodies[call.skill]
    if call.dry:
        return SkillResult(True, {"dry": dry_sentence(skill, call.params)})
    if skill.act is None:
        raise Permanent(f"skill {call.skill} only looks; the daemon runs it")
    params = make_params(skill, call.params)
    if call.env.get("recheck") and skill.already_done is not None:
        done = skill.already_done(params, ctx)
        if done is not False:
            return looked_first(done)
    if skill.inverse is not None and (not_seen := recorded(skill, skill.inverse, params, ctx)):
        return not_seen
    return skill.act(params, ctx)


def recorded(skill: Skill, inverse: Inverse, params: Any, ctx: ActContext) -> SkillResult | None:
    """How the thing stands, written down before the act; without that there is no act, and what is returned says so."""
    try:
        with sorted_errors(skill.name):
            done = undo.Done(skill.name, ctx.call.params, inverse.about(params), inverse.look(params, ctx))
        undo.record(ctx.files, ctx.folder, done)
    except (Permanent, Temporary, OSError) as error:
        why = f"nobody can say how it stands before the act, so no act: {error}"
        return launcher.not_begun(why, again=isinstance(error, Temporary))
    return None


@contextmanager
def sorted_errors(skill: str) -> Iterator[None]:
    """What anybody's code may raise, as one of our two kinds."""
    try:
        yield
    except (Permanent, Temporary):
        raise
    except Exception as error:
        raise Permanent(f"{skill}: {type(error).__name__}: {error}") from error


def looked_first(done: bool | None) -> SkillResult:
    """What is told instead of acting: the attempt before had its effect, or nobody can say."""
    if done:
        return SkillResult(True, {"already": True})
    error = "nobody can say whether the attempt before had its effect"
    return SkillResult(False, next=("human_check",), error=error)


@dataclass(frozen=True, slots=True)
class SkillInverses:
    """`undo.Inverses`, as the skills say it."""

    bodies: SkillBodies
    context: Callable[[], ActContext]

    def look(self, done: undo.Done) -> Mapping[str, Any]:
        with sorted_errors(done.skill):
            skill, inverse = self._of(done)
            return inverse.look(make_params(skill, done.params), self._context_of(skill, done.params))

    def inverse(self, done: undo.Done, now: Mapping[str, Any]) -> undo.Inverse | None:
        with sorted_errors(done.skill):
            skill, inverse = self._of(done)
            found = inverse.undo(make_params(skill, done.params), done.before, now)
        return None if found is None else undo.Inverse(found.skill, found.params)

    def rerun(self, skill: str) -> RerunClass:
        return self._skill(skill).rerun

    def carry_out(self, inverse: undo.Inverse, *, recheck: bool) -> SkillResult:
        with sorted_errors(inverse.skill):
            skill = self._skill(inverse.skill)
            ctx = self._context_of(skill, inverse.params)
            params = make_params(skill, inverse.params)
            if recheck and skill.already_done is not None and (done := skill.already_done(params, ctx)) is not False:
                return looked_first(done)
            if skill.act is None:
                raise Permanent(f"{inverse.skill} does not act, so it takes nothing back")
            return skill.act(params, ctx)

    def _skill(self, name: str) -> Skill:
        if name not in self.bodies:
            raise Permanent(f"there is no skill {name!r} in hands; is the package that brings it installed?")
        return self.bodies[name]

    def _of(self, done: undo.Done) -> tuple[Skill, Inverse]:
        skill = self._skill(done.skill)
        if skill.inverse is None:
            raise Permanent(f"{done.skill} does not say any more how it is taken back")
        return skill, skill.inverse

    def _context_of(self, skill: Skill, params: Mapping[str, Any]) -> ActContext:
        ctx = self.context()
        return replace(ctx, call=replace(ctx.call, skill=skill.name, params=params, timeout_s=skill.timeout_s))


class LazyActs:
    """`ServiceActs` over both backends; what speaks to systemd is loaded by the launcher that needs it, and by no other."""

    def __init__(self, managed: ManagedActs) -> None:
        self._managed = managed
        self._systemd: ServiceActs | None = None

    def _of(self, subject: str) -> ServiceActs:
        if self._managed.knows(subject) or subject.startswith("agent:"):
            return self._managed
        if self._systemd is None:
            from aios.services.systemd_acts import SystemdActs  # asyncio and dbus-fast cost 15 MB

            self._systemd = SystemdActs()
        return self._systemd

    def state(self, subject: str) -> UnitState:
        return self._of(subject).state(subject)

    def start(self, subject: str, timeout_s: float) -> UnitState:
        return self._of(subject).start(subject, timeout_s)

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        return self._of(subject).stop(subject, timeout_s)

    def restart(self, subject: str, timeout_s: float) -> UnitState:
        return self._of(subject).restart(subject, timeout_s)

    def reload(self, subject: str) -> None:
        self._of(subject).reload(subject)

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self._of(subject).set_enabled(subject, enabled, masked)

    def limits(self, subject: str) -> Limits:
        return self._of(subject).limits(subject)

    def set_limits(self, subject: str, limits: Limits) -> None:
        self._of(subject).set_limits(subject, limits)


if __name__ == "__main__":
    main()
