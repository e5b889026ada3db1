"""The hands process: takes calls from its socket and forks a launcher for each. Single-threaded; ends at the socket's end.

Wired by `hands_main`. A launcher is one fork, in a session of its own, that nobody waits for, so it outlives hands. It holds the
socket too and tells the daemon itself, so that a result needs no third process to arrive. Messages are JSON, one a
packet (SOCK_SEQPACKET):

    daemon → hands   {"do": "start", "call": …} · {"do": "recover", "call": …} · {"do": "ping", "n": 7}
    hands → daemon   {"say": "launched", "key": …, "pid": …, "start": …, "boot_id": …} · {"say": "pong", "n": 7}
                     {"say": "recovering", "key": …, "pid": …, "start": …, "boot_id": …}
    launcher → …     {"say": "done", "key": …, "result": …} · {"say": "fate", "key": …, "fate": …, …}

A launcher that cannot send (the daemon is gone, or its socket is full) leaves its result where recovery finds it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aios.clock import Clock
from aios.errors import Permanent
from aios.events.calls import SkillCall, SkillResult, failed
from aios.events.codec import decode_json, encode_json
from aios.events.limits import Limits
from aios.hands import acting, attempt, cgroups, changes, keep, latest, launcher, limits, proc, recovery, snapshot
from aios.hands.keeper import kept_lives
from aios.hands.rollback import more_time_s, rollback
from aios.hands.safe_files import SafeFolder
from aios.hands.scan import Bounds
from aios.hands.undo import Inverses
from aios.playbooks.protection import protected
from aios.ports import Blobs, Files, ProcessId, ServiceActs

PACKET_MAX = 256 * 1024

OWN_ACTS = ("rollback", "keep_copy")
"""What hands does itself, with no skill."""

Body = Callable[[SkillCall, str, ServiceActs, SafeFolder, Limits], SkillResult]
"""Runs a skill's acting body: the call, the attempt's folder, services, files, what it may use."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What hands acts through; made once, before the first fork."""

    state_dir: str
    clock: Clock
    blobs: Blobs
    services: Callable[[SkillCall], ServiceActs]
    body: Body
    files: Files
    inverses: Callable[[SkillCall, str, Callable[[], ServiceActs]], Inverses]
    """How what is no file is taken back; given the rollback's call and its folder."""
    irreversible: Callable[[str], bool]
    """Whether a skill's act cannot be taken back, so that its files are not saved."""
    warm: Callable[[str], None]
    """Called with a skill's name before the fork."""
    limits_of: Callable[[str], Limits]
    """What a skill itself says that it may use."""
    groups: cgroups.Groups


def serve(link: socket.socket, wiring: Wiring) -> None:
    """Until the daemon's end of the socket is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # launchers are nobody's to wait for; the kernel buries them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the daemon's affair
    wiring.groups.sweep(proc.alive)
    gc.collect()
    gc.freeze()  # what is here now is shared with every launcher; a collection would copy it into each
    while True:
        try:
            packet = link.recv(PACKET_MAX)
        except ConnectionResetError:
            return
        if not packet:
            return
        _obey(decode_json(packet), link, wiring)


def _obey(message: Mapping[str, Any], link: socket.socket, wiring: Wiring) -> None:
    if message["do"] == "ping":
        tell(link, {"say": "pong", "n": message["n"]})
        return
    call = SkillCall.from_json(message["call"])
    work = _launch if message["do"] == "start" else _recover
    if work is _launch:
        wiring.warm(call.skill)
    pid = _fork(lambda cancel: work(call, link, wiring, cancel))
    who = proc.identity(pid) or ProcessId(0, 0, "")  # so quick that it has ended already: its word is there
    tell(link, {"say": "launched" if work is _launch else "recovering", "key": call.key, **who._asdict()})


def tell(link: socket.socket, message: Mapping[str, Any]) -> None:
    """Never waits: who does not listen now finds what is on the disk."""
    try:
        link.send(encode_json(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return


def _fork(work: Callable[[acting.Cancel], None]) -> int:
    """TERM waits until the launcher can hear it: who is cancelled at once is cancelled, too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    status = 1
    try:
        os.setsid()
        gc.disable()  # it lives for milliseconds, and a collection would copy all that it shares with hands
        cancel = _listen_for_cancel()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        work(cancel)
        status = 0
    except BaseException:  # noqa: BLE001 - the last line of a process: a bug is shown, and hands' own loop must not go on in here
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


