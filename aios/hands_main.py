"""The hands process: `python -m aios.hands_main STATE_DIR FD`, started by `aios/hands/client.py`. This page is its whole wiring.

Nothing here decides. It must stay small: no asyncio, no pydantic, no sensors.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from functools import partial

from aios.blobs.store import BlobFolder
from aios.clock import SystemClock
from aios.disk import OsFiles
from aios.errors import ConfigError, Permanent
from aios.events.calls import SkillCall, SkillResult
from aios.hands.keeper import start_kept
from aios.hands.processes import OsProcesses
from aios.hands.safe_files import SafeFolder
from aios.hands.server import Wiring, serve
from aios.ports import ServiceActs, UnitState
from aios.services.managed_acts import ManagedActs
from aios.services.spec import ManagedService
from aios.skills.api import ActContext, make_params
from aios.skills.catalogue import SkillBodies, dry_sentence, load_bodies


def main() -> None:
    state_dir, number = sys.argv[1:3]
    link = socket.socket(fileno=int(number))
    link.set_inheritable(False)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[1],) * 2)  # the daemon's limit is its own
    serve(link, assemble(state_dir))


def assemble(state_dir: str) -> Wiring:
    files, clock = OsFiles(), SystemClock()
    blobs = BlobFolder(files, f"{state_dir}/blobs", pack=False)
    bodies = load_bodies()

    def services(call: SkillCall) -> ServiceActs:
        managed = [ManagedService.from_json(raw) for raw in call.env.get("services", ())]
        start = partial(start_kept, files=files, clock=clock)
        return LazyActs(ManagedActs(managed, f"{state_dir}/services", OsProcesses(), start, f"{state_dir}/logs"))

    def body(call: SkillCall, folder: str, acts: ServiceActs, safe: SafeFolder) -> SkillResult:
        return act(bodies, call, ActContext(state_dir, call.env, acts, blobs, files, folder, call, safe, clock))

    def irreversible(skill: str) -> bool:
        return skill in bodies and bodies[skill].irreversible

    def warm(skill: str) -> None:
        """Load a skill before the fork, so that no launcher has to. Those that only look are never loaded here."""
        if skill in bodies:
            try:
                bodies[skill]
            except ConfigError as error:  # told as the act's result, too: its launcher tries again
                print(error, file=sys.stderr)

    return Wiring(state_dir, clock, blobs, services, body, files, irreversible, warm)


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
    return skill.act(params, ctx)


def looked_first(done: bool | None) -> SkillResult:
    """What is told instead of acting: the attempt before had its effect, or nobody can say."""
    if done:
        return SkillResult(True, {"already": True})
    error = "nobody can say whether the attempt before had its effect"
    return SkillResult(False, next=("human_check",), error=error)


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

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        self._of(subject).set_enabled(subject, enabled, masked)


if __name__ == "__main__":
    main()
