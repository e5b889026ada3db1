"""Managed services and agents, acted upon: start, stop, restart, each with its proof.

Used by skills' bodies, in a process of their own, behind the `ServiceActs` port; blocking. The intent is on disk before the act,
so that the watching side (`managed`) tells our own stop from a fall. The start itself is the keeper's, given as an argument.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aios.errors import Permanent, Temporary
from aios.ports import Limits, Processes, ProcessId, UnitState
from aios.services.records import Intent, Records, Want
from aios.services.spec import ManagedService

KILL_WAIT_S = 2.0
"""After SIGKILL a process is gone at once, or it hangs in the kernel and no signal helps."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the keeper is asked to start. `name` is unique over services and agents."""

    name: str
    argv: tuple[str, ...]
    folder: str
    env: Mapping[str, str]
    user: str


StartKept = Callable[[Kept, str, str, int], ProcessId]
"""`start_kept(spec, folder, log_path, lock)`: returns once the program runs, raises `Permanent` when it cannot.

It holds the lock, too, until the life is written down: we may be killed before.
"""


class ManagedActs:
    """Implements `ServiceActs` for the subjects of the settings."""

    def __init__(
        self,
        specs: Sequence[ManagedService],
        folder: str,
        processes: Processes,
        start_kept: StartKept,
        log_folder: str = "",
    ) -> None:
        self._specs = {spec.subject: spec for spec in specs}
        self._records = Records(folder)
        self._processes, self._start_kept = processes, start_kept
        self._log_folder = log_folder or folder

    def knows(self, subject: str) -> bool:
        return subject in self._specs

    # --- the port

    def state(self, subject: str) -> UnitState:
        spec = self._specs.get(subject)
        if spec is None:
            return UnitState(subject, "missing", "managed", detail="not in the settings")
        life = self._records.life(spec.stem)
        log = life.log if life and life.log else self._log_path(spec)
        if life is not None and self._processes.alive(life.who):
            return UnitState(subject, "up", "managed", life.who.pid, life.started_at, enabled=spec.autostart, log_path=log)
        ending = self._records.ending(spec.stem, life.who) if life else None
        stopped = self._records.intent(spec.stem).want == "stopped" or (life is None and not spec.autostart)
        return UnitState(
            subject,
            "stopped" if stopped else "down",
            "managed",
            since=ending.at if ending else 0.0,
            enabled=spec.autostart,
            exit_status=str(ending) if ending else "",
            log_path=log,
        )

    def start(self, subject: str, timeout_s: float) -> UnitState:
        """Harmless when it runs already."""
        spec = self._spec(subject)
        with self._alone(spec) as lock:
            self._intend(spec, "up")
            if self._running(spec) is None:
                self._start(spec, lock)
            return self.state(subject)

    def stop(self, subject: str, timeout_s: float) -> UnitState:
        """Proven by the end of its process. Harmless when it does not run."""
        spec = self._spec(subject)
        with self._alone(spec):
            self._intend(spec, "stopped")
            who = self._running(spec)
            if who is not None:
                self._end(spec, who, timeout_s)
            return self.state(subject)

    def restart(self, subject: str, timeout_s: float) -> UnitState:
        spec = self._spec(subject)
        with self._alone(spec) as lock:
            before = self._running(spec)
            self._intend(spec, "up", stopping=before)
            if before is not None:
                self._end(spec, before, timeout_s)
            after = self._start(spec, lock)
            if after == before:
                raise Permanent(f"{subject} has the same process {after.pid} as before; it was not restarted")
            return self.state(subject)

    def set_enabled(self, subject: str, enabled: bool, masked: bool) -> None:
        spec = self._spec(subject)
        if masked or enabled != spec.autostart:
            raise Permanent(f"whether {subject} starts with the daemon stands in the settings; change `autostart` there")

    def reload(self, subject: str) -> None:
        """It has no files of its own."""

    def limits(self, subject: str) -> Limits:
        raise Permanent(f"{subject} has no control group of its own to limit; renice its process, or let systemd run it")

    def set_limits(self, subject: str, limits: Limits) -> None:
        self.limits(subject)

    # --- how

    def _spec(self, subject: str) -> ManagedService:
        spec = self._specs.get(subject)
        if spec is None:
            raise Permanent(f"{subject} is no managed service; list it under [[service]] in the settings")
        return spec

    @contextmanager
    def _alone(self, spec: ManagedService) -> Iterator[int]:
        """One act at a time on one service: two starts at once would start it twice. The kernel lets go when we are killed."""
        try:
            fd = os.open(f"{self._records.folder}/{spec.stem}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise Temporary(f"{spec.subject} cannot be locked: {error}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # said aloud, for a keeper that was just forked may still hold a copy
            os.close(fd)

    def _running(self, spec: ManagedService) -> ProcessId | None:
        life = self._records.life(spec.stem)
        return life.who if life is not None and self._processes.alive(life.who) else None

    def _intend(self, spec: ManagedService, want: Want, stopping: ProcessId | None = None) -> None:
        me = self._processes.identity(os.getpid())
        try:
            self._records.write_intent(spec.stem, Intent(want, stopping, me))
        except OSError as error:
            raise Temporary(f"what is wanted of {spec.subject} cannot be written down: {error}") from error

    def _start(self, spec: ManagedService, lock: int) -> ProcessId:
        kept = Kept(spec.key, spec.argv, spec.folder, spec.env, spec.user)
        who = self._start_kept(kept, self._records.folder, self._log_path(spec), lock)
        if not self._processes.alive(who):
            ending = self._records.ending(spec.stem, who)
            raise Temporary(f"{spec.subject} ended as soon as it had started ({ending or 'how is not known'}); its log says why")
        return who

    def _end(self, spec: ManagedService, who: ProcessId, timeout_s: float) -> None:
        """SIGTERM, a while, SIGKILL, to the whole process group; returns when it is gone. Raises `Temporary`."""
        with _Watched(who, self._processes) as watched:
            self._signal(spec, who, signal.SIGTERM)
            self._signal(spec, who, signal.SIGCONT)  # a stopped process hears nothing before it is continued
            gone = watched.gone_within(min(spec.stop_timeout_s, timeout_s))
            if not gone:
                self._signal(spec, who, signal.SIGKILL)
                gone = watched.gone_within(KILL_WAIT_S)
        if not gone:
            raise Temporary(f"{spec.subject} (process {who.pid}) does not end, not even by SIGKILL; the kernel holds it", 5.0)
        self._kill_rest(who)

    def _signal(self, spec: ManagedService, who: ProcessId, number: int) -> None:
        """To its whole group if it leads one, else through its pidfd to itself."""
        if not self._processes.alive(who):
            return
        try:
            if _leads_group(who.pid):
                os.killpg(who.pid, number)
            else:
                self._processes.signal(who, number)
        except ProcessLookupError:
            pass  # gone meanwhile
        except PermissionError as error:
            cure = "run AIOS as root, or that service as AIOS's own user"
            raise Permanent(f"{spec.subject} runs as a user whose processes AIOS may not signal; {cure}") from error

    def _kill_rest(self, who: ProcessId) -> None:
        """Children that outlived it would keep its port. Its number is not given again while its group has a member."""
        if self._processes.identity(who.pid) is not None:
            return
        try:
            os.killpg(who.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left

    def _log_path(self, spec: ManagedService) -> str:
        return spec.log or f"{self._log_folder}/{spec.stem}.log"


class _Watched:
    """Waits for a process that is not our child."""

    def __init__(self, who: ProcessId, processes: Processes) -> None:
        self._who, self._processes = who, processes
        self._fd = -1

    def __enter__(self) -> _Watched:
        try:
            self._fd = os.pidfd_open(self._who.pid)
        except ProcessLookupError:
            return self
        if not self._processes.alive(self._who):  # the number may have gone to another since
            self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def gone_within(self, seconds: float) -> bool:
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