# --- in the launcher's process --------------------------------------------------------------------------------------


def _launch(call: SkillCall, link: socket.socket, wiring: Wiring, cancel: acting.Cancel) -> None:
    """The real driver of `launcher.launch`. Nothing is told when somebody else has the attempt: our end is the sign to look."""
    proc.adopt_orphans()
    tools = _Tools(call, wiring)
    steps = launcher.launch(call, wiring.files, wiring.state_dir, proc.myself(), tools.take_snapshot)
    said: SkillResult | None = None
    try:
        while True:
            step = steps.send(said)
            said = tools.carry_out(cancel) if step == launcher.ACT else None
    except StopIteration as end:
        result: SkillResult | None = end.value
    if result is not None:
        tell(link, {"say": "done", "key": call.key, "result": result.to_json()})


def _listen_for_cancel() -> acting.Cancel:
    wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    cancel = acting.Cancel(wake_fd=wake_r)

    def asked(_number: int, _frame: Any) -> None:
        cancel.asked = True

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # heard through the pipe
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    return cancel


class _Tools:
    """What one attempt acts with; services are connected to only when they are asked for."""

    def __init__(self, call: SkillCall, wiring: Wiring) -> None:
        self._call = call
        self._wiring = wiring
        self._folder = f"{wiring.state_dir}/{call.folder}"
        self._manifest_path = f"{self._folder}/{attempt.MANIFEST}"
        self._outline: Mapping[str, Any] = {}
        self._taken: Mapping[str, Any] | None = None
        self._made: ServiceActs | None = None

    def _services(self) -> ServiceActs:
        if self._made is None:
            self._made = self._wiring.services(self._call)
        return self._made

    def take_snapshot(self, call: SkillCall, path: str) -> None:
        """See `launcher.TakeSnapshot`."""
        wiring = self._wiring
        bounds, now_ns = Bounds(**call.env.get("snapshots", {})), int(wiring.clock.now() * 1e9)
        irreversible = wiring.irreversible(call.skill)
        self._outline = snapshot.outline(call.touches, self._services, irreversible=irreversible, allow=self._allow)
        if self._outline:
            self._taken = latest.save(
                wiring.files, wiring.state_dir, wiring.blobs, self._outline, path=path, bounds=bounds, now_ns=now_ns
            )

    def _allow(self, path: str, real: str) -> None:
        """The daemon has judged the path as it is written; where a link leads, only who follows it sees. Raises Permanent."""
        if protected(frozenset((f"file:{real}",)), frozenset(self._call.env.get("protected", ()))):
            raise Permanent(f"{path} leads to {real}, which is protected" if real != path else f"{path} is protected")

    def _roll_back(self) -> SkillResult:
        params, wiring = self._call.params, self._wiring
        inverses = wiring.inverses(self._call, self._folder, self._services)
        force = bool(params.get("force"))
        return rollback(params["attempts"], wiring.state_dir, wiring.files, wiring.blobs, self._services, inverses, force)

    def _with_what_changed(self, result: SkillResult) -> SkillResult:
        return changes.told(result, self._manifest, self._folder, self._wiring.files, self._wiring.blobs)

    def _manifest(self) -> Mapping[str, Any]:
        """The whole of it; one that was the same as the latest is read now that somebody asks. Raises OSError or ValueError."""
        if self._taken is None and self._outline:
            self._taken = snapshot.read(self._wiring.files, self._manifest_path)
        return self._taken or {}

    def carry_out(self, cancel: acting.Cancel) -> SkillResult:
        """Raises nothing: an act that cannot even be begun is a result."""
        hold = self._hold()
        try:
            result = self._carried_out(hold, cancel)
        except acting.NotBegun as error:
            return launcher.not_begun(f"the act could not be begun: {error}")
        except OSError as error:
            return failed(f"the act could not be carried out: {error}")
        finally:
            hold.group.remove()
        return self._with_what_changed(replace(result, evidence=(*result.evidence, hold.told())))

    def _hold(self) -> limits.Hold:
        """Its limits, and a group for it. Where the kernel refuses the group, the act is held by rlimits and says why."""
        call, groups = self._call, self._wiring.groups
        own = limits.NOBODY_WAITS if call.skill in OWN_ACTS else self._wiring.limits_of(call.skill)
        found, why = limits.limits_of(call, own), groups.why
        try:
            group = groups.act(cgroups.act_name(call.folder, proc.myself()), found)
        except OSError as error:
            group, why = cgroups.Group(), f"no group could be made: {error}"
        return limits.Hold(found, self._timeout_s(), call.grace_s, group, why)

    def _timeout_s(self) -> float:
        call, wiring = self._call, self._wiring
        if call.skill != "rollback":
            return call.timeout_s
        return call.timeout_s + more_time_s(call.params["attempts"], wiring.state_dir, wiring.files)

    def _carried_out(self, hold: limits.Hold, cancel: acting.Cancel) -> SkillResult:
        wiring, folder = self._wiring, self._folder
        return acting.carry_out(
            partial(self._body, hold.limits),
            wiring.blobs,
            hold,
            wiring.clock,
            cancel,
            f"{folder}/{attempt.OUTPUT}",
            lambda leader: attempt.write_acting(wiring.files, folder, leader, hold.group.name if hold.group.folders else ""),
            partial(kept_lives, f"{wiring.state_dir}/services"),
        )

    def _body(self, bounds: Limits) -> SkillResult:
        """In the act's process."""
        call, wiring = self._call, self._wiring
        if call.skill == "rollback":
            return self._roll_back()
        if call.skill == "keep_copy":
            generations = int(call.env.get("generations", keep.GENERATIONS))
            now_ns = int(wiring.clock.now() * 1e9)
            return keep.keep_copy(
                call.params, wiring.state_dir, wiring.files, wiring.blobs, generations=generations, now_ns=now_ns
            )
        return wiring.body(call, self._folder, self._services(), self._safe(), bounds)

    def _safe(self) -> SafeFolder:
        env = self._call.env
        kept = keep.folder_of(self._wiring.state_dir, str(env.get("playbook", "")), str(env.get("subject", "")))
        return SafeFolder(self._outline, kept, self._wiring.files, self._wiring.blobs)


def _recover(call: SkillCall, link: socket.socket, wiring: Wiring, _cancel: acting.Cancel) -> None:
    folder = ""

    def end_session(leader: ProcessId) -> None:
        acting_record = attempt.read_acting(wiring.files, folder)
        group = wiring.groups.named(acting_record.group if acting_record else "")
        acting.end_session(leader, wiring.clock, group, grace_s=call.grace_s)
        group.remove()

    try:
        folder = attempt.folder_of(wiring.state_dir, call)
        found = recovery.recover(wiring.files, folder, proc.myself(), proc.alive, end_session)
        if found.fate == "died":
            changes.record_for_the_dead(folder, wiring.files)
    except (OSError, Permanent) as error:
        tell(link, {"say": "fate", "key": call.key, "fate": "", "error": str(error)})
        return
    result = found.result.to_json() if found.result else None
    who = found.who._asdict() if found.who else None
    tell(link, {"say": "fate", "key": call.key, "fate": found.fate, "result": result, "who": who, "at": found.at})
